/* test_custom.c - nodes of custom ops: are their derivatives asked for when they are needed, and
 * spent in the right order; do tags come back exactly once. And what goes with it: derivatives
 * handed out, nodes that let go of their children, gradients that are cleared. */
#include "testing.h"

#include <math.h>
#include <string.h>

/* What the hooks see; the graph that they work on. */
static struct {
    pg_graph *graph;
    int asked, untagged;
    void *last_tag;
    bool stop, grow;
} seen;

/* d/dchild[i] = data of child[i] + i, from the data as they are. */
static int slopes_from_data(void *tag, pg_node_id id) {
    seen.asked++;
    seen.last_tag = tag;
    if (seen.stop) return 1;
    if (seen.grow) { /* as Python code may: the arena moves */
        pg_node_id extra[3000];
        for (size_t i = 0; i < LENGTH(extra); i++) extra[i] = leaf(seen.graph, 1.0);
        release_all(seen.graph, extra, LENGTH(extra));
    }
    const pg_variadic *variadic = seen.graph->nodes[id].of.variadic;
    for (size_t i = 0; i < variadic->count; i++)
        variadic->locals[i] = pg_node_data(seen.graph, variadic->ids[i]) + (double)i;
    return 0;
}

static void note_untag(void *tag) {
    seen.untagged++;
    seen.last_tag = tag;
}

static pg_graph *hooked_graph(void) {
    pg_graph *graph = new_graph();
    memset(&seen, 0, sizeof seen);
    seen.graph = graph;
    graph->hooks.slopes = slopes_from_data;
    graph->hooks.untag = note_untag;
    return graph;
}

static pg_node_id custom(pg_graph *graph, const pg_node_id *children, size_t count, void *tag) {
    pg_node_id id = 0;
    CHECK(pg_graph_custom(graph, &id, 1.0, (pg_children){children, NULL, count}, tag) == PG_OK);
    return id;
}

static void derivatives_are_asked_for_late(void) {
    for (int grow = 0; grow < 2; grow++) {
        pg_graph *graph = hooked_graph();
        int tag;
        pg_node_id a = leaf(graph, 1.0), b = leaf(graph, 2.0), pair[] = {a, b};
        pg_node_id y = custom(graph, pair, 2, &tag), top = binary(graph, PG_OP_MUL, y, b);
        seen.grow = grow != 0;
        CHECK(seen.asked == 0);
        pg_node_set_data(graph, a, 5.0);
        CHECK(pg_backward(graph, top) == PG_OK && seen.asked == 1 && seen.last_tag == &tag);
        CHECK(pg_node_grad(graph, a) == 2.0 * 5.0);
        CHECK(pg_node_grad(graph, b) == 1.0 + 2.0 * 3.0);
        CHECK(pg_push(graph, y) == PG_OK && seen.asked == 2);
        CHECK(pg_node_grad(graph, a) == 20.0);
        pg_graph_free(graph);
    }
}

/* Of one node that is several operands, the last contribution comes first. */
static void last_operand_gets_its_gradient_first(void) {
    pg_graph *graph = hooked_graph();
    pg_node_id a = leaf(graph, 0.1), all[10];
    for (size_t i = 0; i < LENGTH(all); i++) all[i] = a;
    pg_node_id y = custom(graph, all, LENGTH(all), NULL);
    CHECK(pg_backward(graph, y) == PG_OK);
    double expected = 0.0;
    for (size_t i = LENGTH(all); i-- > 0;) expected += (0.1 + (double)i) * 1.0;
    double other = 0.0;
    for (size_t i = 0; i < LENGTH(all); i++) other += (0.1 + (double)i) * 1.0;
    CHECK(same_bits(pg_node_grad(graph, a), expected) && !same_bits(expected, other));
    pg_graph_free(graph);
}

static void hook_that_stops_leaves_gradients(void) {
    pg_graph *graph = hooked_graph();
    pg_node_id a = leaf(graph, 1.0), b = leaf(graph, 2.0), pair[] = {a, b};
    pg_node_id y = custom(graph, pair, 2, NULL), top = binary(graph, PG_OP_MUL, y, b);
    const pg_node_id owned[] = {a, b, y, top};
    for (size_t i = 0; i < LENGTH(owned); i++) pg_node_set_grad(graph, owned[i], 10.0 + (double)i);
    snapshot before = snapshot_take(graph);
    seen.stop = true;
    CHECK(pg_backward(graph, top) == PG_ERR_STOPPED && pg_push(graph, y) == PG_ERR_STOPPED);
    CHECK(snapshot_holds(&before, graph) && consistent(graph, owned, LENGTH(owned)));
    seen.stop = false;
    CHECK(pg_backward(graph, top) == PG_OK);
    snapshot_free(&before);
    pg_graph_free(graph);
}

static void tags_come_back_once(void) {
    pg_graph *graph = hooked_graph();
    int tags[3];
    pg_node_id a = leaf(graph, 1.0);
    pg_node_id below = custom(graph, &a, 1, &tags[0]), middle = custom(graph, &below, 1, &tags[1]);
    pg_node_id top = custom(graph, &middle, 1, NULL);
    pg_graph_release(graph, below);
    pg_graph_release(graph, middle);
    CHECK(seen.untagged == 0);
    pg_graph_release(graph, top); /* which has none */
    CHECK(seen.untagged == 2 && seen.last_tag == &tags[0] && pg_graph_live(graph) == 1);
    pg_node_id bad[] = {a, 1000};
    CHECK(pg_graph_custom(graph, &top, 1.0, (pg_children){bad, NULL, 2}, &tags[2]) ==
          PG_ERR_BAD_NODE);
    CHECK(seen.untagged == 2 && consistent(graph, &a, 1)); /* a failure leaves it to the caller */
    pg_graph_free(graph);
}

static void many_operands_survive_any_failing_allocation(void) {
    pg_graph *graph = hooked_graph();
    pg_node_id a = leaf(graph, 1.0), many[100], id = 0, filler[2000];
    for (size_t i = 0; i < LENGTH(many); i++) many[i] = a;
    size_t count = 0;
    while (pg_capacity_left(graph) > 0 && count < LENGTH(filler))
        filler[count++] = leaf(graph, 0.0);
    pg_status status = PG_ERR_NOMEM;
    long n = 1;
    for (; status != PG_OK && CHECK(n < 10); n++) {
        snapshot before = snapshot_take(graph);
        pg_alloc_fail_at(n);
        status = pg_graph_custom(graph, &id, 1.0, (pg_children){many, NULL, LENGTH(many)}, NULL);
        pg_alloc_fail_at(0);
        if (status != PG_OK) CHECK(status == PG_ERR_NOMEM && snapshot_holds(&before, graph));
        snapshot_free(&before);
    }
    CHECK(n == 5); /* nodes, owners, the wide block: three failed */
    CHECK(pg_backward(graph, id) == PG_OK);
    pg_graph_free(graph);
}

static void recording_wants_living_nodes(void) {
    pg_graph *graph = hooked_graph();
    pg_node_id w = leaf(graph, 2.0), x = 0, id = 0;
    pg_trace_begin(graph);
    CHECK(pg_trace_input(graph, &x) == PG_OK);
    pg_node_id y = binary(graph, PG_OP_MUL, w, x), bad = 1000;
    const pg_node_id owned[] = {w, x, y};
    CHECK(pg_trace_custom(graph, &id, bad, &x, &w, 1) == PG_ERR_BAD_NODE);
    CHECK(pg_trace_custom(graph, &id, y, &bad, &w, 1) == PG_ERR_BAD_NODE);
    CHECK(pg_trace_custom(graph, &id, y, &x, &bad, 1) == PG_ERR_BAD_NODE);
    CHECK(pg_trace_custom(graph, &id, y, &x, &w, 0) == PG_ERR_BAD_NODE);
    for (long n = 1; n < 3; n++) {
        pg_alloc_fail_at(n);
        CHECK(pg_trace_custom(graph, &id, y, &x, &w, 1) == PG_ERR_NOMEM);
        pg_alloc_fail_at(0);
    }
    CHECK(consistent(graph, owned, LENGTH(owned)));
    CHECK(pg_trace_custom(graph, &id, y, &x, &w, 1) == PG_OK);
    CHECK(isnan(pg_node_data(graph, id)) && pg_trace_depends(graph, id) == 1);
    pg_trace_end(graph);
    pg_graph_free(graph);
}

/* What an eager node has is no number that a program could replay. */
static void eager_nodes_of_a_trace_cannot_be_recorded(void) {
    pg_graph *graph = hooked_graph();
    pg_program *program = NULL;
    pg_node_id x = 0;
    pg_trace_begin(graph);
    CHECK(pg_trace_input(graph, &x) == PG_OK);
    pg_node_id y = custom(graph, &x, 1, NULL);
    CHECK(pg_record(graph, &program, &(pg_recording){&x, &y, 1, 1, 0, 0}) == PG_ERR_UNTRACEABLE);
    pg_trace_end(graph);
    pg_graph_free(graph);
}

/* ---- derivatives handed out --------------------------------------------------------------- */

/* What the sweep adds to a gradient is 1.0 times these. */
static void slopes_are_the_kernels(void) {
    for (int op = 1; op <= pg_op_count(); op++) {
        const pg_op_info *info = pg_op_describe(op);
        for (size_t round = 0; round < 50; round++) {
            pg_graph *graph = new_graph();
            pg_node_id a = leaf(graph, uniform(info->lo[0], info->hi[0])), y = 0;
            const double second = uniform(info->lo[1], info->hi[1]);
            pg_node_id b = leaf(graph, op == PG_OP_POLYGAMMA ? rint(second) : second);
            double slopes[2] = {NAN, NAN};
            CHECK(apply(graph, &y, op, a, b) == PG_OK);
            pg_node_set_data(graph, a, uniform(info->lo[0], info->hi[0]));
            CHECK(pg_backward(graph, y) == PG_OK && pg_node_slopes(graph, slopes, y) == PG_OK);
            CHECK(same_number(0.0 + slopes[0], pg_node_grad(graph, a)));
            CHECK(info->arity == 2 ? same_number(0.0 + slopes[1], pg_node_grad(graph, b))
                                   : isnan(slopes[1]));
            pg_graph_free(graph);
        }
    }
}

static void slopes_at_a_pole_are_an_error(void) {
    pg_graph *graph = new_graph();
    pg_node_id zero = leaf(graph, 0.0), root = unary(graph, PG_OP_SQRT, zero), variadic;
    double slopes[2];
    CHECK(pg_node_slopes(graph, slopes, root) == PG_ERR_ZERO_DIVISION);
    pg_fault fault = pg_graph_fault(graph);
    CHECK(fault.op == PG_OP_SQRT && fault.derivative == 1 && fault.a == 0.0);
    CHECK(pg_graph_variadic(graph, &variadic, 0.0, (pg_children){&zero, NULL, 1}) == PG_OK);
    CHECK(pg_node_slopes(graph, slopes, zero) == PG_ERR_BAD_OP);
    CHECK(pg_node_slopes(graph, slopes, variadic) == PG_ERR_BAD_OP);
    CHECK(pg_node_slopes(graph, slopes, 0) == PG_ERR_BAD_NODE);
    CHECK(pg_node_slopes(graph, slopes, 1000) == PG_ERR_BAD_NODE);
    pg_graph_free(graph);
}

/* ---- nodes that let go, gradients that go ------------------------------------------------- */

static void a_node_that_is_cut_is_a_leaf(void) {
    pg_graph *graph = hooked_graph();
    int tag;
    pg_node_id a = leaf(graph, 2.0), inner = binary(graph, PG_OP_MUL, a, a);
    pg_node_id y = binary(graph, PG_OP_ADD, inner, a), variadic = custom(graph, &inner, 1, &tag);
    pg_graph_release(graph, inner);
    const pg_node_id owned[] = {a, y, variadic};
    CHECK(pg_graph_live(graph) == 4);
    pg_cut(graph, variadic);
    CHECK(seen.untagged == 1 && pg_node_is_leaf(graph, variadic) && pg_graph_live(graph) == 4);
    pg_cut(graph, y);
    CHECK(pg_node_is_leaf(graph, y) && pg_node_data(graph, y) == 6.0);
    CHECK(pg_graph_live(graph) == 3 && consistent(graph, owned, LENGTH(owned)));
    pg_cut(graph, a); /* is one already */
    CHECK(pg_backward(graph, y) == PG_OK && pg_node_grad(graph, a) == 0.0);
    pg_graph_free(graph);
}

static void a_node_is_made_anew_in_its_place(void) {
    pg_graph *graph = new_graph();
    const pg_node_id a = leaf(graph, 2.0), b = leaf(graph, 3.0), v = leaf(graph, 1.0);
    const pg_node_id both[] = {a, b}, dead[] = {a, 0};
    const double slopes[] = {1.5, -2.0};
    CHECK(pg_widen(graph, v, (pg_children){dead, slopes, 2}) == PG_ERR_BAD_NODE &&
          pg_node_is_leaf(graph, v));
    CHECK(pg_widen(graph, v, (pg_children){both, slopes, 2}) == PG_OK &&
          pg_node_is_variadic(graph, v));
    CHECK(pg_widen(graph, v, (pg_children){both, slopes, 2}) == PG_ERR_BAD_NODE);
    CHECK(pg_backward(graph, v) == PG_OK && pg_node_grad(graph, b) == -2.0);
    pg_node_id product;
    CHECK(pg_graph_binary(graph, &product, PG_OP_MUL, a, b) == PG_OK);
    pg_take_over(graph, v, product);
    CHECK(pg_node_op(graph, v) == PG_OP_MUL && pg_node_is_leaf(graph, product));
    pg_graph_release(graph, product);
    CHECK(pg_backward(graph, v) == PG_OK && pg_node_grad(graph, b) == 0.0);
    const pg_node_id owned[] = {a, b, v};
    CHECK(pg_node_data(graph, v) == 1.0 && consistent(graph, owned, LENGTH(owned)));
    pg_graph_free(graph);
}

static void gradients_below_a_root_are_cleared(void) {
    for (size_t round = 0; round < 100; round++) {
        pg_graph *graph = new_graph();
        pg_node_id ids[60];
        random_graph(graph, ids, LENGTH(ids));
        for (size_t i = 0; i < LENGTH(ids); i++) pg_node_set_grad(graph, ids[i], 1.0);
        pg_node_id order[4 * LENGTH(ids)], root = ids[below(LENGTH(ids))];
        size_t count = 0, left = 0;
        CHECK(pg_graph_order(graph, order, &count, root) == PG_OK);
        CHECK(pg_clear_grads(graph, root) == PG_OK);
        for (size_t i = 0; i < count; i++) CHECK(same_bits(pg_node_grad(graph, order[i]), 0.0));
        for (size_t i = 0; i < count; i++) pg_node_set_grad(graph, order[i], 1.0);
        for (size_t i = 0; i < LENGTH(ids); i++) left += pg_node_grad(graph, ids[i]) == 1.0;
        CHECK(left == LENGTH(ids)); /* and no other one was touched */
        CHECK(pg_clear_grads(graph, 100000) == PG_ERR_BAD_NODE);
        pg_graph_free(graph);
    }
}

const test_case custom_tests[] = {
    TEST(derivatives_are_asked_for_late),
    TEST(last_operand_gets_its_gradient_first),
    TEST(hook_that_stops_leaves_gradients),
    TEST(tags_come_back_once),
    TEST(many_operands_survive_any_failing_allocation),
    TEST(recording_wants_living_nodes),
    TEST(eager_nodes_of_a_trace_cannot_be_recorded),
    TEST(slopes_are_the_kernels),
    TEST(slopes_at_a_pole_are_an_error),
    TEST(a_node_that_is_cut_is_a_leaf),
    TEST(a_node_is_made_anew_in_its_place),
    TEST(gradients_below_a_root_are_cleared),
    {0},
};
