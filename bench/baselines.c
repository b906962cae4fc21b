/* baselines.c - the benchmarks' two workloads by hand, the way an expert writes them for speed.
 *
 * Samples lie innermost: a `lanes` holds one unit of as many samples as the machine's vectors do,
 * and a layer is multiplications and additions of such vectors with the weights as broadcast numbers. Sizes are constants, so
 * loops over units unroll and sums stay in registers. A weight's gradient is summed lane by lane
 * over all samples and across the lanes once at the end.
 *
 * `demo_*`: micrograd's demo step, MLP 2-16-16-1, 100 samples, hinge loss plus L2, SGD.
 * `rows_gradient`: the gradient of a summed squared error, MLP 3-4-4-1, tanh on every layer.
 *
 * Parameters: layer by layer, neuron by neuron, weights then bias. bench/baselines.py compiles this
 * (what it declares to cffi is what follows here), lays out the data, and says which tanh it is:
 * libm's, or with -DVECTOR_TANH the one of csrc/ops/fastmath.h, which the compiler vectorises.
 */
#include <math.h>
#include <string.h>

#ifdef VECTOR_TANH
#include "ops/fastmath.h"
#define TANH pg_fast_tanh
#else
#define TANH tanh
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

#ifdef __AVX512F__
enum { WIDTH = 8 }; /* samples in a vector: with 16 sums, what the registers hold */
#else
enum { WIDTH = 4 };
#endif
int width(void) { return WIDTH; }

typedef double lanes __attribute__((vector_size(8 * WIDTH)));
typedef double loose __attribute__((vector_size(8 * WIDTH), aligned(8), may_alias)); /* callers' */

/* --- layers over a vector of samples ------------------------------------------------------- */

/* z[j] = bias[j] + sum over k of w[j][k] * h[k] */
INLINE void forward(int nin, int nout, const double *p, const lanes *h, lanes *z) {
    lanes sum[16];
    UNROLL for (int j = 0; j < nout; j++) sum[j] = p[j * (nin + 1) + nin] + (lanes){0};
    for (int k = 0; k < nin; k++) {
        UNROLL for (int j = 0; j < nout; j++) sum[j] += p[j * (nin + 1) + k] * h[k];
    }
    UNROLL for (int j = 0; j < nout; j++) z[j] = sum[j];
}

/* gh[k] = sum over j of w[j][k] * gz[j] */
INLINE void backward(int nin, int nout, const double *p, const lanes *gz, lanes *gh) {
    lanes sum[16];
    UNROLL for (int k = 0; k < nin; k++) sum[k] = p[k] * gz[0];
    for (int j = 1; j < nout; j++) {
        UNROLL for (int k = 0; k < nin; k++) sum[k] += p[j * (nin + 1) + k] * gz[j];
    }
    UNROLL for (int k = 0; k < nin; k++) gh[k] = sum[k];
}

/* The sum of the lanes. */
INLINE double across(lanes v) {
    double sum = 0.0;
    for (int i = 0; i < WIDTH / 2; i++) sum += v[i] + v[i + WIDTH / 2];
    return sum;
}

/* gp[j][k] += gz[j] * h[k] over blocks of samples, a tile of `tall` by `wide` in registers.
 * A block's units lie `nin` and `nout` vectors apart; wide == 0 stands for the biases. */
INLINE void tile(int blocks, int nin, int nout, int tall, int wide, const lanes *gz, const lanes *h,
                 lanes *sum) {
    lanes s[16];
    int cells = tall * (wide ? wide : 1);
    UNROLL for (int i = 0; i < cells; i++) s[i] = sum[i];
    for (int b = 0; b < blocks; b++, gz += nout, h += nin) {
        UNROLL for (int j = 0; j < tall; j++) {
            if (!wide) s[j] += gz[j];
            UNROLL for (int k = 0; k < wide; k++) s[j * wide + k] += gz[j] * h[k];
        }
    }
    UNROLL for (int i = 0; i < cells; i++) sum[i] = s[i];
}

/* A layer's whole gradient, in tiles that fit the registers. Out: gp, as the parameters lie. */
INLINE void weight_gradients(int blocks, int nin, int nout, int tall, int wide, const lanes *gz,
                             const lanes *h, double *gp) {
    for (int j = 0; j < nout; j += tall) {
        for (int k = 0; k < nin; k += wide) {
            lanes sum[16] = {{0}};
            tile(blocks, nin, nout, tall, wide, gz + j, h + k, sum);
            UNROLL for (int i = 0; i < tall * wide; i++) {
                gp[(j + i / wide) * (nin + 1) + k + i % wide] = across(sum[i]);
            }
        }
        lanes sum[16] = {{0}};
        tile(blocks, nin, nout, tall, 0, gz + j, h, sum);
        UNROLL for (int i = 0; i < tall; i++) gp[(j + i) * (nin + 1) + nin] = across(sum[i]);
    }
}

enum activation { RELU, ACT_TANH };

INLINE void activate(enum activation kind, int vectors, lanes *z) {
    double *y = (double *)z;
    for (int i = 0; i < WIDTH * vectors; i++) {
        y[i] = kind == RELU ? (y[i] > 0.0 ? y[i] : 0.0) : TANH(y[i]);
    }
}

/* gz *= dy/dz, from y */
INLINE void deactivate(enum activation kind, int vectors, const lanes *h, lanes *gz) {
    const double *y = (const double *)h;
    double *g = (double *)gz;
    for (int i = 0; i < WIDTH * vectors; i++) {
        g[i] = kind == RELU ? (y[i] > 0.0 ? g[i] : 0.0) : g[i] * (1.0 - y[i] * y[i]);
    }
}

/* --- micrograd's demo step ----------------------------------------------------------------- */

enum {
    SAMPLES = 100,
    UNITS = 16,
    BLOCKS = (SAMPLES + WIDTH - 1) / WIDTH,
    FIRST = 3 * UNITS,               /* parameters of the first layer, */
    SECOND = FIRST + 17 * UNITS,     /* where the third starts, */
    PARAMETERS = SECOND + UNITS + 1, /* all: 337; */
    VECTORS = PARAMETERS / WIDTH + 1 /* in vectors, the rest of the last one 0 */
};
static const double L2 = 1e-4;

/* What one step keeps; about 55 kB. */
typedef struct {
    lanes p[VECTORS], gp[VECTORS];
    lanes x[BLOCKS][2], labels[BLOCKS]; /* samples beyond the last: label 0, so gradient 0 */
    lanes h1[BLOCKS][UNITS], h2[BLOCKS][UNITS], g1[BLOCKS][UNITS], g2[BLOCKS][UNITS];
    lanes gout[BLOCKS];
} demo;

/* Forward and backward of a block's samples, all but the weights' gradients. Returns: the hinges. */
INLINE lanes demo_block(enum activation kind, demo *d, int b) {
    const double *p = (const double *)d->p;
    lanes score, hinge;
    forward(2, UNITS, p, d->x[b], d->h1[b]);
    activate(kind, UNITS, d->h1[b]);
    forward(UNITS, UNITS, p + FIRST, d->h1[b], d->h2[b]);
    activate(kind, UNITS, d->h2[b]);
    forward(UNITS, 1, p + SECOND, d->h2[b], &score);
    lanes margin = 1.0 - d->labels[b] * score, pull = d->labels[b] * (-1.0 / SAMPLES);
    for (int i = 0; i < WIDTH; i++) {
        hinge[i] = margin[i] > 0.0 && pull[i] != 0.0 ? margin[i] : 0.0;
        d->gout[b][i] = margin[i] > 0.0 ? pull[i] : 0.0;
    }
    backward(UNITS, 1, p + SECOND, &d->gout[b], d->g2[b]);
    deactivate(kind, UNITS, d->h2[b], d->g2[b]);
    backward(UNITS, UNITS, p + FIRST, d->g2[b], d->g1[b]);
    deactivate(kind, UNITS, d->h1[b], d->g1[b]);
    return hinge;
}

INLINE double demo_step(enum activation kind, demo *d, double lr) {
    lanes hinge = {0}, squares = {0};
    double *gp = (double *)d->gp;
    for (int b = 0; b < BLOCKS; b++) hinge += demo_block(kind, d, b);
    weight_gradients(BLOCKS, 2, UNITS, 8, 2, d->g1[0], d->x[0], gp);
    weight_gradients(BLOCKS, UNITS, UNITS, 4, 4, d->g2[0], d->h1[0], gp + FIRST);
    weight_gradients(BLOCKS, UNITS, 1, 1, 16, d->gout, d->h2[0], gp + SECOND);
    for (int i = 0; i < VECTORS; i++) {
        squares += d->p[i] * d->p[i];
        d->p[i] -= lr * (d->gp[i] + 2.0 * L2 * d->p[i]);
    }
    return across(hinge) * (1.0 / SAMPLES) + L2 * across(squares);
}

INLINE double demo_run(enum activation kind, double *p, const double *x, const double *labels,
                       double lr, int steps) {
    demo d;
    double loss = NAN;
    memset(&d, 0, sizeof d);
    memcpy(d.p, p, PARAMETERS * sizeof *p);
    memcpy(d.x, x, sizeof d.x);
    memcpy(d.labels, labels, sizeof d.labels);
    for (int i = 0; i < steps; i++) loss = demo_step(kind, &d, lr);
    memcpy(p, d.p, PARAMETERS * sizeof *p);
    return loss;
}

/* Train for some steps. Returns: the loss before the last of them.
 * In:  x       blocks of 2 inputs of WIDTH samples, those after the last zero
 *      labels  -1 or 1; 0 after the last
 * Out: p       the 337 parameters, in place */
double demo_relu(double *p, const double *x, const double *labels, double lr, int steps) {
    return demo_run(RELU, p, x, labels, lr, steps);
}

double demo_tanh(double *p, const double *x, const double *labels, double lr, int steps) {
    return demo_run(ACT_TANH, p, x, labels, lr, steps);
}

/* --- the gradient over many rows ----------------------------------------------------------- */

enum { GROUP = 64 / WIDTH }; /* blocks at a time: long loops for tanh, all of it in L1 */

typedef struct {
    lanes x[GROUP][3], h1[GROUP][4], h2[GROUP][4], out[GROUP];
    lanes g1[GROUP][4], g2[GROUP][4], gout[GROUP];
    lanes w1[12], b1[4], w2[16], b2[4], w3[4], b3[1]; /* gradients, summed lane by lane */
} rows;

INLINE void rows_group(rows *r, const double *p, const double *x, const double *y) {
    for (int b = 0; b < GROUP; b++) {
        UNROLL for (int i = 0; i < 3; i++) r->x[b][i] = ((const loose *)x)[3 * b + i];
        forward(3, 4, p, r->x[b], r->h1[b]);
    }
    activate(ACT_TANH, GROUP * 4, r->h1[0]);
    for (int b = 0; b < GROUP; b++) forward(4, 4, p + 16, r->h1[b], r->h2[b]);
    activate(ACT_TANH, GROUP * 4, r->h2[0]);
    for (int b = 0; b < GROUP; b++) forward(4, 1, p + 36, r->h2[b], &r->out[b]);
    activate(ACT_TANH, GROUP, r->out);
    for (int b = 0; b < GROUP; b++) r->gout[b] = 2.0 * (r->out[b] - ((const loose *)y)[b]);
}

INLINE void rows_back(rows *r, const double *p) {
    deactivate(ACT_TANH, GROUP, r->out, r->gout);
    for (int b = 0; b < GROUP; b++) backward(4, 1, p + 36, &r->gout[b], r->g2[b]);
    deactivate(ACT_TANH, GROUP * 4, r->h2[0], r->g2[0]);
    for (int b = 0; b < GROUP; b++) backward(4, 4, p + 16, r->g2[b], r->g1[b]);
    deactivate(ACT_TANH, GROUP * 4, r->h1[0], r->g1[0]);
    tile(GROUP, 3, 4, 4, 3, r->g1[0], r->x[0], r->w1);
    tile(GROUP, 3, 4, 4, 0, r->g1[0], r->x[0], r->b1);
    tile(GROUP, 4, 4, 4, 4, r->g2[0], r->h1[0], r->w2);
    tile(GROUP, 4, 4, 4, 0, r->g2[0], r->h1[0], r->b2);
    tile(GROUP, 4, 1, 1, 4, r->gout, r->h2[0], r->w3);
    tile(GROUP, 4, 1, 1, 0, r->gout, r->h2[0], r->b3);
}

static void layer_out(int nin, int nout, const lanes *w, const lanes *b, double *gp) {
    for (int j = 0; j < nout; j++) {
        for (int k = 0; k < nin; k++) gp[j * (nin + 1) + k] = across(w[j * nin + k]);
        gp[j * (nin + 1) + nin] = across(b[j]);
    }
}

/* The gradient of the summed squared error of MLP 3-4-4-1, tanh on every layer.
 * In:  groups  of 64 rows; the last one filled up
 *      valid   rows of the last group that count
 *      x       blocks of 3 inputs of WIDTH rows
 *      y       the targets
 * Out: gp      of the 41 parameters p */
void rows_gradient(double *gp, const double *p, const double *x, const double *y, long groups,
                   int valid) {
    rows r;
    memset(&r, 0, sizeof r);
    for (long g = 0; g < groups; g++) {
        rows_group(&r, p, x + 3 * WIDTH * GROUP * g, y + WIDTH * GROUP * g);
        if (g == groups - 1) {
            double *gout = (double *)r.gout;
            for (int i = valid; i < WIDTH * GROUP; i++) gout[i] = 0.0;
        }
        rows_back(&r, p);
    }
    layer_out(3, 4, r.w1, r.b1, gp);
    layer_out(4, 4, r.w2, r.b2, gp + 16);
    layer_out(4, 1, r.w3, r.b3, gp + 36);
}
