/* scalar_custom.c - nodes of custom ops, which pygradc/custom.py defines.
 *
 * A rule is a tuple (op, name, forward, derivatives, symbolic). It is the tag of the op's nodes, so
 * that no node needs a closure, a dict or a cycle. `forward` and `derivatives` are called with the
 * operands' numbers, or, if symbolic, with Values, in no_grad(): then the arithmetic is that of
 * Values, as a program's is. Derivatives are computed when a gradient reaches the node, from the
 * data at that time.
 * Both are the user's code and may do anything: operands are held by a tuple, and nothing read from
 * the graph before such a call is relied on after it. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_result.h"
#include "python/scalar_trace.h"

enum { rule_op, rule_name, rule_forward, rule_derivatives, rule_symbolic, rule_size };

static PyObject *part(PyObject *rule, int index) { return PyTuple_GET_ITEM(rule, index); }

static int is_symbolic(PyObject *rule) { return part(rule, rule_symbolic) == Py_True; }

int scalar_is_rule(PyObject *object) {
    return PyTuple_CheckExact(object) && PyTuple_GET_SIZE(object) == rule_size &&
           PyUnicode_Check(part(object, rule_name)) && PyBool_Check(part(object, rule_symbolic));
}

/* ---- Calling a rule's functions -------------------------------------------------------------- */

/* Raise TypeError: the rule returned a non-number. `index` < 0: as the value; else as that
 * derivative. */
static void complain(PyObject *rule, Py_ssize_t index, PyObject *got) {
    if (index < 0)
        PyErr_Format(PyExc_TypeError, "op %R: forward must return a real number, not %.100s",
                     part(rule, rule_name), Py_TYPE(got)->tp_name);
    else
        PyErr_Format(PyExc_TypeError, "op %R: derivative %zd must be a real number, not %.100s",
                     part(rule, rule_name), index, Py_TYPE(got)->tp_name);
}

/* Read the result of a rule's function, a number or a Value, as a number. 0 or -1. */
static int read_result(PyObject *rule, PyObject *result, double *number_ret, Py_ssize_t index) {
    pg_operand operand;
    int found = scalar_operand(result, &operand, NULL);
    if (found == 0) complain(rule, index, result);
    if (found != 1) return -1;
    *number_ret = pg_operand_data(scalar_global.graph, operand);
    return 0;
}

/* Call function(*operands), or function(*operands, y) if y isn't NULL; operands is a tuple of
 * Values. */
static PyObject *call(PyObject *rule, PyObject *function, PyObject *operands, PyObject *y) {
    const Py_ssize_t count = PyTuple_GET_SIZE(operands);
    const int symbolic = is_symbolic(rule);
    PyObject *arguments = PyTuple_New(count + (y != NULL)), *result = NULL;
    for (Py_ssize_t i = 0; arguments != NULL && i < PyTuple_GET_SIZE(arguments); i++) {
        PyObject *value = i < count ? PyTuple_GET_ITEM(operands, i) : y;
        scalar_put(&arguments, (size_t)i,
                   symbolic ? Py_NewRef(value)
                            : PyFloat_FromDouble(scalar_node((scalar *)value)->data));
    }
    if (arguments != NULL && (!symbolic || scalar_enter_block(arguments, 0) == 0)) {
        result = PyObject_CallObject(function, arguments);
        if (symbolic) scalar_leave_block(arguments);
    }
    Py_XDECREF(arguments);
    return result;
}

/* ---- Making a node --------------------------------------------------------------------------- */

/* The operands as Values, numbers as new leaves: a new tuple. */
static PyObject *operands_of(PyObject *rule, PyObject *arguments) {
    const Py_ssize_t count = PyTuple_GET_SIZE(arguments);
    PyObject *operands = PyTuple_New(count);
    for (Py_ssize_t i = 0; operands != NULL && i < count; i++) {
        PyObject *value = PyTuple_GET_ITEM(arguments, i);
        if (scalar_check(value)) Py_INCREF(value);
        else {
            pg_operand number;
            int found = scalar_operand(value, &number, NULL);
            if (found == 0)
                PyErr_Format(PyExc_TypeError,
                             "op %R: operand %zd must be a Value or a real number, not %.100s",
                             part(rule, rule_name), i, Py_TYPE(value)->tp_name);
            value = found == 1 ? scalar_new_leaf(number.number) : NULL;
        }
        scalar_put(&operands, (size_t)i, value);
    }
    return operands;
}

static PyObject *make_node(PyObject *rule, PyObject *operands, double y) {
    if (scalar_without_graph()) return scalar_new_leaf(y);
    size_t count;
    if (scalar_reserve(1) < 0) return NULL;
    pg_node_id *ids = scalar_gather_ids(operands, &count), id = 0;
    if (ids == NULL) return NULL;
    pg_status status =
        pg_graph_custom(scalar_global.graph, &id, y, (pg_children){ids, NULL, count}, rule);
    if (status == PG_OK) Py_INCREF(rule);
    PyMem_Free(ids);
    return scalar_result(status, id);
}

/* apply(rule, arguments) -> Value */
static PyObject *apply(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t arg_count) {
    if (arg_count != 2 || !scalar_is_rule(args[0]) || !PyTuple_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "_apply takes a rule and a tuple");
    PyObject *rule = args[0], *operands = operands_of(rule, args[1]), *value = NULL;
    PyObject *result = operands ? call(rule, part(rule, rule_forward), operands, NULL) : NULL;
    double y;
    if (result != NULL && read_result(rule, result, &y, -1) == 0)
        value = make_node(rule, operands, y);
    Py_XDECREF(result);
    Py_XDECREF(operands);
    return value;
}

/* ---- Derivatives ----------------------------------------------------------------------------- */

/* Read one number for each operand; with one operand it need not be in a sequence. */
static int read_slopes(PyObject *rule, PyObject *result, double *slopes_ret, Py_ssize_t count) {
    int alone = Py_TYPE(result)->tp_iter == NULL && !PySequence_Check(result);
    if (!alone && !PyTuple_Check(result) && !PyList_Check(result)) { /* an array without axes? */
        pg_operand number;
        alone = scalar_operand(result, &number, NULL);
        if (alone < 0) return -1;
    }
    PyObject *all = alone ? PyTuple_Pack(1, result) : PySequence_Tuple(result);
    if (all == NULL) return -1;
    int failed = PyTuple_GET_SIZE(all) != count;
    if (failed)
        PyErr_Format(PyExc_ValueError,
                     "op %R: derivatives must return one number for each of %zd operands, got %zd",
                     part(rule, rule_name), count, PyTuple_GET_SIZE(all));
    for (Py_ssize_t i = 0; i < count && !failed; i++)
        failed = read_result(rule, PyTuple_GET_ITEM(all, i), &slopes_ret[i], i) < 0;
    Py_DECREF(all);
    return failed ? -1 : 0;
}

/* Write the derivatives where the sweep reads them, once all have been read. */
static int store_slopes(PyObject *rule, PyObject *result, pg_node_id id) {
    const size_t count = pg_node_arity(scalar_global.graph, id);
    double *slopes = PyMem_New(double, count);
    if (slopes == NULL) return scalar_fail(PG_ERR_NOMEM);
    int failed = read_slopes(rule, result, slopes, (Py_ssize_t)count);
    if (!failed)
        memcpy(scalar_global.graph->nodes[id].of.variadic->locals, slopes, count * sizeof *slopes);
    PyMem_Free(slopes);
    return failed;
}

int scalar_custom_slopes(void *tag, pg_node_id id) {
    PyObject *rule = Py_NewRef((PyObject *)tag), *result = NULL;
    PyObject *y = scalar_of_node(id), *children = y != NULL ? scalar_children(y) : NULL;
    scalar_global.inside++;
    if (children != NULL) result = call(rule, part(rule, rule_derivatives), children, y);
    int failed = result == NULL || store_slopes(rule, result, id) < 0;
    scalar_global.inside--;
    Py_XDECREF(result);
    Py_XDECREF(children);
    Py_XDECREF(y);
    Py_DECREF(rule);
    return failed ? -1 : 0;
}

/* A derivative that a rule returned as a node, which the caller owns; 0 with an exception set. */
static pg_node_id node_of_slope(PyObject *rule, PyObject *slope, Py_ssize_t index) {
    pg_operand operand;
    int found = scalar_operand(slope, &operand, NULL);
    if (found == 0) complain(rule, index, slope);
    if (found != 1) return 0;
    pg_node_id id = operand.id;
    pg_status status = id != 0 ? pg_graph_retain(scalar_global.graph, id)
                               : pg_graph_leaf(scalar_global.graph, &id, operand.number);
    if (status == PG_OK) return id;
    scalar_raise(status);
    return 0;
}

/* Call the rule's derivatives with Values, the graph being built: a new tuple. */
static PyObject *symbolic_slopes(PyObject *rule, pg_node_id id) {
    if (!is_symbolic(rule))
        return PyErr_Format(PyExc_TypeError,
                            "grad: op %R computes its derivatives as numbers, which have no "
                            "derivatives: write them in Values' operators",
                            part(rule, rule_name));
    PyObject *y = scalar_of_node(id), *children = y != NULL ? scalar_children(y) : NULL;
    PyObject *last = children != NULL ? PyTuple_Pack(1, y) : NULL, *result = NULL;
    PyObject *arguments = last != NULL ? PySequence_Concat(children, last) : NULL;
    if (arguments != NULL) result = PyObject_CallObject(part(rule, rule_derivatives), arguments);
    if (result != NULL && !PyTuple_Check(result) && !PyList_Check(result))
        Py_SETREF(result, PyTuple_Pack(1, result));
    else if (result != NULL) Py_SETREF(result, PySequence_Tuple(result));
    Py_XDECREF(arguments);
    Py_XDECREF(last);
    Py_XDECREF(children);
    Py_XDECREF(y);
    return result;
}

int scalar_custom_derive(void *tag, pg_node_id id, pg_node_id *ids_ret) {
    const size_t count = pg_node_arity(scalar_global.graph, id);
    PyObject *rule = Py_NewRef((PyObject *)tag);
    scalar_global.inside++;
    PyObject *slopes = symbolic_slopes(rule, id);
    scalar_global.inside--;
    size_t done = 0;
    if (slopes != NULL && (size_t)PyTuple_GET_SIZE(slopes) != count)
        PyErr_Format(PyExc_ValueError,
                     "op %R: derivatives must give one number for each of %zu operands, got %zd",
                     part(rule, rule_name), count, PyTuple_GET_SIZE(slopes));
    else
        for (; slopes != NULL && done < count; done++) {
            PyObject *slope = PyTuple_GET_ITEM(slopes, (Py_ssize_t)done);
            ids_ret[done] = node_of_slope(rule, slope, (Py_ssize_t)done);
            if (ids_ret[done] == 0) break;
        }
    const int failed = done != count || slopes == NULL;
    while (failed && done > 0) pg_graph_release(scalar_global.graph, ids_ret[--done]);
    Py_XDECREF(slopes);
    Py_DECREF(rule);
    return failed ? -1 : 0;
}

/* ---- In a recording -------------------------------------------------------------------------- */

/* trace_custom(rule, value, operands, slopes) -> Value: operands and slopes are sequences of
 * equally many Values. */
static PyObject *trace_custom(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *rule, *value, *operands, *slopes;
    if (!PyArg_ParseTuple(args, "O!O!OO", &PyTuple_Type, &rule, scalar_global.base, &value,
                          &operands, &slopes) ||
        scalar_reserve(1) < 0)
        return NULL;
    size_t count = 0, slope_count = 0;
    pg_node_id *ids = scalar_gather_ids(operands, &count), id = 0;
    pg_node_id *slope_ids = ids != NULL ? scalar_gather_ids(slopes, &slope_count) : NULL;
    PyObject *result = NULL;
    if (slope_ids != NULL && count != slope_count)
        PyErr_SetString(PyExc_ValueError, "_trace_custom needs as many slopes as operands");
    else if (slope_ids != NULL) {
        pg_status status =
            pg_trace_custom(scalar_global.graph, &id, ((scalar *)value)->id, ids, slope_ids, count);
        if (status == PG_OK) scalar_global.graph->nodes[id].of.variadic->tag = Py_NewRef(rule);
        result = scalar_result(status, id);
    }
    PyMem_Free(ids);
    PyMem_Free(slope_ids);
    return result;
}

/* trace_strictly(on) -> was it on? While a rule is traced, whatever a float would answer otherwise
 * is an error: ==, hash, repr. The end of the trace turns this off, too. */
static PyObject *trace_strictly(PyObject *Py_UNUSED(module), PyObject *on) {
    const int before = scalar_global.strict;
    scalar_global.strict = on == Py_True;
    return PyBool_FromLong(before);
}

/* may_show(value): raises TraceError while a rule is traced, if the Value has no number. */
static PyObject *may_show(PyObject *Py_UNUSED(module), PyObject *value) {
    return scalar_may_ask(value, "text") < 0 ? NULL : Py_NewRef(Py_None);
}

PyMethodDef scalar_custom_functions[] = {
    {"may_show", may_show, METH_O, NULL},
    {"apply", PG_FAST(apply), METH_FASTCALL, NULL},
    {"trace_custom", trace_custom, METH_VARARGS, NULL},
    {"trace_strictly", trace_strictly, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
