/* scalar_init.c - what Value(...) means: one number; micrograd's (data, _children, _op, label); and
 * microgpt's (data, children, local_grads), by position or by keyword.
 *
 * Everything is read before anything is built, since reading may run the user's code (a generator
 * of children, a number's __float__). The object has a leaf from its birth; children turn that into
 * a node of any arity. Cost: some 100 ns; a node with an op's name needs no dict of attributes. */
#include "scalar.h"

static struct {
    PyObject *label, *op;
} names;

int scalar_init_names(void) {
    names.label = PyUnicode_InternFromString("label");
    names.op = PyUnicode_InternFromString("_op");
    return names.label && names.op ? 0 : -1;
}

/* ---- Arguments ------------------------------------------------------------------------------- */

/* As they came; borrowed, NULL where not given. */
typedef struct arguments {
    PyObject *data, *children, *third, *label, *children_by_name, *local_grads;
} arguments;

enum { most_positional = 4 };

/* Where an argument goes: those by position come first. */
static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    {"data", offsetof(arguments, data)},
    {"_children", offsetof(arguments, children)},
    {"_op", offsetof(arguments, third)},
    {"label", offsetof(arguments, label)},
    {"children", offsetof(arguments, children_by_name)},
    {"local_grads", offsetof(arguments, local_grads)},
};

static PyObject **field(arguments *given, size_t i) {
    return (PyObject **)((char *)given + fields[i].offset);
}

static int take_keyword(arguments *given, PyObject *name, PyObject *value) {
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (PyUnicode_CompareWithASCIIString(name, fields[i].name) != 0) continue;
        if (*field(given, i) != NULL) {
            PyErr_Format(PyExc_TypeError, "Value: %s given twice", fields[i].name);
            return -1;
        }
        *field(given, i) = value;
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "Value() got an unexpected keyword argument %R", name);
    return -1;
}

static int parse(arguments *given, PyObject *args, PyObject *kwargs) {
    const Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count > most_positional) {
        PyErr_Format(PyExc_TypeError, "Value() takes at most %d arguments by position, got %zd",
                     most_positional, count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) *field(given, (size_t)i) = PyTuple_GET_ITEM(args, i);
    PyObject *name, *value;
    Py_ssize_t place = 0;
    while (kwargs != NULL && PyDict_Next(kwargs, &place, &name, &value))
        if (take_keyword(given, name, value) < 0) return -1;
    if (given->data == NULL) {
        PyErr_SetString(PyExc_TypeError, "Value() needs data, a real number");
        return -1;
    }
    for (size_t i = 1; i < sizeof fields / sizeof fields[0]; i++)
        if (*field(given, i) == Py_None) *field(given, i) = NULL;
    return 0;
}

static int given_twice(const char *what) {
    PyErr_Format(PyExc_TypeError, "Value: %s given twice", what);
    return -1;
}

/* What micrograd's and microgpt's names have in common, under one of them. */
static int unify(arguments *given) {
    if (given->children != NULL && PyUnicode_Check(given->children)) { /* Value(2.0, "name") */
        if (given->label == NULL) given->label = given->children;
        given->children = NULL;
    }
    if (given->children_by_name != NULL) {
        if (given->children != NULL) return given_twice("children");
        given->children = given->children_by_name;
    }
    if (given->third == NULL || PyUnicode_Check(given->third)) return 0;
    if (given->local_grads != NULL) return given_twice("local gradients");
    given->local_grads = given->third;
    given->third = NULL;
    return 0;
}

/* ---- Children and derivatives ---------------------------------------------------------------- */

/* A new reference. Any iterable will do; a tuple is one already. */
static PyObject *as_tuple(PyObject *object, const char *expected) {
    if (Py_TYPE(object)->tp_iter != NULL || PySequence_Check(object))
        return PySequence_Tuple(object);
    return PyErr_Format(PyExc_TypeError, "Value: expected %s, not %.100s", expected,
                        Py_TYPE(object)->tp_name);
}

static int read_children(PyObject *children, PyObject *locals, pg_node_id *ids, double *numbers) {
    const Py_ssize_t count = PyTuple_GET_SIZE(children);
    for (Py_ssize_t i = 0; locals != NULL && i < count; i++)
        if (scalar_require_number(PyTuple_GET_ITEM(locals, i), &numbers[i], "a local gradient") < 0)
            return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *child = PyTuple_GET_ITEM(children, i);
        if (!scalar_check(child)) {
            PyErr_Format(PyExc_TypeError, "child %zd must be a Value, not %.100s", i,
                         Py_TYPE(child)->tp_name);
            return -1;
        }
        const pg_operand operand = {((scalar *)child)->id, 0.0};
        if (scalar_check_operands(&operand, 1) < 0) return -1;
        ids[i] = operand.id;
    }
    return 0;
}

/* A program can't have it; should an output need it, the error names the line. */
static int note_untraceable(void) {
    PyObject *none = PyObject_CallNoArgs(scalar_global.untraceable);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* As scalar_note_leaf; unless the trace's own values are among the children. */
static int note_wide(pg_node_id id) {
    if (scalar_tracing()) return note_untraceable();
    if (scalar_global.tracing == 0) return 0;
    int depends = pg_trace_depends(scalar_global.graph, id);
    if (depends == 0) scalar_note_leaf(id);
    if (depends < 0) PyErr_NoMemory();
    return depends < 0 ? -1 : 0;
}

/* Turn the object's leaf into a node of any arity. */
static int become_wide(scalar *self, double data, const pg_node_id *ids, const double *locals,
                       size_t count) {
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
    return note_wide(id);
}

/* children a tuple, locals a tuple or NULL. */
static int adopt_children(scalar *self, double data, PyObject *children, PyObject *locals) {
    const size_t count = (size_t)PyTuple_GET_SIZE(children);
    if (locals != NULL && (size_t)PyTuple_GET_SIZE(locals) != count) {
        PyErr_Format(PyExc_ValueError, "%zu children need as many local gradients, got %zd", count,
                     PyTuple_GET_SIZE(locals));
        return -1;
    }
    if (count == 0) return 0;
    if (scalar_used_by_nodes(self)) {
        PyErr_SetString(PyExc_TypeError, "a Value that others use can't get new children");
        return -1;
    }
    if (scalar_make_room(1) < 0) return -1;
    pg_node_id few_ids[8], *ids = count <= 8 ? few_ids : PyMem_New(pg_node_id, count);
    double few_numbers[8], *numbers = count <= 8 ? few_numbers : PyMem_New(double, count);
    int failed = ids == NULL || numbers == NULL;
    if (failed) PyErr_NoMemory();
    else
        failed = read_children(children, locals, ids, numbers) < 0 ||
                 (!scalar_without_graph() &&
                  become_wide(self, data, ids, locals != NULL ? numbers : NULL, count) < 0);
    if (ids != few_ids) PyMem_Free(ids);
    if (numbers != few_numbers) PyMem_Free(numbers);
    return failed ? -1 : 0;
}

static int read_and_adopt_children(scalar *self, double data, const arguments *given) {
    PyObject *children = given->children != NULL
                             ? as_tuple(given->children, "children: an iterable of Values")
                             : PyTuple_New(0);
    PyObject *locals = NULL;
    int failed = children == NULL;
    if (!failed && given->local_grads != NULL) {
        locals =
            as_tuple(given->local_grads, "a name for the op, or a sequence of local gradients");
        failed = locals == NULL;
    }
    failed = failed || adopt_children(self, data, children, locals) < 0;
    Py_XDECREF(children);
    Py_XDECREF(locals);
    return failed ? -1 : 0;
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* An op's name is kept by its node; that of a leaf is an attribute. */
static int name_op(scalar *self, PyObject *name) {
    if (name == NULL || PyUnicode_GET_LENGTH(name) == 0) return 0;
    pg_node *node = scalar_node(self);
    if (scalar_without_graph()) return 0;
    if (node->op != PG_OP_WIDE || !PyUnicode_CheckExact(name))
        return PyObject_SetAttr((PyObject *)self, names.op, name);
    node->of.wide->tag = Py_NewRef(name);
    return 0;
}

static int set_label(scalar *self, PyObject *label) {
    if (label == NULL || (PyUnicode_Check(label) && PyUnicode_GET_LENGTH(label) == 0)) return 0;
    return PyObject_SetAttr((PyObject *)self, names.label, label);
}

/* In a recording Value(v) is most often the habit of turning a row into Values. */
static int require_data(PyObject *number, double *data_ret) {
    if (scalar_tracing() && scalar_check(number)) {
        PyObject *none = PyObject_CallNoArgs(scalar_global.again);
        Py_XDECREF(none);
        scalar_hide_frames();
        return -1;
    }
    return scalar_require_number(number, data_ret, "Value(data): data");
}

int scalar_init(PyObject *object, PyObject *args, PyObject *kwargs) {
    scalar *self = (scalar *)object;
    double data;
    if (scalar_may_write(object, "assigning .data") < 0) return -1; /* a second __init__ */
    if (PyTuple_GET_SIZE(args) == 1 && (kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0)) {
        PyObject *number = PyTuple_GET_ITEM(args, 0);
        if (require_data(number, &data) < 0) return -1;
        scalar_node(self)->data = data;
        return 0;
    }
    arguments given = {0};
    if (parse(&given, args, kwargs) < 0 || require_data(given.data, &data) < 0 || unify(&given) < 0)
        return -1;
    scalar_node(self)->data = data;
    if ((given.children != NULL || given.local_grads != NULL) &&
        read_and_adopt_children(self, data, &given) < 0)
        return -1;
    return name_op(self, given.third) < 0 || set_label(self, given.label) < 0 ? -1 : 0;
}
