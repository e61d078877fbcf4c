/*
 * study_csv.h - files of rows that are never half written: CSV with a known header. A field may be quoted, but has
 * no quotes in it.
 *
 * A row is appended by one write, so that a program killed at any moment leaves whole rows and at most one
 * torn one at the end, without its newline. Whoever reads leaves that out, whoever appends cuts it off.
 */
#ifndef BENCH_STUDY_CSV_H
#define BENCH_STUDY_CSV_H

#include <stdint.h>

#include "dm/dm.h"

enum { STUDY_CSV_COLUMNS = 16, STUDY_CSV_LINE = 1024 };

struct study_csv_row;

/* A kind of file. */
typedef struct study_csv {
    const char *header; /* names, with commas; at most STUDY_CSV_COLUMNS */
    /* Each row, in order. The fields are mine, until it returns. */
    dm_status (*take)(void *context, const struct study_csv_row *row);
} study_csv;

typedef struct study_csv_row {
    const char *path;
    long line; /* from 1 */
    const char *fields[STUDY_CSV_COLUMNS];
    const char *names[STUDY_CSV_COLUMNS];
} study_csv_row;

/* All whole rows of a file; one that is not there has none. DM_ERR_IO; DM_ERR_FORMAT, with file and line, for
 * another header, another number of fields, and what take says of them. */
dm_status study_csv_read(const study_csv *kind, const char *path, void *context) DM_NODISCARD;

/* The same, and then it can be appended to: makes the file, cuts a torn row off, and keeps others from appending.
 * `*fd` is Yours: close it. `*torn` says whether there was such a row. DM_ERR_IO also if somebody appends already. */
dm_status study_csv_open(const study_csv *kind, const char *path, void *context, int *fd, bool *torn) DM_NODISCARD;

/* A row, without its newline. It is on the disk when this returns. */
dm_status study_csv_append(int fd, const char *path, const char *row) DM_NODISCARD;

/* A field of a row as what it is, or DM_ERR_FORMAT. Text fills no more than `room`. */
dm_status study_csv_text(const study_csv_row *row, int column, char *to, size_t room) DM_NODISCARD;
dm_status study_csv_whole(const study_csv_row *row, int column, int64_t least, int64_t most, int64_t *to) DM_NODISCARD;
dm_status study_csv_number(const study_csv_row *row, int column, double *to) DM_NODISCARD; /* finite */

#endif
