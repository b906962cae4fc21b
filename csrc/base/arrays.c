/* arrays.c - see arrays.h; the loops are in arrays_loops.h, compiled once for each vector size.
 * All give the same bits. */
#include "base/arrays.h"

#include "base/finite.h"
#include "base/portability.h"
#include "base/transpose.h"

#include <math.h>

#define NAME(x) x##_base
#define FOURS 0
#include "base/arrays_loops.h"
#undef FOURS
#undef NAME

#if PG_X86_LEVELS
PG_BEGIN_AVX2
#define NAME(x) x##_avx2
#define FOURS PG_HAS_SHUFFLE
#include "base/arrays_loops.h"
#undef FOURS
#undef NAME
PG_END_TARGET
#else
#define all_finite_avx2 all_finite_base
#define scale_avx2 scale_base
#define transpose_rows_avx2 transpose_rows_base
#endif

bool pg_all_finite(const double *numbers, size_t count) {
    return PG_HAS_AVX2() ? all_finite_avx2(numbers, count) : all_finite_base(numbers, count);
}

bool pg_has_nan(const double *numbers, size_t count) {
    if (PG_LIKELY(pg_all_finite(numbers, count))) return false;
    for (size_t i = 0; i < count; i++)
        if (isnan(numbers[i])) return true;
    return false;
}

void pg_scale(double *to, const double *from, double by, size_t count) {
    if (PG_HAS_AVX2()) scale_avx2(to, from, by, count);
    else scale_base(to, from, by, count);
}

void pg_transpose_rows(double *to, size_t stride, const double *const *rows, size_t count) {
    if (PG_HAS_AVX2()) transpose_rows_avx2(to, stride, rows, count);
    else transpose_rows_base(to, stride, rows, count);
}
