/* lanes.c - which lane's result is an error? Asked when one isn't finite, or a derivative isn't. */
#include "replay/lanes.h"

#include "ops/kernels.h"

pg_status pg_judge_lanes(pg_block *block, int op, int derivative, const pg_judged *judged) {
    const double exponent = pg_instr_describe(op)->power;
    const int named = exponent != 0.0 ? PG_OP_POWN : op;
    for (size_t lane = 0; lane < block->active; lane++) {
        if (judged->g != NULL && judged->g[lane] == 0.0) continue;
        const double y = judged->results[lane], a = judged->a[lane];
        const double b = op != named ? exponent : pg_op_slots[op] == 2 ? judged->b[lane] : 0.0;
        const pg_status status =
            derivative == 0 ? pg_fault_of(named, y, a, b) : pg_fault_of_derivative(named, y, a, b);
        if (status == PG_OK) continue;
        block->fault_lane = lane;
        block->fault = (pg_fault){named, derivative, a, b};
        return status;
    }
    return PG_OK;
}
