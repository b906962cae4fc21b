/* lanes.h - a block of rows, and the kernels that run a program's code over it.
 *
 * A lane is the place of one row in a block; a block has 1, 8 or 32. lanes_dots.h and lanes_ops.h
 * have the kernels; lanes_base.c, lanes_avx2.c and lanes_avx512.c compile them for one vector size
 * each, with libm's functions and with our own. All vector sizes give the same bits. */
#ifndef PG_LANES_H
#define PG_LANES_H

#include "program/program.h"

/* A step of SGD, without momentum, that a chunk's last block takes for the sums that one dot has
 * alone, as soon as they are complete: they are in the first cache then. Accumulators are in the
 * order of the parameters. */
typedef struct pg_descent {
    const double *now;
    double *next;
    double scale; /* a gradient is this times its sum */
    const pg_sgd_settings *settings;
    uint64_t odd; /* out: nonzero if a result isn't finite */
    bool taken;   /* out */
} pg_descent;

enum { PG_PANEL = 64 }; /* factors of a layer that lanes_weights.h takes at a time */

/* Code, and the memory it runs on. Slot s has its values at values + s * lanes. */
typedef struct pg_block {
    const pg_program *program;
    const pg_instr *code; /* the section to run */
    size_t length;
    const double *uniform; /* the uniform slots */
    double *values, *grads;
    double *accumulators;
    const pg_backward_plan *plan;
    const pg_step *steps; /* the steps of the plan to run */
    size_t step_count;
    pg_range factors; /* `weights`: just those of these factors, from a panel's first on */
    size_t lanes;
    size_t active; /* lanes that hold a row; the others are padding and repeat the last row */
    bool first; /* of its chunk: accumulators that get contributions from one dot are not cleared */
    pg_descent *descent;    /* or NULL: this isn't the last block, or nobody steps */
    bool unsummed;          /* leave out the gradients of weights, the dots' accumulators */
    bool judge;             /* stop at the first op that leaves its domain */
    bool powers;            /* powers.h may compute what pow does */
    const uint8_t *reached; /* careful: for each slot, do rows reach it? They may cancel; or NULL */
    bool spared;            /* careful: 0 replaced a product */
    bool fault_of_all;      /* the fault is in uniform code that every row depends on */
    size_t fault_lane;
    pg_fault fault;
} pg_block;

/* Destinations of gradients. Kernels take it by value, so that no store aliases its fields. */
typedef struct pg_place {
    double *grads, *accumulators;
} pg_place;

static inline pg_place pg_place_of(const pg_block *block) {
    return (pg_place){block->grads, block->accumulators};
}

typedef pg_status pg_run(pg_block *block);

typedef struct pg_lanes {
    pg_run *forward;  /* computes all slots that the code writes */
    pg_run *backward; /* runs the steps: gradients of the slots they reach */
    pg_run *weights;  /* of steps that are a layer's dots, just what `unsummed` leaves out */
} pg_lanes;

/* The kernels with [libm's, our own] functions, for each width. */
typedef const pg_lanes pg_lane_table[2][PG_WIDTHS];
extern pg_lane_table pg_lanes_base;
#if PG_X86_LEVELS
extern pg_lane_table pg_lanes_avx2, pg_lanes_avx512;
#endif

/* An op's results, or those of its derivative, its operands, and the gradients that the derivative
 * meets, or NULL: a double for each lane. */
typedef struct pg_judged {
    const double *results, *a, *b, *g;
} pg_judged;

/* Is a result of op (derivative 0), or of its derivative by operand 1 or 2, an error in an active
 * lane? Stores the first fault in the block. A derivative that meets a gradient of 0 is no error.
 * Returns: PG_OK; PG_ERR_DOMAIN, _ZERO_DIVISION, _OVERFLOW. */
pg_status pg_judge_lanes(pg_block *block, int op, int derivative, const pg_judged *judged);

/* careful.c: compute a run of gated dots once more, with 0 for undefined products with an adjoint
 * of 0; the kernels compute plain products. */
void pg_dots_carefully(const pg_block *block, const pg_instr *dots);

/* tables.c, for any number of lanes. gather: the entries that the lanes' indices name;
 * PG_ERR_DOMAIN if an index names none, which judging blocks are told: pg_find_fault decides.
 * search: the lanes' places among the knots. scatter: a take's step back, on these gradients and
 * accumulators. sum_parts: a scatter's values, or, as it is linear, their tangents, in these slots;
 * gather_parts: its step back. Accumulators are `apart` doubles apart, and lane l is added to the
 * one l % apart further on. */
pg_status pg_gather(pg_block *block, const pg_instr *take);
void pg_search(pg_block *block, const pg_instr *search);
void pg_scatter(const pg_block *block, const pg_step *step, pg_place to, size_t apart);
void pg_sum_parts(const pg_block *block, const pg_instr *scatter, double *slots);
void pg_gather_parts(const pg_block *block, const pg_step *step, pg_place to, size_t apart);

/* careful.c: give contributions, one for each lane, to a target, as the kernels do; `apart` as
 * above. */
void pg_give_lanes(pg_place to, size_t apart, pg_target target, const double *ts, size_t lanes);

/* careful.c: run the steps as `backward` does, with 0 for undefined products with a gradient of
 * 0. Returns: PG_OK; PG_ERR_DOMAIN, _ZERO_DIVISION, _OVERFLOW. */
pg_status pg_backward_carefully(pg_block *block);

#endif
