/* program_file.h - a saved program taken apart, so that it can be changed in a way that most of its
 * bytes still make sense: slots go by what they hold, not by number, and so stay right when
 * something is put in before them. */
#ifndef PROGRAM_FILE_H
#define PROGRAM_FILE_H

#include "fuzz.h"

enum { MOST_INSTRS = 96, MOST_PAIRS = 192, MOST_ENDS = 16, MOST_GIVEN = 32, MOST_NAMES = 800 };

/* What is in a slot; IN_NONE: a number that names none, kept as it is. */
typedef enum slot_kind {
    IN_CONSTANT,
    IN_PARAM,
    IN_UNIFORM, /* a result of the uniform part */
    IN_INPUT,
    IN_IMPORT,
    IN_ROWS, /* a result of the rows' part */
    IN_NONE
} slot_kind;

typedef struct slot {
    slot_kind kind;
    uint32_t index; /* among those of its kind */
} slot;

typedef struct slot_pair {
    slot left, right;
} slot_pair;

typedef struct file_instr {
    uint8_t op, shape;
    slot a, b;
    uint32_t first, count; /* its pairs */
} file_instr;

typedef struct program_file {
    uint8_t names[MOST_NAMES];
    size_t name_bytes;
    uint32_t constants, params, inputs, imports, uniform, instrs, pairs, outputs, fast;
    double constant[MOST_GIVEN];
    slot import[MOST_GIVEN];
    file_instr instr[MOST_INSTRS]; /* the uniform ones first */
    slot_pair pair[MOST_PAIRS];
    slot output[MOST_ENDS];
    uint32_t order_count[MOST_ENDS], order[MOST_ENDS][MOST_INSTRS];
} program_file;

/* May PG_DOT_WEIGHTED be among its flags? */
static inline bool may_be_weighted(int op) { return op == PG_OP_DOT || pg_is_lookup(op); }

/* Returns: false for bytes that are no program, or one too large for this. */
bool file_parse(program_file *file_ret, const uint8_t *bytes, size_t count);
/* Returns: how many bytes; 0 if there is no room. */
size_t file_write(const program_file *file, uint8_t *bytes_ret, size_t most);
/* Change something, most often so that it is still a program. */
void file_mutate(program_file *file);

#endif
