/*
 * study_summary.h - what the rows of study.csv and spill.csv come to: the numbers behind figures and tables.
 */
#ifndef BENCH_STUDY_SUMMARY_H
#define BENCH_STUDY_SUMMARY_H

#include "bench/study/protocol/study_spill_table.h"
#include "bench/study/protocol/study_table.h"

/* The runs of one place in the sweep: speed-ups over the serial fit of the same run. */
typedef struct study_point {
    int cpus, runs;
    int64_t chunks;
    double median, least, most;
} study_point;

/* All of a model and engine, by CPUs, then chunks; of STUDY_AUTO and STUDY_MAP one for each number of CPUs. Runs
 * without their serial fit do not count. Returns how many, at most `room`. */
enum { STUDY_MOST_POINTS = 1024 };
size_t study_points(const study_table *t, const char *model, const char *engine, study_point *points, size_t room);

/* The one of the greatest median on so many CPUs. NULL: none. */
const study_point *study_best(const study_point *points, size_t n, int cpus);

/* The median of the serial fits of a model, in seconds; 0: none. */
double study_serial(const study_table *t, const char *model);

/*
 * How many times as long a place in the sweep took as the best number of chunks, run by run; the best by the medians of
 * the *other* runs: of sixteen numbers one is always lucky in the run at hand, and that is no merit. Of one run alone,
 * the best of that. `chunks` 0: however many, as an engine chose that chooses them itself.
 */
typedef struct study_ratio {
    double median, low, high; /* between the two the median lies, 19 times of 20 */
    bool sure;                /* false: of so few runs that can't be said; low and high are the least and the most */
    int runs;
} study_ratio;
study_ratio study_against_best(const study_table *t, const char *model, const char *engine, int64_t chunks, int cpus);

/* Ray's, as published. */
typedef struct study_published {
    const char *model;
    int cpus;
    double best, efficiency, many; /* speed-up at its best chunking, efficiency there, speed-up at 32,768 chunks */
} study_published;
extern const study_published study_published_points[];
extern const size_t study_published_count;

/* What so many CPUs cost, in dollars an hour: of the smallest machine that has them, its share. */
double study_price(int cpus);

/* A case of the spill experiment. */
typedef struct study_disk {
    const char *policy, *arguments;
    double peak, mean, end, killed; /* bytes on disk; -1: not seen */
    double beyond, away, unpacked;  /* peaks: of what is alive minus the store; of values on the disk only; of what is
                                     * on the disk, as it was before it was compressed */
    double spilled, stored;         /* bytes of a model after the first */
    double once;                    /* bytes beyond that, of the first */
    double seconds;                 /* of a model */
    double voxels, store;           /* of a model; bytes that the store holds */
} study_disk;

/* False: the table has no run of it. */
bool study_disk_of(const study_spill_table *t, const char *policy, const char *arguments, study_disk *disk);

#endif
