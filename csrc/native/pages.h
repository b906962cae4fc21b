/* pages.h - memory that can be executed. */
#ifndef PG_PAGES_H
#define PG_PAGES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct pg_pages {
    void *at;
    size_t size;
} pg_pages;

/* New pages with these bytes, executable and no longer writable; false if the system refuses. */
bool pg_new_pages(pg_pages *pages_ret, const void *bytes, size_t count);
void pg_free_pages(pg_pages *pages);

#endif
