/*
 * test_models_symmetric.c - the small matrices of the fits: what is factored solves, what is
 * diagonalised is put together again, the pseudo-inverse is LAPACK's; and steps of a trust region
 * are as long as allowed and as good as any of that length.
 */
#include "test_models_golden.h"

#include "models/linalg.h"
#include "models/symmetric.h"
#include "models/trust_region.h"

enum { N = 8 };

/* Numbers from -1 to 1, the same in each run. */
static double random_number(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) * 0x1p-52 - 1;
}

/* B^T B of a random `rank` x n, so of this rank; sizes of columns over 2 * `decades` powers of ten. */
static void random_gram(int n, int rank, double decades, double *a)
{
    double b[N][N], size[N];
    for (int j = 0; j < n; j++)
        size[j] = pow(10, decades * random_number());
    for (int i = 0; i < rank; i++)
        for (int j = 0; j < n; j++)
            b[i][j] = size[j] * random_number();
    for (int j = 0; j < n; j++)
        for (int k = 0; k < n; k++) {
            a[j * N + k] = 0;
            for (int i = 0; i < rank; i++)
                a[j * N + k] += b[i][j] * b[i][k];
        }
}

static double largest(int n, const double *x)
{
    double most = 0;
    for (int k = 0; k < n; k++)
        most = fmax(most, fabs(x[k]));
    return most;
}

static void factors_solve(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        const int n = 1 + round % N;
        double a[N * N], x[N], y[N];
        dmi_factor factor;
        random_gram(n, N, 3, a);
        for (int j = 0; j < n; j++)
            x[j] = random_number() / sqrt(a[j * N + j]);
        for (int j = 0; j < n; j++) {
            y[j] = 0;
            for (int k = 0; k < n; k++)
                y[j] += a[j * N + k] * x[k];
        }
        double form = 0;
        for (int j = 0; j < n; j++)
            form += x[j] * y[j];
        assert_true(dmi_symmetric_factor(n, N, a, 0, 1e-14, &factor));
        assert_true(fabs(dmi_factor_inverse_form(&factor, y) / form - 1) < 1e-9);
        dmi_factor_solve(&factor, y);
        for (int j = 0; j < n; j++)
            assert_true(fabs(y[j] - x[j]) * sqrt(a[j * N + j]) < 1e-6);
    }
}

static void singular_matrices_have_no_factor(void **state)
{
    (void)state;
    double a[N * N];
    dmi_factor factor;
    random_gram(5, 3, 3, a);
    assert_false(dmi_symmetric_factor(5, N, a, 0, 1e-12, &factor));
    assert_true(dmi_symmetric_factor(5, N, a, largest(1, a), 1e-12, &factor));
    memset(a, 0, sizeof a);
    assert_false(dmi_symmetric_factor(5, N, a, 0, 0, &factor));
    a[0] = NAN;
    assert_false(dmi_symmetric_factor(5, N, a, 1, 0, &factor));
    a[0] = INFINITY;
    assert_false(dmi_symmetric_factor(5, N, a, 1, 0, &factor));
}

static void check_eigen(int n, const double *a)
{
    double values[N], v[N * N];
    assert_true(dmi_symmetric_eigen(n, N, a, values, v));
    const double size = fmax(fabs(values[0]), fabs(values[n - 1]));
    for (int i = 0; i < n; i++) {
        assert_true(i == 0 || values[i - 1] >= values[i]);
        for (int j = 0; j < n; j++) {
            double product = 0, again = 0;
            for (int k = 0; k < n; k++) {
                product += v[k * n + i] * v[k * n + j];
                again += v[i * n + k] * values[k] * v[j * n + k];
            }
            assert_true(fabs(product - (i == j)) < 1e-14 * N);
            assert_true(fabs(again - a[i > j ? i * N + j : j * N + i]) <= 1e-14 * N * size);
        }
    }
}

static void eigenvectors_put_the_matrix_together(void **state)
{
    (void)state;
    double a[N * N];
    for (int round = 0; round < 200; round++) {
        const int n = 1 + round % N;
        random_gram(n, 1 + round / N % n, 3, a);
        check_eigen(n, a);
        for (int k = 0; k < N * N; k++)
            a[k] = random_number();
        check_eigen(n, a);
    }
    memset(a, 0, sizeof a);
    check_eigen(3, a);
    a[N] = 1; /* equal diagonal elements */
    check_eigen(3, a);
    a[2 * N + 1] = NAN;
    double values[N], v[N * N];
    assert_false(dmi_symmetric_eigen(3, N, a, values, v));
}

/* On matrices of full and of lower rank, against the singular value decomposition of LAPACK. */
static void the_pseudo_inverse_is_lapacks(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        const int n = 7, rank = 1 + round % n;
        double a[N * N], inverse[49], copy[49], x[N], y[N];
        random_gram(n, rank, 3, a);
        assert_true(dmi_symmetric_pseudo_inverse(n, N, a, 1e-13, inverse));
        for (int column = 0; column < n; column++) {
            for (int j = 0; j < n; j++) {
                y[j] = j == column;
                for (int k = 0; k < n; k++)
                    copy[j * n + k] = a[j * N + k];
            }
            assert_true(dmi_least_squares(n, n, copy, y, 1e-13, x));
            for (int j = 0; j < n; j++)
                assert_true(fabs(x[j] - inverse[j * n + column]) <= 1e-4 * largest(49, inverse));
        }
    }
}

/* g^T x + x^T H x / 2, full H. */
static double model_at(int n, const double *h, const double *g, const double *x)
{
    double sum = 0;
    for (int j = 0; j < n; j++) {
        sum += g[j] * x[j];
        for (int k = 0; k < n; k++)
            sum += x[j] * h[j * N + k] * x[k] / 2;
    }
    return sum;
}

static double length(int n, const double *x)
{
    double sum = 0;
    for (int k = 0; k < n; k++)
        sum += x[k] * x[k];
    return sqrt(sum);
}

static void check_step(int n, const double *h, const double *g, double radius)
{
    double step[N], other[N], par = 0;
    assert_true(dmi_trust_region_step(n, h, g, radius, &par, step));
    const double reached = model_at(n, h, g, step), is = length(n, step);
    assert_true(is <= 1.1 * radius * (1 + 1e-12));
    assert_true(par == 0 || is >= 0.9 * radius * (1 - 1e-12));
    for (int k = 0; k < n; k++) {
        double sum = par * step[k] + g[k];
        for (int j = 0; j < n; j++)
            sum += h[k * N + j] * step[j];
        assert_true(fabs(sum) <= 1e-8 * length(n, g));
    }
    for (int tries = 0; tries < 50; tries++) {
        for (int k = 0; k < n; k++)
            other[k] = step[k] + 0.1 * is * random_number();
        const double stretch = fmin(1, is / length(n, other));
        for (int k = 0; k < n; k++)
            other[k] *= stretch;
        assert_true(model_at(n, h, g, other) >= reached - 1e-9 * fabs(reached));
    }
}

static void steps_are_the_best_of_their_length(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        const int n = 1 + round % N;
        double h[N * N], g[N];
        random_gram(n, N, 0.5, h);
        for (int j = 0; j < n; j++) {
            h[j * N + j] += 0.1;
            g[j] = random_number();
        }
        for (double radius = 1e-6; radius < 1e4; radius *= 10)
            check_step(n, h, g, radius);
    }
}

static void a_step_without_numbers_is_none(void **state)
{
    (void)state;
    double h[N * N] = {[0] = NAN, [N + 1] = 1}, g[N] = {1, 1}, step[N], par = 0;
    assert_false(dmi_trust_region_step(2, h, g, 1, &par, step));
    double singular[N * N] = {[0] = 1, [N] = 1, [N + 1] = 1};
    par = 0;
    assert_true(dmi_trust_region_step(2, singular, g, 1e3, &par, step));
    assert_true(isfinite(step[0]) && step[0] < 0 && length(2, step) <= 1.1e3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_solve),
        cmocka_unit_test(singular_matrices_have_no_factor),
        cmocka_unit_test(eigenvectors_put_the_matrix_together),
        cmocka_unit_test(the_pseudo_inverse_is_lapacks),
        cmocka_unit_test(steps_are_the_best_of_their_length),
        cmocka_unit_test(a_step_without_numbers_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
