/* scalars.h - a template: a function for each formula of the table, and a table of them. NAME(x) is
 * defined. */

#define PG_SCALAR(NAME_, formula)                                                                  \
    static double NAME(NAME_)(double a, double b, double y) {                                      \
        (void)a, (void)b, (void)y;                                                                 \
        return (formula);                                                                          \
    }
/* What a fast function can't reduce is libm's, as in the kernels. */
#define PG_SCALAR_VALUE(NAME_, formula)                                                            \
    static double NAME(NAME_##_value)(double a, double b, double y) {                              \
        (void)b, (void)y;                                                                          \
        return out_of_reach(PG_OP_##NAME_, a) ? pg_value_of(PG_OP_##NAME_, a, b) : (formula);      \
    }
#define PG_UNARY(NAME_, python, symbol, y_, da_, ...)                                              \
    PG_SCALAR_VALUE(NAME_, y_)                                                                     \
    PG_SCALAR(NAME_##_by_a, da_)
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME_, python, symbol, y_, da_, db_, ...)                                        \
    PG_SCALAR_VALUE(NAME_, y_)                                                                     \
    PG_SCALAR(NAME_##_by_a, da_)                                                                   \
    PG_SCALAR(NAME_##_by_b, db_)
#include "ops/ops.def"
#undef PG_SCALAR
#undef PG_SCALAR_VALUE

static pg_scalar *const NAME(functions)[PG_OP_PROGRAM][3] = {
#define PG_UNARY(NAME_, ...) [PG_OP_##NAME_] = {NAME(NAME_##_value), NAME(NAME_##_by_a)},
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME_, ...)                                                                      \
    [PG_OP_##NAME_] = {NAME(NAME_##_value), NAME(NAME_##_by_a), NAME(NAME_##_by_b)},
#include "ops/ops.def"
};
