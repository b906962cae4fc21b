/* alloc.c - the allocator hook, with fault injection for tests; and doubling arrays.
 * The countdown to the injected failure is the core's only mutable global. It belongs to the test
 * that set it. */
#include "base/alloc.h"

#include "pygradc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static long countdown = 0;

void pg_alloc_fail_at(long n) { countdown = n; }

void *pg_realloc(void *block, size_t count, size_t size) {
    if (countdown > 0 && --countdown == 0) return NULL;
    if (size != 0 && count > SIZE_MAX / size) return NULL;
    return realloc(block, count * size > 0 ? count * size : 1);
}

void *pg_zeroed(size_t count, size_t size) {
    void *block = pg_realloc(NULL, count, size);
    return block != NULL ? memset(block, 0, count * size) : NULL;
}

void pg_free(void *block) { free(block); }

int pg_grow(void **array, size_t *capacity, size_t count, size_t size) {
    if (count < *capacity) return 0;
    size_t wanted = *capacity != 0 ? 2 * *capacity : 64;
    void *grown = pg_realloc(*array, wanted, size);
    if (grown == NULL) return -1;
    *array = grown;
    *capacity = wanted;
    return 0;
}
