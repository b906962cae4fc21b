/* test_core.c - the core without Python: run the tests, count, and tell by the exit status.
 *
 *   test_ops.c      is each op right, what is an error, what do expressions append
 *   test_sweep.c    order, gradients, hooks
 *   test_memory.c   reference counts, release, reuse
 *   test_bulk.c     sums, layers, optimisers
 *   test_failure.c  allocations that fail, ids and ops that don't exist
 *   test_record.c   what a trace becomes: parameters, passes, code
 *   test_replay.c   are replays what ordinary nodes give, bit for bit, however rows are cut
 *   test_runs.c     what runs as one: layers, neighbours; and that no bit comes of it
 *   test_save.c     programs to bytes and back, and bytes that are no program
 *   test_custom.c   custom ops, tags, local derivatives, nodes that are cut off, cleared gradients
 *   test_derive.c   derivatives that are nodes
 *   test_powers.c   powers that aren't asked of libm, and have its bits
 *   test_pack.c     graphs to bytes and back, part by part, and bytes that are no graph
 *
 * Arguments are parts of tests' names, as in `test_core sweep/ failure`: those tests run whose name
 * has one of them, or, after a minus sign, has none of them; without arguments all do. Meant for
 * sanitizers, valgrind, and builds with -DPG_VERIFY. */
#include "testing.h"

#include <string.h>
#include <time.h>

/* A file's tests, under its name. */
static const struct {
    const char *name;
    const test_case *tests;
} files[] = {
    {"ops", op_tests},        {"sweep", sweep_tests},     {"memory", memory_tests},
    {"bulk", bulk_tests},     {"failure", failure_tests}, {"record", record_tests},
    {"replay", replay_tests}, {"runs", runs_tests},       {"save", save_tests},
    {"custom", custom_tests}, {"pack", pack_tests},       {"starved", starved_tests},
    {"derive", derive_tests}, {"powers", powers_tests},
};

static int failures = 0; /* of the test that runs */

bool check(bool ok, const char *expression, const char *file, int line) {
    if (!ok && failures++ < 20) printf("%s:%d: %s\n", file, line, expression);
    return ok;
}

/* Is this test asked for? The last argument that speaks of it decides. */
static bool wanted(const char *name, char **arguments, int count) {
    bool yes = count == 0 || arguments[0][0] == '-';
    for (int i = 0; i < count; i++) {
        const bool without = arguments[i][0] == '-';
        if (strstr(name, arguments[i] + without) != NULL) yes = !without;
    }
    return yes;
}

/* Returns: whether it passed. */
static bool run(const test_case *test, const char *name) {
    enum { worth_telling = 5 }; /* seconds */
    const clock_t start = clock();
    failures = 0;
    seed(1);
    test->run();
    pg_alloc_fail_at(0);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (failures > 0) printf("FAILED %s: %d checks\n", name, failures);
    if (seconds > worth_telling) printf("%s took %.0f s\n", name, seconds);
    return failures == 0;
}

int main(int argument_count, char **arguments) {
    int passed = 0, failed = 0;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* nothing is lost when a sanitizer ends the program */
    for (size_t i = 0; i < LENGTH(files); i++) {
        for (const test_case *test = files[i].tests; test->run != NULL; test++) {
            char name[120];
            snprintf(name, sizeof name, "%s/%s", files[i].name, test->name);
            if (!wanted(name, arguments + 1, argument_count - 1)) continue;
            run(test, name) ? passed++ : failed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
