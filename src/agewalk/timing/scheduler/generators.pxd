from agewalk.timing.threads cimport Thread

from cpython.object cimport PyObject

cdef extern from "Python.h":
    int PYGEN_RETURN
    int PyIter_Send(object step, object value, PyObject **result) except -1
    void Py_DECREF(PyObject *)


cdef inline object send(Thread th, object step):
    cdef PyObject *sent = NULL
    cdef int how = PyIter_Send(step, th.value, &sent)
    result = <object>sent
    Py_DECREF(sent)
    if how != PYGEN_RETURN:
        return result
    th.value = result
    return None


cpdef resume(Thread th, step)
cpdef advance(Thread th)
cpdef deepen(Thread th)
cpdef returned(Thread th)
cpdef raised(Thread th, error)
cpdef throw(Thread th, error)
