/* arrays.h - loops over arrays of doubles, with the vectors that the machine has. */
#ifndef PG_ARRAYS_H
#define PG_ARRAYS_H

#include <stdbool.h>
#include <stddef.h>

bool pg_all_finite(const double *numbers, size_t count);
bool pg_has_nan(const double *numbers, size_t count);

/* to = by * from; they don't overlap. */
void pg_scale(double *to, const double *from, double by, size_t count);

/* Four rows of count numbers, of which the last count % 4 are left out, to columns of four,
 * `stride` apart; they don't overlap. */
void pg_transpose_rows(double *to, size_t stride, const double *const *rows, size_t count);

#endif
