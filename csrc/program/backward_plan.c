/* backward_plan.c - program to backward plan: the steps that propagate one output's gradient.
 *
 * A step is an instruction with a target for each operand: what becomes of its contribution.
 *
 *   step in    operand in    target
 *   rows       rows          STORE for the first contribution to the slot, ADD for later ones
 *   rows       uniform       FOLD: summed over the rows, in an accumulator (imports likewise)
 *   uniform    uniform       STORE, ADD
 *   either     not wanted    NONE
 *
 * A part has no step: that of its scatter reads the gradients of all parts (add_sources).
 *
 *   1. Forwards over the code, find the wanted slots: those with something below them that is asked
 *      for, parameters or inputs (find_wanted). No other slot gets a gradient.
 *   2. Backwards over the output's order, each wanted instruction that a gradient reaches becomes a
 *      step of its section (add_instr). Targets are set up in the order in which the kernels give
 *      the contributions away (set_target, set_pair_targets).
 *   3. A new accumulator appends a COLLECT to the uniform steps, which adds its total to the
 *      uniform slot (fold_into). Row steps run once a block, uniform steps once, after all rows.
 *   4. COLLECTs to parameters come first, and they and their accumulators in the order of the
 *      parameters, as far as nothing is added before them (number_sums): so one copy collects them
 *      all, and those of a layer's weights are neighbours. Other accumulators are numbered dot by
 *      dot, with the same effect.
 *   5. Row steps that execute as one are brought together (join_runs.c).
 *   6. Where a layer's weights have accumulators of their own, its dots are marked (mark_folds), to
 *      be summed in registers.
 * Invariant: each gradient is the sum that backward() forms, in its order. So rows' contributions
 * to a uniform slot share an accumulator only as long as nothing else was added to that slot;
 * after that each gets an accumulator of its own, to be added in its turn.
 * The plan owns its arrays; scratch is freed. Cost: O(instructions + pairs), once for each output
 * and each choice of what is asked for. */
#include "program/program.h"
#include "program/verify_program.h"

#include <string.h>

/* What a uniform slot's gradient consists of so far: nothing, one accumulator, or a sum. */
static const uint32_t holds_nothing = 0xffffffff,
                      holds_a_sum = 0xfffffffe; /* any other number: that accumulator alone */

typedef struct builder {
    const pg_program *program;
    pg_backward_plan *plan;
    uint8_t *row_wanted, *uniform_wanted; /* is the slot's gradient wanted? */
    uint8_t *row_reached;                 /* has the slot got a gradient? */
    uint32_t *holds;                      /* for each uniform slot: see above */
    size_t inputs_reached;
    bool in_rows;
} builder;

/* ---- Wanted slots ---------------------------------------------------------------------------- */

static bool is_wanted(const builder *b, bool in_rows, uint32_t slot) {
    return in_rows ? b->row_wanted[slot] : b->uniform_wanted[slot];
}

/* Is the gradient of any operand of this instruction wanted? */
static bool passes_on(const builder *b, const pg_instr *instr, bool in_rows) {
    const pg_pair *pairs = b->program->pairs + instr->first;
    if (!pg_instr_describe(instr->op)->pairs_receive) {
        const int operands = pg_instr_describe(instr->op)->receivers;
        return (operands > 0 && is_wanted(b, in_rows, instr->a)) ||
               (operands > 1 && is_wanted(b, in_rows, instr->b));
    }
    const bool start_in_rows = in_rows && !(instr->shape & PG_DOT_UNIFORM_START);
    if ((instr->shape & PG_DOT_STARTS) && is_wanted(b, start_in_rows, instr->a)) return true;
    for (uint32_t i = 0; i < instr->count; i++)
        if (is_wanted(b, in_rows && !(instr->shape & PG_DOT_WEIGHTED), pairs[i].left) ||
            (instr->op == PG_OP_DOT && is_wanted(b, in_rows, pairs[i].right)))
            return true;
    return false;
}

static void find_wanted(builder *b, unsigned wrt) {
    const pg_program *p = b->program;
    for (size_t i = 0; i < p->uniform_slots; i++)
        b->uniform_wanted[i] = (wrt & PG_WRT_PARAMS) && i >= p->constant_count &&
                               i < p->constant_count + p->param_count;
    for (size_t i = 0; i < p->uniform_length; i++)
        b->uniform_wanted[p->code[i].dst] = passes_on(b, &p->code[i], false);
    for (size_t i = 0; i < p->input_count; i++) b->row_wanted[i] = (wrt & PG_WRT_INPUTS) != 0;
    for (size_t i = 0; i < p->import_count; i++)
        b->row_wanted[p->input_count + i] = b->uniform_wanted[p->imports[i]];
    for (size_t i = p->uniform_length; i < p->length; i++)
        b->row_wanted[p->code[i].dst] = passes_on(b, &p->code[i], true);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* Append a step. Returns: the step, until the next one of its section; NULL without memory. */
static pg_step *add_step(pg_backward_plan *r, bool in_rows, uint32_t instr) {
    pg_step **const steps = in_rows ? &r->rows : &r->uniform;
    size_t *const count = in_rows ? &r->row_count : &r->uniform_count;
    size_t *const capacity = in_rows ? &r->row_capacity : &r->uniform_capacity;
    if (pg_grow((void **)steps, capacity, *count, sizeof **steps) < 0) return NULL;
    pg_step *const step = &(*steps)[(*count)++];
    *step = (pg_step){.instr = instr, .run = 1};
    return step;
}

/* The first contribution to a slot is stored, later ones are added. */
static pg_accumulation store_or_add(uint8_t *reached) {
    pg_accumulation give = *reached ? PG_ACCUMULATE_ADD : PG_ACCUMULATE_STORE;
    *reached = 1;
    return give;
}

/* Set up the target of a row's contribution to a uniform slot. */
static pg_status fold_into(builder *b, pg_target *target_ret, uint32_t slot) {
    pg_backward_plan *r = b->plan;
    uint32_t *holds = &b->holds[slot];
    if (*holds != holds_nothing && *holds != holds_a_sum) {
        *target_ret = (pg_target){PG_ACCUMULATE_FOLD, *holds};
        return PG_OK;
    }
    const uint32_t accumulator = (uint32_t)r->accumulators++;
    *target_ret = (pg_target){PG_ACCUMULATE_FOLD, accumulator};
    *holds = *holds == holds_nothing ? accumulator : holds_a_sum;
    pg_step *const step = add_step(r, false, PG_COLLECT);
    if (step == NULL) return PG_ERR_NOMEM;
    step->a = (pg_target){store_or_add(&r->uniform_reached[slot]), slot};
    step->b = (pg_target){PG_ACCUMULATE_FOLD, accumulator};
    return PG_OK;
}

/* Set up the target of a contribution to this slot, a row slot or a uniform one. */
static pg_status set_target(builder *b, pg_target *target_ret, bool row_slot, uint32_t slot) {
    const uint32_t uniform = !row_slot ? slot : pg_import_of(b->program, slot);
    *target_ret = (pg_target){PG_ACCUMULATE_NONE, 0};
    if (!is_wanted(b, row_slot, slot)) return PG_OK;
    if (b->in_rows && uniform != PG_NO_VALUE) return fold_into(b, target_ret, uniform);
    if (!b->in_rows) b->holds[slot] = holds_a_sum;
    else if (slot < b->program->input_count && !b->row_reached[slot])
        b->plan->input_order[b->inputs_reached++] = slot;
    uint8_t *reached = b->in_rows ? &b->row_reached[slot] : &b->plan->uniform_reached[slot];
    *target_ret = (pg_target){store_or_add(reached), slot};
    return PG_OK;
}

static pg_status add_target(builder *b, pg_target target) {
    pg_backward_plan *r = b->plan;
    if (pg_grow((void **)&r->targets, &r->target_capacity, r->target_count, sizeof *r->targets) < 0)
        return PG_ERR_NOMEM;
    r->targets[r->target_count++] = target;
    return PG_OK;
}

/* Set up the targets of a dot's or custom op's pairs, in the order of the unfused chain: the last
 * pair first; the start of the chain just before pair 0. */
static pg_status set_pair_targets(builder *b, pg_step *step, const pg_instr *dot) {
    const pg_pair *pairs = b->program->pairs + dot->first;
    const bool left_in_rows = b->in_rows && !(dot->shape & PG_DOT_WEIGHTED);
    step->first = (uint32_t)b->plan->target_count;
    pg_status status = PG_OK;
    for (uint32_t i = 0; status == PG_OK && i < 2 * dot->count; i++)
        status = add_target(b, (pg_target){0});
    for (uint32_t i = dot->count; status == PG_OK && i-- > 0;) {
        if (i == 0 && (dot->shape & PG_DOT_STARTS))
            status =
                set_target(b, &step->a, b->in_rows && !(dot->shape & PG_DOT_UNIFORM_START), dot->a);
        pg_target *targets = b->plan->targets + step->first + 2 * i;
        if (status == PG_OK) status = set_target(b, &targets[0], left_in_rows, pairs[i].left);
        if (status == PG_OK && dot->op == PG_OP_DOT)
            status = set_target(b, &targets[1], b->in_rows, pairs[i].right);
    }
    return status;
}

/* Behind the targets of a scatter: what its step reads, the gradients of its parts; NONE where no
 * gradient reached a part. */
static pg_status add_sources(builder *b, const pg_instr *scatter) {
    const uint8_t *reached = b->in_rows ? b->row_reached : b->plan->uniform_reached;
    pg_status status = PG_OK;
    for (uint32_t k = 1; status == PG_OK && k < scatter->run; k++) {
        const uint32_t slot = scatter->dst + k;
        const int how = reached[slot] ? PG_ACCUMULATE_STORE : PG_ACCUMULATE_NONE;
        status = add_target(b, (pg_target){(uint32_t)how, slot});
    }
    return status;
}

/* What every second target, from this one on, says if all agree; else MIXED. */
static pg_accumulation common_give(const pg_target *targets, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        if (targets[2 * i].how != targets[0].how) return PG_ACCUMULATE_MIXED;
    return (pg_accumulation)targets[0].how;
}

static pg_status add_instr(builder *b, uint32_t number) {
    const pg_instr *instr = &b->program->code[number];
    pg_backward_plan *r = b->plan;
    b->in_rows = number >= b->program->uniform_length;
    if (!is_wanted(b, b->in_rows, instr->dst)) return PG_OK;
    uint8_t *const reached = b->in_rows ? b->row_reached : r->uniform_reached;
    if (!reached[instr->dst]) return PG_OK;
    if (instr->op == PG_OP_PART) { /* its scatter's step reads its gradient */
        reached[instr->a] = 1;
        return PG_OK;
    }
    pg_step *const step = add_step(r, b->in_rows, number); /* rows add COLLECTs elsewhere */
    if (step == NULL) return PG_ERR_NOMEM;
    pg_status status = PG_OK;
    if (pg_instr_describe(instr->op)->pairs_receive) {
        status = set_pair_targets(b, step, instr);
        if (status == PG_OK && instr->op == PG_OP_SCATTER) status = add_sources(b, instr);
        if (status != PG_OK) return status;
        step->left = (uint8_t)common_give(r->targets + step->first, instr->count);
        step->right = (uint8_t)common_give(r->targets + step->first + 1, instr->count);
        return PG_OK;
    }
    const int operands = pg_instr_describe(instr->op)->receivers;
    if (operands > 0) status = set_target(b, &step->a, b->in_rows, instr->a);
    if (status == PG_OK && operands > 1) status = set_target(b, &step->b, b->in_rows, instr->b);
    return status;
}

/* ---- Accumulators ---------------------------------------------------------------------------- */

/* Numbers for accumulators, in the order in which they are first met; and of each, how many
 * contributions it gets in a block. */
typedef struct numbering {
    uint32_t *of, next; /* of: PG_NO_VALUE: none yet */
    uint32_t *uses;
} numbering;

static uint32_t number_of(numbering *n, uint32_t accumulator) {
    if (n->of[accumulator] == PG_NO_VALUE) n->of[accumulator] = n->next++;
    return n->of[accumulator];
}

static void renumber_target(numbering *n, pg_target *target) {
    if (target->how != PG_ACCUMULATE_FOLD) return;
    target->at = number_of(n, target->at);
    n->uses[target->at]++;
}

/* First those of direct steps, in their order, then those of dots, pair by pair. */
static void renumber(const pg_program *p, pg_backward_plan *r, numbering n) {
    for (size_t i = 0; i < r->uniform_count; i++)
        if (pg_is_direct(p, &r->uniform[i])) (void)number_of(&n, r->uniform[i].b.at);
    for (size_t i = 0; i < r->row_count; i++) {
        pg_step *const step = &r->rows[i];
        renumber_target(&n, &step->a);
        renumber_target(&n, &step->b);
        if (step->left == PG_ACCUMULATE_NONE && step->right == PG_ACCUMULATE_NONE) continue;
        const uint32_t pairs = p->code[step->instr].count;
        for (uint32_t k = 0; k < pairs; k++) renumber_target(&n, &r->targets[step->first + 2 * k]);
        for (uint32_t k = 0; k < pairs; k++)
            renumber_target(&n, &r->targets[step->first + 2 * k + 1]);
    }
    for (size_t i = 0; i < r->uniform_count; i++)
        if (r->uniform[i].instr == PG_COLLECT)
            r->uniform[i].b.at = number_of(&n, r->uniform[i].b.at);
}

/* Out: uses, zeros before: of each accumulator, by its new number. */
static pg_status number_sums(const pg_program *p, pg_backward_plan *r, uint32_t *uses) {
    pg_step *const steps = pg_realloc(NULL, r->uniform_count, sizeof *steps);
    uint32_t *const scratch = pg_realloc(NULL, p->param_count + r->accumulators, sizeof *scratch);
    uint32_t *const direct = scratch; /* for each parameter the step that moves to the front */
    size_t count = 0;
    if (steps == NULL || scratch == NULL) {
        pg_free(steps);
        pg_free(scratch);
        return PG_ERR_NOMEM;
    }
    memset(direct, 0xff, p->param_count * sizeof *direct);
    for (uint32_t i = 0; i < r->uniform_count; i++)
        if (pg_is_direct(p, &r->uniform[i])) direct[r->uniform[i].a.at - p->constant_count] = i;
    for (size_t i = 0; i < p->param_count; i++)
        if (direct[i] != PG_NO_VALUE) steps[count++] = r->uniform[direct[i]];
    for (size_t i = 0; i < r->uniform_count; i++)
        if (!pg_is_direct(p, &r->uniform[i])) steps[count++] = r->uniform[i];
    pg_free(r->uniform);
    r->uniform = steps;
    r->uniform_capacity = r->uniform_count;
    memset(scratch + p->param_count, 0xff, r->accumulators * sizeof *scratch);
    renumber(p, r, (numbering){.of = scratch + p->param_count, .uses = uses});
    pg_free(scratch);
    return PG_OK;
}

/* The accumulators that a run of steps has met so far: marked with its first step. Of one dot, the
 * one that would follow the last: that one's neighbour. */
typedef struct met {
    uint32_t *by, *uses; /* uses: of an accumulator, by all steps */
    uint32_t run, next;
    bool apart, alone, neighbours;
} met;

static void meet(met *m, pg_target target) {
    m->apart = m->apart && target.how == PG_ACCUMULATE_FOLD && m->by[target.at] != m->run;
    m->alone = m->alone && m->apart && m->uses[target.at] == 1;
    m->neighbours = m->neighbours && (m->next == PG_NO_VALUE || target.at == m->next);
    if (target.how == PG_ACCUMULATE_FOLD) m->by[target.at] = m->run;
    m->next = target.at + 1;
}

/* How do the accumulators of a dot's weights lie? */
static void mark_step(met *m, const pg_backward_plan *r, pg_step *step, uint32_t count) {
    const pg_target *const targets = r->targets + step->first;
    m->apart = m->alone = true;
    if (step->a.how == PG_ACCUMULATE_FOLD) meet(m, step->a);
    m->next = PG_NO_VALUE;
    m->neighbours = true;
    for (uint32_t i = 0; i < count; i++) {
        meet(m, targets[2 * i]);
        m->apart = m->apart && targets[2 * i + 1].how != PG_ACCUMULATE_FOLD;
    }
    if (m->apart) step->folds = (uint8_t)(m->neighbours ? PG_FOLDS_NEIGHBOURS : PG_FOLDS_APART);
    step->alone = m->apart && m->alone;
}

/* The sums of a dot that has them alone needn't be cleared: no uses. */
static void forget_uses(uint32_t *uses, const pg_backward_plan *r, const pg_step *step,
                        uint32_t count) {
    if (step->a.how == PG_ACCUMULATE_FOLD) uses[step->a.at] = PG_NO_VALUE;
    for (uint32_t k = 0; k < count; k++) uses[r->targets[step->first + 2 * k].at] = PG_NO_VALUE;
}

/* The other accumulators, as ranges. */
static pg_status list_cleared(pg_backward_plan *r, const uint32_t *uses) {
    for (size_t i = 0; i < r->accumulators; i++) {
        if (uses[i] == PG_NO_VALUE) continue;
        if (i == 0 || uses[i - 1] == PG_NO_VALUE) {
            if (pg_grow((void **)&r->cleared, &r->cleared_capacity, r->cleared_count,
                        sizeof *r->cleared) < 0)
                return PG_ERR_NOMEM;
            r->cleared[r->cleared_count++] = (pg_range){i, 0};
        }
        r->cleared[r->cleared_count - 1].count++;
    }
    return PG_OK;
}

static pg_status mark_folds(const pg_program *p, pg_backward_plan *r, uint32_t *uses) {
    met m = {.by = pg_realloc(NULL, r->accumulators, sizeof *m.by), .uses = uses};
    if (m.by == NULL) return PG_ERR_NOMEM;
    memset(m.by, 0xff, r->accumulators * sizeof *m.by); /* no run */
    for (uint32_t i = 0; i < r->row_count; i++) {
        pg_step *const step = &r->rows[i];
        if (i == 0 || r->rows[i - 1].run == 1) m.run = i;
        if (step->left != PG_ACCUMULATE_FOLD) continue;
        const pg_instr *const instr = &p->code[step->instr];
        if (instr->op == PG_OP_DOT && (instr->shape & PG_DOT_WEIGHTED))
            mark_step(&m, r, step, instr->count);
        if (step->alone) forget_uses(uses, r, step, instr->count);
    }
    pg_free(m.by);
    return list_cleared(r, uses);
}

/* Number and mark the accumulators. */
static pg_status arrange_sums(const pg_program *p, pg_backward_plan *r) {
    uint32_t *const uses = pg_zeroed(r->accumulators, sizeof *uses);
    if (uses == NULL) return PG_ERR_NOMEM;
    pg_status status = number_sums(p, r, uses);
    if (status == PG_OK) PG_CHECK_PLAN(p, r, false);
    if (status == PG_OK) status = pg_join_runs(p, r);
    if (status == PG_OK) status = mark_folds(p, r, uses);
    pg_free(uses);
    return status;
}

static pg_status build(builder *b, size_t output, unsigned wrt) {
    const pg_program *p = b->program;
    find_wanted(b, wrt);
    b->plan->output = p->outputs[output];
    b->row_reached[p->outputs[output]] = 1;
    if (p->outputs[output] < p->input_count)
        b->plan->input_order[b->inputs_reached++] = p->outputs[output];
    memset(b->holds, 0xff, p->uniform_slots * sizeof *b->holds); /* holds_nothing */
    pg_status status = PG_OK;
    for (size_t i = p->order_counts[output]; status == PG_OK && i-- > 0;)
        status = add_instr(b, p->orders[output][i]);
    if (status == PG_OK) status = arrange_sums(p, b->plan);
    for (uint32_t i = 0; i < p->input_count; i++) {
        b->plan->input_reached[i] = b->row_reached[i];
        if (!b->row_reached[i]) b->plan->input_order[b->inputs_reached++] = i;
    }
    if (status == PG_OK) PG_CHECK_PLAN(p, b->plan, true);
    return status;
}

pg_status pg_backward_plan_new(pg_backward_plan **plan_ret, const pg_program *program,
                               size_t output, unsigned wrt) {
    pg_backward_plan *r = pg_zeroed(1, sizeof *r);
    if (r == NULL) return PG_ERR_NOMEM;
    r->input_reached = pg_zeroed(1, program->input_count);
    r->uniform_reached = pg_zeroed(1, program->uniform_slots);
    r->input_order = pg_realloc(NULL, program->input_count, sizeof *r->input_order);
    builder b = {.program = program, .plan = r};
    b.row_wanted = pg_zeroed(1, program->row_slots);
    b.uniform_wanted = pg_zeroed(1, program->uniform_slots);
    b.row_reached = pg_zeroed(1, program->row_slots);
    b.holds = pg_realloc(NULL, program->uniform_slots, sizeof *b.holds);
    pg_status status = PG_ERR_NOMEM;
    if (r->input_reached && r->uniform_reached && r->input_order && b.row_wanted &&
        b.uniform_wanted && b.row_reached && b.holds)
        status = build(&b, output, wrt);
    pg_free(b.row_wanted);
    pg_free(b.uniform_wanted);
    pg_free(b.row_reached);
    pg_free(b.holds);
    if (status == PG_OK) *plan_ret = r;
    else pg_backward_plan_free(r);
    return status;
}

pg_steps pg_backward_plan_steps(const pg_backward_plan *r) {
    return (pg_steps){r->rows,         r->uniform,    r->row_count,     r->uniform_count,
                      r->accumulators, r->targets,    r->input_reached, r->uniform_reached,
                      r->output,       r->input_order};
}

void pg_backward_plan_free(pg_backward_plan *plan) {
    if (plan == NULL) return;
    pg_free(plan->rows);
    pg_free(plan->uniform);
    pg_free(plan->targets);
    pg_free(plan->cleared);
    pg_free(plan->input_reached);
    pg_free(plan->uniform_reached);
    pg_free(plan->input_order);
    pg_free_caches(plan->cache);
    pg_free(plan);
}
