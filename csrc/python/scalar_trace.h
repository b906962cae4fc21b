/* scalar_trace.h - which reads and writes of a Value are allowed during a trace, and after it. */
#ifndef PG_SCALAR_TRACE_H
#define PG_SCALAR_TRACE_H

#include "python/scalar.h"

/* May the number of this Value be read? 0; or -1 with TraceError set, which names `what` was asked
 * for. */
int scalar_check_traced(PyObject *self, const char *what);
/* Raise TraceError: `what` was asked of this Value. Always -1. */
int scalar_refuse(PyObject *self, const char *what);
/* May the data of this Value be set? In the thread of a trace only if it is a constant that nothing
 * uses yet: the program would not repeat the assignment. 0, or -1 with TraceError set. */
int scalar_check_write(PyObject *self, const char *what);
/* May these operands be used, or did one of them outlive its trace? 0; -1 with TraceError set. The
 * first function checks the operands of a node, the second the operands themselves. */
int scalar_check_operands_of(pg_node_id id);
int scalar_check_operands(const pg_operand *operands, size_t count);
/* The nodes' Values as a tuple: a new reference, or NULL. */
PyObject *scalar_values_of(const pg_node_id *ids, size_t count);
/* Raise the exception that a signal handler raised during a replay, and return NULL; None if there
 * is none. */
PyObject *scalar_raise_signal(void);

/* Is a trace under way in this thread? */
static inline int scalar_tracing(void) {
    return PG_UNLIKELY(scalar_global.tracing != 0) &&
           scalar_global.tracing == PyThread_get_thread_ident();
}

/* Is a trace under way in any thread, or does a node outlive one? */
static inline int scalar_watching(void) {
    return (scalar_global.tracing | scalar_global.leftovers) != 0;
}

/* A trace's Values have no number in any thread: the traced function may use several. */
static inline int scalar_may_read(PyObject *self, const char *what) {
    return PG_UNLIKELY(scalar_watching()) ? scalar_check_traced(self, what) : 0;
}

static inline int scalar_may_write(PyObject *self, const char *what) {
    return PG_UNLIKELY(scalar_watching()) ? scalar_check_write(self, what) : 0;
}

/* Mark leaves of other threads as old: a trace that captures one treats it as a parameter. */
static inline void scalar_note_leaf(pg_node_id id) {
    if (PG_UNLIKELY(scalar_global.tracing != 0) && !scalar_tracing())
        scalar_global.graph->nodes[id].flags |= PG_FLAG_OLD;
}

/* While a custom op's rule is traced: would a float give another answer than a Value? 0; or -1 with
 * TraceError set. */
static inline int scalar_may_ask(PyObject *self, const char *what) {
    const int asks = PG_UNLIKELY(scalar_global.strict != 0) && scalar_tracing();
    return asks ? scalar_check_traced(self, what) : 0;
}

#endif
