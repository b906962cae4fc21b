/* fuzz_part.c - any bytes as a packed graph: they are refused without a trace, or they are a sound
 * graph, whose gradients are the plain graph's, and which can be packed and read again. */
#include "twin.h"

#include "graph/graph_bytes.h"

#include <stdlib.h>

enum { ENDS = 6, MOST_BYTES = 1 << 12 };

static twin *const t = &both_graphs;

/* Leaves, and other nodes. */
static void make_end(pg_node_id *id_ret, size_t number) {
    uint32_t plain = 0;
    if (number % 2 == 0) {
        *id_ret = leaf(t->graph, 0.5);
        plain = plain_leaf(&t->plain, 0.5);
    } else {
        const twin_node below_it = t->held[number - 1];
        CHECK(pg_graph_unary(t->graph, id_ret, PG_OP_TANH, below_it.id) == PG_OK);
        CHECK(plain_op(&t->plain, &plain, PG_OP_TANH, below_it.plain, 0) == PG_OK);
    }
    twin_hold(t, *id_ret, plain);
}

static void adopt_node(pg_node_id id) {
    const pg_node *ours = &t->graph->nodes[id];
    const pg_variadic *variadic = ours->op == PG_OP_VARIADIC ? ours->of.variadic : NULL;
    size_t count;
    const pg_node_id *children = pg_holds(ours, &count);
    const uint32_t plain = t->plain.count++, first = t->plain.edge_count;
    for (size_t i = 0; i < count; i++) {
        const double slope =
            variadic != NULL && variadic->locals != NULL ? variadic->locals[i] : 0.0;
        t->plain.edges[t->plain.edge_count++] = (plain_edge){t->plain_of[children[i]], slope};
    }
    t->plain.nodes[plain] =
        (plain_node){.op = ours->op,
                     .kind = variadic != NULL ? variadic->kind : PG_VARIADIC_PLAIN,
                     .tag = variadic != NULL ? twin_tag_number(variadic->tag) : 0,
                     .has_locals = variadic != NULL && variadic->locals != NULL,
                     .whole = ours->flags & PG_FLAG_INT,
                     .detached = ours->flags & PG_FLAG_DETACHED,
                     .data = ours->data,
                     .grad = ours->u.grad,
                     .first = first,
                     .count = (uint32_t)count};
    t->plain_of[id] = plain;
}

/* The plain graph learns of the part. The part goes; what is held of it, from its end, stays. */
static void adopt(pg_part *part) {
    for (size_t i = 0; i < part->count; i++) adopt_node(part->ids[i]);
    for (size_t i = part->count; i-- > 0 && t->count + 1 < TWIN_HELD;) { /* room for a copy */
        CHECK(pg_graph_retain(t->graph, part->ids[i]) == PG_OK);
        twin_hold(t, part->ids[i], t->plain_of[part->ids[i]]);
    }
    pg_part_free(t->graph, NULL, part);
    twin_check(t);
}

static size_t edges_of(const pg_part *part) {
    size_t all = 0;
    for (size_t i = 0; i < part->count; i++) {
        size_t count;
        (void)pg_holds(&t->graph->nodes[part->ids[i]], &count);
        all += count;
    }
    return all;
}

static void use(pg_part *part) {
    if (!plain_has_room(&t->plain, 2 * part->count, 2 * edges_of(part))) {
        pg_part_free(t->graph, NULL, part);
        return;
    }
    adopt(part);
    const twin_node root = t->held[ENDS]; /* the part's last node */
    const pg_status status = pg_backward(t->graph, root.id);
    CHECK(status == plain_backward(&t->plain, root.plain));
    twin_compare(t, root);
    if (t->count < TWIN_HELD) (void)twin_copy(t, root);
    twin_check(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    pg_node_id ids[ENDS];
    pg_part part = {0};
    size_t ends = 0;
    if (count > MOST_BYTES) return 0;
    twin_begin(t);
    for (; ends < ENDS; ends++) make_end(&ids[ends], ends);
    twin_check(t); /* so that plain_of knows them */
    pg_status status;
    do /* the bytes say how many ends they need */
        status = pg_part_read(t->graph, &part, &(pg_packed_part){bytes, count, ids, ends},
                              twin_find_tag, NULL);
    while (status != PG_OK && ends-- > 0);
    CHECK(status == PG_OK || status == PG_ERR_BAD_FILE || status == PG_ERR_NOMEM);
    if (status != PG_OK) twin_count(t);
    if (status == PG_OK && part.count > 0) use(&part);
    else pg_part_free(t->graph, NULL, &part);
    twin_end(t);
    return 0;
}
