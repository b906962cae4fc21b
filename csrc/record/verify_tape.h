/* verify_tape.h - PG_CHECK_TAPE, used after recording and after each pass: see graph/verify.h. */
#ifndef PG_VERIFY_TAPE_H
#define PG_VERIFY_TAPE_H

#include "graph/verify.h"
#include "record/tape.h"

#ifdef PG_VERIFY
/* The first violation found, or NULL. marked: pg_tape_mark_dead has run. */
const char *pg_tape_complaint(const pg_tape *tape, bool marked);
#define PG_CHECK_TAPE(tape, marked) pg_verify(pg_tape_complaint(tape, marked))
#else
#define PG_CHECK_TAPE(tape, marked) ((void)0)
#endif

#endif
