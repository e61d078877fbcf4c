/*
 * study_sweep.h - the study's protocol: each model, serial and in 2^k chunks, on so many CPUs, several times;
 * a row of study.csv for each. Rows that are there already are not measured again.
 *
 * CPUs are real: the process and its workers may use only so many of them while a row is measured. A session
 * is warm: its first fit is not timed. Within a run everything is measured once, so that what is compared lies
 * near in time; then the next run begins.
 */
#ifndef BENCH_STUDY_SWEEP_H
#define BENCH_STUDY_SWEEP_H

#include "bench/study/protocol/study_model.h"
#include "bench/study/protocol/study_table.h"

enum { STUDY_MOST_CPUS = 64 }; /* different numbers of them, in one sweep */

typedef struct study_plan {
    bool models[STUDY_MODELS];
    int min_chunks, max_chunks; /* exponents of 2 */
    int num_runs;
    int cpus[STUDY_MOST_CPUS], n_cpus; /* ascending */
    const char *commit;
    /* Told before each fit. NULL: nobody. */
    void (*progress)(void *context, const study_row *next);
    void *context;
} study_plan;

/*
 * Measure what is missing. Every result must have the same bits, or it is DM_ERR_NUMERIC. Chunk numbers above the
 * number of voxels are left out. DM_ERR_INVALID if the table has rows of other data, or CPUs are asked for that
 * this process may not use. No session may be running.
 */
dm_status study_sweep(const study_plan *plan, const study_data *data, study_table *table) DM_NODISCARD;

#endif
