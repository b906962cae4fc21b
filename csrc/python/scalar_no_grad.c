/* scalar_no_grad.c - values without a graph.
 *
 * Each thread counts how deep it is in no_grad(). A count over all threads, in scalar_global, is
 * all that the operators look at as long as nobody is. What an op makes in there is a node like any
 * other until it has its value; then it lets go of its operands. While a function is recorded it is
 * detached instead: the program must still compute it.
 * Cost: outside one comparison an op. */
#include "scalar.h"

static PG_THREAD_LOCAL long depth = 0;

int scalar_no_grad_here(void) { return depth > 0; }

long scalar_no_grad_change(long change) {
    if (depth + change < 0) change = -depth; /* a generator that another thread has closed */
    scalar_global.no_grad += change;
    return depth += change;
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
    const long change = PyLong_AsLong(argument);
    if (change == -1 && PyErr_Occurred()) return NULL;
    return PyLong_FromLong(scalar_no_grad_change(change));
}

PyMethodDef scalar_no_grad_methods[] = {
    {"_no_grad", no_grad, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
