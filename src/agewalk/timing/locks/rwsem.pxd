from agewalk.timing.locks.qspinlock cimport QueuedSpinLock
from agewalk.timing.locks.uncontended cimport TimedLock


cdef class SleepingLock(TimedLock):
    cdef public object _count, owner
    cdef public QueuedSpinLock _queue
    cdef public object _sleepers
