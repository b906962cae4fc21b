/* bytes.h - numbers to bytes and back, little-endian on every machine.
 *
 * A writer without a buffer only counts. A reader never reads past its end: from there on it
 * returns zeros and sets `failed`, so that its user can check once, after several reads. */
#ifndef PG_BYTES_H
#define PG_BYTES_H

#include "base/alloc.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct pg_writer {
    uint8_t *bytes; /* NULL: only count */
    size_t count;
} pg_writer;

static inline void pg_put(pg_writer *w, uint64_t number, int bytes) {
    for (int i = 0; i < bytes; i++, w->count++)
        if (w->bytes != NULL) w->bytes[w->count] = (uint8_t)(number >> (8 * i));
}

static inline void pg_put_u32(pg_writer *w, size_t number) { pg_put(w, number, 4); }

static inline void pg_put_double(pg_writer *w, double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    pg_put(w, bits, 8);
}

typedef struct pg_reader {
    const uint8_t *bytes;
    size_t left;
    bool failed; /* a read went past the end */
} pg_reader;

static inline uint64_t pg_get(pg_reader *r, int bytes) {
    uint64_t number = 0;
    if (r->left < (size_t)bytes) {
        r->failed = true;
        r->left = 0;
        return 0;
    }
    for (int i = 0; i < bytes; i++) number |= (uint64_t)r->bytes[i] << (8 * i);
    r->bytes += bytes;
    r->left -= (size_t)bytes;
    return number;
}

static inline uint32_t pg_get_u32(pg_reader *r) { return (uint32_t)pg_get(r, 4); }

static inline double pg_get_double(pg_reader *r) {
    const uint64_t bits = pg_get(r, 8);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Allocate an array for count elements of in_file bytes each in the file. Checks first that so many
 * bytes are left, so that a corrupt count can't cause a huge allocation. NULL on failure. */
static inline void *pg_alloc_read(pg_reader *r, size_t count, size_t in_file, size_t size) {
    if (r->failed || count > r->left / in_file) {
        r->failed = true;
        return NULL;
    }
    return pg_realloc(NULL, count, size);
}

/* op_names.c: write the names of the ops and instructions that are `used`, or with NULL of all;
 * read a file's names, as a map from each op number in the file to this build's, 0 if it has none.
 */
void pg_put_names(pg_writer *w, const bool *used);
void pg_get_names(pg_reader *r, uint8_t numbers[256]);

#endif
