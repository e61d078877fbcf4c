/*
 * implied.c - see implied.h.
 */
#include "bench/what_would_more_cores_give/implied/implied.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/what_would_more_cores_give/implied/curve.h"
#include "bench/what_would_more_cores_give/model/costs.h"

typedef struct law {
    const char *name;
    unsigned free;
} law;

static const law laws[] = {
    {"per task in the worker, per core", 1 << IN_WORKERS | 1 << PER_CORE},
    {"per task one by one, per core", 1 << ONE_BY_ONE | 1 << PER_CORE},
    {"per task one by one, per fit", 1 << ONE_BY_ONE | 1 << PER_FIT},
    {"per task one by one, per core, per fit", 1 << ONE_BY_ONE | 1 << PER_CORE | 1 << PER_FIT},
};
enum { LAWS = sizeof laws / sizeof laws[0], POWERS = 15 };

/* Per-task overheads are shown as all tasks of 2^15 chunks together, in percent of the serial time. */
static double shown(const curve *c, int overhead)
{
    double percent = 100 * c->overhead[overhead] * (overhead == IN_WORKERS || overhead == ONE_BY_ONE ? MANY_CHUNKS : 1);
    return percent < 1e-4 ? 0 : percent;
}

static void print_overhead(const curve_fit *f, unsigned free, int overhead)
{
    if (free >> overhead & 1)
        printf(" %.3g (%.3g..%.3g) |", shown(&f->best, overhead), shown(&f->low, overhead),
               shown(&f->high, overhead));
    else
        printf(" - |");
}

static void print_law(int model, const law *l, const curve_fit *f)
{
    printf("| %s | %s |", model_names[model], l->name);
    for (int i = 0; i < OVERHEADS; i++)
        print_overhead(f, l->free, i);
    printf(" %.0f %% |\n", 100 * f->rms);
}

static void write_curves(FILE *csv, int model, const published *points, int n, const curve_fit *f)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k <= POWERS; k++)
            fprintf(csv, "%s,%d,%d,%.6g\n", model_names[model], points[i].cpus, 1 << k,
                    curve_speedup(&f->best, points[i].cpus, 1 << k) / points[i].cpus);
}

static void print_residuals(int model, const published *points, int n, const curve_fit *f)
{
    for (int i = 0; i < n; i++)
        printf("| %s, %d | %.1f / %.1f | %+.0f %% | %.1f / %.1f | %+.0f %% |\n", model_names[model], points[i].cpus,
               points[i].best, curve_best(&f->best, points[i].cpus, NULL), 100 * f->residual[2 * i], points[i].many,
               curve_speedup(&f->best, points[i].cpus, MANY_CHUNKS), 100 * f->residual[2 * i + 1]);
}

static int points_of(int model, const published *all, int n, published *out)
{
    int found = 0;
    for (int i = 0; i < n; i++)
        if (all[i].model == model)
            out[found++] = all[i];
    return found;
}

static FILE *open_csv(const char *path)
{
    FILE *csv = fopen(path, "w");
    if (csv) {
        fputs("model,cpu_count,num_chunks,efficiency\n", csv);
        return csv;
    }
    perror(path);
    exit(1);
}

void print_implied(const char *path, const char *csv_path, uint64_t seed)
{
    published all[MOST_PUBLISHED], points[MODELS][MOST_PUBLISHED];
    curve_fit last[MODELS];
    int count[MODELS];
    const char *why;
    int n = published_read(path, all, &why);
    if (why) {
        fprintf(stderr, "beyond: %s\n", why);
        exit(1);
    }
    FILE *csv = open_csv(csv_path);
    printf("| model | law | 2^15 tasks in workers | 2^15 tasks one by one | per core | per fit | residual |\n"
           "|---|---|---|---|---|---|---|\n");
    for (int m = 0; m < MODELS; m++) {
        count[m] = points_of(m, all, n, points[m]);
        for (int i = 0; i < LAWS && count[m] > 0; i++) {
            last[m] = curve_find(points[m], count[m], laws[i].free, seed);
            print_law(m, &laws[i], &last[m]);
        }
        write_curves(csv, m, points[m], count[m], &last[m]);
    }
    printf("\n| model, CPUs | best speed-up: Ray / law | off | with 32,768 chunks | off |\n|---|---|---|---|---|\n");
    for (int m = 0; m < MODELS; m++)
        print_residuals(m, points[m], count[m], &last[m]);
    fclose(csv);
}
