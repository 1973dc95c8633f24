from agewalk.timing.holding cimport TimedLock
from agewalk.timing.memory cimport Cell
from agewalk.timing.threads cimport Thread


cdef class QueuedSpinLock(TimedLock):
    cdef public Cell _word
    cdef public dict _nodes
    cdef public long long handed_over

    cpdef object wait_in_line(self, Thread thread, long long found)
    cpdef object _queue_up(self, Thread thread, object node)
    cpdef object hand_over(self, object successor)


cdef class QueuedRwLock(TimedLock):
    cdef public Cell _cnts
    cdef public QueuedSpinLock queue

    cpdef object _slow_read(self, Thread thread)
    cpdef object _slow_write(self, Thread thread)
    cpdef object _lock_queue(self, Thread thread)


cdef class SleepingLock(TimedLock):
    cdef public Cell _count, owner
    cdef public QueuedSpinLock _queue
    cdef public object _sleepers

    cpdef object _hand_off(self)
    cpdef object _lock_queue(self, Thread thread)
