/*
 * row.h - one figure, as one line of JSON on stdout. `gather` makes one line of the lines of several
 * runs, in the same format:
 *
 *   {"question","case","contestant","unit","median","min","max","runs","n","params":{},"commit","cpus"}
 *
 * `n` is how often the thing was done in one run. params.answer is what came out of it: `gather`
 * refuses to compare contestants whose n or answer differ.
 */
#ifndef BENCH_ROW_H
#define BENCH_ROW_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Who reports: set once, in main. */
typedef struct bench_reporter {
    const char *question;
    const char *contestant;
    int workers;
} bench_reporter;

typedef struct bench_row {
    const char *name;
    const char *unit;
    double value;
    uint64_t n;
    uint64_t answer;
    bool own_rules; /* not comparable with others' n and answer: fewer tasks, checked by the contestant */
    const char *more; /* further params, as JSON members: "\"p99\":12"; or NULL */
} bench_row;

/* The CPUs this process may use. */
static inline int bench_cpus(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* One line. `value` is the median of so many runs. */
static inline void bench_print(FILE *to, const bench_reporter *who, const bench_row *row, double min,
                               double max, int runs)
{
    const char *commit = getenv("BENCH_COMMIT");
    char answer[24] = "null";
    if (!row->own_rules)
        snprintf(answer, sizeof answer, "%llu", (unsigned long long)row->answer);
    fprintf(to,
            "{\"question\":\"%s\",\"case\":\"%s\",\"contestant\":\"%s\",\"unit\":\"%s\","
            "\"median\":%.6g,\"min\":%.6g,\"max\":%.6g,\"runs\":%d,\"n\":%llu,"
            "\"params\":{\"workers\":%d,\"answer\":%s%s%s},\"commit\":\"%s\",\"cpus\":%d}\n",
            who->question, row->name, who->contestant, row->unit, row->value, min, max, runs,
            (unsigned long long)row->n, who->workers, answer, row->more ? "," : "",
            row->more ? row->more : "", commit ? commit : "unknown", bench_cpus());
}

static inline void bench_report(const bench_reporter *who, bench_row row)
{
    bench_print(stdout, who, &row, row.value, row.value, 1);
    fflush(stdout);
}

/* A wrong answer ends the contestant, and with it the comparison. */
static inline void bench_expect(uint64_t expected, uint64_t found, const char *of)
{
    if (expected == found)
        return;
    fprintf(stderr, "%s: expected %llu, found %llu\n", of, (unsigned long long)expected,
            (unsigned long long)found);
    exit(1);
}

#endif
