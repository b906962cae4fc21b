/* x86_64.c - machine code for x86-64 with AVX2: how each operation of target.h is encoded.
 *
 *   rbx        the frame                    xmm0 .. 12   the caller's
 *   rsi rdi    values, gradients            xmm13        scratch
 *   rcx rdx    sums, uniform values         xmm14        odd
 *   r8 .. r11  their tangents
 *   r14        the loop's counter           xmm15        0.0
 *   rax        scratch
 *
 * All but rbx, rbp and r14 are lost in a call, and loaded again from the frame after it. rbp is the
 * frame pointer, so that profilers unwind.
 * Invariant: no operation is fused and none rounds other than C's. Comparisons are quiet.
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 2 (VEX prefix: 2.3;
 * each instruction's page); System V ABI, AMD64 supplement, 3.2. */
#include "base/portability.h"
#include "native/target.h"

#include <string.h>

#if PG_HAS_NATIVE && PG_X86_LEVELS

enum { scratch = 13, odd = 14 };
enum { none = 0, p66 = 1, pF2 = 3 };             /* VEX.pp */
enum { map_0F = 1, map_0F38 = 2, map_0F3A = 3 }; /* VEX.mmmmm */
enum { rax = 0, rbx = 3 };

static const uint8_t base_register[PG_BASES] = {6, 7, 1, 2, 8, 9, 10, 11}; /* rsi rdi rcx rdx r8 */

bool pg_target_is_here(void) { return PG_HAS_AVX2(); }

static void put(pg_code *code, int byte) {
    const uint8_t b = (uint8_t)byte;
    pg_put_bytes(code, &b, 1);
}

static void put_u32(pg_code *code, uint32_t x) { pg_put_bytes(code, &x, sizeof x); }

/* An instruction with a VEX prefix, up to its opcode; the operand that ModRM.rm names has its
 * register's upper bit in `rm`. `third`: the operand in vvvv; 0 if there is none. */
static void put_vex(pg_code *code, bool wide, int pp, int map, int w, int opcode, int reg,
                    int third, int rm) {
    const int not_r = reg < 8 ? 0x80 : 0, low = (~third & 15) << 3 | (wide ? 4 : 0) | pp;
    if (map == map_0F && w == 0 && rm < 8) {
        put(code, 0xC5);
        put(code, not_r | low);
    } else {
        put(code, 0xC4);
        put(code, not_r | 0x40 | (rm < 8 ? 0x20 : 0) | map);
        put(code, w << 7 | low);
    }
    put(code, opcode);
}

/* op reg, third, rm */
static void put_op(pg_code *code, bool wide, int pp, int map, int opcode, int reg, int third,
                   int rm) {
    put_vex(code, wide, pp, map, 0, opcode, reg, third, rm);
    put(code, 0xC0 | (reg & 7) << 3 | (rm & 7));
}

/* op reg, third, [base + offset] */
static void put_memory(pg_code *code, bool wide, int pp, int map, int opcode, int reg, int third,
                       int base, int32_t offset) {
    put_vex(code, wide, pp, map, 0, opcode, reg, third, base);
    const bool small = offset >= -128 && offset < 128;
    put(code, (small ? 0x40 : 0x80) | (reg & 7) << 3 | (base & 7));
    pg_put_bytes(code, &offset, small ? 1 : 4); /* little-endian */
}

/* mov base, [frame] for all bases; 0.0; odd from the frame. */
static void put_reload(pg_code *code) {
    for (int base = 0; base < code->bases; base++) {
        put(code, base_register[base] < 8 ? 0x48 : 0x4C), put(code, 0x8B);
        put(code, 0x40 | (base_register[base] & 7) << 3 | rbx);
        put(code, (int)(offsetof(pg_frame, bases) + (size_t)base * sizeof(double *)));
    }
    put_op(code, false, p66, map_0F, 0x57, PG_ZERO, PG_ZERO, PG_ZERO); /* vxorpd */
    put_memory(code, code->wide, p66, map_0F, 0x10, odd, 0, rbx, offsetof(pg_frame, odd));
}

static void put_keep_odd(pg_code *code) {
    put_memory(code, code->wide, p66, map_0F, 0x11, odd, 0, rbx, offsetof(pg_frame, odd));
}

static void put_zero_upper(pg_code *code) {
    if (code->wide) pg_put_bytes(code, "\xC5\xF8\x77", 3);
}

/* push rbp; mov rbp, rsp; push rbx; push r14; mov rbx, rdi */
void pg_put_begin(pg_code *code) {
    pg_put_bytes(code, "\x55\x48\x89\xE5\x53\x41\x56\x48\x89\xFB", 10);
    put_reload(code);
}

/* pop r14; pop rbx; pop rbp; ret */
static const char leave[] = "\x41\x5E\x5B\x5D\xC3";

void pg_put_end(pg_code *code) {
    put_keep_odd(code);
    put_zero_upper(code);
    pg_put_bytes(code, "\x31\xC0", 2); /* xor eax, eax */
    pg_put_bytes(code, leave, sizeof leave - 1);
}

void pg_put_load(pg_code *code, int to, pg_base base, int32_t offset) {
    put_memory(code, code->wide, code->wide ? p66 : pF2, map_0F, 0x10, to, 0, base_register[base],
               offset);
}

void pg_put_store(pg_code *code, int from, pg_base base, int32_t offset) {
    put_memory(code, code->wide, code->wide ? p66 : pF2, map_0F, 0x11, from, 0, base_register[base],
               offset);
}

void pg_put_spread(pg_code *code, int to, pg_base base, int32_t offset) {
    if (code->wide) put_memory(code, true, p66, map_0F38, 0x19, to, 0, base_register[base], offset);
    else pg_put_load(code, to, base, offset);
}

/* mov rax, number; vmovq xmm, rax; vpbroadcastq */
void pg_put_number(pg_code *code, int to, double number) {
    put(code, 0x48), put(code, 0xB8);
    pg_put_bytes(code, &number, sizeof number);
    put_vex(code, false, p66, map_0F, 1, 0x6E, to, 0, rax);
    put(code, 0xC0 | (to & 7) << 3 | rax);
    if (code->wide) put_op(code, true, p66, map_0F38, 0x59, to, 0, to);
}

/* The sign's bit, or all others, in the scratch register: all bits, shifted. */
static void put_sign(pg_code *code, bool sign) {
    put_op(code, code->wide, p66, map_0F, 0x76, scratch, scratch, scratch);      /* vpcmpeqd */
    put_op(code, code->wide, p66, map_0F, 0x73, sign ? 6 : 2, scratch, scratch); /* psllq, psrlq */
    put(code, sign ? 63 : 1);
}

static void put_arithmetic(pg_code *code, int opcode, int to, int x, int y) {
    put_op(code, code->wide, code->wide ? p66 : pF2, map_0F, opcode, to, x, y);
}

static void put_comparison(pg_code *code, int predicate, int to, int x, int y) {
    put_op(code, code->wide, p66, map_0F, 0xC2, to, x, y);
    put(code, predicate);
}

/* Of addition, subtraction, multiplication and division. */
static int opcode_of(pg_step_kind kind) {
    return kind == PG_ADDS ? 0x58 : kind == PG_SUBTRACTS ? 0x5C : kind == PG_DIVIDES ? 0x5E : 0x59;
}

void pg_put_operation_on(pg_code *code, pg_step_kind kind, int to, int x, pg_base base,
                         int32_t offset) {
    put_memory(code, code->wide, code->wide ? p66 : pF2, map_0F, opcode_of(kind), to, x,
               base_register[base], offset);
}

void pg_put_operation(pg_code *code, pg_step_kind kind, int to, int x, int y) {
    switch (kind) {
    case PG_ADDS:
    case PG_SUBTRACTS:
    case PG_MULTIPLIES:
    case PG_DIVIDES: put_arithmetic(code, opcode_of(kind), to, x, y); break;
    case PG_SQUARE_ROOT: put_arithmetic(code, 0x51, to, code->wide ? 0 : x, x); break;
    case PG_IS_LESS: put_comparison(code, 0x11, to, x, y); break;
    case PG_IS_LESS_EQUAL: put_comparison(code, 0x12, to, x, y); break;
    case PG_IS_EQUAL: put_comparison(code, 0x00, to, x, y); break;
    case PG_IS_NAN: put_comparison(code, 0x03, to, x, x); break;
    case PG_ANDS: put_op(code, code->wide, p66, map_0F, 0x54, to, x, y); break;
    case PG_ORS: put_op(code, code->wide, p66, map_0F, 0x56, to, x, y); break;
    case PG_NEGATES:
        put_sign(code, true);
        put_op(code, code->wide, p66, map_0F, 0x57, to, x, scratch); /* vxorpd */
        break;
    case PG_MAGNITUDE:
        put_sign(code, false);
        put_op(code, code->wide, p66, map_0F, 0x54, to, x, scratch); /* vandpd */
        break;
    default: code->failed = true;
    }
}

/* vblendvpd */
void pg_put_select(pg_code *code, int to, int condition, int x, int y) {
    put_op(code, code->wide, p66, map_0F3A, 0x4B, to, y, x);
    put(code, condition << 4);
}

void pg_put_check(pg_code *code, int result) {
    put_arithmetic(code, 0x59, scratch, result, PG_ZERO);
    put_arithmetic(code, 0x58, odd, odd, scratch);
}

/* mov rax, function; call rax */
void pg_put_call(pg_code *code, pg_scalar *function) {
    put_keep_odd(code);
    put(code, 0x48), put(code, 0xB8);
    pg_put_bytes(code, &function, sizeof function);
    put(code, 0xFF), put(code, 0xD0);
    put_reload(code);
}

/* mov rdi, rbx; mov rsi, note; mov rax, function; call rax */
void pg_put_note(pg_code *code, pg_noted *function, const void *note) {
    put_keep_odd(code);
    put_zero_upper(code);
    pg_put_bytes(code, "\x48\x89\xDF\x48\xBE", 5);
    pg_put_bytes(code, &note, sizeof note);
    put(code, 0x48), put(code, 0xB8);
    pg_put_bytes(code, &function, sizeof function);
    put(code, 0xFF), put(code, 0xD0);
    put_reload(code);
}

/* mov rdi, rbx; mov esi, first; mov edx, count; call [frame]; test eax, eax; jz over leave */
void pg_put_interpret(pg_code *code, uint32_t first, uint32_t count) {
    put_keep_odd(code);
    put_zero_upper(code);
    pg_put_bytes(code, "\x48\x89\xDF", 3);
    put(code, 0xBE), put_u32(code, first);
    put(code, 0xBA), put_u32(code, count);
    put(code, 0xFF), put(code, 0x53), put(code, offsetof(pg_frame, interpret));
    pg_put_bytes(code, "\x85\xC0\x74", 3);
    put(code, sizeof leave - 1);
    pg_put_bytes(code, leave, sizeof leave - 1);
    put_reload(code);
}

/* mov r14d, times */
size_t pg_put_loop(pg_code *code, uint32_t times) {
    put(code, 0x41), put(code, 0xBE), put_u32(code, times);
    return code->count;
}

/* add base, 32 ...; dec r14d; jnz loop; the bases' beginning again */
void pg_put_repeat(pg_code *code, size_t loop) {
    for (int base = 0; base < code->bases; base++) {
        if (pg_is_uniform((pg_base)base)) continue;
        put(code, base_register[base] < 8 ? 0x48 : 0x49), put(code, 0x83);
        put(code, 0xC0 | (base_register[base] & 7));
        put(code, PG_VECTOR_WIDTH);
    }
    pg_put_bytes(code, "\x41\xFF\xCE\x0F\x85", 5);
    put_u32(code, (uint32_t)loop - (uint32_t)(code->count + 4));
    put_keep_odd(code);
    put_reload(code);
}

#endif
