/* test_runs.c - what runs as one, and does any bit come of it: layers of dots, the same op on
 * neighbouring slots, and the steps back of both.
 *
 * A shape is a small function whose code and steps are known. Each, and thousands of random ones
 * made of the same parts, must give what ordinary nodes give; and, sums over any number of rows
 * among it, what the same program gives without the pass and with each instruction run alone. */
#include "scene.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t nothing = 0xffffffff; /* an enumerator is an int */
enum { widest = 140, most_pairs = 12 };

/* ---- building ------------------------------------------------------------------------------- */

static uint32_t add(recipe *r, uint32_t a, uint32_t b) {
    return recipe_add(r, (line){.op = PG_OP_ADD, .a = a, .b = b});
}

static uint32_t mul(recipe *r, uint32_t a, uint32_t b) {
    return recipe_add(r, (line){.op = PG_OP_MUL, .a = a, .b = b});
}

static uint32_t of(recipe *r, int op, uint32_t a) {
    return recipe_add(r, (line){.op = op, .a = a, .number = 2.0});
}

static uint32_t constant(recipe *r, double number) {
    return recipe_add(r, (line){.op = PG_OP_LEAF, .number = number});
}

static uint32_t param(const recipe *r, size_t i) { return (uint32_t)(r->inputs + i % r->params); }

/* start + l0 * r0 + l1 * r1 ...; nothing: from the first product. */
static uint32_t dot(recipe *r, uint32_t start, const uint32_t *lefts, const uint32_t *rights,
                    size_t pairs) {
    uint32_t sum = start;
    for (size_t i = 0; i < pairs; i++) {
        const uint32_t product = mul(r, lefts[i], rights[i]);
        sum = sum == nothing ? product : add(r, sum, product);
    }
    return sum;
}

/* A list of values, as a layer gives one and takes one. */
typedef struct list {
    uint32_t at[widest];
    size_t count;
} list;

static list inputs_of(const recipe *r) {
    list all = {.count = r->inputs};
    for (uint32_t i = 0; i < r->inputs; i++) all.at[i] = i;
    return all;
}

/* Parameters from one on, around and around. */
static list params_from(const recipe *r, size_t first, size_t count) {
    list some = {.count = count};
    for (size_t i = 0; i < count; i++) some.at[i] = param(r, first + i);
    return some;
}

/* One dot with weights of its own. */
static uint32_t neuron(recipe *r, uint32_t start, const list *xs, size_t first_weight) {
    const list weights = params_from(r, first_weight, xs->count);
    return dot(r, start, weights.at, xs->at, xs->count);
}

/* Neurons of consecutive weights; from a bias, which is the parameter before them, or from nothing.
 */
static list layer(recipe *r, const list *xs, size_t width, size_t first, bool biased) {
    list ys = {.count = width};
    for (size_t i = 0; i < width; i++, first += xs->count + biased)
        ys.at[i] = neuron(r, biased ? param(r, first) : nothing, xs, first + biased);
    return ys;
}

static list each(recipe *r, int op, const list *xs) {
    list ys = {.count = xs->count};
    for (size_t i = 0; i < xs->count; i++) ys.at[i] = of(r, op, xs->at[i]);
    return ys;
}

/* Elements x, y, of the one list and of the other from so many places on. */
static list each_two(recipe *r, int op, const list *xs, size_t x, const list *ys, size_t y,
                     size_t count) {
    list zs = {.count = count};
    for (size_t i = 0; i < count; i++)
        zs.at[i] = recipe_add(r, (line){.op = op, .a = xs->at[x + i], .b = ys->at[y + i]});
    return zs;
}

/* The usual end: a dot with the last parameters. */
static recipe end_in_dot(recipe *r, const list *xs) {
    recipe_end(r, neuron(r, nothing, xs, r->params - xs->count));
    return *r;
}

static recipe end_in(recipe *r, uint32_t value) {
    recipe_end(r, value);
    return *r;
}

/* ---- shapes: layers ------------------------------------------------------------------------- */

static recipe a_layer(void) {
    recipe r = recipe_new(3, 20);
    const list x = inputs_of(&r), h = layer(&r, &x, 4, 0, true), y = each(&r, PG_OP_TANH, &h);
    return end_in_dot(&r, &y);
}

/* Bias and weights are one parameter, in each neuron. */
static recipe a_layer_of_one_parameter(void) {
    recipe r = recipe_new(3, 5);
    list h = {.count = 4};
    for (size_t i = 0; i < 4; i++)
        h.at[i] = dot(&r, 3, (uint32_t[]){3, 3, 3}, (uint32_t[]){0, 1, 2}, 3);
    const list y = each(&r, PG_OP_TANH, &h);
    return end_in_dot(&r, &y);
}

static recipe layers_without_activations(void) {
    recipe r = recipe_new(2, 15);
    const list x = inputs_of(&r), h = layer(&r, &x, 3, 0, false), y = layer(&r, &h, 3, 6, false);
    return end_in(&r, add(&r, add(&r, y.at[0], y.at[1]), y.at[2]));
}

/* The same weights at each step of time. */
static recipe a_recurrence(void) {
    recipe r = recipe_new(4, 8);
    list h = {{0, 1}, 2};
    for (uint32_t step = 0; step < 3; step++) {
        const list x = {{h.at[0], h.at[1], 2 + step % 2}, 3};
        const list y = layer(&r, &x, 2, 0, true);
        h = each(&r, PG_OP_TANH, &y);
    }
    return end_in(&r, add(&r, h.at[0], h.at[1]));
}

/* Between the gradients that x gets from two dots it gets one from tanh. */
static recipe op_between(void) {
    recipe r = recipe_new(2, 4);
    const list x = inputs_of(&r);
    const uint32_t first = neuron(&r, nothing, &x, 0), between = of(&r, PG_OP_TANH, 0);
    const uint32_t last = of(&r, PG_OP_SIN, neuron(&r, nothing, &x, 2));
    return end_in(&r, add(&r, add(&r, first, between), last));
}

/* Likewise for a parameter's sum over the rows, and for no input. */
static recipe op_between_sums(void) {
    recipe r = recipe_new(3, 3);
    const list x = {{0, 1}, 2};
    const uint32_t first = neuron(&r, nothing, &x, 0), between = mul(&r, param(&r, 1), 2);
    const uint32_t sum = add(&r, first, of(&r, PG_OP_TANH, between));
    return end_in(&r, add(&r, sum, neuron(&r, nothing, &x, 1)));
}

/* Layers on a stream that each adds to. */
static recipe a_stream(void) {
    recipe r = recipe_new(2, 26);
    list x = inputs_of(&r);
    for (size_t i = 0; i < 2; i++) {
        const list h = layer(&r, &x, 3, 12 * i, false), g = each(&r, PG_OP_RELU, &h);
        const list y = layer(&r, &g, 2, 12 * i + 6, false);
        x = each_two(&r, PG_OP_ADD, &x, 0, &y, 0, 2);
    }
    return end_in_dot(&r, &x);
}

/* Queries, keys and values of the same inputs; a depth-first walk comes to a query, then a key. */
static recipe attention(void) {
    recipe r = recipe_new(2, 12);
    const list x = inputs_of(&r), q = layer(&r, &x, 2, 0, false), k = layer(&r, &x, 2, 4, false),
               v = layer(&r, &x, 2, 8, false);
    const uint32_t score = of(&r, PG_OP_TANH, dot(&r, nothing, q.at, k.at, 2));
    return end_in(&r, dot(&r, nothing, (uint32_t[]){score, score}, v.at, 2));
}

/* Outputs that need some of the neurons each; one is itself a neuron; one neuron is unused. */
static recipe partly_reached(void) {
    recipe r = recipe_new(3, 15);
    const list x = inputs_of(&r), h = layer(&r, &x, 5, 0, false), y = each(&r, PG_OP_TANH, &h);
    recipe_end(&r, add(&r, y.at[0], y.at[2]));
    recipe_end(&r, add(&r, y.at[2], y.at[1]));
    return end_in(&r, h.at[3]);
}

/* Dots of two layers in turns, which add to the same gradients. */
static recipe two_layers_in_turns(void) {
    recipe r = recipe_new(3, 24);
    const list x = inputs_of(&r), back = {{2, 1, 0}, 3};
    list y = {.count = 6};
    for (size_t i = 0; i < 6; i++)
        y.at[i] = of(&r, PG_OP_SIN, neuron(&r, nothing, i % 2 ? &back : &x, 3 * i));
    return end_in_dot(&r, &y);
}

/* Neurons that start from rows' values of this op: all that such an op needs comes before the first
 * neuron, unless it can fail. */
static recipe residuals_of(int op) {
    recipe r = recipe_new(3, 12);
    const list x = inputs_of(&r);
    list y = {.count = 3};
    for (size_t i = 0; i < 3; i++) {
        const uint32_t start = of(&r, op, mul(&r, x.at[i], x.at[i]));
        y.at[i] = of(&r, PG_OP_TANH, neuron(&r, start, &x, 3 * i));
    }
    return end_in_dot(&r, &y);
}

static recipe residuals(void) { return residuals_of(PG_OP_RELU); }
static recipe residuals_that_can_fail(void) { return residuals_of(PG_OP_SQRT); }

/* Each neuron starts from the one before it. */
static recipe residuals_in_a_chain(void) {
    recipe r = recipe_new(3, 9);
    const list x = inputs_of(&r);
    uint32_t y = 0;
    for (size_t i = 0; i < 3; i++) y = of(&r, PG_OP_TANH, neuron(&r, y, &x, 3 * i));
    return end_in(&r, y);
}

/* A neuron starts from another one's input. */
static recipe residuals_of_inputs(void) {
    recipe r = recipe_new(3, 9);
    const list x = inputs_of(&r);
    list y = {.count = 3};
    for (size_t i = 0; i < 3; i++) y.at[i] = of(&r, PG_OP_TANH, neuron(&r, x.at[i], &x, 3 * i));
    return end_in_dot(&r, &y);
}

/* ---- shapes: two dots of any kind ----------------------------------------------------------- */

typedef enum kind {
    plain,
    reversed,      /* the inputs in another order */
    repeated,      /* an input twice */
    shorter,       /* an input less */
    biased,        /* from a parameter */
    from_constant, /* likewise */
    residual,      /* from an input */
    of_rows,       /* not of weights, but of the inputs themselves */
    of_constants,  /* a constant among the weights */
    of_functions,  /* weights are functions of parameters */
    kinds
} kind;

static uint32_t dot_of_kind(recipe *r, kind kind, size_t first) {
    list x = {{0, 1, 2}, 3}, w = params_from(r, first, 3);
    uint32_t start = nothing;
    if (kind == reversed) x = (list){{2, 1, 0}, 3};
    else if (kind == repeated) x.at[2] = 0;
    else if (kind == shorter) x.count = 2;
    else if (kind == biased) start = param(r, 6 + first);
    else if (kind == from_constant) start = constant(r, 0.5);
    else if (kind == residual) start = 3;
    else if (kind == of_rows) w = x;
    else if (kind == of_constants) w.at[1] = constant(r, -1.5);
    else if (kind == of_functions) w = each(r, PG_OP_SIN, &w);
    return dot(r, start, w.at, x.at, x.count);
}

/* Through tanh, so that they aren't neighbours by themselves. */
static recipe two_dots(kind first, kind second) {
    recipe r = recipe_new(4, 10);
    const uint32_t a = of(&r, PG_OP_TANH, dot_of_kind(&r, first, 0));
    return end_in(&r, add(&r, a, of(&r, PG_OP_TANH, dot_of_kind(&r, second, 3))));
}

/* ---- shapes: neighbours --------------------------------------------------------------------- */

/* Dots that are above 0, whatever the inputs are: the last three. */
static list positive_dots(recipe *r, size_t count) {
    const uint32_t last = (uint32_t)r->inputs, start = constant(r, 30.0);
    const list x = {{last - 3, last - 2, last - 1}, 3};
    list ys = {.count = count};
    for (size_t i = 0; i < count; i++) ys.at[i] = neuron(r, start, &x, 3 * i);
    return ys;
}

static recipe neighbours_of(int op) {
    recipe r = recipe_new(3, 16);
    const list h = positive_dots(&r, 4), y = each(&r, op, &h);
    return end_in_dot(&r, &y);
}

static recipe sizes(void) { return neighbours_of(PG_OP_ABS); }
static recipe roots(void) { return neighbours_of(PG_OP_SQRT); }
static recipe logs(void) { return neighbours_of(PG_OP_LOG); }
static recipe exps(void) { return neighbours_of(PG_OP_EXP); }
static recipe squares(void) { return neighbours_of(PG_OP_POWN); }
static recipe detached(void) { return neighbours_of(PG_OP_DETACH); }

static recipe powers(void) {
    recipe r = recipe_new(6, 12);
    const list x = inputs_of(&r), base = positive_dots(&r, 3);
    const list y = each_two(&r, PG_OP_POW, &base, 0, &x, 0, 3);
    return end_in_dot(&r, &y);
}

/* The last input first. */
static recipe from_the_last(void) {
    recipe r = recipe_new(4, 4);
    const list x = {{3, 2, 1, 0}, 4}, y = each(&r, PG_OP_TANH, &x);
    return end_in_dot(&r, &y);
}

/* One output takes them from the first, so that the code has them in this order; the other from the
 * last, so that its steps go up. */
static recipe up_and_down(void) {
    recipe r = recipe_new(4, 4);
    const list x = inputs_of(&r), y = each(&r, PG_OP_TANH, &x);
    const list back = {{y.at[3], y.at[2], y.at[1], y.at[0]}, 4};
    end_in_dot(&r, &y);
    return end_in_dot(&r, &back);
}

static recipe a_chain(void) {
    recipe r = recipe_new(1, 0);
    uint32_t y = 0;
    for (size_t i = 0; i < 5; i++) y = of(&r, PG_OP_TANH, y);
    return end_in(&r, y);
}

/* Two chains side by side: the third op reads what the first wrote, as one of four neighbours. */
static recipe two_chains(void) {
    recipe r = recipe_new(2, 2);
    const list x = inputs_of(&r), y = each(&r, PG_OP_TANH, &x), z = each(&r, PG_OP_TANH, &y);
    recipe_end(&r, y.at[0]);
    recipe_end(&r, y.at[1]);
    return end_in_dot(&r, &z);
}

/* x_i op x_{i + apart} of inputs that have each a gradient already, from what stands behind. In the
 * first output the steps go down, in the second they go up. */
static recipe overlapping(int op, size_t apart, bool swapped) {
    enum { count = 5 };
    recipe r = recipe_new(count + apart, 4 * count + 2 * apart);
    const list x = inputs_of(&r);
    const list y = each_two(&r, op, &x, swapped ? apart : 0, &x, swapped ? 0 : apart, count);
    const list back = {{y.at[4], y.at[3], y.at[2], y.at[1], y.at[0]}, count};
    recipe_end(&r, add(&r, neuron(&r, nothing, &y, 0), neuron(&r, nothing, &x, 2 * count)));
    recipe_end(
        &r, add(&r, neuron(&r, nothing, &back, count), neuron(&r, nothing, &x, 3 * count + apart)));
    return r;
}

static recipe sums_side_by_side(void) { return overlapping(PG_OP_ADD, 1, true); }
static recipe sums_far_apart(void) { return overlapping(PG_OP_ADD, 5, false); }

static recipe larger_ones(void) {
    recipe r = recipe_new(6, 3);
    const list x = inputs_of(&r), y = each_two(&r, PG_OP_MAXIMUM, &x, 0, &x, 3, 3);
    return end_in_dot(&r, &y);
}

static recipe selects(void) {
    recipe r = recipe_new(6, 3);
    list y = {.count = 3};
    for (uint32_t i = 0; i < 3; i++)
        y.at[i] = recipe_add(
            &r, (line){.op = PG_OP_SELECT, .a = i, .b = i + 3, .left = i, .right = i + 3});
    return end_in_dot(&r, &y);
}

/* Weights that are functions of parameters: computed once, and as neighbours too. */
static recipe functions_of_parameters(void) {
    recipe r = recipe_new(3, 3);
    const list x = inputs_of(&r), w = params_from(&r, 0, 3), v = each(&r, PG_OP_TANH, &w);
    return end_in(&r, dot(&r, nothing, v.at, x.at, 3));
}

/* ---- what is there -------------------------------------------------------------------------- */

/* "2*dot tanh ": names, with how many run as one. Inside a run, each must count those that follow.
 */
typedef struct text {
    char letters[400];
    size_t length;
} text;

static void tell(text *t, const char *name, uint32_t run) {
    const size_t room = sizeof t->letters - t->length;
    if (run > 1) t->length += (size_t)snprintf(t->letters + t->length, room, "%u*%s ", run, name);
    else t->length += (size_t)snprintf(t->letters + t->length, room, "%s ", name);
}

static text code_of(const pg_program *program, size_t first, size_t count) {
    text t = {.length = 0};
    const pg_instr *code = pg_program_code(program) + first;
    for (size_t i = 0; i < count; i += code[i].run) {
        if (!CHECK(code[i].run >= 1 && code[i].run <= count - i)) break;
        for (uint32_t k = 0; k < code[i].run; k++)
            CHECK(code[i + k].run == code[i].run - k && code[i + k].op == code[i].op);
        tell(&t, pg_instr_name(code[i].op), code[i].run);
    }
    return t;
}

static text rows_code(const pg_program *program) {
    const pg_program_size size = pg_program_measure(program);
    return code_of(program, size.uniform_instrs, size.row_instrs);
}

static text steps_in(const pg_program *program, const pg_step *steps, size_t count) {
    text t = {.length = 0};
    for (size_t i = 0; i < count; i += steps[i].run) {
        if (!CHECK(steps[i].run >= 1 && steps[i].run <= count - i)) break;
        for (uint32_t k = 0; k < steps[i].run; k++) CHECK(steps[i + k].run == steps[i].run - k);
        const bool collects = steps[i].instr == PG_COLLECT;
        tell(&t, collects ? "collect" : pg_instr_name(pg_program_code(program)[steps[i].instr].op),
             steps[i].run);
    }
    return t;
}

static bool is_told(const text *t, const char *expected) {
    const bool same = strcmp(t->letters, expected) == 0;
    if (!same) printf("\"%s\", expected \"%s\"\n", t->letters, expected);
    return same;
}

static bool code_is(const pg_program *program, const char *expected) {
    const text code = rows_code(program);
    return is_told(&code, expected);
}

/* The steps of one output's rows, by parameters and inputs. */
static bool steps_are(const pg_program *program, size_t output, const char *expected) {
    pg_backward_plan *plan = NULL;
    CHECK(pg_backward_plan_new(&plan, program, output, both) == PG_OK);
    const pg_steps steps = pg_backward_plan_steps(plan);
    const text rows = steps_in(program, steps.rows, steps.row_count);
    pg_backward_plan_free(plan);
    return is_told(&rows, expected);
}

typedef struct shape {
    const char *name;
    recipe (*build)(void);
    const char *code, *steps; /* of the rows; steps of the first output */
} shape;

#define SHAPE(build, code, steps) {#build, build, code, steps}
static const shape shapes[] = {
    SHAPE(a_layer, "4*dot 4*tanh dot ", "dot 4*tanh 4*dot "),
    SHAPE(a_layer_of_one_parameter, "4*dot 4*tanh dot ", "dot 4*tanh 4*dot "),
    SHAPE(layers_without_activations, "3*dot 3*dot add add ", "add add 3*dot 3*dot "),
    SHAPE(a_recurrence, "2*dot 2*tanh 2*dot 2*tanh 2*dot 2*tanh add ",
          "add 2*tanh 2*dot 2*tanh 2*dot 2*tanh 2*dot "),
    SHAPE(op_between, "2*dot tanh add sin add ", "add sin add dot tanh dot "),
    SHAPE(op_between_sums, "2*dot mul tanh add add ", "add add tanh dot mul dot "),
    SHAPE(a_stream, "3*dot 3*relu 2*dot 2*add 3*dot 3*relu 2*dot 2*add dot ",
          "dot 2*add 2*dot 3*relu 3*dot 2*add 2*dot 3*relu 3*dot "),
    SHAPE(attention, "6*dot dot tanh dot ", "dot tanh dot 6*dot "),
    SHAPE(partly_reached, "4*dot 2*tanh add tanh add ", "add 2*tanh 2*dot "),
    SHAPE(two_layers_in_turns, "3*dot sin 3*dot sin sin sin sin sin dot ",
          "dot sin sin dot sin dot sin dot sin dot sin dot dot "),
    SHAPE(residuals, "mul relu mul relu mul relu 3*dot 3*tanh dot ",
          "dot tanh dot relu mul tanh dot relu mul tanh dot relu mul "),
    SHAPE(residuals_that_can_fail, "mul sqrt dot tanh mul sqrt dot tanh mul sqrt dot tanh dot ",
          "dot tanh dot sqrt mul tanh dot sqrt mul tanh dot sqrt mul "),
    SHAPE(residuals_in_a_chain, "dot tanh dot tanh dot tanh ", "tanh dot tanh dot tanh dot "),
    SHAPE(residuals_of_inputs, "dot dot dot tanh mul tanh mul add tanh mul add ",
          "add mul tanh dot add mul tanh dot mul tanh dot "),
    SHAPE(sizes, "4*dot 4*abs dot ", "dot 4*abs 4*dot "),
    SHAPE(roots, "4*dot 4*sqrt dot ", "dot sqrt sqrt sqrt sqrt 4*dot "),
    SHAPE(logs, "4*dot 4*log dot ", "dot log log log log 4*dot "),
    SHAPE(exps, "4*dot 4*exp dot ", "dot exp exp exp exp 4*dot "),
    SHAPE(powers, "3*dot 3*pow dot ", "dot pow pow pow 3*dot "),
    SHAPE(squares, "4*dot pown pown pown pown dot ", "dot pown pown pown pown 4*dot "),
    SHAPE(detached, "4*dot detach detach detach detach dot ", "dot "),
    SHAPE(from_the_last, "tanh tanh tanh tanh dot ", "dot tanh tanh tanh tanh "),
    SHAPE(up_and_down, "4*tanh dot dot ", "dot 4*tanh "),
    SHAPE(a_chain, "tanh tanh tanh tanh tanh ", "tanh tanh tanh tanh tanh "),
    SHAPE(two_chains, "2*tanh 2*tanh dot ", "tanh "),
    SHAPE(sums_side_by_side, "5*add dot 2*dot add dot add ", "add dot dot add add add add add "),
    SHAPE(sums_far_apart, "5*add dot 2*dot add dot add ", "add dot dot 5*add "),
    SHAPE(larger_ones, "3*maximum dot ", "dot 3*maximum "),
    SHAPE(selects, "select select select dot ", "dot select select select "),
    SHAPE(functions_of_parameters, "dot ", "dot "),
};

static void check_shape(const shape *shape, unsigned passes) {
    recipe r = shape->build();
    pg_program *program = must_record(&r, NULL, passes, 0);
    const bool right = code_is(program, shape->code) && steps_are(program, 0, shape->steps);
    if (!CHECK(right)) printf("%s\n", shape->name);
    pg_program_free(program);
    recipe_free(&r);
}

static void shapes_run_as_they_should(void) {
    for (size_t i = 0; i < LENGTH(shapes); i++) check_shape(&shapes[i], exact_passes);
}

/* Where gradients may be summed in any order, steps are the code backwards: what runs as one
 * forward does so backward, and no chain is kept apart for the sake of a sum. */
static void the_order_of_the_code_joins_steps(void) {
    static const shape ordered[] = {
        SHAPE(residuals, "mul relu mul relu mul relu 3*dot 3*tanh dot ",
              "dot 3*tanh 3*dot relu mul relu mul relu mul "),
        SHAPE(residuals_of_inputs, "dot dot dot 3*tanh dot ", "dot 3*tanh dot dot dot "),
        SHAPE(two_layers_in_turns, "3*dot sin 3*dot sin sin sin sin sin dot ",
              "dot sin sin sin sin sin sin 3*dot 3*dot "),
        SHAPE(op_between, "2*dot tanh add sin add ", "add sin add tanh 2*dot "),
        SHAPE(up_and_down, "4*tanh dot dot ", "dot 4*tanh "),
    };
    for (size_t i = 0; i < LENGTH(ordered); i++)
        check_shape(&ordered[i], exact_passes | PG_PASS_ORDER);
}

/* Every two kinds of dots: are they a layer? Those of uniform weights, the same inputs in the same
 * order, each once, and of the same kind of start: none, a uniform value, a row's. */
static bool are_layer(kind a, kind b) {
    const int starts[kinds] = {[biased] = 1, [from_constant] = 1, [residual] = 2};
    if (a == repeated || a == of_rows || b == of_rows) return false;
    if (a == reversed || a == shorter || b == reversed || b == shorter || b == repeated)
        return a == b;
    return starts[a] == starts[b];
}

static void only_like_dots_are_a_layer(void) {
    for (kind a = 0; a < kinds; a++) {
        for (kind b = 0; b < kinds; b++) {
            recipe r = two_dots(a, b);
            pg_program *program = must_record(&r, NULL, exact_passes, 0);
            const bool layer = are_layer(a, b),
                       together = layer || (a == repeated && b == repeated);
            CHECK(code_is(program, layer      ? "2*dot 2*tanh add "
                                   : together ? "dot dot 2*tanh add "
                                              : "dot tanh dot tanh add "));
            pg_program_free(program);
            recipe_free(&r);
        }
    }
}

/* Without the pass, only what stands there by itself. */
static void without_the_pass_layers_stay_apart(void) {
    recipe r = a_layer(), bare = layers_without_activations();
    pg_program *program = must_record(&r, NULL, exact_passes & ~PG_PASS_LAYERS, 0);
    CHECK(code_is(program, "dot tanh dot tanh dot tanh dot tanh dot "));
    CHECK(steps_are(program, 0, "dot tanh dot tanh dot tanh dot tanh dot "));
    pg_program_free(program);
    program = must_record(&bare, NULL, exact_passes & ~PG_PASS_LAYERS, 0);
    CHECK(code_is(program, "3*dot 2*dot add dot add "));
    pg_program_free(program);
    recipe_free(&r);
    recipe_free(&bare);
}

/* Dots that are no weighted ones: of parameters only, computed once; or, without hoisting, of
 * weights that are row values. */
static void dots_of_uniform_values_are_no_layer(void) {
    recipe r = recipe_new(1, 6);
    const list w = params_from(&r, 0, 2), v = layer(&r, &w, 2, 2, false);
    end_in(&r, dot(&r, nothing, v.at, (uint32_t[]){0, 0}, 2));
    pg_program *program = must_record(&r, NULL, exact_passes, 0);
    const text uniform = code_of(program, 0, pg_program_measure(program).uniform_instrs);
    CHECK(is_told(&uniform, "dot dot ") && code_is(program, "dot "));
    pg_program_free(program);
    program = must_record(&r, NULL, PG_PASS_FUSE | PG_PASS_LAYERS, 0);
    CHECK(code_is(program, "dot dot dot "));
    pg_program_free(program);
    recipe_free(&r);
}

/* Steps of one output may bring together what those of another can't. */
static void each_output_has_steps_of_its_own(void) {
    recipe r = partly_reached(), turned = up_and_down(), sums = sums_far_apart();
    pg_program *program = must_record(&r, NULL, exact_passes, 0);
    CHECK(steps_are(program, 1, "add tanh tanh 2*dot ") && steps_are(program, 2, "dot "));
    pg_program_free(program);
    program = must_record(&turned, NULL, exact_passes, 0);
    CHECK(steps_are(program, 1, "dot 4*tanh ")); /* from the first slot to the last */
    pg_program_free(program);
    program = must_record(&sums, NULL, exact_passes, 0);
    CHECK(steps_are(program, 1, "add dot dot 5*add "));
    pg_program_free(program);
    recipe_free(&r);
    recipe_free(&turned);
    recipe_free(&sums);
}

static void uniform_code_has_neighbours_too(void) {
    recipe r = functions_of_parameters();
    pg_program *program = must_record(&r, NULL, exact_passes, 0);
    pg_backward_plan *plan = NULL;
    CHECK(pg_backward_plan_new(&plan, program, 0, both) == PG_OK);
    const pg_steps steps = pg_backward_plan_steps(plan);
    const text code = code_of(program, 0, pg_program_measure(program).uniform_instrs);
    const text back = steps_in(program, steps.uniform, steps.uniform_count);
    CHECK(is_told(&code, "3*tanh ") && is_told(&back, "3*collect 3*tanh "));
    pg_backward_plan_free(plan);
    pg_program_free(program);
    recipe_free(&r);
}

/* The number of a ** 2 is a constant: equal ones are one, unless the pass that merges them is off.
 */
static void numbers_of_powers_are_neighbours_if_they_are_not_merged(void) {
    recipe r = recipe_new(3, 3);
    const list x = inputs_of(&r), y = each(&r, PG_OP_POWN, &x);
    end_in_dot(&r, &y);
    pg_program *program = must_record(&r, NULL, exact_passes, 0);
    CHECK(code_is(program, "pown pown pown dot "));
    pg_program_free(program);
    program = must_record(&r, NULL, exact_passes & ~PG_PASS_FOLD, 0);
    CHECK(code_is(program, "3*pown dot ") && steps_are(program, 0, "dot pown pown pown "));
    pg_program_free(program);
    recipe_free(&r);
}

/* ---- bits ----------------------------------------------------------------------------------- */

/* Nothing runs as one from now on. */
static void leave_alone(pg_program *program) {
    const pg_program_size size = pg_program_measure(program);
    pg_instr *code = (pg_instr *)pg_program_code(program);
    for (size_t i = 0; i < size.uniform_instrs + size.row_instrs; i++) code[i].run = 1;
}

/* The same function and rows; the program without the pass, and with each instruction run alone. */
static scene taken_apart(const scene *s, unsigned passes) {
    scene apart = *s;
    apart.param_of = must_alloc(s->recipe.params, sizeof *apart.param_of);
    apart.program = must_record(&s->recipe, apart.param_of, passes & ~(unsigned)PG_PASS_LAYERS, 0);
    leave_alone(apart.program);
    for (size_t o = 0; o < s->size.outputs; o++) apart.plan[o] = NULL;
    replace_reverse(&apart, both);
    for (size_t i = 0; i < s->size.params; i++) CHECK(apart.param_of[i] == s->param_of[i]);
    return apart;
}

static void put_away(scene *apart) {
    for (size_t o = 0; o < apart->size.outputs; o++) pg_backward_plan_free(apart->plan[o]);
    pg_program_free(apart->program);
    free(apart->param_of);
}

/* Replays of both at this level: the same bits, those of nodes. One row's sums are nodes' too. */
static void check_same_bits(const scene *s, const scene *apart, int level, size_t rows) {
    const results expected = {.outputs = s->outputs, .gradients = s->input_grads};
    results ours = results_new(s, rows), theirs = results_new(s, rows);
    CHECK(run_anew(s, &ours, rows, level) == PG_OK &&
          run_anew(apart, &theirs, rows, level) == PG_OK);
    CHECK(same_rows(s, &ours, &expected, rows) && same_rows(s, &theirs, &expected, rows));
    CHECK(same_sums(s, &ours, &theirs));
    if (rows == 1) CHECK(same_array(ours.sums, s->param_grads, s->size.outputs * s->size.params));
    results_free(&ours);
    results_free(&theirs);
}

/* Where only some gradients are asked for, other steps wait for each other. */
static void check_parts(scene *s, scene *apart, size_t rows) {
    for (unsigned wrt = 1; wrt < both; wrt++) {
        results ours = results_new(s, rows), theirs = results_new(s, rows);
        replace_reverse(s, wrt);
        replace_reverse(apart, wrt);
        CHECK(run_anew(s, &ours, rows, any_level()) == PG_OK);
        CHECK(run_anew(apart, &theirs, rows, any_level()) == PG_OK);
        CHECK(same_rows(s, &ours, &theirs, rows) && same_sums(s, &ours, &theirs));
        results_free(&ours);
        results_free(&theirs);
    }
}

static pg_program *written_and_read(const pg_program *program) {
    const size_t count = pg_program_write(program, NULL);
    uint8_t *bytes = must_alloc(count, 1);
    pg_program *back = NULL;
    CHECK(pg_program_write(program, bytes) == count);
    if (!CHECK(pg_program_read(&back, bytes, count) == PG_OK)) abort();
    free(bytes);
    return back;
}

/* A program from a file runs as the one that was written. */
static void check_loaded(const pg_program *program) {
    const pg_program_size size = pg_program_measure(program);
    pg_program *back = written_and_read(program);
    const pg_instr *ours = pg_program_code(program), *theirs = pg_program_code(back);
    for (size_t i = 0; i < size.uniform_instrs + size.row_instrs; i++)
        CHECK(ours[i].run == theirs[i].run);
    pg_program_free(back);
}

/* Rows that are no errors, in all these numbers, at all levels. Takes over the recipe. */
static void check_bits(recipe r, size_t rows, unsigned passes) {
    scene s = scene_new(r, rows, passes, 0), apart = taken_apart(&s, passes);
    CHECK(expect_rows(&s, rows) == rows);
    for (int level = 0; level < pg_replay_levels(); level++)
        for (size_t i = 0; i < row_count_kinds && row_counts[i] <= rows; i++)
            check_same_bits(&s, &apart, level, row_counts[i]);
    check_parts(&s, &apart, rows < 33 ? rows : 33);
    check_loaded(s.program);
    put_away(&apart);
    scene_free(&s);
}

static void no_bit_of_a_shape_changes(void) {
    for (size_t i = 0; i < LENGTH(shapes); i++) {
        check_bits(shapes[i].build(), i < 10 ? most_rows : 100, exact_passes);
        check_bits(shapes[i].build(), 100, PG_PASS_FUSE | PG_PASS_LAYERS);
    }
}

/* Also where a dot stands before the uniform values that it reads: a file's reader refuses others.
 */
static void orders_of_the_code_put_operands_first(void) {
    for (kind a = 0; a < kinds; a++) {
        for (kind b = 0; b < kinds; b++) {
            recipe r = two_dots(a, b);
            pg_program *program = must_record(&r, NULL, exact_passes | PG_PASS_ORDER, 0);
            pg_program_free(written_and_read(program));
            pg_program_free(program);
            recipe_free(&r);
        }
    }
}

static void no_bit_of_two_dots_changes(void) {
    for (kind a = 0; a < kinds; a++)
        for (kind b = 0; b < kinds; b++) check_bits(two_dots(a, b), 40, exact_passes);
}

/* So many neurons of so many inputs, which got a gradient before, or didn't. */
static recipe wide_layer(size_t width, size_t pairs, bool biased, bool again) {
    recipe r = recipe_new(pairs, width * (pairs + biased) + pairs + width);
    const list x = inputs_of(&r), h = layer(&r, &x, width, 0, biased), y = each(&r, PG_OP_TANH, &h);
    const uint32_t sum = neuron(&r, nothing, &y, r.params - width);
    if (!again) return end_in(&r, sum);
    return end_in(
        &r, add(&r, sum, of(&r, PG_OP_SIN, neuron(&r, nothing, &x, r.params - width - pairs))));
}

/* Kernels work on 2, 4 or 8 dots, or inputs, at once. */
static void layers_of_any_width(void) {
    static const size_t widths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33};
    for (size_t i = 0; i < LENGTH(widths); i++)
        for (size_t pairs = 1; pairs <= 9; pairs++)
            check_bits(wide_layer(widths[i], pairs, (i + pairs) % 2, pairs % 3 == 0), 40,
                       exact_passes);
}

/* On the way back 64 neurons go at a time. */
static void layers_of_many_neurons(void) {
    static const size_t widths[] = {63, 64, 65, 127, 128, 129};
    for (size_t i = 0; i < LENGTH(widths); i++) {
        recipe r = wide_layer(widths[i], 3, i % 2, i % 3);
        pg_program *program = must_record(&r, NULL, exact_passes, 0);
        CHECK(pg_program_code(program)[0].run == widths[i] + (i % 2 == 0 && i % 3 != 0));
        pg_program_free(program);
        check_bits(r, 100, exact_passes);
    }
}

/* Every distance between what a and b read, either of them first. */
static void operands_may_overlap(void) {
    static const int ops[] = {PG_OP_ADD, PG_OP_MUL, PG_OP_MINIMUM};
    for (size_t apart = 0; apart < 7; apart++)
        for (size_t i = 0; i < 2 * LENGTH(ops); i++)
            check_bits(overlapping(ops[i / 2], apart, i & 1), 40, exact_passes);
}

/* ---- rows that fail ------------------------------------------------------------------------- */

/* Four of each op that can fail, as neighbours. */
static recipe fallible(void) {
    recipe r = recipe_new(8, 16);
    const list x = {{0, 1, 2, 3}, 4}, e = {{4, 5, 6, 7}, 4};
    const list parts[] = {each(&r, PG_OP_LOG, &x), each(&r, PG_OP_SQRT, &x),
                          each(&r, PG_OP_EXP, &e), each_two(&r, PG_OP_POW, &x, 0, &e, 0, 4)};
    list y = {.count = 0};
    for (size_t i = 0; i < 16; i++) y.at[y.count++] = parts[i / 4].at[i % 4];
    return end_in_dot(&r, &y);
}

/* One number or several are bad, each in any row: the first row is named, its op and operand. */
static void a_failing_row_of_a_run_is_named(void) {
    static const double bad[] = {-1.0, 0.0, -0.0, 0x1p-1074, 1000.0, INFINITY};
    scene s = scene_new(fallible(), 100, exact_passes, 0);
    size_t failed = 0;
    CHECK(code_is(s.program, "4*log 4*sqrt 4*exp 4*pow dot "));
    for (size_t round = 0; round < 400; round++) {
        const size_t rows = row_counts[below(row_count_kinds - 1)];
        for (size_t i = 0; i < rows * 8; i++) s.inputs[i] = i % 8 < 4 ? 1.0 + (double)i : 0.5;
        for (size_t i = 1 + below(3); i > 0; i--)
            s.inputs[below(rows * 8)] = bad[below(LENGTH(bad))];
        const size_t failing = expect_rows(&s, rows);
        check_first_fault(&s, rows, failing);
        check_ignored(&s, rows);
        failed += failing < rows;
    }
    CHECK(failed > 200 && failed < 400);
    scene_free(&s);
}

/* ---- random functions ----------------------------------------------------------------------- */

/* Values so far, in lists: the inputs, layers, what was made of them. */
typedef struct loom {
    recipe r;
    list lists[24];
    size_t count, used; /* lists, parameters */
    bool shares;        /* any parameter anywhere: chains then often stay unfused */
} loom;

static const list *any_list(const loom *l) {
    return &l->lists[below(3) && l->count > 3 ? l->count - 1 - below(3) : below(l->count)];
}

static uint32_t any_of(const list *xs) { return xs->at[below(xs->count)]; }

/* A layer's inputs: a list as it is, or a part of it, or in another order, or one of them twice. */
static list any_rights(const loom *l) {
    list xs = *any_list(l);
    const size_t kind = below(8);
    if (xs.count > most_pairs) xs.count = most_pairs;
    if (kind == 0) xs.count = 1 + below(xs.count);
    for (size_t i = 0; kind == 1 && i < xs.count; i++) {
        const size_t k = below(xs.count);
        const uint32_t kept = xs.at[i];
        xs.at[i] = xs.at[k];
        xs.at[k] = kept;
    }
    if (kind == 2) xs.at[below(xs.count)] = any_of(&xs);
    return xs;
}

static uint32_t any_param(loom *l) {
    return param(&l->r, l->shares ? below(l->r.params) : l->used++);
}

static uint32_t any_weight(loom *l) {
    const size_t kind = below(20);
    if (kind == 0) return constant(&l->r, uniform(-2.0, 2.0));
    if (kind == 1) return of(&l->r, PG_OP_SIN, any_param(l));
    if (kind == 2 && l->shares) return any_of(any_list(l));
    return any_param(l);
}

static uint32_t any_start(loom *l, size_t kind) {
    if (kind == 0) return any_param(l);
    if (kind == 1) return constant(&l->r, uniform(-2.0, 2.0));
    if (kind == 2) return any_of(any_list(l));
    return nothing;
}

/* Some neurons differ from the others. */
static list any_layer(loom *l) {
    const list shared = any_rights(l);
    const size_t start = below(6);
    list ys = {.count = 1 + below(9)};
    for (size_t i = 0; i < ys.count; i++) {
        const bool odd = below(12) == 0;
        const list rights = odd ? any_rights(l) : shared;
        uint32_t sum = any_start(l, odd ? below(6) : start);
        for (size_t k = 0; k < rights.count; k++) {
            const uint32_t w = any_weight(l), x = rights.at[k];
            const uint32_t product = below(4) ? mul(&l->r, w, x) : mul(&l->r, x, w);
            sum = sum == nothing ? product : add(&l->r, sum, product);
        }
        ys.at[i] = sum;
    }
    return ys;
}

static list any_pairs(loom *l) {
    static const int ops[] = {PG_OP_ADD, PG_OP_ADD, PG_OP_MUL, PG_OP_MAXIMUM};
    const list xs = *any_list(l), ys = below(2) ? xs : *any_list(l);
    const size_t x = below(xs.count), y = below(ys.count);
    const size_t most = xs.count - x < ys.count - y ? xs.count - x : ys.count - y;
    return each_two(&l->r, ops[below(LENGTH(ops))], &xs, x, &ys, y, 1 + below(most));
}

static list any_mixture(const loom *l) {
    list xs = {.count = 1 + below(9)};
    for (size_t i = 0; i < xs.count; i++) xs.at[i] = any_of(any_list(l));
    return xs;
}

static void add_list(loom *l) {
    static const int ops[] = {PG_OP_TANH, PG_OP_RELU, PG_OP_SIN,  PG_OP_ABS,
                              PG_OP_EXP,  PG_OP_POWN, PG_OP_LOG,  PG_OP_DETACH,
                              PG_OP_TANH, PG_OP_RELU, PG_OP_TANH, PG_OP_SIGMOID};
    const size_t kind = below(8);
    const list last = l->lists[l->count - 1];
    list ys = kind < 4    ? any_layer(l)
              : kind == 4 ? any_pairs(l)
              : kind == 5 ? any_mixture(l)
                          : each(&l->r, ops[below(LENGTH(ops))], &last);
    if (kind < 4 && below(3)) ys = each(&l->r, ops[below(6)], &ys);
    l->lists[l->count++] = ys;
}

static recipe woven(size_t blocks) {
    loom l = {.shares = below(4) == 0};
    l.r = recipe_new(1 + below(7), l.shares ? 1 + below(30) : 100 + below(100));
    l.lists[l.count++] = inputs_of(&l.r);
    while (blocks-- > 0) add_list(&l);
    for (size_t outputs = 1 + below(MOST_OUTPUTS); outputs > 0; outputs--) {
        const list *xs = outputs == 1 ? &l.lists[l.count - 1] : any_list(&l);
        uint32_t end = neuron(&l.r, nothing, xs, l.used);
        l.used += xs->count;
        if (below(2)) end = add(&l.r, of(&l.r, PG_OP_TANH, end), any_of(any_list(&l)));
        recipe_end(&l.r, end);
    }
    return l.r;
}

/* Instructions, and steps of the first output, that run as one with the next. */
static void count_runs(size_t counts[3], const scene *s) {
    const pg_instr *code = pg_program_code(s->program);
    const pg_steps steps = pg_backward_plan_steps(s->plan[0]);
    for (size_t i = 0; i < s->size.uniform_instrs + s->size.row_instrs; i++)
        counts[code[i].op != PG_OP_DOT] += code[i].run > 1;
    for (size_t i = 0; i < steps.row_count; i++) counts[2] += steps.rows[i].run > 1;
}

/* In each row the function itself; otherwise what it is with each instruction alone. */
static void check_woven(scene *s, unsigned passes, size_t rows) {
    const size_t good = expect_rows(s, rows);
    scene apart = taken_apart(s, passes);
    check_first_fault(s, rows, good);
    check_ignored(s, rows);
    if (good > 0) check_same_bits(s, &apart, any_level(), 1);
    if (good > 1) check_same_bits(s, &apart, any_level(), 1 + below(good));
    if (good == rows) check_parts(s, &apart, rows);
    check_loaded(s->program);
    put_away(&apart);
}

static void random_functions_of_layers(void) {
    size_t counts[3] = {0, 0, 0}; /* dots, others, steps */
    for (size_t round = 0; round < 3000; round++) {
        const unsigned passes = some_of(exact_passes) | PG_PASS_FUSE | PG_PASS_LAYERS;
        recipe r = woven(1 + below(12));
        pg_program *program = recipe_record(&r, NULL, passes, 0);
        if (program == NULL) { /* an error whatever the inputs are */
            recipe_free(&r);
            continue;
        }
        pg_program_free(program);
        const size_t rows = round % 8 == 0 ? 33 : 9;
        scene s = scene_new(r, rows, passes, 0);
        count_runs(counts, &s);
        check_woven(&s, passes, rows);
        scene_free(&s);
    }
    CHECK(counts[0] > 1000 && counts[1] > 1000 && counts[2] > 1000);
}

/* ---- programs that were not recorded --------------------------------------------------------- */

static void replay_loaded(scene *s, const results *r, pg_program *program) {
    s->program = program;
    replace_reverse(s, both);
    CHECK(run_anew(s, r, 9, any_level()) == PG_OK);
}

/* A file may say that a row factor is an import. Its gradient is a sum over the rows, and no
 * slot's: there are more sums than slots here. */
static void imports_are_no_layers_inputs(void) {
    recipe r = wide_layer(4, 9, false, false);
    const uint32_t larger = recipe_add(&r, (line){.op = PG_OP_MAXIMUM, .a = param(&r, 0), .b = 0});
    r.ends[0] = add(&r, r.ends[0], larger);
    scene s = scene_new(r, 9, exact_passes, 0);
    pg_program *const recorded = s.program;
    const pg_instr *dots = pg_program_code(recorded);
    CHECK(code_is(recorded, "4*dot 4*tanh dot maximum add ") &&
          pg_program_measure(recorded).imports == 1);
    for (uint32_t i = 0; i < 4; i++)
        ((pg_pair *)pg_program_pairs(recorded))[dots[i].first].right = (uint32_t)r.inputs;
    pg_program *together = written_and_read(recorded), *alone = written_and_read(recorded);
    CHECK(code_is(together, "dot dot dot dot 4*tanh dot maximum add "));
    leave_alone(alone);
    results ours = results_new(&s, 9), theirs = results_new(&s, 9);
    replay_loaded(&s, &ours, together);
    replay_loaded(&s, &theirs, alone);
    CHECK(same_rows(&s, &ours, &theirs, 9) && same_sums(&s, &ours, &theirs));
    results_free(&ours);
    results_free(&theirs);
    pg_program_free(together);
    pg_program_free(recorded);
    scene_free(&s); /* with the last program */
}

const test_case runs_tests[] = {
    TEST(shapes_run_as_they_should),
    TEST(the_order_of_the_code_joins_steps),
    TEST(only_like_dots_are_a_layer),
    TEST(without_the_pass_layers_stay_apart),
    TEST(dots_of_uniform_values_are_no_layer),
    TEST(each_output_has_steps_of_its_own),
    TEST(uniform_code_has_neighbours_too),
    TEST(numbers_of_powers_are_neighbours_if_they_are_not_merged),
    TEST(no_bit_of_a_shape_changes),
    TEST(orders_of_the_code_put_operands_first),
    TEST(no_bit_of_two_dots_changes),
    TEST(layers_of_any_width),
    TEST(layers_of_many_neurons),
    TEST(operands_may_overlap),
    TEST(a_failing_row_of_a_run_is_named),
    TEST(random_functions_of_layers),
    TEST(imports_are_no_layers_inputs),
    {0},
};
