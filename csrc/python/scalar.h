/* scalar.h - the Python object that stands for a node, and the one state of this folder.
 *
 * Who owns whom. A Scalar owns one reference to its node; the node borrows a pointer to its Scalar,
 * so that asking for a child hands back the same object. A Scalar that nothing was hung on dies
 * with its last Python reference and is made anew when somebody asks for it.
 * A Scalar with attributes (a label, a closure, anything) must live as long as its node; so must
 * one that was shown as an operand of another: a walk through a graph tells nodes apart by id().
 * When Python drops it while other nodes use its node, ownership turns round: the node keeps the
 * object (PG_FLAG_KEPT), until it dies itself or somebody asks for the object again.
 *
 * All of this runs with the GIL, which is what protects the default graph.
 */
#ifndef PG_SCALAR_H
#define PG_SCALAR_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "graph/graph.h"

#if PY_VERSION_HEX < 0x030a0000
static inline PyObject *Py_NewRef(PyObject *object) {
    Py_INCREF(object);
    return object;
}
static inline PyObject *Py_XNewRef(PyObject *object) {
    Py_XINCREF(object);
    return object;
}
#endif

typedef struct scalar {
    PyObject_HEAD pg_node_id id; /* owned, unless the node has PG_FLAG_KEPT; 0: no node any more */
    uint32_t is_shown;           /* as an operand */
    PyObject *dict;              /* NULL until an attribute is set; then the GC tracks the object */
    PyObject *weakrefs;
} scalar;

/* The one default graph and what the type needs of Python; filled in by install and adopt. */
typedef struct scalar_state {
    pg_graph *graph;
    PyTypeObject *base;  /* Scalar */
    PyTypeObject *value; /* the class that operators return */
    PyObject *number;    /* (object) -> float, int, or NotImplemented */
    PyObject *fail;      /* (status, op, derivative, a, b): raises */
    PyObject *guard;     /* (operator, left, right): raises what a program's own class would;
                            NULL but under `pygradc run` */
    unsigned guarded, guarded_reflected; /* the operators that this class lacks, a bit each */
    PyObject *frozen;                    /* (value, what): raises TraceError */
    PyObject *condition;    /* (left, comparison, right): a comparison during a trace */
    PyObject *again;        /* (): raises TraceError, for Value(value) during a trace */
    PyObject *untraceable;  /* (): a Value got children by number, which no program has */
    PyTypeObject *compared; /* the class of what condition gives */
    unsigned long tracing;  /* the thread in which a trace is under way, or 0 */
    size_t leftovers; /* at most so many nodes outlive the trace whose inputs they were made of */
    size_t adorned;   /* objects that the GC tracks because something hangs on them */
    size_t blocks;    /* of no_grad(), and traces, that any thread is in */
    int strict;       /* a custom op's rule is being traced */
    int sealed;       /* the package is imported as a whole: `value` stays what it is */
    unsigned version; /* of the class Value, when all in it was as the core made it */
    size_t inside;    /* hooks of the core that run the user's code: it needs its nodes */
} scalar_state;

extern scalar_state scalar_global;

/* A METH_FASTCALL function in a table of methods. */
#define PG_FAST(function) (PyCFunction)(void (*)(void))(function)

static inline pg_node *scalar_node(const scalar *self) {
    return &scalar_global.graph->nodes[self->id];
}

static inline void **scalar_owner(const scalar *self) {
    return &scalar_global.graph->owners[self->id];
}

static inline int scalar_check(PyObject *object) {
    return Py_TYPE(object) == scalar_global.value ||
           PyType_IsSubtype(Py_TYPE(object), scalar_global.base);
}

#endif
