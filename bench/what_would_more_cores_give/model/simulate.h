/*
 * simulate.h - one fit of a brain by the runtime, as a model of it: from dm_fit_csd's first line to its last.
 *
 * What is modelled, and from which file: a driver's thread that keeps a window of tasks under way and gathers them in
 * order and by the batch (models/fit_drive.c), copying signals when a block is first needed (models/signals.c); lanes of which each
 * holds no more than the policy lets it, chosen by the runtime's own pure functions (runtime/policy.c is linked, not
 * imitated); the queue of ready tasks, turns, marks at which workers ring, taking back what a busy worker has not
 * begun when another has nothing (runtime/dispatch.c); a driver that spins if a CPU is free for it and else sleeps
 * (runtime/rest.c), a supervisor's thread that dispatches meanwhile, and leaves a busy driver alone for up to four
 * milliseconds (runtime/supervisor.c); workers that run, spin 50 us, sleep and are rung (runtime/worker.c); CPUs that
 * all of these share (clockwork.h), and wait for where none is idle; memory that running voxels share.
 *
 * What is not: deaths, spilling, tasks that make tasks, other programs, one CPU being farther from another than from
 * a third.
 */
#ifndef BENCH_SIMULATE_H
#define BENCH_SIMULATE_H

#include <stddef.h>

#include "bench/what_would_more_cores_give/model/costs.h"

typedef struct fit_job {
    const costs *costs;
    const profile *profile;
    size_t voxels, chunks;
    size_t alike;     /* voxels in a row that cost the same (profile.h) */
    size_t n_volumes; /* of a voxel's signals */
    size_t value_bytes;
    size_t n_results;
    int cpus, workers;
} fit_job;

/* Times in ns; those of several add up. */
typedef struct fit_outcome {
    double elapsed;
    double driver;   /* CPU time of the driver's process */
    double dispatch; /* of that, turns and looks at lanes */
    double voxels;   /* CPU time of the workers, in voxels as if uncrowded */
    double workers;  /* all of it */
    double starved;  /* workers that had nothing to do while chunks were not yet placed */
    double tail;     /* the same, afterwards, until all was gathered */
    double cpu;      /* of all CPUs together: driver + workers, up to rounding */
    size_t run, taken_back, worker_wakes, driver_wakes;
} fit_outcome;

fit_outcome simulate(const fit_job *job);

/* What the fit takes in one thread, without tasks. */
double alone_ns(const fit_job *job);

/* Speed-up over that, over the CPUs. */
double efficiency(const fit_job *job, const fit_outcome *outcome);

/* Tasks under way at most, and voxels in a block: as models/fit_drive.c and signals.c choose. */
size_t window_of(const fit_job *job);
size_t block_of(const fit_job *job);

/* All memory there is for k cores, bytes a ns. */
double memory_of(const costs *c, int k);

#endif
