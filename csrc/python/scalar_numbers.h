/* scalar_numbers.h - operands and numbers, reserving nodes, statuses as exceptions. */
#ifndef PG_SCALAR_NUMBERS_H
#define PG_SCALAR_NUMBERS_H

#include "python/scalar.h"

/* Reserve this many nodes before the graph is touched. May run the garbage collector, so call it
 * before reading anything. 0, or -1 with an exception set. */
int scalar_make_room_slowly(size_t count);
static inline int scalar_make_room(size_t count) {
    if (PG_LIKELY(pg_capacity_left(scalar_global.graph) >= count)) return 0;
    return scalar_make_room_slowly(count);
}
/* Raise the exception for a status, without frames of pygradc in its traceback. Always NULL. */
PyObject *scalar_raise(pg_status status);
/* Read a Value or a number. 1; 0 if it is neither; -1 with an exception set. is_int may be NULL. */
int scalar_operand(PyObject *object, pg_operand *operand_ret, int *is_int);
/* Is this a comparison made by a trace? In arithmetic it counts as a number, which it caches as a
 * Value. */
static inline int scalar_is_condition(PyObject *object) {
    return Py_TYPE(object) == scalar_global.compared;
}
/* Read a number of Python or numpy; returns as scalar_operand. */
int scalar_as_number(PyObject *object, double *number_ret, int *is_int);
/* As scalar_operand, but anything else is a TypeError that names `what`. 0 or -1. */
int scalar_require_operand(PyObject *object, pg_operand *operand_ret, const char *what);
int scalar_require_number(PyObject *object, double *number_ret, const char *what);
/* Clear the traceback of the exception that one of our Python functions raised: it then appears to
 * be raised by the caller. */
void scalar_hide_frames(void);

/* ---- Sequences of Values ---- */

/* The ids of a sequence of Values, to be freed with PyMem_Free. NULL with an exception set. */
pg_node_id *scalar_gather_ids(PyObject *values, size_t *count_ret);
/* Likewise; TraceError where a Value has no number for `what` to read, or must not be written. */
pg_node_id *scalar_gather_to_read(PyObject *values, size_t *count_ret, const char *what);
pg_node_id *scalar_gather_to_write(PyObject *values, size_t *count_ret, const char *what);
/* A contiguous buffer of count float64; release the view after use. NULL with an exception set. */
double *scalar_doubles_of(PyObject *array, Py_buffer *view, size_t count, int writable);

#endif
