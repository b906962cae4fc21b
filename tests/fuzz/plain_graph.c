/* plain_graph.c - the graph as micrograd has it: nodes in the order in which they were made, never
 * freed, never reused. A node lives if a walk from what is held reaches it. Recursion everywhere:
 * the targets build no graph that is too deep for it. */
#include "plain.h"

#include "testing.h"

void plain_clear(plain_graph *g) {
    g->count = g->edge_count = g->ordered = 0;
    g->fault = (pg_fault){0};
    g->judges = true;
    g->since = PLAIN_NOBODY;
}

bool plain_has_room(const plain_graph *g, size_t nodes, size_t edges) {
    return g->count + nodes <= PLAIN_NODES && g->edge_count + edges <= PLAIN_EDGES;
}

/* ---- Making nodes --------------------------------------------------------------------------- */

static uint32_t add(plain_graph *g, plain_node node, const plain_edge *edges, size_t count) {
    if (!CHECK(plain_has_room(g, 1, count))) return 0;
    node.first = g->edge_count;
    node.count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) g->edges[g->edge_count++] = edges[i];
    g->nodes[g->count] = node;
    return g->count++;
}

uint32_t plain_leaf(plain_graph *g, double data) {
    return add(g, (plain_node){.op = PG_OP_LEAF, .data = data}, NULL, 0);
}

uint32_t plain_wide(plain_graph *g, pg_variadic_kind kind, double data, const plain_edge *edges,
                    size_t count, bool has_locals) {
    plain_node node = {PG_OP_VARIADIC, .kind = kind, .data = data, .has_locals = has_locals};
    node.detached = count > 0 && (has_locals || kind == PG_VARIADIC_CUSTOM);
    for (size_t i = 0; i < count; i++)
        node.detached = node.detached && g->nodes[edges[i].to].detached;
    return add(g, node, edges, count);
}

static plain_operand of_node(uint32_t node) { return (plain_operand){node, 0.0}; }
static plain_operand of_number(double number) { return (plain_operand){PLAIN_NOBODY, number}; }

static double data_of(const plain_graph *g, plain_operand a) {
    return a.node != PLAIN_NOBODY ? g->nodes[a.node].data : a.number;
}

static uint32_t node_of(plain_graph *g, plain_operand a) {
    return a.node != PLAIN_NOBODY ? a.node : plain_leaf(g, a.number);
}

static pg_status value_of(plain_graph *g, double *y_ret, int op, double a, double b) {
    *y_ret = plain_value(op, a, b, false);
    const pg_status status = g->judges ? plain_judge_value(op, a, b, *y_ret) : PG_OK;
    if (status != PG_OK) g->fault = (pg_fault){op, 0, a, b};
    return status;
}

/* Is it a replay's to judge what is made of this node, as it comes from before the trace, or from
 * an input? */
static bool waits(const plain_graph *g, uint32_t id) {
    const plain_node *node = &g->nodes[id];
    bool found = id < g->since || node->is_input;
    for (uint32_t i = 0; !found && i < node->count; i++)
        found = waits(g, g->edges[node->first + i].to);
    return found;
}

static bool is_left_to_replays(const plain_graph *g, plain_operand a, plain_operand b) {
    if (g->since == PLAIN_NOBODY) return false;
    return (a.node != PLAIN_NOBODY && waits(g, a.node)) ||
           (b.node != PLAIN_NOBODY && waits(g, b.node));
}

pg_status plain_mixed(plain_graph *g, uint32_t *id_ret, int op, plain_operand a, plain_operand b) {
    double y;
    pg_status status = value_of(g, &y, op, data_of(g, a), data_of(g, b));
    if (status != PG_OK && !is_left_to_replays(g, a, b)) return status;
    const uint32_t left = node_of(g, a), right = node_of(g, b);
    const plain_edge edges[] = {{left, 0.0}, {right, 0.0}};
    const bool detached = (a.node == PLAIN_NOBODY || g->nodes[left].detached) &&
                          (b.node == PLAIN_NOBODY || g->nodes[right].detached);
    *id_ret = add(g, (plain_node){.op = op, .data = y, .detached = detached}, edges, 2);
    return PG_OK;
}

pg_status plain_op(plain_graph *g, uint32_t *id_ret, int op, uint32_t a, uint32_t b) {
    if (plain_operands(op) == 2) return plain_mixed(g, id_ret, op, of_node(a), of_node(b));
    double y;
    pg_status status = value_of(g, &y, op, g->nodes[a].data, 0.0);
    if (status != PG_OK && !is_left_to_replays(g, of_node(a), of_number(0.0))) return status;
    const plain_edge edge = {a, 0.0};
    const plain_node node = {.op = op, .data = y, .detached = g->nodes[a].detached};
    *id_ret = add(g, node, &edge, 1);
    return PG_OK;
}

/* ---- Expressions ---------------------------------------------------------------------------- */

/* A number on the left comes second. */
static pg_status commute(plain_graph *g, uint32_t *id_ret, int op, plain_operand a,
                         plain_operand b) {
    return a.node != PLAIN_NOBODY ? plain_mixed(g, id_ret, op, a, b)
                                  : plain_mixed(g, id_ret, op, b, a);
}

static pg_status subtract(plain_graph *g, uint32_t *id_ret, plain_operand a, plain_operand b) {
    if (b.node == PLAIN_NOBODY) return commute(g, id_ret, PG_OP_ADD, a, of_number(-b.number));
    uint32_t negative;
    pg_status status = commute(g, &negative, PG_OP_MUL, b, of_number(-1.0));
    return status == PG_OK ? commute(g, id_ret, PG_OP_ADD, a, of_node(negative)) : status;
}

static pg_status divide(plain_graph *g, uint32_t *id_ret, plain_operand a, plain_operand b) {
    if (b.node == PLAIN_NOBODY) {
        double inverse;
        pg_status status = value_of(g, &inverse, PG_OP_POWN, b.number, -1.0);
        return status == PG_OK ? commute(g, id_ret, PG_OP_MUL, a, of_number(inverse)) : status;
    }
    uint32_t inverse;
    pg_status status = plain_mixed(g, &inverse, PG_OP_POWN, b, of_number(-1.0));
    if (status != PG_OK) return status;
    g->nodes[inverse].whole = true;
    return commute(g, id_ret, PG_OP_MUL, a, of_node(inverse));
}

pg_status plain_expression(plain_graph *g, uint32_t *id_ret, char sign, plain_operand a,
                           plain_operand b) {
    const bool to_number = a.node != PLAIN_NOBODY && b.node == PLAIN_NOBODY;
    switch (sign) {
    case '+': return commute(g, id_ret, PG_OP_ADD, a, b);
    case '*': return commute(g, id_ret, PG_OP_MUL, a, b);
    case '-': return subtract(g, id_ret, a, b);
    case '/': return divide(g, id_ret, a, b);
    default: return plain_mixed(g, id_ret, to_number ? PG_OP_POWN : PG_OP_POW, a, b);
    }
}

/* Numbers stay numbers until they meet a node, as in Python. */
static plain_operand combine(plain_graph *g, char sign, plain_operand a, plain_operand b) {
    if (a.node == PLAIN_NOBODY && b.node == PLAIN_NOBODY)
        return of_number(sign == '+' ? a.number + b.number : a.number * b.number);
    uint32_t id = 0;
    CHECK(plain_expression(g, &id, sign, a, b) == PG_OK);
    return of_node(id);
}

uint32_t plain_sum(plain_graph *g, plain_operand start, const plain_operand *values, size_t count) {
    for (size_t i = 0; i < count; i++) start = combine(g, '+', start, values[i]);
    return node_of(g, start);
}

pg_status plain_neuron(plain_graph *g, uint32_t *id_ret, int activation, plain_operand bias,
                       const plain_operand *weights, const plain_operand *inputs, size_t count) {
    for (size_t i = 0; i < count; i++)
        bias = combine(g, '+', bias, combine(g, '*', weights[i], inputs[i]));
    *id_ret = node_of(g, bias);
    return activation != 0 ? plain_op(g, id_ret, activation, *id_ret, 0) : PG_OK;
}

void plain_cut(plain_graph *g, uint32_t id) {
    plain_node *node = &g->nodes[id];
    *node = (plain_node){
        .op = PG_OP_LEAF, .data = node->data, .grad = node->grad, .whole = node->whole};
}

/* ---- Walks and gradients -------------------------------------------------------------------- */

static void visit(plain_graph *g, uint32_t id) {
    plain_node *node = &g->nodes[id];
    if (node->seen) return;
    node->seen = true;
    for (uint32_t i = 0; i < node->count; i++) visit(g, g->edges[node->first + i].to);
    g->order[g->ordered++] = id;
}

static void walk_from(plain_graph *g, const uint32_t *roots, size_t count) {
    for (uint32_t i = 0; i < g->count; i++) g->nodes[i].seen = false;
    g->ordered = 0;
    for (size_t i = 0; i < count; i++) visit(g, roots[i]);
}

void plain_walk(plain_graph *g, uint32_t root) { walk_from(g, &root, 1); }

size_t plain_reachable(plain_graph *g, const uint32_t *roots, size_t count) {
    walk_from(g, roots, count);
    return g->ordered;
}

static void give(plain_graph *g, uint32_t to, double slope, double grad) {
    if (!g->nodes[to].detached) g->nodes[to].grad += plain_product(slope, grad);
}

/* Each gradient that was added to this part gets its gradient, once the scatter gives it away. */
static void push_part(plain_graph *g, const plain_node *part) {
    const plain_edge own = g->edges[part->first];
    const plain_node *scatter = &g->nodes[own.to];
    plain_edge *summands = &g->edges[scatter->first], *indices = summands + scatter->count / 2;
    for (uint32_t i = 0; i < scatter->count / 2; i++)
        if (g->nodes[indices[i].to].data == own.slope) summands[i].slope = part->grad;
}

static void push_scatter(plain_graph *g, const plain_node *scatter) {
    plain_edge *summands = &g->edges[scatter->first];
    for (uint32_t i = scatter->count / 2; i-- > 0;) {
        give(g, summands[i].to, 1.0, summands[i].slope);
        summands[i].slope = 0.0;
    }
}

static pg_status push_variadic(plain_graph *g, const plain_node *node) {
    if (node->kind == PG_VARIADIC_PART) push_part(g, node);
    if (node->kind == PG_VARIADIC_SCATTER) push_scatter(g, node);
    const bool custom = node->kind == PG_VARIADIC_CUSTOM;
    if (custom && node->tag == PLAIN_TAG_STOPS) return PG_ERR_STOPPED;
    for (uint32_t k = 0; k < node->count && (custom || node->has_locals); k++) {
        const uint32_t i = custom ? node->count - 1 - k : k; /* a custom op's last one first */
        const plain_edge edge = g->edges[node->first + i];
        if (node->kind == PG_VARIADIC_TAKE && edge.slope == 0.0) continue; /* not taken */
        const double slope = custom ? plain_rule(node->tag, i, g->nodes[edge.to].data) : edge.slope;
        give(g, edge.to, slope, node->grad);
    }
    return PG_OK;
}

pg_status plain_push(plain_graph *g, uint32_t id) {
    const plain_node *node = &g->nodes[id];
    if (node->op == PG_OP_LEAF || node->detached) return PG_OK;
    if (node->op == PG_OP_VARIADIC) return push_variadic(g, node);
    const uint32_t ids[] = {g->edges[node->first].to, g->edges[node->first + node->count - 1].to};
    const double a = g->nodes[ids[0]].data, b = node->count == 2 ? g->nodes[ids[1]].data : 0.0;
    const int operands = pg_op_describe(node->op)->arity;
    double slopes[2];
    for (int by = 1; by <= operands; by++) {
        slopes[by - 1] = plain_slope(node->op, by, a, b, node->data, false);
        const pg_status status = plain_judge_slope(node->op, a, b, node->data, slopes[by - 1]);
        if (!g->judges || status == PG_OK || node->grad == 0.0) continue;
        if (g->nodes[ids[by - 1]].detached) continue;
        g->fault = (pg_fault){node->op, by, a, b};
        return status;
    }
    for (int by = 1; by <= operands; by++) give(g, ids[by - 1], slopes[by - 1], node->grad);
    return PG_OK;
}

pg_status plain_backward(plain_graph *g, uint32_t root) {
    static double saved[PLAIN_NODES];
    pg_status status = PG_OK;
    plain_walk(g, root);
    for (uint32_t i = 0; i < g->ordered; i++) {
        plain_node *node = &g->nodes[g->order[i]];
        saved[i] = node->grad;
        if (node->op != PG_OP_LEAF) node->grad = 0.0;
    }
    g->nodes[root].grad = 1.0;
    for (uint32_t i = g->ordered; status == PG_OK && i-- > 0;) status = plain_push(g, g->order[i]);
    for (uint32_t i = 0; status != PG_OK && i < g->ordered; i++)
        g->nodes[g->order[i]].grad = saved[i];
    return status;
}
