from agewalk.core.cells cimport Cell, Lock
from agewalk.timing.hardware.coherence cimport Caches
from agewalk.timing.hardware.cache_lines cimport Line, LineMap
from agewalk.timing.threads cimport CpuState, Thread

cimport cython


cdef class WordStep:
    cdef Cell cell
    cdef bint adds, stores, swaps
    cdef long long operand


cdef class TimedLock:
    cdef public Lock lock
    cdef public object dropped, last
    cdef public Line line
    cdef public dict acquired, told, hold
    cdef public long long contended, wait, worst_wait
    cdef WordStep take_read, take_write, give_read, give_write

    @cython.locals(step=WordStep)
    cdef WordStep taken_by(self, str mode)
    @cython.locals(step=WordStep)
    cdef WordStep given_by(self, str mode)
    cpdef object word(self)
    cpdef object queue_word(self)
    cpdef object fast(self, str mode)
    cpdef bint got(self, long long found, str mode) except? -1
    cpdef object release(self, str mode)
    cpdef bint must_wake(self, long long found, str mode) except? -1
    cpdef bint contended_value(self, object value) except? -1


cdef class Locks:
    cdef LineMap lines
    cdef public dict made
    cdef public object make

    @cython.locals(found=TimedLock)
    cpdef TimedLock of(self, Lock lock)


cdef class FastPaths:
    cdef Locks locks
    cdef object recorder, spinning
    cdef dict made
    cdef set dead
    cdef Caches caches
    cdef long long atomic, store, instructions
    cdef TimedLock timed
    cdef object found
    cdef bint wake

    @cython.locals(timed=TimedLock)
    cdef TimedLock lock(self, Lock lock)
    @cython.locals(timed=TimedLock, first=WordStep, line=Line, found=cython.longlong, done=cython.longlong, sleeps=bint, cell=Cell)
    cdef long long acquire(self, Thread th, Lock lock, str mode, long long t) except? -1
    @cython.locals(timed=TimedLock, undo=WordStep, line=Line, found=cython.longlong, there=cython.longlong, done=cython.longlong, cell=Cell)
    cdef long long release(self, Thread th, Lock lock, str mode, long long t) except? -1


@cython.locals(own=Lock)
cpdef grant(Thread th, TimedLock lock, str mode, long long at)
@cython.locals(n=cython.long, since=cython.longlong, own=Lock)
cpdef drop(object recorder, Thread th, TimedLock lock, str mode, long long at)
