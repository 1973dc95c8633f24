from agewalk.core.cells cimport Cell, Lock, Srcu
from agewalk.core.effects.locking cimport Acquire, Release, SrcuReadLock, SrcuReadUnlock, TryAcquire
from agewalk.core.effects.marks cimport Count, Work
from agewalk.core.effects.memory cimport CompareExchange, Exchange, FetchAdd, FetchAnd, FetchOr, Load, Store
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
    cdef Cell met
    cdef list waiting
    cdef set dead, rcu_readers
    cdef dict by_class, slow, srcu_readers
    cdef public dict counts, works
    cdef Caches caches
    cdef FastPaths fast_paths
    cdef double quiet, loud
    cdef long long hit, hit_atomic, store_cost, atomic_cost, indirect_cost, rcu_cost, srcu_cost
    cdef public long long indirect_calls

    @cython.locals(th=Thread, at=cython.longlong, load=Load, store=Store, count=Count)
    cdef object perform(self, object effect)
    @cython.locals(line=Line, own=PerCpu)
    cdef Line placed(self, Cell cell)
    @cython.locals(line=Line)
    cdef object load(self, Cell cell)
    @cython.locals(line=Line, there=cython.longlong)
    cdef object store(self, Cell cell, object value)
    @cython.locals(cell=Cell)
    cpdef clear_bits(self, object effect)
    @cython.locals(cell=Cell)
    cpdef store_part(self, object effect)
    @cython.locals(line=Line, t=cython.longlong)
    cdef object update(self, Cell cell, object apply, object operand)
    cpdef fetch_and(self, FetchAnd effect)
    cpdef fetch_or(self, FetchOr effect)
    cpdef fetch_add(self, FetchAdd effect)
    cpdef exchange(self, Exchange effect)
    cpdef exchange_tail(self, object effect)
    cpdef compare_exchange(self, CompareExchange effect)
    @cython.locals(tally=Tally)
    cdef object count(self, str what, long long n)
    @cython.locals(tally=Tally, noise=cython.double, took=cython.longlong, n=cython.longlong)
    cpdef work(self, Work effect)
    cpdef again(self, object effect)
    @cython.locals(t=cython.longlong)
    cdef object slice_over(self)
    cpdef indirect_call(self, object effect)
    cpdef begin(self, object effect)
    @cython.locals(th=Thread, t=cython.longlong)
    cpdef end(self, object effect)
    cpdef rcu_read_lock(self, object effect)
    cpdef rcu_read_unlock(self, object effect)
    @cython.locals(readers=set, domain=Srcu)
    cpdef srcu_read_lock(self, SrcuReadLock effect)
    @cython.locals(readers=set, domain=Srcu)
    cpdef srcu_read_unlock(self, SrcuReadUnlock effect)
    @cython.locals(paths=FastPaths)
    cpdef acquire(self, Acquire effect)
    @cython.locals(paths=FastPaths)
    cpdef release(self, Release effect)
    @cython.locals(th=Thread, lock=Lock)
    cpdef try_acquire(self, TryAcquire effect)
