/* finite.h - is each of many numbers finite? Without branches, so that a loop is vectorised. */
#ifndef PG_FINITE_H
#define PG_FINITE_H

#include <stdint.h>
#include <string.h>

/* Nonzero if x isn't finite: inf - inf and nan - nan are nan. Unlike the result of a comparison,
 * bits can be or-ed together lane by lane. */
static inline uint64_t pg_unless_finite(double x) {
    const double difference = x - x;
    uint64_t bits;
    memcpy(&bits, &difference, sizeof bits);
    return bits;
}

#endif
