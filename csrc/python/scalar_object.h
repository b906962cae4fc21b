/* scalar_object.h - an object's life: how it comes to stand for a node, and what becomes of it. */
#ifndef PG_SCALAR_OBJECT_H
#define PG_SCALAR_OBJECT_H

#include "python/scalar.h"

/* The object of a node, the same one as long as it lives. A new reference, or NULL. */
PyObject *scalar_of_node(pg_node_id id);
/* A new Value without children, or NULL. */
PyObject *scalar_new_leaf(double data);
/* An instance of this subclass for a node that has no object yet; __init__ isn't called. */
PyObject *scalar_embody(pg_node_id id, PyTypeObject *type);
/* Give the objects that are kept for reuse back to Python. */
void scalar_drop_free_objects(void);
/* Let a new instance of a subclass, a leaf that no node uses, stand for this node. 0 or -1. */
int scalar_stand_for(PyObject *object, pg_node_id id);

/* Do other nodes use its node? */
int scalar_used_by_nodes(const scalar *self);
/* The dict of attributes, made if need be; borrowed. NULL: MemoryError. */
PyObject *scalar_attributes(scalar *self);

/* Do with each object in a slot that a subclass declared as tp_traverse does. */
int scalar_visit_slots(scalar *self, visitproc visit, void *arg);
/* Let go of all that hangs on it, closure and slots as well; runs the user's code. */
void scalar_strip(scalar *self);

/* ---- scalar_settle.c ---- */

/* Give up a reference to a node, or a node's children, and let go of what died with it. */
void scalar_release_node(pg_node_id id);
void scalar_cut_node(pg_node_id id);
/* Let go of what the graph's hooks took note of since. */
void scalar_settle(void);
/* The hooks: a node is used by no other any more; it goes, with the object that it keeps; a
 * variadic node loses its tag. */
void scalar_note_idle(void *owner);
int scalar_note_dropped(void *owner);
void scalar_note_untagged(void *tag);

/* ---- scalar_cycles.c ---- */

/* How many references to it has the object that no node uses, through what nothing else holds?
 * There may be more unless *is_all_ret is 1. */
Py_ssize_t scalar_references_to_itself(PyObject *object, int *is_all_ret);
/* Take an object apart that no node uses, if only garbage holds it, and one reference of the
 * caller's. Asks more than the function above, and looks not much further than that object. */
void scalar_strip_garbage(PyObject *object);
/* The collector asked an object that nodes use, and wasn't shown its attributes. */
void scalar_note_hidden(const scalar *self);

/* ---- A new object ---- */

/* Freed objects of exactly the class Value, chained through `dict`; each still counts its class. */
extern scalar *scalar_free_objects;
extern int scalar_free_object_count;
enum { scalar_most_free_objects = 1 << 20 }; /* 64 MiB; the arena keeps what it once needed, too */

/* An object that stands for no node yet. May run the garbage collector, and so anybody's code. */
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

/* Back to the free list, or to Python. */
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

/* Let this object, and the reference to the node that it owns, stand for the node. */
static inline PyObject *scalar_take_node(scalar *self, pg_node_id id) {
    self->id = id;
    *scalar_owner(self) = self;
    return (PyObject *)self;
}

/* An object for a node that was just made; takes over the reference that came with it. */
static inline PyObject *scalar_adopt_node(pg_node_id id) {
    scalar *self = scalar_blank();
    if (PG_LIKELY(self != NULL)) return scalar_take_node(self, id);
    scalar_release_node(id);
    return NULL;
}

/* What scalar_type.c installs. */
void scalar_dealloc(PyObject *object);
int scalar_traverse(PyObject *object, visitproc visit, void *arg);
int scalar_clear(PyObject *object);
int scalar_setattro(PyObject *object, PyObject *name, PyObject *value);
PyObject *scalar_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

#endif
