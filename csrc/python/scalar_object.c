/* scalar_object.c - the lifetime of an object: allocation, attributes, resurrection, deallocation.
 *
 * Ownership between an object and its node: see scalar.h.
 * Cost: objects come from a free list; an object is not tracked by the garbage collector until an
 * attribute is set. */
#include "python/scalar_object.h"
#include "python/scalar_numbers.h"
#include "python/scalar_trace.h"

#include <structmember.h>

scalar *scalar_free_objects = NULL;
int scalar_free_object_count = 0;

void scalar_drop_free_objects(void) {
    while (scalar_free_objects != NULL) {
        scalar *object = scalar_free_objects;
        scalar_free_objects = (scalar *)object->dict;
        scalar_free_object_count--;
        PyObject_GC_Del(object);
        Py_DECREF(scalar_global.value);
    }
}

/* Add a leaf to the graph. 0 or -1. */
static inline int add_leaf(pg_node_id *id_ret, double data) {
    if (scalar_reserve(1) < 0) return -1;
    pg_status status = pg_graph_leaf(scalar_global.graph, id_ret, data);
    if (PG_UNLIKELY(status != PG_OK)) return scalar_fail(status);
    scalar_note_leaf(*id_ret);
    return 0;
}

PyObject *scalar_new_leaf(double data) {
    pg_node_id id;
    return add_leaf(&id, data) == 0 ? scalar_adopt_node(id) : NULL;
}

/* The existing object of a node, as a new reference. */
static PyObject *existing_object(pg_node_id id) {
    pg_node *node = &scalar_global.graph->nodes[id];
    PyObject *owner = scalar_global.graph->owners[id];
    if (!(node->flags & PG_FLAG_KEPT)) return Py_NewRef(owner);
    node->flags &= (uint8_t)~PG_FLAG_KEPT; /* the caller takes over the node's reference */
    pg_own(scalar_global.graph, id);
    return owner;
}

PyObject *scalar_of_node(pg_node_id id) {
    if (scalar_global.graph->owners[id] != NULL) return existing_object(id);
    scalar *self = scalar_blank();
    if (self == NULL) return NULL;
    if (scalar_global.graph->owners[id] != NULL) { /* created meanwhile */
        scalar_give_back(self);
        return existing_object(id);
    }
    pg_own(scalar_global.graph, id);
    return scalar_take_node(self, id);
}

int scalar_used_by_nodes(const scalar *self) {
    if (self->id == 0) return 0;
    const pg_node *node = scalar_node(self);
    return (node->flags & PG_FLAG_KEPT) || node->refs > 1;
}

/* The next slot that a subclass declared, after *member of *type; NULL at the end. */
static PyObject **next_declared_slot(PyObject *object, PyTypeObject **type, PyMemberDef **member) {
    for (; *type != scalar_global.base; *type = (*type)->tp_base, *member = NULL) {
        *member = *member == NULL ? (*type)->tp_members : *member + 1;
        for (; *member != NULL && (*member)->name != NULL; ++*member)
            if ((*member)->type == T_OBJECT_EX)
                return (PyObject **)((char *)object + (*member)->offset);
    }
    return NULL;
}

/* Python's own tp_dealloc and tp_clear of a subclass would clear these, too, but without checking
 * whether other nodes use the node. */
static void clear_declared_slots(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyMemberDef *member = NULL;
    PyObject **slot;
    while ((slot = next_declared_slot(object, &type, &member)) != NULL) Py_CLEAR(*slot);
}

int scalar_visit_slots(scalar *self, visitproc visit, void *arg) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyMemberDef *member = NULL;
    PyObject **slot;
    while ((slot = next_declared_slot((PyObject *)self, &type, &member)) != NULL) Py_VISIT(*slot);
    return 0;
}

void scalar_clear_attributes(scalar *self) {
    if (self->id != 0) scalar_node(self)->flags &= (uint8_t)~PG_FLAG_CLOSURE;
    if (self->dict != NULL) PyDict_Clear(self->dict);
    clear_declared_slots((PyObject *)self);
}

/* Other nodes use the node of this object, which must live as long: resurrect the object, owned by
 * the node. */
static void keep_by_node(scalar *self) {
    Py_SET_REFCNT((PyObject *)self, 1);
    scalar_node(self)->flags |= PG_FLAG_KEPT;
    pg_disown(scalar_global.graph, self->id);
}

static void dealloc_slowly(scalar *self) {
    PyObject *object = (PyObject *)self;
    PyTypeObject *type = Py_TYPE(object);
    if (type->tp_finalize != NULL && PyObject_CallFinalizerFromDealloc(object) < 0) return;
    if ((self->dict != NULL || self->is_shown || type != scalar_global.value) &&
        scalar_used_by_nodes(self)) {
        keep_by_node(self);
        return;
    }
    PyObject_GC_UnTrack(object);
    if (self->id != 0) { /* from now on the node gets a new object */
        *scalar_owner(self) = NULL;
        scalar_node(self)->flags &= (uint8_t)~PG_FLAG_CLOSURE;
    }
    if (self->weakrefs != NULL) PyObject_ClearWeakRefs(object);
    if (type != scalar_global.value) clear_declared_slots(object);
    if (self->dict != NULL) {
        scalar_global.with_attributes--;
        Py_CLEAR(self->dict);
    }
    pg_node_id id = self->id;
    self->id = 0;
    if (id != 0) scalar_release_node(id);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

void scalar_dealloc(PyObject *object) {
    scalar *self = (scalar *)object;
    if (PG_UNLIKELY(self->dict != NULL || self->weakrefs != NULL ||
                    Py_TYPE(object) != scalar_global.value ||
                    Py_TYPE(object)->tp_finalize != NULL)) {
        dealloc_slowly(self);
        return;
    }
    if (PG_UNLIKELY(self->is_shown) && scalar_used_by_nodes(self)) {
        keep_by_node(self);
        return;
    }
    pg_node_id id = self->id;
    if (id != 0) *scalar_owner(self) = NULL;
    scalar_give_back(self);
    if (id != 0) scalar_release_node(id);
}

/* While other nodes use its node, an object must keep its attributes, even if nothing else refers
 * to it. Not reporting the dict achieves that: to the collector, the attributes look referenced
 * from outside. */
int scalar_traverse(PyObject *object, visitproc visit, void *arg) {
    scalar *self = (scalar *)object;
    Py_VISIT(Py_TYPE(object));
    if (scalar_used_by_nodes(self)) {
        scalar_note_hidden(self);
        return 0;
    }
    Py_VISIT(self->dict);
    return scalar_visit_slots(self, visit, arg);
}

int scalar_clear(PyObject *object) {
    scalar *self = (scalar *)object;
    if (!scalar_used_by_nodes(self)) scalar_clear_attributes(self);
    return 0;
}

/* The collector tracks an object from its first attribute on. */
static void track_new_dict(scalar *self, int had_dict) {
    if (had_dict || self->dict == NULL) return;
    scalar_global.with_attributes++;
    if (self->id != 0) scalar_node(self)->flags |= PG_FLAG_ATTRIBUTES;
    if (!PyObject_GC_IsTracked((PyObject *)self)) PyObject_GC_Track(self);
}

PyObject *scalar_attributes(scalar *self) {
    if (self->dict == NULL) {
        self->dict = PyDict_New();
        track_new_dict(self, 0);
    }
    return self->dict;
}

int scalar_setattro(PyObject *object, PyObject *name, PyObject *value) {
    scalar *self = (scalar *)object;
    int had_dict = self->dict != NULL;
    int result = PyObject_GenericSetAttr(object, name, value);
    track_new_dict(self, had_dict);
    return result;
}

/* A subclass made by Python has Python's own tp_dealloc, tp_traverse and tp_clear, which do not
 * know PG_FLAG_KEPT: replace them. */
static void take_over(PyTypeObject *type) {
    if (type->tp_dealloc == scalar_dealloc) return;
    type->tp_dealloc = scalar_dealloc;
    type->tp_traverse = scalar_traverse;
    type->tp_clear = scalar_clear;
}

/* An object for this node, allocated by the subclass; it takes its own reference to the node. */
static PyObject *new_instance(PyTypeObject *type, pg_node_id id) {
    take_over(type);
    scalar *self = (scalar *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    pg_status status = pg_graph_retain(scalar_global.graph, id);
    if (status != PG_OK) {
        Py_DECREF(self);
        return scalar_raise(status);
    }
    PyObject *object = scalar_take_node(self, id);
    scalar_node(self)->flags |= PG_FLAG_ATTRIBUTES; /* its class may declare slots */
    return object;
}

/* tp_new: a new leaf of 0; scalar_init sets its number. */
PyObject *scalar_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs)) {
    if (scalar_global.value == NULL)
        return PyErr_Format(PyExc_TypeError, "Scalar can't be created directly: use Value");
    if (type == scalar_global.value) return scalar_new_leaf(0.0);
    pg_node_id id;
    if (add_leaf(&id, 0.0) < 0) return NULL;
    PyObject *self = new_instance(type, id);
    scalar_release_node(id);
    return self;
}

PyObject *scalar_embody(pg_node_id id, PyTypeObject *type) {
    if (!PyType_IsSubtype(type, scalar_global.value) || type == scalar_global.value)
        return PyErr_Format(PyExc_TypeError, "%.100s is not a subclass of Value", type->tp_name);
    if (scalar_global.graph->owners[id] != NULL)
        return PyErr_Format(PyExc_ValueError, "a node is a %.100s already",
                            Py_TYPE((PyObject *)scalar_global.graph->owners[id])->tp_name);
    return new_instance(type, id);
}

int scalar_stand_for(PyObject *object, pg_node_id id) {
    scalar *self = (scalar *)object;
    if (!scalar_check(object) || Py_TYPE(object) == scalar_global.value ||
        scalar_node(self)->op != PG_OP_LEAF || scalar_used_by_nodes(self) ||
        scalar_global.graph->owners[id] != NULL)
        return scalar_error(PyExc_ValueError,
                            "a new instance of a subclass of Value, not %.100s, for a "
                            "node that has none",
                            Py_TYPE(object)->tp_name);
    pg_status status = pg_graph_retain(scalar_global.graph, id);
    if (status != PG_OK) return scalar_fail(status);
    const pg_node_id leaf = self->id;
    *scalar_owner(self) = NULL;
    scalar_global.graph->nodes[id].flags |=
        scalar_node(self)->flags & (PG_FLAG_CLOSURE | PG_FLAG_ATTRIBUTES);
    scalar_global.graph->turned++;
    scalar_node(self)->flags &= (uint8_t)~PG_FLAG_CLOSURE;
    (void)scalar_take_node(self, id);
    scalar_release_node(leaf);
    return 0;
}
