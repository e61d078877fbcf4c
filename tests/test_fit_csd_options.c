/*
 * test_fit_csd_options.c - what can be asked of `dm fit csd` reaches the fit, and its further outputs
 * hold what they say: densities, their GFA, peaks, and coefficients as MRtrix3 reads them.
 */
#include "models/table.h"
#include "test_fit_shell.h"

#define S64 DM_TEST_DATA "/s64"
#define HCP DM_TEST_DATA "/hcpsim_s"
#define FIT(set)                                                                                   \
    DM_BIN_DIR "/dm fit csd --engine serial --force --out out --dwi " set                          \
               "/dwi.nii.gz --bval " set "/dwi.bval --bvec " set "/dwi.bvec --mask " set           \
               "/mask.nii.gz "

enum { N = 45 };

/* ---- settings ---- */

/* Row `row` of csd_settings.txt: lmax, lambda, tau, limit; i j k; solves; coefficients. */
static void check_settings(const dmi_table *rows, size_t at)
{
    const double *row = rows->values + at;
    const size_t n = dm_sh_count((int)row[0]);
    assert_runs(FIT(S64) "--response " S64 "/response.txt --float64 --lmax %g --lambda %g --tau %g "
                         "--max-iterations %g",
                row[0], row[1], row[2], row[3]);
    dm_volume *sh = read_image("out/csd_sh.nii.gz");
    assert_int_equal(sh->n_volumes, n);
    const size_t *shape = sh->grid.shape;
    const size_t voxel = (size_t)row[4] + shape[0] * ((size_t)row[5] + shape[1] * (size_t)row[6]);
    double c[91];
    dm_volume_gather(sh, 1, &voxel, c);
    for (size_t j = 0; j < n; j++)
        assert_true(fabs(c[j] - row[8 + j]) <= 1e-8 * fabs(row[8]));
    dm_volume_destroy(sh);
}

static void settings_reach_the_fit(void **state)
{
    (void)state;
    dmi_table rows;
    assert_ok(dmi_table_read(S64 "/csd_settings.txt", &rows));
    size_t at = 0;
    for (int row = 0; at < rows.n_values; row++) {
        if (row % 24 == 17) /* order 4, lambda 0.3, tau 0, limit 2 */
            check_settings(&rows, at);
        at += 8 + dm_sh_count((int)rows.values[at]);
    }
    dmi_table_fini(&rows);
}

static void a_mask_makes_the_response(void **state)
{
    (void)state;
    assert_runs(FIT(S64) "--response-mask " S64 "/response_mask.nii.gz");
    dm_response ours, reference;
    assert_ok(dm_response_read("out/response.txt", &ours));
    assert_ok(dm_response_read(S64 "/response.txt", &reference));
    assert_true(fabs(ours.evals[0] / reference.evals[0] - 1) <= 1e-9);
    assert_true(fabs(ours.s0 / reference.s0 - 1) <= 1e-9);
}

/* Of the scheme's b = 0, 1000, 2000, 3000 the same volumes by number and by shell. */
static void shells_are_the_volumes_they_name(void **state)
{
    (void)state;
    dm_gradients *g;
    const double shells[2] = {0, 3000};
    size_t volumes[288], n;
    assert_ok(dm_gradients_read(HCP "/dwi.bval", HCP "/dwi.bvec", &g));
    assert_ok(dm_gradients_shells(g, 2, shells, volumes, &n));
    assert_int_equal(n, 108);
    FILE *list = fopen("list.txt", "w");
    assert_non_null(list);
    for (size_t i = 0; i < n; i++)
        fprintf(list, "%zu\n", volumes[i]);
    fclose(list);
    dm_gradients_destroy(g);
    assert_runs(FIT(HCP) "--volumes list.txt");
    assert_int_equal(rename("out", "by_number"), 0);
    assert_runs(FIT(HCP) "--shells 0,3000");
    assert_runs("cmp out/csd_sh.nii.gz by_number/csd_sh.nii.gz");
    assert_int_equal(shell(FIT(HCP) "--shells 0,1500"), 1);
    assert_said("dwi.bval: shells: no volume has a b near 1500; there are");
    assert_int_equal(shell(FIT(HCP) "--shells 0,many"), 1);
    assert_said("'many' was found where a b-value was expected");
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    assert_int_equal(shell(FIT(S64) "--lambda -1"), 2);
    assert_said("--lambda is '-1'; a number from 0 on was expected");
    assert_int_equal(shell(FIT(S64) "--tau x"), 2);
    assert_int_equal(shell(FIT(S64) "--max-iterations 0"), 2);
    assert_int_equal(shell(FIT(S64) "--basis tournier"), 2);
    assert_said("descoteaux07 or tournier07 was expected");
    assert_int_equal(shell(FIT(S64) "--response auto --response-mask x"), 2);
    assert_int_equal(shell(FIT(S64) "--response-mask absent.nii"), 1);
    assert_said("absent.nii");
    assert_runs(FIT(S64) "--odf --peaks");
    assert_int_equal(unlink("out/csd_sh.nii.gz"), 0);
    assert_int_equal(shell(DM_BIN_DIR "/dm fit csd --dwi " S64 "/dwi.nii.gz --bval " S64
                                      "/dwi.bval --bvec " S64 "/dwi.bvec --out out --peaks"),
                     1);
    assert_said("csd_peaks.nii.gz: a file was found here already");
}

/* ---- densities and peaks ---- */

static void densities_are_dipys(void **state)
{
    (void)state;
    dmi_table voxels, odf;
    assert_ok(dmi_table_read(S64 "/csd_odf_vox.txt", &voxels));
    assert_ok(dmi_table_read(S64 "/csd_odf362.txt", &odf));
    assert_runs(FIT(S64) "--response " S64 "/response.txt --float64 --odf");
    dm_volume *ours = read_image("out/csd_odf.nii.gz"), *gfa = read_image("out/csd_gfa_odf.nii.gz");
    dm_volume *reference = read_image(S64 "/csd_gfa_odf362.nii.gz");
    assert_int_equal(ours->n_volumes, DM_SPHERE_COUNT);
    for (size_t i = 0; i < voxels.n_rows; i++) {
        const double *at = voxels.values + 3 * i, *row = odf.values + i * DM_SPHERE_COUNT;
        const size_t voxel = (size_t)(at[0] + 10 * at[1] + 100 * at[2]);
        double found[DM_SPHERE_COUNT], a, b, most = 0;
        dm_volume_gather(ours, 1, &voxel, found);
        dm_volume_gather(gfa, 1, &voxel, &a);
        dm_volume_gather(reference, 1, &voxel, &b);
        assert_true(fabs(a - b) <= 1e-8);
        for (int k = 0; k < DM_SPHERE_COUNT; k++)
            most = fmax(most, fabs(row[k]));
        for (int k = 0; k < DM_SPHERE_COUNT; k++)
            assert_true(fabs(found[k] - row[k]) <= 1e-8 * most);
    }
    dm_volume_destroy(ours);
    dm_volume_destroy(gfa);
    dm_volume_destroy(reference);
    dmi_table_fini(&voxels);
    dmi_table_fini(&odf);
}

static void peaks_are_dipys(void **state)
{
    (void)state;
    dmi_table voxels, peaks;
    assert_ok(dmi_table_read(S64 "/csd_odf_vox.txt", &voxels));
    assert_ok(dmi_table_read(S64 "/csd_peaks.txt", &peaks));
    assert_runs(FIT(S64) "--response " S64 "/response.txt --float64 --peaks");
    assert_int_not_equal(access("out/csd_odf.nii.gz", F_OK), 0);
    dm_volume *ours = read_image("out/csd_peaks.nii.gz");
    assert_int_equal(ours->n_volumes, 15);
    for (size_t i = 0; i < voxels.n_rows; i++) {
        const double *at = voxels.values + 3 * i, *row = peaks.values + i * 21;
        const size_t voxel = (size_t)(at[0] + 10 * at[1] + 100 * at[2]);
        double v[15];
        dm_volume_gather(ours, 1, &voxel, v);
        for (int k = 0; k < 5; k++) {
            const double *w = row + 1 + 4 * k, *p = v + 3 * k;
            const double dot = p[0] * w[0] + p[1] * w[1] + p[2] * w[2];
            assert_true(fabs(fabs(dot) - w[3]) <= 1e-8 * row[4]);
        }
    }
    dm_volume_destroy(ours);
    dmi_table_fini(&voxels);
    dmi_table_fini(&peaks);
}

/* ---- in the scanner ---- */

/* Where the fibre of voxel i lies in the scanner. */
static const double *fibre(size_t i)
{
    return dm_sphere362()[(37 * i) % DM_SPHERE_COUNT];
}

enum { FIBRES = 24 };

/* Noise-free single fibres on a grid that lies at an angle, with the directions of s64. */
static void make_fibres(bool mirror, const dm_response *r)
{
    dm_gradients *g;
    dm_volume *dwi;
    const dm_grid grid = oblique_grid(mirror, FIBRES, 1, 1);
    assert_ok(dm_gradients_read(S64 "/dwi.bval", S64 "/dwi.bvec", &g));
    assert_ok(dm_volume_create(&grid, g->n_volumes, DM_VOLUME_F32, &dwi));
    for (size_t i = 0; i < FIBRES; i++) {
        double d[3];
        scanner_to_bvec(mirror, fibre(i), d);
        for (size_t t = 0; t < g->n_volumes; t++) {
            const double *v = g->g[t], along = v[0] * d[0] + v[1] * d[1] + v[2] * d[2];
            ((float *)dwi->data)[t * FIBRES + i] =
                (float)(r->s0 * exp(-g->b[t] *
                                    (r->evals[1] + (r->evals[0] - r->evals[1]) * along * along)));
        }
    }
    assert_ok(dm_volume_write(dwi, "dwi.nii", true));
    dm_volume_destroy(dwi);
    dm_gradients_destroy(g);
}

#define FIT_FIBRES                                                                                 \
    DM_BIN_DIR "/dm fit csd --engine serial --force --out out --dwi dwi.nii --bval " S64           \
               "/dwi.bval --bvec " S64 "/dwi.bvec --response " S64 "/response.txt --float64 "

/* |cosine| between the first peak of voxel i and v. */
static double first_peak_along(const dm_volume *peaks, size_t i, const double *v)
{
    double p[15];
    dm_volume_gather(peaks, 1, &i, p);
    const double length = sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]);
    return fabs(p[0] * v[0] + p[1] * v[1] + p[2] * v[2]) / length;
}

static void check_scanner_axes(bool mirror)
{
    dm_response r;
    assert_ok(dm_response_read(S64 "/response.txt", &r));
    make_fibres(mirror, &r);
    assert_runs(FIT_FIBRES "--peaks --basis tournier07");
    dm_volume *scanner = read_image("out/csd_peaks.nii.gz"), *sh = read_image("out/csd_sh.nii.gz");
    assert_runs(FIT_FIBRES "--peaks");
    dm_volume *bvec = read_image("out/csd_peaks.nii.gz");
    double *sphere = calloc(DM_SPHERE_COUNT * N, sizeof *sphere);
    assert_non_null(sphere);
    assert_ok(dm_sh_matrix(DM_SH_TOURNIER07, 8, DM_SPHERE_COUNT, dm_sphere362(), sphere));
    for (size_t i = 0; i < FIBRES; i++) {
        double d[3], c[N], odf[DM_SPHERE_COUNT];
        scanner_to_bvec(mirror, fibre(i), d);
        /* The fibre is one of the 362 directions in the scanner, so it is found exactly there... */
        assert_true(first_peak_along(scanner, i, fibre(i)) > 1 - 1e-6);
        /* ...and by the one next to it, at most 8 degrees away, in the other axes. */
        assert_true(first_peak_along(bvec, i, d) > cos(8 * M_PI / 180));
        dm_volume_gather(sh, 1, &i, c);
        dm_odf(1, N, c, DM_SPHERE_COUNT, sphere, odf);
        for (int k = 0; k < DM_SPHERE_COUNT; k++)
            assert_true(odf[k] <= odf[(37 * i) % DM_SPHERE_COUNT] * (1 + 1e-9));
    }
    free(sphere);
    dm_volume_destroy(scanner);
    dm_volume_destroy(bvec);
    dm_volume_destroy(sh);
}

static void tournier07_is_in_the_scanners_axes(void **state)
{
    (void)state;
    check_scanner_axes(false);
    check_scanner_axes(true);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(settings_reach_the_fit),
        CASE(a_mask_makes_the_response),
        CASE(shells_are_the_volumes_they_name),
        CASE(what_makes_no_sense_is_refused),
        CASE(densities_are_dipys),
        CASE(peaks_are_dipys),
        CASE(tournier07_is_in_the_scanners_axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
