/* fit.c - the training loop: replay a batch, take an optimiser's step, and repeat.
 *
 * The parameters live in arrays meanwhile; the caller reads them from the graph and writes them
 * back. There are two sets of arrays. A step computes `next` from `now`, and is committed, by
 * exchanging the two, only if everything it computed is finite; else `now` is unchanged.
 * Owns the second set while it trains. Cost: a replay and one pass over the parameters a step; no
 * allocation after the first. */
#include "replay/replay.h"

#include <math.h>
#include <string.h>

/* The state that a step changes. NULL: velocity without momentum; mean and square without Adam. */
typedef struct arrays {
    double *data, *gradients, *velocity, *mean, *square;
} arrays;

typedef struct trainer {
    const pg_program *program;
    pg_workspace *ws;
    const pg_task *task;
    pg_training *t;
    size_t batch;            /* rows in a step */
    pg_argument *arguments;  /* of a batch, if there is no index */
    double *by_param, *room; /* the gradient of each of the program's parameters; the allocation of
                                all these doubles */
    arrays now, next;
} trainer;

static pg_status open_trainer(trainer *r) {
    const pg_training *t = r->t;
    const size_t count = t->count, params = r->program->param_count;
    r->arguments = pg_realloc(NULL, r->task->argument_count, sizeof *r->arguments);
    r->room = pg_realloc(NULL, params + 4 * count, sizeof *r->room);
    if (r->arguments == NULL || r->room == NULL) return PG_ERR_NOMEM;
    r->by_param = r->room;
    r->now = (arrays){.data = t->data, .gradients = t->gradients};
    r->next = (arrays){.data = r->room + params, .gradients = r->room + params + count};
    double *const state = r->next.gradients + count;
    if (t->adam) {
        r->now.mean = t->mean;
        r->now.square = t->square;
        r->next.mean = state;
        r->next.square = state + count;
    } else if (t->velocity != NULL) {
        r->now.velocity = t->velocity;
        r->next.velocity = state;
    }
    return PG_OK;
}

static void copy(double *to, const double *from, size_t count) {
    if (to != NULL) memcpy(to, from, count * sizeof *to);
}

/* Copy the final state to the caller's arrays, and free the second set. */
static void close_trainer(trainer *r) {
    const size_t count = r->t->count;
    if (r->now.data != NULL && r->now.data != r->t->data) {
        copy(r->t->data, r->now.data, count);
        copy(r->t->gradients, r->now.gradients, count);
        copy(r->next.velocity, r->now.velocity, count);
        copy(r->next.mean, r->now.mean, count);
        copy(r->next.square, r->now.square, count);
    }
    pg_free(r->arguments);
    pg_free(r->room);
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

/* Something in `next` isn't finite: did this step cause it, and where? */
static pg_status judge(trainer *r) {
    const arrays *now = &r->now, *next = &r->next;
    const double *before[] = {now->velocity, now->mean, now->square};
    const double *after[] = {next->velocity, next->mean, next->square};
    for (size_t i = 0; i < r->t->count; i++)
        if (got_lost(now->data[i], next->data[i]))
            return refuse(r, PG_TRAINING_PARAMETER, i, next->data[i]);
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; before[k] != NULL && i < r->t->count; i++)
            if (got_lost(before[k][i], after[k][i]))
                return refuse(r, PG_TRAINING_STATE, i, after[k][i]);
    return PG_OK;
}

static pg_status step(trainer *r) {
    pg_training *t = r->t;
    const arrays now = r->now, next = r->next;
    for (size_t i = 0; i < t->count; i++)
        next.gradients[i] = t->places[i] != PG_NO_VALUE ? r->by_param[t->places[i]] : 0.0;
    const uint64_t odd = t->adam ? pg_adam_array(next.data, next.mean, next.square, now.data,
                                                 next.gradients, now.mean, now.square, t->count,
                                                 &t->adam_settings, (double)(t->steps + 1))
                                 : pg_sgd_array(next.data, next.velocity, now.data, next.gradients,
                                                now.velocity, t->count, &t->sgd);
    if (odd != 0 && !r->task->ignore) {
        pg_status status = judge(r);
        if (status != PG_OK) return status;
    }
    r->now = next;
    r->next = now;
    t->steps++;
    for (size_t i = 0; i < t->count; i++)
        if (t->places[i] != PG_NO_VALUE) t->params[t->places[i]] = next.data[i];
    return PG_OK;
}

/* ---- Batches and epochs ---------------------------------------------------------------------- */

/* Rows first .. first + count - 1 of the task, in the order of its index. */
static pg_task batch_of(const trainer *r, const int64_t *index, size_t first, size_t count) {
    pg_task batch = *r->task;
    batch.rows = count;
    batch.index = index != NULL ? index + first : NULL;
    for (size_t i = 0; index == NULL && i < batch.argument_count; i++) {
        r->arguments[i] = r->task->arguments[i];
        r->arguments[i].data += first * r->arguments[i].stride;
    }
    if (index == NULL) batch.arguments = r->arguments;
    return batch;
}

/* Run one batch and step. Adds the batch's loss, times its rows, to the epoch's total. */
static pg_status fit_batch(trainer *r, double *total, const pg_task *batch) {
    double loss;
    pg_status status = pg_replay_sum(r->program, r->ws, r->t->params, batch, &loss, r->by_param,
                                     1.0 / (double)batch->rows);
    if (status != PG_OK) return status;
    *total += loss * (double)batch->rows;
    if (!isfinite(*total) && !r->task->ignore) return refuse(r, PG_TRAINING_LOSS, 0, loss);
    return step(r);
}

static pg_status fit_epoch(trainer *r, double *loss_ret, const int64_t *index) {
    const size_t rows = r->task->rows;
    double total = 0.0;
    r->t->batch = 0;
    for (size_t first = 0; first < rows; first += r->batch, r->t->batch++) {
        const size_t left = rows - first;
        const pg_task part = batch_of(r, index, first, left < r->batch ? left : r->batch);
        pg_status status = fit_batch(r, &total, &part);
        if (status == PG_ERR_DOMAIN || status == PG_ERR_ZERO_DIVISION || status == PG_ERR_OVERFLOW)
            pg_workspace_shift_fault(r->ws, index == NULL ? first : 0);
        if (status != PG_OK) return status;
    }
    *loss_ret = total / (double)rows;
    return PG_OK;
}

pg_status pg_fit(const pg_program *program, pg_workspace *ws, const pg_task *task, pg_training *t,
                 double *losses, size_t batch, size_t epochs) {
    trainer r = {.program = program, .ws = ws, .task = task, .t = t, .batch = batch};
    pg_status status = open_trainer(&r);
    for (t->epoch = 0; status == PG_OK && t->epoch < epochs; t->epoch += status == PG_OK) {
        const int64_t *index = task->index != NULL ? task->index + t->epoch * task->rows : NULL;
        status = fit_epoch(&r, &losses[t->epoch], index);
    }
    close_trainer(&r);
    return status;
}

/* ---- Data ------------------------------------------------------------------------------------ */

size_t pg_first_nan(const double *numbers, size_t count) {
    enum { block = 256 }; /* tested without branches */
    for (size_t first = 0; first < count; first += block) {
        const size_t end = count - first < block ? count : first + block;
        int found = 0;
        for (size_t i = first; i < end; i++) found |= numbers[i] != numbers[i];
        for (size_t i = first; found && i < end; i++)
            if (isnan(numbers[i])) return i;
    }
    return count;
}
