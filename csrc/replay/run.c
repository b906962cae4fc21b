/* run.c - a block's code or steps, run as machine code where there is any, else by the kernels.
 *
 * Machine code calls the kernels for what it has no form for (interpret), and checks that results
 * are finite. Where one isn't, forward runs are done again by the kernels, which judge; a backward
 * run can't be, since sums were added to: it reports a fault, and the replay redoes the chunk
 * carefully, as after any fault. A workspace in which that happens twice keeps to the kernels.
 * Owns nothing. Cost: a frame of 80 bytes a run. */
#include "replay/replay.h"

#include <string.h>

enum { most_odd_runs = 2 };

/* What the kernels go on with in the middle of a run: its block, whole again after it. */
typedef struct context {
    pg_block *block;
    pg_run *kernel;
    const pg_instr *code;
    const pg_step *steps;
} context;

static int interpret_code(pg_frame *frame, uint32_t first, uint32_t count) {
    const context *c = frame->context;
    c->block->code = c->code + first;
    c->block->length = count;
    return (int)c->kernel(c->block);
}

static int interpret_steps(pg_frame *frame, uint32_t first, uint32_t count) {
    const context *c = frame->context;
    c->block->steps = c->steps + first;
    c->block->step_count = count;
    return (int)c->kernel(c->block);
}

/* The arrays of machine code aren't const: it writes to some, and is compiled for the right ones.
 */
static pg_frame frame_of(const pg_block *block, context *c) {
    pg_frame frame = {.context = c};
    frame.bases[PG_VALUES] = block->values;
    frame.bases[PG_GRADS] = block->grads;
    frame.bases[PG_SUMS] = block->accumulators;
    frame.bases[PG_UNIFORM] = (double *)block->uniform;
    return frame;
}

const pg_native *pg_native_for(const pg_workspace *ws, const pg_backward_plan *plan, int part) {
    const bool wanted = ws->native && ws->odd_runs < most_odd_runs;
    return wanted ? pg_native_of(ws->program, plan, part, ws->at_once) : NULL;
}

pg_status pg_run_native(pg_workspace *ws, const pg_native *native, pg_frame *frame) {
    const pg_status status = (pg_status)pg_native_run(native, frame);
    if (status != PG_OK || !pg_native_is_odd(frame)) return status;
    ws->odd_runs++;
    return PG_ERR_DOMAIN; /* perhaps */
}

pg_status pg_run_code(pg_workspace *ws, pg_block *block, int part) {
    const int width = part == PG_NATIVE_UNIFORM ? PG_ONE : part;
    pg_run *const kernel = ws->lanes[width].forward;
    const pg_native *native = pg_native_for(ws, NULL, part);
    if (native == NULL) return kernel(block);
    const pg_block whole = *block;
    context c = {block, kernel, block->code, NULL};
    pg_frame frame = frame_of(block, &c);
    frame.interpret = interpret_code;
    const int odd_before = ws->odd_runs;
    const pg_status status = pg_run_native(ws, native, &frame);
    block->code = whole.code;
    block->length = whole.length;
    return ws->odd_runs == odd_before ? status : kernel(block);
}

pg_status pg_run_steps(pg_workspace *ws, pg_block *block, int width) {
    pg_run *const kernel = ws->lanes[width].backward;
    const pg_native *native = pg_native_for(ws, block->plan, width);
    if (native == NULL) return kernel(block);
    context c = {block, kernel, NULL, block->steps};
    pg_frame frame = frame_of(block, &c);
    frame.interpret = interpret_steps;
    const pg_status status = pg_run_native(ws, native, &frame);
    return block->judge ? status : PG_OK;
}

/* ---- Uniform steps --------------------------------------------------------------------------- */

static void collect(const pg_block *block, const double *sums) {
    if (pg_is_direct(block->program, block->steps)) { /* a sum that started from 0.0 isn't -0.0 */
        memcpy(block->grads + block->steps->a.at, sums + block->steps->b.at,
               block->step_count * sizeof *sums);
        return;
    }
    for (const pg_step *step = block->steps; step < block->steps + block->step_count; step++) {
        double *grad = &block->grads[step->a.at];
        *grad = (step->a.how == PG_ACCUMULATE_STORE ? 0.0 : *grad) + sums[step->b.at];
    }
}

/* Run some uniform steps with this kernel; NULL: carefully. */
static pg_status run_some(pg_block *block, pg_run *run, const double *sums, size_t first,
                          size_t count) {
    pg_status status = PG_OK;
    for (size_t i = first; status == PG_OK && i < first + count; i += block->step_count) {
        block->steps = &block->plan->uniform[i];
        block->step_count = block->steps->run;
        if (block->steps->instr == PG_COLLECT) collect(block, sums);
        else status = run != NULL ? run(block) : pg_backward_carefully(block);
    }
    return status;
}

pg_status pg_run_uniform_carefully(pg_block *block, const double *sums) {
    return run_some(block, NULL, sums, 0, block->plan->uniform_count);
}

static int interpret_uniform(pg_frame *frame, uint32_t first, uint32_t count) {
    const context *c = frame->context;
    return (int)run_some(c->block, c->kernel, frame->bases[PG_SUMS], first, count);
}

pg_status pg_run_uniform_steps(pg_workspace *ws, pg_block *block, const double *sums) {
    pg_run *const kernel = ws->lanes[PG_ONE].backward;
    const pg_backward_plan *const plan = block->plan;
    const pg_native *native = pg_native_for(ws, plan, PG_NATIVE_UNIFORM);
    if (native == NULL) return run_some(block, kernel, sums, 0, plan->uniform_count);
    context c = {block, kernel, NULL, NULL};
    pg_frame frame = frame_of(block, &c);
    frame.bases[PG_SUMS] = (double *)sums;
    frame.interpret = interpret_uniform;
    const pg_status status = pg_run_native(ws, native, &frame);
    return block->judge ? status : PG_OK;
}
