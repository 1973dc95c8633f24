cdef class CpuState:
    cdef public long long index, socket, fills, slice_end
    cdef public object bit, core, current, queue
    cdef public list mates
    cdef public dict kept, streams
    cpdef keep(self, object line, long long since, long long until, bint exclusive)


cdef class Thread:
    cdef public long long index, due, started, ended, rcu, debt, since, stall, waited, lock_wait, preemptions
    cdef public long atomic
    cdef public object name, body, greenlet, switch, value, pending, runs, result, waits_for
    cdef public CpuState cpu
    cdef public bint in_guest, new, parked, permit
    cdef public list held, mcs, marks
    cdef public dict durations
