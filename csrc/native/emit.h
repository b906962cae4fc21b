/* emit.h - the writer of machine code: a target's operations, and what its registers hold. */
#ifndef PG_EMIT_H
#define PG_EMIT_H

#include "native/target.h"
#include "program/program.h"

enum { PG_MOST_FOLDS = 16, PG_MOST_ABREAST = 8 };

/* A contribution to an accumulator of a block of many lanes: products that wait in the gradient's
 * place of an import's slot, which has none, until the loop over the block's vectors has formed
 * all. */
typedef struct pg_fold {
    uint32_t slot, accumulator;
} pg_fold;

/* A slot of an array. */
typedef struct pg_at {
    pg_base base;
    uint32_t slot;
} pg_at;

/* The operands that a formula speaks of. */
typedef struct pg_operands {
    pg_at a, b, y;
    int slope; /* a register */
} pg_operands;

/* What a register holds: a slot's lanes, or a number. */
typedef struct pg_held {
    uint64_t where, which;
    uint32_t used; /* when, for eviction */
    int pins;      /* in use: not to be evicted */
} pg_held;

typedef struct pg_note_block pg_note_block; /* layer.c */

typedef struct pg_emitter {
    pg_code code;
    const pg_program *program;
    const pg_backward_plan *plan; /* NULL: forward */
    bool uniform;                 /* the uniform section, else rows */
    bool tangents;                /* those of values or gradients, which are computed already */
    bool fast;                    /* by our own functions; tangents are by libm's */
    bool powers;                  /* powers.h may compute what pow does */
    pg_base grads, sums;          /* where contributions go */
    const pg_instr *code_of;      /* the section's */
    size_t length_of;             /* so many */
    uint32_t *circle;             /* of each slot the slots of its sine and cosine; or NULL */
    const pg_step *steps;         /* the plan's, for the section */
    size_t lanes;
    int32_t stride[PG_BASES]; /* bytes from slot to slot */
    pg_held held[PG_REGISTERS];
    pg_at unloaded[PG_MOST_STEPS]; /* operands in memory, the last ones that were fetched */
    uint32_t fetched;
    uint32_t clock;
    bool looping; /* in a loop over the block's vectors */
    size_t loop;
    pg_fold folds[PG_MOST_FOLDS];
    uint32_t fold_count;
    pg_note_block *notes;                                  /* that the code refers to */
    pg_formula *formulas[PG_OP_PROGRAM][PG_FORMULA_NAMES]; /* those that were read */
} pg_emitter;

/* registers.c. Each returned register is pinned until it is released.
 * fetch: a slot's value; if no register holds it, an operand in memory, PG_IN_MEMORY or more, which
 * operations take as it is, and load makes a register. keep: store to a slot, and let the register
 * hold it, as long as nothing else needs it; releases it. */
enum { PG_IN_MEMORY = 64 };
int pg_fetch(pg_emitter *e, pg_at at);
int pg_load(pg_emitter *e, int operand);
int pg_fetch_number(pg_emitter *e, double number);
void pg_keep(pg_emitter *e, int reg, pg_at at);
void pg_release(pg_emitter *e, int reg);
void pg_forget_registers(pg_emitter *e);
int32_t pg_offset_of(pg_emitter *e, pg_at at);
/* A new register for an operation's result; the operands are released. */
int pg_operate(pg_emitter *e, pg_step_kind kind, int x, int y);
int pg_choose(pg_emitter *e, int condition, int x, int y);
/* A formula's value. */
int pg_evaluate(pg_emitter *e, const pg_formula *formula, const pg_operands *on);

/* forward.c: is the kernel for this run, forward or backward, better than code? */
bool pg_is_for_kernel(const pg_emitter *e, const pg_instr *instr, uint32_t run);
/* forward.c, backward.c: can code do this instruction, or step? If not, it is interpreted. */
bool pg_has_form(pg_emitter *e, const pg_instr *instr);
void pg_emit_instr(pg_emitter *e, const pg_instr *instr);
bool pg_step_has_form(pg_emitter *e, const pg_step *step);
void pg_emit_step(pg_emitter *e, const pg_step *step);
/* Note sines and cosines of one operand: each is the other's derivative, or minus it. */
void pg_find_circles(pg_emitter *e);
/* tangents.c, likewise. */
bool pg_tangent_has_form(pg_emitter *e, const pg_instr *instr);
void pg_emit_tangent(pg_emitter *e, const pg_instr *instr);
bool pg_step_tangent_has_form(pg_emitter *e, const pg_step *step);
void pg_emit_step_tangent(pg_emitter *e, const pg_step *step);

/* Give a contribution, that of the operand in this slot, to its target. Releases it. */
void pg_give(pg_emitter *e, pg_target target, uint32_t operand, int t);
void pg_collect(pg_emitter *e, const pg_step *step);
/* Add the products that wait to their accumulators, after a loop. */
void pg_emit_folds(pg_emitter *e);
/* Is there code for it: a formula that is known, or, for one row, a function? */
bool pg_is_computable(pg_emitter *e, int op, pg_formula_name name);
/* Its result, by that. */
int pg_compute(pg_emitter *e, int op, pg_formula_name name, const pg_operands *on);

/* The op whose derivative by a this one's is: that of a ** 2, 2 * pow(a, 1), is the square's. */
int pg_slope_op(const pg_emitter *e, const pg_instr *instr);

const pg_formula *pg_formula_of(pg_emitter *e, int op, pg_formula_name name);
pg_operands pg_operands_of(const pg_instr *instr);
/* The left factors of a dot's pairs are slots of this array. */
pg_base pg_left_base(const pg_emitter *e, const pg_instr *dot);
/* The mask of a select's condition. `swapped`: where it holds, the second operand is chosen. */
int pg_emit_condition(pg_emitter *e, const pg_instr *select, bool *swapped_ret);

#endif
