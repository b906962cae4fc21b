/* shared.c - a chunk's rows and weights, shared by the threads of a crew: for batches in `fit`.
 *
 *   1. Threads take blocks of rows: values, and gradients down to the inputs, in memory of each
 *      block's own. The sums of weights' gradients are left out (pg_block.unsummed).
 *   2. Threads take tiles, some dots of a layer by some of its factors: for one block after the
 *      other they add its rows' products to the sums of these weights.
 *
 *                 rows of block 0   1   2 ...
 *      1.         | thread A | B | A |          each a column
 *      2. weights ---- A ---------------->      each a line, from left to right
 *                 ---- B ---------------->
 *
 * A chunk of many blocks is done in groups that fit the memory. A program can be shared if each of
 * its sums over rows belongs to one dot with weights (is_shareable): any other would be formed in
 * step 1, by several threads.
 * Invariant: each sum gets the chunk's rows in their order, from one thread at a time, by the same
 * kernels: no bit depends on the threads, the blocks or the tiles.
 * Where anything isn't ordinary, an op that may have failed, say, the chunk is done again by one
 * thread, which decides what it is. After that, and where sharing didn't pay, as with another
 * process on the other core, some chunks go without, 1, 3, 7 and so on up to 64, before the next
 * one tries (as in recorded/payoff.py). No bit depends on that.
 * Owns the blocks' memory, at most 16 MiB. Cost: two barriers a group. */
#include "base/arrays.h"
#include "base/crew.h"
#include "replay/replay.h"

static const size_t most_cells = 1 << 21; /* doubles: values and gradients of a group */
static const size_t least_work = 1 << 20; /* values computed in a batch: about 0.3 ms */
static const size_t least_weights = 2048; /* of a tile */
static const double shortest = 200e-6;    /* seconds of a chunk that is shared */
static const size_t most_rests = 64;
static const size_t long_array = 1 << 15;
enum { SLICES = 4, TILES = 8, LEAST_DOTS = 16, MOST_BLOCKS = 64 };

/* One block of the group. */
typedef struct shared_block {
    pg_rows rows;
    pg_block block;
    double *values, *grads;
    pg_status status;
} shared_block;

/* Some dots of a layer, steps of the plan, and some of its factors. */
typedef struct tile {
    pg_range dots, factors;
} tile;

typedef struct tiles {
    tile *at; /* NULL: they are only counted */
    size_t count;
} tiles;

static void add_tile(tiles *t, tile one) {
    if (t->at != NULL) t->at[t->count] = one;
    t->count++;
}

struct pg_shared {
    pg_crew *crew;
    pg_payoff *payoff;
    bool sharing; /* the last chunk was shared */
    int widest;
    shared_block *blocks;
    size_t most_blocks;
    pg_numbers cells;
    tiles tiles;
    /* The work: */
    const pg_workspace *ws;
    const pg_task *task;
    const pg_backward_plan *plan;
    double *sums;
    size_t block_count; /* of the group */
    bool first;         /* the group is the chunk's first */
};

/* ---- Programs that can be shared ------------------------------------------------------------- */

static bool has_own_sums(const pg_step *step) { return step->folds != PG_FOLDS_ANY && step->alone; }

/* Does the step add to sums that aren't a weighted dot's alone? */
static bool sums_otherwise(const pg_program *p, const pg_backward_plan *plan, const pg_step *step) {
    const pg_instr *const instr = &p->code[step->instr];
    if (step->folds != PG_FOLDS_ANY) return !step->alone;
    bool any = step->a.how == PG_ACCUMULATE_FOLD || step->b.how == PG_ACCUMULATE_FOLD;
    const uint32_t pairs = pg_instr_describe(instr->op)->pairs_receive ? instr->count : 0;
    for (uint32_t i = 0; i < 2 * pairs && !any; i++)
        any = plan->targets[step->first + i].how == PG_ACCUMULATE_FOLD;
    return any;
}

static bool is_shareable(const pg_program *p, const pg_backward_plan *plan) {
    bool any = false;
    for (size_t i = 0; i < plan->row_count; i++) {
        if (sums_otherwise(p, plan, &plan->rows[i])) return false;
        any = any || has_own_sums(&plan->rows[i]);
    }
    return any;
}

static size_t cells_of_block(const pg_program *p, int width) {
    return 2 * pg_lanes_of[width] * p->row_slots;
}

static int widest_of(const pg_program *p) {
    return cells_of_block(p, PG_THIRTY_TWO) * 4 <= most_cells ? PG_THIRTY_TWO : PG_EIGHT;
}

int pg_fit_can_share(const pg_program *program, const pg_backward_plan *plan, size_t batch_rows) {
    const size_t work = program->row_slots + program->pair_count;
    return program->output_count == 1 && batch_rows > 1 && work >= least_work / batch_rows &&
           2 * cells_of_block(program, widest_of(program)) <= most_cells &&
           is_shareable(program, plan);
}

/* ---- Tiles ----------------------------------------------------------------------------------- */

/* The steps from i on that are dots of one layer with sums of their own. */
static pg_range dots_from(const pg_backward_plan *plan, size_t i) {
    const size_t run = plan->rows[i].run;
    pg_range dots = {i, 0};
    while (dots.count < run && has_own_sums(&plan->rows[i + dots.count])) dots.count++;
    return dots;
}

/* Cut a layer with so many factors into tiles of about `each` weights: by panels of factors where
 * there are many, which are transposed once then; else by dots. */
static void cut_layer(tiles *t, pg_range dots, size_t factors, size_t each) {
    const bool by_panels = dots.count > 1 && factors >= 4 * PG_PANEL;
    const size_t panels = each / (dots.count * PG_PANEL), fours = each / (factors + 1) / 4;
    const size_t panel = PG_PANEL * (panels > 1 ? panels : 1);
    const size_t some = 4 * fours > LEAST_DOTS ? 4 * fours : LEAST_DOTS;
    for (size_t i = 0; by_panels && i < factors; i += panel) add_tile(t, (tile){dots, {i, panel}});
    for (size_t i = 0; !by_panels && i < dots.count; i += some) {
        const size_t left = dots.count - i;
        add_tile(t, (tile){{dots.first + i, left < some ? left : some}, {0, factors}});
    }
}

static void cut_layers(tiles *t, const pg_program *p, const pg_backward_plan *plan, size_t each) {
    t->count = 0;
    for (size_t i = 0; i < plan->row_count;) {
        const pg_range dots = dots_from(plan, i);
        if (dots.count > 0) cut_layer(t, dots, p->code[plan->rows[i].instr].count, each);
        i += dots.count > 0 ? dots.count : 1;
    }
}

static pg_status make_tiles(tiles *t, const pg_program *p, const pg_backward_plan *plan) {
    size_t weights = 0;
    for (size_t i = 0; i < plan->row_count; i++)
        if (has_own_sums(&plan->rows[i])) weights += p->code[plan->rows[i].instr].count;
    const size_t each = weights / TILES > least_weights ? weights / TILES : least_weights;
    cut_layers(t, p, plan, each); /* which counts them */
    t->at = pg_realloc(NULL, t->count, sizeof *t->at);
    if (t->at == NULL) return PG_ERR_NOMEM;
    cut_layers(t, p, plan, each);
    return PG_OK;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static pg_status make_blocks(pg_shared *s, const pg_program *p, size_t rows) {
    const size_t cells = cells_of_block(p, s->widest), lanes = pg_lanes_of[s->widest];
    const size_t wanted = rows / lanes + 1 + rows % lanes / pg_lanes_of[PG_EIGHT];
    s->most_blocks = most_cells / cells;
    if (s->most_blocks > MOST_BLOCKS) s->most_blocks = MOST_BLOCKS;
    if (s->most_blocks > wanted) s->most_blocks = wanted;
    s->blocks = pg_realloc(NULL, s->most_blocks, sizeof *s->blocks);
    if (s->blocks == NULL || pg_reserve_numbers(&s->cells, s->most_blocks * cells) != PG_OK)
        return PG_ERR_NOMEM;
    for (size_t i = 0; i < s->most_blocks; i++) {
        s->blocks[i].values = s->cells.at + i * cells;
        s->blocks[i].grads = s->blocks[i].values + cells / 2;
    }
    return PG_OK;
}

pg_status pg_shared_new(pg_shared **shared_ret, const pg_workspace *ws, const pg_task *task,
                        pg_training *training) {
    const size_t rows = training->batch_rows < task->rows ? training->batch_rows : task->rows;
    const size_t most = pg_chunk_start(rows, 1); /* of a chunk */
    *shared_ret = NULL;
    if (training->payoff.rows != most) training->payoff = (pg_payoff){.rows = most};
    if (training->crew == NULL || !pg_fit_can_share(ws->program, *task->plan, rows)) return PG_OK;
    pg_shared *const s = pg_zeroed(1, sizeof *s);
    if (s == NULL) return PG_ERR_NOMEM;
    *s = (pg_shared){.crew = training->crew,
                     .payoff = &training->payoff,
                     .widest = widest_of(ws->program),
                     .plan = *task->plan};
    pg_status status = make_tiles(&s->tiles, ws->program, s->plan);
    if (status == PG_OK) status = make_blocks(s, ws->program, most);
    if (status == PG_OK) *shared_ret = s;
    else pg_shared_free(s);
    return status;
}

void pg_shared_free(pg_shared *shared) {
    if (shared == NULL) return;
    pg_free(shared->tiles.at);
    pg_free(shared->blocks);
    pg_free(shared->cells.block);
    pg_free(shared);
}

/* ---- The two steps --------------------------------------------------------------------------- */

/* Compute a block in its own memory: a workspace like the caller's, but for that. Machine code
 * would form the sums, too. */
static void run_rows(void *context, size_t part) {
    const pg_shared *const s = context;
    shared_block *const b = &s->blocks[part];
    pg_workspace own = *s->ws;
    own.values.at = b->values;
    own.grads.at = b->grads;
    own.width = -1;
    pg_load_block(&own, s->task, &b->block, b->rows);
    b->status = pg_run_code(&own, &b->block, b->rows.width);
    if (b->status != PG_OK) return;
    b->block.unsummed = true;
    own.native = false;
    b->status = pg_backward_block(&own, &b->block, s->plan, b->rows.width);
}

static void run_tile(void *context, size_t part) {
    const pg_shared *const s = context;
    const tile own = s->tiles.at[part];
    for (size_t i = 0; i < s->block_count; i++) {
        pg_block block = s->blocks[i].block;
        block.unsummed = false;
        block.first = s->first && i == 0;
        block.accumulators = s->sums + 1;
        block.steps = s->plan->rows + own.dots.first;
        block.step_count = own.dots.count;
        block.factors = own.factors;
        s->ws->lanes[s->blocks[i].rows.width].weights(&block);
    }
}

/* Choose the group's blocks, from this row on. Returns: the number of rows. */
static size_t begin_group(pg_shared *s, size_t first, size_t left) {
    size_t rows = 0;
    s->block_count = 0;
    while (rows < left && s->block_count < s->most_blocks) {
        pg_rows next = pg_next_rows(first + rows, left - rows, s->widest);
        if (next.width == PG_ONE) next.width = PG_EIGHT;
        s->blocks[s->block_count++].rows = next;
        rows += next.active;
    }
    return rows;
}

static pg_status run_group(pg_shared *s, double *total) {
    pg_crew_share(s->crew, run_rows, s, (uint32_t)s->block_count);
    for (size_t i = 0; i < s->block_count; i++) {
        if (s->blocks[i].status != PG_OK) return s->blocks[i].status;
        pg_add_output(&s->blocks[i].block, s->plan->output, total);
    }
    pg_crew_share(s->crew, run_tile, s, (uint32_t)s->tiles.count);
    return PG_OK;
}

/* Polls between groups, when no thread is at work: a signal's handler may fork. */
static pg_status run_groups(pg_workspace *ws, const pg_task *task, size_t chunk, double *sums) {
    pg_shared *const s = ws->shared;
    const size_t base = pg_chunk_start(task->rows, task->base_chunk);
    const size_t end = pg_chunk_start(task->rows, chunk + 1) - base;
    const size_t start = pg_chunk_start(task->rows, chunk) - base;
    double total = 0.0;
    s->ws = ws;
    s->task = task;
    s->sums = sums;
    for (size_t row = start, rows; row < end; row += rows) {
        rows = begin_group(s, row, end - row);
        s->first = row == start;
        const pg_status status = run_group(s, &total);
        if (status != PG_OK) return status;
        if (pg_must_stop(ws, rows * (ws->program->row_slots + ws->program->pair_count)))
            return PG_ERR_STOPPED;
    }
    *sums = total;
    return PG_OK;
}

pg_crew *pg_shared_crew(const pg_shared *shared) {
    return shared != NULL && shared->sharing ? shared->crew : NULL;
}

/* ---- Long arrays ----------------------------------------------------------------------------- */

typedef struct slices {
    const double *from;
    size_t count;
    bool found[SLICES];
} slices;

static void search_slice(void *context, size_t part) {
    slices *const s = context;
    const size_t first = part * s->count / SLICES, last = (part + 1) * s->count / SLICES;
    s->found[part] = pg_has_nan(s->from + first, last - first);
}

/* Is it so long that a barrier takes less? */
static pg_crew *crew_for(const pg_shared *shared, size_t count) {
    return count >= long_array ? pg_shared_crew(shared) : NULL;
}

bool pg_shared_has_nan(const pg_shared *shared, const double *numbers, size_t count) {
    slices s = {.from = numbers, .count = count};
    pg_crew *const crew = crew_for(shared, count);
    if (crew == NULL) return pg_has_nan(numbers, count);
    pg_crew_share(crew, search_slice, &s, SLICES);
    for (int i = 0; i < SLICES; i++)
        if (s.found[i]) return true;
    return false;
}

/* ---- Does it pay? ---------------------------------------------------------------------------- */

/* Is it a chunk to share? Until it is known what one takes, and while sharing rests, it isn't. */
static bool is_to_share(const pg_workspace *ws, size_t rows) {
    const pg_payoff *const p = ws->shared->payoff;
    return pg_crew_is_open(ws->shared->crew) && !ws->doubtful && p->rests == 0 &&
           p->alone * (double)rows >= shortest;
}

/* The least of those that were done alone since sharing was tried last. */
static void note_alone(pg_payoff *p, size_t rows, double seconds) {
    const double each = seconds / (double)rows;
    if (rows < p->rows) return; /* the last one of an epoch tells nothing of the others */
    if (p->alone == 0.0 || p->rests == p->pause || each < p->alone) p->alone = each;
    if (p->rests > 0) p->rests--;
}

static void note_shared(pg_payoff *p, bool paid) {
    const size_t longer = 2 * p->pause + 1;
    p->pause = paid ? 0 : longer < most_rests ? longer : most_rests;
    p->rests = p->pause;
}

pg_status pg_share_rows(pg_workspace *ws, const pg_task *task, size_t chunk, double *sums,
                        pg_run_alone *alone) {
    pg_shared *const s = ws->shared;
    const size_t rows = pg_chunk_start(task->rows, chunk + 1) - pg_chunk_start(task->rows, chunk);
    double start = pg_seconds();
    pg_status status = PG_OK;
    s->sharing = is_to_share(ws, rows);
    if (s->sharing) {
        status = run_groups(ws, task, chunk, sums);
        s->sharing = !pg_is_fault(status);
        const double passed = pg_seconds() - start;
        note_shared(s->payoff, s->sharing && passed <= s->payoff->alone * (double)rows);
        if (s->sharing) return status;
        start = pg_seconds();
    }
    status = alone(ws, task, chunk, sums, false);
    if (status == PG_OK) note_alone(s->payoff, rows, pg_seconds() - start);
    return status;
}
