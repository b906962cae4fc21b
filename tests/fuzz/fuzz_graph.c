/* fuzz_graph.c - any bytes as calls on a graph, which the plain graph follows: the same statuses,
 * data, orders, gradients and faults, and as many living nodes as can be reached.
 *
 * A byte names a call; those after it its operands, counted back from what is held last. So bytes
 * that are inserted leave the meaning of those behind them as it was. */
#include "twin.h"

#include <math.h>

enum { MOST_BYTES = 1 << 10, MOST_CHILDREN = 12, MOST_ENTRIES = TWIN_ENTRIES };

static twin *const t = &both_graphs;
static const uint8_t *at, *end;

/* ---- Operands ------------------------------------------------------------------------------- */

static uint8_t next(void) { return at < end ? *at++ : 0; }

/* Half of them ordinary, the others those that make trouble. */
static double next_number(void) {
    static const double odd[] = {0.0,    -0.0,  1.0,      -1.0,      2.0, -2.0,   0.5,   3.0,
                                 5e-324, 1e308, INFINITY, -INFINITY, NAN, 1e-160, 710.0, -8.0};
    const uint8_t byte = next();
    return byte < 128 ? odd[byte % LENGTH(odd)] : (byte - 192) / 30.0;
}

/* There is always something held. */
static twin_node next_held(void) { return t->held[t->count - 1 - next() % t->count]; }

typedef struct operand {
    pg_operand ours;
    plain_operand plain;
} operand;

/* A node; one in four, a number. */
static operand next_operand(void) {
    if (at < end && *at >= 192) {
        at++;
        const double value = next_number();
        return (operand){number(value), {PLAIN_NOBODY, value}};
    }
    const twin_node held = next_held();
    return (operand){node(held.id), {held.plain, 0.0}};
}

/* Up to count of them, for each graph. Returns: how many. */
static size_t next_operands(pg_operand *ours, plain_operand *plain, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const operand a = next_operand();
        ours[i] = a.ours;
        plain[i] = a.plain;
    }
    return count;
}

/* ---- Making nodes --------------------------------------------------------------------------- */

/* Neither graph has changed if this is false. */
static bool went_well(pg_status status) { return status != PG_ERR_NOMEM; }

static void expect_same(pg_status ours, pg_status expected) {
    CHECK(ours == expected);
    if (ours != PG_ERR_DOMAIN && ours != PG_ERR_OVERFLOW && ours != PG_ERR_ZERO_DIVISION) return;
    const pg_fault fault = pg_graph_fault(t->graph), plain = t->plain.fault;
    CHECK(fault.op == plain.op && fault.derivative == plain.derivative);
    CHECK(same_number(fault.a, plain.a) && same_number(fault.b, plain.b));
}

/* What a call gave, and what the plain graph gave. */
static void hold(pg_status ours, pg_node_id id, pg_status expected, uint32_t plain) {
    expect_same(ours, expected);
    if (ours == PG_OK) twin_hold(t, id, plain);
}

/* One in sixteen is detached from another one, which nobody holds. */
static void make_leaf(void) {
    const bool detached = at < end && *at >= 240;
    const double data = next_number();
    pg_node_id id = 0, from = 0;
    pg_status status = pg_graph_leaf(t->graph, detached ? &from : &id, data);
    if (detached && status == PG_OK) {
        status = pg_graph_detach(t->graph, &id, from);
        pg_graph_release(t->graph, from);
    }
    if (!went_well(status)) return;
    const uint32_t plain = plain_leaf(&t->plain, data);
    t->plain.nodes[plain].detached = detached;
    hold(status, id, PG_OK, plain);
}

static void make_op(void) {
    const int wanted = 1 + next() % pg_op_count();
    const bool gate = wanted == PG_OP_GATE || wanted == PG_OP_GATE_EITHER ||
                      wanted == PG_OP_GATE_HELD; /* excuses faults, at 0 */
    const int op = gate ? PG_OP_MUL : wanted;
    const twin_node a = next_held(), b = next_held();
    const double power = next_number();
    const plain_operand left = {a.plain, 0.0}, right = {PLAIN_NOBODY, power};
    pg_node_id id = 0;
    uint32_t plain = 0;
    const bool powered = pg_op_describe(op)->takes_number,
               binary_op = !powered && plain_operands(op) == 2;
    const pg_status status = powered     ? pg_graph_number(t->graph, &id, op, a.id, power)
                             : binary_op ? pg_graph_binary(t->graph, &id, op, a.id, b.id)
                                         : pg_graph_unary(t->graph, &id, op, a.id);
    if (!went_well(status)) return;
    const pg_status expected = powered ? plain_mixed(&t->plain, &plain, op, left, right)
                                       : plain_op(&t->plain, &plain, op, a.plain, b.plain);
    hold(status, id, expected, plain);
}

static void make_expression(void) {
    typedef pg_status expression(pg_graph *, pg_node_id *, pg_operand, pg_operand);
    static expression *const ours[] = {pg_expr_add, pg_expr_sub, pg_expr_mul, pg_expr_div,
                                       pg_expr_pow};
    const size_t which = next() % LENGTH(ours);
    operand a = next_operand(), b = next_operand();
    pg_node_id id = 0;
    uint32_t plain = 0;
    const pg_status status = ours[which](t->graph, &id, a.ours, b.ours);
    if (a.ours.id == 0 && b.ours.id == 0) {
        CHECK(status == PG_ERR_BAD_NODE);
        return;
    }
    if (!went_well(status)) return;
    const pg_status expected =
        plain_expression(&t->plain, &plain, "+-*/p"[which], a.plain, b.plain);
    hold(status, id, expected, plain);
}

static size_t next_edges(pg_node_id *ids, plain_edge *edges, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const twin_node child = next_held();
        ids[i] = child.id;
        edges[i] = (plain_edge){child.plain, 0.0};
    }
    return count;
}

static void make_wide(void) {
    pg_node_id ids[MOST_CHILDREN], id = 0;
    plain_edge edges[MOST_CHILDREN];
    double locals[MOST_CHILDREN];
    const uint8_t shape = next();
    const bool has_locals = shape & 128;
    const double data = next_number();
    const size_t count = next_edges(ids, edges, shape % MOST_CHILDREN);
    for (size_t i = 0; has_locals && i < count; i++) locals[i] = edges[i].slope = next_number();
    const pg_status status = pg_graph_variadic(
        t->graph, &id, data, (pg_children){ids, has_locals ? locals : NULL, count});
    if (!went_well(status)) return;
    hold(status, id, PG_OK,
         plain_wide(&t->plain, PG_VARIADIC_PLAIN, data, edges, count, has_locals));
}

static void make_custom(void) {
    pg_node_id ids[MOST_CHILDREN], id = 0;
    plain_edge edges[MOST_CHILDREN];
    const uint8_t shape = next();
    const size_t tag = 1 + shape / 16 % PLAIN_TAGS;
    const size_t count = next_edges(ids, edges, 1 + shape % (MOST_CHILDREN - 1));
    const double data = next_number();
    const pg_status status =
        pg_graph_custom(t->graph, &id, data, (pg_children){ids, NULL, count}, &t->tags[tag]);
    if (!went_well(status)) return;
    t->tags[tag]++;
    const uint32_t plain = plain_wide(&t->plain, PG_VARIADIC_CUSTOM, data, edges, count, false);
    t->plain.nodes[plain].tag = tag;
    hold(status, id, PG_OK, plain);
}

static void make_choice(void) {
    const bool condition = next() & 1;
    const twin_node a = next_held(), b = next_held();
    const plain_edge edges[] = {{a.plain, condition}, {b.plain, !condition}};
    const double data = t->plain.nodes[condition ? a.plain : b.plain].data;
    pg_node_id id = 0;
    const pg_status status = pg_graph_where(t->graph, &id, condition, a.id, b.id);
    if (!went_well(status)) return;
    hold(status, id, PG_OK, plain_wide(&t->plain, PG_VARIADIC_CHOICE, data, edges, 2, true));
}

static void make_sum(void) {
    pg_operand ours[MOST_CHILDREN];
    plain_operand plain[MOST_CHILDREN];
    const operand start = next_operand();
    const size_t count = next_operands(ours, plain, next() % MOST_CHILDREN);
    pg_node_id id = 0;
    const pg_status status = pg_graph_sum(t->graph, &id, start.ours, ours, count);
    if (went_well(status)) hold(status, id, PG_OK, plain_sum(&t->plain, start.plain, plain, count));
}

static void make_layer(void) {
    enum { most = 3 };
    pg_operand weights[most * most], biases[most], inputs[most];
    plain_operand plain_weights[most * most], plain_biases[most], plain_inputs[most];
    pg_node_id ids[most];
    uint32_t plain[most];
    const uint8_t shape = next(), wanted = next();
    const size_t rows = 1 + shape % most, columns = shape / most % (most + 1);
    const int op = 1 + wanted % pg_op_count();
    const int activation = wanted < 128 && plain_operands(op) == 1 ? op : 0;
    if (t->count + rows > TWIN_HELD) return;
    (void)next_operands(weights, plain_weights, rows * columns);
    (void)next_operands(biases, plain_biases, rows);
    (void)next_operands(inputs, plain_inputs, columns);
    const pg_status status = pg_graph_layer(
        t->graph, ids, &(pg_layer){activation, weights, biases, inputs, rows, columns});
    pg_status expected = PG_OK;
    for (size_t i = 0; went_well(status) && expected == PG_OK && i < rows; i++)
        expected = plain_neuron(&t->plain, &plain[i], activation, plain_biases[i],
                                plain_weights + i * columns, plain_inputs, columns);
    if (!went_well(status)) return;
    expect_same(status, expected);
    for (size_t i = 0; status == PG_OK && i < rows; i++) twin_hold(t, ids[i], plain[i]);
}

static void hold_again(void) {
    const twin_node held = next_held();
    CHECK(pg_graph_retain(t->graph, held.id) == PG_OK);
    twin_hold(t, held.id, held.plain);
}

static void make_copy(void) {
    const twin_node root = next_held();
    plain_walk(&t->plain, root.plain);
    const size_t nodes = t->plain.ordered;
    if (plain_has_room(&t->plain, nodes + PLAIN_NODES / 8, nodes * MOST_CHILDREN))
        (void)twin_copy(t, root);
}

/* ---- Changing them -------------------------------------------------------------------------- */

static void drop(void) {
    if (t->count > 1) twin_drop(t, t->count - 1 - next() % t->count);
    twin_count(t);
}

static void backward(void) {
    const twin_node root = next_held();
    const pg_status status = pg_backward(t->graph, root.id);
    if (went_well(status)) expect_same(status, plain_backward(&t->plain, root.plain));
    twin_compare(t, root);
}

static void clear_gradients(void) {
    const twin_node root = next_held();
    if (!went_well(pg_clear_grads(t->graph, root.id))) return;
    plain_walk(&t->plain, root.plain);
    for (uint32_t i = 0; i < t->plain.ordered; i++) t->plain.nodes[t->plain.order[i]].grad = 0.0;
    twin_compare(t, root);
}

static void push(void) {
    const twin_node held = next_held();
    const pg_status status = pg_push(t->graph, held.id);
    expect_same(status, plain_push(&t->plain, held.plain));
    twin_compare(t, held);
}

static void set_numbers(void) {
    const twin_node held = next_held();
    plain_node *plain = &t->plain.nodes[held.plain];
    plain->data = next_number();
    plain->grad = next_number();
    pg_node_set_data(t->graph, held.id, plain->data);
    pg_node_set_grad(t->graph, held.id, plain->grad);
}

static void cut(void) {
    const twin_node held = next_held();
    pg_cut(t->graph, held.id);
    plain_cut(&t->plain, held.plain);
    twin_count(t);
}

/* One step of gradient descent, with and without momentum. */
static void descend(void) {
    pg_node_id ids[MOST_CHILDREN];
    plain_edge edges[MOST_CHILDREN];
    const uint8_t shape = next();
    const size_t count = next_edges(ids, edges, shape % MOST_CHILDREN);
    const pg_sgd_settings settings = {0.125, shape & 128 ? 0.5 : 0.0, next_number()};
    double velocity[MOST_CHILDREN] = {0.25};
    const bool momentum = settings.momentum > 0.0;
    for (size_t i = 0; i < count; i++) {
        plain_node *p = &t->plain.nodes[edges[i].to];
        double g = p->grad;
        if (settings.weight_decay != 0.0) g += settings.weight_decay * p->data; /* inf * 0 is nan */
        if (momentum) g = settings.momentum * velocity[i] + g;
        p->data -= settings.lr * g;
    }
    CHECK(pg_sgd(t->graph, momentum ? velocity : NULL, ids, count, &settings) == PG_OK);
    for (size_t i = 0; i < count; i++) {
        t->plain.nodes[edges[i].to].grad = 0.0;
        CHECK(same_number(pg_node_data(t->graph, ids[i]), t->plain.nodes[edges[i].to].data));
    }
    CHECK(pg_zero_grad(t->graph, ids, count) == PG_OK);
}

static void ask_slopes(void) {
    const twin_node held = next_held();
    const plain_node *plain = &t->plain.nodes[held.plain];
    double slopes[2];
    const pg_status status = pg_node_slopes(t->graph, slopes, held.id);
    CHECK((status == PG_ERR_BAD_OP) == (plain->op == PG_OP_LEAF || plain->op == PG_OP_VARIADIC));
    if (status == PG_ERR_BAD_OP) return;
    const plain_edge *edges = &t->plain.edges[plain->first];
    const double a = t->plain.nodes[edges[0].to].data;
    const double b = plain->count == 2 ? t->plain.nodes[edges[1].to].data : 0.0;
    for (int by = 1; by <= pg_op_describe(plain->op)->arity; by++)
        CHECK(same_number(slopes[by - 1], plain_slope(plain->op, by, a, b, plain->data, false)));
}

static void fail_soon(void) { pg_alloc_fail_at(1 + next() % 8); }

/* ---- Recording ------------------------------------------------------------------------------ */

static void make_select(void) {
    pg_node_id ids[4], id = 0;
    plain_edge edges[4];
    const int compare = next() % PG_COMPARE_COUNT;
    (void)next_edges(ids, edges, 4);
    double of[4];
    bool known = true;
    for (size_t i = 0; i < 4; i++) {
        of[i] = t->plain.nodes[edges[i].to].data;
        known = known && !isnan(of[i]);
    }
    const double data = !known ? NAN : of[plain_compare(compare, of[2], of[3]) ? 0 : 1];
    const pg_status status =
        pg_trace_select(t->graph, &id, (pg_condition){compare, ids[2], ids[3]}, ids[0], ids[1]);
    const pg_variadic_kind kind = (pg_variadic_kind)(PG_VARIADIC_SELECT + compare);
    if (went_well(status))
        hold(status, id, PG_OK, plain_wide(&t->plain, kind, data, edges, 4, false));
}

static void make_detached(void) {
    const twin_node a = next_held();
    const plain_edge edge = {a.plain, 0.0};
    const double data = t->plain.nodes[a.plain].data;
    pg_node_id id = 0;
    const pg_status status = pg_trace_detach(t->graph, &id, a.id);
    if (went_well(status))
        hold(status, id, PG_OK, plain_wide(&t->plain, PG_VARIADIC_DETACH, data, &edge, 1, false));
}

/* table[index] of any nodes. */
static void make_take(void) {
    pg_node_id ids[MOST_ENTRIES], id = 0;
    plain_edge edges[MOST_ENTRIES + 1];
    const twin_node index = next_held();
    const size_t count = next_edges(ids, edges, 1 + next() % MOST_ENTRIES);
    edges[count] = (plain_edge){index.plain, 0.0};
    const pg_status status = pg_trace_take(t->graph, &id, index.id, ids, count);
    if (went_well(status))
        hold(status, id, PG_OK,
             plain_wide(&t->plain, PG_VARIADIC_TAKE, NAN, edges, count + 1, false));
}

/* One or two parts of a scatter of any nodes; the scatter itself is theirs alone. */
static void make_scatter(void) {
    pg_node_id gradients[TWIN_SUMMANDS], indices[TWIN_SUMMANDS], id = 0;
    plain_edge edges[2 * TWIN_SUMMANDS];
    const size_t count = next_edges(gradients, edges, 1 + next() % TWIN_SUMMANDS);
    const size_t entries = 1 + next() % MOST_ENTRIES, at = t->count;
    if (at + 4 > TWIN_HELD) return;
    (void)next_edges(indices, edges + count, count);
    pg_status status = pg_trace_scatter(t->graph, &id, gradients, indices, count, entries);
    if (!went_well(status)) return;
    const pg_node_id scatter = id;
    const plain_edge of = {plain_wide(&t->plain, PG_VARIADIC_SCATTER, NAN, edges, 2 * count, false),
                           0.0};
    hold(status, scatter, PG_OK, of.to);
    const size_t parts = 1 + next() % 2, first = next();
    for (size_t i = 0; i < parts && i < entries; i++) { /* neighbours: no entry has two parts */
        const plain_edge edge = {of.to, (double)((first + i) % entries)};
        status = pg_trace_part(t->graph, &id, scatter, (size_t)edge.slope);
        if (went_well(status))
            hold(status, id, PG_OK, plain_wide(&t->plain, PG_VARIADIC_PART, NAN, &edge, 1, false));
    }
    twin_drop(t, at);
}

typedef void step(void);

static void run_one(step *const *steps, size_t count) {
    step *const chosen = steps[next() % count];
    if (t->count + 1 < TWIN_HELD) chosen();
}

static size_t make_inputs(size_t count) {
    size_t made = 0;
    for (; made < count; made++) {
        pg_node_id id = 0;
        if (pg_trace_input(t->graph, &id) != PG_OK) break;
        const uint32_t plain = plain_leaf(&t->plain, NAN);
        t->plain.nodes[plain].is_input = true;
        twin_hold(t, id, plain);
    }
    return made;
}

/* What is made here lives until the end of the trace: nothing outside uses it. */
static void trace(void) {
    static step *const steps[] = {make_op,     make_expression, make_expression, make_sum,
                                  make_layer,  make_select,     make_detached,   make_leaf,
                                  make_choice, hold_again,      make_op,         make_take,
                                  make_scatter};
    const uint8_t shape = next();
    const unsigned passes = next() & exact_passes;
    const size_t before = t->count;
    if (before + 24 > TWIN_HELD) return;
    twin_check(t);
    const uint32_t since = t->plain.count;
    pg_trace_begin(t->graph);
    t->plain.since = since;
    const size_t inputs = make_inputs(1 + shape % 3);
    for (size_t i = 1 + shape / 3 % 16; i > 0 && plain_has_room(&t->plain, 600, 2400); i--)
        run_one(steps, LENGTH(steps));
    const size_t made = t->count - before, outputs = made > 1 && shape & 128 ? 2 : 1;
    if (inputs > 0)
        twin_replay(t, since, t->held + before, inputs, t->held + t->count - outputs, outputs,
                    passes);
    pg_trace_end(t->graph);
    t->plain.since = PLAIN_NOBODY;
    while (t->count > before) twin_drop(t, t->count - 1);
    twin_count(t);
}

/* ---- All of it ------------------------------------------------------------------------------ */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    static step *const steps[] = {make_leaf,
                                  make_op,
                                  make_expression,
                                  make_wide,
                                  make_custom,
                                  make_choice,
                                  make_sum,
                                  make_layer,
                                  make_copy,
                                  hold_again,
                                  drop,
                                  backward,
                                  push,
                                  set_numbers,
                                  cut,
                                  descend,
                                  ask_slopes,
                                  trace,
                                  clear_gradients,
                                  fail_soon};
    if (count > MOST_BYTES) return 0;
    at = bytes;
    end = bytes + count;
    seed(hash_of(bytes, count));
    twin_begin(t);
    make_leaf();
    while (at < end && plain_has_room(&t->plain, PLAIN_NODES / 8, PLAIN_EDGES / 8))
        run_one(steps, LENGTH(steps));
    pg_alloc_fail_at(0);
    twin_check(t);
    twin_end(t);
    return 0;
}
