/* scalar_arrays.c - numbers of many Values at once: convert nested lists and object arrays of
 * Values to and from arrays of float64.
 *
 * The shape is found along the first items and checked against all others. Lists and tuples are
 * read directly, arrays through their buffers, with any strides. Reading a number of a foreign type
 * may run the user's code: each item is held while it is read, and a list's length is checked again
 * before each item.
 * Cost: some 5 ns a Value of a list. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_trace.h"

enum { most_axes = 32 }; /* as numpy before 2.0 */

typedef enum wanted { wanted_data, wanted_grad, wanted_ids } wanted;

typedef struct reading {
    wanted what;
    Py_ssize_t shape[most_axes];
    int axes;
    size_t count, done;
    double *numbers;   /* count of them; or: */
    pg_node_id *ids;   /* count of them */
    const char *named; /* the caller, for error messages */
    const char *asked; /* what TraceError says was asked for, where a Value has no number */
} reading;

static int is_sequence(PyObject *object) { return PyList_Check(object) || PyTuple_Check(object); }

/* Is this an array of Python objects? 1, and the view must be released; 0; or -1 with an exception
 * set. */
static int open_array(PyObject *object, Py_buffer *view) {
    if (!PyObject_CheckBuffer(object)) return 0;
    if (PyObject_GetBuffer(object, view, PyBUF_FULL_RO) < 0) return -1;
    if (view->format != NULL && strcmp(view->format, "O") == 0 && view->suboffsets == NULL)
        return 1;
    PyBuffer_Release(view);
    return 0;
}

/* ---- Shape ----------------------------------------------------------------------------------- */

static int add_axis(reading *r, Py_ssize_t length) {
    if (r->axes == most_axes)
        return scalar_error(PyExc_ValueError, "%s: nested deeper than %d lists", r->named,
                            most_axes);
    r->shape[r->axes++] = length;
    return 0;
}

/* Add the axes of an array; its items add none. */
static int add_axes_of_array(reading *r, const Py_buffer *view) {
    for (int i = 0; i < view->ndim; i++)
        if (add_axis(r, view->shape[i]) < 0) return -1;
    return 0;
}

/* Descend along the first items. */
static int find_shape(reading *r, PyObject *object) {
    while (is_sequence(object)) {
        if (add_axis(r, Py_SIZE(object)) < 0) return -1;
        if (Py_SIZE(object) == 0) return 0;
        object = PySequence_Fast_GET_ITEM(object, 0);
    }
    Py_buffer view;
    int is_array = scalar_check(object) ? 0 : open_array(object, &view);
    if (is_array <= 0) return is_array;
    int failed = add_axes_of_array(r, &view);
    PyBuffer_Release(&view);
    return failed;
}

static int count_items(reading *r) {
    r->count = 1;
    for (int i = 0; i < r->axes; i++) {
        const size_t length = (size_t)r->shape[i];
        if (length != 0 && r->count > PY_SSIZE_T_MAX / sizeof(double) / length)
            return scalar_fail(PG_ERR_NOMEM);
        r->count *= length;
    }
    return 0;
}

static PyObject *shape_of(const reading *r) {
    PyObject *shape = PyTuple_New(r->axes);
    for (int i = 0; shape != NULL && i < r->axes; i++)
        scalar_put(&shape, (size_t)i, PyLong_FromSsize_t(r->shape[i]));
    return shape;
}

/* ---- Items ----------------------------------------------------------------------------------- */

static int refuse(const reading *r, PyObject *item) {
    return scalar_error(PyExc_TypeError,
                        "%s: expected Values in lists, tuples and object arrays, got %.100s",
                        r->named, Py_TYPE(item)->tp_name);
}

/* Raise ValueError: this item differs in length or depth from the first along this axis. */
static int ragged(const reading *r, int axis, PyObject *item) {
    if (is_sequence(item))
        return scalar_error(PyExc_ValueError,
                            "%s: ragged: %zd items along axis %d, where the first has %zd",
                            r->named, Py_SIZE(item), axis, axis < r->axes ? r->shape[axis] : 0);
    return scalar_error(PyExc_ValueError, "%s: ragged: %.100s along axis %d, unlike the first",
                        r->named, Py_TYPE(item)->tp_name, axis);
}

/* Read one item; a number is its own data. */
static int read_item(reading *r, PyObject *item) {
    pg_operand operand = {0, 0.0};
    const int is_value = scalar_check(item);
    if (is_value) operand.id = ((scalar *)item)->id;
    else if (r->what != wanted_data) return refuse(r, item);
    else {
        int found = scalar_operand(item, &operand, NULL);
        if (found != 1) return found == 0 ? refuse(r, item) : -1;
    }
    if (is_value && (r->what == wanted_ids ? scalar_may_write(item, "assigning .data")
                                           : scalar_may_read(item, r->asked)) < 0)
        return -1;
    if (r->what == wanted_ids) r->ids[r->done++] = operand.id;
    else if (r->what == wanted_grad)
        r->numbers[r->done++] = pg_node_grad(scalar_global.graph, operand.id);
    else r->numbers[r->done++] = pg_operand_data(scalar_global.graph, operand);
    return 0;
}

static int read_items(reading *r, PyObject *object, int axis);

static int read_sequence(reading *r, PyObject *object, int axis) {
    if (axis == r->axes || Py_SIZE(object) != r->shape[axis]) return ragged(r, axis, object);
    int failed = 0;
    for (Py_ssize_t i = 0; i < r->shape[axis] && !failed; i++) {
        if (Py_SIZE(object) != r->shape[axis]) return ragged(r, axis, object); /* changed */
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(object, i));
        failed = read_items(r, item, axis + 1) < 0;
        Py_DECREF(item);
    }
    return failed ? -1 : 0;
}

/* Read the subarray that begins at `at`, from the array's axis `own` on. */
static int read_part(reading *r, const Py_buffer *view, const char *at, int own) {
    if (own == view->ndim) {
        PyObject *item = *(PyObject *const *)at;
        item = Py_NewRef(item != NULL ? item : Py_None);
        int failed = read_item(r, item);
        Py_DECREF(item);
        return failed;
    }
    for (Py_ssize_t i = 0; i < view->shape[own]; i++)
        if (read_part(r, view, at + i * view->strides[own], own + 1) < 0) return -1;
    return 0;
}

static int read_array(reading *r, PyObject *array, const Py_buffer *view, int axis) {
    int same = axis + view->ndim == r->axes;
    for (int i = 0; same && i < view->ndim; i++) same = view->shape[i] == r->shape[axis + i];
    return same ? read_part(r, view, view->buf, 0) : ragged(r, axis, array);
}

static int read_items(reading *r, PyObject *object, int axis) {
    if (is_sequence(object)) return read_sequence(r, object, axis);
    Py_buffer view;
    int is_array = scalar_check(object) ? 0 : open_array(object, &view);
    if (is_array < 0) return -1;
    if (is_array == 0 && axis < r->axes && scalar_check(object)) return ragged(r, axis, object);
    if (is_array == 0) return axis == r->axes ? read_item(r, object) : refuse(r, object);
    int failed = read_array(r, object, &view, axis);
    PyBuffer_Release(&view);
    return failed;
}

/* ---- Methods --------------------------------------------------------------------------------- */

/* -> (bytes of the float64s, their shape) */
static PyObject *fetch(PyObject *values, wanted what, const char *named) {
    reading r = {.what = what, .named = named};
    r.asked = what == wanted_grad ? "grads()" : "data()";
    if (find_shape(&r, values) < 0 || count_items(&r) < 0) return NULL;
    PyObject *bytes = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)(r.count * sizeof(double)));
    if (bytes == NULL) return NULL;
    r.numbers = (double *)PyByteArray_AS_STRING(bytes);
    PyObject *shape = read_items(&r, values, 0) == 0 ? shape_of(&r) : NULL;
    PyObject *result = shape != NULL ? PyTuple_Pack(2, bytes, shape) : NULL;
    Py_XDECREF(shape);
    Py_DECREF(bytes);
    return result;
}

static PyObject *fetch_data(PyObject *Py_UNUSED(module), PyObject *values) {
    return fetch(values, wanted_data, "data");
}

static PyObject *fetch_grads(PyObject *Py_UNUSED(module), PyObject *values) {
    return fetch(values, wanted_grad, "grads");
}

static int same_shape(const reading *r, PyObject *given) {
    PyObject *shape = shape_of(r);
    int same = shape != NULL ? PyObject_RichCompareBool(shape, given, Py_EQ) : -1;
    if (same == 0)
        PyErr_Format(PyExc_ValueError, "set_data: Values of shape %R, numbers of shape %R", shape,
                     given);
    Py_XDECREF(shape);
    return same == 1 ? 0 : -1;
}

/* All Values are found before the first is written to. */
static int assign_all(reading *r, PyObject *values, PyObject *numbers) {
    r->ids = PyMem_New(pg_node_id, r->count + 1);
    if (r->ids == NULL) return scalar_fail(PG_ERR_NOMEM);
    Py_buffer view;
    const double *from = NULL;
    if (read_items(r, values, 0) == 0) from = scalar_doubles_of(numbers, &view, r->count, 0);
    for (size_t i = 0; from != NULL && i < r->count; i++)
        scalar_global.graph->nodes[r->ids[i]].data = from[i];
    PyMem_Free(r->ids);
    if (from == NULL) return -1;
    PyBuffer_Release(&view);
    return 0;
}

/* assign(values, numbers, shape): numbers is a contiguous array of float64 of this shape. */
static PyObject *assign(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *values, *numbers, *shape;
    reading r = {.what = wanted_ids, .named = "set_data"};
    if (!PyArg_ParseTuple(args, "OOO!", &values, &numbers, &PyTuple_Type, &shape) ||
        find_shape(&r, values) < 0 || count_items(&r) < 0 || same_shape(&r, shape) < 0 ||
        assign_all(&r, values, numbers) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyMethodDef scalar_array_functions[] = {
    {"fetch_data", fetch_data, METH_O, NULL},
    {"fetch_grads", fetch_grads, METH_O, NULL},
    {"assign", assign, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
