/*
 * test_models_fwdti_cholesky.c - Cholesky factors of a tensor: there and back, never an indefinite
 * tensor, normal equations by the chain rule; and what the fit gains by them.
 */
#include "test_models_fwdti.h"

#include "models/fwdti.h"
#include "models/symmetric.h"

enum { T = DMI_FWDTI_TENSOR, N = DMI_FWDTI_UNKNOWNS, DRAWS = 200 };

/* -1 to 1, the same in every run. */
static double draw(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 33) / (double)(1u << 30) - 1;
}

static void draw_all(int n, double *x)
{
    for (int k = 0; k < n; k++)
        x[k] = draw();
}

static double least_eigenvalue(const double *d)
{
    const double matrix[9] = {d[0], 0, 0, d[1], d[2], 0, d[3], d[4], d[5]};
    double values[3], vectors[9];
    assert_true(dmi_symmetric_eigen(3, 3, matrix, values, vectors));
    return values[2];
}

static void any_factors_give_a_tensor(void **state)
{
    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        double r[T], d[T];
        draw_all(T, r);
        r[i % T] *= i % 2;
        dmi_fwdti_from_cholesky(r, d);
        assert_true(least_eigenvalue(d) >= -1e-15);
    }
}

static void factors_are_of_their_tensor(void **state)
{
    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        double r[T], d[T], again[T], back[T];
        draw_all(T, r);
        for (int k = 0; k < 3; k++)
            r[k] = 0.02 + fabs(r[k]);
        dmi_fwdti_from_cholesky(r, d);
        dmi_fwdti_to_cholesky(d, again);
        dmi_fwdti_from_cholesky(again, back);
        for (int k = 0; k < T; k++) {
            assert_true(fabs(again[k] - r[k]) < 1e-9);
            assert_true(fabs(back[k] - d[k]) < 1e-13);
        }
    }
}

/* Tensors clipped at 0: of each rank below 3, along axes and in between. */
static void factors_of_singular_tensors_are_near(void **state)
{
    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        double v[2][3], d[T], r[T], back[T];
        draw_all(6, v[0]);
        for (int k = 0; k < 3; k++) {
            v[0][k] *= 0.03 * (i % 3 > 0) * (i % 5 != k);
            v[1][k] *= 0.03 * (i % 3 > 1);
        }
        for (int j = 0, at = 0; j < 3; j++)
            for (int k = 0; k <= j; k++)
                d[at++] = v[0][j] * v[0][k] + v[1][j] * v[1][k];
        dmi_fwdti_to_cholesky(d, r);
        dmi_fwdti_from_cholesky(r, back);
        for (int k = 0; k < 3; k++)
            assert_true(r[k] > 0);
        static const int diagonal[3] = {0, 2, 5};
        for (int k = 0; k < 3; k++)
            assert_true(isfinite(back[diagonal[k]]) && back[diagonal[k]] >= d[diagonal[k]] - 1e-15);
    }
}

/* A row of the Jacobian by D, and the same one by R, from differences of D(R). */
static void turn(const double *r, const double *by_d, double *by_r)
{
    const double h = 1e-4;
    memcpy(by_r, by_d, N * sizeof *by_r);
    for (int k = 0; k < T; k++) {
        double up[T], down[T], d_up[T], d_down[T];
        memcpy(up, r, sizeof up);
        memcpy(down, r, sizeof down);
        up[k] += h;
        down[k] -= h;
        dmi_fwdti_from_cholesky(up, d_up);
        dmi_fwdti_from_cholesky(down, d_down);
        by_r[k] = 0;
        for (int j = 0; j < T; j++)
            by_r[k] += by_d[j] * (d_up[j] - d_down[j]) / (2 * h);
    }
}

static void add_row(dmi_fwdti_normal *to, const double *row, double residual)
{
    for (int j = 0; j < N; j++) {
        to->g[j] += row[j] * residual;
        for (int k = 0; k <= j; k++)
            to->h[j][k] += row[j] * row[k];
    }
}

static void normal_equations_follow_the_chain_rule(void **state)
{
    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        enum { ROWS = 12 };
        dmi_fwdti_normal found = {0}, expected = {0};
        double r[T];
        draw_all(T, r);
        for (int row = 0; row < ROWS; row++) {
            double by_d[N], by_r[N];
            const double residual = draw();
            draw_all(N, by_d);
            turn(r, by_d, by_r);
            add_row(&found, by_d, residual);
            add_row(&expected, by_r, residual);
        }
        dmi_fwdti_by_cholesky(r, &found);
        for (int j = 0; j < N; j++) {
            assert_true(fabs(found.g[j] - expected.g[j]) < 1e-9);
            for (int k = 0; k <= j; k++)
                assert_true(fabs(found.h[j][k] - expected.h[j][k]) < 1e-9);
        }
    }
}

/*
 * Where the plain fit ends with a negative eigenvalue, setting it to 0 leaves a tensor that nobody
 * fitted. The factors cannot get there, and fit better.
 */
static void clipped_voxels_fit_better(void **state)
{
    (void)state;
    best_isa();
    golden g = golden_open("hcpsim_s");
    double *plain = water_fit_with(&g, water_options(false, false));
    double *factors = water_fit_with(&g, water_options(true, false));
    size_t clipped = 0, better = 0;
    for (size_t i = 0; i < g.n; i++) {
        const double *p = plain + i * P, *c = factors + i * P;
        assert_true(isfinite(c[F]) && c[0] >= c[1] && c[1] >= c[2] && c[2] >= 0);
        if (p[2] > 0 || p[0] == 0 || p[F] >= 0.99)
            continue;
        const double with = water_squares(&g, i, c), without = water_squares(&g, i, p);
        clipped++;
        better += with < without * (1 - 1e-6);
        assert_true(with <= without * (1 + 1e-4));
    }
    print_message("%zu clipped voxels, %zu of them fit better by factors\n", clipped, better);
    assert_true(clipped > 0 && 2 * better > clipped);
    free(plain);
    free(factors);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_factors_give_a_tensor),
        cmocka_unit_test(factors_are_of_their_tensor),
        cmocka_unit_test(factors_of_singular_tensors_are_near),
        cmocka_unit_test(normal_equations_follow_the_chain_rule),
        cmocka_unit_test(clipped_voxels_fit_better),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
