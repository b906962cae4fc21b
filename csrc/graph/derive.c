/* derive.c - derivatives as nodes: they can be differentiated again, recorded, trained through.
 *
 *   order    the nodes below y, children first (order.c)
 *   marks    the nodes that lead to one of xs: only these get an adjoint
 *   sweep    in reverse order: a node's adjoint, a node itself, times each derivative by a child,
 *            which a rule of ops/ops.def builds, is added to the child's adjoint
 *
 * The adjoint's products are GATE nodes: as in the numeric sweep, where an adjoint is 0 an infinite
 * or undefined derivative contributes 0. A derivative that fails there contributes nothing; in a
 * trace the replay decides, row by row.
 * The derivatives of all takes from one table are one scatter: the sweep collects them, and builds
 * it at the last of these takes, before it reaches any entry. That of a scatter are takes again.
 * Invariant: no gradient changes, and no node of y's graph.
 * Owns the nodes that it builds until the end; the result owns those that it uses.
 * Cost: O(arena) bytes of scratch; up to eight nodes for each that leads to an x, and one for each
 * entry of a table; the tables of takes are compared. No recursion.
 * Source: Griewank and Walther, Evaluating Derivatives, 2nd ed., ch. 3; adjoints that are nodes
 * themselves: ch. 5. */
#include "graph/verify.h"
#include "ops/kernels.h"

#include <string.h>

/* What reaches a table or a scatter by several nodes. */
typedef struct collection {
    const pg_variadic *of; /* a scatter, or the first take of a table */
    pg_node_id last;       /* of a table: its take that the sweep reaches last */
    pg_node_id
        *gradients;      /* owned. Those of takes; of a scatter: the adjoints of its parts, or 0 */
    pg_node_id *indices; /* owned. Of the takes */
    size_t count, capacity; /* of the takes */
    uint32_t next;          /* the next one with this key, + 1; 0: none */
} collection;

typedef struct deriver {
    pg_graph *graph;
    pg_node_id *adjoints; /* for each slot of the arena; 0: none yet */
    unsigned char *leads; /* for each slot: does the node lead to one of xs? */
    pg_node_id *built;    /* owned */
    size_t count, capacity;
    collection *collections; /* owned */
    size_t collected, collection_capacity;
    uint32_t *newest; /* for each slot: the newest collection with this key, + 1; 0: none. The key
                         of a table is its first entry */
    pg_node_id one;   /* the adjoint of y, and as a derivative: 1 */
    pg_status status; /* the first failure; nothing is built after it */
} deriver;

/* ---- Building nodes: 0 after a failure --------------------------------------------------------*/

/* Own a node that was built. */
static pg_node_id keep(deriver *d, pg_status status, pg_node_id id) {
    if (status != PG_OK) {
        d->status = status;
        return 0;
    }
    if (pg_grow((void **)&d->built, &d->capacity, d->count, sizeof *d->built) < 0) {
        pg_graph_release(d->graph, id);
        d->status = PG_ERR_NOMEM;
        return 0;
    }
    return d->built[d->count++] = id;
}

static void drop_built(deriver *d, size_t from) {
    while (d->count > from) pg_graph_release(d->graph, d->built[--d->count]);
}

static pg_node_id op1(deriver *d, int op, pg_node_id a) {
    pg_node_id id = 0;
    if (d->status != PG_OK) return 0;
    pg_status status = pg_graph_unary(d->graph, &id, op, a);
    return keep(d, status, id);
}

static pg_node_id op2(deriver *d, int op, pg_node_id a, pg_node_id b) {
    pg_node_id id = 0;
    if (d->status != PG_OK) return 0;
    pg_status status = pg_graph_binary(d->graph, &id, op, a, b);
    return keep(d, status, id);
}

/* Is the second operand a plain number, with no derivative? */
static bool takes_number(int op) {
    const pg_op_info *info = pg_op_describe(op);
    return info != NULL && info->takes_number;
}

/* op(a, number); the number is a leaf, unless it is an op's. */
static pg_node_id with_number(deriver *d, int op, pg_node_id a, double number) {
    pg_node_id id = 0;
    if (d->status != PG_OK) return 0;
    const pg_operand left = {a, 0.0}, right = {0, number};
    pg_status status = takes_number(op) ? pg_graph_number(d->graph, &id, op, a, number)
                                        : pg_expr_binary(d->graph, &id, op, left, right);
    return keep(d, status, id);
}

static pg_node_id leaf(deriver *d, double data) {
    pg_node_id id = 0;
    if (d->status != PG_OK) return 0;
    pg_status status = pg_graph_leaf(d->graph, &id, data);
    return keep(d, status, id);
}

/* where(condition, a, b), of a trace */
static pg_node_id choose(deriver *d, pg_condition condition, pg_node_id a, pg_node_id b) {
    pg_node_id id = 0;
    if (d->status != PG_OK) return 0;
    pg_status status = pg_trace_select(d->graph, &id, condition, a, b);
    return keep(d, status, id);
}

/* ---- Adjoints -------------------------------------------------------------------------------- */

static void add_to(deriver *d, pg_node_id child, pg_node_id contribution) {
    if (d->status != PG_OK || contribution == 0) return;
    pg_node_id *adjoint = &d->adjoints[child];
    *adjoint = *adjoint == 0 ? contribution : op2(d, PG_OP_ADD, *adjoint, contribution);
}

/* Add slope * g to the adjoint of a child; a slope of 0 is none. */
static void give(deriver *d, pg_node_id child, int gate, pg_node_id slope, pg_node_id g) {
    if (slope == 0) return;
    if (slope == d->one) add_to(d, child, g);
    else if (g == d->one) add_to(d, child, slope);
    else add_to(d, child, op2(d, gate, slope, g));
}

/* The product of a derivative of this node and its adjoint. The derivative of a gate by its first
 * operand is itself an adjoint, of a lower order: where that one is 0, too, nothing passes. */
static int gate_of(const pg_node *node, int which) {
    const bool gate = node->op == PG_OP_GATE || node->op == PG_OP_GATE_HELD;
    const bool either = node->op == PG_OP_GATE_EITHER || (gate && which == 1);
    return either ? PG_OP_GATE_EITHER : PG_OP_GATE;
}

static bool receives(const deriver *d, pg_node_id child) {
    return d->leads[child] && pg_receives(&d->graph->nodes[child]);
}

static bool is_fault(pg_status status) {
    return status == PG_ERR_DOMAIN || status == PG_ERR_ZERO_DIVISION || status == PG_ERR_OVERFLOW;
}

/* The derivative of an op by its first or second operand, as its rule says; 0 for none. */
static pg_node_id slope_of(deriver *d, pg_node_id id, int which) {
    const pg_node node = d->graph->nodes[id];
    const pg_node_id A = node.of.child[0], B = node.of.child[1], Y = id, ONE = d->one, NONE = 0;
    const double N = d->graph->nodes[B].data;
    (void)A, (void)B, (void)Y, (void)ONE, (void)NONE, (void)N;
    switch (node.op) {
#define OP1(NAME, a) op1(d, PG_OP_##NAME, a)
#define OP2(NAME, a, b) op2(d, PG_OP_##NAME, a, b)
#define OP2N(NAME, a, number) with_number(d, PG_OP_##NAME, a, number)
#define TIMES(a, number) with_number(d, PG_OP_MUL, a, number)
#define PLUS(a, number) with_number(d, PG_OP_ADD, a, number)
#define WITH(NAME, a, number) with_number(d, PG_OP_##NAME, a, number)
#define POWER(a, number) with_number(d, PG_OP_POWN, a, number)
#define SQUARES(a, b) OP2(ADD, OP2(MUL, a, a), OP2(MUL, b, b))
#define PG_UNARY(...)
#define PG_NUMBER(...)
#define PG_BINARY(...)
#define PG_RULE(NAME, da, db)                                                                      \
    case PG_OP_##NAME: return which == 1 ? (da) : (db);
#include "ops/ops.def"
    default: return 0;
    }
}

/* Push the adjoint g of an op's node to one of its operands. In eager code a derivative that fails
 * where g is 0 isn't asked for. */
static void push_op(deriver *d, pg_node_id id, int which, pg_node_id g) {
    const pg_node_id child = d->graph->nodes[id].of.child[which - 1];
    if (d->status != PG_OK || !receives(d, child)) return;
    const size_t before = d->count;
    const pg_node_id slope = slope_of(d, id, which);
    if (!is_fault(d->status)) {
        give(d, child, gate_of(&d->graph->nodes[id], which), slope, g);
        return;
    }
    const pg_node *const nodes = d->graph->nodes, *const node = &nodes[id];
    drop_built(d, before);
    if (nodes[g].data == 0.0) d->status = PG_OK;
    else
        d->graph->fault =
            (pg_fault){node->op, which, nodes[node->of.child[0]].data,
                       pg_op_slots[node->op] == 2 ? nodes[node->of.child[1]].data : 0.0};
}

/* where() of a trace: the adjoint goes to the operand that is taken. */
static void push_select(deriver *d, const pg_variadic *select, pg_node_id g) {
    const pg_condition condition = {(int)select->kind - (int)PG_VARIADIC_SELECT, select->ids[2],
                                    select->ids[3]};
    const pg_node_id a = select->ids[0], b = select->ids[1];
    if (receives(d, a)) add_to(d, a, choose(d, condition, g, leaf(d, 0.0)));
    if (receives(d, b)) add_to(d, b, choose(d, condition, leaf(d, 0.0), g));
}

/* ---- Tables and scatters ----------------------------------------------------------------------*/

static bool are_of_one_table(const pg_variadic *x, const pg_variadic *y) {
    return x->kind == PG_VARIADIC_TAKE && y->kind == PG_VARIADIC_TAKE && x->count == y->count &&
           memcmp(x->ids, y->ids, (x->count - 1) * sizeof *x->ids) == 0;
}

/* The collection of this scatter, or take's table; a new one, if there is none yet. NULL: no
 * memory. Valid until the next one is added. */
static collection *collection_of(deriver *d, pg_node_id key, const pg_variadic *of) {
    for (uint32_t i = d->newest[key]; i != 0; i = d->collections[i - 1].next) {
        collection *known = &d->collections[i - 1];
        if (known->of == of || are_of_one_table(known->of, of)) return known;
    }
    if (pg_grow((void **)&d->collections, &d->collection_capacity, d->collected,
                sizeof *d->collections) < 0) {
        d->status = PG_ERR_NOMEM;
        return NULL;
    }
    d->collections[d->collected] = (collection){.of = of, .next = d->newest[key]};
    d->newest[key] = (uint32_t)d->collected + 1;
    return &d->collections[d->collected++];
}

static bool is_take(const pg_node *node) {
    return node->op == PG_OP_VARIADIC && node->of.variadic->kind == PG_VARIADIC_TAKE;
}

static collection *table_of(deriver *d, pg_node_id take) {
    const pg_variadic *of = d->graph->nodes[take].of.variadic;
    return collection_of(d, of->ids[0], of);
}

/* take() of a trace: its gradient and its index wait for those of the other takes. */
static void push_take(deriver *d, pg_node_id id, pg_node_id g) {
    collection *table = table_of(d, id);
    if (table == NULL) return;
    size_t capacity = table->capacity;
    if (pg_grow((void **)&table->gradients, &capacity, table->count, sizeof g) < 0 ||
        pg_grow((void **)&table->indices, &table->capacity, table->count, sizeof g) < 0) {
        d->status = PG_ERR_NOMEM;
        return;
    }
    const pg_variadic *take = d->graph->nodes[id].of.variadic;
    table->gradients[table->count] = g;
    table->indices[table->count++] = take->ids[take->count - 1];
}

/* After the last take from a table: a scatter, and for each entry its part. */
static void scatter_table(deriver *d, pg_node_id take) {
    const collection *table = d->status == PG_OK ? table_of(d, take) : NULL;
    if (table == NULL || table->last != take || table->count == 0) return;
    const pg_variadic *of = table->of;
    pg_node_id scatter = 0;
    pg_status status = pg_trace_scatter(d->graph, &scatter, table->gradients, table->indices,
                                        table->count, of->count - 1);
    scatter = keep(d, status, scatter);
    for (size_t i = of->count - 1; i-- > 0 && d->status == PG_OK;) {
        if (!receives(d, of->ids[i])) continue;
        pg_node_id part = 0;
        status = pg_trace_part(d->graph, &part, scatter, i);
        add_to(d, of->ids[i], keep(d, status, part));
    }
}

/* One part of a scatter: its adjoint waits for those of the others. That of the scatter itself only
 * says that there is one. */
static void push_part(deriver *d, const pg_variadic *part, pg_node_id g) {
    const pg_node_id scatter = part->ids[0];
    const pg_variadic *of = d->graph->nodes[scatter].of.variadic;
    collection *parts = collection_of(d, scatter, of);
    if (parts == NULL) return;
    if (parts->gradients == NULL)
        parts->gradients = pg_zeroed(of->number, sizeof *parts->gradients);
    if (parts->gradients == NULL) {
        d->status = PG_ERR_NOMEM;
        return;
    }
    pg_node_id *adjoint = &parts->gradients[part->number];
    *adjoint = *adjoint == 0 ? g : op2(d, PG_OP_ADD, *adjoint, g);
    d->adjoints[scatter] = g;
}

/* Each gradient that was scattered takes the adjoint of its part. */
static void push_scatter(deriver *d, pg_node_id id) {
    const pg_variadic *scatter = d->graph->nodes[id].of.variadic;
    const collection *parts = collection_of(d, id, scatter);
    const pg_node_id none = leaf(d, 0.0);
    for (size_t k = 0; k < scatter->number && d->status == PG_OK; k++)
        if (parts->gradients[k] == 0) parts->gradients[k] = none;
    for (size_t i = scatter->count / 2; i-- > 0 && d->status == PG_OK;) {
        if (!receives(d, scatter->ids[i])) continue;
        pg_node_id taken = 0;
        pg_status status = pg_trace_take(d->graph, &taken, scatter->ids[scatter->count / 2 + i],
                                         parts->gradients, scatter->number);
        add_to(d, scatter->ids[i], keep(d, status, taken));
    }
}

static void free_collections(deriver *d) {
    for (size_t i = 0; i < d->collected; i++) {
        pg_free(d->collections[i].gradients);
        pg_free(d->collections[i].indices);
    }
    pg_free(d->collections);
    pg_free(d->newest);
}

/* ---- The other variadic nodes -----------------------------------------------------------------*/

/* where() of eager code: its derivatives are the numbers 1 and 0. */
static void push_choice(deriver *d, const pg_variadic *choice, pg_node_id g) {
    for (size_t i = 0; i < choice->count; i++)
        if (choice->locals[i] != 0.0 && receives(d, choice->ids[i])) add_to(d, choice->ids[i], g);
}

/* A custom op of a trace: its children are operands, value, and the derivatives, which are nodes.
 */
static void push_rule(deriver *d, const pg_variadic *rule, pg_node_id g) {
    const size_t operands = rule->count / 2;
    for (size_t i = operands; i-- > 0;)
        if (receives(d, rule->ids[i]))
            give(d, rule->ids[i], PG_OP_GATE, rule->ids[operands + 1 + i], g);
}

/* A custom op of eager code: the hook builds its derivatives. */
static void push_custom(deriver *d, pg_node_id id, pg_node_id g) {
    const size_t count = pg_node_arity(d->graph, id), before = d->count;
    void *const tag = d->graph->nodes[id].of.variadic->tag;
    pg_node_id *slopes = pg_realloc(NULL, count, sizeof *slopes);
    if (slopes == NULL) {
        d->status = PG_ERR_NOMEM;
        return;
    }
    if (d->graph->hooks.derive(tag, id, slopes) != 0) d->status = PG_ERR_STOPPED;
    else
        for (size_t i = 0; i < count; i++) keep(d, PG_OK, slopes[i]);
    for (size_t i = count; i-- > 0 && d->status == PG_OK;) {
        const pg_node_id child = pg_node_child(d->graph, id, i);
        if (receives(d, child)) give(d, child, PG_OP_GATE, d->built[before + i], g);
    }
    pg_free(slopes);
}

static void push_variadic(deriver *d, pg_node_id id, pg_node_id g, pg_node_id *opaque_ret) {
    const pg_variadic *const variadic = d->graph->nodes[id].of.variadic;
    switch (variadic->kind) {
    case PG_VARIADIC_PLAIN:
        *opaque_ret = id;
        d->status = PG_ERR_BAD_OP;
        break;
    case PG_VARIADIC_CHOICE: push_choice(d, variadic, g); break;
    case PG_VARIADIC_CUSTOM: push_custom(d, id, g); break;
    case PG_VARIADIC_RULE: push_rule(d, variadic, g); break;
    case PG_VARIADIC_TAKE: push_take(d, id, g); break;
    case PG_VARIADIC_SCATTER: push_scatter(d, id); break;
    case PG_VARIADIC_PART: push_part(d, variadic, g); break;
    case PG_VARIADIC_DETACH:
    case PG_VARIADIC_SEARCH_LEFT:
    case PG_VARIADIC_SEARCH_RIGHT: break;
    default: push_select(d, variadic, g);
    }
}

/* Push a node's adjoint to its children. A copy of a variadic node's children isn't needed: y holds
 * the node. */
static void push(deriver *d, pg_node_id id, pg_node_id *opaque_ret) {
    const pg_node *const node = &d->graph->nodes[id];
    const pg_node_id g = d->adjoints[id];
    if (node->flags & PG_FLAG_DETACHED) return;
    if (node->flags & PG_FLAG_CLOSURE) {
        *opaque_ret = id;
        d->status = PG_ERR_BAD_OP;
    } else if (node->op != PG_OP_VARIADIC) {
        const int operands = pg_op_slots[node->op] - takes_number(node->op);
        for (int which = 1; which <= operands; which++) push_op(d, id, which, g);
    } else push_variadic(d, id, g, opaque_ret);
}

/* ---- The whole ------------------------------------------------------------------------------- */

/* The children by which a node may lead to one of xs: not what a select compares, nor an index. */
static const pg_node_id *led_by(const pg_node *node, size_t *count_ret) {
    const pg_node_id *ids = pg_holds(node, count_ret);
    if (takes_number(node->op)) *count_ret = 1;
    if (node->op != PG_OP_VARIADIC) return ids;
    const pg_variadic_kind kind = node->of.variadic->kind;
    if (kind >= PG_VARIADIC_SELECT) *count_ret = 2;
    else if (kind == PG_VARIADIC_RULE) *count_ret /= 2;
    else if (kind == PG_VARIADIC_SCATTER) *count_ret /= 2;
    else if (kind == PG_VARIADIC_TAKE) *count_ret -= 1;
    else if (kind == PG_VARIADIC_PART) *count_ret = 1;
    else if (kind >= PG_VARIADIC_DETACH) *count_ret = 0;
    return ids;
}

static void mark(deriver *d, const pg_walk *walk, const pg_node_id *xs, size_t count) {
    for (size_t i = 0; i < count; i++) d->leads[xs[i]] = 1;
    for (size_t i = 0; i < walk->count; i++) {
        size_t children;
        const pg_node_id *ids = led_by(&d->graph->nodes[walk->ids[i]], &children);
        for (size_t c = 0; c < children; c++) d->leads[walk->ids[i]] |= d->leads[ids[c]];
    }
}

/* Find the tables, and of each the take that the sweep reaches last, the first one of the walk. */
static void find_tables(deriver *d, const pg_walk *walk) {
    for (size_t i = 0; i < walk->count && d->status == PG_OK; i++) {
        const pg_node_id id = walk->ids[i];
        if (!d->leads[id] || !is_take(&d->graph->nodes[id])) continue;
        collection *table = table_of(d, id);
        if (table != NULL && table->last == 0) table->last = id;
    }
}

static void sweep(deriver *d, const pg_walk *walk, pg_node_id *opaque_ret) {
    const pg_graph *const graph = d->graph;
    for (size_t i = walk->count; i-- > 0 && d->status == PG_OK;) {
        const pg_node_id id = walk->ids[i];
        if (d->adjoints[id] != 0 && d->leads[id]) push(d, id, opaque_ret);
        if (d->leads[id] && is_take(&graph->nodes[id])) scatter_table(d, id);
        if (i % pg_patience == 0 && graph->hooks.stop != NULL && graph->hooks.stop() != 0)
            d->status = PG_ERR_STOPPED;
    }
}

pg_status pg_graph_derive(pg_graph *graph, pg_node_id *ids_ret, pg_node_id *opaque_ret,
                          pg_node_id y, const pg_node_id *xs, size_t count) {
    pg_walk walk;
    *opaque_ret = 0;
    if (!pg_all_alive(graph, xs, count)) return PG_ERR_BAD_NODE;
    pg_status status = pg_walk_begin(graph, &walk, y);
    if (status != PG_OK) return status;
    pg_walk_undo(graph, &walk);
    deriver d = {.graph = graph};
    d.adjoints = pg_zeroed(graph->used, sizeof *d.adjoints);
    d.leads = pg_zeroed(graph->used, sizeof *d.leads);
    d.newest = pg_zeroed(graph->used, sizeof *d.newest);
    if (d.adjoints == NULL || d.leads == NULL || d.newest == NULL) d.status = PG_ERR_NOMEM;
    else {
        mark(&d, &walk, xs, count);
        find_tables(&d, &walk);
        d.adjoints[y] = d.one = leaf(&d, 1.0);
        sweep(&d, &walk, opaque_ret);
    }
    for (size_t i = 0; i < count && d.status == PG_OK; i++) {
        ids_ret[i] = d.adjoints[xs[i]];
        if (ids_ret[i] != 0) pg_own(graph, ids_ret[i]);
    }
    drop_built(&d, 0);
    free_collections(&d);
    pg_free(d.built);
    pg_free(d.adjoints);
    pg_free(d.leads);
    pg_walk_end(graph, &walk);
    return d.status;
}
