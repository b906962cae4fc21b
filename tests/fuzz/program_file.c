/* program_file.c - bytes to program_file and back, as program_bytes.c's head describes them. */
#include "program_file.h"

#include "base/bytes.h"

/* ---- Slots ---------------------------------------------------------------------------------- */

/* Kinds follow each other in a part: how many there are of each. */
static void counts_of(const program_file *f, bool in_rows, uint32_t counts[3]) {
    counts[0] = in_rows ? f->inputs : f->constants;
    counts[1] = in_rows ? f->imports : f->params;
    counts[2] = in_rows ? f->instrs - f->uniform : f->uniform;
}

static slot slot_of(const program_file *f, bool in_rows, uint32_t number) {
    uint32_t counts[3], rest = number;
    counts_of(f, in_rows, counts);
    for (int i = 0; i < 3; rest -= counts[i++])
        if (rest < counts[i]) return (slot){(slot_kind)(in_rows ? IN_INPUT + i : i), rest};
    return (slot){IN_NONE, number};
}

static uint32_t number_of(const program_file *f, slot s) {
    if (s.kind == IN_NONE) return s.index;
    uint32_t counts[3], number = s.index;
    const bool in_rows = s.kind >= IN_INPUT;
    counts_of(f, in_rows, counts);
    for (int i = (int)s.kind - (in_rows ? IN_INPUT : 0); i-- > 0;) number += counts[i];
    return number;
}

/* ---- Reading -------------------------------------------------------------------------------- */

static bool read_names(program_file *f, pg_reader *r, const uint8_t *bytes, size_t count) {
    for (uint32_t i = pg_get_u32(r); i > 0 && !r->failed; i--) {
        const size_t length = (size_t)pg_get(r, 1);
        for (size_t k = 0; k < length; k++) (void)pg_get(r, 1);
    }
    f->name_bytes = count - r->left;
    if (r->failed || f->name_bytes > MOST_NAMES) return false;
    memcpy(f->names, bytes, f->name_bytes);
    return true;
}

static bool read_counts(program_file *f, pg_reader *r) {
    f->constants = pg_get_u32(r);
    f->params = pg_get_u32(r);
    f->inputs = pg_get_u32(r);
    f->imports = pg_get_u32(r);
    f->uniform = pg_get_u32(r);
    f->instrs = pg_get_u32(r);
    f->pairs = pg_get_u32(r);
    f->outputs = pg_get_u32(r);
    f->fast = pg_get_u32(r);
    return !r->failed && f->constants < MOST_GIVEN && f->params < MOST_GIVEN &&
           f->inputs < MOST_GIVEN && f->imports < MOST_GIVEN && f->instrs < MOST_INSTRS &&
           f->uniform <= f->instrs && f->pairs < MOST_PAIRS && f->outputs < MOST_ENDS;
}

static void read_instr(program_file *f, pg_reader *r, uint32_t number) {
    file_instr *instr = &f->instr[number];
    const bool in_rows = number >= f->uniform;
    instr->op = (uint8_t)pg_get(r, 1);
    instr->shape = (uint8_t)pg_get(r, 1);
    const bool from_uniform = instr->op == PG_OP_DOT && instr->shape & PG_DOT_UNIFORM_START;
    instr->a = slot_of(f, in_rows && !from_uniform, pg_get_u32(r));
    instr->b = slot_of(f, in_rows, pg_get_u32(r));
    instr->first = pg_get_u32(r);
    instr->count = pg_get_u32(r);
}

/* A pair belongs to the part of the instruction that reads it. */
static void read_pairs(program_file *f, pg_reader *r) {
    for (uint32_t i = 0; i < f->pairs; i++) {
        const uint32_t left = pg_get_u32(r), right = pg_get_u32(r);
        f->pair[i] = (slot_pair){{IN_NONE, left}, {IN_NONE, right}};
    }
    for (uint32_t i = 0; i < f->instrs; i++) {
        const file_instr *instr = &f->instr[i];
        const bool in_rows = i >= f->uniform;
        const bool weighted = may_be_weighted(instr->op) && instr->shape & PG_DOT_WEIGHTED;
        for (uint32_t k = instr->first; k < f->pairs && k - instr->first < instr->count; k++) {
            slot_pair *pair = &f->pair[k];
            if (pair->left.kind == IN_NONE)
                pair->left = slot_of(f, in_rows && !weighted, pair->left.index);
            if (pair->right.kind == IN_NONE) pair->right = slot_of(f, in_rows, pair->right.index);
        }
    }
}

static bool read_outputs(program_file *f, pg_reader *r) {
    for (uint32_t i = 0; i < f->outputs; i++) f->output[i] = slot_of(f, true, pg_get_u32(r));
    for (uint32_t i = 0; i < f->outputs; i++) {
        f->order_count[i] = pg_get_u32(r);
        if (f->order_count[i] >= MOST_INSTRS) return false;
        for (uint32_t k = 0; k < f->order_count[i]; k++) f->order[i][k] = pg_get_u32(r);
    }
    return !r->failed;
}

bool file_parse(program_file *f, const uint8_t *bytes, size_t count) {
    pg_reader r = {bytes, count, false};
    *f = (program_file){0};
    if (!read_names(f, &r, bytes, count) || !read_counts(f, &r)) return false;
    for (uint32_t i = 0; i < f->constants; i++) f->constant[i] = pg_get_double(&r);
    for (uint32_t i = 0; i < f->imports; i++) f->import[i] = slot_of(f, false, pg_get_u32(&r));
    for (uint32_t i = 0; i < f->instrs; i++) read_instr(f, &r, i);
    read_pairs(f, &r);
    return read_outputs(f, &r);
}

/* ---- Writing -------------------------------------------------------------------------------- */

static void write_all(const program_file *f, pg_writer *w) {
    for (size_t i = 0; i < f->name_bytes; i++) pg_put(w, f->names[i], 1);
    const uint32_t counts[] = {f->constants, f->params, f->inputs,  f->imports, f->uniform,
                               f->instrs,    f->pairs,  f->outputs, f->fast};
    for (size_t i = 0; i < LENGTH(counts); i++) pg_put_u32(w, counts[i]);
    for (uint32_t i = 0; i < f->constants; i++) pg_put_double(w, f->constant[i]);
    for (uint32_t i = 0; i < f->imports; i++) pg_put_u32(w, number_of(f, f->import[i]));
    for (uint32_t i = 0; i < f->instrs; i++) {
        const file_instr *instr = &f->instr[i];
        pg_put(w, instr->op, 1);
        pg_put(w, instr->shape, 1);
        pg_put_u32(w, number_of(f, instr->a));
        pg_put_u32(w, number_of(f, instr->b));
        pg_put_u32(w, instr->first);
        pg_put_u32(w, instr->count);
    }
    for (uint32_t i = 0; i < f->pairs; i++) {
        pg_put_u32(w, number_of(f, f->pair[i].left));
        pg_put_u32(w, number_of(f, f->pair[i].right));
    }
    for (uint32_t i = 0; i < f->outputs; i++) pg_put_u32(w, number_of(f, f->output[i]));
    for (uint32_t i = 0; i < f->outputs; i++) {
        pg_put_u32(w, f->order_count[i]);
        for (uint32_t k = 0; k < f->order_count[i]; k++) pg_put_u32(w, f->order[i][k]);
    }
}

size_t file_write(const program_file *f, uint8_t *bytes_ret, size_t most) {
    pg_writer counter = {NULL, 0}, w = {bytes_ret, 0};
    write_all(f, &counter);
    if (counter.count > most) return 0;
    write_all(f, &w);
    return w.count;
}
