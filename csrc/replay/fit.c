/* fit.c - the training loop: replay a batch, take an optimizer's step, and repeat.
 *
 * The parameters live in arrays meanwhile, in the program's order, so that a replay reads them and
 * writes their gradients in place; the caller's are in the optimizer's order, and are copied at the
 * beginning and in the end. There are two sets of arrays. A step computes `next` from `now`, and is
 * committed, by exchanging the two, only if everything it computed is finite; else `now` is
 * unchanged.
 *
 *   [ the program's parameters | those that only the optimizer has: their gradients are 0 ]
 *
 * A parameter that only the program has is stepped with the others, and then put back.
 * Where gradients are just sums over the rows, replays write the sums where the gradients are, and
 * the step multiplies by their scale: one pass over the parameters instead of two. SGD's step is
 * taken while these sums are formed, as far as it can be (pg_descent).
 * Clipping needs all gradients before the first step, and then both wait for it.
 * If the optimizer has no other parameters, they live in the workspace's uniform slots, where
 * replays need them, and in a twin of that array, with which it is exchanged.
 * With a crew, threads share a batch's rows, its weights and the step: see shared.c.
 * Owns both sets while it trains. Cost: a replay and at most one pass over the parameters a step;
 * no allocation after the first. */
#include "replay/replay.h"

#include "base/arrays.h"
#include "base/crew.h"

#include <math.h>
#include <string.h>

typedef struct trainer {
    pg_workspace *ws;
    const pg_task *task;
    pg_training *t;
    pg_argument *arguments; /* of a batch, if there is no index */
    size_t count;           /* of numbers in an array */
    double *numbers;        /* the arrays */
    uint32_t *at;           /* where in them the optimizer's parameters are */
    uint32_t *fixed;        /* those that only the program has */
    size_t fixed_count;
    size_t first_step; /* steps taken before */
    bool sums;         /* are sums over the rows the gradients? */
    pg_descent descent;
    pg_optimizer_arrays now, next;
    pg_numbers twin; /* of the workspace's uniform slots, where the parameters live there */
} trainer;

/* ---- The arrays ------------------------------------------------------------------------------ */

/* Find each parameter's place. */
static void arrange(trainer *r) {
    const size_t params = r->ws->program->param_count;
    r->count = params;
    for (size_t i = 0; i < params; i++) r->fixed[i] = 1;
    for (size_t i = 0; i < r->t->count; i++) {
        const uint32_t place = r->t->places[i];
        r->at[i] = place != PG_NO_VALUE ? place : (uint32_t)r->count++;
        if (place != PG_NO_VALUE) r->fixed[place] = 0;
    }
    for (uint32_t i = 0; i < params; i++)
        if (r->fixed[i] != 0) r->fixed[r->fixed_count++] = i;
}

/* One array of a set: NULL if the optimizer has none. Before it there is room for an output's sum.
 */
static double *array_of(trainer *r, size_t number, const double *wanted) {
    return wanted != NULL ? r->numbers + number * (1 + r->count) + 1 : NULL;
}

static pg_optimizer_arrays set_of(trainer *r, size_t number) {
    const pg_optimizer_arrays *wanted = &r->t->arrays;
    const bool is_adam = r->t->kind == PG_ADAM, is_sgd = r->t->kind == PG_SGD;
    return (pg_optimizer_arrays){
        .data = array_of(r, 4 * number, wanted->data),
        .gradients = array_of(r, 4 * number + 1, wanted->gradients),
        .velocity = is_adam ? NULL : array_of(r, 4 * number + 2, wanted->velocity),
        .mean = is_adam ? array_of(r, 4 * number + 2, wanted->mean) : NULL,
        .square = is_sgd ? NULL : array_of(r, 4 * number + 3, wanted->square),
        .scale = 1.0};
}

static void copy_in(const trainer *r, double *to, const double *from) {
    for (size_t i = 0; to != NULL && i < r->t->count; i++) to[r->at[i]] = from[i];
}

static void copy_out(const trainer *r, double *to, const double *from) {
    for (size_t i = 0; from != NULL && i < r->t->count; i++) to[i] = from[r->at[i]];
}

/* The parameters' data, in uniform slots. */
static double *data_in(const trainer *r, const pg_numbers *uniform) {
    return uniform->at + r->ws->program->constant_count;
}

/* A twin of the uniform slots, if they hold all parameters. */
static pg_status new_twin(trainer *r) {
    const pg_program *const program = r->ws->program;
    if (r->count > program->param_count) return PG_OK;
    return pg_reserve_numbers(&r->twin, program->uniform_slots);
}

static void take_sets(trainer *r) {
    r->now = set_of(r, 0);
    r->next = set_of(r, 1);
    if (r->twin.at == NULL) return;
    r->now.data = data_in(r, &r->ws->uniform);
    r->next.data = data_in(r, &r->twin);
}

static pg_status open_trainer(trainer *r) {
    const pg_training *t = r->t;
    const size_t params = r->ws->program->param_count;
    r->arguments = pg_realloc(NULL, r->task->argument_count, sizeof *r->arguments);
    r->at = pg_realloc(NULL, t->count + params, sizeof *r->at);
    if (r->arguments == NULL || r->at == NULL) return PG_ERR_NOMEM;
    r->fixed = r->at + t->count;
    arrange(r);
    r->numbers = pg_zeroed(8 * (1 + r->count), sizeof *r->numbers);
    if (r->numbers == NULL || new_twin(r) != PG_OK) return PG_ERR_NOMEM;
    take_sets(r);
    if (params > 0) memcpy(r->now.data, t->params, params * sizeof *t->params);
    copy_in(r, r->now.data, t->arrays.data);
    copy_in(r, r->now.gradients, t->arrays.gradients);
    copy_in(r, r->now.velocity, t->arrays.velocity);
    copy_in(r, r->now.mean, t->arrays.mean);
    copy_in(r, r->now.square, t->arrays.square);
    return PG_OK;
}

/* Copy the final state to the caller's arrays. */
static void close_trainer(trainer *r) {
    const pg_training *t = r->t;
    const size_t params = r->ws->program->param_count;
    if (r->now.data != NULL) {
        if (params > 0) memcpy(t->params, r->now.data, params * sizeof *t->params);
        copy_out(r, t->arrays.data, r->now.data);
        copy_out(r, t->arrays.gradients, r->now.gradients);
        for (size_t i = 0; i < t->count; i++) t->arrays.gradients[i] *= r->now.scale;
        copy_out(r, t->arrays.velocity, r->now.velocity);
        copy_out(r, t->arrays.mean, r->now.mean);
        copy_out(r, t->arrays.square, r->now.square);
    }
    pg_free(r->arguments);
    pg_free(r->at);
    pg_free(r->numbers);
    pg_free(r->twin.block);
}

/* ---- A step ---------------------------------------------------------------------------------- */

static pg_status refuse(trainer *r, pg_training_part part, size_t which, double number) {
    r->t->part = part;
    r->t->which = which;
    r->t->number = number;
    return PG_ERR_NOT_FINITE;
}

/* Did the step make this number non-finite? An infinity may stay as it was, and nan was lost
 * before. */
static bool got_lost(double before, double after) {
    return !isfinite(after) && !isnan(before) && after != before;
}

/* Did the step lose one of an array's numbers? They are tried in the optimizer's order. */
static pg_status judge_array(trainer *r, pg_training_part part, const double *before,
                             const double *after) {
    for (size_t i = 0; before != NULL && i < r->t->count; i++)
        if (got_lost(before[r->at[i]], after[r->at[i]])) return refuse(r, part, i, after[r->at[i]]);
    return PG_OK;
}

/* Something in `next` isn't finite: did this step cause it, and where? */
static pg_status judge(trainer *r) {
    const pg_optimizer_arrays *now = &r->now, *next = &r->next;
    pg_status status = judge_array(r, PG_TRAINING_PARAMETER, now->data, next->data);
    if (status == PG_OK) status = judge_array(r, PG_TRAINING_STATE, now->velocity, next->velocity);
    if (status == PG_OK) status = judge_array(r, PG_TRAINING_STATE, now->mean, next->mean);
    if (status == PG_OK) status = judge_array(r, PG_TRAINING_STATE, now->square, next->square);
    return status;
}

static double *from(double *array, size_t first) { return array != NULL ? array + first : NULL; }

/* The arrays from this parameter on. */
static pg_optimizer_arrays part_of(const pg_optimizer_arrays *a, size_t first) {
    return (pg_optimizer_arrays){.data = a->data + first,
                                 .gradients = a->gradients + first,
                                 .velocity = from(a->velocity, first),
                                 .mean = from(a->mean, first),
                                 .square = from(a->square, first),
                                 .scale = a->scale};
}

/* Step some parameters. Returns: 0 if all new numbers are finite. */
static uint64_t step_some(const trainer *r, size_t first, size_t count) {
    const pg_optimizer_arrays now = part_of(&r->now, first), next = part_of(&r->next, first);
    switch (r->t->kind) {
    case PG_ADAM: return pg_adam_array(&next, &now, count, &r->t->adam);
    case PG_RMSPROP: return pg_rmsprop_array(&next, &now, count, &r->t->rmsprop);
    default: return pg_sgd_array(&next, &now, count, &r->t->sgd);
    }
}

/* A step of all numbers, in so many parts. */
enum { STEP_PARTS = 8 };

typedef struct step_parts {
    const trainer *r;
    uint64_t odd[STEP_PARTS]; /* a result isn't finite */
} step_parts;

static void step_part(void *context, size_t part) {
    step_parts *const parts = context;
    const size_t count = parts->r->count, first = part * count / STEP_PARTS;
    parts->odd[part] = step_some(parts->r, first, (part + 1) * count / STEP_PARTS - first);
}

static uint64_t step_by_crew(const trainer *r, pg_crew *crew) {
    step_parts parts = {.r = r};
    uint64_t odd = 0;
    pg_crew_share(crew, step_part, &parts, STEP_PARTS);
    for (size_t i = 0; i < STEP_PARTS; i++) odd |= parts.odd[i];
    return odd;
}

/* Step those that the replay hasn't. */
static uint64_t step_rest(const trainer *r) {
    const size_t params = r->ws->program->param_count;
    pg_crew *const crew = pg_shared_crew(r->ws->shared);
    if (!r->descent.taken) return crew ? step_by_crew(r, crew) : step_some(r, 0, r->count);
    const pg_backward_plan *const plan = *r->task->plan;
    uint64_t odd = r->descent.odd | step_some(r, params, r->count - params);
    for (size_t i = 0; i < plan->cleared_count; i++)
        odd |= step_some(r, plan->cleared[i].first, plan->cleared[i].count);
    return odd;
}

/* Exchange the sets, and the uniform slots with them. */
static void commit(trainer *r) {
    const pg_optimizer_arrays now = r->now;
    r->now = r->next;
    r->next = now;
    if (r->twin.at == NULL) return;
    const pg_numbers uniform = r->ws->uniform;
    r->ws->uniform = r->twin;
    r->twin = uniform;
}

static bool clips(const pg_training *t) { return t->clip.norm > 0.0 || t->clip.value > 0.0; }

/* Clip the gradients in `next`, in the optimizer's order. */
static void clip(trainer *r) {
    for (size_t i = 0; i < r->count; i++) r->next.gradients[i] *= r->next.scale;
    r->next.scale = 1.0;
    (void)pg_clip(r->next.gradients, r->at, r->t->count, &r->t->clip);
}

static void set_rate(pg_training *t, double rate) { t->sgd.lr = t->adam.lr = t->rmsprop.lr = rate; }

/* The gradients of the program's parameters are in `next`. */
static pg_status step(trainer *r) {
    pg_training *t = r->t;
    for (size_t i = r->ws->program->param_count; i < r->count; i++) r->next.gradients[i] = 0.0;
    if (clips(t)) clip(r);
    const pg_optimizer_arrays now = r->now, next = r->next;
    t->adam.step = (double)(t->steps + 1);
    const uint64_t odd = step_rest(r);
    for (size_t i = 0; i < r->fixed_count; i++) next.data[r->fixed[i]] = now.data[r->fixed[i]];
    if (odd != 0 && !r->task->ignore) {
        pg_status status = judge(r);
        if (status != PG_OK) return status;
    }
    commit(r);
    t->steps++;
    return PG_OK;
}

/* ---- Batches and epochs ---------------------------------------------------------------------- */

/* Rows first .. first + count - 1 of the task, in the order of its index. */
static pg_task batch_of(const trainer *r, const int64_t *index, size_t first, size_t count) {
    pg_task batch = *r->task;
    batch.rows = count;
    batch.scale = 1.0 / (double)count;
    batch.index = index != NULL ? index + first : NULL;
    for (size_t i = 0; index == NULL && i < batch.argument_count; i++) {
        r->arguments[i] = r->task->arguments[i];
        r->arguments[i].data += first * r->arguments[i].stride;
    }
    if (index == NULL) batch.arguments = r->arguments;
    return batch;
}

/* May the replay step? Where all sums fit the first cache, a pass over them takes less time. */
static bool descends(const trainer *r, const pg_task *batch) {
    enum { few = 2048 };
    return r->t->kind == PG_SGD && r->now.velocity == NULL && r->count > few && !clips(r->t) &&
           pg_chunk_count(batch->rows) == 1;
}

/* The batch's loss; its gradients go to `next`. */
static pg_status replay_batch(trainer *r, double *loss_ret, const pg_task *batch) {
    if (!r->sums) return pg_replay_sum(r->ws, r->now.data, batch, loss_ret, r->next.gradients);
    pg_task all = *batch;
    all.partials = r->next.gradients - 1; /* the output's sum, then the parameters' */
    r->descent = (pg_descent){r->now.data, r->next.data, batch->scale, &r->t->sgd, 0, false};
    r->ws->descent = descends(r, batch) ? &r->descent : NULL;
    const pg_status status = pg_replay_all(r->ws, r->now.data, &all);
    r->ws->descent = NULL;
    r->next.scale = batch->scale;
    *loss_ret = batch->scale * all.partials[0];
    return status;
}

/* Run one batch and step. Adds the batch's loss, times its rows, to the epoch's total. */
static pg_status fit_batch(trainer *r, double *total, const pg_task *batch) {
    double loss;
    if (r->t->rates != NULL) set_rate(r->t, r->t->rates[r->t->steps - r->first_step]);
    pg_status status = replay_batch(r, &loss, batch);
    if (status != PG_OK) return status;
    *total += loss * (double)batch->rows;
    if (!isfinite(*total) && !r->task->ignore) return refuse(r, PG_TRAINING_LOSS, 0, loss);
    return step(r);
}

static pg_status fit_epoch(trainer *r, double *loss_ret, const int64_t *index) {
    const size_t rows = r->task->rows, most = r->t->batch_rows;
    double total = 0.0;
    r->t->batch = 0;
    for (size_t first = 0; first < rows; first += most, r->t->batch++) {
        const size_t left = rows - first;
        const pg_task batch = batch_of(r, index, first, left < most ? left : most);
        pg_status status = fit_batch(r, &total, &batch);
        if (pg_is_fault(status) && index == NULL && r->ws->fault.row >= 0)
            r->ws->fault.row += (int64_t)first; /* it was relative to the batch */
        if (status != PG_OK) return status;
    }
    *loss_ret = total / (double)rows;
    return PG_OK;
}

pg_status pg_fit(pg_workspace *ws, const pg_task *task, pg_training *t, double *losses) {
    trainer r = {.ws = ws,
                 .task = task,
                 .t = t,
                 .first_step = t->steps,
                 .sums = pg_sums_are_gradients(ws->program, *task->plan)};
    pg_status status = open_trainer(&r);
    if (status == PG_OK) status = pg_shared_new(&ws->shared, ws, task, t);
    for (t->epoch = 0; status == PG_OK && t->epoch < t->epochs; t->epoch += status == PG_OK) {
        const int64_t *index = task->index != NULL ? task->index + t->epoch * task->rows : NULL;
        status = fit_epoch(&r, &losses[t->epoch], index);
    }
    pg_shared_free(ws->shared);
    ws->shared = NULL;
    close_trainer(&r);
    return status;
}

/* ---- Data ------------------------------------------------------------------------------------ */

size_t pg_first_nan(const double *numbers, size_t count) {
    if (pg_all_finite(numbers, count)) return count;
    for (size_t i = 0; i < count; i++)
        if (isnan(numbers[i])) return i;
    return count;
}
