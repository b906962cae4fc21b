/* replay.h - a workspace, and the stages of a replay that tangent.c and fit.c reuse. */
#ifndef PG_REPLAY_H
#define PG_REPLAY_H

#include "native/native.h"
#include "replay/lanes.h"

/* An array of doubles, aligned for vectors; it owns `block`. */
typedef struct pg_numbers {
    double *at;
    void *block;
    size_t capacity;
} pg_numbers;

struct pg_workspace {
    const pg_program *program;
    const pg_lanes *lanes; /* kernels for the machine's vectors and the program's math, by width */
    bool native;           /* run machine code where there is any */
    bool at_once;          /* made at its first run */
    bool powers;           /* powers.h may compute what pow does */
    int odd_runs;          /* how often that code met a result that wasn't finite */
    int width, widest;     /* width: the one that imports are broadcast for; -1: none yet */
    pg_numbers uniform, uniform_grads;
    pg_numbers values, grads;
    pg_numbers partials; /* sums of chunks, before they are added: see sum_range */
    pg_numbers sums;     /* of one row: scratch of find_reached */
    pg_numbers needs;    /* uint32s: scratch of liveness.c, allocated once an op has failed */
    pg_numbers reached;  /* bytes: scratch of the uniform steps, once a product was undefined */
    bool failed;         /* an op of the uniform section failed */
    bool doubtful;       /* that, or an op of this chunk's rows failed: examine each block */
    bool undefined;      /* a gradient of this chunk came out as nan */
    bool careful;        /* use careful.c: in this replay some gradients were undefined */
    size_t work;         /* values computed since poll was last called */
    int (*poll)(void *);
    void *context;
    pg_descent *descent; /* to take with the sums of the task's only chunk; or NULL */
    pg_replay_fault fault;
    struct pg_shared *shared; /* what a crew needs to share this replay's rows; or NULL */
};

/* Ensure capacity for count doubles. Contents are not preserved if the array grows. */
pg_status pg_reserve_numbers(pg_numbers *array, size_t count);

/* The rows of a block: first .. first + active - 1, in pg_lanes_of[width] lanes. */
typedef struct pg_rows {
    size_t first, active;
    int width;
} pg_rows;

/* The rows from `first` on, of which `left` are left, that a block of this width takes. */
static inline pg_rows pg_rows_from(size_t first, size_t left, int width) {
    return (pg_rows){first, left < pg_lanes_of[width] ? left : pg_lanes_of[width], width};
}

/* run.c: the machine code that this workspace should run; NULL: none. Run it: a status other than
 * PG_OK, also where a result wasn't finite. */
const pg_native *pg_native_for(const pg_workspace *ws, const pg_backward_plan *plan, int part);
pg_status pg_run_native(pg_workspace *ws, const pg_native *native, pg_frame *frame);

/* run.c: run a block's code or steps, as machine code or by the kernels. Returns: PG_OK;
 * PG_ERR_DOMAIN, _ZERO_DIVISION, _OVERFLOW: judging, an op or derivative may have failed. */
pg_status pg_run_code(pg_workspace *ws, pg_block *block, int part);
pg_status pg_run_steps(pg_workspace *ws, pg_block *block, int width);
/* The plan's uniform steps; `sums` are the accumulators' totals. */
pg_status pg_run_uniform_steps(pg_workspace *ws, pg_block *block, const double *sums);
pg_status pg_run_uniform_carefully(pg_block *block, const double *sums); /* by careful.c */

/* Set up a block: load the rows, broadcast the imports. */
void pg_load_block(pg_workspace *ws, const pg_task *task, pg_block *block_ret, pg_rows rows);
/* The same, and compute all values. */
pg_status pg_forward_block(pg_workspace *ws, const pg_task *task, pg_block *block_ret,
                           pg_rows rows);
/* liveness.c: the block was computed without judging; has an op failed that a row's results depend
 * on? Stores the first fault of the first such row in the block. PG_OK; the fault's status;
 * PG_ERR_NOMEM. */
pg_status pg_find_fault(pg_workspace *ws, pg_block *block, size_t lanes);
/* Begin a chunk: reset what the rows of the one before set. */
static inline void pg_begin_chunk(pg_workspace *ws) {
    ws->doubtful = ws->failed;
    ws->undefined = false;
}
/* Is it the status of a failed op? One that the fast kernels report may be spurious. */
static inline bool pg_is_fault(pg_status status) {
    return status == PG_ERR_DOMAIN || status == PG_ERR_ZERO_DIVISION || status == PG_ERR_OVERFLOW;
}
/* Propagate one output's gradient from its seed to the inputs and accumulators. */
pg_status pg_backward_block(pg_workspace *ws, pg_block *block, const pg_backward_plan *plan,
                            int width);
/* Is the gradient of each parameter just its sum over the rows, times the task's scale, and are the
 * sums in the parameters' order? */
bool pg_sums_are_gradients(const pg_program *program, const pg_backward_plan *plan);
/* Replay all chunks; leaves the sums in task->partials, which has room for them. */
pg_status pg_replay_all(pg_workspace *ws, const double *params, pg_task *task);
/* Run the uniform steps; `sums` holds the accumulators' sums over the task's rows. Stores the
 * parameters' gradients, times the task's scale. */
pg_status pg_backward_uniform(pg_workspace *ws, const pg_task *task, const pg_backward_plan *plan,
                              const double *sums, double *gradients);
/* Count `work` more computed values and poll now and then: has a stop been requested? */
bool pg_must_stop(pg_workspace *ws, size_t work);
/* The next block, with this many rows left from `first` on. */
pg_rows pg_next_rows(size_t first, size_t left, int widest);
/* Add the rows' values of an output to the total, row by row. */
void pg_add_output(const pg_block *block, uint32_t output, double *total);
/* Store the fault of a block of rows in the workspace. */
void pg_note_fault(pg_workspace *ws, const pg_task *task, const pg_block *block, size_t first);

/* shared.c: what the crew of a training needs for batches of so many rows; freed by pg_shared_free.
 * PG_OK, with NULL where nothing can or needs be shared; PG_ERR_NOMEM. */
typedef struct pg_shared pg_shared;
pg_status pg_shared_new(pg_shared **shared_ret, const pg_workspace *ws, const pg_task *task,
                        pg_training *training);
void pg_shared_free(pg_shared *shared); /* NULL is allowed */
/* Run a chunk's rows and form its sums, from zero: with the crew if that pays, else, and where
 * something isn't ordinary, by `alone`. Returns: as pg_replay. */
typedef pg_status pg_run_alone(pg_workspace *ws, const pg_task *task, size_t chunk, double *sums,
                               bool cleared);
pg_status pg_share_rows(pg_workspace *ws, const pg_task *task, size_t chunk, double *sums,
                        pg_run_alone *alone);
/* Look for nan, with the crew if that pays; `shared` may be NULL. */
bool pg_shared_has_nan(const pg_shared *shared, const double *numbers, size_t count);
/* The crew, if it shared the last chunk; else NULL. */
pg_crew *pg_shared_crew(const pg_shared *shared);

#endif
