/* scalar_patched.c - operators and constructors that were patched in Value, or overridden in a
 * subclass, are respected by the compositions and results that use them.
 *
 * In micrograd -a is a * -1, a - b is a + (-b), a / b is a * b**-1, and 2 * a is a * 2: a class
 * with another __mul__ has another -a. And each result is Value(data, (a, b), op): another __init__
 * is called. The core builds such nodes in one call; here is the slow path, through Python's
 * operators, for classes where the difference would show. The type's slots decide, since Python
 * keeps them in step with its attributes. Python assigns a new version number to a class when an
 * attribute changes; operators compare that number, and examine the class again only after a
 * change. `data` and `grad` can't be replaced: ops read the node. Owns nothing. Cost: one
 * comparison an op, if nothing was patched. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_result.h"
#include "python/scalar_trace.h"

/* ---- The class ------------------------------------------------------------------------------- */

/* What examine_class found when the class had the version `seen`. */
static struct {
    unsigned seen;
    int is_native, constructs;
} class = {SCALAR_NO_VERSION, 0, 0};

/* Does this type have another slot than Scalar? */
#define OVERRIDES(type, slot) ((type)->tp_as_number->slot != scalar_global.base->tp_as_number->slot)

/* Raise TypeError if this attribute was replaced: an op reads the node's number, whatever the
 * attribute has become. */
static int require_attribute(PyObject *name) {
    PyObject *now = PyObject_GetAttr((PyObject *)scalar_global.value, name);
    PyObject *made = now != NULL ? PyObject_GetAttr((PyObject *)scalar_global.base, name) : NULL;
    Py_XDECREF(now);
    Py_XDECREF(made);
    if (made == NULL) return -1;
    if (now == made) return 0;
    return scalar_error(PyExc_TypeError,
                        "Value.%U was replaced: ops read and write the node's own number and would "
                        "bypass the replacement; use another attribute name, and `del Value.%U`",
                        name, name);
}

static int examine_class(void) {
    PyTypeObject *value = scalar_global.value, *base = scalar_global.base;
    class.seen = scalar_global.version = SCALAR_NO_VERSION;
    if (require_attribute(scalar_name.data) < 0 || require_attribute(scalar_name.grad) < 0)
        return -1;
    class.constructs = value->tp_init != base->tp_init || value->tp_new != base->tp_new;
    class.is_native = !class.constructs && !OVERRIDES(value, nb_add) &&
                      !OVERRIDES(value, nb_multiply) && !OVERRIDES(value, nb_negative) &&
                      !OVERRIDES(value, nb_power);
    const unsigned version = scalar_class_version();
    if (version == 0) return 0; /* Python has no version numbers left: look again each time */
    class.seen = version;
    if (class.is_native) scalar_global.version = version;
    return 0;
}

/* Bring `class` up to date. 0, or -1 with an exception set. */
static int update_class(void) {
    return class.seen != SCALAR_NO_VERSION && class.seen == scalar_class_version()
               ? 0
               : examine_class();
}

int scalar_constructs(void) { return update_class() < 0 ? -1 : class.constructs; }

int scalar_overrides(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    return OVERRIDES(type, nb_add) || OVERRIDES(type, nb_multiply);
}

/* ---- Slow path: Python's operators ----------------------------------------------------------- */

/* Can this be an operand? 1, 0, or -1 with an exception set. */
static int is_operand(PyObject *object) {
    pg_operand ignored;
    return scalar_operand(object, &ignored, NULL);
}

/* a + b, or a * b, with a number on the left: b + a, or b * a. */
static int swap(int adds, PyObject *a, PyObject *b, PyObject **result_ret) {
    if (scalar_check(a) || !scalar_check(b)) return 0;
    PyTypeObject *type = Py_TYPE(b);
    if (adds ? !OVERRIDES(type, nb_add) : !OVERRIDES(type, nb_multiply)) return 0;
    *result_ret = adds ? PyNumber_Add(b, a) : PyNumber_Multiply(b, a);
    return 1;
}

/* operator(a, step); takes over the reference to step. */
static int finish(PyObject *a, PyObject *step, binaryfunc operator, PyObject **result_ret) {
    *result_ret = step != NULL ? operator(a, step) : NULL;
    Py_XDECREF(step);
    return 1;
}

/* The class whose operators count for this operand; a number has Value's. */
static PyTypeObject *class_of(PyObject *operand) {
    return scalar_check(operand) ? Py_TYPE(operand) : scalar_global.value;
}

/* a + (-b) */
static int subtract(PyObject *a, PyObject *b, PyObject **result_ret) {
    PyTypeObject *adds = class_of(a), *negates = class_of(b);
    if (!class.constructs && !OVERRIDES(adds, nb_add) && !OVERRIDES(negates, nb_negative) &&
        !OVERRIDES(negates, nb_multiply))
        return 0;
    return finish(a, PyNumber_Negative(b), PyNumber_Add, result_ret);
}

/* 1 / b of a number, as Python's floats compute it. */
static PyObject *invert_number(PyObject *b) {
    pg_operand operand;
    if (scalar_operand(b, &operand, NULL) < 0) return NULL;
    PyObject *number = PyFloat_FromDouble(operand.number), *inverse = NULL;
    if (number != NULL) inverse = PyNumber_Power(number, scalar_name.minus_one, Py_None);
    Py_XDECREF(number);
    return inverse;
}

/* a * b**-1 */
static int divide(PyObject *a, PyObject *b, PyObject **result_ret) {
    PyTypeObject *multiplies = class_of(a), *inverts = class_of(b);
    if (!class.constructs && !OVERRIDES(multiplies, nb_multiply) && !OVERRIDES(inverts, nb_power))
        return 0;
    PyObject *inverse =
        scalar_check(b) ? PyNumber_Power(b, scalar_name.minus_one, Py_None) : invert_number(b);
    return finish(a, inverse, PyNumber_Multiply, result_ret);
}

int scalar_apply_overrides(scalar_composition what, PyObject *a, PyObject *b,
                           PyObject **result_ret) {
    *result_ret = NULL;
    if (update_class() < 0) return 1;
    if (what == SCALAR_NEGATE) {
        if (!class.constructs && !OVERRIDES(Py_TYPE(a), nb_multiply)) return 0;
        *result_ret = PyNumber_Multiply(a, scalar_name.minus_one);
        return 1;
    }
    if (what == SCALAR_ADD || what == SCALAR_MULTIPLY)
        return swap(what == SCALAR_ADD, a, b, result_ret);
    int left = is_operand(a), right = left > 0 ? is_operand(b) : left;
    if (right <= 0) return right < 0; /* the operators return NotImplemented */
    return what == SCALAR_SUBTRACT ? subtract(a, b, result_ret) : divide(a, b, result_ret);
}

/* ---- Patched constructors -------------------------------------------------------------------- */

/* Value(number) for an operand that is a number; a Value is returned as it is. */
PyObject *scalar_constructed_operand(PyObject *object) {
    if (scalar_check(object)) return Py_NewRef(object);
    pg_operand operand;
    if (scalar_operand(object, &operand, NULL) <= 0) return NULL;
    return PyObject_CallOneArg((PyObject *)scalar_global.value, object);
}

/* Did the patched constructor make the operands that it was passed the object's children? 1; 0 if
 * it has no children; -1 with an exception set. */
static int has_children(PyObject *object, PyObject *expected) {
    PyObject *children = scalar_children(object);
    if (children == NULL) return -1;
    int same = PyTuple_GET_SIZE(children) == PyTuple_GET_SIZE(expected);
    for (Py_ssize_t i = 0; same && i < PyTuple_GET_SIZE(children); i++)
        same = PyTuple_GET_ITEM(children, i) == PyTuple_GET_ITEM(expected, i);
    const int none = PyTuple_GET_SIZE(children) == 0;
    Py_DECREF(children);
    if (same) return 1;
    if (none) return 0;
    return scalar_error(
        PyExc_TypeError,
        "Value.__init__ was patched and gives an op's result children other than the "
        "op's operands: pass _children on unchanged, or pass none");
}

/* Move the op, and so its derivatives, to the object that the constructor returned. Without
 * children it stays the leaf that the constructor made. */
static int give_op(PyObject *object, PyObject *node, PyObject *children) {
    if (!scalar_check(object)) return 0;
    const int same = has_children(object, children);
    if (same <= 0) return same;
    if (scalar_attribute((scalar *)object, scalar_name.backward) != NULL &&
        PyObject_SetAttr(object, scalar_name.backward, NULL) < 0)
        return -1;
    pg_take_over(scalar_global.graph, ((scalar *)object)->id, ((scalar *)node)->id);
    scalar_run_deferred();
    return 0;
}

/* Value(data, children, op), as micrograd's operators call it. */
static PyObject *construct(PyObject *node) {
    PyObject *children = scalar_children(node);
    PyObject *op = children != NULL ? PyObject_GetAttr(node, scalar_name.op) : NULL;
    PyObject *data = op != NULL ? PyFloat_FromDouble(scalar_node((scalar *)node)->data) : NULL;
    PyObject *object = NULL;
    if (data != NULL)
        object =
            PyObject_CallFunctionObjArgs((PyObject *)scalar_global.value, data, children, op, NULL);
    if (object != NULL && give_op(object, node, children) < 0) Py_CLEAR(object);
    Py_XDECREF(data);
    Py_XDECREF(op);
    Py_XDECREF(children);
    return object;
}

PyObject *scalar_construct(pg_node_id id) {
    const int constructs = scalar_constructs();
    if (constructs == 0) return scalar_finished(id);
    PyObject *node = scalar_adopt_node(id), *result = NULL;
    if (node == NULL || constructs < 0) {
        Py_XDECREF(node);
        return NULL;
    }
    if (scalar_may_read(node, "calling a patched Value.__init__ for an op's result") == 0)
        result = construct(node);
    Py_DECREF(node);
    return result;
}
