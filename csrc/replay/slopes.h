/* slopes.h - derivatives in all lanes, for careful.c: a template, included once for libm's
 * functions and once for our own, with NAME(x) defined. Apart from the lane kernels, which are
 * compiled for every vector size. */

/* ds: the derivative of op by operand 1 or 2. */
static void NAME(slopes)(int op, int which, const pg_judged *at, const double *ys, double *ds,
                         size_t lanes) {
    switch (2 * op + which) {
#define PG_SLOPES(NAME_, number, d_)                                                               \
    case 2 * PG_OP_##NAME_ + (number):                                                             \
        for (size_t l = 0; l < lanes; l++) {                                                       \
            const double a = at->a[l], b = at->b[l], y = ys[l];                                    \
            (void)a, (void)b, (void)y;                                                             \
            ds[l] = (d_);                                                                          \
        }                                                                                          \
        break;
#define PG_UNARY(NAME_, python, symbol, y_, da_, ...) PG_SLOPES(NAME_, 1, da_)
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME_, python, symbol, y_, da_, db_, ...)                                        \
    PG_SLOPES(NAME_, 1, da_)                                                                       \
    PG_SLOPES(NAME_, 2, db_)
#include "ops/ops.def"
#define PG_LANEWISE(NAME_, name, y_, fault, da_, ...) PG_SLOPES(NAME_, 1, da_)
#include "ops/instructions.def"
#undef PG_SLOPES
    default: break;
    }
}
