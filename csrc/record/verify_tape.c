/* verify_tape.c - builds with -DPG_VERIFY: is a tape sound, after recording and after each pass?
 *
 * Operands stand before their users; no live value uses a dead one; no uniform value uses a row's;
 * an order has each value once, after its operands, and ends in its output; a schedule has all
 * values, likewise; the parts of a living scatter are behind it. Owns nothing but scratch. Cost:
 * O(values + pairs + orders) for each check. */
#include "record/verify_tape.h"

#ifdef PG_VERIFY

#include <stdlib.h>
#include <string.h>

static const char *shape_complaint(const pg_value *value) {
    const pg_instr_info *info = pg_instr_describe(value->op);
    if (info == NULL) return "no such instruction on a tape";
    const bool has_a = value->a != PG_NO_VALUE, has_b = value->b != PG_NO_VALUE;
    const bool may_lack_a = value->op == PG_OP_DOT;
    if ((!may_lack_a && has_a != (info->operands > 0)) || has_b != (info->operands > 1))
        return "an instruction's operands";
    const bool fits = info->pairs == PG_PAIRS_SOME  ? value->count > 0
                      : info->pairs == PG_PAIRS_ONE ? value->count == 1
                                                    : value->count == 0;
    return fits ? NULL : "an instruction's pairs";
}

/* A living scatter has all of its parts behind it; a living part has its scatter before it. */
static const char *parts_complaint(const pg_tape *tape, uint32_t number) {
    const pg_value *value = &tape->values[number];
    if (value->op == PG_OP_PART && value->number != (double)number - value->a - 1.0)
        return "a part is not where its scatter is";
    if (value->op != PG_OP_SCATTER) return NULL;
    for (size_t k = 1; k <= (size_t)value->number; k++) {
        if (number + k >= tape->count) return "a scatter lacks parts";
        if (value[k].op != PG_OP_PART || value[k].a != number || value[k].dead)
            return "a scatter's part is missing";
    }
    return NULL;
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

/* Do all ops that this value passes a gradient on to stand before it in the order? Values that a
 * chain absorbed are dead and are not checked. */
static bool is_in_order(const pg_tape *tape, const uint8_t *seen, uint32_t number) {
    const pg_value *value = &tape->values[number];
    uint32_t *operand;
    const bool detached = value->op == PG_OP_DETACH || value->op == PG_OP_SEARCH;
    const bool lefts_only = pg_gives_lefts(value->op);
    for (size_t k = 0; !detached && pg_operand_of(tape, value, k, &operand); k++) {
        if (value->op == PG_OP_SELECT && k >= 2) break;
        if (lefts_only && (k == 0 || k % 2 == 1)) continue;
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

/* All values, each once; a live value comes after its operands in the same section. */
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
        if (!value->dead && value->op == PG_OP_PART && tape->schedule[i - 1] != number - 1)
            return "a schedule tears a part off its scatter";
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
        if (complaint == NULL && marked) complaint = parts_complaint(tape, i);
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

#endif
