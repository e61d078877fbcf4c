/*
 * study_spill_table.h - spill.csv: what was on the disk, when, in each case of the spill experiment.
 */
#ifndef BENCH_STUDY_SPILL_TABLE_H
#define BENCH_STUDY_SPILL_TABLE_H

#include <stdint.h>

#include "dm/dm.h"

#define STUDY_SPILL_HEADER \
    "policy,arguments,event,seconds,on_disk,models,spilled,stored,live,away,voxels,store,commit"

/* Events. */
#define STUDY_SPILL_SAMPLE "sample" /* while models run */
#define STUDY_SPILL_END    "end"    /* all is released, the session still runs */
#define STUDY_SPILL_KILLED "killed" /* another run, killed in its last model: what is left */

typedef struct study_spill_row {
    char policy[16], arguments[16], event[16];
    double seconds; /* since the first sample */
    int64_t on_disk;          /* bytes of blocks */
    int64_t models;           /* that are done */
    int64_t spilled, stored;  /* by then: bytes of values, and of them as they lay there */
    int64_t live;             /* bytes of values, at that moment, as the program counts them */
    int64_t away;             /* bytes of values that are on the disk only, as dm_stats has it */
    int64_t voxels;           /* of a model */
    int64_t store;            /* bytes it holds */
    char commit[64];
} study_spill_row;

typedef struct study_spill_table {
    const char *path; /* Mine */
    study_spill_row *rows;
    size_t count, room;
} study_spill_table;

dm_status study_spill_table_add(study_spill_table *t, const study_spill_row *row) DM_NODISCARD;

/* One that is not there has no rows. Yours: study_spill_table_close. */
dm_status study_spill_table_read(const char *path, study_spill_table *t) DM_NODISCARD;

/* All rows to the file of this name, which appears whole. */
dm_status study_spill_table_write(const study_spill_table *t) DM_NODISCARD;

void study_spill_table_close(study_spill_table *t);

#endif
