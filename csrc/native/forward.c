/* forward.c - instructions to machine code: what the kernels of lanes_ops.h and lanes_dots.h
 * compute.
 *
 * Invariant: the same operations on the same numbers in the same order, so the same bits. */
#include "native/emit.h"
#include "ops/kernels.h"

#if PG_HAS_NATIVE

/* Longer ones are left to the kernels: a loop over pairs is shorter than code for each, and a
 * layer's sums share their inputs. Products of a dot, of a layer, of a dot in a block; a run of one
 * op. */
enum { most_in_dot = 256, most_in_layer = 64, most_in_block = 4, most_of_run = 16 };

const pg_formula *pg_formula_of(pg_emitter *e, int op, pg_formula_name name) {
    static const pg_formula unknown;
    pg_formula **const kept = &e->formulas[op][name];
    if (*kept != NULL) return *kept;
    pg_formula *const formula = pg_realloc(NULL, 1, sizeof *formula);
    if (formula == NULL) e->code.failed = true;
    else pg_formula_read(formula, pg_formula_text(op, name), e->fast);
    *kept = formula;
    return formula != NULL ? formula : &unknown;
}

pg_operands pg_operands_of(const pg_instr *instr) {
    return (pg_operands){
        {PG_VALUES, instr->a}, {PG_VALUES, instr->b}, {PG_VALUES, instr->dst}, PG_ZERO};
}

pg_base pg_left_base(const pg_emitter *e, const pg_instr *dot) {
    return dot->shape & PG_DOT_WEIGHTED && !e->uniform ? PG_UNIFORM : PG_VALUES;
}

bool pg_is_for_kernel(const pg_emitter *e, const pg_instr *instr, uint32_t run) {
    if (instr->op != PG_OP_DOT) return e->lanes > 1 && run > most_of_run;
    if (e->lanes > 1) return run > 1 || instr->count > most_in_block;
    return run > 1 ? (size_t)run * instr->count > most_in_layer : instr->count > most_in_dot;
}

bool pg_has_form(pg_emitter *e, const pg_instr *instr) {
    if (pg_is_for_kernel(e, instr, instr->run)) return false;
    switch (instr->op) {
    case PG_OP_SELECT:
    case PG_OP_DETACH:
    case PG_OP_CUSTOM:
    case PG_OP_DOT: return true;
    case PG_OP_TAKE:
    case PG_OP_SEARCH:
    case PG_OP_SCATTER: return false;
    default: return pg_is_computable(e, instr->op, PG_OF_VALUE);
    }
}

bool pg_is_computable(pg_emitter *e, int op, pg_formula_name name) {
    return pg_formula_of(e, op, name)->known ||
           (e->lanes == 1 && pg_scalar_of(op, name, e->fast) != NULL);
}

/* The number in the slot; nan if it isn't a constant. */
static double constant_in(const pg_emitter *e, uint32_t slot) {
    const pg_program *const p = e->program;
    if (!e->uniform && (slot < p->input_count || slot >= p->input_count + p->import_count))
        return NAN;
    const uint32_t uniform = e->uniform ? slot : p->imports[slot - p->input_count];
    return uniform < p->constant_count ? p->constants[uniform] : NAN;
}

int pg_slope_op(const pg_emitter *e, const pg_instr *instr) {
    const bool square = instr->op == PG_OP_POWN && constant_in(e, instr->b) == 2.0;
    return square && e->powers ? PG_OP_SQUARE : instr->op;
}

static pg_scalar *function_of(const pg_emitter *e, int op, pg_formula_name name,
                              const pg_operands *on) {
    pg_scalar *power = NULL;
    if (op == PG_OP_POWN && e->powers) power = pg_power_scalar_of(constant_in(e, on->b.slot), name);
    return power != NULL ? power : pg_scalar_of(op, name, e->fast);
}

/* The result of the op's compiled function, for one row. */
static int call_function(pg_emitter *e, int op, pg_formula_name name, const pg_operands *on) {
    const pg_at operands[] = {on->a, on->b, on->y};
    const int count = name == PG_OF_VALUE ? 2 : 3;
    for (int i = 0; i < count; i++)
        if (i != 1 || pg_op_slots[op] == 2)
            pg_put_load(&e->code, i, operands[i].base, pg_offset_of(e, operands[i]));
    pg_put_call(&e->code, function_of(e, op, name, on));
    pg_forget_registers(e);
    e->held[0].pins = 1;
    return 0;
}

int pg_compute(pg_emitter *e, int op, pg_formula_name name, const pg_operands *on) {
    const pg_formula *formula = pg_formula_of(e, op, name);
    return formula->known ? pg_evaluate(e, formula, on) : call_function(e, op, name, on);
}

static void emit_op(pg_emitter *e, const pg_instr *instr) {
    const pg_operands on = pg_operands_of(instr);
    const int y = pg_compute(e, instr->op, PG_OF_VALUE, &on);
    if (pg_may_fail(instr->op, 0)) pg_put_check(&e->code, y);
    pg_keep(e, y, on.y);
}

/* A gate is the product of its operands, if that is finite. */
static void emit_gate(pg_emitter *e, const pg_instr *gate) {
    const pg_operands on = pg_operands_of(gate);
    const int a = pg_fetch(e, on.a), y = pg_operate(e, PG_MULTIPLIES, a, pg_fetch(e, on.b));
    pg_put_check(&e->code, y);
    pg_keep(e, y, on.y);
}

int pg_emit_condition(pg_emitter *e, const pg_instr *select, bool *swapped_ret) {
    const pg_pair pair = e->program->pairs[select->first];
    uint32_t left = pair.left, right = pair.right;
    pg_step_kind kind = PG_IS_LESS;
    *swapped_ret = false;
    switch (select->shape) {
    case PG_NOT_LESS: *swapped_ret = true; break;
    case PG_LESS: break;
    case PG_NOT_GREATER: *swapped_ret = true; /* fall through */
    case PG_GREATER: left = pair.right, right = pair.left; break;
    case PG_NOT_LESS_EQUAL: *swapped_ret = true; /* fall through */
    case PG_LESS_EQUAL: kind = PG_IS_LESS_EQUAL; break;
    case PG_NOT_EQUAL: *swapped_ret = true; /* fall through */
    case PG_EQUAL: kind = PG_IS_EQUAL; break;
    case PG_GREATER_EQUAL: kind = PG_IS_LESS_EQUAL, left = pair.right, right = pair.left; break;
    default: *swapped_ret = true; kind = PG_IS_LESS_EQUAL, left = pair.right, right = pair.left;
    }
    const int x = pg_fetch(e, (pg_at){PG_VALUES, left});
    const int y = pg_fetch(e, (pg_at){PG_VALUES, right});
    return pg_operate(e, kind, x, y);
}

static void emit_select(pg_emitter *e, const pg_instr *instr) {
    const pg_operands on = pg_operands_of(instr);
    bool swapped;
    const int condition = pg_emit_condition(e, instr, &swapped);
    const int a = pg_fetch(e, on.a), b = pg_fetch(e, on.b);
    pg_keep(e, pg_choose(e, condition, swapped ? b : a, swapped ? a : b), on.y);
}

static void emit_copy(pg_emitter *e, const pg_instr *instr) {
    pg_keep(e, pg_fetch(e, (pg_at){PG_VALUES, instr->a}), (pg_at){PG_VALUES, instr->dst});
}

static int product_of(pg_emitter *e, pg_base left, pg_pair pair) {
    const int x = pg_fetch(e, (pg_at){left, pair.left});
    return pg_operate(e, PG_MULTIPLIES, x, pg_fetch(e, (pg_at){PG_VALUES, pair.right}));
}

static void emit_dot(pg_emitter *e, const pg_instr *dot) {
    const pg_pair *const pairs = e->program->pairs + dot->first;
    const pg_base left = pg_left_base(e, dot);
    const bool uniform_start = dot->shape & PG_DOT_UNIFORM_START && !e->uniform;
    const pg_at start = {uniform_start ? PG_UNIFORM : PG_VALUES, dot->a};
    const bool starts = dot->shape & PG_DOT_STARTS;
    int sum = starts ? pg_fetch(e, start) : product_of(e, left, pairs[0]);
    for (uint32_t i = starts ? 0 : 1; i < dot->count; i++)
        sum = pg_operate(e, PG_ADDS, sum, product_of(e, left, pairs[i]));
    if (dot->shape & (PG_DOT_SQUARES | PG_DOT_GATED)) pg_put_check(&e->code, sum);
    pg_keep(e, sum, (pg_at){PG_VALUES, dot->dst});
}

void pg_emit_instr(pg_emitter *e, const pg_instr *instr) {
    switch (instr->op) {
    case PG_OP_SELECT: emit_select(e, instr); break;
    case PG_OP_DETACH:
    case PG_OP_CUSTOM: emit_copy(e, instr); break;
    case PG_OP_DOT: emit_dot(e, instr); break;
    case PG_OP_GATE:
    case PG_OP_GATE_HELD:
    case PG_OP_GATE_EITHER: emit_gate(e, instr); break;
    default: emit_op(e, instr);
    }
}

#endif
