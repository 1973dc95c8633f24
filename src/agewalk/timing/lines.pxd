from agewalk.timing.memory cimport Cell, ListHead, Lock, Object, Srcu

cimport cython


cdef class Line:
    cdef public object lines, memory, group
    cdef public bytearray copies, nobody
    cdef public bint array, element, shared
    cdef public long long owner, busy, watched, kept_until, sharers

    cpdef share(self, long long cpu)
    cpdef own(self, long long cpu)


cdef class PerCpu:
    cdef public list cells, lines


cdef class LineMap:
    cdef readonly set dead
    cdef readonly bytearray nobody
    cdef readonly dict per_cpu
    cdef dict _per_cpu_owner, _placed, _lines

    @cython.locals(line=Line, lines=dict)
    cpdef Line at(self, object memory, object group)
    @cython.locals(line=Line, owner=Object, where=tuple, placed=list)
    cpdef Line cell(self, Cell cell)
    @cython.locals(mine=PerCpu)
    cpdef PerCpu of_cpu(self, Cell cell, long long cpu)
    @cython.locals(where=tuple)
    cpdef Line member(self, object member)
    cpdef Line lock(self, Lock lock)
    cpdef Line list_head(self, object head)
    @cython.locals(cell=Cell)
    cpdef bury(self, object owner)
    @cython.locals(cell=Cell)
    cpdef forget(self)


@cython.locals(groups=dict)
cpdef tuple place(object memory, object field)
cpdef bint is_per_cpu(Cell cell)
@cython.locals(owner=Object, cell=Cell, lock=Lock, srcu=Srcu, head=ListHead)
cpdef bint layout_holds()
