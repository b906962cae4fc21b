/* portability.h - everything that C11 doesn't specify, in one place.
 * All of it is optional: without it the core is slower and equally correct. */
#ifndef PG_PORTABILITY_H
#define PG_PORTABILITY_H

/* The extensions of gcc and clang, which also speaks them where it stands in for MSVC. With
 * PG_PLAIN, these compilers, too, get what is left for all others: `make ctest-plain`. */
#if (defined(__GNUC__) || defined(__clang__)) && !defined(PG_PLAIN)
#define PG_GNU 1
#else
#define PG_GNU 0
#endif

#if PG_GNU
#define PG_LIKELY(x) __builtin_expect(!!(x), 1)
#define PG_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PG_PREFETCH(p) __builtin_prefetch(p)
#define PG_ALWAYS_INLINE __attribute__((always_inline))
#define PG_LOWEST_BIT(x) __builtin_ctzll(x) /* which it is; x isn't 0 */
#else
#define PG_LIKELY(x) (x)
#define PG_UNLIKELY(x) (x)
#define PG_PREFETCH(p) ((void)(p))
#define PG_ALWAYS_INLINE
static inline int pg_lowest_bit(unsigned long long x) {
    int bit = 0;
    for (; !(x & 1); x >>= 1) bit++;
    return bit;
}
#define PG_LOWEST_BIT(x) pg_lowest_bit(x)
#endif

/* Before a loop: unroll it, so many times. PG_JOINS_LANES: what is so unrolled becomes vectors
 * again, whose operations alternate; known of gcc 12. Of a compiler that leaves it in pieces, it
 * would take thrice as long. */
#if PG_GNU && !defined(__clang__) && __GNUC__ >= 8
#define PG_UNROLL(times) PG_PRAGMA(GCC unroll times)
#define PG_PRAGMA(x) _Pragma(#x)
#else
#define PG_UNROLL(times)
#endif
#if PG_GNU && !defined(__clang__) && __GNUC__ >= 12
#define PG_JOINS_LANES 1
#else
#define PG_JOINS_LANES 0
#endif

/* The signs of four doubles, as bits; code for AVX2 has an instruction for it. */
#if defined(__x86_64__) && PG_GNU
typedef double pg_four_doubles __attribute__((vector_size(32), aligned(8), may_alias));
#define PG_SIGNS_OF_FOUR(p) __builtin_ia32_movmskpd256(*(const pg_four_doubles *)(p))
#else
#define PG_SIGNS_OF_FOUR(p)                                                                        \
    (((p)[0] < 0) | ((p)[1] < 0) << 1 | ((p)[2] < 0) << 2 | ((p)[3] < 0) << 3)
#endif

/* The compiler's name and version. */
#define PG_TEXT_OF(x) #x
#define PG_TEXT(x) PG_TEXT_OF(x)
#if defined(__clang__)
#define PG_COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define PG_COMPILER "gcc " __VERSION__
#elif defined(_MSC_VER)
#define PG_COMPILER "MSVC " PG_TEXT(_MSC_VER)
#else
#define PG_COMPILER "unknown"
#endif

/* A variable with one instance per thread. */
#if defined(_MSC_VER)
#define PG_THREAD_LOCAL __declspec(thread)
#else
#define PG_THREAD_LOCAL _Thread_local
#endif

/* A vector of doubles that a loop can keep in registers. The includer sets PG_VECTOR_BYTES to the
 * target's vector width; without vector extensions a vector is one double. In memory it is aligned,
 * or, one that may be anywhere, as a double is. */
#if PG_GNU
#define PG_VECTOR(bytes) __attribute__((vector_size(bytes), may_alias))
#define PG_VECTOR_ANYWHERE(bytes) __attribute__((vector_size(bytes), may_alias, aligned(8)))
#define PG_HAS_VECTORS 1
#else
#define PG_VECTOR(bytes)
#define PG_VECTOR_ANYWHERE(bytes)
#define PG_HAS_VECTORS 0
#endif

/* Has every machine that this is compiled for a fused multiply-add? C's fma is one instruction
 * then. It is called by name only: compilers don't fuse (-ffp-contract=off). */
#if defined(__aarch64__) || defined(__FMA__)
#define PG_HAS_FMA 1
#else
#define PG_HAS_FMA 0
#endif

/* Four doubles of two vectors of four, x then y, by their numbers. */
#if PG_GNU && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define PG_SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#define PG_HAS_SHUFFLE 1
#endif
#endif
#ifndef PG_HAS_SHUFFLE
#define PG_HAS_SHUFFLE 0
#endif

/* Vector levels on x86-64: code between PG_BEGIN_x and PG_END_TARGET is compiled for x, and
 * PG_HAS_x() tells whether this machine supports it; both have a fused multiply-add. Other
 * architectures have one level. */
#if defined(__x86_64__) && PG_GNU && (defined(__clang__) || __GNUC__ >= 8)
#define PG_X86_LEVELS 1
#define PG_HAS_AVX2() (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0)
#define PG_HAS_AVX512()                                                                            \
    (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0)
#if defined(__clang__)
/* clang-format off */
#define PG_BEGIN_AVX2 \
    _Pragma("clang attribute push(__attribute__((target(\"avx2,fma\"))), apply_to = function)")
#define PG_BEGIN_AVX512 \
    _Pragma("clang attribute push(__attribute__((target(\"avx512f,avx512dq,avx512vl,fma\"))), apply_to = function)")
/* clang-format on */
#define PG_END_TARGET _Pragma("clang attribute pop")
#else
#define PG_BEGIN_AVX2 _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma\")")
#define PG_BEGIN_AVX512                                                                            \
    _Pragma("GCC push_options")                                                                    \
        _Pragma("GCC target(\"avx512f,avx512dq,avx512vl,fma,prefer-vector-width=512\")")
#define PG_END_TARGET _Pragma("GCC pop_options")
#endif
#else
#define PG_X86_LEVELS 0
#define PG_HAS_AVX2() 0
#define PG_HAS_AVX512() 0
#endif

/* Machine code made at run time: processors that csrc/native has a file for, on systems with
 * POSIX's calls. Elsewhere programs are interpreted. */
#if PG_GNU && (PG_X86_LEVELS || defined(__aarch64__)) && !defined(__STDC_NO_ATOMICS__) &&          \
    (defined(__unix__) || defined(__APPLE__))
#include <stdatomic.h>
#define PG_HAS_NATIVE 1
#define PG_ATOMIC(type) _Atomic(type)
/* Instructions that were written as data are fetched anew; x86-64 needs no telling. */
#define PG_CLEAR_INSTRUCTION_CACHE(at, count)                                                      \
    __builtin___clear_cache((char *)(at), (char *)(at) + (count))
#else
#define PG_HAS_NATIVE 0
#define PG_ATOMIC(type) type
#endif

/* The version of glibc that the process runs on, such as "2.36"; NULL for other C libraries. */
#include <limits.h> /* any of C's own headers defines __GLIBC__ */
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#define PG_GLIBC_VERSION() gnu_get_libc_version()
#else
#define PG_GLIBC_VERSION() ((const char *)0)
#endif

/* lgamma, which writes the gamma function's sign to a global that threads would race for; POSIX has
 * one that writes it where it is told, and that C11's headers don't declare. */
#if defined(__unix__) || defined(__APPLE__)
double lgamma_r(double a, int *sign_ret);
static inline double pg_lgamma(double a) {
    int sign;
    return lgamma_r(a, &sign);
}
#else
#include <math.h>
static inline double pg_lgamma(double a) { return lgamma(a); }
#endif

/* Threads that work together: C11's atomics, and a gate of POSIX's for those that wait long. */
#if !defined(PG_PLAIN) && !defined(__STDC_NO_ATOMICS__) && (defined(__unix__) || defined(__APPLE__))
#include <pthread.h>
#include <stdatomic.h>
#define PG_HAS_CREWS 1
typedef struct pg_gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
} pg_gate;
/* Returns: 0; a system that has no more of them is no error that a replay needs to know. */
static inline int pg_gate_init(pg_gate *gate) {
    if (pthread_mutex_init(&gate->lock, 0) != 0) return -1;
    if (pthread_cond_init(&gate->changed, 0) == 0) return 0;
    pthread_mutex_destroy(&gate->lock);
    return -1;
}
static inline void pg_gate_destroy(pg_gate *gate) {
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->lock);
}
static inline void pg_gate_lock(pg_gate *gate) { pthread_mutex_lock(&gate->lock); }
static inline void pg_gate_unlock(pg_gate *gate) { pthread_mutex_unlock(&gate->lock); }
/* Locked: wait until something may have changed; tell all that wait. */
static inline void pg_gate_wait(pg_gate *gate) { pthread_cond_wait(&gate->changed, &gate->lock); }
static inline void pg_gate_tell(pg_gate *gate) { pthread_cond_broadcast(&gate->changed); }
#else
#define PG_HAS_CREWS 0
#endif

/* Seconds since some moment, of a clock that the system may set. Windows' older C library lacks
 * C11's; its clock() counts the time that passes, in milliseconds. */
#include <time.h>
static inline double pg_now(void) {
#if defined(TIME_UTC)
    struct timespec now = {0};
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#else
    return (double)clock() / CLOCKS_PER_SEC;
#endif
}

/* In a loop that waits for another thread: leaves the core to its sibling for a moment. */
#if defined(__x86_64__) && PG_GNU
#define PG_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__) && PG_GNU
#define PG_PAUSE() __asm__ volatile("yield")
#else
#define PG_PAUSE() ((void)0)
#endif

#endif
