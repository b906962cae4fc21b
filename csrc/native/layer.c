/* layer.c - a layer over one row: its dots, and how their gradients reach factors and weights.
 *
 * With one row there is one operation for each weight, so a layer costs what is read to find the
 * weights. Where those of each dot lie side by side, a few words say all about it; they are noted
 * when code is made, one layer after the other in the order of the code, so that memory is read
 * straight on. Machine code calls the functions here with a layer's note. The factors, which all
 * dots have in common, are copied side by side, a panel at a time; weights are taken by the vector:
 *
 *   forward    eight dots x four factors: the products are transposed, so that sums in lanes get
 *              theirs from left to right
 *   backward   a panel of factors' gradients stays in registers; each dot adds weight * g
 *              the sums of a dot's weights get factor * g
 *
 * Invariant: bits are those of lanes_dots.h: each sum gets the same products in the same order.
 * Ownership: notes belong to the emitter, and then to its code. Cost: forward four operations on
 * vectors of four for 16 weights, and eight shuffles; backward two for each vector of weights,
 * twice. */
#include "native/layer.h"

#include "base/transpose.h"

struct pg_note_block {
    pg_note_block *next;
    size_t used, size;
    double bytes[]; /* aligned for all that is noted */
};

void pg_free_notes(pg_note_block *notes) {
    while (notes != NULL) {
        pg_note_block *const next = notes->next;
        pg_free(notes);
        notes = next;
    }
}

#if PG_HAS_NATIVE

/* ---- Notes ----------------------------------------------------------------------------------- */

/* A dot: slots of its first weight, of its start, or PG_NO_VALUE, and of its result; accumulators
 * of its first weight, and of its start, or PG_NO_VALUE. */
typedef struct row_dot {
    uint32_t weights, start, result, sums, start_sum;
} row_dot;

typedef struct row_layer {
    uint32_t dots, factors;
    bool pulls;               /* do factors get gradients? */
    const uint32_t *slots;    /* the factors' */
    const pg_target *targets; /* their gradients' */
    const row_dot *dot;
} row_layer;

/* So many bytes that stay where they are; NULL without memory: the code has failed. */
static void *reserve(pg_emitter *e, size_t count, size_t size) {
    enum { at_least = 1 << 14 };
    const size_t wanted = (count * size + 7) / 8 * 8;
    pg_note_block *block = e->notes;
    if (block == NULL || block->size - block->used < wanted) {
        const size_t bytes = wanted > at_least ? wanted : at_least;
        block = pg_realloc(NULL, sizeof *block + bytes, 1);
        if (block == NULL) {
            e->code.failed = true;
            return NULL;
        }
        *block = (pg_note_block){.next = e->notes, .size = bytes};
        e->notes = block;
    }
    char *const at = (char *)block->bytes + block->used;
    block->used += wanted;
    return at;
}

static bool is_backward(const pg_emitter *e) { return e->plan != NULL; }

static const pg_instr *instr_of(const pg_emitter *e, uint32_t i) {
    return is_backward(e) ? &e->program->code[e->steps[i].instr] : &e->code_of[i];
}

/* Do the weights of each dot lie side by side, and so the sums of their gradients? A gated dot may
 * have to be computed carefully; one that starts from a row's value has a form of its own. */
bool pg_is_row_layer(const pg_emitter *e, uint32_t i) {
    if (e->lanes > 1 || e->uniform || e->tangents) return false;
    if (is_backward(e) && e->steps[i].instr == PG_COLLECT) return false;
    const uint32_t run = is_backward(e) ? e->steps[i].run : e->code_of[i].run;
    if (run == 1) return false;
    for (uint32_t d = 0; d < run; d++) {
        const pg_instr *const dot = instr_of(e, i + d);
        const pg_pair *const pairs = e->program->pairs + dot->first;
        if (dot->op != PG_OP_DOT || dot->shape & (PG_DOT_SQUARES | PG_DOT_GATED)) return false;
        if ((dot->shape & PG_DOT_STARTS) && !(dot->shape & PG_DOT_UNIFORM_START)) return false;
        if (is_backward(e) && e->steps[i + d].folds != PG_FOLDS_NEIGHBOURS) return false;
        for (uint32_t k = 1; k < dot->count; k++)
            if (pairs[k].left != pairs[0].left + k) return false;
    }
    return true;
}

static row_dot note_of(const pg_emitter *e, uint32_t i) {
    const pg_instr *const dot = instr_of(e, i);
    row_dot note = {.weights = e->program->pairs[dot->first].left,
                    .start = dot->shape & PG_DOT_STARTS ? dot->a : PG_NO_VALUE,
                    .result = dot->dst,
                    .start_sum = PG_NO_VALUE};
    if (!is_backward(e)) return note;
    const pg_step *const step = &e->steps[i];
    note.sums = e->plan->targets[step->first].at;
    if (step->a.how == PG_ACCUMULATE_FOLD) note.start_sum = step->a.at;
    return note;
}

static row_layer *new_layer(pg_emitter *e, uint32_t i) {
    const pg_instr *const dot = instr_of(e, i);
    const uint32_t dots = is_backward(e) ? e->steps[i].run : dot->run, factors = dot->count;
    row_layer *const layer = reserve(e, 1, sizeof *layer);
    uint32_t *const slots = reserve(e, factors, sizeof *slots);
    pg_target *const targets = reserve(e, is_backward(e) ? factors : 0, sizeof *targets);
    row_dot *const notes = reserve(e, dots, sizeof *notes);
    if (layer == NULL || slots == NULL || targets == NULL || notes == NULL) return NULL;
    for (uint32_t k = 0; k < factors; k++) slots[k] = e->program->pairs[dot->first + k].right;
    for (uint32_t k = 0; is_backward(e) && k < factors; k++)
        targets[k] = e->plan->targets[e->steps[i].first + 2 * (size_t)k + 1];
    for (uint32_t d = 0; d < dots; d++) notes[d] = note_of(e, i + d);
    const bool pulls = is_backward(e) && e->steps[i].right != PG_ACCUMULATE_NONE;
    *layer = (row_layer){dots, factors, pulls, slots, targets, notes};
    return layer;
}

/* ---- Forward --------------------------------------------------------------------------------- */

enum { panel_width = 64, abreast = 8 };

#if PG_X86_LEVELS
PG_BEGIN_AVX2
#endif

static inline uint32_t width_of_panel(uint32_t first, uint32_t count) {
    return count - first < panel_width ? count - first : panel_width;
}

/* Add the products of `count` factors to the sums of eight dots. */
static inline PG_ALWAYS_INLINE void add_products(double *sums, const double *const *ws,
                                                 const double *xs, uint32_t count) {
    uint32_t i = 0;
#if PG_X86_LEVELS && PG_HAS_SHUFFLE
    pg_four rows[2][4], sum[2] = {((const pg_four *)sums)[0], ((const pg_four *)sums)[1]};
    for (; i + 4 <= count; i += 4) {
        const pg_four x = *(const pg_four *)(xs + i);
        for (int d = 0; d < abreast; d++)
            rows[d / 4][d % 4] = *(const pg_four_anywhere *)(ws[d] + i) * x;
        for (int half = 0; half < 2; half++) pg_transpose(rows[half]);
        for (int k = 0; k < 4; k++)
            for (int half = 0; half < 2; half++) sum[half] += rows[half][k];
    }
    for (int half = 0; half < 2; half++) ((pg_four *)sums)[half] = sum[half];
#endif
    for (; i < count; i++)
        for (int d = 0; d < abreast; d++) sums[d] += ws[d][i] * xs[i];
}

/* Up to eight dots, as far as a panel of factors goes; what is missing is the first one again. A
 * sum without a start begins with -0.0, which changes no bit of a first product. */
static void add_dots(const pg_frame *frame, const row_dot *dots, uint32_t count, const double *xs,
                     uint32_t first, uint32_t width) {
    _Alignas(32) double sums[abreast];
    const double *ws[abreast], *const uniform = frame->bases[PG_UNIFORM];
    double *const values = frame->bases[PG_VALUES];
    for (uint32_t d = 0; d < abreast; d++) {
        const row_dot *const dot = &dots[d < count ? d : 0];
        ws[d] = uniform + dot->weights + first;
        if (first > 0) sums[d] = values[dot->result];
        else sums[d] = dot->start != PG_NO_VALUE ? uniform[dot->start] : -0.0;
    }
    add_products(sums, ws, xs, width);
    for (uint32_t d = 0; d < count; d++) values[dots[d].result] = sums[d];
}

static void forward(const pg_frame *frame, const void *note) {
    const row_layer *const l = note;
    _Alignas(32) double xs[panel_width];
    for (uint32_t first = 0; first < l->factors; first += panel_width) {
        const uint32_t width = width_of_panel(first, l->factors);
        for (uint32_t i = 0; i < width; i++) xs[i] = frame->bases[PG_VALUES][l->slots[first + i]];
        for (uint32_t d = 0; d < l->dots; d += abreast) {
            const uint32_t left = l->dots - d;
            add_dots(frame, l->dot + d, left < abreast ? left : abreast, xs, first, width);
        }
    }
}

/* ---- Backward -------------------------------------------------------------------------------- */

typedef double four PG_VECTOR_ANYWHERE(32);
enum { at_once = 4 }; /* vectors */

/* Add weight * g of each dot to the gradients of so many fours of factors, a constant. */
static inline PG_ALWAYS_INLINE void pull(double *to, const pg_frame *frame, const row_layer *l,
                                         uint32_t first, int fours) {
    const double *const uniform = frame->bases[PG_UNIFORM] + first, *const grads =
                                                                        frame->bases[PG_GRADS];
    four sums[at_once];
    for (int v = 0; v < fours; v++) sums[v] = ((const four *)to)[v];
    for (uint32_t d = 0; d < l->dots; d++) {
        const double g = grads[l->dot[d].result];
        const four *const weights = (const four *)(uniform + l->dot[d].weights);
        for (int v = 0; v < fours; v++) sums[v] += weights[v] * g;
    }
    for (int v = 0; v < fours; v++) ((four *)to)[v] = sums[v];
}

/* The gradients of a panel's factors: of each, what it has, and the dots' contributions. */
static void pull_panel(const pg_frame *frame, const row_layer *l, uint32_t first, uint32_t width) {
    _Alignas(32) double sums[panel_width];
    double *const grads = frame->bases[PG_GRADS];
    const pg_target *const targets = l->targets + first;
    for (uint32_t i = 0; i < width; i++)
        sums[i] = targets[i].how == PG_ACCUMULATE_ADD ? grads[targets[i].at] : 0.0;
    uint32_t i = 0;
    for (; i + 16 <= width; i += 16) pull(sums + i, frame, l, first + i, at_once);
    for (; i + 4 <= width; i += 4) pull(sums + i, frame, l, first + i, 1);
    for (; i < width; i++)
        for (uint32_t d = 0; d < l->dots; d++)
            sums[i] +=
                frame->bases[PG_UNIFORM][l->dot[d].weights + first + i] * grads[l->dot[d].result];
    for (i = 0; i < width; i++)
        if (targets[i].how != PG_ACCUMULATE_NONE) grads[targets[i].at] = sums[i];
}

/* Add factor * g to each dot's sums of so many fours of weights, a constant. */
static inline PG_ALWAYS_INLINE void push(const pg_frame *frame, const row_layer *l,
                                         const double *xs, uint32_t first, int fours) {
    double *const sums = frame->bases[PG_SUMS] + first;
    const double *const grads = frame->bases[PG_GRADS];
    four x[at_once];
    for (int v = 0; v < fours; v++) x[v] = ((const four *)xs)[v];
    for (uint32_t d = 0; d < l->dots; d++) {
        const double g = grads[l->dot[d].result];
        four *const to = (four *)(sums + l->dot[d].sums);
        for (int v = 0; v < fours; v++) to[v] += x[v] * g;
    }
}

/* The sums of the weights of a panel's factors. */
static void push_panel(const pg_frame *frame, const row_layer *l, uint32_t first, uint32_t width) {
    _Alignas(32) double xs[panel_width];
    for (uint32_t i = 0; i < width; i++) xs[i] = frame->bases[PG_VALUES][l->slots[first + i]];
    uint32_t i = 0;
    for (; i + 16 <= width; i += 16) push(frame, l, xs + i, first + i, at_once);
    for (; i + 4 <= width; i += 4) push(frame, l, xs + i, first + i, 1);
    for (; i < width; i++)
        for (uint32_t d = 0; d < l->dots; d++)
            frame->bases[PG_SUMS][l->dot[d].sums + first + i] +=
                xs[i] * frame->bases[PG_GRADS][l->dot[d].result];
}

static void backward(const pg_frame *frame, const void *note) {
    const row_layer *const l = note;
    const double *const grads = frame->bases[PG_GRADS];
    double *const sums = frame->bases[PG_SUMS];
    for (uint32_t first = 0; first < l->factors; first += panel_width) {
        const uint32_t width = width_of_panel(first, l->factors);
        if (l->pulls) pull_panel(frame, l, first, width);
        push_panel(frame, l, first, width);
    }
    for (uint32_t d = 0; d < l->dots; d++)
        if (l->dot[d].start_sum != PG_NO_VALUE)
            sums[l->dot[d].start_sum] += grads[l->dot[d].result];
}

#if PG_X86_LEVELS
PG_END_TARGET
#endif

void pg_emit_layer(pg_emitter *e, uint32_t i) {
    const row_layer *const layer = new_layer(e, i);
    if (layer == NULL) return;
    pg_put_note(&e->code, is_backward(e) ? backward : forward, layer);
    pg_forget_registers(e);
}

#endif
