cimport cython


cdef class Kept:
    cdef public object line
    cdef public long long nth, since, until
    cdef public bint exclusive


cdef class CpuState:
    cdef public long long index, core, socket, socket_first, socket_last, fills, slice_end, nth
    cdef public object current, queue
    cdef public list mates, kept
    cdef public dict streams

    @cython.locals(oldest=Kept, kept=Kept)
    cpdef keep(self, object line, long long since, long long until, bint exclusive)
    @cython.locals(kept=Kept)
    cpdef Kept keeps(self, object line, long long at, bint exclusive)


cdef class Thread:
    cdef public long long index, due, started, ended, rcu, debt, since, stall, waited, lock_wait, preemptions
    cdef public long atomic, until_deeper
    cdef public object name, step, slow_path, resumed, effect, value, runs, result, waits_for
    cdef public CpuState cpu
    cdef public bint in_guest, parked, permit
    cdef public list outer, held, mcs, marks
    cdef public dict durations, waits

    cpdef enter(self, object slow_path)
