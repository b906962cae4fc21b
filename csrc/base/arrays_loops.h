/* arrays_loops.h - the loops of arrays.c, without branches, so that a compiler vectorises them.
 * A template: NAME(x) is defined. */

static bool NAME(all_finite)(const double *numbers, size_t count) {
    uint64_t odd = 0;
    for (size_t i = 0; i < count; i++) odd |= pg_unless_finite(numbers[i]);
    return odd == 0;
}

static void NAME(scale)(double *restrict to, const double *from, double by, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = by * from[i];
}
