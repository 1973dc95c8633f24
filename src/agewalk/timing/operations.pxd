from agewalk.timing.coherence cimport Caches
from agewalk.timing.holding cimport FastPaths
from agewalk.timing.lines cimport Line
from agewalk.timing.threads cimport CpuState, Thread
from agewalk.timing.turns cimport Turns

cimport cython


cdef class Tally:
    cdef public long long each, n


cdef class Processor(Turns):
    cdef object prices, lines, draw, srcu_readers
    cdef set dead, rcu_readers
    cdef dict counts, works
    cdef Caches caches
    cdef FastPaths fast_paths
    cdef double quiet, loud
    cdef long long hit, hit_atomic, store_cost, atomic_cost, indirect_cost, rcu_cost, srcu_cost, indirect_calls

    cdef tuple placed(self, object cell)
    cdef object wait_turn(self, object cell)
    @cython.locals(line=Line)
    cpdef load(self, object cell, str order=*)
    @cython.locals(line=Line, there=cython.longlong)
    cpdef store(self, object cell, object value, str order=*)
    cpdef clear_bits(self, object cell, object operand, str order=*)
    cpdef store_part(self, object cell, object bits, object value)
    @cython.locals(line=Line, t=cython.longlong)
    cdef object update(self, object cell, object apply, object operand)
    cpdef fetch_and(self, object cell, object operand, str order=*)
    cpdef fetch_or(self, object cell, object operand, str order=*)
    cpdef fetch_add(self, object cell, object operand, str order=*)
    cpdef exchange(self, object cell, object operand, str order=*)
    cpdef exchange_tail(self, object cell, object operand, str order=*)
    cpdef compare_exchange(self, object cell, object expected, object new, str order=*)
    @cython.locals(tally=Tally)
    cpdef count(self, str what, long long n=*)
    @cython.locals(tally=Tally)
    cpdef work(self, str what, long long n=*)
    cdef object over(self)
    cpdef indirect_call(self, str target)
    cpdef rcu_read_lock(self)
    cpdef rcu_read_unlock(self)
    cpdef srcu_read_lock(self, object domain)
    cpdef srcu_read_unlock(self, object domain)
    @cython.locals(mine=Thread, t=cython.longlong)
    cpdef acquire(self, object lock, str mode=*)
    @cython.locals(mine=Thread, t=cython.longlong)
    cpdef release(self, object lock, str mode=*)
    cpdef try_acquire(self, object lock, str mode=*)
    @cython.locals(mine=Thread, at=cython.longlong)
    cdef object rarely(self, object handler, object effect)
