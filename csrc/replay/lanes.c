/* lanes.c - which lane's result is an error? Asked when one isn't finite, or a derivative isn't. */
#include "replay/lanes.h"

#include "ops/kernels.h"

bool pg_judge_lanes(pg_block *block, int op, int derivative, const double *results, const double *a,
                    const double *b, const double *g, pg_status *status_ret) {
    const double exponent = pg_instr_describe(op)->power;
    const int judged = exponent != 0.0 ? PG_OP_POWN : op;
    for (size_t lane = 0; lane < block->active; lane++) {
        if (g != NULL && g[lane] == 0.0) continue;
        const double second = op != judged ? exponent : pg_op_slots[op] == 2 ? b[lane] : 0.0;
        const pg_status status =
            derivative == 0 ? pg_fault_of(judged, results[lane], a[lane], second)
                            : pg_fault_of_derivative(judged, results[lane], a[lane], second);
        if (status == PG_OK) continue;
        block->fault_lane = lane;
        block->fault = (pg_fault){judged, derivative, a[lane], second};
        *status_ret = status;
        return true;
    }
    return false;
}
