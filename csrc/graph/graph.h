/* graph.h - the layout of nodes and graphs, for the core's files and its Python layer.
 *
 * Nodes live in one arena and refer to each other by index, so that the arena may move when it
 * grows; a pointer to a node is valid only until the next node is added. Index 0 is reserved. A
 * node is 32 bytes, half a cache line: building, sweeping and releasing are bound by memory, not
 * arithmetic. Their loops don't need the owners, which lie in a parallel array.
 *
 * A node is reference counted: one reference for each use by another node and one for each external
 * reference. A freed slot is pushed onto the free list, linked through `next`, so that a temporary
 * reuses the slot of the one before it, still in the cache. After large graphs are freed, the list
 * is sorted by address, so that the next graph is built in consecutive slots. */
#ifndef PG_GRAPH_H
#define PG_GRAPH_H

#include "base/alloc.h"
#include "base/portability.h"
#include "ops/ops.h"
#include "pygradc.h"

#include <stdbool.h>

/* Flags of a node. */
#define PG_FLAG_CLOSURE 0x01u  /* the owner's closure replaces the op's kernel */
#define PG_FLAG_KEPT 0x02u     /* the node owns its owner, not the reverse */
#define PG_FLAG_INT 0x04u      /* the number was an int: ** 2, not ** 2.0 */
#define PG_FLAG_OLD 0x08u      /* predates the active trace */
#define PG_FLAG_INPUT 0x10u    /* an input of that trace */
#define PG_FLAG_OVER 0x20u     /* depends on inputs of a finished trace: its data are meaningless */
#define PG_FLAG_DETACHED 0x40u /* a detached leaf, or computed only from such: gets no gradient */
#define PG_FLAG_ATTRIBUTES 0x80u /* the owner has attributes, which may refer back to the owner */

/* The kind of a variadic node. Kinds from DETACH on exist in traces only, and only the recorder
 * reads them. */
typedef enum pg_variadic_kind {
    PG_VARIADIC_PLAIN = 0, /* derivatives given as numbers */
    PG_VARIADIC_CHOICE,    /* where(condition, a, b), or a sum of some; derivatives are 1 or 0 */
    PG_VARIADIC_CUSTOM,    /* the tag's rule computes the derivatives on demand */
    PG_VARIADIC_DETACH,    /* children[0] without its gradient */
    PG_VARIADIC_RULE, /* a traced custom op; children: its n operands, its value, n derivatives */
    PG_VARIADIC_TAKE, /* table[index]; children: the entries, the index */
    PG_VARIADIC_SEARCH_LEFT,  /* the place of x among knots; children: x, the knots */
    PG_VARIADIC_SEARCH_RIGHT, /* the same, to the right of equal ones */
    PG_VARIADIC_SCATTER,      /* a take's derivative; children: gradients, as many indices */
    PG_VARIADIC_PART,         /* one sum of children[0], a scatter */
    PG_VARIADIC_SELECT        /* + the comparison; children: a, b, and the two compared */
} pg_variadic_kind;

/* Children of a node of any arity, and the derivatives with respect to them. Owned by the node. */
typedef struct pg_variadic {
    size_t count;
    size_t cursor; /* order.c: the next child to visit */
    uint64_t flat; /* `turned` when all children were leaves, without closures; or PG_NOT_FLAT */
    pg_variadic_kind kind;
    uint32_t number; /* of a scatter: its parts; of a part: its place among them */
    void *tag;       /* identifies the op outside the core, or NULL; see pg_hooks.untag */
    double *locals;  /* count doubles behind the ids, or NULL */
    pg_node_id ids[];
} pg_variadic;

typedef struct pg_node {
    double data;
    union {
        double grad;
        pg_node_id next; /* link of a free slot, and of a node being released */
    } u;
    union {
        pg_node_id child[2]; /* 0: none; the 2 of a ** 2 is a leaf in child[1] */
        pg_variadic *variadic;
    } of;
    uint32_t refs;
    uint16_t mark; /* the last walk that visited it; see order.c */
    uint8_t op;
    uint8_t flags;
} pg_node;

/* Callbacks into the layer that sets the owners. Hooks other than `call`, `slopes` and `derive`
 * must not modify the graph: they record what happened, and act after the core has returned. `poll`
 * may run arbitrary code, such as a signal handler; `stop` runs none, so that it can be called
 * during a walk. */
typedef struct pg_hooks {
    int (*call)(void *owner); /* the sweep reached a node with PG_FLAG_CLOSURE; nonzero: stop */
    int (*poll)(void);        /* called periodically in a long sweep; nonzero: stop */
    int (*stop)(void);        /* called periodically in a long walk; nonzero: stop */
    int (*slopes)(void *tag, pg_node_id id); /* compute a custom op's derivatives into the node's
                                                locals; nonzero: stop */
    int (*derive)(void *tag, pg_node_id id, pg_node_id *ids_ret); /* build a custom op's derivatives
                                as nodes, which the caller owns; nonzero: stop */
    void (*idle)(void *owner); /* no node uses this owner's node any more; the owner has a closure
                                  or attributes */
    int (*drop)(void *owner);  /* the last reference to this owner's KEPT node is gone. 1: free it;
  0: the owner has other references and owns the node again */
    void (*untag)(void *tag);  /* the variadic node with this tag was freed */
    bool (*recording)(void);   /* does the active trace belong to the calling thread? */
} pg_hooks;

/* A topological order, and the gradients that its nodes had before the walk. */
typedef struct pg_walk {
    pg_node_id *ids;
    double *saved;
    size_t count, capacity;
} pg_walk;

#ifdef PG_VERIFY
/* Extra state of builds with -DPG_VERIFY; see verify.h. */
typedef struct pg_ledger {
    uint32_t *outside; /* for each slot the number of external references */
    size_t unchecked;  /* operations since the last check of the whole graph */
} pg_ledger;
#define PG_LEDGER(entry) ((void)(entry))
#else
#define PG_LEDGER(entry) ((void)0)
#endif

struct pg_graph {
    pg_node *nodes;
    void **owners; /* for each slot the external object of its node, borrowed unless KEPT; NULL for
                      a node without one and for a free slot */
    size_t used;   /* slots ever used, slot 0 included */
    size_t capacity; /* slots allocated */
    pg_node_id free; /* the free list's head */
    size_t free_count;
    size_t untidy;   /* nodes freed in large graphs since the free list was last sorted */
    uint64_t turned; /* how many times a leaf became an inner node, or a node got a closure */
    uint16_t mark;   /* of the most recent walk */
    pg_walk scratch; /* arrays for the next walk, lent out during a walk */
    pg_hooks hooks;
    pg_fault fault;
    bool tracing;      /* a trace is active */
    bool has_detached; /* has any node ever been detached? */
#ifdef PG_VERIFY
    pg_ledger ledger;
#endif
};

static inline bool pg_alive(const pg_graph *graph, pg_node_id id) {
    return id != 0 && id < graph->used && graph->nodes[id].op != PG_OP_FREE;
}

static inline bool pg_all_alive(const pg_graph *graph, const pg_node_id *ids, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!pg_alive(graph, ids[i])) return false;
    return true;
}

static inline bool pg_is_scatter(const pg_graph *graph, pg_node_id id) {
    return pg_alive(graph, id) && graph->nodes[id].op == PG_OP_VARIADIC &&
           graph->nodes[id].of.variadic->kind == PG_VARIADIC_SCATTER;
}

/* The number of slots available without growing. */
static inline size_t pg_capacity_left(const pg_graph *graph) {
    return graph->free_count + (graph->capacity - graph->used);
}

/* Allocate a slot; requires capacity. */
static inline pg_node_id pg_take_slot(pg_graph *graph) {
    pg_node_id id = graph->free;
    if (PG_LIKELY(id != 0)) {
        graph->free = graph->nodes[id].u.next;
        PG_PREFETCH(&graph->nodes[graph->free]);
        graph->free_count--;
        return id;
    }
    id = (pg_node_id)graph->used++;
    graph->owners[id] = NULL;
    PG_LEDGER(graph->ledger.outside[id] = 0);
    return id;
}

/* Allocate a node, with no references and no children; requires capacity. */
static inline pg_node_id pg_take(pg_graph *graph, int op, double data) {
    pg_node_id id = pg_take_slot(graph);
    graph->nodes[id] = (pg_node){.data = data, .op = (uint8_t)op};
    return id;
}

/* Allocate the node of an op, its value known; requires capacity, and that refs can't overflow. */
static inline pg_node_id pg_take_op(pg_graph *graph, int op, double y, pg_node_id a, pg_node_id b) {
    pg_node_id id = pg_take_slot(graph);
    pg_node *const nodes = graph->nodes;
    nodes[id] = (pg_node){.data = y, .of.child = {a, b}, .op = (uint8_t)op};
    nodes[id].flags = nodes[a].flags & nodes[b].flags & PG_FLAG_DETACHED; /* slot 0 has it too */
    nodes[a].refs++;
    if (b != 0) nodes[b].refs++;
    return id;
}

/* Add an external reference; add the first one, to a new node; drop one that isn't the last. */
static inline void pg_own(pg_graph *graph, pg_node_id id) {
    graph->nodes[id].refs++;
    PG_LEDGER(graph->ledger.outside[id]++);
}
static inline void pg_own_new(pg_graph *graph, pg_node_id id) {
    graph->nodes[id].refs = 1;
    PG_LEDGER(graph->ledger.outside[id] = 1);
}
static inline void pg_disown(pg_graph *graph, pg_node_id id) {
    graph->nodes[id].refs--;
    PG_LEDGER(graph->ledger.outside[id]--);
}

/* The operand's value. */
static inline double pg_operand_data(const pg_graph *graph, pg_operand a) {
    return a.id != 0 ? graph->nodes[a.id].data : a.number;
}

/* The operand's node; a number becomes a leaf without references, which requires capacity. */
static inline pg_node_id pg_operand_node(pg_graph *graph, pg_operand a) {
    return a.id != 0 ? a.id : pg_take(graph, PG_OP_LEAF, a.number);
}

/* Allocate the node of an op with at least one node operand; requires capacity. A number becomes a
 * leaf; the result is detached if its node operand is, although that leaf isn't. */
static inline pg_node_id pg_take_mixed(pg_graph *graph, int op, double y, pg_operand a,
                                       pg_operand b) {
    const pg_node_id left = pg_operand_node(graph, a);
    const pg_node_id id = pg_take_op(graph, op, y, left, pg_operand_node(graph, b));
    if (a.id == 0 || b.id == 0)
        graph->nodes[id].flags = graph->nodes[a.id | b.id].flags & PG_FLAG_DETACHED;
    return id;
}

/* Mark a node as detached, and the graph as having such nodes, so that the sweep checks for
 * them. */
static inline void pg_mark_detached(pg_graph *graph, pg_node_id id) {
    graph->nodes[id].flags |= PG_FLAG_DETACHED;
    graph->has_detached = true;
}

/* Can the sweep give it its gradient, and be done with it? */
static inline bool pg_is_plain_leaf(const pg_node *node) {
    return node->op == PG_OP_LEAF && !(node->flags & PG_FLAG_CLOSURE);
}

/* Does the node receive a gradient? A closure's node always does: the closure may read it. */
static inline bool pg_receives(const pg_node *node) {
    return (node->flags & (PG_FLAG_DETACHED | PG_FLAG_CLOSURE)) != PG_FLAG_DETACHED;
}

/* Can the count absorb every use that a full arena could add? */
static inline bool pg_can_retain(const pg_node *node) { return node->refs < UINT32_MAX - 4; }

/* The nodes that a node references, and their number. */
static inline const pg_node_id *pg_holds(const pg_node *node, size_t *count_ret) {
    if (node->op == PG_OP_VARIADIC) {
        *count_ret = node->of.variadic->count;
        return node->of.variadic->ids;
    }
    *count_ret = pg_op_slots[node->op];
    return node->of.child;
}

/* Free a node with no references. */
void pg_discard(pg_graph *graph, pg_node_id id);
/* Turn a node into a leaf: it keeps its data and drops its children. */
void pg_cut(pg_graph *graph, pg_node_id id);
/* As pg_graph_variadic, of any kind. A custom op's derivatives are 0 until its rule computes
 * them. */
pg_status pg_add_variadic(pg_graph *graph, pg_node_id *id_ret, pg_variadic_kind kind, double data,
                          pg_children children);
/* Nodes that a replay owns from its beginning on, with its parameters, until its result does. */
typedef struct pg_owned {
    size_t count;  /* the first ones of the result's children */
    uint64_t flat; /* as in pg_variadic */
} pg_owned;
static const uint64_t PG_NOT_FLAT = UINT64_MAX;

/* Own these living nodes, or none (PG_ERR_LIMIT), and read their data.
 * pg_add_owning: as pg_graph_variadic, of children of which the caller owns some: these references
 * become the node's. On failure they stay the caller's. */
pg_status pg_own_all(pg_graph *graph, pg_owned *owned_ret, double *data_ret, const pg_node_id *ids,
                     size_t count);
pg_status pg_add_owning(pg_graph *graph, pg_node_id *id_ret, double data, pg_children children,
                        pg_owned owned);
/* Give a variadic node, which keeps its tag, a new kind and children. PG_ERR_NOMEM, PG_ERR_LIMIT:
 * it is unchanged. */
pg_status pg_become(pg_graph *graph, pg_node_id id, pg_variadic_kind kind, pg_children children);
/* Turn a leaf that no node uses into a variadic node; id must not be among the children. On failure
 * the leaf is unchanged. */
pg_status pg_widen(pg_graph *graph, pg_node_id id, pg_children children);
/* Move op and children of `from` to `id`, which drops its own; `from` becomes a leaf. Data,
 * gradients and references stay. None of the moved children may depend on `id`. */
void pg_take_over(pg_graph *graph, pg_node_id id, pg_node_id from);

/* optim.c: as pg_zero_grad, pg_sgd, pg_adam, pg_rmsprop, of nodes that are known to be alive. */
void pg_zero_living(pg_graph *graph, const pg_node_id *nodes, size_t count);
void pg_sgd_living(pg_graph *graph, double *velocity, const pg_node_id *nodes, size_t count,
                   const pg_sgd_settings *settings);
void pg_adam_living(pg_graph *graph, double *mean, double *square, const pg_node_id *nodes,
                    size_t count, const pg_adam_settings *settings);
void pg_rmsprop_living(pg_graph *graph, double *square, double *velocity, const pg_node_id *nodes,
                       size_t count, const pg_rmsprop_settings *settings);

#ifdef PG_VERIFY
/* verify_graph.c */
void pg_ledger_grow(pg_graph *graph);
void pg_ledger_free(pg_graph *graph);
#else
static inline void pg_ledger_grow(pg_graph *graph) { (void)graph; }
static inline void pg_ledger_free(pg_graph *graph) { (void)graph; }
#endif

/* Nodes between two polls of a long walk or sweep: about a millisecond. */
enum { pg_patience = 1 << 16 };

/* order.c: walk from root, with arrays lent out to the walk, and save the gradients; restore them;
 * return the arrays. PG_ERR_STOPPED: hooks.stop requested it; nothing has changed. */
pg_status pg_walk_begin(pg_graph *graph, pg_walk *walk, pg_node_id root);
void pg_walk_undo(pg_graph *graph, const pg_walk *walk);
void pg_walk_end(pg_graph *graph, pg_walk *walk);
/* trace.c: an op of these operands, 0 for none, failed during a trace. PG_OK if the replay is to
 * decide; else the given status, or PG_ERR_NOMEM. */
pg_status pg_trace_judge(pg_graph *graph, pg_status status, pg_node_id a, pg_node_id b);

/* A mark that no node has, for another kind of walk. */
uint16_t pg_walk_mark(pg_graph *graph);

#endif
