from agewalk.core.cells cimport Lock, Srcu
from agewalk.core.effects.memory cimport Effect

cimport cython


@cython.no_gc
cdef class Acquire(Effect):
    cdef public Lock lock
    cdef public str mode


@cython.no_gc
cdef class TryAcquire(Effect):
    cdef public Lock lock
    cdef public str mode


@cython.no_gc
cdef class Release(Effect):
    cdef public Lock lock
    cdef public str mode


@cython.no_gc
cdef class RcuReadLock(Effect):
    pass


@cython.no_gc
cdef class RcuReadUnlock(Effect):
    pass


@cython.no_gc
cdef class SrcuReadLock(Effect):
    cdef public Srcu domain


@cython.no_gc
cdef class SrcuReadUnlock(Effect):
    cdef public Srcu domain
