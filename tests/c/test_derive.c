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

const test_case derive_tests[] = {
    TEST(random_graphs),
    TEST(orders),
    TEST(what_is_unrelated_has_none),
    TEST(memory_runs_out),
    TEST(a_failing_derivative_names_the_op),
    {0},
};
