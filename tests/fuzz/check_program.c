/* check_program.c - everything that one can do with a program: read its code, plan it, replay
 * it with each kind of vectors and any number of rows, along tangents, in training, write it. What
 * comes out is compared with plain_program.c, bit for bit, or with another way to the same. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum {
    most_slots = 1 << 10, /* programs that are larger are read, and that is all */
    most_pairs = 1 << 11,
    most_ends = 16 /* outputs, inputs, parameters */
};

typedef struct trial {
    const pg_program *program;
    pg_program_size size;
    size_t rows;
    double *inputs, *params, *direction; /* each just as large as it must be */
    int64_t *index;
    bool gathers; /* rows come through the index */
    pg_backward_plan *plan[most_ends];
    pg_workspace *ws;
    plain_results expected;
} trial;

/* Room for what a replay gives, and no more. */
typedef struct found {
    double *outputs, *gradients, *totals, *sums;
} found;

static double *numbers(size_t count) { return must_alloc(count, sizeof(double)); }

/* ---- Its code ------------------------------------------------------------------------------- */

/* Whoever lists the code reads all of it. */
static void check_code(const pg_program *program, const pg_program_size *size) {
    uint64_t sum = 0;
    for (size_t i = 0; i < size->uniform_instrs + size->row_instrs; i++) {
        const pg_instr *instr = &pg_program_code(program)[i];
        CHECK(pg_instr_name(instr->op) != NULL && instr->run >= 1);
        for (uint32_t k = 0; k < instr->count; k++)
            sum += pg_program_pairs(program)[instr->first + k].left;
    }
    for (size_t i = 0; i < size->constants; i++) sum += pg_program_constants(program)[i] > 0.0;
    for (size_t i = 0; i < size->imports; i++) sum += pg_program_imports(program)[i];
    for (size_t i = 0; i < size->outputs; i++)
        CHECK(pg_program_outputs(program)[i] < size->row_slots);
    CHECK(sum < UINT64_MAX);
}

static uint8_t *written(const pg_program *program, size_t *count_ret) {
    *count_ret = pg_program_write(program, NULL);
    uint8_t *bytes = must_alloc(*count_ret, 1);
    CHECK(pg_program_write(program, bytes) == *count_ret);
    return bytes;
}

/* Written and read again it is the same, down to what runs as one. */
static void check_round_trip(const pg_program *program, const pg_program_size *size) {
    size_t count, again_count;
    uint8_t *bytes = written(program, &count);
    pg_program *again = NULL;
    CHECK(pg_program_read(&again, bytes, count) == PG_OK);
    uint8_t *again_bytes = written(again, &again_count);
    CHECK(again_count == count && memcmp(bytes, again_bytes, count) == 0);
    for (size_t i = 0; i < size->uniform_instrs + size->row_instrs; i++) {
        CHECK(pg_program_code(program)[i].run == pg_program_code(again)[i].run);
        CHECK(pg_program_code(program)[i].dst == pg_program_code(again)[i].dst);
    }
    free(bytes);
    free(again_bytes);
    pg_program_free(again);
}

/* ---- Replays -------------------------------------------------------------------------------- */

static const pg_backward_plan *const *steps_of(const trial *t) {
    return (const pg_backward_plan *const *)t->plan;
}

/* The inputs dealt out to two arguments, which begin anywhere in a row. */
static pg_task task_of(const trial *t, pg_argument arguments[2], found *f, size_t split) {
    const size_t inputs = t->size.inputs;
    arguments[0] = (pg_argument){t->inputs, inputs, split};
    arguments[1] = (pg_argument){t->inputs + split, inputs, inputs - split};
    return (pg_task){.arguments = arguments,
                     .argument_count = 2,
                     .index = t->gathers ? t->index : NULL,
                     .rows = t->rows,
                     .outputs = f->outputs,
                     .gradients = f->gradients,
                     .scale = 1.0,
                     .plan = steps_of(t)};
}

static pg_status replay(const trial *t, found *f, int ignore) {
    pg_argument arguments[2];
    pg_task task = task_of(t, arguments, f, below(t->size.inputs + 1));
    task.ignore = ignore;
    return pg_replay_sum(t->ws, t->params, &task, f->totals, f->sums);
}

static void check_same(const double *ours, const double *expected, size_t count) {
    for (size_t i = 0; i < count; i++) CHECK(same_number(ours[i], expected[i]));
}

static void check_found(const trial *t, const found *f) {
    const pg_program_size *size = &t->size;
    check_same(f->outputs, t->expected.outputs, t->rows * size->outputs);
    check_same(f->gradients, t->expected.gradients, t->rows * size->outputs * size->inputs);
    check_same(f->totals, t->expected.totals, size->outputs);
    check_same(f->sums, t->expected.sums, size->outputs * size->params);
}

static void check_fault(const trial *t, pg_status status) {
    CHECK(status == t->expected.status);
    if (status == PG_OK) return;
    const pg_replay_fault ours = pg_workspace_fault(t->ws), expected = t->expected.fault;
    const int64_t row = t->gathers && expected.row >= 0 ? t->index[expected.row] : expected.row;
    CHECK(ours.row == row && ours.fault.op == expected.fault.op);
    CHECK(ours.fault.derivative == expected.fault.derivative);
    CHECK(same_number(ours.fault.a, expected.fault.a));
    CHECK(same_number(ours.fault.b, expected.fault.b));
}

/* Errors ignored, errors raised, and what is not asked for left out; in any order, since a
 * workspace must not remember. */
static void check_replays(const trial *t, found *f) {
    CHECK(replay(t, f, 1) == PG_OK);
    check_found(t, f);
    const pg_status status = replay(t, f, 0);
    check_fault(t, status);
    if (status == PG_OK) check_found(t, f);
    CHECK(replay(t, f, 1) == PG_OK);
    check_found(t, f);
}

/* ---- Parts of what a replay gives ----------------------------------------------------------- */

/* Gradients with respect to one of the two only are the same. */
static void check_halves(trial *t, found *f) {
    const pg_program_size *size = &t->size;
    pg_backward_plan *all[most_ends];
    memcpy(all, t->plan, sizeof all);
    for (unsigned wrt = PG_WRT_PARAMS; wrt <= PG_WRT_INPUTS; wrt++) {
        for (size_t o = 0; o < size->outputs; o++)
            CHECK(pg_backward_plan_new(&t->plan[o], t->program, o, wrt) == PG_OK);
        CHECK(replay(t, f, 1) == PG_OK);
        check_same(f->totals, t->expected.totals, size->outputs);
        if (wrt == PG_WRT_PARAMS)
            check_same(f->sums, t->expected.sums, size->outputs * size->params);
        else
            check_same(f->gradients, t->expected.gradients, t->rows * size->outputs * size->inputs);
        for (size_t o = 0; o < size->outputs; o++) pg_backward_plan_free(t->plan[o]);
    }
    memcpy(t->plan, all, sizeof all);
}

/* Without plan: values only. */
static void check_values_only(const trial *t, found *f) {
    pg_argument arguments[2];
    pg_task task = task_of(t, arguments, f, 0);
    task.gradients = NULL;
    task.plan = NULL;
    task.last_chunk = pg_chunk_count(t->rows);
    task.ignore = 1;
    CHECK(pg_replay_begin(t->ws, t->params, 1) == PG_OK);
    CHECK(pg_replay(t->ws, &task) == PG_OK);
    check_same(f->outputs, t->expected.outputs, t->rows * t->size.outputs);
}

/* The values along a tangent are the values. A Hessian's product comes with the gradient, whose
 * sums are those of eight rows at most. */
static void check_tangents(const trial *t, found *f) {
    double *tangents = numbers(t->rows * t->size.outputs), *product = numbers(t->size.params);
    pg_argument arguments[2];
    pg_task task = task_of(t, arguments, f, 0);
    task.ignore = 1;
    const pg_direction along = {.params = t->direction};
    CHECK(pg_jvp(t->ws, t->params, &along, &task, tangents) == PG_OK);
    check_same(f->outputs, t->expected.outputs, t->rows * t->size.outputs);
    if (t->size.outputs == 1) {
        CHECK(pg_hvp(t->ws, t->params, &along, &task, product, f->sums) == PG_OK);
        if (t->rows > 0 && t->rows <= 8) check_same(f->sums, t->expected.sums, t->size.params);
    }
    free(tangents);
    free(product);
}

/* With the parameters as inputs the rows have the same outputs, and the same gradients by the
 * inputs. */
static void check_lifted(const trial *t) {
    const pg_program_size *size = &t->size;
    const size_t inputs = size->inputs + size->params, outputs = t->rows * size->outputs;
    double *const found = numbers(outputs), *const gradients = numbers(outputs * inputs);
    const pg_argument arguments[] = {{t->inputs, size->inputs, size->inputs},
                                     {t->params, 0, size->params}};
    pg_backward_plan *plan[most_ends];
    pg_workspace *ws;
    pg_program *lifted;
    CHECK(pg_program_lift(&lifted, t->program, 0) == PG_OK);
    for (size_t o = 0; o < size->outputs; o++)
        CHECK(pg_backward_plan_new(&plan[o], lifted, o, PG_WRT_INPUTS) == PG_OK);
    CHECK(pg_workspace_new(&ws, lifted, -1) == PG_OK);
    const pg_task task = {.arguments = arguments,
                          .argument_count = 2,
                          .index = t->gathers ? t->index : NULL,
                          .rows = t->rows,
                          .last_chunk = pg_chunk_count(t->rows),
                          .outputs = found,
                          .gradients = gradients,
                          .plan = (const pg_backward_plan *const *)plan,
                          .ignore = 1};
    CHECK(pg_replay_begin(ws, NULL, 1) == PG_OK && pg_replay(ws, &task) == PG_OK);
    check_same(found, t->expected.outputs, outputs);
    for (size_t i = 0; i < outputs; i++)
        check_same(gradients + i * inputs, t->expected.gradients + i * size->inputs, size->inputs);
    pg_workspace_free(ws);
    for (size_t o = 0; o < size->outputs; o++) pg_backward_plan_free(plan[o]);
    pg_program_free(lifted);
    free(found);
    free(gradients);
}

/* Two epochs of one batch are two replays with a step after each. */
static void check_training(const trial *t, found *f) {
    const size_t count = t->size.params;
    double *arrays = numbers(4 * count), losses[2];
    double *const data = arrays, *const params = arrays + count, *const by_hand = params + count;
    uint32_t *places = must_alloc(count, sizeof *places);
    for (uint32_t i = 0; i < count; i++) {
        places[i] = i;
        data[i] = params[i] = by_hand[i] = t->params[i];
    }
    pg_training training = {.epochs = 2,
                            .batch_rows = t->rows,
                            .count = count,
                            .arrays = {.data = data, .gradients = by_hand + count},
                            .places = places,
                            .params = params,
                            .sgd = {.lr = 0.125}};
    pg_argument arguments[2];
    pg_task task = task_of(t, arguments, f, 0);
    task.ignore = 1;
    task.index = NULL;
    CHECK(pg_fit(t->ws, &task, &training, losses) == PG_OK);
    task.scale = 1.0 / (double)t->rows;
    for (size_t epoch = 0; epoch < 2; epoch++) {
        CHECK(pg_replay_sum(t->ws, by_hand, &task, f->totals, f->sums) == PG_OK);
        CHECK(same_number(f->totals[0], losses[epoch]) || t->rows != 1);
        for (size_t i = 0; i < count; i++) by_hand[i] -= 0.125 * f->sums[i];
    }
    check_same(params, by_hand, count);
    free(arrays);
    free(places);
}

/* ---- All of it ------------------------------------------------------------------------------ */

static bool fits(const pg_program_size *size) {
    return size->row_slots <= most_slots && size->uniform_slots <= most_slots &&
           size->pairs <= most_pairs && size->outputs <= most_ends && size->inputs <= most_ends &&
           size->params <= most_ends;
}

static void choose_numbers(trial *t) {
    static const size_t row_counts[] = {1, 1, 2, 7, 8, 9, 31, 32, 33, 40, 41, 0};
    const size_t rows = t->rows = row_counts[below(LENGTH(row_counts))];
    const size_t inputs = rows * t->size.inputs, params = t->size.params;
    const bool tame = below(2);
    t->inputs = numbers(inputs);
    t->params = numbers(params);
    t->direction = numbers(params);
    t->index = must_alloc(rows, sizeof *t->index);
    for (size_t i = 0; i < inputs; i++) t->inputs[i] = tame ? uniform(-2.0, 2.0) : odd_number();
    for (size_t i = 0; i < params; i++) t->params[i] = tame ? uniform(-2.0, 2.0) : odd_number();
    for (size_t i = 0; i < params; i++) t->direction[i] = below(3) ? uniform(-2.0, 2.0) : 0.0;
    t->gathers = below(3) == 0;
    for (size_t i = 0; i < rows; i++) t->index[i] = (int64_t)below(rows);
}

static found room_for(const trial *t) {
    const size_t outputs = t->rows * t->size.outputs, ends = t->size.outputs;
    return (found){numbers(outputs), numbers(outputs * t->size.inputs), numbers(ends),
                   numbers(ends * t->size.params)};
}

/* What the rows should give, in the order in which they come. */
static void expect(trial *t) {
    double *inputs = must_alloc(t->rows * t->size.inputs, sizeof *inputs);
    for (size_t row = 0; row < t->rows; row++)
        for (size_t i = 0; i < t->size.inputs; i++) {
            const size_t from = t->gathers ? (size_t)t->index[row] : row;
            inputs[row * t->size.inputs + i] = t->inputs[from * t->size.inputs + i];
        }
    t->expected = plain_replay(t->program, t->params, inputs, t->rows);
    free(inputs);
}

/* One kind of vectors; and with one of them all that isn't asked of each. */
static void check_level(trial *t, found *f, int level, bool thoroughly) {
    CHECK(pg_workspace_new(&t->ws, t->program, level) == PG_OK);
    check_replays(t, f);
    if (thoroughly) {
        check_halves(t, f);
        check_values_only(t, f);
        check_tangents(t, f);
        check_lifted(t);
        if (t->size.outputs == 1 && t->rows > 0) check_training(t, f);
    }
    pg_workspace_free(t->ws);
}

static void trial_free(trial *t, found *f) {
    void *const blocks[] = {t->inputs,  t->params,    t->direction, t->index,
                            f->outputs, f->gradients, f->totals,    f->sums};
    for (size_t i = 0; i < LENGTH(blocks); i++) free(blocks[i]);
    for (size_t o = 0; o < t->size.outputs; o++) pg_backward_plan_free(t->plan[o]);
    plain_results_free(&t->expected);
}

void check_program(const pg_program *program) {
    trial t = {.program = program, .size = pg_program_measure(program)};
    if (!fits(&t.size)) return;
    check_code(program, &t.size);
    check_round_trip(program, &t.size);
    for (size_t o = 0; o < t.size.outputs; o++)
        CHECK(pg_backward_plan_new(&t.plan[o], program, o, both) == PG_OK);
    choose_numbers(&t);
    expect(&t);
    found f = room_for(&t);
    const int chosen = (int)below((size_t)pg_replay_levels());
    for (int level = 0; level < pg_replay_levels(); level++)
        check_level(&t, &f, level, level == chosen);
    trial_free(&t, &f);
}
