/*
 * test_models_sh_change.c - a density stays the same function when its coefficients change basis and
 * axes, and the axes it changes to are the scanner's.
 */
#include "test_models_golden.h"

enum { MOST = 91, N_DIRECTIONS = 50 };

static double next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)*seed / 9223372036854775808.0;
}

static void turn(const double r[3][3], const double *v, double *turned)
{
    for (int i = 0; i < 3; i++)
        turned[i] = r[i][0] * v[0] + r[i][1] * v[1] + r[i][2] * v[2];
}

/* About x by `a`, then about z by `b`; x reversed before that if `mirror`. */
static void make_rotation(double a, double b, bool mirror, double r[3][3])
{
    const double m[3][3] = {
        {cos(b), -sin(b) * cos(a), sin(b) * sin(a)},
        {sin(b), cos(b) * cos(a), -cos(b) * sin(a)},
        {0, sin(a), cos(a)},
    };
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            r[i][j] = j == 0 && mirror ? -m[i][j] : m[i][j];
}

static double density(dm_sh_basis basis, int lmax, const double *c, const dm_vector *direction)
{
    double row[MOST], sum = 0;
    assert_dm_ok(dm_sh_matrix(basis, lmax, 1, direction, row));
    for (size_t j = 0; j < dm_sh_count(lmax); j++)
        sum += row[j] * c[j];
    return sum;
}

static void check_change(dm_sh_basis from, dm_sh_basis to, int lmax, const double r[3][3])
{
    const size_t n = dm_sh_count(lmax);
    double *matrix = golden_alloc(n * n, sizeof *matrix), c[MOST], changed[MOST];
    uint64_t seed = 7;
    for (size_t j = 0; j < n; j++)
        c[j] = next_random(&seed);
    assert_dm_ok(dm_sh_change(from, to, lmax, r, matrix));
    dm_odf(1, n, c, n, matrix, changed);
    for (int k = 0; k < N_DIRECTIONS; k++) {
        const dm_vector v = {next_random(&seed), next_random(&seed), next_random(&seed)};
        dm_vector turned = {v[0], v[1], v[2]};
        if (r)
            turn(r, v, turned);
        assert_true(fabs(density(from, lmax, c, &v) - density(to, lmax, changed, &turned)) < 1e-11);
    }
    free(matrix);
}

static void it_stays_the_same_function(void **state)
{
    (void)state;
    const dm_sh_basis ours = DM_SH_DESCOTEAUX07_LEGACY, theirs = DM_SH_TOURNIER07;
    for (int lmax = 0; lmax <= DM_SH_MAX_ORDER; lmax += 2)
        for (int k = 0; k < 4; k++) {
            double r[3][3];
            make_rotation(0.3 + k, 1.1 * k, k % 2, r);
            check_change(ours, theirs, lmax, r);
            check_change(theirs, ours, lmax, r);
            check_change(ours, ours, lmax, r);
            check_change(ours, theirs, lmax, NULL);
            check_change(theirs, theirs, lmax, NULL);
        }
}

/* MRtrix3's definition: sqrt2 Re(Y_l^m) for m > 0, sqrt2 Im(Y_l^-m) for m < 0, here at l = 2, with
 * Y_2^1 = -sqrt(15 / 8 pi) sin cos e^(i phi), Y_2^2 = sqrt(15 / 32 pi) sin^2 e^(2 i phi). */
static void tournier07_is_mrtrixs(void **state)
{
    (void)state;
    const double theta = 0.7, phi = 2.1, s = sin(theta), c = cos(theta);
    const dm_vector v = {s * cos(phi), s * sin(phi), c};
    double row[6];
    assert_dm_ok(dm_sh_matrix(DM_SH_TOURNIER07, 2, 1, &v, row));
    const double one = -sqrt(15 / (8 * M_PI)) * s * c * sqrt(2);
    const double two = sqrt(15 / (32 * M_PI)) * s * s * sqrt(2);
    const double expected[6] = {sqrt(1 / (4 * M_PI)), two * sin(2 * phi),
                                one * sin(phi),       sqrt(5 / (16 * M_PI)) * (3 * c * c - 1),
                                one * cos(phi),       two * cos(2 * phi)};
    for (int j = 0; j < 6; j++)
        assert_true(fabs(row[j] - expected[j]) < 1e-14);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    double matrix[36];
    const double sheared[3][3] = {{1, 0.1, 0}, {0, 1, 0}, {0, 0, 1}};
    const double nan[3][3] = {{NAN, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    const dm_sh_basis b = DM_SH_TOURNIER07;
    assert_dm_error(dm_sh_change(b, b, 2, sheared, matrix), DM_ERR_INVALID, "not orthogonal");
    assert_dm_error(dm_sh_change(b, b, 2, nan, matrix), DM_ERR_INVALID, "not orthogonal");
    assert_dm_error(dm_sh_change(b, (dm_sh_basis)2, 2, NULL, matrix), DM_ERR_INVALID, "basis 2");
    assert_dm_error(dm_sh_change(b, b, 3, NULL, matrix), DM_ERR_INVALID, "order 3");
}

/* ---- scanner axes ---- */

static void assert_near(const double r[3][3], const double expected[3][3])
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            if (fabs(r[i][j] - expected[i][j]) > 1e-6)
                fail_msg("row %d, column %d: %g, not %g", i, j, r[i][j], expected[i][j]);
}

static dm_grid sform_grid(const double axes[3][3], const double sizes[3])
{
    dm_grid grid = {.shape = {1, 1, 1}, .pixdim = {1, 2, 2, 2}, .sform_code = 1};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            grid.sform[i][j] = (float)(axes[i][j] * sizes[j]);
    return grid;
}

/* With a positive determinant FSL's x runs against the voxel axis, with a negative one along it. */
static void an_sform_is_turned_and_flipped(void **state)
{
    (void)state;
    const double sizes[3] = {1.5, 2, 3};
    for (int mirror = 0; mirror < 2; mirror++) {
        double axes[3][3], expected[3][3], found[3][3];
        make_rotation(0.4, -0.2, mirror, axes);
        make_rotation(0.4, -0.2, true, expected); /* mirrored by the image, or else by FSL */
        dm_grid grid = sform_grid((const double(*)[3])axes, sizes);
        assert_dm_ok(dm_grid_bvec_to_scanner(&grid, found));
        assert_near((const double(*)[3])found, (const double(*)[3])expected);
    }
}

/* The quaternion of a turn by a about x is (cos a/2, sin a/2, 0, 0); qfac -1 reverses z. */
static void a_qform_is_used_without_an_sform(void **state)
{
    (void)state;
    const double a = 0.6, c = cos(a), s = sin(a);
    dm_grid grid = {.shape = {1, 1, 1},
                    .pixdim = {1, 2, 2, 2},
                    .qform_code = 1,
                    .quaternion = {(float)sin(a / 2), 0, 0}};
    double found[3][3];
    assert_dm_ok(dm_grid_bvec_to_scanner(&grid, found));
    assert_near((const double(*)[3])found, (const double[3][3]){{-1, 0, 0}, {0, c, -s}, {0, s, c}});
    grid.pixdim[0] = -1;
    assert_dm_ok(dm_grid_bvec_to_scanner(&grid, found));
    assert_near((const double(*)[3])found, (const double[3][3]){{1, 0, 0}, {0, c, s}, {0, s, -c}});
}

static void without_a_form_the_axes_are_the_voxels(void **state)
{
    (void)state;
    dm_grid grid = {.shape = {1, 1, 1}, .pixdim = {1, 2, 2, 2}};
    double found[3][3];
    assert_dm_ok(dm_grid_bvec_to_scanner(&grid, found));
    assert_near((const double(*)[3])found, (const double[3][3]){{-1, 0, 0}, {0, 1, 0}, {0, 0, 1}});
}

static void a_shear_gives_the_nearest_rotation(void **state)
{
    (void)state;
    const double sizes[3] = {2, 2, 2}, sheared[3][3] = {{1, 0.02, 0}, {0, 1, 0}, {0, 0, 1}};
    dm_grid grid = sform_grid(sheared, sizes);
    double r[3][3];
    assert_dm_ok(dm_grid_bvec_to_scanner(&grid, r));
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const double dot = r[0][i] * r[0][j] + r[1][i] * r[1][j] + r[2][i] * r[2][j];
            assert_true(fabs(dot - (i == j)) < 1e-12);
        }
    assert_true(fabs(r[0][1] - 0.01) < 1e-3 && fabs(r[1][0] - 0.01) < 1e-3);
}

static void a_flat_affine_is_refused(void **state)
{
    (void)state;
    const double sizes[3] = {2, 2, 2}, flat[3][3] = {{1, 1, 0}, {0, 0, 0}, {0, 0, 1}};
    dm_grid grid = sform_grid(flat, sizes);
    double r[3][3];
    assert_dm_error(dm_grid_bvec_to_scanner(&grid, r), DM_ERR_INVALID, "determinant");
    memset(grid.sform, 0, sizeof grid.sform);
    assert_dm_error(dm_grid_bvec_to_scanner(&grid, r), DM_ERR_INVALID, "determinant");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_stays_the_same_function),
        cmocka_unit_test(tournier07_is_mrtrixs),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(an_sform_is_turned_and_flipped),
        cmocka_unit_test(a_qform_is_used_without_an_sform),
        cmocka_unit_test(without_a_form_the_axes_are_the_voxels),
        cmocka_unit_test(a_shear_gives_the_nearest_rotation),
        cmocka_unit_test(a_flat_affine_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
