from agewalk.timing.coherence cimport Caches
from agewalk.timing.lines cimport Line
from agewalk.timing.threads cimport CpuState, Thread

cimport cython


cdef class TimedLock:
    cdef public object lock, do, last
    cdef public Line line
    cdef public dict acquired, told, hold, first, undo
    cdef public long long contended, wait, worst_wait


cdef class FastPaths:
    cdef object machine
    cdef dict locks
    cdef set dead
    cdef Caches caches
    cdef long long atomic, store, instructions

    @cython.locals(timed=TimedLock, line=Line, done=cython.longlong, sleeps=bint)
    cpdef tuple acquire(self, Thread th, object lock, str mode, long long t)
    @cython.locals(timed=TimedLock, line=Line, there=cython.longlong, done=cython.longlong)
    cpdef tuple release(self, Thread th, object lock, str mode, long long t)


cpdef grant(Thread th, TimedLock lock, str mode, long long at)
@cython.locals(n=cython.long, since=cython.longlong)
cpdef drop(object m, Thread th, TimedLock lock, str mode, long long at)
