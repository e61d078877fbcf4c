/*
 * study_sweep.c - see study_sweep.h.
 */
#include "bench/study/protocol/study_sweep.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "bench/study/protocol/study_cpus.h"
#include "bench/support/clock.h"
#include "bench/support/private_memory.h"
#include "bench/support/session.h"

/* A model being swept. */
typedef struct sweep {
    const study_plan *plan;
    const study_model *model;
    const study_data *data;
    study_table *table;
    dm_volume *map;
    uint64_t answer; /* of the first fit; 0: none yet */
} sweep;

/* ---- checking ---- */

/* FNV-1a of the map, four bytes at a time; never 0. */
static uint64_t answer_of(const dm_volume *map)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    const uint32_t *words = map->data;
    for (size_t i = 0; i < map->n_voxels * map->n_volumes; i++)
        hash = (hash ^ words[i]) * UINT64_C(1099511628211);
    return hash | 1;
}

/* So that a voxel which nobody fits does not keep the right answer of the fit before. */
static void spoil(dm_volume *map)
{
    memset(map->data, 0xff, map->n_voxels * map->n_volumes * sizeof(float));
}

static dm_status check_answer(sweep *s, const study_row *row)
{
    const uint64_t answer = answer_of(s->map);
    if (s->answer == 0)
        s->answer = answer;
    if (answer == s->answer)
        return DM_OK;
    return dmi_error(DM_ERR_NUMERIC, "%s, %s, %lld chunks on %d CPUs: not the result of the fits before", row->model,
                     row->engine, (long long)row->num_chunks, row->cpu_count);
}

/* ---- a fit ---- */

/* Of this process, its workers and the store. */
static uint64_t memory_now(bool in_session)
{
    int pids[BENCH_MAX_WORKERS];
    dm_stats stats = {0};
    uint64_t kib = (uint64_t)bench_private_kib(getpid());
    const int n = in_session ? dm_worker_pids(pids, BENCH_MAX_WORKERS) : 0;
    for (int i = 0; i < n; i++)
        kib += (uint64_t)bench_private_kib(pids[i]);
    if (in_session && dm_stats_get(&stats) != DM_OK)
        stats.store_committed = 0;
    return kib * 1024 + stats.store_committed;
}

/* As the row says; its number of chunks becomes what was made. */
static dm_status run_engine(const sweep *s, study_row *row)
{
    dm_fit_report report = {0};
    size_t chunks = (size_t)row->num_chunks;
    dm_status status;
    if (strcmp(row->engine, STUDY_MAP) == 0) {
        status = study_model_map(s->model, s->data, s->map, &chunks);
    } else {
        const dm_fit_options options = {.chunks = strcmp(row->engine, STUDY_AUTO) == 0 ? 0 : chunks};
        status = s->model->fit(s->data, &options, strcmp(row->engine, STUDY_SERIAL) == 0, s->map, &report);
        chunks = report.n_chunks ? report.n_chunks : 1;
    }
    row->num_chunks = (int64_t)chunks;
    return status;
}

/* What the fit took beyond the serial one of its run. */
static double overhead_of(const sweep *s, const study_row *row)
{
    study_row like = {.cpu_count = 1, .run = row->run, .engine = STUDY_SERIAL};
    snprintf(like.model, sizeof like.model, "%s", row->model);
    const study_row *serial = study_table_find(s->table, &like);
    return serial ? row->time * row->cpu_count - serial->time : NAN;
}

static dm_status measure(sweep *s, study_row *row)
{
    const bool in_session = strcmp(row->engine, STUDY_SERIAL) != 0;
    dm_stats before = {0}, after = {0};
    spoil(s->map);
    if (in_session)
        DM_TRY(dm_stats_get(&before));
    const int64_t started = bench_now_ns();
    DM_TRY(run_engine(s, row));
    row->time = (double)(bench_now_ns() - started) * 1e-9;
    if (in_session)
        DM_TRY(dm_stats_get(&after));
    row->tasks = (int64_t)(after.tasks_submitted - before.tasks_submitted);
    row->spilled = after.spilled_total - before.spilled_total;
    row->on_disk = after.disk_bytes;
    row->peak_memory = memory_now(in_session);
    row->overhead = in_session ? overhead_of(s, row) : 0;
    return check_answer(s, row);
}

/* ---- rows ---- */

static study_row row_of(const sweep *s, const char *engine, int cpus, int run, int64_t chunks)
{
    study_row row = {.cpu_count = cpus, .run = run, .num_chunks = chunks};
    snprintf(row.model, sizeof row.model, "%s", s->model->name);
    snprintf(row.engine, sizeof row.engine, "%s", engine);
    snprintf(row.data_shape, sizeof row.data_shape, "%s", s->data->shape);
    snprintf(row.commit, sizeof row.commit, "%s", s->plan->commit);
    return row;
}

/*
 * What is measured in one session, in order. Each run begins elsewhere in the same round: a machine that grows slower
 * within a minute would else have the same rows pay for it in each run, most of all the last, which are the automatic
 * ones. Returns how many.
 */
enum { MOST_ROWS = 64 };

static int rows_of(const sweep *s, int cpus, int run, study_row *rows)
{
    study_row round[MOST_ROWS];
    int n = 0;
    for (int k = s->plan->min_chunks; k <= s->plan->max_chunks; k++)
        if (INT64_C(1) << k <= (int64_t)s->data->mask->n)
            round[n++] = row_of(s, STUDY_CHUNKS, cpus, run, INT64_C(1) << k);
    round[n++] = row_of(s, STUDY_AUTO, cpus, run, 1);
    round[n++] = row_of(s, STUDY_MAP, cpus, run, 1);
    const int first = (run - 1) * n / s->plan->num_runs % n;
    for (int i = 0; i < n; i++)
        rows[i] = round[(first + i) % n];
    return n;
}

static int leave_missing(const sweep *s, study_row *rows, int n)
{
    int missing = 0;
    for (int i = 0; i < n; i++)
        if (study_table_find(s->table, &rows[i]) == NULL)
            rows[missing++] = rows[i];
    return missing;
}

static dm_status measure_rows(sweep *s, study_row *rows, int n)
{
    for (int i = 0; i < n; i++) {
        if (s->plan->progress)
            s->plan->progress(s->plan->context, &rows[i]);
        DM_TRY(measure(s, &rows[i]));
        DM_TRY(study_table_append(s->table, &rows[i]));
    }
    return DM_OK;
}

/* Workers begin, and memory is touched, before anything is timed. */
static dm_status warm(const sweep *s)
{
    dm_fit_report report;
    return s->model->fit(s->data, NULL, false, s->map, &report);
}

static dm_status session(sweep *s, int cpus, int run)
{
    study_row rows[MOST_ROWS];
    const int n = leave_missing(s, rows, rows_of(s, cpus, run, rows));
    if (n == 0)
        return DM_OK;
    DM_TRY(study_cpus_use(cpus));
    DM_TRY(dm_init(&(dm_options){.workers = cpus, .engine = DM_ENGINE_PROCESSES, .log = bench_no_log}));
    dm_status status = warm(s);
    if (status == DM_OK)
        status = measure_rows(s, rows, n);
    dm_shutdown();
    return status;
}

static dm_status serial(sweep *s, int run)
{
    study_row row = row_of(s, STUDY_SERIAL, 1, run, 1);
    if (leave_missing(s, &row, 1) == 0)
        return DM_OK;
    DM_TRY(study_cpus_use(1));
    return measure_rows(s, &row, 1);
}

/* ---- the whole ---- */

static dm_status run_model(sweep *s, int run)
{
    DM_TRY(serial(s, run));
    for (int i = 0; i < s->plan->n_cpus; i++)
        DM_TRY(session(s, s->plan->cpus[i], run));
    return DM_OK;
}

static dm_status check_table(const study_data *data, const study_table *table)
{
    if (table->count == 0 || strcmp(table->rows[0].data_shape, data->shape) == 0)
        return DM_OK;
    return dmi_error(DM_ERR_INVALID, "%s has rows of data of %s, not of %s; choose another --out", table->path,
                     table->rows[0].data_shape, data->shape);
}

static dm_status sweeps_begin(const study_plan *plan, const study_data *data, study_table *table, sweep *sweeps)
{
    for (int m = 0; m < STUDY_MODELS; m++) {
        sweeps[m] = (sweep){.plan = plan, .model = &study_models[m], .data = data, .table = table};
        if (plan->models[m])
            DM_TRY(dm_volume_create(&data->dwi->grid, study_models[m].n_values, DM_VOLUME_F32, &sweeps[m].map));
    }
    return DM_OK;
}

dm_status study_sweep(const study_plan *plan, const study_data *data, study_table *table)
{
    sweep sweeps[STUDY_MODELS] = {{0}};
    DM_TRY(check_table(data, table));
    dm_status status = sweeps_begin(plan, data, table, sweeps);
    for (int run = 1; run <= plan->num_runs && status == DM_OK; run++)
        for (int m = 0; m < STUDY_MODELS && status == DM_OK; m++)
            if (plan->models[m])
                status = run_model(&sweeps[m], run);
    study_cpus_restore();
    for (int m = 0; m < STUDY_MODELS; m++)
        dm_volume_destroy(sweeps[m].map);
    return status;
}
