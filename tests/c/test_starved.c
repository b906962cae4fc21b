/* test_starved.c - programs without memory: the nth allocation fails, n rising until none does,
 * while they are recorded with any passes, read, prepared, replayed and trained.
 *
 * A call that fails must leave the graph and the parameters as they were, and give, when it is
 * tried again, the very bits that it gives when nothing ever failed. What it would leak is
 * LeakSanitizer's to find. test_failure.c does the same for nodes. */
#include "scene.h"

#include <stdlib.h>
#include <string.h>

enum { rows = 2100, most = 1000, recipes = 3 };

static const unsigned pass_sets[] = {0,
                                     PG_PASS_FOLD,
                                     PG_PASS_HOIST,
                                     PG_PASS_FUSE,
                                     PG_PASS_SHARE,
                                     PG_PASS_POWERS,
                                     PG_PASS_FUSE | PG_PASS_LAYERS,
                                     exact_passes,
                                     all_passes};

/* Neurons of the same inputs, an activation each, what they add up to, and a custom op of it. */
static recipe layer_recipe(void) {
    enum { inputs = 3, neurons = 4 };
    recipe r = recipe_new(inputs, neurons * (inputs + 1));
    uint32_t total = inputs, weight = inputs;
    for (size_t i = 0; i < neurons; i++) {
        uint32_t sum = weight++;
        for (uint32_t x = 0; x < inputs; x++) {
            const uint32_t product = recipe_add(&r, (line){.op = PG_OP_MUL, .a = weight++, .b = x});
            sum = recipe_add(&r, (line){.op = PG_OP_ADD, .a = sum, .b = product});
        }
        sum = recipe_add(&r, (line){.op = PG_OP_TANH, .a = sum});
        total = recipe_add(&r, (line){.op = PG_OP_ADD, .a = total, .b = sum});
    }
    const line custom = {.op = PG_OP_CUSTOM, .a = total, .b = 0, .left = total, .right = total};
    recipe_end(&r, recipe_add(&r, custom));
    return r;
}

static recipe nth_recipe(size_t n, size_t outputs) {
    return n == 0 && outputs == 1 ? layer_recipe() : random_recipe(3, 5, 60, outputs);
}

/* ---- calls --------------------------------------------------------------------------------- */

/* What the calls need. */
typedef struct bench {
    scene s;
    traced_recipe trace;
    unsigned passes;
    pg_workspace *ws;
    pg_argument arguments[most_arguments];
    uint8_t *bytes;
    size_t byte_count, room; /* doubles that a call may give */
} bench;

/* Returns: the call's status. Out: what it gave, room for b->room numbers, all zero. */
typedef pg_status attempt(bench *b, double *numbers_ret);

static pg_status keep_bytes(const bench *b, pg_program *program, double *numbers_ret) {
    const size_t count = pg_program_write(program, NULL);
    if (CHECK(count <= b->room * sizeof *numbers_ret))
        pg_program_write(program, (uint8_t *)numbers_ret);
    pg_program_free(program);
    return PG_OK;
}

static pg_status try_record(bench *b, double *numbers_ret) {
    pg_program *program = NULL;
    const recipe *r = &b->s.recipe;
    snapshot before = snapshot_take(b->trace.graph);
    pg_status status = pg_record(
        b->trace.graph, &program,
        &(pg_recording){b->trace.ids, b->trace.ends, r->inputs, r->outputs, b->passes, 0});
    CHECK(snapshot_holds(&before, b->trace.graph) && (status == PG_OK) == (program != NULL));
    snapshot_free(&before);
    return status == PG_OK ? keep_bytes(b, program, numbers_ret) : status;
}

static pg_status try_read(bench *b, double *numbers_ret) {
    pg_program *program = NULL;
    pg_status status = pg_program_read(&program, b->bytes, b->byte_count);
    CHECK((status == PG_OK) == (program != NULL));
    return status == PG_OK ? keep_bytes(b, program, numbers_ret) : status;
}

static pg_status lift(bench *b, double *numbers_ret, int weighted) {
    pg_program *program = NULL;
    const pg_status status = pg_program_lift(&program, b->s.program, weighted);
    CHECK((status == PG_OK) == (program != NULL));
    return status == PG_OK ? keep_bytes(b, program, numbers_ret) : status;
}

static pg_status try_lift(bench *b, double *numbers_ret) { return lift(b, numbers_ret, 0); }
static pg_status try_lift_weighted(bench *b, double *numbers_ret) {
    return lift(b, numbers_ret, 1);
}

static pg_status try_reverse(bench *b, double *numbers_ret) {
    pg_backward_plan *plan = NULL;
    pg_status status = pg_backward_plan_new(&plan, b->s.program, 0, both);
    CHECK((status == PG_OK) == (plan != NULL));
    const pg_steps steps = plan != NULL ? pg_backward_plan_steps(plan) : (pg_steps){0};
    for (size_t i = 0; i < steps.row_count; i++) numbers_ret[i] = steps.rows[i].instr;
    pg_backward_plan_free(plan);
    return status;
}

static pg_status try_workspace(bench *b, double *numbers_ret) {
    pg_workspace *ws = NULL;
    const pg_status status = pg_workspace_new(&ws, b->s.program, -1);
    numbers_ret[0] = ws != NULL;
    pg_workspace_free(ws);
    return status;
}

/* Its results are where task_of puts them: the caller's. */
static pg_task bench_task(bench *b, const results *r) {
    pg_task task = task_of(&b->s, b->arguments, r, rows);
    task.ignore = 1;
    task.partials = NULL; /* the workspace has them */
    return task;
}

static pg_status try_replay(bench *b, double *numbers_ret) {
    const pg_program_size *size = &b->s.size;
    results r = {.outputs = numbers_ret};
    r.gradients = r.outputs + rows * size->outputs;
    r.totals = r.gradients + rows * size->outputs * size->inputs;
    r.sums = r.totals + size->outputs;
    const pg_task task = bench_task(b, &r);
    return pg_replay_sum(b->ws, b->s.captured, &task, r.totals, r.sums);
}

static pg_status try_jvp(bench *b, double *numbers_ret) {
    results r = {.outputs = numbers_ret};
    const pg_task task = bench_task(b, &r);
    const pg_direction along = {.params = b->s.captured};
    return pg_jvp(b->ws, b->s.captured, &along, &task, numbers_ret + rows * b->s.size.outputs);
}

static pg_status try_hvp(bench *b, double *numbers_ret) {
    results none = {0};
    pg_task task = bench_task(b, &none);
    task.scale = 0.5;
    const pg_direction along = {.params = b->s.captured};
    return pg_hvp(b->ws, b->s.captured, &along, &task, numbers_ret, numbers_ret + b->s.size.params);
}

/* The Hessians of nine rows: more than a block. */
static pg_status try_hessians(bench *b, double *numbers_ret) {
    results none = {0};
    pg_task task = bench_task(b, &none);
    task.rows = 9;
    const pg_direction units = {.count = b->s.size.inputs};
    return pg_hvp_rows(b->ws, b->s.captured, &units, &task, numbers_ret);
}

/* Two epochs of an optimizer with momentum, clipped; what failed has not begun. */
static pg_status fit(bench *b, double *numbers_ret, pg_optimizer_kind kind) {
    const size_t count = b->s.size.params;
    uint32_t places[most];
    double *params = must_alloc(count, sizeof *params), losses[2];
    results none = {0};
    const pg_task task = bench_task(b, &none);
    for (uint32_t i = 0; i < count; i++) places[i] = i;
    pg_training t = {.epochs = 2, .batch_rows = 2000, .count = count};
    t.arrays.data = numbers_ret;
    t.arrays.gradients = numbers_ret + count;
    t.arrays.mean = t.arrays.velocity = numbers_ret + 2 * count;
    t.arrays.square = numbers_ret + 3 * count;
    t.places = places;
    t.params = params;
    t.kind = kind;
    t.sgd = (pg_sgd_settings){0.01, 0.9, 0.0};
    t.adam = (pg_adam_settings){0.01, 0.9, 0.999, 1e-8, 0.0, 0, 0.0};
    t.rmsprop = (pg_rmsprop_settings){0.01, 0.99, 1e-8, 0.0, 0.9};
    t.clip = (pg_clip_settings){.norm = 1.0};
    memcpy(params, b->s.captured, count * sizeof *params);
    memcpy(t.arrays.data, params, count * sizeof *params);
    pg_status status = pg_fit(b->ws, &task, &t, losses);
    if (status != PG_OK) {
        CHECK(t.steps == 0 && same_array(t.arrays.data, b->s.captured, count));
        CHECK(same_array(params, b->s.captured, count));
        for (size_t i = 0; i < 3 * count; i++) CHECK(t.arrays.gradients[i] == 0.0);
    } else memcpy(numbers_ret + 4 * count, losses, sizeof losses);
    free(params);
    return status;
}

static pg_status try_adam(bench *b, double *numbers_ret) { return fit(b, numbers_ret, PG_ADAM); }
static pg_status try_rmsprop(bench *b, double *numbers_ret) {
    return fit(b, numbers_ret, PG_RMSPROP);
}
static pg_status try_sgd(bench *b, double *numbers_ret) { return fit(b, numbers_ret, PG_SGD); }

/* ---- each with failures -------------------------------------------------------------------- */

/* A workspace that has done nothing yet: later calls find room in it. */
static void renew_workspace(bench *b) {
    pg_workspace_free(b->ws);
    b->ws = must_work(b->s.program, -1);
}

/* Let the nth allocation fail, n rising until none does. Returns: how many there were to fail. */
static long survive(bench *b, attempt *call) {
    const size_t bytes = b->room * sizeof(double);
    double *expected = must_alloc(b->room, sizeof *expected);
    double *numbers = must_alloc(b->room, sizeof *numbers);
    renew_workspace(b);
    CHECK(call(b, expected) == PG_OK);
    long n = 1;
    for (bool failed = true; failed && CHECK(n < most); n++) {
        renew_workspace(b);
        memset(numbers, 0, bytes);
        pg_alloc_fail_at(n);
        pg_status status = call(b, numbers);
        pg_alloc_fail_at(0);
        failed = status != PG_OK;
        if (failed) {
            CHECK(status == PG_ERR_NOMEM);
            memset(numbers, 0, bytes);
            CHECK(call(b, numbers) == PG_OK); /* the same call, with memory */
        }
        CHECK(memcmp(numbers, expected, bytes) == 0);
    }
    free(expected);
    free(numbers);
    return n - 2;
}

static bench bench_new(recipe r, unsigned passes) {
    bench b = {.s = scene_new(r, rows, passes, 0), .passes = passes};
    const size_t widest = rows * b.s.size.outputs * (2 + b.s.size.inputs);
    b.room = widest + 8 * b.s.size.params + 8192;
    CHECK(recipe_trace(&b.trace, &b.s.recipe) == PG_OK);
    b.byte_count = pg_program_write(b.s.program, NULL);
    b.bytes = must_alloc(b.byte_count, 1);
    pg_program_write(b.s.program, b.bytes);
    return b;
}

static void bench_free(bench *b) {
    pg_workspace_free(b->ws);
    traced_free(&b->trace);
    scene_free(&b->s);
    free(b->bytes);
}

static void recording_with_any_passes(void) {
    for (size_t i = 0; i < LENGTH(pass_sets); i++) {
        for (size_t n = 0; n < 2 * recipes; n++) {
            bench b = bench_new(nth_recipe(n / 2, 1 + n % 2), pass_sets[i]);
            CHECK(survive(&b, try_record) > 20);
            CHECK(survive(&b, try_read) > 8);
            CHECK(survive(&b, try_reverse) > 4);
            CHECK(survive(&b, try_lift) > 8);
            CHECK(survive(&b, try_lift_weighted) > 8);
            bench_free(&b);
        }
    }
}

static void replaying(void) {
    for (size_t n = 0; n < recipes; n++) {
        bench b = bench_new(nth_recipe(n, 2), exact_passes);
        CHECK(survive(&b, try_workspace) == 5);
        CHECK(survive(&b, try_replay) == 1); /* the sums */
        CHECK(survive(&b, try_jvp) >= 6);
        bench_free(&b);
    }
}

static void training(void) {
    for (size_t n = 0; n < recipes; n++) {
        bench b = bench_new(nth_recipe(n, 1), exact_passes);
        replace_reverse(&b.s, PG_WRT_PARAMS);
        CHECK(survive(&b, try_adam) == 5); /* a batch, its sums, places, arrays, the slots again */
        CHECK(survive(&b, try_rmsprop) == 5);
        CHECK(survive(&b, try_sgd) == 5);
        CHECK(survive(&b, try_hvp) == 6);
        replace_reverse(&b.s, PG_WRT_INPUTS);
        CHECK(survive(&b, try_hessians) >= 4);
        bench_free(&b);
    }
}

const test_case starved_tests[] = {
    TEST(recording_with_any_passes),
    TEST(replaying),
    TEST(training),
    {0},
};
