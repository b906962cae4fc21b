/* fuzz.c - a check that fails is a crash; numbers that tend to make trouble. */
#include "fuzz.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

bool check(bool ok, const char *expression, const char *file, int line) {
    if (ok) return true;
    fprintf(stderr, "%s:%d: %s\n", file, line, expression);
    abort();
}

/* FNV-1a: Fowler, Noll and Vo. */
uint64_t hash_of(const uint8_t *bytes, size_t count) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

double odd_number(void) {
    static const double odd[] = {0.0,      -0.0,      1.0,     -1.0,     2.0,    0.5,
                                 5e-324,   DBL_MIN,   DBL_MAX, -DBL_MAX, 1e-160, 709.8,
                                 INFINITY, -INFINITY, NAN,     3.0};
    return below(3) == 0 ? odd[below(LENGTH(odd))] : uniform(-2.0, 2.0);
}
