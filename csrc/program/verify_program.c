/* verify_program.c - builds with -DPG_VERIFY: are a program and its backward plan sound?
 *
 * A program: what a loaded one must be, and its runs. A plan: a gradient is complete before it is
 * passed on, and is passed on once; the first contribution is stored, later ones are added; each
 * accumulator is collected once.
 * Owns nothing but scratch. Cost: O(instructions + pairs + orders) for each check. */
#include "program/verify_program.h"

#ifdef PG_VERIFY

#include <stdlib.h>
#include <string.h>

/* ---- Program --------------------------------------------------------------------------------- */

/* A run stays in its section, and has one op, or is a scatter and its parts. */
static const char *runs_complaint(const pg_program *p) {
    for (size_t i = 0; i < p->length; i++) {
        const pg_instr *instr = &p->code[i];
        const size_t end = i < p->uniform_length ? p->uniform_length : p->length;
        if (instr->run == 0 || instr->run > end - i) return "a run leaves its part";
        const bool scattered = instr->run > 1 && instr[1].op == PG_OP_PART;
        if (instr->run > 1 && !scattered && instr[1].op != instr->op) return "a run of two ops";
        if (instr->run > 1 && instr[1].run != instr->run - 1) return "a run that is cut short";
        if (instr->op == PG_OP_SCATTER && !scattered) return "a scatter without its parts";
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

/* ---- Backward plans -------------------------------------------------------------------------- */

enum { no_gradient, has_gradient, was_passed_on };

typedef struct follower {
    const pg_program *program;
    const pg_backward_plan *plan;
    uint8_t *rows, *uniform; /* the state of each slot's gradient */
    uint8_t *sums; /* the state of each accumulator: empty, has contributions, was collected */
    bool in_rows;
} follower;

static const char *give_complaint(follower *f, pg_target target) {
    if (target.how == PG_ACCUMULATE_NONE) return NULL;
    if (target.how == PG_ACCUMULATE_FOLD) {
        if (!f->in_rows || target.at >= f->plan->accumulators) return "no such accumulator";
        f->sums[target.at] = has_gradient;
        return NULL;
    }
    if (target.at >= (f->in_rows ? f->program->row_slots : f->program->uniform_slots))
        return "no such slot";
    if (f->in_rows && pg_import_of(f->program, target.at) != PG_NO_VALUE)
        return "a gradient is kept where an import is";
    uint8_t *state = &(f->in_rows ? f->rows : f->uniform)[target.at];
    if (*state == was_passed_on) return "a gradient was passed on before it was complete";
    if (target.how == PG_ACCUMULATE_STORE && *state != no_gradient)
        return "a gradient is overwritten";
    if (target.how == PG_ACCUMULATE_ADD && *state != has_gradient) return "added to no gradient";
    if (target.how != PG_ACCUMULATE_STORE && target.how != PG_ACCUMULATE_ADD)
        return "a step gives mixed";
    *state = has_gradient;
    return NULL;
}

/* In the order of the kernels: the last pair first; the start of a dot just before pair 0. */
static const char *pairs_complaint(follower *f, const pg_step *step, const pg_instr *instr) {
    const pg_backward_plan *r = f->plan;
    if (step->first > r->target_count || 2 * (size_t)instr->count > r->target_count - step->first)
        return "a step's targets are missing";
    const char *complaint = NULL;
    for (uint32_t i = instr->count; complaint == NULL && i-- > 0;) {
        const pg_target *targets = r->targets + step->first + 2 * i;
        if (i == 0) complaint = give_complaint(f, step->a);
        if (complaint == NULL) complaint = give_complaint(f, targets[0]);
        if (complaint == NULL) complaint = give_complaint(f, targets[1]);
        if (step->left != PG_ACCUMULATE_MIXED && targets[0].how != step->left)
            return "left differs";
        if (step->right != PG_ACCUMULATE_MIXED && targets[1].how != step->right)
            return "right differs";
    }
    return complaint;
}

/* A scatter passes its parts' gradients on, of which it has at least one. */
static const char *sources_complaint(follower *f, const pg_step *step, const pg_instr *scatter) {
    const pg_backward_plan *r = f->plan;
    uint8_t *states = f->in_rows ? f->rows : f->uniform;
    const size_t first = step->first + 2 * (size_t)scatter->count;
    bool any = states[scatter->dst] == has_gradient; /* of a file that reads it as a number */
    if (first + scatter->run - 1 > r->target_count) return "a step's sources are missing";
    for (uint32_t k = 1; k < scatter->run; k++) {
        const pg_target source = r->targets[first + k - 1];
        uint8_t *state = &states[scatter->dst + k];
        if (source.at != scatter->dst + k) return "a source that is no part";
        if ((source.how != PG_ACCUMULATE_NONE) != (*state == has_gradient))
            return "a source that no gradient reached, or that is left out";
        if (*state == has_gradient) *state = was_passed_on, any = true;
    }
    states[scatter->dst] = has_gradient;
    return any ? NULL : "a scatter without a gradient to pass on";
}

static const char *step_complaint(follower *f, const pg_step *step) {
    const pg_program *p = f->program;
    if (step->instr >= p->length || (step->instr >= p->uniform_length) != f->in_rows)
        return "a step of another part";
    const pg_instr *instr = &p->code[step->instr];
    uint8_t *state = &(f->in_rows ? f->rows : f->uniform)[instr->dst];
    const char *complaint = NULL;
    if (instr->op == PG_OP_SCATTER) complaint = sources_complaint(f, step, instr);
    if (complaint != NULL) return complaint;
    if (*state != has_gradient) return "a step without a gradient to pass on";
    *state = was_passed_on;
    if (pg_instr_describe(instr->op)->pairs_receive) return pairs_complaint(f, step, instr);
    complaint = give_complaint(f, step->a);
    return complaint == NULL ? give_complaint(f, step->b) : complaint;
}

static const char *collect_complaint(follower *f, const pg_step *step) {
    if (step->b.at >= f->plan->accumulators || f->sums[step->b.at] != has_gradient)
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

/* The plan's reached flags, and its order of inputs, match what its steps do. */
static const char *reach_complaint(const follower *f) {
    const pg_program *p = f->program;
    const pg_backward_plan *r = f->plan;
    for (size_t i = 0; i < p->input_count; i++)
        if ((r->input_reached[i] != 0) != (f->rows[i] != no_gradient)) return "an input's reach";
    for (size_t i = 0; i < p->uniform_slots; i++)
        if ((r->uniform_reached[i] != 0) != (f->uniform[i] != no_gradient)) return "a slot's reach";
    bool before = true; /* was the previous input reached? Reached ones come first */
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
    const pg_backward_plan *r = f->plan;
    if (r->output >= f->program->row_slots) return "a plan of no output";
    f->rows[r->output] = has_gradient;
    const char *complaint = part_complaint(f, r->rows, r->row_count, true);
    if (complaint == NULL) complaint = part_complaint(f, r->uniform, r->uniform_count, false);
    for (size_t i = 0; complaint == NULL && i < r->accumulators; i++)
        if (f->sums[i] != was_passed_on) complaint = "an accumulator is not collected";
    return complaint == NULL && whole ? reach_complaint(f) : complaint;
}

const char *pg_plan_complaint(const pg_program *program, const pg_backward_plan *plan, bool whole) {
    follower f = {.program = program, .plan = plan};
    f.rows = pg_verify_scratch(program->row_slots, 1);
    f.uniform = pg_verify_scratch(program->uniform_slots, 1);
    f.sums = pg_verify_scratch(plan->accumulators, 1);
    const char *complaint = follow(&f, whole);
    free(f.rows);
    free(f.uniform);
    free(f.sums);
    return complaint;
}

/* ---- The order of sums ----------------------------------------------------------------------- */

/* Hash one more contribution to this target: from which step, and through which of its operands. */
static void note(uint64_t *slots, uint64_t *sums, pg_target target, uint32_t step, uint32_t which) {
    if (target.how == PG_ACCUMULATE_NONE) return;
    uint64_t *sum = target.how == PG_ACCUMULATE_FOLD ? &sums[target.at] : &slots[target.at];
    *sum = (*sum ^ ((uint64_t)step << 32 | which)) * 0x9e3779b97f4a7c15u + 1;
}

uint64_t pg_order_of_sums(const pg_program *program, const pg_backward_plan *r) {
    uint64_t *slots = pg_verify_scratch(program->row_slots, sizeof *slots);
    uint64_t *sums = pg_verify_scratch(r->accumulators, sizeof *sums), all = 0;
    for (size_t i = 0; i < r->row_count; i++) {
        const pg_step *step = &r->rows[i];
        const pg_instr *instr = &program->code[step->instr];
        const uint32_t pairs = pg_instr_describe(instr->op)->pairs_receive ? instr->count : 0;
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
