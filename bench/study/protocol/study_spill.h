/*
 * study_spill.h - the study's spill experiment: models that follow each other in one process, whose values are
 * several times what the store holds; and spill.csv, bytes on disk over time.
 *
 * A model is CSD in tasks of as many voxels as the study had at 32,768 chunks, all submitted at once, as the study's
 * code did; each result is read in order and released. Who runs it is a process of its own (study_spill_run); who
 * looks is another (study_spill_measure), through /proc, so the bytes are the kernel's. A second run of each is
 * killed in its last model, and then it is looked at what is left.
 */
#ifndef BENCH_STUDY_SPILL_H
#define BENCH_STUDY_SPILL_H

#include <stdint.h>

#include "dm/dm.h"

enum { STUDY_SPILL_CHUNK = 112 }; /* voxels: 145 x 174 x 145 in 32,768 chunks */

typedef struct study_spill_plan {
    size_t shape[3]; /* of a phantom, all of whose voxels are fitted */
    size_t store_bytes;
    int models; /* one after the other */
    int workers;
} study_spill_plan;

/* With a store of a third of the signals, at least 1 MiB. */
study_spill_plan study_spill_plan_of(const size_t shape[3], int models);

/* A case: who may keep the disk, and how a task gets what it reads. */
typedef struct study_spill_case {
    dm_spill_policy policy;
    bool by_value; /* every chunk and every setup, with each task; else they are put once, before the first model */
} study_spill_case;

enum { STUDY_SPILL_CASES = 6, STUDY_SPILL_NAME = 24 };
extern const study_spill_case study_spill_cases[STUDY_SPILL_CASES];

/* "never,value". The second gives false for what is no case. */
void study_spill_name(const study_spill_case *of, char name[STUDY_SPILL_NAME]);
bool study_spill_named(const char *name, study_spill_case *of);
const char *study_spill_policy(const study_spill_case *of);    /* "never" */
const char *study_spill_arguments(const study_spill_case *of); /* "value", "shared" */

/*
 * Run it, spilling into `directory`, and say on stdout "begin", then every few milliseconds "now LIVE AWAY SPILLED
 * STORED", and "model K SPILLED STORED" after each. LIVE: bytes of values that somebody can still ask for, counted by
 * who made them: what was put and not released, what tasks were given that are not done, what tasks returned that
 * is not released. AWAY: of values that are on the disk only. SPILLED, STORED: bytes written to the disk so far, and
 * what they were there. In the end "done"; then wait until stdin is closed, and shut down.
 */
dm_status study_spill_run(const study_spill_plan *plan, const study_spill_case *of,
                          const char *directory) DM_NODISCARD;

/* Watch all cases: each is run by `start`, a program with arguments that ends in study_spill_run, which is given the
 * name of the case and the directory behind them. Writes the rows to `path`, all or nothing. */
dm_status study_spill_measure(const study_spill_plan *plan, const char *const *start, const char *commit,
                              const char *path) DM_NODISCARD;

#endif
