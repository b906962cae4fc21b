/* backward.c - steps to machine code: what the kernels of lanes_ops.h and lanes_dots.h propagate.
 *
 * Invariant: contributions reach their targets in the order of those kernels, each by the same
 * operations: a first one is 0.0 + t, and an accumulator gets lane after lane. */
#include "native/emit.h"
#include "ops/kernels.h"

#include <string.h>

#if PG_HAS_NATIVE

/* ---- Sines and cosines ----------------------------------------------------------------------- */

void pg_find_circles(pg_emitter *e) {
    const size_t slots = e->uniform ? e->program->uniform_slots : e->program->row_slots;
    bool found[2] = {false, false};
    for (size_t i = 0; i < e->length_of; i++) {
        found[0] |= e->code_of[i].op == PG_OP_SIN;
        found[1] |= e->code_of[i].op == PG_OP_COS;
    }
    if (!found[0] || !found[1]) return;
    e->circle = pg_realloc(NULL, 2 * slots, sizeof *e->circle);
    if (e->circle == NULL) {
        e->code.failed = true;
        return;
    }
    memset(e->circle, 0xff, 2 * slots * sizeof *e->circle); /* PG_NO_VALUE */
    for (size_t i = 0; i < e->length_of; i++) {
        const pg_instr *const instr = &e->code_of[i];
        if (instr->op == PG_OP_SIN) e->circle[2 * instr->a] = instr->dst;
        if (instr->op == PG_OP_COS) e->circle[2 * instr->a + 1] = instr->dst;
    }
}

/* The slot of the cosine of what this is the sine of, or vice versa; or PG_NO_VALUE. */
static uint32_t partner_of(const pg_emitter *e, const pg_instr *instr) {
    if (e->circle == NULL || (instr->op != PG_OP_SIN && instr->op != PG_OP_COS)) return PG_NO_VALUE;
    return e->circle[2 * instr->a + (instr->op == PG_OP_SIN)];
}

/* cos(a), or -sin(a), as it was computed. */
static int slope_of_partner(pg_emitter *e, const pg_instr *instr) {
    const int value = pg_fetch(e, (pg_at){PG_VALUES, partner_of(e, instr)});
    return instr->op == PG_OP_SIN ? pg_load(e, value) : pg_operate(e, PG_NEGATES, value, PG_ZERO);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static bool slope_has_form(pg_emitter *e, int op, pg_formula_name name, pg_target target) {
    return target.how == PG_ACCUMULATE_NONE || pg_is_computable(e, op, name);
}

/* Can the contribution of the operand in this slot be given? In a block of many lanes one to an
 * accumulator waits in its gradient's place, if no other does. */
static bool can_give(const pg_emitter *e, pg_target target, uint32_t operand) {
    if (target.how != PG_ACCUMULATE_FOLD || e->lanes == 1) return true;
    for (uint32_t i = 0; i < e->fold_count; i++)
        if (e->folds[i].slot == operand) return false;
    return e->fold_count + 2 <= PG_MOST_FOLDS;
}

static bool op_has_form(pg_emitter *e, const pg_step *step, const pg_instr *instr) {
    if (!can_give(e, step->a, instr->a) || !can_give(e, step->b, instr->b)) return false;
    if (step->a.how == PG_ACCUMULATE_FOLD && step->b.how == PG_ACCUMULATE_FOLD && e->lanes > 1)
        return false;
    return instr->op == PG_OP_SELECT ||
           ((partner_of(e, instr) != PG_NO_VALUE ||
             slope_has_form(e, pg_slope_op(e, instr), PG_OF_SLOPE_A, step->a)) &&
            slope_has_form(e, instr->op, PG_OF_SLOPE_B, step->b));
}

bool pg_step_has_form(pg_emitter *e, const pg_step *step) {
    if (step->instr == PG_COLLECT) return step->run == 1 || !pg_is_direct(e->program, step);
    const pg_instr *const instr = &e->program->code[step->instr];
    if (pg_is_for_kernel(e, instr, step->run)) return false;
    switch (instr->op) {
    case PG_OP_TAKE:
    case PG_OP_SCATTER: return false;
    case PG_OP_CUSTOM:
    case PG_OP_DOT: return e->lanes == 1;
    default: return op_has_form(e, step, instr);
    }
}

/* First contributions are 0.0 + t, as the kernels' are. */
void pg_give(pg_emitter *e, pg_target target, uint32_t operand, int t) {
    const bool fold = target.how == PG_ACCUMULATE_FOLD;
    const pg_at at = {fold ? e->sums : e->grads, target.at};
    if (fold && e->lanes > 1 && !e->tangents) {
        e->folds[e->fold_count++] = (pg_fold){operand, target.at};
        pg_keep(e, t, (pg_at){e->grads, operand});
        return;
    }
    const int before = target.how == PG_ACCUMULATE_STORE ? PG_ZERO : pg_fetch(e, at);
    pg_keep(e, pg_operate(e, PG_ADDS, before, t), at);
}

/* How many folds, from this one on, go to accumulators of their own? */
static uint32_t folds_apart(const pg_emitter *e, uint32_t first) {
    uint32_t end = first;
    for (; end < e->fold_count && end < first + PG_MOST_ABREAST; end++)
        for (uint32_t i = first; i < end; i++)
            if (e->folds[i].accumulator == e->folds[end].accumulator) return end - first;
    return end - first;
}

/* Lane after lane; several folds at a time, since an addition waits for the one before it. */
static void emit_abreast(pg_emitter *e, const pg_fold *folds, uint32_t count) {
    pg_code *const code = &e->code;
    int32_t from[PG_MOST_ABREAST], to[PG_MOST_ABREAST];
    code->wide = false;
    for (uint32_t i = 0; i < count; i++) {
        from[i] = pg_offset_of(e, (pg_at){e->grads, folds[i].slot});
        to[i] = pg_offset_of(e, (pg_at){e->sums, folds[i].accumulator});
        pg_put_load(code, (int)i, e->sums, to[i]);
    }
    for (int32_t l = 0; l < (int32_t)e->lanes; l++)
        for (uint32_t i = 0; i < count; i++)
            pg_put_operation_on(code, PG_ADDS, (int)i, (int)i, e->grads,
                                from[i] + l * (int32_t)sizeof(double));
    for (uint32_t i = 0; i < count; i++) pg_put_store(code, (int)i, e->sums, to[i]);
    code->wide = true;
}

void pg_emit_folds(pg_emitter *e) {
    for (uint32_t first = 0, count; first < e->fold_count; first += count) {
        count = folds_apart(e, first);
        emit_abreast(e, e->folds + first, count);
    }
    e->fold_count = 0;
}

static int gradient(pg_emitter *e, const pg_instr *instr) {
    return pg_fetch(e, (pg_at){PG_GRADS, instr->dst});
}

static bool is_one(const pg_formula *formula) {
    return formula->known && formula->count == 1 && formula->numbers == 1 &&
           formula->number[0] == 1.0;
}

static void push(pg_emitter *e, const pg_instr *instr, pg_formula_name name, pg_target target,
                 uint32_t operand) {
    if (target.how == PG_ACCUMULATE_NONE) return;
    const int op = name == PG_OF_SLOPE_A ? pg_slope_op(e, instr) : instr->op;
    if (is_one(pg_formula_of(e, op, name))) {
        pg_give(e, target, operand, gradient(e, instr));
        return;
    }
    const pg_operands on = pg_operands_of(instr);
    const bool partner = name == PG_OF_SLOPE_A && partner_of(e, instr) != PG_NO_VALUE;
    const int slope = partner ? slope_of_partner(e, instr) : pg_compute(e, op, name, &on);
    if (pg_may_fail(instr->op, 1)) pg_put_check(&e->code, slope);
    pg_give(e, target, operand, pg_operate(e, PG_MULTIPLIES, slope, gradient(e, instr)));
}

/* Its slopes are 1 and 0. */
static void push_select(pg_emitter *e, const pg_instr *instr, pg_target target, bool first) {
    if (target.how == PG_ACCUMULATE_NONE) return;
    bool swapped;
    const int condition = pg_emit_condition(e, instr, &swapped), one = pg_fetch_number(e, 1.0);
    const bool on = swapped != first;
    const int slope = pg_choose(e, condition, on ? one : PG_ZERO, on ? PG_ZERO : one);
    pg_give(e, target, first ? instr->a : instr->b,
            pg_operate(e, PG_MULTIPLIES, slope, gradient(e, instr)));
}

static void push_factor(pg_emitter *e, const pg_instr *dot, pg_at factor, pg_target target) {
    if (target.how == PG_ACCUMULATE_NONE) return;
    pg_give(e, target, 0, pg_operate(e, PG_MULTIPLIES, pg_fetch(e, factor), gradient(e, dot)));
}

/* For one row only. */
static void push_pairs(pg_emitter *e, const pg_step *step, const pg_instr *dot) {
    const pg_target *const targets = e->plan->targets + step->first;
    for (uint32_t i = dot->count; i-- > 0;) {
        const pg_pair pair = e->program->pairs[dot->first + i];
        if (i == 0 && step->a.how != PG_ACCUMULATE_NONE) pg_give(e, step->a, 0, gradient(e, dot));
        push_factor(e, dot, (pg_at){PG_VALUES, pair.right}, targets[2 * i]);
        push_factor(e, dot, (pg_at){pg_left_base(e, dot), pair.left}, targets[2 * i + 1]);
    }
}

void pg_collect(pg_emitter *e, const pg_step *step) {
    pg_give(e, step->a, 0, pg_fetch(e, (pg_at){e->sums, step->b.at}));
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
        push(e, instr, PG_OF_SLOPE_A, step->a, instr->a);
        push(e, instr, PG_OF_SLOPE_B, step->b, instr->b);
    }
}

#endif
