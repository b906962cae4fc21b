/* lanes_avx512.c - the lane kernels for x86-64 with AVX-512: eight doubles a vector. */
#include "base/portability.h"
#if PG_X86_LEVELS
PG_BEGIN_AVX512
#define PG_LANE_TABLE pg_lanes_avx512
#define PG_VECTOR_BYTES 64
#define PG_FUSED 1
#include "replay/lanes_levels.h"
PG_END_TARGET
#else
typedef int pg_no_avx512_here;
#endif
