/* native.h - a program's code, or a plan's steps, as machine code. */
#ifndef PG_NATIVE_H
#define PG_NATIVE_H

#include "native/target.h"
#include "program/program.h"

/* What is compiled: the uniform section, or the rows, over 1, 8 or 32 lanes. */
enum {
    PG_NATIVE_UNIFORM = PG_WIDTHS,
    PG_NATIVE_TANGENTS, /* of rows, in 8 lanes */
    PG_NATIVE_UNIFORM_TANGENTS
};

typedef struct pg_native pg_native;

/* The machine code of a program (plan NULL), or of a plan's steps, for rows of a width (part
 * PG_ONE, PG_EIGHT or PG_THIRTY_TWO), for the uniform section, or for tangents; kept with the
 * program or plan. Compiled at the second call, or `at_once`: what runs once isn't worth it. Any
 * number of threads may call it. Returns: NULL if there is none, or none yet: another processor, a
 * system that refuses executable pages, a program whose code would be too large, no memory. The
 * program is then interpreted. */
const pg_native *pg_native_of(const pg_program *program, const pg_backward_plan *plan, int part,
                              bool at_once);

/* The bytes, and how many they are. */
size_t pg_native_bytes(const pg_native *native, const void **bytes_ret);

/* Run it on a frame. Returns: 0; what `interpret` returned, if that wasn't 0. The frame's `odd`
 * says whether the interpreter must judge the results. */
int pg_native_run(const pg_native *native, pg_frame *frame);
bool pg_native_is_odd(const pg_frame *frame);

#endif
