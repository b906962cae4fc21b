/* lanes_levels.h - the kernels of one vector level: for one lane and for many, with libm's
 * functions and our own. Included once by each of lanes_base.c, lanes_avx2.c and lanes_avx512.c,
 * which define PG_LANE_TABLE, PG_VECTOR_BYTES, and PG_FUSED: 1 with a fused multiply-add. */
#include "base/finite.h"
#include "base/transpose.h"
#include "graph/sgd.h"
#include "ops/kernels.h"
#if PG_FUSED
#include "ops/powers.h"
#endif
#include "replay/lanes.h"

#include <float.h>
#include <string.h>

#if PG_HAS_VECTORS
typedef double pg_vec PG_VECTOR(PG_VECTOR_BYTES);
typedef double pg_vec_anywhere PG_VECTOR_ANYWHERE(PG_VECTOR_BYTES);
#define PG_VEC (PG_VECTOR_BYTES / 8)
#else
typedef double pg_vec, pg_vec_anywhere;
#define PG_VEC 1
#endif

/* Do the slots of each dot of a layer lie side by side? */
static bool all_neighbours(const pg_instr *dots) {
    bool all = true;
    for (uint32_t d = 0; d < dots->run; d++) all = all && dots[d].neighbours;
    return all;
}

/* Of a tile's sides, how many of those that are left are taken abreast, if at best `most` are? Two
 * by two, four take less time than three and one. */
static inline uint32_t next_abreast(uint32_t left, uint32_t most) {
    if (left >= most && (left != 4 || most == 4)) return most;
    return left >= 2 ? 2 : 1;
}

#define TRANSPOSES (PG_HAS_SHUFFLE && PG_VECTOR_BYTES >= 32) /* with transpose.h, else by loops */
#include "replay/lanes_weights.h"
#undef TRANSPOSES

#define LANES 1
#define NAME(x) x##_1
#include "replay/lanes_dots.h"
#undef NAME
#undef LANES
#define LANES 8
#define NAME(x) x##_8
#include "replay/lanes_dots.h"
#undef NAME
#undef LANES
#define LANES 32
#define NAME(x) x##_32
#include "replay/lanes_dots.h"
#undef NAME
#undef LANES

static inline bool all_finite(const double *lanes, size_t count) {
    int odd = 0;
    for (size_t l = 0; l < count; l++) odd |= !(fabs(lanes[l]) <= DBL_MAX);
    return odd == 0;
}

/* What powers.h has done: nothing; all lanes; all lanes, and all are finite. */
typedef enum powers_done { none_done, all_done, all_finite_done } powers_done;

/* Is this ** a number, and one that powers.h computes as pow does? Then ys = as ** (number - less).
 * A run's numbers may differ; all lanes have the same, if it is an import. */
static powers_done raise_all(const pg_block *block, const pg_instr *instr, double less, double *ys,
                             size_t lanes, size_t run) {
#if PG_FUSED
    const pg_program *const p = block->program;
    bool finite = true;
    for (size_t r = 0; r < run; r++, instr++, ys += lanes) {
        const double exponent = block->values[instr->b * lanes] - less;
        const bool import = instr->b - p->input_count < p->import_count;
        const int n = pg_halves_of(exponent);
        if (!block->powers || !import || n == 0) return none_done;
        finite &= pg_powers(ys, block->values + instr->a * lanes, exponent, n, lanes);
    }
    return finite ? all_finite_done : all_done;
#else
    (void)block, (void)instr, (void)less, (void)ys, (void)lanes, (void)run;
    return none_done;
#endif
}

/* The same for the derivative by a, number * as ** (number - 1). */
static powers_done slopes_of_power(const pg_block *block, const pg_instr *instr, double *ds,
                                   size_t lanes) {
    const double number = block->values[instr->b * lanes];
    if (number == 0.0) return none_done;
    const powers_done done = raise_all(block, instr, 1.0, ds, lanes, 1);
    for (size_t l = 0; done != none_done && l < lanes; l++) ds[l] *= number;
    return done;
}

#define LANES 1
#define MOST 1
#define DOTS(x) x##_1
#define NAME(x) x##_one_exact
#include "replay/lanes_ops.h"
#undef NAME
#include "ops/fastnames.h"
#define NAME(x) x##_one_fast
#include "replay/lanes_ops.h"
#undef NAME
#include "ops/fastnames_end.h"
#undef LANES
#undef MOST
#undef DOTS

#define LANES (block->lanes / 8 * 8) /* so that loops over vectors have no remainder */
#define MOST 32
#define DOTS(x) (lanes == 32 ? x##_32 : x##_8)
#define NAME(x) x##_many_exact
#include "replay/lanes_ops.h"
#undef NAME
#include "ops/fastnames.h"
#define NAME(x) x##_many_fast
#include "replay/lanes_ops.h"
#undef NAME
#include "ops/fastnames_end.h"
#undef LANES
#undef MOST
#undef DOTS

pg_lane_table PG_LANE_TABLE = {
    {{forward_one_exact, backward_one_exact, sum_weights},
     {forward_many_exact, backward_many_exact, sum_weights},
     {forward_many_exact, backward_many_exact, sum_weights}},
    {{forward_one_fast, backward_one_fast, sum_weights},
     {forward_many_fast, backward_many_fast, sum_weights},
     {forward_many_fast, backward_many_fast, sum_weights}},
};
