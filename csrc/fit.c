/* fit.c - the training loop: replay a batch, step, and again.
 *
 * The parameters live in arrays meanwhile; who calls reads them from the graph and writes them
 * back. Owns nothing. Cost: a replay and one pass over the parameters a step; no allocation after
 * the first. */
#include "program.h"

static void step(pg_training *t) {
    t->steps++;
    if (t->adam)
        pg_adam_array(t->data, t->gradients, t->mean, t->square, t->count, &t->adam_settings,
                      (double)t->steps);
    else pg_sgd_array(t->data, t->gradients, t->velocity, t->count, &t->sgd);
}

/* Rows first .. first + count - 1 of the task, in the order of its index. */
static pg_task batch_of(const pg_task *task, const int64_t *index, pg_argument *arguments,
                        size_t first, size_t count) {
    pg_task batch = *task;
    batch.rows = count;
    batch.index = index != NULL ? index + first : NULL;
    for (size_t i = 0; index == NULL && i < task->argument_count; i++) {
        arguments[i] = task->arguments[i];
        arguments[i].data += first * arguments[i].stride;
    }
    if (index == NULL) batch.arguments = arguments;
    return batch;
}

static pg_status fit_batch(const pg_program *program, pg_workspace *ws, const pg_task *batch,
                           pg_training *t, double *gradients, double *loss_ret) {
    pg_status status = pg_replay_sum(program, ws, t->params, batch, loss_ret, gradients,
                                     1.0 / (double)batch->rows);
    if (status != PG_OK) return status;
    for (size_t i = 0; i < t->count; i++)
        t->gradients[i] = t->places[i] != PG_NO_VALUE ? gradients[t->places[i]] : 0.0;
    step(t);
    for (size_t i = 0; i < t->count; i++)
        if (t->places[i] != PG_NO_VALUE) t->params[t->places[i]] = t->data[i];
    return PG_OK;
}

static pg_status fit_epoch(const pg_program *program, pg_workspace *ws, const pg_task *task,
                           pg_training *t, const int64_t *index, pg_argument *arguments,
                           double *gradients, double *loss_ret, size_t batch) {
    double total = 0.0;
    for (size_t first = 0; first < task->rows; first += batch) {
        const size_t left = task->rows - first, count = left < batch ? left : batch;
        const pg_task part = batch_of(task, index, arguments, first, count);
        double loss;
        pg_status status = fit_batch(program, ws, &part, t, gradients, &loss);
        if (status == PG_ERR_DOMAIN || status == PG_ERR_ZERO_DIVISION || status == PG_ERR_OVERFLOW)
            pg_workspace_shift_fault(ws, index == NULL ? first : 0);
        if (status != PG_OK) return status;
        total += loss * (double)count;
    }
    *loss_ret = total / (double)task->rows;
    return PG_OK;
}

pg_status pg_fit(const pg_program *program, pg_workspace *ws, const pg_task *task, pg_training *t,
                 double *losses, size_t batch, size_t epochs) {
    pg_argument *arguments = pg_realloc(NULL, task->argument_count, sizeof *arguments);
    double *gradients = pg_realloc(NULL, program->param_count, sizeof *gradients);
    pg_status status = arguments != NULL && gradients != NULL ? PG_OK : PG_ERR_NOMEM;
    for (size_t epoch = 0; status == PG_OK && epoch < epochs; epoch++) {
        const int64_t *index = task->index != NULL ? task->index + epoch * task->rows : NULL;
        status =
            fit_epoch(program, ws, task, t, index, arguments, gradients, &losses[epoch], batch);
    }
    pg_free(arguments);
    pg_free(gradients);
    return status;
}
