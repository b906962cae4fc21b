/* scalar_numbers.h - operands and numbers, room for nodes, statuses as exceptions. */
#ifndef PG_SCALAR_NUMBERS_H
#define PG_SCALAR_NUMBERS_H

#include "python/scalar.h"

/* Make room for so many nodes before the graph is touched. May run the garbage collector, so it
 * comes before anything is read. 0, or -1 with MemoryError set. */
int scalar_make_room_slowly(size_t count);
static inline int scalar_make_room(size_t count) {
    if (PG_LIKELY(pg_room(scalar_global.graph) >= count)) return 0;
    return scalar_make_room_slowly(count);
}
/* Turn a status into an exception, raised where the core was called. Always NULL. */
PyObject *scalar_raise(pg_status status);
/* A Value, or a number. 1; 0 if it is neither; -1 with an exception set. *is_int may be NULL. */
int scalar_operand(PyObject *object, pg_operand *operand_ret, int *is_int);
/* Is it a comparison of a trace? In arithmetic that is a number, which it keeps as a Value. */
static inline int scalar_is_condition(PyObject *object) {
    return Py_TYPE(object) == scalar_global.compared;
}
/* A number of Python's or numpy's; as above. */
int scalar_as_number(PyObject *object, double *number_ret, int *is_int);
/* As scalar_operand; `what` and TypeError for what is neither. 0 or -1. */
int scalar_require_operand(PyObject *object, pg_operand *operand_ret, const char *what);
int scalar_require_number(PyObject *object, double *number_ret, const char *what);
/* Let the exception that a Python function of ours raised look as if raised by its caller. */
void scalar_hide_frames(void);

/* ---- Many of them ---- */

/* The ids of a sequence of Values; PyMem_Free them. NULL with an exception set. */
pg_node_id *scalar_gather_ids(PyObject *values, size_t *count_ret);
/* Likewise; TraceError where one has no number for `what` to read, or mustn't be written to. */
pg_node_id *scalar_gather_to_read(PyObject *values, size_t *count_ret, const char *what);
pg_node_id *scalar_gather_to_write(PyObject *values, size_t *count_ret, const char *what);
/* A contiguous buffer of count float64, to be released; NULL with an exception set. */
double *scalar_doubles_of(PyObject *array, Py_buffer *view, size_t count, int writable);

#endif
