/* testing.c - the tests' tools: checks, random graphs, the invariant, and the tiny recursive
 * version that the core is compared with. Slow and short, so that it can be believed. */
#include "testing.h"
#include "ops/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ------------------------------------------------------------------------------ */

static uint64_t state;

void seed(uint64_t start) { state = start; }

uint64_t random_bits(void) {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t below(size_t n) { return (size_t)(random_bits() % n); }

double uniform(double lo, double hi) {
    return lo + (hi - lo) * ((double)(random_bits() >> 11) * 0x1p-53);
}

unsigned some_of(unsigned flags) { return (unsigned)random_bits() & flags; }

bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

bool same_number(double a, double b) { return same_bits(a, b) || (isnan(a) && isnan(b)); }

bool near(double a, double b, double relative) {
    return fabs(a - b) <= relative * (fabs(b) > 1.0 ? fabs(b) : 1.0);
}

/* ---- building ----------------------------------------------------------------------------- */

void *must_alloc(size_t count, size_t size) {
    void *block = calloc(count > 0 ? count : 1, size);
    if (block != NULL) return block;
    fputs("the test itself is out of memory\n", stderr);
    abort();
}

static void must(pg_status status) {
    if (CHECK(status == PG_OK)) return;
    fprintf(stderr, "a test could not be set up: status %d\n", (int)status);
    abort();
}

pg_graph *new_graph(void) {
    pg_graph *graph = pg_graph_new();
    must(graph != NULL ? PG_OK : PG_ERR_NOMEM);
    return graph;
}

pg_node_id leaf(pg_graph *graph, double data) {
    pg_node_id id = 0;
    must(pg_graph_leaf(graph, &id, data));
    return id;
}

pg_node_id binary(pg_graph *graph, int op, pg_node_id a, pg_node_id b) {
    pg_node_id id = 0;
    must(pg_graph_binary(graph, &id, op, a, b));
    return id;
}

pg_node_id unary(pg_graph *graph, int op, pg_node_id a) {
    pg_node_id id = 0;
    must(pg_graph_unary(graph, &id, op, a));
    return id;
}

pg_operand node(pg_node_id id) { return (pg_operand){id, 0.0}; }
pg_operand number(double value) { return (pg_operand){0, value}; }

pg_status apply(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a, pg_node_id b) {
    const pg_op_info *info = pg_op_describe(op);
    if (info->arity == 2) return pg_graph_binary(graph, id_ret, op, a, b);
    if (!info->takes_number) return pg_graph_unary(graph, id_ret, op, a);
    return pg_graph_number(graph, id_ret, op, a, pg_node_data(graph, b));
}

void release_all(pg_graph *graph, const pg_node_id *ids, size_t count) {
    for (size_t i = 0; i < count; i++) pg_graph_release(graph, ids[i]);
}

static pg_node_id random_wide(pg_graph *graph, const pg_node_id *ids, size_t count) {
    pg_node_id children[6], id = 0;
    double locals[6];
    size_t arity = below(LENGTH(children) + 1);
    for (size_t i = 0; i < arity; i++) {
        children[i] = ids[below(count)];
        locals[i] = uniform(-1.0, 1.0);
    }
    must(pg_graph_variadic(graph, &id, uniform(-1, 1),
                           (pg_children){children, below(4) ? locals : NULL, arity}));
    return id;
}

void random_graph(pg_graph *graph, pg_node_id *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t kind = i == 0 ? 0 : below(9);
        pg_node_id a = i == 0 ? 0 : ids[below(i)], b = i == 0 ? 0 : ids[below(i)];
        if (kind == 0) ids[i] = leaf(graph, uniform(-1.0, 1.0));
        else if (kind == 1) ids[i] = random_wide(graph, ids, i);
        else if (kind == 2) must(pg_graph_number(graph, &ids[i], PG_OP_POWN, a, 2.0));
        else if (kind == 3) ids[i] = unary(graph, PG_OP_TANH, a);
        else if (kind == 4) ids[i] = binary(graph, PG_OP_MUL, a, a);
        else ids[i] = binary(graph, kind < 7 ? PG_OP_ADD : PG_OP_MUL, a, b);
        if (fabs(pg_node_data(graph, ids[i])) < 4.0) continue;
        pg_graph_release(graph, ids[i]);
        ids[i] = unary(graph, PG_OP_TANH, a);
    }
}

/* ---- the invariant ------------------------------------------------------------------------ */

/* Add what each living node uses to refs. */
static bool count_uses(const pg_graph *graph, uint64_t *refs) {
    bool ok = true;
    for (pg_node_id id = 1; id < graph->used; id++) {
        if (!pg_alive(graph, id)) continue;
        size_t count;
        const pg_node_id *held = pg_holds(&graph->nodes[id], &count);
        for (size_t i = 0; i < count; i++) {
            ok = ok && pg_alive(graph, held[i]);
            if (pg_alive(graph, held[i])) refs[held[i]]++;
        }
    }
    return ok;
}

static bool free_list_right(const pg_graph *graph) {
    size_t length = 0, dead = 0;
    unsigned char *seen = must_alloc(graph->used, 1);
    bool ok = true;
    for (pg_node_id id = graph->free; ok && id != 0; id = graph->nodes[id].u.next) {
        ok = id < graph->used && graph->nodes[id].op == PG_OP_FREE && !seen[id] &&
             graph->owners[id] == NULL;
        if (ok) seen[id] = 1;
        length++;
    }
    for (size_t i = 1; i < graph->used; i++) dead += graph->nodes[i].op == PG_OP_FREE;
    free(seen);
    return ok && length == graph->free_count && length == dead;
}

bool consistent(const pg_graph *graph, const pg_node_id *owned, size_t count) {
    uint64_t *refs = must_alloc(graph->used, sizeof *refs);
    bool ok = graph->used <= graph->capacity && free_list_right(graph) && count_uses(graph, refs);
    for (size_t i = 0; i < count; i++) {
        ok = ok && pg_alive(graph, owned[i]);
        if (ok) refs[owned[i]]++;
    }
    for (pg_node_id id = 1; id < graph->used; id++)
        if (pg_alive(graph, id)) ok = ok && refs[id] > 0 && graph->nodes[id].refs == refs[id];
    free(refs);
    return ok;
}

snapshot snapshot_take(const pg_graph *graph) {
    snapshot copy = {must_alloc(graph->used, sizeof(pg_node)), graph->used, pg_graph_live(graph)};
    for (size_t i = 1; i < graph->used; i++) copy.nodes[i] = graph->nodes[i];
    return copy;
}

bool snapshot_holds(const snapshot *before, const pg_graph *graph) {
    if (pg_graph_live(graph) != before->live) return false;
    for (pg_node_id id = 1; id < before->used; id++) {
        pg_node was = before->nodes[id], is = graph->nodes[id];
        if (was.op == PG_OP_FREE && !pg_alive(graph, id)) continue;
        if (!pg_alive(graph, id)) return false;
        was.mark = is.mark; /* a walk may have come by */
        if (memcmp(&was, &is, sizeof was) != 0) return false;
    }
    return true;
}

void snapshot_free(snapshot *before) { free(before->nodes); }

/* ---- the tiny recursive version ----------------------------------------------------------- */

/* The 2 of a ** 2 is a leaf in a child slot, and so in the order, though no child to the public. */
static void visit(const pg_graph *graph, bool *seen, pg_node_id *order, size_t *count,
                  pg_node_id id) {
    if (seen[id]) return;
    seen[id] = true;
    size_t slots;
    const pg_node_id *held = pg_holds(&graph->nodes[id], &slots);
    for (size_t i = 0; i < slots; i++) visit(graph, seen, order, count, held[i]);
    order[(*count)++] = id;
}

size_t reference_order(const pg_graph *graph, pg_node_id *order_ret, pg_node_id root) {
    bool *seen = must_alloc(graph->used, sizeof *seen);
    size_t count = 0;
    visit(graph, seen, order_ret, &count, root);
    free(seen);
    return count;
}

/* Near 1, y lacks the slope's digits. */
static double tanh_slope(double a, double y) {
    const double e = exp(-fabs(a + a));
    return fabs(y) > 0.96875 ? 4.0 * (e / ((1.0 + e) * (1.0 + e))) : 1.0 - y * y;
}

/* Spend a node's gradient; the ops that random_graph makes, and no others. */
static void spend(const pg_graph *graph, double *grads, pg_node_id id) {
    const pg_node_id a = pg_node_child(graph, id, 0), b = pg_node_child(graph, id, 1);
    const double g = grads[id], y = pg_node_data(graph, id);
    const double *locals = pg_node_locals(graph, id);
    switch (pg_node_op(graph, id)) {
    case PG_OP_ADD: grads[a] += g, grads[b] += g; break;
    case PG_OP_MUL:
        grads[a] += pg_node_data(graph, b) * g, grads[b] += pg_node_data(graph, a) * g;
        break;
    case PG_OP_POWN: grads[a] += 2.0 * pg_node_data(graph, a) * g; break;
    case PG_OP_TANH: grads[a] += tanh_slope(pg_node_data(graph, a), y) * g; break;
    case PG_OP_VARIADIC:
        for (size_t i = 0; locals != NULL && i < pg_node_arity(graph, id); i++)
            grads[pg_node_child(graph, id, i)] += locals[i] * g;
        break;
    default: break;
    }
}

double *reference_gradients(const pg_graph *graph, pg_node_id root) {
    pg_node_id *order = must_alloc(pg_graph_live(graph), sizeof *order);
    double *grads = must_alloc(graph->used, sizeof *grads);
    size_t count = reference_order(graph, order, root);
    for (pg_node_id id = 1; id < graph->used; id++)
        if (pg_alive(graph, id)) grads[id] = pg_node_grad(graph, id);
    for (size_t i = 0; i < count; i++)
        if (!pg_node_is_leaf(graph, order[i])) grads[order[i]] = 0.0;
    grads[root] = 1.0;
    for (size_t i = count; i-- > 0;) spend(graph, grads, order[i]);
    free(order);
    return grads;
}

/* ---- functions to record ------------------------------------------------------------------ */

static uint32_t values_of(const recipe *r) { return (uint32_t)(r->inputs + r->params + r->count); }

static double most_of(const recipe *r, uint32_t value) {
    const size_t given = r->inputs + r->params;
    return value < given ? 2.0 : r->lines[value - given].most;
}

/* How large this line's result can be; rough, for random_recipe. */
static double bound(const recipe *r, const line *it) {
    const double a = most_of(r, it->a), b = most_of(r, it->b);
    switch (it->op) {
    case PG_OP_LEAF: return fabs(it->number);
    case PG_OP_ADD: return a + b;
    case PG_OP_MUL:
    case PG_OP_GATE:
    case PG_OP_GATE_EITHER:
    case PG_OP_GATE_HELD: return a * b;
    case PG_OP_TANH_SLOPE:
    case PG_OP_SIGMOID_SLOPE: return 1.0 + b + b * b;
    case PG_OP_LEAKY_RELU:
    case PG_OP_ELU: return (1.0 + fabs(it->number)) * (1.0 + a);
    case PG_OP_LEAKY_RELU_SLOPE:
    case PG_OP_ELU_SLOPE:
    case PG_OP_ELU_BEND: return 1.0 + b;
    case PG_OP_FLOOR:
    case PG_OP_CEIL:
    case PG_OP_TRUNC:
    case PG_OP_RINT:
    case PG_OP_FMOD: return 1.0 + a;
    case PG_OP_MOD: return a + b;
    case PG_OP_FLOORDIV:
    case PG_OP_FMOD_QUOTIENT:
    case PG_OP_LOG_NDTR:
    case PG_OP_LOG_NDTR_SLOPE:
    case PG_OP_LOG_NDTR_EXCESS:
    case PG_OP_LOG_NDTR_BEND:
    case PG_OP_HYPOT_SLOPE:
    case PG_OP_LGAMMA:
    case PG_OP_DIGAMMA:
    case PG_OP_POLYGAMMA: return 1e9;
    case PG_OP_HELD:
    case PG_OP_GELU:
    case PG_OP_SILU:
    case PG_OP_RELU:
    case PG_OP_ABS:
    case PG_OP_CUSTOM:
    case PG_OP_DETACH: return a;
    case PG_OP_MAXIMUM:
    case PG_OP_MINIMUM:
    case PG_OP_SELECT: return fmax(a, b);
    case PG_OP_HYPOT: return a + b;
    case PG_OP_ASINH:
    case PG_OP_ACOS:
    case PG_OP_ACOSH: return 4.0;
    case PG_OP_TAKE: return fmax(b, fmax(most_of(r, it->left), most_of(r, it->right)));
    case PG_OP_SCATTER: return b + most_of(r, it->left);
    case PG_OP_POWN:
    case PG_OP_POW:
    case PG_OP_POW_SLOPE:
    case PG_OP_EXP2:
    case PG_OP_EXPM1:
    case PG_OP_SINH:
    case PG_OP_COSH:
    case PG_OP_EXP: return 1e9;
    default: return 2.0;
    }
}

recipe recipe_new(size_t inputs, size_t params) {
    return (recipe){.inputs = inputs, .params = params};
}

/* Room doubles where it is used up: at 16 lines, 32, 64 ... */
uint32_t recipe_add(recipe *r, line it) {
    const size_t count = r->count;
    if (count == 0 || (count >= 16 && (count & (count - 1)) == 0)) {
        line *lines = must_alloc(count == 0 ? 16 : 2 * count, sizeof *lines);
        if (count > 0) memcpy(lines, r->lines, count * sizeof *lines);
        free(r->lines);
        r->lines = lines;
    }
    it.most = bound(r, &it);
    r->lines[r->count++] = it;
    return values_of(r) - 1;
}

static uint32_t add_op(recipe *r, int op, uint32_t a, uint32_t b) {
    return recipe_add(r, (line){.op = op, .a = a, .b = b});
}

static uint32_t add_constant(recipe *r, double value) {
    return recipe_add(r, (line){.op = PG_OP_LEAF, .number = value});
}

/* Any value that isn't large; half the time one of the last. */
static uint32_t any_value(const recipe *r) {
    const size_t count = values_of(r);
    uint32_t value;
    do value = (uint32_t)(count > 8 && below(2) ? count - 1 - below(8) : below(count));
    while (most_of(r, value) > 8.0);
    return value;
}

/* An op of any values. They are drawn one after the other, the same with every compiler. */
static uint32_t add_any_op(recipe *r, int op) {
    static const double powers[] = {2.0, 3.0, 0.0, 1.0, -1.0, -2.0, 0.5, 2.5};
    line it = {.op = op, .a = any_value(r)};
    it.b = any_value(r);
    it.number = powers[below(LENGTH(powers))];
    if (op == PG_OP_POLYGAMMA) it.number = floor(fabs(it.number)); /* an order */
    return recipe_add(r, it);
}

/* Within (0.5, 1.5). */
static uint32_t add_positive(recipe *r) {
    uint32_t share = add_op(r, PG_OP_SIGMOID, any_value(r), 0);
    return add_op(r, PG_OP_ADD, share, add_constant(r, 0.5));
}

static uint32_t add_chain(recipe *r) {
    uint32_t sum = below(3) ? any_value(r) : add_any_op(r, PG_OP_MUL);
    for (size_t i = 1 + below(4); i > 0; i--) {
        uint32_t product = add_any_op(r, PG_OP_MUL);
        sum = below(4) ? add_op(r, PG_OP_ADD, sum, product) : add_op(r, PG_OP_ADD, product, sum);
    }
    return sum;
}

static uint32_t add_select(recipe *r) {
    line it = {.op = PG_OP_SELECT, .a = any_value(r)};
    it.b = any_value(r);
    it.left = any_value(r);
    it.right = any_value(r);
    it.compare = (int)below(PG_COMPARE_COUNT);
    return recipe_add(r, it);
}

static uint32_t add_custom(recipe *r) {
    line it = {.op = PG_OP_CUSTOM, .a = any_value(r)};
    it.b = any_value(r);
    it.left = below(3) ? any_value(r) : it.b;
    it.right = any_value(r);
    return recipe_add(r, it);
}

/* Within (-0.85, 0.85). */
static uint32_t add_small(recipe *r) {
    const uint32_t sine = add_op(r, PG_OP_SIN, any_value(r), 0);
    return add_op(r, PG_OP_SIN, sine, 0);
}

/* Can op not fail, for operands that aren't large? */
static bool takes_any(const line *it) {
    switch (it->op) {
    case PG_OP_EXP:
    case PG_OP_EXP2:
    case PG_OP_EXPM1:
    case PG_OP_SINH:
    case PG_OP_COSH:
    case PG_OP_SIN:
    case PG_OP_COS: return true;
    case PG_OP_POWN: return it->number >= 0.0 && it->number == floor(it->number);
    default: return !pg_can_fail(it->op);
    }
}

/* A value of the op's domain, away from poles. */
static uint32_t in_domain(recipe *r, int op) {
    switch (op) {
    case PG_OP_TAN:
    case PG_OP_ASIN:
    case PG_OP_ACOS:
    case PG_OP_ATANH: return add_small(r);
    case PG_OP_ACOSH: return add_op(r, PG_OP_EXP, add_positive(r), 0);
    default: return add_positive(r);
    }
}

/* A take, or a scatter. */
static uint32_t add_indexed(recipe *r) {
    const bool takes = below(2) != 0;
    line it = {.op = takes ? PG_OP_TAKE : PG_OP_SCATTER, .a = any_value(r)};
    it.b = any_value(r);
    it.left = below(3) ? any_value(r) : it.b;
    it.right = takes || below(3) ? any_value(r) : it.a;
    it.compare = (int)below(takes ? 2 : 6);
    return recipe_add(r, it);
}

static bool divides(int op) {
    return op == PG_OP_MOD || op == PG_OP_FLOORDIV || op == PG_OP_FMOD || op == PG_OP_FMOD_QUOTIENT;
}

/* The same, where no value is an error. */
static uint32_t add_safe_op(recipe *r, int op) {
    uint32_t value = add_any_op(r, op);
    line again = r->lines[r->count - 1];
    if (takes_any(&again)) return value;
    r->count--;
    again.a = in_domain(r, op);
    if (divides(op)) again.b = add_positive(r);
    return recipe_add(r, again);
}

static void add_lines(recipe *r) {
    static const double constants[] = {1.0, 2.0, -1.0, -0.0, 0.0, 0.75};
    const size_t kind = below(14);
    uint32_t value = 0;
    if (kind == 0) add_constant(r, constants[below(LENGTH(constants))]);
    else if (kind == 1) recipe_add(r, (line){.op = PG_OP_DETACH, .a = any_value(r)});
    else if (kind == 2) add_select(r);
    else if (kind == 12) add_custom(r);
    else if (kind == 13) add_indexed(r);
    else if (kind < 5) value = add_chain(r);
    else if (kind < 7) value = add_any_op(r, kind == 5 ? PG_OP_ADD : PG_OP_MUL);
    else value = add_safe_op(r, 1 + (int)below((size_t)pg_op_count()));
    if (value != 0) add_op(r, below(2) ? PG_OP_TANH : PG_OP_SIN, value, 0); /* small again */
}

/* Add up the values that no line uses, so that the last line needs everything. */
static void add_up_the_rest(recipe *r) {
    bool *used = must_alloc(values_of(r), sizeof *used);
    for (size_t i = 0; i < r->count; i++) {
        const line *it = &r->lines[i];
        if (it->op != PG_OP_LEAF)
            used[it->a] = used[it->b] = used[it->left] = used[it->right] = true;
    }
    const uint32_t count = values_of(r);
    uint32_t sum = count - 1;
    for (uint32_t i = 0; i + 1 < count; i++)
        if (!used[i]) sum = add_op(r, PG_OP_ADD, sum, i);
    free(used);
}

void recipe_end(recipe *r, uint32_t value) { r->ends[r->outputs++] = value; }

static void choose_ends(recipe *r, size_t outputs) {
    for (uint32_t i = 0; i < outputs; i++)
        recipe_end(r, i == 0 || below(4) ? values_of(r) - 1 - i : any_value(r));
}

recipe random_recipe(size_t inputs, size_t params, size_t count, size_t outputs) {
    recipe r = recipe_new(inputs, params);
    if (inputs + params == 0) add_constant(&r, 1.5);
    while (r.count < count || values_of(&r) <= outputs) add_lines(&r);
    if (below(2)) add_up_the_rest(&r);
    choose_ends(&r, outputs);
    return r;
}

recipe reckless_recipe(size_t inputs, size_t count, size_t outputs) {
    recipe r = recipe_new(inputs, 0);
    while (r.count < count) {
        const int op = (int)below((size_t)pg_op_count() + 1);
        const bool gate = op == PG_OP_GATE || op == PG_OP_GATE_EITHER ||
                          op == PG_OP_GATE_HELD; /* excuses faults, at 0 */
        if (op == 0) add_select(&r);
        else add_any_op(&r, gate ? PG_OP_MUL : op);
        r.lines[r.count - 1].most = 0.0; /* who cares */
    }
    choose_ends(&r, outputs);
    return r;
}

void recipe_free(recipe *r) { free(r->lines); }

/* ---- recording them ----------------------------------------------------------------------- */

/* Places among the knots -0.5 and 0.5. */
static pg_status trace_places(pg_graph *graph, pg_node_id *places_ret, const pg_node_id *xs,
                              size_t count, int right) {
    pg_node_id knots[2] = {0};
    pg_status status = pg_graph_leaf(graph, &knots[0], -0.5);
    if (status == PG_OK) status = pg_graph_leaf(graph, &knots[1], 0.5);
    for (size_t i = 0; i < count && status == PG_OK; i++)
        status = pg_trace_search(graph, &places_ret[i], xs[i], knots, 2, right);
    for (size_t i = 0; i < 2; i++)
        if (knots[i] != 0) pg_graph_release(graph, knots[i]);
    return status;
}

static pg_status trace_take(pg_graph *graph, pg_node_id *id_ret, const line *it,
                            const pg_node_id *ids) {
    const pg_node_id entries[] = {ids[it->b], ids[it->left], ids[it->right]};
    pg_node_id place = 0;
    pg_status status = trace_places(graph, &place, &ids[it->a], 1, it->compare % 2);
    if (status == PG_OK) status = pg_trace_take(graph, id_ret, place, entries, 3);
    if (place != 0) pg_graph_release(graph, place);
    return status;
}

static pg_status trace_scatter(pg_graph *graph, pg_node_id *id_ret, const line *it,
                               const pg_node_id *ids) {
    const pg_node_id numbers[] = {ids[it->b], ids[it->left]}, xs[] = {ids[it->a], ids[it->right]};
    pg_node_id made[3] = {0}; /* two places, the scatter */
    pg_status status = trace_places(graph, made, xs, 2, it->compare % 2);
    if (status == PG_OK) status = pg_trace_scatter(graph, &made[2], numbers, made, 2, 3);
    if (status == PG_OK) status = pg_trace_part(graph, id_ret, made[2], (size_t)(it->compare / 2));
    for (size_t i = 0; i < 3; i++)
        if (made[i] != 0) pg_graph_release(graph, made[i]);
    return status;
}

static pg_status trace_line(pg_graph *graph, pg_node_id *id_ret, const line *it,
                            const pg_node_id *ids) {
    switch (it->op) {
    case PG_OP_LEAF: return pg_graph_leaf(graph, id_ret, it->number);
    case PG_OP_DETACH: return pg_trace_detach(graph, id_ret, ids[it->a]);
    case PG_OP_SELECT:
        return pg_trace_select(graph, id_ret,
                               (pg_condition){it->compare, ids[it->left], ids[it->right]},
                               ids[it->a], ids[it->b]);
    case PG_OP_TAKE: return trace_take(graph, id_ret, it, ids);
    case PG_OP_SCATTER: return trace_scatter(graph, id_ret, it, ids);
    case PG_OP_CUSTOM: {
        const pg_node_id operands[] = {ids[it->b], ids[it->left]};
        const pg_node_id slopes[] = {ids[it->right], ids[it->b]};
        return pg_trace_custom(graph, id_ret, ids[it->a], operands, slopes, 2);
    }
    default:
        if (pg_op_describe(it->op)->takes_number)
            return pg_graph_number(graph, id_ret, it->op, ids[it->a], it->number);
        return apply(graph, id_ret, it->op, ids[it->a], ids[it->b]);
    }
}

static void find_params(const recipe *r, uint32_t *param_of_ret, const pg_program *program,
                        const pg_node_id *ids) {
    const pg_node_id *sources = pg_program_sources(program);
    for (size_t i = 0; i < pg_program_measure(program).params; i++)
        for (uint32_t k = 0; k < r->params; k++)
            if (ids[r->inputs + k] == sources[i]) param_of_ret[i] = k;
}

pg_status recipe_trace(traced_recipe *t_ret, const recipe *r) {
    traced_recipe t = {.graph = new_graph()};
    t.ids = must_alloc(values_of(r), sizeof *t.ids);
    for (size_t i = 0; i < r->params; i++) t.ids[r->inputs + i] = leaf(t.graph, 1.0);
    pg_trace_begin(t.graph);
    pg_status status = PG_OK;
    for (size_t i = 0; i < r->inputs; i++) must(pg_trace_input(t.graph, &t.ids[i]));
    for (size_t i = 0; status == PG_OK && i < r->count; i++)
        status = trace_line(t.graph, &t.ids[r->inputs + r->params + i], &r->lines[i], t.ids);
    for (size_t i = 0; i < r->outputs; i++) t.ends[i] = t.ids[r->ends[i]];
    *t_ret = t;
    return status;
}

void traced_free(traced_recipe *t) {
    pg_trace_end(t->graph);
    pg_graph_free(t->graph);
    free(t->ids);
}

pg_program *recipe_record(const recipe *r, uint32_t *param_of_ret, unsigned passes, int fast) {
    traced_recipe t;
    pg_program *program = NULL;
    if (recipe_trace(&t, r) == PG_OK)
        must(pg_record(t.graph, &program,
                       &(pg_recording){t.ids, t.ends, r->inputs, r->outputs, passes, fast}));
    if (program != NULL && param_of_ret != NULL) find_params(r, param_of_ret, program, t.ids);
    traced_free(&t);
    return program;
}

pg_program *must_record(const recipe *r, uint32_t *param_of_ret, unsigned passes, int fast) {
    pg_program *program = recipe_record(r, param_of_ret, passes, fast);
    must(program != NULL ? PG_OK : PG_ERR_DOMAIN);
    return program;
}

/* ---- and computing them on ordinary nodes ------------------------------------------------- */

/* The derivatives of a custom op are there from the start. */
static int keep_slopes(void *tag, pg_node_id id) {
    (void)tag, (void)id;
    return 0;
}

/* One that a trace would take for a parameter: so ops of it may be left unjudged. */
static pg_node_id given_leaf(pg_graph *graph, double data) {
    const pg_node_id id = leaf(graph, data);
    graph->nodes[id].flags |= PG_FLAG_OLD;
    return id;
}

eager eager_new(const recipe *r, bool split) {
    eager e = {.recipe = r, .graph = new_graph(), .split = split};
    e.ids = must_alloc(values_of(r), sizeof *e.ids);
    e.uses = must_alloc(3 * r->count + r->outputs, sizeof *e.uses);
    e.failures = must_alloc(r->count, sizeof *e.failures);
    e.graph->hooks.slopes = keep_slopes;
    for (size_t i = 0; i < r->inputs + r->params; i++) e.ids[i] = given_leaf(e.graph, 0.0);
    return e;
}

void eager_free(eager *e) {
    pg_graph_free(e->graph);
    free(e->ids);
    free(e->uses);
    free(e->failures);
}

static bool is_param(const recipe *r, uint32_t value) {
    return value >= r->inputs && value < r->inputs + r->params;
}

/* The node through which a gradient comes to this value. */
static pg_node_id operand_node(eager *e, uint32_t value) {
    if (!e->split || !is_param(e->recipe, value)) return e->ids[value];
    const uint32_t param = value - (uint32_t)e->recipe->inputs;
    pg_node_id id = given_leaf(e->graph, pg_node_data(e->graph, e->ids[value]));
    e->uses[e->use_count++] = (param_use){param, id};
    return id;
}

static bool holds(int compare, double left, double right) {
    switch (compare) {
    case PG_LESS: return left < right;
    case PG_LESS_EQUAL: return left <= right;
    case PG_GREATER: return left > right;
    case PG_GREATER_EQUAL: return left >= right;
    case PG_NOT_LESS: return !(left < right);
    case PG_NOT_LESS_EQUAL: return !(left <= right);
    case PG_NOT_GREATER: return !(left > right);
    case PG_EQUAL: return left == right;
    case PG_NOT_EQUAL: return !(left == right);
    default: return !(left >= right);
    }
}

static pg_status choose(eager *e, pg_node_id *id_ret, const line *it) {
    const double left = pg_node_data(e->graph, e->ids[it->left]);
    const bool first = holds(it->compare, left, pg_node_data(e->graph, e->ids[it->right]));
    const pg_node_id a = operand_node(e, it->a), b = operand_node(e, it->b);
    return pg_graph_where(e->graph, id_ret, first, a, b);
}

static pg_status apply_custom(eager *e, pg_node_id *id_ret, const line *it) {
    const double data = pg_node_data(e->graph, e->ids[it->a]);
    const pg_node_id children[] = {operand_node(e, it->b), operand_node(e, it->left)};
    pg_status status =
        pg_graph_custom(e->graph, id_ret, data, (pg_children){children, NULL, 2}, NULL);
    if (status != PG_OK) return status;
    double *slopes = e->graph->nodes[*id_ret].of.variadic->locals;
    slopes[0] = pg_node_data(e->graph, e->ids[it->right]);
    slopes[1] = pg_node_data(e->graph, e->ids[it->b]);
    return PG_OK;
}

/* Which of the three entries, or parts. */
static uint32_t place_of(const eager *e, const line *it, uint32_t value) {
    const double x = pg_node_data(e->graph, e->ids[value]);
    const bool right = it->compare % 2 != 0;
    uint32_t place = isnan(x) ? 2 : 0;
    for (double knot = -0.5; knot < 1.0; knot += 1.0) place += x > knot || (right && x == knot);
    return place;
}

/* A custom op's node, since its last operand, too, gets its gradient first. */
static pg_status apply_take(eager *e, pg_node_id *id_ret, const line *it) {
    const pg_node_id children[] = {operand_node(e, it->b), operand_node(e, it->left),
                                   operand_node(e, it->right)};
    const uint32_t place = place_of(e, it, it->a);
    pg_status status = pg_graph_custom(e->graph, id_ret, pg_node_data(e->graph, children[place]),
                                       (pg_children){children, NULL, 3}, NULL);
    if (status != PG_OK) return status;
    double *slopes = e->graph->nodes[*id_ret].of.variadic->locals;
    for (uint32_t i = 0; i < 3; i++) slopes[i] = i == place ? 1.0 : 0.0;
    return PG_OK;
}

/* Which of its two numbers are added to the part of a scatter: b, left? */
static void find_summands(const eager *e, const line *it, bool added_ret[2]) {
    const uint32_t part = (uint32_t)(it->compare / 2);
    added_ret[0] = place_of(e, it, it->a) == part;
    added_ret[1] = place_of(e, it, it->right) == part;
}

static pg_status apply_scatter(eager *e, pg_node_id *id_ret, const line *it) {
    const pg_node_id children[] = {operand_node(e, it->b), operand_node(e, it->left)};
    const double b = pg_node_data(e->graph, children[0]),
                 left = pg_node_data(e->graph, children[1]);
    bool added[2];
    find_summands(e, it, added);
    const double sum = added[0] && added[1] ? b + left : added[0] ? b : added[1] ? left : 0.0;
    pg_status status =
        pg_graph_custom(e->graph, id_ret, sum, (pg_children){children, NULL, 2}, NULL);
    if (status != PG_OK) return status;
    double *slopes = e->graph->nodes[*id_ret].of.variadic->locals;
    for (uint32_t i = 0; i < 2; i++) slopes[i] = added[i] ? 1.0 : 0.0;
    return PG_OK;
}

static pg_status compute(eager *e, pg_node_id *id_ret, const line *it) {
    const pg_op_info *info = pg_op_describe(it->op);
    if (it->op == PG_OP_LEAF) return pg_graph_leaf(e->graph, id_ret, it->number);
    if (it->op == PG_OP_DETACH) return pg_graph_detach(e->graph, id_ret, e->ids[it->a]);
    if (it->op == PG_OP_SELECT) return choose(e, id_ret, it);
    if (it->op == PG_OP_CUSTOM) return apply_custom(e, id_ret, it);
    if (it->op == PG_OP_TAKE) return apply_take(e, id_ret, it);
    if (it->op == PG_OP_SCATTER) return apply_scatter(e, id_ret, it);
    const pg_node_id a = operand_node(e, it->a);
    if (info->takes_number) return pg_graph_number(e->graph, id_ret, it->op, a, it->number);
    return apply(e->graph, id_ret, it->op, a, info->arity == 2 ? operand_node(e, it->b) : 0);
}

/* Its node, with what it gives where it is an error, which is put on the list. */
static void compute_unjudged(eager *e, uint32_t value, const line *it) {
    pg_status status = compute(e, &e->ids[value], it);
    if (status != PG_OK) {
        e->failures[e->failure_count++] = (failure){value, status, pg_graph_fault(e->graph)};
        e->graph->tracing = true;
        must(compute(e, &e->ids[value], it));
        e->graph->tracing = false;
    }
    if (it->op == PG_OP_DETACH || it->op == PG_OP_LEAF)
        e->graph->nodes[e->ids[value]].flags |= PG_FLAG_OLD;
}

static void need(const eager *e, bool *needed, uint32_t value);

/* Of a take the place and the entry there; of a scatter's part both places, and what is added. */
static void need_indexed(const eager *e, bool *needed, const line *it) {
    const uint32_t entries[] = {it->b, it->left, it->right};
    bool added[2];
    need(e, needed, it->a);
    if (it->op == PG_OP_TAKE) {
        need(e, needed, entries[place_of(e, it, it->a)]);
        return;
    }
    need(e, needed, it->right);
    find_summands(e, it, added);
    for (size_t i = 0; i < 2; i++)
        if (added[i]) need(e, needed, entries[i]);
}

/* What an output needs: of a choice what is compared and what was chosen, of other ops all. */
static void need(const eager *e, bool *needed, uint32_t value) {
    const size_t given = e->recipe->inputs + e->recipe->params;
    if (needed[value]) return;
    needed[value] = true;
    if (value < given) return;
    const line *it = &e->recipe->lines[value - given];
    const pg_op_info *info = pg_op_describe(it->op);
    if (it->op == PG_OP_TAKE || it->op == PG_OP_SCATTER) {
        need_indexed(e, needed, it);
        return;
    }
    const bool chooses = it->op == PG_OP_SELECT, takes_four = chooses || it->op == PG_OP_CUSTOM;
    if (takes_four) {
        need(e, needed, it->left);
        need(e, needed, it->right);
    }
    const bool first = chooses && holds(it->compare, pg_node_data(e->graph, e->ids[it->left]),
                                        pg_node_data(e->graph, e->ids[it->right]));
    if (it->op != PG_OP_LEAF && (!chooses || first)) need(e, needed, it->a);
    if (it->op == PG_OP_CUSTOM || (info != NULL && info->arity == 2) || (chooses && !first))
        need(e, needed, it->b);
}

static void judge(eager *e) {
    bool *needed = must_alloc(values_of(e->recipe), sizeof *needed);
    for (size_t i = 0; i < e->recipe->outputs; i++) need(e, needed, e->recipe->ends[i]);
    for (size_t i = e->failure_count; i-- > 0;) {
        if (!needed[e->failures[i].value]) continue;
        e->status = e->failures[i].status;
        e->graph->fault = e->failures[i].fault;
    }
    free(needed);
}

/* A value, after those that it is made of, from left to right. */
static void reach(eager *e, uint32_t value) {
    if (e->ids[value] != 0) return;
    const line *it = &e->recipe->lines[value - e->recipe->inputs - e->recipe->params];
    const pg_op_info *info = pg_op_describe(it->op);
    const bool takes_four = it->op == PG_OP_SELECT || it->op == PG_OP_CUSTOM ||
                            it->op == PG_OP_TAKE || it->op == PG_OP_SCATTER;
    if (it->op != PG_OP_LEAF) reach(e, it->a);
    if (takes_four || (info != NULL && info->arity == 2)) reach(e, it->b);
    if (takes_four) {
        reach(e, it->left);
        reach(e, it->right);
    }
    compute_unjudged(e, value, it);
}

/* Give back the nodes of the row before. */
static void forget(eager *e) {
    const size_t given = e->recipe->inputs + e->recipe->params;
    for (size_t i = values_of(e->recipe); i-- > given;) {
        if (e->ids[i] != 0) pg_graph_release(e->graph, e->ids[i]);
        e->ids[i] = 0;
    }
    while (e->use_count > 0) pg_graph_release(e->graph, e->uses[--e->use_count].id);
}

pg_status eager_forward(eager *e, const double *inputs, const double *params) {
    const recipe *r = e->recipe;
    forget(e);
    e->status = PG_OK;
    e->failure_count = 0;
    for (size_t i = 0; i < r->inputs; i++) pg_node_set_data(e->graph, e->ids[i], inputs[i]);
    for (size_t i = 0; i < r->params; i++)
        pg_node_set_data(e->graph, e->ids[r->inputs + i], params[i]);
    for (size_t i = 0; i < r->outputs; i++) reach(e, r->ends[i]);
    if (e->failure_count > 0) judge(e);
    return e->status;
}

pg_status eager_backward(eager *e, double *inputs_ret, double *params_ret, size_t output) {
    const recipe *r = e->recipe;
    const size_t given = r->inputs + r->params;
    for (size_t i = 0; i < given; i++) pg_node_set_grad(e->graph, e->ids[i], 0.0);
    for (size_t i = 0; i < e->use_count; i++) pg_node_set_grad(e->graph, e->uses[i].id, 0.0);
    pg_status status = pg_backward(e->graph, e->ids[r->ends[output]]);
    for (size_t i = 0; i < r->inputs; i++) inputs_ret[i] = pg_node_grad(e->graph, e->ids[i]);
    for (size_t i = 0; params_ret != NULL && i < r->params; i++)
        params_ret[i] = pg_node_grad(e->graph, e->ids[r->inputs + i]);
    return status;
}

double eager_output(const eager *e, size_t output) {
    return pg_node_data(e->graph, e->ids[e->recipe->ends[output]]);
}
