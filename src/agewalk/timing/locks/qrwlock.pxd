from agewalk.timing.locks.qspinlock cimport QueuedSpinLock
from agewalk.timing.locks.uncontended cimport TimedLock


cdef class QueuedRwLock(TimedLock):
    cdef public object _cnts
    cdef public QueuedSpinLock queue
