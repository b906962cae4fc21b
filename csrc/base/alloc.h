/* alloc.h - all memory of the core passes through here, so that tests can make any allocation fail.
 */
#ifndef PG_ALLOC_H
#define PG_ALLOC_H

#include <stddef.h>

/* As realloc for count elements of size bytes: NULL when memory, or a size_t, doesn't reach; the
 * old block is then untouched. A NULL block is a new one. */
void *pg_realloc(void *block, size_t count, size_t size);
void pg_free(void *block);

/* Make room for one more at the end of an array that doubles. 0, or -1 without memory. */
int pg_grow(void **array, size_t *capacity, size_t count, size_t size);

#endif
