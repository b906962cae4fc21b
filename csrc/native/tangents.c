/* tangents.c - instructions and steps to machine code that computes their tangents: tangent.c's
 * loops.
 *
 *   y = op(a, b)       dy = (dy/da) da + (dy/db) db
 *   t = slope * g      dt = (slope's tangent) g + slope (g's tangent), to the same target
 *
 * Values and gradients are computed already. tangent.c lets 0 win over inf and nan in a product;
 * here products are plain, and checked: where one isn't finite, tangent.c's loops do it again.
 * Invariant: the same bits, but for the sign of a zero that is then added to a gradient. */
#include "native/emit.h"

#if PG_HAS_NATIVE

/* The tangent of a slot of values, or of uniform values. */
static pg_at tangent_of(pg_at at) {
    return (pg_at){at.base == PG_UNIFORM ? PG_UNIFORM_TANGENTS : PG_VALUE_TANGENTS, at.slot};
}

static int times(pg_emitter *e, int x, int y) { return pg_operate(e, PG_MULTIPLIES, x, y); }
static int plus(pg_emitter *e, int x, int y) { return pg_operate(e, PG_ADDS, x, y); }

static int fetch(pg_emitter *e, pg_base base, uint32_t slot) {
    return pg_fetch(e, (pg_at){base, slot});
}

static bool has_formula(int op, pg_formula_name name) { return pg_formula_text(op, name) != NULL; }

static void keep_tangent(pg_emitter *e, const pg_instr *instr, int dy) {
    pg_put_check(&e->code, dy);
    pg_keep(e, dy, (pg_at){PG_VALUE_TANGENTS, instr->dst});
}

/* ---- Values ---------------------------------------------------------------------------------- */

bool pg_tangent_has_form(pg_emitter *e, const pg_instr *instr) {
    switch (instr->op) {
    case PG_OP_TAKE:
    case PG_OP_SEARCH:
    case PG_OP_SCATTER: return false;
    case PG_OP_SELECT:
    case PG_OP_DETACH:
    case PG_OP_CUSTOM:
    case PG_OP_DOT: return true;
    default:
        return pg_is_computable(e, instr->op, PG_OF_SLOPE_A) &&
               (!has_formula(instr->op, PG_OF_SLOPE_B) ||
                pg_is_computable(e, instr->op, PG_OF_SLOPE_B));
    }
}

/* x's tangent times y, and x times y's tangent. */
static int product_tangent(pg_emitter *e, pg_at x, pg_at y, bool constant) {
    const int left = times(e, pg_fetch(e, tangent_of(x)), pg_fetch(e, y));
    const int dy = constant ? PG_ZERO : pg_fetch(e, tangent_of(y));
    return plus(e, left, times(e, pg_fetch(e, x), dy));
}

/* A custom op's right factors are derivatives, taken as constants. */
static void emit_dot_tangent(pg_emitter *e, const pg_instr *dot) {
    const bool uniform_start = dot->shape & PG_DOT_UNIFORM_START && !e->uniform;
    int sum = PG_ZERO;
    if (dot->shape & PG_DOT_STARTS)
        sum = fetch(e, uniform_start ? PG_UNIFORM_TANGENTS : PG_VALUE_TANGENTS, dot->a);
    for (uint32_t i = 0; i < dot->count; i++) {
        const pg_pair pair = e->program->pairs[dot->first + i];
        const pg_at left = {pg_left_base(e, dot), pair.left}, right = {PG_VALUES, pair.right};
        sum = plus(e, sum, product_tangent(e, left, right, dot->op != PG_OP_DOT));
    }
    keep_tangent(e, dot, sum);
}

static void emit_select_tangent(pg_emitter *e, const pg_instr *instr) {
    bool swapped;
    const int condition = pg_emit_condition(e, instr, &swapped);
    const int a = fetch(e, PG_VALUE_TANGENTS, instr->a), b = fetch(e, PG_VALUE_TANGENTS, instr->b);
    keep_tangent(e, instr, pg_choose(e, condition, swapped ? b : a, swapped ? a : b));
}

static void emit_op_tangent(pg_emitter *e, const pg_instr *instr) {
    const pg_operands on = pg_operands_of(instr);
    if (!has_formula(instr->op, PG_OF_SLOPE_B)) {
        const int slope = pg_compute(e, instr->op, PG_OF_SLOPE_A, &on);
        keep_tangent(e, instr, times(e, slope, fetch(e, PG_VALUE_TANGENTS, instr->a)));
        return;
    }
    /* by b first: a function loses all registers, so its product waits in the result's place */
    const pg_at result = {PG_VALUE_TANGENTS, instr->dst};
    int slope = pg_compute(e, instr->op, PG_OF_SLOPE_B, &on);
    pg_keep(e, times(e, slope, fetch(e, PG_VALUE_TANGENTS, instr->b)), result);
    slope = pg_compute(e, instr->op, PG_OF_SLOPE_A, &on);
    const int by_a = times(e, slope, fetch(e, PG_VALUE_TANGENTS, instr->a));
    keep_tangent(e, instr, plus(e, by_a, pg_fetch(e, result)));
}

void pg_emit_tangent(pg_emitter *e, const pg_instr *instr) {
    switch (instr->op) {
    case PG_OP_SELECT: emit_select_tangent(e, instr); break;
    case PG_OP_DETACH: keep_tangent(e, instr, PG_ZERO); break;
    case PG_OP_CUSTOM:
    case PG_OP_DOT: emit_dot_tangent(e, instr); break;
    default: emit_op_tangent(e, instr);
    }
}

/* ---- Gradients ------------------------------------------------------------------------------- */

/* The second derivatives by operand 1 or 2, and a, or b. */
static pg_formula_name second_by_a(int which) {
    return which == 1 ? PG_OF_SECOND_AA : PG_OF_SECOND_AB;
}
static pg_formula_name second_by_b(int which) {
    return which == 1 ? PG_OF_SECOND_AB : PG_OF_SECOND_BB;
}

static bool is_known(pg_emitter *e, int op, pg_formula_name name) {
    return !has_formula(op, name) || pg_formula_of(e, op, name)->known;
}

static bool operand_has_form(pg_emitter *e, const pg_instr *instr, int which, pg_target target) {
    return target.how == PG_ACCUMULATE_NONE ||
           (pg_formula_of(e, instr->op, which == 1 ? PG_OF_SLOPE_A : PG_OF_SLOPE_B)->known &&
            is_known(e, instr->op, second_by_a(which)) &&
            is_known(e, instr->op, second_by_b(which)));
}

bool pg_step_tangent_has_form(pg_emitter *e, const pg_step *step) {
    if (step->instr == PG_COLLECT) return true;
    const pg_instr *const instr = &e->program->code[step->instr];
    switch (instr->op) {
    case PG_OP_TAKE:
    case PG_OP_SCATTER: return false;
    case PG_OP_SELECT:
    case PG_OP_CUSTOM:
    case PG_OP_DOT: return true;
    default:
        return operand_has_form(e, instr, 1, step->a) && operand_has_form(e, instr, 2, step->b);
    }
}

/* One term of a slope's tangent, added to the others: second derivative * operand's tangent. A sum
 * without terms is 0. */
static int add_term(pg_emitter *e, int sum, const pg_instr *instr, pg_formula_name name,
                    const pg_operands *on, uint32_t operand) {
    if (!has_formula(instr->op, name)) return sum;
    const pg_formula *second = pg_formula_of(e, instr->op, name);
    if (second->count == 1 && second->numbers == 1 && second->number[0] == 0.0) return sum;
    const int term = times(e, pg_evaluate(e, second, on), fetch(e, PG_VALUE_TANGENTS, operand));
    return sum == PG_ZERO ? term : plus(e, sum, term);
}

static void give(pg_emitter *e, pg_target target, int amount) {
    amount = pg_load(e, amount);
    pg_put_check(&e->code, amount);
    pg_give(e, target, 0, amount);
}

static void push_operand(pg_emitter *e, const pg_instr *instr, int which, pg_target target) {
    if (target.how == PG_ACCUMULATE_NONE) return;
    pg_operands on = pg_operands_of(instr);
    on.slope = pg_compute(e, instr->op, which == 1 ? PG_OF_SLOPE_A : PG_OF_SLOPE_B, &on);
    int tangent = add_term(e, PG_ZERO, instr, second_by_a(which), &on, instr->a);
    tangent = add_term(e, tangent, instr, second_by_b(which), &on, instr->b);
    int amount = times(e, on.slope, fetch(e, PG_GRAD_TANGENTS, instr->dst));
    if (tangent != PG_ZERO)
        amount = plus(e, times(e, tangent, fetch(e, PG_GRADS, instr->dst)), amount);
    give(e, target, amount);
}

static void push_select(pg_emitter *e, const pg_instr *instr, pg_target target, bool first) {
    if (target.how == PG_ACCUMULATE_NONE) return;
    bool swapped;
    const int condition = pg_emit_condition(e, instr, &swapped);
    const int dg = fetch(e, PG_GRAD_TANGENTS, instr->dst);
    const bool on = swapped != first;
    give(e, target, pg_choose(e, condition, on ? dg : PG_ZERO, on ? PG_ZERO : dg));
}

static void push_factor(pg_emitter *e, const pg_instr *dot, pg_at factor, pg_target target) {
    if (target.how == PG_ACCUMULATE_NONE) return;
    const int moved = times(e, pg_fetch(e, tangent_of(factor)), fetch(e, PG_GRADS, dot->dst));
    const int rest = times(e, pg_fetch(e, factor), fetch(e, PG_GRAD_TANGENTS, dot->dst));
    give(e, target, plus(e, moved, rest));
}

static void push_pairs(pg_emitter *e, const pg_step *step, const pg_instr *dot) {
    const pg_target *const targets = e->plan->targets + step->first;
    for (uint32_t i = dot->count; i-- > 0;) {
        const pg_pair pair = e->program->pairs[dot->first + i];
        if (i == 0 && step->a.how != PG_ACCUMULATE_NONE)
            give(e, step->a, fetch(e, PG_GRAD_TANGENTS, dot->dst));
        push_factor(e, dot, (pg_at){PG_VALUES, pair.right}, targets[2 * i]);
        push_factor(e, dot, (pg_at){pg_left_base(e, dot), pair.left}, targets[2 * i + 1]);
    }
}

void pg_emit_step_tangent(pg_emitter *e, const pg_step *step) {
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
    default: push_operand(e, instr, 1, step->a); push_operand(e, instr, 2, step->b);
    }
}

#endif
