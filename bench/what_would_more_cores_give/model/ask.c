/*
 * ask.c - see ask.h.
 */
#include "bench/what_would_more_cores_give/model/ask.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POWERS = 16, LOOKS_A_TASK = 3 };

/* ---- one model, ready to be asked ---- */

typedef struct asked {
    const question *q;
    int model;
    profile profile;
} asked;

static asked ask_begin(const question *q, int model)
{
    return (asked){q, model, profile_of(q->calibration->n_voxels[model], q->calibration->voxels[model])};
}

static fit_job job_of(const asked *a, const costs *c, int cpus, int power)
{
    const calibration *known = a->q->calibration;
    return (fit_job){.costs = c, .profile = &a->profile, .voxels = a->q->voxels, .chunks = (size_t)1 << power,
                     .alike = 1, .n_volumes = known->n_volumes, .value_bytes = known->value_bytes,
                     .n_results = known->n_results[a->model], .cpus = cpus, .workers = cpus};
}

static FILE *open_csv(const char *path, const char *header)
{
    FILE *csv = fopen(path, "w");
    if (csv) {
        fprintf(csv, "%s\n", header);
        return csv;
    }
    perror(path);
    exit(1);
}

/* ---- constants ---- */

static void print_cost(double value, double error, const char *unit)
{
    if (strcmp(unit, "ns") == 0 && fabs(value) >= 1e6)
        printf(" %.2f ± %.2f ms |", 1e-6 * value, 1e-6 * error);
    else if (strcmp(unit, "ns") == 0 && fabs(value) >= 1e3)
        printf(" %.2f ± %.2f us |", 1e-3 * value, 1e-3 * error);
    else
        printf(" %.3g ± %.1g%s%s |", value, error, *unit ? " " : "", unit);
}

void print_constants(const calibration *c)
{
    printf("| constant | where | how it is measured | csdm | fwdtim |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < cost_count; i++) {
        printf("| `%s` | %s | %s |", cost_table[i].name, cost_table[i].where, cost_table[i].how);
        for (int m = 0; m < MODELS; m++) {
            costs value = c->value[m], error = c->error[m];
            print_cost(*cost_at(&value, i), *cost_at(&error, i), cost_table[i].unit);
        }
        printf("\n");
    }
    printf("| spread of a voxel | worker | each by itself, the shorter of two |");
    for (int m = 0; m < MODELS; m++) {
        profile p = profile_of(c->n_voxels[m], c->voxels[m]);
        printf(" %.0f %% |", 100 * profile_spread(&p));
        profile_fini(&p);
    }
    printf("\n\n%s, %d CPU%s, commit %s.\n", c->machine, c->cpus, c->cpus > 1 ? "s" : "", c->commit);
}

/* ---- predictions ---- */

typedef struct range {
    double value, low, high;
} range;

/* One size on so many CPUs: the medians' efficiency, and that of all draws. */
static range efficiency_range(const asked *a, int cpus, int power, fit_outcome *outcome)
{
    range r = {0};
    for (uint64_t d = 0; d < a->q->draws; d++) {
        costs c = calibration_draw(a->q->calibration, a->model, d == 0 ? 0 : a->q->seed * 1000 + d);
        fit_job job = job_of(a, &c, cpus, power);
        fit_outcome o = simulate(&job);
        double e = efficiency(&job, &o);
        if (d == 0) {
            *outcome = o;
            r = (range){e, e, e};
        }
        r.low = fmin(r.low, e);
        r.high = fmax(r.high, e);
    }
    return r;
}

typedef struct answer {
    range at[POWERS];
    fit_outcome outcome[POWERS];
    int best;
} answer;

static answer ask(const asked *a, int cpus, FILE *csv)
{
    answer all = {.best = 0};
    for (int k = 0; k < POWERS; k++) {
        range r = all.at[k] = efficiency_range(a, cpus, k, &all.outcome[k]);
        const fit_outcome *o = &all.outcome[k];
        fprintf(csv, "%s,%d,%d,%.5f,%.5f,%.5f,%.4f,%.4f,%.4f,%.4f\n", model_names[a->model], cpus, 1 << k, r.value,
                r.low, r.high, r.value * cpus, o->driver / o->elapsed, o->starved / o->elapsed / cpus,
                o->tail / o->elapsed / cpus);
        if (r.value > all.at[all.best].value)
            all.best = k;
    }
    return all;
}

static void print_answer(const asked *a, int cpus, const answer *all)
{
    const range *best = &all->at[all->best], *last = &all->at[POWERS - 1];
    const fit_outcome *o = &all->outcome[all->best];
    double capacity = o->elapsed * cpus;
    printf("| %s, %d | %.3f (%.3f..%.3f) at 2^%d | %.1f | %.3f (%.3f..%.3f) | %.3f | %.0f %% | %.1f %% | %.1f %% | "
           "%.1f %% |\n", model_names[a->model], cpus, best->value, best->low, best->high, all->best,
           best->value * cpus, last->value, last->low, last->high, last->value / best->value,
           100 * o->driver / o->elapsed, 100 * (o->workers - o->voxels) / capacity, 100 * o->starved / capacity,
           100 * o->tail / capacity);
}

static double speedup_at_most(const calibration *c, int m, double each_ns)
{
    return c->value[m].alone_ns / each_ns;
}

/* From how many CPUs on memory has less than all of them want; INFINITY: it never has. */
static double memory_ends(const calibration *c, int m)
{
    const costs *v = &c->value[m];
    double bytes = (double)(c->n_volumes * c->value_bytes + c->n_results[m] * sizeof(double));
    for (int n = 1; n <= 1 << 20; n *= 2)
        if (n * bytes / (v->voxel_ns * v->crowd) > memory_of(v, n))
            return n;
    return INFINITY;
}

static void print_bound(const char *resource, const double *bound)
{
    printf("| %s |", resource);
    for (int m = 0; m < MODELS; m++)
        if (bound[m] > 1 << 20)
            printf(" none |");
        else
            printf(" %.0f |", bound[m]);
    printf("\n");
}

/* What each resource by itself lets one have, everything else being free. */
static void print_bounds(const question *q)
{
    const calibration *c = q->calibration;
    double voxels[MODELS], tasks[MODELS], looks[MODELS], memory[MODELS], fit[MODELS];
    for (int m = 0; m < MODELS; m++) {
        const costs *v = &c->value[m];
        double many = (double)q->voxels / (1 << (POWERS - 1));
        voxels[m] = speedup_at_most(c, m, v->copy_ns + v->fill_ns);
        tasks[m] = speedup_at_most(c, m, v->task_ns / many);
        /* n workers: each task looks at n lanes. */
        looks[m] = sqrt(v->alone_ns * many / (LOOKS_A_TASK * v->look_ns));
        memory[m] = memory_ends(c, m);
        fit[m] = (double)q->voxels * v->alone_ns / (v->fit_ns + v->build_ns);
    }
    printf("\n| resource, all others free | csdm: speed-up at most | fwdtim |\n|---|---|---|\n");
    print_bound("driver: signals into blocks, results into maps", voxels);
    print_bound("driver: tasks, 2^15 of them", tasks);
    print_bound("driver: looks at lanes, 2^15 tasks", looks);
    print_bound("once per fit: setup, and the model in each worker", fit);
    print_bound("memory, on cores like these", memory);
}

void predict(const question *q, const char *path)
{
    FILE *csv = open_csv(path, "model,cpu_count,num_chunks,efficiency,low,high,speedup,driver,starved,tail");
    printf("| model, CPUs | efficiency at the best chunking | speed-up | at 2^15 chunks | relative to the best | driver "
           "busy | workers beside voxels | idle, no chunk there | idle at the end |\n"
           "|---|---|---|---|---|---|---|---|---|\n");
    for (int m = 0; m < MODELS; m++) {
        asked a = ask_begin(q, m);
        for (int i = 0; i < q->cpu_counts; i++) {
            answer all = ask(&a, q->cpus[i], csv);
            print_answer(&a, q->cpus[i], &all);
        }
        profile_fini(&a.profile);
    }
    print_bounds(q);
    fclose(csv);
}

/* ---- sensitivity ---- */

enum { ALIKE = 64 };

/* A change of the design: constants that become a tenth. */
typedef struct change {
    const char *name;
    size_t offsets[5];
    int n;
    size_t alike; /* 0: as it is */
} change;

#define OF(name) offsetof(costs, name)
static const change changes[] = {
    {"as it is", {0}, 0, 0},
    {"signals read by workers where they lie (`copy_ns`)", {OF(copy_ns)}, 1, 0},
    {"results written by workers where they belong (`fill_ns`)", {OF(fill_ns)}, 1, 0},
    {"both", {OF(copy_ns), OF(fill_ns)}, 2, 0},
    {"cheaper tasks in the driver (`task_ns`)", {OF(task_ns)}, 1, 0},
    {"a driver that looks at few lanes (`look_ns`)", {OF(look_ns)}, 1, 0},
    {"cheaper tasks in workers (`worker_task_ns`)", {OF(worker_task_ns)}, 1, 0},
    {"a model that is built once (`build_ns`)", {OF(build_ns)}, 1, 0},
    {"a fit that begins sooner (`fit_ns`)", {OF(fit_ns)}, 1, 0},
    {"faster bells (`worker_wake_ns`, `driver_wake_ns`, `bell_ns`)",
     {OF(worker_wake_ns), OF(driver_wake_ns), OF(bell_ns)}, 3, 0},
    {"a brain in which 64 neighbours cost the same", {0}, 0, ALIKE},
    {"both, and cheaper tasks in the driver", {OF(copy_ns), OF(fill_ns), OF(task_ns), OF(look_ns)}, 4, 0},
};
enum { CHANGES = sizeof changes / sizeof changes[0] };

typedef struct effect {
    double best, last; /* efficiency at the best chunking, at 2^15 */
} effect;

static effect effect_of(const asked *a, const change *with)
{
    costs c = a->q->calibration->value[a->model];
    effect e = {0};
    for (int i = 0; i < with->n; i++)
        *(double *)((char *)&c + with->offsets[i]) /= 10;
    double alone = a->q->calibration->value[a->model].build_ns +
                   (double)a->q->voxels * a->q->calibration->value[a->model].alone_ns;
    for (int k = 0; k < POWERS; k++) {
        fit_job job = job_of(a, &c, a->q->at, k);
        job.alike = with->alike ? with->alike : 1;
        e.last = alone / (simulate(&job).elapsed * job.cpus); /* against the fit alone as it is today */
        e.best = fmax(e.best, e.last);
    }
    return e;
}

void weigh(const question *q, const char *path)
{
    FILE *csv = open_csv(path, "model,cpu_count,change,best,many");
    effect effects[MODELS][CHANGES];
    for (int m = 0; m < MODELS; m++) {
        asked a = ask_begin(q, m);
        for (int i = 0; i < CHANGES; i++) {
            effects[m][i] = effect_of(&a, &changes[i]);
            fprintf(csv, "%s,%d,\"%s\",%.5f,%.5f\n", model_names[m], q->at, changes[i].name, effects[m][i].best,
                    effects[m][i].last);
        }
        profile_fini(&a.profile);
    }
    printf("| a tenth of it, on %d CPUs | csdm: best | 2^15 chunks | fwdtim: best | 2^15 chunks |\n", q->at);
    printf("|---|---|---|---|---|\n");
    for (int i = 0; i < CHANGES; i++)
        printf("| %s | %.3f | %.3f | %.3f | %.3f |\n", changes[i].name, effects[0][i].best, effects[0][i].last,
               effects[1][i].best, effects[1][i].last);
    fclose(csv);
}
