/* runs.c - instructions that run as one: layers of dots, and one op on neighbouring slots.
 *
 * A neuron is a dot of weights with its layer's inputs, and its neighbours read the same inputs.
 * Run one by one, each loads all the inputs, and on the way back loads and stores all their
 * gradients; run together, they share them in registers. The activations of a layer then lie in
 * neighbouring slots, and are one loop. What changes is when something is computed or passes its
 * gradient on, never the order of a sum:
 *
 *   tape     pg_pass_layers   lets the dots of a layer stand next to each other
 *   program  pg_mark_runs     counts what runs as one
 *   reverse  pg_join_runs     lets the steps of a layer wait for each other, unless somebody else
 *                             adds to the same gradients meanwhile, or reads them; then counts
 *
 * A layer's dots have the same right slots in one order, each once. They start from nothing, or
 * each from a uniform slot.
 * Owns nothing but scratch. Cost: O(values + pairs); of a reverse O(targets). */
#include "ops/kernels.h"
#include "program/program.h"
#include "graph/verify.h"

#include <string.h>

static const uint32_t nobody = 0xffffffff;

/* ---- Tape ------------------------------------------------------------------------------------ */

typedef struct grouper {
    pg_tape *tape;
    uint32_t *table;       /* the first dot of each layer, by hash */
    size_t size;           /* of the table, a power of two */
    uint32_t *first;       /* of each value's layer; the value itself if it has none */
    uint32_t *next, *last; /* of a layer: after this dot; of this first dot */
} grouper;

static uint32_t row_factor(const pg_tape *tape, const pg_value *dot, uint32_t index) {
    const pg_pair pair = tape->pairs[dot->first + index];
    return tape->values[pair.left].uniform ? pair.right : pair.left;
}

/* A dot of uniform weights and row factors, that starts from nothing or something uniform? */
static bool is_neuron(const pg_tape *tape, const pg_value *dot) {
    if (dot->op != PG_OP_DOT || dot->dead || dot->uniform) return false;
    if (dot->a != PG_NO_VALUE && !tape->values[dot->a].uniform) return false;
    for (uint32_t i = 0; i < dot->count; i++) {
        const pg_pair pair = tape->pairs[dot->first + i];
        if (tape->values[pair.left].uniform == tape->values[pair.right].uniform) return false;
    }
    return true;
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

/* A layer stands where its first dot stood: all that the others read is there by then. */
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

/* ---- Program --------------------------------------------------------------------------------- */

/* Who read a slot last, by the slot's hash. To a dot, what others left there is as good as nothing,
 * so a table for the pairs of one serves all; a loaded program may have any number of slots. */
typedef struct readers {
    uint32_t *slot, *dot;
    size_t size; /* a power of two */
} readers;

static bool is_first(readers *r, uint32_t slot, uint32_t dot) {
    size_t at = (slot * (uint64_t)0x9e3779b97f4a7c15u >> 32) & (r->size - 1);
    for (; r->dot[at] == dot; at = (at + 1) & (r->size - 1))
        if (r->slot[at] == slot) return false;
    r->slot[at] = slot;
    r->dot[at] = dot;
    return true;
}

static pg_status new_readers(readers *readers_ret, const pg_program *p) {
    size_t size = 64;
    for (size_t i = 0; i < p->length; i++)
        while (p->code[i].op == PG_OP_DOT && size < 2 * (size_t)p->code[i].count) size *= 2;
    uint32_t *cells = pg_realloc(NULL, 2 * size, sizeof *cells);
    if (cells == NULL) return PG_ERR_NOMEM;
    memset(cells, 0xff, 2 * size * sizeof *cells); /* nobody */
    *readers_ret = (readers){cells, cells + size, size};
    return PG_OK;
}

/* Can it be in a layer: are its right slots each there once, and none an import, whose gradient is
 * a sum over the rows? */
static bool is_fit(const pg_program *p, readers *r, uint32_t number) {
    const pg_instr *dot = &p->code[number];
    if (!(dot->shape & PG_DOT_WEIGHTED)) return false;
    if ((dot->shape & PG_DOT_STARTS) && !(dot->shape & PG_DOT_UNIFORM_START)) return false;
    for (uint32_t i = 0; i < dot->count; i++) {
        const uint32_t slot = p->pairs[dot->first + i].right;
        if (pg_import_of(p, slot) != PG_NO_VALUE || !is_first(r, slot, number)) return false;
    }
    return true;
}

static bool same_layer(const pg_program *p, const pg_instr *x, const pg_instr *y) {
    if (x->shape != y->shape || x->count != y->count) return false;
    for (uint32_t i = 0; i < x->count; i++)
        if (p->pairs[x->first + i].right != p->pairs[y->first + i].right) return false;
    return true;
}

/* The same op on the next slots? None of the `run` instructions from y on may read what x, or one
 * of them, writes. */
static bool are_neighbours(const pg_instr *x, const pg_instr *y, uint32_t run) {
    if (x->op >= PG_OP_COUNT || y->a != x->a + 1 || x->a + run >= x->dst) return false;
    return pg_op_slots[x->op] < 2 || (y->b == x->b + 1 && x->b + run < x->dst);
}

pg_status pg_mark_runs(pg_program *p) {
    readers r;
    if (new_readers(&r, p) != PG_OK) return PG_ERR_NOMEM;
    for (uint32_t i = (uint32_t)p->length; i-- > 0;) {
        pg_instr *x = &p->code[i], *y = x + 1;
        x->run = 1;
        if (i + 1 == p->uniform_length || i + 1 == p->length || x->op != y->op) continue;
        const bool joined = x->op != PG_OP_DOT ? are_neighbours(x, y, y->run)
                                               : is_fit(p, &r, i) && same_layer(p, x, y);
        if (joined) x->run = y->run + 1;
    }
    pg_free(r.slot);
    return PG_OK;
}

/* ---- Reverse --------------------------------------------------------------------------------- */

/* A layer is named by the instruction behind its last dot. Steps are chained through `next`. */
typedef struct joiner {
    const pg_program *program;
    pg_reverse *reverse;
    uint32_t *first, *last; /* of each layer: the steps that wait; nobody: it has none */
    uint32_t *next;
    uint32_t *slot_of, *sum_of; /* the layer that a row slot's gradient, or a sum, waits for */
    pg_step *steps;
    size_t count;
} joiner;

static uint32_t layer_of(const pg_program *program, const pg_step *step) {
    const pg_instr *instr = &program->code[step->instr];
    const bool follows = step->instr > program->uniform_length && instr[-1].run > 1;
    if (instr->op != PG_OP_DOT || (instr->run == 1 && !follows)) return nobody;
    return step->instr + instr->run;
}

/* Let the steps of this layer go ahead. */
static void let_go(joiner *j, uint32_t layer) {
    if (layer == nobody || j->first[layer] == nobody) return;
    uint32_t waiting = 0;
    for (uint32_t i = j->first[layer]; i != nobody; i = j->next[i]) waiting++;
    for (uint32_t i = j->first[layer]; i != nobody; i = j->next[i]) {
        j->steps[j->count] = j->reverse->rows[i];
        j->steps[j->count++].run = waiting--;
    }
    j->first[layer] = nobody;
}

/* The layers that wait with something for this target go first, but for the step's own. */
static void claim(joiner *j, pg_target target, uint32_t layer) {
    if (target.give == PG_GIVE_NONE) return;
    uint32_t *holder = &(target.give == PG_GIVE_FOLD ? j->sum_of : j->slot_of)[target.at];
    if (*holder != layer) let_go(j, *holder);
    *holder = layer;
}

static void claim_all(joiner *j, const pg_step *step, uint32_t layer) {
    const pg_instr *instr = &j->program->code[step->instr];
    claim(j, step->a, layer);
    claim(j, step->b, layer);
    for (uint32_t i = 0; pg_gradient_pairs(instr->op) && i < 2 * instr->count; i++)
        claim(j, j->reverse->targets[step->first + i], layer);
}

static void add_step(joiner *j, uint32_t number) {
    const pg_step *step = &j->reverse->rows[number];
    const uint32_t layer = layer_of(j->program, step);
    let_go(j, j->slot_of[j->program->code[step->instr].dst]);
    claim_all(j, step, layer);
    if (layer == nobody) {
        j->steps[j->count++] = *step;
        return;
    }
    j->next[number] = nobody;
    if (j->first[layer] == nobody) j->first[layer] = number;
    else j->next[j->last[layer]] = number;
    j->last[layer] = number;
}

/* Targets of two steps that follow each other, of operands in neighbouring slots. */
static bool are_alike(pg_target x, pg_target y, int direction) {
    if (x.give != y.give || x.give == PG_GIVE_FOLD) return false;
    return x.give == PG_GIVE_NONE || y.at == x.at + (uint32_t)direction;
}

/* Steps of neighbours that can't fail, in one direction along the slots? What a and b get must not
 * overlap. */
static bool run_back(const pg_program *p, const pg_step *x, const pg_step *y) {
    const int direction = y->instr > x->instr ? 1 : -1;
    const pg_instr *low = &p->code[direction > 0 ? x->instr : y->instr];
    if (y->instr != x->instr + (uint32_t)direction || low->run == 1 || pg_can_fail(low->op))
        return false;
    if (y->run > 1 && y[1].instr != y->instr + (uint32_t)direction) return false;
    if (!are_alike(x->a, y->a, direction) || !are_alike(x->b, y->b, direction)) return false;
    const uint32_t apart = low->a > low->b ? low->a - low->b : low->b - low->a;
    return pg_op_slots[low->op] < 2 || apart > y->run;
}

static bool both_collect(const pg_step *x, const pg_step *y) {
    return x->instr == PG_COLLECT && y->instr == PG_COLLECT;
}

static void count_runs(const pg_program *p, pg_step *steps, size_t count) {
    for (size_t i = count; i-- > 1;) {
        pg_step *x = &steps[i - 1], *y = x + 1;
        if (x->instr == PG_COLLECT || y->instr == PG_COLLECT ? both_collect(x, y)
                                                             : run_back(p, x, y))
            x->run = y->run + 1;
    }
}

pg_status pg_join_runs(const pg_program *program, pg_reverse *reverse) {
    const size_t layers = program->length + 1, slots = program->row_slots;
    const size_t cells = 2 * layers + reverse->row_count + slots + reverse->accumulators;
    uint32_t *scratch = pg_realloc(NULL, cells, sizeof *scratch);
    pg_step *steps = pg_realloc(NULL, reverse->row_count, sizeof *steps);
    if (scratch == NULL || steps == NULL) {
        pg_free(scratch);
        pg_free(steps);
        return PG_ERR_NOMEM;
    }
    memset(scratch, 0xff, cells * sizeof *scratch); /* nobody */
    joiner j = {.program = program, .reverse = reverse, .first = scratch, .steps = steps};
    j.last = j.first + layers;
    j.next = j.last + layers;
    j.slot_of = j.next + reverse->row_count;
    j.sum_of = j.slot_of + slots;
    PG_ORDER_BEFORE(program, reverse);
    for (uint32_t i = 0; i < reverse->row_count; i++) add_step(&j, i);
    for (uint32_t layer = 0; layer < layers; layer++) let_go(&j, layer);
    pg_free(scratch);
    pg_free(reverse->rows);
    reverse->rows = steps;
    reverse->row_capacity = reverse->row_count;
    PG_ORDER_AFTER(program, reverse);
    count_runs(program, reverse->rows, reverse->row_count);
    count_runs(program, reverse->uniform, reverse->uniform_count);
    return PG_OK;
}
