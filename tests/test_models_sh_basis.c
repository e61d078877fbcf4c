/*
 * test_models_sh_basis.c - the spherical harmonics are an orthonormal basis, are DIPY's, and are
 * what their closed forms say.
 */
#include "test_models_golden.h"

enum { NODES = 14, TURNS = 32, LMAX = DM_SH_MAX_ORDER };

/* Nodes and weights of Gauss and Legendre on -1..1, by Newton from the usual first guess; exact for
 * polynomials up to degree 2 NODES - 1. */
static void gauss_legendre(double *nodes, double *weights)
{
    for (int i = 0; i < NODES; i++) {
        double x = cos(M_PI * (i + 0.75) / (NODES + 0.5)), slope = 0;
        for (int step = 0; step < 100; step++) {
            double before = 1, p = x;
            for (int l = 2; l <= NODES; l++) {
                const double next = ((2 * l - 1) * x * p - (l - 1) * before) / l;
                before = p;
                p = next;
            }
            slope = NODES * (x * p - before) / (x * x - 1);
            x -= p / slope;
        }
        nodes[i] = x;
        weights[i] = 2 / ((1 - x * x) * slope * slope);
    }
}

static void basis_is_orthonormal(void **state)
{
    (void)state;
    double nodes[NODES], weights[NODES];
    gauss_legendre(nodes, weights);
    const size_t n = dm_sh_count(LMAX), points = NODES * TURNS;
    dm_vector *directions = golden_alloc(points, sizeof *directions);
    double *matrix = golden_alloc(points * n, sizeof *matrix);
    for (int i = 0; i < NODES; i++)
        for (int t = 0; t < TURNS; t++) {
            const double s = sqrt(1 - nodes[i] * nodes[i]), phi = 2 * M_PI * t / TURNS;
            const dm_vector v = {s * cos(phi), s * sin(phi), nodes[i]};
            memcpy(directions[i * TURNS + t], v, sizeof v);
        }
    assert_dm_ok(dm_sh_matrix(DM_SH_DESCOTEAUX07_LEGACY, LMAX, points,
                              (const dm_vector *)directions, matrix));
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b <= a; b++) {
            double product = 0;
            for (size_t k = 0; k < points; k++)
                product +=
                    weights[k / TURNS] * 2 * M_PI / TURNS * matrix[k * n + a] * matrix[k * n + b];
            assert_true(fabs(product - (a == b)) < 1e-12);
        }
    free(directions);
    free(matrix);
}

static void closed_forms(void **state)
{
    (void)state;
    const double x = 0.36, y = -0.48, z = 0.8;
    const dm_vector v = {x, y, z};
    double row[6];
    assert_dm_ok(dm_sh_matrix(DM_SH_DESCOTEAUX07_LEGACY, 2, 1, &v, row));
    const double a = sqrt(15 / (16 * M_PI)), b = sqrt(15 / (4 * M_PI));
    const double expected[6] = {sqrt(1 / (4 * M_PI)), a * (x * x - y * y),
                                -b * x * z,           sqrt(5 / (16 * M_PI)) * (3 * z * z - 1),
                                -b * y * z,           2 * a * x * y};
    for (int j = 0; j < 6; j++)
        assert_true(fabs(row[j] - expected[j]) < 1e-15);
}

static void only_angles_matter(void **state)
{
    (void)state;
    const dm_vector v[2] = {{0.1, -0.7, 0.3}, {100, -700, 300}};
    double rows[2][GOLDEN_COEFFICIENTS];
    assert_dm_ok(dm_sh_matrix(DM_SH_DESCOTEAUX07_LEGACY, 8, 2, v, rows[0]));
    for (int j = 0; j < GOLDEN_COEFFICIENTS; j++)
        assert_true(fabs(rows[0][j] - rows[1][j]) < 1e-14);
}

static void matches_dipy(void **state)
{
    (void)state;
    static const char *const sets[] = {"s64", "hcpsim_s"};
    for (int s = 0; s < 2; s++) {
        golden g = golden_open(sets[s]);
        dmi_table b_dwi;
        assert_dm_ok(dmi_table_read(golden_path(sets[s], "csd_model/B_dwi.txt"), &b_dwi));
        assert_int_equal(b_dwi.n_rows, g.gradients->n_dwi);
        assert_int_equal(b_dwi.n_columns, GOLDEN_COEFFICIENTS);
        for (size_t i = 0; i < g.gradients->n_dwi; i++) {
            double row[GOLDEN_COEFFICIENTS];
            assert_dm_ok(dm_sh_matrix(DM_SH_DESCOTEAUX07_LEGACY, 8, 1,
                                      (const dm_vector *)&g.gradients->g[g.gradients->dwi[i]],
                                      row));
            for (int j = 0; j < GOLDEN_COEFFICIENTS; j++)
                assert_true(fabs(row[j] - b_dwi.values[i * GOLDEN_COEFFICIENTS + (size_t)j]) <
                            1e-13);
        }
        dmi_table_fini(&b_dwi);
        golden_close(&g);
    }
}

static void counts_and_places(void **state)
{
    (void)state;
    assert_int_equal(dm_sh_count(0), 1);
    assert_int_equal(dm_sh_count(8), 45);
    assert_int_equal(dm_sh_count(12), 91);
    assert_int_equal(dm_sh_count(7), 0);
    assert_int_equal(dm_sh_count(14), 0);
    assert_int_equal(dm_sh_count(-2), 0);
    size_t next = 0;
    for (int l = 0; l <= LMAX; l += 2)
        for (int m = -l; m <= l; m++)
            assert_int_equal(dm_sh_index(l, m), next++);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    double row[GOLDEN_COEFFICIENTS];
    const dm_vector z = {0, 0, 1}, zero = {0, 0, 0}, nan = {0, NAN, 1};
    assert_dm_error(dm_sh_matrix(DM_SH_DESCOTEAUX07_LEGACY, 3, 1, &z, row), DM_ERR_INVALID,
                    "order 3");
    assert_dm_error(dm_sh_matrix(DM_SH_DESCOTEAUX07_LEGACY, 8, 1, &zero, row), DM_ERR_INVALID,
                    "vector 0");
    assert_dm_error(dm_sh_matrix(DM_SH_DESCOTEAUX07_LEGACY, 8, 1, &nan, row), DM_ERR_INVALID,
                    "nan");
    assert_dm_error(dm_sh_matrix((dm_sh_basis)2, 8, 1, &z, row), DM_ERR_INVALID, "basis 2");
}

static void check_sphere(const char *file, size_t n, const dm_vector *sphere)
{
    dmi_table table;
    assert_dm_ok(dmi_table_read(golden_path(".", file), &table));
    assert_int_equal(table.n_values, 3 * n);
    assert_memory_equal(table.values, sphere, 3 * n * sizeof(double));
    dmi_table_fini(&table);
}

static void spheres_are_dipys(void **state)
{
    (void)state;
    check_sphere("symmetric362.txt", DM_SPHERE_COUNT, dm_sphere362());
    check_sphere("hemisphere181.txt", DM_HEMISPHERE_COUNT, dm_hemisphere181());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(basis_is_orthonormal), cmocka_unit_test(closed_forms),
        cmocka_unit_test(only_angles_matter),   cmocka_unit_test(matches_dipy),
        cmocka_unit_test(counts_and_places),    cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(spheres_are_dipys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
