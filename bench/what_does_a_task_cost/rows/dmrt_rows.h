/*
 * dmrt_rows.h - the rows of this question on dmrt, for the contestant here and for `dm bench tasks`.
 *
 * Everything that a program must do for a task is timed: submit it, get and check its result, release
 * it. A wrong answer ends the program.
 */
#ifndef BENCH_DMRT_ROWS_H
#define BENCH_DMRT_ROWS_H

#include "bench/support/options.h"

typedef struct dmrt_rows {
    bench_options options;
    void (*report)(void *context, const bench_row *row); /* the row is mine, and lives until it returns */
    void *context;
} dmrt_rows;

/* All rows that options.only lets through, in the session that is there. */
void dmrt_rows_run(const dmrt_rows *rows);

/* And one that takes gigabytes: ten million tasks under way. */
void dmrt_rows_run_many(const dmrt_rows *rows);

/* What another runtime is said to need for a row, on some other machine. NULL: nothing is known. */
typedef struct published_figure {
    const char *name, *by, *machine;
    double ns;
} published_figure;

const published_figure *published_figure_of(const char *name);

/* ---- between the files here ---- */

typedef struct rows_timing {
    int64_t wall, cpu;
} rows_timing;

rows_timing rows_now(void);
rows_timing rows_since(rows_timing start);

/* A row in ns for each of n, with the CPU time that driver and workers used for it. */
void rows_report(const dmrt_rows *rows, const char *name, rows_timing took, size_t n, uint64_t answer);

void rows_of_tasks(const dmrt_rows *of);  /* dmrt_tasks.c */
void rows_of_graphs(const dmrt_rows *of); /* dmrt_graphs.c */
void rows_of_values(const dmrt_rows *of); /* dmrt_values.c */

#endif
