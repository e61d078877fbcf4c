/*
 * study_table.h - study.csv: what was measured, a row for each fit. The first six columns are the study's own.
 */
#ifndef BENCH_STUDY_TABLE_H
#define BENCH_STUDY_TABLE_H

#include <stdint.h>

#include "dm/dm.h"

#define STUDY_TABLE_HEADER                                                                                    \
    "model,engine,num_chunks,cpu_count,time,data_shape,run,tasks,overhead,peak_memory,spilled,on_disk,commit"

/* Engines: how voxels were fitted. */
#define STUDY_SERIAL "serial"    /* in one process, without tasks; one chunk, one CPU */
#define STUDY_CHUNKS "dmrt"      /* so many tasks as were asked for */
#define STUDY_AUTO   "dmrt auto" /* as many as the fit chooses itself */
#define STUDY_MAP    "dmrt map"  /* by dm_map, which chooses while it runs */

typedef struct study_row {
    char model[16], engine[16];
    int64_t num_chunks; /* that were made */
    int cpu_count;
    double time; /* seconds */
    char data_shape[48];
    int run; /* from 1. What is compared was measured in the same run */
    int64_t tasks; /* that were submitted; 0 in a serial fit */
    double overhead; /* seconds of CPUs beyond the serial fit of the run, of all tasks together; NAN: not known */
    uint64_t peak_memory; /* bytes: private of all processes, and the store's, at the end of the fit */
    uint64_t spilled;     /* bytes of values written to the disk during it */
    uint64_t on_disk;     /* bytes there at its end */
    char commit[64];
} study_row;

typedef struct study_table {
    const char *path; /* Mine */
    study_row *rows;
    size_t count, room;
    int fd;     /* -1: only to be looked at */
    bool torn;  /* there was a row that its writer had not finished */
} study_table;

/* To look at; one that is not there has no rows. To append to: see study_csv_open. Yours in any case:
 * study_table_close. */
dm_status study_table_read(const char *path, study_table *t) DM_NODISCARD;
dm_status study_table_open(const char *path, study_table *t) DM_NODISCARD;
void study_table_close(study_table *t);

/* To the file, then to the rows. */
dm_status study_table_append(study_table *t, const study_row *row) DM_NODISCARD;

/* The row of this model, engine, number of CPUs and run; for STUDY_CHUNKS also of so many chunks. NULL: none. */
const study_row *study_table_find(const study_table *t, const study_row *like);

#endif
