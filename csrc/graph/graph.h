/* graph.h - what a node and a graph are, for the files of the core and its Python layer.
 *
 * Nodes lie in one arena and name each other by index, so the arena may move when it grows; a
 * pointer to a node is good only until the next node is added. Index 0 is never used. A node is 32
 * bytes, half a cache line: building, sweeping and releasing are bound by memory, not arithmetic.
 * What they don't need, the owners, lies in an array beside it.
 *
 * A node's references are counted: one for each use by another node and one for each owner outside.
 * A freed node is chained into the free list through `next`, last freed first, so that a temporary
 * takes the place, still in the cache, of the one before it. When large graphs go, the list is put
 * in the order of addresses, so that the next one is built from neighbour to neighbour.
 */
#ifndef PG_GRAPH_H
#define PG_GRAPH_H

#include "base/alloc.h"
#include "base/portability.h"
#include "ops/ops.h"
#include "pygradc.h"

#include <stdbool.h>

/* Flags of a node. */
#define PG_FLAG_CLOSURE 0x01u /* the owner has a closure to call instead of the op's kernel */
#define PG_FLAG_KEPT 0x02u    /* the node owns its owner, not the other way round */
#define PG_FLAG_INT 0x04u     /* the number was an int: ** 2 and not ** 2.0 */
#define PG_FLAG_OLD 0x08u     /* lived before the trace that is under way */
#define PG_FLAG_INPUT 0x10u   /* an input of that trace */
#define PG_FLAG_OVER 0x20u    /* made of the inputs of a trace that is over: its data say nothing */
#define PG_FLAG_DETACHED 0x40u /* made by detach, or of such nodes only: receives no gradient */
#define PG_FLAG_HUNG 0x80u     /* the owner has something hung on it, which may hold the owner */

/* What a variadic node is. Those from DETACH on are made by a trace, and only a recording reads
 * them.
 */
typedef enum pg_variadic_kind {
    PG_VARIADIC_PLAIN = 0, /* given by number */
    PG_VARIADIC_CHOICE,    /* where(condition, a, b), given by number */
    PG_VARIADIC_CUSTOM,    /* the tag's rule gives the numbers when they are needed */
    PG_VARIADIC_DETACH,    /* children[0] without its gradient */
    PG_VARIADIC_RULE,      /* a custom op; children: its n operands, its value, n derivatives */
    PG_VARIADIC_SELECT     /* + the comparison; children: a, b, and the two that are compared */
} pg_variadic_kind;

/* The children of a node of any arity, and the derivatives by them. Owned by the node. */
typedef struct pg_variadic {
    size_t count;
    size_t cursor; /* order.c: the child that a walk comes to next */
    pg_variadic_kind kind;
    void *tag;      /* something outside that says what op this is, or NULL; see pg_hooks.untag */
    double *locals; /* count of them behind the ids, or NULL */
    pg_node_id ids[];
} pg_variadic;

typedef struct pg_node {
    double data;
    union {
        double grad;
        pg_node_id next; /* of a freed node, and of one that is being released */
    } u;
    union {
        pg_node_id child[2]; /* 0 where there is none; the 2 of a ** 2 is a leaf in the second */
        pg_variadic *variadic;
    } of;
    uint32_t refs;
    uint16_t mark; /* the number of the last walk that came here; see order.c */
    uint8_t op;
    uint8_t flags;
} pg_node;

/* What the graph tells the one who set owners. Hooks but `call` and `slopes` must not touch
 * the graph while they run: they take notes, and act when the core has returned. `poll` may run
 * anybody's code, as a signal's handler; `stop` runs none, and so may be asked in mid-walk. */
typedef struct pg_hooks {
    int (*call)(void *owner); /* the sweep came to a node with PG_FLAG_CLOSURE; nonzero: stop */
    int (*poll)(void);        /* now and then in a long sweep; nonzero: stop */
    int (*stop)(void);        /* now and then in a long walk: has somebody asked to stop? */
    int (*slopes)(void *tag, pg_node_id id); /* write the derivatives of a custom op's node to its
                                  locals; nonzero: stop */
    void (*idle)(void *owner); /* no node uses that of this owner any more, on which hangs a closure
                                  or another thing */
    int (*drop)(void *owner);  /* nothing uses that of this owner, which was KEPT: 1, let it die; 0,
                                  the owner is held from elsewhere and owns its node again */
    void (*untag)(void *tag);  /* the variadic node with this tag is gone */
    bool (*recording)(void);   /* is the trace under way the caller's, not another thread's? */
} pg_hooks;

/* An order and the gradients that its nodes had before. */
typedef struct pg_walk {
    pg_node_id *ids;
    double *saved;
    size_t count, capacity;
} pg_walk;

#ifdef PG_VERIFY
/* What a build that verifies knows besides; see verify.h. */
typedef struct pg_ledger {
    uint32_t *outside; /* for each slot the references that somebody outside owns */
    size_t unchecked;  /* operations since the graph was last looked at as a whole */
} pg_ledger;
#define PG_LEDGER(entry) ((void)(entry))
#else
#define PG_LEDGER(entry) ((void)0)
#endif

struct pg_graph {
    pg_node *nodes;
    void **owners;   /* for each slot an object outside that stands for the node, borrowed unless
                        KEPT; NULL for a node without one and for a free slot */
    size_t used;     /* slots ever used, with slot 0 */
    size_t capacity; /* slots allocated */
    pg_node_id free; /* the free list's head */
    size_t free_count;
    size_t untidy;   /* nodes freed in large graphs since the free list was last put in order */
    uint16_t mark;   /* of the last walk */
    pg_walk scratch; /* room for the next walk, lent out while one is under way */
    pg_hooks hooks;
    pg_fault fault;
    bool tracing;      /* a trace is under way */
    bool has_detached; /* was there ever a node that is detached? */
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

/* Slots that can be filled without growing. */
static inline size_t pg_room(const pg_graph *graph) {
    return graph->free_count + (graph->capacity - graph->used);
}

/* Take a slot; there must be room. */
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

/* Fill a slot; there must be room. The node has no references yet, and no children. */
static inline pg_node_id pg_take(pg_graph *graph, int op, double data) {
    pg_node_id id = pg_take_slot(graph);
    graph->nodes[id] = (pg_node){.data = data, .op = (uint8_t)op};
    return id;
}

/* Fill a slot with an op whose value is known; there must be room, and refs must not overflow. */
static inline pg_node_id pg_take_op(pg_graph *graph, int op, double y, pg_node_id a, pg_node_id b) {
    pg_node_id id = pg_take_slot(graph);
    pg_node *const nodes = graph->nodes;
    nodes[id] = (pg_node){.data = y, .of.child = {a, b}, .op = (uint8_t)op};
    nodes[id].flags = nodes[a].flags & nodes[b].flags & PG_FLAG_DETACHED; /* slot 0 has the flag */
    nodes[a].refs++;
    if (b != 0) nodes[b].refs++;
    return id;
}

/* Somebody outside owns one reference more; the first, to a node that was just made; or one less,
 * though that was not the last. */
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

/* What an operand is worth. */
static inline double pg_operand_data(const pg_graph *graph, pg_operand a) {
    return a.id != 0 ? graph->nodes[a.id].data : a.number;
}

/* An operand's node; a number becomes a leaf without references, for which there must be room. */
static inline pg_node_id pg_operand_node(pg_graph *graph, pg_operand a) {
    return a.id != 0 ? a.id : pg_take(graph, PG_OP_LEAF, a.number);
}

/* Fill a slot with an op of operands, one of them a node at least; there must be room. A number
 * becomes a leaf, and beside what is detached counts as detached, too. */
static inline pg_node_id pg_take_mixed(pg_graph *graph, int op, double y, pg_operand a,
                                       pg_operand b) {
    const pg_node_id left = pg_operand_node(graph, a);
    const pg_node_id id = pg_take_op(graph, op, y, left, pg_operand_node(graph, b));
    if (a.id == 0 || b.id == 0)
        graph->nodes[id].flags = graph->nodes[a.id | b.id].flags & PG_FLAG_DETACHED;
    return id;
}

/* A node that receives no gradient; the graph knows that it has such, for which the sweep looks. */
static inline void pg_mark_detached(pg_graph *graph, pg_node_id id) {
    graph->nodes[id].flags |= PG_FLAG_DETACHED;
    graph->has_detached = true;
}

/* Does a node receive a gradient? A closure's node always does: only it knows who else asks. */
static inline bool pg_receives(const pg_node *node) {
    return (node->flags & (PG_FLAG_DETACHED | PG_FLAG_CLOSURE)) != PG_FLAG_DETACHED;
}

/* References may be added to this node up to the number that any arena full of nodes can add. */
static inline bool pg_can_retain(const pg_node *node) { return node->refs < UINT32_MAX - 4; }

/* What a node holds references to, and how many. */
static inline const pg_node_id *pg_holds(const pg_node *node, size_t *count_ret) {
    if (node->op == PG_OP_VARIADIC) {
        *count_ret = node->of.variadic->count;
        return node->of.variadic->ids;
    }
    *count_ret = pg_op_slots[node->op];
    return node->of.child;
}

/* Free a node that nobody references. */
void pg_discard(pg_graph *graph, pg_node_id id);
/* Make a leaf of a node: it keeps its data and lets go of its children. */
void pg_cut(pg_graph *graph, pg_node_id id);
/* Give a variadic node, whose tag it keeps, another kind and `count` living children; with locals,
 * or NULL. PG_ERR_NOMEM, PG_ERR_LIMIT: it is as it was. */
pg_status pg_become(pg_graph *graph, pg_node_id id, pg_variadic_kind kind,
                    const pg_node_id *children, const double *locals, size_t count);
/* Make a variadic node of a leaf that no node uses; id isn't among the children. A failure leaves
 * the leaf as it was. */
pg_status pg_widen(pg_graph *graph, pg_node_id id, const pg_node_id *children, const double *locals,
                   size_t count);
/* Let a node have another one's op and children instead of its own; the other becomes a leaf. Data,
 * gradient and references stay. None of those children is made of `id`. */
void pg_take_over(pg_graph *graph, pg_node_id id, pg_node_id from);

#ifdef PG_VERIFY
/* verify_graph.c */
void pg_ledger_grow(pg_graph *graph);
void pg_ledger_free(pg_graph *graph);
#else
static inline void pg_ledger_grow(pg_graph *graph) { (void)graph; }
static inline void pg_ledger_free(pg_graph *graph) { (void)graph; }
#endif

/* After so many nodes, a millisecond or so, a walk and a sweep ask whether to stop. */
enum { pg_patience = 1 << 16 };

/* order.c: lend out room for a walk from root, walk, and put gradients aside; put them back; give
 * the room back. PG_ERR_STOPPED: hooks.stop said so; all is as it was. */
pg_status pg_walk_begin(pg_graph *graph, pg_walk *walk, pg_node_id root);
void pg_walk_undo(pg_graph *graph, const pg_walk *walk);
void pg_walk_end(pg_graph *graph, pg_walk *walk);
/* trace.c: an op of these operands, 0 for none, has failed while a trace is under way. PG_OK if it
 * is the replay's to judge; else the status that came, or PG_ERR_NOMEM. */
pg_status pg_trace_judge(pg_graph *graph, pg_status status, pg_node_id a, pg_node_id b);

/* A number that no node is marked with, for a walk of another kind. */
uint16_t pg_walk_mark(pg_graph *graph);

#endif
