from agewalk.core.cells cimport Cell

cimport cython

# no_gc: nothing that an effect refers to refers to effects, so they are in no cycle.


cdef class Effect:
    pass


@cython.no_gc
cdef class Load(Effect):
    cdef public Cell cell
    cdef public object order


@cython.no_gc
cdef class Store(Effect):
    cdef public Cell cell
    cdef public object order, value


@cython.no_gc
cdef class ReadModifyWrite(Effect):
    cdef public Cell cell
    cdef public object operand, order


@cython.no_gc
cdef class FetchAnd(ReadModifyWrite):
    pass


@cython.no_gc
cdef class FetchOr(ReadModifyWrite):
    pass


@cython.no_gc
cdef class FetchAdd(ReadModifyWrite):
    pass


@cython.no_gc
cdef class Exchange(ReadModifyWrite):
    pass


@cython.no_gc
cdef class CompareExchange(Effect):
    cdef public Cell cell
    cdef public object expected, new, order
