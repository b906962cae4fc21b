/* powers.c - is the error of this process's pow the one that powers.h counts on?
 *
 * glibc's is since 2.28, on processors for which it compiles its generic code: older versions had
 * another pow, and other libraries state no bound, or may change theirs. */
#include "ops/kernels.h"

#include <stdlib.h>

bool pg_pow_is_known(void) {
#if defined(__x86_64__) || defined(__aarch64__)
    const char *const version = PG_GLIBC_VERSION();
    if (version == NULL) return false;
    char *end;
    const long major = strtol(version, &end, 10);
    const long minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    return major > 2 || (major == 2 && minor >= 28);
#else
    return false;
#endif
}
