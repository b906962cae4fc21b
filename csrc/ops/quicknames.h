/* quicknames.h - after fastnames.h: where quickmath.h has the function, formulas mean that. */
#include "ops/quickmath.h"
#undef exp
#undef log
#undef tan
#define exp pg_quick_exp
#define log pg_quick_log
#define tan pg_quick_tan
