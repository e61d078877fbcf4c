/*
 * graph.h - the task graphs of Task Bench (Slaughter et al., SC20), written anew from their definition: points
 * p of a step t, each with inputs from step t - 1; and what a task of them does. A result is 16 bytes that
 * say whose it is, so that a wrong or a torn input is found by who reads it.
 */
#ifndef BENCH_GRAPH_H
#define BENCH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/support/burn.h"

typedef enum graph_pattern {
    GRAPH_TRIVIAL,
    GRAPH_NO_COMM,
    GRAPH_STENCIL_1D,
    GRAPH_FFT,
    GRAPH_TREE,
    GRAPH_SPREAD,
    GRAPH_RANDOM_NEAREST,
    GRAPH_ALL_TO_ALL,
    GRAPH_PATTERNS
} graph_pattern;

/* Task Bench's own settings, but for MOST_WIDTH. */
enum { GRAPH_RADIX = 5, GRAPH_PERIOD = 3, GRAPH_MOST_WIDTH = 256 };

typedef struct graph {
    graph_pattern pattern;
    int width, steps;
    uint64_t rounds; /* of work in a task */
} graph;

typedef struct graph_output {
    uint64_t step, point;
} graph_output;

static inline const char *graph_name(graph_pattern pattern)
{
    static const char *const names[] = {"trivial", "no_comm", "stencil_1d",     "fft",
                                        "tree",    "spread",  "random_nearest", "all_to_all"};
    return names[pattern];
}

/* Points of a step: a tree begins with one and doubles. */
static inline int graph_width_at(const graph *g, int step)
{
    if (g->pattern != GRAPH_TREE || step >= 30 || 1 << step > g->width)
        return g->width;
    return 1 << step;
}

static inline uint64_t graph_tasks(const graph *g)
{
    uint64_t tasks = 0;
    for (int step = 0; step < g->steps; step++)
        tasks += (uint64_t)graph_width_at(g, step);
    return tasks;
}

/* The same for everybody: one in four. */
static inline bool graph_random_keeps(int step, int from, int to)
{
    uint64_t x = (uint64_t)step << 40 ^ (uint64_t)from << 20 ^ (uint64_t)to;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return ((x ^ x >> 31) & 3) == 0;
}

static inline bool graph_fft_reads(const graph *g, int step, int point, int from)
{
    int levels = 0;
    while (1 << levels < g->width)
        levels++;
    int distance = levels ? 1 << (step + levels - 1) % levels : 0;
    return from == point || from == point - distance || from == point + distance;
}

static inline bool graph_spread_reads(const graph *g, int step, int point, int from)
{
    for (int i = 0; i < GRAPH_RADIX; i++)
        if ((point + i * g->width / GRAPH_RADIX + (i > 0 ? step % GRAPH_PERIOD : 0)) % g->width == from)
            return true;
    return false;
}

static inline bool graph_reads(const graph *g, int step, int point, int from)
{
    switch (g->pattern) {
    case GRAPH_TRIVIAL: return false;
    case GRAPH_NO_COMM: return from == point;
    case GRAPH_STENCIL_1D: return abs(from - point) <= 1;
    case GRAPH_FFT: return graph_fft_reads(g, step, point, from);
    case GRAPH_TREE: return graph_width_at(g, step) > graph_width_at(g, step - 1) ? from == point / 2
                                                                                  : from == point;
    case GRAPH_SPREAD: return graph_spread_reads(g, step, point, from);
    case GRAPH_RANDOM_NEAREST:
        return from >= point - GRAPH_RADIX / 2 && from <= point + (GRAPH_RADIX - 1) / 2 &&
               graph_random_keeps(step, from, point);
    case GRAPH_ALL_TO_ALL: return true;
    case GRAPH_PATTERNS: break;
    }
    return false;
}

/* The points of step - 1 that a point reads, in order; returns how many, at most GRAPH_MOST_WIDTH. */
static inline int graph_inputs(const graph *g, int step, int point, int *inputs)
{
    int count = 0;
    for (int from = 0; step > 0 && from < graph_width_at(g, step - 1); from++)
        if (graph_reads(g, step, point, from))
            inputs[count++] = from;
    return count;
}

/* A task: check what it was given, work, say whose result this is. False: an input was not the right one. */
static inline bool graph_execute(const graph *g, int step, int point, const graph_output *const *inputs,
                                 int count, graph_output *out)
{
    int expected[GRAPH_MOST_WIDTH];
    if (graph_inputs(g, step, point, expected) != count)
        return false;
    for (int i = 0; i < count; i++)
        if (inputs[i]->step != (uint64_t)step - 1 || inputs[i]->point != (uint64_t)expected[i])
            return false;
    uint64_t burnt = bench_burn((uint64_t)point, g->rounds);
    __asm__ volatile("" : : "r"(burnt));
    *out = (graph_output){(uint64_t)step, (uint64_t)point};
    return true;
}

/* What a right result adds to the answer; a wrong one ends the contestant. */
static inline uint64_t graph_counts(int step, int point, const graph_output *out)
{
    if (out->step == (uint64_t)step && out->point == (uint64_t)point)
        return (out->step + 1) * (out->point + 1);
    fprintf(stderr, "step %d, point %d: the result is another's\n", step, point);
    exit(1);
}

#endif
