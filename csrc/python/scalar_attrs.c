/* scalar_attrs.c - the attributes of a Value: data, grad, children, op, label, closure.
 *
 * Numbers live in the node. Python objects (labels, closures, names of custom ops) live in the
 * object's dict, under the attribute's own name, and cost nothing until they are set. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_result.h"
#include "python/scalar_trace.h"

PyObject *scalar_attribute(const scalar *self, PyObject *name) {
    return self->dict != NULL ? PyDict_GetItemWithError(self->dict, name) : NULL;
}

static int set_attribute(scalar *self, PyObject *name, PyObject *value) {
    if (value == NULL) {
        if (scalar_attribute(self, name) != NULL) return PyDict_DelItem(self->dict, name);
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *dict = scalar_attributes(self);
    return dict != NULL ? PyDict_SetItem(dict, name, value) : -1;
}

/* A number of a node: its name, and its offset. */
typedef struct number_field {
    const char *name;
    size_t offset;
} number_field;

static number_field data_field = {"data", offsetof(pg_node, data)};
static number_field grad_field = {"grad", offsetof(pg_node, u)};

static double *number_at(PyObject *self, const number_field *field) {
    return (double *)((char *)scalar_node((scalar *)self) + field->offset);
}

static PyObject *get_number(PyObject *self, void *field) {
    if (scalar_may_read(self, field == &data_field ? ".data" : ".grad") < 0) return NULL;
    return PyFloat_FromDouble(*number_at(self, field));
}

static int set_number(PyObject *self, PyObject *value, void *field) {
    const char *name = ((number_field *)field)->name;
    double number;
    if (value == NULL)
        return scalar_error(PyExc_AttributeError, "%s can't be deleted; set it to a number", name);
    if (scalar_require_number(value, &number, name) < 0) return -1;
    if ((field == &data_field ? scalar_may_write(self, "assigning .data")
                              : scalar_may_read(self, "assigning .grad")) < 0)
        return -1;
    *number_at(self, field) = number;
    return 0;
}

PyObject *scalar_children(PyObject *self) {
    pg_node_id id = ((scalar *)self)->id;
    size_t count = pg_node_arity(scalar_global.graph, id);
    PyObject *children = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; children != NULL && i < count; i++)
        scalar_put(&children, i, scalar_of_node(pg_node_child(scalar_global.graph, id, i)));
    return children;
}

static PyObject *get_children(PyObject *self, void *Py_UNUSED(unused)) {
    PyObject *children = scalar_children(self);
    for (Py_ssize_t i = 0; children != NULL && i < PyTuple_GET_SIZE(children); i++)
        ((scalar *)PyTuple_GET_ITEM(children, i))->is_shown = 1;
    return children;
}

static PyObject *get_prev(PyObject *self, void *unused) {
    PyObject *children = get_children(self, unused);
    if (children == NULL) return NULL;
    PyObject *set = PySet_New(children);
    Py_DECREF(children);
    return set;
}

/* The derivatives of a node: those given by number, those of the op's row, or those that a custom
 * op's rule computes. In `slopes` for ops with at most two operands, else in the node. NULL with an
 * exception set, or without: a leaf, and a node with children but no derivatives, have none. */
static const double *slopes_of(pg_node_id id, double slopes[2]) {
    const pg_node *node = &scalar_global.graph->nodes[id];
    if (pg_op_describe(node->op) != NULL) {
        pg_status status = pg_node_slopes(scalar_global.graph, slopes, id);
        if (status != PG_OK) scalar_raise(status);
        return status == PG_OK ? slopes : NULL;
    }
    if (node->op == PG_OP_VARIADIC && node->of.variadic->kind == PG_VARIADIC_CUSTOM &&
        scalar_custom_slopes(node->of.variadic->tag, id) < 0)
        return NULL;
    return pg_node_locals(scalar_global.graph, id);
}

static PyObject *tuple_of(const double *numbers, size_t count) {
    PyObject *result = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; result != NULL && i < count; i++)
        scalar_put(&result, i, PyFloat_FromDouble(numbers[i]));
    return result;
}

/* A rule may run arbitrary code: the node is held meanwhile. */
static PyObject *get_local_grads(PyObject *self, void *Py_UNUSED(unused)) {
    if (scalar_may_read(self, "._local_grads") < 0) return NULL;
    const pg_node_id id = ((scalar *)self)->id;
    pg_status status = pg_graph_retain(scalar_global.graph, id);
    if (status != PG_OK) return scalar_raise(status);
    double few[2];
    const double *slopes = slopes_of(id, few);
    size_t count = slopes != NULL ? pg_node_arity(scalar_global.graph, id) : 0;
    PyObject *result = PyErr_Occurred() ? NULL : tuple_of(slopes, count);
    scalar_release_node(id);
    return result;
}

/* ** 2, ** 2.5: the number as the user wrote it. */
static PyObject *name_with_number(const char *symbol, pg_node_id id) {
    int is_int = scalar_global.graph->nodes[id].flags & PG_FLAG_INT;
    char *digits = PyOS_double_to_string(pg_node_number(scalar_global.graph, id), 'r', 0,
                                         is_int ? 0 : Py_DTSF_ADD_DOT_0, NULL);
    if (digits == NULL) return PyErr_NoMemory();
    PyObject *name = PyUnicode_FromFormat("%s%s", symbol, digits);
    PyMem_Free(digits);
    return name;
}

static PyObject *name_of_wide(const pg_variadic *variadic) {
    PyObject *tag = variadic->tag; /* a name, or a custom op's rule, which contains one */
    if (tag != NULL) return Py_NewRef(PyTuple_Check(tag) ? PyTuple_GET_ITEM(tag, 1) : tag);
    if (variadic->kind == PG_VARIADIC_PLAIN) return Py_NewRef(scalar_name.empty);
    switch (variadic->kind) {
    case PG_VARIADIC_DETACH: return PyUnicode_FromString("detach");
    case PG_VARIADIC_TAKE: return PyUnicode_FromString("take");
    case PG_VARIADIC_SCATTER: return PyUnicode_FromString("scatter");
    case PG_VARIADIC_PART: return PyUnicode_FromString("part");
    case PG_VARIADIC_SEARCH_LEFT:
    case PG_VARIADIC_SEARCH_RIGHT: return PyUnicode_FromString("searchsorted");
    default: return PyUnicode_FromString("where");
    }
}

static PyObject *get_op(PyObject *self, void *Py_UNUSED(unused)) {
    PyObject *set = scalar_attribute((scalar *)self, scalar_name.op);
    if (set != NULL) return Py_NewRef(set);
    if (PyErr_Occurred()) return NULL;
    const pg_node *node = scalar_node((scalar *)self);
    const pg_op_info *info = pg_op_describe(node->op);
    if (node->op == PG_OP_VARIADIC) return name_of_wide(node->of.variadic);
    if (info == NULL) return Py_NewRef(scalar_name.empty);
    return node->op == PG_OP_POWN ? name_with_number("**", ((scalar *)self)->id)
                                  : PyUnicode_FromString(info->symbol);
}

static PyObject *get_label(PyObject *self, void *Py_UNUSED(unused)) {
    PyObject *label = scalar_attribute((scalar *)self, scalar_name.label);
    if (label == NULL && PyErr_Occurred()) return NULL;
    return Py_NewRef(label != NULL ? label : scalar_name.empty);
}

static int set_text(PyObject *self, PyObject *value, void *name) {
    return set_attribute((scalar *)self, *(PyObject **)name, value);
}

/* The closure, or a bound method that pushes this node's gradient to its children. */
static PyObject *get_backward(PyObject *self, void *Py_UNUSED(unused)) {
    PyObject *closure = scalar_attribute((scalar *)self, scalar_name.backward);
    if (closure != NULL) return Py_NewRef(closure);
    if (PyErr_Occurred()) return NULL;
    return PyObject_GetAttr(self, scalar_name.push);
}

static int set_backward(PyObject *self, PyObject *value, void *Py_UNUSED(unused)) {
    if (value != NULL && !PyCallable_Check(value))
        return scalar_error(PyExc_TypeError, "_backward must be callable, not %.100s",
                            Py_TYPE(value)->tp_name);
    if (scalar_tracing() && (scalar_node((scalar *)self)->flags & PG_FLAG_OLD))
        return scalar_refuse(self, "assigning ._backward");
    if (scalar_node((scalar *)self)->op == PG_OP_LEAF && scalar_without_graph()) return 0;
    if (set_attribute((scalar *)self, scalar_name.backward, value) < 0) return -1;
    pg_node *node = scalar_node((scalar *)self);
    scalar_global.graph->turned++;
    if (value != NULL) node->flags |= PG_FLAG_CLOSURE;
    else node->flags &= (uint8_t)~PG_FLAG_CLOSURE;
    return 0;
}

int scalar_call_closure(void *owner) {
    PyObject *self = Py_NewRef((PyObject *)owner);
    PyObject *closure = Py_XNewRef(scalar_attribute((scalar *)self, scalar_name.backward));
    scalar_global.inside++;
    PyObject *result = closure != NULL ? PyObject_CallNoArgs(closure) : NULL;
    scalar_global.inside--;
    const int failed = PyErr_Occurred() != NULL;
    Py_XDECREF(result);
    Py_XDECREF(closure);
    Py_DECREF(self);
    return failed;
}

static PyObject *get_id(PyObject *self, void *Py_UNUSED(unused)) {
    return PyLong_FromUnsignedLong(((scalar *)self)->id);
}

static PyObject *get_dict(PyObject *self, void *Py_UNUSED(unused)) {
    return Py_XNewRef(scalar_attributes((scalar *)self));
}

PyGetSetDef scalar_getset[] = {
    {"data", get_number, set_number, "The number, a float.", &data_field},
    {"grad", get_number, set_number, "The gradient, a float.", &grad_field},
    {"label", get_label, set_text, "A name for drawings; '' by default.", &scalar_name.label},
    {"_children", get_children, NULL, "The operands, in order: a tuple.", NULL},
    {"_prev", get_prev, NULL, "The operands: a set, as in micrograd.", NULL},
    {"_local_grads", get_local_grads, NULL, "d(self)/d(operand), a tuple.", NULL},
    {"_op", get_op, set_text, "The op's symbol; '' for a leaf.", &scalar_name.op},
    {"_backward", get_backward, set_backward,
     "Push this node's gradient to its children; assign a callable to do it another way.", NULL},
    {"_id", get_id, NULL, "The node's id in the graph.", NULL},
    {"__dict__", get_dict, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
