/* verify_graph.c - builds with -DPG_VERIFY: does the graph satisfy the invariants of graph.h?
 *
 * Every slot holds a node or lies in the free list, once. A node's references are its uses by other
 * nodes plus the external references in the ledger. There are no cycles. A node has what its kind
 * requires.
 * A check of the whole graph costs O(slots). A graph below 256 slots is checked after every
 * operation, a larger one less often, by the square of its size, so that tests with millions of
 * nodes still finish.
 * Owns nothing but scratch, which bypasses the allocator hook: injected failures must hit the
 * core. */
#include "graph/verify.h"

#ifdef PG_VERIFY

#include <stdio.h>
#include <stdlib.h>

void pg_verify(const char *complaint) {
    if (complaint == NULL) return;
    fprintf(stderr, "PG_VERIFY: %s\n", complaint);
    abort();
}

void *pg_verify_scratch(size_t count, size_t size) {
    void *block = calloc(count + 1, size);
    if (block == NULL) pg_verify("no memory left to verify with");
    return block;
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static const char *free_list_complaint(const pg_graph *graph, uint8_t *seen) {
    size_t length = 0, dead = 0;
    for (pg_node_id id = graph->free; id != 0; id = graph->nodes[id].u.next, length++) {
        if (id >= graph->used) return "the free list names a slot that was never used";
        if (graph->nodes[id].op != PG_OP_FREE) return "the free list names a living node";
        if (seen[id]) return "the free list names a slot twice";
        seen[id] = 1;
    }
    for (size_t i = 1; i < graph->used; i++) {
        if (graph->nodes[i].op != PG_OP_FREE) continue;
        dead++;
        if (graph->owners[i] != NULL) return "a free slot has an owner";
        if (graph->ledger.outside[i] != 0) return "a free slot has external references";
    }
    if (dead != length) return "a free slot is not in the free list";
    return length != graph->free_count ? "free slots are counted wrong" : NULL;
}

/* ---- A node by itself ------------------------------------------------------------------------ */

static const char *variadic_complaint(const pg_graph *graph, const pg_variadic *variadic) {
    const double *const behind =
        (const double *)(const void *)((const char *)variadic->ids +
                                       ((variadic->count * sizeof(pg_node_id) + 7) & ~(size_t)7));
    if (variadic->locals != NULL && variadic->locals != behind)
        return "locals are not behind the ids";
    if (variadic->cursor != 0) return "a walk left a variadic node half seen";
    if (variadic->tag != NULL && graph->hooks.untag == NULL)
        return "a tag, and no hook to release it";
    if (variadic->kind == PG_VARIADIC_CUSTOM)
        return variadic->locals == NULL ? "a rule has no locals" : NULL;
    if (variadic->kind == PG_VARIADIC_CHOICE)
        return variadic->count == 0 || variadic->locals == NULL ? "a choice of nothing" : NULL;
    if (variadic->kind == PG_VARIADIC_DETACH)
        return variadic->count != 1 ? "a detach has one operand" : NULL;
    if (variadic->kind == PG_VARIADIC_RULE)
        return variadic->count < 3 || variadic->count % 2 == 0 ? "a traced rule lacks a slope"
                                                               : NULL;
    if (variadic->kind == PG_VARIADIC_TAKE || variadic->kind == PG_VARIADIC_SEARCH_LEFT ||
        variadic->kind == PG_VARIADIC_SEARCH_RIGHT)
        return variadic->count < 2 ? "a table has no entries" : NULL;
    if (variadic->kind == PG_VARIADIC_SCATTER)
        return variadic->count < 2 || variadic->count % 2 != 0
                   ? "a scatter lacks a gradient or an index"
                   : NULL;
    if (variadic->kind == PG_VARIADIC_PART)
        return variadic->count != 1 || !pg_is_scatter(graph, variadic->ids[0]) ||
                       variadic->number >= graph->nodes[variadic->ids[0]].of.variadic->number
                   ? "a part of no scatter"
                   : NULL;
    if (variadic->kind < PG_VARIADIC_SELECT) return NULL;
    if (variadic->kind >= PG_VARIADIC_SELECT + PG_COMPARE_COUNT)
        return "no such kind of variadic node";
    return variadic->count != 4 ? "a select has four operands" : NULL;
}

static const char *op_complaint(const pg_graph *graph, const pg_node *node) {
    const pg_op_info *info = pg_op_describe(node->op);
    if (info == NULL) return "no such op";
    if (pg_op_slots[node->op] == 1) return node->of.child[1] != 0 ? "a unary op has two" : NULL;
    if (!info->takes_number) return NULL;
    return graph->nodes[node->of.child[1]].op != PG_OP_LEAF ? "an exponent is no leaf" : NULL;
}

/* An operand that is not a table op has become a leaf since, or its owner has replaced its
 * operands. */
static const char *detached_complaint(const pg_graph *graph, const pg_node *node) {
    size_t count;
    const pg_node_id *held = pg_holds(node, &count);
    if (!(node->flags & PG_FLAG_DETACHED)) return NULL;
    if (!graph->has_detached) return "the graph doesn't know of what is detached";
    if (node->flags & PG_FLAG_INPUT) return "an input is detached";
    if (node->op == PG_OP_VARIADIC && node->of.variadic->kind >= PG_VARIADIC_DETACH) return NULL;
    for (size_t i = 0; i < count; i++) {
        const pg_node *child = &graph->nodes[held[i]];
        if (pg_op_describe(child->op) != NULL && !(child->flags & PG_FLAG_DETACHED))
            return "what is detached is made of an op that isn't";
    }
    return NULL;
}

static const char *node_complaint(const pg_graph *graph, pg_node_id id) {
    const pg_node *node = &graph->nodes[id];
    size_t count;
    const pg_node_id *held = pg_holds(node, &count);
    for (size_t i = 0; i < count; i++)
        if (!pg_alive(graph, held[i])) return "a child is not alive";
    if ((node->flags & PG_FLAG_KEPT) && graph->owners[id] == NULL) return "an owner is missing";
    if ((node->flags & PG_FLAG_CLOSURE) && graph->owners[id] == NULL)
        return "a closure's owner is missing";
    if (node->mark > graph->mark) return "marked by a walk that has yet to come";
    const char *complaint = detached_complaint(graph, node);
    if (complaint != NULL) return complaint;
    if (node->op == PG_OP_VARIADIC) return variadic_complaint(graph, node->of.variadic);
    if (node->op != PG_OP_LEAF) return op_complaint(graph, node);
    return node->of.child[0] != 0 || node->of.child[1] != 0 ? "a leaf has children" : NULL;
}

/* ---- References ------------------------------------------------------------------------------ */

static const char *references_complaint(const pg_graph *graph, uint64_t *uses) {
    for (pg_node_id id = 1; id < graph->used; id++) {
        const pg_node *node = &graph->nodes[id];
        if (node->op == PG_OP_FREE) continue;
        if (node->refs == 0) return "a node without references is alive";
        if (node->refs != uses[id] + graph->ledger.outside[id])
            return "references are not uses and owners";
    }
    return NULL;
}

/* Remove nodes that no node uses until none is left; the nodes of a cycle would remain (Kahn). */
static const char *cycle_complaint(const pg_graph *graph, uint64_t *uses, pg_node_id *stack) {
    size_t depth = 0, taken = 0, count;
    for (pg_node_id id = 1; id < graph->used; id++)
        if (graph->nodes[id].op != PG_OP_FREE && uses[id] == 0) stack[depth++] = id;
    for (; depth > 0; taken++) {
        const pg_node_id *held = pg_holds(&graph->nodes[stack[--depth]], &count);
        for (size_t i = 0; i < count; i++)
            if (--uses[held[i]] == 0) stack[depth++] = held[i];
    }
    return taken != pg_graph_live(graph) ? "a node is made of itself" : NULL;
}

static const char *complaint_of(const pg_graph *graph, uint8_t *seen, uint64_t *uses,
                                pg_node_id *stack) {
    const char *complaint = free_list_complaint(graph, seen);
    for (pg_node_id id = 1; complaint == NULL && id < graph->used; id++) {
        if (graph->nodes[id].op == PG_OP_FREE) continue;
        size_t count;
        const pg_node_id *held = pg_holds(&graph->nodes[id], &count);
        complaint = node_complaint(graph, id);
        for (size_t i = 0; complaint == NULL && i < count; i++) uses[held[i]]++;
    }
    if (complaint == NULL) complaint = references_complaint(graph, uses);
    return complaint == NULL ? cycle_complaint(graph, uses, stack) : complaint;
}

const char *pg_graph_complaint(const pg_graph *graph) {
    if (graph->used > graph->capacity) return "more slots than there are";
    uint8_t *seen = pg_verify_scratch(graph->used, sizeof *seen);
    uint64_t *uses = pg_verify_scratch(graph->used, sizeof *uses);
    pg_node_id *stack = pg_verify_scratch(graph->used, sizeof *stack);
    const char *complaint = complaint_of(graph, seen, uses, stack);
    free(seen);
    free(uses);
    free(stack);
    return complaint;
}

void pg_verify_graph(pg_graph *graph) {
    const size_t pause = graph->used * graph->used >> 16;
    if (graph->ledger.unchecked++ < pause) return;
    graph->ledger.unchecked = 0;
    pg_verify(pg_graph_complaint(graph));
}

void pg_ledger_grow(pg_graph *graph) {
    pg_ledger *ledger = &graph->ledger;
    ledger->outside = realloc(ledger->outside, graph->capacity * sizeof *ledger->outside);
    if (ledger->outside == NULL) pg_verify("no memory left for the ledger");
}

void pg_ledger_free(pg_graph *graph) { free(graph->ledger.outside); }

/* ---- An order -------------------------------------------------------------------------------- */

/* A node's children come before it; a node, other than the root, that no later node uses isn't
 * below the root. */
static const char *order_complaint(const pg_graph *graph, const pg_walk *walk, pg_node_id root,
                                   uint8_t *seen, uint8_t *used) {
    for (size_t i = 0; i < walk->count; i++) {
        const pg_node_id id = walk->ids[i];
        if (!pg_alive(graph, id) || seen[id]) return "an order has a node twice, or a dead one";
        size_t count;
        const pg_node_id *held = pg_holds(&graph->nodes[id], &count);
        for (size_t k = 0; k < count; k++) {
            if (!seen[held[k]]) return "an order has a node before one that it is made of";
            used[held[k]] = 1;
        }
        seen[id] = 1;
    }
    if (walk->count == 0 || walk->ids[walk->count - 1] != root) return "the root is not last";
    for (size_t i = 0; i + 1 < walk->count; i++)
        if (!used[walk->ids[i]]) return "an order has a node that the root is not made of";
    return NULL;
}

const char *pg_walk_complaint(const pg_graph *graph, const pg_walk *walk, pg_node_id root) {
    uint8_t *seen = pg_verify_scratch(graph->used, sizeof *seen);
    uint8_t *used = pg_verify_scratch(graph->used, sizeof *used);
    const char *complaint = order_complaint(graph, walk, root, seen, used);
    free(seen);
    free(used);
    return complaint;
}

#endif
