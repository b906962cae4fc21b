/* agreement.h - powers.h beside libm's pow, bit by bit, over many points of one exponent. */
#ifndef AGREEMENT_H
#define AGREEMENT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct agreement {
    uint64_t points, asked; /* asked: pow decided */
    uint64_t differ;        /* results that aren't pow's: must be none */
    uint64_t misrounded;    /* by pow, in the range where powers.h needn't ask */
    double farthest;        /* of those, from a tie, in ulp: the proof counts on less than 1/64 */
    double example;         /* a point that differs */
} agreement;

/* Is there a fused multiply-add here, and a pow whose error is known? */
bool powers_are_used(void);
/* pg_halves_of, which is compiled for such machines only. */
int halves_of(double exponent);
/* Compare at this many points: all kinds of doubles, those whose power is in range, those whose
 * power is next to a tie, to a power of two, to the ends of the range. The same points for the same
 * seed. */
agreement compare_powers(double exponent, uint64_t points, uint64_t seed);

#endif
