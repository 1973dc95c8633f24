from agewalk.timing.hardware.cache_lines cimport Line, LineMap, PerCpu
from agewalk.timing.hardware.coherence cimport Caches
from agewalk.timing.locks.uncontended cimport FastPaths, TimedLock
from agewalk.timing.scheduler.scheduler cimport Scheduler
from agewalk.timing.threads cimport CpuState, Thread

cimport cython


cdef class Tally:
    cdef public long long each, lines, n
    cdef public object guest


cdef class Operations(Scheduler):
    cdef object prices, draw, spinning, queues, grace
    cdef LineMap lines
    cdef object met
    cdef list waiting
    cdef set dead, rcu_readers
    cdef dict by_class, slow, srcu_readers
    cdef public dict counts, works
    cdef Caches caches
    cdef FastPaths fast_paths
    cdef double quiet, loud
    cdef long long hit, hit_atomic, store_cost, atomic_cost, indirect_cost, rcu_cost, srcu_cost
    cdef public long long indirect_calls

    @cython.locals(th=Thread, at=cython.longlong)
    cdef object perform(self, object effect)
    @cython.locals(line=Line, own=PerCpu)
    cdef Line placed(self, object cell)
    @cython.locals(line=Line)
    cdef object load(self, object cell)
    @cython.locals(line=Line, there=cython.longlong)
    cdef object store(self, object cell, object value)
    cpdef clear_bits(self, object effect)
    cpdef store_part(self, object effect)
    @cython.locals(line=Line, t=cython.longlong)
    cdef object update(self, object cell, object apply, object operand)
    cpdef fetch_and(self, object effect)
    cpdef fetch_or(self, object effect)
    cpdef fetch_add(self, object effect)
    cpdef exchange(self, object effect)
    cpdef exchange_tail(self, object effect)
    cpdef compare_exchange(self, object effect)
    @cython.locals(tally=Tally)
    cdef object count(self, str what, long long n)
    @cython.locals(tally=Tally, noise=cython.double, took=cython.longlong, n=cython.longlong)
    cpdef work(self, object effect)
    cpdef again(self, object effect)
    @cython.locals(t=cython.longlong)
    cdef object slice_over(self)
    cpdef indirect_call(self, object effect)
    cpdef begin(self, object effect)
    @cython.locals(th=Thread, t=cython.longlong)
    cpdef end(self, object effect)
    cpdef rcu_read_lock(self, object effect)
    cpdef rcu_read_unlock(self, object effect)
    @cython.locals(readers=set, )
    cpdef srcu_read_lock(self, object effect)
    @cython.locals(readers=set, )
    cpdef srcu_read_unlock(self, object effect)
    @cython.locals(paths=FastPaths)
    cpdef acquire(self, object effect)
    @cython.locals(paths=FastPaths)
    cpdef release(self, object effect)
    @cython.locals(th=Thread, )
    cpdef try_acquire(self, object effect)
