/* twin.c - the two graphs: their hooks, what is held, and whether they are the same. */
#include "twin.h"

#include "graph/graph_bytes.h"

#include <stdlib.h>

twin both_graphs;

/* ---- Tags of custom ops --------------------------------------------------------------------- */

size_t twin_tag_number(const void *tag) {
    return tag != NULL ? (size_t)((const int *)tag - both_graphs.tags) : 0;
}

void *twin_find_tag(void *context, uint32_t number, pg_variadic_kind kind) {
    (void)context, (void)kind;
    if (number == 0 || number >= LENGTH(both_graphs.tags)) return NULL;
    both_graphs.tags[number]++;
    return &both_graphs.tags[number];
}

static void untag(void *tag) { both_graphs.tags[twin_tag_number(tag)]--; }

/* As Python code may, it moves the arena. */
static int slopes(void *tag, pg_node_id id) {
    pg_graph *graph = both_graphs.graph;
    const size_t number = twin_tag_number(tag);
    if (number == PLAIN_TAG_STOPS) return 1;
    if (graph->capacity < PLAIN_NODES)
        (void)pg_graph_reserve(graph, graph->capacity - graph->used + graph->free_count + 1);
    const pg_variadic *variadic = graph->nodes[id].of.variadic;
    for (size_t i = 0; i < variadic->count; i++)
        variadic->locals[i] = plain_rule(number, i, graph->nodes[variadic->ids[i]].data);
    return 0;
}

/* ---- What is held --------------------------------------------------------------------------- */

void twin_begin(twin *t) {
    plain_clear(&t->plain);
    for (size_t i = 0; i < LENGTH(t->tags); i++) t->tags[i] = 0;
    t->count = 0;
    t->graph = new_graph();
    t->graph->hooks.slopes = slopes;
    t->graph->hooks.untag = untag;
}

void twin_end(twin *t) {
    while (t->count > 0) twin_drop(t, t->count - 1);
    twin_count(t);
    CHECK(pg_graph_live(t->graph) == 0);
    pg_graph_free(t->graph);
}

void twin_hold(twin *t, pg_node_id id, uint32_t plain) {
    CHECK(t->count < TWIN_HELD);
    CHECK(same_number(pg_node_data(t->graph, id), t->plain.nodes[plain].data));
    t->held[t->count++] = (twin_node){id, plain};
}

void twin_drop(twin *t, size_t index) {
    pg_graph_release(t->graph, t->held[index].id);
    t->count--;
    for (size_t i = index; i < t->count; i++) t->held[i] = t->held[i + 1];
}

/* ---- Are they the same ---------------------------------------------------------------------- */

static void compare_node(twin *t, pg_node_id id, uint32_t plain) {
    const pg_node *ours = &t->graph->nodes[id];
    const plain_node *expected = &t->plain.nodes[plain];
    size_t count;
    const pg_node_id *children = pg_holds(ours, &count);
    CHECK(ours->op == expected->op && count == expected->count);
    CHECK(same_number(ours->data, expected->data) && same_number(ours->u.grad, expected->grad));
    CHECK(!(ours->flags & PG_FLAG_INT) == !expected->whole);
    t->plain_of[id] = plain;
    for (size_t i = 0; i < count; i++) /* which come before it, and so have theirs */
        CHECK(t->plain_of[children[i]] == t->plain.edges[expected->first + i].to);
    if (ours->op == PG_OP_VARIADIC) CHECK(ours->of.variadic->kind == expected->kind);
}

void twin_compare(twin *t, twin_node root) {
    static pg_node_id order[PLAIN_NODES];
    size_t count;
    CHECK(pg_graph_live(t->graph) <= PLAIN_NODES && t->graph->used <= PLAIN_NODES);
    pg_alloc_fail_at(0);
    CHECK(pg_graph_order(t->graph, order, &count, root.id) == PG_OK);
    plain_walk(&t->plain, root.plain);
    CHECK(count == t->plain.ordered);
    for (size_t i = 0; i < count; i++) compare_node(t, order[i], t->plain.order[i]);
}

void twin_count(twin *t) {
    pg_node_id ids[TWIN_HELD];
    uint32_t plains[TWIN_HELD];
    int tags[PLAIN_TAGS + 1] = {0};
    for (size_t i = 0; i < t->count; i++) {
        ids[i] = t->held[i].id;
        plains[i] = t->held[i].plain;
    }
    CHECK(pg_graph_live(t->graph) == plain_reachable(&t->plain, plains, t->count));
    CHECK(consistent(t->graph, ids, t->count));
    for (size_t i = 0; i < t->plain.ordered; i++) tags[t->plain.nodes[t->plain.order[i]].tag]++;
    for (size_t i = 1; i < LENGTH(tags); i++) CHECK(t->tags[i] == tags[i]);
}

void twin_check(twin *t) {
    twin_count(t);
    for (size_t i = 0; i < t->count; i++) twin_compare(t, t->held[i]);
}

/* ---- Copies --------------------------------------------------------------------------------- */

static uint32_t plain_copy(plain_graph *g, uint32_t root) {
    static uint32_t order[PLAIN_NODES], copies[PLAIN_NODES];
    plain_walk(g, root);
    const uint32_t count = g->ordered;
    for (uint32_t i = 0; i < count; i++) order[i] = g->order[i];
    for (uint32_t i = 0; i < count; i++) {
        plain_node node = g->nodes[order[i]];
        const plain_edge *edges = &g->edges[node.first];
        node.first = g->edge_count;
        for (uint32_t k = 0; k < node.count; k++)
            g->edges[g->edge_count++] = (plain_edge){copies[edges[k].to], edges[k].slope};
        copies[order[i]] = g->count;
        g->nodes[g->count++] = node;
    }
    return copies[root];
}

static uint32_t number_tag(void *context, void *tag) {
    (void)context;
    return (uint32_t)twin_tag_number(tag);
}

/* Out: copy_ret, whose last node is root's copy. */
static pg_status through_bytes(pg_graph *graph, const pg_part *part, pg_part *copy_ret) {
    const size_t count = pg_part_bytes(graph, part);
    uint8_t *bytes = must_alloc(count, 1);
    pg_status status = pg_part_write(graph, part, bytes, number_tag, NULL);
    if (status == PG_OK)
        status = pg_part_read(graph, copy_ret, &(pg_packed_part){bytes, count, NULL, 0},
                              twin_find_tag, NULL);
    free(bytes);
    return status;
}

bool twin_copy(twin *t, twin_node root) {
    pg_packer packer = {0};
    pg_part part = {0}, copy = {0};
    pg_status status = pg_part_collect(t->graph, &packer, &part, root.id);
    if (status == PG_OK) {
        CHECK(part.end_count == 0);
        status = through_bytes(t->graph, &part, &copy);
        pg_part_free(t->graph, &packer, &part);
    }
    pg_free(packer.places);
    CHECK(status == PG_OK || status == PG_ERR_NOMEM);
    if (status != PG_OK) return false;
    const pg_node_id id = copy.ids[copy.count - 1];
    CHECK(pg_graph_retain(t->graph, id) == PG_OK);
    pg_part_free(t->graph, NULL, &copy);
    twin_hold(t, id, plain_copy(&t->plain, root.plain));
    return true;
}
