/*
 * test_models_fwdti_same_bits.c - a voxel's free-water fit is the same to the last bit however
 * voxels are cut into chunks, wherever the signals lie in memory, in any thread, and from a model
 * that was shipped as bytes.
 */
#include "test_models_fwdti.h"

#include <pthread.h>

enum { THREADS = 4 };

typedef struct result {
    double *parameters;
    int32_t *evaluations;
} result;

static result fit_chunks(const golden *g, const dm_fwdti *model, size_t chunk, size_t shift)
{
    const size_t n_volumes = g->gradients->n_volumes;
    result r = {golden_alloc(g->n * P, sizeof(double)), golden_alloc(g->n, sizeof(int32_t))};
    double *signals = golden_alloc(chunk * n_volumes + shift, sizeof *signals);
    double *parameters = golden_alloc(chunk * P + shift, sizeof *parameters);
    dm_fwdti_workspace *workspace;
    assert_dm_ok(dm_fwdti_workspace_create(model, &workspace));
    for (size_t first = 0; first < g->n; first += chunk) {
        const size_t n = g->n - first < chunk ? g->n - first : chunk;
        memcpy(signals + shift, g->signals + first * n_volumes, n * n_volumes * sizeof *signals);
        assert_dm_ok(dm_fwdti_fit(model, workspace, n, signals + shift, parameters + shift,
                                  r.evaluations + first));
        memcpy(r.parameters + first * P, parameters + shift, n * P * sizeof *parameters);
    }
    dm_fwdti_workspace_destroy(workspace);
    free(signals);
    free(parameters);
    return r;
}

static void result_free(result *r)
{
    free(r->parameters);
    free(r->evaluations);
}

static void assert_same(const golden *g, const result *a, const result *b)
{
    assert_memory_equal(a->parameters, b->parameters, g->n * P * sizeof(double));
    assert_memory_equal(a->evaluations, b->evaluations, g->n * sizeof(int32_t));
}

static void check_chunks(const char *set, dmi_isa isa, dm_fwdti_settings settings)
{
    static const size_t chunks[] = {1, 7, 64, 501};
    play(isa);
    golden g = golden_open(set);
    dm_fwdti *model;
    assert_dm_ok(dm_fwdti_create(&settings, g.gradients, &model));
    result whole = fit_chunks(&g, model, g.n, 0);
    for (size_t k = 0; k < sizeof chunks / sizeof *chunks; k++) {
        result cut = fit_chunks(&g, model, chunks[k], k);
        assert_same(&g, &whole, &cut);
        result_free(&cut);
    }
    result_free(&whole);
    dm_fwdti_destroy(model);
    golden_close(&g);
}

static void chunks_do_not_show(void **state)
{
    (void)state;
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++)
        check_chunks("s101", isa, dm_fwdti_defaults());
    best_isa();
    check_chunks("fwdti_edges", dmi_isa_best(), dm_fwdti_defaults());
}

static void nor_with_options(void **state)
{
    (void)state;
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++) {
        check_chunks("s101", isa, water_options(true, false));
        check_chunks("s101", isa, water_options(false, true));
        check_chunks("fwdti_edges", isa, water_options(true, true));
    }
}

typedef struct job {
    const golden *g;
    const dm_fwdti *model;
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
    best_isa();
    golden g = golden_open("s101");
    dm_fwdti *model;
    assert_dm_ok(dm_fwdti_create(NULL, g.gradients, &model));
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
    dm_fwdti_destroy(model);
    golden_close(&g);
}

/* Packed at an odd address, since shared memory promises none; not with the default settings. */
static void a_shipped_model_does_not_show(void **state)
{
    (void)state;
    const dm_fwdti_settings settings[] = {dm_fwdti_defaults(),
                                          {DM_FWDTI_WLS, 2.5e-3, 1e-3, 2, false, false},
                                          water_options(true, false),
                                          water_options(false, true)};
    enum { SETTINGS = sizeof settings / sizeof *settings };
    golden g = golden_open("s101");
    const size_t n_bytes = dm_fwdti_packed_bytes(g.gradients);
    char *bytes = golden_alloc(n_bytes + 1, 1);
    for (int k = 0; k < SETTINGS; k++) {
        dm_fwdti *model, *shipped;
        assert_dm_ok(dm_fwdti_create(&settings[k], g.gradients, &model));
        assert_dm_ok(dm_fwdti_pack(&settings[k], g.gradients, bytes + 1, n_bytes));
        assert_dm_ok(dm_fwdti_unpack(bytes + 1, n_bytes, &shipped));
        memset(bytes, 0xff, n_bytes + 1);
        result a = fit_chunks(&g, model, g.n, 0), b = fit_chunks(&g, shipped, g.n, 0);
        assert_same(&g, &a, &b);
        result_free(&a);
        result_free(&b);
        dm_fwdti_destroy(model);
        dm_fwdti_destroy(shipped);
    }
    free(bytes);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_do_not_show),
        cmocka_unit_test(nor_with_options),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(a_shipped_model_does_not_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
