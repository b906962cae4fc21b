/* graph_bytes.c - serialize graphs, for copies and pickles: see graph_bytes.h.
 *
 *   u32 version;  the ops' names (op_names.c);  u32 nodes, ends
 *   for each node, children before parents:
 *     u8 op, u8 flags, f64 data, f64 gradient unless it is 0
 *     of an op   u32 children[1 or 2]
 *     of a variadic  u32 tag if it has one, u32 count, u32 children[], f64 derivatives[] if given
 *
 * A child number below `nodes` is an earlier node; `nodes` + k is boundary node k. So whatever the
 * bytes, a graph that is read has no cycles, and a count is trusted only if so many bytes are left.
 * The walk is depth first, children from left to right, without recursion, and stops at the
 * boundary nodes. Owns its stack; places belong to the packer, ids to the part.
 * Cost: O(nodes + edges); the file takes about 20 bytes a node. */
#include "graph/graph_bytes.h"

#include "base/bytes.h"
#include "graph/verify.h"
#include "graph/walk.h"

#include <math.h>

enum { version = 1, least_node_bytes = 1 + 1 + 8, code_leaf = 255, code_variadic = 254 };

enum { /* flags in the file */
       packed_int = 1,
       packed_grad = 2,
       packed_locals = 4,
       packed_tag = 8,
       packed_kind = 4, /* two bits, shifted by this */
       packed_detached = 64
};

/* ---- Parts ----------------------------------------------------------------------------------- */

pg_place pg_place_of(const pg_packer *packer, pg_node_id id) {
    return id < packer->capacity ? packer->places[id] : (pg_place){0, 0};
}

/* Extend the table of places to all slots of the arena. */
static pg_status make_places(const pg_graph *graph, pg_packer *packer) {
    if (packer->capacity >= graph->used) return PG_OK;
    const size_t capacity = graph->capacity;
    pg_place *places = pg_realloc(packer->places, capacity, sizeof *places);
    if (places == NULL) return PG_ERR_NOMEM;
    memset(places + packer->capacity, 0, (capacity - packer->capacity) * sizeof *places);
    packer->places = places;
    packer->capacity = capacity;
    return PG_OK;
}

static pg_status append(pg_node_id **ids, size_t *count, size_t *capacity, pg_node_id id) {
    if (pg_grow((void **)ids, capacity, *count, sizeof **ids) < 0) return PG_ERR_NOMEM;
    (*ids)[(*count)++] = id;
    return PG_OK;
}

typedef struct collector {
    pg_graph *graph;
    pg_packer *packer;
    pg_part *part;
    pg_path path;
    size_t id_capacity, end_capacity;
    uint16_t mark;
} collector;

static bool is_end(const collector *c, pg_node_id id) {
    if (pg_place_of(c->packer, id).part != 0) return true;
    return c->graph->nodes[id].op == PG_OP_LEAF && c->graph->owners[id] != NULL;
}

/* All children of the node on top are placed: pop it and append it to the part. */
static pg_status finish_node(collector *c) {
    const pg_node_id id = pg_ascend(&c->path);
    const pg_node *node = &c->graph->nodes[id];
    if (node->flags & PG_FLAG_INPUT) return PG_ERR_UNTRACEABLE;
    if (node->op == PG_OP_VARIADIC && node->of.variadic->kind > PG_VARIADIC_CUSTOM)
        return PG_ERR_UNTRACEABLE;
    pg_status status = pg_graph_retain(c->graph, id);
    if (status != PG_OK) return status;
    status = append(&c->part->ids, &c->part->count, &c->id_capacity, id);
    if (status != PG_OK) {
        pg_graph_release(c->graph, id);
        return status;
    }
    c->packer->places[id] = (pg_place){c->part->number, (uint32_t)(c->part->count - 1)};
    return PG_OK;
}

static pg_status come_to(collector *c, pg_node_id child) {
    pg_node *node = &c->graph->nodes[child];
    if (node->mark == c->mark) return PG_OK;
    node->mark = c->mark;
    if (!is_end(c, child)) return pg_descend(&c->path, child);
    return append(&c->part->ends, &c->part->end_count, &c->end_capacity, child);
}

static pg_status collect(collector *c, pg_node_id root) {
    c->graph->nodes[root].mark = c->mark;
    pg_status status = pg_descend(&c->path, root);
    while (status == PG_OK && c->path.depth > 0) {
        const pg_node_id child = pg_next_child(&c->path, c->graph);
        status = child != 0 ? come_to(c, child) : finish_node(c);
    }
    return status;
}

pg_status pg_part_collect(pg_graph *graph, pg_packer *packer, pg_part *part_ret, pg_node_id root) {
    if (!pg_alive(graph, root)) return PG_ERR_BAD_NODE;
    if (packer->last == UINT32_MAX) return PG_ERR_LIMIT;
    pg_status status = make_places(graph, packer);
    if (status != PG_OK) return status;
    pg_part part = {.number = ++packer->last};
    collector c = {.graph = graph, .packer = packer, .part = &part, .mark = pg_walk_mark(graph)};
    status = collect(&c, root);
    pg_free(c.path.frames);
    if (status == PG_OK) *part_ret = part;
    else pg_part_free(graph, packer, &part);
    return status;
}

void pg_part_free(pg_graph *graph, pg_packer *packer, pg_part *part) {
    for (size_t i = 0; part->number != 0 && i < part->count; i++)
        if (packer->places[part->ids[i]].part == part->number)
            packer->places[part->ids[i]] = (pg_place){0, 0};
    for (size_t i = part->count; i-- > 0;) pg_graph_release(graph, part->ids[i]);
    pg_free(part->ids);
    pg_free(part->ends);
    *part = (pg_part){0};
}

/* ---- Writing --------------------------------------------------------------------------------- */

typedef struct packing {
    pg_writer writer;
    const pg_graph *graph;
    const pg_part *part;
    uint32_t *numbers; /* for each slot its child number; NULL while only counting */
    pg_number_tag *number_tag;
    void *context;
    pg_status status;
} packing;

static uint8_t flags_of(const pg_node *node) {
    uint8_t flags = node->flags & PG_FLAG_INT ? packed_int : 0;
    if (node->flags & PG_FLAG_DETACHED) flags |= packed_detached;
    if (node->u.grad != 0.0 || signbit(node->u.grad)) flags |= packed_grad;
    if (node->op != PG_OP_VARIADIC) return flags;
    const pg_variadic *variadic = node->of.variadic;
    if (variadic->locals != NULL && variadic->kind != PG_VARIADIC_CUSTOM) flags |= packed_locals;
    if (variadic->tag != NULL) flags |= packed_tag;
    return (uint8_t)(flags | variadic->kind << packed_kind);
}

static void write_children(packing *p, const pg_node *node) {
    size_t count;
    const pg_node_id *held = pg_holds(node, &count);
    for (size_t i = 0; i < count; i++)
        pg_put_u32(&p->writer, p->numbers != NULL ? p->numbers[held[i]] : 0);
}

static void write_variadic(packing *p, const pg_node *node, uint8_t flags) {
    const pg_variadic *variadic = node->of.variadic;
    if (flags & packed_tag) {
        const uint32_t number = p->numbers ? p->number_tag(p->context, variadic->tag) : 0;
        if (number == UINT32_MAX) p->status = PG_ERR_STOPPED;
        pg_put_u32(&p->writer, number);
    }
    pg_put_u32(&p->writer, variadic->count);
    write_children(p, node);
    for (size_t i = 0; (flags & packed_locals) && i < variadic->count; i++)
        pg_put_double(&p->writer, variadic->locals[i]);
}

static void write_node(packing *p, const pg_node *node) {
    const uint8_t flags = flags_of(node);
    const int op = node->op == PG_OP_LEAF       ? code_leaf
                   : node->op == PG_OP_VARIADIC ? code_variadic
                                                : node->op;
    pg_put(&p->writer, (uint64_t)op, 1);
    pg_put(&p->writer, flags, 1);
    pg_put_double(&p->writer, node->data);
    if (flags & packed_grad) pg_put_double(&p->writer, node->u.grad);
    if (node->op == PG_OP_VARIADIC) write_variadic(p, node, flags);
    else write_children(p, node);
}

static void write_all(packing *p) {
    bool used[PG_OP_PROGRAM] = {false};
    for (size_t i = 0; i < p->part->count; i++) used[p->graph->nodes[p->part->ids[i]].op] = true;
    pg_put_u32(&p->writer, version);
    pg_put_names(&p->writer, used);
    pg_put_u32(&p->writer, p->part->count);
    pg_put_u32(&p->writer, p->part->end_count);
    for (size_t i = 0; i < p->part->count; i++) write_node(p, &p->graph->nodes[p->part->ids[i]]);
}

size_t pg_part_bytes(const pg_graph *graph, const pg_part *part) {
    packing p = {.graph = graph, .part = part};
    write_all(&p);
    return p.writer.count;
}

pg_status pg_part_write(const pg_graph *graph, const pg_part *part, uint8_t *bytes_ret,
                        pg_number_tag *number_tag, void *context) {
    packing p = {{bytes_ret, 0}, graph, part, NULL, number_tag, context, PG_OK};
    p.numbers = pg_realloc(NULL, graph->used, sizeof *p.numbers);
    if (p.numbers == NULL) return PG_ERR_NOMEM;
    for (size_t i = 0; i < part->count; i++) p.numbers[part->ids[i]] = (uint32_t)i;
    for (size_t i = 0; i < part->end_count; i++)
        p.numbers[part->ends[i]] = (uint32_t)(part->count + i);
    write_all(&p);
    pg_free(p.numbers);
    return p.status;
}

/* ---- Reading --------------------------------------------------------------------------------- */

typedef struct unpacking {
    pg_reader reader;
    pg_graph *graph;
    pg_part *part;
    const pg_node_id *ends;
    size_t count, end_count; /* of the whole part; part->count nodes are read so far */
    uint8_t numbers[256];
    pg_find_tag *find_tag;
    void *context;
} unpacking;

/* The node that a child number refers to; 0 if it is invalid. */
static pg_node_id read_child(unpacking *u) {
    const uint32_t number = pg_get_u32(&u->reader);
    if (number < u->part->count) return u->part->ids[number];
    if (number < u->count || number - u->count >= u->end_count) return 0;
    return u->ends[number - u->count];
}

static pg_status read_op(unpacking *u, pg_node_id *id_ret, int op, double data) {
    pg_node_id children[2] = {0, 0};
    for (int i = 0; i < pg_op_slots[op]; i++) {
        children[i] = read_child(u);
        if (children[i] == 0 || u->reader.failed) return PG_ERR_BAD_FILE;
        if (!pg_can_retain(&u->graph->nodes[children[i]])) return PG_ERR_LIMIT;
    }
    if (pg_op_describe(op)->takes_number && u->graph->nodes[children[1]].op != PG_OP_LEAF)
        return PG_ERR_BAD_FILE;
    *id_ret = pg_take_op(u->graph, op, data, children[0], children[1]);
    pg_own_new(u->graph, *id_ret);
    return PG_OK;
}

/* The children and derivatives of a variadic node; the caller frees them. */
typedef struct wide_parts {
    pg_node_id *children;
    double *locals;
    size_t count;
} wide_parts;

static pg_status read_wide_parts(unpacking *u, wide_parts *w, bool has_locals) {
    w->count = pg_get_u32(&u->reader);
    w->children = pg_alloc_read(&u->reader, w->count, 4, sizeof *w->children);
    for (size_t i = 0; w->children != NULL && i < w->count; i++) {
        w->children[i] = read_child(u);
        if (w->children[i] == 0) return PG_ERR_BAD_FILE;
    }
    if (has_locals) w->locals = pg_alloc_read(&u->reader, w->count, 8, sizeof *w->locals);
    if (u->reader.failed) return PG_ERR_BAD_FILE;
    if (w->children == NULL || (has_locals && w->locals == NULL)) return PG_ERR_NOMEM;
    for (size_t i = 0; has_locals && i < w->count; i++) w->locals[i] = pg_get_double(&u->reader);
    return PG_OK;
}

static bool fits_kind(pg_variadic_kind kind, const wide_parts *w, bool has_locals) {
    if (kind == PG_VARIADIC_CUSTOM) return w->count > 0 && !has_locals;
    return kind != PG_VARIADIC_CHOICE || (w->count > 0 && has_locals);
}

static pg_status read_variadic(unpacking *u, pg_node_id *id_ret, uint8_t flags, double data) {
    const pg_variadic_kind kind = (pg_variadic_kind)((flags & ~packed_detached) >> packed_kind);
    if (kind > PG_VARIADIC_CUSTOM) return PG_ERR_BAD_FILE;
    if (kind == PG_VARIADIC_CUSTOM && !(flags & packed_tag)) return PG_ERR_BAD_FILE;
    void *tag = NULL;
    if (flags & packed_tag) {
        tag = u->find_tag(u->context, pg_get_u32(&u->reader), kind);
        if (tag == NULL) return PG_ERR_BAD_FILE;
    }
    wide_parts w = {0};
    pg_status status = read_wide_parts(u, &w, flags & packed_locals);
    if (status == PG_OK && !fits_kind(kind, &w, flags & packed_locals)) status = PG_ERR_BAD_FILE;
    if (status == PG_OK)
        status = pg_add_variadic(u->graph, id_ret, kind, data,
                                 (pg_children){w.children, w.locals, w.count});
    if (status == PG_OK) u->graph->nodes[*id_ret].of.variadic->tag = tag;
    else if (tag != NULL) u->graph->hooks.untag(tag);
    pg_free(w.children);
    pg_free(w.locals);
    return status;
}

/* A detached node has only detached children, numbers, and nodes that have become leaves since. */
static bool may_be_detached(const pg_graph *graph, const pg_node *node) {
    size_t count;
    const pg_node_id *held = pg_holds(node, &count);
    for (size_t i = 0; i < count; i++) {
        const pg_node *child = &graph->nodes[held[i]];
        if (pg_op_describe(child->op) != NULL && !(child->flags & PG_FLAG_DETACHED)) return false;
    }
    return true;
}

/* An op of one operand, not counting a number, is detached if that operand is: the sweep relies on
 * it. */
static bool must_be_detached(const pg_graph *graph, const pg_node *node) {
    const pg_op_info *info = pg_op_describe(node->op);
    return info != NULL && info->arity == 1 &&
           (graph->nodes[node->of.child[0]].flags & PG_FLAG_DETACHED);
}

static pg_status read_flags(pg_graph *graph, pg_node_id id, uint8_t flags) {
    pg_node *node = &graph->nodes[id];
    node->flags = flags & packed_int ? PG_FLAG_INT : 0;
    if (must_be_detached(graph, node)) pg_mark_detached(graph, id);
    if (!(flags & packed_detached)) return PG_OK;
    if (!may_be_detached(graph, node)) return PG_ERR_BAD_FILE;
    pg_mark_detached(graph, id);
    return PG_OK;
}

static pg_status read_node(unpacking *u) {
    const uint8_t code = (uint8_t)pg_get(&u->reader, 1), flags = (uint8_t)pg_get(&u->reader, 1);
    const double data = pg_get_double(&u->reader);
    const double grad = flags & packed_grad ? pg_get_double(&u->reader) : 0.0;
    const int op = u->numbers[code];
    pg_node_id id = 0;
    pg_status status = PG_ERR_BAD_FILE;
    if (u->reader.failed) return status;
    if (code == code_leaf) status = pg_graph_leaf(u->graph, &id, data);
    else if (code == code_variadic) status = read_variadic(u, &id, flags, data);
    else if (pg_op_describe(op) != NULL) status = read_op(u, &id, op, data);
    if (status != PG_OK) return status;
    u->graph->nodes[id].u.grad = grad;
    u->part->ids[u->part->count++] = id;
    return read_flags(u->graph, id, flags);
}

static pg_status read_head(unpacking *u, size_t end_count) {
    pg_reader *const r = &u->reader;
    if (pg_get_u32(r) != version) return PG_ERR_BAD_FILE;
    pg_get_names(r, u->numbers);
    u->count = pg_get_u32(r);
    u->end_count = pg_get_u32(r);
    if (r->failed || u->end_count != end_count) return PG_ERR_BAD_FILE;
    u->part->ids = pg_alloc_read(r, u->count, least_node_bytes, sizeof *u->part->ids);
    if (u->part->ids == NULL) return r->failed ? PG_ERR_BAD_FILE : PG_ERR_NOMEM;
    for (size_t i = 0; i < end_count; i++)
        if (!pg_alive(u->graph, u->ends[i])) return PG_ERR_BAD_NODE;
    return pg_graph_reserve(u->graph, u->count);
}

pg_status pg_part_read(pg_graph *graph, pg_part *part_ret, const pg_packed_part *packed,
                       pg_find_tag *find_tag, void *context) {
    pg_part part = {0};
    unpacking u = {.reader = {packed->bytes, packed->byte_count, false},
                   .graph = graph,
                   .part = &part,
                   .ends = packed->ends,
                   .find_tag = find_tag,
                   .context = context};
    pg_status status = read_head(&u, packed->end_count);
    while (status == PG_OK && part.count < u.count) status = read_node(&u);
    if (status == PG_OK && u.reader.left != 0) status = PG_ERR_BAD_FILE;
    PG_CHECK_GRAPH(graph);
    if (status == PG_OK) *part_ret = part;
    else pg_part_free(graph, NULL, &part);
    return status;
}
