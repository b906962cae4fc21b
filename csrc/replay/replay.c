/* replay.c - program to values and gradients: rows in blocks, blocks in chunks, chunks in a tree.
 *
 * A block is 32 rows, or 8 where the program is so large that 32 would not fit the cache, or where
 * fewer are left; a last single row is a block of its own. Padding lanes, those without a row,
 * repeat the block's last row, so that they leave no op's domain that it doesn't; they raise no
 * error, and their gradients are 0, as their seeds are.
 * Invariant: a sum does not depend on the thread or the vectors that form it. A chunk is 1,024
 * rows, the last one what is left. It is summed block by block; in a block, to an accumulator, use
 * by use of its parameter, in the order of backward(); and a use row by row. Chunks are added in a
 * tree that halves their number from the top (pg_chunk_middle): it depends on the number of rows
 * only. Where an op failed, the block is computed to its end and examined (liveness.c): a row fails
 * only if its results depend on that op. Where a gradient came out as nan, or a derivative failed,
 * the chunk is redone by pg_backward_carefully (careful.c): a product with 0 may have been
 * undefined. Neither costs anything as long as nothing fails.
 * Memory: slots x lanes, twice, whatever the number of rows. A workspace owns it and belongs to one
 * thread; the program is only read.
 * Cost: see bench/RESULTS.md; dispatch is paid once a block.
 * Griewank and Walther, Evaluating Derivatives, 2nd ed., ch. 4 (programs and their adjoints). */
#include "replay/replay.h"

#include "base/arrays.h"
#include "ops/kernels.h"

#include <math.h>
#include <string.h>

static const size_t fits_the_cache = 8192; /* row slots: 4 MiB for values and gradients */
static const size_t chunk_rows = 1024;
static const size_t poll_after = 1 << 20; /* values computed: about a millisecond */

pg_status pg_reserve_numbers(pg_numbers *array, size_t count) {
    enum { alignment = 64 };
    if (array->capacity >= count && array->block != NULL) return PG_OK;
    char *block = pg_realloc(NULL, count * sizeof(double) + alignment, 1);
    if (block == NULL) return PG_ERR_NOMEM;
    pg_free(array->block);
    *array = (pg_numbers){NULL, block, count};
    array->at = (double *)(block + (alignment - (uintptr_t)block % alignment) % alignment);
    return PG_OK;
}

static int vector_levels(void) { return 1 + PG_HAS_AVX2() + (PG_HAS_AVX2() && PG_HAS_AVX512()); }

const char *pg_compiler(void) { return PG_COMPILER; }

int pg_replay_levels(void) { return vector_levels() + pg_has_native(); }

static const pg_lanes *lanes_for(int level, int fast) {
#if PG_X86_LEVELS
    if (level == 1) return pg_lanes_avx2[fast];
    if (level == 2) return pg_lanes_avx512[fast];
#endif
    (void)level;
    return pg_lanes_base[fast];
}

/* The highest level for -1, and for one that this machine doesn't have. */
static int known_level(int level) {
    const int highest = pg_replay_levels() - 1;
    return level < 0 || level > highest ? highest : level;
}

int pg_program_is_native(const pg_program *program, int level) {
    return known_level(level) >= vector_levels() &&
           pg_native_of(program, NULL, PG_NATIVE_UNIFORM, true) != NULL &&
           pg_native_of(program, NULL, PG_ONE, true) != NULL;
}

size_t pg_program_machine_code(const pg_program *program, uint8_t *bytes_ret) {
    const pg_native *const native =
        pg_has_native() ? pg_native_of(program, NULL, PG_ONE, true) : NULL;
    const void *bytes;
    if (native == NULL) return 0;
    const size_t count = pg_native_bytes(native, &bytes);
    if (bytes_ret != NULL) memcpy(bytes_ret, bytes, count);
    return count;
}

pg_status pg_workspace_new(pg_workspace **workspace_ret, const pg_program *program, int level) {
    pg_workspace *ws = pg_realloc(NULL, 1, sizeof *ws);
    if (ws == NULL) return PG_ERR_NOMEM;
    const int vectors = vector_levels();
    const bool at_once = level >= 0;
    level = known_level(level);
    *ws = (pg_workspace){
        .program = program, .width = -1, .native = level >= vectors, .at_once = at_once};
    ws->powers = pg_pow_is_known();
    ws->lanes = lanes_for(level < vectors ? level : vectors - 1, program->fast != 0);
    ws->widest = program->row_slots <= fits_the_cache ? PG_THIRTY_TWO : PG_EIGHT;
    const size_t cells = program->row_slots * pg_lanes_of[ws->widest];
    if (pg_reserve_numbers(&ws->uniform, program->uniform_slots) == PG_OK &&
        pg_reserve_numbers(&ws->uniform_grads, program->uniform_slots) == PG_OK &&
        pg_reserve_numbers(&ws->values, cells) == PG_OK &&
        pg_reserve_numbers(&ws->grads, cells) == PG_OK) {
        *workspace_ret = ws;
        return PG_OK;
    }
    pg_workspace_free(ws);
    return PG_ERR_NOMEM;
}

void pg_workspace_free(pg_workspace *ws) {
    if (ws == NULL) return;
    pg_free(ws->uniform.block);
    pg_free(ws->uniform_grads.block);
    pg_free(ws->needs.block);
    pg_free(ws->reached.block);
    pg_free(ws->values.block);
    pg_free(ws->grads.block);
    pg_free(ws->partials.block);
    pg_free(ws->sums.block);
    pg_free(ws);
}

pg_replay_fault pg_workspace_fault(const pg_workspace *ws) { return ws->fault; }

void pg_workspace_poll(pg_workspace *ws, int (*poll)(void *), void *context) {
    ws->poll = poll;
    ws->context = context;
}

bool pg_must_stop(pg_workspace *ws, size_t work) {
    ws->work += work;
    if (ws->work < poll_after) return false;
    ws->work = 0;
    return ws->poll != NULL && ws->poll(ws->context) != 0;
}

/* ---- The uniform section --------------------------------------------------------------------- */

static pg_block uniform_block(pg_workspace *ws, bool judge) {
    return (pg_block){.program = ws->program,
                      .code = ws->program->code,
                      .length = ws->program->uniform_length,
                      .uniform = ws->uniform.at,
                      .values = ws->uniform.at,
                      .grads = ws->uniform_grads.at,
                      .lanes = 1,
                      .active = 1,
                      .judge = judge};
}

/* A failure here is a fault only if a row depends on it. */
pg_status pg_replay_begin(pg_workspace *ws, const double *params, int ignore) {
    const pg_program *program = ws->program;
    if (program->constant_count > 0)
        memcpy(ws->uniform.at, program->constants,
               program->constant_count * sizeof *ws->uniform.at);
    double *const own = ws->uniform.at + program->constant_count;
    if (program->param_count > 0 && params != own) /* fit.c has them there */
        memcpy(own, params, program->param_count * sizeof *params);
    ws->width = -1;
    ws->failed = ws->careful = false;
    if (pg_must_stop(ws, program->uniform_slots + program->pair_count)) return PG_ERR_STOPPED;
    pg_block block = uniform_block(ws, !ignore);
    if (pg_run_code(ws, &block, PG_NATIVE_UNIFORM) != PG_OK) {
        ws->failed = true;
        block.judge = false;
        pg_run_code(ws, &block, PG_NATIVE_UNIFORM);
    }
    pg_begin_chunk(ws);
    return PG_OK;
}

/* Mark the uniform slots that receive a nonzero gradient from this row alone. */
static pg_status reach_from_row(pg_workspace *ws, const pg_task *task, pg_block *uniform,
                                uint8_t *reached, size_t row) {
    const size_t count = uniform->plan->accumulators;
    pg_block block;
    pg_status status = pg_forward_block(ws, task, &block, pg_rows_from(row, 1, PG_ONE));
    if (status != PG_OK) return status;
    block.accumulators = ws->sums.at;
    memset(block.accumulators, 0, count * sizeof *block.accumulators);
    status = pg_backward_block(ws, &block, uniform->plan, PG_ONE);
    if (status == PG_OK) status = pg_run_uniform_carefully(uniform, block.accumulators);
    for (size_t i = 0; status == PG_OK && i < ws->program->uniform_slots; i++)
        reached[i] |= uniform->grads[i] != 0.0;
    return status;
}

/* Mark the uniform slots that receive a nonzero gradient from any row, even if those of the rows
 * sum to 0. Without the rows' data: all of them. */
static pg_status find_reached(pg_workspace *ws, const pg_task *task, const pg_backward_plan *plan,
                              uint8_t *reached) {
    const pg_program *program = ws->program;
    const bool unknown = task->arguments == NULL && program->input_count > 0;
    memset(reached, unknown, program->uniform_slots);
    pg_block uniform = uniform_block(ws, false);
    uniform.plan = plan;
    pg_status status = pg_reserve_numbers(&ws->sums, plan->accumulators);
    for (size_t row = 0; !unknown && status == PG_OK && row < task->rows; row++) {
        status = reach_from_row(ws, task, &uniform, reached, row);
        if (pg_must_stop(ws, program->row_slots + program->uniform_slots)) return PG_ERR_STOPPED;
    }
    return status;
}

/* Store the parameters' gradients, from these sums. Returns: is any of them nan? */
static bool store_params(const pg_program *program, const pg_backward_plan *plan,
                         const double *grads, double *gradients, double scale) {
    const uint8_t *const reached = plan->uniform_reached + program->constant_count;
    for (size_t i = 0; i < program->param_count; i++)
        gradients[i] = reached[i] ? scale * grads[i] : 0.0;
    return pg_has_nan(gradients, program->param_count);
}

bool pg_sums_are_gradients(const pg_program *program, const pg_backward_plan *plan) {
    return plan->uniform_count > 0 && plan->uniform_count == program->param_count &&
           plan->uniform->run == plan->uniform_count && pg_is_direct(program, plan->uniform);
}

/* Redo the uniform steps, with 0 for undefined products with a gradient of 0; except where that 0
 * is a sum of rows that cancel, each of which would have formed the product. */
static pg_status backward_uniform_carefully(pg_workspace *ws, const pg_task *task, pg_block *block,
                                            const double *sums) {
    ws->careful = true;
    block->spared = false;
    pg_status status = pg_run_uniform_carefully(block, sums);
    if (!block->spared) return status;
    if (pg_reserve_numbers(&ws->reached, ws->program->uniform_slots / sizeof(double) + 1) != PG_OK)
        return PG_ERR_NOMEM;
    uint8_t *const reached = (uint8_t *)ws->reached.at;
    status = find_reached(ws, task, block->plan, reached);
    if (status != PG_OK) return status;
    block->reached = reached;
    return pg_run_uniform_carefully(block, sums);
}

pg_status pg_backward_uniform(pg_workspace *ws, const pg_task *task, const pg_backward_plan *plan,
                              const double *sums, double *gradients) {
    const pg_program *const program = ws->program;
    const double *const grads = ws->uniform_grads.at + program->constant_count;
    if (pg_sums_are_gradients(program, plan)) { /* no product can be undefined */
        pg_scale(gradients, sums, task->scale, program->param_count);
        return PG_OK;
    }
    pg_block block = uniform_block(ws, !task->ignore);
    block.plan = plan;
    pg_status status = pg_run_uniform_steps(ws, &block, sums);
    if (status == PG_OK && !store_params(program, plan, grads, gradients, task->scale))
        return PG_OK;
    status = backward_uniform_carefully(ws, task, &block, sums);
    if (status == PG_OK) store_params(program, plan, grads, gradients, task->scale);
    if (pg_is_fault(status)) ws->fault = (pg_replay_fault){-1, block.fault};
    return status;
}

/* ---- Blocks of rows -------------------------------------------------------------------------- */

/* The first row of the task's arrays. */
static size_t first_row(const pg_task *task) {
    return pg_chunk_start(task->rows, task->base_chunk);
}

/* A row of an argument: its first number. */
static const double *row_of(const pg_argument *argument, const int64_t *index, size_t row) {
    const size_t place = index != NULL ? (size_t)index[row] : row;
    return argument->data + place * argument->stride;
}

/* Load an argument of the rows, four rows at a time as long as there are so many, and ask for the
 * rows of the next block, which aren't neighbours if there is an index. Returns: the number of
 * columns it has loaded, of all those rows. */
static size_t load_fours(double *values, const pg_argument *argument, const int64_t *index,
                         pg_rows rows, size_t row_count) {
    const size_t lanes = pg_lanes_of[rows.width], columns = argument->count / 4 * 4;
    for (size_t l = 0; columns > 0 && l + 4 <= rows.active; l += 4) {
        const double *from[4];
        for (size_t i = 0; i < 4; i++) {
            const size_t row = rows.first + l + i, next = row + lanes;
            from[i] = row_of(argument, index, row);
            const double *const soon = row_of(argument, index, next < row_count ? next : row);
            for (size_t k = 0; k < columns; k += 8) PG_PREFETCH(soon + k);
        }
        pg_transpose_rows(values + l, lanes, from, columns);
    }
    return columns;
}

/* Load a column: the lanes from the l-th on. */
static void load_column(double *lanes, const pg_argument *argument, const int64_t *index,
                        pg_rows rows, size_t k, size_t l) {
    if (index == NULL && argument->stride == 1) {
        memcpy(lanes + l, argument->data + rows.first + l, (rows.active - l) * sizeof *lanes);
        return;
    }
    const size_t stride = argument->stride;
    const double *data = argument->data + k;
    if (index == NULL) data += (rows.first + l) * stride;
    else index += rows.first;
    for (; index != NULL && l < rows.active; l++) lanes[l] = data[(size_t)index[l] * stride];
    for (; l < rows.active; l++, data += stride) lanes[l] = *data;
}

/* Load the rows into the input slots; padding lanes repeat the last row. */
static void load_inputs(double *values, const pg_task *task, pg_rows rows) {
    const size_t lanes = pg_lanes_of[rows.width];
    const size_t count = pg_chunk_start(task->rows, task->last_chunk) - first_row(task);
    for (size_t i = 0; i < task->argument_count; i++) {
        const pg_argument *const argument = &task->arguments[i];
        const size_t loaded = load_fours(values, argument, task->index, rows, count);
        for (size_t k = 0; k < argument->count; k++, values += lanes) {
            load_column(values, argument, task->index, rows, k,
                        k < loaded ? rows.active / 4 * 4 : 0);
            for (size_t l = rows.active; l < lanes; l++) values[l] = values[rows.active - 1];
        }
    }
}

/* Broadcast the imports, uniform slots, to all lanes; once for each change of width. */
static void broadcast_imports(pg_workspace *ws, int width) {
    if (ws->width == width) return;
    const pg_program *program = ws->program;
    const size_t lanes = pg_lanes_of[width];
    double *values = ws->values.at + program->input_count * lanes;
    for (size_t i = 0; i < program->import_count; i++, values += lanes)
        for (size_t l = 0; l < lanes; l++) values[l] = ws->uniform.at[program->imports[i]];
    ws->width = width;
}

static void store_outputs(const pg_block *block, double *outputs, size_t lanes) {
    const pg_program *program = block->program;
    for (size_t o = 0; o < program->output_count; o++)
        for (size_t l = 0; l < block->active; l++)
            outputs[l * program->output_count + o] = block->values[program->outputs[o] * lanes + l];
}

/* Store gradients with respect to the inputs: row after row, outputs x inputs each. */
static void store_gradients(pg_workspace *ws, const pg_block *block, double *gradients,
                            size_t lanes) {
    const size_t inputs = block->program->input_count;
    const size_t stride = block->program->output_count * inputs;
    for (size_t k = 0; k < inputs; k++) {
        static const double none[32];
        const double *const grads = block->plan->input_reached[k] ? block->grads + k * lanes : none;
        if (pg_has_nan(grads, block->active)) ws->undefined = true;
        for (size_t l = 0; l < block->active; l++) gradients[l * stride + k] = grads[l];
    }
}

pg_status pg_backward_block(pg_workspace *ws, pg_block *block, const pg_backward_plan *plan,
                            int width) {
    const size_t lanes = pg_lanes_of[width];
    block->plan = plan;
    block->steps = plan->rows;
    block->step_count = plan->row_count;
    double *seed = block->grads + (size_t)plan->output * lanes;
    for (size_t l = 0; l < lanes; l++) seed[l] = l < block->active ? 1.0 : 0.0;
    return ws->careful ? pg_backward_carefully(block) : pg_run_steps(ws, block, width);
}

void pg_note_fault(pg_workspace *ws, const pg_task *task, const pg_block *block, size_t first) {
    const size_t place = first + block->fault_lane;
    const int64_t row =
        task->index != NULL ? task->index[place] : (int64_t)(first_row(task) + place);
    ws->fault = (pg_replay_fault){block->fault_of_all ? -1 : row, block->fault};
}

void pg_load_block(pg_workspace *ws, const pg_task *task, pg_block *block_ret, pg_rows rows) {
    const pg_program *program = ws->program;
    const size_t active = rows.active, lanes = pg_lanes_of[rows.width];
    *block_ret = (pg_block){.program = program,
                            .code = program->code + program->uniform_length,
                            .length = program->length - program->uniform_length,
                            .uniform = ws->uniform.at,
                            .values = ws->values.at,
                            .grads = ws->grads.at,
                            .lanes = lanes,
                            .active = active,
                            .powers = ws->powers,
                            .judge = !task->ignore && !ws->doubtful};
    broadcast_imports(ws, rows.width);
    load_inputs(ws->values.at, task, rows);
}

pg_status pg_forward_block(pg_workspace *ws, const pg_task *task, pg_block *block_ret,
                           pg_rows rows) {
    pg_load_block(ws, task, block_ret, rows);
    if (pg_run_code(ws, block_ret, rows.width) != PG_OK) {
        ws->doubtful = true;
        block_ret->judge = false;
        pg_run_code(ws, block_ret, rows.width);
    }
    block_ret->judge = !task->ignore;
    return PG_UNLIKELY(ws->doubtful) && !task->ignore
               ? pg_find_fault(ws, block_ret, block_ret->lanes)
               : PG_OK;
}

void pg_add_output(const pg_block *block, uint32_t output, double *total) {
    const double *const values = block->values + (size_t)output * block->lanes;
    double sum = *total;
    PG_UNROLL(8) for (size_t l = 0; l < block->active; l++) sum += values[l];
    *total = sum;
}

/* Each output's gradient in turn: sums over the rows, and the gradients of the rows' inputs. */
static pg_status backward_outputs(pg_workspace *ws, const pg_task *task, pg_block *block,
                                  pg_rows rows, double *sums) {
    const pg_program *program = ws->program;
    const size_t lanes = pg_lanes_of[rows.width];
    pg_status status = PG_OK;
    for (size_t o = 0; status == PG_OK && o < program->output_count; o++) {
        if (sums != NULL) {
            pg_add_output(block, program->outputs[o], sums);
            block->accumulators = sums + 1;
            sums += 1 + task->plan[o]->accumulators;
        }
        status = pg_backward_block(ws, block, task->plan[o], rows.width);
        const size_t first_of_output = rows.first * program->output_count + o;
        if (status == PG_OK && task->gradients != NULL)
            store_gradients(ws, block, task->gradients + first_of_output * program->input_count,
                            lanes);
    }
    return status;
}

/* The descent to take in this block: one of many lanes, the last of all. */
static pg_descent *descent_of(const pg_workspace *ws, const pg_task *task, pg_rows rows) {
    const bool last = rows.first + rows.active == task->rows;
    return last && rows.width != PG_ONE && !ws->careful ? ws->descent : NULL;
}

/* `first`: of a chunk whose sums weren't all cleared. */
static pg_status run_block(pg_workspace *ws, const pg_task *task, pg_rows rows, double *sums,
                           bool first) {
    pg_block block;
    pg_status status = pg_forward_block(ws, task, &block, rows);
    block.first = first;
    block.descent = descent_of(ws, task, rows);
    if (block.descent != NULL) block.descent->taken = true;
    if (status == PG_OK && task->outputs != NULL)
        store_outputs(&block, task->outputs + rows.first * ws->program->output_count,
                      pg_lanes_of[rows.width]);
    if (status == PG_OK && task->plan != NULL)
        status = backward_outputs(ws, task, &block, rows, sums);
    if (pg_is_fault(status)) pg_note_fault(ws, task, &block, rows.first);
    return status;
}

pg_rows pg_next_rows(size_t first, size_t left, int widest) {
    if (left == 1) return pg_rows_from(first, left, PG_ONE);
    return pg_rows_from(first, left, left >= pg_lanes_of[widest] ? widest : PG_EIGHT);
}

/* ---- Chunks ---------------------------------------------------------------------------------- */

size_t pg_chunk_count(size_t rows) { return rows / chunk_rows + (rows % chunk_rows != 0); }

size_t pg_chunk_start(size_t rows, size_t chunk) {
    return chunk < pg_chunk_count(rows) ? chunk * chunk_rows : rows;
}

size_t pg_chunk_middle(size_t first, size_t last) { return last - (last - first) / 2; }

size_t pg_partial_count(const pg_program *program, const pg_backward_plan *const *plan) {
    size_t count = program->output_count;
    for (size_t o = 0; o < program->output_count; o++) count += plan[o]->accumulators;
    return count;
}

/* Run all rows of a chunk and add to the sums, if there are any. A block that fails is re-run row
 * by row, to find the first failing row; but only in careful mode: a fault of the fast kernels may
 * be spurious. */
static pg_status run_blocks(pg_workspace *ws, const pg_task *task, size_t chunk, double *sums,
                            bool cleared) {
    const size_t base = first_row(task), work = ws->program->row_slots + ws->program->pair_count;
    const size_t end = pg_chunk_start(task->rows, chunk + 1) - base;
    bool singly = false;
    for (size_t row = pg_chunk_start(task->rows, chunk) - base; row < end;) {
        const pg_rows rows = pg_next_rows(row, singly ? 1 : end - row, ws->widest);
        const pg_status status = run_block(ws, task, rows, sums, sums != NULL && !cleared);
        cleared = true;
        if (pg_is_fault(status) && ws->careful && rows.active > 1) {
            singly = true;
            continue;
        }
        if (status != PG_OK) return status;
        if (pg_must_stop(ws, work * pg_lanes_of[rows.width])) return PG_ERR_STOPPED;
        row += rows.active;
    }
    return PG_OK;
}

/* Clear all sums but those that the kernels for many lanes start from 0. */
static void clear_sums(const pg_workspace *ws, const pg_task *task, double *sums) {
    for (size_t o = 0; o < ws->program->output_count; o++) {
        const pg_backward_plan *const plan = task->plan[o];
        *sums++ = 0.0;
        for (size_t i = 0; i < plan->cleared_count; i++)
            memset(sums + plan->cleared[i].first, 0, plan->cleared[i].count * sizeof *sums);
        sums += plan->accumulators;
    }
}

/* Is a sum nan? After a descent those are finite that gave finite results. */
static bool has_nan(const pg_workspace *ws, const pg_task *task, const double *sums, size_t count) {
    const pg_descent *const descent = ws->descent;
    if (count == 0 || descent == NULL || !descent->taken || descent->odd != 0)
        return pg_shared_has_nan(ws->shared, sums, count);
    const pg_backward_plan *const plan = *task->plan;
    bool any = isnan(sums[0]);
    for (size_t i = 0; i < plan->cleared_count; i++)
        any |= pg_has_nan(sums + 1 + plan->cleared[i].first, plan->cleared[i].count);
    return any;
}

/* Run a chunk and form its sums, from zero: `count` of them, or none. */
static pg_status sum_blocks(pg_workspace *ws, const pg_task *task, size_t chunk, size_t count,
                            double *sums) {
    const size_t rows = pg_chunk_start(task->rows, chunk + 1) - pg_chunk_start(task->rows, chunk);
    const bool all = count > 0 && (ws->careful || rows == 1);
    if (all) memset(sums, 0, count * sizeof *sums);
    else if (count > 0) clear_sums(ws, task, sums);
    pg_begin_chunk(ws);
    if (ws->descent != NULL) ws->descent->taken = false;
    pg_status status = ws->shared != NULL && count > 0 && !all
                           ? pg_share_rows(ws, task, chunk, sums, run_blocks)
                           : run_blocks(ws, task, chunk, count > 0 ? sums : NULL, all);
    if (has_nan(ws, task, sums, count)) ws->undefined = true;
    return status;
}

static pg_status run_chunk(pg_workspace *ws, const pg_task *task, size_t chunk, size_t count,
                           double *sums) {
    pg_status status = sum_blocks(ws, task, chunk, count, sums);
    if (ws->careful || (!pg_is_fault(status) && !ws->undefined)) return status;
    ws->careful = true;
    return sum_blocks(ws, task, chunk, count, sums);
}

/* Run chunks first to last - 1, a branch of the tree. `spare`: as many sums again for each level
 * below this one. */
static pg_status sum_range(pg_workspace *ws, const pg_task *task, size_t first, size_t last,
                           size_t count, double *sums, double *spare) {
    if (last - first == 1) return run_chunk(ws, task, first, count, sums);
    const size_t middle = pg_chunk_middle(first, last);
    pg_status status = sum_range(ws, task, first, middle, count, sums, spare);
    if (status == PG_OK) status = sum_range(ws, task, middle, last, count, spare, spare + count);
    for (size_t i = 0; status == PG_OK && i < count; i++) sums[i] += spare[i];
    return status;
}

/* The sums that are held at a time while so many chunks are added. */
static size_t sums_held(size_t chunks) {
    size_t held = 1;
    for (; chunks > 1; chunks = (chunks + 1) / 2) held++;
    return held;
}

/* Without sums. */
static pg_status run_chunks(pg_workspace *ws, const pg_task *task) {
    pg_status status = PG_OK;
    for (size_t i = task->first_chunk; status == PG_OK && i < task->last_chunk; i++)
        status = run_chunk(ws, task, i, 0, NULL);
    return status;
}

pg_status pg_replay(pg_workspace *ws, const pg_task *task) {
    const size_t first = task->first_chunk, last = task->last_chunk;
    if (task->partials == NULL || first == last) return run_chunks(ws, task);
    const size_t count = pg_partial_count(ws->program, task->plan);
    if (pg_reserve_numbers(&ws->partials, sums_held(last - first) * count) != PG_OK)
        return PG_ERR_NOMEM;
    double *const spare = ws->partials.at + (task->partials == ws->partials.at ? count : 0);
    return sum_range(ws, task, first, last, count, task->partials, spare);
}

pg_status pg_replay_finish(pg_workspace *ws, const pg_task *task, double *totals,
                           double *gradients) {
    const pg_program *program = ws->program;
    const double *sums = task->partials;
    pg_status status = PG_OK;
    if (task->rows == 0) {
        for (size_t i = 0; i < program->output_count; i++) totals[i] = 0.0;
        for (size_t i = 0; i < program->output_count * program->param_count; i++)
            gradients[i] = 0.0;
        return PG_OK;
    }
    for (size_t o = 0; status == PG_OK && o < program->output_count; o++) {
        totals[o] = task->scale * sums[0];
        status = pg_backward_uniform(ws, task, task->plan[o], sums + 1,
                                     gradients + o * program->param_count);
        sums += 1 + task->plan[o]->accumulators;
    }
    return status;
}

pg_status pg_replay_all(pg_workspace *ws, const double *params, pg_task *task) {
    task->base_chunk = task->first_chunk = 0;
    task->last_chunk = pg_chunk_count(task->rows);
    const pg_status status = pg_replay_begin(ws, params, task->ignore);
    return status == PG_OK ? pg_replay(ws, task) : status;
}

pg_status pg_replay_sum(pg_workspace *ws, const double *params, const pg_task *task, double *totals,
                        double *gradients) {
    pg_task all = *task;
    const size_t count = pg_partial_count(ws->program, task->plan);
    const size_t held = sums_held(pg_chunk_count(task->rows));
    pg_status status = pg_reserve_numbers(&ws->partials, held * count);
    all.partials = ws->partials.at;
    if (status == PG_OK) status = pg_replay_all(ws, params, &all);
    if (status == PG_OK) status = pg_replay_finish(ws, &all, totals, gradients);
    return status;
}
