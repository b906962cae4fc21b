/* fastnames.h - from here on formulas of the op table mean the functions of fastmath.h;
 * fastnames_end.h ends it. */
#include "ops/fastmath.h"
#define exp pg_fast_exp
#define log pg_fast_log
#define tanh pg_fast_tanh
#define erf pg_fast_erf
#define expm1 pg_fast_expm1
#define log1p pg_fast_log1p
#define atan pg_fast_atan
#define tan pg_fast_tan
#define sigmoid pg_fast_sigmoid
#define saturated(y) false /* the exp in the slopes would take a quarter of a step */
#define out_of_reach(op, a) ((op) == PG_OP_TAN && fabs(a) > PG_TAN_REACH)
#define alternates(op)                                                                             \
    ((op) == PG_OP_TANH || (op) == PG_OP_SIGMOID ? 16                                              \
     : (op) == PG_OP_EXP || (op) == PG_OP_LOG || (op) == PG_OP_LOG1P || (op) == PG_OP_TAN ||       \
             (op) == PG_OP_ERF                                                                     \
         ? 8                                                                                       \
         : 0)
