/*
 * test_models_peaks.c - peaks are DIPY's on all golden densities, and what their rule says on
 * densities made for it.
 */
#include "models/table.h"
#include "test_models_golden.h"

enum { N = DM_SPHERE_COUNT };

static dmi_table read_table(const char *set, const char *file)
{
    dmi_table table;
    assert_dm_ok(dmi_table_read(golden_path(set, file), &table));
    return table;
}

/* `row`: how many, then x y z and the density of each. Opposite directions are the same. */
static void check_voxel(const double *odf, const double *row)
{
    dm_vector found[DM_PEAKS];
    double values[DM_PEAKS];
    dm_peaks(1, odf, NULL, found, values);
    for (int k = 0; k < DM_PEAKS; k++) {
        const double *peak = row + 1 + 4 * k;
        if (k >= (int)row[0]) {
            assert_true(values[k] == 0 && found[k][0] == 0 && found[k][1] == 0 && found[k][2] == 0);
            continue;
        }
        const double cosine = found[k][0] * peak[0] + found[k][1] * peak[1] + found[k][2] * peak[2];
        assert_true(fabs(cosine) > 1 - 1e-8);
        assert_true(fabs(values[k] - peak[3]) <= 1e-8 * fabs(row[4]));
    }
}

static void they_are_dipys(void **state)
{
    (void)state;
    for (int s = 0; s < GOLDEN_SETS; s++) {
        dmi_table odf = read_table(golden_names[s], "csd_odf362.txt");
        dmi_table peaks = read_table(golden_names[s], "csd_peaks.txt");
        assert_int_equal(odf.n_columns, N);
        assert_int_equal(peaks.n_columns, 1 + 4 * DM_PEAKS);
        assert_int_equal(peaks.n_rows, odf.n_rows);
        for (size_t i = 0; i < odf.n_rows; i++)
            check_voxel(odf.values + i * N, peaks.values + i * peaks.n_columns);
        dmi_table_fini(&odf);
        dmi_table_fini(&peaks);
    }
}

/* A sum of lobes along some of the 362 directions. */
static void make_odf(int n, const int *where, const double *height, double *odf)
{
    const dm_vector *v = dm_sphere362();
    for (int i = 0; i < N; i++) {
        odf[i] = 0;
        for (int k = 0; k < n; k++) {
            const double *w = v[where[k]];
            const double cosine = v[i][0] * w[0] + v[i][1] * w[1] + v[i][2] * w[2];
            odf[i] += height[k] * pow(cosine, 40);
        }
    }
}

static int count(const double *odf, const dm_peak_settings *settings)
{
    dm_vector found[DM_PEAKS];
    double values[DM_PEAKS];
    dm_peaks(1, odf, settings, found, values);
    int n = 0;
    for (int k = 0; k < DM_PEAKS; k++)
        n += values[k] != 0;
    return n;
}

static double angle(int i, int j)
{
    const dm_vector *v = dm_sphere362();
    return acos(fmin(1, fabs(v[i][0] * v[j][0] + v[i][1] * v[j][1] + v[i][2] * v[j][2]))) * 180 /
           M_PI;
}

static void small_lobes_are_left_out(void **state)
{
    (void)state;
    int other = 1;
    while (angle(0, other) < 80)
        other++;
    const int where[2] = {0, other};
    double odf[N];
    make_odf(2, where, (const double[2]){1, 0.6}, odf);
    assert_int_equal(count(odf, NULL), 2);
    make_odf(2, where, (const double[2]){1, 0.4}, odf);
    assert_int_equal(count(odf, NULL), 1);
    dm_peak_settings settings = dm_peak_defaults();
    settings.relative_threshold = 0.3;
    assert_int_equal(count(odf, &settings), 2);
}

static void near_lobes_are_one(void **state)
{
    (void)state;
    int other = 1;
    while (angle(0, other) < 40 || angle(0, other) > 45)
        other++;
    double odf[N];
    make_odf(2, (const int[2]){0, other}, (const double[2]){1, 0.9}, odf);
    assert_int_equal(count(odf, NULL), 2);
    dm_peak_settings settings = dm_peak_defaults();
    settings.min_separation = 50;
    assert_int_equal(count(odf, &settings), 1);
}

static void flat_negative_and_nan_have_none(void **state)
{
    (void)state;
    double odf[N] = {0};
    assert_int_equal(count(odf, NULL), 0);
    for (int i = 0; i < N; i++)
        odf[i] = -1 - i;
    assert_int_equal(count(odf, NULL), 0);
    for (int i = 0; i < N; i++)
        odf[i] = NAN;
    assert_int_equal(count(odf, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_dipys),
        cmocka_unit_test(small_lobes_are_left_out),
        cmocka_unit_test(near_lobes_are_one),
        cmocka_unit_test(flat_negative_and_nan_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
