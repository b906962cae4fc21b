/* scalar.h - the Python object of a node, and the global state of this folder.
 *
 * Ownership. A Scalar owns one reference to its node; the node borrows a pointer to its Scalar, so
 * that asking for a child returns the same object. A Scalar without attributes is deallocated with
 * its last Python reference; a new one is created when the node is next asked for.
 * A Scalar with attributes (a label, a closure, anything) must live as long as its node. So must
 * one that was returned as an operand of another: a walk through a graph identifies nodes by id().
 * When Python drops the last reference to such an object while other nodes use its node, ownership
 * is inverted: the node owns the object (PG_FLAG_KEPT), until the node is freed or the object is
 * asked for again.
 *
 * All of this runs with the GIL held; the GIL protects the default graph. */
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
    uint32_t is_shown;           /* was returned as an operand */
    PyObject *dict; /* NULL until an attribute is set; from then on the GC tracks the object */
    PyObject *weakrefs;
} scalar;

/* The default graph, and the Python objects that the type needs; set by install, and by the _adopt
 * functions. */
typedef struct scalar_state {
    pg_graph *graph;
    PyTypeObject *base;  /* Scalar */
    PyTypeObject *value; /* the class that operators return */
    PyObject *number;    /* (object) -> float, int, or NotImplemented */
    PyObject *fail;      /* (status, op, derivative, a, b): raises */
    PyObject *guard;     /* (operator, left, right): raises what the program's own class would; NULL
                            except under `pygradc run` */
    unsigned guarded, guarded_reflected; /* bits: operators that its class lacks */
    PyObject *frozen;                    /* (value, what): raises TraceError */
    PyObject *condition;    /* (left, comparison, right): a comparison during a trace */
    PyObject *again;        /* (): raises TraceError, for Value(value) during a trace */
    PyObject *untraceable;  /* (): notes that a trace made a Value of given children, which no
                               program can replay */
    PyTypeObject *compared; /* the class of the objects that `condition` returns */
    unsigned long tracing;  /* the thread of the trace under way, or 0 */
    size_t leftovers;       /* upper bound on the nodes that depend on inputs of a finished trace */
    size_t with_attributes; /* objects that the GC tracks because they have attributes */
    size_t blocks;          /* open no_grad() and trace blocks, of all threads */
    int strict;             /* a custom op's rule is being traced */
    int sealed;             /* the package is fully imported: `value` is final */
    unsigned version;       /* version of the class Value while it is unpatched */
    size_t inside; /* depth of core hooks that run the user's code; the core still needs its nodes
                      then */
} scalar_state;

extern scalar_state scalar_global;

/* Objects that are looked up or compared often; interned by install. */
typedef struct scalar_names {
    PyObject *data, *grad, *label, *op, *backward, *push, *empty;
    PyObject *minus_one; /* an int */
} scalar_names;

extern scalar_names scalar_name;

/* A METH_FASTCALL function as an entry of a method table. */
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
