/* registers.c - which register holds what: a cache of slots, written through.
 *
 * A result is stored to its slot at once, since adjoints need all values, and kept in its register
 * as long as no other needs that: then a later use costs no load, and a chain of results doesn't
 * wait for memory. A register can be given up at any time without a store, so there are no spills;
 * the one that was used longest ago goes first. A call loses all.
 * Invariant: no two registers hold one slot. Owns nothing. Cost: a scan of the registers a use. */
#include "native/emit.h"

#include <string.h>

#if PG_HAS_NATIVE

/* What else than a base a register's contents can be of. */
static const uint64_t nothing = UINT64_MAX, a_number = UINT64_MAX - 1;

void pg_forget_registers(pg_emitter *e) {
    for (int r = 0; r < PG_REGISTERS; r++) e->held[r] = (pg_held){.where = nothing};
}

static int find(pg_emitter *e, uint64_t where, uint64_t which) {
    for (int r = 0; r < PG_REGISTERS; r++)
        if (e->held[r].where == where && e->held[r].which == which) {
            e->held[r].used = ++e->clock;
            e->held[r].pins++;
            return r;
        }
    return -1;
}

static int new_register(pg_emitter *e) {
    int oldest = -1;
    for (int r = 0; r < PG_REGISTERS; r++)
        if (e->held[r].pins == 0 && (oldest < 0 || e->held[r].used < e->held[oldest].used))
            oldest = r;
    if (oldest < 0) {
        e->code.failed = true; /* a formula that needs more */
        return 0;
    }
    e->held[oldest] = (pg_held){.where = nothing, .pins = 1};
    return oldest;
}

void pg_release(pg_emitter *e, int reg) {
    if (reg != PG_ZERO && reg < PG_IN_MEMORY) e->held[reg].pins--;
}

int32_t pg_offset_of(pg_emitter *e, pg_at at) {
    const int64_t offset = (int64_t)at.slot * e->stride[at.base];
    if (offset > INT32_MAX) e->code.failed = true;
    return (int32_t)offset;
}

static int load(pg_emitter *e, pg_at at) {
    const int reg = new_register(e);
    const int32_t offset = pg_offset_of(e, at);
    if (pg_is_uniform(at.base)) pg_put_spread(&e->code, reg, at.base, offset);
    else pg_put_load(&e->code, reg, at.base, offset);
    e->held[reg] = (pg_held){at.base, at.slot, ++e->clock, 1};
    return reg;
}

int pg_fetch(pg_emitter *e, pg_at at) {
    const int reg = find(e, at.base, at.slot);
    if (reg >= 0) return reg;
    if (pg_is_uniform(at.base)) return load(e, at);
    const uint32_t place = e->fetched++ % PG_MOST_STEPS;
    e->unloaded[place] = at;
    return PG_IN_MEMORY + (int)place;
}

int pg_load(pg_emitter *e, int operand) {
    if (operand < PG_IN_MEMORY) return operand;
    const pg_at at = e->unloaded[operand - PG_IN_MEMORY];
    const int reg = find(e, at.base, at.slot); /* another operand may have been the same */
    return reg >= 0 ? reg : load(e, at);
}

int pg_fetch_number(pg_emitter *e, double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    if (bits == 0) return PG_ZERO;
    int reg = find(e, a_number, bits);
    if (reg >= 0) return reg;
    reg = new_register(e);
    pg_put_number(&e->code, reg, number);
    e->held[reg] = (pg_held){a_number, bits, ++e->clock, 1};
    return reg;
}

void pg_keep(pg_emitter *e, int reg, pg_at at) {
    reg = pg_load(e, reg);
    pg_put_store(&e->code, reg, at.base, pg_offset_of(e, at));
    for (int r = 0; r < PG_REGISTERS; r++)
        if (e->held[r].where == at.base && e->held[r].which == at.slot) e->held[r].where = nothing;
    if (reg == PG_ZERO) return;
    e->held[reg].where = at.base;
    e->held[reg].which = at.slot;
    e->held[reg].used = ++e->clock;
    pg_release(e, reg);
}

int pg_operate(pg_emitter *e, pg_step_kind kind, int x, int y) {
    const bool symmetric = kind == PG_ADDS || kind == PG_MULTIPLIES;
    const bool arithmetic = symmetric || kind == PG_SUBTRACTS || kind == PG_DIVIDES;
    if (symmetric && x >= PG_IN_MEMORY) {
        const int swap = x;
        x = y;
        y = swap;
    }
    x = pg_load(e, x);
    if (!arithmetic) y = pg_load(e, y);
    const int to = new_register(e);
    if (y >= PG_IN_MEMORY) {
        const pg_at at = e->unloaded[y - PG_IN_MEMORY];
        pg_put_operation_on(&e->code, kind, to, x, at.base, pg_offset_of(e, at));
    } else pg_put_operation(&e->code, kind, to, x, y);
    pg_release(e, x);
    pg_release(e, y);
    return to;
}

int pg_choose(pg_emitter *e, int condition, int x, int y) {
    x = pg_load(e, x);
    y = pg_load(e, y);
    const int to = new_register(e);
    pg_put_select(&e->code, to, condition, x, y);
    pg_release(e, condition);
    pg_release(e, x);
    pg_release(e, y);
    return to;
}

int pg_evaluate(pg_emitter *e, const pg_formula *formula, const pg_operands *on) {
    int stack[PG_MOST_STEPS], depth = 0;
    for (int i = 0; i < formula->count; i++) {
        const pg_step_kind kind = (pg_step_kind)formula->steps[i].kind;
        switch (kind) {
        case PG_PUSH_A: stack[depth++] = pg_fetch(e, on->a); break;
        case PG_PUSH_B: stack[depth++] = pg_fetch(e, on->b); break;
        case PG_PUSH_Y: stack[depth++] = pg_fetch(e, on->y); break;
        case PG_PUSH_SLOPE:
            stack[depth++] = on->slope;
            if (on->slope != PG_ZERO) e->held[on->slope].pins++; /* it is a register */
            break;
        case PG_PUSH_NUMBER:
            stack[depth++] = pg_fetch_number(e, formula->number[formula->steps[i].number]);
            break;
        case PG_SELECTS:
            depth -= 2;
            stack[depth - 1] = pg_choose(e, stack[depth - 1], stack[depth], stack[depth + 1]);
            break;
        case PG_NEGATES:
        case PG_SQUARE_ROOT:
        case PG_MAGNITUDE:
        case PG_IS_NAN: stack[depth - 1] = pg_operate(e, kind, stack[depth - 1], PG_ZERO); break;
        default: depth--; stack[depth - 1] = pg_operate(e, kind, stack[depth - 1], stack[depth]);
        }
    }
    return pg_load(e, stack[0]);
}

#endif
