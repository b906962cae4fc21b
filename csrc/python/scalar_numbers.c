/* scalar_numbers.c - operands and numbers, reserving nodes, statuses as exceptions. */
#include "python/scalar_numbers.h"

#include <stdarg.h>

/* Before the arena grows, run the collector if the graph may hold garbage that only the collector
 * can find: it counts Python objects, not the nodes that they keep alive. */
int scalar_reserve_slowly(size_t count) {
    pg_graph *graph = scalar_global.graph;
    enum { worth_collecting = 1 << 16 };
    if (scalar_global.with_attributes > 0 && graph->capacity >= worth_collecting) {
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        PyGC_Collect();
        PyErr_Restore(type, error, traceback);
        if (graph->free_count < graph->capacity / 4) count += graph->capacity / 2;
    }
    pg_status status = pg_graph_reserve(graph, count);
    return status == PG_OK ? 0 : scalar_fail(status);
}

void scalar_hide_frames(void) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    Py_XDECREF(traceback);
    if (error != NULL && PyExceptionInstance_Check(error)) PyException_SetTraceback(error, Py_None);
    PyErr_Restore(type, error, NULL);
}

int scalar_drop_result(PyObject *result) {
    if (result == NULL) scalar_hide_frames();
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

int scalar_error(PyObject *exception, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    PyErr_FormatV(exception, format, arguments);
    va_end(arguments);
    return -1;
}

PyObject *scalar_raise(pg_status status) {
    if (status == PG_ERR_STOPPED) return NULL; /* the hook has set the exception */
    if (status == PG_ERR_NOMEM) return PyErr_NoMemory();
    pg_fault fault = pg_graph_fault(scalar_global.graph);
    PyObject *result = PyObject_CallFunction(scalar_global.fail, "iiidd", (int)status, fault.op,
                                             fault.derivative, fault.a, fault.b);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_Format(PyExc_SystemError, "status %d raised nothing", (int)status);
    }
    scalar_hide_frames();
    return NULL;
}

int scalar_fail(pg_status status) {
    scalar_raise(status);
    return -1;
}

PyObject *scalar_none(pg_status status) {
    return status == PG_OK ? Py_NewRef(Py_None) : scalar_raise(status);
}

/* Read a number that is neither float nor int by scalar_global.number. */
static int foreign_number(PyObject *object, double *number_ret, int *is_int) {
    PyObject *number = PyObject_CallOneArg(scalar_global.number, object);
    if (number == NULL) return -1;
    int found = 0;
    if (PyFloat_Check(number) || PyLong_Check(number)) {
        *is_int = PyLong_Check(number);
        *number_ret = PyFloat_AsDouble(number);
        found = *number_ret == -1.0 && PyErr_Occurred() ? -1 : 1;
    }
    Py_DECREF(number);
    return found;
}

int scalar_as_number(PyObject *object, double *number_ret, int *is_int) {
    *is_int = 0;
    if (PyFloat_Check(object)) {
        *number_ret = PyFloat_AS_DOUBLE(object);
        return 1;
    }
    if (PyLong_Check(object)) {
        *is_int = 1;
        *number_ret = PyLong_AsDouble(object);
        return *number_ret == -1.0 && PyErr_Occurred() ? -1 : 1;
    }
    return foreign_number(object, number_ret, is_int);
}

/* Is this a comparison made by a trace? In arithmetic it counts as a number, which it caches as a
 * Value. */
static int is_condition(PyObject *object) { return Py_TYPE(object) == scalar_global.compared; }

/* The number of a comparison is a node, which the comparison holds from now on. Not for an
 * exponent, the call that passes is_int: there it chooses between ** 1 and ** 0, see
 * recorded/bools.py. */
static int condition_operand(PyObject *object, pg_operand *operand_ret) {
    PyObject *number = PyObject_CallMethod(object, "_number", NULL);
    if (number != NULL) *operand_ret = (pg_operand){((scalar *)number)->id, 0.0};
    return scalar_drop_result(number) < 0 ? -1 : 1;
}

int scalar_operand(PyObject *object, pg_operand *operand_ret, int *is_int) {
    int ignored;
    if (Py_TYPE(object) == scalar_global.value ||
        (!PyFloat_Check(object) && !PyLong_Check(object) && scalar_check(object))) {
        operand_ret->id = ((scalar *)object)->id;
        operand_ret->number = 0.0;
        return 1;
    }
    operand_ret->id = 0;
    int found = scalar_as_number(object, &operand_ret->number, is_int ? is_int : &ignored);
    if (PG_UNLIKELY(found == 0) && is_int == NULL && is_condition(object))
        return condition_operand(object, operand_ret);
    return found;
}

int scalar_require_operand(PyObject *object, pg_operand *operand_ret, const char *what) {
    int found = scalar_operand(object, operand_ret, NULL);
    if (found == 0)
        PyErr_Format(PyExc_TypeError, "%s must be a Value or a real number, not %.100s", what,
                     Py_TYPE(object)->tp_name);
    return found == 1 ? 0 : -1;
}

int scalar_require_number(PyObject *object, double *number_ret, const char *what) {
    int ignored;
    if (PG_LIKELY(PyFloat_CheckExact(object))) {
        *number_ret = PyFloat_AS_DOUBLE(object);
        return 0;
    }
    if (is_condition(object))
        return scalar_drop_result(PyObject_CallMethod(object, "_refuse_number", NULL));
    int found = scalar_check(object) ? 0 : scalar_as_number(object, number_ret, &ignored);
    if (found == 0)
        PyErr_Format(PyExc_TypeError, "%s must be a real number, not %.100s", what,
                     Py_TYPE(object)->tp_name);
    return found == 1 ? 0 : -1;
}
