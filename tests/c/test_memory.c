/* test_memory.c - are references counted right after any operation; does release free all that
 * have no references, without recursion, and hand the same slots out again. */
#include "testing.h"

#include <stdlib.h>

/* ---- a random walk ------------------------------------------------------------------------ */

enum { most_owned = 200 };

/* A graph and the references to it that the test owns. */
typedef struct walker {
    pg_graph *graph;
    pg_node_id owned[most_owned];
    size_t count;
} walker;

static void own(walker *w, pg_status status, pg_node_id id) {
    if (status == PG_OK) w->owned[w->count++] = id;
    else CHECK(status >= PG_ERR_DOMAIN && status <= PG_ERR_OVERFLOW);
}

static pg_node_id any(const walker *w) { return w->owned[below(w->count)]; }

static pg_operand operand(const walker *w) {
    return below(3) == 0 ? number(uniform(-2.0, 2.0)) : node(any(w));
}

static void step_op(walker *w) {
    pg_node_id id = 0;
    int op = 1 + (int)below((size_t)pg_op_count());
    pg_status status = apply(w->graph, &id, op, any(w), any(w));
    own(w, status, id);
}

static void step_expression(walker *w) {
    typedef pg_status expression(pg_graph *, pg_node_id *, pg_operand, pg_operand);
    expression *const all[] = {pg_expr_add, pg_expr_mul, pg_expr_sub, pg_expr_div, pg_expr_pow};
    pg_node_id id = 0;
    pg_operand a = node(any(w)), b = operand(w);
    pg_status status =
        below(2) ? all[below(5)](w->graph, &id, a, b) : all[below(5)](w->graph, &id, b, a);
    own(w, status, id);
}

static void step_wide(walker *w) {
    pg_node_id children[8], id = 0;
    double locals[8] = {0.5, -0.5, 1.0};
    size_t count = below(9);
    for (size_t i = 0; i < count; i++) children[i] = any(w);
    pg_status status = pg_graph_variadic(w->graph, &id, 1.0,
                                         (pg_children){children, below(2) ? locals : NULL, count});
    own(w, status, id);
}

static void step_sum(walker *w) {
    pg_operand values[6];
    pg_node_id id = 0;
    for (size_t i = 0; i < LENGTH(values); i++) values[i] = operand(w);
    pg_operand start = operand(w);
    pg_status status = pg_graph_sum(w->graph, &id, start, values, below(7));
    own(w, status, id);
}

static void step_layer(walker *w) {
    const int activations[] = {0, PG_OP_TANH, PG_OP_LOG, PG_OP_SQRT};
    pg_operand values[6 + 2 + 3];
    pg_node_id ids[2];
    for (size_t i = 0; i < LENGTH(values); i++) values[i] = operand(w);
    pg_status status = pg_graph_layer(
        w->graph, ids,
        &(pg_layer){activations[below(4)], values, values + 6, values + 8, 2, below(4)});
    own(w, status, ids[0]);
    if (status == PG_OK) own(w, status, ids[1]);
}

static void step_retain(walker *w) {
    pg_node_id id = any(w);
    own(w, pg_graph_retain(w->graph, id), id);
}

static void step_release(walker *w) {
    size_t i = below(w->count);
    pg_graph_release(w->graph, w->owned[i]);
    w->owned[i] = w->owned[--w->count];
}

static void step_backward(walker *w) {
    pg_status status = pg_backward(w->graph, any(w));
    CHECK(status == PG_OK || (status >= PG_ERR_DOMAIN && status <= PG_ERR_OVERFLOW));
}

static void step(walker *w) {
    void (*const steps[])(walker *) = {step_op,      step_op,      step_expression, step_wide,
                                       step_sum,     step_layer,   step_release,    step_release,
                                       step_release, step_backward};
    if (w->count < 2 || below(10) == 0) own(w, PG_OK, leaf(w->graph, uniform(-2, 2)));
    else if (below(10) == 0) step_retain(w);
    else steps[below(LENGTH(steps))](w);
    while (w->count > most_owned - 4) step_release(w);
}

static void references_add_up_after_any_operation(void) {
    for (size_t round = 0; round < 10; round++) {
        walker w = {.graph = new_graph()};
        for (size_t i = 0; i < 1500; i++) {
            step(&w);
            if (!CHECK(consistent(w.graph, w.owned, w.count))) break;
        }
        while (w.count > 0) step_release(&w);
        CHECK(pg_graph_live(w.graph) == 0 && consistent(w.graph, NULL, 0));
        pg_graph_free(w.graph);
    }
}

/* ---- release ------------------------------------------------------------------------------ */

/* x + 1 + 1 ... with the chain on the left, or 1 + (1 + ... x) with it on the right. */
static pg_node_id chain(pg_graph *graph, pg_node_id x, pg_node_id one, size_t steps, bool left) {
    pg_node_id top = x;
    CHECK(pg_graph_retain(graph, top) == PG_OK);
    for (size_t i = 0; i < steps; i++) {
        pg_node_id next =
            left ? binary(graph, PG_OP_ADD, top, one) : binary(graph, PG_OP_ADD, one, top);
        pg_graph_release(graph, top);
        top = next;
    }
    return top;
}

static void two_million_nodes_in_a_chain(void) {
    const size_t steps = 2000000;
    pg_graph *graph = new_graph();
    pg_node_id x = leaf(graph, 0.0), one = leaf(graph, 1.0);
    for (int i = 1; i <= 2; i++) {
        pg_node_id top = chain(graph, x, one, steps, i == 1);
        CHECK(pg_node_data(graph, top) == (double)steps && pg_graph_live(graph) == steps + 2);
        CHECK(pg_backward(graph, top) == PG_OK);
        CHECK(pg_node_grad(graph, x) == i && pg_node_grad(graph, one) == (double)steps * i);
        pg_graph_release(graph, top);
        CHECK(pg_graph_live(graph) == 2);
    }
    pg_graph_release(graph, x);
    pg_graph_release(graph, one);
    CHECK(pg_graph_live(graph) == 0 && consistent(graph, NULL, 0));
    pg_graph_free(graph);
}

/* Each node twice in the next: 2^60 paths, 61 nodes. Then the same in random graphs. */
static void shared_nodes_die_once(void) {
    pg_graph *graph = new_graph();
    pg_node_id top = leaf(graph, 1.0), ids[150];
    for (int i = 0; i < 60; i++) {
        pg_node_id next = binary(graph, PG_OP_ADD, top, top);
        pg_graph_release(graph, top);
        top = next;
    }
    CHECK(pg_backward(graph, top) == PG_OK && pg_node_grad(graph, 1) == 0x1p60);
    pg_graph_release(graph, top);
    CHECK(pg_graph_live(graph) == 0);
    for (size_t round = 0; round < 100; round++) {
        random_graph(graph, ids, LENGTH(ids));
        release_all(graph, ids, LENGTH(ids) - 1);
        CHECK(consistent(graph, &ids[LENGTH(ids) - 1], 1));
        pg_graph_release(graph, ids[LENGTH(ids) - 1]);
        CHECK(pg_graph_live(graph) == 0 && consistent(graph, NULL, 0));
    }
    pg_graph_free(graph);
}

static void wide_nodes_of_a_hundred_thousand(void) {
    const size_t count = 100000;
    pg_graph *graph = new_graph();
    pg_node_id *children = must_alloc(count, sizeof *children), variadic;
    double *locals = must_alloc(count, sizeof *locals);
    for (size_t i = 0; i < count; i++) {
        children[i] = i % 10 == 9 ? children[i - 1] : leaf(graph, 1.0);
        locals[i] = (double)i;
    }
    CHECK(pg_graph_variadic(graph, &variadic, 1.0, (pg_children){children, locals, count}) ==
          PG_OK);
    for (size_t i = 0; i < count; i++)
        if (i % 10 != 9) pg_graph_release(graph, children[i]);
    CHECK(pg_graph_live(graph) == count / 10 * 9 + 1 && consistent(graph, &variadic, 1));
    CHECK(pg_backward(graph, variadic) == PG_OK);
    CHECK(pg_node_grad(graph, children[7]) == 7.0 && pg_node_grad(graph, children[9]) == 17.0);
    pg_graph_release(graph, variadic);
    CHECK(pg_graph_live(graph) == 0 && consistent(graph, NULL, 0));
    free(children);
    free(locals);
    pg_graph_free(graph);
}

/* A chain of wide nodes is walked and freed without recursion, too. */
static void wide_nodes_in_a_chain(void) {
    pg_graph *graph = new_graph();
    pg_node_id top = leaf(graph, 1.0), first = top;
    const double one = 1.0;
    for (size_t i = 0; i < 200000; i++) {
        pg_node_id next = 0;
        CHECK(pg_graph_variadic(graph, &next, 1.0, (pg_children){&top, &one, 1}) == PG_OK);
        pg_graph_release(graph, top);
        top = next;
    }
    CHECK(pg_backward(graph, top) == PG_OK && pg_node_grad(graph, first) == 1.0);
    pg_graph_release(graph, top);
    CHECK(pg_graph_live(graph) == 0);
    pg_graph_free(graph);
}

/* ---- reuse -------------------------------------------------------------------------------- */

/* tanh(w[0] * 0.1 + w[1] * 0.2 ...), as a loop in Python builds and drops it. */
static pg_node_id training_step(pg_graph *graph, const pg_node_id *weights, size_t count) {
    pg_node_id total = leaf(graph, 0.0);
    for (size_t i = 0; i < count; i++) {
        pg_node_id product = 0, next;
        CHECK(pg_expr_mul(graph, &product, node(weights[i]), number(0.1 * (double)i)) == PG_OK);
        next = binary(graph, PG_OP_ADD, total, product);
        pg_graph_release(graph, total);
        pg_graph_release(graph, product);
        total = next;
    }
    pg_node_id root = unary(graph, PG_OP_TANH, total);
    pg_graph_release(graph, total);
    return root;
}

static void a_thousand_rounds_find_the_same_slots(void) {
    pg_graph *graph = new_graph();
    pg_node_id weights[100], first[500], order[500];
    size_t bytes = 0, count = 0, expected = 0;
    for (size_t i = 0; i < LENGTH(weights); i++) weights[i] = leaf(graph, 0.01 * (double)i);
    for (size_t round = 0; round < 1000; round++) {
        pg_node_id root = training_step(graph, weights, LENGTH(weights));
        CHECK(pg_backward(graph, root) == PG_OK);
        CHECK(pg_graph_order(graph, round == 0 ? first : order, &count, root) == PG_OK);
        if (round == 0) bytes = pg_graph_bytes(graph), expected = count;
        CHECK(pg_graph_bytes(graph) == bytes && count == expected);
        for (size_t i = 0; round > 0 && i < count; i++) CHECK(order[i] == first[i]);
        pg_graph_release(graph, root);
        CHECK(pg_graph_live(graph) == LENGTH(weights));
    }
    CHECK(consistent(graph, weights, LENGTH(weights)));
    pg_graph_free(graph);
}

/* Shared nodes are freed in another order than they were built in; the slots of a large graph are
 * handed out by address all the same. Leaves that live on lie scattered among them. */
static void large_graphs_leave_their_slots_in_order(void) {
    enum { nodes = 3000, kept = 20 };
    pg_graph *graph = new_graph();
    pg_node_id *ids = must_alloc(nodes, sizeof *ids), keep[kept + 1];
    for (size_t round = 0; round < kept; round++) {
        random_graph(graph, ids, nodes);
        CHECK(pg_graph_variadic(graph, &keep[round + 1], 0.0, (pg_children){ids, NULL, nodes}) ==
              PG_OK);
        keep[round] = ids[below(2)]; /* kept by the test; the rest is by the wide node alone */
        CHECK(pg_graph_retain(graph, keep[round]) == PG_OK);
        release_all(graph, ids, nodes);
        CHECK(consistent(graph, keep, round + 2));
        pg_graph_release(graph, keep[round + 1]);
        CHECK(consistent(graph, keep, round + 1));
        size_t bytes = pg_graph_bytes(graph);
        for (size_t i = 0; i < nodes; i++) ids[i] = leaf(graph, 1.0);
        for (size_t i = 1; i < nodes; i++) CHECK(ids[i] > ids[i - 1]);
        release_all(graph, ids, nodes);
        CHECK(pg_graph_bytes(graph) == bytes);
    }
    release_all(graph, keep, kept);
    CHECK(pg_graph_live(graph) == 0 && consistent(graph, NULL, 0));
    free(ids);
    pg_graph_free(graph);
}

static void reserved_capacity_is_enough(void) {
    pg_graph *graph = new_graph();
    pg_node_id ids[3000];
    CHECK(pg_graph_reserve(graph, 0) == PG_OK && pg_graph_bytes(graph) < 1000);
    CHECK(pg_graph_reserve(graph, LENGTH(ids)) == PG_OK);
    size_t bytes = pg_graph_bytes(graph);
    pg_alloc_fail_at(1); /* nothing is allocated now */
    for (size_t i = 0; i < LENGTH(ids); i++) ids[i] = leaf(graph, 1.0);
    release_all(graph, ids, LENGTH(ids));
    CHECK(pg_graph_reserve(graph, LENGTH(ids)) == PG_OK);
    pg_alloc_fail_at(0);
    CHECK(pg_graph_bytes(graph) == bytes);
    pg_graph_free(graph);
    pg_graph_free(NULL);
}

const test_case memory_tests[] = {
    TEST(references_add_up_after_any_operation),
    TEST(two_million_nodes_in_a_chain),
    TEST(shared_nodes_die_once),
    TEST(wide_nodes_of_a_hundred_thousand),
    TEST(wide_nodes_in_a_chain),
    TEST(a_thousand_rounds_find_the_same_slots),
    TEST(large_graphs_leave_their_slots_in_order),
    TEST(reserved_capacity_is_enough),
    {0},
};
