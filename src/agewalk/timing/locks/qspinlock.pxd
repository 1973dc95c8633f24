from agewalk.timing.locks.uncontended cimport TimedLock


cdef class QueuedSpinLock(TimedLock):
    cdef public object _word
    cdef public dict _nodes
    cdef public long long handed_over
