/* program.h - straight-line code over slots: what is replayed, saved and listed.
 *
 * A program has two parts. The uniform part depends on no input; it runs once a replay, on one
 * number a slot. The row part runs over blocks of rows, on one number a slot and lane.
 *
 *   uniform slots  [constants | parameters | results of the uniform code]
 *   row slots      [inputs | imports: uniform slots, spread over the lanes | results of row code]
 *
 * Each instruction writes a slot of its own, after those that it reads: adjoints need all values.
 * A program is checked once, when it is made or loaded, and replayed without checks. It is never
 * changed afterwards, so that any number of threads may replay it. */
#ifndef PG_PROGRAM_H
#define PG_PROGRAM_H

#include "record/tape.h"

struct pg_program {
    double *constants;
    size_t constant_count, param_count, uniform_slots;
    size_t input_count, import_count, row_slots;
    uint32_t *imports; /* the uniform slots that row slots input_count ... are copies of */
    pg_instr *code;    /* the uniform part, then the row part */
    size_t uniform_length, length;
    pg_pair *pairs;
    size_t pair_count;
    uint32_t *outputs; /* row slots */
    size_t output_count;
    uint32_t **orders; /* for each output the instructions in the order of backward() */
    size_t *order_counts;
    int fast;            /* math: our own vector functions instead of libm's */
    pg_node_id *sources; /* while it is being made: the nodes of the parameters */
};

/* What pushes one output's gradient back: to the parameters, to the inputs, or to both. */
struct pg_backward_plan {
    pg_step *rows, *uniform;
    size_t row_count, row_capacity, uniform_count, uniform_capacity;
    pg_target *targets;
    size_t target_count, target_capacity;
    size_t accumulators;
    uint32_t output;          /* its row slot */
    uint8_t *input_reached;   /* for each input: does it get a gradient at all? */
    uint32_t *input_order;    /* all inputs, in the order in which they first get theirs */
    uint8_t *uniform_reached; /* for each uniform slot, likewise */
};

/* The uniform slot of which this row slot is a copy, or PG_NO_VALUE. */
static inline uint32_t pg_import_of(const pg_program *program, uint32_t slot) {
    size_t index = (size_t)slot - program->input_count;
    return slot >= program->input_count && index < program->import_count ? program->imports[index]
                                                                         : PG_NO_VALUE;
}

/* An all-zero program, or NULL. */
pg_program *pg_program_new(void);

/* lower.c: a tape that went through its passes becomes a program. */
pg_status pg_program_lower(pg_program **program_ret, const pg_tape *tape);

/* runs.c: count which instructions run as one; join_runs.c: bring the steps back of a layer
 * together, and count those. PG_OK or PG_ERR_NOMEM. */
pg_status pg_mark_runs(pg_program *program);
pg_status pg_join_runs(const pg_program *program, pg_backward_plan *plan);

/* program_bytes.c: is it right: slots in range, operands written before they are read, orders of
 * instructions that exist, each once and after its operands? `seen` is scratch, a byte for each. */
bool pg_program_is_sound(const pg_program *program, uint8_t *seen);

#endif
