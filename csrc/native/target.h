/* target.h - what machine code is made of: the operations that x86_64.c and aarch64.c encode.
 *
 * A register holds one double, or a vector of them if the code is wide. Registers 0 .. PG_REGISTERS
 * - 1 are the caller's; the target keeps a few more: 0.0, a scratch register, and `odd`, to which
 * pg_put_check adds 0 times a result, so that it is nan once a result was infinite or nan. */
#ifndef PG_TARGET_H
#define PG_TARGET_H

#include "native/formula.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The arrays that code works on; their addresses are in the frame, and in registers. */
typedef enum pg_base {
    PG_VALUES,
    PG_GRADS,
    PG_SUMS,           /* accumulators */
    PG_UNIFORM,        /* one number a slot, the same in all lanes */
    PG_VALUE_TANGENTS, /* and these arrays' tangents */
    PG_GRAD_TANGENTS,
    PG_SUM_TANGENTS,
    PG_UNIFORM_TANGENTS,
    PG_BASES
} pg_base;

static inline bool pg_is_uniform(pg_base base) {
    return base == PG_UNIFORM || base == PG_UNIFORM_TANGENTS;
}
static inline bool pg_is_sum(pg_base base) { return base == PG_SUMS || base == PG_SUM_TANGENTS; }

enum { PG_WIDEST_VECTOR = 32 }; /* bytes */

/* What code runs on. */
typedef struct pg_frame {
    double *bases[PG_BASES];
    double odd[PG_WIDEST_VECTOR / sizeof(double)]; /* nan: a result was infinite or nan */
    /* Interpret instructions (or steps) first .. first + count - 1; nonzero ends the run. */
    int (*interpret)(struct pg_frame *frame, uint32_t first, uint32_t count);
    void *context; /* interpret's */
} pg_frame;

/* Code that is being written; bytes are NULL once memory ran out, or it got too large. */
typedef struct pg_code {
    uint8_t *bytes;
    size_t count, capacity;
    bool failed;
    bool wide;
    int bases; /* in use: all before this one */
} pg_code;

#if defined(__aarch64__)
enum { PG_REGISTERS = 29, PG_VECTOR_WIDTH = 16, PG_ZERO = 31 };
#else
enum { PG_REGISTERS = 13, PG_VECTOR_WIDTH = 32, PG_ZERO = 15 };
#endif

/* Can this machine run the code? */
bool pg_target_is_here(void);

/* The function's beginning and end: int f(pg_frame *). */
void pg_put_begin(pg_code *code);
void pg_put_end(pg_code *code);

/* Between memory and registers; an offset is in bytes. `spread`: one double to all lanes. */
void pg_put_load(pg_code *code, int to, pg_base base, int32_t offset);
void pg_put_spread(pg_code *code, int to, pg_base base, int32_t offset);
void pg_put_store(pg_code *code, int from, pg_base base, int32_t offset);
void pg_put_number(pg_code *code, int to, double number);

/* An operation of formula.h; y is ignored where it has one operand. */
void pg_put_operation(pg_code *code, pg_step_kind kind, int to, int x, int y);
/* The same with y in memory, for add, subtract, multiply and divide. */
void pg_put_operation_on(pg_code *code, pg_step_kind kind, int to, int x, pg_base base,
                         int32_t offset);
/* x where the condition's bits are set, else y; `to` is none of these. */
void pg_put_select(pg_code *code, int to, int condition, int x, int y);
void pg_put_check(pg_code *code, int result);

/* All registers are lost in a call. A function takes registers 0, 1 and 2, and returns 0. */
void pg_put_call(pg_code *code, pg_scalar *function);
void pg_put_interpret(pg_code *code, uint32_t first, uint32_t count);
/* A call of function(frame, note). */
typedef void pg_noted(const pg_frame *frame, const void *note);
void pg_put_note(pg_code *code, pg_noted *function, const void *note);

/* A loop over the vectors of a block: each time, the addresses but those of uniform slots advance
 * by one. */
size_t pg_put_loop(pg_code *code, uint32_t times);
void pg_put_repeat(pg_code *code, size_t loop);

/* native.c: make place for so many more bytes; false if there can't be any: the code has failed. */
bool pg_grow_code(pg_code *code, size_t count);

/* Append to the code; for targets. */
static inline void pg_put_bytes(pg_code *code, const void *bytes, size_t count) {
    if (code->capacity - code->count < count && !pg_grow_code(code, count)) return;
    memcpy(code->bytes + code->count, bytes, count);
    code->count += count;
}

#endif
