/* scalar_deferred.c - deferred deallocation of the objects of nodes that no node uses any more.
 *
 * The core's hooks are called in the middle of a release, when no code of the user may run: they
 * note the object, and scalar_run_deferred() releases it once the graph is consistent again.
 *
 * out._backward = closure, where the closure refers to out, is a cycle; micrograd is made of such
 * cycles. Where counting references shows that only the cycle is left (scalar_cycles.c has the ways
 * in which an object can hold itself), the cycle is broken here, at once. Other references to the
 * object may be temporary, as when a frame drops its variables one by one, or the garbage collector
 * still holds what it has found: such an object is held, and examined again when others are
 * released, and a last time when the interpreter reaches its next instruction. An object that is
 * referenced even then is left to the collector.
 * Owns one reference to each object in its lists. Cost: none, except for nodes with attributes. */
#include "python/scalar_members.h"
#include "python/scalar_object.h"

/* ---- Hooks ----------------------------------------------------------------------------------- */

/* Objects; the list owns one reference to each. */
typedef struct object_list {
    PyObject **objects;
    size_t count, capacity;
} object_list;

static object_list noted, held;
static int is_running_deferred = 0;

static int append(object_list *list, PyObject *object) {
    if (pg_grow((void **)&list->objects, &list->capacity, list->count, sizeof *list->objects) < 0)
        return -1;
    list->objects[list->count++] = object;
    return 0;
}

/* No node uses the node of this object any more: perhaps only its own closure holds it. Without
 * memory for the note, it is left to the garbage collector. */
void scalar_note_idle(void *owner) {
    if (append(&noted, owner) == 0) Py_INCREF((PyObject *)owner);
}

/* Nothing else uses the node that owns this object. If there is another reference to the object,
 * obtained through a weak reference, the object is resurrected and owns its node again. Otherwise
 * both are freed, the object later; without memory for the note it is leaked, since dropping it
 * here would run code in the middle of a release. */
int scalar_note_dropped(void *owner) {
    if (Py_REFCNT((PyObject *)owner) > 1) {
        Py_DECREF((PyObject *)owner);
        return 0;
    }
    ((scalar *)owner)->id = 0;
    (void)append(&noted, owner);
    return 1;
}

/* A node drops its reference to its tag. The last reference is released later, since that may run
 * code. */
void scalar_note_untagged(void *tag) {
    PyObject *object = tag;
    if (Py_REFCNT(object) > 1 || PyUnicode_CheckExact(object)) Py_DECREF(object);
    else (void)append(&noted, object);
}

/* ---- Cycles of closures ---------------------------------------------------------------------- */

/* Count the cells of this closure that hold the object, as far as nothing else holds the closure,
 * its tuple of cells, and the cell. */
static Py_ssize_t private_cells(PyObject *closure, PyObject *object) {
    if (!PyFunction_Check(closure) || Py_REFCNT(closure) != 1) return 0;
    PyObject *cells = PyFunction_GET_CLOSURE(closure);
    if (cells == NULL || Py_REFCNT(cells) != 1) return 0;
    Py_ssize_t count = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(cells); i++) {
        PyObject *cell = PyTuple_GET_ITEM(cells, i);
        if (Py_REFCNT(cell) == 1 && PyCell_GET(cell) == object) count++;
    }
    return count;
}

/* Count the references that the object holds to itself, if no node uses its node; 0 if it is in no
 * such cycle. micrograd's closures hold it through their cells only, and need no search. */
static Py_ssize_t references_in_cycle(PyObject *object, int *is_all_ret) {
    scalar *self = (scalar *)object;
    *is_all_ret = 1;
    if (!scalar_check(object) || scalar_used_by_nodes(self) || Py_REFCNT(object) == 1) return 0;
    PyObject *closure = scalar_attribute(self, scalar_name.backward);
    if (closure != NULL && Py_REFCNT(self->dict) == 1) {
        const Py_ssize_t in_cells = private_cells(closure, object);
        if (Py_REFCNT(object) == 1 + in_cells) return in_cells;
    }
    return scalar_references_to_itself(object, is_all_ret);
}

/* ---- Release --------------------------------------------------------------------------------- */

static int is_expected = 0; /* is a pending call of run_pending queued? */
static int run_pending(void *unused);

/* Hold the object for another look. 0; -1 if that fails, and the collector has to find it. */
static int hold(PyObject *object) {
    if (!is_expected && Py_AddPendingCall(run_pending, NULL) < 0) return -1;
    is_expected = 1;
    return append(&held, object);
}

/* Release an object, and break the cycle that it is in if the caller's reference is the only one
 * from outside. */
static void release(PyObject *object, int is_last_look) {
    int is_all;
    const Py_ssize_t in_cycle = references_in_cycle(object, &is_all);
    if (in_cycle > 0 || !is_all) {
        const int is_closed = in_cycle > 0 && Py_REFCNT(object) == 1 + in_cycle;
        if (!is_closed && !is_last_look && hold(object) == 0) return;
        if (is_closed) scalar_clear_attributes((scalar *)object);
        else if (!is_all) scalar_clear_if_garbage(object);
    }
    Py_DECREF(object);
}

static void release_held(int is_last_look) {
    object_list now = held;
    held = (object_list){0};
    while (now.count > 0) release(now.objects[--now.count], is_last_look);
    pg_free(now.objects);
}

/* Releasing objects may free nodes, and note more objects: a loop frees a chain of closures of any
 * length without recursion. */
static void run_deferred(int is_last_look) {
    if (is_running_deferred) return;
    is_running_deferred = 1;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    release_held(is_last_look);
    while (noted.count > 0) release(noted.objects[--noted.count], is_last_look);
    PyErr_Restore(type, error, traceback);
    is_running_deferred = 0;
}

/* A pending call: between two instructions there are no temporary references. */
static int run_pending(void *Py_UNUSED(unused)) {
    is_expected = 0;
    run_deferred(1);
    return 0;
}

/* Pending calls run in the main thread, which may be waiting for other threads: beyond this many
 * held objects, don't wait for it. */
enum { most_held = 64 };

void scalar_run_deferred(void) {
    if (noted.count > 0) run_deferred(held.count > most_held);
}

void scalar_release_node(pg_node_id id) {
    pg_graph_release(scalar_global.graph, id);
    if (PG_UNLIKELY(noted.count > 0)) scalar_run_deferred();
}

void scalar_cut_node(pg_node_id id) {
    pg_cut(scalar_global.graph, id);
    if (noted.count > 0) scalar_run_deferred();
}
