/* program_mutator.c - programs that are almost right: a change of one kind, and most often what
 * puts the rest right again, so that the reader gets to its last checks and the replay to code that
 * no recording would make.
 *
 * Numbers come from testing.h's generator, which the caller seeds. */
#include "program_file.h"

static uint32_t rolled(size_t n) { return n > 0 ? (uint32_t)below(n) : 0; }

static bool is_wide(int op) {
    return op == PG_OP_DOT || op == PG_OP_SELECT || op == PG_OP_SEARCH || pg_gives_lefts(op);
}

/* ---- Slots that an instruction may read ------------------------------------------------------ */

static slot uniform_slot(const program_file *f, uint32_t results) {
    const uint32_t all = f->constants + f->params + results;
    const uint32_t n = rolled(below(3) ? all : f->constants + f->params);
    if (all == 0) return (slot){IN_NONE, rolled(3)};
    if (n < f->constants) return (slot){IN_CONSTANT, n};
    if (n < f->constants + f->params) return (slot){IN_PARAM, n - f->constants};
    return (slot){IN_UNIFORM, n - f->constants - f->params};
}

static slot row_slot(const program_file *f, uint32_t results) {
    const uint32_t all = f->inputs + f->imports + results;
    const uint32_t n = rolled(all);
    if (all == 0) return (slot){IN_NONE, rolled(3)};
    if (results > 0 && below(3) == 0) return (slot){IN_ROWS, results - 1 - rolled(results) / 2};
    if (n < f->inputs) return (slot){IN_INPUT, n};
    if (n < f->inputs + f->imports) return (slot){IN_IMPORT, n - f->inputs};
    return (slot){IN_ROWS, n - f->inputs - f->imports};
}

/* What stands before an instruction. */
static slot slot_before(const program_file *f, uint32_t number) {
    return number >= f->uniform ? row_slot(f, number - f->uniform) : uniform_slot(f, number);
}

static bool stands_before(const program_file *f, slot s, uint32_t number) {
    const bool in_rows = number >= f->uniform;
    switch (s.kind) {
    case IN_CONSTANT: return !in_rows && s.index < f->constants;
    case IN_PARAM: return !in_rows && s.index < f->params;
    case IN_UNIFORM: return !in_rows && s.index < number;
    case IN_INPUT: return in_rows && s.index < f->inputs;
    case IN_IMPORT: return in_rows && s.index < f->imports;
    case IN_ROWS: return in_rows && s.index < number - f->uniform;
    default: return false;
    }
}

/* ---- Putting right -------------------------------------------------------------------------- */

static void repair_slot(const program_file *f, slot *s, uint32_t number, bool uniform) {
    if (uniform && number >= f->uniform) {
        if (s->kind > IN_UNIFORM || !stands_before(f, *s, f->uniform > 0 ? f->uniform - 1 : 0))
            *s = uniform_slot(f, f->uniform);
    } else if (!stands_before(f, *s, number)) *s = slot_before(f, number);
}

/* Pairs of its own, if it needs some. */
static void repair_pairs(program_file *f, file_instr *instr) {
    if (!is_wide(instr->op)) {
        instr->count = 0;
        return;
    }
    const bool there = instr->first < f->pairs && instr->count <= f->pairs - instr->first;
    if (there && instr->count > 0 && (instr->op != PG_OP_SELECT || instr->count == 1)) return;
    const uint32_t wanted = instr->op == PG_OP_SELECT ? 1 : 1 + rolled(4);
    if (f->pairs + wanted >= MOST_PAIRS) return;
    instr->first = f->pairs;
    instr->count = wanted;
    for (uint32_t i = 0; i < wanted; i++)
        f->pair[f->pairs++] = (slot_pair){{IN_NONE, 0}, {IN_NONE, 0}};
}

static slot result_of(const program_file *f, uint32_t number) {
    return number >= f->uniform ? (slot){IN_ROWS, number - f->uniform} : (slot){IN_UNIFORM, number};
}

/* A scatter and its parts follow each other, in one section; what is left over becomes a copy. */
static void repair_parts(program_file *f, uint32_t number) {
    file_instr *instr = &f->instr[number];
    const bool first = number == 0 || number == f->uniform;
    const bool last = number + 1 == f->instrs || number + 1 == f->uniform;
    if (instr->op == PG_OP_PART) {
        const uint8_t before = first ? PG_OP_FREE : instr[-1].op;
        if (before == PG_OP_SCATTER) instr->a = result_of(f, number - 1);
        else if (before == PG_OP_PART) instr->a = instr[-1].a;
        else instr->op = PG_OP_COPY;
    }
    if (instr->op == PG_OP_SCATTER && last) instr->op = PG_OP_COPY;
    else if (instr->op == PG_OP_SCATTER) instr[1].op = PG_OP_PART;
}

static void repair_instr(program_file *f, uint32_t number) {
    file_instr *instr = &f->instr[number];
    repair_parts(f, number);
    const bool dot = instr->op == PG_OP_DOT, in_rows = number >= f->uniform;
    repair_pairs(f, instr);
    if (dot && !in_rows) instr->shape &= PG_DOT_STARTS | PG_DOT_SQUARES | PG_DOT_GATED;
    if (dot && !(instr->shape & PG_DOT_STARTS)) instr->shape &= (uint8_t)~PG_DOT_UNIFORM_START;
    if (dot && (instr->shape & (PG_DOT_WEIGHTED | PG_DOT_GATED)))
        instr->shape &= (uint8_t)~PG_DOT_SQUARES;
    const bool weighted = may_be_weighted(instr->op) && instr->shape & PG_DOT_WEIGHTED && in_rows;
    if (instr->op == PG_OP_CUSTOM || instr->op == PG_OP_SCATTER) instr->shape = 0;
    if (pg_is_lookup(instr->op)) {
        const int side = instr->op == PG_OP_SEARCH ? instr->shape & PG_SEARCH_RIGHT : 0;
        instr->shape = (uint8_t)((weighted ? PG_DOT_WEIGHTED : 0) | side);
    }
    if (instr->op == PG_OP_SELECT) instr->shape %= PG_COMPARE_COUNT;
    repair_slot(f, &instr->a, number, dot && instr->shape & PG_DOT_UNIFORM_START);
    repair_slot(f, &instr->b, number, false);
    for (uint32_t i = instr->first; i < f->pairs && i - instr->first < instr->count; i++) {
        repair_slot(f, &f->pair[i].left, number, weighted);
        if (pg_is_lookup(instr->op)) f->pair[i].right = instr->a;
        else repair_slot(f, &f->pair[i].right, number, false);
    }
}

/* The instruction that writes a slot, or MOST_INSTRS. */
static uint32_t writer_of(const program_file *f, slot s) {
    if (s.kind == IN_IMPORT && s.index < f->imports) s = f->import[s.index];
    if (s.kind == IN_UNIFORM && s.index < f->uniform) return s.index;
    if (s.kind == IN_ROWS && s.index < f->instrs - f->uniform) return f->uniform + s.index;
    return MOST_INSTRS;
}

static void visit(program_file *f, uint32_t output, bool seen[MOST_INSTRS], uint32_t number) {
    if (number >= MOST_INSTRS || seen[number]) return;
    seen[number] = true;
    const file_instr *instr = &f->instr[number];
    const bool dot = instr->op == PG_OP_DOT;
    if (instr->op == PG_OP_DETACH || instr->op == PG_OP_SEARCH || instr->op == PG_OP_FREE) {
    } else if (dot || pg_gives_lefts(instr->op)) {
        if (dot && instr->shape & PG_DOT_STARTS) visit(f, output, seen, writer_of(f, instr->a));
        for (uint32_t i = instr->first; i < f->pairs && i - instr->first < instr->count; i++) {
            visit(f, output, seen, writer_of(f, f->pair[i].left));
            if (dot) visit(f, output, seen, writer_of(f, f->pair[i].right));
        }
    } else {
        visit(f, output, seen, writer_of(f, instr->a));
        visit(f, output, seen, writer_of(f, instr->b));
    }
    if (f->order_count[output] + 1 < MOST_INSTRS)
        f->order[output][f->order_count[output]++] = number;
}

/* An output's order as backward() would have it. */
static void repair_order(program_file *f, uint32_t output) {
    bool seen[MOST_INSTRS] = {false};
    f->order_count[output] = 0;
    visit(f, output, seen, writer_of(f, f->output[output]));
}

static void repair(program_file *f) {
    for (uint32_t i = 0; i < f->imports; i++)
        if (f->import[i].kind > IN_UNIFORM || below(8) == 0)
            f->import[i] = uniform_slot(f, f->uniform);
    for (uint32_t i = 0; i < f->instrs; i++) repair_instr(f, i);
    for (uint32_t i = 0; i < f->outputs; i++) {
        slot *end = &f->output[i];
        if ((end->kind != IN_ROWS && end->kind != IN_INPUT) || !stands_before(f, *end, f->instrs))
            *end = row_slot(f, f->instrs - f->uniform);
        repair_order(f, i);
    }
}

/* ---- Changes -------------------------------------------------------------------------------- */

static uint8_t any_op(void) {
    static const uint8_t likely[] = {PG_OP_DOT,     PG_OP_DOT,     PG_OP_MUL,    PG_OP_ADD,
                                     PG_OP_TANH,    PG_OP_COPY,    PG_OP_SELECT, PG_OP_CUSTOM,
                                     PG_OP_DETACH,  PG_OP_TAKE,    PG_OP_TAKE,   PG_OP_SEARCH,
                                     PG_OP_SCATTER, PG_OP_SCATTER, PG_OP_PART};
    return below(2) ? likely[below(LENGTH(likely))] : (uint8_t)below(PG_OP_PROGRAM);
}

static void change_op(program_file *f) {
    if (f->instrs == 0) return;
    file_instr *instr = &f->instr[rolled(f->instrs)];
    instr->op = any_op();
    instr->shape = (uint8_t)below(32);
}

static void change_shape(program_file *f) {
    if (f->instrs > 0) f->instr[rolled(f->instrs)].shape ^= (uint8_t)(1u << below(5));
}

static void change_operand(program_file *f) {
    if (f->instrs == 0) return;
    const uint32_t number = rolled(f->instrs);
    file_instr *instr = &f->instr[number];
    *(below(2) ? &instr->a : &instr->b) = slot_before(f, number);
    if (instr->count == 0 || instr->first >= f->pairs) return;
    slot_pair *pair = &f->pair[instr->first + rolled(f->pairs - instr->first)];
    *(below(2) ? &pair->left : &pair->right) = slot_before(f, number);
}

static void change_pairs(program_file *f) {
    if (f->instrs == 0) return;
    file_instr *instr = &f->instr[rolled(f->instrs)];
    if (below(2)) instr->count += (uint32_t)below(3) - 1;
    else instr->first = rolled(f->pairs + 1);
}

/* Results from here on have another number. */
static void shift(slot *s, slot_kind kind, uint32_t from, uint32_t by) {
    if (s->kind == kind && s->index >= from) s->index += by;
}

static void shift_results(program_file *f, uint32_t number, uint32_t by) {
    const slot_kind kind = number >= f->uniform ? IN_ROWS : IN_UNIFORM;
    const uint32_t from = number >= f->uniform ? number - f->uniform : number;
    for (uint32_t i = 0; i < f->instrs; i++) {
        shift(&f->instr[i].a, kind, from, by);
        shift(&f->instr[i].b, kind, from, by);
    }
    for (uint32_t i = 0; i < f->pairs; i++) {
        shift(&f->pair[i].left, kind, from, by);
        shift(&f->pair[i].right, kind, from, by);
    }
    for (uint32_t i = 0; i < f->imports; i++) shift(&f->import[i], kind, from, by);
    for (uint32_t i = 0; i < f->outputs; i++) shift(&f->output[i], kind, from, by);
}

/* Between others, in either part. */
static void insert(program_file *f, uint32_t number, file_instr instr) {
    if (f->instrs + 1 >= MOST_INSTRS) return;
    const bool uniform = number < f->uniform;
    shift_results(f, number, 1);
    for (uint32_t i = f->instrs++; i > number; i--) f->instr[i] = f->instr[i - 1];
    f->instr[number] = instr;
    f->uniform += uniform;
}

static void insert_any(program_file *f) {
    const uint32_t number = rolled(f->instrs + 1);
    const file_instr instr = {.op = any_op(),
                              .shape = (uint8_t)below(32),
                              .a = slot_before(f, number),
                              .b = slot_before(f, number),
                              .first = f->pairs};
    insert(f, number, instr);
}

/* A neighbour that reads the next slots, or the same factors: what runs as one. */
static void insert_neighbour(program_file *f) {
    if (f->instrs == 0) return;
    const uint32_t number = rolled(f->instrs);
    file_instr instr = f->instr[number];
    instr.a.index++;
    instr.b.index++;
    if (is_wide(instr.op) && instr.first < f->pairs && instr.count <= f->pairs - instr.first &&
        f->pairs + instr.count < MOST_PAIRS) {
        for (uint32_t i = 0; i < instr.count; i++) {
            f->pair[f->pairs + i] = f->pair[instr.first + i];
            if (below(2)) f->pair[f->pairs + i].left.index++;
        }
        instr.first = f->pairs;
        f->pairs += instr.count;
    }
    insert(f, number + 1, instr);
}

static void remove_any(program_file *f) {
    if (f->instrs == 0) return;
    const uint32_t number = rolled(f->instrs);
    for (uint32_t i = number; i + 1 < f->instrs; i++) f->instr[i] = f->instr[i + 1];
    shift_results(f, number + (number + 1 != f->uniform), UINT32_MAX); /* one fewer */
    f->instrs--;
    if (number < f->uniform) f->uniform--;
}

static void change_given(program_file *f) {
    uint32_t *const counts[] = {&f->params, &f->inputs, &f->imports, &f->constants};
    uint32_t *count = counts[below(LENGTH(counts))];
    if (below(3) == 0 && *count > 0) --*count;
    else if (*count + 1 < MOST_GIVEN) ++*count;
    if (f->imports > 0 && below(2)) f->import[rolled(f->imports)] = uniform_slot(f, f->uniform);
    if (f->constants > 0) f->constant[rolled(f->constants)] = odd_number();
}

static void change_outputs(program_file *f) {
    const size_t kind = below(4);
    if (kind == 0 && f->outputs > 0) f->outputs--;
    else if (kind < 3 && f->outputs + 1 < MOST_ENDS) f->outputs++;
    if (f->outputs > 0) f->output[rolled(f->outputs)] = row_slot(f, f->instrs - f->uniform);
}

static void change_order(program_file *f) {
    if (f->outputs == 0) return;
    const uint32_t o = rolled(f->outputs);
    uint32_t *const order = f->order[o], *const count = &f->order_count[o];
    const uint32_t at = rolled(*count), other = rolled(*count);
    const size_t kind = below(3);
    if (kind == 0 && *count + 1 < MOST_INSTRS) order[(*count)++] = rolled(f->instrs + 1);
    else if (kind == 1 && *count > 0) {
        const uint32_t was = order[at];
        order[at] = order[other];
        order[other] = was;
    } else if (*count > 0) {
        for (uint32_t i = at; i + 1 < *count; i++) order[i] = order[i + 1];
        --*count;
    }
}

/* One step over a bound: the instruction's own result, the slot behind the last, a shape too many,
 * another one's pairs. */
static void step_over(program_file *f) {
    if (f->instrs == 0) return;
    const uint32_t number = rolled(f->instrs), results = f->instrs - f->uniform;
    file_instr *instr = &f->instr[number];
    const slot own = result_of(f, number);
    slot_pair *pair = instr->count > 0 && instr->first < f->pairs ? &f->pair[instr->first] : NULL;
    switch (below(8)) {
    case 0: instr->a = own; break;
    case 1: instr->b = own; break;
    case 2: instr->shape = PG_COMPARE_COUNT; break;
    case 3: instr->first = rolled(f->pairs + 1); break;
    case 4: f->import[rolled(f->imports)] = (slot){IN_UNIFORM, f->uniform}; break;
    case 5: f->output[rolled(f->outputs)] = below(2) ? (slot){IN_ROWS, results} : own; break;
    default:
        if (pair != NULL && below(2)) pair->left = below(2) ? own : (slot){IN_UNIFORM, f->uniform};
        else if (pair != NULL) pair->right = own;
    }
}

static void change_fast(program_file *f) { f->fast = !f->fast; }

typedef void change(program_file *f);
static change *const changes[] = {change_op,    change_shape,     change_operand,  change_operand,
                                  change_pairs, insert_any,       insert_any,      remove_any,
                                  change_given, insert_neighbour, change_outputs,  change_order,
                                  change_order, change_fast,      insert_neighbour};

void file_mutate(program_file *f) {
    for (size_t i = 1 + below(4); i > 0; i--) changes[below(LENGTH(changes))](f);
    const size_t kind = below(8);
    if (kind > 0) repair(f);
    if (kind == 1) change_order(f);
    if (kind == 2) change_operand(f);
    if (kind == 3) change_shape(f);
    if (kind == 4) step_over(f);
}
