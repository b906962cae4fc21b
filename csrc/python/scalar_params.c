/* scalar_params.c - many Values at once: the ids of their nodes, their numbers to and from arrays,
 * and optimizers over them.
 *
 * An object is 48 bytes at a place of its own; reading the node's id from each costs more than
 * what is done with the node. Models create their parameters in order: so the next node is tried
 * first, and it is the object's if the graph says that the object owns it. Nothing is kept between
 * calls that could become outdated.
 * Cost: 1 ns a Value in the order of creation, for others the cache miss that reading it may be;
 * and as much for its node. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_trace.h"

/* ---- Ids ------------------------------------------------------------------------------------- */

/* The id of an object's node; 0 with an exception set if it has none. */
static pg_node_id read_id(PyObject *object, Py_ssize_t place) {
    if (!scalar_check(object)) {
        PyErr_Format(PyExc_TypeError, "parameter %zd must be a Value, not %.100s", place,
                     Py_TYPE(object)->tp_name);
        return 0;
    }
    const pg_node_id id = ((scalar *)object)->id;
    if (id == 0) scalar_raise(PG_ERR_BAD_NODE); /* its finalizer runs */
    return id;
}

/* How many of these objects own the nodes first, first + 1, ...? The graph refers to living objects
 * only. */
static size_t count_in_order(PyObject *const *objects, size_t count, pg_node_id first) {
    enum { at_once = 128 };
    const pg_graph *graph = scalar_global.graph;
    if (first >= graph->used) return 0;
    if (count > graph->used - first) count = graph->used - first;
    void *const *owners = graph->owners + first;
    size_t done = 0;
    while (done + at_once <= count && owners[done] == objects[done] &&
           memcmp(owners + done, objects + done, at_once * sizeof *owners) == 0)
        done += at_once;
    while (done < count && owners[done] == objects[done]) done++;
    return done;
}

int scalar_read_ids(pg_node_id *ids_ret, PyObject *const *objects, Py_ssize_t count) {
    const size_t all = (size_t)count;
    for (size_t i = 0; i < all;) {
        const pg_node_id id = read_id(objects[i], (Py_ssize_t)i);
        if (id == 0) return -1;
        ids_ret[i++] = id;
        const size_t more = count_in_order(objects + i, all - i, id + 1);
        for (size_t k = 0; k < more; k++) ids_ret[i + k] = id + 1 + (pg_node_id)k;
        i += more;
    }
    return 0;
}

static int check_all(PyObject *const *objects, Py_ssize_t count, scalar_access *check,
                     const char *what) {
    for (Py_ssize_t i = 0; i < count; i++)
        if (check(objects[i], what) < 0) return -1;
    return 0;
}

pg_node_id *scalar_gather_checked(PyObject *values, size_t *count_ret, scalar_access *check,
                                  const char *what) {
    PyObject *fast = PySequence_Fast(values, "parameters must be a sequence of Values");
    if (fast == NULL) return NULL;
    PyObject *const *objects = PySequence_Fast_ITEMS(fast);
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(fast);
    pg_node_id *ids = PyMem_New(pg_node_id, (size_t)count + 1);
    if (ids == NULL) PyErr_NoMemory();
    else if (scalar_read_ids(ids, objects, count) < 0 ||
             (check != NULL && scalar_watching() && check_all(objects, count, check, what) < 0)) {
        PyMem_Free(ids);
        ids = NULL;
    }
    Py_DECREF(fast);
    *count_ret = (size_t)count;
    return ids;
}

pg_node_id *scalar_gather_ids(PyObject *values, size_t *count_ret) {
    return scalar_gather_checked(values, count_ret, NULL, NULL);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

double *scalar_doubles_of(PyObject *array, Py_buffer *view, size_t count, int writable) {
    const int wanted = (writable ? PyBUF_CONTIG : PyBUF_CONTIG_RO) | PyBUF_FORMAT;
    if (PyObject_GetBuffer(array, view, wanted) < 0) return NULL;
    if ((size_t)view->len == count * sizeof(double) && view->format != NULL &&
        strcmp(view->format, "d") == 0)
        return view->buf;
    PyErr_Format(PyExc_ValueError, "expected an array of %zu float64", count);
    PyBuffer_Release(view);
    return NULL;
}

static int require_arguments(Py_ssize_t count, Py_ssize_t wanted, const char *what) {
    return count == wanted ? 0 : scalar_error(PyExc_TypeError, "expected %s", what);
}

/* read(values, array): copy their data to an array of as many float64. */
static PyObject *read_numbers(PyObject *Py_UNUSED(module), PyObject *const *args,
                              Py_ssize_t arg_count) {
    if (require_arguments(arg_count, 2, "Values and an array") < 0) return NULL;
    size_t count;
    pg_node_id *ids = scalar_gather_checked(args[0], &count, scalar_check_traced, "a replay");
    if (ids == NULL) return NULL;
    Py_buffer view;
    double *to = scalar_doubles_of(args[1], &view, count, 1);
    for (size_t i = 0; to != NULL && i < count; i++)
        to[i] = scalar_global.graph->nodes[ids[i]].data;
    PyMem_Free(ids);
    if (to == NULL) return NULL;
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static int write_both(PyObject *const *arrays, const pg_node_id *ids, size_t count) {
    Py_buffer data_view, grad_view;
    const double *data = scalar_doubles_of(arrays[0], &data_view, count, 0);
    if (data == NULL) return -1;
    const double *gradients = scalar_doubles_of(arrays[1], &grad_view, count, 0);
    for (size_t i = 0; gradients != NULL && i < count; i++) {
        pg_node *node = &scalar_global.graph->nodes[ids[i]];
        node->data = data[i];
        node->u.grad = gradients[i];
    }
    PyBuffer_Release(&data_view);
    if (gradients == NULL) return -1;
    PyBuffer_Release(&grad_view);
    return 0;
}

/* write(values, data, gradients): set both from arrays of as many float64. */
static PyObject *write_numbers(PyObject *Py_UNUSED(module), PyObject *const *args,
                               Py_ssize_t arg_count) {
    if (require_arguments(arg_count, 3, "Values and two arrays") < 0) return NULL;
    size_t count;
    pg_node_id *ids = scalar_gather_checked(args[0], &count, scalar_check_write, "assigning .data");
    if (ids == NULL) return NULL;
    const int failed = write_both(args + 1, ids, count) < 0;
    PyMem_Free(ids);
    return failed ? NULL : Py_NewRef(Py_None);
}

/* ---- Which are which ------------------------------------------------------------------------- */

/* A hash table from ids to places, with linear probing: adjacent ids have adjacent entries. */
typedef struct entry {
    pg_node_id id; /* 0: empty */
    uint32_t place : 31, met : 1;
} entry;

typedef struct place_table {
    entry *entries;
    uint32_t mask;
    int bits;
} place_table;

/* A table for at most so many ids; a fifth of it stays empty. */
static int open_table(place_table *table, size_t count) {
    table->bits = 1;
    while (((size_t)4 << table->bits) / 5 < count) table->bits++;
    table->mask = ((uint32_t)1 << table->bits) - 1;
    table->entries = PyMem_Calloc((size_t)table->mask + 1, sizeof *table->entries);
    return table->entries != NULL ? 0 : scalar_fail(PG_ERR_NOMEM);
}

/* The entry of this id, or the empty one where it belongs. */
static inline entry *entry_of(const place_table *table, pg_node_id id) {
    uint32_t at = (id + (id >> table->bits)) & table->mask;
    while (table->entries[at].id != id && table->entries[at].id != 0) at = (at + 1) & table->mask;
    return &table->entries[at];
}

/* Does an id occur twice? 1, 0; -1 with an exception set. */
static int has_repeats(const pg_node_id *ids, size_t count) {
    place_table table;
    if (open_table(&table, count) < 0) return -1;
    int found = 0;
    for (size_t i = 0; i < count && !found; i++) {
        entry *e = entry_of(&table, ids[i]);
        found = e->id != 0;
        e->id = ids[i];
    }
    PyMem_Free(table.entries);
    return found;
}

/* Write the place of each id among `known`, or UINT32_MAX; how many have one to *found_ret. 1; 0 if
 * an id occurs twice; -1 with an exception set. Overwrites ids. */
static int find_places(uint32_t *places_ret, Py_ssize_t *found_ret, pg_node_id *ids, size_t count,
                       const pg_node_id *known, size_t known_count) {
    place_table table;
    if (open_table(&table, known_count) < 0) return -1;
    for (size_t i = 0; i < known_count; i++) {
        entry *e = entry_of(&table, known[i]);
        e->id = known[i];
        e->place = (uint32_t)i & INT32_MAX;
    }
    int repeats = 0;
    size_t unknown = 0;
    for (size_t i = 0; i < count; i++) {
        entry *e = entry_of(&table, ids[i]);
        places_ret[i] = e->id != 0 ? e->place : UINT32_MAX;
        if (e->id == 0) ids[unknown++] = ids[i];
        else {
            repeats |= e->met;
            e->met = 1;
        }
    }
    PyMem_Free(table.entries);
    *found_ret = (Py_ssize_t)(count - unknown);
    if (!repeats && unknown > 1) repeats = has_repeats(ids, unknown);
    return repeats < 0 ? -1 : !repeats;
}

static int are_leaves(const pg_node_id *ids, size_t count) {
    size_t leaves = 0;
    while (leaves < count && scalar_global.graph->nodes[ids[leaves]].op == PG_OP_LEAF) leaves++;
    return leaves == count;
}

static PyObject *places_among(pg_node_id *ids, size_t count, const pg_node_id *known,
                              size_t known_count) {
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * sizeof(uint32_t)));
    if (bytes == NULL) return NULL;
    uint32_t *places = (uint32_t *)(void *)PyBytes_AS_STRING(bytes);
    Py_ssize_t found;
    const int distinct = find_places(places, &found, ids, count, known, known_count);
    PyObject *result = distinct == 0 ? Py_NewRef(Py_None) : NULL;
    if (distinct == 1)
        result =
            Py_BuildValue("OnN", bytes, found, PyBool_FromLong(are_leaves(known, known_count)));
    Py_DECREF(bytes);
    return result;
}

/* Are these two lists or tuples, of the same objects? */
static int hold_the_same(PyObject *one, PyObject *other) {
    for (int i = 0; i < 2; i++)
        if (!PyList_Check(i == 0 ? one : other) && !PyTuple_Check(i == 0 ? one : other)) return 0;
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(one);
    if (count != PySequence_Fast_GET_SIZE(other)) return 0;
    return count == 0 || memcmp(PySequence_Fast_ITEMS(one), PySequence_Fast_ITEMS(other),
                                (size_t)count * sizeof(PyObject *)) == 0;
}

/* are_same(a, b) -> bool: are they lists or tuples, of the same objects in the same order? */
static PyObject *are_same(PyObject *Py_UNUSED(module), PyObject *const *args,
                          Py_ssize_t arg_count) {
    if (require_arguments(arg_count, 2, "two sequences") < 0) return NULL;
    return PyBool_FromLong(hold_the_same(args[0], args[1]));
}

/* As places_among, of a program's parameters themselves, which are distinct. */
static PyObject *places_of_all(const pg_node_id *known, size_t count) {
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * sizeof(uint32_t)));
    if (bytes == NULL) return NULL;
    uint32_t *places = (uint32_t *)(void *)PyBytes_AS_STRING(bytes);
    for (size_t i = 0; i < count; i++) places[i] = (uint32_t)i;
    return Py_BuildValue("NnN", bytes, (Py_ssize_t)count,
                         PyBool_FromLong(are_leaves(known, count)));
}

/* places(objects, parameters) -> (the place of each among a program's parameters, 2**32 - 1 without
 * one: the bytes of uint32; how many have one; whether all parameters are leaves); None unless the
 * objects are Values, each once */
static PyObject *places(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t arg_count) {
    if (require_arguments(arg_count, 2, "objects and parameters") < 0) return NULL;
    size_t count, known_count;
    pg_node_id *known = scalar_gather_ids(args[1], &known_count);
    if (known == NULL) return NULL;
    if (hold_the_same(args[0], args[1])) {
        PyObject *all = places_of_all(known, known_count);
        PyMem_Free(known);
        return all;
    }
    pg_node_id *ids = scalar_gather_ids(args[0], &count);
    PyObject *result = ids != NULL ? places_among(ids, count, known, known_count) : NULL;
    if (ids == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        result = Py_NewRef(Py_None);
    }
    PyMem_Free(ids);
    PyMem_Free(known);
    return result;
}

/* are_distinct(objects) -> bool: are they Values, each once? */
static PyObject *are_distinct(PyObject *Py_UNUSED(module), PyObject *objects) {
    size_t count;
    pg_node_id *ids = scalar_gather_ids(objects, &count);
    if (ids == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        Py_RETURN_FALSE;
    }
    const int repeats = ids != NULL ? has_repeats(ids, count) : -1;
    PyMem_Free(ids);
    return repeats < 0 ? NULL : PyBool_FromLong(!repeats);
}

/* ---- Optimizers ------------------------------------------------------------------------------ */

/* The ids of the parameters that an optimizer is about to write. */
static pg_node_id *gather_to_step(PyObject *values, size_t *count_ret) {
    return scalar_gather_checked(values, count_ret, scalar_check_write, "optimizer.step()");
}

static PyObject *call_zero_grad(PyObject *Py_UNUSED(type), PyObject *values) {
    size_t count;
    pg_node_id *ids = scalar_gather_checked(values, &count, scalar_check_traced, "zero_grad()");
    if (ids == NULL) return NULL;
    pg_zero_living(scalar_global.graph, ids, count);
    PyMem_Free(ids);
    Py_RETURN_NONE;
}

/* sgd(parameters, velocity or None, lr, momentum, weight_decay) */
static PyObject *call_sgd(PyObject *Py_UNUSED(type), PyObject *args) {
    PyObject *values, *state;
    pg_sgd_settings settings;
    if (!PyArg_ParseTuple(args, "OOddd", &values, &state, &settings.lr, &settings.momentum,
                          &settings.weight_decay))
        return NULL;
    size_t count;
    pg_node_id *ids = gather_to_step(values, &count);
    if (ids == NULL) return NULL;
    Py_buffer view = {0};
    double *velocity = state != Py_None ? scalar_doubles_of(state, &view, count, 1) : NULL;
    const int failed = velocity == NULL && state != Py_None;
    if (!failed) pg_sgd_living(scalar_global.graph, velocity, ids, count, &settings);
    if (velocity != NULL) PyBuffer_Release(&view);
    PyMem_Free(ids);
    return failed ? NULL : Py_NewRef(Py_None);
}

/* adam(parameters, mean, square, lr, beta1, beta2, eps, weight_decay, decoupled, step) */
static PyObject *call_adam(PyObject *Py_UNUSED(type), PyObject *args) {
    PyObject *values, *means, *squares;
    pg_adam_settings settings;
    if (!PyArg_ParseTuple(args, "OOOdddddpd", &values, &means, &squares, &settings.lr,
                          &settings.beta1, &settings.beta2, &settings.eps, &settings.weight_decay,
                          &settings.decoupled, &settings.step))
        return NULL;
    size_t count;
    pg_node_id *ids = gather_to_step(values, &count);
    if (ids == NULL) return NULL;
    Py_buffer mean_view = {0}, square_view = {0};
    double *mean = scalar_doubles_of(means, &mean_view, count, 1);
    double *square = mean != NULL ? scalar_doubles_of(squares, &square_view, count, 1) : NULL;
    if (square != NULL) {
        pg_adam_living(scalar_global.graph, mean, square, ids, count, &settings);
        PyBuffer_Release(&square_view);
    }
    if (mean != NULL) PyBuffer_Release(&mean_view);
    PyMem_Free(ids);
    return square != NULL ? Py_NewRef(Py_None) : NULL;
}

/* rmsprop(parameters, square, velocity or None, lr, alpha, eps, weight_decay, momentum) */
static PyObject *call_rmsprop(PyObject *Py_UNUSED(type), PyObject *args) {
    PyObject *values, *squares, *state;
    pg_rmsprop_settings settings;
    if (!PyArg_ParseTuple(args, "OOOddddd", &values, &squares, &state, &settings.lr,
                          &settings.alpha, &settings.eps, &settings.weight_decay,
                          &settings.momentum))
        return NULL;
    size_t count;
    pg_node_id *ids = gather_to_step(values, &count);
    if (ids == NULL) return NULL;
    Py_buffer square_view = {0}, view = {0};
    double *square = scalar_doubles_of(squares, &square_view, count, 1), *velocity = NULL;
    if (square != NULL && state != Py_None) velocity = scalar_doubles_of(state, &view, count, 1);
    const int failed = square == NULL || (velocity == NULL && state != Py_None);
    if (!failed) pg_rmsprop_living(scalar_global.graph, square, velocity, ids, count, &settings);
    if (velocity != NULL) PyBuffer_Release(&view);
    if (square != NULL) PyBuffer_Release(&square_view);
    PyMem_Free(ids);
    return failed ? NULL : Py_NewRef(Py_None);
}

PyMethodDef scalar_param_functions[] = {
    {"read", PG_FAST(read_numbers), METH_FASTCALL, NULL},
    {"write", PG_FAST(write_numbers), METH_FASTCALL, NULL},
    {"places", PG_FAST(places), METH_FASTCALL, NULL},
    {"are_same", PG_FAST(are_same), METH_FASTCALL, NULL},
    {"are_distinct", are_distinct, METH_O, NULL},
    {"zero_grad", call_zero_grad, METH_O, NULL},
    {"sgd", call_sgd, METH_VARARGS, NULL},
    {"adam", call_adam, METH_VARARGS, NULL},
    {"rmsprop", call_rmsprop, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
