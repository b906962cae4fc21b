/* scene.c - replays compared with ordinary nodes: what each row gives eagerly, how sums are formed,
 * and what a replay makes of the same rows. */
#include "scene.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const size_t row_counts[row_count_kinds] = {1, 2, 7, 8, 9, 31, 32, 33, 40, 100, most_rows};

/* ---- a function, rows, and what they should give ------------------------------------------- */

static void scene_record(scene *s, unsigned passes, int fast) {
    s->params = must_alloc(s->recipe.params, sizeof *s->params);
    s->param_of = must_alloc(s->recipe.params, sizeof *s->param_of);
    s->captured = must_alloc(s->recipe.params, sizeof *s->captured);
    s->program = must_record(&s->recipe, s->param_of, passes, fast);
    s->size = pg_program_measure(s->program);
    for (size_t i = 0; i < s->recipe.params; i++) s->params[i] = uniform(-2.0, 2.0);
    for (size_t i = 0; i < s->size.params; i++) s->captured[i] = s->params[s->param_of[i]];
    for (size_t o = 0; o < s->size.outputs; o++)
        CHECK(pg_backward_plan_new(&s->plan[o], s->program, o, both) == PG_OK);
}

scene scene_new(recipe r, size_t rows, unsigned passes, int fast) {
    scene s = {.recipe = r};
    scene_record(&s, passes, fast);
    s.inputs = must_alloc(rows * r.inputs, sizeof(double));
    s.outputs = must_alloc(rows * r.outputs, sizeof(double));
    s.input_grads = must_alloc(rows * r.outputs * r.inputs, sizeof(double));
    s.param_grads = must_alloc(rows * r.outputs * s.size.params, sizeof(double));
    s.status = must_alloc(rows, sizeof *s.status);
    s.faults = must_alloc(rows, sizeof *s.faults);
    for (size_t i = 0; i < rows * r.inputs; i++) s.inputs[i] = uniform(-2.0, 2.0);
    return s;
}

void scene_free(scene *s) {
    recipe_free(&s->recipe);
    for (size_t o = 0; o < s->size.outputs; o++) pg_backward_plan_free(s->plan[o]);
    pg_program_free(s->program);
    free(s->params);
    free(s->param_of);
    free(s->captured);
    free(s->inputs);
    free(s->outputs);
    free(s->input_grads);
    free(s->param_grads);
    free(s->status);
    free(s->faults);
}

/* grads: scratch, one a parameter of the recipe. */
static pg_status expect_row(scene *s, eager *e, double *grads, size_t row) {
    const recipe *r = &s->recipe;
    pg_status status = eager_forward(e, s->inputs + row * r->inputs, s->params);
    for (size_t o = 0; status == PG_OK && o < r->outputs; o++) {
        const size_t at = row * r->outputs + o;
        s->outputs[at] = eager_output(e, o);
        status = eager_backward(e, s->input_grads + at * r->inputs, grads, o);
        for (size_t i = 0; i < s->size.params; i++)
            s->param_grads[at * s->size.params + i] = grads[s->param_of[i]];
    }
    return status;
}

size_t expect_rows(scene *s, size_t rows) {
    eager e = eager_new(&s->recipe, false);
    double *grads = must_alloc(s->recipe.params, sizeof *grads);
    size_t failing = rows;
    for (size_t row = rows; row-- > 0;) {
        s->status[row] = expect_row(s, &e, grads, row);
        s->faults[row] = pg_graph_fault(e.graph);
        if (s->status[row] != PG_OK) failing = row;
    }
    eager_free(&e);
    free(grads);
    return failing;
}

/* ---- a replay and its results --------------------------------------------------------------- */

results results_new(const scene *s, size_t rows) {
    const pg_program_size *size = &s->size;
    return (results){must_alloc(rows * size->outputs, sizeof(double)),
                     must_alloc(rows * size->outputs * size->inputs, sizeof(double)),
                     must_alloc(size->outputs, sizeof(double)),
                     must_alloc(size->outputs * size->params, sizeof(double))};
}

void results_free(results *r) {
    free(r->outputs);
    free(r->gradients);
    free(r->totals);
    free(r->sums);
}

bool same_array(const double *a, const double *b, size_t count) {
    bool same = true;
    for (size_t i = 0; i < count; i++) same = same && same_number(a[i], b[i]);
    return same;
}

bool same_rows(const scene *s, const results *a, const results *b, size_t rows) {
    return same_array(a->outputs, b->outputs, rows * s->size.outputs) &&
           same_array(a->gradients, b->gradients, rows * s->size.outputs * s->size.inputs);
}

bool same_sums(const scene *s, const results *a, const results *b) {
    return same_array(a->totals, b->totals, s->size.outputs) &&
           same_array(a->sums, b->sums, s->size.outputs * s->size.params);
}

/* The columns of an array of rows, dealt out to arguments. Returns: how many arguments. */
static size_t deal_out(pg_argument *arguments, const double *data, size_t columns) {
    size_t count = 0;
    for (size_t column = 0; column < columns; count++) {
        const size_t width = 1 + below(columns - column);
        arguments[count] = (pg_argument){data + column, columns, width};
        column += width;
    }
    return count;
}

const pg_backward_plan *const *steps_of(const scene *s) {
    return (const pg_backward_plan *const *)s->plan;
}

pg_task task_of(const scene *s, pg_argument *arguments, const results *r, size_t rows) {
    return (pg_task){.arguments = arguments,
                     .argument_count = deal_out(arguments, s->inputs, s->size.inputs),
                     .rows = rows,
                     .outputs = r->outputs,
                     .gradients = r->gradients,
                     .scale = 1.0,
                     .plan = steps_of(s)};
}

pg_workspace *must_work(const pg_program *program, int level) {
    pg_workspace *ws = NULL;
    if (!CHECK(pg_workspace_new(&ws, program, level) == PG_OK)) abort();
    return ws;
}

pg_status run(const scene *s, pg_workspace *ws, const results *r, size_t rows) {
    pg_argument arguments[most_arguments];
    const pg_task task = task_of(s, arguments, r, rows);
    return pg_replay_sum(ws, s->captured, &task, r->totals, r->sums);
}

pg_status run_anew(const scene *s, const results *r, size_t rows, int level) {
    pg_workspace *ws = must_work(s->program, level);
    pg_status status = run(s, ws, r, rows);
    pg_workspace_free(ws);
    return status;
}

int any_level(void) { return (int)below((size_t)pg_replay_levels()); }

/* ---- sums, as replay.c and lanes_dots.h say that they are formed ---------------------------- */

static double sum_of_chunk(const contribution *all, size_t count, uint32_t param, size_t first,
                           size_t end, size_t widest) {
    double sum = 0.0;
    for (size_t row = first; row < end;) {
        const size_t left = end - row, lanes = left == 1 ? 1 : left >= widest ? widest : 8;
        const size_t active = left < lanes ? left : lanes;
        for (size_t i = 0; i < count; i++)
            for (size_t l = 0; all[i].param == param && l < active; l++)
                sum += all[i].rows[row + l];
        row += active;
    }
    return sum;
}

static double sum_of_branch(const contribution *all, size_t count, uint32_t param, size_t rows,
                            size_t widest, size_t first, size_t last) {
    if (last - first < 2)
        return sum_of_chunk(all, count, param, pg_chunk_start(rows, first),
                            pg_chunk_start(rows, last), widest);
    const size_t middle = pg_chunk_middle(first, last);
    return sum_of_branch(all, count, param, rows, widest, first, middle) +
           sum_of_branch(all, count, param, rows, widest, middle, last);
}

double sum_of_rows(const contribution *all, size_t count, uint32_t param, size_t rows,
                   size_t widest) {
    return sum_of_branch(all, count, param, rows, widest, 0, pg_chunk_count(rows));
}

size_t widest_block(const scene *s) { return s->size.row_slots > 8192 ? 8 : 32; }

void check_totals(const scene *s, const results *r, const double *outputs, size_t rows) {
    double *column = must_alloc(rows, sizeof *column);
    for (size_t o = 0; o < s->size.outputs; o++) {
        for (size_t i = 0; i < rows; i++) column[i] = outputs[i * s->size.outputs + o];
        const contribution output = {0, column};
        CHECK(same_number(r->totals[o], sum_of_rows(&output, 1, 0, rows, widest_block(s))));
    }
    free(column);
}

/* Gradients of one row are the node's; those of many are about their sum. */
static void check_sums(const scene *s, const results *r, size_t rows) {
    const size_t count = s->size.outputs * s->size.params;
    for (size_t i = 0; i < count; i++) {
        double sum = 0.0, size = 1.0;
        for (size_t row = 0; row < rows; row++) {
            sum += s->param_grads[row * count + i];
            size += fabs(s->param_grads[row * count + i]);
        }
        if (rows == 1) CHECK(same_number(r->sums[i], s->param_grads[i]));
        else CHECK(fabs(r->sums[i] - sum) <= 1e-9 * size);
    }
}

void check_replay(const scene *s, pg_workspace *ws, size_t rows) {
    results r = results_new(s, rows);
    const results expected = {.outputs = s->outputs, .gradients = s->input_grads};
    CHECK(run(s, ws, &r, rows) == PG_OK);
    CHECK(same_rows(s, &r, &expected, rows));
    check_totals(s, &r, s->outputs, rows);
    check_sums(s, &r, rows);
    results_free(&r);
}

void replace_reverse(scene *s, unsigned wrt) {
    for (size_t o = 0; o < s->size.outputs; o++) {
        pg_backward_plan_free(s->plan[o]);
        CHECK(pg_backward_plan_new(&s->plan[o], s->program, o, wrt) == PG_OK);
    }
}

/* ---- rows that fail ------------------------------------------------------------------------- */

bool same_fault(pg_fault a, pg_fault b) {
    return a.op == b.op && a.derivative == b.derivative && same_number(a.a, b.a) &&
           same_number(a.b, b.b);
}

void check_fault(const scene *s, int level, size_t rows, pg_status status, size_t row,
                 pg_fault fault) {
    results r = results_new(s, rows);
    pg_workspace *ws = must_work(s->program, level);
    CHECK(run(s, ws, &r, rows) == status);
    const pg_replay_fault found = pg_workspace_fault(ws);
    CHECK(found.row == (int64_t)row && same_fault(found.fault, fault));
    pg_workspace_free(ws);
    results_free(&r);
}

void check_first_fault(const scene *s, size_t rows, size_t failing) {
    results r = results_new(s, rows);
    const results expected = {.outputs = s->outputs, .gradients = s->input_grads};
    if (failing < rows)
        check_fault(s, any_level(), rows, s->status[failing], failing, s->faults[failing]);
    else CHECK(run_anew(s, &r, rows, any_level()) == PG_OK && same_rows(s, &r, &expected, rows));
    results_free(&r);
}

void check_ignored(const scene *s, size_t rows) {
    const size_t outputs = s->size.outputs, gradients = outputs * s->size.inputs;
    results r = results_new(s, rows);
    pg_argument arguments[most_arguments];
    pg_workspace *ws = must_work(s->program, any_level());
    pg_task task = task_of(s, arguments, &r, rows);
    task.ignore = 1;
    CHECK(pg_replay_sum(ws, s->captured, &task, r.totals, r.sums) == PG_OK);
    for (size_t i = 0; i < rows; i++) {
        if (s->status[i] != PG_OK) continue;
        CHECK(same_array(r.outputs + i * outputs, s->outputs + i * outputs, outputs));
        CHECK(same_array(r.gradients + i * gradients, s->input_grads + i * gradients, gradients));
    }
    pg_workspace_free(ws);
    results_free(&r);
}
