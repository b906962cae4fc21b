/* test_failure.c - does failure behave: the nth allocation, n rising until none fails; ids and ops
 * that don't exist; counts beyond the limits.
 *
 * A call that fails must leave every living node as it was and succeed when it is tried again. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>

/* ---- allocations that fail ---------------------------------------------------------------- */

enum { most_owned = 8192, bulk = 2000 };

/* A graph, the references that the test owns, and room for a call's operands. */
typedef struct scene {
    pg_graph *graph;
    pg_node_id owned[most_owned];
    size_t count;
    pg_operand values[bulk];
    pg_node_id children[bulk], order[4 * most_owned];
} scene;

static pg_status own(scene *s, pg_status status, pg_node_id id) {
    if (status == PG_OK) s->owned[s->count++] = id;
    return status;
}

static pg_status try_leaf(scene *s) {
    pg_node_id id = 0;
    pg_status status = pg_graph_leaf(s->graph, &id, 0.5);
    return own(s, status, id);
}

static pg_status try_reserve(scene *s) {
    return pg_graph_reserve(s->graph, 100 + s->graph->capacity);
}

static pg_status try_unary(scene *s) {
    pg_node_id id = 0;
    pg_status status = pg_graph_unary(s->graph, &id, PG_OP_TANH, s->owned[0]);
    return own(s, status, id);
}

static pg_status try_binary(scene *s) {
    pg_node_id id = 0;
    pg_status status = pg_graph_binary(s->graph, &id, PG_OP_MUL, s->owned[0], s->owned[0]);
    return own(s, status, id);
}

static pg_status try_number(scene *s) {
    pg_node_id id = 0;
    pg_status status = pg_graph_number(s->graph, &id, PG_OP_POWN, s->owned[0], 2.0);
    return own(s, status, id);
}

static pg_status try_sub(scene *s) {
    pg_node_id id = 0;
    pg_status status = pg_expr_sub(s->graph, &id, number(2.0), node(s->owned[0]));
    return own(s, status, id);
}

static pg_status try_div(scene *s) {
    pg_node_id id = 0;
    pg_status status = pg_expr_div(s->graph, &id, node(s->owned[0]), node(s->owned[0]));
    return own(s, status, id);
}

static pg_status try_wide(scene *s) {
    pg_node_id id = 0;
    static const double locals[bulk] = {1.0, 2.0, 3.0};
    for (size_t i = 0; i < bulk; i++) s->children[i] = s->owned[i % s->count];
    pg_status status =
        pg_graph_variadic(s->graph, &id, 0.5, (pg_children){s->children, locals, bulk});
    return own(s, status, id);
}

static void fill_values(scene *s) {
    for (size_t i = 0; i < bulk; i++)
        s->values[i] = i % 3 == 0 ? number(0.25) : node(s->owned[i % s->count]);
}

static pg_status try_sum(scene *s) {
    pg_node_id id = 0;
    fill_values(s);
    pg_status status = pg_graph_sum(s->graph, &id, number(0.0), s->values, bulk);
    return own(s, status, id);
}

/* Each number becomes a leaf, since the sum starts with a node: as many slots as a sum can need. */
static pg_status try_sum_of_numbers(scene *s) {
    pg_node_id id = 0;
    for (size_t i = 0; i < bulk; i++) s->values[i] = number(0.25);
    pg_status status = pg_graph_sum(s->graph, &id, node(s->owned[0]), s->values, bulk);
    return own(s, status, id);
}

static pg_status try_layer(scene *s) {
    pg_node_id ids[10];
    fill_values(s);
    pg_status status = pg_graph_layer(
        s->graph, ids,
        &(pg_layer){PG_OP_TANH, s->values, s->values + 1000, s->values + 1200, 10, 100});
    for (size_t i = 0; status == PG_OK && i < 10; i++) own(s, PG_OK, ids[i]);
    return status;
}

static pg_status try_order(scene *s) {
    size_t count;
    return pg_graph_order(s->graph, s->order, &count, s->owned[s->count - 1]);
}

static pg_status try_backward(scene *s) { return pg_backward(s->graph, s->owned[s->count - 1]); }

typedef pg_status attempt(scene *);

static attempt *const attempts[] = {
    try_leaf, try_unary, try_binary, try_number,         try_order, try_sub,      try_div,
    try_wide, try_sum,   try_layer,  try_sum_of_numbers, try_order, try_backward, try_reserve,
};

/* Returns: whether memory ran out; if so, nothing had changed, and the second time it worked. */
static bool attempt_twice(scene *s, attempt *call) {
    snapshot before = snapshot_take(s->graph);
    size_t count = s->count;
    pg_status status = call(s);
    bool failed = status != PG_OK;
    if (failed) {
        CHECK(status == PG_ERR_NOMEM && s->count == count);
        CHECK(snapshot_holds(&before, s->graph) && consistent(s->graph, s->owned, s->count));
        CHECK(call(s) == PG_OK);
    }
    CHECK(consistent(s->graph, s->owned, s->count));
    snapshot_free(&before);
    return failed;
}

/* Two nodes, and leaves until there is room for only that many more. */
static void fill_up(scene *s, size_t room) {
    CHECK(try_leaf(s) == PG_OK && try_binary(s) == PG_OK);
    while (pg_capacity_left(s->graph) > room) CHECK(try_leaf(s) == PG_OK);
}

static void each_call_survives_any_failure(void) {
    scene *s = must_alloc(1, sizeof *s);
    for (size_t i = 0; i < LENGTH(attempts); i++) {
        for (size_t room = 0; room < 2; room++) {
            bool failed = true;
            for (long n = 1; failed && CHECK(n < 10); n++) {
                s->graph = new_graph();
                s->count = 0;
                fill_up(s, room);
                pg_alloc_fail_at(n);
                failed = attempt_twice(s, attempts[i]);
                if (n == 1 && room == 0) CHECK(failed); /* all of them need memory now */
                pg_alloc_fail_at(0);
                pg_graph_free(s->graph);
            }
        }
    }
    free(s);
}

/* The whole scenario, with a failure at the nth allocation. Returns: whether there was one. */
static bool scenario_fails(scene *s, long n) {
    pg_alloc_fail_at(n);
    s->count = 0;
    s->graph = pg_graph_new();
    bool failed = s->graph == NULL;
    if (failed) s->graph = new_graph();
    for (size_t i = 0; i < LENGTH(attempts); i++)
        if (attempt_twice(s, attempts[i])) failed = true;
    pg_alloc_fail_at(0);
    release_all(s->graph, s->owned, s->count);
    CHECK(pg_graph_live(s->graph) == 0 && consistent(s->graph, NULL, 0));
    pg_graph_free(s->graph);
    return failed;
}

static void nth_allocation_of_a_scenario_fails(void) {
    scene *s = must_alloc(1, sizeof *s);
    long n = 1;
    while (scenario_fails(s, n) && CHECK(n < 1000)) n++;
    CHECK(n > 10); /* there were that many to fail */
    free(s);
}

/* ---- ids and ops that don't exist --------------------------------------------------------- */

static void check_bad_id(pg_graph *graph, pg_node_id bad, pg_node_id good) {
    pg_node_id id, pair[2] = {good, bad};
    const pg_operand operands[2] = {node(good), node(bad)};
    size_t count;
    CHECK(pg_graph_unary(graph, &id, PG_OP_TANH, bad) == PG_ERR_BAD_NODE);
    CHECK(pg_graph_number(graph, &id, PG_OP_POWN, bad, 2.0) == PG_ERR_BAD_NODE);
    CHECK(pg_graph_binary(graph, &id, PG_OP_ADD, bad, good) == PG_ERR_BAD_NODE);
    CHECK(pg_graph_binary(graph, &id, PG_OP_ADD, good, bad) == PG_ERR_BAD_NODE);
    CHECK(pg_graph_variadic(graph, &id, 0.0, (pg_children){pair, NULL, 2}) == PG_ERR_BAD_NODE);
    CHECK(pg_expr_neg(graph, &id, bad) == PG_ERR_BAD_NODE);
    CHECK(pg_graph_order(graph, NULL, &count, bad) == PG_ERR_BAD_NODE);
    CHECK(pg_graph_retain(graph, bad) == PG_ERR_BAD_NODE);
    CHECK(pg_backward(graph, bad) == PG_ERR_BAD_NODE);
    CHECK(pg_push(graph, bad) == PG_ERR_BAD_NODE);
    CHECK(pg_zero_grad(graph, pair, 2) == PG_ERR_BAD_NODE);
    if (bad == 0) return; /* as an operand, 0 is a number */
    CHECK(pg_graph_sum(graph, &id, number(0.0), operands, 2) == PG_ERR_BAD_NODE);
    CHECK(pg_graph_sum(graph, &id, operands[1], operands, 1) == PG_ERR_BAD_NODE);
    for (size_t i = 0; i < 3; i++)
        CHECK(pg_graph_layer(graph, &id,
                             &(pg_layer){0, operands + (i == 0), operands + (i == 1),
                                         operands + (i == 2), 1, 1}) == PG_ERR_BAD_NODE);
}

static void check_bad_operands(pg_graph *graph, pg_operand a, pg_operand b) {
    pg_node_id id;
    CHECK(pg_expr_add(graph, &id, a, b) == PG_ERR_BAD_NODE);
    CHECK(pg_expr_mul(graph, &id, a, b) == PG_ERR_BAD_NODE);
    CHECK(pg_expr_sub(graph, &id, a, b) == PG_ERR_BAD_NODE);
    CHECK(pg_expr_div(graph, &id, a, b) == PG_ERR_BAD_NODE);
    CHECK(pg_expr_pow(graph, &id, a, b) == PG_ERR_BAD_NODE);
}

static void ids_that_name_no_node(void) {
    pg_graph *graph = new_graph();
    check_bad_id(graph, 0, 1); /* of an empty graph */
    pg_node_id good = leaf(graph, 1.0), freed = leaf(graph, 2.0);
    pg_graph_release(graph, freed);
    const pg_node_id bad[] = {0, freed, freed + 1, 1000000, UINT32_MAX};
    snapshot before = snapshot_take(graph);
    for (size_t i = 0; i < LENGTH(bad); i++) {
        check_bad_id(graph, bad[i], good);
        check_bad_operands(graph, node(bad[i]), number(0.0));
        check_bad_operands(graph, number(0.0), node(bad[i]));
        if (bad[i] == 0) continue;
        check_bad_operands(graph, node(bad[i]), node(good));
        check_bad_operands(graph, node(good), node(bad[i]));
    }
    CHECK(snapshot_holds(&before, graph) && consistent(graph, &good, 1));
    snapshot_free(&before);
    pg_graph_free(graph);
}

static void ops_that_do_not_exist_or_fit(void) {
    pg_graph *graph = new_graph();
    pg_node_id a = leaf(graph, 1.0), id;
    const pg_operand one = number(1.0);
    const int none[] = {-1, 0, PG_OP_LEAF, PG_OP_VARIADIC, PG_OP_COUNT, 1000};
    snapshot before = snapshot_take(graph);
    for (size_t i = 0; i < LENGTH(none); i++) {
        CHECK(pg_graph_unary(graph, &id, none[i], a) == PG_ERR_BAD_OP);
        CHECK(pg_graph_number(graph, &id, none[i], a, 1.0) == PG_ERR_BAD_OP);
        CHECK(pg_graph_binary(graph, &id, none[i], a, a) == PG_ERR_BAD_OP);
        if (none[i] == 0) continue; /* a layer without an activation */
        CHECK(pg_graph_layer(graph, &id, &(pg_layer){none[i], &one, &one, &one, 1, 1}) ==
              PG_ERR_BAD_OP);
    }
    for (int op = 1; op <= pg_op_count(); op++) {
        const pg_op_info *info = pg_op_describe(op);
        bool takes_one = info->arity == 1 && !info->takes_number;
        CHECK((pg_graph_unary(graph, &id, op, 0) == PG_ERR_BAD_OP) == !takes_one);
        CHECK((pg_graph_number(graph, &id, op, 0, 1.0) == PG_ERR_BAD_OP) == !info->takes_number);
        CHECK((pg_graph_binary(graph, &id, op, 0, 0) == PG_ERR_BAD_OP) == (info->arity != 2));
        if (takes_one || !isnan(pg_op_default(op))) continue;
        CHECK(pg_graph_layer(graph, &id, &(pg_layer){op, &one, &one, &one, 1, 1}) == PG_ERR_BAD_OP);
    }
    CHECK(snapshot_holds(&before, graph));
    snapshot_free(&before);
    pg_graph_free(graph);
}

/* ---- limits ------------------------------------------------------------------------------- */

static void counts_beyond_the_limits(void) {
    pg_graph *graph = new_graph();
    pg_node_id a = leaf(graph, 1.0), id;
    size_t bytes = pg_graph_bytes(graph);
    CHECK(pg_graph_reserve(graph, SIZE_MAX) == PG_ERR_LIMIT);
    CHECK(pg_graph_reserve(graph, (size_t)1 << 31) == PG_ERR_LIMIT);
    CHECK(pg_graph_reserve(graph, 0x7fffffff) == PG_ERR_LIMIT);
    CHECK(pg_graph_variadic(graph, &id, 0.0, (pg_children){NULL, NULL, (size_t)1 << 31}) ==
          PG_ERR_LIMIT);
    CHECK(pg_graph_layer(graph, &id, &(pg_layer){0, NULL, NULL, NULL, (size_t)1 << 40, 1 << 20}) ==
          PG_ERR_LIMIT);
    CHECK(pg_graph_bytes(graph) == bytes && consistent(graph, &a, 1));
    pg_graph_free(graph);
}

/* As if it had been retained so often. */
static void set_references(pg_graph *graph, pg_node_id id, uint32_t count) {
    graph->nodes[id].refs = count;
    PG_LEDGER(graph->ledger.outside[id] = count);
}

static void references_beyond_the_limit(void) {
    pg_graph *graph = new_graph();
    pg_node_id a = leaf(graph, 1.0), id, pair[2] = {a, a};
    set_references(graph, a, UINT32_MAX - 5);
    CHECK(pg_graph_retain(graph, a) == PG_OK);
    CHECK(pg_graph_retain(graph, a) == PG_ERR_LIMIT);
    CHECK(pg_graph_unary(graph, &id, PG_OP_TANH, a) == PG_ERR_LIMIT);
    CHECK(pg_graph_binary(graph, &id, PG_OP_ADD, a, a) == PG_ERR_LIMIT);
    CHECK(pg_graph_number(graph, &id, PG_OP_POWN, a, 2.0) == PG_ERR_LIMIT);
    CHECK(pg_expr_sub(graph, &id, node(a), node(a)) == PG_ERR_LIMIT);
    CHECK(pg_graph_variadic(graph, &id, 0.0, (pg_children){pair, NULL, 2}) == PG_ERR_LIMIT);
    CHECK(graph->nodes[a].refs == UINT32_MAX - 4 && pg_graph_live(graph) == 1);
    set_references(graph, a, 1);
    CHECK(consistent(graph, &a, 1));
    pg_graph_free(graph);
}

const test_case failure_tests[] = {
    TEST(each_call_survives_any_failure),
    TEST(nth_allocation_of_a_scenario_fails),
    TEST(ids_that_name_no_node),
    TEST(ops_that_do_not_exist_or_fit),
    TEST(counts_beyond_the_limits),
    TEST(references_beyond_the_limit),
    {0},
};
