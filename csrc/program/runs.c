/* runs.c - runs: instructions that execute as one, a layer's dots or one op on neighbouring slots.
 *
 * The neurons of a layer read the same inputs. Executed one by one, each loads all of them;
 * executed together, they share them in registers. The activations of the layer then lie in
 * neighbouring slots, and are one loop. `run` counts the instructions from here to the end of
 * their run, and the replay advances by it:
 *
 *   slot   instruction                  run
 *   2      dot: p0*in0 + p1*in1         3        a layer: the same row factors in each dot
 *   3      dot: p2*in0 + p3*in1         2
 *   4      dot: p4*in0 + p5*in1         1
 *   5      tanh of slot 2               3        one op, on slots next to each other
 *   6      tanh of slot 3               2
 *   7      tanh of slot 4               1
 *
 * Runs are not saved: they are counted, from the last instruction to the first, when a program is
 * made or loaded. A run never leaves its section, uniform or row.
 * Neurons may start from slots of the rows, which were computed before the first of them.
 * Invariant: a run changes when something is computed, never the order of a sum.
 * join_runs.c does the same for backward steps. Owns nothing but scratch.
 * Cost: O(instructions + pairs). */
#include "program/program.h"

#include <string.h>

/* Hash set of (slot, dot): which slots has this dot read so far? Entries of other dots count as
 * empty, so one table, large enough for any dot, serves all of them uncleared. It is hashed because
 * a loaded program may have any number of slots. */
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
    memset(cells, 0xff, 2 * size * sizeof *cells); /* no dot */
    *readers_ret = (readers){cells, cells + size, size};
    return PG_OK;
}

/* Can this dot be in a layer? Its right slots must be distinct, since the backward kernel keeps the
 * gradient of each in a register of its own; and none may be an import: its gradient is a sum
 * over the rows. */
static bool is_fit(const pg_program *p, readers *r, uint32_t number) {
    const pg_instr *dot = &p->code[number];
    if (!(dot->shape & PG_DOT_WEIGHTED)) return false;
    for (uint32_t i = 0; i < dot->count; i++) {
        const uint32_t slot = p->pairs[dot->first + i].right;
        if (pg_import_of(p, slot) != PG_NO_VALUE || !is_first(r, slot, number)) return false;
    }
    return true;
}

/* The row slot that an instruction, if it is a dot, starts from, or PG_NO_VALUE. */
static uint32_t row_start(const pg_instr *instr) {
    if (instr->op != PG_OP_DOT || !(instr->shape & PG_DOT_STARTS)) return PG_NO_VALUE;
    return instr->shape & PG_DOT_UNIFORM_START ? PG_NO_VALUE : instr->a;
}

/* The right slots are in common; none is a start, whose gradient gets the dots' own. */
static bool same_layer(const pg_program *p, const pg_instr *x, const pg_instr *y) {
    if (x->shape != y->shape || x->count != y->count) return false;
    for (uint32_t i = 0; i < x->count; i++) {
        const uint32_t right = p->pairs[x->first + i].right;
        if (right != p->pairs[y->first + i].right) return false;
        if (right == row_start(x) || right == row_start(y)) return false;
    }
    return true;
}

/* Does x extend the run of `run` instructions that begins with y: the same op, on the slots before
 * y's? A run is one loop with a `restrict` result: it reads slots a .. a + run (and b .. b + run)
 * and writes dst .. dst + run, and no slot may be in both. As operands come before results,
 * comparing the last slot read with the first one written is enough. Only ops of ops.def join:
 * pg_op_slots ends with them. */
static bool are_neighbours(const pg_instr *x, const pg_instr *y, uint32_t run) {
    if (x->op >= PG_OP_COUNT || y->a != x->a + 1 || x->a + run >= x->dst) return false;
    return pg_op_slots[x->op] < 2 || (y->b == x->b + 1 && x->b + run < x->dst);
}

static bool has_neighbours(const pg_program *p, const pg_instr *dot) {
    const pg_pair *pairs = p->pairs + dot->first;
    for (uint32_t i = 1; i < dot->count; i++)
        if (pairs[i].left != pairs[0].left + i || pairs[i].right != pairs[0].right + i)
            return false;
    return dot->op == PG_OP_DOT;
}

/* Does x extend the run that begins with y, of whose dots the last start is in slot `start`? */
static bool joins(const pg_program *p, readers *r, uint32_t number, uint32_t start) {
    const pg_instr *const x = &p->code[number], *const y = x + 1;
    if (y->op == PG_OP_PART) return true;
    if (x->op != y->op) return false;
    if (x->op != PG_OP_DOT) return are_neighbours(x, y, y->run);
    const bool known = start == PG_NO_VALUE || start < x->dst; /* it isn't x, nor after it */
    return known && is_fit(p, r, number) && same_layer(p, x, y);
}

pg_status pg_mark_runs(pg_program *p) {
    readers r;
    if (new_readers(&r, p) != PG_OK) return PG_ERR_NOMEM;
    uint32_t start = PG_NO_VALUE;
    for (uint32_t i = (uint32_t)p->length; i-- > 0;) {
        pg_instr *x = &p->code[i];
        const uint32_t own = row_start(x);
        x->run = 1;
        x->neighbours = has_neighbours(p, x);
        if (i + 1 < p->length && i + 1 != p->uniform_length && joins(p, &r, i, start))
            x->run = x[1].run + 1;
        if (x->run == 1 || own > start) start = own; /* as of a layer all have one, or none */
    }
    pg_free(r.slot);
    return PG_OK;
}
