/*
 * study_spill.c - see study_spill.h; the cases, and the process in which models follow each other. Who watches it is
 * study_spill_watch.c.
 */
#include "bench/study/protocol/study_spill.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bench/study/protocol/study_model.h"
#include "bench/support/clock.h"
#include "bench/support/session.h"

const study_spill_case study_spill_cases[STUDY_SPILL_CASES] = {
    {DM_SPILL_NEVER, true},  {DM_SPILL_SESSION, true},  {DM_SPILL_AUTO, true},
    {DM_SPILL_NEVER, false}, {DM_SPILL_SESSION, false}, {DM_SPILL_AUTO, false},
};

study_spill_plan study_spill_plan_of(const size_t shape[3], int models)
{
    enum { LEAST_STORE = 1 << 20, STORES = 3, VOLUMES = 288 };
    const size_t bytes = shape[0] * shape[1] * shape[2] * VOLUMES * sizeof(double);
    return (study_spill_plan){.shape = {shape[0], shape[1], shape[2]},
                              .store_bytes = bytes / STORES > LEAST_STORE ? bytes / STORES : LEAST_STORE,
                              .models = models,
                              .workers = 2};
}

const char *study_spill_policy(const study_spill_case *of)
{
    return of->policy == DM_SPILL_NEVER ? "never" : of->policy == DM_SPILL_SESSION ? "session" : "auto";
}

const char *study_spill_arguments(const study_spill_case *of)
{
    return of->by_value ? "value" : "shared";
}

void study_spill_name(const study_spill_case *of, char name[STUDY_SPILL_NAME])
{
    snprintf(name, STUDY_SPILL_NAME, "%s,%s", study_spill_policy(of), study_spill_arguments(of));
}

bool study_spill_named(const char *name, study_spill_case *of)
{
    char known[STUDY_SPILL_NAME];
    for (int i = 0; i < STUDY_SPILL_CASES; i++) {
        study_spill_name(&study_spill_cases[i], known);
        if (strcmp(known, name) != 0)
            continue;
        *of = study_spill_cases[i];
        return true;
    }
    return false;
}

/* ---- a session of models ---- */

typedef struct models {
    const study_spill_plan *plan;
    bool by_value;
    study_data data;
    double *signals; /* of all voxels, as a program has them that has read its image */
    void *setup;
    size_t setup_bytes, n_chunks, n_values;
    dm_ref setup_ref;
    dm_ref *inputs, *results; /* n_chunks of each; inputs only if they are put once */
    double sum;               /* of the first model's results */
    /* What is alive: bytes put and not released; tasks submitted, and results released. */
    atomic_llong put, submitted, released;
    atomic_bool over;
} models;

static size_t chunk_voxels(const models *m, size_t chunk)
{
    const size_t left = m->data.mask->n - chunk * STUDY_SPILL_CHUNK;
    return left < STUDY_SPILL_CHUNK ? left : STUDY_SPILL_CHUNK;
}

static size_t signal_bytes(const models *m, size_t n_voxels)
{
    return n_voxels * m->data.dwi->n_volumes * sizeof *m->signals;
}

static dm_array chunk_signals(const models *m, size_t chunk)
{
    const size_t n_volumes = m->data.dwi->n_volumes;
    return (dm_array){.data = m->signals + chunk * STUDY_SPILL_CHUNK * n_volumes,
                      .dtype = DM_F64,
                      .ndim = 2,
                      .shape = {chunk_voxels(m, chunk), n_volumes}};
}

static dm_status models_init(const study_spill_plan *plan, bool by_value, models *m)
{
    *m = (models){.plan = plan, .by_value = by_value, .setup_ref = DM_NO_REF};
    DM_TRY(study_data_phantom(plan->shape, &m->data));
    DM_TRY(study_data_response(NULL, &m->data));
    DM_TRY(study_model_setup(study_model_named("csdm"), &m->data, &m->setup, &m->setup_bytes));
    const size_t n = m->data.mask->n;
    m->n_values = study_model_named("csdm")->n_values;
    m->n_chunks = (n + STUDY_SPILL_CHUNK - 1) / STUDY_SPILL_CHUNK;
    m->signals = malloc(n * m->data.dwi->n_volumes * sizeof *m->signals);
    m->inputs = calloc(m->n_chunks, sizeof *m->inputs);
    m->results = calloc(m->n_chunks, sizeof *m->results);
    if (!m->signals || !m->inputs || !m->results)
        return dmi_error(DM_ERR_NOMEM, "no memory for %zu voxels", n);
    dm_volume_gather(m->data.dwi, n, m->data.mask->voxels, m->signals);
    return DM_OK;
}

static void models_fini(models *m)
{
    study_data_fini(&m->data);
    free(m->signals);
    free(m->setup);
    free(m->inputs);
    free(m->results);
}

static dm_status put_once(models *m)
{
    m->setup_ref = dm_put(&DM_BYTES(m->setup, m->setup_bytes));
    DM_TRY(dm_get(m->setup_ref, (void *)0));
    atomic_fetch_add(&m->put, (long long)m->setup_bytes);
    for (size_t c = 0; c < m->n_chunks; c++) {
        const dm_array signals = chunk_signals(m, c);
        m->inputs[c] = dm_put(&signals);
        DM_TRY(dm_get_within(m->inputs[c], (void *)0, 0));
        atomic_fetch_add(&m->put, (long long)signal_bytes(m, chunk_voxels(m, c)));
    }
    return DM_OK;
}

static dm_status release_once(models *m)
{
    DM_TRY(dm_release(m->setup_ref));
    for (size_t c = 0; c < m->n_chunks; c++)
        DM_TRY(dm_release(m->inputs[c]));
    atomic_store(&m->put, 0);
    return DM_OK;
}

static void submit_all(models *m)
{
    for (size_t c = 0; c < m->n_chunks; c++) {
        const dm_array signals = chunk_signals(m, c);
        m->results[c] = m->by_value ? dm_remote(study_csd_chunk, &DM_BYTES(m->setup, m->setup_bytes), &signals, false)
                                    : dm_remote(study_csd_chunk, m->setup_ref, m->inputs[c], true);
        atomic_fetch_add(&m->submitted, 1);
    }
}

static dm_status read_all(models *m, double *sum)
{
    *sum = 0;
    for (size_t c = 0; c < m->n_chunks; c++) {
        dm_view values;
        DM_TRY(dm_get(m->results[c], &values));
        for (size_t i = 0; i < values.bytes / sizeof(double); i++)
            *sum += ((const double *)values.data)[i];
        dm_view_release(&values);
        DM_TRY(dm_release(m->results[c]));
        atomic_fetch_add(&m->released, 1);
    }
    return DM_OK;
}

static dm_status one_model(models *m, int number)
{
    double sum;
    DM_TRY(dm_scope_begin());
    submit_all(m);
    DM_TRY(read_all(m, &sum));
    DM_TRY(dm_scope_end());
    if (number == 1)
        m->sum = sum;
    return sum == m->sum ? DM_OK : dmi_error(DM_ERR_NUMERIC, "model %d is not as the first one was", number);
}

static void tell(const char *word)
{
    printf("%s\n", word);
    fflush(stdout);
}

/* A task has an average chunk: they are all alike but the last. */
static long long alive(const models *m, long long done)
{
    const size_t n = m->data.mask->n;
    const double given = m->by_value ? (double)m->setup_bytes + (double)signal_bytes(m, n) / (double)m->n_chunks : 0;
    const double returned = (double)(n * m->n_values * sizeof(double)) / (double)m->n_chunks;
    const double undone = (double)(atomic_load(&m->submitted) - done);
    const double kept = (double)(done - atomic_load(&m->released));
    return atomic_load(&m->put) + (long long)((undone > 0 ? undone : 0) * given + (kept > 0 ? kept : 0) * returned);
}

static void *tell_what_is_alive(void *argument)
{
    enum { LOOK_NS = 4000000 };
    models *m = argument;
    dm_stats stats;
    while (!atomic_load(&m->over) && dm_stats_get(&stats) == DM_OK) {
        printf("now %lld %llu %llu %llu\n", alive(m, (long long)stats.tasks_done),
               (unsigned long long)stats.spilled_bytes, (unsigned long long)stats.spilled_total,
               (unsigned long long)stats.spilled_stored);
        fflush(stdout);
        bench_sleep_ns(LOOK_NS);
    }
    return NULL;
}

static dm_status say(int number)
{
    dm_stats stats;
    DM_TRY(dm_stats_get(&stats));
    printf("model %d %llu %llu\n", number, (unsigned long long)stats.spilled_total,
           (unsigned long long)stats.spilled_stored);
    fflush(stdout);
    return DM_OK;
}

static dm_status all_models(models *m)
{
    tell("begin");
    if (!m->by_value)
        DM_TRY(put_once(m));
    for (int number = 1; number <= m->plan->models; number++) {
        DM_TRY(one_model(m, number));
        DM_TRY(say(number));
    }
    return m->by_value ? DM_OK : release_once(m);
}

static dm_status all_models_told(models *m)
{
    pthread_t teller;
    if (pthread_create(&teller, NULL, tell_what_is_alive, m) != 0)
        return dmi_error(DM_ERR_NOMEM, "no thread to tell what is alive");
    const dm_status status = all_models(m);
    atomic_store(&m->over, true);
    pthread_join(teller, NULL);
    return status;
}

/* A machine that does something else may take its time. */
enum { WAIT_MS = 60000 };

dm_status study_spill_run(const study_spill_plan *plan, const study_spill_case *of, const char *directory)
{
    models m = {0};
    DM_TRY(dm_init(&(dm_options){.workers = plan->workers,
                                 .engine = DM_ENGINE_PROCESSES,
                                 .store_bytes = plan->store_bytes,
                                 .spill_dir = directory,
                                 .spill_policy = of->policy,
                                 .store_wait_ms = WAIT_MS,
                                 .log = bench_no_log}));
    dm_status status = models_init(plan, of->by_value, &m);
    if (status == DM_OK)
        status = all_models_told(&m);
    if (status == DM_OK) {
        tell("done");
        while (getchar() != EOF)
            continue;
    }
    dm_shutdown();
    models_fini(&m);
    return status;
}
