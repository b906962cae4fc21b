/* testing.c - the tests' tools: checks, random graphs, the invariant, and the tiny recursive
 * version that the core is compared with. Slow and short, so that it can be believed. */
#include "testing.h"

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

bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

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
    must(pg_graph_wide(graph, &id, uniform(-1, 1), children, below(4) ? locals : NULL, arity));
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
    case PG_OP_TANH: grads[a] += (1.0 - y * y) * g; break;
    case PG_OP_WIDE:
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
