/* test_sweep.c - for any graph: is the order the recursive one, are the gradients; what happens
 * when a derivative or a hook stops a sweep half-way; do the numbers of walks wrap around well.
 *
 * The second opinion is the recursive version in testing.c, to the last bit. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>

/* ---- order -------------------------------------------------------------------------------- */

static bool order_is_recursive(pg_graph *graph, pg_node_id root) {
    size_t live = pg_graph_live(graph), count = 0, counted = 0;
    pg_node_id *order = must_alloc(live, sizeof *order);
    pg_node_id *expected = must_alloc(live, sizeof *expected);
    size_t expected_count = reference_order(graph, expected, root);
    bool ok = pg_graph_order(graph, order, &count, root) == PG_OK && count == expected_count &&
              pg_graph_order(graph, NULL, &counted, root) == PG_OK && counted == count;
    for (size_t i = 0; ok && i < count; i++) ok = order[i] == expected[i];
    free(order);
    free(expected);
    return ok;
}

static void check_order(pg_graph *graph, pg_node_id root, const pg_node_id *expected,
                        size_t count) {
    pg_node_id order[16];
    size_t counted = 0;
    CHECK(pg_graph_order(graph, order, &counted, root) == PG_OK && counted == count);
    for (size_t i = 0; i < count && i < counted; i++) CHECK(order[i] == expected[i]);
    CHECK(order_is_recursive(graph, root));
}

static void order_of_small_graphs(void) {
    pg_graph *graph = new_graph();
    pg_node_id a = leaf(graph, 1.0), b = leaf(graph, 2.0);
    pg_node_id left = binary(graph, PG_OP_MUL, b, a), right = unary(graph, PG_OP_TANH, left);
    pg_node_id top = binary(graph, PG_OP_ADD, right, left), square = binary(graph, PG_OP_MUL, a, a);
    pg_node_id both = binary(graph, PG_OP_ADD, square, top), variadic, empty;
    const pg_node_id children[] = {top, a, square, top, b, a};
    CHECK(pg_graph_variadic(graph, &variadic, 0.0,
                            (pg_children){children, NULL, LENGTH(children)}) == PG_OK);
    CHECK(pg_graph_variadic(graph, &empty, 0.0, (pg_children){NULL, NULL, 0}) == PG_OK);
    check_order(graph, a, (pg_node_id[]){a}, 1);
    check_order(graph, empty, (pg_node_id[]){empty}, 1);
    check_order(graph, square, (pg_node_id[]){a, square}, 2);
    check_order(graph, top, (pg_node_id[]){b, a, left, right, top}, 5);
    check_order(graph, both, (pg_node_id[]){a, square, b, left, right, top, both}, 7);
    check_order(graph, variadic, (pg_node_id[]){b, a, left, right, top, square, variadic}, 7);
    check_order(graph, variadic, (pg_node_id[]){b, a, left, right, top, square, variadic}, 7);
    pg_graph_free(graph);
}

static void order_of_random_graphs(void) {
    for (size_t round = 0; round < 300; round++) {
        pg_graph *graph = new_graph();
        pg_node_id ids[120];
        size_t count = 1 + below(LENGTH(ids));
        random_graph(graph, ids, count);
        for (size_t i = 0; i < count; i++) pg_node_set_grad(graph, ids[i], uniform(-1.0, 1.0));
        snapshot before = snapshot_take(graph);
        CHECK(order_is_recursive(graph, ids[count - 1]));
        CHECK(order_is_recursive(graph, ids[below(count)]));
        CHECK(snapshot_holds(&before, graph) && consistent(graph, ids, count));
        snapshot_free(&before);
        pg_graph_free(graph);
    }
}

/* A mark that a node has kept since the numbers last wrapped around must not pass for today's. */
static void order_survives_old_marks(void) {
    pg_graph *graph = new_graph();
    pg_node_id a = leaf(graph, 1.0), small = unary(graph, PG_OP_TANH, a);
    pg_node_id other = binary(graph, PG_OP_ADD, small, binary(graph, PG_OP_MUL, a, small));
    size_t count;
    for (int gap = 65533; gap <= 65537; gap++) {
        CHECK(pg_graph_order(graph, NULL, &count, other) == PG_OK && count == 4);
        for (int i = 0; i < gap; i++) pg_graph_order(graph, NULL, &count, small);
        CHECK(count == 2);
    }
    CHECK(pg_graph_order(graph, NULL, &count, other) == PG_OK && count == 4);
    pg_graph_free(graph);
}

/* ---- gradients ---------------------------------------------------------------------------- */

static bool gradients_are_recursive(pg_graph *graph, pg_node_id root) {
    double *expected = reference_gradients(graph, root);
    bool ok = pg_backward(graph, root) == PG_OK;
    for (pg_node_id id = 1; ok && id < graph->used; id++)
        ok = !pg_alive(graph, id) || same_bits(pg_node_grad(graph, id), expected[id]);
    free(expected);
    return ok;
}

static void gradients_of_random_graphs(void) {
    for (size_t round = 0; round < 300; round++) {
        pg_graph *graph = new_graph();
        pg_node_id ids[120];
        size_t count = 1 + below(LENGTH(ids));
        random_graph(graph, ids, count);
        for (size_t i = 0; i < 4; i++) CHECK(gradients_are_recursive(graph, ids[below(count)]));
        CHECK(consistent(graph, ids, count));
        pg_graph_free(graph);
    }
}

static void leaves_accumulate_and_inner_nodes_start_afresh(void) {
    pg_graph *graph = new_graph();
    pg_node_id x = leaf(graph, 3.0), square = binary(graph, PG_OP_MUL, x, x);
    pg_node_id root = binary(graph, PG_OP_ADD, square, x); /* x * x + x: 2 x + 1 is 7 */
    for (int i = 1; i <= 3; i++) {
        CHECK(pg_backward(graph, root) == PG_OK);
        CHECK(pg_node_grad(graph, x) == 7.0 * i);
        CHECK(pg_node_grad(graph, square) == 1.0 && pg_node_grad(graph, root) == 1.0);
    }
    CHECK(pg_backward(graph, x) == PG_OK && pg_node_grad(graph, x) == 1.0); /* a root is set to 1 */
    CHECK(pg_push(graph, square) == PG_OK && pg_node_grad(graph, x) == 7.0);
    CHECK(pg_push(graph, x) == PG_OK && pg_node_grad(graph, x) == 7.0);
    pg_graph_free(graph);
}

static void wide_nodes_pass_gradients_on(void) {
    pg_graph *graph = new_graph();
    pg_node_id a = leaf(graph, 1.0), b = leaf(graph, 2.0), variadic, bare;
    const pg_node_id children[3] = {a, b, a};
    const double locals[3] = {10.0, 20.0, 30.0};
    CHECK(pg_graph_variadic(graph, &variadic, 0.0, (pg_children){children, locals, 3}) == PG_OK);
    CHECK(pg_graph_variadic(graph, &bare, 0.0, (pg_children){children, NULL, 3}) == PG_OK);
    pg_node_id root = binary(graph, PG_OP_ADD, variadic, bare);
    CHECK(pg_backward(graph, root) == PG_OK);
    CHECK(pg_node_grad(graph, a) == 40.0 && pg_node_grad(graph, b) == 20.0);
    pg_graph_free(graph);
}

static void seventy_thousand_sweeps(void) {
    pg_graph *graph = new_graph();
    pg_node_id x = leaf(graph, 3.0), y = leaf(graph, 2.0), product = binary(graph, PG_OP_MUL, x, y);
    pg_node_id root = binary(graph, PG_OP_ADD, product, x);
    for (int i = 1; i <= 70000; i++) {
        pg_backward(graph, root);
        bool right = pg_node_grad(graph, x) == 3.0 * i && pg_node_grad(graph, y) == 3.0 * i &&
                     pg_node_grad(graph, product) == 1.0;
        if (!CHECK(right)) break;
    }
    pg_graph_free(graph);
}

/* ---- sweeps that stop --------------------------------------------------------------------- */

static void failing_derivative_leaves_gradients(void) {
    pg_graph *graph = new_graph();
    pg_node_id x = leaf(graph, 0.0), good = unary(graph, PG_OP_TANH, x);
    pg_node_id root = unary(graph, PG_OP_SQRT, x);
    root = binary(graph, PG_OP_ADD, root, binary(graph, PG_OP_MUL, good, x));
    root = unary(graph, PG_OP_SIN, root); /* everything but the root of 0 is swept before it */
    for (pg_node_id id = 1; id < graph->used; id++) pg_node_set_grad(graph, id, 0.5 + id);
    snapshot before = snapshot_take(graph);
    CHECK(pg_backward(graph, root) == PG_ERR_ZERO_DIVISION);
    pg_fault fault = pg_graph_fault(graph);
    CHECK(fault.op == PG_OP_SQRT && fault.derivative == 1 && fault.a == 0.0);
    CHECK(snapshot_holds(&before, graph));
    pg_node_set_data(graph, x, 4.0); /* and nothing is left of the failure */
    CHECK(pg_backward(graph, good) == PG_OK);
    snapshot_free(&before);
    pg_graph_free(graph);
}

/* An owner outside, as Python's, with a closure; what it does when called is up to the test. */
typedef struct owner {
    pg_graph *graph;
    pg_node_id id;
    int calls, idles, drops;
    double grad;                   /* of the node when the closure was called */
    int (*act)(struct owner *own); /* nonzero: stop */
} owner;

static int call_owner(void *object) {
    owner *own = object;
    own->calls++;
    own->grad = pg_node_grad(own->graph, own->id);
    return own->act(own);
}

static void note_idle(void *object) { ((owner *)object)->idles++; }
static int note_drop(void *object) {
    ((owner *)object)->drops++;
    return 1;
}

static void set_owner(owner *own, pg_graph *graph, pg_node_id id, unsigned flags) {
    own->graph = graph;
    own->id = id;
    graph->hooks = (pg_hooks){.call = call_owner, .idle = note_idle, .drop = note_drop};
    graph->owners[id] = own;
    graph->nodes[id].flags |= (uint8_t)flags;
}

static int push_as_usual(owner *own) { return pg_push(own->graph, own->id) != PG_OK; }

static int stop(owner *own) {
    (void)own;
    return 1;
}

/* What Python code in a closure may do: add nodes until the arena moves, drop them, sweep. */
static int work_hard(owner *own) {
    pg_node_id extra[3000], square = binary(own->graph, PG_OP_MUL, own->id, own->id);
    for (size_t i = 0; i < LENGTH(extra); i++) extra[i] = leaf(own->graph, 1.0);
    pg_node_id other = binary(own->graph, PG_OP_MUL, extra[0], extra[1]);
    CHECK(pg_backward(own->graph, other) == PG_OK);
    CHECK(pg_node_grad(own->graph, extra[0]) == 1.0);
    pg_graph_release(own->graph, other);
    pg_graph_release(own->graph, square);
    release_all(own->graph, extra, LENGTH(extra));
    return push_as_usual(own);
}

/* sin(x * y) + x with a closure on the product. */
static void closure_graph(pg_graph *graph, pg_node_id ids[5]) {
    ids[0] = leaf(graph, 2.0);
    ids[1] = leaf(graph, 0.25);
    ids[2] = binary(graph, PG_OP_MUL, ids[0], ids[1]);
    ids[3] = unary(graph, PG_OP_SIN, ids[2]);
    ids[4] = binary(graph, PG_OP_ADD, ids[3], ids[0]);
}

static void closure_takes_the_place_of_the_kernel(void) {
    int (*acts[])(owner *) = {push_as_usual, work_hard};
    pg_graph *plain = new_graph();
    pg_node_id ids[5], same[5];
    closure_graph(plain, same);
    CHECK(pg_backward(plain, same[4]) == PG_OK);
    for (size_t act = 0; act < LENGTH(acts); act++) {
        pg_graph *graph = new_graph();
        owner own = {.act = acts[act]};
        closure_graph(graph, ids);
        set_owner(&own, graph, ids[2], PG_FLAG_CLOSURE);
        CHECK(pg_backward(graph, ids[4]) == PG_OK && own.calls == 1);
        CHECK(own.grad == pg_node_grad(plain, same[2]));
        for (size_t i = 0; i < 5; i++)
            CHECK(same_bits(pg_node_grad(graph, ids[i]), pg_node_grad(plain, same[i])));
        CHECK(pg_graph_live(graph) == 5 && consistent(graph, ids, 5));
        pg_graph_free(graph);
    }
    pg_graph_free(plain);
}

static void closure_that_stops_leaves_gradients(void) {
    pg_graph *graph = new_graph();
    pg_node_id ids[5];
    owner own = {.act = stop};
    closure_graph(graph, ids);
    for (size_t i = 0; i < 5; i++) pg_node_set_grad(graph, ids[i], 100.0 + (double)i);
    set_owner(&own, graph, ids[2], PG_FLAG_CLOSURE);
    snapshot before = snapshot_take(graph);
    CHECK(pg_backward(graph, ids[4]) == PG_ERR_STOPPED && own.calls == 1);
    CHECK(snapshot_holds(&before, graph) && consistent(graph, ids, 5));
    snapshot_free(&before);
    pg_graph_free(graph);
}

/* The closure gives up the last reference to the root that is being swept. */
static pg_node_id swept_root;

static int drop_root(owner *own) {
    pg_graph_release(own->graph, swept_root);
    return push_as_usual(own);
}

static void root_may_be_dropped_while_it_is_swept(void) {
    pg_graph *graph = new_graph();
    pg_node_id ids[5];
    owner own = {.act = drop_root};
    closure_graph(graph, ids);
    set_owner(&own, graph, ids[2], PG_FLAG_CLOSURE);
    swept_root = ids[4];
    CHECK(pg_backward(graph, ids[4]) == PG_OK && own.calls == 1);
    CHECK(pg_graph_live(graph) == 4 && consistent(graph, ids, 4));
    CHECK(pg_node_grad(graph, ids[2]) == own.grad);
    pg_graph_free(graph);
}

static void owners_hear_of_idle_and_dead_nodes(void) {
    pg_graph *graph = new_graph();
    pg_node_id ids[5];
    owner own = {.act = push_as_usual}, kept = {.act = push_as_usual};
    closure_graph(graph, ids);
    set_owner(&own, graph, ids[2], PG_FLAG_CLOSURE);
    set_owner(&kept, graph, ids[3], PG_FLAG_KEPT);
    pg_graph_release(graph, ids[4]);
    CHECK(own.idles == 0 && kept.drops == 0);
    pg_graph_release(graph, ids[3]); /* the sine dies; its child is left to its owner */
    CHECK(own.idles == 1 && kept.drops == 1 && graph->owners[ids[3]] == NULL);
    CHECK(consistent(graph, ids, 3));
    graph->nodes[ids[2]].flags &= (uint8_t)~PG_FLAG_CLOSURE;
    graph->owners[ids[2]] = NULL;
    release_all(graph, ids, 3);
    CHECK(own.idles == 1 && pg_graph_live(graph) == 0 && consistent(graph, NULL, 0));
    pg_graph_free(graph);
}

static int polls, polls_allowed;

static int poll_counted(void) { return ++polls > polls_allowed; }

/* x + 1 + 1 ...: steps nodes above two leaves. */
static pg_node_id ladder(pg_graph *graph, pg_node_id x, pg_node_id one, size_t steps) {
    pg_node_id top = binary(graph, PG_OP_ADD, x, one);
    for (size_t i = 1; i < steps; i++) {
        pg_node_id next = binary(graph, PG_OP_ADD, top, one);
        pg_graph_release(graph, top);
        top = next;
    }
    return top;
}

static void poll_can_stop_a_long_sweep(void) {
    pg_graph *graph = new_graph();
    pg_node_id x = leaf(graph, 0.0), one = leaf(graph, 1.0), top = ladder(graph, x, one, 300000);
    graph->hooks.poll = poll_counted;
    for (polls_allowed = 0; polls_allowed < 5; polls_allowed++) {
        polls = 0;
        pg_node_set_grad(graph, x, 0.5);
        snapshot before = snapshot_take(graph);
        CHECK(pg_backward(graph, top) == PG_ERR_STOPPED && polls == polls_allowed + 1);
        CHECK(snapshot_holds(&before, graph));
        snapshot_free(&before);
    }
    polls_allowed = 1000;
    CHECK(pg_backward(graph, top) == PG_OK);
    CHECK(pg_node_grad(graph, x) == 1.5 && pg_node_grad(graph, one) == 300000.0);
    polls = 0; /* a short sweep does not poll */
    CHECK(pg_backward(graph, x) == PG_OK && polls == 0);
    pg_graph_free(graph);
}

/* Wide nodes remember how far a walk has come: a walk that is given up mustn't leave that behind.
 */
static void a_long_walk_can_be_stopped(void) {
    pg_graph *graph = new_graph();
    pg_node_id x = leaf(graph, 0.0), one = leaf(graph, 1.0), variadic;
    const pg_node_id children[3] = {one, ladder(graph, x, one, 300000), x};
    const double locals[3] = {10.0, 2.0, 5.0};
    CHECK(pg_graph_variadic(graph, &variadic, 0.0, (pg_children){children, locals, 3}) == PG_OK);
    pg_status (*walks[])(pg_graph *, pg_node_id) = {pg_backward, pg_clear_grads};
    graph->hooks.stop = poll_counted;
    for (size_t i = 0; i < 2 * LENGTH(walks); i++) {
        polls = 0, polls_allowed = i < 2 ? 0 : 4; /* 600,000 steps: nine times is it asked */
        pg_node_set_grad(graph, x, 0.5), pg_node_set_grad(graph, children[1], 7.0);
        snapshot before = snapshot_take(graph);
        CHECK(walks[i % 2](graph, variadic) == PG_ERR_STOPPED && polls == polls_allowed + 1);
        CHECK(snapshot_holds(&before, graph));
        snapshot_free(&before);
    }
    polls_allowed = 1000;
    CHECK(pg_backward(graph, variadic) == PG_OK);
    CHECK(pg_node_grad(graph, x) == 7.5 && pg_node_grad(graph, one) == 600010.0);
    pg_graph_free(graph);
}

/* ---- what receives none ------------------------------------------------------------------- */

static pg_node_id detached(pg_graph *graph, pg_node_id a) {
    pg_node_id id = 0;
    CHECK(pg_graph_detach(graph, &id, a) == PG_OK);
    return id;
}

static pg_node_id inverse(pg_graph *graph, pg_node_id a) {
    pg_node_id id = 0;
    CHECK(pg_graph_number(graph, &id, PG_OP_POWN, a, -1.0) == PG_OK);
    return id;
}

/* x / m and m ** p have derivatives by m and p that would fail; those of detached nodes are not
 * evaluated. */
static void what_is_detached_is_asked_for_no_derivative(void) {
    pg_graph *graph = new_graph();
    const pg_node_id x = leaf(graph, 3.0), tiny = leaf(graph, 4e-200), zero = leaf(graph, 0.0);
    const pg_node_id m = detached(graph, tiny), p = detached(graph, zero);
    const pg_node_id quotient = binary(graph, PG_OP_MUL, x, inverse(graph, m));
    const pg_node_id power = binary(graph, PG_OP_POW, m, p);
    const pg_node_id made = unary(graph, PG_OP_SQRT, p); /* of detached ones only */
    const pg_node_id both = binary(graph, PG_OP_ADD, power, made);
    CHECK(pg_backward(graph, quotient) == PG_OK);
    CHECK(pg_node_grad(graph, x) == 1.0 / 4e-200 && pg_node_grad(graph, m) == 0.0);
    CHECK(pg_backward(graph, both) == PG_OK);
    CHECK(pg_node_grad(graph, p) == 0.0 && pg_node_grad(graph, zero) == 0.0);
    const pg_node_id live = inverse(graph, tiny);
    CHECK(pg_backward(graph, live) == PG_ERR_OVERFLOW);
    CHECK(pg_graph_fault(graph).op == PG_OP_POWN && pg_graph_fault(graph).derivative == 1);
    pg_graph_free(graph);
}

/* The branch that wasn't taken: its gradient is 0, so neither inf * 0 nor a pole is anybody's. */
static void no_gradient_passes_none_on(void) {
    pg_graph *graph = new_graph();
    const pg_node_id x = leaf(graph, 0.0), one = leaf(graph, 1.0);
    const pg_node_id root = unary(graph, PG_OP_SQRT, x);
    const pg_node_id largest = binary(graph, PG_OP_MAXIMUM, one, root);
    CHECK(pg_backward(graph, largest) == PG_OK);
    CHECK(pg_node_grad(graph, x) == 0.0 && pg_node_grad(graph, one) == 1.0);
    pg_node_id variadic;
    const pg_node_id children[] = {one, x};
    const double slopes[] = {INFINITY, NAN};
    CHECK(pg_graph_variadic(graph, &variadic, 0.5, (pg_children){children, slopes, 2}) == PG_OK);
    const pg_node_id other = binary(graph, PG_OP_MAXIMUM, one, variadic);
    CHECK(pg_backward(graph, other) == PG_OK);
    CHECK(pg_node_grad(graph, x) == 0.0 && pg_node_grad(graph, one) == 2.0);
    CHECK(pg_backward(graph, root) == PG_ERR_ZERO_DIVISION);
    pg_graph_free(graph);
}

const test_case sweep_tests[] = {
    TEST(order_of_small_graphs),
    TEST(order_of_random_graphs),
    TEST(order_survives_old_marks),
    TEST(gradients_of_random_graphs),
    TEST(leaves_accumulate_and_inner_nodes_start_afresh),
    TEST(wide_nodes_pass_gradients_on),
    TEST(seventy_thousand_sweeps),
    TEST(failing_derivative_leaves_gradients),
    TEST(closure_takes_the_place_of_the_kernel),
    TEST(closure_that_stops_leaves_gradients),
    TEST(root_may_be_dropped_while_it_is_swept),
    TEST(owners_hear_of_idle_and_dead_nodes),
    TEST(poll_can_stop_a_long_sweep),
    TEST(a_long_walk_can_be_stopped),
    TEST(what_is_detached_is_asked_for_no_derivative),
    TEST(no_gradient_passes_none_on),
    {0},
};
