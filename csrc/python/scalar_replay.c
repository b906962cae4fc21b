/* scalar_replay.c - the fast path of a replay: from Python's arguments to Values in one call.
 *
 * pygradc/program.py handles all calls, for any arguments and any executor. This path is for each
 * step of a training loop, where the ten microseconds of program.py would be most of the step: the
 * sum of a program over rows of float64 arrays, or one row of numbers and Values. For anything else
 * (another structure, a fault) it returns NotImplemented, and program.py, called next, reports what
 * is wrong.
 *
 * A capsule holds a `call`: a program and its backward plans, which the Program that owns the
 * capsule keeps alive, and rooms, the buffers of one replay: as many as there were replays at the
 * same time. A replay does not hold the GIL; access to the graph and to the list of idle rooms
 * does. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_result.h"
#include "python/scalar_trace.h"

/* The expected structure of the arguments: in preorder one word each, followed by the length of a
 * list or tuple, and by the rank and shape of an array. */
enum { a_number, a_list, a_tuple, an_array };

typedef struct room {
    struct room *next;
    pg_workspace *workspace;
    pg_node_id *ids;       /* of the parameters, then of the inputs that are Values */
    pg_node_id *value_ids; /* for each input the id of its Value, or 0 */
    int stop;
    double *params, *totals, *gradients;     /* of a sum: params, outputs, outputs x params */
    double *row, *outputs, *input_gradients; /* of one row: inputs, outputs, outputs x inputs */
    double *derivatives;                     /* of one output with respect to all ids */
    pg_argument arguments[];                 /* one for each argument */
} room;

typedef struct call {
    const pg_program *program;
    pg_program_size size;
    const pg_backward_plan *const *plan[4]; /* indexed by PG_WRT_ flags; NULL: not made yet */
    PyTypeObject *array;                    /* numpy.ndarray */
    room *idle;
    int ignore, level;
    Py_ssize_t argument_count;
    Py_ssize_t shape_length;
    int64_t shape[];
} call;

/* ---- Rooms ----------------------------------------------------------------------------------- */

static void room_free(room *r) {
    if (r == NULL) return;
    pg_workspace_free(r->workspace);
    pg_free(r->params);
    pg_free(r->ids);
    pg_free(r);
}

static room *room_new(const call *c) {
    const size_t in = c->size.inputs, out = c->size.outputs, params = c->size.params;
    const size_t doubles = params + out + out * params + in + out + out * in + params + in;
    room *r = pg_realloc(NULL, sizeof *r + (size_t)c->argument_count * sizeof *r->arguments, 1);
    if (r == NULL) return NULL;
    *r = (room){0};
    const pg_status status = pg_workspace_new(&r->workspace, c->program, c->level);
    r->params = pg_realloc(NULL, doubles, sizeof *r->params);
    r->ids = pg_realloc(NULL, params + 2 * in, sizeof *r->ids);
    if (status != PG_OK || r->params == NULL || r->ids == NULL) {
        room_free(r);
        return NULL;
    }
    r->totals = r->params + params;
    r->gradients = r->totals + out;
    r->row = r->gradients + out * params;
    r->outputs = r->row + in;
    r->input_gradients = r->outputs + out;
    r->derivatives = r->input_gradients + out * in;
    r->value_ids = r->ids + params + in;
    pg_workspace_poll(r->workspace, pg_python_poll, &r->stop);
    return r;
}

static room *borrow(call *c) {
    room *r = c->idle;
    if (r == NULL) {
        r = room_new(c);
        if (r == NULL) PyErr_NoMemory();
        return r;
    }
    c->idle = r->next;
    return r;
}

static void give_back(call *c, room *r) {
    r->next = c->idle;
    c->idle = r;
}

/* ---- The capsule ----------------------------------------------------------------------------- */

static const char capsule_name[] = "pygradc.replay";

static void call_free(PyObject *capsule) {
    call *c = PyCapsule_GetPointer(capsule, capsule_name);
    while (c->idle != NULL) {
        room *r = c->idle;
        c->idle = r->next;
        room_free(r);
    }
    Py_DECREF(c->array);
    pg_free(c);
}

static int read_shape(call *c, PyObject *shape) {
    for (Py_ssize_t i = 0; i < c->shape_length; i++) {
        c->shape[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(shape, i));
        if (c->shape[i] == -1 && PyErr_Occurred()) return -1;
    }
    return 0;
}

/* replay(program's address, argument count, shape, numpy.ndarray, ignore, level) -> capsule */
static PyObject *replay_new(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *address, *shape, *array;
    Py_ssize_t arguments;
    int ignore, level;
    if (!PyArg_ParseTuple(args, "OnO!O!pi", &address, &arguments, &PyTuple_Type, &shape,
                          &PyType_Type, &array, &ignore, &level))
        return NULL;
    const pg_program *program = PyLong_AsVoidPtr(address);
    if (program == NULL) return NULL;
    const Py_ssize_t length = PyTuple_GET_SIZE(shape);
    call *c = pg_realloc(NULL, sizeof *c + (size_t)length * sizeof *c->shape, 1);
    if (c == NULL) return PyErr_NoMemory();
    *c = (call){.program = program,
                .size = pg_program_measure(program),
                .array = (PyTypeObject *)Py_NewRef(array),
                .ignore = ignore,
                .level = level,
                .argument_count = arguments,
                .shape_length = length};
    PyObject *capsule = PyCapsule_New(c, capsule_name, call_free);
    if (capsule == NULL) {
        Py_DECREF(array);
        pg_free(c);
    } else if (read_shape(c, shape) < 0) {
        Py_CLEAR(capsule);
    }
    return capsule;
}

/* replay_back(capsule, wrt, address of an array of pg_backward_plan pointers, one for each
 * output) */
static PyObject *replay_back(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *capsule, *address;
    int wrt;
    if (!PyArg_ParseTuple(args, "OiO", &capsule, &wrt, &address)) return NULL;
    call *c = PyCapsule_GetPointer(capsule, capsule_name);
    const void *plan = PyLong_AsVoidPtr(address);
    if (c == NULL || plan == NULL) return NULL;
    c->plan[wrt & 3] = plan;
    Py_RETURN_NONE;
}

/* ---- Arguments ------------------------------------------------------------------------------- */

/* Reads arguments along the shape; a mismatch ends the walk. */
typedef struct walk {
    const call *call;
    const int64_t *shape; /* the next word */
    room *room;
    size_t inputs; /* read so far */
    int values;    /* are there Values among them? */
} walk;

/* Is this a buffer of float64 in C order, of this rank and, from axis `from` on, of this shape? If
 * so, the view must be released. */
static int holds_doubles(const call *c, PyObject *object, Py_buffer *view, const int64_t *shape,
                         int from) {
    const int rank = (int)shape[0] + from;
    if (Py_TYPE(object) != c->array) return 0;
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
        PyErr_Clear();
        return 0;
    }
    int holds = view->ndim == rank && view->format != NULL && view->format[0] == 'd' &&
                view->format[1] == '\0';
    for (int i = from; holds && i < rank; i++) holds = view->shape[i] == shape[1 + i - from];
    if (!holds) PyBuffer_Release(view);
    return holds;
}

static int read_number(walk *w, PyObject *object) {
    double *to = &w->room->row[w->inputs];
    pg_node_id *id = &w->room->value_ids[w->inputs];
    *id = 0;
    if (PyFloat_Check(object)) *to = PyFloat_AS_DOUBLE(object);
    else if (scalar_check(object)) {
        const int is_over = scalar_node((scalar *)object)->flags & PG_FLAG_OVER;
        if (PG_UNLIKELY(scalar_global.tracing != 0 || is_over)) return 0;  /* has no number */
        if (PG_UNLIKELY(Py_TYPE(object) != scalar_global.value)) return 0; /* may override */
        *to = scalar_node((scalar *)object)->data;
        *id = ((scalar *)object)->id;
        w->values = 1;
    } else if (PyLong_CheckExact(object)) {
        *to = PyLong_AsDouble(object);
        if (*to == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return 0;
        }
    } else return 0;
    w->inputs++;
    return 1;
}

static int read_array(walk *w, PyObject *object) {
    const int64_t *shape = w->shape;
    Py_buffer view;
    w->shape += 1 + shape[0];
    if (!holds_doubles(w->call, object, &view, shape, 0)) return 0;
    const size_t count = (size_t)view.len / sizeof(double);
    memcpy(w->room->row + w->inputs, view.buf, (size_t)view.len);
    memset(w->room->value_ids + w->inputs, 0, count * sizeof *w->room->value_ids);
    w->inputs += count;
    PyBuffer_Release(&view);
    return 1;
}

static int read_items(walk *w, PyObject *const *items, Py_ssize_t count);

static int read_argument(walk *w, PyObject *object) {
    switch (*w->shape++) {
    case a_number: return read_number(w, object);
    case an_array: return read_array(w, object);
    case a_list:
        if (!PyList_CheckExact(object)) return 0;
        break;
    default:
        if (!PyTuple_CheckExact(object)) return 0;
    }
    const Py_ssize_t count = (Py_ssize_t)*w->shape++;
    if (PySequence_Fast_GET_SIZE(object) != count) return 0;
    return read_items(w, PySequence_Fast_ITEMS(object), count);
}

static int read_items(walk *w, PyObject *const *items, Py_ssize_t count) {
    int good = 1;
    for (Py_ssize_t i = 0; good && i < count; i++) good = read_argument(w, items[i]);
    return good;
}

/* ---- Results --------------------------------------------------------------------------------- */

static void read_params(const call *c, room *r, PyObject *params) {
    const pg_node *nodes = scalar_global.graph->nodes;
    for (size_t i = 0; i < c->size.params; i++) {
        r->ids[i] = ((scalar *)PyTuple_GET_ITEM(params, (Py_ssize_t)i))->id;
        r->params[i] = nodes[r->ids[i]].data;
    }
}

/* A node of the parameters, and of the inputs that are Values. These are in the order in which the
 * traced function would pass gradients to them, since one Value may be several inputs. */
static PyObject *make_value(const call *c, room *r, size_t output, double data, int values) {
    size_t count = c->size.params;
    const double *locals = r->gradients + output * count;
    if (values) {
        const uint32_t *order =
            pg_backward_plan_steps(c->plan[PG_WRT_PARAMS | PG_WRT_INPUTS][output]).input_order;
        memcpy(r->derivatives, locals, count * sizeof *locals);
        locals = r->derivatives;
        for (size_t i = 0; i < c->size.inputs; i++) {
            if (r->value_ids[order[i]] == 0) continue;
            r->ids[count] = r->value_ids[order[i]];
            r->derivatives[count++] = r->input_gradients[output * c->size.inputs + order[i]];
        }
    }
    pg_node_id id = 0;
    pg_status status = pg_graph_variadic(scalar_global.graph, &id, data, r->ids, locals, count);
    return scalar_result(status, id);
}

static PyObject *make_values(const call *c, room *r, const double *data, int values) {
    PyObject *tuple = PyTuple_New((Py_ssize_t)c->size.outputs);
    for (size_t o = 0; tuple != NULL && o < c->size.outputs; o++)
        scalar_put(&tuple, o, make_value(c, r, o, data[o], values));
    return tuple;
}

/* Retain the inputs that are Values: they must outlive the replay, even if other code drops them
 * meanwhile. Returns how many inputs were processed before a node had too many references. */
static size_t retain_values(const call *c, const room *r) {
    size_t i = 0;
    for (; i < c->size.inputs; i++)
        if (r->value_ids[i] != 0 && pg_graph_retain(scalar_global.graph, r->value_ids[i]) != PG_OK)
            break;
    return i;
}

static void release_values(const room *r, size_t inputs) {
    for (size_t i = 0; i < inputs; i++)
        if (r->value_ids[i] != 0) scalar_release_node(r->value_ids[i]);
}

/* Replay, with the GIL released. A fault is left to program.py, which can describe it. */
static PyObject *replay(call *c, room *r, const pg_task *task, const double *data, double scale,
                        int values) {
    pg_status status;
    r->stop = 0;
    Py_BEGIN_ALLOW_THREADS;
    status =
        pg_replay_sum(c->program, r->workspace, r->params, task, r->totals, r->gradients, scale);
    Py_END_ALLOW_THREADS;
    if (status == PG_OK) return make_values(c, r, data, values);
    if (status == PG_ERR_NOMEM) return PyErr_NoMemory();
    if (status == PG_ERR_STOPPED) return scalar_raise_signal();
    Py_RETURN_NOTIMPLEMENTED;
}

static PyObject *replay_one(call *c, room *r, int values) {
    const pg_argument argument = {r->row, c->size.inputs, c->size.inputs};
    const pg_task task = {.arguments = &argument,
                          .argument_count = 1,
                          .rows = 1,
                          .outputs = r->outputs,
                          .gradients = values ? r->input_gradients : NULL,
                          .plan = c->plan[PG_WRT_PARAMS | (values ? PG_WRT_INPUTS : 0)],
                          .ignore = c->ignore};
    if (task.plan == NULL) Py_RETURN_NOTIMPLEMENTED;
    if (!values) return replay(c, r, &task, r->outputs, 1.0, 0);
    PyObject *result = NULL;
    const size_t held = retain_values(c, r);
    if (held == c->size.inputs) result = replay(c, r, &task, r->outputs, 1.0, 1);
    else scalar_raise(PG_ERR_LIMIT);
    release_values(r, held);
    return result;
}

/* The capsule's call, once the types of its arguments and the number of parameters are checked;
 * borrowed, NULL with an exception set. */
static call *call_of(PyObject *capsule, PyObject *params, PyObject *arguments) {
    call *c = PyCapsule_GetPointer(capsule, capsule_name);
    if (c == NULL) return NULL;
    if (!PyTuple_CheckExact(params) || (size_t)PyTuple_GET_SIZE(params) != c->size.params) {
        PyErr_SetString(PyExc_SystemError, "not the program's parameters");
        return NULL;
    }
    if (!PyTuple_CheckExact(arguments)) {
        PyErr_SetString(PyExc_SystemError, "arguments must be a tuple");
        return NULL;
    }
    return c;
}

/* replay_row(capsule, parameters, arguments) -> a tuple of Values, or NotImplemented */
static PyObject *replay_row(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 3) return PyErr_Format(PyExc_TypeError, "_replay_row takes 3 arguments");
    call *c = call_of(args[0], args[1], args[2]);
    if (c == NULL) return NULL;
    if (scalar_tracing() || PyTuple_GET_SIZE(args[2]) != c->argument_count)
        Py_RETURN_NOTIMPLEMENTED;
    if (scalar_make_room(c->size.outputs) < 0) return NULL;
    room *r = borrow(c);
    if (r == NULL) return NULL;
    walk w = {.call = c, .shape = c->shape, .room = r};
    PyObject *result = Py_NotImplemented;
    if (read_items(&w, &PyTuple_GET_ITEM(args[2], 0), c->argument_count)) {
        read_params(c, r, args[1]);
        result = replay_one(c, r, w.values);
    } else Py_INCREF(result);
    give_back(c, r);
    return result;
}

/* Read the arrays of a sum as arguments of a task. The views are held until the sum is done.
 * Returns how many arrays fit before the first that doesn't. */
static Py_ssize_t read_arrays(const call *c, room *r, Py_buffer *views, PyObject *arrays,
                              size_t *rows_ret) {
    const int64_t *shape = c->shape;
    static const int64_t number[] = {0};
    for (Py_ssize_t i = 0; i < c->argument_count; i++) {
        const int is_array = *shape == an_array;
        if (!is_array && *shape != a_number) return i;
        const int64_t *item = is_array ? shape + 1 : number;
        if (!holds_doubles(c, PyTuple_GET_ITEM(arrays, i), &views[i], item, 1)) return i;
        const size_t rows = (size_t)views[i].shape[0];
        if (rows == 0 || (i > 0 && rows != *rows_ret)) {
            PyBuffer_Release(&views[i]);
            return i;
        }
        const size_t stride = (size_t)views[i].len / sizeof(double) / rows;
        r->arguments[i] = (pg_argument){views[i].buf, stride, stride};
        *rows_ret = rows;
        shape += is_array ? 2 + shape[1] : 1;
    }
    return c->argument_count;
}

/* replay_sum(capsule, parameters, arrays, mean) -> a tuple of Values, or NotImplemented */
static PyObject *replay_sum(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    enum { most_arrays = 16 };
    Py_buffer views[most_arrays];
    if (count != 4) return PyErr_Format(PyExc_TypeError, "_replay_sum takes 4 arguments");
    call *c = call_of(args[0], args[1], args[2]);
    if (c == NULL) return NULL;
    if (scalar_tracing() || PyTuple_GET_SIZE(args[2]) != c->argument_count ||
        c->argument_count > most_arrays || c->plan[PG_WRT_PARAMS] == NULL)
        Py_RETURN_NOTIMPLEMENTED;
    if (scalar_make_room(c->size.outputs) < 0) return NULL;
    room *r = borrow(c);
    if (r == NULL) return NULL;
    size_t rows = c->argument_count == 0; /* without arguments there is one row */
    PyObject *result = Py_NotImplemented;
    const Py_ssize_t good = read_arrays(c, r, views, args[2], &rows);
    if (good == c->argument_count && rows > 0) {
        read_params(c, r, args[1]);
        const pg_task task = {.arguments = r->arguments,
                              .argument_count = (size_t)c->argument_count,
                              .rows = rows,
                              .plan = c->plan[PG_WRT_PARAMS],
                              .ignore = c->ignore};
        const double scale = args[3] == Py_True ? 1.0 / (double)rows : 1.0;
        result = replay(c, r, &task, r->totals, scale, 0);
    } else Py_INCREF(result);
    for (Py_ssize_t i = 0; i < good; i++) PyBuffer_Release(&views[i]);
    give_back(c, r);
    return result;
}

PyMethodDef scalar_replay_functions[] = {
    {"replay", replay_new, METH_VARARGS, NULL},
    {"replay_back", replay_back, METH_VARARGS, NULL},
    {"replay_row", PG_FAST(replay_row), METH_FASTCALL, NULL},
    {"replay_sum", PG_FAST(replay_sum), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
