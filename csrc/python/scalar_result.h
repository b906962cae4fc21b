/* scalar_result.h - from a node that an op has made to the object that the caller gets: in
 * no_grad(), where the class was patched, and otherwise. */
#ifndef PG_SCALAR_RESULT_H
#define PG_SCALAR_RESULT_H

#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_trace.h"

/* ---- scalar_no_grad.c ---- */

/* Is this thread in no_grad()? Ask scalar_without_graph, which costs nothing if no thread is. */
int scalar_no_grad_here(void);
/* Begin a block with or without a graph, and end it. 0, or -1 with MemoryError set. */
int scalar_enter_block(const void *what, int with_graph);
void scalar_leave_block(const void *what);
/* As scalar_adopt_node, and in no_grad() without a graph; NULL if an operand outlived its trace. */
PyObject *scalar_ungraphed(pg_node_id id);

static inline int scalar_without_graph(void) {
    return PG_UNLIKELY(scalar_global.blocks != 0) && scalar_no_grad_here();
}

/* ---- scalar_patched.c ---- */

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

/* Are the constructor, + and *, and the method of this op (0: none), those that the type was made
 * with, or has somebody patched the class? 1, 0, or -1 with an exception set. */
int scalar_is_native(int op);

/* ---- Results ---- */

/* The object for the node that an op has just made. */
static inline PyObject *scalar_finished(pg_node_id id) {
    if (PG_UNLIKELY((scalar_global.blocks | scalar_global.leftovers) != 0))
        return scalar_ungraphed(id);
    return scalar_adopt_node(id);
}

/* The object for the node that an op has just made, or the exception that its status means. */
static inline PyObject *scalar_result(pg_status status, pg_node_id id) {
    if (PG_UNLIKELY(status != PG_OK)) return scalar_raise(status);
    if (PG_UNLIKELY(!scalar_as_made())) return scalar_construct(id);
    return scalar_finished(id);
}

#endif
