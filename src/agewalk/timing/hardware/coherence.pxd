from agewalk.timing.hardware.cache_lines cimport Line
from agewalk.timing.threads cimport CpuState, Kept, Thread

cimport cython

cdef class Caches:
    cdef readonly long long hit, store, memory, core_to_core, socket_to_socket, shared_read
    cdef readonly long long cached, sooner, neighbours, from_core, from_socket, from_memory
    cdef readonly double sequential, retention
    cdef readonly list cpus
    cdef object _vmemmap

    cpdef long long read(self, Line line, Thread th, long long t)
    cpdef long long write(self, Line line, Thread th, long long t)
    @cython.locals(cpu=CpuState, mate=CpuState, has=CpuState, kept=Kept, here=cython.longlong, others=cython.longlong, near=cython.longlong, far=bint, kept_for=cython.longlong, since=cython.longlong, me=cython.longlong, owner=cython.longlong, there=cython.longlong, latency=cython.longlong, reach=cython.longlong, group=cython.longlong, apart=cython.longlong)
    cpdef long long fetch(self, Line line, Thread th, long long t, bint exclusive, bint stalls=*)
