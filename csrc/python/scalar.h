/* scalar.h - the Python object that stands for a node, shared by the files of this folder.
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

/* scalar_type.c */

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
/* An object for a node that was just made; takes over the reference that came with it. */
PyObject *scalar_adopt_node(pg_node_id id);
/* Are the constructor, + and *, and the method of this op (0: none), those that the type was made
 * with, or has somebody patched the class? 1, 0, or -1 with an exception set. */
int scalar_is_native(int op);
/* Do other nodes use its node? */
int scalar_used_by_nodes(const scalar *self);
/* The dict of attributes, made if need be; borrowed. NULL: MemoryError. */
PyObject *scalar_attributes(scalar *self);
/* Make room for so many nodes before the graph is touched. May run the garbage collector, so it
 * comes before anything is read. 0, or -1 with MemoryError set. */
int scalar_make_room(size_t count);
/* Add these methods, which a table of another file has, to the type. 0 or -1. */
int scalar_add_methods(PyTypeObject *type, PyMethodDef *methods);
/* Turn a status into an exception, raised where the core was called. Always NULL. */
PyObject *scalar_raise(pg_status status);
/* A Value, or a number. 1; 0 if it is neither; -1 with an exception set. *is_int may be NULL. */
int scalar_operand(PyObject *object, pg_operand *operand_ret, int *is_int);
/* Is it a comparison of a trace? In arithmetic that is a number, which it keeps as a Value. */
static inline int scalar_is_condition(PyObject *object) {
    return Py_TYPE(object) == scalar_global.compared;
}
/* As scalar_operand; `what` and TypeError for what is neither. 0 or -1. */
int scalar_require_operand(PyObject *object, pg_operand *operand_ret, const char *what);
int scalar_require_number(PyObject *object, double *number_ret, const char *what);
/* Let the exception that a Python function of ours raised look as if raised by its caller. */
void scalar_hide_frames(void);

/* Do with each object in a slot that a subclass declared as tp_traverse does. */
int scalar_visit_slots(scalar *self, visitproc visit, void *arg);
/* Let go of all that hangs on it, closure and slots as well; runs the user's code. */
void scalar_strip(scalar *self);

/* scalar_cycles.c */

/* How many references to it has the object that no node uses, through what nothing else holds?
 * There may be more unless *is_all_ret is 1. */
Py_ssize_t scalar_references_to_itself(PyObject *object, int *is_all_ret);
/* Take an object apart that no node uses, if only garbage holds it, and one reference of the
 * caller's. Asks more than the function above, and looks not much further than that object. */
void scalar_strip_garbage(PyObject *object);
/* The collector asked an object that nodes use, and wasn't shown its attributes. */
void scalar_note_hidden(const scalar *self);
extern PyMethodDef scalar_cycle_methods[];

/* scalar_settle.c */

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

/* scalar_trace.c */

/* Has this Value no number that may be asked for? 0; or -1 with TraceError set, which says `what`
 * was asked for. */
int scalar_check_traced(PyObject *self, const char *what);
/* TraceError of what was asked of a Value; -1. */
int scalar_refuse(PyObject *self, const char *what);
/* Is this a Value without a number? For the thread of the trace whatever depends on an input or a
 * parameter is, for others what depends on an input, and when it is over what was made of its
 * inputs. 1, 0, or -1 with an exception set. */
int scalar_is_traced(PyObject *object);
/* May its data be set? In the thread of a trace only those of a constant that nothing was made of
 * yet: the program would not set them again. 0, or -1 with TraceError set. */
int scalar_check_write(PyObject *self, const char *what);
/* May these be used, or are there some among them that outlived their trace? 0; -1 with TraceError
 * set. The first looks at the operands of a node, the second at operands themselves. */
int scalar_check_operands_of(pg_node_id id);
int scalar_check_operands(const pg_operand *operands, size_t count);
/* A tuple of the nodes' Values, or NULL. */
PyObject *scalar_values_of(const pg_node_id *ids, size_t count);
extern PyMethodDef scalar_trace_methods[];
/* Raise what a signal's handler raised during a replay, and return NULL; None if there is nothing.
 */
PyObject *scalar_raise_signal(void);

/* scalar_replay.c */
extern PyMethodDef scalar_replay_methods[];

/* Is a trace under way, in this thread? */
static inline int scalar_tracing(void) {
    return PG_UNLIKELY(scalar_global.tracing != 0) &&
           scalar_global.tracing == PyThread_get_thread_ident();
}

/* Is a trace under way in any thread, or does something outlive one? */
static inline int scalar_watching(void) {
    return (scalar_global.tracing | scalar_global.leftovers) != 0;
}

/* A trace's values have no number in any thread: the function may use several. */
static inline int scalar_may_read(PyObject *self, const char *what) {
    return PG_UNLIKELY(scalar_watching()) ? scalar_check_traced(self, what) : 0;
}

static inline int scalar_may_write(PyObject *self, const char *what) {
    return PG_UNLIKELY(scalar_watching()) ? scalar_check_write(self, what) : 0;
}

/* A leaf was made. If another thread is tracing a function, it is none of that function's: were it
 * captured, it would be a parameter, as if it had been there before. */
static inline void scalar_note_leaf(pg_node_id id) {
    if (PG_UNLIKELY(scalar_global.tracing != 0) && !scalar_tracing())
        scalar_global.graph->nodes[id].flags |= PG_FLAG_OLD;
}

/* While a custom op's rule is traced: would floats answer this otherwise than a Value does? 0; or
 * -1 with TraceError set. In scalar_custom.c. */
int scalar_check_strictly(PyObject *self, const char *what);

static inline int scalar_may_ask(PyObject *self, const char *what) {
    return PG_UNLIKELY(scalar_global.strict != 0) ? scalar_check_strictly(self, what) : 0;
}

/* scalar_no_grad.c */

/* Is this thread in no_grad()? Ask scalar_without_graph, which costs nothing if no thread is. */
int scalar_no_grad_here(void);
/* Begin a block with or without a graph, and end it. 0, or -1 with MemoryError set. */
int scalar_enter_block(const void *what, int with_graph);
void scalar_leave_block(const void *what);
/* As scalar_adopt_node, and in no_grad() without a graph; NULL if an operand outlived its trace. */
PyObject *scalar_ungraphed(pg_node_id id);
extern PyMethodDef scalar_no_grad_methods[];

static inline int scalar_without_graph(void) {
    return PG_UNLIKELY(scalar_global.blocks != 0) && scalar_no_grad_here();
}

/* The object for the node that an op has just made. */
static inline PyObject *scalar_finished(pg_node_id id) {
    if (PG_UNLIKELY((scalar_global.blocks | scalar_global.leftovers) != 0))
        return scalar_ungraphed(id);
    return scalar_adopt_node(id);
}

/* scalar_patched.c */

/* What the core does in one call and micrograd with several operators. */
typedef enum scalar_composition {
    SCALAR_ADD, /* with a number on the left */
    SCALAR_MULTIPLY,
    SCALAR_NEGATE,
    SCALAR_SUBTRACT,
    SCALAR_DIVIDE
} scalar_composition;

#define SCALAR_NO_VERSION UINT_MAX

/* A number that no other state of the class has; 0 if it has none yet, or Python none left. */
static inline unsigned scalar_class_version(void) {
#if PY_VERSION_HEX < 0x030a0000
    if (!(scalar_global.value->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG)) return 0;
#endif
    return scalar_global.value->tp_version_tag;
}

/* Is the class as it was made, as far as the operators go? 0: perhaps, ask the functions below. */
static inline int scalar_as_made(void) { return scalar_class_version() == scalar_global.version; }

/* Where the class, or an operand's, was taught another operator than the core's, compute by
 * Python's own operators, as micrograd does; b is NULL for one operand. 0 if the core may do it;
 * else 1, and *result_ret is a new reference, or NULL with an exception set. */
int scalar_detour(scalar_composition what, PyObject *a, PyObject *b, PyObject **result_ret);
/* Must each result be made by a constructor that the core doesn't know? 1, 0, or -1 with an
 * exception set. */
int scalar_constructs(void);
/* Has the class of this Value a + or * of its own? */
int scalar_overrides(PyObject *object);
/* The operand as a Value that the class's constructor made; NULL, with an exception or without. */
PyObject *scalar_constructed_operand(PyObject *object);
/* As scalar_finished, through such a constructor if there is one. */
PyObject *scalar_construct(pg_node_id id);
int scalar_patched_names(void);

/* The object for the node that an op has just made, or the exception that its status means. */
static inline PyObject *scalar_result(pg_status status, pg_node_id id) {
    if (PG_UNLIKELY(status != PG_OK)) return scalar_raise(status);
    if (PG_UNLIKELY(!scalar_as_made())) return scalar_construct(id);
    return scalar_finished(id);
}

/* scalar_pack.c */
extern PyMethodDef scalar_pack_methods[];

/* scalar_custom.c */

/* Is it one of custom.py's rules? */
int scalar_is_rule(PyObject *object);

/* Write the derivatives of a custom op's node to its locals. 0, or -1 with an exception set. */
int scalar_custom_slopes(void *tag, pg_node_id id);
extern PyMethodDef scalar_custom_methods[];

/* scalar_bind.c */

/* The type under pygradc.compiled.Compiled, made anew; or NULL. */
PyObject *scalar_bindable(void);

/* scalar_arrays.c */
extern PyMethodDef scalar_array_methods[];

/* scalar_init.c */
int scalar_init(PyObject *self, PyObject *args, PyObject *kwargs);
int scalar_init_names(void);

/* scalar_attrs.c, scalar_calls.c */
extern PyGetSetDef scalar_getset[];
extern PyMethodDef scalar_call_methods[];
/* The ids of a sequence of Values; PyMem_Free them. NULL with an exception set. */
pg_node_id *scalar_gather_ids(PyObject *values, size_t *count_ret);
/* Likewise; TraceError where one has no number for `what` to read, or mustn't be written to. */
pg_node_id *scalar_gather_to_read(PyObject *values, size_t *count_ret, const char *what);
pg_node_id *scalar_gather_to_write(PyObject *values, size_t *count_ret, const char *what);
/* A contiguous buffer of count float64, to be released; NULL with an exception set. */
double *scalar_doubles_of(PyObject *array, Py_buffer *view, size_t count, int writable);
PyObject *scalar_closure(scalar *self);    /* borrowed, or NULL */
PyObject *scalar_children(PyObject *self); /* a tuple, or NULL */
int scalar_call_closure(void *owner);
int scalar_intern_names(void);

#endif
