/* test_ops.c - is each op right, and would we notice if not; what is an error; what do Python's
 * expressions append.
 *
 * Values and derivatives are compared with constants and with tests/fuzz/arithmetic.c, whose
 * formulas don't come from the table, and derivatives with central differences, at random points of
 * the table's intervals. */
#include "../fuzz/plain.h"
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- values and derivatives --------------------------------------------------------------- */

static const struct {
    int op;
    double a, b, y;
} known_values[] = {
    {PG_OP_ADD, 0.5, 0.25, 0.75},
    {PG_OP_MUL, 1.5, -2.5, -3.75},
    {PG_OP_POWN, 1.5, -2.0, 0.4444444444444444},
    {PG_OP_POW, 2.0, 0.5, 1.4142135623730951},
    {PG_OP_EXP, 1.0, 0.0, 2.718281828459045},
    {PG_OP_LOG, 2.0, 0.0, 0.6931471805599453},
    {PG_OP_TANH, 0.5, 0.0, 0.46211715726000973},
    {PG_OP_RELU, -0.5, 0.0, 0.0},
    {PG_OP_RELU, 0.5, 0.0, 0.5},
    {PG_OP_SIGMOID, 1.0, 0.0, 0.7310585786300049},
    {PG_OP_SIGMOID, -1000.0, 0.0, 0.0},
    {PG_OP_SIGMOID, 1000.0, 0.0, 1.0},
    {PG_OP_SQRT, 2.0, 0.0, 1.4142135623730951},
    {PG_OP_ABS, -2.5, 0.0, 2.5},
    {PG_OP_SIN, 1.0, 0.0, 0.8414709848078965},
    {PG_OP_COS, 1.0, 0.0, 0.5403023058681398},
    {PG_OP_ERF, 0.5, 0.0, 0.5204998778130465},
    {PG_OP_LOG1P, 0.5, 0.0, 0.4054651081081644},
    {PG_OP_EXPM1, 0.5, 0.0, 0.6487212707001282},
    {PG_OP_LOG2, 3.0, 0.0, 1.584962500721156},
    {PG_OP_LOG10, 3.0, 0.0, 0.47712125471966244},
    {PG_OP_EXP2, 0.5, 0.0, 1.4142135623730951},
    {PG_OP_CBRT, -2.0, 0.0, -1.2599210498948732},
    {PG_OP_TAN, 0.5, 0.0, 0.5463024898437905},
    {PG_OP_ASIN, 0.5, 0.0, 0.5235987755982989},
    {PG_OP_ACOS, 0.5, 0.0, 1.0471975511965979},
    {PG_OP_ATAN, 0.5, 0.0, 0.4636476090008061},
    {PG_OP_SINH, 0.5, 0.0, 0.5210953054937474},
    {PG_OP_COSH, 0.5, 0.0, 1.1276259652063807},
    {PG_OP_ASINH, 0.5, 0.0, 0.48121182505960347},
    {PG_OP_ACOSH, 1.5, 0.0, 0.9624236501192069},
    {PG_OP_ATANH, 0.5, 0.0, 0.5493061443340549},
    {PG_OP_ERFC, 0.5, 0.0, 0.4795001221869535},
    {PG_OP_HYPOT, 3.0, 4.0, 5.0},
    {PG_OP_MAXIMUM, -1.0, 2.0, 2.0},
    {PG_OP_MINIMUM, -1.0, 2.0, -1.0},
    {PG_OP_GATE, 2.0, 3.0, 6.0},
    {PG_OP_GATE, INFINITY, 0.0, 0.0},
    {PG_OP_GATE_EITHER, 0.0, INFINITY, 0.0},
    {PG_OP_GATE_HELD, INFINITY, 0.0, 0.0},
    {PG_OP_HELD, -1.7976931348623157e308, 0.0, -1.7976931348623157e308},
    {PG_OP_HELD, -INFINITY, 0.0, 0.0},
    {PG_OP_TANH_SLOPE, 0.5, 0.46211715726000973, 0.78644773296592741},
    {PG_OP_TANH_SLOPE, 20.0, 1.0, 1.6993417021166355e-17},
    {PG_OP_SIGMOID_SLOPE, 1.0, 0.7310585786300049, 0.19661193324148185},
    {PG_OP_ERF_SLOPE, 0.5, 0.0, 0.87878257893544476},
    {PG_OP_SIGN, -0.5, 0.0, -1.0},
    {PG_OP_FLOOR, -0.5, 0.0, -1.0},
    {PG_OP_CEIL, 0.5, 0.0, 1.0},
    {PG_OP_TRUNC, -1.5, 0.0, -1.0},
    {PG_OP_RINT, 2.5, 0.0, 2.0},
    {PG_OP_FMOD, -7.0, 3.0, -1.0},
    {PG_OP_MOD, -7.0, 3.0, 2.0},
    {PG_OP_FLOORDIV, -7.0, 3.0, -3.0},
    {PG_OP_GELU, 1.0, 0.0, 0.8413447460685429},
    {PG_OP_GELU, -INFINITY, 0.0, 0.0},
    {PG_OP_SILU, 1.0, 0.0, 0.7310585786300049},
    {PG_OP_SILU, -1000.0, 0.0, 0.0},
    {PG_OP_LEAKY_RELU, -2.0, 0.25, -0.5},
    {PG_OP_ELU, -1.0, 2.0, -1.2642411176571153},
    {PG_OP_STEP, -0.5, 0.0, 0.0},
    {PG_OP_ABS_SLOPE, -0.5, 0.0, -1.0},
    {PG_OP_TAKES_LARGER, -1.0, 2.0, 0.0},
    {PG_OP_TAKES_SMALLER, -1.0, 2.0, 1.0},
    {PG_OP_POW_SLOPE, 2.0, 3.0, 12.0},
    {PG_OP_POW_LOG, 2.0, 0.0, 0.6931471805599453},
};

/* op's value of numbers, by way of a graph. */
static double value_of(int op, double a, double b) {
    pg_graph *graph = new_graph();
    pg_node_id ids[3] = {leaf(graph, a), leaf(graph, b), 0};
    CHECK(apply(graph, &ids[2], op, ids[0], ids[1]) == PG_OK);
    double y = pg_node_data(graph, ids[2]);
    pg_graph_free(graph);
    return y;
}

/* dy/da or dy/db as the sweep says. */
static double derivative_of(int op, int which, const double x[2]) {
    pg_graph *graph = new_graph();
    pg_node_id ids[3] = {leaf(graph, x[0]), leaf(graph, x[1]), 0};
    CHECK(apply(graph, &ids[2], op, ids[0], ids[1]) == PG_OK);
    CHECK(pg_backward(graph, ids[2]) == PG_OK);
    double g = pg_node_grad(graph, ids[which]);
    pg_graph_free(graph);
    return g;
}

/* The checker: does this derivative agree with a central difference? */
static bool derivative_agrees(int op, int which, const double x[2], double derivative) {
    const double h = 1e-5;
    double up[2] = {x[0], x[1]}, down[2] = {x[0], x[1]};
    up[which] += h;
    down[which] -= h;
    double difference = (value_of(op, up[0], up[1]) - value_of(op, down[0], down[1])) / (2.0 * h);
    return near(derivative, difference, 1e-5);
}

static void values_are_right(void) {
    for (size_t i = 0; i < LENGTH(known_values); i++) {
        int op = known_values[i].op;
        double y = value_of(op, known_values[i].a, known_values[i].b);
        CHECK(near(y, known_values[i].y, 4e-16));
    }
}

static void each_op_at_random_points(void (*ask)(int op, int which, const double x[2])) {
    for (int op = 1; op <= pg_op_count(); op++) {
        const pg_op_info *info = pg_op_describe(op);
        for (int i = 0; i < 100; i++) {
            double x[2] = {uniform(info->lo[0], info->hi[0]), uniform(info->lo[1], info->hi[1])};
            if (op == PG_OP_POLYGAMMA) x[1] = rint(x[1]); /* an order */
            for (int which = 0; which < info->arity; which++) ask(op, which, x);
        }
    }
}

static void ask_right(int op, int which, const double x[2]) {
    if (!CHECK(derivative_agrees(op, which, x, derivative_of(op, which, x))))
        printf("    %s, operand %d, at %g, %g\n", pg_op_describe(op)->name, which, x[0], x[1]);
}

static void ask_wrong(int op, int which, const double x[2]) {
    double right = derivative_of(op, which, x);
    CHECK(!derivative_agrees(op, which, x, right + 0.01 * (1.0 + fabs(right))));
}

static void derivatives_are_right(void) { each_op_at_random_points(ask_right); }

/* Is it, bit for bit, what the other formulas give? */
static void ask_plain(int op, int which, const double x[2]) {
    const double y = plain_value(op, x[0], x[1], false);
    CHECK(same_bits(value_of(op, x[0], x[1]), y));
    CHECK(derivative_of(op, which, x) == plain_slope(op, which + 1, x[0], x[1], y, false));
}

static void the_formulas_are_those_written_elsewhere(void) { each_op_at_random_points(ask_plain); }

static void wrong_derivatives_are_noticed(void) {
    each_op_at_random_points(ask_wrong);
    double x[2] = {0.7, 0.0}, y = tanh(0.7);
    CHECK(derivative_agrees(PG_OP_TANH, 0, x, 1.0 - y * y));
    CHECK(!derivative_agrees(PG_OP_TANH, 0, x, 1.0 - y));
}

static void kinks_have_the_stated_derivative(void) {
    const double zero[2] = {0.0, 0.0};
    CHECK(derivative_of(PG_OP_RELU, 0, zero) == 0.0);
    CHECK(derivative_of(PG_OP_ABS, 0, zero) == 0.0);
    CHECK(derivative_of(PG_OP_POWN, 0, zero) == 0.0);
    CHECK(derivative_of(PG_OP_POW, 0, zero) == 0.0 && derivative_of(PG_OP_POW, 1, zero) == 0.0);
    CHECK(derivative_of(PG_OP_MAXIMUM, 0, zero) == 1.0);
    CHECK(derivative_of(PG_OP_MAXIMUM, 1, zero) == 0.0);
    CHECK(derivative_of(PG_OP_MINIMUM, 0, zero) == 1.0);
    CHECK(derivative_of(PG_OP_MINIMUM, 1, zero) == 0.0);
}

/* ---- errors ------------------------------------------------------------------------------- */

static const struct {
    int op;
    double a, b;
    pg_status status;
} value_faults[] = {
    /* clang-format off */
    {PG_OP_LOG, -1.0, 0.0, PG_ERR_DOMAIN},
    {PG_OP_LOG, 0.0, 0.0, PG_ERR_DOMAIN},
    {PG_OP_EXP, 1000.0, 0.0, PG_ERR_OVERFLOW},
    {PG_OP_POWN, 0.0, -1.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_POW, 0.0, -1.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_POWN, -8.0, 1.0 / 3.0, PG_ERR_DOMAIN},
    {PG_OP_POW, -8.0, 1.0 / 3.0, PG_ERR_DOMAIN},
    {PG_OP_POWN, 1e200, 2.0, PG_ERR_OVERFLOW},
    {PG_OP_SQRT, -1.0, 0.0, PG_ERR_DOMAIN},
    {PG_OP_SIN, INFINITY, 0.0, PG_ERR_DOMAIN},
    {PG_OP_COS, -INFINITY, 0.0, PG_ERR_DOMAIN},
    {PG_OP_LOG1P, -1.0, 0.0, PG_ERR_DOMAIN},
    {PG_OP_LOG2, 0.0, 0.0, PG_ERR_DOMAIN},
    {PG_OP_LOG10, -1.0, 0.0, PG_ERR_DOMAIN},
    {PG_OP_EXPM1, 1000.0, 0.0, PG_ERR_OVERFLOW},
    {PG_OP_EXP2, 1024.0, 0.0, PG_ERR_OVERFLOW},
    {PG_OP_TAN, INFINITY, 0.0, PG_ERR_DOMAIN},
    {PG_OP_ASIN, 1.5, 0.0, PG_ERR_DOMAIN},
    {PG_OP_ACOS, -1.5, 0.0, PG_ERR_DOMAIN},
    {PG_OP_SINH, -1000.0, 0.0, PG_ERR_OVERFLOW},
    {PG_OP_COSH, 1000.0, 0.0, PG_ERR_OVERFLOW},
    {PG_OP_ACOSH, 0.5, 0.0, PG_ERR_DOMAIN},
    {PG_OP_ATANH, -1.0, 0.0, PG_ERR_DOMAIN},
    {PG_OP_HYPOT, 1.7e308, 1.7e308, PG_ERR_OVERFLOW},
    /* clang-format on */
};

static void check_fault(const pg_graph *graph, int op, int derivative, double a, double b) {
    pg_fault fault = pg_graph_fault(graph);
    CHECK(fault.op == op && fault.derivative == derivative);
    CHECK(same_bits(fault.a, a) && same_bits(fault.b, b));
}

static void faults_leave_the_graph_as_it_was(void) {
    for (size_t i = 0; i < LENGTH(value_faults); i++) {
        pg_graph *graph = new_graph();
        int op = value_faults[i].op;
        double a = value_faults[i].a, b = value_faults[i].b;
        pg_node_id ids[2] = {leaf(graph, a), leaf(graph, b)}, result;
        size_t bytes = pg_graph_bytes(graph), used = graph->used;
        snapshot before = snapshot_take(graph);
        CHECK(apply(graph, &result, op, ids[0], ids[1]) == value_faults[i].status);
        check_fault(graph, op, 0, a, b);
        CHECK(snapshot_holds(&before, graph) && consistent(graph, ids, 2));
        CHECK(pg_graph_bytes(graph) == bytes && graph->used == used);
        snapshot_free(&before);
        pg_graph_free(graph);
    }
}

static void faults_of_expressions_leave_no_steps_behind(void) {
    pg_graph *graph = new_graph();
    pg_node_id ids[2] = {leaf(graph, 0.0), leaf(graph, -8.0)}, result;
    pg_operand zero = node(ids[0]), minus = node(ids[1]);
    snapshot before = snapshot_take(graph);
    CHECK(pg_expr_div(graph, &result, minus, zero) == PG_ERR_ZERO_DIVISION);
    check_fault(graph, PG_OP_POWN, 0, 0.0, -1.0);
    CHECK(pg_expr_div(graph, &result, number(2.0), zero) == PG_ERR_ZERO_DIVISION);
    CHECK(pg_expr_div(graph, &result, minus, number(0.0)) == PG_ERR_ZERO_DIVISION);
    CHECK(pg_expr_pow(graph, &result, minus, number(0.5)) == PG_ERR_DOMAIN);
    CHECK(pg_expr_pow(graph, &result, number(-0.5), minus) == PG_OK);
    pg_graph_release(graph, result);
    CHECK(pg_expr_pow(graph, &result, number(0.0), minus) == PG_ERR_ZERO_DIVISION);
    check_fault(graph, PG_OP_POW, 0, 0.0, -8.0);
    CHECK(snapshot_holds(&before, graph) && consistent(graph, ids, 2));
    snapshot_free(&before);
    pg_graph_free(graph);
}

/* Values that are right, with a derivative that is not. set is a's data when the sweep comes. */
static const struct {
    int op, derivative;
    double a, b, set;
    pg_status status;
} derivative_faults[] = {
    {PG_OP_SQRT, 1, 0.0, 0.0, 0.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_POWN, 1, 0.0, 0.5, 0.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_POWN, 1, 1e-200, -1.0, 1e-200, PG_ERR_OVERFLOW},
    {PG_OP_POW, 1, 0.0, 0.5, 0.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_POW, 2, -2.0, 2.0, -2.0, PG_ERR_DOMAIN},
    {PG_OP_LOG, 1, 1.0, 0.0, 0.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_LOG1P, 1, 1.0, 0.0, -1.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_CBRT, 1, 0.0, 0.0, 0.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_ASIN, 1, 1.0, 0.0, 1.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_ACOS, 1, -1.0, 0.0, -1.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_ACOSH, 1, 1.0, 0.0, 1.0, PG_ERR_ZERO_DIVISION},
    {PG_OP_ACOSH, 1, 2.0, 0.0, 0.5, PG_ERR_DOMAIN},
    {PG_OP_HYPOT, 1, 0.0, 0.0, 0.0, PG_ERR_ZERO_DIVISION},
};

static void derivatives_have_faults_of_their_own(void) {
    for (size_t i = 0; i < LENGTH(derivative_faults); i++) {
        pg_graph *graph = new_graph();
        int op = derivative_faults[i].op;
        pg_node_id ids[3] = {leaf(graph, derivative_faults[i].a),
                             leaf(graph, derivative_faults[i].b)};
        CHECK(apply(graph, &ids[2], op, ids[0], ids[1]) == PG_OK);
        pg_node_set_data(graph, ids[0], derivative_faults[i].set);
        snapshot before = snapshot_take(graph);
        CHECK(pg_backward(graph, ids[2]) == derivative_faults[i].status);
        check_fault(graph, op, derivative_faults[i].derivative, derivative_faults[i].set,
                    derivative_faults[i].b);
        CHECK(snapshot_holds(&before, graph));
        CHECK(pg_push(graph, ids[2]) == PG_OK); /* its gradient is 0: no operand gets anything */
        CHECK(snapshot_holds(&before, graph));
        pg_node_set_grad(graph, ids[2], 1.0);
        CHECK(pg_push(graph, ids[2]) == derivative_faults[i].status);
        pg_node_set_grad(graph, ids[2], 0.0);
        CHECK(snapshot_holds(&before, graph) && consistent(graph, ids, 3));
        snapshot_free(&before);
        pg_graph_free(graph);
    }
}

static void infs_and_nans_pass_through(void) {
    CHECK(value_of(PG_OP_ADD, INFINITY, 1.0) == INFINITY);
    CHECK(isnan(value_of(PG_OP_ADD, INFINITY, -INFINITY)));
    CHECK(value_of(PG_OP_ADD, 1.7e308, 1.7e308) == INFINITY);
    CHECK(value_of(PG_OP_MUL, 1e200, -1e200) == -INFINITY);
    CHECK(isnan(value_of(PG_OP_MUL, INFINITY, 0.0)));
    CHECK(isnan(value_of(PG_OP_MUL, NAN, 1.0)));
    CHECK(value_of(PG_OP_EXP, INFINITY, 0.0) == INFINITY);
    CHECK(value_of(PG_OP_LOG, INFINITY, 0.0) == INFINITY);
    CHECK(value_of(PG_OP_HYPOT, -INFINITY, NAN) == INFINITY);
    CHECK(value_of(PG_OP_HYPOT, 1e-200, 1e-200) > 1.4e-200);
    const int all[] = {PG_OP_EXP,  PG_OP_LOG,  PG_OP_SQRT, PG_OP_SIN,     PG_OP_POWN,
                       PG_OP_TANH, PG_OP_RELU, PG_OP_ABS,  PG_OP_MAXIMUM, PG_OP_MINIMUM};
    for (size_t i = 0; i < LENGTH(all); i++) CHECK(isnan(value_of(all[i], NAN, 2.0)));
    CHECK(isnan(value_of(PG_OP_MAXIMUM, 2.0, NAN)) && isnan(value_of(PG_OP_MINIMUM, 2.0, NAN)));
}

/* ---- expressions -------------------------------------------------------------------------- */

typedef pg_status expression(pg_graph *, pg_node_id *, pg_operand, pg_operand);

/* Write an expression the way it was appended: add(3, mul(5, -1)); a number follows a semicolon. */
static void describe(const pg_graph *graph, pg_node_id id, char *text, size_t size) {
    const pg_op_info *info = pg_op_describe(pg_node_op(graph, id));
    if (info == NULL) {
        snprintf(text, size, "%g", pg_node_data(graph, id));
        return;
    }
    char a[64] = "", b[64] = "";
    describe(graph, pg_node_child(graph, id, 0), a, sizeof a);
    if (info->arity == 2) describe(graph, pg_node_child(graph, id, 1), b, sizeof b);
    if (info->takes_number) snprintf(b, sizeof b, "%g", pg_node_number(graph, id));
    snprintf(text, size, "%s(%s%s%s)", info->name, a, info->takes_number ? "; " : ", ", b);
}

static void check_expression(expression *append, pg_operand a, pg_operand b, const char *expected) {
    pg_graph *graph = new_graph();
    pg_node_id three = leaf(graph, 3.0), five = leaf(graph, 5.0), ids[3] = {three, five, 0};
    char text[256] = "";
    if (CHECK(append(graph, &ids[2], a, b) == PG_OK)) {
        describe(graph, ids[2], text, sizeof text);
        if (!CHECK(strcmp(text, expected) == 0)) printf("    %s, not %s\n", text, expected);
        CHECK(consistent(graph, ids, 3));
        pg_graph_release(graph, ids[2]);
    }
    CHECK(pg_graph_live(graph) == 2);
    pg_graph_free(graph);
}

static pg_status negate(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    (void)b;
    return pg_expr_neg(graph, id_ret, a.id);
}

static void expressions_are_micrograds(void) {
    const pg_operand a = {1, 0.0}, b = {2, 0.0}, two = {0, 2.0}; /* a is 3, b is 5 */
    check_expression(pg_expr_add, a, b, "add(3, 5)");
    check_expression(pg_expr_add, a, two, "add(3, 2)");
    check_expression(pg_expr_add, two, a, "add(3, 2)");
    check_expression(pg_expr_add, a, a, "add(3, 3)");
    check_expression(pg_expr_mul, b, a, "mul(5, 3)");
    check_expression(pg_expr_mul, a, two, "mul(3, 2)");
    check_expression(pg_expr_mul, two, a, "mul(3, 2)");
    check_expression(negate, a, a, "mul(3, -1)");
    check_expression(pg_expr_sub, a, b, "add(3, mul(5, -1))");
    check_expression(pg_expr_sub, a, a, "add(3, mul(3, -1))");
    check_expression(pg_expr_sub, a, two, "add(3, -2)");
    check_expression(pg_expr_sub, two, a, "add(mul(3, -1), 2)");
    check_expression(pg_expr_div, a, b, "mul(3, pown(5; -1))");
    check_expression(pg_expr_div, a, a, "mul(3, pown(3; -1))");
    check_expression(pg_expr_div, a, two, "mul(3, 0.5)");
    check_expression(pg_expr_div, two, a, "mul(pown(3; -1), 2)");
    check_expression(pg_expr_pow, a, two, "pown(3; 2)");
    check_expression(pg_expr_pow, two, a, "pow(2, 3)");
    check_expression(pg_expr_pow, a, b, "pow(3, 5)");
}

static void nodes_tell_what_they_are(void) {
    pg_graph *graph = new_graph();
    pg_node_id a = leaf(graph, 3.0), square, variadic, bare, children[3] = {a, a, a};
    const double locals[3] = {1.0, 2.0, 3.0};
    CHECK(pg_graph_number(graph, &square, PG_OP_POWN, a, 2.0) == PG_OK);
    CHECK(pg_graph_variadic(graph, &variadic, 7.0, (pg_children){children, locals, 3}) == PG_OK);
    CHECK(pg_graph_variadic(graph, &bare, 8.0, (pg_children){NULL, NULL, 0}) == PG_OK);
    CHECK(pg_node_is_leaf(graph, a) && !pg_node_is_leaf(graph, square));
    CHECK(pg_node_arity(graph, a) == 0 && pg_node_child(graph, a, 0) == 0);
    CHECK(pg_node_op(graph, square) == PG_OP_POWN && pg_node_number(graph, square) == 2.0);
    CHECK(pg_node_arity(graph, square) == 1 && pg_node_child(graph, square, 0) == a);
    CHECK(pg_node_child(graph, square, 1) == 0 && pg_node_number(graph, a) == 0.0);
    CHECK(pg_node_is_variadic(graph, variadic) && !pg_node_is_variadic(graph, a));
    CHECK(pg_node_arity(graph, variadic) == 3 && pg_node_child(graph, variadic, 2) == a);
    CHECK(pg_node_child(graph, variadic, 3) == 0 && pg_node_locals(graph, variadic)[2] == 3.0);
    CHECK(pg_node_arity(graph, bare) == 0 && pg_node_locals(graph, bare) == NULL);
    CHECK(pg_node_locals(graph, a) == NULL && pg_node_data(graph, variadic) == 7.0);
    CHECK(pg_op_describe(0) == NULL && pg_op_describe(pg_op_count() + 1) == NULL);
    pg_graph_free(graph);
}

const test_case op_tests[] = {
    TEST(values_are_right),
    TEST(the_formulas_are_those_written_elsewhere),
    TEST(derivatives_are_right),
    TEST(wrong_derivatives_are_noticed),
    TEST(kinks_have_the_stated_derivative),
    TEST(faults_leave_the_graph_as_it_was),
    TEST(faults_of_expressions_leave_no_steps_behind),
    TEST(derivatives_have_faults_of_their_own),
    TEST(infs_and_nans_pass_through),
    TEST(expressions_are_micrograds),
    TEST(nodes_tell_what_they_are),
    {0},
};
