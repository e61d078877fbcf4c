/*
 * study_summary.c - see study_summary.h.
 */
#include "bench/study/protocol/study_summary.h"

#include <stdio.h>
#include <string.h>

#include "bench/support/statistics.h"

enum { MOST_RUNS = 1024 };

/* ---- others' figures: made of published.csv and prices.csv by CMake ---- */

const study_published study_published_points[] = {
#include "study_published.inc"
};
const size_t study_published_count = sizeof study_published_points / sizeof study_published_points[0];

static const struct {
    const char *machine;
    int cpus;
    double dollars;
} prices[] = {
#include "study_prices.inc"
};

double study_price(int cpus)
{
    const int n = sizeof prices / sizeof prices[0];
    int i = 0;
    while (i + 1 < n && prices[i].cpus < cpus)
        i++;
    return prices[i].dollars / prices[i].cpus * cpus;
}

/* ---- times ---- */

static const study_row *serial_of(const study_table *t, const study_row *row)
{
    study_row like = {.cpu_count = 1, .run = row->run, .engine = STUDY_SERIAL};
    memcpy(like.model, row->model, sizeof like.model);
    return study_table_find(t, &like);
}

double study_serial(const study_table *t, const char *model)
{
    double times[MOST_RUNS];
    size_t n = 0;
    for (size_t i = 0; i < t->count && n < MOST_RUNS; i++)
        if (strcmp(t->rows[i].model, model) == 0 && strcmp(t->rows[i].engine, STUDY_SERIAL) == 0)
            times[n++] = t->rows[i].time;
    return n ? bench_median(times, n) : 0;
}

static bool is_of(const study_row *row, const char *model, const char *engine)
{
    return strcmp(row->model, model) == 0 && strcmp(row->engine, engine) == 0;
}

/* Chunks of an engine that chooses them itself differ from run to run, and are one place. */
static bool is_at(const study_row *row, const study_point *point)
{
    return row->cpu_count == point->cpus &&
           (strcmp(row->engine, STUDY_CHUNKS) != 0 || row->num_chunks == point->chunks);
}

/* Of all runs but one; 0: of all. */
static void gather_point(const study_table *t, const study_row *first, int but, study_point *point)
{
    double speedups[MOST_RUNS];
    size_t n = 0;
    *point = (study_point){.cpus = first->cpu_count, .chunks = first->num_chunks};
    for (const study_row *row = first; row < t->rows + t->count && n < MOST_RUNS; row++) {
        const study_row *serial = serial_of(t, row);
        if (serial && row->run != but && is_of(row, first->model, first->engine) && is_at(row, point))
            speedups[n++] = serial->time / row->time;
    }
    point->runs = (int)n;
    if (n == 0)
        return;
    point->median = bench_median(speedups, n); /* sorts them */
    point->least = speedups[0], point->most = speedups[n - 1];
}

static bool has_point(const study_point *points, size_t n, const study_row *row)
{
    for (size_t i = 0; i < n; i++)
        if (is_at(row, &points[i]))
            return true;
    return false;
}

static int by_place(const void *a, const void *b)
{
    const study_point *x = a, *y = b;
    return x->cpus != y->cpus ? (x->cpus > y->cpus) - (x->cpus < y->cpus)
                              : (x->chunks > y->chunks) - (x->chunks < y->chunks);
}

static size_t points_without(const study_table *t, const char *model, const char *engine, int but,
                             study_point *points, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < t->count && n < room; i++) {
        if (!is_of(&t->rows[i], model, engine) || has_point(points, n, &t->rows[i]))
            continue;
        gather_point(t, &t->rows[i], but, &points[n]);
        n += points[n].runs > 0;
    }
    qsort(points, n, sizeof *points, by_place);
    return n;
}

size_t study_points(const study_table *t, const char *model, const char *engine, study_point *points, size_t room)
{
    return points_without(t, model, engine, 0, points, room);
}

const study_point *study_best(const study_point *points, size_t n, int cpus)
{
    const study_point *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (points[i].cpus == cpus && (best == NULL || points[i].median > best->median))
            best = &points[i];
    return best;
}

/* The fit in the number of chunks that is best in the other runs. NULL: not measured. */
static const study_row *best_elsewhere(const study_table *t, const study_row *row)
{
    study_point points[STUDY_MOST_POINTS];
    size_t n = points_without(t, row->model, STUDY_CHUNKS, row->run, points, STUDY_MOST_POINTS);
    if (n == 0)
        n = study_points(t, row->model, STUDY_CHUNKS, points, STUDY_MOST_POINTS);
    const study_point *best = study_best(points, n, row->cpu_count);
    if (best == NULL)
        return NULL;
    study_row like = *row;
    snprintf(like.engine, sizeof like.engine, "%s", STUDY_CHUNKS);
    like.num_chunks = best->chunks;
    return study_table_find(t, &like);
}

study_ratio study_against_best(const study_table *t, const char *model, const char *engine, int64_t chunks, int cpus)
{
    double ratios[MOST_RUNS];
    size_t n = 0;
    for (const study_row *row = t->rows; row < t->rows + t->count && n < MOST_RUNS; row++) {
        if (!is_of(row, model, engine) || row->cpu_count != cpus || (chunks && row->num_chunks != chunks))
            continue;
        const study_row *best = best_elsewhere(t, row);
        if (best)
            ratios[n++] = row->time / best->time;
    }
    study_ratio ratio = {.runs = (int)n};
    if (n == 0)
        return ratio;
    ratio.median = bench_median(ratios, n);
    ratio.sure = bench_median_lies(ratios, n, &ratio.low, &ratio.high);
    return ratio;
}

/* ---- the disk ---- */

static bool is_case(const study_spill_row *row, const char *policy, const char *arguments)
{
    return strcmp(row->policy, policy) == 0 && strcmp(row->arguments, arguments) == 0;
}

static double more(double a, double b)
{
    return a > b ? a : b;
}

/* One sample after another: the area below, and the end of the last model. */
static void add_sample(study_disk *disk, const study_spill_row *row, const study_spill_row **last, double *area)
{
    if (*last)
        *area += (double)(*last)->on_disk * (row->seconds - (*last)->seconds);
    *last = row;
    disk->peak = more(disk->peak, (double)row->on_disk);
    disk->beyond = more(disk->beyond, (double)(row->live - row->store));
    disk->away = more(disk->away, (double)row->away);
    if (row->stored > 0)
        disk->unpacked = more(disk->unpacked, (double)row->on_disk * (double)row->spilled / (double)row->stored);
}

bool study_disk_of(const study_spill_table *t, const char *policy, const char *arguments, study_disk *disk)
{
    const study_spill_row *first = NULL, *second = NULL, *last = NULL; /* second: the first model is done */
    double area = 0;
    *disk = (study_disk){.policy = policy, .arguments = arguments, .end = -1, .killed = -1};
    for (size_t i = 0; i < t->count; i++) {
        const study_spill_row *row = &t->rows[i];
        if (!is_case(row, policy, arguments))
            continue;
        if (strcmp(row->event, STUDY_SPILL_END) == 0)
            disk->end = (double)row->on_disk;
        else if (strcmp(row->event, STUDY_SPILL_KILLED) == 0)
            disk->killed = (double)row->on_disk;
        else {
            first = first ? first : row;
            second = !second && row->models >= 1 ? row : second;
            add_sample(disk, row, &last, &area);
        }
    }
    if (last == NULL || second == NULL || last->models <= second->models)
        return false;
    disk->mean = area / (last->seconds - first->seconds);
    disk->spilled = (double)(last->spilled - second->spilled) / (double)(last->models - second->models);
    disk->stored = (double)(last->stored - second->stored) / (double)(last->models - second->models);
    disk->once = (double)second->spilled - disk->spilled * (double)second->models;
    disk->seconds = (last->seconds - first->seconds) / (double)last->models;
    disk->voxels = (double)last->voxels;
    disk->store = (double)last->store;
    return true;
}
