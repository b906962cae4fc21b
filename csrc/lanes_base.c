/* lanes_base.c - the lanes' kernels for the vectors that every machine of the kind has. */
#define PG_LANE_TABLE pg_lanes_base
#include "lanes_levels.h"
