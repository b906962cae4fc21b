/* test_bulk.c - is what one call adds the same as what the op-by-op expression adds, node for node
 * and bit for bit; do optimisers follow their formulas. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>

/* ---- the op-by-op expressions ------------------------------------------------------------- */

/* op(a, b) as Python has it: two numbers stay a number. Gives up the references that a and b hold
 * if they are steps on the way. */
typedef struct step {
    pg_operand value;
    bool owned;
} step;

static step combine(pg_graph *graph, int op, step a, step b) {
    step result = {
        {0, op == PG_OP_ADD ? a.value.number + b.value.number : a.value.number * b.value.number},
        false};
    if (a.value.id != 0 || b.value.id != 0) {
        result = (step){{0, 0.0}, true};
        CHECK((op == PG_OP_ADD ? pg_expr_add : pg_expr_mul)(graph, &result.value.id, a.value,
                                                            b.value) == PG_OK);
    }
    if (a.owned) pg_graph_release(graph, a.value.id);
    if (b.owned) pg_graph_release(graph, b.value.id);
    return result;
}

static pg_node_id finish(pg_graph *graph, step total) {
    if (total.value.id == 0) return leaf(graph, total.value.number);
    if (!total.owned) CHECK(pg_graph_retain(graph, total.value.id) == PG_OK);
    return total.value.id;
}

static pg_node_id sum_by_hand(pg_graph *graph, pg_operand start, const pg_operand *values,
                              size_t count) {
    step total = {start, false};
    for (size_t i = 0; i < count; i++)
        total = combine(graph, PG_OP_ADD, total, (step){values[i], false});
    return finish(graph, total);
}

static pg_node_id neuron_by_hand(pg_graph *graph, int activation, pg_operand bias,
                                 const pg_operand *weights, const pg_operand *inputs,
                                 size_t count) {
    step total = {bias, false};
    for (size_t i = 0; i < count; i++) {
        step product =
            combine(graph, PG_OP_MUL, (step){weights[i], false}, (step){inputs[i], false});
        total = combine(graph, PG_OP_ADD, total, product);
    }
    pg_node_id id = finish(graph, total);
    if (activation == 0) return id;
    pg_node_id root = unary(graph, activation, id);
    pg_graph_release(graph, id);
    return root;
}

/* Whether two orders are the same graph: data, gradients, ops and who is whose child. */
static bool same_graphs(pg_graph *one, pg_node_id a, pg_graph *other, pg_node_id b) {
    size_t n = pg_graph_live(one), count = 0, count_b = 0, slots;
    if (n != pg_graph_live(other)) return false;
    pg_node_id *order = must_alloc(3 * n, sizeof *order), *order_b = order + n;
    pg_node_id *twin = must_alloc(one->used, sizeof *twin);
    bool same = pg_graph_order(one, order, &count, a) == PG_OK &&
                pg_graph_order(other, order_b, &count_b, b) == PG_OK && count == count_b;
    for (size_t i = 0; same && i < count; i++) {
        const pg_node *left = &one->nodes[order[i]], *right = &other->nodes[order_b[i]];
        twin[order[i]] = order_b[i];
        same = left->op == right->op && left->refs == right->refs &&
               same_bits(left->data, right->data) && same_bits(left->u.grad, right->u.grad);
        const pg_node_id *held = pg_holds(left, &slots);
        for (size_t k = 0; same && k < slots; k++) same = twin[held[k]] == right->of.child[k];
    }
    free(order);
    free(twin);
    return same;
}

/* ---- sums and layers ---------------------------------------------------------------------- */

enum { most_rows = 4, most_columns = 6, leaves = 10 };

/* Two graphs with the same leaves, and operands that name some of them; others are numbers. */
typedef struct twins {
    pg_graph *bulk, *by_hand;
    pg_node_id ids[leaves + most_rows];
    pg_operand weights[most_rows * most_columns], biases[most_rows], inputs[most_columns];
} twins;

static void fill_operands(twins *t, pg_operand *values, size_t count, size_t numbers_in_4) {
    for (size_t i = 0; i < count; i++)
        values[i] = below(4) < numbers_in_4 ? number(uniform(-2, 2)) : node(t->ids[below(leaves)]);
}

static void twins_new(twins *t) {
    t->bulk = new_graph();
    t->by_hand = new_graph();
    for (size_t i = 0; i < leaves; i++) {
        double data = uniform(-2.0, 2.0);
        t->ids[i] = leaf(t->bulk, data);
        CHECK(leaf(t->by_hand, data) == t->ids[i]);
    }
    fill_operands(t, t->weights, LENGTH(t->weights), below(5));
    fill_operands(t, t->biases, LENGTH(t->biases), below(5));
    fill_operands(t, t->inputs, LENGTH(t->inputs), below(5));
}

static void twins_check(twins *t, pg_node_id root, pg_node_id root_by_hand) {
    CHECK(pg_backward(t->bulk, root) == PG_OK);
    CHECK(pg_backward(t->by_hand, root_by_hand) == PG_OK);
    CHECK(same_graphs(t->bulk, root, t->by_hand, root_by_hand));
}

static void twins_free(twins *t) {
    pg_graph_free(t->bulk);
    pg_graph_free(t->by_hand);
}

static void sums_are_the_expression(void) {
    for (size_t round = 0; round < 500; round++) {
        twins t;
        twins_new(&t);
        size_t count = below(LENGTH(t.weights) + 1);
        pg_node_id by_hand = sum_by_hand(t.by_hand, t.biases[0], t.weights, count);
        CHECK(pg_graph_sum(t.bulk, &t.ids[leaves], t.biases[0], t.weights, count) == PG_OK);
        twins_check(&t, t.ids[leaves], by_hand);
        CHECK(consistent(t.bulk, t.ids, leaves + 1));
        twins_free(&t);
    }
}

static void layers_are_the_expression(void) {
    const int activations[] = {0, PG_OP_TANH, PG_OP_RELU, PG_OP_SIGMOID};
    for (size_t round = 0; round < 500; round++) {
        twins t;
        twins_new(&t);
        int activation = activations[below(4)];
        size_t rows = below(most_rows + 1), columns = below(most_columns + 1);
        pg_node_id by_hand[most_rows], *ids = t.ids + leaves;
        CHECK(pg_graph_layer(
                  t.bulk, ids,
                  &(pg_layer){activation, t.weights, t.biases, t.inputs, rows, columns}) == PG_OK);
        for (size_t i = 0; i < rows; i++)
            by_hand[i] = neuron_by_hand(t.by_hand, activation, t.biases[i], t.weights + i * columns,
                                        t.inputs, columns);
        for (size_t i = 0; i < rows; i++) twins_check(&t, ids[i], by_hand[i]);
        CHECK(pg_graph_live(t.bulk) == pg_graph_live(t.by_hand));
        CHECK(consistent(t.bulk, t.ids, leaves + rows));
        twins_free(&t);
    }
}

static void layers_that_fail_add_nothing(void) {
    pg_graph *graph = new_graph();
    pg_node_id ids[3] = {leaf(graph, 2.0), leaf(graph, -3.0), leaf(graph, 1.0)}, rows[3];
    const pg_operand inputs[2] = {node(ids[0]), number(0.5)};
    const pg_operand biases[3] = {number(1.0), node(ids[0]), number(0.0)};
    const pg_operand weights[6] = {node(ids[0]), number(1.0),  node(ids[2]),
                                   node(ids[0]), node(ids[1]), number(4.0)}; /* row 2: -6 + 2 */
    snapshot before = snapshot_take(graph);
    CHECK(pg_graph_layer(graph, rows, &(pg_layer){PG_OP_LOG, weights, biases, inputs, 3, 2}) ==
          PG_ERR_DOMAIN);
    pg_fault fault = pg_graph_fault(graph);
    CHECK(fault.op == PG_OP_LOG && fault.derivative == 0 && fault.a == -4.0);
    CHECK(snapshot_holds(&before, graph) && consistent(graph, ids, 3));
    CHECK(pg_graph_layer(graph, rows, &(pg_layer){PG_OP_LOG, weights, biases, inputs, 2, 2}) ==
          PG_OK);
    CHECK(pg_node_data(graph, rows[0]) == log(5.5) && pg_node_data(graph, rows[1]) == log(5.0));
    release_all(graph, rows, 2);
    CHECK(snapshot_holds(&before, graph));
    snapshot_free(&before);
    pg_graph_free(graph);
}

static void nothing_is_needed_for_empty_ones(void) {
    pg_graph *graph = new_graph();
    pg_node_id a = leaf(graph, 2.0), ids[3] = {a};
    const pg_operand biases[2] = {node(a), number(3.0)};
    CHECK(pg_graph_sum(graph, &ids[1], node(a), NULL, 0) == PG_OK && ids[1] == a); /* as Python */
    CHECK(consistent(graph, ids, 2));
    pg_graph_release(graph, ids[1]);
    CHECK(pg_graph_layer(graph, ids, &(pg_layer){0, NULL, NULL, NULL, 0, 0}) == PG_OK);
    CHECK(pg_graph_layer(graph, ids + 1, &(pg_layer){0, NULL, biases, NULL, 2, 0}) == PG_OK);
    CHECK(ids[1] == a && pg_node_data(graph, ids[2]) == 3.0 && consistent(graph, ids, 3));
    pg_graph_free(graph);
}

/* ---- optimisers --------------------------------------------------------------------------- */

enum { parameters = 5, steps = 20 };

static pg_graph *parameter_graph(pg_node_id *ids, double *p) {
    pg_graph *graph = new_graph();
    for (size_t i = 0; i < parameters; i++) ids[i] = leaf(graph, p[i] = uniform(-2.0, 2.0));
    return graph;
}

/* Give each parameter a gradient. */
static void draw_gradients(pg_graph *graph, const pg_node_id *ids, double *g) {
    for (size_t i = 0; i < parameters; i++)
        pg_node_set_grad(graph, ids[i], g[i] = uniform(-1.0, 1.0));
}

static void check_parameters(const pg_graph *graph, const pg_node_id *ids, const double *p) {
    for (size_t i = 0; i < parameters; i++) CHECK(near(pg_node_data(graph, ids[i]), p[i], 1e-13));
}

static void check_sgd(double lr, double momentum, double decay, bool with_velocity) {
    pg_node_id ids[parameters];
    double p[parameters], g[parameters], v[parameters] = {0}, velocity[parameters] = {0};
    const pg_sgd_settings settings = {lr, momentum, decay};
    pg_graph *graph = parameter_graph(ids, p);
    for (int t = 1; t <= steps; t++) {
        draw_gradients(graph, ids, g);
        CHECK(pg_sgd(graph, with_velocity ? velocity : NULL, ids, parameters, &settings) == PG_OK);
        for (size_t i = 0; i < parameters; i++) {
            v[i] = momentum * v[i] + (g[i] + decay * p[i]);
            p[i] = p[i] - lr * v[i];
            CHECK(pg_node_grad(graph, ids[i]) == g[i]);
        }
        check_parameters(graph, ids, p);
    }
    pg_graph_free(graph);
}

static void sgd_follows_its_formula(void) {
    check_sgd(0.1, 0.0, 0.0, false);
    check_sgd(0.1, 0.0, 0.01, false);
    check_sgd(0.1, 0.0, 0.0, true);
    check_sgd(0.05, 0.9, 0.0, true);
    check_sgd(0.05, 0.9, 0.01, true);
}

/* Kingma and Ba, algorithm 1; weight decay added to the gradient, or taken off the parameter. */
static void check_adam(double decay, int decoupled) {
    const double lr = 0.01, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
    pg_adam_settings settings = {lr, beta1, beta2, eps, decay, decoupled, 0.0};
    pg_node_id ids[parameters];
    double p[parameters], g[parameters], m[parameters] = {0}, v[parameters] = {0};
    double mean[parameters] = {0}, square[parameters] = {0};
    pg_graph *graph = parameter_graph(ids, p);
    for (int t = 1; t <= steps; t++) {
        draw_gradients(graph, ids, g);
        settings.step = t;
        CHECK(pg_adam(graph, mean, square, ids, parameters, &settings) == PG_OK);
        for (size_t i = 0; i < parameters; i++) {
            if (decoupled) p[i] = p[i] * (1.0 - lr * decay);
            else g[i] = g[i] + decay * p[i];
            m[i] = beta1 * m[i] + (1.0 - beta1) * g[i];
            v[i] = beta2 * v[i] + (1.0 - beta2) * (g[i] * g[i]);
            double m_hat = m[i] / (1.0 - pow(beta1, t)), v_hat = v[i] / (1.0 - pow(beta2, t));
            p[i] = p[i] - lr * m_hat / (sqrt(v_hat) + eps);
        }
        check_parameters(graph, ids, p);
    }
    pg_graph_free(graph);
}

static void adam_follows_its_formula(void) {
    check_adam(0.0, 0);
    check_adam(0.0, 1);
    check_adam(0.1, 0);
    check_adam(0.1, 1);
}

static void check_rmsprop(double decay, double momentum, bool with_velocity) {
    const double lr = 0.01, alpha = 0.9, eps = 1e-8;
    const pg_rmsprop_settings settings = {lr, alpha, eps, decay, momentum};
    pg_node_id ids[parameters];
    double p[parameters], g[parameters], s[parameters] = {0}, v[parameters] = {0};
    double square[parameters] = {0}, velocity[parameters] = {0};
    pg_graph *graph = parameter_graph(ids, p);
    for (int t = 1; t <= steps; t++) {
        draw_gradients(graph, ids, g);
        CHECK(pg_rmsprop(graph, square, with_velocity ? velocity : NULL, ids, parameters,
                         &settings) == PG_OK);
        for (size_t i = 0; i < parameters; i++) {
            const double gradient = g[i] + decay * p[i];
            s[i] = alpha * s[i] + (1.0 - alpha) * (gradient * gradient);
            v[i] = momentum * v[i] + gradient / (sqrt(s[i]) + eps);
            p[i] = p[i] - lr * v[i];
            CHECK(pg_node_grad(graph, ids[i]) == g[i]);
        }
        check_parameters(graph, ids, p);
    }
    pg_graph_free(graph);
}

static void rmsprop_follows_its_formula(void) {
    check_rmsprop(0.0, 0.0, false);
    check_rmsprop(0.1, 0.0, false);
    check_rmsprop(0.0, 0.0, true);
    check_rmsprop(0.1, 0.9, true);
}

static void clipping_by_value_and_by_norm(void) {
    const pg_clip_settings by_norm = {1.0, 0.0}, by_value = {0.0, 2.0};
    double g[] = {3.0, -4.0, 0.5};
    const uint32_t at[] = {1, 0};
    CHECK(pg_clip(g, at, 2, &by_norm) == 5.0); /* the third isn't a parameter's */
    const double factor = 1.0 / (5.0 + 1e-6);
    CHECK(g[0] == 3.0 * factor && g[1] == -4.0 * factor && g[2] == 0.5);
    double few[] = {0.3, -0.4};
    CHECK(near(pg_clip(few, NULL, 2, &by_norm), 0.5, 1e-15) && few[0] == 0.3 && few[1] == -0.4);
    double each[] = {3.0, -4.0, 0.5, INFINITY, NAN};
    CHECK(pg_clip(each, NULL, 5, &by_value) == 0.0);
    CHECK(each[0] == 2.0 && each[1] == -2.0 && each[2] == 0.5 && isinf(each[3]) && isnan(each[4]));
    double huge[] = {3e200, -4e200}, tiny[] = {3e-200, 4e-200}, none[] = {0.0, -0.0};
    CHECK(near(pg_clip(huge, NULL, 2, &by_norm) / 5e200, 1.0, 1e-15) && near(huge[0], 0.6, 1e-15));
    CHECK(near(pg_clip(tiny, NULL, 2, &by_norm) / 5e-200, 1.0, 1e-15) && tiny[0] == 3e-200);
    CHECK(pg_clip(none, NULL, 2, &by_norm) == 0.0 && pg_clip(NULL, NULL, 0, &by_norm) == 0.0);
    double odd[] = {3.0, INFINITY};
    CHECK(isinf(pg_clip(odd, NULL, 2, &by_norm)) && odd[0] == 3.0);
}

static void a_dead_parameter_changes_nothing(void) {
    pg_node_id ids[parameters];
    double p[parameters], g[parameters], state[2][parameters] = {{1.0, 2.0}, {3.0, 4.0}};
    const pg_sgd_settings sgd = {0.1, 0.9, 0.1};
    const pg_adam_settings adam = {0.1, 0.9, 0.9, 0.1, 0.1, 1, 1.0};
    const pg_rmsprop_settings rmsprop = {0.1, 0.9, 0.1, 0.1, 0.9};
    pg_graph *graph = parameter_graph(ids, p);
    draw_gradients(graph, ids, g);
    pg_graph_release(graph, ids[3]);
    snapshot before = snapshot_take(graph);
    CHECK(pg_sgd(graph, state[0], ids, parameters, &sgd) == PG_ERR_BAD_NODE);
    CHECK(pg_adam(graph, state[0], state[1], ids, parameters, &adam) == PG_ERR_BAD_NODE);
    CHECK(pg_rmsprop(graph, state[0], state[1], ids, parameters, &rmsprop) == PG_ERR_BAD_NODE);
    CHECK(pg_zero_grad(graph, ids, parameters) == PG_ERR_BAD_NODE);
    CHECK(snapshot_holds(&before, graph));
    CHECK(state[0][0] == 1.0 && state[0][1] == 2.0 && state[1][0] == 3.0 && state[1][1] == 4.0);
    CHECK(pg_zero_grad(graph, ids, 3) == PG_OK && pg_node_grad(graph, ids[2]) == 0.0);
    CHECK(pg_node_grad(graph, ids[4]) == g[4]);
    CHECK(pg_sgd(graph, NULL, NULL, 0, &sgd) == PG_OK);
    CHECK(pg_adam(graph, NULL, NULL, NULL, 0, &adam) == PG_OK);
    snapshot_free(&before);
    pg_graph_free(graph);
}

const test_case bulk_tests[] = {
    TEST(sums_are_the_expression),          TEST(layers_are_the_expression),
    TEST(layers_that_fail_add_nothing),     TEST(nothing_is_needed_for_empty_ones),
    TEST(sgd_follows_its_formula),          TEST(adam_follows_its_formula),
    TEST(rmsprop_follows_its_formula),      TEST(clipping_by_value_and_by_norm),
    TEST(a_dead_parameter_changes_nothing), {0},
};
