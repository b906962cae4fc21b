/* test_pack.c - graphs to bytes and back: is the copy the graph, to the last bit; is what roots
 * share in one part only; and whatever the bytes: a sound graph, or an error and no trace.
 *
 * A copy is compared node by node through the public header, along the places of the part. */
#include "graph/graph_bytes.h"
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- tools -------------------------------------------------------------------------------- */

/* Tags are counted through; each reference that is taken or given back is counted, too. */
enum { most_tags = 8 };
static int tags[most_tags], held[most_tags];

static uint32_t number_tag(void *context, void *tag) {
    (void)context;
    return (uint32_t)((int *)tag - tags);
}

static void *find_tag(void *context, uint32_t number, pg_variadic_kind kind) {
    (void)context, (void)kind;
    if (number >= most_tags) return NULL;
    held[number]++;
    return &tags[number];
}

static void untag(void *tag) { held[(int *)tag - tags]--; }

static int ones(void *tag, pg_node_id id);
static pg_graph *slope_graph;

static pg_graph *tagged_graph(void) {
    pg_graph *graph = new_graph();
    memset(held, 0, sizeof held);
    graph->hooks.untag = untag;
    graph->hooks.slopes = ones;
    slope_graph = graph;
    return graph;
}

static int ones(void *tag, pg_node_id id) {
    (void)tag;
    const pg_variadic *variadic = slope_graph->nodes[id].of.variadic;
    for (size_t i = 0; i < variadic->count; i++) variadic->locals[i] = 1.0;
    return 0;
}

static pg_node_id custom(pg_graph *graph, const pg_node_id *children, size_t count, size_t tag) {
    pg_node_id id = 0;
    CHECK(pg_graph_custom(graph, &id, 0.5, (pg_children){children, NULL, count}, &tags[tag]) ==
          PG_OK);
    held[tag]++;
    return id;
}

/* A random graph with custom ops, named nodes, ints and gradients in it. */
static void any_graph(pg_graph *graph, pg_node_id *ids, size_t count) {
    random_graph(graph, ids, count);
    for (size_t i = 0; i < count; i++) {
        pg_node *node = &graph->nodes[ids[i]];
        if (below(3)) node->u.grad = below(4) ? uniform(-1.0, 1.0) : -0.0;
        if (node->op == PG_OP_POWN) node->flags |= below(2) ? PG_FLAG_INT : 0;
        if (node->op == PG_OP_VARIADIC && below(2)) {
            const size_t tag = below(most_tags);
            node->of.variadic->tag = &tags[tag];
            held[tag]++;
        }
    }
    for (size_t i = 0; i < count; i += 7) {
        const pg_node_id children[] = {ids[i], ids[below(count)], ids[i]};
        pg_node_id id = custom(graph, children, 1 + below(3), below(most_tags));
        pg_graph_release(graph, ids[count - 1]);
        ids[count - 1] = id;
    }
}

typedef struct bytes {
    uint8_t *at;
    size_t count;
} bytes;

static bytes bytes_of(const pg_graph *graph, const pg_part *part) {
    bytes b = {NULL, pg_part_bytes(graph, part)};
    b.at = must_alloc(b.count, 1);
    CHECK(pg_part_write(graph, part, b.at, number_tag, NULL) == PG_OK);
    return b;
}

static pg_part collected(pg_graph *graph, pg_packer *packer, pg_node_id root) {
    pg_part part = {0};
    CHECK(pg_part_collect(graph, packer, &part, root) == PG_OK);
    return part;
}

static pg_part copied(pg_graph *graph, const pg_part *part, const pg_node_id *ends) {
    const bytes b = bytes_of(graph, part);
    pg_part copy = {0};
    CHECK(pg_part_read(graph, &copy, &(pg_packed_part){b.at, b.count, ends, part->end_count},
                       find_tag, NULL) == PG_OK);
    free(b.at);
    return copy;
}

/* All external references: ids, and what the parts hold. */
static bool all_accounted_for(const pg_graph *graph, const pg_node_id *ids, size_t count,
                              const pg_part *const *parts, size_t part_count) {
    size_t all = count;
    for (size_t i = 0; i < part_count; i++) all += parts[i]->count;
    pg_node_id *owned = must_alloc(all, sizeof *owned);
    if (count > 0) memcpy(owned, ids, count * sizeof *ids);
    for (size_t i = 0; i < part_count; i++)
        for (size_t k = 0; k < parts[i]->count; k++) owned[count++] = parts[i]->ids[k];
    bool ok = consistent(graph, owned, all);
    free(owned);
    return ok;
}

/* ---- there and back ----------------------------------------------------------------------- */

/* Which place of the part, or which end, a node is. */
static size_t place_in(const pg_part *part, const pg_node_id *ends, pg_node_id id) {
    for (size_t i = 0; i < part->count; i++)
        if (part->ids[i] == id) return i;
    for (size_t i = 0; i < part->end_count; i++)
        if (ends[i] == id) return part->count + i;
    return SIZE_MAX;
}

static bool same_node(const pg_graph *graph, const pg_part *a, const pg_part *b,
                      const pg_node_id *b_ends, size_t i) {
    const pg_node_id x = a->ids[i], y = b->ids[i];
    const size_t arity = pg_node_arity(graph, x);
    bool same = pg_node_op(graph, x) == pg_node_op(graph, y) &&
                same_bits(pg_node_data(graph, x), pg_node_data(graph, y)) &&
                same_bits(pg_node_grad(graph, x), pg_node_grad(graph, y)) &&
                same_bits(pg_node_number(graph, x), pg_node_number(graph, y)) &&
                arity == pg_node_arity(graph, y) &&
                (graph->nodes[x].flags & PG_FLAG_INT) == (graph->nodes[y].flags & PG_FLAG_INT);
    pg_part ends = *b;
    ends.end_count = a->end_count;
    for (size_t k = 0; same && k < arity; k++)
        same = place_in(a, a->ends, pg_node_child(graph, x, k)) ==
               place_in(&ends, b_ends, pg_node_child(graph, y, k));
    if (!same || !pg_node_is_variadic(graph, x)) return same;
    const pg_variadic *v = graph->nodes[x].of.variadic, *w = graph->nodes[y].of.variadic;
    same = v->kind == w->kind && v->tag == w->tag && (v->locals != NULL) == (w->locals != NULL);
    for (size_t k = 0; same && v->kind != PG_VARIADIC_CUSTOM && v->locals && k < arity; k++)
        same = same_bits(v->locals[k], w->locals[k]);
    return same;
}

static bool same_part(const pg_graph *graph, const pg_part *a, const pg_part *b,
                      const pg_node_id *b_ends) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) same = same_node(graph, a, b, b_ends, i);
    return same;
}

static void random_graphs_come_back(void) {
    for (size_t round = 0; round < 300; round++) {
        pg_graph *graph = tagged_graph();
        pg_packer packer = {0};
        pg_node_id ids[80];
        const size_t count = 1 + below(LENGTH(ids));
        any_graph(graph, ids, count);
        const pg_node_id root = ids[below(count)];
        pg_node_id *order = must_alloc(pg_graph_live(graph), sizeof *order);
        size_t ordered = 0;
        CHECK(pg_graph_order(graph, order, &ordered, root) == PG_OK);
        pg_part part = collected(graph, &packer, root);
        CHECK(part.count == ordered && part.end_count == 0);
        for (size_t i = 0; i < part.count; i++) {
            CHECK(part.ids[i] == order[i]);
            CHECK(pg_place_of(&packer, part.ids[i]).index == i);
        }
        pg_part copy = copied(graph, &part, NULL);
        const pg_part *const both[] = {&part, &copy};
        CHECK(same_part(graph, &part, &copy, NULL));
        CHECK(all_accounted_for(graph, ids, count, both, 2));
        CHECK(pg_backward(graph, copy.ids[copy.count - 1]) == PG_OK);
        pg_part_free(graph, &packer, &part);
        for (size_t i = 0; i < ordered; i++) CHECK(pg_place_of(&packer, order[i]).part == 0);
        pg_part_free(graph, &packer, &copy);
        CHECK(consistent(graph, ids, count));
        release_all(graph, ids, count);
        for (size_t i = 0; i < most_tags; i++) CHECK(held[i] == 0);
        CHECK(pg_graph_live(graph) == 0);
        pg_graph_free(graph);
        pg_free(packer.places);
        free(order);
    }
}

/* Roots in any order: each node is in one part, and the copies use each other's nodes alike. */
static void what_roots_share_is_in_one_part(void) {
    for (size_t round = 0; round < 100; round++) {
        pg_graph *graph = tagged_graph();
        pg_packer packer = {0};
        pg_node_id ids[60], copy_of[4096] = {0};
        any_graph(graph, ids, LENGTH(ids));
        pg_part parts[5], copies[5];
        size_t made = 0, nodes = 0;
        while (made < LENGTH(parts)) {
            const pg_node_id root = ids[below(LENGTH(ids))];
            if (pg_place_of(&packer, root).part != 0) break;
            pg_part *part = &parts[made], *copy = &copies[made];
            *part = collected(graph, &packer, root);
            pg_node_id ends[256];
            for (size_t i = 0; i < part->end_count; i++) ends[i] = copy_of[part->ends[i]];
            for (size_t i = 0; i < part->end_count; i++) CHECK(ends[i] != 0);
            *copy = copied(graph, part, ends);
            CHECK(same_part(graph, part, copy, ends));
            for (size_t i = 0; i < part->count; i++) {
                CHECK(copy_of[part->ids[i]] == 0);
                copy_of[part->ids[i]] = copy->ids[i];
            }
            nodes += part->count;
            made++;
        }
        const size_t live = pg_graph_live(graph);
        for (size_t i = 0; i < made; i++) pg_part_free(graph, &packer, &parts[i]);
        CHECK(pg_graph_live(graph) == live);
        for (size_t i = 0; i < made; i++) pg_part_free(graph, &packer, &copies[i]);
        CHECK(pg_graph_live(graph) == live - nodes && consistent(graph, ids, LENGTH(ids)));
        pg_graph_free(graph);
        pg_free(packer.places);
    }
}

static void owned_leaves_are_ends(void) {
    pg_graph *graph = tagged_graph();
    pg_packer packer = {0};
    pg_node_id a = leaf(graph, 1.0), b = leaf(graph, 2.0), other = leaf(graph, 7.0);
    pg_node_id y = binary(graph, PG_OP_MUL, a, b), owned[] = {a, b, y, other};
    graph->owners[a] = graph; /* any owner */
    graph->owners[y] = graph; /* an op's object changes nothing */
    pg_part part = collected(graph, &packer, y);
    CHECK(part.count == 2 && part.ids[0] == b && part.ids[1] == y);
    CHECK(part.end_count == 1 && part.ends[0] == a);
    pg_part copy = copied(graph, &part, &other);
    CHECK(pg_node_child(graph, copy.ids[1], 0) == other);
    pg_part_free(graph, &packer, &part);
    part = collected(graph, &packer, a); /* but a root is a part's, whoever owns it */
    CHECK(part.count == 1 && part.end_count == 0);
    pg_part_free(graph, &packer, &part);
    pg_part_free(graph, &packer, &copy);
    CHECK(consistent(graph, owned, LENGTH(owned)));
    pg_graph_free(graph);
    pg_free(packer.places);
}

static void a_million_nodes_in_a_chain(void) {
    enum { length = 1000000 };
    pg_graph *graph = tagged_graph();
    pg_packer packer = {0};
    pg_node_id x = leaf(graph, 0.0), one = leaf(graph, 1.0);
    for (size_t i = 0; i < length; i++) {
        pg_node_id next = binary(graph, PG_OP_ADD, x, one);
        pg_graph_release(graph, x);
        x = next;
    }
    pg_part part = collected(graph, &packer, x);
    CHECK(part.count == length + 2 && pg_part_bytes(graph, &part) < 20 * length);
    pg_part copy = copied(graph, &part, NULL);
    const pg_node_id top = copy.ids[copy.count - 1];
    CHECK(pg_node_data(graph, top) == (double)length && pg_backward(graph, top) == PG_OK);
    pg_part_free(graph, &packer, &copy);
    pg_part_free(graph, &packer, &part);
    CHECK(pg_graph_live(graph) == length + 2);
    pg_graph_free(graph);
    pg_free(packer.places);
}

static void marks_wrap_around(void) {
    pg_graph *graph = tagged_graph();
    pg_packer packer = {0};
    pg_node_id a = leaf(graph, 1.0), y = binary(graph, PG_OP_MUL, a, a);
    for (size_t i = 0; i < 70000; i++) {
        pg_part part = collected(graph, &packer, y);
        if (!CHECK(part.count == 2)) break;
        pg_part_free(graph, &packer, &part);
    }
    CHECK(pg_backward(graph, y) == PG_OK && pg_node_grad(graph, a) == 2.0);
    pg_graph_free(graph);
    pg_free(packer.places);
}

/* detach(w), and what is made of it and of numbers only, stay what they are; and whoever writes a
 * file can't make an op of an ordinary leaf detached, nor let one of a detached leaf receive. */
static void what_is_detached_stays_so(void) {
    pg_graph *graph = tagged_graph();
    pg_packer packer = {0};
    const pg_node_id w = leaf(graph, 4.0);
    pg_node_id m = 0;
    CHECK(pg_graph_detach(graph, &m, w) == PG_OK);
    const pg_node_id root = unary(graph, PG_OP_SQRT, m), y = binary(graph, PG_OP_MUL, root, w);
    pg_part part = collected(graph, &packer, y), copy = copied(graph, &part, NULL);
    size_t found = 0;
    for (size_t i = 0; i < copy.count; i++) {
        const pg_node *node = &graph->nodes[copy.ids[i]];
        const bool wanted = node->op == PG_OP_SQRT;
        found += (node->flags & PG_FLAG_DETACHED) != 0;
        if (wanted) CHECK(node->flags & PG_FLAG_DETACHED);
        if (node->op == PG_OP_MUL) CHECK(!(node->flags & PG_FLAG_DETACHED));
    }
    CHECK(found == 2);
    const bytes b = bytes_of(graph, &part);
    size_t refused = 0;
    for (size_t i = 0; i < b.count; i++) { /* the flag is a bit of some byte of each node */
        for (unsigned bit = 0; bit < 8; bit++) {
            pg_part other = {0};
            b.at[i] ^= (uint8_t)(1u << bit);
            const pg_status status = pg_part_read(
                graph, &other, &(pg_packed_part){b.at, b.count, NULL, 0}, find_tag, NULL);
            b.at[i] ^= (uint8_t)(1u << bit);
            for (size_t k = 0; status == PG_OK && k < other.count; k++) {
                const pg_node *node = &graph->nodes[other.ids[k]];
                if (node->op != PG_OP_SQRT) continue;
                const pg_node *of = &graph->nodes[node->of.child[0]];
                CHECK((node->flags & PG_FLAG_DETACHED) >= (of->flags & PG_FLAG_DETACHED));
            }
            if (status == PG_OK) pg_part_free(graph, NULL, &other);
            else refused++;
        }
    }
    CHECK(refused > 0);
    free(b.at);
    pg_part_free(graph, NULL, &copy);
    pg_part_free(graph, &packer, &part);
    pg_graph_free(graph);
    pg_free(packer.places);
}

/* ---- what can't be packed ----------------------------------------------------------------- */

static void nodes_of_a_recording_are_refused(void) {
    pg_graph *graph = tagged_graph();
    pg_packer packer = {0};
    pg_node_id w = leaf(graph, 1.0), x, detached, rule;
    pg_trace_begin(graph);
    CHECK(pg_trace_input(graph, &x) == PG_OK);
    CHECK(pg_trace_detach(graph, &detached, w) == PG_OK);
    CHECK(pg_trace_custom(graph, &rule, w, &w, &w, 1) == PG_OK);
    const pg_node_id refused[] = {x, binary(graph, PG_OP_MUL, w, x), detached, rule};
    const pg_node_id owned[] = {w, x, refused[1], detached, rule};
    pg_part part;
    for (size_t i = 0; i < LENGTH(refused); i++)
        CHECK(pg_part_collect(graph, &packer, &part, refused[i]) == PG_ERR_UNTRACEABLE);
    CHECK(consistent(graph, owned, LENGTH(owned)));
    for (size_t i = 0; i < LENGTH(owned); i++) CHECK(pg_place_of(&packer, owned[i]).part == 0);
    pg_trace_end(graph);
    CHECK(pg_part_collect(graph, &packer, &part, 0) == PG_ERR_BAD_NODE);
    CHECK(pg_part_collect(graph, &packer, &part, 1000) == PG_ERR_BAD_NODE);
    pg_graph_free(graph);
    pg_free(packer.places);
}

static uint32_t no_number(void *context, void *tag) {
    (void)context, (void)tag;
    return UINT32_MAX;
}

static void tags_without_a_number_stop_the_writing(void) {
    pg_graph *graph = tagged_graph();
    pg_packer packer = {0};
    pg_node_id a = leaf(graph, 1.0), y = custom(graph, &a, 1, 3);
    pg_part part = collected(graph, &packer, y);
    const bytes b = bytes_of(graph, &part);
    CHECK(pg_part_write(graph, &part, b.at, no_number, NULL) == PG_ERR_STOPPED);
    pg_part_free(graph, &packer, &part);
    free(b.at);
    pg_graph_free(graph);
    pg_free(packer.places);
}

/* ---- memory ------------------------------------------------------------------------------- */

/* Leaves until there is no room for another one. */
static void fill_up(pg_graph *graph, pg_node_id *filler, size_t *count, size_t most) {
    while (pg_capacity_left(graph) > 0 && CHECK(*count < most))
        filler[(*count)++] = leaf(graph, 0.0);
}

static void any_allocation_may_fail(void) {
    pg_graph *graph = tagged_graph();
    pg_packer packer = {0};
    pg_node_id ids[200], *filler = must_alloc(100000, sizeof *filler);
    size_t filled = 0;
    any_graph(graph, ids, LENGTH(ids));
    pg_node_id root = custom(graph, ids, LENGTH(ids), 0), end = leaf(graph, 1.0);
    graph->owners[ids[0]] = graph;
    pg_part part = {0}, copy = {0};
    pg_status status = PG_ERR_NOMEM;
    long n = 1, failures = 0;
    for (; status != PG_OK && CHECK(n < 100); n++) {
        snapshot before = snapshot_take(graph);
        pg_free(packer.places);
        packer = (pg_packer){0};
        pg_alloc_fail_at(n);
        status = pg_part_collect(graph, &packer, &part, root);
        pg_alloc_fail_at(0);
        if (status != PG_OK) {
            failures++;
            CHECK(status == PG_ERR_NOMEM && snapshot_holds(&before, graph));
            for (pg_node_id id = 1; id < graph->used; id++)
                CHECK(pg_place_of(&packer, id).part == 0);
        }
        snapshot_free(&before);
    }
    CHECK(failures >= 4); /* places, stack, ids, an end */
    bytes b = bytes_of(graph, &part);
    pg_alloc_fail_at(1);
    CHECK(pg_part_write(graph, &part, b.at, number_tag, NULL) == PG_ERR_NOMEM);
    pg_alloc_fail_at(0);
    status = PG_ERR_NOMEM;
    failures = 0;
    for (n = 1; status != PG_OK && CHECK(n < 1000); n++) {
        if (n <= 4) fill_up(graph, filler, &filled, 100000); /* the arena must grow */
        const size_t live = pg_graph_live(graph);
        int held_before[most_tags];
        memcpy(held_before, held, sizeof held);
        pg_alloc_fail_at(n);
        status =
            pg_part_read(graph, &copy, &(pg_packed_part){b.at, b.count, &end, 1}, find_tag, NULL);
        pg_alloc_fail_at(0);
        if (status == PG_OK) break;
        failures++;
        CHECK(status == PG_ERR_NOMEM && pg_graph_live(graph) == live);
        CHECK(memcmp(held_before, held, sizeof held) == 0);
    }
    CHECK(failures > 10 && same_part(graph, &part, &copy, &end));
    pg_part_free(graph, &packer, &copy);
    pg_part_free(graph, &packer, &part);
    CHECK(pg_graph_live(graph) > filled);
    release_all(graph, filler, filled);
    pg_graph_release(graph, root);
    pg_graph_release(graph, end);
    CHECK(consistent(graph, ids, LENGTH(ids)));
    free(b.at);
    free(filler);
    pg_graph_free(graph);
    pg_free(packer.places);
}

/* ---- bytes of unknown origin -------------------------------------------------------------- */

typedef struct scene {
    pg_graph *graph;
    pg_packer packer;
    pg_node_id ids[40], end;
    pg_part part;
    bytes b;
} scene;

static scene *scene_new(void) {
    scene *s = must_alloc(1, sizeof *s);
    s->graph = tagged_graph();
    any_graph(s->graph, s->ids, LENGTH(s->ids));
    s->end = leaf(s->graph, 3.0);
    const pg_node_id children[] = {s->ids[LENGTH(s->ids) - 1], s->end};
    pg_node_id root = custom(s->graph, children, 2, 0);
    s->graph->owners[s->end] = s; /* one end, at least */
    s->part = collected(s->graph, &s->packer, root);
    CHECK(s->part.end_count == 1);
    s->b = bytes_of(s->graph, &s->part);
    pg_graph_release(s->graph, root);
    return s;
}

static void scene_free(scene *s) {
    pg_part_free(s->graph, &s->packer, &s->part);
    free(s->b.at);
    pg_graph_free(s->graph);
    pg_free(s->packer.places);
    free(s);
}

/* Returns: were they a graph? If so it can be swept and goes without a trace. */
static bool survives(scene *s, const uint8_t *at, size_t count) {
    const size_t live = pg_graph_live(s->graph);
    int held_before[most_tags];
    memcpy(held_before, held, sizeof held);
    pg_part copy = {0};
    pg_status status =
        pg_part_read(s->graph, &copy, &(pg_packed_part){at, count, &s->end, 1}, find_tag, NULL);
    if (status == PG_OK) {
        pg_node_id owned[LENGTH(s->ids) + 1];
        memcpy(owned, s->ids, sizeof s->ids);
        owned[LENGTH(s->ids)] = s->end;
        const pg_part *const both[] = {&s->part, &copy};
        CHECK(all_accounted_for(s->graph, owned, LENGTH(owned), both, 2));
        if (copy.count > 0) (void)pg_backward(s->graph, copy.ids[copy.count - 1]);
        pg_part_free(s->graph, &s->packer, &copy);
    } else {
        CHECK(status == PG_ERR_BAD_FILE && copy.ids == NULL);
    }
    CHECK(pg_graph_live(s->graph) == live && memcmp(held_before, held, sizeof held) == 0);
    return status == PG_OK;
}

static void shortened_bytes(void) {
    scene *s = scene_new();
    CHECK(survives(s, s->b.at, s->b.count));
    for (size_t count = 0; count < s->b.count; count++) {
        uint8_t *copy = must_alloc(count, 1); /* of its own, so that a sanitizer sees its end */
        memcpy(copy, s->b.at, count);
        CHECK(!survives(s, copy, count));
        free(copy);
    }
    uint8_t *longer = must_alloc(s->b.count + 1, 1);
    memcpy(longer, s->b.at, s->b.count);
    CHECK(!survives(s, longer, s->b.count + 1));
    free(longer);
    scene_free(s);
}

static void changed_bytes(void) {
    scene *s = scene_new();
    size_t good = 0, bad = 0;
    for (size_t round = 0; round < 20000; round++) {
        static const uint8_t likely[] = {0, 1, 2, 3, 8, 254, 255};
        const size_t at = below(s->b.count);
        const uint8_t before = s->b.at[at];
        s->b.at[at] = (uint8_t)(below(2) ? likely[below(LENGTH(likely))] : below(256));
        survives(s, s->b.at, s->b.count) ? good++ : bad++;
        s->b.at[at] = before;
    }
    CHECK(good > 1000 && bad > 1000); /* data may change, structure may not */
    scene_free(s);
}

static void another_number_of_ends(void) {
    scene *s = scene_new();
    pg_part copy = {0};
    const pg_node_id two[] = {s->end, s->end}, dead[] = {100000};
    CHECK(pg_part_read(s->graph, &copy, &(pg_packed_part){s->b.at, s->b.count, two, 2}, find_tag,
                       NULL) == PG_ERR_BAD_FILE);
    CHECK(pg_part_read(s->graph, &copy, &(pg_packed_part){s->b.at, s->b.count, NULL, 0}, find_tag,
                       NULL) == PG_ERR_BAD_FILE);
    CHECK(pg_part_read(s->graph, &copy, &(pg_packed_part){s->b.at, s->b.count, dead, 1}, find_tag,
                       NULL) == PG_ERR_BAD_NODE);
    scene_free(s);
}

const test_case pack_tests[] = {
    TEST(random_graphs_come_back),
    TEST(what_roots_share_is_in_one_part),
    TEST(owned_leaves_are_ends),
    TEST(a_million_nodes_in_a_chain),
    TEST(marks_wrap_around),
    TEST(what_is_detached_stays_so),
    TEST(nodes_of_a_recording_are_refused),
    TEST(tags_without_a_number_stop_the_writing),
    TEST(any_allocation_may_fail),
    TEST(shortened_bytes),
    TEST(changed_bytes),
    TEST(another_number_of_ends),
    {0},
};
