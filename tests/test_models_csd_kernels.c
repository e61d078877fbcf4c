/*
 * test_models_csd_kernels.c - the kernels for all instruction sets compute the same thing: what the
 * plain one computes, and that is what a textbook computes.
 */
#include "test_models_golden.h"

#include "models/csd.h"

enum { MOST = 91, ORDERS = 6, VOXELS = 300 };
static const int orders[ORDERS] = {2, 4, 6, 8, 10, 12};

/* ---- all of CSD ---- */

typedef struct result {
    double *coefficients;
    int32_t *iterations;
} result;

static result fit_with(dmi_isa isa, const golden *g, int lmax)
{
    dm_csd_settings settings = dm_csd_defaults();
    settings.lmax = lmax;
    dm_csd *model;
    dm_csd_workspace *workspace;
    setenv("DM_ISA", dmi_isa_name(isa), 1);
    assert_dm_ok(dm_csd_create(&settings, g->gradients, &g->response, &model));
    assert_ptr_equal(model->kernel, dmi_csd_kernel_for(isa));
    assert_dm_ok(dm_csd_workspace_create(model, &workspace));
    result r = {golden_alloc(VOXELS * dm_sh_count(lmax), sizeof(double)),
                golden_alloc(VOXELS, sizeof(int32_t))};
    assert_dm_ok(dm_csd_fit(model, workspace, VOXELS, g->signals, r.coefficients, r.iterations));
    dm_csd_workspace_destroy(workspace);
    dm_csd_destroy(model);
    return r;
}

static double greatest(size_t n, const double *v)
{
    double most = 0;
    for (size_t k = 0; k < n; k++)
        most = fmax(most, fabs(v[k]));
    return most;
}

/* The bounds of tests/data/README.md, though kernels are far nearer to each other. */
static void compare(const golden *g, int lmax, dmi_isa isa, const result *plain)
{
    const size_t n = dm_sh_count(lmax);
    result r = fit_with(isa, g, lmax);
    size_t off = 0, counts = 0;
    double worst = 0;
    for (size_t i = 0; i < VOXELS; i++) {
        const double *a = r.coefficients + i * n, *b = plain->coefficients + i * n;
        double apart = 0;
        for (size_t j = 0; j < n; j++)
            apart = fmax(apart, fabs(a[j] - b[j]));
        apart /= greatest(n, b);
        worst = fmax(worst, apart);
        off += apart > 1e-8;
        counts += r.iterations[i] != plain->iterations[i];
    }
    print_message("%s, lmax %d, %s: worst %.1e\n", g->name, lmax, dmi_isa_name(isa), worst);
    assert_true((double)off <= 0.001 * VOXELS);
    assert_true((double)counts <= 0.001 * VOXELS);
    free(r.coefficients);
    free(r.iterations);
}

static void every_kernel_fits_like_the_plain_one(void **state)
{
    (void)state;
    unsetenv("DM_ISA");
    const dmi_isa best = dmi_isa_best();
    golden g = golden_open("hcpsim_s");
    for (int k = 0; k < ORDERS; k++) {
        result plain = fit_with(DMI_ISA_PLAIN, &g, orders[k]);
        for (dmi_isa isa = DMI_ISA_AVX2; isa <= best; isa++)
            compare(&g, orders[k], isa, &plain);
        free(plain.coefficients);
        free(plain.iterations);
    }
    golden_close(&g);
    unsetenv("DM_ISA");
}

/* ---- the parts, against loops as in a textbook ---- */

/* A positive definite matrix of rows that nobody would call well conditioned, its solution f, and
 * z = Q f; in memory as the kernels want it. */
typedef struct equation {
    size_t n, n_rows, stride;
    double *rows, *q, *u, *inverse, *scratch, *f, *found;
    double *memory;
    const double *list[2 * MOST];
} equation;

static double next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)*seed / 9223372036854775808.0;
}

static equation equation_make(size_t n)
{
    equation e = {.n = n, .n_rows = 2 * n, .stride = (n / 8 + 1) * 8};
    const size_t square = e.stride * e.stride;
    const dmi_csd_array arrays[] = {
        {&e.rows, e.n_rows * e.stride}, {&e.q, square},   {&e.u, square},
        {&e.inverse, e.stride},         {&e.f, e.stride}, {&e.scratch, e.stride * DMI_CSD_WIDEST},
        {&e.found, e.stride},
    };
    e.memory = dmi_csd_allocate(sizeof arrays / sizeof *arrays, arrays);
    assert_non_null(e.memory);
    uint64_t seed = 1;
    for (size_t k = 0; k < e.n_rows; k++) {
        e.list[k] = e.rows + k * e.stride;
        for (size_t j = 0; j < n; j++)
            e.rows[k * e.stride + j] = next_random(&seed) / (double)(1 + j);
    }
    for (size_t j = 0; j < n; j++)
        e.f[j] = next_random(&seed);
    return e;
}

/* z = sum over rows of h (h . f), in row n of Q. */
static void set_z(equation *e)
{
    for (size_t j = 0; j < e->n; j++) {
        double z = 0;
        for (size_t k = 0; k < e->n_rows; k++) {
            double dot = 0;
            for (size_t i = 0; i < e->n; i++)
                dot += e->list[k][i] * e->f[i];
            z += e->list[k][j] * dot;
        }
        e->q[j * e->stride + e->n] = z;
    }
}

static void check_sums(const equation *e, size_t n_rows)
{
    for (size_t j = 0; j < e->n; j++)
        for (size_t i = j; i < e->n; i++) {
            double sum = 0;
            for (size_t k = 0; k < n_rows; k++)
                sum += e->list[k][i] * e->list[k][j];
            assert_true(fabs(e->q[j * e->stride + i] - sum) < 1e-12 * (double)e->n_rows);
        }
}

static void check_parts(const dmi_csd_kernel *kernel, size_t n)
{
    equation e = equation_make(n);
    const size_t half = e.n_rows / 2;
    kernel->add_rows(n, e.stride, e.n_rows, e.list, 0, NULL, e.q, e.q);
    check_sums(&e, e.n_rows);
    kernel->add_rows(n, e.stride, 0, NULL, half, e.list + half, e.q, e.q);
    check_sums(&e, half);
    kernel->add_rows(n, e.stride, half, e.list + half, 0, NULL, e.q, e.q);
    set_z(&e);
    assert_true(kernel->factor(n, e.stride, e.q, e.u, e.inverse, e.scratch));
    kernel->solve(n, e.stride, e.u, e.inverse, e.found);
    for (size_t j = 0; j < n; j++)
        assert_true(fabs(e.found[j] - e.f[j]) < 1e-7);
    for (size_t j = n; j < e.stride; j++)
        assert_true(e.found[j] == 0);
    e.q[(n - 1) * (e.stride + 1)] = -1;
    assert_false(kernel->factor(n, e.stride, e.q, e.u, e.inverse, e.scratch));
    e.q[0] = NAN;
    assert_false(kernel->factor(n, e.stride, e.q, e.u, e.inverse, e.scratch));
    free(e.memory);
}

static void parts_are_what_a_textbook_says(void **state)
{
    (void)state;
    unsetenv("DM_ISA");
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= dmi_isa_best(); isa++)
        for (int k = 0; k < ORDERS; k++)
            check_parts(dmi_csd_kernel_for(isa), dm_sh_count(orders[k]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_what_a_textbook_says),
        cmocka_unit_test(every_kernel_fits_like_the_plain_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
