/* scalar_trace.h - what may be asked of a Value while a function is recorded, and after it. */
#ifndef PG_SCALAR_TRACE_H
#define PG_SCALAR_TRACE_H

#include "python/scalar.h"

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
/* Raise what a signal's handler raised during a replay, and return NULL; None if there is nothing.
 */
PyObject *scalar_raise_signal(void);

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

#endif
