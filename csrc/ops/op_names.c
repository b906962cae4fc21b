/* op_names.c - files refer to ops by name, so that a table with more ops can still read old files.
 *
 *   u32 names, each: u8 length, letters; an op's number in the file is its index in this list
 *
 * An op that isn't used has an empty name. Owns nothing. Cost: some 650 bytes for all ops. */
#include "base/bytes.h"
#include "ops/ops.h"
#include "pygradc.h"

void pg_put_names(pg_writer *w, const bool *used) {
    pg_put_u32(w, PG_OP_PROGRAM);
    for (int op = 0; op < PG_OP_PROGRAM; op++) {
        const bool wanted = used == NULL || used[op];
        const char *name = wanted && pg_instr_name(op) != NULL ? pg_instr_name(op) : "";
        pg_put(w, strlen(name), 1);
        for (; *name != '\0'; name++) pg_put(w, (uint8_t)*name, 1);
    }
}

/* The map from op numbers in the file to this build's; 0 if it has none. */
void pg_get_names(pg_reader *r, uint8_t numbers[256]) {
    const uint32_t count = pg_get_u32(r);
    memset(numbers, 0, 256);
    if (count > 256) r->failed = true;
    for (uint32_t i = 0; i < count && !r->failed; i++) {
        const size_t length = (size_t)pg_get(r, 1);
        if (r->left < length) r->failed = true;
        for (int op = 1; op < PG_OP_PROGRAM && !r->failed; op++) {
            const char *name = pg_instr_name(op);
            if (name != NULL && strlen(name) == length && memcmp(name, r->bytes, length) == 0)
                numbers[i] = (uint8_t)op;
        }
        if (r->failed) return;
        r->bytes += length;
        r->left -= length;
    }
}
