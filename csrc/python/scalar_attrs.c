/* scalar_attrs.c - what one asks of a Value and sets on it: data, grad, children, op, label,
 * closure.
 *
 * Numbers live in the node. What is Python's (labels, closures, names of custom ops) lives in the
 * object's dict, under the attribute's own name, and costs nothing until it is set. */
#include "scalar.h"

static struct {
    PyObject *label, *op, *backward, *push, *empty;
} names;

int scalar_intern_names(void) {
    names.label = PyUnicode_InternFromString("label");
    names.op = PyUnicode_InternFromString("_op");
    names.backward = PyUnicode_InternFromString("_backward");
    names.push = PyUnicode_InternFromString("_push");
    names.empty = PyUnicode_InternFromString("");
    return names.label && names.op && names.backward && names.push && names.empty ? 0 : -1;
}

/* The attribute that was hung on the object under this name; borrowed, NULL if none. */
static PyObject *hung(scalar *self, PyObject *name) {
    return self->dict != NULL ? PyDict_GetItemWithError(self->dict, name) : NULL;
}

static int hang(scalar *self, PyObject *name, PyObject *value) {
    if (value == NULL) {
        if (hung(self, name) != NULL) return PyDict_DelItem(self->dict, name);
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *dict = scalar_attributes(self);
    return dict != NULL ? PyDict_SetItem(dict, name, value) : -1;
}

/* One of a node's numbers: its name, and where it is. */
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
    if (field == &data_field && scalar_may_read(self, ".data") < 0) return NULL;
    return PyFloat_FromDouble(*number_at(self, field));
}

static int set_number(PyObject *self, PyObject *value, void *field) {
    const char *name = ((number_field *)field)->name;
    double number;
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "%s can't be deleted; set it to a number", name);
        return -1;
    }
    if (scalar_require_number(value, &number, name) < 0) return -1;
    if (field == &data_field && scalar_may_read(self, "assigning .data") < 0) return -1;
    *number_at(self, field) = number;
    return 0;
}

static PyObject *get_children(PyObject *self, void *unused) {
    (void)unused;
    pg_node_id id = ((scalar *)self)->id;
    size_t count = pg_node_arity(scalar_global.graph, id);
    PyObject *children = PyTuple_New((Py_ssize_t)count);
    if (children == NULL) return NULL;
    for (size_t i = 0; i < count; i++) {
        PyObject *child = scalar_of_node(pg_node_child(scalar_global.graph, id, i));
        if (child == NULL) {
            Py_DECREF(children);
            return NULL;
        }
        PyTuple_SET_ITEM(children, (Py_ssize_t)i, child);
    }
    return children;
}

static PyObject *get_prev(PyObject *self, void *unused) {
    PyObject *children = get_children(self, unused);
    if (children == NULL) return NULL;
    PyObject *set = PySet_New(children);
    Py_DECREF(children);
    return set;
}

static PyObject *get_local_grads(PyObject *self, void *unused) {
    (void)unused;
    pg_node_id id = ((scalar *)self)->id;
    const double *locals = pg_node_locals(scalar_global.graph, id);
    size_t count = locals != NULL ? pg_node_arity(scalar_global.graph, id) : 0;
    PyObject *result = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; result != NULL && i < count; i++) {
        PyObject *number = PyFloat_FromDouble(locals[i]);
        if (number == NULL) Py_CLEAR(result);
        else PyTuple_SET_ITEM(result, (Py_ssize_t)i, number);
    }
    return result;
}

/* ** 2, ** 2.5: the number as it was written. */
static PyObject *name_with_number(const char *symbol, pg_node_id id) {
    int is_int = scalar_global.graph->nodes[id].flags & PG_FLAG_INT;
    char *digits = PyOS_double_to_string(pg_node_number(scalar_global.graph, id), 'r', 0,
                                         is_int ? 0 : Py_DTSF_ADD_DOT_0, NULL);
    if (digits == NULL) return PyErr_NoMemory();
    PyObject *name = PyUnicode_FromFormat("%s%s", symbol, digits);
    PyMem_Free(digits);
    return name;
}

static PyObject *get_op(PyObject *self, void *unused) {
    (void)unused;
    PyObject *set = hung((scalar *)self, names.op);
    if (set != NULL) return Py_NewRef(set);
    if (PyErr_Occurred()) return NULL;
    const pg_node *node = scalar_node((scalar *)self);
    const pg_op_info *info = pg_op_describe(node->op);
    if (node->op == PG_OP_WIDE && node->of.wide->kind != PG_WIDE_PLAIN)
        return PyUnicode_FromString(node->of.wide->kind == PG_WIDE_DETACH ? "detach" : "where");
    if (info == NULL) return Py_NewRef(names.empty);
    return info->takes_number ? name_with_number("**", ((scalar *)self)->id)
                              : PyUnicode_FromString(info->symbol);
}

static int set_op(PyObject *self, PyObject *value, void *unused) {
    (void)unused;
    return hang((scalar *)self, names.op, value);
}

static PyObject *get_label(PyObject *self, void *unused) {
    (void)unused;
    PyObject *label = hung((scalar *)self, names.label);
    if (label == NULL && PyErr_Occurred()) return NULL;
    return Py_NewRef(label != NULL ? label : names.empty);
}

static int set_label(PyObject *self, PyObject *value, void *unused) {
    (void)unused;
    return hang((scalar *)self, names.label, value);
}

PyObject *scalar_closure(scalar *self) { return hung(self, names.backward); }

/* The closure, or a call that pushes this node's gradient to its children. */
static PyObject *get_backward(PyObject *self, void *unused) {
    (void)unused;
    PyObject *closure = scalar_closure((scalar *)self);
    if (closure != NULL) return Py_NewRef(closure);
    if (PyErr_Occurred()) return NULL;
    return PyObject_GetAttr(self, names.push);
}

static int set_backward(PyObject *self, PyObject *value, void *unused) {
    (void)unused;
    if (value != NULL && !PyCallable_Check(value)) {
        PyErr_Format(PyExc_TypeError, "_backward must be callable, not %.100s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    if (hang((scalar *)self, names.backward, value) < 0) return -1;
    pg_node *node = scalar_node((scalar *)self);
    if (value != NULL) node->flags |= PG_FLAG_CLOSURE;
    else node->flags &= (uint8_t)~PG_FLAG_CLOSURE;
    return 0;
}

int scalar_call_closure(void *owner) {
    PyObject *self = Py_NewRef((PyObject *)owner);
    PyObject *closure = scalar_closure((scalar *)self);
    int failed = 0;
    if (closure != NULL) {
        Py_INCREF(closure);
        PyObject *result = PyObject_CallNoArgs(closure);
        failed = result == NULL;
        Py_XDECREF(result);
        Py_DECREF(closure);
    } else {
        failed = PyErr_Occurred() != NULL;
    }
    Py_DECREF(self);
    return failed;
}

static PyObject *get_id(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(((scalar *)self)->id);
}

static PyObject *get_dict(PyObject *self, void *unused) {
    (void)unused;
    return Py_XNewRef(scalar_attributes((scalar *)self));
}

PyGetSetDef scalar_getset[] = {
    {"data", get_number, set_number, "The number, a float.", &data_field},
    {"grad", get_number, set_number, "The gradient, a float.", &grad_field},
    {"label", get_label, set_label, "A name for drawings; '' by default.", NULL},
    {"_children", get_children, NULL, "The operands, in order: a tuple.", NULL},
    {"_prev", get_prev, NULL, "The operands: a set, as in micrograd.", NULL},
    {"_local_grads", get_local_grads, NULL, "The derivatives that were given by number.", NULL},
    {"_op", get_op, set_op, "The op's symbol; '' for a leaf.", NULL},
    {"_backward", get_backward, set_backward,
     "Push this node's gradient to its children; assign a callable to do it another way.", NULL},
    {"_id", get_id, NULL, "The node's id in the graph.", NULL},
    {"__dict__", get_dict, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Turn the object's fresh leaf into a node of any arity. */
static int become_wide(scalar *self, double data, pg_node_id *ids, double *locals, size_t count) {
    pg_node_id id;
    pg_status status = pg_graph_wide(scalar_global.graph, &id, data, ids, locals, count);
    if (status != PG_OK) {
        scalar_raise(status);
        return -1;
    }
    pg_node_id leaf = self->id;
    *scalar_owner(self) = NULL;
    self->id = id;
    *scalar_owner(self) = self;
    scalar_release_node(leaf);
    return 0;
}

static int read_children(PyObject *children, PyObject *locals, pg_node_id *ids, double *numbers) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(children); i++) {
        PyObject *child = PyTuple_GET_ITEM(children, i);
        if (!scalar_check(child)) {
            PyErr_Format(PyExc_TypeError, "child %zd must be a Value, not %.100s", i,
                         Py_TYPE(child)->tp_name);
            return -1;
        }
        if (locals != NULL &&
            scalar_require_number(PyTuple_GET_ITEM(locals, i), &numbers[i], "a local gradient") < 0)
            return -1;
        ids[i] = ((scalar *)child)->id;
    }
    return 0;
}

/* Value.__init__'s second half: _become(children: tuple, local_grads: tuple or None). The data are
 * already there. */
PyObject *scalar_become(PyObject *object, PyObject *args) {
    scalar *self = (scalar *)object;
    PyObject *children, *locals;
    if (!PyArg_ParseTuple(args, "O!O", &PyTuple_Type, &children, &locals)) return NULL;
    if (locals == Py_None) locals = NULL;
    size_t count = (size_t)PyTuple_GET_SIZE(children);
    if (locals != NULL && (!PyTuple_Check(locals) || (size_t)PyTuple_GET_SIZE(locals) != count)) {
        PyErr_Format(PyExc_ValueError, "%zu children need as many local gradients", count);
        return NULL;
    }
    if (scalar_used_by_nodes(self)) {
        PyErr_SetString(PyExc_TypeError, "a Value that others use can't get new children");
        return NULL;
    }
    if (scalar_make_room(1) < 0) return NULL;
    pg_node_id *ids = PyMem_New(pg_node_id, count ? count : 1);
    double *numbers = PyMem_New(double, count ? count : 1);
    int failed = ids == NULL || numbers == NULL;
    if (failed) PyErr_NoMemory();
    else
        failed =
            read_children(children, locals, ids, numbers) < 0 ||
            become_wide(self, scalar_node(self)->data, ids, locals ? numbers : NULL, count) < 0;
    PyMem_Free(ids);
    PyMem_Free(numbers);
    return failed ? NULL : Py_NewRef(Py_None);
}

/* One number: set it. Anything else: what the facade's constructor makes of it. */
int scalar_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    if (PyTuple_GET_SIZE(args) == 1 && (kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0)) {
        PyObject *number = PyTuple_GET_ITEM(args, 0);
        double data;
        if (scalar_require_number(number, &data, "Value(data): data") < 0) return -1;
        scalar_node((scalar *)self)->data = data;
        return 0;
    }
    PyObject *bound = PyMethod_New(scalar_global.construct, self);
    if (bound == NULL) return -1;
    PyObject *result = PyObject_Call(bound, args, kwargs);
    Py_DECREF(bound);
    Py_XDECREF(result);
    if (result == NULL) scalar_hide_frame();
    return result != NULL ? 0 : -1;
}
