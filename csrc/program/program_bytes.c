/* program_bytes.c - program to bytes and back.
 *
 * Numbers are little-endian; ops are stored by name, so that a table with more ops reads old files.
 *
 *   the ops' names (op_names.c)                      that `op` counts through
 *   u32 constants, params, inputs, imports, uniform instrs, instrs, pairs, outputs, fast
 *   f64 constants[];  u32 imports[]
 *   instrs[]: u8 op, u8 shape, u32 a, b, first, count
 *   pairs[]: u32 left, right;  u32 outputs[]
 *   for each output: u32 length, u32 order[]
 *
 * Invariant: any input yields a sound program or an error. An array is allocated only if the bytes
 * left can hold as many elements, and the whole program is validated before it is returned.
 * The caller owns the program. Cost: O(bytes); an order is validated in O(its pairs). */
#include "base/bytes.h"
#include "program/program.h"
#include "program/verify_program.h"

#include <string.h>

enum { instr_bytes = 2 + 4 * 4 };

/* ---- Writing --------------------------------------------------------------------------------- */

size_t pg_program_write(const pg_program *p, uint8_t *bytes_ret) {
    pg_writer w = {bytes_ret, 0};
    pg_put_names(&w, NULL);
    const size_t counts[] = {p->constant_count, p->param_count,    p->input_count,
                             p->import_count,   p->uniform_length, p->length,
                             p->pair_count,     p->output_count,   (size_t)p->fast};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) pg_put_u32(&w, counts[i]);
    for (size_t i = 0; i < p->constant_count; i++) pg_put_double(&w, p->constants[i]);
    for (size_t i = 0; i < p->import_count; i++) pg_put_u32(&w, p->imports[i]);
    for (size_t i = 0; i < p->length; i++) {
        const pg_instr *instr = &p->code[i];
        pg_put(&w, instr->op, 1);
        pg_put(&w, instr->shape, 1);
        pg_put_u32(&w, instr->a);
        pg_put_u32(&w, instr->b);
        pg_put_u32(&w, instr->first);
        pg_put_u32(&w, instr->count);
    }
    for (size_t i = 0; i < p->pair_count; i++) {
        pg_put_u32(&w, p->pairs[i].left);
        pg_put_u32(&w, p->pairs[i].right);
    }
    for (size_t i = 0; i < p->output_count; i++) pg_put_u32(&w, p->outputs[i]);
    for (size_t i = 0; i < p->output_count; i++) {
        pg_put_u32(&w, p->order_counts[i]);
        for (size_t k = 0; k < p->order_counts[i]; k++) pg_put_u32(&w, p->orders[i][k]);
    }
    return w.count;
}

/* ---- Checking -------------------------------------------------------------------------------- */

/* Are the pairs' right slots, and their left ones below `lefts`, written before they are read? */
static bool pairs_are_sound(const pg_program *p, const pg_instr *instr, size_t lefts) {
    for (uint32_t i = 0; i < instr->count; i++) {
        const pg_pair pair = p->pairs[instr->first + i];
        if (pair.left >= lefts || pair.right >= instr->dst) return false;
    }
    return true;
}

static bool dot_is_sound(const pg_program *p, const pg_instr *dot, bool in_rows) {
    const int known =
        PG_DOT_STARTS | PG_DOT_UNIFORM_START | PG_DOT_WEIGHTED | PG_DOT_SQUARES | PG_DOT_GATED;
    const bool weighted = dot->shape & PG_DOT_WEIGHTED;
    const bool uniform_start = dot->shape & PG_DOT_UNIFORM_START;
    if ((dot->shape & ~known) != 0 || dot->count == 0) return false;
    if (!in_rows && (weighted || uniform_start)) return false;
    if ((dot->shape & PG_DOT_SQUARES) && (weighted || (dot->shape & PG_DOT_GATED))) return false;
    if (uniform_start && !(dot->shape & PG_DOT_STARTS)) return false;
    if ((dot->shape & PG_DOT_STARTS) && dot->a >= (uniform_start ? p->uniform_slots : dot->dst))
        return false;
    return pairs_are_sound(p, dot, weighted ? p->uniform_slots : dot->dst);
}

static bool lookup_is_sound(const pg_program *p, const pg_instr *instr, bool in_rows) {
    const int known = PG_DOT_WEIGHTED | (instr->op == PG_OP_SEARCH ? PG_SEARCH_RIGHT : 0);
    const bool weighted = instr->shape & PG_DOT_WEIGHTED;
    if ((instr->shape & ~known) != 0 || instr->count == 0 || (weighted && !in_rows)) return false;
    for (uint32_t i = 0; i < instr->count; i++)
        if (p->pairs[instr->first + i].right != instr->a) return false;
    return pairs_are_sound(p, instr, weighted ? p->uniform_slots : instr->dst);
}

/* Does this instruction, in one section with the one before it, extend a scatter's run? */
static bool follows_scatter(const pg_instr *part) {
    const pg_instr *before = part - 1;
    return before->op == PG_OP_SCATTER ? part->a == before->dst
                                       : before->op == PG_OP_PART && part->a == before->a;
}

/* A scatter has parts, and a part is directly behind its scatter's others. */
static bool parts_are_sound(const pg_program *p, size_t number) {
    const pg_instr *instr = &p->code[number];
    const bool first = number == 0 || number == p->uniform_length;
    const bool last = number + 1 == p->length || number + 1 == p->uniform_length;
    if (instr->op == PG_OP_SCATTER && (last || instr[1].op != PG_OP_PART)) return false;
    return instr->op != PG_OP_PART || (!first && follows_scatter(instr));
}

static bool instr_is_sound(const pg_program *p, const pg_instr *instr, bool in_rows) {
    const pg_instr_info *info = pg_instr_describe(instr->op);
    if (info == NULL) return false;
    if (instr->first > p->pair_count || instr->count > p->pair_count - instr->first) return false;
    if (instr->op == PG_OP_DOT) return dot_is_sound(p, instr, in_rows);
    if (instr->a >= instr->dst || instr->b >= instr->dst) return false;
    if (pg_is_lookup(instr->op)) return lookup_is_sound(p, instr, in_rows);
    if (!pairs_are_sound(p, instr, instr->dst)) return false;
    if (info->pairs == PG_PAIRS_SOME) return instr->shape == 0 && instr->count > 0;
    if (info->pairs == PG_PAIRS_NONE) return instr->count == 0;
    return instr->count == 1 && instr->shape < PG_COMPARE_COUNT;
}

/* Does this slot, an operand that receives a gradient, come before its user in the order? `seen`
 * marks the instructions that do; inputs, parameters and constants always do. */
static bool comes_before(const pg_program *p, const uint8_t *seen, bool in_rows, uint32_t slot) {
    if (in_rows && pg_import_of(p, slot) != PG_NO_VALUE) {
        slot = pg_import_of(p, slot);
        in_rows = false;
    }
    const size_t given =
        in_rows ? p->input_count + p->import_count : p->constant_count + p->param_count;
    if (slot < given) return true;
    return seen[slot - given + (in_rows ? p->uniform_length : 0)] != 0;
}

static bool operands_come_before(const pg_program *p, const uint8_t *seen, uint32_t number) {
    const pg_instr *instr = &p->code[number];
    const bool in_rows = number >= p->uniform_length;
    if (pg_instr_describe(instr->op)->pairs_receive) {
        const bool start_in_rows = in_rows && !(instr->shape & PG_DOT_UNIFORM_START);
        if ((instr->shape & PG_DOT_STARTS) && !comes_before(p, seen, start_in_rows, instr->a))
            return false;
        for (uint32_t i = 0; i < instr->count; i++) {
            const pg_pair pair = p->pairs[instr->first + i];
            const bool left_in_rows = in_rows && !(instr->shape & PG_DOT_WEIGHTED);
            if (!comes_before(p, seen, left_in_rows, pair.left) ||
                (instr->op == PG_OP_DOT && !comes_before(p, seen, in_rows, pair.right)))
                return false;
        }
        return true;
    }
    const int operands = pg_instr_describe(instr->op)->receivers;
    return (operands < 1 || comes_before(p, seen, in_rows, instr->a)) &&
           (operands < 2 || comes_before(p, seen, in_rows, instr->b));
}

static bool order_is_sound(const pg_program *p, uint8_t *seen, size_t output) {
    bool sound = true;
    size_t i = 0;
    for (; sound && i < p->order_counts[output]; i++) {
        const uint32_t number = p->orders[output][i];
        sound = number < p->length && !seen[number] && operands_come_before(p, seen, number);
        if (sound) seen[number] = 1;
    }
    while (i-- > 0)
        if (p->orders[output][i] < p->length) seen[p->orders[output][i]] = 0;
    return sound;
}

bool pg_program_is_sound(const pg_program *p, uint8_t *seen) {
    memset(seen, 0, p->length);
    for (size_t i = 0; i < p->import_count; i++)
        if (p->imports[i] >= p->uniform_slots) return false;
    size_t pairs = 0; /* shared ones would let a small file cost any amount of work */
    for (size_t i = 0; i < p->length; i++) {
        if (!instr_is_sound(p, &p->code[i], i >= p->uniform_length)) return false;
        if (!parts_are_sound(p, i)) return false;
        pairs += p->code[i].count;
    }
    if (pairs > p->pair_count) return false;
    for (size_t i = 0; i < p->output_count; i++)
        if (p->outputs[i] >= p->row_slots || pg_import_of(p, p->outputs[i]) != PG_NO_VALUE ||
            !order_is_sound(p, seen, i))
            return false;
    return true;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void get_counts(pg_reader *r, pg_program *p) {
    enum { most = 0x3fffffff }; /* so that slot numbers, sums of three counts, stay in 32 bits */
    size_t *const counts[] = {&p->constant_count, &p->param_count,    &p->input_count,
                              &p->import_count,   &p->uniform_length, &p->length,
                              &p->pair_count,     &p->output_count};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        *counts[i] = pg_get_u32(r);
        if (*counts[i] > most) r->failed = true;
    }
    p->fast = pg_get_u32(r) != 0;
    if (p->uniform_length > p->length) r->failed = true;
    if (r->failed) return;
    p->uniform_slots = p->constant_count + p->param_count + p->uniform_length;
    p->row_slots = p->input_count + p->import_count + (p->length - p->uniform_length);
}

/* The slot that instruction i writes. */
static uint32_t result_slot(const pg_program *p, size_t i) {
    return (uint32_t)(i < p->uniform_length
                          ? p->constant_count + p->param_count + i
                          : p->input_count + p->import_count + (i - p->uniform_length));
}

static pg_status get_code(pg_reader *r, pg_program *p, const uint8_t numbers[256]) {
    p->constants = pg_alloc_read(r, p->constant_count, 8, sizeof *p->constants);
    for (size_t i = 0; p->constants != NULL && i < p->constant_count; i++)
        p->constants[i] = pg_get_double(r);
    p->imports = pg_alloc_read(r, p->import_count, 4, sizeof *p->imports);
    for (size_t i = 0; p->imports != NULL && i < p->import_count; i++)
        p->imports[i] = pg_get_u32(r);
    p->code = pg_alloc_read(r, p->length, instr_bytes, sizeof *p->code);
    for (size_t i = 0; p->code != NULL && i < p->length; i++) {
        pg_instr *instr = &p->code[i];
        instr->op = numbers[pg_get(r, 1)];
        instr->shape = (uint8_t)pg_get(r, 1);
        instr->dst = result_slot(p, i);
        instr->a = pg_get_u32(r);
        instr->b = pg_get_u32(r);
        instr->first = pg_get_u32(r);
        instr->count = pg_get_u32(r);
    }
    p->pairs = pg_alloc_read(r, p->pair_count, 8, sizeof *p->pairs);
    for (size_t i = 0; p->pairs != NULL && i < p->pair_count; i++) {
        p->pairs[i].left = pg_get_u32(r);
        p->pairs[i].right = pg_get_u32(r);
    }
    if (r->failed) return PG_ERR_BAD_FILE;
    return p->constants && p->imports && p->code && p->pairs ? PG_OK : PG_ERR_NOMEM;
}

static pg_status get_outputs(pg_reader *r, pg_program *p) {
    const size_t count = p->output_count;
    p->output_count = 0; /* for pg_program_free: the outputs that have an order so far */
    p->outputs = pg_alloc_read(r, count, 4, sizeof *p->outputs);
    p->orders = pg_alloc_read(r, count, 4, sizeof *p->orders);
    p->order_counts = pg_alloc_read(r, count, 4, sizeof *p->order_counts);
    if (r->failed) return PG_ERR_BAD_FILE;
    if (!p->outputs || !p->orders || !p->order_counts) return PG_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) p->outputs[i] = pg_get_u32(r);
    for (size_t i = 0; i < count; i++) {
        p->order_counts[i] = pg_get_u32(r);
        p->orders[i] = pg_alloc_read(r, p->order_counts[i], 4, sizeof **p->orders);
        if (r->failed) return PG_ERR_BAD_FILE;
        if (p->orders[i] == NULL) return PG_ERR_NOMEM;
        p->output_count++;
        for (size_t k = 0; k < p->order_counts[i]; k++) p->orders[i][k] = pg_get_u32(r);
    }
    return r->failed || r->left != 0 ? PG_ERR_BAD_FILE : PG_OK;
}

static pg_status read_all(pg_reader *r, pg_program *p) {
    uint8_t numbers[256];
    pg_get_names(r, numbers);
    get_counts(r, p);
    if (r->failed) return PG_ERR_BAD_FILE;
    pg_status status = get_code(r, p, numbers);
    if (status == PG_OK) status = get_outputs(r, p);
    if (status != PG_OK) return status;
    uint8_t *seen = pg_realloc(NULL, p->length, 1);
    if (seen == NULL) return PG_ERR_NOMEM;
    status = pg_program_is_sound(p, seen) ? PG_OK : PG_ERR_BAD_FILE;
    pg_free(seen);
    return status == PG_OK ? pg_mark_runs(p) : status;
}

pg_status pg_program_read(pg_program **program_ret, const uint8_t *bytes, size_t count) {
    pg_program *program = pg_zeroed(1, sizeof *program);
    if (program == NULL) return PG_ERR_NOMEM;
    pg_reader r = {bytes, count, false};
    pg_status status = read_all(&r, program);
    if (status == PG_OK) PG_CHECK_PROGRAM(program);
    if (status == PG_OK) *program_ret = program;
    else pg_program_free(program);
    return status;
}
