/*
 * test_models_csd_same_bits.c - a voxel's result is the same to the last bit however voxels are cut
 * into chunks, wherever the signals lie in memory, in any thread, and from a model that was shipped
 * as bytes.
 */
#include "test_models_golden.h"

#include <pthread.h>

enum { N = GOLDEN_COEFFICIENTS, THREADS = 4 };

typedef struct result {
    double *coefficients;
    int32_t *iterations;
} result;

static result fit_chunks(const golden *g, const dm_csd *model, size_t chunk, size_t shift)
{
    const size_t n_volumes = g->gradients->n_volumes;
    result r = {golden_alloc(g->n * N, sizeof(double)), golden_alloc(g->n, sizeof(int32_t))};
    double *signals = golden_alloc(chunk * n_volumes + shift, sizeof *signals);
    double *coefficients = golden_alloc(chunk * N + shift, sizeof *coefficients);
    dm_csd_workspace *workspace;
    assert_dm_ok(dm_csd_workspace_create(model, &workspace));
    for (size_t first = 0; first < g->n; first += chunk) {
        const size_t n = g->n - first < chunk ? g->n - first : chunk;
        memcpy(signals + shift, g->signals + first * n_volumes, n * n_volumes * sizeof *signals);
        assert_dm_ok(dm_csd_fit(model, workspace, n, signals + shift, coefficients + shift,
                                r.iterations + first));
        memcpy(r.coefficients + first * N, coefficients + shift, n * N * sizeof *coefficients);
    }
    dm_csd_workspace_destroy(workspace);
    free(signals);
    free(coefficients);
    return r;
}

static void result_free(result *r)
{
    free(r->coefficients);
    free(r->iterations);
}

static void assert_same(const golden *g, const result *a, const result *b)
{
    assert_memory_equal(a->coefficients, b->coefficients, g->n * N * sizeof(double));
    assert_memory_equal(a->iterations, b->iterations, g->n * sizeof(int32_t));
}

static void chunks_do_not_show(void **state)
{
    (void)state;
    static const size_t chunks[] = {1, 7, 112, 4096};
    for (int s = 0; s < GOLDEN_SETS; s++) {
        golden g = golden_open(golden_names[s]);
        dm_csd *model;
        assert_dm_ok(dm_csd_create(NULL, g.gradients, &g.response, &model));
        result whole = fit_chunks(&g, model, g.n, 0);
        for (size_t k = 0; k < sizeof chunks / sizeof *chunks; k++) {
            result cut = fit_chunks(&g, model, chunks[k], k);
            assert_same(&g, &whole, &cut);
            result_free(&cut);
        }
        result_free(&whole);
        dm_csd_destroy(model);
        golden_close(&g);
    }
}

typedef struct job {
    const golden *g;
    const dm_csd *model;
    size_t chunk;
    result r;
} job;

static void *run(void *context)
{
    job *j = context;
    j->r = fit_chunks(j->g, j->model, j->chunk, 0);
    return NULL;
}

static void threads_do_not_show(void **state)
{
    (void)state;
    golden g = golden_open("s64");
    dm_csd *model;
    assert_dm_ok(dm_csd_create(NULL, g.gradients, &g.response, &model));
    result whole = fit_chunks(&g, model, g.n, 0);
    pthread_t threads[THREADS];
    job jobs[THREADS];
    for (size_t t = 0; t < THREADS; t++) {
        jobs[t] = (job){.g = &g, .model = model, .chunk = 10 + t};
        assert_int_equal(pthread_create(&threads[t], NULL, run, &jobs[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(threads[t], NULL), 0);
        assert_same(&g, &whole, &jobs[t].r);
        result_free(&jobs[t].r);
    }
    result_free(&whole);
    dm_csd_destroy(model);
    golden_close(&g);
}

/* Packed at an odd address, since shared memory promises none. */
static void a_shipped_model_does_not_show(void **state)
{
    (void)state;
    for (int s = 0; s < GOLDEN_SETS; s++) {
        golden g = golden_open(golden_names[s]);
        dm_csd *model, *shipped;
        const size_t n_bytes = dm_csd_packed_bytes(g.gradients);
        char *bytes = golden_alloc(n_bytes + 1, 1);
        assert_dm_ok(dm_csd_create(NULL, g.gradients, &g.response, &model));
        assert_dm_ok(dm_csd_pack(NULL, g.gradients, &g.response, bytes + 1, n_bytes));
        assert_dm_ok(dm_csd_unpack(bytes + 1, n_bytes, &shipped));
        memset(bytes, 0xff, n_bytes + 1);
        result a = fit_chunks(&g, model, g.n, 0), b = fit_chunks(&g, shipped, g.n, 0);
        assert_same(&g, &a, &b);
        result_free(&a);
        result_free(&b);
        dm_csd_destroy(model);
        dm_csd_destroy(shipped);
        free(bytes);
        golden_close(&g);
    }
}

static int all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_do_not_show),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(a_shipped_model_does_not_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return golden_on_every_isa(all);
}
