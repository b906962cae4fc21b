/* sgd.h - stochastic gradient descent, one parameter. The formula is PyTorch's.
 * Source: Sutskever et al., On the importance of initialization and momentum in deep learning,
 * 2013.
 */
#ifndef PG_SGD_H
#define PG_SGD_H

#include "pygradc.h"

/* Step one parameter: its new data. velocity may be NULL. */
static inline double pg_sgd_one(double p, double g, double *velocity, const pg_sgd_settings *s) {
    if (s->weight_decay != 0.0) g += s->weight_decay * p;
    if (velocity != NULL) g = *velocity = s->momentum * *velocity + g;
    return p - s->lr * g;
}

#endif
