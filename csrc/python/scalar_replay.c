/* scalar_replay.c - the fast path of a replay: from Python's arguments to Values in one call.
 *
 * recorded/program.py handles all calls, for any arguments and any executor. This path is for each
 * step of a training loop, where the ten microseconds of program.py would be most of the step: the
 * sum of a program over rows of float64 arrays, or one row of numbers and Values; and of each step
 * of Newton's or a conjugate gradient method: derivatives of rows along a direction. For anything
 * else (another structure, a fault) it returns NotImplemented, and program.py, called next, reports
 * what is wrong.
 *
 * A capsule holds a `call`: a program and its backward plans, which the Program that owns the
 * capsule keeps alive, and a list of idle buffers: as many as there were replays at the same time.
 * A replay does not hold the GIL; access to the graph and to that list does. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_result.h"
#include "python/scalar_trace.h"

/* The expected structure of the arguments: in preorder one word each, followed by the length of a
 * list or tuple, and by the rank and shape of an array. */
enum { a_number, a_list, a_tuple, an_array };

/* What one replay needs. */
typedef struct buffers {
    struct buffers *next;
    pg_workspace *workspace;
    pg_node_id *ids;       /* of the parameters, then of the inputs that are Values */
    pg_node_id *value_ids; /* for each input the id of its Value, or 0 */
    pg_owned owned;        /* parameters, or none: until a result owns them */
    int stop;
    double *params, *totals, *gradients; /* of a sum: params, outputs, outputs x params and room for
                                            those by inputs behind the last */
    double *row, *outputs, *input_gradients; /* of one row: inputs, outputs, outputs x inputs */
    pg_argument arguments[];                 /* one for each argument */
} buffers;

typedef struct call {
    const pg_program *program;
    pg_program_size size;
    const pg_backward_plan *const *plan[4]; /* indexed by PG_WRT_ flags; NULL: not made yet */
    PyTypeObject *array;                    /* numpy.ndarray */
    buffers *idle;                          /* a list */
    int ignore, level;
    Py_ssize_t argument_count;
    Py_ssize_t shape_length;
    int64_t shape[];
} call;

/* ---- Buffers --------------------------------------------------------------------------------- */

static void buffers_free(buffers *b) {
    if (b == NULL) return;
    pg_workspace_free(b->workspace);
    pg_free(b->params);
    pg_free(b->ids);
    pg_free(b);
}

static buffers *buffers_new(const call *c) {
    const size_t in = c->size.inputs, out = c->size.outputs, params = c->size.params;
    const size_t doubles = params + out + out * params + in + in + out + out * in;
    buffers *b = pg_realloc(NULL, sizeof *b + (size_t)c->argument_count * sizeof *b->arguments, 1);
    if (b == NULL) return NULL;
    *b = (buffers){0};
    const pg_status status = pg_workspace_new(&b->workspace, c->program, c->level);
    b->params = pg_realloc(NULL, doubles, sizeof *b->params);
    b->ids = pg_realloc(NULL, params + 2 * in, sizeof *b->ids);
    if (status != PG_OK || b->params == NULL || b->ids == NULL) {
        buffers_free(b);
        return NULL;
    }
    b->totals = b->params + params;
    b->gradients = b->totals + out;
    b->row = b->gradients + out * params + in;
    b->outputs = b->row + in;
    b->input_gradients = b->outputs + out;
    b->value_ids = b->ids + params + in;
    pg_workspace_poll(b->workspace, pg_python_poll, &b->stop);
    return b;
}

static buffers *borrow(call *c) {
    buffers *b = c->idle;
    if (b == NULL) return buffers_new(c);
    c->idle = b->next;
    return b;
}

static void give_back(call *c, buffers *b) {
    b->next = c->idle;
    c->idle = b;
}

/* ---- The capsule ----------------------------------------------------------------------------- */

static const char capsule_name[] = "pygradc.replay";

static void call_free(PyObject *capsule) {
    call *c = PyCapsule_GetPointer(capsule, capsule_name);
    while (c->idle != NULL) {
        buffers *b = c->idle;
        c->idle = b->next;
        buffers_free(b);
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
    buffers *buffers;
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
    double *to = &w->buffers->row[w->inputs];
    pg_node_id *id = &w->buffers->value_ids[w->inputs];
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
    memcpy(w->buffers->row + w->inputs, view.buf, (size_t)view.len);
    memset(w->buffers->value_ids + w->inputs, 0, count * sizeof *w->buffers->value_ids);
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

/* Read the ids and data of the parameters. 0, or -1 with an exception set. */
static int read_ids_of(const call *c, buffers *b, PyObject *params) {
    return scalar_read_ids(b->ids, &PyTuple_GET_ITEM(params, 0), (Py_ssize_t)c->size.params);
}

static int read_params(const call *c, buffers *b, PyObject *params) {
    if (read_ids_of(c, b, params) < 0) return -1;
    const pg_node *nodes = scalar_global.graph->nodes;
    for (size_t i = 0; i < c->size.params; i++) b->params[i] = nodes[b->ids[i]].data;
    return 0;
}

/* The same, and own them: the first result takes these references over, which spares it a pass over
 * the nodes. */
static int own_params(const call *c, buffers *b, PyObject *params) {
    if (read_ids_of(c, b, params) < 0) return -1;
    const pg_status status =
        pg_own_all(scalar_global.graph, &b->owned, b->params, b->ids, c->size.params);
    return status == PG_OK ? 0 : scalar_fail(status);
}

static void disown_params(buffers *b) {
    for (size_t i = 0; i < b->owned.count; i++) scalar_release_node(b->ids[i]);
    b->owned.count = 0;
}

/* A node of the parameters, and of the inputs that are Values. These are in the order in which the
 * traced function would pass gradients to them, since one Value may be several inputs. Their
 * gradients are copied behind those of the parameters, over the next output's. */
static PyObject *make_value(const call *c, buffers *b, size_t output, double data, int values) {
    size_t count = c->size.params;
    double *const locals = b->gradients + output * count;
    if (values) {
        const uint32_t *order =
            pg_backward_plan_steps(c->plan[PG_WRT_PARAMS | PG_WRT_INPUTS][output]).input_order;
        for (size_t i = 0; i < c->size.inputs; i++) {
            if (b->value_ids[order[i]] == 0) continue;
            b->ids[count] = b->value_ids[order[i]];
            locals[count++] = b->input_gradients[output * c->size.inputs + order[i]];
        }
    }
    pg_node_id id = 0;
    pg_status status = pg_add_owning(scalar_global.graph, &id, data,
                                     (pg_children){b->ids, locals, count}, b->owned);
    if (status == PG_OK) b->owned.count = 0;
    return scalar_result(status, id);
}

static PyObject *make_values(const call *c, buffers *b, const double *data, int values) {
    PyObject *tuple = PyTuple_New((Py_ssize_t)c->size.outputs);
    for (size_t o = c->size.outputs; tuple != NULL && o-- > 0;)
        scalar_put(&tuple, o, make_value(c, b, o, data[o], values));
    return tuple;
}

/* Retain the inputs that are Values: they must outlive the replay, even if other code drops them
 * meanwhile. Returns how many inputs were processed before a node had too many references. */
static size_t retain_values(const call *c, const buffers *b) {
    size_t i = 0;
    for (; i < c->size.inputs; i++)
        if (b->value_ids[i] != 0 && pg_graph_retain(scalar_global.graph, b->value_ids[i]) != PG_OK)
            break;
    return i;
}

static void release_values(const buffers *b, size_t inputs) {
    for (size_t i = 0; i < inputs; i++)
        if (b->value_ids[i] != 0) scalar_release_node(b->value_ids[i]);
}

/* The result of a replay that failed. A fault is left to program.py, which can describe it. */
static PyObject *replay_failed(pg_status status) {
    if (status == PG_ERR_NOMEM) return PyErr_NoMemory();
    if (status == PG_ERR_STOPPED) return scalar_raise_signal();
    Py_RETURN_NOTIMPLEMENTED;
}

/* Replay, with the GIL released. */
static PyObject *replay(call *c, buffers *b, const pg_task *task, const double *data, int values) {
    pg_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = pg_replay_sum(b->workspace, b->params, task, b->totals, b->gradients);
    Py_END_ALLOW_THREADS;
    return status == PG_OK ? make_values(c, b, data, values) : replay_failed(status);
}

static PyObject *replay_one(call *c, buffers *b, int values) {
    const pg_argument argument = {b->row, c->size.inputs, c->size.inputs};
    const pg_task task = {.arguments = &argument,
                          .argument_count = 1,
                          .rows = 1,
                          .outputs = b->outputs,
                          .gradients = values ? b->input_gradients : NULL,
                          .scale = 1.0,
                          .plan = c->plan[PG_WRT_PARAMS | (values ? PG_WRT_INPUTS : 0)],
                          .ignore = c->ignore};
    if (task.plan == NULL) Py_RETURN_NOTIMPLEMENTED;
    if (!values) return replay(c, b, &task, b->outputs, 0);
    PyObject *result = NULL;
    const size_t held = retain_values(c, b);
    if (held == c->size.inputs) result = replay(c, b, &task, b->outputs, 1);
    else scalar_raise(PG_ERR_LIMIT);
    release_values(b, held);
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

/* Read arrays of rows as arguments of a task. The views are held until the replay is done.
 * Returns how many arrays fit before the first that doesn't. */
static Py_ssize_t read_arrays(const call *c, buffers *b, Py_buffer *views, PyObject *arrays,
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
        b->arguments[i] = (pg_argument){views[i].buf, stride, stride};
        *rows_ret = rows;
        shape += is_array ? 2 + shape[1] : 1;
    }
    return c->argument_count;
}

/* A replay of one row, or of rows of arrays, with the arguments of the functions below. */
typedef PyObject *replay_kind(call *c, buffers *b, PyObject *const *args);
/* Of rows that are read: its kind sets the task's plan and results. */
typedef PyObject *rows_kind(call *c, buffers *b, pg_task *task, PyObject *const *args);

static PyObject *row(call *c, buffers *b, PyObject *const *args) {
    walk w = {.call = c, .shape = c->shape, .buffers = b};
    if (!read_items(&w, &PyTuple_GET_ITEM(args[2], 0), c->argument_count)) Py_RETURN_NOTIMPLEMENTED;
    if (own_params(c, b, args[1]) < 0) return NULL;
    return replay_one(c, b, w.values);
}

static void set_scale(pg_task *task, PyObject *mean) {
    if (mean == Py_True) task->scale = 1.0 / (double)task->rows;
}

static PyObject *sum_rows(call *c, buffers *b, pg_task *task, PyObject *const *args) {
    task->plan = c->plan[PG_WRT_PARAMS];
    if (task->plan == NULL) Py_RETURN_NOTIMPLEMENTED;
    set_scale(task, args[3]);
    return replay(c, b, task, b->totals, 0);
}

static PyObject *replay_rows(call *c, buffers *b, PyObject *const *args, rows_kind *kind) {
    enum { most_arrays = 16 };
    Py_buffer views[most_arrays];
    if (c->argument_count > most_arrays) Py_RETURN_NOTIMPLEMENTED;
    size_t rows = c->argument_count == 0; /* without arguments there is one row */
    PyObject *result = NULL;
    const Py_ssize_t good = read_arrays(c, b, views, args[2], &rows);
    if (good != c->argument_count || rows == 0) result = Py_NewRef(Py_NotImplemented);
    else if ((kind == sum_rows ? own_params : read_params)(c, b, args[1]) == 0) {
        pg_task task = {.arguments = b->arguments,
                        .argument_count = (size_t)c->argument_count,
                        .rows = rows,
                        .scale = 1.0,
                        .ignore = c->ignore};
        result = kind(c, b, &task, args);
    }
    for (Py_ssize_t i = 0; i < good; i++) PyBuffer_Release(&views[i]);
    return result;
}

static PyObject *sum(call *c, buffers *b, PyObject *const *args) {
    return replay_rows(c, b, args, sum_rows);
}

/* ---- Along a direction ----------------------------------------------------------------------- */

/* Read v, numbers for the parameters, or for the inputs (of all rows, or of each). If it is such an
 * array, the view must be released. */
static int read_direction(const call *c, pg_direction *along_ret, Py_buffer *view, PyObject *v,
                          size_t rows, int by_inputs) {
    const size_t count = by_inputs ? c->size.inputs : c->size.params;
    const int64_t shape[] = {1, (int64_t)count};
    const int same = holds_doubles(c, v, view, shape, 0);
    if (!same && (!by_inputs || !holds_doubles(c, v, view, shape, 1))) return 0;
    if (!same && (size_t)view->shape[0] != rows) {
        PyBuffer_Release(view);
        return 0;
    }
    if (by_inputs)
        *along_ret =
            (pg_direction){.inputs = view->buf, .stride = same ? 0 : count, .count = count};
    else *along_ret = (pg_direction){.params = view->buf};
    return 1;
}

/* A new array of float64 of this shape, a tuple that is stolen, and where its numbers are; NULL
 * with an exception set. */
static PyObject *new_array(const call *c, double **numbers_ret, PyObject *shape) {
    if (shape == NULL) return NULL;
    PyObject *array = PyObject_CallOneArg((PyObject *)c->array, shape);
    Py_DECREF(shape);
    Py_buffer view;
    if (array == NULL) return NULL;
    if (PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) {
        Py_DECREF(array);
        return NULL;
    }
    *numbers_ret = view.buf;
    PyBuffer_Release(&view);
    return array;
}

static PyObject *new_rows(const call *c, double **numbers_ret, size_t rows, size_t columns) {
    return new_array(c, numbers_ret, Py_BuildValue("(nn)", (Py_ssize_t)rows, (Py_ssize_t)columns));
}

/* The results, which are stolen, if the replay that filled them was good. */
static PyObject *results_of(pg_status status, PyObject *results) {
    if (status == PG_OK) return results;
    Py_DECREF(results);
    return replay_failed(status);
}

/* The Hessian of the sum by the parameters, times the direction. */
static PyObject *product(call *c, buffers *b, pg_task *task, const pg_direction *along) {
    double *numbers;
    pg_status status;
    task->plan = c->plan[PG_WRT_PARAMS];
    if (task->plan == NULL) Py_RETURN_NOTIMPLEMENTED;
    PyObject *array = new_array(c, &numbers, Py_BuildValue("(n)", (Py_ssize_t)c->size.params));
    if (array == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = pg_hvp(b->workspace, b->params, along, task, numbers, b->gradients);
    Py_END_ALLOW_THREADS;
    return results_of(status, array);
}

/* The Hessian of each row by the inputs, times the direction. */
static PyObject *products(call *c, buffers *b, pg_task *task, const pg_direction *along) {
    double *numbers;
    pg_status status;
    task->plan = c->plan[PG_WRT_INPUTS];
    if (task->plan == NULL) Py_RETURN_NOTIMPLEMENTED;
    PyObject *array = new_rows(c, &numbers, task->rows, c->size.inputs);
    if (array == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = pg_hvp_rows(b->workspace, b->params, along, task, numbers);
    Py_END_ALLOW_THREADS;
    return results_of(status, array);
}

/* Outputs and tangents, a pair. */
static PyObject *tangents(call *c, buffers *b, pg_task *task, const pg_direction *along) {
    double *numbers;
    pg_status status;
    PyObject *outputs = new_rows(c, &task->outputs, task->rows, c->size.outputs);
    PyObject *array = new_rows(c, &numbers, task->rows, c->size.outputs);
    PyObject *pair = outputs != NULL && array != NULL ? PyTuple_Pack(2, outputs, array) : NULL;
    Py_XDECREF(outputs);
    Py_XDECREF(array);
    if (pair == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = pg_jvp(b->workspace, b->params, along, task, numbers);
    Py_END_ALLOW_THREADS;
    return results_of(status, pair);
}

typedef PyObject *along_kind(call *c, buffers *b, pg_task *task, const pg_direction *along);

static PyObject *replay_along(call *c, buffers *b, pg_task *task, PyObject *const *args,
                              along_kind *kind) {
    pg_direction along;
    Py_buffer view;
    if (!read_direction(c, &along, &view, args[3], task->rows, args[4] == Py_True))
        Py_RETURN_NOTIMPLEMENTED;
    PyObject *result = kind(c, b, task, &along);
    PyBuffer_Release(&view);
    return result;
}

static PyObject *jvp_rows(call *c, buffers *b, pg_task *task, PyObject *const *args) {
    return replay_along(c, b, task, args, tangents);
}

static PyObject *hvp_rows(call *c, buffers *b, pg_task *task, PyObject *const *args) {
    const int by_inputs = args[4] == Py_True;
    if (c->size.outputs != 1 || !PyBool_Check(args[5])) Py_RETURN_NOTIMPLEMENTED;
    if (by_inputs && args[5] == Py_True) Py_RETURN_NOTIMPLEMENTED; /* no sum, no mean */
    set_scale(task, args[5]);
    return replay_along(c, b, task, args, by_inputs ? products : product);
}

static PyObject *jvp(call *c, buffers *b, PyObject *const *args) {
    return replay_rows(c, b, args, jvp_rows);
}

static PyObject *hvp(call *c, buffers *b, PyObject *const *args) {
    return replay_rows(c, b, args, hvp_rows);
}

/* ---- Python's functions ---------------------------------------------------------------------- */

/* Check the arguments, and replay with idle buffers. */
static PyObject *replay_with_buffers(PyObject *const *args, replay_kind *kind) {
    call *c = call_of(args[0], args[1], args[2]);
    if (c == NULL) return NULL;
    if (scalar_tracing() || PyTuple_GET_SIZE(args[2]) != c->argument_count)
        Py_RETURN_NOTIMPLEMENTED;
    if (scalar_reserve(c->size.outputs) < 0) return NULL;
    buffers *b = borrow(c);
    if (b == NULL) return PyErr_NoMemory();
    PyObject *result = kind(c, b, args);
    disown_params(b);
    give_back(c, b);
    return result;
}

/* replay_row(capsule, parameters, arguments) -> a tuple of Values, or NotImplemented */
static PyObject *replay_row(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 3) return PyErr_Format(PyExc_TypeError, "_replay_row takes 3 arguments");
    return replay_with_buffers(args, row);
}

/* replay_sum(capsule, parameters, arrays, mean) -> a tuple of Values, or NotImplemented */
static PyObject *replay_sum(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 4) return PyErr_Format(PyExc_TypeError, "_replay_sum takes 4 arguments");
    return replay_with_buffers(args, sum);
}

/* replay_jvp(capsule, parameters, arrays, v, by inputs) -> (outputs, tangents), two arrays of shape
 * (rows, outputs), or NotImplemented */
static PyObject *replay_jvp(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 5) return PyErr_Format(PyExc_TypeError, "_replay_jvp takes 5 arguments");
    return replay_with_buffers(args, jvp);
}

/* replay_hvp(capsule, parameters, arrays, v, by inputs, mean) -> the product with the Hessian, an
 * array of shape (parameters,), or by the inputs (rows, inputs), or NotImplemented */
static PyObject *replay_hvp(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 6) return PyErr_Format(PyExc_TypeError, "_replay_hvp takes 6 arguments");
    return replay_with_buffers(args, hvp);
}

PyMethodDef scalar_replay_functions[] = {
    {"replay", replay_new, METH_VARARGS, NULL},
    {"replay_back", replay_back, METH_VARARGS, NULL},
    {"replay_row", PG_FAST(replay_row), METH_FASTCALL, NULL},
    {"replay_sum", PG_FAST(replay_sum), METH_FASTCALL, NULL},
    {"replay_jvp", PG_FAST(replay_jvp), METH_FASTCALL, NULL},
    {"replay_hvp", PG_FAST(replay_hvp), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
