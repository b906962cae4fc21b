/* lanes_levels.h - the kernels of one vector level: 1, 8 and 32 lanes, libm's functions and our
 * own. Included once by each of lanes_base.c, lanes_avx2.c and lanes_avx512.c, which define
 * PG_LANE_TABLE and PG_VECTOR_BYTES. */
#include "ops/kernels.h"
#include "replay/lanes.h"

#include <float.h>

#if PG_HAS_VECTORS
typedef double pg_vec PG_VECTOR(PG_VECTOR_BYTES);
typedef int64_t pg_mask PG_VECTOR(PG_VECTOR_BYTES);
#define PG_VEC (PG_VECTOR_BYTES / 8)
#define PG_MASKED(lanes, mask) ((pg_vec)((pg_mask)(lanes) & (mask)))
#else
typedef double pg_vec;
typedef int64_t pg_mask;
#define PG_VEC 1
#define PG_MASKED(lanes, mask) ((mask) != 0 ? (lanes) : 0.0)
#endif

#define PG_JOIN_(a, b, c) a##_##b##_##c
#define PG_JOIN(a, b, c) PG_JOIN_(a, b, c)

#define NAME(x) PG_JOIN(x, LANES, exact)
#include "replay/lanes_widths.h"
#undef NAME

#include "ops/fastmath.h"
#define exp pg_fast_exp
#define log pg_fast_log
#define tanh pg_fast_tanh
#define erf pg_fast_erf
#define expm1 pg_fast_expm1
#define log1p pg_fast_log1p
#define atan pg_fast_atan
#define sigmoid pg_fast_sigmoid
#define saturated(y) false /* the exp in the slopes would take a quarter of a step */
#define NAME(x) PG_JOIN(x, LANES, fast)
#include "replay/lanes_widths.h"
#undef NAME
#undef exp
#undef log
#undef tanh
#undef erf
#undef expm1
#undef log1p
#undef atan
#undef sigmoid
#undef saturated

#define PG_LANES(lanes, math)                                                                      \
    {forward_##lanes##_##math, backward_##lanes##_##math, careful_##lanes##_##math,                \
     fold_##lanes##_##math}

pg_lane_table PG_LANE_TABLE = {
    {PG_LANES(1, exact), PG_LANES(8, exact), PG_LANES(32, exact)},
    {PG_LANES(1, fast), PG_LANES(8, fast), PG_LANES(32, fast)},
};
