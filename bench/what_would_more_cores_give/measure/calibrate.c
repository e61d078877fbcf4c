/*
 * calibrate.c - see calibrate.h.
 *
 * What the driver and the workers do is not timed step by step. Six kinds of real fits differ in one thing each
 * (workers, chunks, voxels, maps), and the differences of their CPU times are the constants. CPU time, because it does
 * not know of other programs; rounds of all kinds in turn, because a machine changes its speed. For the same reason each
 * round's times are taken relative to its fit alone, which is what speed-up is relative to; of those ratios medians.
 */
#include "bench/what_would_more_cores_give/measure/calibrate.h"

#include <math.h>

#include "bench/support/session.h"
#include "bench/support/statistics.h"
#include "bench/what_would_more_cores_give/measure/bells.h"
#include "bench/what_would_more_cores_give/model/simulate.h"

enum { FEW = 32, MANY = 4096, MANY_LANES = 48, SMALL = 16, MOST_ROUNDS = 64, MOST_SAMPLES = 64 };

/* ---- medians and their errors ---- */

typedef struct series {
    double samples[MOST_SAMPLES];
    size_t n;
} series;

static void add(series *s, double sample)
{
    if (s->n < MOST_SAMPLES)
        s->samples[s->n++] = sample;
}

/* The median, and its standard error: 1.2533 s / sqrt(n), s from the median of the deviations. */
static void settle(series *s, double *value, double *error)
{
    double apart[MOST_SAMPLES], median = bench_median(s->samples, s->n);
    for (size_t i = 0; i < s->n; i++)
        apart[i] = fabs(s->samples[i] - median);
    *value = median;
    *error = 1.2533 * 1.4826 * bench_median(apart, s->n) / sqrt((double)s->n);
}

/* Of waits, to which other programs only add: the lower quartile; its error is half the way to the median. */
static void settle_wait(series *s, double *value, double *error)
{
    *value = bench_quantile(s->samples, s->n, 0.25);
    *error = (bench_median(s->samples, s->n) - *value) / 2;
}

/* ---- fits ---- */

static int cpus(void)
{
    return bench_cpus();
}

static void begin(int workers)
{
    BENCH_TRY(dm_init(&(dm_options){.workers = workers}));
}

/* The first fits of a session start workers and touch memory, which later ones find warm. */
static void warm(const subject *s, int model)
{
    (void)fit_once(s, model, s->mask.n, MANY, true);
    (void)fit_once(s, model, s->mask.n, FEW, true);
}

/* One of each kind. */
typedef struct fits {
    fit_times one;     /* one worker, few chunks; all others: as many workers as CPUs */
    fit_times few, many, no_map;
    fit_times small; /* few chunks of a SMALLth of the voxels */
    fit_times lanes; /* many chunks over many lanes */
    fit_times alone;
} fits;

static fits fit_all(const subject *s, int model)
{
    size_t n = s->mask.n;
    fits f;
    begin(1);
    warm(s, model);
    f.one = fit_once(s, model, n, FEW, true);
    dm_shutdown();
    begin(cpus());
    warm(s, model);
    f.few = fit_once(s, model, n, FEW, true);
    f.many = fit_once(s, model, n, MANY, true);
    f.no_map = fit_once(s, model, n, FEW, false);
    f.small = fit_once(s, model, n / SMALL, FEW, true);
    dm_shutdown();
    begin(MANY_LANES);
    warm(s, model);
    f.lanes = fit_once(s, model, n, MANY, true);
    dm_shutdown();
    f.alone = fit_once(s, model, n, 0, true);
    return f;
}

/* How many lanes the model's driver looks at in a fit: asked of the model itself. */
static double looks(const subject *s, int model, const costs *so_far, int workers)
{
    static const double even[] = {1};
    costs c = *so_far;
    profile p = profile_of(1, even);
    fit_job job = {.costs = &c, .profile = &p, .voxels = s->mask.n, .chunks = MANY, .alike = 1,
                   .n_volumes = s->gradients->n_volumes, .value_bytes = sizeof(int16_t),
                   .n_results = results_of(model), .cpus = cpus(), .workers = workers};
    c.look_ns = 1;
    double n = simulate(&job).dispatch;
    profile_fini(&p);
    return n;
}

static double positive(double x)
{
    return x > 0 ? x : 0;
}

/* The driver's constants of one round. */
static void solve_driver(const subject *s, int model, const fits *f, costs *c)
{
    double n = (double)s->mask.n, small = (double)(s->mask.n / SMALL);
    double many = looks(s, model, c, cpus()), lanes = looks(s, model, c, MANY_LANES);
    c->look_ns = positive((f->lanes.driver - f->many.driver) / (lanes - many));
    c->task_ns = positive((f->many.driver - f->few.driver - many * c->look_ns) / (MANY - FEW));
    c->fill_ns = positive((f->few.driver - f->no_map.driver) / n);
    c->copy_ns = positive((f->few.driver - f->small.driver) / (n - small) - c->fill_ns);
    c->fit_ns = positive(f->small.driver - FEW * c->task_ns - small * (c->copy_ns + c->fill_ns));
}

/* The workers'. Crowded voxels first: those of fits on all CPUs. */
static void solve_workers(const subject *s, const fits *f, costs *c)
{
    double n = (double)s->mask.n, small = (double)(s->mask.n / SMALL);
    double crowded = (f->few.workers - f->small.workers) / (n - small);
    c->worker_task_ns = positive((f->many.workers - f->few.workers) / (MANY - FEW));
    c->build_ns = positive((f->small.workers - small * crowded - FEW * c->worker_task_ns) / cpus());
    c->voxel_ns = (f->one.workers - c->build_ns - FEW * c->worker_task_ns) / n;
    c->crowd = fmax(1, crowded / c->voxel_ns);
    c->alone_ns = (f->alone.driver - c->build_ns) / n;
}

/* Times of a round, as shares of what a voxel takes alone in it. */
static void relate(costs *c)
{
    double alone = c->alone_ns;
    for (size_t i = 0; i < cost_count; i++)
        if (cost_table[i].by_model && strcmp(cost_table[i].unit, "ns") == 0)
            *cost_at(c, i) /= alone;
}

/* The medians of those shares, as times again. What all are shares of is the median of its own. */
static void settle_model(series *each, series *alone, costs *value, costs *error)
{
    double ns, unsure;
    settle(alone, &ns, &unsure);
    for (size_t i = 0; i < cost_count; i++) {
        if (!cost_table[i].by_model)
            continue;
        settle(&each[i], cost_at(value, i), cost_at(error, i));
        if (strcmp(cost_table[i].unit, "ns") == 0)
            *cost_at(value, i) *= ns, *cost_at(error, i) *= ns;
    }
}

static void calibrate_model(const subject *s, int model, int rounds, calibration *c)
{
    static series each[32];
    series alone = {0};
    memset(each, 0, sizeof each);
    costs *value = &c->value[model], *error = &c->error[model];
    for (int round = 0; round < rounds; round++) {
        costs now = *value;
        fits f = fit_all(s, model);
        solve_workers(s, &f, &now);
        solve_driver(s, model, &f, &now);
        add(&alone, now.alone_ns);
        relate(&now);
        for (size_t i = 0; i < cost_count; i++)
            add(&each[i], *cost_at(&now, i));
    }
    settle_model(each, &alone, value, error);
    c->n_results[model] = results_of(model);
    c->n_voxels[model] = s->mask.n;
    c->voxels[model] = calloc(s->mask.n, sizeof *c->voxels[model]);
    bench_expect(1, c->voxels[model] != NULL, "memory for the voxels' costs");
    fit_each(s, model, s->mask.n, c->voxels[model]);
}

/* ---- what both models share ---- */

static void calibrate_bells(costs *value, costs *error)
{
    series wake = {0}, bell = {0}, driver = {0};
    begin(cpus());
    wake.n = bell.n = MOST_SAMPLES;
    measure_worker_wake(MOST_SAMPLES, wake.samples, bell.samples);
    driver.n = measure_driver_wake(MOST_SAMPLES, cpus(), driver.samples);
    dm_shutdown();
    settle_wait(&wake, &value->worker_wake_ns, &error->worker_wake_ns);
    settle_wait(&bell, &value->bell_ns, &error->bell_ns);
    if (driver.n != 0)
        settle_wait(&driver, &value->driver_wake_ns, &error->driver_wake_ns);
}

static void calibrate_memory(int rounds, costs *value, costs *error)
{
    series one = {0}, shared = {0};
    for (int round = 0; round < rounds; round++) {
        double alone = measure_memory(1), all = cpus() > 1 ? measure_memory(cpus()) : 0;
        add(&one, alone);
        if (cpus() > 1)
            add(&shared, positive((cpus() * alone / all - 1) / (cpus() - 1)));
    }
    settle(&one, &value->memory_b, &error->memory_b);
    if (cpus() > 1)
        settle(&shared, &value->memory_s, &error->memory_s);
}

/* Words of the first line of /proc/cpuinfo that names the model; they become a part of a JSON string. */
static void read_machine(char *out, size_t bytes)
{
    char line[256], name[200] = "unknown";
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "model name : %199[^\n\"\\]", name) != 1)
        continue;
    if (file)
        fclose(file);
    snprintf(out, bytes, "%s", name);
}

calibration calibrate(const subject *s, int rounds)
{
    const char *commit = getenv("BENCH_COMMIT");
    calibration c = {.cpus = cpus(), .n_volumes = s->gradients->n_volumes, .value_bytes = sizeof(int16_t)};
    snprintf(c.commit, sizeof c.commit, "%s", commit ? commit : "unknown");
    read_machine(c.machine, sizeof c.machine);
    costs value = {0}, error = {0};
    calibrate_bells(&value, &error);
    calibrate_memory(rounds, &value, &error);
    for (int m = 0; m < MODELS; m++) {
        c.value[m] = value;
        c.error[m] = error;
        calibrate_model(s, m, rounds < MOST_ROUNDS ? rounds : MOST_ROUNDS, &c);
    }
    return c;
}
