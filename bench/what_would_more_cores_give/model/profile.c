/*
 * profile.c - see profile.h.
 */
#include "bench/what_would_more_cores_give/model/profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

profile profile_of(size_t n, const double *costs)
{
    profile p = {n, calloc(n + 1, sizeof *p.sum)};
    if (!p.sum || n == 0) {
        fputs("no voxels, or no memory for their costs\n", stderr);
        exit(1);
    }
    double all = 0;
    for (size_t i = 0; i < n; i++)
        all += costs[i];
    for (size_t i = 0; i < n; i++)
        p.sum[i + 1] = p.sum[i] + costs[i] * (double)n / all;
    return p;
}

void profile_fini(profile *p)
{
    free(p->sum);
    *p = (profile){0};
}

/* Of the first x voxels, x not necessarily whole. */
static double upto(const profile *p, double x)
{
    double n = (double)p->n, rounds = floor(x / n), rest = x - rounds * n;
    size_t whole = (size_t)rest;
    if (whole >= p->n)
        return (rounds + 1) * n;
    return rounds * n + p->sum[whole] + (rest - (double)whole) * (p->sum[whole + 1] - p->sum[whole]);
}

double profile_cost(const profile *p, size_t first, size_t n, size_t alike)
{
    double by = (double)alike;
    return by * (upto(p, (double)(first + n) / by) - upto(p, (double)first / by));
}

double profile_spread(const profile *p)
{
    double squares = 0;
    for (size_t i = 0; i < p->n; i++)
        squares += (p->sum[i + 1] - p->sum[i] - 1) * (p->sum[i + 1] - p->sum[i] - 1);
    return sqrt(squares / (double)p->n);
}
