/* fit.c - the training loop: replay a batch, take an optimizer's step, and repeat.
 *
 * The parameters live in arrays meanwhile; the caller reads them from the graph and writes them
 * back. There are two sets of arrays. A step computes `next` from `now`, and is committed, by
 * exchanging the two, only if everything it computed is finite; else `now` is unchanged.
 * Owns the second set while it trains. Cost: a replay and one pass over the parameters a step; no
 * allocation after the first. */
#include "replay/replay.h"

#include <math.h>
#include <string.h>

typedef struct trainer {
    pg_workspace *ws;
    const pg_task *task;
    pg_training *t;
    pg_argument *arguments; /* of a batch, if there is no index */
    double *by_param;       /* the gradient of each of the program's parameters, and, in the same
                               allocation, the second set of arrays */
    pg_optimizer_arrays now, next;
} trainer;

static pg_status open_trainer(trainer *r) {
    const pg_training *t = r->t;
    const size_t count = t->count, params = r->ws->program->param_count;
    r->arguments = pg_realloc(NULL, r->task->argument_count, sizeof *r->arguments);
    r->by_param = pg_realloc(NULL, params + 4 * count, sizeof *r->by_param);
    if (r->arguments == NULL || r->by_param == NULL) return PG_ERR_NOMEM;
    double *const data = r->by_param + params, *const state = data + 2 * count;
    r->now = t->arrays;
    r->next = (pg_optimizer_arrays){.data = data, .gradients = data + count};
    if (t->adam) {
        r->now.velocity = NULL;
        r->next.mean = state;
        r->next.square = state + count;
    } else {
        r->now.mean = r->now.square = NULL;
        if (r->now.velocity != NULL) r->next.velocity = state;
    }
    return PG_OK;
}

static void copy(double *to, const double *from, size_t count) {
    if (to != NULL) memcpy(to, from, count * sizeof *to);
}

/* Copy the final state to the caller's arrays, and free the second set. */
static void close_trainer(trainer *r) {
    const size_t count = r->t->count;
    if (r->now.data != NULL && r->now.data != r->t->arrays.data) {
        copy(r->next.data, r->now.data, count);
        copy(r->next.gradients, r->now.gradients, count);
        copy(r->next.velocity, r->now.velocity, count);
        copy(r->next.mean, r->now.mean, count);
        copy(r->next.square, r->now.square, count);
    }
    pg_free(r->arguments);
    pg_free(r->by_param);
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
    const pg_optimizer_arrays *now = &r->now, *next = &r->next;
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
    const pg_optimizer_arrays now = r->now, next = r->next;
    for (size_t i = 0; i < t->count; i++)
        next.gradients[i] = t->places[i] != PG_NO_VALUE ? r->by_param[t->places[i]] : 0.0;
    t->adam_settings.step = (double)(t->steps + 1);
    const uint64_t odd = t->adam ? pg_adam_array(&next, &now, t->count, &t->adam_settings)
                                 : pg_sgd_array(&next, &now, t->count, &t->sgd);
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
    batch.scale = 1.0 / (double)count;
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
    pg_status status = pg_replay_sum(r->ws, r->t->params, batch, &loss, r->by_param);
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
    trainer r = {.ws = ws, .task = task, .t = t};
    pg_status status = open_trainer(&r);
    for (t->epoch = 0; status == PG_OK && t->epoch < t->epochs; t->epoch += status == PG_OK) {
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
