/*
 * bells.h - how long it takes until somebody who sleeps runs, and what memory gives to several cores.
 */
#ifndef BENCH_BELLS_H
#define BENCH_BELLS_H

#include <stddef.h>

/* Samples in ns: from before dm_remote until the task runs, in a worker that slept; what that dm_remote took more than
 * one to a worker that was awake. Need a session. */
void measure_worker_wake(size_t n, double *wake, double *bell);

/* From a task's end until the driver's thread, which slept, has its result, while all workers run others. Returns how
 * many samples there are: fewer than n if the driver did not sleep. Needs a session. */
size_t measure_driver_wake(size_t n, int workers, double *wake);

/* Bytes a ns, read and written, by so many threads that copy at the same time. */
double measure_memory(int threads);

#endif
