/*
 * test_models_fwdti_matches_dipy.c - the free-water fit gives DIPY's parameters and maps, by both
 * methods, on all golden data and with the sweeps of every kind of processor.
 */
#include "test_models_fwdti.h"

/* How many voxels must be within a bound; see tests/data/README.md for both. */
typedef struct bound {
    const char *name;
    double most, share;
} bound;

typedef struct set {
    const char *name;
    double nls_share; /* 0: that of each bound */
} set;

/* In the edges there are voxels of two or three signals, which no least squares can decide. */
static const set sets[] = {{"s101", 0}, {"hcpsim_s", 0}, {"fwdti_edges", 0.85}};
enum { SETS = sizeof sets / sizeof *sets };

/* NaN counts as beyond every bound. */
static double greater(double a, double b)
{
    return isnan(a) || a > b ? a : b;
}

static double eigenvalues_apart(const double *a, const double *b)
{
    double most = 0;
    for (int k = 0; k < 3; k++)
        most = greater(fabs(a[k] - b[k]), most);
    return most;
}

static double measure(const double *parameters, const char *name)
{
    double value;
    dm_fwdti_measures into = {0};
    if (strcmp(name, "FA") == 0)
        into.fa = &value;
    else if (strcmp(name, "MD") == 0)
        into.md = &value;
    else
        into.f = &value;
    dm_fwdti_measure(1, parameters, &into);
    return value;
}

static double apart(const double *a, const double *b, const char *name)
{
    if (strcmp(name, "eigenvalues") == 0)
        return eigenvalues_apart(a, b);
    return fabs(measure(a, name) - measure(b, name));
}

static void check(const golden *g, const double *found, const double *reference, bound b)
{
    size_t within = 0;
    double most = 0;
    for (size_t i = 0; i < g->n; i++) {
        const double d = apart(found + i * P, reference + i * P, b.name);
        within += d <= b.most;
        most = greater(d, most);
    }
    print_message("%s %s, %s: %.3f %% within %g, at most %.1e\n", g->name,
                  dmi_isa_name(dmi_isa_best()), b.name, 100 * (double)within / (double)g->n, b.most,
                  most);
    if ((double)within < b.share * (double)g->n)
        fail_msg("%s: %.1f %% of the %s were to be within %g", g->name, 100 * b.share, b.name,
                 b.most);
}

static void check_wls(const set *s)
{
    golden g = golden_open(s->name);
    double *found = water_fit(&g, DM_FWDTI_WLS);
    double *reference = golden_values(&g, "fwdti_wls.nii.gz", P);
    check(&g, found, reference, (bound){"f", 1e-9, 0.999});
    check(&g, found, reference, (bound){"f", 2.5e-3, 1});
    check(&g, found, reference, (bound){"eigenvalues", 1e-9, 0.999});
    free(reference);
    free(found);
    golden_close(&g);
}

/* |cos| between the first eigenvectors, where there is a first one. */
static void check_directions(const golden *g, const double *found, const double *reference,
                             double share)
{
    size_t n = 0, within = 0;
    for (size_t i = 0; i < g->n; i++) {
        const double *a = found + i * P, *b = reference + i * P;
        if (!(b[0] - b[1] > 2e-4 && b[0] < 0.01))
            continue;
        const double cosine = a[3] * b[3] + a[6] * b[6] + a[9] * b[9];
        n++;
        within += fabs(cosine) > 1 - 1e-6;
    }
    assert_true(n > 0);
    assert_true((double)within >= share * (double)n);
}

/* `share`: of all bounds, or 0. */
static void check_non_linear(const golden *g, const double *found, const double *reference,
                             double share)
{
    static const bound bounds[] = {{"f", 1e-4, 0.99},
                                   {"f", 1e-3, 0.998},
                                   {"MD", 1e-7, 0.99},
                                   {"FA", 1e-3, 0.99},
                                   {"eigenvalues", 1e-6, 0.99}};
    for (size_t k = 0; k < sizeof bounds / sizeof *bounds; k++) {
        bound b = bounds[k];
        b.share = share > 0 ? share : b.share;
        check(g, found, reference, b);
    }
    check_directions(g, found, reference, share > 0 ? share : 0.99);
}

static void check_nls(const set *s)
{
    golden g = golden_open(s->name);
    double *found = water_fit(&g, DM_FWDTI_NLS);
    double *reference = golden_values(&g, "fwdti_nls.nii.gz", P);
    check_non_linear(&g, found, reference, s->nls_share);
    free(reference);
    free(found);
    golden_close(&g);
}

static void the_grid_search_matches(void **state)
{
    (void)state;
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++) {
        play(isa);
        for (int k = 0; k < SETS; k++)
            check_wls(&sets[k]);
    }
}

static void the_non_linear_fit_matches(void **state)
{
    (void)state;
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++) {
        play(isa);
        for (int k = 0; k < SETS; k++)
            check_nls(&sets[k]);
    }
}

/* ---- the options of the non-linear fit ---- */

typedef struct variant {
    const char *file;
    bool cholesky, f_untransformed;
} variant;

static const variant variants[] = {
    {"fwdti_nls_cholesky.nii.gz", true, false},
    {"fwdti_nls_no_f_transform.nii.gz", false, true},
    {"fwdti_nls_cholesky_no_f_transform.nii.gz", true, true},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

/* hcpsim_s has references for its first four slices. */
static golden open_part(const char *name)
{
    golden g = golden_open(name);
    if (strcmp(name, "hcpsim_s") == 0)
        g.n = 4 * g.dwi->grid.shape[0] * g.dwi->grid.shape[1];
    return g;
}

/* Whether the start of the non-linear fit has a Cholesky factor; true if it is not called for. */
static bool begins_inside(const double *wls)
{
    return wls[2] > 0 || wls[F] >= 0.99;
}

/* What is known of a voxel whose start has none. Where DIPY has a result, it depends on the last bit
 * of pivots that are 0 in theory, so not its values are asked for but that it fits no better. */
static void check_clipped(const golden *g, size_t voxel, const double *found, const double *dipys,
                          const double *without)
{
    const double *other = isnan(dipys[0]) ? without : dipys;
    assert_true(isfinite(found[F]) && found[2] >= 0);
    assert_true(water_squares(g, voxel, found) <= water_squares(g, voxel, other) * (1 + 1e-4));
}

static void check_variant(const char *name, const variant *v)
{
    golden g = open_part(name);
    double *found = water_fit_with(&g, water_options(v->cholesky, v->f_untransformed));
    double *reference = golden_values(&g, v->file, P),
           *wls = golden_values(&g, "fwdti_wls.nii.gz", P);
    double *without = golden_values(&g, "fwdti_nls.nii.gz", P);
    size_t kept = 0, without_dipy = 0;
    for (size_t i = 0; i < g.n; i++) {
        if (!v->cholesky || begins_inside(wls + i * P)) {
            memcpy(found + kept * P, found + i * P, P * sizeof *found);
            memcpy(reference + kept++ * P, reference + i * P, P * sizeof *reference);
            continue;
        }
        check_clipped(&g, i, found + i * P, reference + i * P, without + i * P);
        without_dipy += isnan(reference[i * P]);
    }
    print_message("%s %s: %zu voxels; %zu others, in %zu of them DIPY has no result\n", name,
                  v->file, kept, g.n - kept, without_dipy);
    g.n = kept;
    check_non_linear(&g, found, reference, 0);
    free(without);
    free(wls);
    free(reference);
    free(found);
    golden_close(&g);
}

static void the_options_match(void **state)
{
    (void)state;
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++) {
        play(isa);
        for (int k = 0; k < VARIANTS; k++) {
            check_variant("s101", &variants[k]);
            check_variant("hcpsim_s", &variants[k]);
        }
    }
}

/* From DIPY's own parameters, so that only the maps are compared. */
static void the_maps_match(void **state)
{
    (void)state;
    static const char *const names[3] = {"f", "FA", "MD"};
    for (int k = 0; k < 2; k++) {
        golden g = golden_open(sets[k].name);
        double *parameters = golden_values(&g, "fwdti_nls.nii.gz", P);
        double *reference = golden_values(&g, "fwdti_nls_f_fa_md.nii.gz", 3);
        for (size_t i = 0; i < g.n; i++)
            for (int m = 0; m < 3; m++)
                assert_true(fabs(measure(parameters + i * P, names[m]) - reference[3 * i + m]) <=
                            1e-12);
        free(reference);
        free(parameters);
        golden_close(&g);
    }
}

static void diffusivities_are_of_the_eigenvalues(void **state)
{
    (void)state;
    const double parameters[2 * P] = {[0] = 3, 2, 1, [F] = 0.5};
    double ad[2], rd[2], fa[2];
    dm_fwdti_measure(2, parameters, &(dm_fwdti_measures){.ad = ad, .rd = rd, .fa = fa});
    assert_true(ad[0] == 3 && rd[0] == 1.5);
    assert_true(ad[1] == 0 && rd[1] == 0 && fa[1] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_grid_search_matches),
        cmocka_unit_test(the_non_linear_fit_matches),
        cmocka_unit_test(the_options_match),
        cmocka_unit_test(the_maps_match),
        cmocka_unit_test(diffusivities_are_of_the_eigenvalues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
