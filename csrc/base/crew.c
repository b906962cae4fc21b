/* crew.c - threads that share a piece of work: parts, each taken by one thread, and an end that the
 * caller waits for.
 *
 *   caller    open = {parts, 0}   take, take ...      until done == parts
 *   helper       wait for a part     take, take ...      wait for a part
 *
 * `open` holds the number of parts and the next one, so that one compare-and-swap takes a part of
 * the work that is open, whichever that is. Invariant: what the work is (run, context) changes only
 * while no part is taken and not done; a thread that took one may read it.
 * A thread that waits spins 50 us, which is longer than what lies between two pieces of work as a
 * rule, and sleeps at the gate then. Who changes something and finds sleepers tells them; both
 * sides write before they read, in the one order of all sequentially consistent accesses, so one of
 * them sees the other.
 * Owns nothing but the gate. Cost: a piece of work about 1 us, 10 where helpers sleep.
 * The sleeping barrier is Mellor-Crummey and Scott's central one (1991), with tickets. */
#include "base/crew.h"

#include "base/alloc.h"
#include "base/portability.h"

double pg_seconds(void) { return pg_now(); }

#if PG_HAS_CREWS

struct pg_crew {
    _Atomic uint64_t open;    /* parts << 32 | the next one to take */
    char apart[64];           /* in lines of the cache that are written at other times */
    _Atomic uint32_t done;    /* parts that have ended */
    _Atomic uint32_t session; /* odd: the crew is open */
    _Atomic uint32_t sleepers;
    pg_part *run;
    void *context;
    uint32_t count;
    bool forgotten; /* the gate was another process's */
    pg_gate gate;
};

static const double spins = 50e-6; /* seconds */

pg_status pg_crew_new(pg_crew **crew_ret) {
    pg_crew *crew = pg_zeroed(1, sizeof *crew);
    if (crew == NULL) return PG_ERR_NOMEM;
    if (pg_gate_init(&crew->gate) != 0) {
        pg_free(crew);
        return PG_ERR_NOMEM;
    }
    *crew_ret = crew;
    return PG_OK;
}

void pg_crew_free(pg_crew *crew) {
    if (crew != NULL && !crew->forgotten) pg_gate_destroy(&crew->gate);
    pg_free(crew);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static bool has_part(const pg_crew *crew) {
    const uint64_t open = atomic_load(&crew->open);
    return (uint32_t)open < open >> 32;
}

/* What a thread waits for: a helper for a part or the end of its session, the caller (session 0)
 * for the end of all parts. */
static bool is_over(const pg_crew *crew, uint32_t session) {
    if (session == 0) return atomic_load(&crew->done) == crew->count;
    return has_part(crew) || atomic_load(&crew->session) != session;
}

/* Returns: it is over. A clock that was set back ends it, too. */
static bool spin(const pg_crew *crew, uint32_t session) {
    double passed = 0.0;
    for (const double start = pg_seconds(); passed >= 0.0 && passed < spins;
         passed = pg_seconds() - start)
        for (int i = 0; i < 16; i++) {
            if (is_over(crew, session)) return true;
            PG_PAUSE();
        }
    return false;
}

static void wait_until_over(pg_crew *crew, uint32_t session) {
    if (spin(crew, session)) return;
    pg_gate_lock(&crew->gate);
    atomic_fetch_add(&crew->sleepers, 1);
    while (!is_over(crew, session)) pg_gate_wait(&crew->gate);
    atomic_fetch_sub(&crew->sleepers, 1);
    pg_gate_unlock(&crew->gate);
}

static void tell_sleepers(pg_crew *crew) {
    if (atomic_load(&crew->sleepers) == 0) return;
    pg_gate_lock(&crew->gate);
    pg_gate_tell(&crew->gate);
    pg_gate_unlock(&crew->gate);
}

/* ---- Parts ----------------------------------------------------------------------------------- */

static bool take_part(pg_crew *crew, uint32_t *part_ret) {
    uint64_t open = atomic_load(&crew->open);
    while ((uint32_t)open < open >> 32) {
        if (!atomic_compare_exchange_weak(&crew->open, &open, open + 1)) continue;
        *part_ret = (uint32_t)open;
        return true;
    }
    return false;
}

/* The last one to end tells the caller: what the work is may change at once. */
static void do_parts(pg_crew *crew) {
    for (uint32_t part; take_part(crew, &part);) {
        const uint32_t count = crew->count;
        crew->run(crew->context, part);
        if (atomic_fetch_add(&crew->done, 1) + 1 == count) tell_sleepers(crew);
    }
}

bool pg_crew_is_open(const pg_crew *crew) { return atomic_load(&crew->session) % 2 != 0; }

void pg_crew_share(pg_crew *crew, pg_part *run, void *context, uint32_t count) {
    if (crew == NULL || !pg_crew_is_open(crew) || count < 2) {
        for (uint32_t part = 0; part < count; part++) run(context, part);
        return;
    }
    crew->run = run;
    crew->context = context;
    crew->count = count;
    atomic_store(&crew->done, 0);
    atomic_store(&crew->open, (uint64_t)count << 32);
    tell_sleepers(crew);
    do_parts(crew);
    wait_until_over(crew, 0);
}

/* ---- Sessions -------------------------------------------------------------------------------- */

void pg_crew_open(pg_crew *crew) {
    const uint32_t session = atomic_load(&crew->session);
    if (session % 2 == 0) atomic_store(&crew->session, session + 1);
}

void pg_crew_help(pg_crew *crew) {
    const uint32_t session = atomic_load(&crew->session);
    while (session % 2 != 0 && atomic_load(&crew->session) == session) {
        do_parts(crew);
        wait_until_over(crew, session);
    }
}

void pg_crew_close(pg_crew *crew) {
    uint32_t session = atomic_load(&crew->session);
    if (session % 2 == 0) return;
    atomic_compare_exchange_strong(&crew->session, &session, session + 1);
    tell_sleepers(crew);
}

/* Work is never open here: a thread forks where it polls, which it does between pieces of work. */
void pg_crew_forget(pg_crew *crew) {
    const uint32_t session = atomic_load(&crew->session);
    atomic_store(&crew->sleepers, 0);
    atomic_store(&crew->session, session + session % 2);
    crew->forgotten = true;
}

#else

struct pg_crew {
    int none;
};

pg_status pg_crew_new(pg_crew **crew_ret) {
    *crew_ret = pg_zeroed(1, sizeof **crew_ret);
    return *crew_ret != NULL ? PG_OK : PG_ERR_NOMEM;
}
void pg_crew_free(pg_crew *crew) { pg_free(crew); }
void pg_crew_share(pg_crew *crew, pg_part *run, void *context, uint32_t count) {
    (void)crew;
    for (uint32_t part = 0; part < count; part++) run(context, part);
}
bool pg_crew_is_open(const pg_crew *crew) {
    (void)crew;
    return false;
}
void pg_crew_open(pg_crew *crew) { (void)crew; }
void pg_crew_help(pg_crew *crew) { (void)crew; }
void pg_crew_close(pg_crew *crew) { (void)crew; }
void pg_crew_forget(pg_crew *crew) { (void)crew; }

#endif
