/* lanes_kernels.h - a program's instructions, forward and backward, over LANES rows at once.
 *
 * A template: lanes_widths.h includes it once for each number of lanes and kind of functions, with
 * LANES and NAME(x) defined. The arithmetic comes from the op table; each loop is plain C that the
 * compiler vectorises.
 * Each lane does what the sweep does for one row, operation for operation: a first contribution to
 * a gradient is 0.0 + t, since the sweep starts from 0.0 and -0.0 must become 0.0 here too. */

#if LANES == 1
typedef double NAME(vec);
enum { NAME(VECS) = 1 };
#else
typedef pg_vec NAME(vec);
enum { NAME(VECS) = LANES / PG_VEC };
#endif
#define VEC NAME(vec)
#define VECS NAME(VECS)
#define EACH_VEC for (int v = 0; v < VECS; v++)
#define SLOT(array, slot) ((VEC *)((array) + (size_t)(slot) * LANES))

/* Register tile of a layer: AT_ONCE vectors of a slot x ABREAST slots, eight independent sums that
 * fit in registers. */
enum { NAME(at_once) = VECS < 4 ? VECS : 4, NAME(abreast) = 8 / NAME(at_once) };
#define AT_ONCE NAME(at_once)
#define ABREAST NAME(abreast)
#define EACH_AT_ONCE for (int v = 0; v < AT_ONCE; v++)

static inline bool NAME(all_finite)(const double *lanes) {
    int odd = 0;
    for (int l = 0; l < LANES; l++) odd |= !(fabs(lanes[l]) <= DBL_MAX);
    return odd == 0;
}

#include "replay/lanes_forward.h"

#include "replay/lanes_backward.h"

#include "replay/lanes_careful.h"

#undef VEC
#undef VECS
#undef EACH_VEC
#undef SLOT
#undef AT_ONCE
#undef ABREAST
#undef EACH_AT_ONCE
