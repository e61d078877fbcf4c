/*
 * test_models_fwdti_edges.c - voxels that are no ordinary data, and settings and tables that cannot
 * be, end as models.h says they do.
 *
 * What DIPY makes of odd voxels is in the set fwdti_edges: test_models_fwdti_matches_dipy.
 */
#include "test_models_fwdti.h"

typedef struct bench {
    golden g;
    water nls, wls;
    size_t n_volumes;
    double *signals; /* one voxel's, to be spoilt */
} bench;

static int set_up(void **state)
{
    bench *b = golden_alloc(1, sizeof *b);
    best_isa();
    b->g = golden_open("s101");
    b->nls = water_open(b->g.gradients, DM_FWDTI_NLS);
    b->wls = water_open(b->g.gradients, DM_FWDTI_WLS);
    b->n_volumes = b->g.gradients->n_volumes;
    b->signals = golden_alloc(b->n_volumes, sizeof(double));
    memcpy(b->signals, b->g.signals + 333 * b->n_volumes, b->n_volumes * sizeof(double));
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    bench *b = *state;
    water_close(&b->nls);
    water_close(&b->wls);
    golden_close(&b->g);
    free(b->signals);
    free(b);
    return 0;
}

static int32_t fit_one(bench *b, double *parameters)
{
    int32_t evaluations = -7;
    assert_dm_ok(
        dm_fwdti_fit(b->nls.model, b->nls.workspace, 1, b->signals, parameters, &evaluations));
    return evaluations;
}

/* Signals of the model itself, S0 = 1000, with a tensor along x. */
static void simulate(bench *b, double f, const double evals[3])
{
    for (size_t i = 0; i < b->n_volumes; i++) {
        const double *g = b->g.gradients->g[i], bi = b->g.gradients->b[i];
        double tissue = 0, free_water = 0;
        for (int k = 0; k < 3; k++) {
            tissue += evals[k] * g[k] * g[k];
            free_water += DM_FREE_WATER_DIFFUSIVITY * g[k] * g[k];
        }
        b->signals[i] = 1000 * ((1 - f) * exp(-bi * tissue) + f * exp(-bi * free_water));
    }
}

static void what_was_put_in_comes_out(void **state)
{
    bench *b = *state;
    const double evals[3] = {1.7e-3, 5e-4, 2e-4};
    double p[P];
    for (double f = 0.05; f < 0.8; f += 0.15) {
        simulate(b, f, evals);
        assert_true(fit_one(b, p) > 0);
        assert_true(fabs(p[F] - f) < 1e-5);
        for (int k = 0; k < 3; k++)
            assert_true(fabs(p[k] - evals[k]) < 1e-7);
        assert_true(fabs(p[3]) > 1 - 1e-9 && fabs(p[7]) > 1 - 1e-9 && fabs(p[11]) > 1 - 1e-9);
    }
}

/* Less than no water: only without the transform can f follow. */
static void f_leaves_0_to_1_if_let(void **state)
{
    bench *b = *state;
    const double evals[3] = {1.7e-3, 5e-4, 2e-4};
    double p[P];
    simulate(b, -0.05, evals);
    fit_one(b, p);
    assert_true(p[F] >= 0 && p[F] < 1e-3);
    water w = water_open_with(b->g.gradients, water_options(false, true));
    assert_dm_ok(dm_fwdti_fit(w.model, w.workspace, 1, b->signals, p, NULL));
    assert_true(fabs(p[F] + 0.05) < 1e-5);
    water_close(&w);
}

static void zeros_give_zeros(void **state)
{
    bench *b = *state;
    double p[P];
    memset(b->signals, 0, b->n_volumes * sizeof(double));
    assert_int_equal(fit_one(b, p), 0);
    for (int k = 0; k < P; k++)
        assert_true(p[k] == 0);
}

static void water_alone_is_all_water(void **state)
{
    bench *b = *state;
    const double evals[3] = {2.9e-3, 2.9e-3, 2.9e-3};
    double p[P];
    simulate(b, 0, evals);
    assert_int_equal(fit_one(b, p), 0);
    assert_true(p[F] == 1);
    for (int k = 0; k < F; k++)
        assert_true(p[k] == 0);
}

/* As above, the tissue's signal alone decides: one step below mdreg it is fitted. */
static void mdreg_is_the_border(void **state)
{
    bench *b = *state;
    const double evals[3] = {1.2e-3, 1e-3, 0.8e-3};
    dm_fwdti_settings settings = dm_fwdti_defaults();
    double p[P];
    simulate(b, 0, evals);
    for (int above = 0; above < 2; above++) {
        settings.mdreg = above ? 1e-3 * (1 - 1e-9) : 1e-3 * (1 + 1e-9);
        dm_fwdti *model;
        assert_dm_ok(dm_fwdti_create(&settings, b->g.gradients, &model));
        assert_dm_ok(dm_fwdti_fit(model, b->nls.workspace, 1, b->signals, p, NULL));
        assert_true((p[F] == 1) == above && (p[0] == 0) == above);
        dm_fwdti_destroy(model);
    }
}

static void faint_voxels_are_not_fitted(void **state)
{
    bench *b = *state;
    double p[P];
    for (size_t i = 0; i < b->n_volumes; i++)
        b->signals[i] *= 1e-10;
    assert_int_equal(fit_one(b, p), 0);
    for (int k = 0; k < P; k++)
        assert_true(p[k] == 0);
}

static void not_finite_gives_nan(void **state)
{
    bench *b = *state;
    const double values[] = {NAN, INFINITY, -INFINITY, 1e200};
    const double before = b->signals[40];
    for (int k = 0; k < 4; k++) {
        for (size_t at = 0; at < b->n_volumes; at += b->n_volumes - 1) {
            double p[P];
            memcpy(b->signals, b->g.signals + 333 * b->n_volumes, b->n_volumes * sizeof(double));
            b->signals[at] = values[k];
            assert_int_equal(fit_one(b, p), 0);
            for (int j = 0; j < P; j++)
                assert_true(isnan(p[j]));
        }
    }
    assert_true(before > 0);
}

static void a_bad_voxel_spoils_no_other(void **state)
{
    bench *b = *state;
    double *three = golden_alloc(3 * b->n_volumes, sizeof *three);
    double p[3 * P], alone[P];
    fit_one(b, alone);
    for (size_t i = 0; i < 3; i++)
        memcpy(three + i * b->n_volumes, b->signals, b->n_volumes * sizeof *three);
    three[b->n_volumes + 10] = NAN;
    assert_dm_ok(dm_fwdti_fit(b->nls.model, b->nls.workspace, 3, three, p, NULL));
    assert_memory_equal(p, alone, sizeof alone);
    assert_true(isnan(p[P]));
    assert_memory_equal(p + 2 * P, alone, sizeof alone);
    free(three);
}

/* A workspace keeps nothing of the voxel before, whatever it was. */
static void voxels_leave_nothing_behind(void **state)
{
    bench *b = *state;
    double first[P], again[P], other[P];
    const int32_t count = fit_one(b, first);
    double *kept = golden_alloc(b->n_volumes, sizeof *kept);
    memcpy(kept, b->signals, b->n_volumes * sizeof *kept);
    const double spoils[] = {NAN, 0, 1e150, -1e5};
    for (int k = 0; k < 4; k++) {
        for (size_t i = 0; i < b->n_volumes; i++)
            b->signals[i] = spoils[k];
        fit_one(b, other);
        memcpy(b->signals, kept, b->n_volumes * sizeof *kept);
        assert_int_equal(fit_one(b, again), count);
        assert_memory_equal(first, again, sizeof first);
    }
    free(kept);
}

static void wls_is_the_start_and_on_the_grid(void **state)
{
    bench *b = *state;
    double p[P], squares = 0;
    int32_t evaluations = -7;
    assert_dm_ok(dm_fwdti_fit(b->wls.model, b->wls.workspace, 1, b->signals, p, &evaluations));
    assert_int_equal(evaluations, 0);
    assert_true(fabs(1000 * p[F] - nearbyint(1000 * p[F])) < 1e-9);
    for (int k = 3; k < F; k++)
        squares += p[k] * p[k];
    assert_true(fabs(squares - 3) < 1e-12);
    assert_true(p[0] >= p[1] && p[1] >= p[2] && p[2] >= 0);
}

static void fewer_passes_are_a_coarser_grid(void **state)
{
    bench *b = *state;
    dm_fwdti_settings settings = water_settings(DM_FWDTI_WLS);
    double p[P], fine[P];
    assert_dm_ok(dm_fwdti_fit(b->wls.model, b->wls.workspace, 1, b->signals, fine, NULL));
    for (int passes = 1; passes <= 2; passes++) {
        settings.piterations = passes;
        dm_fwdti *model;
        assert_dm_ok(dm_fwdti_create(&settings, b->g.gradients, &model));
        assert_dm_ok(dm_fwdti_fit(model, b->wls.workspace, 1, b->signals, p, NULL));
        const double steps = pow(10, passes) * p[F];
        assert_true(fabs(steps - nearbyint(steps)) < 1e-9);
        assert_true(fabs(p[F] - fine[F]) < 2 * pow(10, -passes));
        dm_fwdti_destroy(model);
    }
}

static void check_settings(bench *b, dm_fwdti_settings settings, const char *words)
{
    dm_fwdti *model = NULL;
    assert_dm_error(dm_fwdti_create(&settings, b->g.gradients, &model), DM_ERR_INVALID, words);
    assert_null(model);
}

static void settings_out_of_range_are_refused(void **state)
{
    bench *b = *state;
    const dm_fwdti_settings d = dm_fwdti_defaults();
    assert_true(d.method == DM_FWDTI_NLS && d.mdreg == 2.7e-3 && d.min_signal == 1e-6 &&
                d.piterations == 3 && !d.cholesky && !d.f_untransformed);
    check_settings(b, (dm_fwdti_settings){(dm_fwdti_method)2, 1e-3, 1, 3, false, false},
                   "method 2");
    check_settings(b, (dm_fwdti_settings){DM_FWDTI_NLS, NAN, 1, 3, false, false}, "mdreg is NaN");
    check_settings(b, (dm_fwdti_settings){DM_FWDTI_NLS, 1e-3, 0, 3, false, false},
                   "min_signal is 0");
    check_settings(b, (dm_fwdti_settings){DM_FWDTI_NLS, 1e-3, INFINITY, 3, false, false},
                   "min_signal is inf");
    check_settings(b, (dm_fwdti_settings){DM_FWDTI_NLS, 1e-3, 1, 0, false, false},
                   "piterations is 0");
    check_settings(b, (dm_fwdti_settings){DM_FWDTI_NLS, 1e-3, 1, 9, false, false}, "1 to 8");
    check_settings(b, (dm_fwdti_settings){DM_FWDTI_WLS, 1e-3, 1, 3, true, false}, "DM_FWDTI_WLS");
    check_settings(b, (dm_fwdti_settings){DM_FWDTI_WLS, 1e-3, 1, 3, false, true}, "DM_FWDTI_WLS");
}

static void check_table(size_t n, const double *b_values, const char *words)
{
    dm_vector along = {1, 0, 0}, vectors[8];
    dm_gradients *gradients;
    dm_fwdti *model = NULL;
    for (size_t i = 0; i < n; i++)
        memcpy(vectors[i], along, sizeof along);
    assert_dm_ok(dm_gradients_create(n, b_values, (const dm_vector *)vectors, &gradients));
    if (words) {
        assert_dm_error(dm_fwdti_create(NULL, gradients, &model), DM_ERR_INVALID, words);
        assert_null(model);
    } else {
        assert_dm_ok(dm_fwdti_create(NULL, gradients, &model));
        dm_fwdti_destroy(model);
    }
    dm_gradients_destroy(gradients);
}

/* 990 and 1000 are the same shell, to two digits of 1000; 949 is not. */
static void tables_of_one_shell_are_refused(void **state)
{
    (void)state;
    check_table(4, (const double[]){0, 1000, 1000, 1000}, "2 distinct b-values were found");
    check_table(4, (const double[]){0, 997, 1000, 1004}, "2 distinct");
    check_table(2, (const double[]){0, 0}, "1 distinct b-value was found in 2 volumes");
    check_table(4, (const double[]){1000, 2000, 3000, 500}, "none of 4 volumes is a b0");
    check_table(4, (const double[]){0, 940, 1000, 1000}, NULL);
    check_table(3, (const double[]){5, 500, 1000}, NULL);
}

static void calls_that_make_no_sense_are_refused(void **state)
{
    bench *b = *state;
    dm_fwdti *model = NULL;
    dm_fwdti_workspace *workspace = NULL;
    double p[P];
    assert_dm_error(dm_fwdti_create(NULL, NULL, &model), DM_ERR_INVALID, "NULL");
    assert_dm_error(dm_fwdti_workspace_create(NULL, &workspace), DM_ERR_INVALID, "NULL");
    assert_dm_error(dm_fwdti_fit(b->nls.model, NULL, 1, b->signals, p, NULL), DM_ERR_INVALID,
                    "NULL");
    assert_dm_ok(dm_fwdti_fit(b->nls.model, b->nls.workspace, 0, NULL, NULL, NULL));
    golden other = golden_open("fwdti_edges");
    water w = water_open(other.gradients, DM_FWDTI_NLS);
    assert_dm_error(dm_fwdti_fit(b->nls.model, w.workspace, 1, b->signals, p, NULL), DM_ERR_INVALID,
                    "163 volumes, the model has 102");
    water_close(&w);
    golden_close(&other);
    dm_fwdti_destroy(NULL);
    dm_fwdti_workspace_destroy(NULL);
}

#define EDGE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EDGE(what_was_put_in_comes_out),
        EDGE(f_leaves_0_to_1_if_let),
        EDGE(zeros_give_zeros),
        EDGE(water_alone_is_all_water),
        EDGE(mdreg_is_the_border),
        EDGE(faint_voxels_are_not_fitted),
        EDGE(not_finite_gives_nan),
        EDGE(a_bad_voxel_spoils_no_other),
        EDGE(voxels_leave_nothing_behind),
        EDGE(wls_is_the_start_and_on_the_grid),
        EDGE(fewer_passes_are_a_coarser_grid),
        EDGE(settings_out_of_range_are_refused),
        cmocka_unit_test(tables_of_one_shell_are_refused),
        EDGE(calls_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
