/*
 * pool_rows.h - the rows of other runtimes' pools: who runs one says how to run n tasks, and how to run
 * one and watch it. Answers are checked here. Also read by C++.
 *
 * Pools have no futures, so a window of W is batches of W, each waited for as a whole, unless the
 * contestant can do better; and a task that does nothing writes that it ran.
 */
#ifndef BENCH_POOL_ROWS_H
#define BENCH_POOL_ROWS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pool_task { POOL_TWO_BYTES, POOL_NEXT, POOL_BURN, POOL_UNEVEN } pool_task;

typedef struct pool {
    const char *name;
    double share;      /* of the tasks that fast contestants do; 0: all. Else comparable in time only */
    size_t most_queued; /* rows that queue more are left out; 0: none is */
    void (*start)(int workers);
    void (*stop)(void);
    /* n tasks, at most `window` of them in flight; the sum of pool_counts of their results. `results` has
     * room for `window` of them. */
    uint64_t (*stream)(pool_task task, size_t n, size_t window, uint64_t *results);
    uint64_t (*trip)(uint64_t x); /* POOL_NEXT of x, by somebody else, while the caller watches */
} pool;

/* The body of main. */
int pool_rows_run(int argc, char **argv, const pool *of);

/* What a task computes, and what its result adds to the answer. */
uint64_t pool_work(pool_task task, uint64_t i);
uint64_t pool_counts(pool_task task, uint64_t result);

#ifdef __cplusplus
}
#endif

#endif
