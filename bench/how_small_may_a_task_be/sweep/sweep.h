/*
 * sweep.h - METG(50 %) of a contestant that can run a graph.
 *
 * As Task Bench defines it: granularity is elapsed time x cores / tasks; efficiency is the work done per second
 * over what the cores could do if they did nothing else; METG(50 %) is the least granularity at which
 * efficiency is still 50 %, found by halving the work in a task, interpolated linearly between the last
 * point above and the first below. Each point is the median of five.
 */
#ifndef BENCH_SWEEP_H
#define BENCH_SWEEP_H

#include "bench/how_small_may_a_task_be/sweep/graph.h"
#include "bench/support/options.h"

typedef struct sweep {
    const char *name;
    bench_options options;
    /* Run a graph, check it, give the elapsed time in ns and the sum of graph_counts. */
    double (*run)(const graph *g, uint64_t *answer);
    double (*agree)(double value); /* where several processes sweep: the same value in all. Else NULL */
    bool silent;                   /* one of several, and not the one that reports */
} sweep;

/* All patterns. With BENCH_SERIES, a folder, a file of points for each pattern is left there. */
void sweep_run(const sweep *of);

#endif
