/*
 * gather.c - makes one row of the rows of several runs, compares, prints a table; or writes one for a page.
 *
 *   gather [--baseline CONTESTANT] [--published FILE] [--json FILE] [--markdown FILE] < LINES
 *
 * The k-th line of a contestant and a case is its k-th run. Runs are interleaved, so the ratio to the
 * baseline is the median of the ratios of runs made side by side: it survives a machine that changes
 * its speed. Contestants that did not do the same (n, params.answer) end it with status 1.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scale.h"
#include "statistics.h"

enum { MAX_CASES = 64, MAX_CONTESTANTS = 24, MAX_RUNS = 256, MAX_LINE = 8192 };

/* What one contestant did in one case, in all runs. */
typedef struct cell {
    int runs;
    double medians[MAX_RUNS]; /* in the order of the runs */
    double min, max;
    cJSON *first; /* the line of the first run: whatever else a line says */
} cell;

typedef struct table {
    const char *cases[MAX_CASES];
    const char *contestants[MAX_CONTESTANTS];
    int case_count, contestant_count;
    cell cells[MAX_CASES][MAX_CONTESTANTS];
} table;

static table rows, published;

static void fail(const char *why, const char *what)
{
    fprintf(stderr, "gather: %s: %s\n", why, what);
    exit(1);
}

/* ---- reading ---- */

static int find_or_add(const char **names, int *count, int room, const char *name)
{
    for (int i = 0; i < *count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    if (*count == room)
        fail("too many cases or contestants", name);
    names[*count] = name;
    return (*count)++;
}

static const char *text_of(const cJSON *line, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(line, name));
    if (text == NULL)
        fail("a line has no text of this name", name);
    return text;
}

/* A number of a line; `missing` if it has none. */
static double number_of(const cJSON *line, const char *name, double missing)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(line, name);
    return cJSON_IsNumber(item) ? item->valuedouble : missing;
}

static double answer_of(const cell *of)
{
    return number_of(cJSON_GetObjectItemCaseSensitive(of->first, "params"), "answer", 0);
}

static void add(table *to, cJSON *line)
{
    int c = find_or_add(to->cases, &to->case_count, MAX_CASES, text_of(line, "case"));
    int k = find_or_add(to->contestants, &to->contestant_count, MAX_CONTESTANTS,
                        text_of(line, "contestant"));
    cell *here = &to->cells[c][k];
    double median = number_of(line, "median", NAN);
    double min = number_of(line, "min", median), max = number_of(line, "max", median);
    if (isnan(median) || here->runs == MAX_RUNS)
        fail("no median, or too many runs", to->cases[c]);
    here->min = here->runs == 0 || min < here->min ? min : here->min;
    here->max = here->runs == 0 || max > here->max ? max : here->max;
    here->medians[here->runs++] = median;
    if (here->first == NULL)
        here->first = line; /* its strings are the table's names: kept until the end */
}

static void read_lines(FILE *file, table *to)
{
    char text[MAX_LINE];
    while (fgets(text, sizeof text, file)) {
        cJSON *line = cJSON_Parse(text);
        if (line == NULL)
            fail("not JSON", text);
        add(to, line);
    }
}

/* ---- checking ---- */

/* params.answer is null where somebody does the same work by other rules: only times compare. */
static bool has_answer(const cell *of)
{
    return !cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(of->first, "params"), "answer"));
}

static void check_case(int c)
{
    const cell *first = NULL;
    for (int k = 0; k < rows.contestant_count; k++) {
        const cell *here = &rows.cells[c][k];
        if (here->runs == 0 || !has_answer(here))
            continue;
        if (first == NULL)
            first = here;
        if (number_of(here->first, "n", 0) != number_of(first->first, "n", 0) ||
            answer_of(here) != answer_of(first))
            fail("contestants did not do the same", rows.cases[c]);
    }
}

/* ---- writing ---- */

static double median_of(const cell *of)
{
    double sorted[MAX_RUNS];
    memcpy(sorted, of->medians, (size_t)of->runs * sizeof *sorted);
    return bench_median(sorted, (size_t)of->runs);
}

/* All runs as one line: the first one's, with the figures of all. params keep the first run's. */
static void write_line(FILE *file, const cell *of)
{
    cJSON *line = cJSON_Duplicate(of->first, true);
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(line, "median"), median_of(of));
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(line, "min"), of->min);
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(line, "max"), of->max);
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(line, "runs"), of->runs);
    char *text = cJSON_PrintUnformatted(line);
    fprintf(file, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(line);
}

static void write_json(const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        fail("cannot write", path);
    for (int c = 0; c < rows.case_count; c++)
        for (int k = 0; k < rows.contestant_count; k++)
            if (rows.cells[c][k].runs)
                write_line(file, &rows.cells[c][k]);
    if (fclose(file) != 0)
        fail("cannot write", path);
}

/* ---- the table ---- */

/* The median of the ratios of runs made side by side. */
static void print_ratio(const cell *of, const cell *to)
{
    double ratios[MAX_RUNS];
    int n = of->runs < to->runs ? of->runs : to->runs;
    for (int i = 0; i < n; i++)
        ratios[i] = of->medians[i] / to->medians[i];
    if (n)
        printf(" %10.2f", bench_median(ratios, (size_t)n));
    else
        printf(" %10s", "");
}

static const cell *published_of(const char *name)
{
    for (int c = 0; c < published.case_count; c++)
        if (strcmp(published.cases[c], name) == 0)
            return &published.cells[c][0];
    return NULL;
}

/* Beside the first contestant, which is ours. */
static void print_published(const cell *ours, const cell *theirs)
{
    double median = median_of(theirs);
    bench_print_figure(median, text_of(theirs->first, "unit"), median);
    const double ratio = median / median_of(ours);
    printf(" %10.*f", ratio < 10 ? 2 : 0, ratio);
}

static void print_contestant(int c, int k, int base)
{
    const cell *here = &rows.cells[c][k];
    if (here->runs == 0)
        return;
    const char *unit = text_of(here->first, "unit");
    double median = median_of(here);
    const cell *theirs = k == 0 ? published_of(rows.cases[c]) : NULL;
    printf("    %-20s", rows.contestants[k]);
    bench_print_figure(median, unit, median);
    bench_print_figure(here->min, unit, median);
    bench_print_figure(here->max, unit, median);
    if (base >= 0)
        print_ratio(here, &rows.cells[c][base]);
    if (theirs)
        print_published(here, theirs);
    printf("\n");
}

static void print_head(int base)
{
    const cJSON *line = rows.cells[0][0].first;
    printf("%s: %d runs, interleaved; %.0f CPUs; commit %s\n\n", text_of(line, "question"),
           rows.cells[0][0].runs, number_of(line, "cpus", 0), text_of(line, "commit"));
    printf("%-24s %13s %13s %13s", "", "median", "min", "max");
    if (base >= 0)
        printf(" %10s", "ratio [1]");
    if (published.contestant_count)
        printf(" %13s %10s", "Ray [2]", "Ray/ours");
    printf("\n");
}

static void print_notes(int base)
{
    printf("\n");
    if (base >= 0)
        printf("[1] over %s, each run against the one beside it\n", rows.contestants[base]);
    if (published.contestant_count)
        printf("[2] %s, published, other machine: %s\n", published.contestants[0],
               text_of(cJSON_GetObjectItemCaseSensitive(published.cells[0][0].first, "params"),
                       "machine"));
}

static void print_table(int base)
{
    print_head(base);
    for (int c = 0; c < rows.case_count; c++) {
        printf("%s\n", rows.cases[c]);
        for (int k = 0; k < rows.contestant_count; k++)
            print_contestant(c, k, base);
    }
    print_notes(base);
}

/* ---- the table for a page ---- */

static void write_figure(FILE *file, const cell *of)
{
    if (of->runs) {
        const double median = median_of(of);
        const bench_scale s = bench_scale_of(text_of(of->first, "unit"), median);
        fprintf(file, " %.*f %s", s.digits, median * s.by, s.unit);
    }
    fputs(" |", file);
}

static void write_markdown(const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        fail("cannot write", path);
    const cJSON *line = rows.cells[0][0].first;
    fprintf(file, "Medians of %d runs, interleaved; %.0f CPUs; commit `%s`.\n\n| |", rows.cells[0][0].runs,
            number_of(line, "cpus", 0), text_of(line, "commit"));
    for (int k = 0; k < rows.contestant_count; k++)
        fprintf(file, " %s |", rows.contestants[k]);
    fprintf(file, "\n|---|");
    for (int k = 0; k < rows.contestant_count; k++)
        fprintf(file, "---|");
    for (int c = 0; c < rows.case_count; c++) {
        fprintf(file, "\n| %s |", rows.cases[c]);
        for (int k = 0; k < rows.contestant_count; k++)
            write_figure(file, &rows.cells[c][k]);
    }
    fprintf(file, "\n");
    if (fclose(file) != 0)
        fail("cannot write", path);
}

/* ---- all of it ---- */

static void read_published(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail("cannot read", path);
    read_lines(file, &published);
    fclose(file);
}

int main(int argc, char **argv)
{
    const char *baseline = NULL, *json = NULL, *markdown = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--baseline") == 0)
            baseline = argv[i + 1];
        else if (strcmp(argv[i], "--published") == 0)
            read_published(argv[i + 1]);
        else if (strcmp(argv[i], "--json") == 0)
            json = argv[i + 1];
        else if (strcmp(argv[i], "--markdown") == 0)
            markdown = argv[i + 1];
        else
            fail("no such option", argv[i]);
    }
    read_lines(stdin, &rows);
    if (rows.case_count == 0)
        fail("nothing to gather", "no lines");
    int base = -1;
    for (int k = 0; k < rows.contestant_count && baseline; k++)
        if (strcmp(rows.contestants[k], baseline) == 0)
            base = k;
    for (int c = 0; c < rows.case_count; c++)
        check_case(c);
    print_table(base);
    if (json)
        write_json(json);
    if (markdown)
        write_markdown(markdown);
}
