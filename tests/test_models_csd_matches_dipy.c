/*
 * test_models_csd_matches_dipy.c - CSD gives DIPY's coefficients, iteration counts, densities and
 * GFA on all golden data, and DIPY's matrices inside the model.
 */
#include "test_models_golden.h"

#include "models/csd.h"

/* The bounds of tests/data/README.md. */
static const double BOUND = 1e-8;
static const double SHARE = 0.001;

typedef struct fit {
    dm_csd *model;
    double *coefficients; /* n x 45 */
    int32_t *iterations;
} fit;

static fit fit_set(const golden *g)
{
    fit f = {.coefficients = golden_alloc(g->n * GOLDEN_COEFFICIENTS, sizeof(double)),
             .iterations = golden_alloc(g->n, sizeof(int32_t))};
    dm_csd_workspace *workspace;
    golden_model(g, &f.model, &workspace);
    assert_int_equal(dm_csd_n_coefficients(f.model), GOLDEN_COEFFICIENTS);
    assert_int_equal(dm_csd_n_volumes(f.model), g->gradients->n_volumes);
    assert_null(dm_csd_warning(f.model));
    assert_dm_ok(dm_csd_fit(f.model, workspace, g->n, g->signals, f.coefficients, f.iterations));
    dm_csd_workspace_destroy(workspace);
    return f;
}

static void fit_free(fit *f)
{
    dm_csd_destroy(f->model);
    free(f->coefficients);
    free(f->iterations);
}

/* The greatest difference over the greatest reference; infinite unless both have the same NaN. */
static double deviation(size_t n, const double *found, const double *reference)
{
    double difference = 0, greatest = 0;
    for (size_t k = 0; k < n; k++) {
        if (isfinite(found[k]) != isfinite(reference[k]))
            return INFINITY;
        if (!isfinite(reference[k]))
            continue;
        difference = fmax(difference, fabs(found[k] - reference[k]));
        greatest = fmax(greatest, fabs(reference[k]));
    }
    return difference == 0 ? 0 : difference / greatest;
}

static void coefficients_match(void **state)
{
    (void)state;
    for (int s = 0; s < GOLDEN_SETS; s++) {
        golden g = golden_open(golden_names[s]);
        fit f = fit_set(&g);
        double *reference = golden_values(&g, "csd_sh.nii.gz", GOLDEN_COEFFICIENTS);
        size_t off = 0;
        double worst = 0;
        for (size_t i = 0; i < g.n; i++) {
            const size_t at = i * GOLDEN_COEFFICIENTS;
            const double d = deviation(GOLDEN_COEFFICIENTS, f.coefficients + at, reference + at);
            off += d > BOUND;
            worst = fmax(worst, d);
        }
        print_message("%s: %zu of %zu voxels off, worst %.1e\n", g.name, off, g.n, worst);
        assert_true((double)off <= SHARE * (double)g.n);
        assert_true(isfinite(worst));
        free(reference);
        fit_free(&f);
        golden_close(&g);
    }
}

static void iteration_counts_match(void **state)
{
    (void)state;
    for (int s = 0; s < GOLDEN_SETS; s++) {
        golden g = golden_open(golden_names[s]);
        fit f = fit_set(&g);
        double *reference = golden_values(&g, "csd_nit.nii.gz", 1);
        size_t off = 0;
        for (size_t i = 0; i < g.n; i++)
            off += f.iterations[i] != (int32_t)reference[i];
        assert_true((double)off <= SHARE * (double)g.n);
        free(reference);
        fit_free(&f);
        golden_close(&g);
    }
}

static void check_map(const golden *g, const char *file, const double *found)
{
    double *reference = golden_values(g, file, 1);
    for (size_t i = 0; i < g->n; i++) {
        assert_int_equal(isnan(found[i]) != 0, isnan(reference[i]) != 0);
        if (!isnan(found[i]) && fabs(found[i] - reference[i]) > BOUND)
            fail_msg("%s, voxel %zu of the mask: %.12g, DIPY has %.12g", file, i, found[i],
                     reference[i]);
    }
    free(reference);
}

/* Densities of all voxels at the 362 directions. Yours: free. */
static double *densities(size_t n, const double *coefficients)
{
    double *matrix = golden_alloc(DM_SPHERE_COUNT * GOLDEN_COEFFICIENTS, sizeof *matrix);
    double *odf = golden_alloc(n * DM_SPHERE_COUNT, sizeof *odf);
    assert_dm_ok(
        dm_sh_matrix(DM_SH_DESCOTEAUX07_LEGACY, 8, DM_SPHERE_COUNT, dm_sphere362(), matrix));
    dm_odf(n, GOLDEN_COEFFICIENTS, coefficients, DM_SPHERE_COUNT, matrix, odf);
    free(matrix);
    return odf;
}

static void anisotropy_matches(void **state)
{
    (void)state;
    for (int s = 0; s < GOLDEN_SETS; s++) {
        golden g = golden_open(golden_names[s]);
        fit f = fit_set(&g);
        double *gfa = golden_alloc(g.n, sizeof *gfa);
        dm_gfa_from_coefficients(g.n, GOLDEN_COEFFICIENTS, f.coefficients, gfa);
        check_map(&g, "csd_gfa_sh.nii.gz", gfa);
        double *odf = densities(g.n, f.coefficients);
        dm_gfa_from_samples(g.n, DM_SPHERE_COUNT, odf, gfa);
        check_map(&g, "csd_gfa_odf362.nii.gz", gfa);
        free(odf);
        free(gfa);
        fit_free(&f);
        golden_close(&g);
    }
}

/* Where a voxel (i, j, k) stands in the mask. */
static size_t place_in_mask(const golden *g, const double *ijk)
{
    const size_t *shape = g->dwi->grid.shape;
    const size_t voxel = (size_t)ijk[0] + shape[0] * ((size_t)ijk[1] + shape[1] * (size_t)ijk[2]);
    for (size_t i = 0; i < g->n; i++)
        if (g->mask->voxels[i] == voxel)
            return i;
    fail_msg("%s: voxel %zu is not in the mask", g->name, voxel);
    return 0;
}

static void densities_match(void **state)
{
    (void)state;
    for (int s = 0; s < GOLDEN_SETS; s++) {
        golden g = golden_open(golden_names[s]);
        fit f = fit_set(&g);
        double *odf = densities(g.n, f.coefficients);
        dmi_table voxels, reference;
        assert_dm_ok(dmi_table_read(golden_path(g.name, "csd_odf_vox.txt"), &voxels));
        assert_dm_ok(dmi_table_read(golden_path(g.name, "csd_odf362.txt"), &reference));
        assert_int_equal(reference.n_rows, voxels.n_rows);
        assert_int_equal(reference.n_columns, DM_SPHERE_COUNT);
        for (size_t r = 0; r < voxels.n_rows; r++) {
            const double *found = odf + place_in_mask(&g, voxels.values + 3 * r) * DM_SPHERE_COUNT;
            assert_true(deviation(DM_SPHERE_COUNT, found, reference.values + r * DM_SPHERE_COUNT) <=
                        BOUND);
        }
        dmi_table_fini(&voxels);
        dmi_table_fini(&reference);
        free(odf);
        fit_free(&f);
        golden_close(&g);
    }
}

/* `found` has 45 numbers that count in every `stride`. */
static void check_matrix(const golden *g, const char *file, size_t rows, size_t stride,
                         const double *found)
{
    dmi_table reference;
    assert_dm_ok(dmi_table_read(golden_path(g->name, file), &reference));
    assert_int_equal(reference.n_values, rows * GOLDEN_COEFFICIENTS);
    double *packed = golden_alloc(reference.n_values, sizeof *packed);
    for (size_t i = 0; i < rows; i++)
        memcpy(packed + i * GOLDEN_COEFFICIENTS, found + i * stride,
               GOLDEN_COEFFICIENTS * sizeof *packed);
    const double d = deviation(reference.n_values, packed, reference.values);
    print_message("%s/%s: %.1e\n", g->name, file, d);
    assert_true(d <= 1e-9);
    free(packed);
    dmi_table_fini(&reference);
}

static void model_matrices_match(void **state)
{
    (void)state;
    static const char *const sets[] = {"s64", "hcpsim_s"};
    for (size_t s = 0; s < 2; s++) {
        golden g = golden_open(sets[s]);
        dm_csd *model;
        assert_dm_ok(dm_csd_create(NULL, g.gradients, &g.response, &model));
        check_matrix(&g, "csd_model/X.txt", model->n_dwi, model->stride, model->x);
        check_matrix(&g, "csd_model/B_reg_scaled.txt", DMI_CSD_DIRECTIONS, model->stride, model->b);
        dm_csd_destroy(model);
        golden_close(&g);
    }
}

static int all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coefficients_match),   cmocka_unit_test(iteration_counts_match),
        cmocka_unit_test(anisotropy_matches),   cmocka_unit_test(densities_match),
        cmocka_unit_test(model_matrices_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return golden_on_every_isa(all);
}
