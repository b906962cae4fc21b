/* powers.c - compare powers.h with libm's pow at many points of each exponent, and print what came
 * of it: `make prove-powers POINTS=1000000000`. The exit status tells whether all bits agree. */
#include "agreement.h"

#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments) {
    static const double usual[] = {2.0,  -1.0, 0.5,  -0.5, -2.0, 3.0,
                                   -3.0, 1.5,  -1.5, 6.0,  -7.0, -13.0};
    const uint64_t points = count > 1 ? (uint64_t)strtod(arguments[1], NULL) : 10000000;
    const int given = count > 2 ? count - 2 : (int)(sizeof usual / sizeof *usual);
    int failed = 0;
    if (!powers_are_used()) {
        puts("powers.h is not used here: no fused multiply-add, or not glibc's pow");
        return 0;
    }
    puts("exponent        points   asked  differ  misrounded by pow, at most from a tie");
    for (int i = 0; i < given; i++) {
        const double exponent = count > 2 ? strtod(arguments[i + 2], NULL) : usual[i];
        const agreement a = compare_powers(exponent, points, (uint64_t)(i + 1) << 32);
        printf("%8g  %12llu  %5.1f%%  %6llu  %10llu  %.5f ulp\n", exponent,
               (unsigned long long)a.points, 100.0 * (double)a.asked / (double)a.points,
               (unsigned long long)a.differ, (unsigned long long)a.misrounded, a.farthest);
        if (a.differ > 0) printf("          such as %a\n", a.example);
        failed |= a.differ > 0;
        fflush(stdout);
    }
    return failed;
}
