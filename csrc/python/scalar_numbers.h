/* scalar_numbers.h - operands and numbers, reserving nodes, statuses as exceptions. */
#ifndef PG_SCALAR_NUMBERS_H
#define PG_SCALAR_NUMBERS_H

#include "python/scalar.h"

/* Reserve this many nodes before the graph is touched. May run the garbage collector, so call it
 * before reading anything. 0, or -1 with an exception set. */
int scalar_reserve_slowly(size_t count);
static inline int scalar_reserve(size_t count) {
    if (PG_LIKELY(pg_capacity_left(scalar_global.graph) >= count)) return 0;
    return scalar_reserve_slowly(count);
}
/* Raise the exception for a status, without frames of pygradc in its traceback. Always NULL. */
PyObject *scalar_raise(pg_status status);
/* Likewise, but always -1. */
int scalar_fail(pg_status status);
/* None, or NULL with the exception for a status set. */
PyObject *scalar_none(pg_status status);
/* As PyErr_Format, but always -1. */
int scalar_error(PyObject *exception, const char *format, ...);
/* Drop the result of one of our Python functions. 0; -1 if it is NULL: the function raised, and the
 * exception now appears to be raised by the caller. */
int scalar_drop_result(PyObject *result);
/* Read a Value or a number. 1; 0 if it is neither; -1 with an exception set. is_int may be NULL. */
int scalar_operand(PyObject *object, pg_operand *operand_ret, int *is_int);
/* Read a number of Python or numpy; returns as scalar_operand. */
int scalar_as_number(PyObject *object, double *number_ret, int *is_int);
/* As scalar_operand, but anything else is a TypeError that names `what`. 0 or -1. */
int scalar_require_operand(PyObject *object, pg_operand *operand_ret, const char *what);
int scalar_require_number(PyObject *object, double *number_ret, const char *what);
/* Clear the traceback of the exception that one of our Python functions raised: it then appears to
 * be raised by the caller. */
void scalar_hide_frames(void);

/* ---- Sequences ---- */

/* Fill a place of a new tuple with this item, whose reference it takes over; if that is NULL, drop
 * the tuple. */
static inline void scalar_put(PyObject **tuple, size_t place, PyObject *item) {
    if (item != NULL) PyTuple_SET_ITEM(*tuple, (Py_ssize_t)place, item);
    else Py_CLEAR(*tuple);
}
/* Write the ids of these objects, which the caller holds. 0; -1 with TypeError set if one is not a
 * Value. */
int scalar_read_ids(pg_node_id *ids_ret, PyObject *const *objects, Py_ssize_t count);
/* The ids of a sequence of Values, to be freed with PyMem_Free. NULL with an exception set. */
pg_node_id *scalar_gather_ids(PyObject *values, size_t *count_ret);
/* Likewise; each Value must pass a check for `what`: scalar_check_traced or _write. */
typedef int scalar_access(PyObject *self, const char *what);
pg_node_id *scalar_gather_checked(PyObject *values, size_t *count_ret, scalar_access *check,
                                  const char *what);
/* A contiguous buffer of count float64; release the view after use. NULL with an exception set. */
double *scalar_doubles_of(PyObject *array, Py_buffer *view, size_t count, int writable);

#endif
