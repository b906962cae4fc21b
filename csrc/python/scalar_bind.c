/* scalar_bind.c - compiled functions as methods.
 *
 * `Bindable` is the base of recorded.compiled.Compiled. Looked up through an instance it returns,
 * as a plain function does, a new object bound to the instance: `m.loss`. A training loop does that
 * at each step, so it is done in C: one lookup by the instance's identity and one allocation.
 * Recordings belong to the function and the instance, not to the bound object: `at` is
 * recorded.instances.Beside, a dict from an instance's id to (weak reference, recordings). Where
 * that has no entry, or holds the instance itself, Python's `_kept_for` is called.
 * A bound object owns a reference to the instance, and shares the function's dict: names,
 * docstring, attributes. */
#include "python/scalar_members.h"

#include <structmember.h>

enum { binds_nothing, binds_instance, binds_class };

typedef struct bindable {
    PyObject_HEAD PyObject *dict;
    PyObject *weakrefs;
    PyObject *origin;   /* the object it was bound from; NULL: unbound */
    PyObject *instance; /* the instance or class it is bound to */
    PyObject *kept;     /* recordings */
    PyObject *at;       /* recordings by instance; NULL if bound */
    int binds;
} bindable;

static int bindable_traverse(PyObject *object, visitproc visit, void *arg) {
    bindable *self = (bindable *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->dict);
    Py_VISIT(self->origin);
    Py_VISIT(self->instance);
    Py_VISIT(self->kept);
    Py_VISIT(self->at);
    return 0;
}

static int bindable_clear(PyObject *object) {
    bindable *self = (bindable *)object;
    Py_CLEAR(self->dict);
    Py_CLEAR(self->origin);
    Py_CLEAR(self->instance);
    Py_CLEAR(self->kept);
    Py_CLEAR(self->at);
    return 0;
}

static void bindable_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (((bindable *)object)->weakrefs != NULL) PyObject_ClearWeakRefs(object);
    bindable_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

/* Does this weak reference refer to the instance? */
static int leads_to(PyObject *reference, PyObject *instance) {
#if PY_VERSION_HEX >= 0x030d0000
    PyObject *target;
    if (PyWeakref_GetRef(reference, &target) <= 0) return 0;
    Py_DECREF(target); /* if it is the instance, the caller holds it */
    return target == instance;
#else
    return PyWeakref_GET_OBJECT(reference) == instance;
#endif
}

/* The recordings for an instance: a new reference; NULL without an exception if there are none. */
static PyObject *find_kept(const bindable *self, PyObject *instance) {
    if (self->at == NULL || !PyDict_Check(self->at)) return NULL;
    PyObject *key = PyLong_FromVoidPtr(instance);
    if (key == NULL) return NULL;
    PyObject *entry = PyDict_GetItemWithError(self->at, key);
    Py_DECREF(key);
    if (entry == NULL || !PyTuple_CheckExact(entry) || PyTuple_GET_SIZE(entry) != 2) return NULL;
    PyObject *reference = PyTuple_GET_ITEM(entry, 0);
    if (!PyWeakref_Check(reference) || !leads_to(reference, instance)) return NULL;
    return Py_NewRef(PyTuple_GET_ITEM(entry, 1));
}

static PyObject *bindable_get(PyObject *object, PyObject *instance, PyObject *owner) {
    bindable *self = (bindable *)object;
    if (self->binds == binds_class && owner != NULL && owner != Py_None) instance = owner;
    else if (self->binds == binds_class && instance != NULL)
        instance = (PyObject *)Py_TYPE(instance);
    if (self->binds == binds_nothing || self->origin != NULL || instance == NULL)
        return Py_NewRef(object);
    PyObject *kept = find_kept(self, instance);
    if (kept == NULL && !PyErr_Occurred())
        kept = PyObject_CallMethod(object, "_kept_for", "(O)", instance);
    if (kept == NULL) return NULL;
    bindable *bound = (bindable *)Py_TYPE(object)->tp_alloc(Py_TYPE(object), 0);
    if (bound == NULL) {
        Py_DECREF(kept);
        return NULL;
    }
    bound->dict = Py_XNewRef(self->dict);
    bound->origin = Py_NewRef(object);
    bound->instance = Py_NewRef(instance);
    bound->kept = kept;
    return (PyObject *)bound;
}

static int bindable_setattr(PyObject *object, PyObject *name, PyObject *value) {
    if (((bindable *)object)->origin == NULL) return PyObject_GenericSetAttr(object, name, value);
    PyErr_Format(PyExc_AttributeError,
                 "a compiled method's attributes are its function's: set %R through the class",
                 name);
    return -1;
}

static PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(bindable, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(bindable, weakrefs), READONLY, NULL},
    {"_origin", T_OBJECT, offsetof(bindable, origin), READONLY, NULL},
    {"_instance", T_OBJECT, offsetof(bindable, instance), READONLY, NULL},
    {"_kept", T_OBJECT, offsetof(bindable, kept), 0, NULL},
    {"_at", T_OBJECT, offsetof(bindable, at), 0, NULL},
    {"_binds", T_INT, offsetof(bindable, binds), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "What becomes a method when it is looked up through an instance."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, bindable_dealloc},
    {Py_tp_traverse, bindable_traverse},
    {Py_tp_clear, bindable_clear},
    {Py_tp_descr_get, bindable_get},
    {Py_tp_setattro, bindable_setattr},
    {Py_tp_members, members},
    {Py_tp_getset, getset},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "pygradc._core.Bindable",
    .basicsize = sizeof(bindable),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

PyObject *scalar_bindable(void) { return PyType_FromSpec(&spec); }
