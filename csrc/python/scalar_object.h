/* scalar_object.h - the lifetime of an object: how it is created for a node, and how it is
 * freed. */
#ifndef PG_SCALAR_OBJECT_H
#define PG_SCALAR_OBJECT_H

#include "python/scalar.h"

/* The object of a node, the same one for as long as it lives. A new reference, or NULL. */
PyObject *scalar_of_node(pg_node_id id);
/* A new Value without children, or NULL. */
PyObject *scalar_new_leaf(double data);
/* Create an instance of this subclass for a node without an object; __init__ isn't called. A new
 * reference, or NULL. */
PyObject *scalar_embody(pg_node_id id, PyTypeObject *type);
/* Return the objects of the free list to Python. */
void scalar_drop_free_objects(void);
/* Make a new instance of a subclass, a leaf that no node uses, the object of this node instead. 0
 * or -1. */
int scalar_stand_for(PyObject *object, pg_node_id id);

/* Do other nodes use the node of this object? */
int scalar_used_by_nodes(const scalar *self);
/* The dict of attributes, created if necessary; borrowed. NULL: MemoryError. */
PyObject *scalar_attributes(scalar *self);

/* Visit each object in a slot that a subclass declared, as tp_traverse does. */
int scalar_visit_slots(scalar *self, visitproc visit, void *arg);
/* Clear all attributes, the closure and declared slots among them; runs the user's code. */
void scalar_clear_attributes(scalar *self);

/* ---- scalar_deferred.c ---- */

/* Release a reference to a node, or the references of a node to its children; then process the
 * deferred deallocations. */
void scalar_release_node(pg_node_id id);
void scalar_cut_node(pg_node_id id);
/* Process the deallocations that the graph's hooks have deferred. */
void scalar_run_deferred(void);
/* The hooks: no other node uses the node of this object any more; a node that owns its object is
 * freed; a variadic node drops its tag. */
void scalar_note_idle(void *owner);
int scalar_note_dropped(void *owner);
void scalar_note_untagged(void *tag);

/* ---- scalar_cycles.c ---- */

/* Count the references that an object holds to itself, directly or through objects that nothing
 * else holds; no other node uses its node. A lower bound unless *is_all_ret is 1. */
Py_ssize_t scalar_references_to_itself(PyObject *object, int *is_all_ret);
/* Clear an object, if only garbage and one reference of the caller hold it, and no other node uses
 * its node. Decides more cases than the function above, and searches only the neighbourhood of the
 * object. */
void scalar_clear_if_garbage(PyObject *object);
/* The collector traversed an object while other nodes use its node: its attributes were hidden. */
void scalar_note_hidden(const scalar *self);

/* ---- New objects ---- */

/* The free list: objects of exactly the class Value, chained through `dict`; each still owns a
 * reference to its class. */
extern scalar *scalar_free_objects;
extern int scalar_free_object_count;
enum { scalar_most_free_objects = 1 << 20 }; /* 64 MiB; the arena, too, never shrinks */

/* A new object without a node. May run the garbage collector, and so arbitrary code. */
static inline scalar *scalar_blank(void) {
    scalar *self = scalar_free_objects;
    if (PG_LIKELY(self != NULL)) {
        scalar_free_objects = (scalar *)self->dict;
        PG_PREFETCH(scalar_free_objects);
        scalar_free_object_count--;
        Py_SET_REFCNT((PyObject *)self, 1);
    } else {
        self = PyObject_GC_New(scalar, scalar_global.value);
        if (self == NULL) return NULL;
        self->weakrefs = NULL;
    }
    self->dict = NULL;
    self->is_shown = 0;
    return self;
}

/* Return a dead object to the free list, or to Python. */
static inline void scalar_give_back(scalar *self) {
    if (PG_LIKELY(scalar_free_object_count < scalar_most_free_objects)) {
        self->dict = (PyObject *)scalar_free_objects;
        scalar_free_objects = self;
        scalar_free_object_count++;
    } else {
        PyObject_GC_Del(self);
        Py_DECREF(scalar_global.value);
    }
}

/* Make this the object of the node; takes over the caller's reference to the node. */
static inline PyObject *scalar_take_node(scalar *self, pg_node_id id) {
    self->id = id;
    *scalar_owner(self) = self;
    return (PyObject *)self;
}

/* A new object for a node that was just added; takes over the caller's reference to the node. */
static inline PyObject *scalar_adopt_node(pg_node_id id) {
    scalar *self = scalar_blank();
    if (PG_LIKELY(self != NULL)) return scalar_take_node(self, id);
    scalar_release_node(id);
    return NULL;
}

/* The slots that scalar_type.c installs. */
void scalar_dealloc(PyObject *object);
int scalar_traverse(PyObject *object, visitproc visit, void *arg);
int scalar_clear(PyObject *object);
int scalar_setattro(PyObject *object, PyObject *name, PyObject *value);
PyObject *scalar_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

#endif
