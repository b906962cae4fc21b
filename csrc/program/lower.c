/* lower.c - tape to program: values get slots, and the uniform and the row section are laid out.
 * Owns its scratch. Cost: O(values + pairs + orders). */
#include "program/program.h"
#include "program/verify_program.h"
#include "record/verify_tape.h"

typedef struct lowering {
    const pg_tape *tape;
    pg_program *program;
    uint32_t *slot;    /* of each value, in its own section; of a parameter, at first its number */
    uint32_t *import;  /* of each uniform value: the row slot it is broadcast to, or PG_NO_VALUE */
    uint32_t *instr;   /* of each op: its instruction */
    uint32_t numbered; /* parameters */
} lowering;

static bool is_uniform(const lowering *l, uint32_t value) {
    return l->tape->values[value].uniform != 0;
}

static void want_import(lowering *l, uint32_t value) {
    if (value != PG_NO_VALUE && is_uniform(l, value)) l->import[value] = 0;
}

/* The imports of an op over rows: uniform values that it reads lane by lane. A dot reads a uniform
 * start, and the weights of weighted pairs, as single numbers; a lookup, a table that is all
 * uniform. */
static void want_imports(lowering *l, const pg_value *value) {
    if (value->op != PG_OP_DOT) {
        want_import(l, value->a);
        want_import(l, value->b);
    }
    if (value->count == 0 || pg_is_weighted(l->tape, value)) return;
    for (uint32_t k = 0; k < value->count; k++) {
        want_import(l, l->tape->pairs[value->first + k].left);
        want_import(l, l->tape->pairs[value->first + k].right);
    }
}

static void number_param(lowering *l, uint32_t value) {
    if (value == PG_NO_VALUE || l->tape->values[value].op != PG_OP_PARAM) return;
    if (l->slot[value] == PG_NO_VALUE) l->slot[value] = l->numbered++;
}

static void number_params(lowering *l, const pg_value *dot) {
    for (uint32_t k = 0; k < dot->count; k++) {
        number_param(l, l->tape->pairs[dot->first + k].left);
        number_param(l, l->tape->pairs[dot->first + k].right);
    }
    number_param(l, dot->a);
}

/* Find the imports, and number the parameters dot by dot: so a dot's weights are neighbours, if
 * they have no other use before. In one pass, since a long tape comes from memory. */
static void look_through(lowering *l) {
    for (size_t i = 0; i < l->tape->count; i++) l->import[i] = l->slot[i] = PG_NO_VALUE;
    for (size_t i = 0; i < l->tape->count; i++) {
        const pg_value *value = &l->tape->values[i];
        if (!pg_is_op(value) || value->dead) continue;
        if (value->op == PG_OP_DOT) number_params(l, value);
        if (!value->uniform) want_imports(l, value);
    }
}

static void count_slots(lowering *l) {
    pg_program *p = l->program;
    p->input_count = l->tape->input_count;
    p->param_count = l->tape->param_count;
    for (size_t i = 0; i < l->tape->count; i++) {
        const pg_value *value = &l->tape->values[i];
        p->constant_count += value->op == PG_OP_CONST && !value->dead;
        p->import_count += l->import[i] != PG_NO_VALUE;
        p->length += pg_is_op(value) && !value->dead;
        p->uniform_length += pg_is_op(value) && !value->dead && value->uniform;
    }
    p->uniform_slots = p->constant_count + p->param_count + p->uniform_length;
    p->row_slots = p->input_count + p->import_count + (p->length - p->uniform_length);
}

static pg_status allocate(lowering *l) {
    pg_program *p = l->program;
    p->constants = pg_realloc(NULL, p->constant_count, sizeof *p->constants);
    p->imports = pg_realloc(NULL, p->import_count, sizeof *p->imports);
    p->code = pg_realloc(NULL, p->length, sizeof *p->code);
    p->pairs = pg_zeroed(l->tape->pair_count, sizeof *p->pairs);
    p->outputs = pg_realloc(NULL, l->tape->output_count, sizeof *p->outputs);
    p->orders = pg_zeroed(l->tape->output_count, sizeof *p->orders);
    p->order_counts = pg_realloc(NULL, l->tape->output_count, sizeof *p->order_counts);
    p->sources = pg_realloc(NULL, p->param_count, sizeof *p->sources);
    p->output_count = p->orders != NULL ? l->tape->output_count : 0;
    return p->constants && p->imports && p->code && p->pairs && p->outputs && p->orders &&
                   p->order_counts && p->sources
               ? PG_OK
               : PG_ERR_NOMEM;
}

/* A parameter that no dot has is numbered behind the others. */
static void give_param_slot(lowering *l, uint32_t value, uint32_t param) {
    number_param(l, value);
    l->program->sources[l->slot[value]] = l->tape->params[param];
    l->slot[value] += (uint32_t)l->program->constant_count;
}

static void give_slots(lowering *l) {
    pg_program *p = l->program;
    uint32_t constant = 0, input = 0, import = (uint32_t)p->input_count;
    uint32_t param = 0;
    uint32_t uniform = (uint32_t)(p->constant_count + p->param_count);
    uint32_t row = import + (uint32_t)p->import_count;
    uint32_t instr = 0, row_instr = (uint32_t)p->uniform_length;
    for (size_t k = 0; k < l->tape->count; k++) {
        const size_t i = l->tape->schedule != NULL ? l->tape->schedule[k] : k;
        const pg_value *value = &l->tape->values[i];
        if (value->dead) continue;
        if (value->op == PG_OP_CONST) {
            p->constants[constant] = value->number;
            l->slot[i] = constant++;
        } else if (value->op == PG_OP_INPUT) {
            l->slot[i] = input++;
        } else if (value->op == PG_OP_PARAM) {
            give_param_slot(l, (uint32_t)i, param++);
        } else {
            l->slot[i] = value->uniform ? uniform++ : row++;
            l->instr[i] = value->uniform ? instr++ : row_instr++;
        }
        if (l->import[i] == PG_NO_VALUE) continue;
        p->imports[import - p->input_count] = l->slot[i];
        l->import[i] = import++;
    }
}

/* The slot from which an instruction of this section reads a value. */
static uint32_t slot_for(const lowering *l, bool in_uniform, uint32_t value) {
    if (value == PG_NO_VALUE) return 0;
    return !in_uniform && is_uniform(l, value) ? l->import[value] : l->slot[value];
}

static void lower_dot(lowering *l, pg_instr *instr, const pg_value *dot) {
    const bool weighted = pg_is_weighted(l->tape, dot);
    instr->shape = dot->compare; /* PG_DOT_SQUARES, _GATED, or 0 */
    if (weighted) instr->shape |= PG_DOT_WEIGHTED;
    if (dot->a != PG_NO_VALUE) {
        instr->shape |= PG_DOT_STARTS;
        if (!dot->uniform && is_uniform(l, dot->a)) instr->shape |= PG_DOT_UNIFORM_START;
        instr->a = l->slot[dot->a];
    }
    for (uint32_t i = 0; i < dot->count; i++) {
        pg_pair pair = l->tape->pairs[dot->first + i], *to = &l->program->pairs[dot->first + i];
        if (weighted && !is_uniform(l, pair.left)) pair = (pg_pair){pair.right, pair.left};
        to->left = weighted ? l->slot[pair.left] : slot_for(l, dot->uniform, pair.left);
        to->right = weighted ? l->slot[pair.right] : slot_for(l, dot->uniform, pair.right);
    }
}

static void lower_lookup(lowering *l, pg_instr *instr, const pg_value *value) {
    const bool weighted = pg_is_weighted(l->tape, value);
    if (weighted) instr->shape |= PG_DOT_WEIGHTED;
    instr->a = slot_for(l, value->uniform, value->a);
    for (uint32_t i = 0; i < value->count; i++) {
        const uint32_t entry = l->tape->pairs[value->first + i].left;
        const uint32_t slot = weighted ? l->slot[entry] : slot_for(l, value->uniform, entry);
        l->program->pairs[value->first + i] = (pg_pair){slot, instr->a};
    }
}

static void lower_value(lowering *l, uint32_t number) {
    const pg_value *value = &l->tape->values[number];
    pg_instr *instr = &l->program->code[l->instr[number]];
    *instr = (pg_instr){.op = value->op,
                        .shape = value->compare,
                        .dst = l->slot[number],
                        .first = value->first,
                        .count = value->count};
    if (value->op == PG_OP_DOT) {
        lower_dot(l, instr, value);
        return;
    }
    if (pg_is_lookup(value->op)) {
        lower_lookup(l, instr, value);
        return;
    }
    instr->a = slot_for(l, value->uniform, value->a);
    instr->b = slot_for(l, value->uniform, value->b);
    for (uint32_t i = 0; i < value->count; i++) {
        const pg_pair *pair = &l->tape->pairs[value->first + i];
        l->program->pairs[value->first + i] = (pg_pair){slot_for(l, value->uniform, pair->left),
                                                        slot_for(l, value->uniform, pair->right)};
    }
}

static pg_status lower_outputs(lowering *l) {
    pg_program *p = l->program;
    const pg_tape *tape = l->tape;
    for (size_t i = 0; i < tape->output_count; i++) {
        p->outputs[i] = l->slot[tape->outputs[i]];
        p->order_counts[i] = 0;
        p->orders[i] = pg_realloc(NULL, tape->order_counts[i], sizeof **p->orders);
        if (p->orders[i] == NULL) return PG_ERR_NOMEM;
        for (size_t k = 0; k < tape->order_counts[i]; k++) {
            uint32_t value = tape->orders[i][k];
            if (!tape->values[value].dead) p->orders[i][p->order_counts[i]++] = l->instr[value];
        }
    }
    return PG_OK;
}

static pg_status lower_all(lowering *l) {
    pg_program *p = l->program;
    look_through(l);
    count_slots(l);
    pg_status status = allocate(l);
    if (status != PG_OK) return status;
    give_slots(l);
    p->pair_count = l->tape->pair_count;
    for (size_t i = 0; i < l->tape->count; i++)
        if (pg_is_op(&l->tape->values[i]) && !l->tape->values[i].dead) lower_value(l, (uint32_t)i);
    status = lower_outputs(l);
    return status == PG_OK ? pg_mark_runs(p) : status;
}

pg_status pg_program_lower(pg_program **program_ret, const pg_tape *tape) {
    uint32_t *scratch = pg_realloc(NULL, 3 * tape->count, sizeof *scratch);
    pg_program *program = pg_zeroed(1, sizeof *program);
    pg_status status = PG_ERR_NOMEM;
    if (scratch != NULL && program != NULL) {
        lowering l = {.tape = tape,
                      .program = program,
                      .slot = scratch,
                      .import = scratch + tape->count,
                      .instr = scratch + 2 * tape->count};
        status = lower_all(&l);
    }
    pg_free(scratch);
    if (status == PG_OK) *program_ret = program;
    else pg_program_free(program);
    return status;
}

/* ---- Recording ------------------------------------------------------------------------------- */

pg_status pg_record(pg_graph *graph, pg_program **program_ret, const pg_recording *recording) {
    pg_tape tape = {0};
    pg_status status = pg_tape_record(graph, &tape, recording);
    if (status == PG_OK) PG_CHECK_TAPE(&tape, false);
    if (status == PG_OK) status = pg_tape_run_passes(&tape, recording->passes);
    if (status == PG_OK) status = pg_program_lower(program_ret, &tape);
    if (status == PG_OK) (*program_ret)->fast = recording->fast;
    if (status == PG_OK) PG_CHECK_PROGRAM(*program_ret);
    pg_tape_free(&tape);
    return status;
}
