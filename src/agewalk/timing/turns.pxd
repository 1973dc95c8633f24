from agewalk.timing.threads cimport CpuState, Thread

cimport cython


cdef class Turns:
    cdef readonly object machine
    cdef object bit, hub
    cdef list heap, threads
    cdef Thread th
    cdef CpuState state
    cdef long long cpu, since, waited, first, far, left, window, done
    cdef long long bits, mask, last, never
    cdef bint paired
    cdef double smt

    @cython.locals(t=cython.longlong, mate=CpuState)
    cdef object later(self)
    @cython.locals(th=Thread, mine=Thread, state=CpuState, now=cython.longlong)
    cdef object take(self, long long event)
    cdef object sleep(self)
    cdef object yields(self)
    @cython.locals(t=cython.longlong)
    cdef object woke(self)
