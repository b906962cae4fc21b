/* program.h - straight-line code over slots: what is replayed, saved and listed.
 *
 * A program has two sections. The uniform section depends on no input; it runs once a replay, on
 * one number a slot. The row section runs over blocks of rows, on one number a slot and lane.
 *
 *   uniform slots  [constants | parameters | results of the uniform code]
 *   row slots      [inputs | imports | results of the row code]
 *
 * An import is a uniform slot broadcast to all lanes of a row slot, for row code that reads lanes.
 * Each instruction writes a slot of its own, after those that it reads: adjoints need all values.
 * A program is validated once, when it is made or loaded, and replayed without checks. It is
 * immutable afterwards, so any number of threads may replay it. */
#ifndef PG_PROGRAM_H
#define PG_PROGRAM_H

#include "base/portability.h"
#include "record/tape.h"

/* The widths of a block of rows, and its lanes. */
enum { PG_ONE, PG_EIGHT, PG_THIRTY_TWO, PG_WIDTHS };
static const size_t pg_lanes_of[PG_WIDTHS] = {[PG_ONE] = 1, [PG_EIGHT] = 8, [PG_THIRTY_TWO] = 32};
enum {
    PG_SUBLANES = 8
}; /* partial sums of an accumulator's tangent: a block's rows have one each */

/* What a later stage makes of a program or a plan, once, and keeps with it; freed with it. `free`
 * is NULL if there is nothing to free. */
typedef struct pg_cached {
    void (*free)(struct pg_cached *cached);
} pg_cached;

enum { PG_CACHES = PG_WIDTHS + 3 };
typedef PG_ATOMIC(pg_cached *) pg_cache;

static inline void pg_free_caches(pg_cache *caches) {
    for (int i = 0; i < PG_CACHES; i++) {
        pg_cached *const cached = caches[i];
        if (cached != NULL && cached->free != NULL) cached->free(cached);
    }
}

struct pg_program {
    double *constants;
    size_t constant_count, param_count, uniform_slots;
    size_t input_count, import_count, row_slots;
    uint32_t *imports; /* the uniform slots that are broadcast to row slots input_count ... */
    pg_instr *code;    /* the uniform section, then the row section */
    size_t uniform_length, length;
    pg_pair *pairs;
    size_t pair_count;
    uint32_t *outputs; /* row slots */
    size_t output_count;
    uint32_t **orders; /* for each output: its instructions in the order of backward() */
    size_t *order_counts;
    int fast;            /* math: our own vector functions instead of libm's */
    pg_node_id *sources; /* the parameters' nodes, if just recorded; NULL if loaded */
    pg_cache cache[PG_CACHES];
};

typedef struct pg_range {
    size_t first, count;
} pg_range;

/* The steps that propagate one output's gradient to the parameters, to the inputs, or to both. */
struct pg_backward_plan {
    pg_step *rows, *uniform;
    size_t row_count, row_capacity, uniform_count, uniform_capacity;
    pg_target *targets;
    size_t target_count, target_capacity;
    size_t accumulators;
    pg_range *cleared; /* accumulators to clear before a chunk: those of no dot alone */
    size_t cleared_count, cleared_capacity;
    uint32_t output;          /* its row slot */
    uint8_t *input_reached;   /* for each input: does it receive a gradient at all? */
    uint32_t *input_order;    /* all inputs, by when they first receive one; others last */
    uint8_t *uniform_reached; /* for each uniform slot, likewise */
    pg_cache cache[PG_CACHES];
};

/* The uniform slot that is broadcast to this row slot, or PG_NO_VALUE if it is no import. */
static inline uint32_t pg_import_of(const pg_program *program, uint32_t slot) {
    size_t index = (size_t)slot - program->input_count;
    return slot >= program->input_count && index < program->import_count ? program->imports[index]
                                                                         : PG_NO_VALUE;
}

/* Does this step collect an accumulator that is all that a parameter has got so far? Such steps
 * come first; those of a run copy neighbours to neighbours. */
static inline bool pg_is_direct(const pg_program *program, const pg_step *step) {
    const size_t param = (size_t)step->a.at - program->constant_count;
    return step->instr == PG_COLLECT && step->a.how == PG_ACCUMULATE_STORE &&
           step->a.at >= program->constant_count && param < program->param_count;
}

/* lower.c: lower a tape, after its passes, to a program. */
pg_status pg_program_lower(pg_program **program_ret, const pg_tape *tape);

/* runs.c: count the instructions that execute as one. join_runs.c: bring the backward steps of a
 * layer together, and count theirs. PG_OK or PG_ERR_NOMEM. */
pg_status pg_mark_runs(pg_program *program);
pg_status pg_join_runs(const pg_program *program, pg_backward_plan *plan);

/* program_bytes.c: is the program sound: slots in range, operands written before they are read,
 * orders of existing instructions, each once and after its operands? `seen` is scratch, one byte
 * for each instruction. */
bool pg_program_is_sound(const pg_program *program, uint8_t *seen);

#endif
