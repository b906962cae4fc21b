/* test_save.c - programs to bytes and back; and bytes that were tampered with: they are
 * refused, or they are a sound program, which can be listed, reversed and replayed. What "sound"
 * means is checked here by hand; that nothing is touched out of bounds, by the sanitizers. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { rows = 10 }; /* a block of eight, and a tail */

typedef struct file {
    uint8_t *bytes;
    size_t count;
} file;

/* In a block of just this size, so that a byte too far is noticed. */
static file file_of(const pg_program *program) {
    file f = {NULL, pg_program_write(program, NULL)};
    f.bytes = must_alloc(f.count, 1);
    CHECK(pg_program_write(program, f.bytes) == f.count);
    return f;
}

static file file_copy(const file *f, size_t count) {
    file copy = {must_alloc(count, 1), count};
    memcpy(copy.bytes, f->bytes, count < f->count ? count : f->count);
    return copy;
}

static uint32_t get_u32(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void put_u32(uint8_t *bytes, uint32_t number) {
    for (int i = 0; i < 4; i++) bytes[i] = (uint8_t)(number >> (8 * i));
}

/* Where the counts begin: after the names. */
static size_t place_of_counts(const file *f) {
    size_t at = 4;
    for (uint32_t i = get_u32(f->bytes); i > 0; i--) at += 1 + (size_t)f->bytes[at];
    return at;
}

/* ---- listing through ------------------------------------------------------------------------ */

static bool pairs_are_below(const pg_pair *pairs, uint32_t count, size_t left, size_t right) {
    bool ok = true;
    for (uint32_t i = 0; i < count; i++) ok = ok && pairs[i].left < left && pairs[i].right < right;
    return ok;
}

static bool dot_is_sound(const pg_program_size *size, const pg_instr *dot, const pg_pair *pairs) {
    const size_t start = dot->shape & PG_DOT_UNIFORM_START ? size->uniform_slots : dot->dst;
    const size_t left = dot->shape & PG_DOT_WEIGHTED ? size->uniform_slots : dot->dst;
    return dot->count > 0 && (!(dot->shape & PG_DOT_STARTS) || dot->a < start) &&
           pairs_are_below(pairs, dot->count, left, dot->dst);
}

static bool instr_is_sound(const pg_program *program, const pg_instr *instr) {
    const pg_program_size size = pg_program_measure(program);
    if (pg_instr_name(instr->op) == NULL) return false;
    if ((uint64_t)instr->first + instr->count > size.pairs) return false;
    const pg_pair *pairs = pg_program_pairs(program) + instr->first;
    if (instr->op == PG_OP_DOT) return dot_is_sound(&size, instr, pairs);
    if (instr->op == PG_OP_TAKE || instr->op == PG_OP_SEARCH) {
        const bool weighted = instr->shape & PG_DOT_WEIGHTED;
        for (uint32_t i = 0; i < instr->count; i++)
            if (pairs[i].right != instr->a) return false;
        return instr->count > 0 && instr->a < instr->dst &&
               pairs_are_below(pairs, instr->count, weighted ? size.uniform_slots : instr->dst,
                               instr->dst);
    }
    const bool lefts = instr->op == PG_OP_CUSTOM || instr->op == PG_OP_SCATTER;
    if (lefts && (instr->count == 0 || instr->shape != 0)) return false;
    if (instr->op == PG_OP_SELECT && (instr->count != 1 || instr->shape >= PG_COMPARE_COUNT))
        return false;
    return instr->a < instr->dst && instr->b < instr->dst &&
           pairs_are_below(pairs, instr->count, instr->dst, instr->dst);
}

/* Between a scatter and its part there are only others of its parts. */
static bool is_behind_its_scatter(const pg_program *program, size_t number) {
    const pg_instr *code = pg_program_code(program);
    const size_t first = pg_program_measure(program).uniform_instrs;
    for (size_t i = number; i-- > (number >= first ? first : 0);) {
        if (code[i].op == PG_OP_SCATTER) return code[i].dst == code[number].a;
        if (code[i].op != PG_OP_PART) return false;
    }
    return false;
}

/* Each instruction writes a slot of its own, one after the other. */
static bool code_is_sound(const pg_program *program) {
    const pg_program_size size = pg_program_measure(program);
    const size_t uniform = size.constants + size.params, row = size.inputs + size.imports;
    bool ok = size.uniform_slots == uniform + size.uniform_instrs &&
              size.row_slots == row + size.row_instrs;
    const size_t ends = size.uniform_instrs + size.row_instrs;
    for (size_t i = 0; ok && i < ends; i++) {
        const pg_instr *instr = &pg_program_code(program)[i];
        const bool in_rows = i >= size.uniform_instrs;
        ok = instr->dst == (in_rows ? row + i - size.uniform_instrs : uniform + i) &&
             instr_is_sound(program, instr);
        const bool last = i + 1 == size.uniform_instrs || i + 1 == ends;
        if (instr->op == PG_OP_SCATTER) ok = ok && !last && instr[1].op == PG_OP_PART;
        if (instr->op == PG_OP_PART) ok = ok && is_behind_its_scatter(program, i);
        if ((instr->op == PG_OP_DOT || pg_is_lookup(instr->op)) && !in_rows)
            ok = ok && !(instr->shape & (PG_DOT_UNIFORM_START | PG_DOT_WEIGHTED));
    }
    return ok;
}

static bool program_is_sound(const pg_program *program) {
    const pg_program_size size = pg_program_measure(program);
    bool ok = pg_program_sources(program) == NULL && code_is_sound(program);
    for (size_t i = 0; i < size.imports; i++)
        ok = ok && pg_program_imports(program)[i] < size.uniform_slots;
    for (size_t i = 0; i < size.outputs; i++) { /* an input or a result, no import */
        const uint32_t slot = pg_program_outputs(program)[i];
        ok = ok && slot < size.row_slots &&
             (slot < size.inputs || slot >= size.inputs + size.imports);
    }
    size_t used = 0; /* shared pairs would make a small file a large program */
    for (size_t i = 0; i < size.uniform_instrs + size.row_instrs; i++)
        used += pg_program_code(program)[i].count;
    double sum = 0.0;
    for (size_t i = 0; i < size.constants; i++) sum += pg_program_constants(program)[i];
    return ok && used <= size.pairs && (sum <= 0.0 || sum > 0.0 || isnan(sum));
}

/* How far each slot's gradient has come, and which accumulators were collected. */
enum { no_gradient, has_gradient, was_pushed };

typedef struct reached {
    uint8_t *rows, *uniform, *collected;
} reached;

/* Would giving something to this target be right? The first is stored, later ones are added. */
static bool can_give(const pg_steps *steps, const pg_program_size *size, reached *now, bool in_rows,
                     pg_target target) {
    if (target.how == PG_ACCUMULATE_NONE) return true;
    if (target.how == PG_ACCUMULATE_FOLD) return in_rows && target.at < steps->accumulators;
    uint8_t *const slots = in_rows ? now->rows : now->uniform;
    if (target.at >= (in_rows ? size->row_slots : size->uniform_slots)) return false;
    const uint8_t before = slots[target.at];
    slots[target.at] = has_gradient;
    return before != was_pushed && target.how == (before ? PG_ACCUMULATE_ADD : PG_ACCUMULATE_STORE);
}

/* Of a dot or a custom op. From the last pair to the first; what the dot starts from comes before
 * its first pair. */
static bool can_push_dot(const pg_steps *steps, const pg_program_size *size, reached *now,
                         bool in_rows, const pg_step *step, uint32_t count) {
    const pg_target *targets = steps->targets + step->first;
    bool ok = true;
    for (uint32_t i = count; i-- > 0;) {
        if (i == 0) ok = ok && can_give(steps, size, now, in_rows, step->a);
        for (uint32_t k = 0; k < 2; k++) {
            const pg_target target = targets[2 * i + k];
            const pg_accumulation all = k == 0 ? step->left : step->right;
            ok = ok && (all == PG_ACCUMULATE_MIXED || all == target.how) &&
                 can_give(steps, size, now, in_rows, target);
        }
    }
    return ok;
}

/* Behind the targets: of each part that a gradient reached its slot. All of them are passed on. */
static bool can_read_parts(const pg_steps *steps, uint8_t *slots, const pg_step *step,
                           const pg_instr *scatter) {
    const pg_target *sources = steps->targets + step->first + 2 * scatter->count;
    bool ok = true;
    for (uint32_t k = 1; k < scatter->run; k++) {
        const pg_target source = sources[k - 1];
        uint8_t *const part = &slots[scatter->dst + k];
        const bool has = *part == has_gradient;
        ok = ok && source.at == scatter->dst + k && (source.how != PG_ACCUMULATE_NONE) == has;
        if (has) slots[scatter->dst] = has_gradient, *part = was_pushed;
    }
    return ok;
}

static bool can_collect(const pg_steps *steps, const pg_program_size *size, reached *now,
                        const pg_step *step) {
    if (step->b.at >= steps->accumulators || now->collected[step->b.at]) return false;
    now->collected[step->b.at] = 1;
    return can_give(steps, size, now, false, step->a);
}

/* An instruction of this part, whose own gradient is there and complete. */
static bool can_step(const pg_program *program, const pg_steps *steps, reached *now, bool in_rows,
                     const pg_step *step) {
    const pg_program_size size = pg_program_measure(program);
    if (!in_rows && step->instr == PG_COLLECT) return can_collect(steps, &size, now, step);
    const size_t first = in_rows ? size.uniform_instrs : 0;
    const size_t count = in_rows ? size.row_instrs : size.uniform_instrs;
    if (step->instr < first || step->instr >= first + count) return false;
    const pg_instr *instr = &pg_program_code(program)[step->instr];
    uint8_t *const own = &(in_rows ? now->rows : now->uniform)[instr->dst];
    if (instr->op == PG_OP_SCATTER &&
        !can_read_parts(steps, in_rows ? now->rows : now->uniform, step, instr))
        return false;
    if (*own != has_gradient) return false;
    *own = was_pushed;
    if (instr->op == PG_OP_DOT || pg_gives_lefts(instr->op))
        return can_push_dot(steps, &size, now, in_rows, step, instr->count);
    return can_give(steps, &size, now, in_rows, step->a) &&
           can_give(steps, &size, now, in_rows, step->b);
}

/* Walk through the steps: is every gradient complete when it is passed on, and passed on once? */
static bool reverse_is_sound(const pg_program *program, const pg_backward_plan *plan) {
    const pg_steps steps = pg_backward_plan_steps(plan);
    const pg_program_size size = pg_program_measure(program);
    reached now = {must_alloc(size.row_slots, 1), must_alloc(size.uniform_slots, 1),
                   must_alloc(steps.accumulators, 1)};
    bool ok = steps.output < size.row_slots;
    if (ok) now.rows[steps.output] = has_gradient;
    for (size_t i = 0; i < steps.row_count; i++)
        ok = ok && can_step(program, &steps, &now, true, &steps.rows[i]);
    for (size_t i = 0; i < steps.uniform_count; i++)
        ok = ok && can_step(program, &steps, &now, false, &steps.uniform[i]);
    for (size_t i = 0; i < steps.accumulators; i++) ok = ok && now.collected[i];
    for (size_t i = 0; i < size.uniform_instrs + size.row_instrs; i++) {
        const uint32_t slot = pg_program_code(program)[i].dst;
        const bool in_rows = i >= size.uniform_instrs;
        ok = ok && ((in_rows ? now.rows : now.uniform)[slot] != has_gradient ||
                    (in_rows && slot == steps.output)); /* its order may be empty */
    }
    for (size_t i = 0; i < size.inputs; i++)
        ok = ok && (now.rows[i] != no_gradient) == (steps.input_reached[i] != 0);
    for (size_t i = 0; i < size.uniform_slots; i++)
        ok = ok && (now.uniform[i] != no_gradient) == (steps.uniform_reached[i] != 0);
    free(now.rows);
    free(now.uniform);
    free(now.collected);
    return ok;
}

/* ---- replaying ------------------------------------------------------------------------------ */

/* Whatever the program, and of any size that makes sense to try: numbers for it, and room. */
enum { most_slots = 1 << 12, most_outputs = 16 };

typedef struct trial {
    double inputs[most_slots + rows], params[most_slots];
    double outputs[rows * most_outputs], gradients[rows * most_outputs * 64];
    double totals[most_outputs], sums[most_outputs * 64];
    pg_backward_plan *plan[most_outputs];
} trial;

static trial *trial_new(void) {
    trial *t = must_alloc(1, sizeof *t);
    for (size_t i = 0; i < LENGTH(t->inputs); i++) t->inputs[i] = uniform(-2.0, 2.0);
    for (size_t i = 0; i < LENGTH(t->params); i++) t->params[i] = uniform(-2.0, 2.0);
    return t;
}

static bool fits(const pg_program_size *size) {
    return size->row_slots <= most_slots && size->uniform_slots <= most_slots &&
           size->outputs <= most_outputs && size->inputs <= 64 && size->params <= 64;
}

/* Rows begin one number after the other. */
static pg_status replay(const pg_program *program, trial *t, int level, int ignore) {
    const pg_argument argument = {t->inputs, 1, pg_program_measure(program).inputs};
    const pg_task task = {.arguments = &argument,
                          .argument_count = 1,
                          .rows = rows,
                          .outputs = t->outputs,
                          .gradients = t->gradients,
                          .scale = 1.0,
                          .plan = (const pg_backward_plan *const *)t->plan,
                          .ignore = ignore};
    pg_workspace *ws = NULL;
    if (!CHECK(pg_workspace_new(&ws, program, level) == PG_OK)) abort();
    pg_status status = pg_replay_sum(ws, t->params, &task, t->totals, t->sums);
    pg_workspace_free(ws);
    return status;
}

static void reverse_all(const pg_program *program, trial *t) {
    for (size_t o = 0; o < pg_program_measure(program).outputs; o++) {
        CHECK(pg_backward_plan_new(&t->plan[o], program, o, both) == PG_OK);
        CHECK(reverse_is_sound(program, t->plan[o]));
    }
}

static void free_reverse(const pg_program *program, trial *t) {
    for (size_t o = 0; o < pg_program_measure(program).outputs; o++)
        pg_backward_plan_free(t->plan[o]);
}

/* Bytes of unknown origin. Returns: were they a program? */
static bool survives(const file *f, trial *t) {
    pg_program *program = NULL;
    pg_status status = pg_program_read(&program, f->bytes, f->count);
    if (status != PG_OK) {
        CHECK(status == PG_ERR_BAD_FILE && program == NULL);
        return false;
    }
    const pg_program_size size = pg_program_measure(program);
    CHECK(program_is_sound(program));
    if (fits(&size)) {
        reverse_all(program, t);
        const int level = (int)below((size_t)pg_replay_levels());
        status = replay(program, t, level, (int)below(2));
        CHECK(status == PG_OK || (status >= PG_ERR_DOMAIN && status <= PG_ERR_OVERFLOW));
        free_reverse(program, t);
    }
    pg_program_free(program);
    return true;
}

/* ---- there and back ------------------------------------------------------------------------- */

static bool same_sizes(const pg_program_size *a, const pg_program_size *b) {
    return a->inputs == b->inputs && a->params == b->params && a->outputs == b->outputs &&
           a->constants == b->constants && a->imports == b->imports &&
           a->uniform_slots == b->uniform_slots && a->row_slots == b->row_slots &&
           a->uniform_instrs == b->uniform_instrs && a->row_instrs == b->row_instrs &&
           a->pairs == b->pairs && a->fast == b->fast;
}

static bool same_instr(const pg_instr *a, const pg_instr *b) {
    return a->op == b->op && a->shape == b->shape && a->dst == b->dst && a->a == b->a &&
           a->b == b->b && a->first == b->first && a->count == b->count;
}

static bool same_program(const pg_program *a, const pg_program *b) {
    const pg_program_size size = pg_program_measure(a), other = pg_program_measure(b);
    if (!same_sizes(&size, &other)) return false;
    bool same = true;
    for (size_t i = 0; i < size.uniform_instrs + size.row_instrs; i++)
        same = same && same_instr(&pg_program_code(a)[i], &pg_program_code(b)[i]);
    for (size_t i = 0; i < size.constants; i++)
        same = same && same_bits(pg_program_constants(a)[i], pg_program_constants(b)[i]);
    for (size_t i = 0; i < size.imports; i++)
        same = same && pg_program_imports(a)[i] == pg_program_imports(b)[i];
    for (size_t i = 0; i < size.outputs; i++)
        same = same && pg_program_outputs(a)[i] == pg_program_outputs(b)[i];
    for (size_t i = 0; i < size.pairs; i++)
        same = same && pg_program_pairs(a)[i].left == pg_program_pairs(b)[i].left &&
               pg_program_pairs(a)[i].right == pg_program_pairs(b)[i].right;
    return same;
}

static bool same_doubles(const double *a, const double *b, size_t count) {
    bool same = true;
    for (size_t i = 0; i < count; i++) same = same && same_bits(a[i], b[i]);
    return same;
}

static void check_same_replay(const pg_program *a, const pg_program *b, trial *t, trial *other) {
    const pg_program_size size = pg_program_measure(a);
    memcpy(other->inputs, t->inputs, sizeof t->inputs);
    memcpy(other->params, t->params, sizeof t->params);
    reverse_all(a, t);
    reverse_all(b, other);
    CHECK(replay(a, t, -1, 0) == PG_OK && replay(b, other, -1, 0) == PG_OK);
    CHECK(same_doubles(t->outputs, other->outputs, rows * size.outputs));
    CHECK(same_doubles(t->gradients, other->gradients, rows * size.outputs * size.inputs));
    CHECK(same_doubles(t->totals, other->totals, size.outputs));
    CHECK(same_doubles(t->sums, other->sums, size.outputs * size.params));
    free_reverse(a, t);
    free_reverse(b, other);
}

static void check_round_trip(const pg_program *program, trial *t, trial *other) {
    const file f = file_of(program);
    pg_program *back = NULL;
    if (!CHECK(pg_program_read(&back, f.bytes, f.count) == PG_OK)) abort();
    CHECK(program_is_sound(back) && same_program(program, back));
    const file again = file_of(back);
    CHECK(again.count == f.count && memcmp(again.bytes, f.bytes, f.count) == 0);
    check_same_replay(program, back, t, other);
    pg_program_free(back);
    free(f.bytes);
    free(again.bytes);
}

static void programs_come_back(void) {
    trial *t = trial_new(), *other = trial_new();
    for (size_t round = 0; round < 200; round++) {
        const size_t inputs = below(5), params = below(5), lines = 1 + below(60);
        const unsigned passes = some_of(all_passes);
        recipe r = random_recipe(inputs, params, lines, 1 + below(MOST_OUTPUTS));
        pg_program *program = must_record(&r, NULL, passes, (int)(round % 2));
        check_round_trip(program, t, other);
        pg_program_free(program);
        recipe_free(&r);
    }
    free(t);
    free(other);
}

/* ---- files to tamper with ------------------------------------------------------------------- */

enum { kinds = 4 };

/* Something of everything: uniform code, dots with weights and without, a select, a ** 2, a
 * search, a take, a scatter, imports, two outputs, in three ways; and a random function. */
static file small_file(size_t kind) {
    const unsigned passes[kinds] = {exact_passes, all_passes, PG_PASS_FUSE, exact_passes};
    const line part = {.op = PG_OP_SCATTER, .a = 0, .b = 12, .left = 7, .right = 1, .compare = 4};
    const line lines[] = {
        {.op = PG_OP_MUL, .a = 2, .b = 3},                                         /* 4 */
        {.op = PG_OP_ADD, .a = 2, .b = 4},                                         /* 5: a dot */
        {.op = PG_OP_MUL, .a = 0, .b = 2},                                         /* 6 */
        {.op = PG_OP_ADD, .a = 5, .b = 6},                                         /* 7: a dot */
        {.op = PG_OP_SELECT, .a = 7, .b = 3, .left = 0, .right = 1, .compare = 2}, /* 8 */
        {.op = PG_OP_POWN, .a = 8, .number = 2.0},                                 /* 9 */
        {.op = PG_OP_MUL, .a = 8, .b = 1},                                         /* 10 */
        {.op = PG_OP_ADD, .a = 10, .b = 9},                                        /* 11: a dot */
        {.op = PG_OP_TAKE, .a = 0, .b = 11, .left = 2, .right = 5, .compare = 1},  /* 12 */
        part,                                                                      /* 13 */
    };
    recipe r = kind < 3 ? (recipe){.inputs = 2, .params = 2, .count = LENGTH(lines), .outputs = 2}
                        : random_recipe(2, 2, 30, 2);
    if (kind < 3) {
        r.lines = must_alloc(LENGTH(lines), sizeof *lines);
        memcpy(r.lines, lines, sizeof lines);
        r.ends[0] = 13;
        r.ends[1] = 5;
    }
    pg_program *program = must_record(&r, NULL, passes[kind], kind == 1);
    file f = file_of(program);
    pg_program_free(program);
    recipe_free(&r);
    return f;
}

static void every_truncation_is_refused(void) {
    trial *t = trial_new();
    for (size_t kind = 0; kind < kinds; kind++) {
        file f = small_file(kind), longer = file_copy(&f, f.count + 1);
        CHECK(survives(&f, t) && !survives(&longer, t));
        for (size_t count = 0; count < f.count; count++) {
            file part = file_copy(&f, count);
            CHECK(!survives(&part, t));
            free(part.bytes);
        }
        free(f.bytes);
        free(longer.bytes);
    }
    free(t);
}

static void every_byte_may_be_anything(void) {
    trial *t = trial_new();
    file f = small_file(0);
    size_t survived = 0;
    for (size_t i = 0; i < f.count; i++) {
        const uint8_t was = f.bytes[i];
        for (unsigned byte = 0; byte < 256; byte++) {
            f.bytes[i] = (uint8_t)byte;
            survived += survives(&f, t);
        }
        f.bytes[i] = was;
    }
    CHECK(survived > f.count && survived < 256 * f.count);
    free(f.bytes);
    free(t);
}

/* ---- random mutations ----------------------------------------------------------------------- */

/* Bytes put in or taken out. */
static void mutate_length(file *f) {
    const size_t at = below(f->count), count = 1 + below(20);
    const bool shorter = below(2) && at + count < f->count;
    file changed = file_copy(f, shorter ? f->count - count : f->count + count);
    if (shorter) {
        memcpy(changed.bytes + at, f->bytes + at + count, f->count - at - count);
    } else {
        memcpy(changed.bytes + at + count, f->bytes + at, f->count - at);
        for (size_t i = 0; i < count; i++) changed.bytes[at + i] = (uint8_t)below(256);
    }
    free(f->bytes);
    *f = changed;
}

static void mutate_byte(file *f, size_t from, size_t values) {
    const size_t at = from + below(f->count - from);
    f->bytes[at] = (uint8_t)below(values);
}

/* Another number where one may be: after the names all but two fields have four bytes. */
static void mutate_number(file *f, size_t counts) {
    static const uint32_t odd[] = {0x3fffffff, 0x40000000, 0x7fffffff,
                                   0x80000000, 0xfffffffe, 0xffffffff};
    const size_t at = counts + below(f->count - counts - 4);
    const uint32_t was = get_u32(f->bytes + at);
    switch (below(4)) {
    case 0: put_u32(f->bytes + at, (uint32_t)below(12)); break;
    case 1: put_u32(f->bytes + at, was + (uint32_t)below(5) - 2); break;
    case 2: put_u32(f->bytes + at, odd[below(LENGTH(odd))]); break;
    default: put_u32(f->bytes + at, get_u32(f->bytes + counts + below(f->count - counts - 4)));
    }
}

static void mutate(file *f, size_t counts) {
    for (size_t i = below(3) ? 1 : 2 + below(2); i > 0; i--) {
        const size_t kind = below(16);
        if (kind == 0) mutate_length(f);
        else if (kind < 4) mutate_byte(f, 0, 256);
        else if (kind < 10) mutate_byte(f, counts, 12);
        else mutate_number(f, counts);
    }
}

static void random_mutations(void) {
    trial *t = trial_new();
    file files[kinds];
    size_t counts[kinds], survived = 0;
    for (size_t kind = 0; kind < kinds; kind++) {
        files[kind] = small_file(kind);
        counts[kind] = place_of_counts(&files[kind]);
    }
    for (size_t round = 0; round < 200000; round++) {
        const size_t kind = round % kinds;
        file f = file_copy(&files[kind], files[kind].count);
        mutate(&f, counts[kind]);
        survived += survives(&f, t);
        free(f.bytes);
    }
    CHECK(survived > 10000 && survived < 190000);
    for (size_t kind = 0; kind < kinds; kind++) free(files[kind].bytes);
    free(t);
}

/* ---- by hand -------------------------------------------------------------------------------- */

/* The fields of a file after its names, in order. */
enum { constants, params, inputs, imports, uniform_instrs, instrs, pairs, outputs, fast, fields };

/* No count is believed for which there are no bytes. Parameters and inputs have none: a number of
 * them is as good as another. */
static void hostile_counts(void) {
    static const uint32_t hostile[] = {1000,       0x10000,    0x1000000,  0x3fffffff, 0x40000000,
                                       0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    trial *t = trial_new();
    file f = small_file(0);
    const size_t counts = place_of_counts(&f);
    for (size_t field = 0; field < fast; field++) {
        uint8_t *const at = f.bytes + counts + 4 * field;
        const uint32_t was = get_u32(at);
        for (size_t i = 0; i < LENGTH(hostile); i++) {
            put_u32(at, hostile[i]);
            const bool has_bytes = field != params && field != inputs;
            if (has_bytes || hostile[i] > 0x3fffffff) CHECK(!survives(&f, t));
            else survives(&f, t);
        }
        put_u32(at, was);
    }
    for (size_t i = 0; i < LENGTH(hostile); i++) { /* all at once */
        file all = file_copy(&f, f.count);
        for (size_t field = 0; field < fast; field++)
            put_u32(all.bytes + counts + 4 * field, hostile[i]);
        CHECK(!survives(&all, t));
        free(all.bytes);
    }
    free(f.bytes);
    free(t);
}

/* Inputs have no bytes, so a small file may say that there are many; reading it is as quick. */
static void reading_allocates_no_slots(void) {
    file f = small_file(0);
    put_u32(f.bytes + place_of_counts(&f) + 4 * inputs, 0x3fffffff - 100);
    const clock_t start = clock();
    for (size_t i = 0; i < 10; i++) {
        pg_program *program = NULL;
        CHECK(pg_program_read(&program, f.bytes, f.count) != PG_ERR_NOMEM);
        pg_program_free(program);
    }
    CHECK(clock() - start < CLOCKS_PER_SEC / 5);
    free(f.bytes);
}

/* A program of no instructions, and a file that says that one of them is uniform. */
static void more_uniform_code_than_code(void) {
    trial *t = trial_new();
    recipe r = {.inputs = 2, .outputs = 1}; /* the first of them */
    pg_program *program = must_record(&r, NULL, exact_passes, 0);
    file f = file_of(program);
    CHECK(survives(&f, t));
    put_u32(f.bytes + place_of_counts(&f) + 4 * uniform_instrs, 1);
    CHECK(!survives(&f, t));
    pg_program_free(program);
    free(f.bytes);
    free(t);
}

static void hostile_names(void) {
    trial *t = trial_new();
    file f = small_file(0);
    const uint32_t names = get_u32(f.bytes);
    const uint32_t hostile[] = {0, names - 1, names + 1, 256, 257, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < LENGTH(hostile); i++) {
        put_u32(f.bytes, hostile[i]);
        CHECK(!survives(&f, t));
    }
    put_u32(f.bytes, names);
    f.bytes[4] = 255; /* the first name's length */
    CHECK(!survives(&f, t));
    file short_file = {f.bytes, 5}; /* a name of 255 letters that aren't there */
    CHECK(!survives(&short_file, t));
    free(f.bytes);
    free(t);
}

/* A file that counts through so many ops: ours, and after them nameless ones. */
static file with_names(const file *f, uint32_t names) {
    const size_t counts = place_of_counts(f), more = names - get_u32(f->bytes);
    file longer = {must_alloc(f->count + more, 1), f->count + more};
    memcpy(longer.bytes, f->bytes, counts);
    memcpy(longer.bytes + counts + more, f->bytes + counts, f->count - counts);
    put_u32(longer.bytes, names);
    return longer;
}

static void a_byte_counts_to_256(void) {
    trial *t = trial_new();
    file f = small_file(0), most = with_names(&f, 256), more = with_names(&f, 257);
    CHECK(survives(&most, t) && !survives(&more, t));
    file adds = {must_alloc(4 + 4 * 1000, 1), 4 + 4 * 1000}; /* nothing but a thousand "add" */
    put_u32(adds.bytes, 1000);
    for (size_t i = 0; i < 1000; i++) memcpy(adds.bytes + 4 + 4 * i, "\3add", 4);
    CHECK(!survives(&adds, t));
    free(f.bytes);
    free(most.bytes);
    free(more.bytes);
    free(adds.bytes);
    free(t);
}

/* The numbers of ops may be others than ours: a file that counts through them in another order. */
static void ops_go_by_name(void) {
    recipe r = random_recipe(2, 2, 40, 2);
    pg_program *program = must_record(&r, NULL, exact_passes, 0), *back = NULL;
    file f = file_of(program);
    const uint32_t names = get_u32(f.bytes);
    const size_t end = place_of_counts(&f), code = end + 4 * fields;
    const pg_program_size size = pg_program_measure(program);
    file other = file_copy(&f, f.count);
    size_t to = 4;
    for (uint32_t i = names; i-- > 0;) { /* the last name first */
        size_t from = 4;
        for (uint32_t k = 0; k < i; k++) from += 1 + (size_t)f.bytes[from];
        memcpy(other.bytes + to, f.bytes + from, 1 + (size_t)f.bytes[from]);
        to += 1 + (size_t)f.bytes[from];
    }
    const size_t first = code + 8 * size.constants + 4 * size.imports;
    for (size_t i = 0; i < size.uniform_instrs + size.row_instrs; i++)
        other.bytes[first + 18 * i] = (uint8_t)(names - 1 - other.bytes[first + 18 * i]);
    CHECK(to == end && memcmp(f.bytes, other.bytes, f.count) != 0);
    if (CHECK(pg_program_read(&back, other.bytes, other.count) == PG_OK))
        CHECK(same_program(program, back));
    pg_program_free(program);
    pg_program_free(back);
    recipe_free(&r);
    free(f.bytes);
    free(other.bytes);
}

static void no_bytes(void) {
    pg_program *program = NULL;
    uint8_t byte = 0;
    CHECK(pg_program_read(&program, &byte, 0) == PG_ERR_BAD_FILE && program == NULL);
    CHECK(pg_program_read(&program, &byte, 1) == PG_ERR_BAD_FILE && program == NULL);
}

const test_case save_tests[] = {
    TEST(programs_come_back),
    TEST(every_truncation_is_refused),
    TEST(every_byte_may_be_anything),
    TEST(random_mutations),
    TEST(hostile_counts),
    TEST(reading_allocates_no_slots),
    TEST(more_uniform_code_than_code),
    TEST(hostile_names),
    TEST(a_byte_counts_to_256),
    TEST(ops_go_by_name),
    TEST(no_bytes),
    {0},
};
