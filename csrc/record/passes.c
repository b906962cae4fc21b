/* passes.c - tape to tape: passes make a recorded function cheaper and produce an equivalent tape.
 *
 *   fold    constant folding; equal constants are merged
 *   share   common subexpression elimination (fast mode: gradients are then summed differently)
 *   powers  a**2 becomes a*a, a**-1 becomes 1/a (fast mode: pow rounds differently); they fail as
 *           powers do
 *   hoist   values that depend on parameters only are computed once a replay, not once a row
 *   fuse    chains of multiply-adds become one instruction each (fuse.c)
 *   layers  the dots of a layer are scheduled next to each other (layers_pass.c)
 *   order   gradients are summed in the order of the code, backwards (fast mode: backward() may sum
 *           them in another one), so that what runs together forward does so backward
 *
 * Each pass is optional. In exact mode no pass changes a bit of a row: values keep their operations
 * and their order, and each gradient stays the sum of the same numbers in the same order. Fusing is
 * the delicate one: see fuse.c. Over many rows hoisting does change the last bits of the
 * parameters' gradients: the rows' gradients are summed before the uniform section multiplies them.
 * Owns nothing but scratch. Cost: O(values + pairs); for fuse and the orders, times outputs.
 * Aho, Lam, Sethi and Ullman, Compilers, 2nd ed., 8.5 (value numbering) and 9.1. */
#include "record/tape.h"
#include "record/verify_tape.h"

#include <string.h>

/* ---- fold and share -------------------------------------------------------------------------- */

static bool same(const pg_tape *tape, const pg_value *x, const pg_value *y) {
    if (x->op != y->op) return false;
    if (x->op == PG_OP_CONST) return memcmp(&x->number, &y->number, sizeof x->number) == 0;
    if (x->a != y->a || x->b != y->b || x->compare != y->compare || x->count != y->count)
        return false;
    if ((x->op == PG_OP_SCATTER || x->op == PG_OP_PART) && x->number != y->number) return false;
    for (uint32_t i = 0; i < x->count; i++) {
        const pg_pair *p = &tape->pairs[x->first + i], *q = &tape->pairs[y->first + i];
        if (p->left != q->left || p->right != q->right) return false;
    }
    return true;
}

/* Multiplicative hashing: the high half of a product (Knuth, TAOCP 3, 6.4). As doubles, small
 * integers differ in their high bits only, so these are first mixed into the low ones. */
static size_t hash(const pg_value *value) {
    uint64_t bits = 0;
    if (value->op == PG_OP_CONST) memcpy(&bits, &value->number, sizeof bits);
    else if (value->op == PG_OP_PART) bits = (uint64_t)value->a << 32 | (uint32_t)value->number;
    else bits = (uint64_t)value->a << 32 | value->b;
    bits = (bits ^ bits >> 32 ^ value->op) * 0x9e3779b97f4a7c15u;
    return (size_t)(bits >> 32);
}

/* Are equals of this value merged with it? Constants always; with `ops`, so are ops. */
static inline bool mergeable(const pg_value *value, bool ops) {
    return pg_is_constant(value) || (ops && pg_is_op(value));
}

/* Ask for the entry of the value 16 further on; as a rule none of its operands are redirected
 * till then. */
static inline void ask_for_entry(const pg_tape *tape, const uint32_t *table, size_t size,
                                 uint32_t number, bool ops) {
    const uint32_t soon = number + 16;
    if (soon < tape->count && mergeable(&tape->values[soon], ops))
        PG_PREFETCH(&table[hash(&tape->values[soon]) & (size - 1)]);
}

/* Value numbering: keep the first of equal values and redirect all uses of the others to it. */
static pg_status merge(pg_tape *tape, bool ops) {
    size_t size = 64;
    while (size < 2 * tape->count) size *= 2;
    uint32_t *table = pg_realloc(NULL, size, sizeof *table);
    uint32_t *becomes = pg_realloc(NULL, tape->count, sizeof *becomes);
    if (table == NULL || becomes == NULL) {
        pg_free(table);
        pg_free(becomes);
        return PG_ERR_NOMEM;
    }
    memset(table, 0xff, size * sizeof *table); /* PG_NO_VALUE */
    const bool far = size > 1 << 16;           /* more than the second cache holds */
    for (uint32_t i = 0; i < tape->count; i++) {
        pg_value *value = &tape->values[i];
        uint32_t *operand;
        for (size_t k = 0; pg_operand_of(tape, value, k, &operand); k++)
            if (*operand != PG_NO_VALUE) *operand = becomes[*operand];
        becomes[i] = i;
        if (far) ask_for_entry(tape, table, size, i, ops);
        if (!mergeable(value, ops)) continue;
        size_t at = hash(value) & (size - 1);
        while (table[at] != PG_NO_VALUE && !same(tape, value, &tape->values[table[at]]))
            at = (at + 1) & (size - 1);
        if (table[at] == PG_NO_VALUE) table[at] = i;
        becomes[i] = table[at];
    }
    for (size_t i = 0; i < tape->output_count; i++) tape->outputs[i] = becomes[tape->outputs[i]];
    pg_free(table);
    pg_free(becomes);
    return PG_OK;
}

static bool has_constant_operands(const pg_tape *tape, const pg_value *value) {
    uint32_t *operand;
    for (size_t k = 0; pg_operand_of(tape, value, k, &operand); k++)
        if (*operand != PG_NO_VALUE && !pg_is_constant(&tape->values[*operand])) return false;
    return true;
}

/* The value of an op of constants, as the trace computed it; detach and custom have that of a. A
 * select, take, search or scatter has none, since the trace only records it, and is not folded. */
static double number_of(const pg_tape *tape, const pg_value *value) {
    if (value->op == PG_OP_DETACH || value->op == PG_OP_CUSTOM)
        return tape->values[value->a].number;
    return value->number;
}

pg_status pg_pass_fold(pg_tape *tape) {
    for (size_t i = 0; i < tape->count; i++) {
        pg_value *value = &tape->values[i];
        if (!pg_is_op(value) || value->op == PG_OP_SELECT || value->op == PG_OP_COPY) continue;
        if (pg_is_lookup(value->op) || value->op == PG_OP_SCATTER) continue;
        if (!has_constant_operands(tape, value)) continue;
        *value = (pg_value){.op = PG_OP_CONST,
                            .number = number_of(tape, value),
                            .a = PG_NO_VALUE,
                            .b = PG_NO_VALUE};
    }
    return merge(tape, false);
}

pg_status pg_pass_share(pg_tape *tape) { return merge(tape, true); }

/* ---- powers ---------------------------------------------------------------------------------- */

pg_status pg_pass_powers(pg_tape *tape) {
    for (size_t i = 0; i < tape->count; i++) {
        pg_value *value = &tape->values[i];
        if (value->op != PG_OP_POWN || !pg_is_constant(&tape->values[value->b])) continue;
        double exponent = tape->values[value->b].number;
        if (exponent != 2.0 && exponent != -1.0) continue;
        value->op = exponent == 2.0 ? PG_OP_SQUARE : PG_OP_RECIP;
        value->b = PG_NO_VALUE;
    }
    return PG_OK;
}

/* ---- hoist ----------------------------------------------------------------------------------- */

pg_status pg_pass_hoist(pg_tape *tape) {
    for (size_t i = 0; i < tape->count; i++) {
        pg_value *value = &tape->values[i];
        if (!pg_is_op(value) || value->op == PG_OP_COPY) continue;
        uint32_t *operand;
        value->uniform = 1;
        for (size_t k = 0; pg_operand_of(tape, value, k, &operand); k++)
            if (*operand != PG_NO_VALUE && !tape->values[*operand].uniform) value->uniform = 0;
    }
    return PG_OK;
}

/* ---- order ----------------------------------------------------------------------------------- */

/* Append to an order the values of one section that are reached, in the order of the code. */
static size_t add_section(const pg_tape *tape, uint32_t *order, size_t count, uint8_t *reached,
                          bool uniform) {
    for (uint32_t i = 0; i < tape->count; i++) {
        const uint32_t value = tape->schedule == NULL ? i : tape->schedule[i];
        if (!reached[value] || tape->values[value].uniform != uniform) continue;
        order[count++] = value;
        reached[value] = 0;
    }
    return count;
}

/* Any order with operands before their users gives the same gradients, but for the order of sums.
 * The uniform section comes first: a schedule sorts each section by itself. */
pg_status pg_pass_order(pg_tape *tape) {
    uint8_t *const reached = pg_zeroed(tape->count, 1);
    if (reached == NULL) return PG_ERR_NOMEM;
    for (size_t output = 0; output < tape->output_count; output++) {
        uint32_t *const order = tape->orders[output];
        const size_t count = tape->order_counts[output];
        for (size_t i = 0; i < count; i++) reached[order[i]] = !tape->values[order[i]].dead;
        const size_t uniform = add_section(tape, order, 0, reached, true);
        tape->order_counts[output] = add_section(tape, order, uniform, reached, false);
    }
    pg_free(reached);
    return PG_OK;
}

/* ---- All passes ------------------------------------------------------------------------------ */

/* An output that the row section doesn't compute (a constant, a parameter, a uniform value) becomes
 * a row's value by a copy. */
static pg_status copy_uniform_outputs(pg_tape *tape) {
    for (size_t i = 0; i < tape->output_count; i++) {
        const pg_value *value = &tape->values[tape->outputs[i]];
        if (!value->uniform) continue;
        pg_status status =
            pg_tape_add(tape, &tape->outputs[i],
                        (pg_value){.op = PG_OP_COPY, .a = tape->outputs[i], .b = PG_NO_VALUE});
        if (status != PG_OK) return status;
    }
    return PG_OK;
}

static void mark_leaves_uniform(pg_tape *tape) {
    for (size_t i = 0; i < tape->count; i++)
        tape->values[i].uniform =
            tape->values[i].op == PG_OP_CONST || tape->values[i].op == PG_OP_PARAM;
}

/* marked: pg_tape_mark_dead has run. */
static pg_status run_pass(pg_tape *tape, pg_status (*pass)(pg_tape *), bool marked) {
    pg_status status = pass(tape);
    if (status == PG_OK) PG_CHECK_TAPE(tape, marked);
    (void)marked;
    return status;
}

pg_status pg_tape_run_passes(pg_tape *tape, unsigned passes) {
    pg_status status = PG_OK;
    tape->reorders = (passes & PG_PASS_ORDER) != 0;
    if (passes & PG_PASS_FOLD) status = run_pass(tape, pg_pass_fold, false);
    if (status == PG_OK && (passes & PG_PASS_POWERS))
        status = run_pass(tape, pg_pass_powers, false);
    if (status == PG_OK && (passes & PG_PASS_SHARE)) status = run_pass(tape, pg_pass_share, false);
    mark_leaves_uniform(tape);
    if (status == PG_OK && (passes & PG_PASS_HOIST)) status = run_pass(tape, pg_pass_hoist, false);
    if (status == PG_OK) status = copy_uniform_outputs(tape);
    pg_tape_mark_dead(tape);
    if (status == PG_OK) status = run_pass(tape, pg_tape_find_orders, true);
    if (status == PG_OK && (passes & PG_PASS_FUSE)) status = run_pass(tape, pg_pass_fuse, true);
    if (status == PG_OK && (passes & PG_PASS_LAYERS)) status = run_pass(tape, pg_pass_layers, true);
    if (status == PG_OK && (passes & PG_PASS_ORDER)) status = run_pass(tape, pg_pass_order, true);
    return status;
}
