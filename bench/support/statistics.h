/*
 * statistics.h - order statistics of samples. They sort what they are given.
 */
#ifndef BENCH_STATISTICS_H
#define BENCH_STATISTICS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static inline int bench_compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The sample below which `fraction` of them lie; the lower of two in doubt. */
static inline double bench_quantile(double *samples, size_t n, double fraction)
{
    qsort(samples, n, sizeof *samples, bench_compare_doubles);
    return samples[(size_t)(fraction * (double)(n - 1))];
}

static inline double bench_median(double *samples, size_t n)
{
    double lower = bench_quantile(samples, n, 0.5);
    return n % 2 ? lower : (lower + samples[n / 2]) / 2;
}

/*
 * Where the median of what the samples were taken from lies, 19 times of 20, whatever its distribution is: from the
 * k-th sample to the k-th from above, where k is the most for which fewer than k of n fair coins show heads one time
 * in forty, or less. False if there are too few (under 6) to say so: then the least and the most.
 */
static inline bool bench_median_lies(double *samples, size_t n, double *low, double *high)
{
    double chance = ldexp(1, -(int)n), below = chance; /* of none, binomial; then of at most k of them */
    size_t k = 0;
    while (below <= 0.025) {
        chance *= (double)(n - k) / (double)(k + 1);
        below += chance;
        k++;
    }
    qsort(samples, n, sizeof *samples, bench_compare_doubles);
    const size_t at = k ? k - 1 : 0;
    *low = samples[at];
    *high = samples[n - 1 - at];
    return k > 0;
}

#endif
