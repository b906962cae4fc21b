/* lift.c - program to program: the parameters become inputs, so that each row has its own gradient
 * with respect to them.
 *
 *   inputs  [inputs | parameters | weights]    given by the caller, the same for all rows or not
 *   imports [all constants]
 *   code    the uniform code and then the row code, instruction by instruction, all as row code
 *
 * Only slots are renamed: a weighted dot reads its weights lane by lane, and a lookup its table.
 * Instructions keep their numbers, so the orders of backward() hold, and with them every sum and
 * every bit.
 * Weighted, the only output is a dot of the weights and the outputs: one backward pass gives the
 * product of the weights and the Jacobian.
 * The caller owns the result; the program is only read. Cost: O(instructions + pairs + orders). */
#include "program/program.h"
#include "program/verify_program.h"

#include <string.h>

typedef struct lifting {
    const pg_program *from;
    pg_program *to;
    bool weighted;
} lifting;

/* The row slot for a uniform slot of the original. */
static uint32_t lifted_uniform(const lifting *l, uint32_t slot) {
    const size_t constants = l->from->constant_count, params = l->from->param_count;
    if (slot < constants) return (uint32_t)(l->to->input_count + slot);
    if (slot < constants + params) return (uint32_t)(l->from->input_count + slot - constants);
    return (uint32_t)(l->to->input_count + slot - params);
}

/* The row slot for a row slot of the original. */
static uint32_t lifted_row(const lifting *l, uint32_t slot) {
    const size_t inputs = l->from->input_count, imports = l->from->import_count;
    if (slot < inputs) return slot;
    if (slot < inputs + imports) return lifted_uniform(l, l->from->imports[slot - inputs]);
    return (uint32_t)(l->to->input_count + l->to->import_count + l->from->uniform_length + slot -
                      inputs - imports);
}

static pg_status allocate(lifting *l) {
    const pg_program *const p = l->from;
    pg_program *const q = l->to;
    const size_t outputs = l->weighted ? 1 : p->output_count, more = l->weighted;
    q->input_count = p->input_count + p->param_count + (l->weighted ? p->output_count : 0);
    q->constant_count = q->uniform_slots = q->import_count = p->constant_count;
    q->length = p->length + more;
    q->row_slots = q->input_count + q->import_count + q->length;
    q->pair_count = p->pair_count + (l->weighted ? p->output_count : 0);
    q->fast = p->fast;
    q->constants = pg_realloc(NULL, q->constant_count, sizeof *q->constants);
    q->imports = pg_realloc(NULL, q->import_count, sizeof *q->imports);
    q->code = pg_realloc(NULL, q->length, sizeof *q->code);
    q->pairs = pg_realloc(NULL, q->pair_count, sizeof *q->pairs);
    q->outputs = pg_realloc(NULL, outputs, sizeof *q->outputs);
    q->orders = pg_zeroed(outputs, sizeof *q->orders);
    q->order_counts = pg_realloc(NULL, outputs, sizeof *q->order_counts);
    q->output_count = q->orders != NULL ? outputs : 0;
    return q->constants && q->imports && q->code && q->pairs && q->outputs && q->orders &&
                   q->order_counts
               ? PG_OK
               : PG_ERR_NOMEM;
}

static void lift_instr(lifting *l, size_t number) {
    const pg_instr *const from = &l->from->code[number];
    uint32_t (*const lifted)(const lifting *, uint32_t) =
        number < l->from->uniform_length ? lifted_uniform : lifted_row;
    const bool dot = from->op == PG_OP_DOT;
    const bool uniform_start = dot && (from->shape & PG_DOT_UNIFORM_START);
    const bool weighs = dot || pg_is_lookup(from->op);
    const bool uniform_left = weighs && (from->shape & PG_DOT_WEIGHTED);
    pg_instr *const to = &l->to->code[number];
    *to = *from;
    if (weighs) to->shape &= (uint8_t)~(PG_DOT_UNIFORM_START | PG_DOT_WEIGHTED);
    to->dst = lifted(l, from->dst);
    to->a = to->b = 0;
    if (!dot || (from->shape & PG_DOT_STARTS))
        to->a = uniform_start ? lifted_uniform(l, from->a) : lifted(l, from->a);
    if (pg_instr_describe(from->op)->operands > 1) to->b = lifted(l, from->b);
    for (uint32_t i = from->first; i < from->first + from->count; i++) {
        const pg_pair pair = l->from->pairs[i];
        l->to->pairs[i] =
            (pg_pair){uniform_left ? lifted_uniform(l, pair.left) : lifted(l, pair.left),
                      lifted(l, pair.right)};
    }
}

/* The dot of weights and outputs, the last instruction. */
static void add_weighted_sum(lifting *l) {
    const pg_program *const p = l->from;
    pg_program *const q = l->to;
    const size_t weights = p->input_count + p->param_count;
    for (size_t o = 0; o < p->output_count; o++)
        q->pairs[p->pair_count + o] =
            (pg_pair){(uint32_t)(weights + o), lifted_row(l, p->outputs[o])};
    q->code[p->length] = (pg_instr){.op = PG_OP_DOT,
                                    .dst = (uint32_t)(q->row_slots - 1),
                                    .first = (uint32_t)p->pair_count,
                                    .count = (uint32_t)p->output_count};
    q->outputs[0] = q->code[p->length].dst;
}

/* The order of an output; of the weighted sum, all instructions in the order of the code. */
static pg_status lift_order(lifting *l, size_t output) {
    const pg_program *const p = l->from;
    const size_t count = l->weighted ? l->to->length : p->order_counts[output];
    uint32_t *const order = pg_realloc(NULL, count, sizeof *order);
    if (order == NULL) return PG_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) order[i] = l->weighted ? (uint32_t)i : p->orders[output][i];
    l->to->orders[output] = order;
    l->to->order_counts[output] = count;
    return PG_OK;
}

static pg_status lift_all(lifting *l) {
    const pg_program *const p = l->from;
    pg_program *const q = l->to;
    pg_status status = allocate(l);
    if (status != PG_OK) return status;
    if (p->pair_count > 0) memset(q->pairs, 0, p->pair_count * sizeof *q->pairs);
    for (size_t i = 0; i < p->constant_count; i++) {
        q->constants[i] = p->constants[i];
        q->imports[i] = (uint32_t)i;
    }
    for (size_t i = 0; i < p->length; i++) lift_instr(l, i);
    if (l->weighted) add_weighted_sum(l);
    for (size_t o = 0; status == PG_OK && o < q->output_count; o++) {
        if (!l->weighted) q->outputs[o] = lifted_row(l, p->outputs[o]);
        status = lift_order(l, o);
    }
    return status == PG_OK ? pg_mark_runs(q) : status;
}

pg_status pg_program_lift(pg_program **lifted_ret, const pg_program *program, int weighted) {
    pg_program *const lifted = pg_zeroed(1, sizeof *lifted);
    if (lifted == NULL) return PG_ERR_NOMEM;
    lifting l = {program, lifted, weighted != 0};
    const pg_status status = lift_all(&l);
    if (status == PG_OK) {
        PG_CHECK_PROGRAM(lifted);
        *lifted_ret = lifted;
    } else pg_program_free(lifted);
    return status;
}
