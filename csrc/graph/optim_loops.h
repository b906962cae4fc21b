/* optim_loops.h - one step of an optimizer over arrays, without branches, so that a compiler
 * vectorises it. Returns: nonzero if a result isn't finite.
 * A template: NAME(x) is defined, and FOURS: is there a register for four doubles? Compilers heed
 * `restrict` of parameters only; else each call tests for overlap first. */

static uint64_t NAME(sgd_all)(double *restrict data, double *restrict velocity,
                              const pg_optimizer_arrays from, size_t count,
                              const pg_sgd_settings *s) {
    uint64_t odd = 0;
    for (size_t i = 0; velocity == NULL && i < count; i++)
        odd |= pg_unless_finite(
            data[i] = pg_sgd_one(from.data[i], from.scale * from.gradients[i], NULL, s));
    for (size_t i = 0; velocity != NULL && i < count; i++) {
        double v = from.velocity[i];
        data[i] = pg_sgd_one(from.data[i], from.scale * from.gradients[i], &v, s);
        velocity[i] = v;
        odd |= pg_unless_finite(data[i]) | pg_unless_finite(v);
    }
    return odd;
}

/* Copy data and gradients of nodes side by side: four nodes are a square of numbers, of which two
 * columns count. */
static void NAME(gather)(double *restrict data, double *restrict gradients, const pg_node *nodes,
                         size_t count) {
    size_t i = 0;
#if FOURS
    for (; i + 4 <= count; i += 4) {
        pg_four x[4];
        for (size_t k = 0; k < 4; k++) x[k] = *(const pg_four_anywhere *)&nodes[i + k];
        pg_transpose(x);
        *(pg_four_anywhere *)(data + i) = x[0];
        *(pg_four_anywhere *)(gradients + i) = x[1];
    }
#endif
    for (; i < count; i++) {
        data[i] = nodes[i].data;
        gradients[i] = nodes[i].u.grad;
    }
}

/* The same in place. */
static void NAME(adam_in_place)(double *restrict data, double *restrict means,
                                double *restrict squares, const double *restrict gradients,
                                size_t count, const adam_step *step) {
    for (size_t i = 0; i < count; i++)
        data[i] = adam_one(data[i], gradients[i], &means[i], &squares[i], step);
}

static uint64_t NAME(adam_all)(double *restrict data, double *restrict means,
                               double *restrict squares, const pg_optimizer_arrays from,
                               size_t count, const adam_step *step) {
    uint64_t odd = 0;
    for (size_t i = 0; i < count; i++) {
        double mean = from.mean[i], square = from.square[i];
        data[i] = adam_one(from.data[i], from.scale * from.gradients[i], &mean, &square, step);
        means[i] = mean;
        squares[i] = square;
        odd |= pg_unless_finite(data[i]) | pg_unless_finite(mean) | pg_unless_finite(square);
    }
    return odd;
}

static uint64_t NAME(rmsprop_all)(double *restrict data, double *restrict squares,
                                  double *restrict velocity, const pg_optimizer_arrays from,
                                  size_t count, const pg_rmsprop_settings *s) {
    uint64_t odd = 0;
    for (size_t i = 0; velocity == NULL && i < count; i++) {
        double square = from.square[i];
        data[i] = rmsprop_one(from.data[i], from.scale * from.gradients[i], &square, NULL, s);
        squares[i] = square;
        odd |= pg_unless_finite(data[i]) | pg_unless_finite(square);
    }
    for (size_t i = 0; velocity != NULL && i < count; i++) {
        double square = from.square[i], v = from.velocity[i];
        data[i] = rmsprop_one(from.data[i], from.scale * from.gradients[i], &square, &v, s);
        squares[i] = square;
        velocity[i] = v;
        odd |= pg_unless_finite(data[i]) | pg_unless_finite(square) | pg_unless_finite(v);
    }
    return odd;
}
