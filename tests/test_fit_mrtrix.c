/*
 * test_fit_mrtrix.c - MRtrix3 reads our coefficients, and finds the fibres where its own CSD finds
 * them: on a grid that lies at an angle, with either sign of the affine's determinant.
 *
 * Values are not compared: MRtrix3 constrains other directions by another threshold. Skipped where
 * MRtrix3 is not installed (Debian: mrtrix3).
 */
#include "test_fit_shell.h"

#define HCP DM_TEST_DATA "/hcpsim_s"

enum { LMAX = 8 };

static bool have_mrtrix(void)
{
    if (shell("command -v dwi2fod && command -v sh2peaks") == 0)
        return true;
    print_message("skipped: MRtrix3 (dwi2fod, sh2peaks) is not installed; Debian has it as "
                  "mrtrix3\n");
    return false;
}

/* hcpsim_s on an oblique grid. Its values stay, so fibres turn with the grid. */
static void make_dwi(bool mirror)
{
    dm_volume *dwi = read_image(HCP "/dwi.nii.gz");
    const size_t *shape = dwi->grid.shape;
    dwi->grid = oblique_grid(mirror, shape[0], shape[1], shape[2]);
    assert_ok(dm_volume_write(dwi, "dwi.nii", false));
    dm_volume_destroy(dwi);
    dm_volume *mask = read_image(HCP "/mask.nii.gz");
    mask->grid =
        oblique_grid(mirror, mask->grid.shape[0], mask->grid.shape[1], mask->grid.shape[2]);
    assert_ok(dm_volume_write(mask, "mask.nii", false));
    dm_volume_destroy(mask);
}

/* Our response as MRtrix3's: the zonal harmonics of the fibre's signal at b, by Simpson's rule over
 * the cosine of the angle. */
static void write_response(double b)
{
    enum { STEPS = 2000 };
    dm_response r;
    assert_ok(dm_response_read(HCP "/response.txt", &r));
    double sum[LMAX / 2 + 1] = {0};
    for (int k = 0; k <= STEPS; k++) {
        const double c = -1 + 2.0 * k / STEPS;
        const double weight = (k == 0 || k == STEPS ? 1 : k % 2 ? 4 : 2) * 2.0 / STEPS / 3;
        const dm_vector v = {sqrt(fmax(0, 1 - c * c)), 0, c};
        double row[45];
        assert_ok(dm_sh_matrix(DM_SH_TOURNIER07, LMAX, 1, &v, row));
        const double signal = r.s0 * exp(-b * (r.evals[1] + (r.evals[0] - r.evals[1]) * c * c));
        for (int l = 0; l <= LMAX; l += 2)
            sum[l / 2] += 2 * M_PI * weight * signal * row[dm_sh_index(l, 0)];
    }
    FILE *file = fopen("response_mrtrix.txt", "w");
    assert_non_null(file);
    for (int l = 0; l <= LMAX; l += 2)
        fprintf(file, "%.10g ", sum[l / 2]);
    fprintf(file, "\n");
    fclose(file);
}

static double cosine(const double *a, const double *b)
{
    const double dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    return fabs(dot) / sqrt((a[0] * a[0] + a[1] * a[1] + a[2] * a[2]) *
                            (b[0] * b[0] + b[1] * b[1] + b[2] * b[2]));
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The angle in degrees between the first peaks that this share of the voxels does not exceed, over
 * voxels with a GFA of one fibre. */
static double angle_between(const char *one, const char *other, double share)
{
    dm_volume *a = read_image(one), *b = read_image(other);
    dm_volume *gfa = read_image("out/csd_gfa.nii.gz");
    double *angles = calloc(a->n_voxels, sizeof *angles);
    assert_non_null(angles);
    size_t n = 0;
    for (size_t i = 0; i < a->n_voxels; i++) {
        double p[15], q[15], g;
        dm_volume_gather(gfa, 1, &i, &g);
        if (g < 0.9)
            continue;
        dm_volume_gather(a, 1, &i, p);
        dm_volume_gather(b, 1, &i, q);
        angles[n++] = acos(fmin(1, cosine(p, q))) * 180 / M_PI;
    }
    assert_true(n > 100);
    qsort(angles, n, sizeof *angles, ascending);
    const double angle = angles[(size_t)(share * (double)(n - 1))];
    print_message("%s, %s: %g %% of %zu voxels within %.2f degrees\n", one, other, 100 * share, n,
                  angle);
    free(angles);
    dm_volume_destroy(a);
    dm_volume_destroy(b);
    dm_volume_destroy(gfa);
    return angle;
}

static void check(bool mirror)
{
    make_dwi(mirror);
    write_response(3000);
    assert_runs(DM_BIN_DIR "/dm fit csd --engine serial --out out --dwi dwi.nii --bval " HCP
                           "/dwi.bval --bvec " HCP "/dwi.bvec --mask mask.nii --shells 0,3000 "
                           "--response " HCP "/response.txt --basis tournier07 --peaks");
    assert_runs("dwiextract dwi.nii -fslgrad " HCP "/dwi.bvec " HCP "/dwi.bval -shells 0,3000 "
                "shell.mif -nthreads 0");
    assert_runs("dwi2fod csd shell.mif response_mrtrix.txt theirs.nii -mask mask.nii -lmax 8 "
                "-nthreads 0");
    assert_runs("sh2peaks out/csd_sh.nii.gz ours_peaks.nii -num 5 -nthreads 0");
    assert_runs("sh2peaks theirs.nii theirs_peaks.nii -num 5 -nthreads 0");
    /* A convention that is wrong turns most fibres by tens of degrees. */
    assert_true(angle_between("ours_peaks.nii", "theirs_peaks.nii", 0.5) < 2);
    assert_true(angle_between("ours_peaks.nii", "theirs_peaks.nii", 0.95) < 8);
    /* Our peaks are of 362 directions, some 8 degrees from one to the next. */
    assert_true(angle_between("out/csd_peaks.nii.gz", "ours_peaks.nii", 0.95) < 8);
}

static void peaks_agree_with_a_positive_determinant(void **state)
{
    (void)state;
    if (have_mrtrix())
        check(false);
    else
        skip();
}

static void peaks_agree_with_a_negative_determinant(void **state)
{
    (void)state;
    if (have_mrtrix())
        check(true);
    else
        skip();
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(peaks_agree_with_a_positive_determinant),
        CASE(peaks_agree_with_a_negative_determinant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
