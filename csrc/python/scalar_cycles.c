/* scalar_cycles.c - find reference cycles: is an object reachable only from what it references
 * itself?
 *
 * References are counted on both sides, by Python for objects and by the arena for nodes. A search
 * follows them from an object, through dicts, closures, cells and everything else with a
 * tp_traverse, and through nodes: an object owns its node, or the node its object, and a node its
 * children. An entity that was met as often as it has references is held by nothing outside the
 * search. Python's collector can't see that by itself, since an object hides its attributes from it
 * while other nodes use its node.
 *
 * The quick search follows an entity only once all references to it are found; so it stays within
 * what an object holds exclusively: a closure, its cells, a partial. The thorough search is trial
 * deletion: it follows every object, even one that is also held from outside, and at the end marks
 * as alive what is held from outside and all that is reachable from there. Nodes form no cycles
 * among themselves: they are followed only once all of their references are found, in either
 * search, so a living graph isn't walked. The thorough search runs for an object with a closure
 * that holds itself, or the like; and, after each full collection, from all objects at once that
 * hid their attributes in it. Then it is *far*: it goes through classes, through modules that are
 * not imported, and through the frames of exceptions and generators, but not through running
 * frames. Both searches are sound however early they stop: a reference that wasn't met counts as
 * one from outside. None of the user's code runs during a search; finalizers run after it, and then
 * the search is repeated.
 * Owns its table, which it keeps while it is small. Cost: O(entities met), at most most_met, plus
 * an allowance for the objects that hid their attributes and for the living nodes.
 * Bacon and Rajan, Concurrent cycle collection in reference counted systems, ECOOP 2001. */
#include "python/scalar_members.h"
#include "python/scalar_object.h"

#include <frameobject.h>

enum { most_met_quickly = 256, most_met = 1 << 17, first_capacity = 256, capacity_kept = 1 << 14 };

enum { is_queued = 1, is_alive = 2, is_running = 4 };

/* An object, keyed by its address, or a node, keyed by 2 * id + 1; key 0: an empty slot. */
typedef struct entity {
    uintptr_t key;
    size_t found;
    unsigned char state;
} entity;

typedef struct search {
    entity *table; /* open addressing, at most half full */
    size_t capacity;
    uintptr_t *met; /* all keys, in the order in which they were met */
    uintptr_t *queue;
    size_t met_count, queue_count, most;
    PyObject *globals;  /* of the function or frame being traversed */
    PyObject *imported; /* globals of an imported module, or treated as such */
    PyObject *builtins;
    int is_thorough;
    int is_far; /* follows classes, modules and frames, too; running frames are in the table */
} search;

static search scratch;

static uintptr_t key_of_node(pg_node_id id) { return 2 * (uintptr_t)id + 1; }
static int is_node(uintptr_t key) { return key & 1; }
static pg_node *node_of(uintptr_t key) { return &scalar_global.graph->nodes[key >> 1]; }

static size_t references_to(uintptr_t key) {
    return is_node(key) ? node_of(key)->refs : (size_t)Py_REFCNT((PyObject *)key);
}

/* ---- The table ------------------------------------------------------------------------------- */

/* The key's slot, or the empty slot where it belongs. */
static entity *slot_of(const search *s, uintptr_t key) {
    size_t i = (size_t)((uint64_t)key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (s->capacity - 1);
    while (s->table[i].key != 0 && s->table[i].key != key) i = (i + 1) & (s->capacity - 1);
    return &s->table[i];
}

static void search_free(search *s) {
    pg_free(s->table);
    pg_free(s->met);
    pg_free(s->queue);
    *s = (search){0};
}

/* Double the table. 0, or -1: the contents are unchanged. */
static int grow(search *s) {
    const search before = *s;
    s->capacity = before.capacity != 0 ? 2 * before.capacity : first_capacity;
    s->table = pg_realloc(NULL, s->capacity, sizeof *s->table);
    uintptr_t *met = pg_realloc(s->met, s->capacity / 2, sizeof *met);
    if (met != NULL) s->met = met;
    uintptr_t *queue = pg_realloc(s->queue, s->capacity / 2, sizeof *queue);
    if (queue != NULL) s->queue = queue;
    if (s->table == NULL || met == NULL || queue == NULL) {
        pg_free(s->table);
        s->table = before.table;
        s->capacity = before.capacity;
        return -1;
    }
    memset(s->table, 0, s->capacity * sizeof *s->table);
    for (size_t i = 0; i < before.met_count; i++)
        *slot_of(s, s->met[i]) = *slot_of(&before, s->met[i]);
    pg_free(before.table);
    return 0;
}

/* An entity's slot, added if necessary; NULL at the limit, or without memory. */
static entity *entity_of(search *s, uintptr_t key) {
    if (s->capacity == 0 && grow(s) < 0) return NULL;
    entity *at = slot_of(s, key);
    if (at->key != 0) return at;
    if (s->met_count == s->most) return NULL;
    if (s->met_count == s->capacity / 2) {
        if (grow(s) < 0) return NULL;
        at = slot_of(s, key);
    }
    *at = (entity){key, 0, 0};
    s->met[s->met_count++] = key;
    return at;
}

static void search_begin(search *s, int is_thorough) {
    if (s->capacity > capacity_kept) search_free(s);
    else if (s->met_count > 0) memset(s->table, 0, s->capacity * sizeof *s->table);
    s->met_count = s->queue_count = 0;
    s->is_thorough = is_thorough;
    s->is_far = 0;
    s->most = is_thorough ? most_met : most_met_quickly;
    s->globals = s->imported = NULL;
    s->builtins = PyEval_GetBuiltins();
}

/* ---- References ------------------------------------------------------------------------------ */

typedef int meeting(search *s, uintptr_t key);

typedef struct follower {
    search *search;
    meeting *meet;
} follower;

/* Is this the module that `import` finds by its __name__, or the dict of that module? */
static int is_imported(PyObject *names, PyObject *object) {
    PyObject *name = names != NULL ? PyDict_GetItemString(names, "__name__") : NULL;
    if (name == NULL || !PyUnicode_CheckExact(name)) return 0;
    PyObject *module = PyDict_GetItem(PyImport_GetModuleDict(), name);
    return module != NULL &&
           (module == object || (PyModule_Check(module) && PyModule_GetDict(module) == object));
}

/* Is this a part of the program at large? It leads to everything, and its references are never all
 * met. */
static int is_at_large(const search *s, PyObject *object) {
    if (object == s->globals || object == s->builtins || PyCode_Check(object)) return 1;
    if (PyModule_Check(object)) return !s->is_far || is_imported(PyModule_GetDict(object), object);
    if (PyType_Check(object)) return !s->is_far || object == (PyObject *)scalar_global.value;
    return PyFrame_Check(object) && !s->is_far;
}

static int follow_object(PyObject *object, void *context) {
    follower *f = context;
    if (!PyObject_IS_GC(object) || is_at_large(f->search, object)) return 0;
    return f->meet(f->search, (uintptr_t)object);
}

static int follow_attributes(scalar *self, follower *f) {
    if (self->dict != NULL && follow_object(self->dict, f) < 0) return -1;
    return scalar_visit_slots(self, follow_object, f);
}

/* A use of the node is a way to the object's attributes, as a reference to the object is. The quick
 * search reaches the attributes through the node, once it has found all references to both. */
static int follow_scalar(scalar *self, follower *f) {
    const int owns = self->id != 0 && !(scalar_node(self)->flags & PG_FLAG_KEPT);
    if ((f->search->is_thorough || !owns) && follow_attributes(self, f) < 0) return -1;
    return owns ? f->meet(f->search, key_of_node(self->id)) : 0;
}

static int follow_node(uintptr_t key, follower *f) {
    const pg_node *node = node_of(key);
    PyObject *owner = scalar_global.graph->owners[key >> 1];
    size_t count;
    const pg_node_id *held = pg_holds(node, &count);
    for (size_t i = 0; i < count; i++)
        if (f->meet(f->search, key_of_node(held[i])) < 0) return -1;
    if (owner == NULL) return 0;
    if (node->flags & PG_FLAG_KEPT) return follow_object(owner, f);
    return f->search->is_thorough ? 0 : follow_attributes((scalar *)owner, f);
}

/* The globals of a function or a frame, borrowed; NULL for other objects. */
static PyObject *globals_of(PyObject *object) {
    if (PyFunction_Check(object)) return PyFunction_GET_GLOBALS(object);
    if (!PyFrame_Check(object)) return NULL;
#if PY_VERSION_HEX >= 0x030b0000
    PyObject *globals = PyFrame_GetGlobals((PyFrameObject *)object);
    Py_DECREF(globals); /* the frame holds them */
    return globals;
#else
    return ((PyFrameObject *)object)->f_globals;
#endif
}

/* Call meet for all references that an entity holds. */
static void follow(search *s, uintptr_t key, meeting *meet) {
    follower f = {s, meet};
    PyObject *object = (PyObject *)key;
    if (is_node(key)) (void)follow_node(key, &f);
    else if (scalar_check(object)) (void)follow_scalar((scalar *)object, &f);
    else if (Py_TYPE(object)->tp_traverse != NULL) {
        PyObject *globals = globals_of(object);
        if (!s->is_far || (globals != s->imported && is_imported(globals, globals)))
            s->imported = globals;
        s->globals = globals == s->imported ? globals : NULL;
        (void)Py_TYPE(object)->tp_traverse(object, follow_object, &f);
        s->globals = NULL;
    }
}

static void enqueue(search *s, entity *at) {
    if (at->state & is_queued) return;
    at->state |= is_queued;
    s->queue[s->queue_count++] = at->key;
}

static int count_reference(search *s, uintptr_t key) {
    entity *at = entity_of(s, key);
    if (at == NULL) return 0;
    at->found++;
    if (at->state & is_running) return 0;
    if ((s->is_thorough && !is_node(key)) || at->found == references_to(key)) enqueue(s, at);
    return 0;
}

static void follow_all(search *s) {
    for (size_t i = 0; i < s->queue_count; i++) follow(s, s->queue[i], count_reference);
}

/* ---- The quick search ------------------------------------------------------------------------ */

/* Did the search stop at an object, other than a Value, to which objects behind it may refer? */
static int stopped_early(const search *s) {
    for (size_t i = 0; i < s->met_count; i++)
        if (!is_node(s->met[i]) && !(slot_of(s, s->met[i])->state & is_queued) &&
            !scalar_check((PyObject *)s->met[i]))
            return 1;
    return 0;
}

Py_ssize_t scalar_references_to_itself(PyObject *object, int *is_all_ret) {
    search *s = &scratch;
    search_begin(s, 0);
    *is_all_ret = 0;
    entity *at = entity_of(s, (uintptr_t)object);
    if (at == NULL) return 0;
    enqueue(s, at);
    follow_all(s);
    *is_all_ret = !stopped_early(s);
    return (Py_ssize_t)slot_of(s, (uintptr_t)object)->found;
}

/* ---- The thorough search -----------------------------------------------------------------------
 */

/* The nodes of the objects that hid their attributes from the collection under way. */
static struct {
    pg_node_id *ids;
    size_t count, capacity;
    int is_collecting;
} hidden;

void scalar_note_hidden(const scalar *self) {
    if (!hidden.is_collecting || self->id == 0) return;
    if (pg_grow((void **)&hidden.ids, &hidden.capacity, hidden.count, sizeof *hidden.ids) == 0)
        hidden.ids[hidden.count++] = self->id;
}

/* The object of a node in that list, if it has attributes from which it may be reachable; borrowed,
 * or NULL. */
static PyObject *hidden_object(pg_node_id id) {
    if (!pg_alive(scalar_global.graph, id)) return NULL;
    PyObject *object = scalar_global.graph->owners[id], *key, *value;
    if (object == NULL || Py_TYPE(object) != scalar_global.value) return object;
    PyObject *dict = ((scalar *)object)->dict;
    Py_ssize_t place = 0;
    while (dict != NULL && PyDict_Next(dict, &place, &key, &value))
        if (PyObject_IS_GC(value)) return object;
    return NULL;
}

static int mark_alive(search *s, uintptr_t key) {
    entity *at = slot_of(s, key);
    if (at->key == 0 || (at->state & is_alive)) return 0;
    at->state |= is_alive;
    if (at->state & is_queued) s->queue[s->queue_count++] = key;
    PyObject *owner = is_node(key) ? scalar_global.graph->owners[key >> 1] : NULL;
    return owner != NULL ? mark_alive(s, (uintptr_t)owner) : 0;
}

/* Is there a reference to it that the search did not meet? */
static int is_held_outside(const search *s, uintptr_t key) {
    if (slot_of(s, key)->found < references_to(key)) return 1;
    if (is_node(key) || !scalar_check((PyObject *)key)) return 0;
    const pg_node_id id = ((scalar *)key)->id;
    return id != 0 && slot_of(s, key_of_node(id))->key == 0;
}

/* Mark as alive what is held from outside, and all that is reachable from there. The queue, no
 * longer needed as it is, is reused for the entities still to be followed. */
static void mark_all_alive(search *s) {
    s->queue_count = 0;
    for (size_t i = 0; i < s->met_count; i++)
        if (is_held_outside(s, s->met[i])) (void)mark_alive(s, s->met[i]);
    for (size_t i = 0; i < s->queue_count; i++) follow(s, s->queue[i], mark_alive);
}

/* Append new references to all objects that were met and are not alive. Nothing is released yet. */
static void list_garbage(const search *s, PyObject *list) {
    for (size_t i = 0; i < s->met_count; i++) {
        if (is_node(s->met[i]) || (slot_of(s, s->met[i])->state & is_alive)) continue;
        if (PyList_Append(list, (PyObject *)s->met[i]) < 0) PyErr_Clear(); /* found later */
    }
}

/* Does it have a finalizer that hasn't run, such as __del__ or a generator's? */
static int awaits_finalizer(PyObject *object) {
    return Py_TYPE(object)->tp_finalize != NULL && !PyObject_GC_IsFinalized(object);
}

/* Run the pending finalizers; was there one? As in Python's collector, all objects are still intact
 * then. */
static int run_finalizers(PyObject *list) {
    int ran = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (!awaits_finalizer(PyList_GET_ITEM(list, i))) continue;
        PyObject_CallFinalizer(PyList_GET_ITEM(list, i));
        ran = 1;
    }
    return ran;
}

/* Must the collector clear this object itself? It notifies the weak references first; and a frame
 * may be a generator's. */
static int is_collectors(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    if (PyFrame_Check(object) || type->tp_del != NULL) return 1;
    return PyType_SUPPORTS_WEAKREFS(type) && *PyObject_GET_WEAKREFS_LISTPTR(object) != NULL;
}

/* Clear garbage, as the collector does: it may contain cycles without a Value. */
static void clear_garbage(PyObject *list) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *object = PyList_GET_ITEM(list, i);
        if (scalar_check(object)) scalar_clear_attributes((scalar *)object);
        else if (Py_TYPE(object)->tp_clear != NULL && !is_collectors(object))
            (void)Py_TYPE(object)->tp_clear(object);
    }
}

/* A list for what a search finds, created before the search: allocating it may run the collector,
 * and that starts a search, too. NULL without memory: the garbage is left to the next
 * collection. */
static PyObject *list_to_fill(void) {
    PyObject *list = PyList_New(0);
    if (list == NULL) PyErr_Clear();
    return list;
}

void scalar_clear_if_garbage(PyObject *object) {
    PyObject *list = list_to_fill();
    if (list == NULL) return;
    search *s = &scratch;
    search_begin(s, 1);
    s->most = most_met_quickly;
    entity *at = entity_of(s, (uintptr_t)object);
    if (at != NULL) {
        at->found = 1; /* the caller's */
        enqueue(s, at);
        follow_all(s);
        mark_all_alive(s);
        if (!(slot_of(s, (uintptr_t)object)->state & is_alive)) list_garbage(s, list);
    }
    int awaits = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list) && !awaits; i++)
        awaits = awaits_finalizer(PyList_GET_ITEM(list, i));
    if (!awaits) clear_garbage(list); /* else left to the next collection */
    Py_DECREF(list);
}

/* A thread's running frames lead to the whole program: enter them in the table, but don't follow
 * them. */
static void meet_running(search *s, PyThreadState *thread) {
    for (PyFrameObject *frame = PyThreadState_GetFrame(thread); frame != NULL;) {
        entity *at = entity_of(s, (uintptr_t)frame);
        if (at != NULL) at->state |= is_running;
        else s->is_far = 0;
        PyFrameObject *caller = PyFrame_GetBack(frame);
        Py_DECREF(frame); /* a running frame stays alive */
        frame = caller;
    }
}

static void meet_all_running(search *s) {
    s->is_far = 1;
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; thread != NULL; thread = PyThreadState_Next(thread)) meet_running(s, thread);
}

static void find_hidden_garbage(PyObject *list) {
    search *s = &scratch;
    search_begin(s, 1);
    s->most += 8 * hidden.count + pg_graph_live(scalar_global.graph);
    if (hidden.count > 0) meet_all_running(s);
    for (size_t i = 0; i < hidden.count; i++) {
        PyObject *object = hidden_object(hidden.ids[i]);
        entity *at = object != NULL ? entity_of(s, (uintptr_t)object) : NULL;
        if (at != NULL) enqueue(s, at);
    }
    if (s->queue_count == 0) return;
    follow_all(s);
    mark_all_alive(s);
    list_garbage(s, list);
}

static void clear_hidden_garbage(void) {
    PyObject *list = list_to_fill();
    if (list == NULL) return;
    find_hidden_garbage(list);
    if (run_finalizers(list)) { /* the finalizers may have changed references */
        (void)PyList_SetSlice(list, 0, PyList_GET_SIZE(list), NULL);
        find_hidden_garbage(list);
    }
    clear_garbage(list);
    Py_DECREF(list);
    scalar_run_deferred();
}

/* A search follows the collection of this generation and older ones: Python 3.14 collects the
 * oldest one incrementally. */
#if PY_VERSION_HEX >= 0x030e0000
enum { least_generation = 1 };
#else
enum { least_generation = 2 };
#endif

/* on_collection(phase, info): the callback in gc.callbacks. */
static PyObject *on_collection(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *phase;
    PyObject *info;
    if (!PyArg_ParseTuple(args, "sO!", &phase, &PyDict_Type, &info)) return NULL;
    if (strcmp(phase, "start") == 0) {
        PyObject *generation = PyDict_GetItemString(info, "generation");
        const long number = generation != NULL ? PyLong_AsLong(generation) : -1;
        if (number == -1 && PyErr_Occurred()) return NULL;
        hidden.count = 0;
        hidden.is_collecting = number >= least_generation;
    } else if (hidden.is_collecting) {
        hidden.is_collecting = 0;
        clear_hidden_garbage();
        hidden.count = 0;
    }
    Py_RETURN_NONE;
}

PyMethodDef scalar_cycle_functions[] = {
    {"on_collection", on_collection, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
