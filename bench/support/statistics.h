/*
 * statistics.h - order statistics of samples. They sort what they are given.
 */
#ifndef BENCH_STATISTICS_H
#define BENCH_STATISTICS_H

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

#endif
