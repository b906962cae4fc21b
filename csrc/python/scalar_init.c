/* scalar_init.c - the constructor: Value(number); micrograd's (data, _children, _op, label); and
 * microgpt's (data, children, local_grads), by position or by keyword.
 *
 * All arguments are read before anything is built, since reading may run the user's code (a
 * generator of children, a number's __float__). __new__ gives the object a leaf; children turn it
 * in place into a node of any arity. Called again on an existing Value, the constructor first turns
 * its node back into a leaf. Cost: some 100 ns; a node with an op's name needs no dict of
 * attributes. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_result.h"
#include "python/scalar_trace.h"

/* ---- Arguments ------------------------------------------------------------------------------- */

/* The arguments as passed; borrowed, NULL where not given. */
typedef struct arguments {
    PyObject *data, *children, *third, *label, *children_by_name, *local_grads;
} arguments;

enum { most_positional = 4 };

/* The field of each argument; those by position come first. */
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

static int given_twice(const char *what) {
    return scalar_error(PyExc_TypeError, "Value: %s given twice", what);
}

static int take_keyword(arguments *given, PyObject *name, PyObject *value) {
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (PyUnicode_CompareWithASCIIString(name, fields[i].name) != 0) continue;
        if (*field(given, i) != NULL) return given_twice(fields[i].name);
        *field(given, i) = value;
        return 0;
    }
    return scalar_error(PyExc_TypeError, "Value() got an unexpected keyword argument %R", name);
}

static int parse(arguments *given, PyObject *args, PyObject *kwargs) {
    const Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count > most_positional)
        return scalar_error(PyExc_TypeError,
                            "Value() takes at most %d arguments by position, got %zd",
                            most_positional, count);
    for (Py_ssize_t i = 0; i < count; i++) *field(given, (size_t)i) = PyTuple_GET_ITEM(args, i);
    PyObject *name, *value;
    Py_ssize_t place = 0;
    while (kwargs != NULL && PyDict_Next(kwargs, &place, &name, &value))
        if (take_keyword(given, name, value) < 0) return -1;
    if (given->data == NULL)
        return scalar_error(PyExc_TypeError, "Value() needs data, a real number");
    for (size_t i = 1; i < sizeof fields / sizeof fields[0]; i++)
        if (*field(given, i) == Py_None) *field(given, i) = NULL;
    return 0;
}

/* Merge micrograd's and microgpt's names for the same argument. */
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

/* ---- Called again ---------------------------------------------------------------------------- */

/* Remove an attribute from the object and return it; the caller releases it later, as that may run
 * code. */
static PyObject *take_attribute(scalar *self, PyObject *name) {
    PyObject *value = Py_XNewRef(scalar_attribute(self, name));
    if (value != NULL && PyDict_DelItem(self->dict, name) < 0) Py_CLEAR(value);
    return value;
}

/* Reset all that a constructor sets: the node is a leaf again, even if other nodes use it, without
 * gradient, name and closure. Other attributes stay. */
static int start_over(PyObject *object) {
    scalar *self = (scalar *)object;
    if (scalar_node(self)->op != PG_OP_LEAF && scalar_global.inside > 0)
        return scalar_error(PyExc_RuntimeError,
                            "Value.__init__ called again on an op's result during a backward pass: "
                            "the sweep may still need its children; make a new Value");
    if (scalar_may_read(object, "calling __init__ again") < 0) return -1;
    PyObject *taken[] = {take_attribute(self, scalar_name.backward),
                         take_attribute(self, scalar_name.label),
                         take_attribute(self, scalar_name.op)};
    pg_node *node = scalar_node(self);
    node->flags &= (uint8_t)~(PG_FLAG_CLOSURE | PG_FLAG_INT | PG_FLAG_DETACHED);
    node->u.grad = 0.0;
    if (node->op != PG_OP_LEAF) scalar_cut_node(self->id);
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) Py_XDECREF(taken[i]);
    return PyErr_Occurred() ? -1 : 0;
}

/* Fast path: what __new__ created is such a leaf already. */
static inline int start_again(PyObject *object) {
    pg_node *node = scalar_node((scalar *)object);
    if (PG_UNLIKELY(node->op != PG_OP_LEAF || (node->flags & ~PG_FLAG_ATTRIBUTES) != 0 ||
                    ((scalar *)object)->dict != NULL))
        return start_over(object);
    node->u.grad = 0.0;
    return 0;
}

/* ---- Children and derivatives ---------------------------------------------------------------- */

/* Any iterable as a tuple; a new reference. */
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
        if (!scalar_check(child))
            return scalar_error(PyExc_TypeError, "child %zd must be a Value, not %.100s", i,
                                Py_TYPE(child)->tp_name);
        const pg_operand operand = {((scalar *)child)->id, 0.0};
        if (scalar_check_operands(&operand, 1) < 0) return -1;
        ids[i] = operand.id;
    }
    return 0;
}

/* As scalar_note_leaf, unless the trace's own values are among the children. A program can't
 * contain this node; if an output needs it, the error names the line. */
static int note_wide(pg_node_id id) {
    if (scalar_tracing()) return scalar_drop_result(PyObject_CallNoArgs(scalar_global.untraceable));
    if (scalar_global.tracing == 0) return 0;
    scalar_global.graph->nodes[id].flags &= (uint8_t)~PG_FLAG_OLD;
    int depends = pg_trace_depends(scalar_global.graph, id);
    if (depends < 0) return scalar_fail(PG_ERR_NOMEM);
    if (depends == 0) scalar_note_leaf(id);
    return 0;
}

/* The children and local gradients for the node: owned tuples, or NULL. */
typedef struct makings {
    PyObject *children, *locals;
} makings;

static int makings_of(makings *of, const arguments *given) {
    of->children = given->children != NULL
                       ? as_tuple(given->children, "children: an iterable of Values")
                       : PyTuple_New(0);
    if (of->children == NULL) return -1;
    if (given->local_grads == NULL) return 0;
    of->locals =
        as_tuple(given->local_grads, "a name for the op, or a sequence of local gradients");
    if (of->locals == NULL) return -1;
    if (PyTuple_GET_SIZE(of->locals) == PyTuple_GET_SIZE(of->children)) return 0;
    return scalar_error(PyExc_ValueError, "%zd children need as many local gradients, got %zd",
                        PyTuple_GET_SIZE(of->children), PyTuple_GET_SIZE(of->locals));
}

/* A node that others use keeps its place in their graphs, and no node is its own child. */
static int can_have_children(scalar *self, PyObject *children) {
    if (scalar_used_by_nodes(self))
        return scalar_error(PyExc_TypeError, "a Value that nodes use can't get new children");
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(children); i++)
        if (PyTuple_GET_ITEM(children, i) == (PyObject *)self)
            return scalar_error(PyExc_TypeError, "a Value can't be its own child");
    return 0;
}

/* Turn the object's node, whatever it was, into a variadic node of these children. */
static int become_wide(scalar *self, double data, PyObject *children, const pg_node_id *ids,
                       const double *locals) {
    if (can_have_children(self, children) < 0 || start_again((PyObject *)self) < 0 ||
        can_have_children(self, children) < 0) /* released attributes ran code */
        return -1;
    scalar_node(self)->data = data;
    if (scalar_without_graph()) return 0;
    pg_status status = pg_widen(scalar_global.graph, self->id,
                                (pg_children){ids, locals, (size_t)PyTuple_GET_SIZE(children)});
    return status == PG_OK ? note_wide(self->id) : scalar_fail(status);
}

static int adopt_children(scalar *self, double data, const makings *of) {
    const size_t count = (size_t)PyTuple_GET_SIZE(of->children);
    pg_node_id few_ids[8], *ids = count <= 8 ? few_ids : PyMem_New(pg_node_id, count);
    double few_numbers[8], *numbers = count <= 8 ? few_numbers : PyMem_New(double, count);
    int failed = ids == NULL || numbers == NULL;
    if (failed) PyErr_NoMemory();
    else
        failed =
            read_children(of->children, of->locals, ids, numbers) < 0 ||
            become_wide(self, data, of->children, ids, of->locals != NULL ? numbers : NULL) < 0;
    if (ids != few_ids) PyMem_Free(ids);
    if (numbers != few_numbers) PyMem_Free(numbers);
    return failed ? -1 : 0;
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* The name of a variadic node is its tag; that of a leaf is an attribute. */
static int name_op(scalar *self, PyObject *name) {
    if (name == NULL || PyUnicode_GET_LENGTH(name) == 0) return 0;
    pg_node *node = scalar_node(self);
    if (scalar_without_graph()) return 0;
    if (node->op != PG_OP_VARIADIC || !PyUnicode_CheckExact(name))
        return PyObject_SetAttr((PyObject *)self, scalar_name.op, name);
    node->of.variadic->tag = Py_NewRef(name);
    return 0;
}

static int set_label(scalar *self, PyObject *label) {
    if (label == NULL || (PyUnicode_Check(label) && PyUnicode_GET_LENGTH(label) == 0)) return 0;
    return PyObject_SetAttr((PyObject *)self, scalar_name.label, label);
}

/* Value(v) of a Value during a trace is refused: it most often comes from converting a row to
 * Values. */
static int require_data(PyObject *number, double *data_ret) {
    if (scalar_tracing() && scalar_check(number))
        return scalar_drop_result(PyObject_CallNoArgs(scalar_global.again));
    return scalar_require_number(number, data_ret, "Value(data): data");
}

/* Everything is read before anything is changed. */
static int init(scalar *self, const arguments *given, double data) {
    makings of = {NULL, NULL};
    int failed = makings_of(&of, given) < 0;
    if (!failed && PyTuple_GET_SIZE(of.children) > 0) {
        failed = adopt_children(self, data, &of) < 0;
    } else if (!failed) {
        failed = start_again((PyObject *)self) < 0;
        if (!failed) scalar_node(self)->data = data;
    }
    Py_XDECREF(of.children);
    Py_XDECREF(of.locals);
    return failed || name_op(self, given->third) < 0 || set_label(self, given->label) < 0 ? -1 : 0;
}

int scalar_init(PyObject *object, PyObject *args, PyObject *kwargs) {
    scalar *self = (scalar *)object;
    double data;
    if (scalar_may_write(object, "assigning .data") < 0) return -1; /* a second __init__ */
    if (PyTuple_GET_SIZE(args) == 1 && (kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0)) {
        PyObject *number = PyTuple_GET_ITEM(args, 0);
        if (require_data(number, &data) < 0 || start_again(object) < 0) return -1;
        scalar_node(self)->data = data;
        return 0;
    }
    arguments given = {0};
    if (parse(&given, args, kwargs) < 0 || require_data(given.data, &data) < 0 || unify(&given) < 0)
        return -1;
    return init(self, &given, data);
}
