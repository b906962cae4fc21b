/* twin_trace.c - what was recorded from the one graph, replayed, and the other one computed anew
 * for each row: the same outputs, the same gradients. Parameters' gradients are compared where
 * there is one row; sums over more are plain_program.c's. */
#include "twin.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_ENDS = 4, MOST_ROWS = 40 };

/* The second opinion on a trace: its nodes, made again on numbers instead of inputs. */
typedef struct trace {
    const plain_graph *from;
    uint32_t since;
    const twin_node *inputs;
    size_t input_count;
    const double *row;
    uint32_t copies[PLAIN_NODES]; /* by node of `from` */
} trace;

static plain_graph replica;
static trace recorded;

/* ---- Before it is replayed ------------------------------------------------------------------ */

/* The nodes of the trace that the roots need. */
static void walk_trace(const trace *t, bool *seen, uint32_t id) {
    const plain_node *node = &t->from->nodes[id];
    if (id < t->since || seen[id]) return;
    seen[id] = true;
    for (uint32_t i = 0; i < node->count; i++)
        walk_trace(t, seen, t->from->edges[node->first + i].to);
}

static bool can_be_recorded(const trace *t, const bool *seen) {
    for (uint32_t id = t->since; id < t->from->count; id++) {
        const plain_node *node = &t->from->nodes[id];
        if (seen[id] && node->op == PG_OP_VARIADIC && node->kind < PG_VARIADIC_DETACH) return false;
    }
    return true;
}

static void check_depends(const twin *t, const trace *of, twin_node node) {
    bool seen[PLAIN_NODES] = {false}, depends = false, varies = node.plain < of->since;
    walk_trace(of, seen, node.plain);
    for (size_t i = 0; i < of->input_count; i++) depends |= seen[of->inputs[i].plain];
    for (uint32_t id = of->since; id < of->from->count; id++) {
        const plain_node *made = &of->from->nodes[id];
        for (uint32_t i = 0; seen[id] && i < made->count; i++)
            varies |= of->from->edges[made->first + i].to < of->since;
    }
    CHECK(pg_trace_depends(t->graph, node.id) == depends);
    CHECK(pg_trace_varies(t->graph, node.id) == (depends || varies));
}

/* ---- A row ---------------------------------------------------------------------------------- */

static bool is_input(const trace *t, uint32_t id, double *number_ret) {
    for (size_t i = 0; i < t->input_count; i++) {
        if (t->inputs[i].plain != id) continue;
        *number_ret = t->row[i];
        return true;
    }
    return false;
}

static uint32_t again(trace *t, uint32_t id);

/* An index that names no entry gives nan, and nothing back. */
static uint32_t taken_again(const plain_node *node, const uint32_t *children) {
    plain_edge edges[TWIN_ENTRIES + 1];
    const uint32_t count = node->count - 1;
    const double index = replica.nodes[children[count]].data;
    double data = NAN;
    for (uint32_t i = 0; i <= count; i++) {
        const bool taken = i < count && index == (double)i;
        edges[i] = (plain_edge){children[i], taken ? 1.0 : 0.0};
        if (taken) data = replica.nodes[children[i]].data;
    }
    return plain_wide(&replica, PG_VARIADIC_TAKE, data, edges, node->count, true);
}

/* The edges to gradients will hold the gradients of the parts that they were added to. */
static uint32_t scattered_again(const plain_node *node, const uint32_t *children) {
    plain_edge edges[2 * TWIN_SUMMANDS];
    for (uint32_t i = 0; i < node->count; i++) edges[i] = (plain_edge){children[i], 0.0};
    return plain_wide(&replica, PG_VARIADIC_SCATTER, 0.0, edges, node->count, false);
}

static uint32_t part_again(uint32_t scatter, double place) {
    const plain_node *from = &replica.nodes[scatter];
    const plain_edge edge = {scatter, place};
    double sum = 0.0;
    bool any = false;
    for (uint32_t i = from->first; i < from->first + from->count / 2; i++) {
        if (replica.nodes[replica.edges[i + from->count / 2].to].data != place) continue;
        const double summand = replica.nodes[replica.edges[i].to].data;
        sum = any ? sum + summand : summand;
        any = true;
    }
    return plain_wide(&replica, PG_VARIADIC_PART, sum, &edge, 1, false);
}

static uint32_t wide_again(const trace *t, const plain_node *node, const uint32_t *children) {
    if (node->kind == PG_VARIADIC_DETACH)
        return plain_leaf(&replica, replica.nodes[children[0]].data);
    if (node->kind == PG_VARIADIC_TAKE) return taken_again(node, children);
    if (node->kind == PG_VARIADIC_SCATTER) return scattered_again(node, children);
    if (node->kind == PG_VARIADIC_PART)
        return part_again(children[0], t->from->edges[node->first].slope);
    const bool holds =
        plain_compare((int)(node->kind - PG_VARIADIC_SELECT), replica.nodes[children[2]].data,
                      replica.nodes[children[3]].data);
    const plain_edge edges[] = {{children[0], holds ? 1.0 : 0.0}, {children[1], holds ? 0.0 : 1.0}};
    const double data = replica.nodes[children[holds ? 0 : 1]].data;
    return plain_wide(&replica, PG_VARIADIC_CHOICE, data, edges, 2, true);
}

static uint32_t made_again(trace *t, uint32_t id) {
    const plain_node *node = &t->from->nodes[id];
    uint32_t children[2 * TWIN_SUMMANDS] = {0}, copy = 0;
    double number = node->data;
    if (id < t->since || node->op == PG_OP_LEAF || is_input(t, id, &number)) {
        (void)is_input(t, id, &number);
        copy = plain_leaf(&replica, number);
        replica.nodes[copy].detached = node->detached;
        return copy;
    }
    for (uint32_t i = 0; i < node->count; i++)
        children[i] = again(t, t->from->edges[node->first + i].to);
    if (node->op == PG_OP_VARIADIC) return wide_again(t, node, children);
    CHECK(plain_op(&replica, &copy, node->op, children[0], children[1]) == PG_OK);
    return copy;
}

static uint32_t again(trace *t, uint32_t id) {
    if (t->copies[id] == PLAIN_NOBODY) t->copies[id] = made_again(t, id);
    return t->copies[id];
}

static void begin_row(trace *t, const double *row) {
    plain_clear(&replica);
    replica.judges = false;
    t->row = row;
    for (uint32_t i = 0; i < t->from->count; i++) t->copies[i] = PLAIN_NOBODY;
}

/* 0 where the output doesn't need it, and of a detached parameter, even if that is the output: in
 * the graph it then holds the 1 that a sweep begins with. */
static double gradient_of(const trace *t, uint32_t id) {
    if (t->copies[id] == PLAIN_NOBODY || replica.nodes[t->copies[id]].detached) return 0.0;
    return replica.nodes[t->copies[id]].grad;
}

/* ---- A replay ------------------------------------------------------------------------------- */

typedef struct replayed {
    pg_program *program;
    pg_backward_plan *plan[MOST_ENDS];
    size_t inputs, outputs, params, rows;
    double *numbers, *results, *gradients, *sums, *params_data;
} replayed;

static replayed replay(const twin *t, pg_program *program) {
    static const size_t row_counts[] = {1, 2, 8, 9, 33};
    const pg_program_size size = pg_program_measure(program);
    replayed r = {.program = program,
                  .inputs = size.inputs,
                  .outputs = size.outputs,
                  .params = size.params,
                  .rows = row_counts[below(LENGTH(row_counts))]};
    r.numbers = must_alloc(r.rows * r.inputs, sizeof(double));
    r.results = must_alloc(r.rows * r.outputs, sizeof(double));
    r.gradients = must_alloc(r.rows * r.outputs * r.inputs, sizeof(double));
    r.sums = must_alloc(r.outputs * r.params, sizeof(double));
    r.params_data = must_alloc(r.params, sizeof(double));
    for (size_t i = 0; i < r.rows * r.inputs; i++) r.numbers[i] = odd_number();
    for (size_t i = 0; i < r.params; i++)
        r.params_data[i] = pg_node_data(t->graph, pg_program_sources(program)[i]);
    for (size_t i = 0; i < r.outputs; i++)
        CHECK(pg_backward_plan_new(&r.plan[i], program, i, both) == PG_OK);
    double totals[MOST_ENDS];
    const pg_argument argument = {r.numbers, r.inputs, r.inputs};
    const pg_task task = {.arguments = &argument,
                          .argument_count = 1,
                          .rows = r.rows,
                          .outputs = r.results,
                          .gradients = r.gradients,
                          .scale = 1.0,
                          .plan = (const pg_backward_plan *const *)r.plan,
                          .ignore = 1};
    pg_workspace *ws = NULL;
    CHECK(pg_workspace_new(&ws, program, (int)below((size_t)pg_replay_levels())) == PG_OK);
    CHECK(pg_replay_sum(ws, r.params_data, &task, totals, r.sums) == PG_OK);
    pg_workspace_free(ws);
    return r;
}

static void replayed_free(replayed *r) {
    double *const blocks[] = {r->numbers, r->results, r->gradients, r->sums, r->params_data};
    for (size_t i = 0; i < LENGTH(blocks); i++) free(blocks[i]);
    for (size_t i = 0; i < r->outputs; i++) pg_backward_plan_free(r->plan[i]);
    pg_program_free(r->program);
}

static void compare_row(const twin *t, trace *of, const replayed *r, size_t row, size_t output,
                        uint32_t root) {
    begin_row(of, r->numbers + row * r->inputs);
    const uint32_t copy = again(of, root);
    const size_t at = row * r->outputs + output;
    CHECK(same_number(r->results[at], replica.nodes[copy].data));
    CHECK(plain_backward(&replica, copy) == PG_OK);
    for (size_t i = 0; i < r->inputs; i++)
        CHECK(same_number(r->gradients[at * r->inputs + i], gradient_of(of, of->inputs[i].plain)));
    for (size_t i = 0; r->rows == 1 && i < r->params; i++) {
        const uint32_t param = t->plain_of[pg_program_sources(r->program)[i]];
        CHECK(same_number(r->sums[output * r->params + i], gradient_of(of, param)));
    }
}

void twin_replay(twin *t, uint32_t since, const twin_node *inputs, size_t input_count,
                 const twin_node *outputs, size_t output_count, unsigned passes) {
    bool seen[PLAIN_NODES] = {false};
    pg_node_id input_ids[MOST_ENDS], output_ids[MOST_ENDS];
    pg_program *program = NULL;
    recorded =
        (trace){.from = &t->plain, .since = since, .inputs = inputs, .input_count = input_count};
    for (size_t i = 0; i < input_count; i++) input_ids[i] = inputs[i].id;
    for (size_t i = 0; i < output_count; i++) {
        output_ids[i] = outputs[i].id;
        walk_trace(&recorded, seen, outputs[i].plain);
    }
    const pg_status status =
        pg_record(t->graph, &program,
                  &(pg_recording){input_ids, output_ids, input_count, output_count, passes, 0});
    if (status == PG_ERR_NOMEM) return;
    pg_alloc_fail_at(0);
    CHECK((status == PG_OK) == can_be_recorded(&recorded, seen));
    check_depends(t, &recorded, outputs[0]);
    if (status != PG_OK) return;
    replayed r = replay(t, program);
    for (size_t row = 0; row < r.rows; row++)
        for (size_t i = 0; i < output_count; i++)
            compare_row(t, &recorded, &r, row, i, outputs[i].plain);
    replayed_free(&r);
}
