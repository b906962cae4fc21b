/* replay.h - a workspace, and the parts of a replay that tangent.c takes up. */
#ifndef PG_REPLAY_H
#define PG_REPLAY_H

#include "replay/lanes.h"

/* Doubles that begin where a vector may. */
typedef struct pg_numbers {
    double *at;
    void *block;
    size_t capacity;
} pg_numbers;

struct pg_workspace {
    const pg_lanes *lanes; /* of the machine's vectors and the program's math, by width */
    int width, widest;     /* width: for which the imports are spread; -1: for none yet */
    pg_numbers uniform, uniform_grads;
    pg_numbers values, grads;
    pg_numbers sums; /* of one chunk: for each output its total and its accumulators, in sublanes */
    pg_numbers partials; /* of all chunks, for those who bring no room of their own */
    pg_numbers mask;     /* int64s: of the last block that wasn't full */
    pg_numbers needs;    /* uint32s: scratch of liveness.c, once an op has failed */
    pg_numbers reached;  /* bytes: scratch of uniform steps back, once a product was undefined */
    bool failed;         /* an op of the uniform part has */
    bool doubtful;       /* so has it, or one of this chunk's rows: look at each block */
    bool undefined;      /* a gradient came out as nan */
    bool careful;        /* gradients by the careful kernels: in this replay some were undefined */
    size_t work;         /* since poll was last called */
    int (*poll)(void *);
    void *context;
    pg_replay_fault fault;
};

/* Room for count doubles at least. What was in it is lost. */
pg_status pg_make_room(pg_numbers *array, size_t count);

extern const size_t pg_lanes_of[PG_WIDTHS];

/* Load rows first .. first + active - 1, spread the imports, and compute all values. */
pg_status pg_forward_block(const pg_program *program, pg_workspace *ws, const pg_task *task,
                           pg_block *block_ret, size_t first, size_t active, int width);
/* liveness.c: the code was run without judging: has an op failed that a row's results need? Notes
 * the first row's first one in the block. PG_OK; its status; PG_ERR_NOMEM. */
pg_status pg_find_fault(const pg_program *program, pg_workspace *ws, pg_block *block, size_t lanes);
/* Another chunk begins: forget what the last one's rows did. */
static inline void pg_begin_chunk(pg_workspace *ws) {
    ws->doubtful = ws->failed;
    ws->undefined = false;
}
/* Did a row fail, or could it be that it did? */
static inline bool pg_is_fault(pg_status status) {
    return status == PG_ERR_DOMAIN || status == PG_ERR_ZERO_DIVISION || status == PG_ERR_OVERFLOW;
}
/* One output's gradient, from its seed to the inputs and accumulators. */
pg_status pg_backward_block(pg_workspace *ws, pg_block *block, const pg_backward_plan *plan,
                            int width);
/* Run the uniform steps back; the accumulators' sums over the task's rows are at `sums`. The
 * parameters' gradients, times `scale`, are stored. */
pg_status pg_backward_uniform(const pg_program *program, pg_workspace *ws, const pg_task *task,
                              const pg_backward_plan *plan, const double *sums, double *gradients,
                              double scale);
/* So many numbers more were computed: has somebody asked to stop? */
bool pg_must_stop(pg_workspace *ws, size_t work);
/* The rows of the last fault were counted from this one on. */
void pg_workspace_shift_fault(pg_workspace *workspace, size_t first);
/* Take note of the fault of a block of rows. */
void pg_note_fault(pg_workspace *ws, const pg_task *task, const pg_block *block, size_t first);

static inline double pg_sum_of_sublanes(const double *s) {
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

#endif
