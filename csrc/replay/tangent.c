/* tangent.c - directional derivatives: of values (forward mode), and of gradients (forward over
 * reverse), which gives Hessian-vector products.
 *
 * Each value has a tangent, and so has each gradient: dy = (dy/da) da + (dy/db) db, and where the
 * sweep adds d * g, the tangent is (d's tangent) * g + d * (g's tangent).
 * Values and gradients come from the ordinary kernels; only tangents are computed here, along the
 * same steps, by plain loops over eight lanes.
 * A call owns its arrays and frees them in the end. Cost: two to three replays.
 * Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6, 1994. */
#include "ops/kernels.h"
#include "replay/replay.h"

#include <string.h>

/* The tangents beside a block of rows, or beside the uniform section (one lane). */
typedef struct tangents {
    pg_block *block;
    size_t lanes;
    double *values, *grads;
    const double *uniform;
    double *accumulators; /* PG_SUBLANES each; NULL for the uniform section */
} tangents;

/* The derivative of an instruction by one operand, and that derivative's tangent. */
typedef struct duals {
    double d[PG_SUBLANES], tangent[PG_SUBLANES];
} duals;

/* A product in which 0 wins over inf and nan: a constant contributes nothing, and an operand that
 * is not asked for receives nothing. Without branches, so that the loops over lanes vectorise. */
static inline double times(double x, double y) {
    const double product = x * y;
    return isnan(product) & ((x == 0.0) | (y == 0.0)) ? 0.0 : product;
}

/* For each lane: the operands and the result of an instruction, and the operands' tangents. */
#define PG_EACH_LANE(...)                                                                          \
    for (size_t l = 0; l < lanes; l++) {                                                           \
        const double a = as[l], b = bs[l], y = ys[l], da = das[l], db = dbs[l];                    \
        (void)a, (void)b, (void)y, (void)da, (void)db;                                             \
        __VA_ARGS__                                                                                \
    }                                                                                              \
    return

/* The derivative by a, and by b if the op has one, each with its tangent. */
static inline void derivatives(const tangents *t, const pg_instr *instr, duals *by_a, duals *by_b) {
    const size_t lanes = t->lanes, at_a = instr->a * lanes, at_b = instr->b * lanes;
    const double *const as = t->block->values + at_a, *const das = t->values + at_a;
    const double *const bs = t->block->values + at_b, *const dbs = t->values + at_b;
    const double *const ys = t->block->values + instr->dst * lanes;
    switch (instr->op) {
#define PG_UNARY(NAME, python, symbol, y_, da_, fault, pole, lo, hi, doc, daa_)                    \
    case PG_OP_##NAME:                                                                             \
        PG_EACH_LANE(const double d = by_a->d[l] = (da_); (void)d;                                 \
                     by_a->tangent[l] = times((daa_), da););
#define PG_NUMBER(NAME, python, symbol, y_, da_, fault, pole, a_lo, a_hi, b_lo, b_hi, doc, daa_)   \
    case PG_OP_##NAME:                                                                             \
        PG_EACH_LANE(const double d = by_a->d[l] = (da_); (void)d;                                 \
                     by_a->tangent[l] = times((daa_), da););
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, fault, pole, a_lo, a_hi, b_lo, b_hi, doc,    \
                  daa_, dab_, dbb_)                                                                \
    case PG_OP_##NAME:                                                                             \
        PG_EACH_LANE(by_a->d[l] = (da_); by_a->tangent[l] = times((daa_), da) + times((dab_), db); \
                     by_b->d[l] = (db_);                                                           \
                     by_b->tangent[l] = times((dab_), da) + times((dbb_), db););
#include "ops/ops.def"
#define PG_LANEWISE(NAME, name, y_, fault, da_, da_fault, daa_, power)                             \
    case PG_OP_##NAME: PG_EACH_LANE(by_a->d[l] = (da_); by_a->tangent[l] = times((daa_), da););
#include "ops/instructions.def"
    default: PG_EACH_LANE(by_a->d[l] = by_a->tangent[l] = 0.0;); /* DETACH */
    }
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* A factor of a product: its numbers and their tangents, one for each lane (stride 1), or one for
 * all lanes (stride 0). */
typedef struct factor {
    const double *x, *dx;
    size_t stride;
} factor;

/* A slot's values; its gradients; a uniform slot's value. */
static inline factor lanes_factor(const tangents *t, uint32_t slot) {
    return (factor){t->block->values + slot * t->lanes, t->values + slot * t->lanes, 1};
}
static inline factor gradient_factor(const tangents *t, uint32_t slot) {
    return (factor){t->block->grads + slot * t->lanes, t->grads + slot * t->lanes, 1};
}
static inline factor uniform_factor(const tangents *t, uint32_t slot) {
    return (factor){t->block->uniform + slot, t->uniform + slot, 0};
}

/* The tangent of a product, in one lane. */
static inline double product_tangent(factor a, factor b, size_t lane) {
    return times(a.dx[lane * a.stride], b.x[lane * b.stride]) +
           times(a.x[lane * a.stride], b.dx[lane * b.stride]);
}

static inline void add_product_tangent(double *dy, size_t lanes, factor a, factor b) {
    for (size_t l = 0; l < lanes; l++) dy[l] += product_tangent(a, b, l);
}

/* The tangent of a dot or a custom op. A custom op's right factors are derivatives, taken as
 * constants. */
static void dot_tangent(const tangents *t, const pg_instr *instr, double *dy) {
    static const double none[PG_SUBLANES];
    const size_t lanes = t->lanes;
    for (size_t l = 0; l < lanes; l++)
        dy[l] = instr->shape & PG_DOT_UNIFORM_START ? t->uniform[instr->a]
                : instr->shape & PG_DOT_STARTS      ? t->values[instr->a * lanes + l]
                                                    : 0.0;
    for (uint32_t i = 0; i < instr->count; i++) {
        const pg_pair pair = t->block->program->pairs[instr->first + i];
        factor right = lanes_factor(t, pair.right);
        if (instr->op != PG_OP_DOT) right.dx = none;
        if (instr->shape & PG_DOT_WEIGHTED)
            add_product_tangent(dy, lanes, uniform_factor(t, pair.left), right);
        else add_product_tangent(dy, lanes, lanes_factor(t, pair.left), right);
    }
}

static void take_tangent(const tangents *t, const pg_instr *take, double *dy) {
    const double *const indices = t->block->values + take->a * t->lanes;
    for (size_t l = 0; l < t->lanes; l++) {
        const uint32_t index = pg_index_of(indices[l], take->count);
        dy[l] = 0.0;
        if (index == take->count) continue;
        const uint32_t left = t->block->program->pairs[take->first + index].left;
        dy[l] = take->shape & PG_DOT_WEIGHTED ? t->uniform[left] : t->values[left * t->lanes + l];
    }
}

static void select_tangent(const tangents *t, const pg_instr *instr, double *dy) {
    const size_t lanes = t->lanes;
    const pg_pair pair = t->block->program->pairs[instr->first];
    const double *const x = t->block->values;
    for (size_t l = 0; l < lanes; l++)
        dy[l] = pg_compares(instr->shape, x[pair.left * lanes + l], x[pair.right * lanes + l])
                    ? t->values[instr->a * lanes + l]
                    : t->values[instr->b * lanes + l];
}

static void op_tangent(const tangents *t, const pg_instr *instr, double *dy) {
    const size_t lanes = t->lanes;
    const double *da = t->values + instr->a * lanes, *db = t->values + instr->b * lanes;
    duals by_a, by_b;
    derivatives(t, instr, &by_a, &by_b);
    for (size_t l = 0; l < lanes; l++) dy[l] = times(by_a.d[l], da[l]);
    if (pg_instr_describe(instr->op)->receivers < 2) return;
    for (size_t l = 0; l < lanes; l++) dy[l] += times(by_b.d[l], db[l]);
}

static void forward_tangents(const tangents *t) {
    for (size_t i = 0; i < t->block->length; i++) {
        const pg_instr *instr = &t->block->code[i];
        double *dy = t->values + instr->dst * t->lanes;
        if (instr->op == PG_OP_TAKE) take_tangent(t, instr, dy);
        else if (pg_instr_describe(instr->op)->pairs_receive) dot_tangent(t, instr, dy);
        else if (instr->op == PG_OP_SELECT) select_tangent(t, instr, dy);
        else op_tangent(t, instr, dy);
    }
}

/* ---- Backward -------------------------------------------------------------------------------- */

static void give(const tangents *t, pg_target target, const double *amount) {
    double *grads = t->grads + (size_t)target.at * t->lanes;
    if (target.how == PG_ACCUMULATE_FOLD) {
        double *sums = t->accumulators + (size_t)target.at * PG_SUBLANES;
        for (size_t l = 0; l < t->block->active; l++) sums[l] += amount[l];
        return;
    }
    for (size_t l = 0; l < t->lanes; l++)
        grads[l] = (target.how == PG_ACCUMULATE_STORE ? 0.0 : grads[l]) + amount[l];
}

/* Give the tangent of a derivative times the result's gradient to a target. Of a pair, the
 * derivative by one factor is the other one. */
static inline void push_product_tangent(const tangents *t, pg_target target, factor slope,
                                        factor g) {
    double amount[PG_SUBLANES] = {0};
    for (size_t l = 0; l < t->lanes; l++) amount[l] = product_tangent(slope, g, l);
    give(t, target, amount);
}

static void push_dot_tangent(const tangents *t, const pg_step *step, const pg_instr *instr) {
    const factor g = gradient_factor(t, instr->dst);
    const pg_target *targets = t->block->plan->targets + step->first;
    for (uint32_t i = instr->count; i-- > 0;) {
        const pg_pair pair = t->block->program->pairs[instr->first + i];
        const pg_target left = targets[2 * i], right = targets[2 * i + 1];
        if (i == 0 && step->a.how != PG_ACCUMULATE_NONE) give(t, step->a, g.dx);
        if (left.how != PG_ACCUMULATE_NONE)
            push_product_tangent(t, left, lanes_factor(t, pair.right), g);
        if (right.how == PG_ACCUMULATE_NONE) continue;
        if (instr->shape & PG_DOT_WEIGHTED)
            push_product_tangent(t, right, uniform_factor(t, pair.left), g);
        else push_product_tangent(t, right, lanes_factor(t, pair.left), g);
    }
}

/* A failed derivative is a fault here where the gradient's tangent isn't 0. Where the gradient
 * itself isn't, the ordinary kernels have judged it. */
static pg_status judge_slopes(const tangents *t, const pg_instr *instr, int which,
                              const double *slopes) {
    const double *const x = t->block->values;
    const size_t lanes = t->lanes;
    bool finite = true;
    for (size_t l = 0; l < lanes; l++) finite = finite && isfinite(slopes[l]);
    if (finite || !t->block->judge) return PG_OK;
    const pg_judged judged = {slopes, x + instr->a * lanes, x + instr->b * lanes,
                              t->grads + instr->dst * lanes};
    return pg_judge_lanes(t->block, instr->op, which, &judged);
}

/* The tangent of derivative * gradient, given to one operand's target. */
static pg_status push_operand_tangent(const tangents *t, const pg_instr *instr, int which,
                                      pg_target target, const duals *by) {
    if (target.how == PG_ACCUMULATE_NONE) return PG_OK;
    push_product_tangent(t, target, (factor){by->d, by->tangent, 1},
                         gradient_factor(t, instr->dst));
    return judge_slopes(t, instr, which, by->d);
}

static void select_derivatives(const tangents *t, const pg_instr *instr, duals *by_a, duals *by_b) {
    const pg_pair pair = t->block->program->pairs[instr->first];
    const double *const left = t->block->values + pair.left * t->lanes;
    const double *const right = t->block->values + pair.right * t->lanes;
    for (size_t l = 0; l < t->lanes; l++) {
        by_a->d[l] = pg_compares(instr->shape, left[l], right[l]) ? 1.0 : 0.0;
        by_b->d[l] = 1.0 - by_a->d[l];
        by_a->tangent[l] = by_b->tangent[l] = 0.0;
    }
}

static pg_status push_tangent(const tangents *t, const pg_step *step, const pg_instr *instr) {
    duals by_a, by_b;
    if (instr->op == PG_OP_SELECT) select_derivatives(t, instr, &by_a, &by_b);
    else derivatives(t, instr, &by_a, &by_b);
    const pg_status status = push_operand_tangent(t, instr, 1, step->a, &by_a);
    return status != PG_OK ? status : push_operand_tangent(t, instr, 2, step->b, &by_b);
}

static pg_status step_back(const tangents *t, const pg_step *step) {
    const pg_instr *instr = &t->block->program->code[step->instr];
    if (!pg_instr_describe(instr->op)->pairs_receive) return push_tangent(t, step, instr);
    if (instr->op == PG_OP_TAKE) pg_scatter(t->block, step, t->grads, t->accumulators);
    else push_dot_tangent(t, step, instr);
    return PG_OK;
}

/* ---- A whole call ---------------------------------------------------------------------------- */

typedef struct call {
    pg_workspace *ws;
    const pg_task *task;
    const pg_backward_plan *plan;                     /* NULL: values only */
    pg_numbers uniform, uniform_grads, values, grads; /* tangents */
    pg_numbers sums, tangent_sums;                    /* of the accumulators, as sublanes */
} call;

static pg_status open_call(call *c) {
    const pg_program *p = c->ws->program;
    const size_t cells = p->row_slots * PG_SUBLANES;
    const size_t sums = c->plan != NULL ? c->plan->accumulators * PG_SUBLANES : 0;
    if (pg_reserve_numbers(&c->uniform, p->uniform_slots) != PG_OK ||
        pg_reserve_numbers(&c->uniform_grads, p->uniform_slots) != PG_OK ||
        pg_reserve_numbers(&c->values, cells) != PG_OK ||
        pg_reserve_numbers(&c->grads, cells) != PG_OK ||
        pg_reserve_numbers(&c->sums, sums) != PG_OK ||
        pg_reserve_numbers(&c->tangent_sums, sums) != PG_OK)
        return PG_ERR_NOMEM;
    memset(c->sums.at, 0, sums * sizeof(double));
    memset(c->tangent_sums.at, 0, sums * sizeof(double));
    return PG_OK;
}

static void close_call(call *c) {
    pg_free(c->uniform.block);
    pg_free(c->uniform_grads.block);
    pg_free(c->values.block);
    pg_free(c->grads.block);
    pg_free(c->sums.block);
    pg_free(c->tangent_sums.block);
}

/* The tangents of the uniform section; its values are computed already. `direction` is the tangent
 * of the parameters. */
static void forward_uniform(call *c, const double *direction) {
    const pg_program *p = c->ws->program;
    pg_block block = {.program = p,
                      .code = p->code,
                      .length = p->uniform_length,
                      .values = c->ws->uniform.at,
                      .lanes = 1,
                      .active = 1};
    memset(c->uniform.at, 0, p->constant_count * sizeof(double));
    if (p->param_count > 0)
        memcpy(c->uniform.at + p->constant_count, direction, p->param_count * sizeof(double));
    forward_tangents(&(tangents){.block = &block, .lanes = 1, .values = c->uniform.at});
}

/* Tangents of the inputs, which are constant along the direction, and of the imports, broadcast. */
static void begin_rows(call *c) {
    const pg_program *p = c->ws->program;
    memset(c->values.at, 0, p->input_count * PG_SUBLANES * sizeof(double));
    for (size_t i = 0; i < p->import_count; i++)
        for (size_t l = 0; l < PG_SUBLANES; l++)
            c->values.at[(p->input_count + i) * PG_SUBLANES + l] = c->uniform.at[p->imports[i]];
}

/* Up to eight rows: values and their tangents, and with a plan gradients and theirs. */
static pg_status run_rows(call *c, pg_rows rows, double *tangent_outputs) {
    const pg_program *p = c->ws->program;
    pg_block block;
    pg_status status = pg_forward_block(c->ws, c->task, &block, rows);
    const tangents t = {&block,      PG_SUBLANES,   c->values.at,
                        c->grads.at, c->uniform.at, c->tangent_sums.at};
    if (status == PG_OK) forward_tangents(&t);
    for (size_t o = 0; status == PG_OK && tangent_outputs != NULL && o < p->output_count; o++)
        for (size_t l = 0; l < rows.active; l++) {
            const size_t from = p->outputs[o] * PG_SUBLANES + l;
            const size_t to = (rows.first + l) * p->output_count + o;
            c->task->outputs[to] = block.values[from];
            tangent_outputs[to] = t.values[from];
        }
    if (status == PG_OK && c->plan != NULL) {
        block.accumulators = c->sums.at;
        status = pg_backward_block(c->ws, &block, c->plan, PG_EIGHT);
        double *seed = t.grads + c->plan->output * PG_SUBLANES;
        for (size_t l = 0; l < PG_SUBLANES; l++) seed[l] = 0.0;
        for (size_t i = 0; status == PG_OK && i < c->plan->row_count; i++)
            status = step_back(&t, &c->plan->rows[i]);
    }
    if (pg_is_fault(status)) pg_note_fault(c->ws, c->task, &block, rows.first);
    return status;
}

/* Rows that fail are re-run one by one, as in a replay, to find the first that does. */
static pg_status run_all_rows(call *c, double *tangent_outputs) {
    const size_t work = (c->ws->program->row_slots + c->ws->program->pair_count) * 4 * PG_SUBLANES;
    bool singly = false;
    begin_rows(c);
    pg_begin_chunk(c->ws);
    for (size_t row = 0; row < c->task->rows;) {
        const pg_rows rows = pg_rows_from(row, singly ? 1 : c->task->rows - row, PG_EIGHT);
        const pg_status status = run_rows(c, rows, tangent_outputs);
        if (pg_is_fault(status) && (c->ws->careful || c->plan == NULL) && rows.active > 1) {
            singly = true;
            continue;
        }
        if (status != PG_OK) return status;
        if (pg_must_stop(c->ws, work)) return PG_ERR_STOPPED;
        row += rows.active;
    }
    return PG_OK;
}

/* As in a replay, an undefined gradient may come from a product with 0: all rows are then redone by
 * careful.c. */
static pg_status run_rows_back(call *c) {
    const size_t count = c->plan->accumulators * PG_SUBLANES;
    pg_status status = run_all_rows(c, NULL);
    bool again = pg_is_fault(status);
    for (size_t i = 0; status == PG_OK && i < count; i++) again = again || isnan(c->sums.at[i]);
    if (!again) return status;
    c->ws->careful = true;
    memset(c->sums.at, 0, count * sizeof(double));
    memset(c->tangent_sums.at, 0, count * sizeof(double));
    return run_all_rows(c, NULL);
}

/* Run the uniform steps for the tangents; their gradients are computed already. */
static pg_status reverse_uniform_tangents(call *c) {
    pg_block block = {.program = c->ws->program,
                      .uniform = c->ws->uniform.at,
                      .values = c->ws->uniform.at,
                      .grads = c->ws->uniform_grads.at,
                      .plan = c->plan,
                      .lanes = 1,
                      .active = 1,
                      .judge = !c->task->ignore};
    const tangents t = {&block, 1, c->uniform.at, c->uniform_grads.at, c->uniform.at, NULL};
    pg_status status = PG_OK;
    for (size_t i = 0; status == PG_OK && i < c->plan->uniform_count; i++) {
        const pg_step *step = &c->plan->uniform[i];
        if (step->instr != PG_COLLECT) {
            status = step_back(&t, step);
            continue;
        }
        const double sum =
            pg_sum_of_sublanes(c->tangent_sums.at + (size_t)step->b.at * PG_SUBLANES);
        give(&t, step->a, &sum);
    }
    if (status != PG_OK) c->ws->fault = (pg_replay_fault){-1, block.fault};
    return status;
}

pg_status pg_jvp(pg_workspace *ws, const double *params, const double *direction,
                 const pg_task *task, double *tangent_outputs) {
    call c = {.ws = ws, .task = task};
    pg_status status = open_call(&c);
    if (status == PG_OK) status = pg_replay_begin(ws, params, task->ignore);
    if (status == PG_OK) {
        forward_uniform(&c, direction);
        status = run_all_rows(&c, tangent_outputs);
    }
    close_call(&c);
    return status;
}

pg_status pg_hvp(pg_workspace *ws, const double *params, const double *direction,
                 const pg_task *task, double *product, double *gradient) {
    const pg_program *program = ws->program;
    call c = {.ws = ws, .task = task, .plan = task->plan[0]};
    pg_status status = open_call(&c);
    if (status == PG_OK) status = pg_replay_begin(ws, params, task->ignore);
    if (status == PG_OK) {
        forward_uniform(&c, direction);
        status = run_rows_back(&c);
    }
    if (status == PG_OK) { /* sums in place: accumulator i's sublanes begin at or after i */
        for (size_t i = 0; i < c.plan->accumulators; i++)
            c.sums.at[i] = pg_sum_of_sublanes(c.sums.at + i * PG_SUBLANES);
        status = pg_backward_uniform(ws, task, c.plan, c.sums.at, gradient);
    }
    if (status == PG_OK) status = reverse_uniform_tangents(&c);
    for (size_t i = 0; status == PG_OK && i < program->param_count; i++) {
        const size_t slot = program->constant_count + i;
        product[i] = c.plan->uniform_reached[slot] ? task->scale * c.uniform_grads.at[slot] : 0.0;
    }
    close_call(&c);
    return status;
}
