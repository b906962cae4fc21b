/* tangent.c - directional derivatives: of values (forward mode), and of gradients (forward over
 * reverse), which gives Hessian-vector products.
 *
 * Each value has a tangent, and so has each gradient: dy = (dy/da) da + (dy/db) db, and where the
 * sweep adds d * g, the tangent is (d's tangent) * g + d * (g's tangent).
 * Values and gradients come from the ordinary kernels; only tangents are computed here, along the
 * same steps, by plain loops over eight lanes, or by machine code (native/tangents.c).
 * The direction is one in the parameters, or of each row in the inputs; a Hessian takes each input
 * in turn, and computes the values and gradients once. Rows are summed one after the other, without
 * chunks; the tangents of these sums are sums of eight, one for each lane.
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

/* All below is inlined into four loops over code and steps, forward and backward, of rows and of
 * the uniform section. One lane is a constant there, so that it has no loops; eight are the
 * variable t->lanes, whose loops are vectorized, while those of a constant would be unrolled. */
#define INLINE static inline PG_ALWAYS_INLINE
#define EACH_LANE for (size_t l = 0; l < lanes; l++)

/* A product in which 0 wins over inf and nan: a constant contributes nothing, and an operand that
 * is not asked for receives nothing. Without branches, so that the loops over lanes vectorise. */
INLINE double times(double x, double y) {
    const double product = x * y;
    return isnan(product) & ((x == 0.0) | (y == 0.0)) ? 0.0 : product;
}

/* ---- Products -------------------------------------------------------------------------------- */

/* A factor of a product: its numbers and their tangents, one for each lane (stride 1), or one for
 * all lanes (stride 0). */
typedef struct factor {
    const double *x, *dx;
    size_t stride;
} factor;

/* A slot's values; its gradients; a uniform slot's value. */
INLINE factor lanes_factor(const tangents *t, size_t lanes, uint32_t slot) {
    return (factor){t->block->values + slot * lanes, t->values + slot * lanes, 1};
}
INLINE factor gradient_factor(const tangents *t, size_t lanes, uint32_t slot) {
    return (factor){t->block->grads + slot * lanes, t->grads + slot * lanes, 1};
}
INLINE factor uniform_factor(const tangents *t, uint32_t slot) {
    return (factor){t->block->uniform + slot, t->uniform + slot, 0};
}

/* The tangent of a product, in one lane. */
INLINE double product_tangent(factor a, factor b, size_t lane) {
    return times(a.dx[lane * a.stride], b.x[lane * b.stride]) +
           times(a.x[lane * a.stride], b.dx[lane * b.stride]);
}

/* ---- Operands -------------------------------------------------------------------------------- */

/* For each lane: the operands and the result of an instruction, and the operands' tangents. */
#define PG_EACH_LANE(...)                                                                          \
    EACH_LANE {                                                                                    \
        const double a = as[l], b = bs[l], y = ys[l], da = das[l], db = dbs[l];                    \
        (void)a, (void)b, (void)y, (void)da, (void)db;                                             \
        __VA_ARGS__                                                                                \
    }                                                                                              \
    return
#define PG_OPERANDS                                                                                \
    const size_t at_a = instr->a * lanes, at_b = instr->b * lanes;                                 \
    const double *const as = t->block->values + at_a, *const das = t->values + at_a;               \
    const double *const bs = t->block->values + at_b, *const dbs = t->values + at_b;               \
    const double *const ys = t->block->values + instr->dst * lanes

/* The tangent of an op. */
INLINE void op_tangent(const tangents *t, size_t lanes, const pg_instr *instr, double *dy) {
    PG_OPERANDS;
    switch (instr->op) {
#define PG_UNARY(NAME, python, symbol, y_, da_, ...)                                               \
    case PG_OP_##NAME: PG_EACH_LANE(dy[l] = times((da_), da););
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, ...)                                         \
    case PG_OP_##NAME: PG_EACH_LANE(dy[l] = times((da_), da) + times((db_), db););
#include "ops/ops.def"
#define PG_LANEWISE(NAME, name, y_, fault, da_, ...)                                               \
    case PG_OP_##NAME: PG_EACH_LANE(dy[l] = times((da_), da););
#include "ops/instructions.def"
    default: PG_EACH_LANE(dy[l] = 0.0;); /* DETACH */
    }
}

/* The derivative by a, and by b if the op has one, each with its tangent. */
INLINE void derivatives(const tangents *t, size_t lanes, const pg_instr *instr, duals by[2]) {
    PG_OPERANDS;
    switch (instr->op) {
#define PG_UNARY(NAME, python, symbol, y_, da_, fault, pole, lo, hi, doc, daa_)                    \
    case PG_OP_##NAME:                                                                             \
        PG_EACH_LANE(const double d = by[0].d[l] = (da_); (void)d;                                 \
                     by[0].tangent[l] = times((daa_), da););
#define PG_NUMBER(NAME, python, symbol, y_, da_, fault, pole, a_lo, a_hi, b_lo, b_hi, doc, daa_)   \
    case PG_OP_##NAME:                                                                             \
        PG_EACH_LANE(const double d = by[0].d[l] = (da_); (void)d;                                 \
                     by[0].tangent[l] = times((daa_), da););
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, fault, pole, a_lo, a_hi, b_lo, b_hi, doc,    \
                  daa_, dab_, dbb_)                                                                \
    case PG_OP_##NAME:                                                                             \
        PG_EACH_LANE(by[0].d[l] = (da_); by[0].tangent[l] = times((daa_), da) + times((dab_), db); \
                     by[1].d[l] = (db_);                                                           \
                     by[1].tangent[l] = times((dab_), da) + times((dbb_), db););
#include "ops/ops.def"
#define PG_LANEWISE(NAME, name, y_, fault, da_, da_fault, daa_, power)                             \
    case PG_OP_##NAME: PG_EACH_LANE(by[0].d[l] = (da_); by[0].tangent[l] = times((daa_), da););
#include "ops/instructions.def"
    default: PG_EACH_LANE(by[0].d[l] = by[0].tangent[l] = 0.0;); /* DETACH */
    }
}

INLINE void select_derivatives(const tangents *t, size_t lanes, const pg_instr *instr,
                               duals by[2]) {
    const pg_pair pair = t->block->program->pairs[instr->first];
    const double *const left = t->block->values + pair.left * lanes;
    const double *const right = t->block->values + pair.right * lanes;
    EACH_LANE {
        by[0].d[l] = pg_compares(instr->shape, left[l], right[l]) ? 1.0 : 0.0;
        by[1].d[l] = 1.0 - by[0].d[l];
        by[0].tangent[l] = by[1].tangent[l] = 0.0;
    }
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* The tangent of a dot or a custom op. A custom op's right factors are derivatives, taken as
 * constants. Summed in an array of its own, which no operand aliases. */
INLINE void dot_tangent(const tangents *t, size_t lanes, const pg_instr *instr, double *dy) {
    static const double none[PG_SUBLANES];
    const pg_pair *pairs = t->block->program->pairs + instr->first;
    double sum[PG_SUBLANES];
    EACH_LANE sum[l] = instr->shape & PG_DOT_UNIFORM_START ? t->uniform[instr->a]
                       : instr->shape & PG_DOT_STARTS      ? t->values[instr->a * lanes + l]
                                                           : 0.0;
    for (const pg_pair *pair = pairs; pair < pairs + instr->count; pair++) {
        factor right = lanes_factor(t, lanes, pair->right);
        if (instr->op != PG_OP_DOT) right.dx = none;
        if (instr->shape & PG_DOT_WEIGHTED) {
            const factor left = uniform_factor(t, pair->left);
            EACH_LANE sum[l] += product_tangent(left, right, l);
        } else {
            const factor left = lanes_factor(t, lanes, pair->left);
            EACH_LANE sum[l] += product_tangent(left, right, l);
        }
    }
    EACH_LANE dy[l] = sum[l];
}

static void take_tangent(const tangents *t, size_t lanes, const pg_instr *take, double *dy) {
    const double *const indices = t->block->values + take->a * lanes;
    for (size_t l = 0; l < lanes; l++) {
        const uint32_t index = pg_index_of(indices[l], take->count);
        dy[l] = 0.0;
        if (index == take->count) continue;
        const uint32_t left = t->block->program->pairs[take->first + index].left;
        dy[l] = take->shape & PG_DOT_WEIGHTED ? t->uniform[left] : t->values[left * lanes + l];
    }
}

INLINE void select_tangent(const tangents *t, size_t lanes, const pg_instr *instr, double *dy) {
    const pg_pair pair = t->block->program->pairs[instr->first];
    const double *const x = t->block->values;
    EACH_LANE dy[l] = pg_compares(instr->shape, x[pair.left * lanes + l], x[pair.right * lanes + l])
                          ? t->values[instr->a * lanes + l]
                          : t->values[instr->b * lanes + l];
}

INLINE void forward(const tangents *t, size_t lanes, uint32_t first, uint32_t count) {
    for (uint32_t i = first; i < first + count; i++) {
        const pg_instr *instr = &t->block->code[i];
        double *dy = t->values + instr->dst * lanes;
        if (instr->op == PG_OP_DOT || instr->op == PG_OP_CUSTOM) dot_tangent(t, lanes, instr, dy);
        else if (instr->op == PG_OP_TAKE) take_tangent(t, lanes, instr, dy);
        else if (instr->op == PG_OP_SCATTER) pg_sum_parts(t->block, instr, t->values);
        else if (instr->op == PG_OP_PART) continue;
        else if (instr->op == PG_OP_SELECT) select_tangent(t, lanes, instr, dy);
        else op_tangent(t, lanes, instr, dy);
    }
}

/* Some of the rows' code, or of the uniform section's. */
static int forward_rows(const tangents *t, uint32_t first, uint32_t count) {
    forward(t, t->lanes, first, count);
    return PG_OK;
}
static int forward_once(const tangents *t, uint32_t first, uint32_t count) {
    forward(t, 1, first, count);
    return PG_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

INLINE void give(const tangents *t, size_t lanes, pg_target target, const double *amount) {
    double *grads = t->grads + (size_t)target.at * lanes;
    if (target.how == PG_ACCUMULATE_FOLD) {
        double *sums = t->accumulators + (size_t)target.at * PG_SUBLANES;
        for (size_t l = 0; l < t->block->active; l++) sums[l] += amount[l];
    } else if (target.how == PG_ACCUMULATE_STORE) {
        EACH_LANE grads[l] = 0.0 + amount[l];
    } else {
        EACH_LANE grads[l] += amount[l];
    }
}

/* Give the tangent of a derivative times the result's gradient to a target. Of a pair, the
 * derivative by one factor is the other one. */
INLINE void push_product_tangent(const tangents *t, size_t lanes, pg_target target, factor slope,
                                 factor g) {
    double amount[PG_SUBLANES];
    if (target.how == PG_ACCUMULATE_NONE) return;
    EACH_LANE amount[l] = product_tangent(slope, g, l);
    give(t, lanes, target, amount);
}

INLINE void push_dot_tangent(const tangents *t, size_t lanes, const pg_step *step,
                             const pg_instr *instr) {
    const factor g = gradient_factor(t, lanes, instr->dst);
    const pg_target *targets = t->block->plan->targets + step->first;
    for (uint32_t i = instr->count; i-- > 0;) {
        const pg_pair pair = t->block->program->pairs[instr->first + i];
        if (i == 0 && step->a.how != PG_ACCUMULATE_NONE) give(t, lanes, step->a, g.dx);
        push_product_tangent(t, lanes, targets[2 * i], lanes_factor(t, lanes, pair.right), g);
        if (instr->shape & PG_DOT_WEIGHTED)
            push_product_tangent(t, lanes, targets[2 * i + 1], uniform_factor(t, pair.left), g);
        else
            push_product_tangent(t, lanes, targets[2 * i + 1], lanes_factor(t, lanes, pair.left),
                                 g);
    }
}

/* Is one of an operand's derivatives, or of their tangents, a fault? Of a failed derivative where
 * the gradient's tangent isn't 0: where the gradient itself isn't, the ordinary kernels have judged
 * it. Of a failed second derivative, in the tangent, where the gradient isn't 0. */
static pg_status judge(const tangents *t, const pg_instr *instr, int which, const duals *by) {
    const size_t lanes = t->lanes;
    const double *const x = t->block->values;
    const factor g = gradient_factor(t, lanes, instr->dst);
    pg_judged judged = {by->d, x + instr->a * lanes, x + instr->b * lanes, g.dx};
    const pg_status status = pg_judge_lanes(t->block, instr->op, which, &judged);
    judged.results = by->tangent;
    judged.g = g.x;
    return status != PG_OK ? status : pg_judge_lanes(t->block, instr->op, which, &judged);
}

/* The tangent of derivative * gradient, given to one operand's target. */
INLINE pg_status push_operand_tangent(const tangents *t, size_t lanes, const pg_step *step,
                                      const pg_instr *instr, const duals by[2]) {
    const factor g = gradient_factor(t, lanes, instr->dst);
    const pg_target targets[2] = {step->a, step->b};
    pg_status status = PG_OK;
    for (int k = 0; k < 2 && status == PG_OK; k++) {
        if (targets[k].how == PG_ACCUMULATE_NONE) continue;
        push_product_tangent(t, lanes, targets[k], (factor){by[k].d, by[k].tangent, 1}, g);
        bool finite = true;
        EACH_LANE finite = finite & (isfinite(by[k].d[l]) != 0) & (isfinite(by[k].tangent[l]) != 0);
        if (PG_UNLIKELY(!finite) && t->block->judge) status = judge(t, instr, k + 1, &by[k]);
    }
    return status;
}

INLINE pg_status step_back(const tangents *t, size_t lanes, const pg_step *step) {
    const pg_instr *instr = &t->block->program->code[step->instr];
    if (instr->op == PG_OP_DOT || instr->op == PG_OP_CUSTOM) {
        push_dot_tangent(t, lanes, step, instr);
        return PG_OK;
    }
    if (instr->op == PG_OP_TAKE) {
        pg_scatter(t->block, step, (pg_place){t->grads, t->accumulators}, PG_SUBLANES);
        return PG_OK;
    }
    if (instr->op == PG_OP_SCATTER) {
        pg_gather_parts(t->block, step, (pg_place){t->grads, t->accumulators}, PG_SUBLANES);
        return PG_OK;
    }
    duals by[2];
    if (instr->op == PG_OP_SELECT) select_derivatives(t, lanes, instr, by);
    else derivatives(t, lanes, instr, by);
    return push_operand_tangent(t, lanes, step, instr, by);
}

/* Some of the rows' steps; the gradients are computed already. */
static int backward_rows(const tangents *t, uint32_t first, uint32_t count) {
    pg_status status = PG_OK;
    for (uint32_t i = first; status == PG_OK && i < first + count; i++)
        status = step_back(t, t->lanes, &t->block->plan->rows[i]);
    return (int)status;
}

/* Some of the uniform steps; the accumulators are totals here. */
static int backward_once(const tangents *t, uint32_t first, uint32_t count) {
    pg_status status = PG_OK;
    for (uint32_t i = first; status == PG_OK && i < first + count; i++) {
        const pg_step *step = &t->block->plan->uniform[i];
        if (step->instr == PG_COLLECT) give(t, 1, step->a, &t->accumulators[step->b.at]);
        else status = step_back(t, 1, step);
    }
    return (int)status;
}

/* ---- Machine code ---------------------------------------------------------------------------- */

typedef int kernel(const tangents *t, uint32_t first, uint32_t count);

typedef struct context {
    const tangents *t;
    kernel *run;
} context;

static int interpret(pg_frame *frame, uint32_t first, uint32_t count) {
    const context *c = frame->context;
    return c->run(c->t, first, count);
}

/* Run a part's code (plan NULL) or steps, `count` of them, as machine code, else by the kernel.
 * Machine code leaves nan in products with 0, and then reports a fault: the kernel must do it
 * again, with sums as they were. */
static pg_status run(pg_workspace *ws, const tangents *t, const pg_backward_plan *plan, int part,
                     kernel *kernel, size_t count) {
    const pg_native *native = ws->careful ? NULL : pg_native_for(ws, plan, part);
    if (native == NULL) return (pg_status)kernel(t, 0, (uint32_t)count);
    context c = {t, kernel};
    pg_frame frame = {.interpret = interpret, .context = &c};
    double *const bases[PG_BASES] = {t->block->values,
                                     t->block->grads,
                                     NULL,
                                     (double *)t->block->uniform,
                                     t->values,
                                     t->grads,
                                     t->accumulators,
                                     (double *)t->uniform};
    memcpy(frame.bases, bases, sizeof bases);
    return pg_run_native(ws, native, &frame);
}

static void run_code(pg_workspace *ws, const tangents *t, int part, kernel *kernel) {
    const size_t length = t->block->length;
    if (run(ws, t, NULL, part, kernel, length) != PG_OK) kernel(t, 0, (uint32_t)length);
}

/* Tangents of the rows' gradients. */
static pg_status run_steps(pg_workspace *ws, const tangents *t) {
    const pg_backward_plan *const plan = t->block->plan;
    double *const seed = t->grads + (size_t)plan->output * PG_SUBLANES;
    for (size_t l = 0; l < PG_SUBLANES; l++) seed[l] = 0.0;
    return run(ws, t, plan, PG_NATIVE_TANGENTS, backward_rows, plan->row_count);
}

/* The same for the uniform section. */
static pg_status run_uniform_steps(pg_workspace *ws, const tangents *t) {
    const pg_backward_plan *const plan = t->block->plan;
    const size_t count = plan->uniform_count;
    const pg_status status = run(ws, t, plan, PG_NATIVE_UNIFORM_TANGENTS, backward_once, count);
    return status == PG_OK ? PG_OK : (pg_status)backward_once(t, 0, (uint32_t)count);
}

/* ---- A whole call ---------------------------------------------------------------------------- */

typedef struct call {
    pg_workspace *ws;
    const pg_task *task;
    const pg_backward_plan *plan; /* NULL: values only */
    const pg_direction *along;
    size_t directions;                  /* that each row is moved along, one after another */
    double *tangent_outputs, *products; /* rows x outputs; rows x directions x inputs; or NULL */
    bool undefined;                     /* a product came out as nan */
    pg_numbers uniform, uniform_grads, values, grads; /* tangents */
    pg_numbers sums, tangent_sums; /* of the accumulators; their tangents as sublanes */
} call;

static void clear_sums(call *c) {
    const size_t sums = c->plan != NULL ? c->plan->accumulators : 0;
    memset(c->sums.at, 0, sums * sizeof(double));
    memset(c->tangent_sums.at, 0, sums * PG_SUBLANES * sizeof(double));
}

static pg_status open_call(call *c) {
    const pg_program *p = c->ws->program;
    const size_t cells = p->row_slots * PG_SUBLANES;
    const size_t sums = c->plan != NULL ? c->plan->accumulators : 0;
    if (pg_reserve_numbers(&c->uniform, p->uniform_slots) != PG_OK ||
        pg_reserve_numbers(&c->uniform_grads, p->uniform_slots) != PG_OK ||
        pg_reserve_numbers(&c->values, cells) != PG_OK ||
        pg_reserve_numbers(&c->grads, cells) != PG_OK ||
        pg_reserve_numbers(&c->sums, sums) != PG_OK ||
        pg_reserve_numbers(&c->tangent_sums, sums * PG_SUBLANES) != PG_OK)
        return PG_ERR_NOMEM;
    clear_sums(c);
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

/* The tangents of the uniform section; its values are computed already. */
static void forward_uniform(call *c) {
    const pg_program *p = c->ws->program;
    pg_block block = {.program = p,
                      .code = p->code,
                      .length = p->uniform_length,
                      .values = c->ws->uniform.at,
                      .lanes = 1,
                      .active = 1};
    memset(c->uniform.at, 0, (p->constant_count + p->param_count) * sizeof(double));
    if (c->along->params != NULL && p->param_count > 0)
        memcpy(c->uniform.at + p->constant_count, c->along->params,
               p->param_count * sizeof(double));
    const tangents t = {.block = &block, .lanes = 1, .values = c->uniform.at};
    run_code(c->ws, &t, PG_NATIVE_UNIFORM_TANGENTS, forward_once);
}

/* Tangents of the inputs that stand still, and of the imports, broadcast. */
static void begin_rows(call *c) {
    const pg_program *p = c->ws->program;
    memset(c->values.at, 0, p->input_count * PG_SUBLANES * sizeof(double));
    for (size_t i = 0; i < p->import_count; i++)
        for (size_t l = 0; l < PG_SUBLANES; l++)
            c->values.at[(p->input_count + i) * PG_SUBLANES + l] = c->uniform.at[p->imports[i]];
}

/* Tangents of the inputs that move: given, or the unit vector of this index. Padding lanes move as
 * the last row does. */
static void move_inputs(call *c, pg_rows rows, size_t index) {
    const pg_direction *along = c->along;
    double *tangents = c->values.at + along->first * PG_SUBLANES;
    for (size_t k = 0; k < along->count; k++)
        for (size_t l = 0; l < PG_SUBLANES; l++) {
            const size_t row = rows.first + (l < rows.active ? l : rows.active - 1);
            *tangents++ = along->inputs != NULL ? along->inputs[row * along->stride + k]
                                                : (double)(k == index);
        }
}

/* An infinite derivative is a fault where it meets a tangent that isn't 0. Asked only where a
 * tangent of an output isn't finite: what an output doesn't depend on can't fail. */
static pg_status judge_tangents(const tangents *t) {
    const double *const x = t->block->values;
    pg_status status = PG_OK;
    for (size_t i = 0; status == PG_OK && t->block->judge && i < t->block->length; i++) {
        const pg_instr *instr = &t->block->code[i];
        if (pg_instr_describe(instr->op)->pairs != PG_PAIRS_NONE) continue;
        const uint32_t operands[] = {instr->a, instr->b};
        duals by[2];
        derivatives(t, PG_SUBLANES, instr, by);
        for (int k = 0; status == PG_OK && k < pg_instr_describe(instr->op)->receivers; k++) {
            const pg_judged judged = {by[k].d, x + instr->a * PG_SUBLANES,
                                      x + instr->b * PG_SUBLANES,
                                      t->values + operands[k] * PG_SUBLANES};
            status = pg_judge_lanes(t->block, instr->op, k + 1, &judged);
        }
    }
    return status;
}

static pg_status store_tangents(call *c, const tangents *t, pg_rows rows) {
    const pg_program *p = c->ws->program;
    bool finite = true;
    for (size_t o = 0; o < p->output_count; o++)
        for (size_t l = 0; l < rows.active; l++) {
            const size_t from = p->outputs[o] * PG_SUBLANES + l;
            const size_t to = (rows.first + l) * p->output_count + o;
            c->task->outputs[to] = t->block->values[from];
            c->tangent_outputs[to] = t->values[from];
            finite = finite && isfinite(t->values[from]);
        }
    return finite ? PG_OK : judge_tangents(t);
}

static void store_products(call *c, const tangents *t, pg_rows rows, size_t direction) {
    const size_t first = c->along->first, count = c->along->count;
    for (size_t l = 0; l < rows.active; l++)
        for (size_t k = 0; k < count; k++) {
            const double product =
                c->plan->input_reached[first + k] ? t->grads[(first + k) * PG_SUBLANES + l] : 0.0;
            c->products[((rows.first + l) * c->directions + direction) * count + k] = product;
            c->undefined = c->undefined || isnan(product);
        }
}

/* Up to eight rows: values and their tangents, and with a plan gradients and theirs. */
static pg_status run_rows(call *c, pg_rows rows) {
    pg_block block;
    pg_status status = pg_forward_block(c->ws, c->task, &block, rows);
    const tangents t = {&block,      PG_SUBLANES,   c->values.at,
                        c->grads.at, c->uniform.at, c->tangent_sums.at};
    if (status == PG_OK && c->plan != NULL) {
        block.accumulators = c->sums.at;
        status = pg_backward_block(c->ws, &block, c->plan, PG_EIGHT);
    }
    for (size_t d = 0; status == PG_OK && d < c->directions; d++) {
        move_inputs(c, rows, d);
        run_code(c->ws, &t, PG_NATIVE_TANGENTS, forward_rows);
        if (c->tangent_outputs != NULL) status = store_tangents(c, &t, rows);
        if (c->plan != NULL) status = run_steps(c->ws, &t);
        if (c->products != NULL) store_products(c, &t, rows, d);
    }
    if (pg_is_fault(status)) pg_note_fault(c->ws, c->task, &block, rows.first);
    return status;
}

/* Rows that fail are re-run one by one, as in a replay, to find the first that does. */
static pg_status run_all_rows(call *c) {
    const size_t work = (c->ws->program->row_slots + c->ws->program->pair_count) * 2 * PG_SUBLANES *
                        (c->directions + 1);
    bool singly = false;
    begin_rows(c);
    pg_begin_chunk(c->ws);
    for (size_t row = 0; row < c->task->rows;) {
        const pg_rows rows = pg_rows_from(row, singly ? 1 : c->task->rows - row, PG_EIGHT);
        const pg_status status = run_rows(c, rows);
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
    const size_t count = c->plan->accumulators;
    pg_status status = run_all_rows(c);
    bool again = pg_is_fault(status) || c->undefined;
    for (size_t i = 0; status == PG_OK && i < count; i++) again = again || isnan(c->sums.at[i]);
    if (!again) return status;
    c->ws->careful = true;
    clear_sums(c);
    return run_all_rows(c);
}

/* Sums in place: accumulator i's sublanes begin at or after i. */
static void sum_sublanes(double *sums, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const double *const s = sums + i * PG_SUBLANES;
        sums[i] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    }
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
    const tangents t = {
        &block, 1, c->uniform.at, c->uniform_grads.at, c->uniform.at, c->tangent_sums.at};
    sum_sublanes(c->tangent_sums.at, c->plan->accumulators);
    const pg_status status = run_uniform_steps(c->ws, &t);
    if (status != PG_OK) c->ws->fault = (pg_replay_fault){-1, block.fault};
    return status;
}

/* Reserve the arrays, and compute the uniform section and its tangents. */
static pg_status begin_call(call *c, const double *params) {
    pg_status status = open_call(c);
    if (status == PG_OK) status = pg_replay_begin(c->ws, params, c->task->ignore);
    if (status == PG_OK) forward_uniform(c);
    return status;
}

pg_status pg_jvp(pg_workspace *ws, const double *params, const pg_direction *along,
                 const pg_task *task, double *tangents) {
    call c = {.ws = ws, .task = task, .along = along, .directions = 1, .tangent_outputs = tangents};
    pg_status status = begin_call(&c, params);
    if (status == PG_OK) status = run_all_rows(&c);
    close_call(&c);
    return status;
}

pg_status pg_hvp_rows(pg_workspace *ws, const double *params, const pg_direction *along,
                      const pg_task *task, double *products) {
    call c = {.ws = ws,
              .task = task,
              .plan = task->plan[0],
              .along = along,
              .directions = along->inputs != NULL ? 1 : along->count,
              .products = products};
    pg_status status = begin_call(&c, params);
    if (status == PG_OK) status = run_rows_back(&c);
    close_call(&c);
    return status;
}

pg_status pg_hvp(pg_workspace *ws, const double *params, const pg_direction *along,
                 const pg_task *task, double *product, double *gradient) {
    const pg_program *program = ws->program;
    call c = {.ws = ws, .task = task, .plan = task->plan[0], .along = along, .directions = 1};
    pg_status status = begin_call(&c, params);
    if (status == PG_OK) status = run_rows_back(&c);
    if (status == PG_OK) status = pg_backward_uniform(ws, task, c.plan, c.sums.at, gradient);
    if (status == PG_OK) status = reverse_uniform_tangents(&c);
    for (size_t i = 0; status == PG_OK && i < program->param_count; i++) {
        const size_t slot = program->constant_count + i;
        product[i] = c.plan->uniform_reached[slot] ? task->scale * c.uniform_grads.at[slot] : 0.0;
    }
    close_call(&c);
    return status;
}
