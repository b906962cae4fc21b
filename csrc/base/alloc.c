/* alloc.c - the allocator hook: a countdown to a failure that a test has asked for.
 * The countdown is the only mutable global of the core. It belongs to the test that set it. */
#include "base/alloc.h"

#include "pygradc.h"

#include <stdint.h>
#include <stdlib.h>

static long countdown = 0;

void pg_alloc_fail_at(long n) { countdown = n; }

void *pg_realloc(void *block, size_t count, size_t size) {
    if (countdown > 0 && --countdown == 0) return NULL;
    if (size != 0 && count > SIZE_MAX / size) return NULL;
    return realloc(block, count * size > 0 ? count * size : 1);
}

void pg_free(void *block) { free(block); }
