/* lanes_avx2.c - the lane kernels for x86-64 with AVX2 and FMA: four doubles a vector. */
#include "base/portability.h"
#if PG_X86_LEVELS
PG_BEGIN_AVX2
#define PG_LANE_TABLE pg_lanes_avx2
#define PG_VECTOR_BYTES 32
#define PG_FUSED 1
#include "replay/lanes_levels.h"
PG_END_TARGET
#else
typedef int pg_no_avx2_here;
#endif
