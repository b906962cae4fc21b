/* aarch64.c - machine code for AArch64: how each operation of target.h is encoded.
 *
 *   x19         the frame                     v0 .. v28   the caller's
 *   x20         the loop's counter            v29         scratch
 *   x21 .. x24  values, gradients, sums,      v30         odd
 *               uniform values
 *   x25 .. x28  their tangents                v31         0.0
 *   x16         scratch
 *
 * Functions preserve x19 .. x28 and half of v8 .. v15; the other vector registers are lost in a
 * call, and 0.0 and odd are made again after it. x29 and x30 are the frame record, so that
 * profilers unwind. Invariant: no operation is fused and none rounds other than C's; fmax and fmin,
 * which differ from C's comparisons for nan and -0.0, aren't used. Source: Arm Architecture
 * Reference Manual for A-profile (DDI 0487), C6.2 and C7.2: each instruction's page, whose fields
 * Rd, Rn and Rm are `to`, `x` and `y` here; Procedure Call Standard for the Arm 64-bit
 * Architecture, 6.1 and 6.4. */
#include "base/portability.h"
#include "native/target.h"

#include <string.h>

#if PG_HAS_NATIVE && defined(__aarch64__)

enum { scratch = 29, odd = 30 };
enum { x0 = 0, x1 = 1, x2 = 2, x16 = 16, the_frame = 19, counter = 20, first_base = 21 };

static const uint32_t ldr_x = 0xF9400000, ldr_d = 0xFD400000, ldr_q = 0x3DC00000; /* [x, offset] */
static const uint32_t str_d = 0xFD000000, str_q = 0x3D800000;
static const uint32_t movz = 0xD2800000, movk = 0xF2800000, mov_x = 0xAA0003E0, blr = 0xD63F0000;
static const uint32_t add_immediate = 0x91000000, sub_w_immediate = 0x51000000;
static const uint32_t cbz_w = 0x34000000, b = 0x14000000;
static const uint32_t fmov_d_x = 0x9E670000, dup_x = 0x4E080C00, dup_lane_0 = 0x4E080400;
static const uint32_t movi_0 = 0x6F00E400;
static const uint32_t orr = 0x4EA01C00, mvn = 0x6E205800, bit = 0x6EA01C00; /* all 128 bits */

/* clang-format off */
static const uint32_t operations[PG_SELECTS + 1][2] = {
    /*                    d           two lanes */
    [PG_ADDS]          = {0x1E602800, 0x4E60D400}, /* fadd */
    [PG_SUBTRACTS]     = {0x1E603800, 0x4EE0D400}, /* fsub */
    [PG_MULTIPLIES]    = {0x1E600800, 0x6E60DC00}, /* fmul */
    [PG_DIVIDES]       = {0x1E601800, 0x6E60FC00}, /* fdiv */
    [PG_IS_LESS]       = {0x7EE0E400, 0x6EE0E400}, /* fcmgt */
    [PG_IS_LESS_EQUAL] = {0x7E60E400, 0x6E60E400}, /* fcmge */
    [PG_IS_EQUAL]      = {0x5E60E400, 0x4E60E400}, /* fcmeq */
    [PG_IS_NAN]        = {0x5E60E400, 0x4E60E400}, /* fcmeq */
    [PG_ANDS]          = {0x4E201C00, 0x4E201C00}, /* and, all 128 bits */
    [PG_ORS]           = {0x4EA01C00, 0x4EA01C00}, /* orr */
    [PG_NEGATES]       = {0x1E614000, 0x6EE0F800}, /* fneg */
    [PG_SQUARE_ROOT]   = {0x1E61C000, 0x6EE1F800}, /* fsqrt */
    [PG_MAGNITUDE]     = {0x1E60C000, 0x4EE0F800}, /* fabs */
};
/* clang-format on */

bool pg_target_is_here(void) { return true; }

static void put(pg_code *code, uint32_t instruction) {
    pg_put_bytes(code, &instruction, sizeof instruction);
}

/* op to, x, y; 0 where there is none */
static void put_op(pg_code *code, uint32_t opcode, int to, int x, int y) {
    put(code, opcode | (uint32_t)y << 16 | (uint32_t)x << 5 | (uint32_t)to);
}

/* Sixteen bits at a time: movz for the first that aren't 0, movk for the others. */
static void put_integer(pg_code *code, int to, uint64_t bits) {
    uint32_t opcode = movz;
    for (uint32_t part = 0; part < 4; part++) {
        const uint32_t some = (uint32_t)(bits >> 16 * part) & 0xFFFF;
        if (some == 0 && (part < 3 || opcode == movk)) continue;
        put_op(code, opcode | part << 21 | some << 5, to, 0, 0);
        opcode = movk;
    }
}

/* op reg, [base, offset]. Of `bytes`, which an offset in the instruction counts; others are in a
 * register. */
static void put_memory(pg_code *code, uint32_t opcode, int bytes, int reg, int base,
                       int32_t offset) {
    enum { offset_in_register = 0x00206800, offset_in_instruction = 0x01000000 };
    if (offset >= 0 && offset % bytes == 0 && offset / bytes < 4096) {
        put_op(code, opcode | (uint32_t)(offset / bytes) << 10, reg, base, 0);
        return;
    }
    put_integer(code, x16, (uint64_t)offset);
    put_op(code, (opcode ^ offset_in_instruction) | offset_in_register, reg, base, x16);
}

static void put_vector_load(pg_code *code, int to, int base, int32_t offset) {
    if (code->wide) put_memory(code, ldr_q, 16, to, base, offset);
    else put_memory(code, ldr_d, 8, to, base, offset);
}

static void put_vector_store(pg_code *code, int from, int base, int32_t offset) {
    if (code->wide) put_memory(code, str_q, 16, from, base, offset);
    else put_memory(code, str_d, 8, from, base, offset);
}

static void put_load_bases(pg_code *code) {
    for (int base = 0; base < code->bases; base++)
        put_memory(code, ldr_x, 8, first_base + base, the_frame,
                   (int32_t)(offsetof(pg_frame, bases) + (size_t)base * sizeof(double *)));
}

/* What the target keeps in vector registers, from the frame and to it. */
static void put_reload(pg_code *code) {
    put_op(code, movi_0, PG_ZERO, 0, 0);
    put_vector_load(code, odd, the_frame, offsetof(pg_frame, odd));
}

static void put_keep_odd(pg_code *code) {
    put_vector_store(code, odd, the_frame, offsetof(pg_frame, odd));
}

void pg_put_begin(pg_code *code) {
    static const uint32_t enter[] = {
        0xA9B67BFD,                         /* stp x29, x30, [sp, #-160]! */
        0x910003FD,                         /* mov x29, sp */
        0xA90153F3, 0xA9025BF5, 0xA90363F7, /* stp x19, x20, [sp, #16] ... */
        0xA9046BF9, 0xA90573FB,             /* ... stp x27, x28, [sp, #80] */
        0x6D0627E8, 0x6D072FEA,             /* stp d8, d9, [sp, #96] ... */
        0x6D0837EC, 0x6D093FEE,             /* ... stp d14, d15, [sp, #144] */
    };
    pg_put_bytes(code, enter, sizeof enter);
    put_op(code, mov_x, the_frame, 0, x0);
    put_load_bases(code);
    put_reload(code);
}

static const uint32_t leave[] = {
    0xA94153F3, 0xA9425BF5, 0xA94363F7, /* ldp x19, x20, [sp, #16] ... */
    0xA9446BF9, 0xA94573FB,             /* ... ldp x27, x28, [sp, #80] */
    0x6D4627E8, 0x6D472FEA,             /* ldp d8, d9, [sp, #96] ... */
    0x6D4837EC, 0x6D493FEE,             /* ... ldp d14, d15, [sp, #144] */
    0xA8CA7BFD,                         /* ldp x29, x30, [sp], #160 */
    0xD65F03C0,                         /* ret */
};

void pg_put_end(pg_code *code) {
    put_keep_odd(code);
    put_integer(code, x0, 0);
    pg_put_bytes(code, leave, sizeof leave);
}

void pg_put_load(pg_code *code, int to, pg_base base, int32_t offset) {
    put_vector_load(code, to, first_base + (int)base, offset);
}

void pg_put_store(pg_code *code, int from, pg_base base, int32_t offset) {
    put_vector_store(code, from, first_base + (int)base, offset);
}

void pg_put_spread(pg_code *code, int to, pg_base base, int32_t offset) {
    put_memory(code, ldr_d, 8, to, first_base + (int)base, offset);
    if (code->wide) put_op(code, dup_lane_0, to, to, 0);
}

void pg_put_number(pg_code *code, int to, double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_integer(code, x16, bits);
    put_op(code, code->wide ? dup_x : fmov_d_x, to, x16, 0);
}

void pg_put_operation(pg_code *code, pg_step_kind kind, int to, int x, int y) {
    const uint32_t opcode = operations[kind][code->wide];
    switch (kind) {
    case PG_NEGATES:
    case PG_SQUARE_ROOT:
    case PG_MAGNITUDE: put_op(code, opcode, to, x, 0); break;
    case PG_IS_NAN:
        put_op(code, opcode, to, x, x);
        put_op(code, mvn, to, to, 0);
        break;
    case PG_IS_LESS:
    case PG_IS_LESS_EQUAL: put_op(code, opcode, to, y, x); break; /* y > x, y >= x */
    default: put_op(code, opcode, to, x, y);
    }
    if (opcode == 0) code->failed = true;
}

void pg_put_operation_on(pg_code *code, pg_step_kind kind, int to, int x, pg_base base,
                         int32_t offset) {
    pg_put_load(code, scratch, base, offset);
    pg_put_operation(code, kind, to, x, scratch);
}

/* y, and the bits of x where the condition's are set */
void pg_put_select(pg_code *code, int to, int condition, int x, int y) {
    put_op(code, orr, to, y, y);
    put_op(code, bit, to, x, condition);
}

void pg_put_check(pg_code *code, int result) {
    pg_put_operation(code, PG_MULTIPLIES, scratch, result, PG_ZERO);
    pg_put_operation(code, PG_ADDS, odd, odd, scratch);
}

void pg_put_call(pg_code *code, pg_scalar *function) {
    put_keep_odd(code);
    put_integer(code, x16, (uint64_t)(uintptr_t)function);
    put_op(code, blr, 0, x16, 0);
    put_reload(code);
}

void pg_put_note(pg_code *code, pg_noted *function, const void *note) {
    put_keep_odd(code);
    put_op(code, mov_x, x0, 0, the_frame);
    put_integer(code, x1, (uint64_t)(uintptr_t)note);
    put_integer(code, x16, (uint64_t)(uintptr_t)function);
    put_op(code, blr, 0, x16, 0);
    put_reload(code);
}

/* interpret(frame, first, count); if the result is 0, over leave */
void pg_put_interpret(pg_code *code, uint32_t first, uint32_t count) {
    put_keep_odd(code);
    put_op(code, mov_x, x0, 0, the_frame);
    put_integer(code, x1, first);
    put_integer(code, x2, count);
    put_memory(code, ldr_x, 8, x16, the_frame, offsetof(pg_frame, interpret));
    put_op(code, blr, 0, x16, 0);
    put(code, cbz_w | (uint32_t)(1 + sizeof leave / sizeof *leave) << 5);
    pg_put_bytes(code, leave, sizeof leave);
    put_reload(code);
}

size_t pg_put_loop(pg_code *code, uint32_t times) {
    put_integer(code, counter, times);
    return code->count;
}

/* A conditional branch reaches 1 MiB, less than code may have: it jumps over one that reaches 128.
 */
void pg_put_repeat(pg_code *code, size_t loop) {
    for (int base = 0; base < code->bases; base++)
        if (!pg_is_uniform((pg_base)base))
            put_op(code, add_immediate | PG_VECTOR_WIDTH << 10, first_base + base,
                   first_base + base, 0);
    put_op(code, sub_w_immediate | 1 << 10, counter, counter, 0);
    put_op(code, cbz_w | 2 << 5, counter, 0, 0);
    put(code, b | (((uint32_t)loop - (uint32_t)code->count) / 4 & 0x3FFFFFF));
    put_load_bases(code);
}

#endif
