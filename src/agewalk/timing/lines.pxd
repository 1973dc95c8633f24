cdef class Line:
    cdef public object lines, memory, group, sharers
    cdef public bint array, element, shared
    cdef public long long owner, busy, watched, kept_until
