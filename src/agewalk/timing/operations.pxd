from agewalk.timing.coherence cimport Caches
from agewalk.timing.holding cimport FastPaths, TimedLock
from agewalk.timing.lines cimport Line, LineMap, PerCpu
from agewalk.timing.memory cimport Cell, Lock, Srcu
from agewalk.timing.threads cimport CpuState, Thread
from agewalk.timing.turns cimport Turns

cimport cython


cdef class Tally:
    cdef public long long each, lines, n
    cdef public object guest


cdef class Processor(Turns):
    cdef object prices, draw
    cdef LineMap lines
    cdef Cell met
    cdef list after_readers
    cdef set dead, rcu_readers
    cdef dict counts, works, srcu_readers
    cdef Caches caches
    cdef FastPaths fast_paths
    cdef double quiet, loud
    cdef long long hit, hit_atomic, store_cost, atomic_cost, indirect_cost, rcu_cost, srcu_cost, indirect_calls

    @cython.locals(line=Line, own=PerCpu)
    cdef Line placed(self, Cell cell)
    cdef object wait_turn(self, Cell cell)
    @cython.locals(line=Line)
    cpdef load(self, Cell cell, str order=*)
    @cython.locals(line=Line, there=cython.longlong)
    cpdef store(self, Cell cell, object value, str order=*)
    cpdef clear_bits(self, Cell cell, object operand, str order=*)
    cpdef store_part(self, Cell cell, object bits, object value)
    @cython.locals(line=Line, t=cython.longlong)
    cdef object update(self, Cell cell, object apply, object operand)
    cpdef fetch_and(self, Cell cell, object operand, str order=*)
    cpdef fetch_or(self, Cell cell, object operand, str order=*)
    cpdef fetch_add(self, Cell cell, object operand, str order=*)
    cpdef exchange(self, Cell cell, object operand, str order=*)
    cpdef exchange_tail(self, Cell cell, object operand, str order=*)
    cpdef compare_exchange(self, Cell cell, object expected, object new, str order=*)
    @cython.locals(tally=Tally)
    cpdef count(self, str what, long long n=*)
    @cython.locals(tally=Tally, noise=cython.double, took=cython.longlong)
    cpdef work(self, str what, long long n=*)
    cdef object over(self)
    cpdef indirect_call(self, str target)
    cpdef rcu_read_lock(self)
    cpdef rcu_read_unlock(self)
    @cython.locals(readers=set)
    cpdef srcu_read_lock(self, Srcu domain)
    @cython.locals(readers=set)
    cpdef srcu_read_unlock(self, Srcu domain)
    @cython.locals(mine=Thread, timed=TimedLock, t=cython.longlong)
    cpdef acquire(self, Lock lock, str mode=*)
    @cython.locals(mine=Thread, timed=TimedLock, t=cython.longlong, wake=bint)
    cpdef release(self, Lock lock, str mode=*)
    cpdef try_acquire(self, Lock lock, str mode=*)
    @cython.locals(mine=Thread, at=cython.longlong)
    cdef object rarely(self, object handler, object effect)
