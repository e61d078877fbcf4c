/*
 * burn.h - work of a known size. It counts instructions, not time: a task that waits for a clock
 * "finishes" while it is preempted, and so hides that there are more runners than cores.
 */
#ifndef BENCH_BURN_H
#define BENCH_BURN_H

#include <stdint.h>

#include "clock.h"

/* A chain of multiplications that no compiler shortens and no CPU overlaps. */
static inline uint64_t bench_burn(uint64_t seed, uint64_t rounds)
{
    uint64_t x = seed;
    for (uint64_t i = 0; i < rounds; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        __asm__ volatile("" : "+r"(x));
    }
    return x;
}

/* What one burn takes when nothing disturbs it: the best of 50 looks at ten. */
static inline double bench_burn_ns(uint64_t rounds)
{
    enum { LOOKS = 50, BURNS = 10 };
    uint64_t x = 1;
    int64_t best = INT64_MAX;
    for (int i = 0; i < LOOKS; i++) {
        int64_t start = bench_now_ns();
        for (int j = 0; j < BURNS; j++)
            x = bench_burn(x, rounds);
        int64_t took = bench_now_ns() - start;
        best = took < best ? took : best;
    }
    return (double)best / BURNS;
}

#endif
