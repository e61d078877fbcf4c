/*
 * dmrt_rows.c - what the rows share: timing, reporting, the order in which they run, published figures.
 */
#include "bench/what_does_a_task_cost/rows/dmrt_rows.h"

#include "bench/support/session.h"

rows_timing rows_now(void)
{
    rows_timing now = {.cpu = bench_session_cpu_ns()};
    now.wall = bench_now_ns();
    return now;
}

rows_timing rows_since(rows_timing start)
{
    int64_t wall = bench_now_ns() - start.wall;
    return (rows_timing){wall, bench_session_cpu_ns() - start.cpu};
}

void rows_report(const dmrt_rows *rows, const char *name, rows_timing took, size_t n, uint64_t answer)
{
    char more[64];
    snprintf(more, sizeof more, "\"cpu_ns\":%.6g", (double)took.cpu / (double)n);
    rows->report(rows->context, &(bench_row){.name = name,
                                             .unit = "ns",
                                             .value = (double)took.wall / (double)n,
                                             .n = n,
                                             .answer = answer,
                                             .more = more});
}

void dmrt_rows_run(const dmrt_rows *rows)
{
    rows_of_tasks(rows);
    rows_of_graphs(rows);
    rows_of_values(rows); /* last: they leave workers with memory of their own */
}

/* Made of published.jsonl by CMake. */
static const published_figure figures[] = {
#include "published_figures.inc"
};

const published_figure *published_figure_of(const char *name)
{
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        if (strcmp(figures[i].name, name) == 0)
            return &figures[i];
    return NULL;
}
