/* scalar_calls.c - calls coarser than one op: backward, sums, layers, derivatives.
 *
 * These take Python's own sequences of Values and cross into the core once. They are methods of the
 * type, not cffi functions, because they need the GIL (cffi releases it) and raise exceptions. Each
 * reserves nodes first, then gathers operands, and builds last. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_result.h"
#include "python/scalar_trace.h"

/* Should the call that returned this status be repeated? A walk that saw Ctrl-C has stopped without
 * running the handler; it runs now, and if it raises nothing the call is repeated. */
static int try_again(pg_status status) {
    if (PG_LIKELY(status != PG_ERR_STOPPED) || PyErr_Occurred()) return 0;
    PyErr_SetInterrupt(); /* the hook `stop` has cleared the signal */
    return PyErr_CheckSignals() == 0;
}

static PyObject *call_backward(PyObject *self, PyObject *Py_UNUSED(none)) {
    if (scalar_may_read(self, "backward()") < 0) return NULL;
    Py_INCREF(self);
    pg_status status;
    do status = pg_backward(scalar_global.graph, ((scalar *)self)->id);
    while (try_again(status));
    PyObject *result = scalar_none(status);
    scalar_run_deferred();
    Py_DECREF(self);
    return result;
}

/* clear_grads(root); root is a Value. */
static PyObject *call_clear_grads(PyObject *Py_UNUSED(type), PyObject *root) {
    if (scalar_may_read(root, "clear_grads()") < 0) return NULL;
    pg_status status;
    do status = pg_clear_grads(scalar_global.graph, ((scalar *)root)->id);
    while (try_again(status));
    return scalar_none(status);
}

static PyObject *call_push(PyObject *self, PyObject *Py_UNUSED(none)) {
    if (scalar_may_read(self, "_backward()") < 0) return NULL;
    return scalar_none(pg_push(scalar_global.graph, ((scalar *)self)->id));
}

/* ---- Sums and layers ------------------------------------------------------------------------- */

/* Is this a number of a type that only Python code can read? Such code may do anything, such as
 * drop a Value after its id was read. */
static int is_foreign(PyObject *object) {
    return !PyFloat_Check(object) && !PyLong_Check(object) && !scalar_check(object);
}

/* Nearly every operand is a Value, and is read without a call. *overrides_ret becomes 1 if its
 * class overrides + or *. */
static inline int require_operand(PyObject *object, pg_operand *operand_ret, const char *what,
                                  int *overrides_ret) {
    if (PG_UNLIKELY(Py_TYPE(object) != scalar_global.value)) {
        if (scalar_check(object) && scalar_overrides(object)) *overrides_ret = 1;
        return scalar_require_operand(object, operand_ret, what);
    }
    *operand_ret = (pg_operand){((scalar *)object)->id, 0.0};
    return 0;
}

static int gather(PyObject *tuple, pg_operand *operands, const char *what, int *overrides_ret) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++)
        if (require_operand(PyTuple_GET_ITEM(tuple, i), &operands[i], what, overrides_ret) < 0)
            return -1;
    return 0;
}

/* The result of a sum. The sum of nothing is its start, which may have an object already. */
static PyObject *sum_result(pg_node_id id) {
    if (PG_LIKELY(scalar_global.graph->owners[id] == NULL)) return scalar_result(PG_OK, id);
    PyObject *result = scalar_of_node(id);
    scalar_release_node(id);
    return result;
}

static PyObject *sum_of(PyObject *values, PyObject *start) {
    size_t count = (size_t)PyTuple_GET_SIZE(values);
    if (scalar_reserve(2 * count + 1) < 0) return NULL;
    pg_operand *operands = PyMem_New(pg_operand, count + 1);
    if (operands == NULL) return PyErr_NoMemory();
    PyObject *result = NULL;
    int overrides = 0;
    pg_node_id id;
    int failed = require_operand(start, &operands[count], "sum: start", &overrides) < 0 ||
                 gather(values, operands, "sum: a value", &overrides) < 0;
    if (!failed && overrides) {
        result = Py_NewRef(Py_NotImplemented);
    } else if (!failed && scalar_check_operands(operands, count + 1) == 0) {
        pg_status status = pg_graph_sum(scalar_global.graph, &id, operands[count], operands, count);
        result = status == PG_OK ? sum_result(id) : scalar_raise(status);
    }
    PyMem_Free(operands);
    return result;
}

/* sum(values, start) -> Value, or NotImplemented where the class was patched, or an operand's
 * class overrides + or *. */
static PyObject *call_sum(PyObject *Py_UNUSED(type), PyObject *const *args, Py_ssize_t count) {
    if (count != 2) return PyErr_Format(PyExc_TypeError, "_sum takes 2 arguments");
    const int native = scalar_is_native(0);
    if (native < 0) return NULL;
    if (native == 0) Py_RETURN_NOTIMPLEMENTED;
    PyObject *values = PySequence_Tuple(args[0]); /* which other code can't shorten */
    if (values == NULL) return NULL;
    PyObject *result = sum_of(values, args[1]);
    Py_DECREF(values);
    return result;
}

/* The operands of a layer, gathered for the core. */
typedef struct layer_call {
    size_t rows, columns;
    pg_operand *weights, *biases, *inputs; /* one block */
    pg_node_id *ids;
    int *activations;
    int plain_only; /* fail, without an exception, where foreign code would have to run */
    int overrides;  /* an operand's class overrides operators */
} layer_call;

static int layer_allocate(layer_call *layer) {
    size_t operands = layer->rows * layer->columns + layer->rows + layer->columns;
    layer->weights = PyMem_New(pg_operand, operands + 1);
    layer->ids = PyMem_New(pg_node_id, layer->rows + 1);
    layer->activations = PyMem_New(int, layer->rows + 1);
    if (layer->weights == NULL || layer->ids == NULL || layer->activations == NULL)
        return scalar_fail(PG_ERR_NOMEM);
    layer->biases = layer->weights + layer->rows * layer->columns;
    layer->inputs = layer->biases + layer->rows;
    return 0;
}

static void layer_free(layer_call *layer) {
    PyMem_Free(layer->weights);
    PyMem_Free(layer->ids);
    PyMem_Free(layer->activations);
}

/* Read an operand of a layer; a foreign number only unless plain_only. */
static inline int layer_operand(layer_call *layer, PyObject *object, pg_operand *operand_ret,
                                const char *what) {
    if (PG_LIKELY(Py_TYPE(object) == scalar_global.value)) {
        *operand_ret = (pg_operand){((scalar *)object)->id, 0.0};
        return 0;
    }
    if (layer->plain_only && is_foreign(object)) return -1;
    return require_operand(object, operand_ret, what, &layer->overrides);
}

static const char no_weights[] = "a neuron's weights must be a sequence";

/* Gather one neuron's weights and bias into row `row`. */
static int layer_gather_row(layer_call *layer, size_t row, PyObject *weights, PyObject *bias) {
    if (layer->plain_only && !PyList_Check(weights) && !PyTuple_Check(weights)) return -1;
    PyObject *fast = PySequence_Fast(weights, no_weights);
    if (fast == NULL) return -1;
    size_t count = (size_t)PySequence_Fast_GET_SIZE(fast);
    int failed = count != layer->columns;
    if (failed)
        PyErr_Format(PyExc_ValueError, "a neuron with %zu weights takes %zu inputs, got %zu", count,
                     count, layer->columns);
    PyObject **items = PySequence_Fast_ITEMS(fast);
    pg_operand *to = layer->weights + row * layer->columns;
    for (size_t i = 0; i < count && !failed; i++)
        failed = layer_operand(layer, items[i], &to[i], "a weight") < 0;
    Py_DECREF(fast);
    if (layer->columns == 0 && scalar_check(bias) && Py_TYPE(bias) != scalar_global.value)
        layer->overrides = 1; /* the activation is called on the bias itself */
    return failed ? -1 : layer_operand(layer, bias, &layer->biases[row], "a bias");
}

static PyObject *wrap_all(pg_node_id *ids, size_t count) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    size_t done = 0;
    while (list != NULL && done < count) {
        PyObject *value = sum_result(ids[done++]);
        if (value == NULL) Py_CLEAR(list);
        else PyList_SET_ITEM(list, (Py_ssize_t)done - 1, value);
    }
    while (done < count) scalar_release_node(ids[done++]);
    return list;
}

/* Append all neurons, one call for each run of equal activations; or none of them. */
static pg_status layer_append(layer_call *layer) {
    pg_graph *graph = scalar_global.graph;
    size_t from = 0, to = 0;
    while (from < layer->rows) {
        while (to < layer->rows && layer->activations[to] == layer->activations[from]) to++;
        pg_status status = pg_graph_layer(
            graph, layer->ids + from,
            &(pg_layer){layer->activations[from], layer->weights + from * layer->columns,
                        layer->biases + from, layer->inputs, to - from, layer->columns});
        if (status != PG_OK) {
            while (from > 0) scalar_release_node(layer->ids[--from]);
            return status;
        }
        from = to;
    }
    return PG_OK;
}

/* Gather neurons given as triples (weights, bias, activation). */
static int layer_gather(layer_call *layer, PyObject *neurons) {
    for (size_t row = 0; row < layer->rows; row++) {
        PyObject *neuron = PyTuple_GET_ITEM(neurons, (Py_ssize_t)row);
        if (!PyTuple_Check(neuron) || PyTuple_GET_SIZE(neuron) != 3)
            return scalar_error(PyExc_TypeError, "a neuron must be (weights, bias, activation)");
        long activation = PyLong_AsLong(PyTuple_GET_ITEM(neuron, 2));
        if (activation == -1 && PyErr_Occurred()) return -1;
        layer->activations[row] = (int)activation;
        if (layer_gather_row(layer, row, PyTuple_GET_ITEM(neuron, 0), PyTuple_GET_ITEM(neuron, 1)) <
            0)
            return -1;
    }
    return 0;
}

/* The same neurons, with their weights as tuples, which other code can't change. */
static PyObject *hold_weights(PyObject *neurons) {
    PyObject *held = PyTuple_New(PyTuple_GET_SIZE(neurons));
    for (Py_ssize_t i = 0; held != NULL && i < PyTuple_GET_SIZE(neurons); i++) {
        PyObject *neuron = PyTuple_GET_ITEM(neurons, i);
        PyObject *fast = PySequence_Fast(PyTuple_GET_ITEM(neuron, 0), no_weights);
        PyObject *weights = fast != NULL ? PySequence_Tuple(fast) : NULL, *copy = NULL;
        if (weights != NULL)
            copy =
                PyTuple_Pack(3, weights, PyTuple_GET_ITEM(neuron, 1), PyTuple_GET_ITEM(neuron, 2));
        Py_XDECREF(weights);
        Py_XDECREF(fast);
        scalar_put(&held, (size_t)i, copy);
    }
    return held;
}

/* Are +, * and the activations those that Value was created with? 1, 0, or -1 with an exception
 * set. */
static int layer_is_native(const layer_call *layer) {
    int native = !layer->overrides;
    for (size_t row = 0; native == 1 && row < layer->rows; row++)
        if (row == 0 || layer->activations[row] != layer->activations[row - 1])
            native = scalar_is_native(layer->activations[row]);
    return native;
}

/* Inputs are held by their tuple; weights lie in the user's lists. As long as all operands are
 * plain, no code runs that could change those lists; at the first foreign number or sequence, start
 * again with copies. */
static PyObject *layer_of(PyObject *neurons, PyObject *inputs) {
    layer_call layer = {.plain_only = 1};
    layer.rows = (size_t)PyTuple_GET_SIZE(neurons);
    layer.columns = (size_t)PyTuple_GET_SIZE(inputs);
    PyObject *held = NULL, *result = NULL;
    if (scalar_reserve(layer.rows * (4 * layer.columns + 3)) == 0 && layer_allocate(&layer) == 0 &&
        gather(inputs, layer.inputs, "an input", &layer.overrides) == 0) {
        int failed = layer_gather(&layer, neurons) < 0;
        if (failed && !PyErr_Occurred()) {
            layer.plain_only = 0;
            held = hold_weights(neurons);
            failed = held == NULL || layer_gather(&layer, held) < 0;
        }
        const size_t operands = layer.rows * layer.columns + layer.rows + layer.columns;
        failed = failed || scalar_check_operands(layer.weights, operands) < 0;
        int native = failed ? -1 : layer_is_native(&layer);
        if (native == 0) result = Py_NewRef(Py_NotImplemented);
        if (native == 1) {
            pg_status status = layer_append(&layer);
            result = status == PG_OK ? wrap_all(layer.ids, layer.rows) : scalar_raise(status);
        }
    }
    layer_free(&layer);
    Py_XDECREF(held);
    return result;
}

/* layer(neurons, inputs) -> list of Values, or NotImplemented where the class was patched. neurons
 * is a sequence of (weights, bias, activation), activation an op's number or 0. */
static PyObject *call_layer(PyObject *Py_UNUSED(type), PyObject *const *args, Py_ssize_t count) {
    if (count != 2) return PyErr_Format(PyExc_TypeError, "_layer takes 2 arguments");
    PyObject *neurons = PySequence_Tuple(args[0]);
    PyObject *inputs = neurons != NULL ? PySequence_Tuple(args[1]) : NULL;
    PyObject *result = inputs != NULL ? layer_of(neurons, inputs) : NULL;
    Py_XDECREF(inputs);
    Py_XDECREF(neurons);
    return result;
}

/* all_exactly(list, class) -> bool: is the class of each item exactly this one, and no
 * subclass? */
static PyObject *call_all_exactly(PyObject *Py_UNUSED(type), PyObject *const *args,
                                  Py_ssize_t count) {
    if (count != 2 || !PyList_Check(args[0])) Py_RETURN_FALSE;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(args[0]); i++)
        if ((PyObject *)Py_TYPE(PyList_GET_ITEM(args[0], i)) != args[1]) Py_RETURN_FALSE;
    Py_RETURN_TRUE;
}

/* ---- Derivatives ----------------------------------------------------------------------------- */

/* A node that the caller owns, as a Value, which takes over the reference. The derivative of w * x
 * is w itself: a node that has a Value keeps it. */
static PyObject *value_of(pg_node_id id) {
    if (scalar_global.graph->owners[id] == NULL) return scalar_result(PG_OK, id);
    PyObject *value = scalar_of_node(id);
    pg_graph_release(scalar_global.graph, id);
    return value;
}

/* The nodes as a tuple of Values, None for 0. Takes over the references, also on failure. */
static PyObject *values_of(const pg_node_id *ids, size_t count) {
    PyObject *values = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; i < count; i++) {
        if (values == NULL && ids[i] != 0) pg_graph_release(scalar_global.graph, ids[i]);
        if (values == NULL) continue;
        scalar_put(&values, i, ids[i] == 0 ? Py_NewRef(Py_None) : value_of(ids[i]));
    }
    return values;
}

/* derive(y, xs) -> for each of a tuple of Values the derivative, a Value, or None where y doesn't
 * depend on it; or the Value in between that can't be differentiated. */
static PyObject *call_derive(PyObject *Py_UNUSED(module), PyObject *const *args,
                             Py_ssize_t arg_count) {
    if (arg_count != 2 || !scalar_check(args[0]) || !PyTuple_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "derive takes a Value and a tuple");
    if (scalar_reserve(1) < 0) return NULL;
    size_t count;
    pg_node_id *ids = scalar_gather_ids(args[1], &count), opaque;
    pg_node_id *found = ids != NULL ? PyMem_New(pg_node_id, count + 1) : NULL;
    PyObject *result = NULL;
    if (found != NULL) {
        pg_status status;
        do
            status = pg_graph_derive(scalar_global.graph, found, &opaque, ((scalar *)args[0])->id,
                                     ids, count);
        while (try_again(status));
        if (status == PG_OK) result = values_of(found, count);
        else if (opaque != 0) result = scalar_of_node(opaque);
        else scalar_raise(status);
    }
    PyMem_Free(found);
    PyMem_Free(ids);
    scalar_run_deferred();
    return result;
}

/* ---- The facade ------------------------------------------------------------------------------ */

static PyObject *call_live_nodes(PyObject *Py_UNUSED(type), PyObject *Py_UNUSED(none)) {
    return PyLong_FromSize_t(pg_graph_live(scalar_global.graph));
}

/* adopt(Value, number, fail): set the class that operators return, which becomes the module's
 * attribute Value, and the functions that scalar.h describes. Called again, with another class, if
 * an import was interrupted, as by Ctrl-C, and is repeated. */
static PyObject *call_adopt(PyObject *module, PyObject *args) {
    PyObject *value, *number, *fail;
    if (!PyArg_ParseTuple(args, "O!OO", &PyType_Type, &value, &number, &fail)) return NULL;
    PyTypeObject *class = (PyTypeObject *)value;
    if (scalar_global.sealed || !PyType_IsSubtype(class, scalar_global.base) ||
        class->tp_basicsize != scalar_global.base->tp_basicsize) {
        PyErr_SetString(PyExc_TypeError, "one subclass of Scalar without slots, once");
        return NULL;
    }
    if (PyObject_SetAttrString(module, "Value", value) < 0) return NULL;
    scalar_drop_free_objects(); /* they are instances of the previous class */
    class->tp_dealloc = scalar_global.base->tp_dealloc; /* Python's own is five times slower */
    Py_XSETREF(scalar_global.value, (PyTypeObject *)Py_NewRef(value));
    Py_XSETREF(scalar_global.number, Py_NewRef(number));
    Py_XSETREF(scalar_global.fail, Py_NewRef(fail));
    Py_RETURN_NONE;
}

/* guard(function or None, operators, reflected): set the guard that operators call from now on,
 * see is_refused. */
static PyObject *call_guard(PyObject *Py_UNUSED(type), PyObject *args) {
    PyObject *guard, *before = scalar_global.guard;
    unsigned operators, reflected;
    if (!PyArg_ParseTuple(args, "OII", &guard, &operators, &reflected)) return NULL;
    scalar_global.guard = guard != Py_None ? Py_NewRef(guard) : NULL;
    scalar_global.guarded = operators;
    scalar_global.guarded_reflected = reflected;
    /* Python tests for the slot, and raises its own message where there is none. */
    scalar_global.value->tp_as_number->nb_index =
        guard != Py_None ? NULL : scalar_global.base->tp_as_number->nb_index;
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

/* seal(): make the class that operators return final. */
static PyObject *call_seal(PyObject *Py_UNUSED(type), PyObject *Py_UNUSED(none)) {
    scalar_global.sealed = 1;
    Py_RETURN_NONE;
}

static PyObject *call_is_sealed(PyObject *Py_UNUSED(type), PyObject *Py_UNUSED(none)) {
    return PyBool_FromLong(scalar_global.sealed);
}

PyMethodDef scalar_call_methods[] = {
    {"backward", call_backward, METH_NOARGS,
     "backward($self, /)\n--\n\n"
     "Push gradients from here to every node below.\n\n"
     "Sets this gradient to 1, gives inner nodes fresh ones, adds to those of leaves.\n"
     "Raises ValueError, ZeroDivisionError or OverflowError where a derivative has no finite\n"
     "value, and whatever a _backward closure or Ctrl-C raises; gradients are then as before."},
    {"_push", call_push, METH_NOARGS,
     "_push($self, /)\n--\n\nPush this node's gradient to its children."},
    {NULL, NULL, 0, NULL},
};

PyMethodDef scalar_call_functions[] = {
    {"clear_grads", call_clear_grads, METH_O, NULL},
    {"sum", PG_FAST(call_sum), METH_FASTCALL, NULL},
    {"layer", PG_FAST(call_layer), METH_FASTCALL, NULL},
    {"all_exactly", PG_FAST(call_all_exactly), METH_FASTCALL, NULL},
    {"derive", PG_FAST(call_derive), METH_FASTCALL, NULL},
    {"live_nodes", call_live_nodes, METH_NOARGS, NULL},
    {"adopt", call_adopt, METH_VARARGS, NULL},
    {"guard", call_guard, METH_VARARGS, NULL},
    {"seal", call_seal, METH_NOARGS, NULL},
    {"is_sealed", call_is_sealed, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
