from agewalk.core.cells cimport Cell

cimport cython


cdef class Line:
    cdef public object lines, memory, group
    cdef public bytearray copies, no_copies
    cdef public bint array, element, shared
    cdef public long long owner, busy, watched, kept_until, sharers

    cpdef share(self, long long cpu)
    cpdef own(self, long long cpu)


cdef class PerCpu:
    cdef public list cells, lines


cdef class LineMap:
    cdef readonly set dead
    cdef readonly bytearray no_copies
    cdef readonly dict per_cpu
    cdef dict _per_cpu_owner, _placed, _lines

    @cython.locals(line=Line, lines=dict)
    cpdef Line at(self, object memory, object group)
    @cython.locals(line=Line, where=tuple, placed=list)
    cpdef Line cell(self, Cell cell)
    @cython.locals(mine=PerCpu)
    cpdef PerCpu of_cpu(self, Cell cell, long long cpu)
    @cython.locals(where=tuple)
    cpdef Line member(self, object member)
    cpdef Line lock(self, object lock)
    cpdef Line list_head(self, object head)
    cpdef bury(self, object owner)
    cpdef forget(self)


@cython.locals(groups=dict)
cpdef tuple place(object memory, object field)
