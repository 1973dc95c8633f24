# Where the interpreter keeps the fields of core/cells.py, classes with __slots__: in alphabetical order, those of a base first.
# Before compiled modules are kept, compiled.try_out() looks whether that holds here.
cdef extern from *:
    """
    typedef struct { PyObject_HEAD PyObject *freed, *label, *slab; } AgewalkObject;
    typedef struct { PyObject_HEAD PyObject *field, *line, *owner, *value; } AgewalkCell;
    typedef struct { PyObject_HEAD PyObject *field, *owner, *readers, *sleeps, *writer; } AgewalkLock;
    typedef struct { PyObject_HEAD PyObject *deferred, *label, *readers; } AgewalkSrcu;
    typedef struct { PyObject_HEAD PyObject *items, *label; } AgewalkListHead;
    """
    ctypedef class agewalk.core.cells.Object [object AgewalkObject, check_size error]:
        cdef object freed, label, slab

    ctypedef class agewalk.core.cells.Cell [object AgewalkCell, check_size error]:
        cdef object field, line
        cdef Object owner
        cdef object value

    ctypedef class agewalk.core.cells.Lock [object AgewalkLock, check_size error]:
        cdef object field
        cdef Object owner
        cdef object readers, sleeps, writer

    ctypedef class agewalk.core.cells.Srcu [object AgewalkSrcu, check_size error]:
        cdef object deferred, label, readers

    ctypedef class agewalk.core.cells.ListHead [object AgewalkListHead, check_size error]:
        cdef object items, label
