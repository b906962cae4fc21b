/* scalar_trace.c - recorded programs, as far as they touch the default graph: tracing a function,
 * recording its graph, and the node of a replay's result.
 *
 * The replay itself touches no graph; it is called through cffi, which releases the GIL. */
#include "python/scalar_trace.h"
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_result.h"

#include "base/crew.h"

/* ---- Tracing --------------------------------------------------------------------------------- */

static int is_over(pg_node_id id) {
    return (scalar_global.graph->nodes[id].flags & PG_FLAG_OVER) != 0;
}

/* Nodes that outlive their trace are freed without notice. So recount them after as many queries as
 * the arena has slots in use. */
static void count_leftovers(void) {
    static size_t questions = 0;
    if (scalar_global.leftovers == 0 || ++questions < scalar_global.graph->used) return;
    questions = 0;
    scalar_global.leftovers = pg_trace_left(scalar_global.graph);
}

/* Is this a Value without a number? In the thread of the trace that is any Value that depends on an
 * input or a parameter; in other threads, one that depends on an input; after the trace, one that
 * was made of its inputs. 1, 0, or -1 with an exception set. */
static int has_no_number(PyObject *object) {
    if (!scalar_check(object)) return 0;
    const pg_node_id id = ((scalar *)object)->id;
    count_leftovers();
    if (is_over(id)) return 1;
    if (scalar_global.tracing == 0) return 0;
    int varies = scalar_tracing() ? pg_trace_varies(scalar_global.graph, id)
                                  : pg_trace_depends(scalar_global.graph, id);
    if (varies < 0) PyErr_NoMemory();
    return varies;
}

int scalar_refuse(PyObject *self, const char *what) {
    return scalar_drop_result(PyObject_CallFunction(scalar_global.frozen, "Os", self, what));
}

int scalar_check_traced(PyObject *self, const char *what) {
    int traced = has_no_number(self);
    return traced > 0 ? scalar_refuse(self, what) : traced;
}

int scalar_check_write(PyObject *self, const char *what) {
    int traced = has_no_number(self);
    if (traced == 0 && scalar_tracing())
        traced =
            scalar_node((scalar *)self)->op != PG_OP_LEAF || scalar_used_by_nodes((scalar *)self);
    return traced > 0 ? scalar_refuse(self, what) : traced;
}

/* Raise TraceError: the operand outlived its trace. */
static int refuse_operand(pg_node_id id) {
    PyObject *value = scalar_of_node(id);
    if (value == NULL) return -1;
    scalar_refuse(value, "use");
    Py_DECREF(value);
    return -1;
}

/* Operators add at most two nodes, none of them variadic, between their result and an operand. */
static pg_node_id operand_that_is_over(pg_node_id id, int depth) {
    const pg_node *nodes = scalar_global.graph->nodes;
    size_t count;
    const pg_node_id *held = pg_holds(&nodes[id], &count);
    pg_node_id found = 0;
    for (size_t i = 0; i < count && found == 0; i++) {
        if (is_over(held[i])) found = held[i];
        else if (depth > 0 && nodes[held[i]].op != PG_OP_VARIADIC)
            found = operand_that_is_over(held[i], depth - 1);
    }
    return found;
}

int scalar_check_operands_of(pg_node_id id) {
    const int is_wide = scalar_global.graph->nodes[id].op == PG_OP_VARIADIC;
    count_leftovers();
    const pg_node_id found = operand_that_is_over(id, is_wide ? 0 : 2);
    return found != 0 ? refuse_operand(found) : 0;
}

int scalar_check_operands(const pg_operand *operands, size_t count) {
    if (PG_LIKELY(scalar_global.leftovers == 0)) return 0;
    for (size_t i = 0; i < count; i++)
        if (operands[i].id != 0 && is_over(operands[i].id)) return refuse_operand(operands[i].id);
    return 0;
}

static void end_trace(void) {
    scalar_global.tracing = 0;
    scalar_global.strict = 0;
    const size_t left = pg_trace_end(scalar_global.graph);
    if (left > scalar_global.leftovers) scalar_global.leftovers = left;
    scalar_run_deferred();
}

/* trace(function) -> its result: call the function as a trace; recorded/tracing.py ensures that
 * there is one at a time. A block with a graph is entered, since a program has gradients even if it
 * is first called in no_grad(). In C, and not in Python, so that Ctrl-C can't leave a trace
 * open. */
static PyObject *trace(PyObject *Py_UNUSED(module), PyObject *function) {
    if (scalar_global.tracing != 0 || scalar_enter_block(function, 1) < 0)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_SystemError, "traces don't nest");
    pg_trace_begin(scalar_global.graph);
    scalar_global.tracing = PyThread_get_thread_ident();
    PyObject *result = PyObject_CallNoArgs(function);
    end_trace();
    scalar_leave_block(function);
    return result;
}

/* call_holding(lock, seconds, complain, function) -> the result of the function, called while this
 * thread holds the lock, a Python object. After each `seconds` of waiting for it, complain() is
 * called and may raise. In C, and not by `with`, so that an exception between two instructions
 * can't leave the lock held: other threads would wait for it forever. */
static PyObject *call_holding(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *lock, *seconds, *complain, *function;
    if (!PyArg_ParseTuple(args, "OOOO", &lock, &seconds, &complain, &function)) return NULL;
    for (int is_held = 0; !is_held;) {
        PyObject *got = PyObject_CallMethod(lock, "acquire", "OO", Py_True, seconds);
        if (got == NULL) return NULL;
        is_held = got == Py_True;
        Py_DECREF(got);
        PyObject *nothing = is_held ? Py_NewRef(Py_None) : PyObject_CallNoArgs(complain);
        if (nothing == NULL) return NULL;
        Py_DECREF(nothing);
    }
    PyObject *result = PyObject_CallNoArgs(function), *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *nothing = PyObject_CallMethod(lock, "release", NULL);
    if (nothing == NULL) PyErr_WriteUnraisable(lock); /* the child of a fork has a new lock */
    Py_XDECREF(nothing);
    PyErr_Restore(type, error, traceback);
    return result;
}

/* tracing() -> bool: is a trace under way in this thread? */
static PyObject *is_tracing(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    return PyBool_FromLong(scalar_tracing());
}

/* forget_threads(): after a fork this is the only thread; end the trace of another one. */
static PyObject *forget_threads(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    if (scalar_global.tracing != 0 && !scalar_tracing()) end_trace();
    Py_RETURN_NONE;
}

static PyObject *node_or_error(pg_status status, pg_node_id id) {
    return status == PG_OK ? scalar_adopt_node(id) : scalar_raise(status);
}

/* trace_input() -> Value */
static PyObject *trace_input(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    if (scalar_reserve(1) < 0) return NULL;
    pg_node_id id = 0;
    pg_status status = pg_trace_input(scalar_global.graph, &id);
    return node_or_error(status, id);
}

/* is_traced(object) -> bool */
static PyObject *is_traced(PyObject *Py_UNUSED(module), PyObject *object) {
    int traced = scalar_watching() ? has_no_number(object) : 0;
    return traced < 0 ? NULL : PyBool_FromLong(traced);
}

/* role(value) -> the role of a Value without a number: "input", "parameter", "" (made of these),
 * or "leftover" of a finished trace. */
static PyObject *role_of(PyObject *Py_UNUSED(module), PyObject *value) {
    if (!scalar_check(value)) return PyErr_Format(PyExc_TypeError, "_role takes a Value");
    const uint8_t flags = scalar_node((scalar *)value)->flags;
    return PyUnicode_FromString((flags & PG_FLAG_OVER)    ? "leftover"
                                : (flags & PG_FLAG_INPUT) ? "input"
                                : (flags & PG_FLAG_OLD)   ? "parameter"
                                                          : "");
}

/* trace_number(value) -> the id of its node, unique among living nodes. */
static PyObject *number_of(PyObject *Py_UNUSED(module), PyObject *value) {
    if (!scalar_check(value)) return PyErr_Format(PyExc_TypeError, "_trace_number takes a Value");
    return PyLong_FromUnsignedLong(((scalar *)value)->id);
}

/* ask(value, what): raises TraceError if the Value has no number. */
static PyObject *ask(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    const char *what = count == 2 ? PyUnicode_AsUTF8(args[1]) : NULL;
    if (what == NULL || !scalar_check(args[0]))
        return PyErr_Format(PyExc_TypeError, "_ask takes a Value and a str");
    return scalar_may_read(args[0], what) < 0 ? NULL : Py_NewRef(Py_None);
}

/* trace_select(comparison, left, right, a, b) -> Value; all four are Values */
static PyObject *trace_select(PyObject *Py_UNUSED(module), PyObject *args) {
    PyTypeObject *base = scalar_global.base;
    PyObject *left, *right, *a, *b;
    int compare;
    if (!PyArg_ParseTuple(args, "iO!O!O!O!", &compare, base, &left, base, &right, base, &a, base,
                          &b) ||
        scalar_reserve(1) < 0)
        return NULL;
    pg_node_id id = 0;
    pg_status status =
        pg_trace_select(scalar_global.graph, &id,
                        (pg_condition){compare, ((scalar *)left)->id, ((scalar *)right)->id},
                        ((scalar *)a)->id, ((scalar *)b)->id);
    return scalar_result(status, id);
}

/* A Value of a trace, looked up in a table of Values by an index, or among knots by its number. */
typedef pg_status lookup(pg_node_id *id_ret, pg_node_id value, const pg_node_id *ids, size_t count);

static PyObject *trace_lookup(PyObject *value, PyObject *table, lookup *add) {
    size_t count;
    pg_node_id id = 0, *ids = scalar_gather_ids(table, &count);
    if (ids == NULL) return NULL;
    const pg_operand operand = {((scalar *)value)->id, 0.0};
    int failed = scalar_check_operands(&operand, 1) < 0 || scalar_reserve(1) < 0;
    for (size_t i = 0; i < count && !failed; i++)
        failed = scalar_check_operands(&(pg_operand){ids[i], 0.0}, 1) < 0;
    const pg_status status = failed ? PG_OK : add(&id, operand.id, ids, count);
    PyMem_Free(ids);
    return failed ? NULL : scalar_result(status, id);
}

static pg_status add_take(pg_node_id *id_ret, pg_node_id index, const pg_node_id *ids,
                          size_t count) {
    return pg_trace_take(scalar_global.graph, id_ret, index, ids, count);
}

static pg_status add_search_left(pg_node_id *id_ret, pg_node_id x, const pg_node_id *ids,
                                 size_t count) {
    return pg_trace_search(scalar_global.graph, id_ret, x, ids, count, 0);
}

static pg_status add_search_right(pg_node_id *id_ret, pg_node_id x, const pg_node_id *ids,
                                  size_t count) {
    return pg_trace_search(scalar_global.graph, id_ret, x, ids, count, 1);
}

/* trace_take(index, entries) -> Value; all are Values */
static PyObject *trace_take(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *index, *table;
    if (!PyArg_ParseTuple(args, "O!O", scalar_global.base, &index, &table)) return NULL;
    return trace_lookup(index, table, add_take);
}

/* trace_search(x, knots, right) -> Value; all are Values */
static PyObject *trace_search(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *x, *knots;
    int right;
    if (!PyArg_ParseTuple(args, "O!Op", scalar_global.base, &x, &knots, &right)) return NULL;
    return trace_lookup(x, knots, right ? add_search_right : add_search_left);
}

/* where(condition, a, b) -> Value, outside of traces */
static PyObject *choose(PyObject *Py_UNUSED(module), PyObject *args) {
    PyTypeObject *base = scalar_global.base;
    PyObject *a, *b;
    int condition;
    if (!PyArg_ParseTuple(args, "pO!O!", &condition, base, &a, base, &b) || scalar_reserve(1) < 0)
        return NULL;
    pg_node_id id = 0;
    pg_status status =
        pg_graph_where(scalar_global.graph, &id, condition, ((scalar *)a)->id, ((scalar *)b)->id);
    return scalar_result(status, id);
}

/* trace_detach(a) -> Value */
static PyObject *trace_detach(PyObject *Py_UNUSED(module), PyObject *a) {
    if (!PyObject_TypeCheck(a, scalar_global.base))
        return PyErr_Format(PyExc_TypeError, "detach: not a Value");
    if (scalar_reserve(1) < 0) return NULL;
    pg_node_id id = 0;
    const pg_operand operand = {((scalar *)a)->id, 0.0};
    if (scalar_check_operands(&operand, 1) < 0) return NULL;
    pg_status status = pg_trace_detach(scalar_global.graph, &id, operand.id);
    if (status == PG_OK) pg_mark_detached(scalar_global.graph, id);
    return node_or_error(status, id);
}

/* detach(a) -> Value, outside of traces */
static PyObject *detach(PyObject *Py_UNUSED(module), PyObject *a) {
    if (!PyObject_TypeCheck(a, scalar_global.base))
        return PyErr_Format(PyExc_TypeError, "detach: not a Value");
    if (scalar_may_read(a, "detach()") < 0 || scalar_reserve(1) < 0) return NULL;
    pg_node_id id = 0;
    pg_status status = pg_graph_detach(scalar_global.graph, &id, ((scalar *)a)->id);
    if (status == PG_OK) scalar_note_leaf(id);
    return node_or_error(status, id);
}

/* is_detached(value) -> bool: was it made by detach, or of such Values only? */
static PyObject *is_detached(PyObject *Py_UNUSED(module), PyObject *value) {
    if (!scalar_check(value)) return PyErr_Format(PyExc_TypeError, "_is_detached takes a Value");
    return PyBool_FromLong(scalar_node((scalar *)value)->flags & PG_FLAG_DETACHED);
}

/* adopt_trace(frozen, condition, its class, again, untraceable): the functions of tracing.py that
 * scalar.h describes. */
static PyObject *adopt_trace(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *frozen, *condition, *compared, *again, *untraceable;
    if (!PyArg_ParseTuple(args, "OOO!OO", &frozen, &condition, &PyType_Type, &compared, &again,
                          &untraceable))
        return NULL;
    Py_XSETREF(scalar_global.frozen, Py_NewRef(frozen));
    Py_XSETREF(scalar_global.condition, Py_NewRef(condition));
    Py_XSETREF(scalar_global.compared, (PyTypeObject *)Py_NewRef(compared));
    Py_XSETREF(scalar_global.again, Py_NewRef(again));
    Py_XSETREF(scalar_global.untraceable, Py_NewRef(untraceable));
    Py_RETURN_NONE;
}

/* Call the function; an exception that it raises has no frames of it in its traceback. */
static PyObject *call_without_frames(PyObject *function, PyObject *args, PyObject *kwargs) {
    PyObject *result = PyObject_Call(function, args, kwargs);
    if (result == NULL) scalar_hide_frames();
    return result;
}

static PyMethodDef without_frames = {"method", (PyCFunction)(void (*)(void))call_without_frames,
                                     METH_VARARGS | METH_KEYWORDS, NULL};

/* frameless(function) -> the same function as a method, without its frames in tracebacks. */
static PyObject *frameless(PyObject *Py_UNUSED(module), PyObject *function) {
    PyObject *wrapped = PyCFunction_New(&without_frames, function);
    PyObject *method = wrapped != NULL ? PyInstanceMethod_New(wrapped) : NULL;
    Py_XDECREF(wrapped);
    return method;
}

/* ---- Recording ------------------------------------------------------------------------------- */

PyObject *scalar_values_of(const pg_node_id *ids, size_t count) {
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple != NULL && i < count; i++)
        scalar_put(&tuple, i, scalar_of_node(ids[i]));
    return tuple;
}

/* An output may itself be an input of a finished trace; ops of such nodes were refused when they
 * were called. */
static int check_outputs(const pg_node_id *ids, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (is_over(ids[i])) return refuse_operand(ids[i]);
    return 0;
}

/* record(inputs, outputs, passes, fast, owner) -> the program's parameters. inputs and outputs are
 * sequences of Values; owner is the address of an empty `pg_program *`, which receives the
 * program. */
static PyObject *record(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *inputs, *outputs;
    unsigned passes;
    int fast;
    Py_ssize_t owner;
    if (!PyArg_ParseTuple(args, "OOIpn", &inputs, &outputs, &passes, &fast, &owner)) return NULL;
    size_t input_count, output_count;
    pg_node_id *input_ids = scalar_gather_ids(inputs, &input_count);
    pg_node_id *output_ids = input_ids ? scalar_gather_ids(outputs, &output_count) : NULL;
    PyObject *result = NULL;
    if (output_ids != NULL && check_outputs(output_ids, output_count) == 0) {
        pg_program **program = (pg_program **)owner; /* NOLINT(performance-no-int-to-ptr) */
        pg_status status = pg_record(
            scalar_global.graph, program,
            &(pg_recording){input_ids, output_ids, input_count, output_count, passes, fast});
        result = status != PG_OK ? scalar_raise(status)
                                 : scalar_values_of(pg_program_sources(*program),
                                                    pg_program_measure(*program).params);
    }
    PyMem_Free(input_ids);
    PyMem_Free(output_ids);
    return result;
}

/* Clear unused[id] for each candidate that another node uses; during a trace, only uses by nodes
 * older than the trace count. On entry unused[id] is 1 for each candidate. */
static void find_unused(unsigned char *unused) {
    const pg_graph *graph = scalar_global.graph;
    const int older = scalar_tracing();
    for (pg_node_id user = 1; user < graph->used; user++) {
        const pg_node *node = &graph->nodes[user];
        if (node->op == PG_OP_FREE || (older && !(node->flags & PG_FLAG_OLD))) continue;
        size_t count;
        const pg_node_id *held = pg_holds(node, &count);
        for (size_t i = 0; i < count; i++) unused[held[i]] = 0;
    }
}

/* Does the object have exactly this many references, apart from the node's if PG_FLAG_KEPT is
 * set? */
static int has_only(PyObject *value, PyObject *references) {
    const Py_ssize_t known = PyLong_AsSsize_t(references);
    return Py_REFCNT(value) == known + !!(scalar_node((scalar *)value)->flags & PG_FLAG_KEPT);
}

static PyObject *places_of(PyObject *values, const unsigned char *unused) {
    PyObject *found = PyList_New(0);
    for (Py_ssize_t i = 0; found != NULL && i < PyTuple_GET_SIZE(values); i++) {
        if (!unused[((scalar *)PyTuple_GET_ITEM(values, i))->id]) continue;
        PyObject *place = PyLong_FromSsize_t(i);
        if (place == NULL || PyList_Append(found, place) < 0) Py_CLEAR(found);
        Py_XDECREF(place);
    }
    return found;
}

static int are_values(PyObject *tuple) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++)
        if (!scalar_check(PyTuple_GET_ITEM(tuple, i))) return 0;
    return 1;
}

/* unheld(values, references) -> [the places of the Values to which nothing else refers]:
 * references[i] is the number of references to values[i] that the caller knows of, the tuple's
 * among them. */
static PyObject *find_unheld(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *values, *references;
    if (!PyArg_ParseTuple(args, "O!O!", &PyTuple_Type, &values, &PyTuple_Type, &references))
        return NULL;
    const Py_ssize_t count = PyTuple_GET_SIZE(values);
    if (PyTuple_GET_SIZE(references) != count || !are_values(values))
        return PyErr_Format(PyExc_TypeError, "_unheld takes Values and a count for each");
    unsigned char *unused = NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = PyTuple_GET_ITEM(values, i);
        if (!has_only(value, PyTuple_GET_ITEM(references, i))) continue;
        if (unused == NULL) unused = PyMem_Calloc(scalar_global.graph->used, 1);
        if (unused == NULL) return PyErr_NoMemory();
        unused[((scalar *)value)->id] = 1;
    }
    if (unused == NULL) return PyErr_Occurred() ? NULL : PyList_New(0);
    find_unused(unused);
    PyObject *found = PyErr_Occurred() ? NULL : places_of(values, unused);
    PyMem_Free(unused);
    return found;
}

/* ---- Results --------------------------------------------------------------------------------- */

/* result(data, children, derivatives) -> Value: derivatives an array of float64, one for each
 * child. */
static PyObject *make_result(PyObject *Py_UNUSED(module), PyObject *const *args,
                             Py_ssize_t arg_count) {
    if (arg_count != 3) return PyErr_Format(PyExc_TypeError, "_result takes 3 arguments");
    double data = PyFloat_AsDouble(args[0]);
    if ((data == -1.0 && PyErr_Occurred()) || scalar_reserve(1) < 0) return NULL;
    size_t count;
    pg_node_id *ids = scalar_gather_ids(args[1], &count);
    if (ids == NULL) return NULL;
    PyObject *result = NULL;
    Py_buffer view;
    double *locals = scalar_doubles_of(args[2], &view, count, 0);
    if (locals != NULL) {
        pg_node_id id = 0;
        pg_status status =
            pg_graph_variadic(scalar_global.graph, &id, data, (pg_children){ids, locals, count});
        PyBuffer_Release(&view);
        result = scalar_result(status, id);
    }
    PyMem_Free(ids);
    return result;
}

/* ---- Ctrl-C ---------------------------------------------------------------------------------- */

/* The exception that a signal handler raised during a replay, until Python fetches it: a cffi call
 * can't return with an exception set. Handlers run in the main thread only; replays of other
 * threads, which are stopped for other reasons, must not take it. */
static struct {
    PyObject *type, *error, *traceback;
} raised;

static unsigned long main_thread = 0;

/* main_thread(ident): set the thread in which signal handlers run. */
static PyObject *set_main_thread(PyObject *Py_UNUSED(module), PyObject *ident) {
    main_thread = PyLong_AsUnsignedLong(ident);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static int is_main_thread(void) { return PyThread_get_thread_ident() == main_thread; }

/* Checking for signals takes the GIL, which may mean waiting while other threads run Python: check
 * no more often than this. */
static int is_time_to_look(void) {
    static const double every = 0.02; /* seconds */
    static double last = 0.0;         /* read and written by the main thread only */
    const double now = pg_seconds();
    if (now >= last && now - last < every) return 0;
    last = now;
    return 1;
}

int pg_python_poll(void *stop) {
    if (*(volatile int *)stop) return 1;
    if (!is_main_thread() || !is_time_to_look()) return 0;
    PyGILState_STATE gil = PyGILState_Ensure();
    int failed = PyErr_CheckSignals();
    if (failed) {
        Py_CLEAR(raised.type);
        Py_CLEAR(raised.error);
        Py_CLEAR(raised.traceback);
        PyErr_Fetch(&raised.type, &raised.error, &raised.traceback);
    }
    PyGILState_Release(gil);
    return failed != 0;
}

void pg_python_drop_program(pg_program **owner) { pg_program_free(*owner); }
void pg_python_drop_backward_plan(pg_backward_plan **owner) { pg_backward_plan_free(*owner); }
void pg_python_drop_workspace(pg_workspace **owner) { pg_workspace_free(*owner); }
void pg_python_drop_crew(pg_crew **owner) { pg_crew_free(*owner); }

/* raise_signal(): raise that exception, if there is one. */
static PyObject *raise_signal(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    return scalar_raise_signal();
}

PyObject *scalar_raise_signal(void) {
    if (raised.type == NULL || !is_main_thread()) Py_RETURN_NONE;
    PyErr_Restore(raised.type, raised.error, raised.traceback);
    raised.type = raised.error = raised.traceback = NULL;
    return NULL;
}

PyMethodDef scalar_trace_functions[] = {
    {"trace", trace, METH_O, NULL},
    {"call_holding", call_holding, METH_VARARGS, NULL},
    {"tracing", is_tracing, METH_NOARGS, NULL},
    {"forget_threads", forget_threads, METH_NOARGS, NULL},
    {"trace_input", trace_input, METH_NOARGS, NULL},
    {"is_traced", is_traced, METH_O, NULL},
    {"role", role_of, METH_O, NULL},
    {"trace_number", number_of, METH_O, NULL},
    {"ask", PG_FAST(ask), METH_FASTCALL, NULL},
    {"trace_select", trace_select, METH_VARARGS, NULL},
    {"trace_take", trace_take, METH_VARARGS, NULL},
    {"trace_search", trace_search, METH_VARARGS, NULL},
    {"where", choose, METH_VARARGS, NULL},
    {"trace_detach", trace_detach, METH_O, NULL},
    {"detach", detach, METH_O, NULL},
    {"is_detached", is_detached, METH_O, NULL},
    {"adopt_trace", adopt_trace, METH_VARARGS, NULL},
    {"frameless", frameless, METH_O, NULL},
    {"record", record, METH_VARARGS, NULL},
    {"unheld", find_unheld, METH_VARARGS, NULL},
    {"main_thread", set_main_thread, METH_O, NULL},
    {"raise_signal", raise_signal, METH_NOARGS, NULL},
    {"result", PG_FAST(make_result), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
