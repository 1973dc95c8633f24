from agewalk.timing.events cimport Events
from agewalk.timing.threads cimport CpuState, Thread

cimport cython


cdef class Turns:
    cdef readonly object machine
    cdef object hub
    cdef Events events
    cdef Thread th
    cdef CpuState state
    cdef long long cpu, since, waited, first, far, left, window, done
    cdef long long bits, last, never
    cdef bint paired
    cdef double smt

    @cython.locals(t=cython.longlong, longer=cython.longlong, mate=CpuState)
    cdef object later(self)
    @cython.locals(mine=Thread, state=CpuState, now=cython.longlong, at=cython.longlong)
    cdef object take(self, Thread th)
    cdef object sleep(self)
    cdef object yields(self)
    @cython.locals(t=cython.longlong, first=cython.longlong)
    cdef object woke(self)
