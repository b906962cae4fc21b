/* join_runs.c - backward steps that execute as one: those of a layer wait for each other.
 *
 * One by one, the neurons of a layer load and store the gradients of all their inputs; together,
 * they keep them in registers. But backward() reaches an activation between any two neurons. For
 * two neurons d0, d1 (dots), t0 = tanh(d0), t1 = tanh(d1) and y = dot: w0*t0 + w1*t1:
 *
 *   row steps as planned   y | t1 | d1 | t0 | d0
 *   joined                 y | t1   t0 | d1   d0         d1 has waited for d0
 *   run                    1 | 2    1  | 2    1          steps from here on that execute as one
 *
 *   1. For each step, in planned order (add_step): release a layer that waits with a contribution
 *      to the gradient that this step reads, or to one that it adds to, unless the step is of that
 *      layer itself. Then a layer's step waits; any other is emitted.
 *   2. In the end, release all layers.
 *   3. Count runs (count_runs): besides the dots of a layer, COLLECTs of a kind, and steps of one
 * op on neighbouring slots, such as t1 and t0. Invariant: a step may pass its gradient on later
 * than planned; the order of a sum never changes. Owns nothing but scratch. Cost: O(targets +
 * instructions). */
#include "ops/kernels.h"
#include "program/program.h"
#include "program/verify_program.h"

#include <string.h>

static const uint32_t NO_LAYER = 0xffffffff;

/* A layer is identified by the index of the instruction after its last dot. */
typedef struct joiner {
    const pg_program *program;
    pg_backward_plan *plan;
    uint32_t *first, *last; /* of each layer's list of waiting steps; NO_LAYER: empty */
    uint32_t *next;
    uint32_t *slot_of, *sum_of; /* the layer that last contributed to a row gradient, to a sum */
    pg_step *steps;
    size_t count;
} joiner;

static uint32_t layer_of(const pg_program *program, const pg_step *step) {
    const pg_instr *instr = &program->code[step->instr];
    const bool follows = step->instr > program->uniform_length && instr[-1].run > 1;
    if (instr->op != PG_OP_DOT || (instr->run == 1 && !follows)) return NO_LAYER;
    return step->instr + instr->run;
}

/* Release a layer: emit its waiting steps, as one run. */
static void release_layer(joiner *j, uint32_t layer) {
    if (layer == NO_LAYER || j->first[layer] == NO_LAYER) return;
    uint32_t waiting = 0;
    for (uint32_t i = j->first[layer]; i != NO_LAYER; i = j->next[i]) waiting++;
    for (uint32_t i = j->first[layer]; i != NO_LAYER; i = j->next[i]) {
        j->steps[j->count] = j->plan->rows[i];
        j->steps[j->count++].run = waiting--;
    }
    j->first[layer] = NO_LAYER;
}

/* Note that the step's layer, or none, is the last to contribute to a target. A different layer
 * that waits with a contribution to it is released first. */
static void note_contribution(joiner *j, pg_target target, uint32_t layer) {
    if (target.how == PG_ACCUMULATE_NONE) return;
    uint32_t *last = &(target.how == PG_ACCUMULATE_FOLD ? j->sum_of : j->slot_of)[target.at];
    if (*last != layer) release_layer(j, *last);
    *last = layer;
}

static void note_contributions(joiner *j, const pg_step *step, uint32_t layer) {
    const pg_instr *instr = &j->program->code[step->instr];
    note_contribution(j, step->a, layer);
    note_contribution(j, step->b, layer);
    const bool by_pairs = instr->count > 0 && pg_instr_describe(instr->op)->pairs_receive;
    for (uint32_t i = 0; by_pairs && i < 2 * instr->count; i++)
        note_contribution(j, j->plan->targets[step->first + i], layer);
}

static void add_step(joiner *j, uint32_t number) {
    const pg_step *step = &j->plan->rows[number];
    const uint32_t layer = layer_of(j->program, step);
    const pg_instr *instr = &j->program->code[step->instr];
    const uint32_t read = instr->op == PG_OP_SCATTER ? instr->run : 1; /* its parts' gradients */
    for (uint32_t i = 0; i < read; i++) release_layer(j, j->slot_of[instr->dst + i]);
    note_contributions(j, step, layer);
    if (layer == NO_LAYER) {
        j->steps[j->count++] = *step;
        return;
    }
    j->next[number] = NO_LAYER;
    if (j->first[layer] == NO_LAYER) j->first[layer] = number;
    else j->next[j->last[layer]] = number;
    j->last[layer] = number;
}

/* Do the targets of two consecutive steps agree, with slots that are neighbours in this direction?
 * Accumulators are not slots, and FOLD is never joined. */
static bool are_alike(pg_target x, pg_target y, int direction) {
    if (x.how != y.how || x.how == PG_ACCUMULATE_FOLD) return false;
    return x.how == PG_ACCUMULATE_NONE || y.at == x.at + (uint32_t)direction;
}

/* Does step x extend the run that begins with y: the same op, which can't fail, on slots in one
 * direction? The kernel gives all contributions to a before those to b, so the two ranges of
 * targets must not overlap: one gradient would be summed in another order. */
static bool run_back(const pg_program *p, const pg_step *x, const pg_step *y) {
    const int direction = y->instr > x->instr ? 1 : -1;
    const pg_instr *low = &p->code[direction > 0 ? x->instr : y->instr];
    if (y->instr != x->instr + (uint32_t)direction || low->run == 1 || pg_can_fail(low->op))
        return false;
    if (y->run > 1 && y[1].instr != y->instr + (uint32_t)direction) return false;
    if (!are_alike(x->a, y->a, direction) || !are_alike(x->b, y->b, direction)) return false;
    const uint32_t apart = low->a > low->b ? low->a - low->b : low->b - low->a;
    return pg_op_slots[low->op] < 2 || apart > y->run;
}

static bool both_collect(const pg_program *p, const pg_step *x, const pg_step *y) {
    const bool direct = pg_is_direct(p, x);
    if (x->instr != PG_COLLECT || y->instr != PG_COLLECT || direct != pg_is_direct(p, y))
        return false;
    return !direct || (y->a.at == x->a.at + 1 && y->b.at == x->b.at + 1);
}

static void count_runs(const pg_program *p, pg_step *steps, size_t count) {
    for (size_t i = count; i-- > 1;) {
        pg_step *x = &steps[i - 1], *y = x + 1;
        if (x->instr == PG_COLLECT || y->instr == PG_COLLECT ? both_collect(p, x, y)
                                                             : run_back(p, x, y))
            x->run = y->run + 1;
    }
}

pg_status pg_join_runs(const pg_program *program, pg_backward_plan *plan) {
    const size_t layers = program->length + 1, slots = program->row_slots;
    const size_t cells = 2 * layers + plan->row_count + slots + plan->accumulators;
    uint32_t *scratch = pg_realloc(NULL, cells, sizeof *scratch);
    pg_step *steps = pg_realloc(NULL, plan->row_count, sizeof *steps);
    if (scratch == NULL || steps == NULL) {
        pg_free(scratch);
        pg_free(steps);
        return PG_ERR_NOMEM;
    }
    memset(scratch, 0xff, cells * sizeof *scratch); /* NO_LAYER */
    joiner j = {.program = program, .plan = plan, .first = scratch, .steps = steps};
    j.last = j.first + layers;
    j.next = j.last + layers;
    j.slot_of = j.next + plan->row_count;
    j.sum_of = j.slot_of + slots;
    PG_ORDER_BEFORE(program, plan);
    for (uint32_t i = 0; i < plan->row_count; i++) add_step(&j, i);
    for (uint32_t layer = 0; layer < layers; layer++) release_layer(&j, layer);
    pg_free(scratch);
    pg_free(plan->rows);
    plan->rows = steps;
    plan->row_capacity = plan->row_count;
    PG_ORDER_AFTER(program, plan);
    count_runs(program, plan->rows, plan->row_count);
    count_runs(program, plan->uniform, plan->uniform_count);
    return PG_OK;
}
