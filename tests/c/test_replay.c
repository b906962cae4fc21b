/* test_replay.c - is a replay what ordinary nodes give, to the last bit: for any function, any
 * number of rows and kind of vectors, however rows are cut into chunks and whoever computes them;
 * and which row is named when one fails.
 */
#include "scene.h"

#include "base/crew.h"
#include "base/portability.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { most_params = 6 };

/* A random function of random rows, and what they should give. */
static scene random_scene(size_t lines, size_t rows, unsigned passes) {
    const size_t inputs = 1 + below(4), params = below(most_params), outputs = below(MOST_OUTPUTS);
    recipe r = random_recipe(inputs, params, lines, 1 + outputs);
    scene s = scene_new(r, rows, passes, 0);
    CHECK(expect_rows(&s, rows) == rows);
    return s;
}

/* ---- random functions ----------------------------------------------------------------------- */

static void replays_give_what_nodes_give(void) {
    for (size_t round = 0; round < 60; round++) {
        const unsigned passes = some_of(exact_passes);
        scene s = random_scene(4 + below(60), round % 4 == 0 ? most_rows : 100, passes);
        for (int level = 0; level < pg_replay_levels(); level++) {
            pg_workspace *ws = must_work(s.program, level);
            for (size_t i = 0; i < LENGTH(row_counts) - (round % 4 != 0); i++)
                check_replay(&s, ws, row_counts[i]);
            pg_workspace_free(ws);
        }
        scene_free(&s);
    }
}

/* Each row alone: parameters' gradients are then exact too, whatever was hoisted. */
static void single_rows_give_exact_gradients(void) {
    for (size_t round = 0; round < 300; round++) {
        const unsigned passes = some_of(exact_passes);
        scene s = random_scene(4 + below(100), 4, passes);
        const double *const grads = s.param_grads;
        pg_workspace *ws = must_work(s.program, any_level());
        results r = results_new(&s, 1);
        for (size_t row = 0; row < 4; row++) {
            pg_argument arguments[most_arguments];
            pg_task task = task_of(&s, arguments, &r, 1);
            for (size_t i = 0; i < task.argument_count; i++)
                arguments[i].data += row * s.size.inputs;
            CHECK(pg_replay_sum(ws, s.captured, &task, r.totals, r.sums) == PG_OK);
            const size_t count = s.size.outputs * s.size.params;
            CHECK(same_array(r.sums, grads + row * count, count));
            for (size_t o = 0; o < s.size.outputs; o++)
                CHECK(same_number(r.totals[o], 0.0 + s.outputs[row * s.size.outputs + o]));
        }
        results_free(&r);
        pg_workspace_free(ws);
        scene_free(&s);
    }
}

/* ---- sums, to the last bit ------------------------------------------------------------------ */

/* What each use of a parameter adds to its gradient, in the order of backward(); one output. */
typedef struct contributions {
    contribution *all;
    size_t count;
} contributions;

static void note(contributions *c, size_t rows, size_t row, uint32_t param, double grad) {
    if (row == 0) c->all[c->count] = (contribution){param, must_alloc(rows, sizeof(double))};
    CHECK(c->all[c->count].param == param);
    c->all[c->count++].rows[row] = grad;
}

static void note_node(contributions *c, const eager *e, size_t rows, size_t row, pg_node_id id) {
    for (size_t i = 0; i < e->use_count; i++)
        if (e->uses[i].id == id) note(c, rows, row, e->uses[i].param, pg_node_grad(e->graph, id));
}

/* From left to right, as the sweep goes; but a custom op's last child gets its gradient first. */
static void note_children(contributions *c, const eager *e, size_t rows, size_t row,
                          pg_node_id id) {
    const pg_node *node = &e->graph->nodes[id];
    const bool custom = node->op == PG_OP_VARIADIC && node->of.variadic->kind == PG_VARIADIC_CUSTOM;
    const size_t arity = pg_node_arity(e->graph, id);
    for (size_t k = 0; k < arity; k++)
        note_node(c, e, rows, row, pg_node_child(e->graph, id, custom ? arity - 1 - k : k));
}

static void note_row(contributions *c, eager *e, size_t rows, size_t row, size_t output) {
    const recipe *r = e->recipe;
    const uint32_t end = r->ends[output];
    pg_node_id *order = must_alloc(pg_graph_live(e->graph), sizeof *order);
    double grads[most_arguments];
    size_t count = 0;
    CHECK(eager_backward(e, grads, NULL, output) == PG_OK);
    CHECK(pg_graph_order(e->graph, order, &count, e->ids[end]) == PG_OK);
    c->count = 0;
    if (end >= r->inputs && end < r->inputs + r->params)
        note(c, rows, row, end - (uint32_t)r->inputs, 1.0);
    while (count-- > 0) note_children(c, e, rows, row, order[count]);
    free(order);
}

static void check_output_sums(const scene *s, const results *r, size_t rows, size_t output) {
    eager e = eager_new(&s->recipe, true);
    contributions c = {.all = must_alloc(2 * s->recipe.count + 1, sizeof *c.all)};
    for (size_t row = 0; row < rows; row++) {
        CHECK(eager_forward(&e, s->inputs + row * s->recipe.inputs, s->params) == PG_OK);
        note_row(&c, &e, rows, row, output);
    }
    for (size_t i = 0; i < s->size.params; i++)
        CHECK(same_number(r->sums[output * s->size.params + i],
                          sum_of_rows(c.all, c.count, s->param_of[i], rows, widest_block(s))));
    for (size_t i = 0; i < c.count; i++) free(c.all[i].rows);
    free(c.all);
    eager_free(&e);
}

/* Where nothing is hoisted, a parameter's gradient is nothing but sums over rows. */
static void sums_are_formed_as_stated(void) {
    for (size_t round = 0; round < 60; round++) {
        const size_t rows = row_counts[below(LENGTH(row_counts))];
        const unsigned passes = some_of(exact_passes) & ~(unsigned)PG_PASS_HOIST;
        const size_t params = 1 + below(most_params - 1);
        scene s = scene_new(random_recipe(2, params, 4 + below(30), 2), rows, passes, 0);
        results r = results_new(&s, rows);
        CHECK(run_anew(&s, &r, rows, any_level()) == PG_OK);
        for (size_t o = 0; o < 2; o++) check_output_sums(&s, &r, rows, o);
        results_free(&r);
        scene_free(&s);
    }
}

static void kinds_of_vectors_give_the_same_bits(void) {
    for (size_t round = 0; round < 40; round++) {
        const size_t rows = 1 + below(300), lines = 4 + below(80);
        const unsigned passes = some_of(all_passes);
        scene s = scene_new(random_recipe(3, 3, lines, 2), rows, passes, (int)(round % 2));
        results base = results_new(&s, rows), other = results_new(&s, rows);
        CHECK(run_anew(&s, &base, rows, 0) == PG_OK);
        for (int level = -1; level <= pg_replay_levels(); level++) { /* both ends: the widest */
            CHECK(run_anew(&s, &other, rows, level) == PG_OK);
            CHECK(same_rows(&s, &base, &other, rows) && same_sums(&s, &base, &other));
        }
        results_free(&base);
        results_free(&other);
        scene_free(&s);
    }
}

/* A random function without comparisons and jumps, which a last bit could turn around: without
 * maximum, minimum, and the hidden ops that follow them. */
static recipe smooth_recipe(size_t inputs, size_t params, size_t lines) {
    for (;;) {
        recipe r = random_recipe(inputs, params, lines, 1);
        bool smooth = true;
        for (size_t i = 0; i < r.count; i++) {
            const int op = r.lines[i].op;
            smooth = smooth && op != PG_OP_SELECT && op != PG_OP_TAKE && op != PG_OP_SCATTER &&
                     (op < PG_OP_MAXIMUM || op >= PG_OP_LEAF);
        }
        if (smooth) return r;
        recipe_free(&r);
    }
}

/* Our own functions and all passes: the same bits in a block and alone, and about what nodes give.
 */
static void fast_mode_is_near(void) {
    for (size_t round = 0; round < 40; round++) {
        const size_t rows = 45;
        scene s = scene_new(smooth_recipe(3, 3, 4 + below(25)), rows, all_passes, 1);
        results all = results_new(&s, rows), one = results_new(&s, 1);
        CHECK(expect_rows(&s, rows) == rows);
        CHECK(run_anew(&s, &all, rows, -1) == PG_OK);
        const double *const inputs = s.inputs;
        for (size_t row = 0; row < rows; row++, s.inputs += s.size.inputs) {
            CHECK(run_anew(&s, &one, 1, -1) == PG_OK);
            CHECK(same_bits(one.outputs[0], all.outputs[row]));
            CHECK(same_array(one.gradients, all.gradients + row * 3, 3));
            CHECK(near(one.outputs[0], s.outputs[row], 1e-9));
            for (size_t i = 0; i < 3; i++)
                CHECK(near(one.gradients[i], s.input_grads[row * 3 + i], 1e-8));
            for (size_t i = 0; i < s.size.params; i++)
                CHECK(near(one.sums[i], s.param_grads[row * s.size.params + i], 1e-8));
        }
        s.inputs = (double *)inputs;
        results_free(&all);
        results_free(&one);
        scene_free(&s);
    }
}

/* A recipe by hand. */
static recipe written(size_t inputs, size_t params, const line *lines, size_t count) {
    recipe r = recipe_new(inputs, params);
    uint32_t last = 0;
    for (size_t i = 0; i < count; i++) last = recipe_add(&r, lines[i]);
    recipe_end(&r, last);
    return r;
}

/* start + l0 * r0 + l1 * r1 ..., of values that follow each other; no start is the first product.
 * Returns: how many lines. */
static size_t write_chain(line *lines, uint32_t next, const uint32_t *start, uint32_t left,
                          uint32_t right, uint32_t pairs) {
    size_t count = 0;
    for (uint32_t i = 0; i < pairs; i++) {
        const uint32_t product = next + (uint32_t)count;
        const uint32_t sum = i > 0 ? product - 1 : start != NULL ? *start : 0;
        lines[count++] = (line){.op = PG_OP_MUL, .a = left + i, .b = right + i};
        if (i > 0 || start != NULL)
            lines[count++] = (line){.op = PG_OP_ADD, .a = sum, .b = product};
    }
    return count;
}

/* A neuron, a sum of squares, and their product: what models are made of. */
static recipe usual_chains(size_t kind) {
    enum { width = 5, next = 2 * width + 1 };
    const uint32_t bias = 2 * width;
    line lines[40];
    size_t count = 0;
    if (kind != 1) count = write_chain(lines, next, &bias, width, 0, width);
    const uint32_t neuron = next + (uint32_t)count - 1;
    if (kind != 0) count += write_chain(lines + count, next + (uint32_t)count, NULL, 0, 0, width);
    const uint32_t squares = next + (uint32_t)count - 1;
    if (kind == 2) lines[count++] = (line){.op = PG_OP_MUL, .a = neuron, .b = squares};
    return written(width, width + 1, lines, count);
}

static void usual_chains_are_right(void) {
    for (size_t kind = 0; kind < 3; kind++) {
        scene s = scene_new(usual_chains(kind), 100, exact_passes, 0);
        CHECK(s.size.row_instrs == (kind == 2 ? 3 : 1)); /* dots, and a product */
        CHECK(expect_rows(&s, 100) == 100);
        for (int level = 0; level < pg_replay_levels(); level++) {
            pg_workspace *ws = must_work(s.program, level);
            for (size_t i = 0; i + 1 < LENGTH(row_counts); i++) check_replay(&s, ws, row_counts[i]);
            pg_workspace_free(ws);
        }
        scene_free(&s);
    }
}

/* b + w * x with b = -0.0 and w = 0.0 is -0.0 where x is negative. */
static void zeros_keep_their_sign(void) {
    const line lines[] = {{.op = PG_OP_MUL, .a = 2, .b = 0}, {.op = PG_OP_ADD, .a = 1, .b = 3}};
    for (unsigned passes = 0; passes <= exact_passes; passes++) {
        if (passes & ~(unsigned)exact_passes) continue;
        scene s = scene_new(written(1, 2, lines, LENGTH(lines)), 100, passes, 0);
        s.params[0] = -0.0;
        s.params[1] = 0.0;
        for (size_t i = 0; i < 2; i++) s.captured[i] = s.params[s.param_of[i]];
        CHECK(expect_rows(&s, 100) == 100);
        pg_workspace *ws = must_work(s.program, any_level());
        for (size_t i = 0; i + 1 < LENGTH(row_counts); i++) check_replay(&s, ws, row_counts[i]);
        pg_workspace_free(ws);
        scene_free(&s);
    }
}

/* More row slots than fit the cache: blocks have 8 lanes. */
static void big_programs(void) {
    static const size_t counts[] = {1, 2, 7, 8, 9, 33, 40};
    for (unsigned passes = 0; passes <= exact_passes; passes += exact_passes) {
        scene s = scene_new(random_recipe(4, 5, 24000, 2), 40, passes, 0);
        while (s.size.row_slots <= 8192) {
            scene_free(&s);
            s = scene_new(random_recipe(4, 5, 24000, 2), 40, passes, 0);
        }
        CHECK(expect_rows(&s, 40) == 40);
        for (int level = 0; level < pg_replay_levels(); level++) {
            pg_workspace *ws = must_work(s.program, level);
            for (size_t i = 0; i < LENGTH(counts); i++) check_replay(&s, ws, counts[i]);
            pg_workspace_free(ws);
        }
        scene_free(&s);
    }
}

/* ---- what is asked for ---------------------------------------------------------------------- */

static bool all_zero(const double *numbers, size_t count) {
    bool zero = true;
    for (size_t i = 0; i < count; i++) zero = zero && numbers[i] == 0.0;
    return zero;
}

static void check_parts(scene *s) {
    const pg_program_size size = s->size;
    results all = results_new(s, 50), some = results_new(s, 50);
    CHECK(run_anew(s, &all, 50, -1) == PG_OK);
    replace_reverse(s, PG_WRT_PARAMS);
    CHECK(run_anew(s, &some, 50, -1) == PG_OK && same_sums(s, &all, &some));
    replace_reverse(s, PG_WRT_INPUTS);
    CHECK(run_anew(s, &some, 50, -1) == PG_OK && same_rows(s, &all, &some, 50));
    CHECK(same_array(all.totals, some.totals, size.outputs));
    CHECK(all_zero(some.sums, size.outputs * size.params));
    CHECK(pg_partial_count(s->program, steps_of(s)) == size.outputs);
    results_free(&all);
    results_free(&some);
}

static void gradients_by_parameters_or_inputs_only(void) {
    for (size_t round = 0; round < 43; round++) {
        const unsigned passes = some_of(exact_passes);
        scene s = round < 3 ? scene_new(usual_chains(round), 50, exact_passes, 0)
                            : random_scene(4 + below(60), 50, passes);
        check_parts(&s);
        scene_free(&s);
    }
}

static void results_not_asked_for(void) {
    scene s = random_scene(40, 50, exact_passes);
    results all = results_new(&s, 50), some = results_new(&s, 50),
            none = {.totals = some.totals, .sums = some.sums};
    pg_argument arguments[most_arguments];
    pg_workspace *ws = must_work(s.program, -1);
    CHECK(run(&s, ws, &all, 50) == PG_OK);
    CHECK(run(&s, ws, &none, 50) == PG_OK && same_sums(&s, &all, &some));
    pg_task task = task_of(&s, arguments, &some, 50);
    task.last_chunk = 1;
    task.plan = NULL;
    task.gradients = NULL;
    CHECK(pg_replay_begin(ws, s.captured, 0) == PG_OK);
    CHECK(pg_replay(ws, &task) == PG_OK);
    CHECK(same_array(all.outputs, some.outputs, 50 * s.size.outputs));
    replace_reverse(&s, PG_WRT_INPUTS);
    task = task_of(&s, arguments, &some, 50);
    task.last_chunk = 1;
    task.outputs = NULL;
    CHECK(pg_replay(ws, &task) == PG_OK && same_rows(&s, &all, &some, 50));
    pg_workspace_free(ws);
    results_free(&all);
    results_free(&some);
    scene_free(&s);
}

static void scales_multiply_sums(void) {
    scene s = random_scene(40, 50, exact_passes);
    results all = results_new(&s, 50), mean = results_new(&s, 50);
    pg_argument arguments[most_arguments];
    pg_workspace *ws = must_work(s.program, -1);
    pg_task task = task_of(&s, arguments, &mean, 50);
    const double scale = task.scale = 1.0 / 50.0;
    CHECK(run(&s, ws, &all, 50) == PG_OK);
    CHECK(pg_replay_sum(ws, s.captured, &task, mean.totals, mean.sums) == PG_OK);
    for (size_t i = 0; i < s.size.outputs; i++) all.totals[i] *= scale;
    for (size_t i = 0; i < s.size.outputs * s.size.params; i++) all.sums[i] *= scale;
    CHECK(same_sums(&s, &all, &mean) && same_rows(&s, &all, &mean, 50));
    pg_workspace_free(ws);
    results_free(&all);
    results_free(&mean);
    scene_free(&s);
}

static void no_rows(void) {
    scene s = random_scene(40, 1, exact_passes);
    results r = results_new(&s, 1);
    for (size_t o = 0; o < s.size.outputs; o++) r.totals[o] = 1.0;
    for (size_t i = 0; i < s.size.outputs * s.size.params; i++) r.sums[i] = 1.0;
    CHECK(run_anew(&s, &r, 0, -1) == PG_OK);
    CHECK(all_zero(r.totals, s.size.outputs));
    CHECK(all_zero(r.sums, s.size.outputs * s.size.params));
    results_free(&r);
    scene_free(&s);
}

/* A workspace that has seen other numbers, of other parameters, gives what a new one does. */
static void workspaces_forget(void) {
    scene s = random_scene(60, most_rows, exact_passes);
    pg_workspace *ws = must_work(s.program, -1);
    for (size_t round = 0; round < 30; round++) {
        const size_t rows = row_counts[below(LENGTH(row_counts))];
        results old = results_new(&s, rows), new = results_new(&s, rows);
        for (size_t i = 0; i < s.size.params; i++) s.captured[i] = uniform(-2.0, 2.0);
        for (size_t i = 0; i < most_rows * s.size.inputs; i++) s.inputs[i] = uniform(-2.0, 2.0);
        CHECK(run(&s, ws, &old, rows) == PG_OK && run_anew(&s, &new, rows, -1) == PG_OK);
        CHECK(same_rows(&s, &old, &new, rows) && same_sums(&s, &old, &new));
        results_free(&old);
        results_free(&new);
    }
    pg_workspace_free(ws);
    scene_free(&s);
}

/* ---- chunks --------------------------------------------------------------------------------- */

static void check_chunks(size_t rows) {
    const size_t count = pg_chunk_count(rows);
    CHECK((count == 0) == (rows == 0) && (rows <= 1024 || count > 1));
    CHECK(pg_chunk_start(rows, 0) == 0 || rows == 0);
    CHECK(pg_chunk_start(rows, count) == rows && pg_chunk_start(rows, count + 1) == rows);
    for (size_t i = 0; i < count && i < 100; i++) {
        const size_t start = pg_chunk_start(rows, i), end = pg_chunk_start(rows, i + 1);
        CHECK(start == 1024 * i && start < end && end <= rows && end - start <= 1024);
    }
    for (size_t first = 0, last = count; last - first > 1;) {
        const size_t middle = pg_chunk_middle(first, last);
        CHECK(first < middle && middle < last && middle - first - (last - middle) <= 1);
        *(below(2) ? &first : &last) = middle;
    }
}

static void chunks_cover_all_rows(void) {
    for (size_t rows = 0; rows < 3000; rows++) check_chunks(rows);
    for (size_t rows = 65400; rows < 65700; rows++) check_chunks(rows);
    for (size_t round = 0; round < 1000; round++) check_chunks(below((size_t)1 << below(50)));
}

/* How rows come to a replay: as they are, or through an index. */
typedef struct rows_given {
    const int64_t *index;
    size_t count;
} rows_given;

/* Do some of the chunks, in a workspace of their own, with arrays that begin with any chunk before
 * them; the results' arrays are for all rows.
 * Out: fault_ret  may be NULL; partials: their sums */
static pg_status run_part(const scene *s, const results *r, pg_replay_fault *fault_ret,
                          rows_given rows, double *partials, size_t first, size_t last) {
    const size_t base = below(first + 1), row = pg_chunk_start(rows.count, base);
    pg_argument arguments[most_arguments];
    pg_task task = task_of(s, arguments, r, rows.count);
    for (size_t i = 0; rows.index == NULL && i < task.argument_count; i++)
        arguments[i].data += row * arguments[i].stride;
    if (rows.index != NULL) task.index = rows.index + row;
    task.base_chunk = base;
    task.first_chunk = first;
    task.last_chunk = last;
    task.outputs += row * s->size.outputs;
    task.gradients += row * s->size.outputs * s->size.inputs;
    task.partials = partials;
    pg_workspace *ws = must_work(s->program, any_level());
    pg_status status = pg_replay_begin(ws, s->captured, 0);
    if (status == PG_OK) status = pg_replay(ws, &task);
    if (fault_ret != NULL) *fault_ret = pg_workspace_fault(ws);
    pg_workspace_free(ws);
    return status;
}

static void finish(const scene *s, const results *r, size_t rows, double *partials) {
    pg_workspace *ws = must_work(s->program, any_level());
    const pg_task task = {.rows = rows, .partials = partials, .scale = 1.0, .plan = steps_of(s)};
    CHECK(pg_replay_begin(ws, s->captured, 0) == PG_OK);
    CHECK(pg_replay_finish(ws, &task, r->totals, r->sums) == PG_OK);
    pg_workspace_free(ws);
}

/* A branch of the tree of sums: as one part, or its second half first. */
static void run_branch(const scene *s, const results *r, rows_given rows, double *sums,
                       size_t first, size_t last) {
    const size_t count = pg_partial_count(s->program, steps_of(s));
    if (last - first < 2 || below(3) == 0) {
        CHECK(run_part(s, r, NULL, rows, sums, first, last) == PG_OK);
        return;
    }
    double *second = must_alloc(count, sizeof *second);
    const size_t middle = pg_chunk_middle(first, last);
    run_branch(s, r, rows, second, middle, last);
    run_branch(s, r, rows, sums, first, middle);
    for (size_t i = 0; i < count; i++) sums[i] += second[i];
    free(second);
}

static void run_in_parts(const scene *s, const results *r, rows_given rows) {
    double *sums = must_alloc(pg_partial_count(s->program, steps_of(s)), sizeof *sums);
    run_branch(s, r, rows, sums, 0, pg_chunk_count(rows.count));
    finish(s, r, rows.count, sums);
    free(sums);
}

static void any_split_gives_the_same_bits(void) {
    for (size_t round = 0; round < 12; round++) {
        const size_t rows = 1 + below(9000);
        scene s = scene_new(random_recipe(2, 3, 4 + below(30), 2), rows, exact_passes, 0);
        results whole = results_new(&s, rows), parts = results_new(&s, rows);
        CHECK(run_anew(&s, &whole, rows, -1) == PG_OK);
        check_totals(&s, &whole, whole.outputs, rows);
        for (size_t i = 0; i < 3; i++) {
            run_in_parts(&s, &parts, (rows_given){NULL, rows});
            CHECK(same_rows(&s, &whole, &parts, rows) && same_sums(&s, &whole, &parts));
        }
        results_free(&whole);
        results_free(&parts);
        scene_free(&s);
    }
}

/* ---- where rows come from ------------------------------------------------------------------- */

static void an_index_gathers_rows(void) {
    for (size_t round = 0; round < 12; round++) {
        const size_t rows = 1 + below(5000);
        scene s = scene_new(random_recipe(2, 3, 4 + below(30), 2), rows, exact_passes, 0);
        scene gathered = s;
        int64_t *index = must_alloc(rows, sizeof *index);
        gathered.inputs = must_alloc(rows * 2, sizeof(double));
        for (size_t i = 0; i < rows; i++) {
            index[i] = (int64_t)below(rows);
            memcpy(gathered.inputs + 2 * i, s.inputs + 2 * index[i], 2 * sizeof(double));
        }
        results direct = results_new(&s, rows), indexed = results_new(&s, rows);
        CHECK(run_anew(&gathered, &direct, rows, -1) == PG_OK);
        run_in_parts(&s, &indexed, (rows_given){index, rows});
        CHECK(same_rows(&s, &direct, &indexed, rows) && same_sums(&s, &direct, &indexed));
        free(index);
        free(gathered.inputs);
        results_free(&direct);
        results_free(&indexed);
        scene_free(&s);
    }
}

/* Arguments that are the same for all rows are read from one place. */
static void a_stride_of_0_repeats_a_row(void) {
    for (size_t round = 0; round < 20; round++) {
        const size_t rows = 1 + below(200);
        const double fixed[] = {uniform(-2.0, 2.0), 0.25};
        scene s = scene_new(random_recipe(3, 2, 4 + below(30), 1), rows, exact_passes, 0);
        for (size_t i = 0; i < rows; i++) memcpy(s.inputs + 3 * i + 1, fixed, sizeof fixed);
        results spread = results_new(&s, rows), repeated = results_new(&s, rows);
        CHECK(run_anew(&s, &spread, rows, -1) == PG_OK);
        const pg_argument arguments[] = {{s.inputs, 3, 1}, {fixed, 0, 1}, {fixed + 1, 0, 1}};
        const pg_task task = {.arguments = arguments,
                              .argument_count = 3,
                              .rows = rows,
                              .outputs = repeated.outputs,
                              .gradients = repeated.gradients,
                              .scale = 1.0,
                              .plan = steps_of(&s)};
        pg_workspace *ws = must_work(s.program, any_level());
        CHECK(pg_replay_sum(ws, s.captured, &task, repeated.totals, repeated.sums) == PG_OK);
        CHECK(same_rows(&s, &spread, &repeated, rows) && same_sums(&s, &spread, &repeated));
        pg_workspace_free(ws);
        results_free(&spread);
        results_free(&repeated);
        scene_free(&s);
    }
}

/* ---- lanes without a row -------------------------------------------------------------------- */

/* w * x * x + |x|: small integers, so that sums are exact in any order. */
static recipe square_and_size(void) {
    const line lines[] = {{.op = PG_OP_MUL, .a = 1, .b = 0},
                          {.op = PG_OP_MUL, .a = 2, .b = 0},
                          {.op = PG_OP_ABS, .a = 0},
                          {.op = PG_OP_ADD, .a = 3, .b = 4}};
    return written(1, 1, lines, LENGTH(lines));
}

static void check_tail(scene *s, size_t rows, double last) {
    results r = results_new(s, rows);
    double squares = 0.0, sizes = 0.0;
    for (size_t i = 0; i < rows; i++) {
        const double x = s->inputs[i] = i + 1 == rows ? last : (double)below(100) - 50.0;
        squares += x * x;
        sizes += fabs(x);
    }
    for (int level = 0; level < pg_replay_levels(); level++) {
        CHECK(run_anew(s, &r, rows, level) == PG_OK);
        CHECK(r.totals[0] == s->captured[0] * squares + sizes && r.sums[0] == squares);
    }
    results_free(&r);
}

static void sums_count_each_row_once(void) {
    for (unsigned passes = 0; passes <= exact_passes; passes++) {
        if (passes & ~(unsigned)exact_passes) continue;
        scene s = scene_new(square_and_size(), 2200, passes, 0);
        s.captured[0] = 3.0;
        for (size_t rows = 1; rows < 100; rows++) {
            check_tail(&s, rows, 1000.0);
            check_tail(&s, rows, INFINITY); /* inf, and not the nan of inf * 0 */
        }
        check_tail(&s, 1057, 1000.0);
        check_tail(&s, 2150, INFINITY);
        scene_free(&s);
    }
}

/* log(x) + w: the last row is an error; no lane may say so for another row. */
static void a_failing_last_row_is_named_once(void) {
    const line lines[] = {{.op = PG_OP_LOG, .a = 0}, {.op = PG_OP_ADD, .a = 2, .b = 1}};
    scene s = scene_new(written(1, 1, lines, LENGTH(lines)), 100, exact_passes, 0);
    for (size_t i = 0; i < 100; i++) s.inputs[i] = -1.0;
    for (size_t rows = 1; rows < 100; rows++) {
        results r = results_new(&s, rows);
        pg_workspace *ws = must_work(s.program, any_level());
        s.inputs[rows - 1] = 0.0;
        for (size_t i = 0; i + 1 < rows; i++) s.inputs[i] = 1.0;
        CHECK(run(&s, ws, &r, rows) == PG_ERR_DOMAIN);
        CHECK(pg_workspace_fault(ws).row == (int64_t)rows - 1);
        s.inputs[rows - 1] = 1.0; /* the rows behind are still errors, but not replayed */
        CHECK(run(&s, ws, &r, rows) == PG_OK);
        pg_workspace_free(ws);
        results_free(&r);
    }
    scene_free(&s);
}

/* ---- rows that fail ------------------------------------------------------------------------- */

/* log(x) + sqrt(y) */
static recipe log_and_root(void) {
    const line lines[] = {
        {.op = PG_OP_LOG, .a = 0}, {.op = PG_OP_SQRT, .a = 1}, {.op = PG_OP_ADD, .a = 2, .b = 3}};
    return written(2, 0, lines, LENGTH(lines));
}

/* The earlier row, though the later one fails in an earlier instruction; forward or backward. */
static void the_first_failing_row_is_named(void) {
    static const size_t pairs[][2] = {{0, 1},   {5, 6},   {30, 31}, {31, 32}, {33, 60}, {62, 63},
                                      {64, 71}, {70, 76}, {71, 72}, {75, 76}, {3, 76}};
    scene s = scene_new(log_and_root(), 77, exact_passes, 0);
    for (int level = 0; level < pg_replay_levels(); level++) {
        for (size_t i = 0; i < LENGTH(pairs); i++) {
            double *const early = s.inputs + 2 * pairs[i][0], *const late =
                                                                  s.inputs + 2 * pairs[i][1];
            for (size_t k = 0; k < 2 * 77; k++) s.inputs[k] = 1.0;
            late[0] = -2.0;
            check_fault(&s, level, 77, PG_ERR_DOMAIN, pairs[i][1],
                        (pg_fault){PG_OP_LOG, 0, -2.0, 0.0});
            early[1] = -3.0;
            check_fault(&s, level, 77, PG_ERR_DOMAIN, pairs[i][0],
                        (pg_fault){PG_OP_SQRT, 0, -3.0, 0.0});
            early[1] = 0.0;
            check_fault(&s, level, 77, PG_ERR_ZERO_DIVISION, pairs[i][0],
                        (pg_fault){PG_OP_SQRT, 1, 0.0, 0.0});
        }
    }
    scene_free(&s);
}

/* The row of the whole task, or what the index calls it, also where a part begins further on. */
static void rows_are_named_in_any_part(void) {
    enum { rows = 4000, bad = 3333 };
    scene s = scene_new(log_and_root(), rows, exact_passes, 0);
    results r = results_new(&s, rows);
    double *partials = must_alloc(64, sizeof *partials);
    int64_t *index = must_alloc(2 * rows, sizeof *index); /* the second half is unused */
    for (size_t i = 0; i < 2 * rows; i++) s.inputs[i] = 1.0;
    for (int64_t i = 0; i < 2 * rows; i++) index[i] = i < rows ? (i + 9) % rows : -7;
    s.inputs[2 * bad] = 0.0;
    for (size_t first = 0; first < pg_chunk_count(rows); first++) {
        for (size_t indexed = 0; indexed < 2; indexed++) {
            const size_t place = indexed ? bad - 9 : bad;
            const rows_given given = {indexed ? index : NULL, rows};
            pg_replay_fault fault = {0};
            pg_status status = run_part(&s, &r, &fault, given, partials, first, 4);
            if (pg_chunk_start(rows, first) > place) CHECK(status == PG_OK);
            else CHECK(status == PG_ERR_DOMAIN && fault.row == bad);
        }
    }
    free(partials);
    free(index);
    results_free(&r);
    scene_free(&s);
}

/* log(w) * x, or sqrt(w) * x: hoisted it is the fault of no row. */
static void check_uniform_fault(int op, double w, pg_status status, int derivative) {
    const line lines[] = {{.op = op, .a = 1}, {.op = PG_OP_MUL, .a = 2, .b = 0}};
    for (unsigned hoist = 0; hoist <= PG_PASS_HOIST; hoist += PG_PASS_HOIST) {
        scene s = scene_new(written(1, 1, lines, LENGTH(lines)), 9, hoist, 0);
        results r = results_new(&s, 9);
        pg_workspace *ws = must_work(s.program, any_level());
        s.captured[0] = w;
        CHECK(run(&s, ws, &r, 9) == status);
        const pg_replay_fault found = pg_workspace_fault(ws);
        CHECK(found.row == (hoist ? -1 : 0) && found.fault.op == op);
        CHECK(found.fault.derivative == derivative && found.fault.a == w);
        s.captured[0] = 2.0; /* and nothing is left of it */
        CHECK(run(&s, ws, &r, 9) == PG_OK);
        pg_workspace_free(ws);
        results_free(&r);
        scene_free(&s);
    }
}

static void faults_of_parameters_have_no_row(void) {
    check_uniform_fault(PG_OP_LOG, -1.0, PG_ERR_DOMAIN, 0);
    check_uniform_fault(PG_OP_EXP, 1000.0, PG_ERR_OVERFLOW, 0);
    check_uniform_fault(PG_OP_SQRT, 0.0, PG_ERR_ZERO_DIVISION, 1);
    check_uniform_fault(PG_OP_LOG, 0x1p-1074, PG_ERR_OVERFLOW, 1);
}

/* A row's dot may start from a uniform slot, whose number says nothing of the row's: with more
 * parameters than row slots it lies beyond them. The failing log is looked at, the dot isn't. */
static void a_fault_beside_a_uniform_start(void) {
    enum { params = 60 };
    recipe r = recipe_new(1, params);
    uint32_t start = params; /* the sum of all parameters: the last is the value `params` */
    for (uint32_t i = 1; i < params; i++)
        start = recipe_add(&r, (line){.op = PG_OP_ADD, .a = i, .b = start});
    const uint32_t log = recipe_add(&r, (line){.op = PG_OP_LOG, .a = 0});
    const uint32_t one = recipe_add(&r, (line){.op = PG_OP_MUL, .a = 1, .b = log});
    const uint32_t two = recipe_add(&r, (line){.op = PG_OP_MUL, .a = 2, .b = 0});
    const uint32_t sum = recipe_add(&r, (line){.op = PG_OP_ADD, .a = start, .b = one});
    recipe_end(&r, recipe_add(&r, (line){.op = PG_OP_ADD, .a = sum, .b = two}));
    scene s = scene_new(r, 40, exact_passes, 0);
    for (size_t i = 0; i < 40; i++) s.inputs[i] = 1.0;
    s.inputs[23] = -1.0;
    for (int level = 0; level < pg_replay_levels(); level++)
        check_fault(&s, level, 40, PG_ERR_DOMAIN, 23, (pg_fault){PG_OP_LOG, 0, -1.0, 0.0});
    scene_free(&s);
}

/* w * x at a learning rate that sends w away: the last whole step stays, and what left is named. */
static void a_step_that_leaves_the_finite_numbers(void) {
    const line lines[] = {{.op = PG_OP_MUL, .a = 1, .b = 0},
                          {.op = PG_OP_MUL, .a = 2, .b = 2}}; /* (w x) ** 2: w *= 1 - 2 lr x x */
    scene s = scene_new(written(1, 1, lines, LENGTH(lines)), 4, exact_passes, 0);
    results r = results_new(&s, 4);
    pg_argument arguments[most_arguments];
    const uint32_t place = 0;
    for (int ignore = 0; ignore < 2; ignore++) {
        double data = 1.0, gradient = 0.0, param = 1.0, losses[100];
        pg_training t = {.epochs = 100,
                         .batch_rows = 2,
                         .count = 1,
                         .arrays = {.data = &data, .gradients = &gradient},
                         .places = &place,
                         .params = &param,
                         .sgd = {.lr = 5e19}};
        for (size_t i = 0; i < 4; i++) s.inputs[i] = 1.0;
        pg_task task = task_of(&s, arguments, &r, 4);
        task.ignore = ignore;
        task.partials = NULL;
        pg_workspace *ws = must_work(s.program, any_level());
        const pg_status status = pg_fit(ws, &task, &t, losses);
        if (ignore) {
            CHECK(status == PG_OK && !isfinite(data) && t.steps == 200);
        } else {
            CHECK(status == PG_ERR_NOT_FINITE && isfinite(data) && isfinite(gradient));
            CHECK(t.steps == 2 * t.epoch + t.batch && t.steps > 2);
            CHECK(!isfinite(t.number) && same_bits(param, data));
        }
        pg_workspace_free(ws);
    }
    results_free(&r);
    scene_free(&s);
}

/* In fast mode a ** -1 is an instruction of its own; it is to fail as the power does. */
static void reciprocals_fail_as_powers(void) {
    static const double bad[] = {0.0, -0.0, 0x1p-1074, 1e-200, -1e-200};
    const line lines[] = {{.op = PG_OP_POWN, .a = 0, .number = -1.0}};
    for (int powers = 0; powers <= PG_PASS_POWERS; powers += PG_PASS_POWERS) {
        scene s = scene_new(written(1, 0, lines, 1), 20, (unsigned)powers, powers != 0);
        for (size_t i = 0; i < LENGTH(bad); i++) {
            for (size_t k = 0; k < 20; k++) s.inputs[k] = 1.0;
            s.inputs[13] = bad[i];
            CHECK(expect_rows(&s, 20) == 13);
            check_fault(&s, any_level(), 20, s.status[13], 13, s.faults[13]);
        }
        scene_free(&s);
    }
}

/* ---- any numbers ---------------------------------------------------------------------------- */

static const double odd_numbers[] = {0.0,   -0.0,   1.0,       -1.0, 0.5,      2.0,       -3.0,
                                     1e308, -1e308, 0x1p-1074, NAN,  INFINITY, -INFINITY, 800.0};

static double any_number(void) {
    return below(3) ? uniform(-2.0, 2.0) : odd_numbers[below(LENGTH(odd_numbers))];
}

static void reckless_functions_fail_as_nodes_do(void) {
    size_t failed = 0, passed = 0;
    for (size_t round = 0; round < 1500; round++) {
        const size_t lines = 2 + below(8);
        recipe r = reckless_recipe(2, lines, 1 + below(2));
        const size_t rows = 1 + below(60);
        scene s = scene_new(r, rows, below(2) ? PG_PASS_FUSE : 0, 0);
        const bool odd = below(2);
        for (size_t i = 0; i < 2 * rows; i++) s.inputs[i] = odd ? any_number() : uniform(0.1, 3.0);
        const size_t failing = expect_rows(&s, rows);
        check_first_fault(&s, rows, failing);
        check_ignored(&s, rows);
        failing < rows ? failed++ : passed++;
        scene_free(&s);
    }
    CHECK(failed > 200 && passed > 200);
}

/* Of one operand, or of every two. */
static void fill_with_pairs(scene *s) {
    for (size_t i = 0; i < LENGTH(odd_numbers); i++) {
        for (size_t k = 0; k < LENGTH(odd_numbers); k++) {
            double *const row = s->inputs + (i * LENGTH(odd_numbers) + k) * s->size.inputs;
            row[0] = odd_numbers[i];
            row[1] = odd_numbers[k];
        }
    }
}

/* Every op at every pair, alone and among the others. The second input comes first where `swapped`,
 * so that an op of one operand stands beside any other number. */
static void each_op_at_odd_numbers(void) {
    enum { rows = LENGTH(odd_numbers) * LENGTH(odd_numbers) };
    for (int op = 1; op <= pg_op_count(); op++) {
        for (uint32_t swapped = 0; swapped < 2; swapped++) {
            const line lines[] = {{.op = op, .a = swapped, .b = 1 - swapped, .number = -0.5}};
            scene s = scene_new(written(2, 0, lines, 1), rows, exact_passes, 0), one = s;
            fill_with_pairs(&s);
            check_first_fault(&s, rows, expect_rows(&s, rows));
            check_ignored(&s, rows);
            for (size_t i = 0; i < rows; i++) {
                one.inputs = s.inputs + 2 * i;
                one.outputs = s.outputs + i;
                one.input_grads = s.input_grads + 2 * i;
                one.status = s.status + i;
                one.faults = s.faults + i;
                check_first_fault(&one, 1, s.status[i] != PG_OK ? 0 : 1);
            }
            scene_free(&s);
        }
    }
}

static void each_comparison_at_odd_numbers(void) {
    enum { rows = LENGTH(odd_numbers) * LENGTH(odd_numbers) };
    for (int compare = 0; compare < PG_COMPARE_COUNT; compare++) {
        const line lines[] = {
            {.op = PG_OP_SELECT, .a = 2, .b = 3, .left = 0, .right = 1, .compare = compare}};
        scene s = scene_new(written(4, 0, lines, 1), rows, exact_passes, 0);
        fill_with_pairs(&s);
        CHECK(expect_rows(&s, rows) == rows);
        check_first_fault(&s, rows, rows);
        scene_free(&s);
    }
}

/* ---- stopping, threads ---------------------------------------------------------------------- */

typedef struct patience {
    size_t polls, allowed;
} patience;

static int count_polls(void *context) {
    patience *p = context;
    return p->polls++ >= p->allowed;
}

static void a_poll_stops_a_replay(void) {
    enum { rows = 3000, lines = 5000 };
    recipe r = recipe_new(1, 0);
    for (uint32_t i = 0; i < lines; i++) recipe_add(&r, (line){.op = PG_OP_ABS, .a = i});
    recipe_end(&r, lines);
    scene s = scene_new(r, rows, exact_passes, 0);
    pg_workspace *ws = must_work(s.program, -1);
    patience p = {0, SIZE_MAX};
    pg_workspace_poll(ws, count_polls, &p);
    pg_argument argument = {s.inputs, 1, 1};
    pg_task task = {.arguments = &argument, .argument_count = 1, .rows = 1, .last_chunk = 1};
    CHECK(pg_replay_begin(ws, NULL, 0) == PG_OK);
    CHECK(pg_replay(ws, &task) == PG_OK && p.polls == 0); /* a short one does not poll */
    task.rows = rows;
    task.last_chunk = pg_chunk_count(rows);
    CHECK(pg_replay(ws, &task) == PG_OK && p.polls >= 2);
    for (size_t allowed = 0; allowed < 2; allowed++) {
        p = (patience){0, allowed};
        CHECK(pg_replay(ws, &task) == PG_ERR_STOPPED && p.polls == allowed + 1);
    }
    results results = results_new(&s, rows);
    p = (patience){0, 0};
    CHECK(run(&s, ws, &results, rows) == PG_ERR_STOPPED && p.polls == 1);
    pg_workspace_poll(ws, NULL, NULL);
    CHECK(run(&s, ws, &results, rows) == PG_OK && p.polls == 1);
    for (size_t i = 0; i < rows; i++) CHECK(results.outputs[i] == fabs(s.inputs[i]));
    results_free(&results);
    pg_workspace_free(ws);
    scene_free(&s);
}

/* What one thread does: replay all rows, again and again. */
typedef struct job {
    const scene *scene;
    results results;
    const results *expected;
    pg_argument arguments[most_arguments];
    pg_task task;
    int level;
    bool right;
} job;

static void *work(void *context) {
    job *j = context;
    const scene *s = j->scene;
    pg_workspace *ws = NULL;
    j->right = pg_workspace_new(&ws, s->program, j->level) == PG_OK;
    for (size_t i = 0; j->right && i < 10; i++)
        j->right =
            pg_replay_sum(ws, s->captured, &j->task, j->results.totals, j->results.sums) == PG_OK &&
            same_rows(s, &j->results, j->expected, j->task.rows) &&
            same_sums(s, &j->results, j->expected);
    pg_workspace_free(ws);
    return NULL;
}

static void threads_share_a_program(void) {
    enum { rows = 1500, count = 4 };
    scene s = scene_new(random_recipe(3, 4, 60, 2), rows, exact_passes, 0);
    results expected = results_new(&s, rows);
    pthread_t threads[count];
    job jobs[count];
    CHECK(run_anew(&s, &expected, rows, 0) == PG_OK);
    for (int i = 0; i < count; i++) {
        job *j = &jobs[i];
        *j = (job){.scene = &s, .results = results_new(&s, rows), .expected = &expected};
        j->task = task_of(&s, j->arguments, &j->results, rows);
        j->level = i % pg_replay_levels();
        if (!CHECK(pthread_create(&threads[i], NULL, work, j) == 0)) abort();
    }
    for (int i = 0; i < count; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0 && jobs[i].right);
        results_free(&jobs[i].results);
    }
    results_free(&expected);
    scene_free(&s);
}

/* ---- a crew --------------------------------------------------------------------------------- */

enum { helpers = 3, crew_parts = 20 };

static void *help(void *crew) {
    pg_crew_help(crew);
    return NULL;
}

static void begin_help(pg_crew **crew_ret, pthread_t *threads) {
    if (!CHECK(pg_crew_new(crew_ret) == PG_OK)) abort();
    pg_crew_open(*crew_ret);
    for (int i = 0; i < helpers; i++)
        if (!CHECK(pthread_create(&threads[i], NULL, help, *crew_ret) == 0)) abort();
}

static void end_help(pg_crew *crew, const pthread_t *threads) {
    pg_crew_close(crew);
    pg_crew_close(crew);
    for (int i = 0; i < helpers; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    pg_crew_free(crew);
}

typedef struct tally {
    uint32_t round, seen[crew_parts];
} tally;

static void count_part(void *context, size_t part) {
    tally *const t = context;
    t->seen[part] += t->round;
}

/* Each part once a round, and the round's number seen by all; with pauses in which helpers fall
 * asleep. */
static void a_crew_does_each_part_once(void) {
    tally t = {0};
    pthread_t threads[helpers];
    pg_crew *crew;
    uint32_t sum = 0;
    begin_help(&crew, threads);
    for (t.round = 1; t.round <= 2000; t.round++) {
        const double start = pg_seconds();
        while (t.round % 100 == 0 && pg_seconds() - start < 1e-3) {
        }
        pg_crew_share(crew, count_part, &t, 1 + t.round % crew_parts);
        for (uint32_t i = 0; i < 1 + t.round % crew_parts; i++) t.seen[i] -= t.round;
        for (uint32_t i = 0; i < crew_parts; i++) sum += t.seen[i];
    }
    CHECK(sum == 0);
    end_help(crew, threads);
    pg_crew_share(NULL, count_part, &t, 1);
    CHECK(t.seen[0] == t.round);
}

/* As in the child of a fork: the caller goes on alone, and a helper returns at once. */
static void a_crew_without_its_helpers(void) {
    tally t = {.round = 1};
    pg_crew *crew;
    if (!CHECK(pg_crew_new(&crew) == PG_OK)) return;
    pg_crew_open(crew);
    pg_crew_share(crew, count_part, &t, crew_parts);
    pg_crew_forget(crew);
    pg_crew_share(crew, count_part, &t, crew_parts);
    pg_crew_help(crew);
    pg_crew_close(crew);
    for (uint32_t i = 0; i < crew_parts; i++) CHECK(t.seen[i] == 2);
    pg_crew_free(crew);
}

enum { layer_inputs = 40, layer_dots = 50, layer_params = layer_inputs * layer_dots };

/* The sum of tanh(w x) over a layer's dots. */
static recipe layer_recipe(void) {
    recipe r = recipe_new(layer_inputs, layer_params);
    uint32_t total = 0, w = layer_inputs;
    for (uint32_t d = 0; d < layer_dots; d++) {
        uint32_t dot = 0;
        for (uint32_t i = 0; i < layer_inputs; i++) {
            const uint32_t product = recipe_add(&r, (line){.op = PG_OP_MUL, .a = w++, .b = i});
            dot =
                i == 0 ? product : recipe_add(&r, (line){.op = PG_OP_ADD, .a = dot, .b = product});
        }
        dot = recipe_add(&r, (line){.op = PG_OP_TANH, .a = dot});
        total = d == 0 ? dot : recipe_add(&r, (line){.op = PG_OP_ADD, .a = total, .b = dot});
    }
    recipe_end(&r, total);
    return r;
}

/* Train from the same parameters. Returns: the results' bits are those of `before`, unless NULL. */
static bool same_training(const scene *s, pg_crew *crew, const double *before, double *params) {
    double gradients[layer_params], data[layer_params], losses[3];
    uint32_t places[layer_params];
    pg_argument arguments[most_arguments];
    results r = results_new(s, 600);
    pg_task task = task_of(s, arguments, &r, 600);
    pg_training t = {.crew = crew,
                     .payoff = {.rows = 512, .alone = 1e9}, /* sharing always pays */
                     .epochs = 3,
                     .batch_rows = 512,
                     .count = layer_params,
                     .arrays = {.data = data, .gradients = gradients},
                     .places = places,
                     .params = params,
                     .sgd = {.lr = 0.01}};
    task.partials = NULL;
    memcpy(params, s->captured, sizeof data);
    memcpy(data, s->captured, sizeof data);
    for (uint32_t i = 0; i < layer_params; i++) places[i] = i;
    pg_workspace *ws = must_work(s->program, any_level());
    CHECK(pg_fit_can_share(s->program, *task.plan, 512));
    CHECK(pg_fit(ws, &task, &t, losses) == PG_OK);
    CHECK(t.payoff.alone == 1e9 || !PG_HAS_CREWS); /* it was shared: not timed alone */
    pg_workspace_free(ws);
    results_free(&r);
    return before == NULL || memcmp(before, params, sizeof data) == 0;
}

static void a_crew_trains_as_one_thread(void) {
    scene s = scene_new(layer_recipe(), 600, exact_passes, 0);
    double alone[layer_params], shared[layer_params];
    pthread_t threads[helpers];
    pg_crew *crew;
    begin_help(&crew, threads);
    CHECK(same_training(&s, NULL, NULL, alone));
    for (int i = 0; i < 4; i++) CHECK(same_training(&s, crew, alone, shared));
    end_help(crew, threads);
    CHECK(memcmp(alone, s.captured, sizeof alone) != 0);
    scene_free(&s);
}

const test_case replay_tests[] = {
    TEST(replays_give_what_nodes_give),
    TEST(single_rows_give_exact_gradients),
    TEST(sums_are_formed_as_stated),
    TEST(kinds_of_vectors_give_the_same_bits),
    TEST(fast_mode_is_near),
    TEST(usual_chains_are_right),
    TEST(zeros_keep_their_sign),
    TEST(big_programs),
    TEST(gradients_by_parameters_or_inputs_only),
    TEST(results_not_asked_for),
    TEST(scales_multiply_sums),
    TEST(no_rows),
    TEST(workspaces_forget),
    TEST(chunks_cover_all_rows),
    TEST(any_split_gives_the_same_bits),
    TEST(an_index_gathers_rows),
    TEST(a_stride_of_0_repeats_a_row),
    TEST(sums_count_each_row_once),
    TEST(a_failing_last_row_is_named_once),
    TEST(the_first_failing_row_is_named),
    TEST(rows_are_named_in_any_part),
    TEST(faults_of_parameters_have_no_row),
    TEST(a_fault_beside_a_uniform_start),
    TEST(a_step_that_leaves_the_finite_numbers),
    TEST(reciprocals_fail_as_powers),
    TEST(reckless_functions_fail_as_nodes_do),
    TEST(each_op_at_odd_numbers),
    TEST(each_comparison_at_odd_numbers),
    TEST(a_poll_stops_a_replay),
    TEST(threads_share_a_program),
    TEST(a_crew_does_each_part_once),
    TEST(a_crew_without_its_helpers),
    TEST(a_crew_trains_as_one_thread),
    {0},
};
