/* graph.c - storage: nodes, ids, reference counts, growth.
 *
 * Invariant: slot i < used either holds a node (op != FREE), with refs equal to its uses by other
 * nodes plus its external references, or lies in the free list, once.
 * Owns the arena, the array of owners, the variadic blocks and the scratch arrays of walks.
 * Cost: a node is 32 bytes and 8 for its owner; allocating or freeing one is O(1); growth doubles
 * and is amortised. Source: the free list threaded through the arena is Knuth's, TAOCP 1, 2.2.3. */
#include "graph/verify.h"

#include <string.h>

_Static_assert(sizeof(pg_node) == 32, "two nodes fill a cache line");

static const size_t first_capacity = 1024;
static const size_t most_nodes = 0x7fffffff;
static const size_t worth_tidying = 512; /* nodes freed at once */

pg_graph *pg_graph_new(void) {
    pg_graph *graph = pg_zeroed(1, sizeof *graph);
    if (graph == NULL) return NULL;
    graph->used = 1;
    graph->capacity = 1;
    return graph;
}

void pg_graph_free(pg_graph *graph) {
    if (graph == NULL) return;
    for (size_t i = 1; i < graph->used; i++)
        if (graph->nodes[i].op == PG_OP_VARIADIC) pg_free(graph->nodes[i].of.variadic);
    pg_free(graph->nodes);
    pg_free(graph->owners);
    pg_free(graph->scratch.ids);
    pg_free(graph->scratch.saved);
    pg_ledger_free(graph);
    pg_free(graph);
}

size_t pg_graph_live(const pg_graph *graph) { return graph->used - 1 - graph->free_count; }

size_t pg_graph_bytes(const pg_graph *graph) {
    return sizeof *graph + graph->capacity * (sizeof(pg_node) + sizeof(void *)) +
           graph->scratch.capacity * (sizeof(pg_node_id) + sizeof(double));
}

pg_fault pg_graph_fault(const pg_graph *graph) { return graph->fault; }

static pg_status grow(pg_graph *graph, size_t needed) {
    if (needed > most_nodes) return PG_ERR_LIMIT;
    size_t capacity = graph->capacity < first_capacity ? first_capacity : graph->capacity;
    while (capacity < needed) capacity *= 2;
    if (capacity > most_nodes) capacity = most_nodes;
    pg_node *nodes = pg_realloc(graph->nodes, capacity, sizeof *nodes);
    if (nodes == NULL) return PG_ERR_NOMEM;
    if (graph->nodes == NULL) { /* slot 0 never holds a node and stands for a missing operand */
        memset(nodes, 0, sizeof *nodes);
        nodes[0].flags = PG_FLAG_DETACHED;
    }
    graph->nodes = nodes;
    void **owners = pg_realloc(graph->owners, capacity, sizeof *owners);
    if (owners == NULL) return PG_ERR_NOMEM;
    graph->owners = owners;
    graph->capacity = capacity;
    pg_ledger_grow(graph);
    PG_CHECK_GRAPH(graph);
    return PG_OK;
}

pg_status pg_graph_reserve(pg_graph *graph, size_t count) {
    if (PG_LIKELY(pg_capacity_left(graph) >= count)) return PG_OK;
    if (count > most_nodes) return PG_ERR_LIMIT;
    return grow(graph, graph->used + (count - graph->free_count));
}

pg_status pg_graph_leaf(pg_graph *graph, pg_node_id *id_ret, double data) {
    pg_status status = pg_graph_reserve(graph, 1);
    if (status != PG_OK) return status;
    *id_ret = pg_take(graph, PG_OP_LEAF, data);
    pg_own_new(graph, *id_ret);
    PG_CHECK_GRAPH(graph);
    return PG_OK;
}

pg_status pg_graph_detach(pg_graph *graph, pg_node_id *id_ret, pg_node_id a) {
    if (!pg_alive(graph, a)) return PG_ERR_BAD_NODE;
    pg_status status = pg_graph_leaf(graph, id_ret, graph->nodes[a].data);
    if (status == PG_OK) pg_mark_detached(graph, *id_ret);
    return status;
}

static pg_variadic *new_variadic(pg_variadic_kind kind, pg_children children) {
    const size_t count = children.count;
    const bool has_locals = children.locals != NULL || kind == PG_VARIADIC_CUSTOM;
    size_t ids = (count * sizeof(pg_node_id) + 7) & ~(size_t)7; /* keeps the doubles aligned */
    size_t bytes = sizeof(pg_variadic) + ids + (has_locals ? count * sizeof(double) : 0);
    pg_variadic *variadic = pg_realloc(NULL, bytes, 1);
    if (variadic == NULL) return NULL;
    variadic->count = count;
    variadic->cursor = 0;
    variadic->flat = PG_NOT_FLAT;
    variadic->kind = kind;
    variadic->number = 0;
    variadic->tag = NULL;
    variadic->locals = has_locals ? (double *)((char *)variadic->ids + ids) : NULL;
    if (count > 0) memcpy(variadic->ids, children.ids, count * sizeof *children.ids);
    if (children.locals != NULL)
        memcpy(variadic->locals, children.locals, count * sizeof *children.locals);
    else if (has_locals) memset(variadic->locals, 0, count * sizeof *children.locals);
    return variadic;
}

/* Add a use to each of these nodes but the first `owned` ones, or to none. *detached_ret: are all
 * of them detached, those included? */
static pg_status hold(pg_graph *graph, bool *detached_ret, pg_children children, size_t owned) {
    uint8_t flags = PG_FLAG_DETACHED;
    for (size_t i = owned; i < children.count; i++) {
        const bool alive = pg_alive(graph, children.ids[i]);
        pg_node *node = &graph->nodes[alive ? children.ids[i] : 0];
        if (PG_UNLIKELY(!alive || !pg_can_retain(node))) {
            while (i-- > owned) graph->nodes[children.ids[i]].refs--;
            return alive ? PG_ERR_LIMIT : PG_ERR_BAD_NODE;
        }
        node->refs++;
        flags &= node->flags;
    }
    for (size_t i = 0; i < owned && flags != 0; i++) flags &= graph->nodes[children.ids[i]].flags;
    *detached_ret = flags != 0;
    return PG_OK;
}

/* Allocate a block for these children, and add a use to each but the first `owned` ones. */
static pg_status make_variadic(pg_graph *graph, pg_variadic **variadic_ret, bool *detached_ret,
                               pg_variadic_kind kind, pg_children children, size_t owned) {
    if (children.count > most_nodes) return PG_ERR_LIMIT;
    pg_variadic *variadic = new_variadic(kind, children);
    if (variadic == NULL) return PG_ERR_NOMEM;
    const pg_status status = hold(graph, detached_ret, children, owned);
    if (status == PG_OK) *variadic_ret = variadic;
    else pg_free(variadic);
    return status;
}

/* Turn a leaf into a variadic node. It is detached if all children are; but not without
 * derivatives: then a closure does the backward step, and may do anything. */
static void become_variadic(pg_graph *graph, pg_node_id id, pg_variadic *variadic, bool detached) {
    graph->nodes[id].op = PG_OP_VARIADIC;
    graph->nodes[id].of.variadic = variadic;
    if (variadic->count > 0 && variadic->locals != NULL && detached)
        graph->nodes[id].flags |= PG_FLAG_DETACHED;
    PG_CHECK_GRAPH(graph);
}

static pg_status add_variadic(pg_graph *graph, pg_node_id *id_ret, pg_variadic_kind kind,
                              double data, pg_children children, size_t owned) {
    pg_variadic *variadic;
    bool detached;
    pg_status status = pg_graph_reserve(graph, 1);
    if (status == PG_OK) status = make_variadic(graph, &variadic, &detached, kind, children, owned);
    if (status != PG_OK) return status;
    *id_ret = pg_take(graph, PG_OP_LEAF, data);
    pg_own_new(graph, *id_ret);
    for (size_t i = 0; i < owned; i++) PG_LEDGER(graph->ledger.outside[children.ids[i]]--);
    become_variadic(graph, *id_ret, variadic, detached);
    return PG_OK;
}

pg_status pg_add_variadic(pg_graph *graph, pg_node_id *id_ret, pg_variadic_kind kind, double data,
                          pg_children children) {
    return add_variadic(graph, id_ret, kind, data, children, 0);
}

pg_status pg_own_all(pg_graph *graph, pg_owned *owned_ret, double *data_ret, const pg_node_id *ids,
                     size_t count) {
    bool flat = true;
    for (size_t i = 0; i < count; i++) {
        const pg_node *const node = &graph->nodes[ids[i]];
        if (PG_UNLIKELY(!pg_can_retain(node))) {
            while (i-- > 0) pg_disown(graph, ids[i]);
            return PG_ERR_LIMIT;
        }
        data_ret[i] = node->data;
        flat &= pg_is_plain_leaf(node);
        pg_own(graph, ids[i]);
    }
    *owned_ret = (pg_owned){count, flat ? graph->turned : PG_NOT_FLAT};
    return PG_OK;
}

pg_status pg_add_owning(pg_graph *graph, pg_node_id *id_ret, double data, pg_children children,
                        pg_owned owned) {
    const pg_status status =
        add_variadic(graph, id_ret, PG_VARIADIC_PLAIN, data, children, owned.count);
    if (status != PG_OK || owned.count == 0) return status;
    for (size_t i = owned.count; i < children.count; i++)
        if (!pg_is_plain_leaf(&graph->nodes[children.ids[i]])) return status;
    graph->nodes[*id_ret].of.variadic->flat = owned.flat;
    return status;
}

pg_status pg_widen(pg_graph *graph, pg_node_id id, pg_children children) {
    if (!pg_alive(graph, id) || graph->nodes[id].op != PG_OP_LEAF) return PG_ERR_BAD_NODE;
    pg_variadic *variadic;
    bool detached;
    pg_status status = make_variadic(graph, &variadic, &detached, PG_VARIADIC_PLAIN, children, 0);
    if (status == PG_OK) become_variadic(graph, id, variadic, detached);
    graph->turned++;
    return status;
}

pg_status pg_graph_variadic(pg_graph *graph, pg_node_id *id_ret, double data,
                            pg_children children) {
    return pg_add_variadic(graph, id_ret, PG_VARIADIC_PLAIN, data, children);
}

pg_status pg_graph_custom(pg_graph *graph, pg_node_id *id_ret, double data, pg_children children,
                          void *tag) {
    children.locals = NULL;
    pg_status status = pg_add_variadic(graph, id_ret, PG_VARIADIC_CUSTOM, data, children);
    if (status == PG_OK) graph->nodes[*id_ret].of.variadic->tag = tag;
    return status;
}

pg_status pg_graph_retain(pg_graph *graph, pg_node_id id) {
    if (!pg_alive(graph, id)) return PG_ERR_BAD_NODE;
    if (!pg_can_retain(&graph->nodes[id])) return PG_ERR_LIMIT;
    pg_own(graph, id);
    PG_CHECK_GRAPH(graph);
    return PG_OK;
}

/* The last reference to a KEPT node is gone. True if its owner can go too and the node is to be
 * freed; else the owner owns the node from now on. */
static bool parts_from_owner(pg_graph *graph, pg_node_id id) {
    pg_node *node = &graph->nodes[id];
    node->flags &= (uint8_t)~PG_FLAG_KEPT;
    if (graph->hooks.drop(graph->owners[id])) {
        graph->owners[id] = NULL;
        return true;
    }
    pg_own_new(graph, id);
    return false;
}

/* Drop a reference. If it was the last, push the node onto the list of dead nodes. */
static inline void drop_reference(pg_graph *graph, pg_node_id id, pg_node_id *dead) {
    pg_node *node = &graph->nodes[id];
    if (--node->refs == 0) {
        if (PG_UNLIKELY(node->flags & PG_FLAG_KEPT) && !parts_from_owner(graph, id)) return;
        node->u.next = *dead;
        *dead = id;
    } else if (PG_UNLIKELY(node->refs == 1 &&
                           (node->flags & (PG_FLAG_CLOSURE | PG_FLAG_ATTRIBUTES)) &&
                           graph->owners[id])) {
        graph->hooks.idle(graph->owners[id]);
    }
}

/* Rebuild the free list in address order; free slots at the arena's end become unused. Why: graphs
 * of shared nodes are not freed in the order in which they were built, and after some hundred
 * rounds the free list would be in random order: building and sweeping then take twice as long. */
static void tidy(pg_graph *graph) {
    while (graph->used > 1 && graph->nodes[graph->used - 1].op == PG_OP_FREE) {
        graph->used--;
        graph->free_count--;
    }
    pg_node_id *link = &graph->free;
    for (size_t id = 1; id < graph->used; id++) {
        if (graph->nodes[id].op != PG_OP_FREE) continue;
        *link = (pg_node_id)id;
        link = &graph->nodes[id].u.next;
    }
    *link = 0;
    graph->untidy = 0;
}

static void free_variadic(pg_graph *graph, pg_variadic *variadic) {
    if (variadic->tag != NULL) graph->hooks.untag(variadic->tag);
    pg_free(variadic);
}

/* Drop a node's children, and push those that only it used onto the list of dead nodes. */
static inline void drop_children(pg_graph *graph, pg_node *node, pg_node_id *dead) {
    size_t count;
    const pg_node_id *held = pg_holds(node, &count);
    for (size_t i = 0; i < count; i++) drop_reference(graph, held[i], dead);
    if (PG_UNLIKELY(node->op == PG_OP_VARIADIC)) free_variadic(graph, node->of.variadic);
}

/* Free one node without references. */
static inline void bury_one(pg_graph *graph, pg_node_id id, pg_node_id *dead) {
    pg_node *node = &graph->nodes[id];
    drop_children(graph, node, dead);
    node->op = PG_OP_FREE;
    node->u.next = graph->free;
    graph->free = id;
    graph->free_count++;
}

/* Free these nodes and all that lose their last reference by it: a stack, linked through the
 * gradients, instead of recursion. Tidying once half the arena's nodes have gone in large graphs
 * costs a fraction of what it saves. */
static void bury(pg_graph *graph, pg_node_id dead) {
    size_t before = graph->free_count;
    while (dead != 0) {
        pg_node_id id = dead;
        dead = graph->nodes[id].u.next;
        bury_one(graph, id, &dead);
    }
    size_t freed = graph->free_count - before;
    if (freed < worth_tidying) return;
    graph->untidy += freed;
    if (graph->untidy > graph->used / 2) tidy(graph);
}

void pg_graph_release(pg_graph *graph, pg_node_id id) {
    pg_node_id dead = 0;
    PG_LEDGER(graph->ledger.outside[id]--);
    drop_reference(graph, id, &dead);
    bury(graph, dead);
    PG_CHECK_GRAPH(graph);
}

void pg_discard(pg_graph *graph, pg_node_id id) {
    graph->nodes[id].u.next = 0;
    bury(graph, id);
}

void pg_cut(pg_graph *graph, pg_node_id id) {
    pg_node *node = &graph->nodes[id];
    pg_node_id dead = 0;
    drop_children(graph, node, &dead);
    node->op = PG_OP_LEAF;
    node->flags &= (uint8_t)~PG_FLAG_DETACHED;
    node->of.child[0] = node->of.child[1] = 0;
    bury(graph, dead);
    PG_CHECK_GRAPH(graph);
}

pg_status pg_become(pg_graph *graph, pg_node_id id, pg_variadic_kind kind, pg_children children) {
    pg_variadic *variadic, *before = graph->nodes[id].of.variadic;
    bool detached;
    pg_status status = make_variadic(graph, &variadic, &detached, kind, children, 0);
    if (status != PG_OK) return status;
    variadic->tag = before->tag;
    graph->nodes[id].of.variadic = variadic;
    pg_node_id dead = 0;
    for (size_t i = 0; i < before->count; i++) drop_reference(graph, before->ids[i], &dead);
    pg_free(before);
    bury(graph, dead);
    PG_CHECK_GRAPH(graph);
    return PG_OK;
}

void pg_take_over(pg_graph *graph, pg_node_id id, pg_node_id from) {
    pg_cut(graph, id);
    pg_node *node = &graph->nodes[id], *other = &graph->nodes[from];
    node->op = other->op;
    node->of = other->of;
    graph->turned++;
    node->flags |= other->flags & (PG_FLAG_INT | PG_FLAG_DETACHED);
    other->op = PG_OP_LEAF;
    other->of.child[0] = other->of.child[1] = 0;
    PG_CHECK_GRAPH(graph);
}

double pg_node_data(const pg_graph *graph, pg_node_id id) { return graph->nodes[id].data; }

double pg_node_grad(const pg_graph *graph, pg_node_id id) { return graph->nodes[id].u.grad; }

void pg_node_set_data(pg_graph *graph, pg_node_id id, double data) { graph->nodes[id].data = data; }

void pg_node_set_grad(pg_graph *graph, pg_node_id id, double grad) {
    graph->nodes[id].u.grad = grad;
}

int pg_node_op(const pg_graph *graph, pg_node_id id) { return graph->nodes[id].op; }

int pg_node_is_leaf(const pg_graph *graph, pg_node_id id) {
    return graph->nodes[id].op == PG_OP_LEAF;
}

int pg_node_is_variadic(const pg_graph *graph, pg_node_id id) {
    return graph->nodes[id].op == PG_OP_VARIADIC;
}

double pg_node_number(const pg_graph *graph, pg_node_id id) {
    const pg_op_info *info = pg_op_describe(graph->nodes[id].op);
    if (info == NULL || !info->takes_number) return 0.0;
    return graph->nodes[graph->nodes[id].of.child[1]].data;
}

size_t pg_node_arity(const pg_graph *graph, pg_node_id id) {
    const pg_op_info *info = pg_op_describe(graph->nodes[id].op);
    if (info != NULL) return (size_t)info->arity;
    return graph->nodes[id].op == PG_OP_VARIADIC ? graph->nodes[id].of.variadic->count : 0;
}

pg_node_id pg_node_child(const pg_graph *graph, pg_node_id id, size_t index) {
    size_t count;
    const pg_node_id *held = pg_holds(&graph->nodes[id], &count);
    return index < pg_node_arity(graph, id) ? held[index] : 0;
}

const double *pg_node_locals(const pg_graph *graph, pg_node_id id) {
    return graph->nodes[id].op == PG_OP_VARIADIC ? graph->nodes[id].of.variadic->locals : NULL;
}
