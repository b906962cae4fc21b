/* verify_program.c - builds with -DPG_VERIFY: is a recorded function sound at every stage?
 *
 * A tape, after each pass: operands stand before those who use them, what lives uses nothing dead,
 * what is uniform uses nothing of a row, orders are orders. A program: what a loaded one must be,
 * and the runs. Its steps back: a gradient is complete before it is passed on, and passed on once;
 * the first contribution is stored, later ones are added; each accumulator is collected once.
 * Owns nothing but scratch. Cost: O(values + pairs + orders), each time. */
#include "graph/verify.h"

#ifdef PG_VERIFY

#include "program/program.h"

#include <stdlib.h>
#include <string.h>

/* ---- Tape ------------------------------------------------------------------------------------ */

/* How many operands of its own, and how many pairs, a value of this kind has. */
static const char *shape_complaint(const pg_value *value) {
    const bool has_a = value->a != PG_NO_VALUE, has_b = value->b != PG_NO_VALUE;
    switch (value->op) {
    case PG_OP_DOT: return has_b || value->count == 0 ? "a dot without pairs, or with b" : NULL;
    case PG_OP_CUSTOM: return !has_a || has_b || value->count == 0 ? "a custom op's shape" : NULL;
    case PG_OP_SELECT: return !has_a || !has_b || value->count != 1 ? "a select's shape" : NULL;
    case PG_OP_SQUARE:
    case PG_OP_RECIP:
    case PG_OP_DETACH:
    case PG_OP_COPY: return !has_a || has_b || value->count != 0 ? "a copy's shape" : NULL;
    default:
        if (pg_op_describe(value->op) == NULL) return "no such op on a tape";
        return !has_a || has_b != (pg_op_slots[value->op] == 2) ? "an op's operands" : NULL;
    }
}

static const char *operands_complaint(const pg_tape *tape, uint32_t number, bool marked) {
    const pg_value *value = &tape->values[number];
    uint32_t *operand;
    if (value->count > tape->pair_count || value->first > tape->pair_count - value->count)
        return "a value's pairs are not on the tape";
    for (size_t k = 0; pg_operand_of(tape, value, k, &operand); k++) {
        if (*operand == PG_NO_VALUE) continue;
        if (*operand >= number) return "an operand stands after its user";
        const pg_value *used = &tape->values[*operand];
        if (marked && used->dead) return "a living value uses a dead one";
        if (marked && value->uniform && !used->uniform) return "a uniform value uses a row's";
    }
    return NULL;
}

/* In its order, after all that it passes a gradient on to? Chains may have swallowed some. */
static bool is_in_order(const pg_tape *tape, const uint8_t *seen, uint32_t number) {
    const pg_value *value = &tape->values[number];
    uint32_t *operand;
    const bool detached = value->op == PG_OP_DETACH;
    for (size_t k = 0; !detached && pg_operand_of(tape, value, k, &operand); k++) {
        if (value->op == PG_OP_SELECT && k >= 2) break;
        if (value->op == PG_OP_CUSTOM && (k == 0 || k % 2 == 1)) continue;
        if (*operand != PG_NO_VALUE && pg_is_op(&tape->values[*operand]) && !seen[*operand])
            return false;
    }
    return true;
}

static const char *order_complaint(const pg_tape *tape, size_t output, uint8_t *seen) {
    const size_t count = tape->order_counts[output];
    memset(seen, 0, tape->count);
    for (size_t i = 0; i < count; i++) {
        const uint32_t number = tape->orders[output][i];
        if (number >= tape->count || seen[number]) return "an order has a value twice";
        if (!tape->values[number].dead && !is_in_order(tape, seen, number))
            return "an order has a value before its operand";
        seen[number] = 1;
    }
    const uint32_t last = count > 0 ? tape->orders[output][count - 1] : tape->outputs[output];
    if (count == 0 && pg_is_op(&tape->values[last])) return "an order is empty";
    return last != tape->outputs[output] ? "an order does not end in its output" : NULL;
}

/* All values, each once; who lives comes after its operands of the same part. */
static const char *schedule_complaint(const pg_tape *tape, uint8_t *seen) {
    memset(seen, 0, tape->count);
    for (size_t i = 0; i < tape->count; i++) {
        const uint32_t number = tape->schedule[i];
        if (number >= tape->count || seen[number]) return "a schedule has a value twice";
        const pg_value *value = &tape->values[number];
        uint32_t *operand;
        for (size_t k = 0; !value->dead && pg_operand_of(tape, value, k, &operand); k++)
            if (*operand != PG_NO_VALUE && !seen[*operand] &&
                tape->values[*operand].uniform == value->uniform)
                return "a schedule has a value before its operand";
        seen[number] = 1;
    }
    return NULL;
}

static const char *values_complaint(const pg_tape *tape, bool marked) {
    const char *complaint = NULL;
    size_t params = 0;
    for (uint32_t i = 0; complaint == NULL && i < tape->count; i++) {
        const pg_value *value = &tape->values[i];
        if ((value->op == PG_OP_INPUT) != (i < tape->input_count)) return "an input out of place";
        if (value->op > PG_OP_CONST) return "no such kind of value";
        params += value->op == PG_OP_PARAM;
        if (!pg_is_op(value) || value->dead) continue;
        complaint = shape_complaint(value);
        if (complaint == NULL) complaint = operands_complaint(tape, i, marked);
    }
    if (complaint == NULL && params != tape->param_count) return "parameters are counted wrong";
    for (size_t i = 0; complaint == NULL && i < tape->output_count; i++)
        if (tape->outputs[i] >= tape->count || tape->values[tape->outputs[i]].dead)
            return "an output is dead";
    return complaint;
}

const char *pg_tape_complaint(const pg_tape *tape, bool marked) {
    const char *complaint = values_complaint(tape, marked);
    uint8_t *seen = pg_verify_scratch(tape->count, 1);
    for (size_t i = 0; complaint == NULL && tape->orders != NULL && i < tape->output_count; i++)
        complaint = order_complaint(tape, i, seen);
    if (complaint == NULL && tape->schedule != NULL) complaint = schedule_complaint(tape, seen);
    free(seen);
    return complaint;
}

/* ---- Program --------------------------------------------------------------------------------- */

/* Runs stay in their part, and are of one op. */
static const char *runs_complaint(const pg_program *p) {
    for (size_t i = 0; i < p->length; i++) {
        const pg_instr *instr = &p->code[i];
        const size_t end = i < p->uniform_length ? p->uniform_length : p->length;
        if (instr->run == 0 || instr->run > end - i) return "a run leaves its part";
        if (instr->run > 1 && (instr[1].op != instr->op || instr[1].run != instr->run - 1))
            return "a run of two ops";
    }
    return NULL;
}

const char *pg_program_complaint(const pg_program *p) {
    const size_t uniform = p->constant_count + p->param_count;
    const size_t row = p->input_count + p->import_count;
    for (size_t i = 0; i < p->length; i++) {
        const size_t here = i < p->uniform_length ? uniform + i : row + i - p->uniform_length;
        if (p->code[i].dst != here) return "an instruction writes another one's slot";
    }
    if (p->uniform_slots != uniform + p->uniform_length ||
        p->row_slots != row + p->length - p->uniform_length)
        return "slots are counted wrong";
    uint8_t *seen = pg_verify_scratch(p->length, 1);
    const bool sound = pg_program_is_sound(p, seen);
    free(seen);
    return sound ? runs_complaint(p) : "a program that was made would not be loaded";
}

/* ---- Steps back ------------------------------------------------------------------------------ */

enum { no_gradient, has_gradient, was_passed_on };

typedef struct follower {
    const pg_program *program;
    const pg_reverse *reverse;
    uint8_t *rows, *uniform; /* what has become of each slot's gradient */
    uint8_t *sums;           /* of each accumulator: 0, is added to, was collected */
    bool in_rows;
} follower;

static const char *give_complaint(follower *f, pg_target target) {
    if (target.give == PG_GIVE_NONE) return NULL;
    if (target.give == PG_GIVE_FOLD) {
        if (!f->in_rows || target.at >= f->reverse->accumulators) return "no such accumulator";
        f->sums[target.at] = has_gradient;
        return NULL;
    }
    if (target.at >= (f->in_rows ? f->program->row_slots : f->program->uniform_slots))
        return "no such slot";
    if (f->in_rows && pg_import_of(f->program, target.at) != PG_NO_VALUE)
        return "a gradient is kept where an import is";
    uint8_t *state = &(f->in_rows ? f->rows : f->uniform)[target.at];
    if (*state == was_passed_on) return "a gradient was passed on before it was complete";
    if (target.give == PG_GIVE_STORE && *state != no_gradient) return "a gradient is overwritten";
    if (target.give == PG_GIVE_ADD && *state != has_gradient) return "added to no gradient";
    if (target.give != PG_GIVE_STORE && target.give != PG_GIVE_ADD) return "a step gives mixed";
    *state = has_gradient;
    return NULL;
}

/* In the order in which kernels do it: the last pair first, what a dot starts from before pair 0.
 */
static const char *pairs_complaint(follower *f, const pg_step *step, const pg_instr *instr) {
    const pg_reverse *r = f->reverse;
    if (step->first > r->target_count || 2 * (size_t)instr->count > r->target_count - step->first)
        return "a step's targets are missing";
    const char *complaint = NULL;
    for (uint32_t i = instr->count; complaint == NULL && i-- > 0;) {
        const pg_target *targets = r->targets + step->first + 2 * i;
        if (i == 0) complaint = give_complaint(f, step->a);
        if (complaint == NULL) complaint = give_complaint(f, targets[0]);
        if (complaint == NULL) complaint = give_complaint(f, targets[1]);
        if (step->left != PG_GIVE_MIXED && targets[0].give != step->left) return "left differs";
        if (step->right != PG_GIVE_MIXED && targets[1].give != step->right) return "right differs";
    }
    return complaint;
}

static const char *step_complaint(follower *f, const pg_step *step) {
    const pg_program *p = f->program;
    if (step->instr >= p->length || (step->instr >= p->uniform_length) != f->in_rows)
        return "a step of another part";
    const pg_instr *instr = &p->code[step->instr];
    uint8_t *state = &(f->in_rows ? f->rows : f->uniform)[instr->dst];
    if (*state != has_gradient) return "a step without a gradient to pass on";
    *state = was_passed_on;
    if (pg_gradient_pairs(instr->op)) return pairs_complaint(f, step, instr);
    const char *complaint = give_complaint(f, step->a);
    return complaint == NULL ? give_complaint(f, step->b) : complaint;
}

static const char *collect_complaint(follower *f, const pg_step *step) {
    if (step->b.at >= f->reverse->accumulators || f->sums[step->b.at] != has_gradient)
        return "an accumulator is collected twice, or in vain";
    f->sums[step->b.at] = was_passed_on;
    return give_complaint(f, step->a);
}

static const char *part_complaint(follower *f, const pg_step *steps, size_t count, bool in_rows) {
    const char *complaint = NULL;
    f->in_rows = in_rows;
    for (size_t i = 0; complaint == NULL && i < count; i++) {
        if (steps[i].run == 0 || steps[i].run > count - i) return "a run leaves the steps";
        if (steps[i].run > 1 && steps[i + 1].run != steps[i].run - 1) return "a run is torn";
        complaint = !in_rows && steps[i].instr == PG_COLLECT ? collect_complaint(f, &steps[i])
                                                             : step_complaint(f, &steps[i]);
    }
    return complaint;
}

/* What it says that it reaches is what it reaches. */
static const char *reach_complaint(const follower *f) {
    const pg_program *p = f->program;
    const pg_reverse *r = f->reverse;
    for (size_t i = 0; i < p->input_count; i++)
        if ((r->input_reached[i] != 0) != (f->rows[i] != no_gradient)) return "an input's reach";
    for (size_t i = 0; i < p->uniform_slots; i++)
        if ((r->uniform_reached[i] != 0) != (f->uniform[i] != no_gradient)) return "a slot's reach";
    bool before = true; /* inputs that are reached come first */
    for (size_t i = 0; i < p->input_count; i++) {
        const uint32_t input = r->input_order[i];
        if (input >= p->input_count || f->rows[input] == was_passed_on)
            return "the order of the inputs has one twice";
        if (!before && r->input_reached[input]) return "an input that is reached comes late";
        before = r->input_reached[input];
        f->rows[input] = was_passed_on;
    }
    return NULL;
}

static const char *follow(follower *f, bool whole) {
    const pg_reverse *r = f->reverse;
    if (r->output >= f->program->row_slots) return "a reverse of no output";
    f->rows[r->output] = has_gradient;
    const char *complaint = part_complaint(f, r->rows, r->row_count, true);
    if (complaint == NULL) complaint = part_complaint(f, r->uniform, r->uniform_count, false);
    for (size_t i = 0; complaint == NULL && i < r->accumulators; i++)
        if (f->sums[i] != was_passed_on) complaint = "an accumulator is not collected";
    return complaint == NULL && whole ? reach_complaint(f) : complaint;
}

const char *pg_reverse_complaint(const pg_program *program, const pg_reverse *reverse, bool whole) {
    follower f = {.program = program, .reverse = reverse};
    f.rows = pg_verify_scratch(program->row_slots, 1);
    f.uniform = pg_verify_scratch(program->uniform_slots, 1);
    f.sums = pg_verify_scratch(reverse->accumulators, 1);
    const char *complaint = follow(&f, whole);
    free(f.rows);
    free(f.uniform);
    free(f.sums);
    return complaint;
}

/* ---- The order of sums ----------------------------------------------------------------------- */

/* One more contribution to this target: from which step, and by which of its operands. */
static void note(uint64_t *slots, uint64_t *sums, pg_target target, uint32_t step, uint32_t which) {
    if (target.give == PG_GIVE_NONE) return;
    uint64_t *sum = target.give == PG_GIVE_FOLD ? &sums[target.at] : &slots[target.at];
    *sum = (*sum ^ ((uint64_t)step << 32 | which)) * 0x9e3779b97f4a7c15u + 1;
}

uint64_t pg_order_of_sums(const pg_program *program, const pg_reverse *r) {
    uint64_t *slots = pg_verify_scratch(program->row_slots, sizeof *slots);
    uint64_t *sums = pg_verify_scratch(r->accumulators, sizeof *sums), all = 0;
    for (size_t i = 0; i < r->row_count; i++) {
        const pg_step *step = &r->rows[i];
        const pg_instr *instr = &program->code[step->instr];
        const uint32_t pairs = pg_gradient_pairs(instr->op) ? instr->count : 0;
        for (uint32_t k = 2 * pairs; k-- > 0;)
            note(slots, sums, r->targets[step->first + k], step->instr, k);
        note(slots, sums, step->a, step->instr, 2 * pairs);
        note(slots, sums, step->b, step->instr, 2 * pairs + 1);
    }
    for (size_t i = 0; i < program->row_slots; i++) all = all * 31 + slots[i];
    for (size_t i = 0; i < r->accumulators; i++) all = all * 31 + sums[i];
    free(slots);
    free(sums);
    return all;
}

#endif
