/* lanes_base.c - the lane kernels for the baseline vectors that every machine of an architecture
 * has. */
#include "base/portability.h"
#define PG_LANE_TABLE pg_lanes_base
#define PG_VECTOR_BYTES 16
#define PG_FUSED PG_HAS_FMA
#include "replay/lanes_levels.h"
