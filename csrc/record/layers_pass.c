/* layers_pass.c - the dots of a layer are scheduled next to each other.
 *
 * A neuron is a dot of weights with its layer's inputs; the other neurons of the layer read the
 * same inputs. program/runs.c executes adjacent ones as one. The dots of a layer have the same row
 * factors in the same order; all of them start from nothing, or each starts from a uniform value.
 * The pass writes only the tape's schedule; values stay in place.
 * Owns nothing but scratch. Cost: O(values + pairs). */
#include "record/tape.h"

#include <string.h>

typedef struct grouper {
    pg_tape *tape;
    uint32_t *table; /* hash table: the first dot of each layer */
    size_t size;     /* of the table; a power of two */
    uint32_t *first; /* for each value: its layer's first dot; the value itself if it is in none */
    uint32_t *next, *last; /* next: the dot after this one in its layer; last: the layer's last dot,
                              by its first */
} grouper;

static uint32_t row_factor(const pg_tape *tape, const pg_value *dot, uint32_t index) {
    const pg_pair pair = tape->pairs[dot->first + index];
    return tape->values[pair.left].uniform ? pair.right : pair.left;
}

/* Is it a dot of uniform weights and row factors that starts from nothing or a uniform value? */
static bool is_neuron(const pg_tape *tape, const pg_value *dot) {
    return dot->op == PG_OP_DOT && !dot->dead && pg_is_weighted(tape, dot) &&
           (dot->a == PG_NO_VALUE || tape->values[dot->a].uniform);
}

static bool same_factors(const pg_tape *tape, const pg_value *x, const pg_value *y) {
    if (x->count != y->count || (x->a == PG_NO_VALUE) != (y->a == PG_NO_VALUE)) return false;
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

static void add_to_layer(grouper *g, uint32_t number) {
    const pg_value *values = g->tape->values;
    size_t at = hash_of_factors(g->tape, &values[number]) & (g->size - 1);
    while (g->table[at] != PG_NO_VALUE &&
           !same_factors(g->tape, &values[number], &values[g->table[at]]))
        at = (at + 1) & (g->size - 1);
    if (g->table[at] == PG_NO_VALUE) {
        g->table[at] = number;
        return;
    }
    const uint32_t first = g->table[at];
    g->first[number] = first;
    g->next[g->last[first]] = number;
    g->last[first] = number;
}

/* A layer is scheduled where its first dot stands: by then everything that the others read has been
 * computed, since they read the same row factors. */
static void write_schedule(const grouper *g) {
    uint32_t *schedule = g->tape->schedule;
    for (uint32_t i = 0; i < g->tape->count; i++)
        for (uint32_t value = i; g->first[i] == i && value != PG_NO_VALUE; value = g->next[value])
            *schedule++ = value;
}

pg_status pg_pass_layers(pg_tape *tape) {
    const size_t count = tape->count;
    size_t size = 64;
    while (size < 2 * count) size *= 2;
    uint32_t *scratch = pg_realloc(NULL, size + 3 * count, sizeof *scratch);
    tape->schedule = pg_realloc(NULL, count, sizeof *tape->schedule);
    if (scratch == NULL || tape->schedule == NULL) {
        pg_free(scratch);
        return PG_ERR_NOMEM;
    }
    memset(scratch, 0xff, (size + count) * sizeof *scratch); /* PG_NO_VALUE: the table, and next */
    grouper g = {.tape = tape, .table = scratch, .size = size, .next = scratch + size};
    g.first = g.next + count;
    g.last = g.first + count;
    for (uint32_t i = 0; i < count; i++) {
        g.first[i] = g.last[i] = i;
        if (is_neuron(tape, &tape->values[i])) add_to_layer(&g, i);
    }
    write_schedule(&g);
    pg_free(scratch);
    return PG_OK;
}
