/* lanes_widths.h - the kernels for 1, 8 and 32 lanes, named by the includer's NAME(x). */
#define LANES 1
#include "replay/lanes_kernels.h"
#undef LANES
#define LANES 8
#include "replay/lanes_kernels.h"
#undef LANES
#define LANES 32
#include "replay/lanes_kernels.h"
#undef LANES
