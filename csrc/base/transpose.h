/* transpose.h - four vectors of four doubles: rows to columns, or back, in registers.
 * Only where a vector register holds four: of shorter ones, compilers go through memory. */
#ifndef PG_TRANSPOSE_H
#define PG_TRANSPOSE_H

#include "base/portability.h"

#if PG_HAS_SHUFFLE
typedef double pg_four PG_VECTOR(32);
typedef double pg_four_anywhere PG_VECTOR_ANYWHERE(32);

static inline PG_ALWAYS_INLINE void pg_transpose(pg_four *x) {
    const pg_four ab = PG_SHUFFLE(x[0], x[1], 0, 4, 2, 6), cd = PG_SHUFFLE(x[2], x[3], 0, 4, 2, 6);
    const pg_four ab_next = PG_SHUFFLE(x[0], x[1], 1, 5, 3, 7);
    const pg_four cd_next = PG_SHUFFLE(x[2], x[3], 1, 5, 3, 7);
    x[0] = PG_SHUFFLE(ab, cd, 0, 1, 4, 5);
    x[1] = PG_SHUFFLE(ab_next, cd_next, 0, 1, 4, 5);
    x[2] = PG_SHUFFLE(ab, cd, 2, 3, 6, 7);
    x[3] = PG_SHUFFLE(ab_next, cd_next, 2, 3, 6, 7);
}
#endif

#endif
