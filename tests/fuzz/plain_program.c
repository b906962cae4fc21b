/* plain_program.c - what program.h says that a program means, done one row and one instruction
 * after the other: no runs, no lanes, no targets.
 *
 * Sums over rows are the one thing in which the order of rows shows. A row's contributions to a
 * uniform slot are kept as they come, and added up at the end, block by block, as replay.c states:
 * contributions that come before anything else was added share a sum; later ones have one each.
 *
 * What failed is asked for last, and by recursion: does the row need it, by its choices? */
#include "plain.h"

#include "testing.h"

#include <math.h>
#include <stdlib.h>

/* A row's contribution to the gradient of a uniform slot, for all rows. */
typedef struct contribution {
    size_t sum;
    double *rows;
} contribution;

/* On the way back through the uniform part: a sum that is added to a slot, or an instruction. */
typedef struct event {
    bool is_sum;
    uint32_t slot, instr;
    size_t sum;
} event;

typedef struct run {
    const pg_program *p;
    const double *inputs;
    size_t rows;
    double *uniform, *values; /* values: rows x row slots */
    /* of one output: */
    double *grads, *uniform_grads;
    bool *reached, *uniform_reached, *wanted, *uniform_wanted;
    bool *touched; /* uniform slots that a row brings a gradient to, be their sum 0 */
    bool *row_needed, *uniform_needed;
    size_t *held; /* the sum that a uniform slot's gradient is so far; or one of these: */
    contribution *contributions;
    size_t contribution_count, sum_count;
    event *events;
    size_t event_count;
} run;

static const size_t NOTHING = SIZE_MAX, A_MIXTURE = SIZE_MAX - 1; /* an enumerator is an int */

/* ---- Values --------------------------------------------------------------------------------- */

/* Where an instruction of a row, or with row NULL of the uniform part, reads. */
static double read(const run *r, const double *row, uint32_t slot) {
    return row != NULL ? row[slot] : r->uniform[slot];
}

static double value_of_dot(const run *r, const pg_instr *dot, const double *row) {
    const double *const lefts = dot->shape & PG_DOT_WEIGHTED ? NULL : row;
    double sum = 0.0;
    for (uint32_t i = 0; i < dot->count; i++) {
        const pg_pair pair = r->p->pairs[dot->first + i];
        const int op = dot->shape & PG_DOT_GATED ? PG_OP_GATE : PG_OP_MUL;
        const double product =
            plain_value(op, read(r, lefts, pair.left), read(r, row, pair.right), r->p->fast);
        if (i == 0 && dot->shape & PG_DOT_STARTS)
            sum = read(r, dot->shape & PG_DOT_UNIFORM_START ? NULL : row, dot->a) + product;
        else sum = i == 0 ? product : sum + product;
    }
    return sum;
}

/* An entry of a table, or a knot. */
static double entry_of(const run *r, const pg_instr *instr, const double *row, uint32_t index) {
    const uint32_t slot = r->p->pairs[instr->first + index].left;
    return read(r, instr->shape & PG_DOT_WEIGHTED ? NULL : row, slot);
}

/* The number of entries if this index names none. */
static uint32_t index_of(const run *r, const pg_instr *take, const double *row) {
    const double index = read(r, row, take->a);
    for (uint32_t i = 0; i < take->count; i++)
        if (index == i) return i;
    return take->count;
}

/* Knots of a file may be in any order: what counts then is where a bisection ends. */
static double value_of_search(const run *r, const pg_instr *search, const double *row) {
    const double x = read(r, row, search->a);
    const bool right = search->shape & PG_SEARCH_RIGHT;
    uint32_t from = 0;
    for (uint32_t left = search->count; left > 0;) {
        const uint32_t half = left > 1 ? left / 2 : 1;
        const double knot = entry_of(r, search, row, from + half - 1);
        if (isnan(x) || isnan(knot) || x > knot || (right && x == knot)) from += half;
        left -= half;
    }
    return from;
}

/* The scatter that a part belongs to, and its place there, counted from 0. */
static const pg_instr *scatter_of(const pg_instr *part) { return part - (part->dst - part->a); }
static uint32_t place_in(const pg_instr *part) { return part->dst - part->a - 1; }

static bool names(const run *r, pg_pair pair, const double *row, uint32_t place) {
    return read(r, row, pair.right) == (double)place;
}

/* From the first number to the last. */
static double value_of_part(const run *r, const pg_instr *part, const double *row) {
    const pg_instr *scatter = scatter_of(part);
    double sum = 0.0;
    bool any = false;
    for (uint32_t i = scatter->first; i < scatter->first + scatter->count; i++) {
        if (!names(r, r->p->pairs[i], row, place_in(part))) continue;
        const double number = read(r, row, r->p->pairs[i].left);
        sum = any ? sum + number : number;
        any = true;
    }
    return sum;
}

static double value_of_instr(const run *r, const pg_instr *instr, const double *row) {
    if (instr->op == PG_OP_SCATTER) return 0.0;
    if (instr->op == PG_OP_PART) return value_of_part(r, instr, row);
    if (instr->op == PG_OP_DOT) return value_of_dot(r, instr, row);
    if (instr->op == PG_OP_SEARCH) return value_of_search(r, instr, row);
    if (instr->op == PG_OP_TAKE) {
        const uint32_t index = index_of(r, instr, row);
        return index < instr->count ? entry_of(r, instr, row, index) : NAN;
    }
    const double a = read(r, row, instr->a), b = read(r, row, instr->b);
    if (instr->op != PG_OP_SELECT) return plain_value(instr->op, a, b, r->p->fast);
    const pg_pair pair = r->p->pairs[instr->first];
    return plain_compare(instr->shape, read(r, row, pair.left), read(r, row, pair.right)) ? a : b;
}

static pg_status note(pg_replay_fault *fault_ret, int64_t row, pg_status status, int op, int by,
                      double a, double b) {
    if (status == PG_OK) return PG_OK;
    if (op == PG_OP_SQUARE) op = PG_OP_POWN, b = 2.0;
    if (op == PG_OP_RECIP) op = PG_OP_POWN, b = -1.0;
    *fault_ret = (pg_replay_fault){row, {op, by, a, b}};
    return status;
}

/* What the errors are made of: b is 0 where there is none. */
static double second(const run *r, const pg_instr *instr, const double *row) {
    return plain_operands(instr->op) == 2 ? read(r, row, instr->b) : 0.0;
}

/* All values of a part. */
static void forward(run *r, double *row) {
    const size_t begin = row != NULL ? r->p->uniform_length : 0;
    const size_t end = row != NULL ? r->p->length : r->p->uniform_length;
    double *const slots = row != NULL ? row : r->uniform;
    for (size_t i = begin; i < end; i++)
        slots[r->p->code[i].dst] = value_of_instr(r, &r->p->code[i], row);
}

static void load_row(run *r, size_t number) {
    const pg_program *p = r->p;
    double *const row = r->values + number * p->row_slots;
    for (size_t i = 0; i < p->input_count; i++) row[i] = r->inputs[number * p->input_count + i];
    for (size_t i = 0; i < p->import_count; i++)
        row[p->input_count + i] = r->uniform[p->imports[i]];
}

/* ---- Which gradients are asked for ---------------------------------------------------------- */

/* A row's slot, or the uniform one that it is a copy of. */
typedef struct place {
    bool in_rows;
    uint32_t slot;
} place;

static place place_of(const run *r, bool in_rows, uint32_t slot) {
    const size_t inputs = r->p->input_count, imports = r->p->import_count;
    if (!in_rows || slot < inputs || slot >= inputs + imports) return (place){in_rows, slot};
    return (place){false, r->p->imports[slot - inputs]};
}

static bool *flag(bool *rows, bool *uniform, place at) {
    return at.in_rows ? &rows[at.slot] : &uniform[at.slot];
}

/* An operand of an instruction, and how its gradient is computed. */
typedef struct way {
    place to;
    int by; /* 1, 2: of a or b. 0, as it is; 3: times `factor`; 4: if it is entry `index`; 5: that
               of the part which the index in `factor` names; 6: only says that there is one */
    place factor;
    uint32_t index;
} way;

/* In the order in which an instruction passes its gradient on. Returns: how many ways. */
static size_t ways_of(const run *r, uint32_t number, way *ways) {
    const pg_instr *instr = &r->p->code[number];
    const bool in_rows = number >= r->p->uniform_length;
    const bool custom = instr->op == PG_OP_CUSTOM, take = instr->op == PG_OP_TAKE;
    const bool scatter = instr->op == PG_OP_SCATTER;
    size_t count = 0;
    if (instr->op == PG_OP_PART) {
        ways[0] = (way){{in_rows, instr->a}, 6, {0}, 0};
        return 1;
    }
    if (instr->op != PG_OP_DOT && !custom && !take && !scatter) {
        const pg_op_info *info = pg_op_describe(instr->op); /* NULL for what is no op */
        const int operands = instr->op == PG_OP_DETACH   ? 0
                             : instr->op == PG_OP_SEARCH ? 0
                             : instr->op == PG_OP_SELECT ? 2
                             : info != NULL              ? info->arity
                                                         : plain_operands(instr->op);
        for (int by = 1; by <= operands; by++)
            ways[count++] = (way){place_of(r, in_rows, by == 1 ? instr->a : instr->b), by, {0}, 0};
        return count;
    }
    for (uint32_t i = instr->count; i-- > 0;) {
        const pg_pair pair = r->p->pairs[instr->first + i];
        const place left = place_of(r, in_rows && !(instr->shape & PG_DOT_WEIGHTED), pair.left);
        const place right = place_of(r, in_rows, pair.right);
        const bool from_rows = in_rows && !(instr->shape & PG_DOT_UNIFORM_START);
        if (take || scatter) {
            ways[count++] = take ? (way){left, 4, {0}, i} : (way){left, 5, right, 0};
            continue;
        }
        if (i == 0 && !custom && instr->shape & PG_DOT_STARTS)
            ways[count++] = (way){place_of(r, from_rows, instr->a), 0, {0}, 0};
        ways[count++] = (way){left, 3, right, 0};
        if (!custom) ways[count++] = (way){right, 3, left, 0};
    }
    return count;
}

/* Parameters and inputs are, and what is computed from something that is. */
static void find_wanted(run *r, way *ways) {
    const pg_program *p = r->p;
    for (size_t i = 0; i < p->input_count; i++) r->wanted[i] = true;
    for (size_t i = 0; i < p->param_count; i++) r->uniform_wanted[p->constant_count + i] = true;
    for (uint32_t i = 0; i < p->length; i++) {
        const size_t count = ways_of(r, i, ways);
        bool *const own = i < p->uniform_length ? r->uniform_wanted : r->wanted;
        for (size_t k = 0; k < count; k++)
            if (*flag(r->wanted, r->uniform_wanted, ways[k].to)) own[p->code[i].dst] = true;
    }
}

/* ---- Which values a row needs --------------------------------------------------------------- */

static size_t instr_of(const run *r, place at) {
    const pg_program *p = r->p;
    return at.in_rows ? p->uniform_length + at.slot - p->input_count - p->import_count
                      : at.slot - p->constant_count - p->param_count;
}

static bool is_computed(const run *r, place at) {
    const pg_program *p = r->p;
    return at.slot >= (at.in_rows ? p->input_count : p->constant_count + p->param_count);
}

static void need(run *r, const double *row, place at);

/* Where one factor of a gate is 0, the row doesn't need the other one; a gate's first factor never
 * spares it the second. */
static void need_factors(run *r, const double *row, const pg_instr *gate, bool in_rows) {
    const bool unknown = in_rows && row == NULL, either = gate->op == PG_OP_GATE_EITHER;
    const double *const own = in_rows ? row : NULL;
    const bool a = !unknown && read(r, own, gate->a) != 0.0;
    const bool b = !unknown && read(r, own, gate->b) != 0.0;
    if (b || (either && !unknown && !a)) need(r, row, place_of(r, in_rows, gate->a));
    if (a || !either) need(r, row, place_of(r, in_rows, gate->b));
}

/* Does this dot not need the left factor of a pair, as the right one is 0, or may be? */
static bool is_shut(const run *r, const double *row, const pg_instr *dot, bool in_rows,
                    uint32_t right) {
    if (dot->op != PG_OP_DOT || !(dot->shape & PG_DOT_GATED)) return false;
    return (in_rows && row == NULL) || read(r, row, right) == 0.0;
}

/* Of a take: the index, and the entry that it names. */
static void need_entry(run *r, const double *row, const pg_instr *take, bool in_rows) {
    need(r, row, place_of(r, in_rows, take->a));
    if (in_rows && row == NULL) return;
    const uint32_t index = index_of(r, take, in_rows ? row : NULL);
    if (index == take->count) return;
    const bool weighted = take->shape & PG_DOT_WEIGHTED;
    need(r, row, place_of(r, in_rows && !weighted, r->p->pairs[take->first + index].left));
}

/* Of a part: its scatter, and with it the indices, and the numbers that are added to this part. */
static void need_summands(run *r, const double *row, const pg_instr *part, bool in_rows) {
    const pg_instr *scatter = scatter_of(part);
    need(r, row, (place){in_rows, part->a});
    for (uint32_t i = scatter->first; i < scatter->first + scatter->count; i++)
        if (!(in_rows && row == NULL) &&
            names(r, r->p->pairs[i], in_rows ? row : NULL, place_in(part)))
            need(r, row, place_of(r, in_rows, r->p->pairs[i].left));
}

/* row NULL: what a row needs, whatever it chooses. */
static void need(run *r, const double *row, place at) {
    bool *const needed = flag(r->row_needed, r->uniform_needed, at);
    if (*needed) return;
    *needed = true;
    if (!is_computed(r, at)) return;
    const pg_instr *instr = &r->p->code[instr_of(r, at)];
    const bool weighted = instr->shape & PG_DOT_WEIGHTED && instr->op != PG_OP_SELECT;
    const double *const own = at.in_rows ? row : NULL;
    if (instr->op == PG_OP_TAKE) {
        need_entry(r, row, instr, at.in_rows);
        return;
    }
    if (instr->op == PG_OP_PART) {
        need_summands(r, row, instr, at.in_rows);
        return;
    }
    for (uint32_t i = 0; i < instr->count; i++) {
        const pg_pair pair = r->p->pairs[instr->first + i];
        if (instr->op != PG_OP_SCATTER && !is_shut(r, own, instr, at.in_rows, pair.right))
            need(r, row, place_of(r, at.in_rows && !weighted, pair.left));
        need(r, row, place_of(r, at.in_rows, pair.right));
    }
    if (instr->op == PG_OP_SCATTER) return;
    if (instr->op == PG_OP_SELECT) {
        const pg_pair pair = r->p->pairs[instr->first];
        if (at.in_rows && row == NULL) return;
        const bool first =
            plain_compare(instr->shape, read(r, own, pair.left), read(r, own, pair.right));
        need(r, row, place_of(r, at.in_rows, first ? instr->a : instr->b));
    } else if (instr->op == PG_OP_GATE || instr->op == PG_OP_GATE_EITHER ||
               instr->op == PG_OP_GATE_HELD) {
        need_factors(r, row, instr, at.in_rows);
    } else if (instr->op == PG_OP_DOT) {
        const bool from_rows = at.in_rows && !(instr->shape & PG_DOT_UNIFORM_START);
        if (instr->shape & PG_DOT_STARTS) need(r, row, place_of(r, from_rows, instr->a));
    } else {
        need(r, row, place_of(r, at.in_rows, instr->a));
        if (plain_operands(instr->op) == 2) need(r, row, place_of(r, at.in_rows, instr->b));
    }
}

static void find_needed(run *r, const double *row) {
    for (size_t i = 0; i < r->p->row_slots; i++) r->row_needed[i] = false;
    for (size_t i = 0; i < r->p->uniform_slots; i++) r->uniform_needed[i] = false;
    for (size_t i = 0; i < r->p->output_count; i++)
        need(r, row, place_of(r, true, r->p->outputs[i]));
}

/* The first number whose square, of those that a dot judges, overflows; 0: there is none. */
static double overflowing(const run *r, const pg_instr *dot, const double *row) {
    for (uint32_t i = 0; dot->shape & PG_DOT_SQUARES && i < dot->count; i++) {
        const pg_pair pair = r->p->pairs[dot->first + i];
        const double x = read(r, row, pair.left);
        if (pair.left == pair.right && isfinite(x) && isinf(x * x)) return x;
    }
    return 0.0;
}

/* The first error, in the order of the code, of what this row needs. That of a uniform instruction
 * which each row needs has no row. */
static pg_status judge_values(run *r, const double *row, int64_t number,
                              pg_replay_fault *fault_ret) {
    find_needed(r, row);
    for (size_t i = 0; i < r->p->length; i++) {
        const pg_instr *instr = &r->p->code[i];
        const bool in_rows = i >= r->p->uniform_length;
        const double *const own = in_rows ? row : NULL;
        if (instr->op >= PG_OP_SELECT && instr->op != PG_OP_DOT && instr->op != PG_OP_TAKE)
            continue;
        if (!(in_rows ? r->row_needed : r->uniform_needed)[instr->dst]) continue;
        if (instr->op == PG_OP_TAKE) {
            if (index_of(r, instr, own) < instr->count) continue;
            find_needed(r, NULL);
            const bool for_all = !in_rows && r->uniform_needed[instr->dst];
            return note(fault_ret, for_all ? -1 : number, PG_ERR_DOMAIN, PG_OP_TAKE, 0,
                        read(r, own, instr->a), instr->count);
        }
        const bool dot = instr->op == PG_OP_DOT;
        const double a = dot ? overflowing(r, instr, own) : read(r, own, instr->a);
        const double b = dot ? 0.0 : second(r, instr, own);
        const double y = dot ? a * a : read(r, own, instr->dst);
        const int op = dot ? PG_OP_SQUARE : instr->op;
        const pg_status status = plain_judge_value(op, a, b, y);
        if (status == PG_OK) continue;
        find_needed(r, NULL);
        const bool of_all = !in_rows && r->uniform_needed[instr->dst];
        return note(fault_ret, of_all ? -1 : number, status, op, 0, a, b);
    }
    return PG_OK;
}

/* ---- Gradients ------------------------------------------------------------------------------ */

static double at_place(const run *r, place at, size_t row) {
    return at.in_rows ? r->values[row * r->p->row_slots + at.slot] : r->uniform[at.slot];
}

/* The derivative of an instruction by one of its operands, in a row or (NULL) the uniform part. */
static double slope_of(const run *r, const pg_instr *instr, int by, const double *row) {
    const double a = read(r, row, instr->a), b = read(r, row, instr->b);
    if (instr->op != PG_OP_SELECT)
        return plain_slope(instr->op, by, a, b, read(r, row, instr->dst), r->p->fast);
    const pg_pair pair = r->p->pairs[instr->first];
    const bool left =
        plain_compare(instr->shape, read(r, row, pair.left), read(r, row, pair.right));
    return left == (by == 1) ? 1.0 : 0.0;
}

/* The gradient of the part that an index names; 0 where it names none. */
static double of_part(const run *r, uint32_t number, way w, size_t row) {
    const pg_instr *scatter = &r->p->code[number], *part = scatter + 1;
    const bool in_rows = number >= r->p->uniform_length;
    const size_t end = in_rows ? r->p->length : r->p->uniform_length;
    for (; part < r->p->code + end && part->op == PG_OP_PART; part++)
        if (at_place(r, w.factor, row) == (double)place_in(part))
            return in_rows ? r->grads[row * r->p->row_slots + part->dst]
                           : r->uniform_grads[part->dst];
    return 0.0;
}

static double passed_on(const run *r, uint32_t number, way w, size_t row) {
    if (w.by == 6) return 0.0;
    if (w.by == 5) return of_part(r, number, w, row);
    const pg_instr *instr = &r->p->code[number];
    const bool in_rows = number >= r->p->uniform_length;
    const double g =
        in_rows ? r->grads[row * r->p->row_slots + instr->dst] : r->uniform_grads[instr->dst];
    if (w.by == 0) return g;
    if (w.by == 4) {
        const double *const own = in_rows ? r->values + row * r->p->row_slots : NULL;
        return index_of(r, instr, own) == w.index ? g : 0.0;
    }
    const double slope =
        w.by == 3 ? at_place(r, w.factor, row)
                  : slope_of(r, instr, w.by, in_rows ? r->values + row * r->p->row_slots : NULL);
    return !in_rows && r->touched[instr->dst] ? slope * g : plain_product(slope, g);
}

/* The sum that a row's contribution to this slot belongs to: the slot's first, as long as nothing
 * else was added to it, or one of its own. */
static size_t sum_for(run *r, uint32_t slot) {
    size_t *held = &r->held[slot];
    if (*held < r->sum_count) return *held;
    if (*held == NOTHING) *held = r->sum_count;
    r->events[r->event_count++] = (event){true, slot, 0, r->sum_count};
    return r->sum_count++;
}

static void put_aside(run *r, uint32_t number, way w) {
    contribution *c = &r->contributions[r->contribution_count++];
    *c = (contribution){sum_for(r, w.to.slot), must_alloc(r->rows, sizeof(double))};
    r->uniform_reached[w.to.slot] = true;
    for (size_t row = 0; row < r->rows; row++) c->rows[row] = passed_on(r, number, w, row);
}

static void give(run *r, uint32_t number, way w) {
    if (!*flag(r->wanted, r->uniform_wanted, w.to)) return;
    if (!w.to.in_rows) {
        put_aside(r, number, w);
        return;
    }
    for (size_t row = 0; row < r->rows; row++) {
        double *grad = &r->grads[row * r->p->row_slots + w.to.slot];
        *grad = (r->reached[w.to.slot] ? *grad : 0.0) + passed_on(r, number, w, row);
    }
    r->reached[w.to.slot] = true;
}

/* The uniform part's turn comes when all rows are done; what it will reach is clear already. */
static void plan_uniform(run *r, uint32_t number, const way *ways, size_t count) {
    for (size_t k = 0; k < count; k++) {
        const uint32_t slot = ways[k].to.slot;
        if (r->uniform_wanted[slot]) r->held[slot] = A_MIXTURE;
        if (r->uniform_wanted[slot]) r->uniform_reached[slot] = true;
    }
    r->events[r->event_count++] = (event){false, 0, number, 0};
}

static void backward_rows(run *r, size_t output, way *ways) {
    const pg_program *p = r->p;
    r->reached[p->outputs[output]] = true;
    for (size_t row = 0; row < r->rows; row++)
        r->grads[row * p->row_slots + p->outputs[output]] = 1.0;
    for (size_t i = p->order_counts[output]; i-- > 0;) {
        const uint32_t number = p->orders[output][i], dst = p->code[number].dst;
        const size_t count = ways_of(r, number, ways);
        if (number < p->uniform_length) {
            if (r->uniform_reached[dst] && r->uniform_wanted[dst])
                plan_uniform(r, number, ways, count);
            continue;
        }
        for (size_t k = 0; r->reached[dst] && k < count; k++) give(r, number, ways[k]);
    }
}

/* ---- Sums over rows ------------------------------------------------------------------------- */

static size_t lanes_for(const run *r, size_t left) {
    const size_t widest = r->p->row_slots <= 8192 ? 32 : 8;
    return left == 1 ? 1 : left >= widest ? widest : 8;
}

/* Of several contributions to a sum, each block adds one after the other; each row by row. */
static double sum_over_rows(const run *r, const contribution *all, size_t count, size_t sum) {
    double total = 0.0;
    for (size_t row = 0; row < r->rows;) {
        const size_t left = r->rows - row, lanes = lanes_for(r, left);
        const size_t active = left < lanes ? left : lanes;
        for (size_t i = 0; i < count; i++)
            for (size_t l = 0; all[i].sum == sum && l < active; l++) total += all[i].rows[row + l];
        row += active;
    }
    return total;
}

static double total_of(const run *r, size_t output) {
    contribution c = {0, must_alloc(r->rows, sizeof(double))};
    for (size_t row = 0; row < r->rows; row++)
        c.rows[row] = r->values[row * r->p->row_slots + r->p->outputs[output]];
    const double total = sum_over_rows(r, &c, 1, 0);
    free(c.rows);
    return total;
}

static void add_uniform(run *r, uint32_t slot, double amount) {
    r->uniform_grads[slot] = (r->uniform_reached[slot] ? r->uniform_grads[slot] : 0.0) + amount;
    r->uniform_reached[slot] = true;
}

/* What one row has for this sum. */
static double sum_of_row(const run *r, size_t sum, size_t row) {
    double own = 0.0;
    for (size_t i = 0; i < r->contribution_count; i++)
        if (r->contributions[i].sum == sum) own += r->contributions[i].rows[row];
    return own;
}

/* With what all rows have, or with what one has. */
static void run_events(run *r, way *ways, const size_t *row) {
    for (size_t i = 0; i < r->p->uniform_slots; i++) r->uniform_reached[i] = false;
    for (size_t i = 0; i < r->event_count; i++) {
        const event *e = &r->events[i];
        if (e->is_sum) {
            add_uniform(r, e->slot,
                        row != NULL
                            ? sum_of_row(r, e->sum, *row)
                            : sum_over_rows(r, r->contributions, r->contribution_count, e->sum));
            continue;
        }
        const size_t count = ways_of(r, e->instr, ways);
        for (size_t k = 0; k < count; k++)
            if (r->uniform_wanted[ways[k].to.slot])
                add_uniform(r, ways[k].to.slot, passed_on(r, e->instr, ways[k], 0));
    }
}

/* A slot that one row brings a gradient to is touched, though the rows' sum may be 0. */
static void backward_uniform(run *r, way *ways) {
    bool *const touched = must_alloc(r->p->uniform_slots, sizeof *touched);
    for (size_t i = 0; i < r->p->uniform_slots; i++) r->touched[i] = false;
    for (size_t row = 0; row < r->rows; row++) {
        run_events(r, ways, &row);
        for (size_t i = 0; i < r->p->uniform_slots; i++)
            if (r->uniform_reached[i] && r->uniform_grads[i] != 0.0) touched[i] = true;
    }
    for (size_t i = 0; i < r->p->uniform_slots; i++) r->touched[i] = touched[i];
    free(touched);
    run_events(r, ways, NULL);
}

/* ---- Errors of derivatives ------------------------------------------------------------------ */

/* The first derivative of this instruction that is an error; only those are looked at that somebody
 * asks for, and that a gradient comes to. */
static pg_status judge_slopes(const run *r, uint32_t number, const way *ways, size_t count,
                              const double *row, int64_t row_number, pg_replay_fault *fault_ret) {
    const pg_instr *instr = &r->p->code[number];
    const double g = row != NULL ? r->grads[(size_t)row_number * r->p->row_slots + instr->dst]
                                 : r->uniform_grads[instr->dst];
    pg_status status = PG_OK;
    if (g == 0.0 && (row != NULL || !r->touched[instr->dst])) return PG_OK;
    for (size_t k = 0; status == PG_OK && k < count; k++) {
        const int by = ways[k].by;
        if (by == 0 || by >= 3 || instr->op == PG_OP_SELECT) continue;
        if (!*flag(r->wanted, r->uniform_wanted, ways[k].to)) continue;
        const double a = read(r, row, instr->a), b = second(r, instr, row);
        const double slope = slope_of(r, instr, by, row), y = read(r, row, instr->dst);
        status = note(fault_ret, row_number, plain_judge_slope(instr->op, a, b, y, slope),
                      instr->op, by, a, b);
    }
    return status;
}

static pg_status judge_row(const run *r, size_t output, size_t row, way *ways,
                           pg_replay_fault *fault_ret) {
    const pg_program *p = r->p;
    pg_status status = PG_OK;
    for (size_t i = p->order_counts[output]; status == PG_OK && i-- > 0;) {
        const uint32_t number = p->orders[output][i];
        if (number < p->uniform_length || !r->reached[p->code[number].dst]) continue;
        const size_t count = ways_of(r, number, ways);
        status = judge_slopes(r, number, ways, count, r->values + row * p->row_slots, (int64_t)row,
                              fault_ret);
    }
    return status;
}

static pg_status judge_uniform(const run *r, way *ways, pg_replay_fault *fault_ret) {
    pg_status status = PG_OK;
    for (size_t i = 0; status == PG_OK && i < r->event_count; i++) {
        if (r->events[i].is_sum) continue;
        const size_t count = ways_of(r, r->events[i].instr, ways);
        status = judge_slopes(r, r->events[i].instr, ways, count, NULL, -1, fault_ret);
    }
    return status;
}

/* ---- All of it ------------------------------------------------------------------------------ */

static void forget_output(run *r) {
    for (size_t i = 0; i < r->rows * r->p->row_slots; i++) r->grads[i] = 0.0;
    for (size_t i = 0; i < r->p->row_slots; i++) r->reached[i] = false;
    for (size_t i = 0; i < r->p->uniform_slots; i++) {
        r->uniform_grads[i] = 0.0;
        r->uniform_reached[i] = false;
        r->held[i] = NOTHING;
    }
    while (r->contribution_count > 0) free(r->contributions[--r->contribution_count].rows);
    r->sum_count = r->event_count = 0;
}

static void store_output(const run *r, plain_results *results, size_t output) {
    const pg_program *p = r->p;
    for (size_t row = 0; row < r->rows; row++) {
        const size_t at = row * p->output_count + output;
        results->outputs[at] = r->values[row * p->row_slots + p->outputs[output]];
        for (size_t i = 0; i < p->input_count; i++)
            results->gradients[at * p->input_count + i] = r->grads[row * p->row_slots + i];
    }
    results->totals[output] = total_of(r, output);
    for (size_t i = 0; i < p->param_count; i++)
        results->sums[output * p->param_count + i] = r->uniform_grads[p->constant_count + i];
}

/* Rows fail one after the other: first a value, then the derivatives of each output in turn. What
 * depends on parameters only comes before the rows, and its derivatives after them. */
static void run_rows(run *r, plain_results *results, way *ways) {
    pg_status late = PG_OK;
    pg_replay_fault late_fault = {0};
    size_t sound = r->rows; /* rows before this one have no error yet */
    for (size_t row = 0; row < r->rows; row++) {
        pg_replay_fault fault = {0};
        load_row(r, row);
        double *const values = r->values + row * r->p->row_slots;
        forward(r, values);
        pg_status status = sound == r->rows ? judge_values(r, values, (int64_t)row, &fault) : PG_OK;
        if (status == PG_OK) continue;
        *results = (plain_results){
            results->outputs, results->gradients, results->totals, results->sums, status, fault};
        sound = row;
    }
    for (size_t output = 0; output < r->p->output_count; output++) {
        forget_output(r);
        backward_rows(r, output, ways);
        for (size_t row = 0; row < sound; row++) {
            pg_status status = judge_row(r, output, row, ways, &results->fault);
            if (status == PG_OK) continue;
            results->status = status;
            sound = row;
        }
        backward_uniform(r, ways);
        if (late == PG_OK) late = judge_uniform(r, ways, &late_fault);
        store_output(r, results, output);
    }
    if (results->status != PG_OK || late == PG_OK) return;
    results->status = late;
    results->fault = late_fault;
}

static plain_results new_results(const pg_program *p, size_t rows) {
    return (plain_results){
        .outputs = must_alloc(rows * p->output_count, sizeof(double)),
        .gradients = must_alloc(rows * p->output_count * p->input_count, sizeof(double)),
        .totals = must_alloc(p->output_count, sizeof(double)),
        .sums = must_alloc(p->output_count * p->param_count, sizeof(double)),
    };
}

void plain_results_free(plain_results *results) {
    free(results->outputs);
    free(results->gradients);
    free(results->totals);
    free(results->sums);
}

static run new_run(const pg_program *p, const double *inputs, size_t rows) {
    const size_t most = 2 * (p->pair_count + p->length) + p->length;
    return (run){.p = p,
                 .inputs = inputs,
                 .rows = rows,
                 .uniform = must_alloc(p->uniform_slots, sizeof(double)),
                 .values = must_alloc(rows * p->row_slots, sizeof(double)),
                 .grads = must_alloc(rows * p->row_slots, sizeof(double)),
                 .uniform_grads = must_alloc(p->uniform_slots, sizeof(double)),
                 .reached = must_alloc(p->row_slots, sizeof(bool)),
                 .uniform_reached = must_alloc(p->uniform_slots, sizeof(bool)),
                 .wanted = must_alloc(p->row_slots, sizeof(bool)),
                 .uniform_wanted = must_alloc(p->uniform_slots, sizeof(bool)),
                 .touched = must_alloc(p->uniform_slots, sizeof(bool)),
                 .row_needed = must_alloc(p->row_slots, sizeof(bool)),
                 .uniform_needed = must_alloc(p->uniform_slots, sizeof(bool)),
                 .held = must_alloc(p->uniform_slots, sizeof(size_t)),
                 .contributions = must_alloc(most, sizeof(contribution)),
                 .events = must_alloc(most, sizeof(event))};
}

static void run_free(run *r) {
    forget_output(r);
    void *const blocks[] = {r->uniform,    r->values,          r->grads,  r->uniform_grads,
                            r->reached,    r->uniform_reached, r->wanted, r->uniform_wanted,
                            r->held,       r->contributions,   r->events, r->touched,
                            r->row_needed, r->uniform_needed};
    for (size_t i = 0; i < LENGTH(blocks); i++) free(blocks[i]);
}

plain_results plain_replay(const pg_program *program, const double *params, const double *inputs,
                           size_t rows) {
    plain_results results = new_results(program, rows);
    run r = new_run(program, inputs, rows);
    way *ways = must_alloc(2 * program->pair_count + 3, sizeof *ways);
    for (size_t i = 0; i < program->constant_count; i++) r.uniform[i] = program->constants[i];
    for (size_t i = 0; i < program->param_count; i++)
        r.uniform[program->constant_count + i] = params[i];
    forward(&r, NULL);
    find_wanted(&r, ways);
    if (rows > 0) run_rows(&r, &results, ways);
    free(ways);
    run_free(&r);
    return results;
}
