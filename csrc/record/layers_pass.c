/* layers_pass.c - the dots of a layer are scheduled next to each other.
 *
 * A neuron is a dot of weights with its layer's inputs; the other neurons of the layer read the
 * same inputs. program/runs.c executes adjacent ones as one. The dots of a layer have the same row
 * factors in the same order; all of them start from nothing, or each starts from a uniform value,
 * or from a row's: a chain of its own, whose values are computed before the layer then:
 *
 *   tape       d0 = dot: w0*x | t = tanh(d0) | s = x*x | d1 = dot: s + w1*x | d2 = dot: w2*x
 *   schedule   d0   d2        | t            | s       | d1
 *
 *   1. For each value, find its anchor: the last place in the tape before which it can't be
 *      computed (anchor_of). A dot with a row's start joins a layer whose place is behind that.
 *   2. For each value, from the last to the first, find the layers' place that needs it, if that is
 *      before its own (want_early).
 *   3. Write the schedule: before each layer what it needs, in the tape's order.
 * Invariant: what can fail stays where it is, so that the first failure stays the first.
 * The pass writes only the tape's schedule; values stay in place.
 * Owns nothing but scratch. Cost: O(values + pairs). */
#include "ops/kernels.h"
#include "record/tape.h"

#include <string.h>

typedef struct grouper {
    pg_tape *tape;
    uint32_t *table; /* hash table: the first dot of each layer */
    size_t size;     /* of the table; a power of two */
    uint32_t *first; /* for each value: its layer's first dot; the value itself if it is in none */
    uint32_t *next, *last; /* next: the dot after this one in its layer; last: the layer's last dot,
                              by its first */
    bool row_starts;  /* does any neuron start from a row's value? Else what follows isn't used */
    uint32_t *anchor; /* 1 + the place that a value can't be before; 0: there is none */
    uint32_t *early;  /* before which layer's first dot a value is computed; or its own place */
    uint32_t *before, *after; /* a list of the values that are early, by that dot, and its links */
} grouper;

static uint32_t row_factor(const pg_tape *tape, const pg_value *dot, uint32_t index) {
    const pg_pair pair = tape->pairs[dot->first + index];
    return tape->values[pair.left].uniform ? pair.right : pair.left;
}

/* Is it a dot of uniform weights and row factors? */
static bool is_neuron(const pg_tape *tape, const pg_value *dot) {
    return dot->op == PG_OP_DOT && !dot->dead && pg_is_weighted(tape, dot);
}

/* What a dot starts from. */
typedef enum start { NOTHING, UNIFORM_VALUE, ROW_VALUE } start;

static start start_of(const pg_tape *tape, const pg_value *dot) {
    if (dot->a == PG_NO_VALUE) return NOTHING;
    return tape->values[dot->a].uniform ? UNIFORM_VALUE : ROW_VALUE;
}

static bool same_factors(const pg_tape *tape, const pg_value *x, const pg_value *y) {
    if (x->count != y->count || start_of(tape, x) != start_of(tape, y)) return false;
    for (uint32_t i = 0; i < x->count; i++)
        if (row_factor(tape, x, i) != row_factor(tape, y, i)) return false;
    return true;
}

static size_t hash_of_factors(const pg_tape *tape, const pg_value *dot) {
    uint64_t bits = dot->count;
    for (uint32_t i = 0; i < dot->count; i++)
        bits = (bits ^ row_factor(tape, dot, i)) * 0x9e3779b97f4a7c15u;
    return (size_t)(bits >> 32);
}

/* Add a dot to its layer, unless it can't be computed at the layer's place. */
static void add_to_layer(grouper *g, uint32_t number) {
    const pg_value *const values = g->tape->values, *const dot = &values[number];
    size_t at = hash_of_factors(g->tape, dot) & (g->size - 1);
    while (g->table[at] != PG_NO_VALUE && !same_factors(g->tape, dot, &values[g->table[at]]))
        at = (at + 1) & (g->size - 1);
    if (g->table[at] == PG_NO_VALUE) {
        g->table[at] = number;
        return;
    }
    const uint32_t first = g->table[at];
    if (start_of(g->tape, dot) == ROW_VALUE && g->anchor[dot->a] > first) return;
    g->first[number] = first;
    g->next[g->last[first]] = number;
    g->last[first] = number;
}

/* A layer's place for its dots; for what may fail, or stands with others, its own; else that of
 * the operands, which may be computed early with it. */
static uint32_t anchor_of(const grouper *g, uint32_t number, bool neuron) {
    const pg_value *const value = &g->tape->values[number];
    if (neuron) return g->first[number] + 1;
    if (!pg_is_op(value) || value->uniform) return 0;
    if (pg_may_fail(value->op, 0)) return number + 1;
    uint32_t latest = 0, *operand;
    for (size_t k = 0; pg_operand_of(g->tape, value, k, &operand); k++)
        if (*operand != PG_NO_VALUE && g->anchor[*operand] > latest) latest = g->anchor[*operand];
    return latest;
}

static void find_layers(grouper *g) {
    for (uint32_t i = 0; i < g->tape->count; i++) {
        const bool neuron = is_neuron(g->tape, &g->tape->values[i]);
        g->first[i] = g->last[i] = i;
        if (neuron) add_to_layer(g, i);
        if (g->row_starts) g->anchor[i] = anchor_of(g, i, neuron);
    }
}

static bool has_row_starts(const pg_tape *tape) {
    for (size_t i = 0; i < tape->count; i++) {
        const pg_value *const value = &tape->values[i];
        if (value->op == PG_OP_DOT && start_of(tape, value) == ROW_VALUE && is_neuron(tape, value))
            return true;
    }
    return false;
}

/* A layer is computed where its first dot stands; by then its row factors have been. What a start
 * needs, and stands behind that dot, comes before it: no dot and nothing that can fail, or the
 * anchor were behind it. */
static void want_early(grouper *g) {
    for (uint32_t i = 0; i < g->tape->count; i++) g->early[i] = i;
    for (uint32_t i = (uint32_t)g->tape->count; i-- > 0;) {
        const uint32_t place = g->early[i] < g->first[i] ? g->early[i] : g->first[i];
        if (place == i) continue;
        if (g->first[i] == i) {
            g->after[i] = g->before[place];
            g->before[place] = i;
        }
        uint32_t *operand;
        for (size_t k = 0; pg_operand_of(g->tape, &g->tape->values[i], k, &operand); k++)
            if (*operand != PG_NO_VALUE && place < g->early[*operand] &&
                !g->tape->values[*operand].uniform)
                g->early[*operand] = place;
    }
}

static bool is_early(const grouper *g, uint32_t value) {
    return g->row_starts && g->early[value] < value;
}

static void write_schedule(const grouper *g) {
    uint32_t *schedule = g->tape->schedule;
    for (uint32_t i = 0; i < g->tape->count; i++) {
        uint32_t v = g->row_starts ? g->before[i] : PG_NO_VALUE;
        for (; v != PG_NO_VALUE; v = g->after[v]) *schedule++ = v;
        if (g->first[i] != i || is_early(g, i)) continue;
        for (v = i; v != PG_NO_VALUE; v = g->next[v]) *schedule++ = v;
    }
}

pg_status pg_pass_layers(pg_tape *tape) {
    const size_t count = tape->count;
    const bool row_starts = has_row_starts(tape);
    size_t size = 64;
    while (size < 2 * count) size *= 2;
    uint32_t *const scratch =
        pg_realloc(NULL, size + (row_starts ? 7 : 3) * count, sizeof *scratch);
    tape->schedule = pg_realloc(NULL, count, sizeof *tape->schedule);
    if (scratch == NULL || tape->schedule == NULL) {
        pg_free(scratch);
        return PG_ERR_NOMEM;
    }
    grouper g = {.tape = tape, .table = scratch, .size = size, .row_starts = row_starts};
    g.next = scratch + size;
    g.first = g.next + count;
    g.last = g.first + count;
    memset(scratch, 0xff, (size + count) * sizeof *scratch); /* PG_NO_VALUE: the table, and next */
    if (row_starts) {
        g.anchor = g.last + count;
        g.early = g.anchor + count;
        g.before = g.early + count;
        g.after = g.before + count;
        memset(g.before, 0xff, count * sizeof *g.before);
    }
    find_layers(&g);
    if (row_starts) want_early(&g);
    write_schedule(&g);
    pg_free(scratch);
    return PG_OK;
}
