cdef class Cell:
    cdef public object owner, field, value, line


cdef class Lock:
    cdef public object owner, field
    cdef public bint sleeps, writer
    cdef public long readers


cdef class Srcu:
    cdef public object label
    cdef public long readers
    cdef public list deferred
