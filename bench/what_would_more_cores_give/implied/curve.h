/*
 * curve.h - what a published sweep implies: the overheads with which a simple law gives its speed-ups.
 *
 * With the work of one process as the unit of time, k equal chunks on n cores take
 *
 *     t(n, k) = max(1, n / k, n ceil(k / n) / k) / n      the work, in whole chunks
 *             + a k / n                                   per task, paid where it runs
 *             + b k                                       per task, one after the other
 *             + c n                                       per core
 *             + s                                         per fit, whatever n and k
 *
 * and the speed-up is 1 / t. The best chunking is the best of k = 2^0 .. 2^15. Least squares of logarithms, since
 * figures are read off with a relative error.
 */
#ifndef BENCH_CURVE_H
#define BENCH_CURVE_H

#include <stdint.h>

#include "bench/what_would_more_cores_give/implied/published.h"

enum { IN_WORKERS, ONE_BY_ONE, PER_CORE, PER_FIT, OVERHEADS };

typedef struct curve {
    double overhead[OVERHEADS]; /* a, b, c, s; at least 0 */
} curve;

typedef struct curve_fit {
    curve best, low, high; /* 5 and 95 % of what re-reading the points with the same scatter would give */
    double rms;            /* of the residuals, relative; degrees of freedom counted */
    double residual[2 * MOST_PUBLISHED]; /* measured over curve - 1: best, many of each point */
} curve_fit;

double curve_speedup(const curve *c, int cpus, double chunks);
double curve_best(const curve *c, int cpus, int *power);

/* The overheads in `free` (bits, 1 << IN_WORKERS ..) are found, the others are 0. */
curve_fit curve_find(const published *points, int n, unsigned free, uint64_t seed);

#endif
