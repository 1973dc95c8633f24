from agewalk.core.effects.memory cimport Effect

cimport cython


@cython.no_gc
cdef class IndirectCall(Effect):
    cdef public object target


@cython.no_gc
cdef class Count(Effect):
    cdef public str what
    cdef public long n


@cython.no_gc
cdef class Work(Effect):
    cdef public str what
    cdef public long n


@cython.no_gc
cdef class Again(Effect):
    cdef public tuple state
