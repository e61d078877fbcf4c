/*
 * peak_memory.h - how much memory a contestant had at most: a row beside the one of its time.
 */
#ifndef BENCH_PEAK_MEMORY_H
#define BENCH_PEAK_MEMORY_H

#include <dm/dm.h>
#include <string.h>
#include <sys/resource.h>

#include "private_memory.h"
#include "row.h"
#include "session.h"

/* MiB of this process at its largest, what it shares with others included. */
static inline double bench_peak_mib(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss / 1024 : 0;
}

/* And of its workers: what each has to itself now. What they share with this process counts once. */
static inline double bench_session_peak_mib(void)
{
    int pids[BENCH_MAX_WORKERS];
    double mib = bench_peak_mib();
    const int n = dm_worker_pids(pids, BENCH_MAX_WORKERS);
    for (int i = 0; i < n; i++)
        if (pids[i] != getpid())
            mib += (double)bench_private_kib(pids[i]) / 1024;
    return mib;
}

/* Of different amounts of work, perhaps: only sizes compare. */
static inline void bench_report_peak(const bench_reporter *who, const char *of, double mib)
{
    char name[512];
    snprintf(name, sizeof name, "%s, peak memory", of);
    bench_report(who,
                 (bench_row){.name = name, .unit = "MiB", .value = mib, .n = 1, .own_rules = true});
}

#endif
