/* alloc.h - all memory of the core is allocated here, so that tests can make any allocation
 * fail. */
#ifndef PG_ALLOC_H
#define PG_ALLOC_H

#include <stddef.h>

/* As realloc, for count elements of size bytes: NULL if memory runs out or the byte count overflows
 * a size_t; the old block is then untouched. A NULL block allocates a new one. */
void *pg_realloc(void *block, size_t count, size_t size);
/* A new block of zero bytes, likewise. */
void *pg_zeroed(size_t count, size_t size);
void pg_free(void *block);

/* Ensure capacity for one more element at the end of a doubling array. 0, or -1 without memory. */
int pg_grow(void **array, size_t *capacity, size_t count, size_t size);

#endif
