/* liveness.c - which failures in a block does a result depend on, given what its rows select?
 *
 * The block was computed to its end without judging. A backward traversal of the code, from the
 * outputs, finds what each row's results depend on: a select depends on its comparison and on the
 * operand it chose, a take on its index and on the entry that it names, a scatter on its indices
 * and on the numbers that they add to a part in demand, a gate, and a gated dot's product, on its
 * derivative only where the adjoint isn't 0, every other op on all its operands. A failed op that a
 * row depends on is that row's fault; one that no row depends on is ignored: its branch wasn't
 * taken. Hoisted code fails for all rows or for none, and counts for the rows that depend on it.
 * Invariant: lanes are bits of a word, so one traversal serves a block of up to 32.
 * Owns nothing but the workspace's scratch. Cost: O(instructions * lanes + pairs) for each block of
 * a chunk in which an op failed. */
#include "ops/kernels.h"
#include "replay/replay.h"

#include <string.h>

/* Slots of one section: slot s has its values at values + s * lanes. */
typedef struct section {
    const double *values;
    size_t lanes;
    uint32_t *need; /* for each slot: the rows, by their lanes in the block, that depend on it */
} section;

typedef struct walk {
    const pg_program *program;
    const pg_block *block;
    section row, uniform;
    const pg_instr **failing; /* for each lane: the first failed op that it depends on */
    bool choosing;            /* else a row's select depends on its comparison only */
} walk;

/* A product that depends on its first operand where the second isn't 0? */
static bool is_gate(const pg_instr *instr) {
    return instr->op == PG_OP_GATE || instr->op == PG_OP_GATE_HELD;
}

static bool is_choice(const pg_instr *instr) {
    return instr->op == PG_OP_SELECT || is_gate(instr) || instr->op == PG_OP_GATE_EITHER;
}

static inline bool needs(uint32_t need, size_t lane) { return need >> lane & 1; }

/* The lanes in which the operand in this slot isn't 0. */
static uint32_t nonzero(const section *s, uint32_t slot) {
    const double *values = s->values + slot * s->lanes;
    uint32_t found = 0;
    for (size_t l = 0; l < s->lanes; l++) found |= (uint32_t)(values[l] != 0.0) << l;
    return found;
}

/* The lanes in which a select takes its first operand, and a product depends on its first. */
static uint32_t chosen(const walk *w, const pg_instr *select, const section *s) {
    if (is_gate(select)) return nonzero(s, select->b);
    if (select->op == PG_OP_GATE_EITHER) return nonzero(s, select->b) | ~nonzero(s, select->a);
    const pg_pair pair = w->program->pairs[select->first];
    const double *left = s->values + pair.left * s->lanes;
    const double *right = s->values + pair.right * s->lanes;
    uint32_t first = 0;
    for (size_t l = 0; l < s->lanes; l++)
        first |= (uint32_t)pg_compares(select->shape, left[l], right[l]) << l;
    return first;
}

/* The lanes in which it depends on its second operand, given those in which it takes the first. */
static uint32_t chosen_second(const pg_instr *instr, const section *s, uint32_t first) {
    return instr->op == PG_OP_GATE_EITHER ? nonzero(s, instr->a) : ~first;
}

/* The rows, of those that depend on a gated dot, that depend on the slope of this adjoint. */
static uint32_t open_to(const walk *w, const section *s, uint32_t need, uint32_t adjoint) {
    if (s == &w->uniform) return s->values[adjoint] != 0.0 ? need : 0;
    return w->choosing ? need & nonzero(s, adjoint) : 0;
}

/* Of a take: of its entries, a row depends on the one that it takes. If rows don't choose, on none.
 */
static void propagate_take(walk *w, const pg_instr *take, const section *s, uint32_t *lefts) {
    const pg_pair *const pairs = w->program->pairs + take->first;
    const uint32_t need = s->need[take->dst];
    const double *const indices = s->values + (size_t)take->a * s->lanes;
    s->need[take->a] |= need;
    for (size_t l = 0; (w->choosing || s == &w->uniform) && l < s->lanes; l++) {
        const uint32_t index = pg_index_of(indices[l], take->count);
        const uint32_t own = s->lanes == 1 ? need : need & (uint32_t)1 << l;
        if (index < take->count) lefts[pairs[index].left] |= own;
    }
}

/* Of a scatter: on all indices, and of the numbers on those that were added to a part that it
 * depends on. If rows don't choose, on no number. */
static void propagate_scatter(walk *w, const pg_instr *scatter, const section *s) {
    const uint32_t need = s->need[scatter->dst], parts = scatter->run - 1;
    for (uint32_t i = 0; i < scatter->count; i++) {
        const pg_pair pair = w->program->pairs[scatter->first + i];
        const double *const indices = s->values + (size_t)pair.right * s->lanes;
        s->need[pair.right] |= need;
        for (size_t l = 0; (w->choosing || s == &w->uniform) && l < s->lanes; l++) {
            const uint32_t named = pg_index_of(indices[l], parts);
            const uint32_t lane = s->lanes == 1 ? UINT32_MAX : (uint32_t)1 << l;
            if (named < parts) s->need[pair.left] |= s->need[scatter->dst + 1 + named] & lane;
        }
    }
}

/* Propagate the lanes that depend on an instruction to its operands; of a select, to operand a
 * those of `first`, to operand b those of `second`. */
static void propagate(walk *w, const pg_instr *instr, const section *s, uint32_t first,
                      uint32_t second) {
    const pg_pair *pairs = w->program->pairs + instr->first;
    uint32_t *const slots = s->need, need = slots[instr->dst];
    uint32_t *const lefts = instr->shape & PG_DOT_WEIGHTED ? w->uniform.need : slots;
    switch (instr->op) {
    case PG_OP_SELECT:
        slots[pairs->left] |= need;
        slots[pairs->right] |= need;
        slots[instr->a] |= need & first;
        slots[instr->b] |= need & second;
        return;
    case PG_OP_GATE:
    case PG_OP_GATE_HELD:
        slots[instr->a] |= need & first;
        slots[instr->b] |= need;
        return;
    case PG_OP_GATE_EITHER:
        slots[instr->a] |= need & first;
        slots[instr->b] |= need & second;
        return;
    case PG_OP_DOT:
        if (instr->shape & PG_DOT_UNIFORM_START) w->uniform.need[instr->a] |= need;
        else if (instr->shape & PG_DOT_STARTS) slots[instr->a] |= need;
        for (uint32_t i = 0; i < instr->count; i++) {
            const bool gated = instr->shape & PG_DOT_GATED;
            lefts[pairs[i].left] |= gated ? open_to(w, s, need, pairs[i].right) : need;
            slots[pairs[i].right] |= need;
        }
        return;
    case PG_OP_TAKE: propagate_take(w, instr, s, lefts); return;
    case PG_OP_SCATTER: propagate_scatter(w, instr, s); return;
    case PG_OP_SEARCH:
        for (uint32_t i = 0; i < instr->count; i++) lefts[pairs[i].left] |= need;
        slots[instr->a] |= need;
        return;
    case PG_OP_CUSTOM:
        for (uint32_t i = 0; i < instr->count; i++)
            slots[pairs[i].left] |= need, slots[pairs[i].right] |= need;
        slots[instr->a] |= need;
        return;
    default:
        slots[instr->a] |= need;
        if (pg_instr_describe(instr->op)->operands == 2) slots[instr->b] |= need;
    }
}

/* Has one of a dot's squares overflowed? */
static pg_status judge_squares(const walk *w, const pg_instr *dot, const section *s, size_t lane,
                               pg_fault *fault_ret) {
    const bool judged = dot->op == PG_OP_DOT && (dot->shape & PG_DOT_SQUARES);
    for (uint32_t i = 0; judged && i < dot->count; i++) {
        const pg_pair pair = w->program->pairs[dot->first + i];
        const double x = s->values[pair.left * s->lanes + lane];
        if (pair.left != pair.right) continue;
        *fault_ret = (pg_fault){PG_OP_POWN, 0, x, 2.0};
        const pg_status status = pg_fault_of(PG_OP_POWN, x * x, x, 2.0);
        if (status != PG_OK) return status;
    }
    return PG_OK;
}

/* Does a take's index name an entry? */
static pg_status judge_index(const pg_instr *take, const section *s, size_t lane,
                             pg_fault *fault_ret) {
    const double index = s->values[take->a * s->lanes + lane];
    *fault_ret = (pg_fault){PG_OP_TAKE, 0, index, (double)take->count};
    return pg_index_of(index, take->count) < take->count ? PG_OK : PG_ERR_DOMAIN;
}

/* Judge an instruction's result in one lane. Beyond the ops of the table only squares and indices
 * can fail; a dot's `a` may be a slot of the other section, so it is not read. */
static pg_status judge(const walk *w, const pg_instr *instr, const section *s, size_t lane,
                       pg_fault *fault_ret) {
    const double exponent = pg_instr_describe(instr->op)->power;
    const int op = exponent != 0.0 ? PG_OP_POWN : instr->op;
    if (op == PG_OP_TAKE) return judge_index(instr, s, lane, fault_ret);
    if (op >= PG_OP_COUNT) return judge_squares(w, instr, s, lane, fault_ret);
    const double *const values = s->values + lane;
    const double y = values[instr->dst * s->lanes], a = values[instr->a * s->lanes];
    double b = exponent;
    if (op == instr->op && pg_op_slots[op] == 2) b = values[instr->b * s->lanes];
    *fault_ret = (pg_fault){op, 0, a, b};
    return pg_fault_of(op, y, a, b);
}

static bool fails(const walk *w, const pg_instr *instr, const section *s, size_t lane) {
    pg_fault fault;
    return !isfinite(s->values[instr->dst * s->lanes + lane]) &&
           judge(w, instr, s, lane, &fault) != PG_OK;
}

static void walk_rows(walk *w) {
    const pg_program *p = w->program;
    const section *const row = &w->row;
    for (size_t i = p->length; i-- > p->uniform_length;) {
        const pg_instr *instr = &p->code[i];
        const uint32_t need = row->need[instr->dst];
        if (need == 0) continue;
        for (size_t l = 0; w->choosing && l < w->block->active; l++)
            if (needs(need, l) && fails(w, instr, row, l)) w->failing[l] = instr;
        uint32_t first = 0, second = 0;
        if (is_choice(instr) && w->choosing) {
            first = chosen(w, instr, row);
            second = chosen_second(instr, row, first);
        }
        propagate(w, instr, row, first, second);
    }
    for (size_t i = 0; i < p->import_count; i++)
        w->uniform.need[p->imports[i]] |= row->need[p->input_count + i];
}

static void walk_uniform(walk *w) {
    const pg_program *p = w->program;
    for (size_t i = p->uniform_length; i-- > 0;) {
        const pg_instr *instr = &p->code[i];
        const uint32_t need = w->uniform.need[instr->dst];
        if (need == 0) continue;
        const bool failed = w->choosing && fails(w, instr, &w->uniform, 0);
        for (size_t l = 0; failed && l < w->block->active; l++)
            if (needs(need, l)) w->failing[l] = instr;
        const uint32_t first = is_choice(instr) ? chosen(w, instr, &w->uniform) & 1 : 0;
        const uint32_t second = chosen_second(instr, &w->uniform, first) & 1;
        propagate(w, instr, &w->uniform, first ? need : 0, second ? need : 0);
    }
}

static void walk_back(walk *w) {
    const pg_program *p = w->program;
    const uint32_t all = w->block->active < 32 ? ((uint32_t)1 << w->block->active) - 1 : UINT32_MAX;
    memset(w->row.need, 0, (p->row_slots + p->uniform_slots) * sizeof *w->row.need);
    for (size_t o = 0; o < p->output_count; o++) w->row.need[p->outputs[o]] = all;
    walk_rows(w);
    walk_uniform(w);
}

/* Do all rows depend on this uniform instruction, whatever they select? */
static bool is_needed_by_all(walk *w, const pg_instr *instr) {
    w->choosing = false;
    walk_back(w);
    return w->uniform.need[instr->dst] != 0;
}

pg_status pg_find_fault(pg_workspace *ws, pg_block *block, size_t lanes) {
    const pg_program *program = ws->program;
    const pg_instr *failing[32] = {NULL};
    const size_t words = program->row_slots + program->uniform_slots;
    if (pg_reserve_numbers(&ws->needs, words / 2 + 1) != PG_OK) return PG_ERR_NOMEM;
    uint32_t *const need = (uint32_t *)(void *)ws->needs.at;
    walk w = {.program = program,
              .block = block,
              .row = {block->values, lanes, need},
              .uniform = {ws->uniform.at, 1, need + program->row_slots},
              .failing = failing,
              .choosing = true};
    walk_back(&w);
    for (size_t l = 0; l < block->active; l++) {
        if (failing[l] == NULL) continue;
        const bool uniform = failing[l] < program->code + program->uniform_length;
        block->fault_lane = l;
        block->fault_of_all = uniform && is_needed_by_all(&w, failing[l]);
        return uniform ? judge(&w, failing[l], &w.uniform, 0, &block->fault)
                       : judge(&w, failing[l], &w.row, l, &block->fault);
    }
    return PG_OK;
}
