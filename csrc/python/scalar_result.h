/* scalar_result.h - from the node that an op has added to the object that the caller receives: in
 * no_grad(), with a patched class, and otherwise. */
#ifndef PG_SCALAR_RESULT_H
#define PG_SCALAR_RESULT_H

#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_trace.h"

/* ---- scalar_no_grad.c ---- */

/* Is this thread in no_grad()? Call scalar_without_graph instead: it costs one comparison if no
 * thread is. */
int scalar_no_grad_here(void);
/* Enter a block with or without a graph, and leave it. 0, or -1 with MemoryError set. */
int scalar_enter_block(const void *what, int with_graph);
void scalar_leave_block(const void *what);
/* As scalar_adopt_node, but drops the graph in no_grad(). NULL with an exception set: TraceError if
 * an operand outlived its trace. */
PyObject *scalar_ungraphed(pg_node_id id);

static inline int scalar_without_graph(void) {
    return PG_UNLIKELY(scalar_global.blocks != 0) && scalar_no_grad_here();
}

/* ---- scalar_patched.c ---- */

/* The operators that the core builds in one call, and micrograd from several operators. */
typedef enum scalar_composition {
    SCALAR_ADD, /* with a number on the left */
    SCALAR_MULTIPLY,
    SCALAR_NEGATE,
    SCALAR_SUBTRACT,
    SCALAR_DIVIDE
} scalar_composition;

#define SCALAR_NO_VERSION UINT_MAX

/* The version number that Python assigns to this state of the class; 0 if it has none yet, or
 * Python has none left. */
static inline unsigned scalar_class_version(void) {
#if PY_VERSION_HEX < 0x030a0000
    if (!(scalar_global.value->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG)) return 0;
#endif
    return scalar_global.value->tp_version_tag;
}

/* Fast path: is the class known to be unpatched, as far as operators go? 0: unknown, use the
 * functions below. */
static inline int scalar_as_made(void) { return scalar_class_version() == scalar_global.version; }

/* Slow path: where Value, or an operand's class, overrides an operator of the core, compute the
 * result by Python's own operators, as micrograd does; b is NULL for a unary operator. 0 if the
 * core may compute it; else 1, and *result_ret is a new reference, or NULL with an exception
 * set. */
int scalar_apply_overrides(scalar_composition what, PyObject *a, PyObject *b,
                           PyObject **result_ret);
/* Must results be created by a constructor other than the core's? 1, 0, or -1 with an exception
 * set. */
int scalar_constructs(void);
/* Does the class of this Value override + or *? */
int scalar_overrides(PyObject *object);
/* The operand as a Value, created by the class's constructor if it is a number. A new reference;
 * NULL, with or without an exception. */
PyObject *scalar_constructed_operand(PyObject *object);
/* As scalar_finished, but calls the class's constructor if it was replaced. */
PyObject *scalar_construct(pg_node_id id);

/* Are the constructor, + and *, and the method of this op (0: none) those that the type was created
 * with? 1; 0 if the class was patched; -1 with an exception set. */
int scalar_is_native(int op);

/* ---- Results ---- */

/* The object for the node that an op has just added. */
static inline PyObject *scalar_finished(pg_node_id id) {
    if (PG_UNLIKELY((scalar_global.blocks | scalar_global.leftovers) != 0))
        return scalar_ungraphed(id);
    return scalar_adopt_node(id);
}

/* The object for the node that an op has just added, or NULL with the exception of its status
 * set. */
static inline PyObject *scalar_result(pg_status status, pg_node_id id) {
    if (PG_UNLIKELY(status != PG_OK)) return scalar_raise(status);
    if (PG_UNLIKELY(!scalar_as_made())) return scalar_construct(id);
    return scalar_finished(id);
}

#endif
