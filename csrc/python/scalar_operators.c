/* scalar_operators.c - the number slots of Value, its comparisons, and the methods of the op table.
 *
 * Why C: an operator that is a number slot costs 30 ns, a Python method that calls cffi ten times
 * as much. */
#include "ops/kernels.h"
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_result.h"
#include "python/scalar_trace.h"

/* ---- Number slots ---------------------------------------------------------------------------- */

typedef pg_status expression(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b);

enum { most_nodes_an_expression = 4 };

/* The operators that the guard may refuse, in the order of their names in compat/_guard.py. */
enum { op_add, op_sub, op_mul, op_div, op_pow, op_mod, op_floordiv, op_neg, op_pos, op_abs };

static int call_guard(int operator, PyObject *left, PyObject *right) {
    return scalar_drop_result(
        PyObject_CallFunction(scalar_global.guard, "iOO", operator, left, right));
}

/* Under `pygradc run`: would the program's own class raise here? The guard is called where that
 * class lacks the operator, or where an operand is neither a Value nor a plain number, or is a
 * Value in the exponent. 0, or 1 with the program's exception set. */
static int is_refused(int operator, PyObject *left, PyObject *right) {
    const unsigned bit = 1u << operator;
    int asked = (scalar_global.guarded & bit) != 0;
    if (!scalar_check(left))
        asked |=
            (scalar_global.guarded_reflected & bit) || !(PyFloat_Check(left) || PyLong_Check(left));
    if (!PyFloat_Check(right) && !PyLong_Check(right))
        asked |= operator == op_pow || !scalar_check(right);
    return asked && call_guard(operator, left, right) < 0;
}

static inline int is_refused_alone(int operator, PyObject *self) {
    return PG_UNLIKELY(scalar_global.guard != NULL) &&
           (scalar_global.guarded & 1u << operator) != 0 && call_guard(operator, self, Py_None) < 0;
}

/* Fast path: read an operand that is a Value of no subclass, a float, or an int. 0 for any other,
 * and for an int too large for a float, with no exception set. */
static inline int plain_operand(PyObject *object, pg_operand *operand_ret, int *is_int) {
    operand_ret->id = 0;
    if (PG_LIKELY(Py_TYPE(object) == scalar_global.value)) {
        operand_ret->id = ((scalar *)object)->id;
        operand_ret->number = 0.0;
        return 1;
    }
    if (PyFloat_CheckExact(object)) {
        operand_ret->number = PyFloat_AS_DOUBLE(object);
        if (is_int != NULL) *is_int = 0;
        return 1;
    }
    if (!PyLong_CheckExact(object)) return 0;
    if (is_int != NULL) *is_int = 1;
    operand_ret->number = PyLong_AsDouble(object);
    if (operand_ret->number != -1.0 || !PyErr_Occurred()) return 1;
    PyErr_Clear();
    return 0;
}

static inline PyObject *append(expression *build, pg_operand a, pg_operand b, unsigned flags,
                               PyObject *result(pg_node_id id)) {
    pg_node_id id;
    pg_status status = build(scalar_global.graph, &id, a, b);
    if (PG_UNLIKELY(status != PG_OK)) return scalar_raise(status);
    if (flags != 0) scalar_global.graph->nodes[id].flags |= (uint8_t)flags;
    return result(id);
}

/* The flag for an op of a number and a node: a number that a constructor turned into a leaf counts
 * as detached if the other operand is, like any number. */
static unsigned detached_beside(pg_node_id number, pg_node_id other) {
    const pg_node *nodes = scalar_global.graph->nodes;
    return nodes[number].op == PG_OP_LEAF ? nodes[other].flags & PG_FLAG_DETACHED : 0;
}

/* As above, for operands made of `left` and `right`, at most one of which is not a Value. */
static unsigned detached_of(PyObject *left, PyObject *right, pg_operand a, pg_operand b) {
    if (a.id == 0 || b.id == 0) return 0;
    if (!scalar_check(left)) return detached_beside(a.id, b.id);
    return scalar_check(right) ? 0 : detached_beside(b.id, a.id);
}

/* With a patched constructor: call it for each operand that is a number, except an exponent, which
 * is no node in micrograd, and for the result. */
static PyObject *append_constructed(expression *build, PyObject *left, PyObject *right, int is_int,
                                    int is_exponent) {
    pg_operand a, b;
    PyObject *one = scalar_constructed_operand(left), *result = NULL;
    PyObject *two = is_exponent ? Py_NewRef(right) : scalar_constructed_operand(right);
    if (one != NULL && two != NULL && scalar_reserve(most_nodes_an_expression) == 0 &&
        scalar_require_operand(one, &a, "an operand") == 0 &&
        scalar_require_operand(two, &b, "an operand") == 0)
        result = append(build, a, b, (is_int ? PG_FLAG_INT : 0) | detached_of(left, right, a, b),
                        scalar_construct);
    Py_XDECREF(one);
    Py_XDECREF(two);
    return result;
}

/* Slow path: operands of any type, and a class that may have been patched. */
static PyObject *apply_slowly(expression *build, PyObject *left, PyObject *right) {
    pg_operand a, b;
    int is_int = 0, *is_int_ret = build == pg_expr_pow ? &is_int : NULL;
    const int constructs = scalar_constructs();
    if (constructs < 0 || scalar_reserve(most_nodes_an_expression) < 0) return NULL;
    int found = scalar_operand(left, &a, is_int_ret);
    if (found == 1) found = scalar_operand(right, &b, is_int_ret);
    if (found == 0) Py_RETURN_NOTIMPLEMENTED;
    if (found < 0) return NULL;
    if (!constructs) return append(build, a, b, is_int ? PG_FLAG_INT : 0, scalar_finished);
    if (a.id == 0 && (build == pg_expr_add || build == pg_expr_mul)) /* 2 * a is a * 2 */
        return append_constructed(build, right, left, 0, 0);
    return append_constructed(build, left, right, is_int, build == pg_expr_pow && b.id == 0);
}

/* Fast path: is the class unpatched, is there room in the arena, and are both operands plain? The
 * check for room comes before operands are read. The caller holds the operands. */
static inline int are_plain(PyObject *left, PyObject *right, pg_operand *a, pg_operand *b,
                            int *is_int) {
    return scalar_as_made() &&
           PG_LIKELY(pg_capacity_left(scalar_global.graph) >= most_nodes_an_expression) &&
           plain_operand(left, a, is_int) && plain_operand(right, b, is_int);
}

#define PG_SLOT(name, build, operator, composition)                                                \
    static PyObject *name(PyObject *left, PyObject *right) {                                       \
        pg_operand a, b;                                                                           \
        if (PG_UNLIKELY(scalar_global.guard != NULL) && is_refused(operator, left, right))         \
            return NULL;                                                                           \
        if (PG_LIKELY(are_plain(left, right, &a, &b, NULL)))                                       \
            return append(build, a, b, 0, scalar_finished);                                        \
        PyObject *result;                                                                          \
        if (scalar_apply_overrides(composition, left, right, &result)) return result;              \
        return apply_slowly(build, left, right);                                                   \
    }
PG_SLOT(slot_add, pg_expr_add, op_add, SCALAR_ADD)
PG_SLOT(slot_sub, pg_expr_sub, op_sub, SCALAR_SUBTRACT)
PG_SLOT(slot_mul, pg_expr_mul, op_mul, SCALAR_MULTIPLY)
PG_SLOT(slot_div, pg_expr_div, op_div, SCALAR_DIVIDE)

static PyObject *slot_pow(PyObject *left, PyObject *right, PyObject *modulus) {
    if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
    pg_operand a, b;
    int is_int = 0;
    if (PG_UNLIKELY(scalar_global.guard != NULL) && is_refused(op_pow, left, right)) return NULL;
    if (PG_LIKELY(are_plain(left, right, &a, &b, &is_int)))
        return append(pg_expr_pow, a, b, is_int ? PG_FLAG_INT : 0, scalar_finished);
    return apply_slowly(pg_expr_pow, left, right);
}

/* % and //, which are one node each. */
static PyObject *division(expression *build, int operator, PyObject *left, PyObject *right) {
    pg_operand a, b;
    if (PG_UNLIKELY(scalar_global.guard != NULL) && is_refused(operator, left, right)) return NULL;
    if (PG_LIKELY(are_plain(left, right, &a, &b, NULL)))
        return append(build, a, b, 0, scalar_finished);
    return apply_slowly(build, left, right);
}

static PyObject *slot_mod(PyObject *left, PyObject *right) {
    return division(pg_expr_mod, op_mod, left, right);
}

static PyObject *slot_floordiv(PyObject *left, PyObject *right) {
    return division(pg_expr_floordiv, op_floordiv, left, right);
}

/* divmod(left, right): the two operators, which may be patched. A class that `pygradc run` replaces
 * has none. */
static PyObject *slot_divmod(PyObject *left, PyObject *right) {
    if (scalar_global.guard != NULL) Py_RETURN_NOTIMPLEMENTED;
    PyObject *quotient = PyNumber_FloorDivide(left, right);
    PyObject *rest = quotient != NULL ? PyNumber_Remainder(left, right) : NULL;
    PyObject *both = rest != NULL ? PyTuple_Pack(2, quotient, rest) : NULL;
    Py_XDECREF(quotient);
    Py_XDECREF(rest);
    return both;
}

static PyObject *unary(PyObject *self, int op) {
    if (scalar_reserve(1) < 0) return NULL;
    pg_node_id id;
    pg_status status = pg_graph_unary(scalar_global.graph, &id, op, ((scalar *)self)->id);
    return scalar_result(status, id);
}

static PyObject *slot_neg(PyObject *self) {
    if (is_refused_alone(op_neg, self)) return NULL;
    PyObject *result;
    if ((!scalar_as_made() || Py_TYPE(self) != scalar_global.value) &&
        scalar_apply_overrides(SCALAR_NEGATE, self, NULL, &result))
        return result;
    if (scalar_reserve(2) < 0) return NULL;
    pg_node_id id;
    pg_status status = pg_expr_neg(scalar_global.graph, &id, ((scalar *)self)->id);
    return scalar_result(status, id);
}

static PyObject *slot_pos(PyObject *self) {
    return is_refused_alone(op_pos, self) ? NULL : Py_NewRef(self);
}

static PyObject *slot_abs(PyObject *self) {
    return is_refused_alone(op_abs, self) ? NULL : unary(self, PG_OP_ABS);
}

/* Refuse a conversion: whatever math or numpy computed with the plain number would lose the
 * gradient. Always NULL. */
static PyObject *no_number(PyObject *self, const char *what) {
    if (scalar_may_read(self, what) < 0) return NULL;
    return PyErr_Format(PyExc_TypeError,
                        "%s of a Value would lose its gradient: write v.data for its number, or "
                        "compute with the Value itself, as in v.exp() for math.exp(v)",
                        what);
}

static PyObject *slot_float(PyObject *self) { return no_number(self, "float()"); }

static PyObject *slot_int(PyObject *self) { return no_number(self, "int()"); }

/* Defined so that `[1.0][v]` and `range(v)` raise this message, and not one that does not mention
 * Values. */
static PyObject *slot_index(PyObject *self) {
    if (scalar_may_read(self, "an index or integer") < 0) return NULL;
    PyErr_SetString(PyExc_TypeError, "a Value is not an integer or index; int(v.data) is one");
    return NULL;
}

/* math.floor(v) and its like, and round(v), are nodes: a Value's whole number is a Value. */
static PyObject *method_round(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count == 0 || (count == 1 && args[0] == Py_None)) return unary(self, PG_OP_RINT);
    if (scalar_may_read(self, "round() to digits") < 0) return NULL;
    PyErr_SetString(PyExc_TypeError, "round() of a Value takes no number of digits: write "
                                     "(v * 10**n).round() / 10**n");
    return NULL;
}

static PyObject *method_trunc(PyObject *self, PyObject *Py_UNUSED(none)) {
    return unary(self, PG_OP_TRUNC);
}

static PyObject *method_floor(PyObject *self, PyObject *Py_UNUSED(none)) {
    return unary(self, PG_OP_FLOOR);
}

static PyObject *method_ceil(PyObject *self, PyObject *Py_UNUSED(none)) {
    return unary(self, PG_OP_CEIL);
}

static PyObject *method_complex(PyObject *self, PyObject *Py_UNUSED(none)) {
    return no_number(self, "complex()");
}

static PyMethodDef conversions[] = {
    {"round", (PyCFunction)(void (*)(void))method_round, METH_FASTCALL,
     "round($self, ndigits=None, /)\n--\n\n"
     "The nearest whole number, of two the even one: rint()."},
    {"__round__", (PyCFunction)(void (*)(void))method_round, METH_FASTCALL,
     "__round__($self, ndigits=None, /)\n--\n\n"},
    {"__trunc__", method_trunc, METH_NOARGS, "__trunc__($self, /)\n--\n\n"},
    {"__floor__", method_floor, METH_NOARGS, "__floor__($self, /)\n--\n\n"},
    {"__ceil__", method_ceil, METH_NOARGS, "__ceil__($self, /)\n--\n\n"},
    {"__complex__", method_complex, METH_NOARGS, "__complex__($self, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

/* Every Value is true, as objects are by default; during a trace the answer would be frozen into
 * the program. */
static int slot_bool(PyObject *self) { return scalar_may_read(self, "bool()") < 0 ? -1 : 1; }

/* A comparison during a trace: not a bool, but an object that converts to one where constants
 * decide it. */
static PyObject *traced_comparison(PyObject *left, PyObject *right, int op) {
    return PyObject_CallFunction(scalar_global.condition, "OiO", left, op, right);
}

/* Two Values are equal only if they are the same object, as graph walks need it. During a trace
 * only that case has an answer: for two objects it is unknown whether their data are meant. While a
 * custom op's rule is traced even that is refused, since floats would answer otherwise. */
static PyObject *equality_of_values(PyObject *left, PyObject *right, int op) {
    if (scalar_may_ask(left, op == Py_EQ ? "==" : "!=") < 0) return NULL;
    if (PG_LIKELY(!scalar_tracing())) Py_RETURN_NOTIMPLEMENTED;
    if (left == right) return PyBool_FromLong(op == Py_EQ);
    scalar_refuse(left, op == Py_EQ ? "==" : "!=");
    return NULL;
}

/* The float that equals a number exactly; nan, which equals nothing, if there is none. Returns 1,
 * 0, or -1 as scalar_operand. */
static int equal_float(PyObject *object, double *number_ret) {
    static const double exact_integers = 9007199254740992.0; /* 2**53 */
    int is_int;
    int found = scalar_as_number(object, number_ret, &is_int);
    if (found < 0 && PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear();
        *number_ret = Py_NAN;
        return 1;
    }
    if (found != 1 || PyFloat_Check(object) || (is_int && fabs(*number_ret) < exact_integers))
        return found;
    PyObject *number = PyFloat_FromDouble(*number_ret);
    int same = number != NULL ? PyObject_RichCompareBool(number, object, Py_EQ) : -1;
    Py_XDECREF(number);
    if (same == 0) *number_ret = Py_NAN;
    return same < 0 ? -1 : 1;
}

/* A Value equals a number if its data do. */
static PyObject *equality_with_number(PyObject *left, PyObject *right, int op) {
    double b;
    int found = equal_float(right, &b);
    if (found < 0) return NULL;
    if (found == 0) Py_RETURN_NOTIMPLEMENTED;
    if (PG_UNLIKELY(scalar_tracing())) {
        PyObject *number = PyFloat_FromDouble(b);
        PyObject *condition = number != NULL ? traced_comparison(left, number, op) : NULL;
        Py_XDECREF(number);
        return condition;
    }
    if (scalar_may_read(left, op == Py_EQ ? "==" : "!=") < 0) return NULL;
    const double a = scalar_node((scalar *)left)->data;
    return PyBool_FromLong((a == b) == (op == Py_EQ));
}

/* Was == patched, or overridden in a subclass? 1, 0, or -1 with an exception set. */
static int has_own_equality(PyTypeObject *type) {
    if (PG_LIKELY(type->tp_richcompare == scalar_global.base->tp_richcompare)) return 0;
    PyObject *ours = PyObject_GetAttrString((PyObject *)scalar_global.base, "__eq__");
    PyObject *own = ours ? PyObject_GetAttrString((PyObject *)type, "__eq__") : NULL;
    int differs = own != NULL ? own != ours : -1;
    Py_XDECREF(own);
    Py_XDECREF(ours);
    return differs;
}

/* The default !=: the negation of the class's own ==. */
static PyObject *not_equal(PyObject *left, PyObject *right) {
    PyObject *equal = Py_TYPE(left)->tp_richcompare(left, right, Py_EQ);
    if (equal == NULL || equal == Py_NotImplemented) return equal;
    int is_true = PyObject_IsTrue(equal);
    Py_DECREF(equal);
    return is_true < 0 ? NULL : PyBool_FromLong(!is_true);
}

static PyObject *equality(PyObject *left, PyObject *right, int op) {
    int own = op == Py_NE ? has_own_equality(Py_TYPE(left)) : 0;
    if (own != 0) return own < 0 ? NULL : not_equal(left, right);
    return scalar_check(right) ? equality_of_values(left, right, op)
                               : equality_with_number(left, right, op);
}

/* Hash by identity, with the same bits as object's own hash, which would cost another call: the
 * address rotated by its zero low bits. Refused while a rule is traced: a lookup in its dict or set
 * of floats could never succeed. */
static Py_hash_t scalar_hash(PyObject *self) {
    if (scalar_may_ask(self, "hash()") < 0) return -1;
    const size_t address = (size_t)self, bits = 8 * sizeof address;
    const Py_hash_t hash = (Py_hash_t)(address >> 4 | address << (bits - 4));
    return hash != -1 ? hash : -2;
}

/* Values are ordered by their data. */
static PyObject *scalar_richcompare(PyObject *left, PyObject *right, int op) {
    if (op == Py_EQ || op == Py_NE) return equality(left, right, op);
    pg_operand operand;
    int found = scalar_operand(right, &operand, NULL);
    if (found < 0) return NULL;
    if (found == 0) Py_RETURN_NOTIMPLEMENTED;
    if (scalar_tracing()) return traced_comparison(left, right, op);
    if (scalar_may_read(left, "a comparison") < 0 || scalar_may_read(right, "a comparison") < 0)
        return NULL;
    double a = scalar_node((scalar *)left)->data;
    double b = operand.id != 0 ? pg_node_data(scalar_global.graph, operand.id) : operand.number;
    Py_RETURN_RICHCOMPARE(a, b, op);
}

/* ---- Methods of the op table ----------------------------------------------------------------- */

static PyObject *binary_method(PyObject *self, PyObject *other, int op) {
    const char *name = pg_op_describe(op)->name;
    PyObject *constructed = NULL, *result = NULL;
    pg_operand b;
    if (scalar_reserve(2) < 0 || scalar_require_operand(other, &b, name) < 0) return NULL;
    const int constructs = b.id != 0 || PG_LIKELY(scalar_as_made()) ? 0 : scalar_constructs();
    if (constructs > 0) constructed = scalar_constructed_operand(other);
    if (constructs == 0 || (constructed != NULL && scalar_reserve(2) == 0 &&
                            scalar_require_operand(constructed, &b, name) == 0)) {
        const pg_operand a = {((scalar *)self)->id, 0.0};
        pg_node_id id;
        pg_status status = pg_expr_binary(scalar_global.graph, &id, op, a, b);
        if (PG_UNLIKELY(constructed != NULL) && status == PG_OK)
            scalar_global.graph->nodes[id].flags |= (uint8_t)detached_of(self, other, a, b);
        result = scalar_result(status, id);
    }
    Py_XDECREF(constructed);
    return result;
}

/* name(number), which may be left out where the op has a default. */
static PyObject *number_method(PyObject *self, PyObject *const *args, Py_ssize_t count, int op) {
    const char *name = pg_op_describe(op)->name;
    double number = pg_op_default(op);
    if (count > 1 || (count == 0 && isnan(number)))
        return PyErr_Format(PyExc_TypeError, "%s() takes one number, not %zd arguments", name,
                            count);
    if (count == 1 && scalar_require_number(args[0], &number, name) < 0) return NULL;
    if (scalar_reserve(2) < 0) return NULL;
    pg_node_id id;
    pg_status status = pg_graph_number(scalar_global.graph, &id, op, ((scalar *)self)->id, number);
    return scalar_result(status, id);
}

#define PG_HIDDEN_UNARY(...)
#define PG_HIDDEN_BINARY(...)
#define PG_NUMBER(...)
#define PG_METHOD_NUMBER(NAME, ...)                                                                \
    static PyObject *method_##NAME(PyObject *self, PyObject *const *args, Py_ssize_t count) {      \
        return number_method(self, args, count, PG_OP_##NAME);                                     \
    }
#define PG_UNARY(NAME, ...)                                                                        \
    static PyObject *method_##NAME(PyObject *self, PyObject *none) {                               \
        (void)none;                                                                                \
        return unary(self, PG_OP_##NAME);                                                          \
    }
#define PG_BINARY(NAME, ...)                                                                       \
    static PyObject *method_##NAME(PyObject *self, PyObject *other) {                              \
        return binary_method(self, other, PG_OP_##NAME);                                           \
    }
#include "ops/ops.def"

static PyMethodDef op_methods[] = {
#define PG_HIDDEN_UNARY(...)
#define PG_HIDDEN_BINARY(...)
#define PG_NUMBER(...)
#define PG_METHOD_NUMBER(NAME, python, symbol, y_, da_, fault, pole, a_lo, a_hi, b_lo, b_hi, doc,  \
                         ...)                                                                      \
    {python, (PyCFunction)(void (*)(void))method_##NAME, METH_FASTCALL, doc},
#define PG_UNARY(NAME, python, symbol, y_, da_, fault, pole, lo, hi, doc, ...)                     \
    {python, method_##NAME, METH_NOARGS, python "($self, /)\n--\n\n" doc},
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, fault, pole, a_lo, a_hi, b_lo, b_hi, doc,    \
                  ...)                                                                             \
    {python, method_##NAME, METH_O, python "($self, other, /)\n--\n\n" doc},
#include "ops/ops.def"
    {NULL, NULL, 0, NULL},
};

/* NumPy's names of ops. On an array of objects, its ufuncs call the method of their own name. */
static const struct {
    const char *alias, *name;
} aliases[] = {
    {"arcsin", "asin"},   {"arccos", "acos"},   {"arctan", "atan"},   {"arctan2", "atan2"},
    {"arcsinh", "asinh"}, {"arccosh", "acosh"}, {"arctanh", "atanh"},
};

/* ---- Tables of the type ---------------------------------------------------------------------- */

const PyType_Slot scalar_number_slots[] = {
    {Py_tp_richcompare, scalar_richcompare},
    {Py_nb_add, slot_add},
    {Py_nb_subtract, slot_sub},
    {Py_nb_multiply, slot_mul},
    {Py_nb_true_divide, slot_div},
    {Py_nb_power, slot_pow},
    {Py_nb_remainder, slot_mod},
    {Py_nb_floor_divide, slot_floordiv},
    {Py_nb_divmod, slot_divmod},
    {Py_nb_negative, slot_neg},
    {Py_nb_positive, slot_pos},
    {Py_nb_absolute, slot_abs},
    {Py_nb_float, slot_float},
    {Py_nb_int, slot_int},
    {Py_nb_index, slot_index},
    {Py_nb_bool, slot_bool},
    {Py_tp_hash, scalar_hash},
    {0, NULL},
};
_Static_assert(sizeof scalar_number_slots / sizeof scalar_number_slots[0] <=
                   SCALAR_MOST_NUMBER_SLOTS,
               "too many slots");

/* For each op its interned name, and the method that the type was created with; NULL if there is
 * none. */
static struct {
    PyObject *name, *method;
} natives[PG_OP_COUNT];

/* The same method objects under their other names. */
static int add_aliases(PyObject *type) {
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        PyObject *method = PyObject_GetAttrString(type, aliases[i].name);
        const int failed =
            method == NULL || PyObject_SetAttrString(type, aliases[i].alias, method) < 0;
        Py_XDECREF(method);
        if (failed) return -1;
    }
    return 0;
}

static int op_of(const PyMethodDef *method) {
    int op = 1;
    while (strcmp(pg_op_describe(op)->name, method->ml_name) != 0) op++;
    return op;
}

/* Put the signature, with the number's default, before the docstring of a.elu(number). The text is
 * never freed: the table holds it. */
static int describe_number(PyMethodDef *method) {
    const double number = pg_op_default(op_of(method));
    char *text = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    const size_t size =
        strlen(method->ml_name) + strlen(method->ml_doc) + (text != NULL ? strlen(text) : 0) + 64;
    char *doc = text != NULL ? PyMem_Malloc(size) : NULL;
    if (doc != NULL) {
        (void)snprintf(doc, size, "%s($self, number%s%s, /)\n--\n\n%s", method->ml_name,
                       isnan(number) ? "" : "=", isnan(number) ? "" : text, method->ml_doc);
        method->ml_doc = doc;
    }
    PyMem_Free(text);
    return doc != NULL ? 0 : scalar_fail(PG_ERR_NOMEM);
}

int scalar_add_operators(PyTypeObject *type) {
    for (PyMethodDef *method = op_methods; method->ml_name != NULL; method++)
        if (method->ml_flags == METH_FASTCALL && describe_number(method) < 0) return -1;
    if (scalar_add_methods(type, op_methods) < 0 || scalar_add_methods(type, conversions) < 0)
        return -1;
    for (PyMethodDef *method = op_methods; method->ml_name != NULL; method++) {
        const int op = op_of(method);
        natives[op].name = PyUnicode_InternFromString(method->ml_name);
        natives[op].method = PyObject_GetAttrString((PyObject *)type, method->ml_name);
        if (natives[op].name == NULL || natives[op].method == NULL) return -1;
    }
    return add_aliases((PyObject *)type);
}

int scalar_is_native(int op) {
    PyNumberMethods *numbers = scalar_global.value->tp_as_number;
    const int constructs = scalar_constructs();
    if (constructs != 0) return constructs < 0 ? -1 : 0;
    if (numbers->nb_add != slot_add || numbers->nb_multiply != slot_mul) return 0;
    if (op <= 0 || op >= PG_OP_COUNT || natives[op].name == NULL) return 1;
    PyObject *method = PyObject_GetAttr((PyObject *)scalar_global.value, natives[op].name);
    if (method == NULL) return -1;
    Py_DECREF(method);
    return method == natives[op].method;
}
