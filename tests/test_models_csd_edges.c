/*
 * test_models_csd_edges.c - voxels that are no ordinary data, and settings that cannot be, end as
 * models.h says they do.
 */
#include "test_models_golden.h"

enum { N = GOLDEN_COEFFICIENTS };

typedef struct bench {
    golden g;
    dm_csd *model;
    dm_csd_workspace *workspace;
    double *signals; /* one voxel's, to be spoilt */
} bench;

static int set_up(void **state)
{
    bench *b = golden_alloc(1, sizeof *b);
    b->g = golden_open("s64");
    golden_model(&b->g, &b->model, &b->workspace);
    b->signals = golden_alloc(b->g.gradients->n_volumes, sizeof(double));
    memcpy(b->signals, b->g.signals + 333 * b->g.gradients->n_volumes,
           b->g.gradients->n_volumes * sizeof(double));
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    bench *b = *state;
    dm_csd_workspace_destroy(b->workspace);
    dm_csd_destroy(b->model);
    golden_close(&b->g);
    free(b->signals);
    free(b);
    return 0;
}

static int32_t fit_one(bench *b, double *coefficients)
{
    int32_t iterations = -7;
    assert_dm_ok(dm_csd_fit(b->model, b->workspace, 1, b->signals, coefficients, &iterations));
    return iterations;
}

static void zeros_give_zeros(void **state)
{
    bench *b = *state;
    double c[N];
    memset(b->signals, 0, b->g.gradients->n_volumes * sizeof(double));
    assert_int_equal(fit_one(b, c), 0);
    for (int j = 0; j < N; j++)
        assert_true(c[j] == 0);
    double gfa = -1, samples[3] = {0};
    dm_gfa_from_coefficients(1, N, c, &gfa);
    assert_true(gfa == 0);
    dm_gfa_from_samples(1, 3, samples, &gfa);
    assert_true(isnan(gfa));
}

static void not_finite_gives_nan(void **state)
{
    bench *b = *state;
    const double values[3] = {NAN, INFINITY, -INFINITY};
    const size_t dwi = b->g.gradients->dwi[40];
    for (int k = 0; k < 3; k++) {
        double c[N];
        b->signals[dwi] = values[k];
        assert_int_equal(fit_one(b, c), 0);
        for (int j = 0; j < N; j++)
            assert_true(isnan(c[j]));
    }
}

static void not_finite_in_a_b0_does_not_matter(void **state)
{
    bench *b = *state;
    double before[N], after[N];
    const int32_t iterations = fit_one(b, before);
    assert_true(b->g.gradients->b[0] <= DM_B0_THRESHOLD);
    b->signals[0] = NAN;
    assert_int_equal(fit_one(b, after), iterations);
    assert_memory_equal(before, after, sizeof before);
}

static void a_bad_voxel_spoils_no_other(void **state)
{
    bench *b = *state;
    const size_t n_volumes = b->g.gradients->n_volumes;
    double *three = golden_alloc(3 * n_volumes, sizeof *three);
    double c[3 * N], alone[N];
    fit_one(b, alone);
    for (size_t i = 0; i < 3; i++)
        memcpy(three + i * n_volumes, b->signals, n_volumes * sizeof *three);
    three[n_volumes + 10] = NAN;
    assert_dm_ok(dm_csd_fit(b->model, b->workspace, 3, three, c, NULL));
    assert_memory_equal(c, alone, sizeof alone);
    assert_true(isnan(c[N]));
    assert_memory_equal(c + 2 * N, alone, sizeof alone);
    free(three);
}

static void negative_signals_run_like_others(void **state)
{
    bench *b = *state;
    double c[N];
    for (size_t i = 0; i < b->g.gradients->n_volumes; i++)
        b->signals[i] = -b->signals[i];
    assert_true(fit_one(b, c) >= 0);
    for (int j = 0; j < N; j++)
        assert_true(isfinite(c[j]));
    assert_true(c[0] < 0);
}

/* Twice the signal is twice the density: a power of two, so to the last bit. */
static void coefficients_scale_with_the_signal(void **state)
{
    bench *b = *state;
    double once[N], twice[N];
    const int32_t iterations = fit_one(b, once);
    for (size_t i = 0; i < b->g.gradients->n_volumes; i++)
        b->signals[i] *= 2;
    assert_int_equal(fit_one(b, twice), iterations);
    for (int j = 0; j < N; j++)
        assert_true(twice[j] == 2 * once[j]);
}

/* Without noise the fibre is found where it is: here the greatest density is along it. */
static void a_single_fibre_points_along_itself(void **state)
{
    bench *b = *state;
    const dm_response *r = &b->g.response;
    const dm_vector *sphere = dm_sphere362();
    const double *fibre = sphere[100];
    for (size_t i = 0; i < b->g.gradients->n_volumes; i++) {
        const double *g = b->g.gradients->g[i];
        const double along = g[0] * fibre[0] + g[1] * fibre[1] + g[2] * fibre[2];
        b->signals[i] = r->s0 * exp(-b->g.gradients->b[i] *
                                    (r->evals[1] + (r->evals[0] - r->evals[1]) * along * along));
    }
    double c[N], odf[DM_SPHERE_COUNT];
    double *matrix = golden_alloc(DM_SPHERE_COUNT * N, sizeof *matrix);
    fit_one(b, c);
    assert_dm_ok(dm_sh_matrix(DM_SH_DESCOTEAUX07_LEGACY, 8, DM_SPHERE_COUNT, sphere, matrix));
    dm_odf(1, N, c, DM_SPHERE_COUNT, matrix, odf);
    size_t best = 0;
    for (size_t k = 1; k < DM_SPHERE_COUNT; k++)
        best = odf[k] > odf[best] ? k : best;
    const double *found = sphere[best];
    assert_true(fabs(found[0] * fibre[0] + found[1] * fibre[1] + found[2] * fibre[2]) > 1 - 1e-6);
    free(matrix);
}

static void iterations_end_at_their_limit(void **state)
{
    bench *b = *state;
    dm_csd_settings settings = dm_csd_defaults();
    settings.max_iterations = 1;
    dm_csd *model;
    double c[N];
    int32_t iterations;
    assert_dm_ok(dm_csd_create(&settings, b->g.gradients, &b->g.response, &model));
    assert_dm_ok(dm_csd_fit(model, b->workspace, 1, b->signals, c, &iterations));
    assert_int_equal(iterations, 1);
    dm_csd_destroy(model);
}

static void every_order_works(void **state)
{
    bench *b = *state;
    for (int lmax = 2; lmax <= 8; lmax += 2) {
        dm_csd_settings settings = dm_csd_defaults();
        settings.lmax = lmax;
        dm_csd *model;
        dm_csd_workspace *workspace;
        double c[N] = {0};
        assert_dm_ok(dm_csd_create(&settings, b->g.gradients, &b->g.response, &model));
        assert_int_equal(dm_csd_n_coefficients(model), dm_sh_count(lmax));
        assert_dm_ok(dm_csd_workspace_create(model, &workspace));
        assert_dm_ok(dm_csd_fit(model, workspace, 1, b->signals, c, NULL));
        assert_true(isfinite(c[0]) && c[0] > 0);
        dm_csd_workspace_destroy(workspace);
        dm_csd_destroy(model);
    }
}

/* The 288-volume scheme carries order 12. */
static void order_twelve_works(void **state)
{
    (void)state;
    golden g = golden_open("hcpsim_s");
    dm_csd_settings settings = dm_csd_defaults();
    settings.lmax = DM_SH_MAX_ORDER;
    dm_csd *model;
    dm_csd_workspace *workspace;
    double c[91];
    int32_t iterations;
    assert_dm_ok(dm_csd_create(&settings, g.gradients, &g.response, &model));
    assert_dm_ok(dm_csd_workspace_create(model, &workspace));
    assert_dm_ok(dm_csd_fit(model, workspace, 1, g.signals, c, &iterations));
    assert_true(iterations >= 0 && isfinite(c[90]));
    dm_csd_workspace_destroy(workspace);
    dm_csd_destroy(model);
    golden_close(&g);
}

static void few_directions_are_warned_of(void **state)
{
    bench *b = *state;
    size_t volumes[31];
    for (size_t i = 0; i < 31; i++)
        volumes[i] = i;
    dm_gradients *few;
    dm_csd *model = NULL;
    assert_dm_ok(dm_gradients_select(b->g.gradients, 31, volumes, &few));
    dm_csd_settings settings = dm_csd_defaults();
    settings.lmax = 6;
    assert_dm_ok(dm_csd_create(&settings, few, &b->g.response, &model));
    assert_null(dm_csd_warning(model));
    dm_csd_destroy(model);
    assert_dm_ok(dm_csd_create(NULL, few, &b->g.response, &model));
    assert_non_null(dm_csd_warning(model));
    assert_non_null(strstr(dm_csd_warning(model), "30 dwi for 45 coefficients"));
    dm_csd_workspace *workspace;
    double c[N];
    assert_dm_ok(dm_csd_workspace_create(model, &workspace));
    assert_dm_ok(dm_csd_fit(model, workspace, 1, b->signals, c, NULL));
    assert_true(isfinite(c[0]) && isfinite(c[N - 1]));
    dm_csd_workspace_destroy(workspace);
    dm_csd_destroy(model);
    dm_gradients_destroy(few);
}

static void check_settings(bench *b, dm_csd_settings settings, const char *words)
{
    dm_csd *model = NULL;
    assert_dm_error(dm_csd_create(&settings, b->g.gradients, &b->g.response, &model),
                    DM_ERR_INVALID, words);
    assert_null(model);
}

static void settings_out_of_range_are_refused(void **state)
{
    bench *b = *state;
    const dm_csd_settings d = dm_csd_defaults();
    assert_true(d.lmax == 8 && d.lambda == 1 && d.tau == 0.1 && d.max_iterations == 50);
    const int orders[] = {-2, 0, 1, 3, 7, 13, 14, 100};
    for (size_t k = 0; k < sizeof orders / sizeof *orders; k++) {
        dm_csd_settings s = d;
        s.lmax = orders[k];
        check_settings(b, s, "lmax is");
    }
    check_settings(b, (dm_csd_settings){8, -1, 0.1, 50, 0}, "lambda is -1");
    check_settings(b, (dm_csd_settings){8, 1, NAN, 50, 0}, "tau nan");
    check_settings(b, (dm_csd_settings){8, 1, 0.1, 0, 0}, "max_iterations is 0");
    check_settings(b, (dm_csd_settings){8, 1, 0.1, 50, (dm_sh_basis)2}, "basis 2");
}

static void inputs_that_cannot_be_are_refused(void **state)
{
    bench *b = *state;
    dm_csd *model = NULL;
    const dm_response flat = {{0.001, 0, 0}, 100}, nan = {{0.001, 0.001, 0.001}, NAN};
    assert_dm_error(dm_csd_create(NULL, b->g.gradients, &flat, &model), DM_ERR_INVALID, "positive");
    assert_dm_error(dm_csd_create(NULL, b->g.gradients, &nan, &model), DM_ERR_INVALID, "S0 nan");
    assert_dm_error(dm_csd_create(NULL, NULL, &b->g.response, &model), DM_ERR_INVALID, "NULL");
    const double b0 = 0;
    const dm_vector zero = {0, 0, 0};
    dm_gradients *only_b0;
    assert_dm_ok(dm_gradients_create(1, &b0, &zero, &only_b0));
    assert_dm_error(dm_csd_create(NULL, only_b0, &b->g.response, &model), DM_ERR_INVALID,
                    "none of 1 volumes");
    assert_null(model);
    dm_gradients_destroy(only_b0);
}

static void a_workspace_of_another_model_is_refused(void **state)
{
    bench *b = *state;
    dm_csd_settings settings = dm_csd_defaults();
    settings.lmax = 6;
    dm_csd *model;
    double c[N];
    assert_dm_ok(dm_csd_create(&settings, b->g.gradients, &b->g.response, &model));
    assert_dm_error(dm_csd_fit(model, b->workspace, 1, b->signals, c, NULL), DM_ERR_INVALID,
                    "45 coefficients, the model has 64 and 28");
    assert_dm_error(dm_csd_fit(model, NULL, 1, b->signals, c, NULL), DM_ERR_INVALID, "NULL");
    dm_csd_destroy(model);
}

static void no_voxels_are_fine(void **state)
{
    bench *b = *state;
    assert_dm_ok(dm_csd_fit(b->model, b->workspace, 0, NULL, NULL, NULL));
    dm_csd_destroy(NULL);
    dm_csd_workspace_destroy(NULL);
}

#define EDGE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static int all(void)
{
    const struct CMUnitTest tests[] = {
        EDGE(zeros_give_zeros),
        EDGE(not_finite_gives_nan),
        EDGE(not_finite_in_a_b0_does_not_matter),
        EDGE(a_bad_voxel_spoils_no_other),
        EDGE(negative_signals_run_like_others),
        EDGE(coefficients_scale_with_the_signal),
        EDGE(a_single_fibre_points_along_itself),
        EDGE(iterations_end_at_their_limit),
        EDGE(every_order_works),
        cmocka_unit_test(order_twelve_works),
        EDGE(few_directions_are_warned_of),
        EDGE(settings_out_of_range_are_refused),
        EDGE(inputs_that_cannot_be_are_refused),
        EDGE(a_workspace_of_another_model_is_refused),
        EDGE(no_voxels_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return golden_on_every_isa(all);
}
