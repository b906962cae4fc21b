/* test_record.c - what a trace becomes: which nodes are parameters, constants and inputs, what each
 * pass makes of the code, what can't be recorded, and that the graph is afterwards as it was. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- a trace under way ---------------------------------------------------------------------- */

/* Two parameters, and a trace with two inputs. The nodes that the test adds go with the graph. */
typedef struct trace {
    pg_graph *graph;
    pg_node_id w, v, inputs[2], x, y;
} trace;

static trace trace_new(void) {
    trace t = {.graph = new_graph()};
    t.w = leaf(t.graph, 3.0);
    t.v = leaf(t.graph, 5.0);
    pg_trace_begin(t.graph);
    for (size_t i = 0; i < 2; i++) CHECK(pg_trace_input(t.graph, &t.inputs[i]) == PG_OK);
    t.x = t.inputs[0];
    t.y = t.inputs[1];
    return t;
}

static pg_program *record(const trace *t, const pg_node_id *outputs, size_t count,
                          unsigned passes) {
    pg_program *program = NULL;
    pg_status status =
        pg_record(t->graph, &program, &(pg_recording){t->inputs, outputs, 2, count, passes, 0});
    if (!CHECK(status == PG_OK && program != NULL)) abort();
    return program;
}

static pg_program *record_one(const trace *t, pg_node_id output, unsigned passes) {
    return record(t, &output, 1, passes);
}

static void trace_free(trace *t) {
    pg_trace_end(t->graph);
    pg_graph_free(t->graph);
}

static pg_node_id add(const trace *t, pg_node_id a, pg_node_id b) {
    return binary(t->graph, PG_OP_ADD, a, b);
}

static pg_node_id mul(const trace *t, pg_node_id a, pg_node_id b) {
    return binary(t->graph, PG_OP_MUL, a, b);
}

static pg_node_id power(const trace *t, pg_node_id a, double exponent) {
    pg_node_id id = 0;
    CHECK(pg_graph_number(t->graph, &id, PG_OP_POWN, a, exponent) == PG_OK);
    return id;
}

static pg_node_id constant(const trace *t, double data) { return leaf(t->graph, data); }

static pg_node_id detach(const trace *t, pg_node_id a) {
    pg_node_id id = 0;
    CHECK(pg_trace_detach(t->graph, &id, a) == PG_OK);
    return id;
}

static pg_node_id choose(const trace *t, int compare, pg_node_id left, pg_node_id right,
                         pg_node_id a, pg_node_id b) {
    pg_node_id id = 0;
    CHECK(pg_trace_select(t->graph, &id, (pg_condition){compare, left, right}, a, b) == PG_OK);
    return id;
}

/* ---- the code ------------------------------------------------------------------------------- */

/* Instructions' names with a space behind each: "mul add ". */
static void names_of(char *text_ret, size_t room, const pg_instr *code, size_t count) {
    size_t length = 0;
    text_ret[0] = '\0';
    for (size_t i = 0; i < count; i++)
        length +=
            (size_t)snprintf(text_ret + length, room - length, "%s ", pg_instr_name(code[i].op));
}

/* Has the program this code: uniform part, rows' part? Prints what it has if not. */
static bool code_is(const pg_program *program, const char *uniform, const char *rows) {
    const pg_program_size size = pg_program_measure(program);
    const pg_instr *code = pg_program_code(program);
    char text[2][400];
    names_of(text[0], sizeof text[0], code, size.uniform_instrs);
    names_of(text[1], sizeof text[1], code + size.uniform_instrs, size.row_instrs);
    const bool same = strcmp(text[0], uniform) == 0 && strcmp(text[1], rows) == 0;
    if (!same) printf("code: \"%s\", \"%s\"\n", text[0], text[1]);
    return same;
}

/* Record one output with these passes; is this the code? */
static bool becomes(const trace *t, pg_node_id output, unsigned passes, const char *uniform,
                    const char *rows) {
    pg_program *program = record_one(t, output, passes);
    const bool same = code_is(program, uniform, rows);
    pg_program_free(program);
    return same;
}

static bool sizes_are(const pg_program *program, pg_program_size expected) {
    const pg_program_size size = pg_program_measure(program);
    return size.inputs == expected.inputs && size.params == expected.params &&
           size.outputs == expected.outputs && size.constants == expected.constants &&
           size.imports == expected.imports && size.uniform_slots == expected.uniform_slots &&
           size.row_slots == expected.row_slots && size.uniform_instrs == expected.uniform_instrs &&
           size.row_instrs == expected.row_instrs && size.pairs == expected.pairs &&
           size.fast == expected.fast;
}

/* The outputs at x = 2, y = -7, w = 3, v = 5, in the order that the program has w and v in. */
static void replay_once(const pg_program *program, double *outputs_ret) {
    const double inputs[] = {2.0, -7.0};
    const pg_argument argument = {inputs, 2, pg_program_measure(program).inputs};
    const pg_task task = {.arguments = &argument,
                          .argument_count = 1,
                          .rows = 1,
                          .last_chunk = 1,
                          .outputs = outputs_ret};
    double params[2] = {3.0, 5.0};
    if (pg_program_measure(program).params > 0 && pg_program_sources(program)[0] == 2)
        params[0] = 5.0, params[1] = 3.0;
    pg_workspace *ws = NULL;
    CHECK(pg_workspace_new(&ws, program, -1) == PG_OK && pg_replay_begin(ws, params, 0) == PG_OK);
    CHECK(pg_replay(ws, &task) == PG_OK);
    pg_workspace_free(ws);
}

static double value_of(const trace *t, pg_node_id output, unsigned passes) {
    pg_program *program = record_one(t, output, passes);
    double value = 0.0;
    replay_once(program, &value);
    pg_program_free(program);
    return value;
}

/* ---- what is recorded ----------------------------------------------------------------------- */

static void sizes_of_a_small_program(void) {
    trace t = trace_new();
    const pg_node_id inner = add(&t, mul(&t, t.w, t.w), constant(&t, 2.0));
    const pg_node_id top = unary(t.graph, PG_OP_TANH, add(&t, mul(&t, inner, t.x), t.v));
    pg_program *plain = record_one(&t, top, 0), *all = record_one(&t, top, exact_passes);
    CHECK(code_is(plain, "", "mul add mul add tanh "));
    CHECK(sizes_are(plain, (pg_program_size){.inputs = 2,
                                             .params = 2,
                                             .outputs = 1,
                                             .constants = 1,
                                             .imports = 3,
                                             .uniform_slots = 3,
                                             .row_slots = 10,
                                             .row_instrs = 5}));
    CHECK(code_is(all, "dot ", "dot tanh "));
    CHECK(sizes_are(all, (pg_program_size){.inputs = 2,
                                           .params = 2,
                                           .outputs = 1,
                                           .constants = 1,
                                           .uniform_slots = 4,
                                           .row_slots = 4,
                                           .uniform_instrs = 1,
                                           .row_instrs = 2,
                                           .pairs = 2}));
    pg_program *fast = NULL;
    CHECK(pg_record(t.graph, &fast, &(pg_recording){t.inputs, &top, 2, 1, 0, 1}) == PG_OK);
    CHECK(pg_program_measure(fast).fast == 1);
    pg_program_free(plain);
    pg_program_free(all);
    pg_program_free(fast);
    pg_program_free(NULL);
    trace_free(&t);
}

static void only_what_is_reached_is_recorded(void) {
    trace t = trace_new();
    const pg_node_id used = add(&t, t.x, t.w);
    mul(&t, used, t.v);
    mul(&t, constant(&t, 2.0), t.y);
    for (unsigned passes = 0; passes <= all_passes; passes++) {
        pg_program *program = record_one(&t, used, passes);
        CHECK(code_is(program, "", "add "));
        CHECK(sizes_are(program, (pg_program_size){.inputs = 2,
                                                   .params = 1,
                                                   .outputs = 1,
                                                   .imports = 1,
                                                   .uniform_slots = 1,
                                                   .row_slots = 4,
                                                   .row_instrs = 1}));
        pg_program_free(program);
    }
    trace_free(&t);
}

/* What lived before the trace is a parameter, whatever it was made of, once. */
static void captured_nodes_are_parameters(void) {
    trace t = {.graph = new_graph()};
    pg_node_id old[4], variadic;
    for (size_t i = 0; i < 3; i++) old[i] = leaf(t.graph, 1.0 + (double)i);
    old[3] = mul(&t, old[0], old[1]);
    CHECK(pg_graph_variadic(t.graph, &variadic, 9.0, (pg_children){old, NULL, 2}) == PG_OK);
    pg_trace_begin(t.graph);
    for (size_t i = 0; i < 2; i++) CHECK(pg_trace_input(t.graph, &t.inputs[i]) == PG_OK);
    const pg_node_id first = add(&t, mul(&t, t.inputs[1], old[2]), mul(&t, old[3], old[2]));
    const pg_node_id outputs[] = {first, add(&t, add(&t, first, variadic), old[0])};
    const pg_node_id expected[] = {old[2], old[3], variadic, old[0]};
    for (unsigned passes = 0; passes <= all_passes; passes++) {
        pg_program *program = record(&t, outputs, 2, passes);
        const pg_node_id *sources = pg_program_sources(program);
        CHECK(pg_program_measure(program).params == LENGTH(expected));
        CHECK(memcmp(sources, expected, sizeof expected) == 0);
        pg_program_free(program);
    }
    trace_free(&t);
}

/* A slot that an old node has left is a new node's when it is filled again. */
static void nodes_in_reused_slots_are_new(void) {
    trace t = trace_new();
    const pg_node_id old = t.v;
    pg_graph_release(t.graph, old);
    const pg_node_id two = constant(&t, 2.0), sum = add(&t, t.x, two);
    CHECK(two == old);
    pg_program *program = record_one(&t, sum, 0);
    CHECK(pg_program_measure(program).params == 0);
    CHECK(pg_program_measure(program).constants == 1 && pg_program_constants(program)[0] == 2.0);
    pg_program_free(program);
    trace_free(&t);
}

static void outputs_of_any_kind(void) {
    trace t = trace_new();
    const pg_node_id top = unary(t.graph, PG_OP_ABS, t.y), two = constant(&t, 2.0);
    const pg_node_id outputs[] = {t.x, t.w, two, top, top, t.w, mul(&t, t.v, t.w), t.y};
    const double expected[] = {2.0, 3.0, 2.0, 7.0, 7.0, 3.0, 15.0, -7.0};
    for (unsigned passes = 0; passes <= all_passes; passes++) {
        double found[LENGTH(outputs)];
        pg_program *program = record(&t, outputs, LENGTH(outputs), passes);
        replay_once(program, found);
        CHECK(memcmp(found, expected, sizeof expected) == 0);
        const uint32_t *slots = pg_program_outputs(program);
        CHECK(slots[0] == 0 && slots[7] == 1 && slots[3] == slots[4]);
        if (passes & PG_PASS_HOIST) CHECK(code_is(program, "mul ", "abs copy copy copy copy "));
        else CHECK(code_is(program, "", "abs mul copy copy copy "));
        pg_program_free(program);
    }
    trace_free(&t);
}

static void no_inputs_no_outputs(void) {
    trace t = trace_new();
    const pg_node_id square = mul(&t, t.w, t.w);
    for (unsigned passes = 0; passes <= all_passes; passes++) {
        pg_program *program = NULL;
        double value = 0.0;
        CHECK(pg_record(t.graph, &program, &(pg_recording){NULL, &square, 0, 1, passes, 0}) ==
              PG_OK);
        CHECK(pg_program_measure(program).inputs == 0);
        replay_once(program, &value);
        CHECK(value == 9.0);
        pg_program_free(program);
        program = NULL;
        CHECK(pg_record(t.graph, &program, &(pg_recording){t.inputs, NULL, 2, 0, passes, 0}) ==
              PG_OK);
        CHECK(sizes_are(program, (pg_program_size){.inputs = 2, .row_slots = 2}));
        replay_once(program, NULL);
        pg_program_free(program);
    }
    trace_free(&t);
}

static void instructions_have_names(void) {
    for (int op = 1; op <= pg_op_count(); op++)
        CHECK(strcmp(pg_instr_name(op), pg_op_describe(op)->name) == 0);
    CHECK(strcmp(pg_instr_name(PG_OP_DOT), "dot") == 0);
    CHECK(pg_instr_name(0) == NULL && pg_instr_name(-1) == NULL && pg_instr_name(1000) == NULL);
    CHECK(pg_instr_name(PG_OP_LEAF) == NULL && pg_instr_name(PG_OP_VARIADIC) == NULL);
}

/* ---- fold ----------------------------------------------------------------------------------- */

static void fold_computes_ops_of_constants(void) {
    trace t = trace_new();
    const pg_node_id six = mul(&t, constant(&t, 2.0), constant(&t, 3.0));
    const pg_node_id ends[] = {add(&t, t.x, power(&t, six, 2.0)), power(&t, six, 2.0)};
    CHECK(becomes(&t, ends[0], 0, "", "mul pown add "));
    CHECK(becomes(&t, ends[0], PG_PASS_HOIST, "mul pown ", "add "));
    CHECK(becomes(&t, ends[1], PG_PASS_FOLD, "", "copy "));
    pg_program *program = record_one(&t, ends[0], PG_PASS_FOLD);
    CHECK(code_is(program, "", "add ") && pg_program_measure(program).constants == 1);
    CHECK(pg_program_constants(program)[0] == 36.0);
    pg_program_free(program);
    trace_free(&t);
}

static void fold_merges_equal_constants(void) {
    trace t = trace_new();
    const double constants[] = {2.0, 0.0, 2.0, -0.0, 2.0, NAN, NAN};
    pg_node_id top = t.x;
    for (size_t i = 0; i < LENGTH(constants); i++) top = add(&t, top, constant(&t, constants[i]));
    pg_program *plain = record_one(&t, top, 0), *folded = record_one(&t, top, PG_PASS_FOLD);
    CHECK(pg_program_measure(plain).constants == LENGTH(constants));
    CHECK(pg_program_measure(folded).constants == 4);
    for (size_t i = 0; i < 4; i++)
        CHECK(same_number(pg_program_constants(folded)[i], (double[]){2.0, 0.0, -0.0, NAN}[i]));
    pg_program_free(plain);
    pg_program_free(folded);
    trace_free(&t);
}

/* A select is not computed while it is traced, nor is a detached value: what is made of them must
 * not be taken from there. */
static void fold_knows_what_the_trace_does_not(void) {
    trace t = trace_new();
    const pg_node_id two = constant(&t, 2.0), three = constant(&t, 3.0);
    const pg_node_id chosen = choose(&t, PG_LESS, two, three, two, three);
    const pg_node_id detached = detach(&t, two);
    for (unsigned passes = 0; passes <= all_passes; passes++) {
        CHECK(value_of(&t, detached, passes) == 2.0);
        CHECK(value_of(&t, chosen, passes) == 2.0);
        CHECK(value_of(&t, add(&t, chosen, three), passes) == 5.0);
        CHECK(value_of(&t, add(&t, detached, three), passes) == 5.0);
        CHECK(value_of(&t, mul(&t, add(&t, detached, three), t.x), passes) == 10.0);
        CHECK(value_of(&t, mul(&t, detach(&t, detach(&t, three)), detached), passes) == 6.0);
    }
    trace_free(&t);
}

/* ---- hoist ---------------------------------------------------------------------------------- */

static void hoist_moves_what_no_input_reaches(void) {
    trace t = trace_new();
    const pg_node_id part = unary(t.graph, PG_OP_TANH, mul(&t, t.w, constant(&t, 2.0)));
    const pg_node_id top = mul(&t, add(&t, t.x, part), detach(&t, add(&t, part, t.v)));
    CHECK(becomes(&t, top, 0, "", "mul tanh add add detach mul "));
    CHECK(becomes(&t, top, PG_PASS_HOIST, "mul tanh add detach ", "add mul "));
    pg_program *program = record_one(&t, top, PG_PASS_HOIST);
    const uint32_t *imports = pg_program_imports(program);
    CHECK(pg_program_measure(program).imports == 2); /* the tanh, the detached sum */
    CHECK(imports[0] == 4 && imports[1] == 6);       /* after one constant and two parameters */
    pg_program_free(program);
    trace_free(&t);
}

static void hoist_moves_selects_of_parameters(void) {
    trace t = trace_new();
    const pg_node_id of_params = choose(&t, PG_LESS, t.w, t.v, t.w, t.v);
    const pg_node_id by_input = choose(&t, PG_LESS, t.x, t.v, t.w, t.v);
    CHECK(becomes(&t, of_params, PG_PASS_HOIST, "select ", "copy "));
    CHECK(becomes(&t, by_input, PG_PASS_HOIST, "", "select "));
    trace_free(&t);
}

/* ---- fuse ----------------------------------------------------------------------------------- */

/* The only dot of a program. */
static const pg_instr *find_dot(const pg_program *program) {
    const pg_program_size size = pg_program_measure(program);
    const pg_instr *found = NULL;
    for (size_t i = 0; i < size.uniform_instrs + size.row_instrs; i++) {
        const pg_instr *instr = &pg_program_code(program)[i];
        if (instr->op != PG_OP_DOT) continue;
        CHECK(found == NULL);
        found = instr;
    }
    return found;
}

/* Is the sum one dot, with these flags, slot to start from, and pairs? */
static void check_dot(const trace *t, pg_node_id sum, unsigned passes, int shape, uint32_t start,
                      const pg_pair *pairs, uint32_t count) {
    pg_program *program = record_one(t, sum, passes);
    const pg_instr *dot = find_dot(program);
    if (CHECK(dot != NULL) && CHECK(dot->shape == shape && dot->count == count)) {
        if (shape & PG_DOT_STARTS) CHECK(dot->a == start);
        for (uint32_t i = 0; i < count; i++) {
            const pg_pair pair = pg_program_pairs(program)[dot->first + i];
            CHECK(pair.left == pairs[i].left && pair.right == pairs[i].right);
        }
    }
    pg_program_free(program);
    CHECK(same_bits(value_of(t, sum, passes), value_of(t, sum, passes & ~(unsigned)PG_PASS_FUSE)));
}

/* Inputs are row slots 0 and 1; parameters are uniform slots: those of dots first, pair by pair and
 * then the start, then others in order of first reach. */
static void fuse_makes_dots_of_chains(void) {
    trace t = trace_new();
    const unsigned fuse = PG_PASS_FUSE;
    const pg_node_id wx = mul(&t, t.w, t.x), yv = mul(&t, t.y, t.v);
    check_dot(&t, add(&t, wx, yv), fuse, PG_DOT_WEIGHTED, 0, (pg_pair[]){{0, 0}, {1, 1}}, 2);
    check_dot(&t, add(&t, t.x, mul(&t, t.w, t.x)), fuse, PG_DOT_WEIGHTED | PG_DOT_STARTS, 0,
              (pg_pair[]){{0, 0}}, 1);
    check_dot(&t, add(&t, mul(&t, t.w, t.x), t.y), fuse, PG_DOT_WEIGHTED | PG_DOT_STARTS, 1,
              (pg_pair[]){{0, 0}}, 1);
    check_dot(&t, add(&t, add(&t, t.v, mul(&t, t.x, t.w)), mul(&t, t.y, t.w)), fuse,
              PG_DOT_WEIGHTED | PG_DOT_STARTS | PG_DOT_UNIFORM_START, 1,
              (pg_pair[]){{0, 0}, {0, 1}}, 2);
    check_dot(&t, add(&t, t.v, mul(&t, t.x, t.y)), fuse, PG_DOT_STARTS | PG_DOT_UNIFORM_START, 0,
              (pg_pair[]){{0, 1}}, 1);
    check_dot(&t, add(&t, mul(&t, t.x, t.x), mul(&t, t.w, t.y)), fuse, 0, 0,
              (pg_pair[]){{0, 0}, {2, 1}}, 2); /* w is an import */
    check_dot(&t, add(&t, t.w, mul(&t, t.w, t.v)), fuse | PG_PASS_HOIST, PG_DOT_STARTS, 0,
              (pg_pair[]){{0, 1}}, 1);
    trace_free(&t);
}

/* Gates are products, but where an adjoint is 0; they are in no chain with other products. */
static void fuse_makes_dots_of_gates(void) {
    trace t = trace_new();
    const unsigned fuse = PG_PASS_FUSE;
    const pg_node_id wx = binary(t.graph, PG_OP_GATE, t.w, t.x);
    const pg_node_id vy = binary(t.graph, PG_OP_GATE, t.v, t.y);
    const pg_node_id xw = binary(t.graph, PG_OP_GATE, t.x, t.w);
    check_dot(&t, add(&t, wx, vy), fuse, PG_DOT_WEIGHTED | PG_DOT_GATED, 0,
              (pg_pair[]){{0, 0}, {1, 1}}, 2);
    check_dot(&t, add(&t, vy, xw), fuse, PG_DOT_GATED, 0, (pg_pair[]){{2, 1}, {0, 3}}, 2);
    check_dot(&t, add(&t, mul(&t, t.w, t.x), vy), fuse,
              PG_DOT_WEIGHTED | PG_DOT_GATED | PG_DOT_STARTS, 3, (pg_pair[]){{0, 1}},
              1); /* after the import of w */
    trace_free(&t);
}

static void fuse_takes_layers_whole(void) {
    trace t = trace_new();
    const pg_operand weights[] = {node(t.w), node(t.v), node(t.v), node(t.w)};
    const pg_operand inputs[] = {node(t.x), node(t.y)}, biases[] = {node(t.v), node(t.w)};
    pg_node_id ids[2];
    CHECK(pg_graph_layer(t.graph, ids, &(pg_layer){PG_OP_TANH, weights, biases, inputs, 2, 2}) ==
          PG_OK);
    pg_program *program = record(&t, ids, 2, PG_PASS_FUSE);
    CHECK(code_is(program, "", "dot tanh dot tanh "));
    CHECK(pg_program_measure(program).imports == 0 && pg_program_measure(program).pairs == 4);
    pg_program_free(program);
    trace_free(&t);
}

static void fuse_leaves_what_others_use(void) {
    trace t = trace_new();
    const pg_node_id product = mul(&t, t.x, t.y), sum = add(&t, t.w, product);
    const pg_node_id inner = add(&t, t.w, mul(&t, t.x, t.y));
    const pg_node_id outer = add(&t, inner, mul(&t, t.y, t.y));
    const pg_node_id twice = mul(&t, t.x, t.y);
    CHECK(becomes(&t, mul(&t, sum, product), PG_PASS_FUSE, "", "mul add mul "));
    CHECK(becomes(&t, outer, PG_PASS_FUSE, "", "dot "));
    CHECK(becomes(&t, mul(&t, outer, inner), PG_PASS_FUSE, "", "dot dot mul "));
    CHECK(becomes(&t, add(&t, twice, twice), PG_PASS_FUSE, "", "mul add "));
    CHECK(becomes(&t, add(&t, t.x, t.y), PG_PASS_FUSE, "", "add "));
    CHECK(becomes(&t, add(&t, t.x, add(&t, t.y, t.w)), PG_PASS_FUSE, "", "add add "));
    pg_program *program = record(&t, (pg_node_id[]){outer, inner}, 2, PG_PASS_FUSE);
    CHECK(code_is(program, "", "dot dot "));
    pg_program_free(program);
    trace_free(&t);
}

/* (a + p) + tanh(a) * y: as one dot, a would get its gradient from the sum before the one from
 * tanh. Where a is a constant, it makes no difference; where any order will do, neither. */
static void fuse_keeps_the_order_of_gradients(void) {
    trace t = trace_new();
    const pg_node_id a[] = {t.x, constant(&t, 0.5)};
    for (size_t i = 0; i < 2; i++) {
        const pg_node_id inner = add(&t, a[i], mul(&t, t.y, t.y));
        const pg_node_id top = add(&t, inner, mul(&t, unary(t.graph, PG_OP_TANH, a[i]), t.y));
        CHECK(becomes(&t, top, 0, "", "mul add tanh mul add "));
        CHECK(becomes(&t, top, PG_PASS_FUSE, "", i == 0 ? "mul add tanh mul add " : "tanh dot "));
        CHECK(becomes(&t, top, PG_PASS_FUSE | PG_PASS_ORDER, "", "tanh dot "));
    }
    trace_free(&t);
}

/* ---- share, powers -------------------------------------------------------------------------- */

static void share_merges_equal_ops(void) {
    trace t = trace_new();
    const pg_node_id one = power(&t, unary(t.graph, PG_OP_TANH, t.x), 2.0);
    const pg_node_id other = power(&t, unary(t.graph, PG_OP_TANH, t.x), 2.0);
    CHECK(becomes(&t, add(&t, one, other), 0, "", "tanh pown tanh pown add "));
    CHECK(becomes(&t, add(&t, one, other), PG_PASS_SHARE, "", "tanh pown add "));
    const pg_node_id cube = power(&t, unary(t.graph, PG_OP_TANH, t.x), 3.0);
    CHECK(becomes(&t, add(&t, one, cube), PG_PASS_SHARE, "", "tanh pown pown add "));
    const pg_node_id order = add(&t, mul(&t, t.x, t.y), mul(&t, t.y, t.x));
    CHECK(becomes(&t, order, PG_PASS_SHARE, "", "mul mul add "));
    trace_free(&t);
}

static void share_compares_whole_selects(void) {
    trace t = trace_new();
    const pg_node_id first = choose(&t, PG_LESS, t.x, t.y, t.w, t.v);
    const pg_node_id others[] = {
        choose(&t, PG_LESS, t.x, t.y, t.w, t.v), choose(&t, PG_LESS, t.y, t.x, t.w, t.v),
        choose(&t, PG_LESS, t.x, t.x, t.w, t.v), choose(&t, PG_LESS_EQUAL, t.x, t.y, t.w, t.v),
        choose(&t, PG_LESS, t.x, t.y, t.v, t.w)};
    for (size_t i = 0; i < LENGTH(others); i++)
        CHECK(becomes(&t, add(&t, first, others[i]), PG_PASS_SHARE, "",
                      i == 0 ? "select add " : "select select add "));
    trace_free(&t);
}

static void powers_are_products_and_reciprocals(void) {
    trace t = trace_new();
    const pg_node_id square = power(&t, t.x, 2.0), inverse = power(&t, t.x, -1.0);
    CHECK(becomes(&t, square, 0, "", "pown ") && becomes(&t, inverse, 0, "", "pown "));
    CHECK(becomes(&t, square, PG_PASS_POWERS, "", "square "));
    CHECK(becomes(&t, inverse, PG_PASS_POWERS, "", "recip "));
    CHECK(becomes(&t, power(&t, t.x, 3.0), PG_PASS_POWERS, "", "pown "));
    CHECK(becomes(&t, binary(t.graph, PG_OP_POW, t.x, t.w), PG_PASS_POWERS, "", "pow "));
    CHECK(value_of(&t, square, PG_PASS_POWERS) == 4.0);
    CHECK(value_of(&t, inverse, PG_PASS_POWERS) == 0.5);
    pg_program *program = record_one(&t, inverse, PG_PASS_POWERS);
    CHECK(pg_program_measure(program).constants == 0);
    pg_program_free(program);
    trace_free(&t);
}

/* Whatever passes are made, and in any combination: the same function of small integers. */
static void passes_keep_the_meaning(void) {
    trace t = trace_new();
    const pg_node_id two = constant(&t, 2.0), four = mul(&t, two, constant(&t, 2.0));
    const pg_node_id part = add(&t, mul(&t, t.w, t.v), four); /* 19 */
    const pg_node_id square = power(&t, add(&t, t.x, t.y), 2.0);
    const pg_node_id again = power(&t, add(&t, t.x, t.y), 2.0); /* 25 */
    const pg_node_id sum = add(&t, add(&t, part, mul(&t, square, t.w)), mul(&t, again, t.v));
    const pg_node_id chosen = choose(&t, PG_GREATER, sum, part, detach(&t, sum), t.y);
    for (unsigned passes = 0; passes <= all_passes; passes++)
        CHECK(value_of(&t, chosen, passes) == 19.0 + 75.0 + 125.0);
    trace_free(&t);
}

/* ---- what only a recording understands ------------------------------------------------------ */

static void selects_note_their_comparison(void) {
    trace t = trace_new();
    for (int compare = 0; compare < PG_COMPARE_COUNT; compare++) {
        pg_program *program = record_one(&t, choose(&t, compare, t.y, t.x, t.x, t.w), exact_passes);
        const pg_instr instr = pg_program_code(program)[0];
        CHECK(code_is(program, "", "select ") && instr.shape == compare && instr.count == 1);
        CHECK(instr.a == 0 && instr.b == 2 && instr.dst == 3);
        CHECK(pg_program_pairs(program)[instr.first].left == 1);
        CHECK(pg_program_pairs(program)[instr.first].right == 0);
        pg_program_free(program);
    }
    trace_free(&t);
}

static void selects_and_detach_of_bad_operands(void) {
    trace t = trace_new();
    pg_node_id id = 0, bad[] = {0, 1000, UINT32_MAX};
    snapshot before = snapshot_take(t.graph);
    CHECK(pg_trace_select(t.graph, &id, (pg_condition){-1, t.x, t.x}, t.x, t.x) == PG_ERR_BAD_OP);
    CHECK(pg_trace_select(t.graph, &id, (pg_condition){PG_COMPARE_COUNT, t.x, t.x}, t.x, t.x) ==
          PG_ERR_BAD_OP);
    for (size_t i = 0; i < LENGTH(bad); i++) {
        CHECK(pg_trace_detach(t.graph, &id, bad[i]) == PG_ERR_BAD_NODE);
        CHECK(pg_trace_select(t.graph, &id, (pg_condition){0, bad[i], t.x}, t.x, t.x) ==
              PG_ERR_BAD_NODE);
        CHECK(pg_trace_select(t.graph, &id, (pg_condition){0, t.x, bad[i]}, t.x, t.x) ==
              PG_ERR_BAD_NODE);
        CHECK(pg_trace_select(t.graph, &id, (pg_condition){0, t.x, t.x}, bad[i], t.x) ==
              PG_ERR_BAD_NODE);
        CHECK(pg_trace_select(t.graph, &id, (pg_condition){0, t.x, t.x}, t.x, bad[i]) ==
              PG_ERR_BAD_NODE);
    }
    CHECK(snapshot_holds(&before, t.graph));
    snapshot_free(&before);
    trace_free(&t);
}

static pg_node_id take(const trace *t, pg_node_id index, const pg_node_id *table, size_t count) {
    pg_node_id id = 0;
    CHECK(pg_trace_take(t->graph, &id, index, table, count) == PG_OK);
    return id;
}

/* Uniform entries are read where they are; beside others they are imported. */
static void takes_name_their_entries(void) {
    trace t = trace_new();
    const pg_node_id uniform[] = {t.w, constant(&t, 7.0), t.v}, mixed[] = {t.y, t.w};
    for (int kind = 0; kind < 2; kind++) {
        const pg_node_id *const table = kind == 0 ? uniform : mixed;
        const uint32_t count = kind == 0 ? 3 : 2;
        pg_program *program = record_one(&t, take(&t, t.x, table, count), exact_passes);
        const pg_instr instr = pg_program_code(program)[0];
        CHECK(code_is(program, "", "take ") && instr.count == count && instr.a == 0);
        CHECK(instr.shape == (kind == 0 ? PG_DOT_WEIGHTED : 0));
        CHECK(pg_program_measure(program).imports == (size_t)kind);
        for (uint32_t i = 0; i < count; i++)
            CHECK(pg_program_pairs(program)[instr.first + i].right == 0);
        pg_program_free(program);
    }
    CHECK(value_of(&t, take(&t, t.x, uniform, 3), exact_passes) == 5.0);
    CHECK(value_of(&t, take(&t, t.x, uniform, 3), 0) == 5.0);
    CHECK(value_of(&t, take(&t, constant(&t, 1.0), mixed, 2), exact_passes) == 3.0);
    trace_free(&t);
}

static pg_node_id part_of(const trace *t, pg_node_id scatter, size_t entry) {
    pg_node_id id = 0;
    CHECK(pg_trace_part(t->graph, &id, scatter, entry) == PG_OK);
    return id;
}

/* y and w, which are 3, go where x says, to 2, and w to 0; the part in between gets nothing. */
static void scatters_are_followed_by_their_parts(void) {
    trace t = trace_new();
    const pg_node_id numbers[] = {t.y, t.w, t.w}, indices[] = {t.x, constant(&t, 0.0), t.x};
    pg_node_id id = 0;
    CHECK(pg_trace_scatter(t.graph, &id, numbers, indices, 3, 3) == PG_OK);
    const pg_node_id last = part_of(&t, id, 2), first = part_of(&t, id, 0);
    for (unsigned passes = 0; passes <= all_passes; passes++) {
        CHECK(value_of(&t, last, passes) == -4.0 && value_of(&t, first, passes) == 3.0);
        CHECK(value_of(&t, part_of(&t, id, 1), passes) == 0.0);
        CHECK(value_of(&t, mul(&t, add(&t, last, first), last), passes) == 4.0);
    }
    pg_program *program = record_one(&t, add(&t, last, last), exact_passes);
    CHECK(code_is(program, "", "scatter part part part add "));
    const pg_instr *code = pg_program_code(program);
    for (uint32_t k = 0; k < 4; k++)
        CHECK(code[k].run == 4 - k && (k == 0 || code[k].a == code->dst));
    pg_program_free(program);
    trace_free(&t);
}

/* Equal ones are shared, those with other numbers of parts are not; of parameters they are hoisted;
 * without a use they are removed. */
static void scatters_through_the_passes(void) {
    trace t = trace_new();
    const pg_node_id number = mul(&t, t.w, t.v);
    pg_node_id ids[3];
    for (size_t i = 0; i < 3; i++)
        CHECK(pg_trace_scatter(t.graph, &ids[i], &number, &t.x, 1, i < 2 ? 2 : 3) == PG_OK);
    const pg_node_id equal = add(&t, part_of(&t, ids[0], 1), part_of(&t, ids[1], 1));
    const pg_node_id longer = add(&t, part_of(&t, ids[0], 1), part_of(&t, ids[2], 2));
    CHECK(becomes(&t, equal, exact_passes, "mul ", "scatter part part scatter part part add "));
    CHECK(becomes(&t, equal, PG_PASS_SHARE, "", "mul scatter part part add "));
    CHECK(becomes(&t, longer, PG_PASS_SHARE, "",
                  "mul scatter part part scatter part part part add "));
    pg_node_id uniform = 0;
    CHECK(pg_trace_scatter(t.graph, &uniform, &number, &t.w, 1, 4) == PG_OK);
    const pg_node_id hoisted = mul(&t, part_of(&t, uniform, 3), t.x);
    CHECK(becomes(&t, hoisted, exact_passes, "mul scatter part part part part ", "mul "));
    CHECK(value_of(&t, hoisted, exact_passes) == 30.0);
    CHECK(becomes(&t, mul(&t, t.x, t.y), exact_passes, "", "mul "));
    trace_free(&t);
}

static void scatters_of_bad_operands(void) {
    trace t = trace_new();
    const pg_node_id good[] = {t.w, t.v}, bad[] = {t.w, 1000};
    pg_node_id id = 0, part = 0;
    CHECK(pg_trace_scatter(t.graph, &id, good, good, 2, 2) == PG_OK);
    snapshot before = snapshot_take(t.graph);
    CHECK(pg_trace_scatter(t.graph, &part, good, good, 0, 2) == PG_ERR_BAD_NODE);
    CHECK(pg_trace_scatter(t.graph, &part, good, good, 2, 0) == PG_ERR_BAD_NODE);
    CHECK(pg_trace_scatter(t.graph, &part, good, bad, 2, 2) == PG_ERR_BAD_NODE);
    CHECK(pg_trace_scatter(t.graph, &part, bad, good, 2, 2) == PG_ERR_BAD_NODE);
    CHECK(pg_trace_scatter(t.graph, &part, good, good, 2, (size_t)1 << 31) == PG_ERR_LIMIT);
    CHECK(pg_trace_part(t.graph, &part, id, 2) == PG_ERR_BAD_NODE);
    CHECK(pg_trace_part(t.graph, &part, t.w, 0) == PG_ERR_BAD_NODE);
    CHECK(pg_trace_part(t.graph, &part, 1000, 0) == PG_ERR_BAD_NODE);
    for (long n = 1; n < 3; n++) {
        pg_alloc_fail_at(n);
        CHECK(pg_trace_scatter(t.graph, &part, good, good, 2, 2) == PG_ERR_NOMEM);
        pg_alloc_fail_at(0);
    }
    CHECK(snapshot_holds(&before, t.graph));
    snapshot_free(&before);
    trace_free(&t);
}

/* At the end of the trace a part becomes the sum of what goes there: of 7 and v, twice w, which is
 * 3, the index of the last part. */
static void scatters_of_parameters_become_ordinary(void) {
    trace t = trace_new();
    const pg_node_id numbers[] = {t.v, constant(&t, 7.0), t.v, t.x};
    const pg_node_id indices[] = {t.w, t.w, constant(&t, 0.0), t.w};
    pg_node_id id = 0, lost = 0;
    CHECK(pg_trace_scatter(t.graph, &id, numbers, indices, 3, 4) == PG_OK);
    CHECK(pg_trace_scatter(t.graph, &lost, numbers, indices, 4, 4) == PG_OK);
    const pg_node_id last = part_of(&t, id, 3), none = part_of(&t, id, 1);
    const pg_node_id of_input = part_of(&t, lost, 3), twice = mul(&t, last, t.v);
    pg_graph_release(t.graph, id);
    pg_graph_release(t.graph, lost);
    CHECK(pg_trace_end(t.graph) == 4); /* both inputs, and what depends on one */
    CHECK(isnan(pg_node_data(t.graph, of_input)));
    CHECK(pg_node_data(t.graph, last) == 12.0 && pg_node_data(t.graph, none) == 0.0);
    CHECK(pg_node_data(t.graph, twice) == 60.0 && pg_backward(t.graph, twice) == PG_OK);
    CHECK(pg_node_grad(t.graph, t.v) == 17.0 && pg_node_grad(t.graph, t.w) == 0.0);
    pg_graph_free(t.graph);
}

static void searches_note_their_side(void) {
    trace t = trace_new();
    const pg_node_id knots[] = {constant(&t, -7.0), constant(&t, 2.0), constant(&t, 2.0)};
    for (int right = 0; right < 2; right++) {
        pg_node_id id = 0;
        CHECK(pg_trace_search(t.graph, &id, t.x, knots, 3, right) == PG_OK);
        pg_program *program = record_one(&t, id, exact_passes);
        CHECK(code_is(program, "", "search ") && pg_program_measure(program).constants == 2);
        CHECK(pg_program_code(program)[0].shape ==
              (right ? PG_DOT_WEIGHTED | PG_SEARCH_RIGHT : PG_DOT_WEIGHTED));
        pg_program_free(program);
        CHECK(value_of(&t, id, exact_passes) == (right ? 3.0 : 1.0));
        CHECK(value_of(&t, id, 0) == (right ? 3.0 : 1.0));
    }
    trace_free(&t);
}

static void lookups_of_bad_operands(void) {
    trace t = trace_new();
    const pg_node_id good[] = {t.w, t.v}, bad[] = {0, 1000, UINT32_MAX};
    pg_node_id id = 0;
    snapshot before = snapshot_take(t.graph);
    CHECK(pg_trace_take(t.graph, &id, t.x, good, 0) == PG_ERR_BAD_NODE);
    CHECK(pg_trace_search(t.graph, &id, t.x, good, 0, 0) == PG_ERR_BAD_NODE);
    for (size_t i = 0; i < LENGTH(bad); i++) {
        const pg_node_id table[] = {t.w, bad[i]};
        CHECK(pg_trace_take(t.graph, &id, bad[i], good, 2) == PG_ERR_BAD_NODE);
        CHECK(pg_trace_take(t.graph, &id, t.x, table, 2) == PG_ERR_BAD_NODE);
        CHECK(pg_trace_search(t.graph, &id, bad[i], good, 2, 1) == PG_ERR_BAD_NODE);
        CHECK(pg_trace_search(t.graph, &id, t.x, table, 2, 1) == PG_ERR_BAD_NODE);
    }
    for (long n = 1; n < 3; n++) {
        pg_alloc_fail_at(n);
        const pg_status taken = pg_trace_take(t.graph, &id, t.x, good, 2);
        pg_alloc_fail_at(n);
        CHECK(taken == PG_ERR_NOMEM &&
              pg_trace_search(t.graph, &id, t.x, good, 2, 1) == PG_ERR_NOMEM);
        pg_alloc_fail_at(0);
    }
    CHECK(snapshot_holds(&before, t.graph));
    snapshot_free(&before);
    trace_free(&t);
}

/* By a parameter, at the end of the trace: an index of 3 for w, and of the place of w, 1. */
static void lookups_of_parameters_become_ordinary(void) {
    trace t = trace_new();
    const pg_node_id table[] = {t.v, t.v, t.v, t.w}, knots[] = {constant(&t, 2.0)};
    const pg_node_id taken = take(&t, t.w, table, 4), lost = take(&t, t.v, table, 4);
    pg_node_id place = 0;
    CHECK(pg_trace_search(t.graph, &place, t.w, knots, 1, 0) == PG_OK);
    const pg_node_id again = mul(&t, take(&t, place, table + 2, 2), t.v);
    CHECK(pg_trace_end(t.graph) == 3); /* both inputs, and the index that names nothing */
    CHECK(isnan(pg_node_data(t.graph, lost)) && pg_node_is_leaf(t.graph, place));
    CHECK(pg_node_data(t.graph, taken) == 3.0 && pg_node_data(t.graph, place) == 1.0);
    CHECK(pg_node_data(t.graph, again) == 15.0 && pg_backward(t.graph, again) == PG_OK);
    CHECK(pg_node_grad(t.graph, t.w) == 5.0 && pg_node_grad(t.graph, t.v) == 3.0);
    pg_graph_free(t.graph);
}

static void what_depends_on_an_input(void) {
    trace t = trace_new();
    const pg_node_id two = constant(&t, 2.0), of_params = mul(&t, mul(&t, t.w, t.v), two);
    const pg_node_id of_input = unary(t.graph, PG_OP_TANH, add(&t, of_params, t.x));
    const pg_node_id no[] = {t.w, two, of_params, detach(&t, of_params),
                             choose(&t, PG_LESS, t.w, t.v, two, of_params)};
    const pg_node_id yes[] = {t.x,
                              t.y,
                              of_input,
                              mul(&t, of_params, of_input),
                              detach(&t, of_input),
                              power(&t, t.x, 0.0),
                              choose(&t, PG_LESS, t.w, t.x, t.w, t.v),
                              choose(&t, PG_LESS, t.w, t.v, t.w, t.x)};
    for (size_t i = 0; i < LENGTH(no); i++) CHECK(pg_trace_depends(t.graph, no[i]) == 0);
    for (size_t i = 0; i < LENGTH(yes); i++) CHECK(pg_trace_depends(t.graph, yes[i]) == 1);
    for (size_t i = 0; i < LENGTH(no); i++) CHECK(pg_trace_varies(t.graph, no[i]) == (i != 1));
    for (size_t i = 0; i < LENGTH(yes); i++) CHECK(pg_trace_varies(t.graph, yes[i]) == 1);
    CHECK(pg_trace_varies(t.graph, mul(&t, two, two)) == 0);
    CHECK(pg_trace_varies(t.graph, choose(&t, PG_EQUAL, two, two, two, two)) == 0);
    CHECK(pg_trace_varies(t.graph, choose(&t, PG_EQUAL, two, t.w, two, two)) == 1);
    pg_alloc_fail_at(1);
    CHECK(pg_trace_depends(t.graph, of_input) == -1);
    pg_alloc_fail_at(0);
    CHECK(pg_trace_depends(t.graph, of_input) == 1);
    pg_trace_end(t.graph);
    CHECK(pg_trace_depends(t.graph, of_input) == 0); /* no inputs any more */
    pg_graph_free(t.graph);
}

/* ---- what outlives its trace ---------------------------------------------------------------- */

/* Nodes of parameters and constants alone, and how many of what the trace made has inputs below. */
typedef struct kept {
    pg_node_id chosen, detached, rule, of_all, untouched, by_nan, constants;
    size_t of_inputs;
} kept;

static kept keep_some(const trace *t) {
    kept k = {.of_inputs = 7}; /* both inputs, and those whose ids are not kept */
    const pg_node_id two = constant(t, 2.0), none = constant(t, NAN);
    k.chosen = choose(t, PG_LESS, t->w, t->v, mul(t, t->w, t->w), none); /* 9 */
    k.detached = detach(t, k.chosen);
    const pg_node_id value = add(t, k.detached, two), slope = constant(t, 0.5);
    CHECK(pg_trace_custom(t->graph, &k.rule, value, &t->w, &slope, 1) == PG_OK); /* 11 */
    k.of_all = mul(t, add(t, k.chosen, k.rule), two);                            /* 40 */
    k.untouched = mul(t, t->w, t->v);
    k.by_nan = choose(t, PG_NOT_EQUAL, none, t->w, t->v, t->w);
    k.constants = mul(t, two, two);
    const pg_node_id of_input = add(t, t->x, k.chosen);
    (void)detach(t, of_input);
    (void)choose(t, PG_EQUAL, t->y, t->w, t->v, t->v);
    (void)mul(t, of_input, choose(t, PG_EQUAL, two, of_input, t->v, t->v));
    return k;
}

static bool is_child(const pg_graph *graph, pg_node_id id, size_t index, pg_node_id child) {
    return pg_node_child(graph, id, index) == child;
}

static void what_is_made_of_parameters_becomes_ordinary(void) {
    trace t = trace_new();
    const kept k = keep_some(&t);
    CHECK(isnan(pg_node_data(t.graph, k.of_all)));
    CHECK(pg_trace_end(t.graph) == k.of_inputs && pg_trace_left(t.graph) == k.of_inputs);
    CHECK(pg_node_data(t.graph, k.chosen) == 9.0 && pg_node_arity(t.graph, k.chosen) == 2);
    CHECK(pg_node_locals(t.graph, k.chosen)[0] == 1.0 && pg_node_locals(t.graph, k.chosen)[1] == 0);
    CHECK(pg_node_is_leaf(t.graph, k.detached) && pg_node_data(t.graph, k.detached) == 9.0);
    CHECK(pg_node_data(t.graph, k.rule) == 11.0 && pg_node_arity(t.graph, k.rule) == 1);
    CHECK(is_child(t.graph, k.rule, 0, t.w) && pg_node_locals(t.graph, k.rule) != NULL);
    CHECK(pg_node_data(t.graph, k.of_all) == 40.0);
    CHECK(pg_node_data(t.graph, k.untouched) == 15.0 && pg_node_data(t.graph, k.constants) == 4.0);
    CHECK(pg_node_data(t.graph, k.by_nan) == 5.0 && is_child(t.graph, k.by_nan, 0, t.v));
    pg_trace_begin(t.graph);
    CHECK(pg_trace_end(t.graph) == 0 || pg_trace_left(t.graph) == k.of_inputs);
    CHECK(pg_clear_grads(t.graph, k.chosen) == PG_OK && pg_backward(t.graph, k.chosen) == PG_OK);
    CHECK(pg_node_grad(t.graph, t.w) == 6.0 && pg_node_grad(t.graph, t.v) == 0.0);
    pg_graph_free(t.graph);
}

/* An op of parameters that has no number is refused like what depends on inputs. */
static void what_fails_is_refused(void) {
    trace t = trace_new();
    const pg_node_id zero = constant(&t, 0.0), none = constant(&t, NAN);
    const pg_node_id chosen = choose(&t, PG_LESS, t.w, t.v, zero, none);
    const pg_node_id bad = unary(t.graph, PG_OP_LOG, chosen), worse = add(&t, bad, t.w);
    CHECK(isnan(pg_node_data(t.graph, worse)));
    CHECK(pg_trace_end(t.graph) == 4); /* both inputs and both of these */
    CHECK(pg_node_data(t.graph, chosen) == 0.0);
    pg_graph_free(t.graph);
}

/* Then more may be refused than need be, and nothing has a wrong number. */
static void a_trace_ends_without_memory(void) {
    for (long n = 1; n < 12; n++) {
        trace t = trace_new();
        const kept k = keep_some(&t);
        pg_alloc_fail_at(n);
        const size_t left = pg_trace_end(t.graph);
        pg_alloc_fail_at(0);
        CHECK(left >= k.of_inputs && left == pg_trace_left(t.graph));
        if (left == k.of_inputs) CHECK(pg_node_data(t.graph, k.of_all) == 40.0);
        CHECK(pg_node_data(t.graph, k.untouched) == 15.0);
        pg_graph_free(t.graph);
    }
}

static void check_untraceable(const trace *t, pg_node_id bad, int op) {
    pg_program *program = NULL;
    const pg_node_id outputs[] = {t->x, mul(t, add(t, t->x, bad), t->w)};
    snapshot before = snapshot_take(t->graph);
    CHECK(
        pg_record(t->graph, &program, &(pg_recording){t->inputs, outputs, 2, 2, exact_passes, 0}) ==
        PG_ERR_UNTRACEABLE);
    CHECK(program == NULL && pg_graph_fault(t->graph).op == op);
    CHECK(snapshot_holds(&before, t->graph));
    CHECK(pg_record(t->graph, &program,
                    &(pg_recording){t->inputs, outputs, 2, 1, exact_passes, 0}) == PG_OK);
    pg_program_free(program); /* of what doesn't need the bad node */
    snapshot_free(&before);
}

static void closures_and_given_derivatives_are_untraceable(void) {
    trace t = trace_new();
    pg_node_id variadic, bare, closed = unary(t.graph, PG_OP_TANH, t.y);
    const double locals[] = {1.0, 2.0};
    CHECK(pg_graph_variadic(t.graph, &variadic, 0.5, (pg_children){t.inputs, locals, 2}) == PG_OK);
    CHECK(pg_graph_variadic(t.graph, &bare, 0.5, (pg_children){NULL, NULL, 0}) == PG_OK);
    t.graph->nodes[closed].flags |= PG_FLAG_CLOSURE;
    t.graph->owners[closed] = &t; /* any owner */
    check_untraceable(&t, variadic, PG_OP_VARIADIC);
    check_untraceable(&t, bare, PG_OP_VARIADIC);
    check_untraceable(&t, closed, PG_OP_TANH);
    t.graph->nodes[closed].flags &= (uint8_t)~PG_FLAG_CLOSURE;
    t.graph->owners[closed] = NULL;
    trace_free(&t);
}

/* ---- the graph afterwards ------------------------------------------------------------------- */

static bool is_clean(const pg_graph *graph) {
    bool clean = true;
    for (size_t i = 1; i < graph->used; i++)
        clean = clean && (graph->nodes[i].flags & (PG_FLAG_OLD | PG_FLAG_INPUT)) == 0;
    return clean;
}

static void a_trace_leaves_the_graph_as_it_was(void) {
    for (size_t round = 0; round < 30; round++) {
        pg_graph *graph = new_graph();
        pg_node_id ids[60], inputs[2], extra[3];
        random_graph(graph, ids, LENGTH(ids));
        snapshot before = snapshot_take(graph);
        pg_trace_begin(graph);
        for (size_t i = 0; i < 2; i++) CHECK(pg_trace_input(graph, &inputs[i]) == PG_OK);
        extra[0] = binary(graph, PG_OP_MUL, inputs[0], ids[below(LENGTH(ids))]);
        extra[1] = binary(graph, PG_OP_ADD, ids[below(LENGTH(ids))], inputs[1]);
        extra[2] = binary(graph, PG_OP_ADD, extra[0], extra[1]);
        pg_program *program = NULL;
        CHECK(pg_record(graph, &program,
                        &(pg_recording){inputs, extra, 2, 3, some_of(all_passes), 0}) == PG_OK);
        if (below(2)) pg_trace_end(graph); /* before the nodes go, or after */
        release_all(graph, extra, 3);
        release_all(graph, inputs, 2);
        pg_trace_end(graph);
        CHECK(is_clean(graph) && snapshot_holds(&before, graph));
        CHECK(consistent(graph, ids, LENGTH(ids)));
        pg_program_free(program);
        snapshot_free(&before);
        pg_graph_free(graph);
    }
}

const test_case record_tests[] = {
    TEST(sizes_of_a_small_program),
    TEST(only_what_is_reached_is_recorded),
    TEST(captured_nodes_are_parameters),
    TEST(nodes_in_reused_slots_are_new),
    TEST(outputs_of_any_kind),
    TEST(no_inputs_no_outputs),
    TEST(instructions_have_names),
    TEST(fold_computes_ops_of_constants),
    TEST(fold_merges_equal_constants),
    TEST(fold_knows_what_the_trace_does_not),
    TEST(hoist_moves_what_no_input_reaches),
    TEST(hoist_moves_selects_of_parameters),
    TEST(fuse_makes_dots_of_chains),
    TEST(fuse_makes_dots_of_gates),
    TEST(fuse_takes_layers_whole),
    TEST(fuse_leaves_what_others_use),
    TEST(fuse_keeps_the_order_of_gradients),
    TEST(share_merges_equal_ops),
    TEST(share_compares_whole_selects),
    TEST(powers_are_products_and_reciprocals),
    TEST(passes_keep_the_meaning),
    TEST(selects_note_their_comparison),
    TEST(selects_and_detach_of_bad_operands),
    TEST(scatters_are_followed_by_their_parts),
    TEST(scatters_through_the_passes),
    TEST(scatters_of_bad_operands),
    TEST(scatters_of_parameters_become_ordinary),
    TEST(takes_name_their_entries),
    TEST(searches_note_their_side),
    TEST(lookups_of_bad_operands),
    TEST(lookups_of_parameters_become_ordinary),
    TEST(what_depends_on_an_input),
    TEST(what_is_made_of_parameters_becomes_ordinary),
    TEST(what_fails_is_refused),
    TEST(a_trace_ends_without_memory),
    TEST(closures_and_given_derivatives_are_untraceable),
    TEST(a_trace_leaves_the_graph_as_it_was),
    {0},
};
