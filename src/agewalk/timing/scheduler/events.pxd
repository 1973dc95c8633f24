from agewalk.timing.threads cimport Thread

cimport cython


cdef class Events:
    cdef readonly list heap
    cdef long long bits, never

    @cython.locals(th=Thread)
    cpdef long long first(self)
    @cython.locals(place=cython.Py_ssize_t, above=cython.Py_ssize_t, other=Thread, heap=list)
    cpdef push(self, Thread th, long long at)
    @cython.locals(last=Thread, first=Thread, heap=list)
    cpdef Thread pop(self)
    @cython.locals(first=Thread)
    cpdef Thread pushpop(self, Thread th, long long at)
    @cython.locals(size=cython.Py_ssize_t, place=cython.Py_ssize_t, child=cython.Py_ssize_t, other=Thread, right=Thread, heap=list)
    cpdef sink(self, Thread th)
