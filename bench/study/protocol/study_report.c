/*
 * study_report.c - see study_report.h.
 */
#include "bench/study/protocol/study_report.h"

#include <math.h>
#include <string.h>

#include "bench/study/protocol/study_model.h"

static study_point points[STUDY_MOST_POINTS];

static size_t points_of(const study_table *t, int m, const char *engine)
{
    return study_points(t, study_models[m].name, engine, points, STUDY_MOST_POINTS);
}

static void begin(FILE *to, const char *name)
{
    fprintf(to, "<!-- study: %s -->\n", name);
}

static void end(FILE *to)
{
    fprintf(to, "<!-- end -->\n\n");
}

/* ---- what was measured ---- */

static void put_data(const study_table *t, FILE *to)
{
    const study_row *first = &t->rows[0];
    int runs = 0;
    bool mixed = false;
    for (size_t i = 0; i < t->count; i++) {
        runs = t->rows[i].run > runs ? t->rows[i].run : runs;
        mixed |= strcmp(t->rows[i].commit, first->commit) != 0;
    }
    begin(to, "data");
    fprintf(to, "Data of %s, %d run%s, %s `%s`. Serial fits, median:", first->data_shape, runs, runs == 1 ? "" : "s",
            mixed ? "several commits, the first" : "commit", first->commit);
    for (int m = 0; m < STUDY_MODELS; m++)
        if (study_serial(t, study_models[m].name) > 0)
            fprintf(to, " %s %.3f s.", study_models[m].title, study_serial(t, study_models[m].name));
    fprintf(to, " Figures are medians of the runs, with the least and the most; each is a ratio to the serial fit of "
                "its own run.\n");
    end(to);
}

/* ---- the best chunking ---- */

static const study_published *published(const char *model, int cpus)
{
    for (size_t i = 0; i < study_published_count; i++)
        if (strcmp(study_published_points[i].model, model) == 0 && study_published_points[i].cpus == cpus)
            return &study_published_points[i];
    return NULL;
}

static void put_best_row(const study_table *t, int m, const study_point *best, FILE *to)
{
    const double c = best->cpus;
    fprintf(to, "| %s | %d | %lld | %.2f (%.2f..%.2f) | %.3f (%.3f..%.3f) | $%.2g |\n", study_models[m].title,
            best->cpus, (long long)best->chunks, best->median, best->least, best->most, best->median / c,
            best->least / c, best->most / c,
            study_serial(t, study_models[m].name) / best->median / 3600 * study_price(best->cpus));
}

static void put_best(const study_table *t, FILE *to)
{
    begin(to, "best");
    fprintf(to, "| model | CPUs | best number of chunks | speed-up | efficiency per CPU | cost of this fit |\n"
                "|---|---|---|---|---|---|\n");
    for (int m = 0; m < STUDY_MODELS; m++) {
        const size_t n = points_of(t, m, STUDY_CHUNKS);
        for (size_t i = 0; i < n; i++)
            if (i == 0 || points[i].cpus != points[i - 1].cpus)
                put_best_row(t, m, study_best(points, n, points[i].cpus), to);
        const study_published *ray = published(study_models[m].name, 8);
        if (n && ray)
            fprintf(to, "| %s, Ray, as published | 8 | | %.1f | %.2f | |\n", study_models[m].title, ray->best,
                    ray->efficiency);
    }
    end(to);
}

/* ---- many chunks ---- */

/* Of the whole image, a fit's tasks have none outside of the mask. 0: the shape is none. */
static double voxels_of(const study_table *t)
{
    long x, y, z;
    return sscanf(t->rows[0].data_shape, "(%ld, %ld, %ld", &x, &y, &z) == 3 ? (double)x * (double)y * (double)z : 0;
}

/* As many voxels a task as in the study's smallest, or the nearest that there is. */
static bool is_studys_smallest(double voxels_a_task)
{
    enum { STUDYS = 112 };
    return voxels_a_task > STUDYS / M_SQRT2 && voxels_a_task <= STUDYS * M_SQRT2;
}

static void put_many_row(const study_table *t, int m, const study_point *p, const study_point *best, FILE *to)
{
    const study_ratio r = study_against_best(t, study_models[m].name, STUDY_CHUNKS, p->chunks, p->cpus);
    const double each = (r.median - 1) * study_serial(t, study_models[m].name) / best->median * p->cpus;
    fprintf(to, "| %s | %d | %lld | %.4g | %.3f | %.3f (%.3f..%.3f) | %d%s | %.1f us |\n", study_models[m].title,
            p->cpus, (long long)p->chunks, voxels_of(t) / (double)p->chunks, p->median / p->cpus, 1 / r.median, 1 / r.high,
            1 / r.low, r.runs, r.sure ? "" : ", least and most", each / (double)p->chunks * 1e6);
}

static void put_many_rows(const study_table *t, int m, FILE *to)
{
    const size_t n = points_of(t, m, STUDY_CHUNKS);
    for (size_t i = 0; i < n; i++) {
        const bool last = i + 1 == n || points[i + 1].cpus != points[i].cpus;
        if (points[i].chunks >= 4096 || last || is_studys_smallest(voxels_of(t) / (double)points[i].chunks))
            put_many_row(t, m, &points[i], study_best(points, n, points[i].cpus), to);
    }
    const study_published *ray = published(study_models[m].name, 32);
    if (n && ray)
        fprintf(to, "| %s, Ray, as published | 32 | 32768 | 112 | %.2f | %.2f | | |\n", study_models[m].title,
                ray->many / ray->cpus, ray->many / ray->best);
}

static void put_many(const study_table *t, FILE *to)
{
    begin(to, "many");
    fprintf(to, "| model | CPUs | chunks | voxels a task | efficiency per CPU | of that of the best of the other runs "
                "| runs | CPU time more, each task |\n|---|---|---|---|---|---|---|---|\n");
    for (int m = 0; m < STUDY_MODELS; m++)
        put_many_rows(t, m, to);
    end(to);
}

/* ---- automatic chunks ---- */

static void put_ratio_row(const study_table *t, int m, const char *who, const study_row *first, const study_point *best,
                          int64_t chunks, FILE *to)
{
    const study_ratio r = study_against_best(t, study_models[m].name, first->engine, chunks, best->cpus);
    fprintf(to, "| %s | %d | %s | %lld | %lld | %.1f (%.1f..%.1f) | %d%s |\n", study_models[m].title, best->cpus, who,
            (long long)first->num_chunks, (long long)best->chunks, 100 * r.median, 100 * r.low, 100 * r.high, r.runs,
            r.sure ? "" : ", least and most");
}

static void put_automatic_row(const study_table *t, int m, const char *who, const char *engine,
                              const study_point *best, FILE *to)
{
    study_row first = {.cpu_count = best->cpus, .run = 1};
    snprintf(first.model, sizeof first.model, "%s", study_models[m].name);
    snprintf(first.engine, sizeof first.engine, "%s", engine);
    const study_row *chosen = study_table_find(t, &first);
    if (chosen)
        put_ratio_row(t, m, who, chosen, best, 0, to);
}

/* Beside them: tasks as small as the study's smallest. */
static void put_smallest_rows(const study_table *t, int m, const study_point *best, const study_point *all, size_t n,
                              FILE *to)
{
    for (size_t i = 0; i < n; i++) {
        study_row at = {.num_chunks = all[i].chunks, .engine = STUDY_CHUNKS};
        if (all[i].cpus == best->cpus && is_studys_smallest(voxels_of(t) / (double)at.num_chunks))
            put_ratio_row(t, m, "the study's smallest task", &at, best, at.num_chunks, to);
    }
}

static void put_automatic(const study_table *t, FILE *to)
{
    begin(to, "automatic");
    fprintf(to, "| model | CPUs | chosen by | chunks | best of the sweep | time, per cent of the best of the other runs "
                "| runs |\n|---|---|---|---|---|---|---|\n");
    for (int m = 0; m < STUDY_MODELS; m++) {
        const size_t n = points_of(t, m, STUDY_CHUNKS);
        for (size_t i = 0; i < n; i++) {
            if (i > 0 && points[i].cpus == points[i - 1].cpus)
                continue;
            const study_point *best = study_best(points, n, points[i].cpus);
            put_automatic_row(t, m, "`dm fit`", STUDY_AUTO, best, to);
            put_automatic_row(t, m, "`dm_map`", STUDY_MAP, best, to);
            put_smallest_rows(t, m, best, points, n, to);
        }
    }
    end(to);
}

/* ---- the disk ---- */

static const char *const policies[] = {"never", "session", "auto"};
static const char *const arguments[] = {"value", "shared"};
enum { POLICIES = 3, ARGUMENTS = 2 };

static double mib(double bytes)
{
    return bytes / (1 << 20);
}

static void put_disk(const study_spill_table *spill, FILE *to)
{
    study_disk d;
    begin(to, "spill");
    fprintf(to, "A model has %lld voxels, the store %.0f MiB.\n\n", (long long)spill->rows[0].voxels,
            mib((double)spill->rows[0].store));
    fprintf(to, "| policy | arguments | peak, MiB | mean, MiB | at the end | after kill -9 | written by "
                "each model, MiB | compressed | by the first beyond that |\n|---|---|---|---|---|---|---|---|---|\n");
    for (int a = 0; a < ARGUMENTS; a++)
        for (int p = 0; p < POLICIES; p++)
            if (study_disk_of(spill, policies[p], arguments[a], &d))
                fprintf(to, "| `%s` | %s | %.1f | %.1f | %.1f | %.0f | %.1f | %.1f | %.1f |\n", d.policy,
                        a == 0 ? "by value" : "put once", mib(d.peak), mib(d.mean), mib(d.end), mib(d.killed),
                        mib(d.spilled), mib(d.stored), mib(d.once));
    end(to);
}

/* Spilling begins when this share of the store is used: the default of dm_options.spill_threshold. */
static const double spills_at = 0.8;

/* What `auto` has on the disk at most, and what it must have: what is alive and has no room in the store, or in the
 * part of it that is filled before spilling begins. */
static void put_live(const study_spill_table *spill, FILE *to)
{
    study_disk d;
    begin(to, "live");
    fprintf(to, "| arguments | alive, beyond the store, MiB | beyond %.1f of it, MiB | on the disk only, MiB | per cent "
                "of the one, of the other | all on the disk, uncompressed, MiB | as it lies there, MiB | per cent of the "
                "one, of the other |\n|---|---|---|---|---|---|---|---|\n", spills_at);
    for (int a = 0; a < ARGUMENTS; a++) {
        if (!study_disk_of(spill, "auto", arguments[a], &d) || d.beyond <= 0)
            continue;
        const double sooner = d.beyond + (1 - spills_at) * d.store;
        fprintf(to, "| %s | %.1f | %.1f | %.1f | %.0f, %.0f | %.1f | %.1f | %.0f, %.0f |\n",
                a == 0 ? "by value" : "put once", mib(d.beyond), mib(sooner), mib(d.away), 100 * d.away / d.beyond,
                100 * d.away / sooner, mib(d.unpacked), mib(d.peak), 100 * d.peak / d.beyond, 100 * d.peak / sooner);
    }
    end(to);
}

/* The study's image, and what it saw on its disk. */
static const double study_voxels = 145. * 174 * 145, seen_bytes = 500e9;

static void put_hour_row(const study_disk *d, const char *how, FILE *to)
{
    const double each = d->spilled / d->voxels * study_voxels, once = d->once / d->voxels * study_voxels;
    fprintf(to, "| %s | %.0f | %.2f GB | %.2f GB | %.0f GB | ", how, d->spilled / d->voxels, each / 1e9,
            once > 0 ? once / 1e9 : 0, 60 * each / 1e9);
    if (each >= seen_bytes / 1e5)
        fprintf(to, "%.0f |\n", seen_bytes / each);
    else
        fprintf(to, "never |\n");
}

static void put_hour(const study_spill_table *spill, FILE *to)
{
    study_disk value, shared;
    if (!study_disk_of(spill, "never", "value", &value) || !study_disk_of(spill, "never", "shared", &shared))
        return;
    begin(to, "hour");
    fprintf(to, "| arguments | bytes written by each model for a voxel | of 145 x 174 x 145 voxels | once, beside "
                "that | an hour, a model a minute | models until 500 GB |\n|---|---|---|---|---|---|\n");
    put_hour_row(&value, "by value", to);
    put_hour_row(&shared, "put once", to);
    fprintf(to, "\nOf what each model writes, passing by value is %.0f %%.\n",
            100 * (1 - shared.spilled / value.spilled));
    end(to);
}

void study_report_write(const study_table *table, const study_spill_table *spill, FILE *to)
{
    if (table->count > 0) {
        put_data(table, to);
        put_best(table, to);
        put_many(table, to);
        put_automatic(table, to);
    }
    if (spill->count > 0) {
        put_disk(spill, to);
        put_live(spill, to);
        put_hour(spill, to);
    }
}
