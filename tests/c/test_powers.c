/* test_powers.c - are the powers of powers.h pow's, bit for bit, and would we notice if not?
 *
 * tests/prove/powers.c asks the same of 10^9 points. */
#include "agreement.h"
#include "testing.h"

#include <math.h>

enum { points = 100000 };

static const double exponents[] = {2.0, -1.0, 0.5,  -0.5, -2.0, 3.0,   -3.0, 1.5,  -1.5, 1.0,
                                   4.0, 6.0,  -6.0, -7.0, 12.0, -13.0, 2.5,  -3.5, 32.0, -31.5};

static void each_is_libms(void) {
    for (size_t i = 0; powers_are_used() && i < LENGTH(exponents); i++) {
        const agreement a = compare_powers(exponents[i], points, i + 1);
        CHECK(a.differ == 0);
        CHECK(a.farthest < 1.0 / 64.0);
    }
}

/* In the range one point in 32 is in doubt; a quarter of the points are outside, or next to ties.
 */
static void few_ask(void) {
    if (!powers_are_used()) return;
    const agreement a = compare_powers(-2.0, points, 1);
    CHECK(a.asked > points / 50);
    CHECK(a.asked < points * 2 / 5);
}

static void exponents_are_halves(void) {
    if (!powers_are_used()) return;
    CHECK(halves_of(2.0) == 4);
    CHECK(halves_of(-0.5) == -1);
    CHECK(halves_of(32.0) == 64);
    CHECK(halves_of(32.5) == 0);
    CHECK(halves_of(1.0 / 3.0) == 0);
    CHECK(halves_of(0.0) == 0);
    CHECK(halves_of((double)NAN) == 0);
    CHECK(halves_of((double)-INFINITY) == 0);
}

const test_case powers_tests[] = {
    TEST(each_is_libms), TEST(few_ask), TEST(exponents_are_halves), {NULL, NULL}};
