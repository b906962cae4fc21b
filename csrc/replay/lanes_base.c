/* lanes_base.c - the lanes' kernels for the vectors that every machine of the kind has. */
#define PG_LANE_TABLE pg_lanes_base
#define PG_VECTOR_BYTES 16
#include "replay/lanes_levels.h"
