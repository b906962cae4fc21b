/* arrays_loops.h - the loops of arrays.c, without branches, so that a compiler vectorises them.
 * A template: NAME(x) is defined; FOURS: a vector register holds four numbers. */

static bool NAME(all_finite)(const double *numbers, size_t count) {
    uint64_t odd = 0;
    for (size_t i = 0; i < count; i++) odd |= pg_unless_finite(numbers[i]);
    return odd == 0;
}

static void NAME(scale)(double *restrict to, const double *from, double by, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = by * from[i];
}

#if FOURS
static void NAME(transpose_rows)(double *to, size_t stride, const double *const *rows,
                                 size_t count) {
    for (size_t k = 0; k + 4 <= count; k += 4, to += 4 * stride) {
        pg_four x[4];
        x[0] = *(const pg_four_anywhere *)(rows[0] + k);
        x[1] = *(const pg_four_anywhere *)(rows[1] + k);
        x[2] = *(const pg_four_anywhere *)(rows[2] + k);
        x[3] = *(const pg_four_anywhere *)(rows[3] + k);
        pg_transpose(x);
        *(pg_four_anywhere *)to = x[0];
        *(pg_four_anywhere *)(to + stride) = x[1];
        *(pg_four_anywhere *)(to + 2 * stride) = x[2];
        *(pg_four_anywhere *)(to + 3 * stride) = x[3];
    }
}
#else
static void NAME(transpose_rows)(double *to, size_t stride, const double *const *rows,
                                 size_t count) {
    for (size_t k = 0; k < count / 4 * 4; k++, to += stride)
        for (size_t i = 0; i < 4; i++) to[i] = rows[i][k];
}
#endif
