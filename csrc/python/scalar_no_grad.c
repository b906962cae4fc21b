/* scalar_no_grad.c - values without a graph.
 *
 * How deep a thread is in no_grad() stands in the thread's own dict; a count over all threads, in
 * scalar_global, is all that the operators look at as long as nobody is. What an op makes in there
 * is a node like any other until it has its value; then it lets go of its operands. While a
 * function is recorded it is detached instead: the program must still compute it.
 * Cost: outside one comparison an op, inside some 50 ns. */
#include "scalar.h"

static PyObject *depth_name = NULL;

int scalar_no_grad_names(void) {
    depth_name = PyUnicode_InternFromString("pygradc.no_grad");
    return depth_name != NULL ? 0 : -1;
}

/* -1 with an exception set. */
static long depth_here(void) {
    PyObject *dict = PyThreadState_GetDict();
    PyObject *depth = dict != NULL ? PyDict_GetItemWithError(dict, depth_name) : NULL;
    if (depth == NULL) return PyErr_Occurred() ? -1 : 0;
    return PyLong_AsLong(depth);
}

int scalar_no_grad_here(void) {
    long depth = depth_here();
    if (depth < 0) PyErr_Clear(); /* only without memory */
    return depth > 0;
}

PyObject *scalar_ungraphed(pg_node_id id) {
    if (!scalar_no_grad_here()) return scalar_adopt_node(id);
    if (!scalar_tracing()) {
        scalar_cut_node(id);
        return scalar_adopt_node(id);
    }
    pg_node_id detached = 0;
    pg_status status = pg_trace_detach(scalar_global.graph, &detached, id);
    scalar_release_node(id);
    return status == PG_OK ? scalar_adopt_node(detached) : scalar_raise(status);
}

/* _no_grad(change) -> depth: go deeper by 1, or back by 1, or as far as it says. */
static PyObject *no_grad(PyObject *module, PyObject *argument) {
    (void)module;
    long change = PyLong_AsLong(argument), depth = depth_here();
    PyObject *dict = PyThreadState_GetDict();
    if (PyErr_Occurred()) return NULL;
    if (dict == NULL) return PyErr_NoMemory();
    if (depth + change < 0) change = -depth; /* a generator that another thread has closed */
    PyObject *result = PyLong_FromLong(depth + change);
    if (result == NULL || PyDict_SetItem(dict, depth_name, result) < 0) {
        Py_XDECREF(result);
        return NULL;
    }
    scalar_global.no_grad += change;
    return result;
}

PyMethodDef scalar_no_grad_methods[] = {
    {"_no_grad", no_grad, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
