/* lanes.h - a block of rows, and the functions that run a program's code over it.
 *
 * lanes_kernels.h has the functions, written for any number of lanes; lanes_base.c, lanes_avx2.c
 * and lanes_avx512.c compile them for 1, 8 and 32 lanes, for libm's functions and for our own, and
 * for a kind of vectors each. All kinds give the same bits. */
#ifndef PG_LANES_H
#define PG_LANES_H

#include "program/program.h"

enum { PG_SUBLANES = 8 }; /* an accumulator keeps as many sums: row r is in sum r % 8 */

/* Code, and where it runs. Slot s has its numbers at values + s * lanes. */
typedef struct pg_block {
    const pg_program *program;
    const pg_instr *code; /* the part that runs */
    size_t length;
    const double *uniform; /* the uniform slots */
    double *values, *grads;
    double *accumulators; /* PG_SUBLANES doubles each */
    const pg_backward_plan *plan;
    const pg_step *steps; /* those to run, of the plan */
    size_t step_count;
    size_t active;          /* lanes that hold a row; the others repeat the last row */
    const int64_t *mask;    /* for each lane all bits, or none if it holds no row; NULL: all do */
    bool judge;             /* stop where a row leaves an op's domain */
    const uint8_t *reached; /* careful: of each slot, whether rows reach it that cancel; or NULL */
    bool spared;            /* careful: 0 stood for a product */
    bool fault_of_all;      /* the fault is in uniform code that every row reaches */
    size_t fault_lane;
    pg_fault fault;
} pg_block;

/* Where gradients go. Kernels take it by value, so that no store of theirs can change it. */
typedef struct pg_place {
    double *grads, *accumulators;
    const int64_t *mask;
} pg_place;

static inline pg_place pg_place_of(const pg_block *block) {
    return (pg_place){block->grads, block->accumulators, block->mask};
}

typedef pg_status pg_run(pg_block *block);

typedef struct pg_lanes {
    pg_run *forward;  /* values of all slots that the code writes */
    pg_run *backward; /* the steps; gradients of what they reach */
    pg_run *careful;  /* likewise, with 0 for a product with 0 that is undefined */
    void (*fold)(const pg_block *block, double *accumulator, const double *lanes);
} pg_lanes;

enum { PG_ONE, PG_EIGHT, PG_THIRTY_TWO, PG_WIDTHS };

/* The functions for [libm's, ours] and each width. */
typedef const pg_lanes pg_lane_table[2][PG_WIDTHS];
extern pg_lane_table pg_lanes_base;
#if PG_X86_LEVELS
extern pg_lane_table pg_lanes_avx2, pg_lanes_avx512;
#endif

/* Is one of these results of op (derivative 0), or of its derivatives (1, 2), an error in an active
 * lane? Notes the first in the block. A derivative that meets a gradient g of 0 is none; g may be
 * NULL. */
bool pg_judge_lanes(pg_block *block, int op, int derivative, const double *results, const double *a,
                    const double *b, const double *g, pg_status *status_ret);

#endif
