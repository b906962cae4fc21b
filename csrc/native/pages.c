/* pages.c - pages of machine code: written first, then made executable, never both at once.
 *
 * Owns what pg_free_pages unmaps. Private pages: a forked process has its own, which stay good.
 * Cost: three system calls. */
#if defined(__linux__)
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#endif
#include "native/pages.h"

#include "base/portability.h"

#if PG_HAS_NATIVE
#include <string.h>
#include <sys/mman.h>

bool pg_new_pages(pg_pages *pages_ret, const void *bytes, size_t count) {
    void *at = mmap(NULL, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return false;
    memcpy(at, bytes, count);
    if (mprotect(at, count, PROT_READ | PROT_EXEC) != 0) {
        munmap(at, count);
        return false;
    }
    PG_CLEAR_INSTRUCTION_CACHE(at, count);
    *pages_ret = (pg_pages){at, count};
    return true;
}

void pg_free_pages(pg_pages *pages) { munmap(pages->at, pages->size); }

#else

bool pg_new_pages(pg_pages *pages_ret, const void *bytes, size_t count) {
    (void)pages_ret, (void)bytes, (void)count;
    return false;
}

void pg_free_pages(pg_pages *pages) { (void)pages; }

#endif
