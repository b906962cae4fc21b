/* native.c - program to machine code: sections and steps are compiled when they run again.
 *
 *   program, plan -> for each instruction or step: has it a form?
 *                       yes: forward.c, backward.c write it, with registers.c and the target's file
 *                       no:  a call of the interpreter, for all such that follow each other
 *                 -> bytes -> pages that can be executed, and not written
 *
 * Code for a block of 8 or 32 lanes is a loop over its vectors, for all that lies between two
 * calls: results stay in registers from one instruction to the next. Dots and long runs of one op
 * are left to the kernels, which do several vectors at a time. Invariant: bits are the
 * interpreter's. Forms check that results are finite, where an op can fail; if one isn't, the
 * replay does the block again with the interpreter, which judges. Ownership: code belongs to its
 * program or plan, is published by one atomic store, and freed with it. Cost: some 100 ns
 * an instruction and part, once; at most 2 MiB for each part. */
#include "native/native.h"

#include "native/emit.h"
#include "native/layer.h"
#include "native/pages.h"
#include "ops/kernels.h"

#include <string.h>

/* Of each part. Longer code is slower than the interpreter: it is fetched anew each time. */
enum { most_bytes = 2 << 20 };

struct pg_native {
    pg_cached cached; /* first: a program keeps it as that */
    int (*run)(pg_frame *);
    pg_pages pages;
    pg_note_block *notes; /* that the code refers to */
};

static void free_native(pg_cached *cached) {
    pg_native *native = (pg_native *)cached;
    pg_free_pages(&native->pages);
    pg_free_notes(native->notes);
    pg_free(native);
}

/* ---- Code ------------------------------------------------------------------------------------ */

#if PG_HAS_NATIVE

bool pg_grow_code(pg_code *code, size_t count) {
    while (!code->failed && code->capacity - code->count < count)
        code->failed = code->capacity >= most_bytes ||
                       pg_grow((void **)&code->bytes, &code->capacity, code->capacity, 1) < 0;
    if (code->failed) code->count = code->capacity; /* nothing more is written */
    return !code->failed;
}

/* Instructions or steps, one after the other, that one call interprets. */
typedef struct waiting {
    uint32_t first, count;
} waiting;

/* Forms come next: those that wait are interpreted before them. What lies between two calls is a
 * loop, if the code is wide. */
static void begin_forms(pg_emitter *e, waiting *w) {
    if (w->count > 0) pg_put_interpret(&e->code, w->first, w->count);
    w->count = 0;
    if (!e->code.wide || e->looping) return;
    e->loop = pg_put_loop(&e->code, (uint32_t)(e->lanes * sizeof(double) / PG_VECTOR_WIDTH));
    e->looping = true;
}

static void end_loop(pg_emitter *e) {
    if (e->looping) pg_put_repeat(&e->code, e->loop);
    e->looping = false;
    pg_emit_folds(e);
    pg_forget_registers(e);
}

static void interpret(pg_emitter *e, waiting *w, uint32_t first, uint32_t count) {
    if (w->count == 0) {
        end_loop(e);
        w->first = first;
    }
    w->count += count;
}

static void end_forms(pg_emitter *e, const waiting *w) {
    end_loop(e);
    if (w->count > 0) pg_put_interpret(&e->code, w->first, w->count);
}

static bool has_form(pg_emitter *e, uint32_t i) {
    if (e->plan == NULL)
        return e->tangents ? pg_tangent_has_form(e, &e->code_of[i])
                           : pg_has_form(e, &e->code_of[i]);
    return e->tangents ? pg_step_tangent_has_form(e, &e->steps[i])
                       : pg_step_has_form(e, &e->steps[i]);
}

static void emit_form(pg_emitter *e, uint32_t i) {
    if (e->plan == NULL) (e->tangents ? pg_emit_tangent : pg_emit_instr)(e, &e->code_of[i]);
    else (e->tangents ? pg_emit_step_tangent : pg_emit_step)(e, &e->steps[i]);
}

/* What has no form is interpreted in whole runs, but for a layer over one row. */
static void emit_all(pg_emitter *e, uint32_t length) {
    waiting w = {0};
    for (uint32_t i = 0; i < length && !e->code.failed;) {
        const bool form = has_form(e, i), layer = !form && pg_is_row_layer(e, i);
        const uint32_t run = e->plan != NULL ? e->steps[i].run : e->code_of[i].run;
        if (!form && !layer) interpret(e, &w, i, run);
        else {
            begin_forms(e, &w);
            (form ? emit_form : pg_emit_layer)(e, i);
        }
        i += form ? 1 : run;
    }
    end_forms(e, &w);
}

static void emit(pg_emitter *e) {
    const pg_program *const p = e->program;
    const size_t uniform = p->uniform_length;
    size_t length = e->uniform ? uniform : p->length - uniform;
    e->code_of = e->uniform ? p->code : p->code + uniform;
    e->length_of = length;
    if (e->plan != NULL && !e->tangents) pg_find_circles(e);
    if (e->plan != NULL) {
        e->steps = e->uniform ? e->plan->uniform : e->plan->rows;
        length = e->uniform ? e->plan->uniform_count : e->plan->row_count;
    }
    pg_forget_registers(e);
    pg_put_begin(&e->code);
    emit_all(e, (uint32_t)length);
    pg_put_end(&e->code);
}

static size_t lanes_of(int part) {
    if (part < PG_WIDTHS) return pg_lanes_of[part];
    return part == PG_NATIVE_TANGENTS ? PG_SUBLANES : 1;
}

static void set_up(pg_emitter *e, int part) {
    const int32_t number = sizeof(double), slot = (int32_t)lanes_of(part) * number;
    e->uniform = part == PG_NATIVE_UNIFORM || part == PG_NATIVE_UNIFORM_TANGENTS;
    e->tangents = part >= PG_NATIVE_TANGENTS;
    e->fast = e->program->fast && !e->tangents;
    e->powers = pg_pow_is_known();
    e->grads = e->tangents ? PG_GRAD_TANGENTS : PG_GRADS;
    e->sums = e->tangents ? PG_SUM_TANGENTS : PG_SUMS;
    e->lanes = lanes_of(part);
    e->code.wide = e->lanes > 1;
    e->code.bases = e->tangents ? PG_BASES : PG_VALUE_TANGENTS;
    for (int base = 0; base < PG_BASES; base++) e->stride[base] = slot;
    e->stride[PG_UNIFORM] = e->stride[PG_UNIFORM_TANGENTS] = number;
    e->stride[PG_SUMS] = number;
    e->stride[PG_SUM_TANGENTS] = e->uniform ? number : PG_SUBLANES * number;
}

static void free_formulas(pg_emitter *e) {
    for (int op = 0; op < PG_OP_PROGRAM; op++)
        for (int name = 0; name < PG_FORMULA_NAMES; name++) pg_free(e->formulas[op][name]);
}

static pg_native *compile(const pg_program *program, const pg_backward_plan *plan, int part) {
    pg_emitter *e = pg_zeroed(1, sizeof *e);
    pg_native *native = pg_zeroed(1, sizeof *native);
    bool done = false;
    if (e != NULL && native != NULL) {
        e->program = program;
        e->plan = plan;
        set_up(e, part);
        emit(e);
        done = !e->code.failed && pg_new_pages(&native->pages, e->code.bytes, e->code.count);
        native->notes = e->notes;
    }
    if (e != NULL) {
        free_formulas(e);
        pg_free(e->circle);
        pg_free(e->code.bytes);
    }
    pg_free(e);
    if (!done) {
        if (native != NULL) pg_free_notes(native->notes);
        pg_free(native);
        return NULL;
    }
    native->cached.free = free_native;
    memcpy(&native->run, &native->pages.at, sizeof native->run); /* C has no such cast */
    return native;
}

/* ---- Published ------------------------------------------------------------------------------- */

int pg_has_native(void) { return pg_target_is_here(); }

/* Instead of code: where there can't be any, it isn't tried again; where it ran once, the second
 * run compiles it. */
static pg_cached no_code, ran_once;

/* Put it into the cache, unless there is code already: `found_ret`. */
static bool publish(pg_cache *cache, pg_cached **found_ret, pg_cached *mine) {
    while (*found_ret == NULL || *found_ret == &ran_once)
        if (atomic_compare_exchange_strong(cache, found_ret, mine)) return true;
    return false;
}

const pg_native *pg_native_of(const pg_program *program, const pg_backward_plan *plan, int part,
                              bool at_once) {
    /* a cache is the one part of a program or plan that changes */
    pg_cache *const cache = plan != NULL ? &((pg_backward_plan *)plan)->cache[part]
                                         : &((pg_program *)program)->cache[part];
    pg_cached *found = atomic_load_explicit(cache, memory_order_acquire);
    if (found == NULL && !at_once) {
        atomic_compare_exchange_strong(cache, &found,
                                       &ran_once); /* if another was first: as well */
        return NULL;
    }
    if (found == NULL || found == &ran_once) {
        pg_native *made = compile(program, plan, part);
        pg_cached *const mine = made != NULL ? &made->cached : &no_code;
        if (publish(cache, &found, mine)) found = mine;
        else if (made != NULL) free_native(mine);
    }
    return found == &no_code ? NULL : (const pg_native *)found;
}

#else

int pg_has_native(void) { return 0; }

const pg_native *pg_native_of(const pg_program *program, const pg_backward_plan *plan, int part,
                              bool at_once) {
    (void)program, (void)plan, (void)part, (void)at_once, (void)free_native;
    return NULL;
}

#endif

size_t pg_native_bytes(const pg_native *native, const void **bytes_ret) {
    *bytes_ret = native->pages.at;
    return native->pages.size;
}

int pg_native_run(const pg_native *native, pg_frame *frame) {
    for (size_t i = 0; i < sizeof frame->odd / sizeof *frame->odd; i++) frame->odd[i] = 0.0;
    return native->run(frame);
}

bool pg_native_is_odd(const pg_frame *frame) {
    double odd = 0.0;
    for (size_t i = 0; i < sizeof frame->odd / sizeof *frame->odd; i++) odd += frame->odd[i];
    return odd != odd;
}
