/*
 * sweep.c - see sweep.h. CPU counts are made by affinity: the session and its workers may use no others.
 */
#define _GNU_SOURCE
#include "bench/what_would_more_cores_give/measure/sweep.h"

#include <math.h>
#include <sched.h>

#include "bench/support/session.h"
#include "bench/support/statistics.h"
#include "bench/what_would_more_cores_give/model/simulate.h"

enum { MOST_POWER = 15, MOST_RUNS = 32, STEP = 2 };

typedef struct spot {
    double speedup[MOST_RUNS]; /* with 2^power chunks over the fit alone beside it, by run */
} spot;

typedef struct plan {
    const subject *subject;
    const calibration *calibration;
    int runs, powers;
    FILE *csv;
} plan;

static void restrict_to(int cpus, const cpu_set_t *all)
{
    cpu_set_t some;
    CPU_ZERO(&some);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&some) < cpus; i++)
        if (CPU_ISSET(i, all))
            CPU_SET(i, &some);
    bench_expect(0, (uint64_t)sched_setaffinity(0, sizeof some, &some), "restricting the CPUs");
}

static void line(const plan *p, const char *engine, int model, size_t chunks, int cpus, double seconds, int run)
{
    const size_t *shape = p->subject->dwi->grid.shape;
    const char *commit = getenv("BENCH_COMMIT");
    fprintf(p->csv, "%s,%s,%zu,%d,%.6f,%zux%zux%zux%zu,%d,%s\n", model_names[model], engine, chunks, cpus,
            seconds, shape[0], shape[1], shape[2], p->subject->dwi->n_volumes, run, commit ? commit : "unknown");
}

static double expected_s(const plan *p, int model, size_t chunks, int cpus)
{
    const calibration *c = p->calibration;
    profile voxels = profile_of(c->n_voxels[model], c->voxels[model]);
    fit_job job = {.costs = &c->value[model], .profile = &voxels, .voxels = p->subject->mask.n, .chunks = chunks,
                   .alike = 1, .n_volumes = c->n_volumes, .value_bytes = c->value_bytes,
                   .n_results = c->n_results[model], .cpus = cpus, .workers = cpus};
    double ns = chunks ? simulate(&job).elapsed : alone_ns(&job);
    profile_fini(&voxels);
    return 1e-9 * ns;
}

static double fit_alone(const plan *p, int model, int run)
{
    double seconds = 1e-9 * fit_once(p->subject, model, p->subject->mask.n, 0, true).wall;
    line(p, "serial", model, 1, 1, seconds, run);
    return seconds;
}

/* One model on so many CPUs: alone and the sizes in turn, each size between two that are alone, so that a machine that
 * changes its speed changes it for all. */
static void fit_sizes(const plan *p, int model, int cpus, spot *spots)
{
    size_t n = p->subject->mask.n;
    BENCH_TRY(dm_init(&(dm_options){.workers = cpus}));
    (void)fit_once(p->subject, model, n, (size_t)1 << p->powers, true);
    (void)fit_once(p->subject, model, n, 1, true);
    for (int run = 0; run < p->runs; run++) {
        double alone = fit_alone(p, model, run);
        for (int k = 0; k <= p->powers; k += STEP) {
            double seconds = 1e-9 * fit_once(p->subject, model, n, (size_t)1 << k, true).wall;
            double again = fit_alone(p, model, run);
            spots[k].speedup[run] = (alone + again) / 2 / seconds;
            line(p, "dmrt", model, (size_t)1 << k, cpus, seconds, run);
            alone = again;
        }
    }
    dm_shutdown();
}

static void compare(const plan *p, int model, int cpus, spot *spots)
{
    double mean = 0, worst = 0, alone_expected = expected_s(p, model, 0, 1);
    int n = 0;
    line(p, "model", model, 0, 1, alone_expected, 0);
    printf("| %s, %d | ", model_names[model], cpus);
    for (int k = 0; k <= p->powers; k += STEP) {
        double expected = expected_s(p, model, (size_t)1 << k, cpus);
        double measured = bench_median(spots[k].speedup, (size_t)p->runs);
        double apart = alone_expected / expected / measured - 1;
        line(p, "model", model, (size_t)1 << k, cpus, expected, 0);
        printf("%.3f / %.3f | ", measured / cpus, alone_expected / expected / cpus);
        mean += fabs(apart);
        worst = fmax(worst, fabs(apart));
        n++;
    }
    printf("%.1f %% | %.1f %% |\n", 100 * mean / n, 100 * worst);
}

/* 1, 2, 4 .. all; 0: there are no more. */
static int next_count(int cpus, int all)
{
    return cpus == all ? 0 : 2 * cpus < all ? 2 * cpus : all;
}

static void head(const plan *p)
{
    fprintf(p->csv, "model,engine,num_chunks,cpu_count,time,data_shape,run,commit\n");
    printf("| efficiency measured / model, chunks: |");
    for (int k = 0; k <= p->powers; k += STEP)
        printf(" %d |", 1 << k);
    printf(" apart, mean | worst |\n|---|");
    for (int k = 0; k <= p->powers; k += STEP)
        printf("---|");
    printf("---|---|\n");
}

void sweep(const subject *s, const calibration *c, int runs, const char *csv)
{
    plan p = {s, c, runs < MOST_RUNS ? runs : MOST_RUNS, 0, fopen(csv, "w")};
    cpu_set_t all;
    if (!p.csv || sched_getaffinity(0, sizeof all, &all) != 0) {
        perror(csv);
        exit(1);
    }
    while (p.powers < MOST_POWER && (size_t)2 << p.powers <= s->mask.n)
        p.powers++;
    head(&p);
    for (int m = 0; m < MODELS; m++) {
        for (int cpus = 1; cpus > 0; cpus = next_count(cpus, CPU_COUNT(&all))) {
            static spot spots[MOST_POWER + 1];
            restrict_to(cpus, &all);
            fit_sizes(&p, m, cpus, spots);
            compare(&p, m, cpus, spots);
        }
    }
    restrict_to(CPU_COUNT(&all), &all);
    fclose(p.csv);
}
