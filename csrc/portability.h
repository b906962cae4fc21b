/* portability.h - the only place for what C11 does not say.
 * Everything here is a hint: without it the core is slower and just as right. */
#ifndef PG_PORTABILITY_H
#define PG_PORTABILITY_H

#if defined(__GNUC__) || defined(__clang__)
#define PG_LIKELY(x) __builtin_expect(!!(x), 1)
#define PG_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PG_PREFETCH(p) __builtin_prefetch(p)
#else
#define PG_LIKELY(x) (x)
#define PG_UNLIKELY(x) (x)
#define PG_PREFETCH(p) ((void)(p))
#endif

#endif
