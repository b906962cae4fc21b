/* backward.c - steps to machine code: what the kernels of lanes_ops.h and lanes_dots.h propagate.
 *
 * Invariant: contributions reach their targets in the order of those kernels, each by the same
 * operations: a first one is 0.0 + t, and an accumulator gets lanes that are 8 apart as a tree. */
#include "native/emit.h"
#include "ops/kernels.h"

static bool slope_has_form(pg_emitter *e, int op, pg_formula_name name, pg_target target) {
    return target.how == PG_ACCUMULATE_NONE || pg_is_computable(e, op, name);
}

bool pg_step_has_form(pg_emitter *e, const pg_step *step) {
    if (step->instr == PG_COLLECT) return true;
    const pg_instr *const instr = &e->program->code[step->instr];
    switch (instr->op) {
    case PG_OP_TAKE: return false;
    case PG_OP_DOT: return step->run == 1 || step->run * instr->count <= 64;
    case PG_OP_SELECT:
    case PG_OP_CUSTOM: return true;
    default:
        return (e->lanes == 1 || step->run <= 16) &&
               slope_has_form(e, instr->op, PG_OF_SLOPE_A, step->a) &&
               slope_has_form(e, instr->op, PG_OF_SLOPE_B, step->b);
    }
}

/* The sum of the strip: lanes that are 8 apart are added in a fixed tree. */
static int fold(pg_emitter *e, const int *ts) {
    if (e->strip == 1) return ts[0];
    const int low = pg_operate(e, PG_ADDS, ts[0], ts[1]);
    return pg_operate(e, PG_ADDS, low, pg_operate(e, PG_ADDS, ts[2], ts[3]));
}

static void give_vector(pg_emitter *e, pg_target target, int t, int vector) {
    const pg_at at = {e->grads, target.at};
    const int before = target.how == PG_ACCUMULATE_ADD ? pg_fetch(e, at, vector) : PG_ZERO;
    const int sum = pg_operate(e, PG_ADDS, before, t);
    pg_keep(e, sum, at, vector);
    pg_release(e, sum);
}

void pg_give(pg_emitter *e, pg_target target, const int *ts) {
    if (target.how != PG_ACCUMULATE_FOLD) {
        for (int v = 0; v < e->strip; v++) give_vector(e, target, ts[v], v);
        return;
    }
    const pg_at at = {e->sums, target.at};
    const int folded = fold(e, ts);
    const int sum = pg_operate(e, PG_ADDS, pg_fetch(e, at, 0), folded);
    pg_keep(e, sum, at, 0);
    pg_release(e, sum);
}

static int gradient(pg_emitter *e, const pg_instr *instr, int vector) {
    return pg_fetch(e, (pg_at){PG_GRADS, instr->dst}, vector);
}

static bool is_one(const pg_formula *formula) {
    return formula->known && formula->count == 1 && formula->numbers == 1 &&
           formula->number[0] == 1.0;
}

static void push(pg_emitter *e, const pg_instr *instr, pg_formula_name name, pg_target target) {
    if (target.how == PG_ACCUMULATE_NONE) return;
    const pg_formula *formula = pg_formula_of(e, instr->op, name);
    const pg_operands on = pg_operands_of(instr);
    int ts[PG_STRIP];
    for (int v = 0; v < e->strip; v++) {
        if (is_one(formula)) {
            ts[v] = gradient(e, instr, v);
            continue;
        }
        const int slope = pg_compute(e, instr->op, name, &on, v);
        if (pg_may_fail(instr->op, 1)) pg_put_check(&e->code, slope);
        ts[v] = pg_operate(e, PG_MULTIPLIES, slope, gradient(e, instr, v));
    }
    pg_give(e, target, ts);
}

/* Its slopes are 1 and 0. */
static void push_select(pg_emitter *e, const pg_instr *instr, pg_target target, bool first) {
    if (target.how == PG_ACCUMULATE_NONE) return;
    int ts[PG_STRIP];
    for (int v = 0; v < e->strip; v++) {
        bool swapped;
        const int condition = pg_emit_condition(e, instr, v, &swapped), one = pg_fetch_number(e, 1.0);
        const bool on = swapped != first;
        const int slope = pg_choose(e, condition, on ? one : PG_ZERO, on ? PG_ZERO : one);
        ts[v] = pg_operate(e, PG_MULTIPLIES, slope, gradient(e, instr, v));
    }
    pg_give(e, target, ts);
}

static void push_factor(pg_emitter *e, const pg_instr *dot, pg_at factor, pg_target target) {
    int ts[PG_STRIP];
    if (target.how == PG_ACCUMULATE_NONE) return;
    for (int v = 0; v < e->strip; v++)
        ts[v] = pg_operate(e, PG_MULTIPLIES, pg_fetch(e, factor, v), gradient(e, dot, v));
    pg_give(e, target, ts);
}

static void push_start(pg_emitter *e, const pg_instr *dot, pg_target target) {
    int ts[PG_STRIP];
    if (target.how == PG_ACCUMULATE_NONE) return;
    for (int v = 0; v < e->strip; v++) ts[v] = gradient(e, dot, v);
    pg_give(e, target, ts);
}

static void push_pairs(pg_emitter *e, const pg_step *step, const pg_instr *dot) {
    const pg_target *const targets = e->plan->targets + step->first;
    const pg_base left = pg_left_base(e, dot);
    for (uint32_t i = dot->count; i-- > 0;) {
        const pg_pair pair = e->program->pairs[dot->first + i];
        if (i == 0) push_start(e, dot, step->a);
        push_factor(e, dot, (pg_at){PG_VALUES, pair.right}, targets[2 * i]);
        push_factor(e, dot, (pg_at){left, pair.left}, targets[2 * i + 1]);
    }
}

void pg_collect(pg_emitter *e, const pg_step *step) {
    pg_give(e, step->a, &(int){pg_fetch(e, (pg_at){e->sums, step->b.at}, 0)});
}

void pg_emit_step(pg_emitter *e, const pg_step *step) {
    if (step->instr == PG_COLLECT) {
        pg_collect(e, step);
        return;
    }
    const pg_instr *const instr = &e->program->code[step->instr];
    switch (instr->op) {
    case PG_OP_SELECT:
        push_select(e, instr, step->a, true);
        push_select(e, instr, step->b, false);
        break;
    case PG_OP_CUSTOM:
    case PG_OP_DOT: push_pairs(e, step, instr); break;
    default:
        push(e, instr, PG_OF_SLOPE_A, step->a);
        push(e, instr, PG_OF_SLOPE_B, step->b);
    }
}
