/* fuzz.h - what the fuzz targets have in common.
 *
 * A target is a file fuzz_x.c, which takes any bytes. Each is a program of libFuzzer's, and, with
 * replay.c for a main, an ordinary one that runs files: so the corpora are tests of every compiler.
 * A check that fails ends the program, and so does whatever a sanitizer finds. */
#ifndef FUZZ_H
#define FUZZ_H

#include "plain.h"
#include "testing.h"

/* libFuzzer's interface. Returns (the first): 0. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t count, size_t most, unsigned start);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t count, size_t most);

/* A number that depends on all the bytes: what else a target decides, it decides by that. */
uint64_t hash_of(const uint8_t *bytes, size_t count);
/* One in three is a special one: zeros, ones, the smallest, the largest, infinities, nan. */
double odd_number(void);

/* check_program.c: do everything that one can do with a program, and compare the results with
 * plain_program.c's, bit for bit. Numbers come from testing.h's generator. */
void check_program(const pg_program *program);

#endif
