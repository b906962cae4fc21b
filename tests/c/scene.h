/* scene.h - a recorded function, rows for it, and what they should give: what the tests of replays
 * share.
 *
 * The second opinion builds the function anew for each row and calls pg_backward. */
#ifndef SCENE_H
#define SCENE_H

#include "testing.h"

enum { most_rows = 1025, most_arguments = 64, row_count_kinds = 11 };
extern const size_t row_counts[row_count_kinds]; /* around the blocks of 8 and 32, and a chunk */

typedef struct scene {
    recipe recipe;
    pg_program *program;
    pg_program_size size;
    double *params;     /* the recipe's */
    uint32_t *param_of; /* which of them are the program's */
    double *captured;   /* the program's */
    pg_backward_plan *plan[MOST_OUTPUTS];
    double *inputs;                    /* rows x inputs */
    double *outputs;                   /* rows x outputs: what each row should give */
    double *input_grads, *param_grads; /* rows x outputs x inputs, or parameters of the program */
    pg_status *status;                 /* rows: or what error each should be */
    pg_fault *faults;
} scene;

/* Record it; parameters and rows are random, within (-2, 2). Takes over the recipe. */
scene scene_new(recipe r, size_t rows, unsigned passes, int fast);
void scene_free(scene *s);
/* Compute what each row should give. Returns: the first row that is an error, or rows. */
size_t expect_rows(scene *s, size_t rows);
/* Ask for other gradients. */
void replace_reverse(scene *s, unsigned wrt);
const pg_backward_plan *const *steps_of(const scene *s);

typedef struct results {
    double *outputs, *gradients; /* of each row */
    double *totals, *sums;       /* of all */
} results;

results results_new(const scene *s, size_t rows);
void results_free(results *r);
bool same_array(const double *a, const double *b, size_t count);
bool same_rows(const scene *s, const results *a, const results *b, size_t rows);
bool same_sums(const scene *s, const results *a, const results *b);

/* All rows, their columns dealt out to arguments at random; arguments has room for them. */
pg_task task_of(const scene *s, pg_argument *arguments, const results *r, size_t rows);
pg_workspace *must_work(const pg_program *program, int level);
int any_level(void);
/* Replay the first rows. */
pg_status run(const scene *s, pg_workspace *ws, const results *r, size_t rows);
pg_status run_anew(const scene *s, const results *r, size_t rows, int level);

/* What each row adds to a sum. Of several that belong to one sum, a block adds one after the other.
 */
typedef struct contribution {
    uint32_t param;
    double *rows;
} contribution;

/* The sum of those of one parameter, formed as replay.c and lanes_dots.h say. */
double sum_of_rows(const contribution *all, size_t count, uint32_t param, size_t rows,
                   size_t widest);
size_t widest_block(const scene *s);

/* Are the totals the sums of these outputs? */
void check_totals(const scene *s, const results *r, const double *outputs, size_t rows);
/* Are the first rows what they should be, and their sums? */
void check_replay(const scene *s, pg_workspace *ws, size_t rows);

bool same_fault(pg_fault a, pg_fault b);
/* Does a replay of all rows fail with this row? */
void check_fault(const scene *s, int level, size_t rows, pg_status status, size_t row,
                 pg_fault fault);
/* The whole as one replay: the first error, if there is one; failing is what expect_rows gave. */
void check_first_fault(const scene *s, size_t rows, size_t failing);
/* Rows with errors, if errors are ignored, leave the others alone. */
void check_ignored(const scene *s, size_t rows);

#endif
