/* verify_program.h - checks of programs and of their backward plans: see graph/verify.h.
 *
 *   PG_CHECK_PROGRAM  after a program was made or read
 *   PG_CHECK_PLAN     after a plan was made
 *   PG_ORDER_...      around joining the steps of a layer: the order of every sum must be kept
 */
#ifndef PG_VERIFY_PROGRAM_H
#define PG_VERIFY_PROGRAM_H

#include "graph/verify.h"
#include "program/program.h"

#ifdef PG_VERIFY

/* The first violation found, or NULL. These allocate scratch memory, and modify nothing. */
const char *pg_program_complaint(const pg_program *program);
/* whole: the plan is complete, with the gradients it reaches and their order. */
const char *pg_plan_complaint(const pg_program *program, const pg_backward_plan *plan, bool whole);
/* A hash that depends on the order of the contributions to each gradient. */
uint64_t pg_order_of_sums(const pg_program *program, const pg_backward_plan *plan);

#define PG_CHECK_PROGRAM(program) pg_verify(pg_program_complaint(program))
#define PG_CHECK_PLAN(program, plan, whole) pg_verify(pg_plan_complaint(program, plan, whole))
#define PG_ORDER_BEFORE(program, plan) const uint64_t order_before = pg_order_of_sums(program, plan)
#define PG_ORDER_AFTER(program, plan)                                                              \
    if (order_before != pg_order_of_sums(program, plan)) pg_verify("a sum has another order")

#else

#define PG_CHECK_PROGRAM(program) ((void)0)
#define PG_CHECK_PLAN(program, plan, whole) ((void)0)
#define PG_ORDER_BEFORE(program, plan) ((void)0)
#define PG_ORDER_AFTER(program, plan) ((void)0)

#endif
#endif
