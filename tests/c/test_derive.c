/* test_derive.c - are derivatives as nodes those of the sweep; is the graph else as it was, also
 * when memory runs out or a node can't be differentiated? */
#include "testing.h"

#include <math.h>
#include <stdlib.h>

enum { most_nodes = 60 };

static void release_found(pg_graph *graph, const pg_node_id *ids, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] != 0) pg_graph_release(graph, ids[i]);
}

static bool agrees(double found, double wanted) {
    return isnan(wanted) || isinf(wanted) || near(found, wanted, 1e-12) || fabs(wanted) > 1e280;
}

/* Derivatives of the last node by each of all, beside the sweep's gradients. */
static void check_against_sweep(pg_graph *graph, const pg_node_id *ids, size_t count) {
    pg_node_id found[most_nodes], opaque;
    const pg_node_id y = ids[count - 1];
    snapshot before = snapshot_take(graph);
    const pg_status status = pg_graph_derive(graph, found, &opaque, y, ids, count);
    CHECK((status == PG_ERR_BAD_OP) == (opaque != 0));
    if (status != PG_OK) {
        CHECK(snapshot_holds(&before, graph) && consistent(graph, ids, count));
        snapshot_free(&before);
        return;
    }
    CHECK(pg_backward(graph, y) == PG_OK);
    for (size_t i = 0; i < count; i++)
        CHECK(found[i] == 0
                  ? pg_node_grad(graph, ids[i]) == 0.0 || pg_node_is_leaf(graph, ids[i]) == 0
                  : agrees(pg_node_data(graph, found[i]), pg_node_grad(graph, ids[i])));
    release_found(graph, found, count);
    CHECK(pg_graph_live(graph) == before.live && consistent(graph, ids, count));
    snapshot_free(&before);
}

static void random_graphs(void) {
    for (size_t round = 0; round < 400; round++) {
        pg_graph *graph = new_graph();
        pg_node_id ids[most_nodes];
        const size_t count = 1 + below(most_nodes);
        random_graph(graph, ids, count);
        check_against_sweep(graph, ids, count);
        pg_graph_free(graph);
    }
}

/* y = sin(x * x), three times */
static pg_node_id wave(pg_graph *graph, pg_node_id x) {
    return unary(graph, PG_OP_SIN, binary(graph, PG_OP_MUL, x, x));
}

static void orders(void) {
    pg_graph *graph = new_graph();
    const double a = 0.7, s = sin(a * a), c = cos(a * a);
    const double wanted[] = {2.0 * a * c, 2.0 * c - 4.0 * a * a * s,
                             -12.0 * a * s - 8.0 * a * a * a * c};
    pg_node_id x = leaf(graph, a), y = wave(graph, x), found, opaque;
    for (size_t order = 0; order < LENGTH(wanted); order++) {
        CHECK(pg_graph_derive(graph, &found, &opaque, y, &x, 1) == PG_OK);
        CHECK(near(pg_node_data(graph, found), wanted[order], 1e-14));
        y = found;
    }
    pg_graph_free(graph);
}

static void what_is_unrelated_has_none(void) {
    pg_graph *graph = new_graph();
    pg_node_id xs[] = {leaf(graph, 1.0), leaf(graph, 2.0), 0}, found[3], opaque;
    pg_node_id y = wave(graph, xs[0]), detached;
    CHECK(pg_graph_detach(graph, &detached, y) == PG_OK);
    xs[2] = y;
    CHECK(pg_graph_derive(graph, found, &opaque, y, xs, 3) == PG_OK);
    CHECK(found[0] != 0 && found[1] == 0 && pg_node_data(graph, found[2]) == 1.0);
    CHECK(pg_graph_derive(graph, found, &opaque, detached, xs, 1) == PG_OK && found[0] == 0);
    CHECK(pg_graph_derive(graph, found, &opaque, y, xs, 0) == PG_OK);
    CHECK(pg_graph_derive(graph, found, &opaque, 9999, xs, 1) == PG_ERR_BAD_NODE);
    pg_graph_free(graph);
}

static void memory_runs_out(void) {
    for (long n = 1; n < 200; n++) {
        pg_graph *graph = new_graph();
        pg_node_id x = leaf(graph, 0.7), y = wave(graph, wave(graph, x)), found, opaque;
        snapshot before = snapshot_take(graph);
        pg_alloc_fail_at(n);
        pg_status status = pg_graph_derive(graph, &found, &opaque, y, &x, 1);
        pg_alloc_fail_at(0);
        CHECK(status == PG_OK || status == PG_ERR_NOMEM);
        if (status == PG_OK) n = 200;
        else CHECK(pg_graph_live(graph) == before.live);
        snapshot_free(&before);
        pg_graph_free(graph);
    }
}

static void a_failing_derivative_names_the_op(void) {
    pg_graph *graph = new_graph();
    pg_node_id x = leaf(graph, 0.0), root = unary(graph, PG_OP_SQRT, x), found, opaque;
    CHECK(pg_graph_derive(graph, &found, &opaque, root, &x, 1) == PG_ERR_ZERO_DIVISION);
    const pg_fault fault = pg_graph_fault(graph);
    CHECK(fault.op == PG_OP_SQRT && fault.derivative == 1 && fault.a == 0.0);
    pg_node_id none = binary(graph, PG_OP_MUL, root, leaf(graph, 0.0));
    CHECK(pg_graph_derive(graph, &found, &opaque, none, &x, 1) == PG_OK && found == 0);
    pg_graph_free(graph);
}

/* y = the sum of takes from one table, in a trace: of its entries' squares at three indices. */
static pg_node_id takes(pg_graph *graph, const pg_node_id *table, const pg_node_id *indices) {
    pg_node_id y = leaf(graph, 0.0);
    for (size_t i = 0; i < 3; i++) {
        pg_node_id taken = 0;
        if (pg_trace_take(graph, &taken, indices[i], table, 2) != PG_OK) return 0;
        y = binary(graph, PG_OP_ADD, y, binary(graph, PG_OP_MUL, taken, taken));
    }
    return y;
}

static size_t scatters_below(pg_graph *graph, pg_node_id root) {
    static pg_node_id order[1000];
    size_t count = 0, found = 0;
    CHECK(pg_graph_order(graph, NULL, &count, root) == PG_OK && count <= LENGTH(order));
    CHECK(pg_graph_order(graph, order, &count, root) == PG_OK);
    for (size_t i = 0; i < count; i++) found += pg_is_scatter(graph, order[i]);
    return found;
}

/* One scatter a table; the second derivative needs another one, and not the first. */
static void takes_of_a_table_are_one_scatter(void) {
    pg_graph *graph = new_graph();
    const pg_node_id table[] = {leaf(graph, 3.0), leaf(graph, 5.0)};
    pg_trace_begin(graph);
    pg_node_id indices[3], found[2], opaque;
    for (size_t i = 0; i < 3; i++) CHECK(pg_trace_input(graph, &indices[i]) == PG_OK);
    pg_node_id y = takes(graph, table, indices);
    for (size_t order = 1; order < 3; order++) {
        CHECK(pg_graph_derive(graph, found, &opaque, y, table, 2) == PG_OK);
        CHECK(found[0] != 0 && found[1] != 0);
        y = binary(graph, PG_OP_ADD, found[0], found[1]);
        CHECK(scatters_below(graph, y) == 1);
    }
    pg_trace_end(graph);
    pg_graph_free(graph);
}

/* Of the second derivative, which scatters and takes. */
static void memory_runs_out_on_the_way_to_a_table(void) {
    for (long n = 1; n < 400; n++) {
        pg_graph *graph = new_graph();
        const pg_node_id table[] = {leaf(graph, 3.0), leaf(graph, 5.0)};
        pg_trace_begin(graph);
        pg_node_id indices[3], found[2], again[2], opaque;
        for (size_t i = 0; i < 3; i++) CHECK(pg_trace_input(graph, &indices[i]) == PG_OK);
        const pg_node_id y = takes(graph, table, indices);
        CHECK(pg_graph_derive(graph, found, &opaque, y, table, 2) == PG_OK);
        snapshot before = snapshot_take(graph);
        pg_alloc_fail_at(n);
        pg_status status = pg_graph_derive(graph, again, &opaque, found[0], table, 2);
        pg_alloc_fail_at(0);
        CHECK(status == PG_OK || status == PG_ERR_NOMEM);
        if (status == PG_OK) n = 400;
        else CHECK(pg_graph_live(graph) == before.live);
        snapshot_free(&before);
        pg_trace_end(graph);
        pg_graph_free(graph);
    }
}

const test_case derive_tests[] = {
    TEST(random_graphs),
    TEST(orders),
    TEST(what_is_unrelated_has_none),
    TEST(memory_runs_out),
    TEST(takes_of_a_table_are_one_scatter),
    TEST(memory_runs_out_on_the_way_to_a_table),
    TEST(a_failing_derivative_names_the_op),
    {0},
};
