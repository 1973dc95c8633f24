from agewalk.timing.scheduler.events cimport Events
from agewalk.timing.scheduler.generators cimport advance, deepen
from agewalk.timing.threads cimport CpuState, Thread

cimport cython


cdef class Scheduler:
    cdef Events events
    cdef Thread th
    cdef CpuState state
    cdef long long cpu, since, waited, next_due, horizon, budget
    cdef long long bits, last, never
    cdef public long long window, done, latest
    cdef bint paired
    cdef double smt
    cdef object early, spins, sleeps

    cdef object perform(self, object effect)
    @cython.locals(t=cython.longlong, longer=cython.longlong, mate=CpuState)
    cdef object give_way(self)
    @cython.locals(state=CpuState, now=cython.longlong, at=cython.longlong)
    cdef object take(self, Thread th)
    @cython.locals(t=cython.longlong, first=cython.longlong)
    cdef object others_woke(self)
    @cython.locals(th=Thread)
    cdef bint until_one_ends(self) except? -1
