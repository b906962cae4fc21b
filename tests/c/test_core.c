/* test_core.c - the core without Python: run every test, count, and tell by the exit status.
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
 *   test_pack.c     graphs to bytes and back, part by part, and bytes that are no graph
 *
 * Meant to run under AddressSanitizer and UBSan, in some seconds; no arguments. */
#include "testing.h"

static int failures = 0; /* of the test that runs */

bool check(bool ok, const char *expression, const char *file, int line) {
    if (!ok && failures++ < 20) printf("%s:%d: %s\n", file, line, expression);
    return ok;
}

int main(void) {
    const test_case *lists[] = {op_tests,      sweep_tests,  memory_tests, bulk_tests,
                                failure_tests, record_tests, replay_tests, runs_tests,
                                save_tests,    custom_tests, pack_tests};
    int passed = 0, failed = 0;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* nothing is lost when a sanitizer ends the program */
    for (size_t i = 0; i < LENGTH(lists); i++) {
        for (const test_case *test = lists[i]; test->run != NULL; test++) {
            failures = 0;
            seed(1);
            test->run();
            pg_alloc_fail_at(0);
            if (failures > 0) printf("FAILED %s: %d checks\n", test->name, failures);
            failures > 0 ? failed++ : passed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
