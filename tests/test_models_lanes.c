/*
 * test_models_lanes.c - the exponentials and logarithms of the vectors are those of long double, to
 * about the last bit, on every kind of processor; and sweeps of one kind sum what those of another
 * do.
 */
#include "test_models_fwdti.h"

#include "models/fwdti.h"

#include <stdalign.h>

enum { EIGHT = 8, ROUNDS = 20000 };

/* Numbers from 0 to 1, the same in each run. */
static double random_number(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53;
}

static const dmi_fwdti_sweeps *sweeps_of(dmi_isa isa)
{
    return isa == DMI_ISA_AVX512 ? dmi_fwdti_sweeps_avx512
           : isa == DMI_ISA_AVX2 ? dmi_fwdti_sweeps_avx2
                                 : &dmi_fwdti_sweeps_plain;
}

static void call(dmi_isa isa, const double *x, double *e, double *l)
{
    const dmi_fwdti_sweeps *sweeps = sweeps_of(isa);
    assert_non_null(sweeps);
    sweeps->functions(x, e, l);
}

static void exponentials_are_right(void **state)
{
    (void)state;
    alignas(64) double x[EIGHT], e[EIGHT], l[EIGHT];
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++) {
        double worst = 0;
        for (int round = 0; round < ROUNDS; round++) {
            const double range = round % 2 ? 1416 : 20;
            for (int k = 0; k < EIGHT; k++)
                x[k] = range * (random_number() - 0.5);
            call(isa, x, e, l);
            for (int k = 0; k < EIGHT; k++)
                worst = fmax(worst, fabs((double)(e[k] / expl((long double)x[k]) - 1)));
        }
        print_message("%s: e^x is off by %.2g at most\n", dmi_isa_name(isa), worst);
        assert_true(worst < 3.4e-16);
    }
}

static void logarithms_are_right(void **state)
{
    (void)state;
    alignas(64) double x[EIGHT], e[EIGHT], l[EIGHT];
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++) {
        double worst = 0;
        for (int round = 0; round < ROUNDS; round++) {
            for (int k = 0; k < EIGHT; k++)
                x[k] = round % 3 == 0   ? exp(1410 * (random_number() - 0.5))
                       : round % 3 == 1 ? 1e4 * random_number() + 1e-6
                                        : 0.5 + random_number();
            call(isa, x, e, l);
            for (int k = 0; k < EIGHT; k++) {
                const long double right = logl((long double)x[k]);
                const double off = fabs((double)(l[k] - right));
                worst = fmax(worst, off / fmax(1, fabs((double)right)));
            }
        }
        print_message("%s: ln x is off by %.2g at most\n", dmi_isa_name(isa), worst);
        assert_true(worst < 3.4e-16);
    }
}

static void beyond_the_range_they_stay_finite(void **state)
{
    (void)state;
    alignas(64) const double x[EIGHT] = {-1e300, -INFINITY, -710, 710, 1e300, INFINITY, NAN, 0};
    alignas(64) double e[EIGHT], l[EIGHT];
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++) {
        call(isa, x, e, l);
        for (int k = 0; k < 3; k++)
            assert_true(e[k] > 0 && e[k] < 1e-300);
        for (int k = 3; k < 6; k++)
            assert_true(e[k] > 1e300 && isfinite(e[k]));
        assert_true(isnan(e[6]));
        assert_true(e[7] == 1);
    }
}

/* What stands in a lane does not show in the others. */
static void lanes_do_not_meet(void **state)
{
    (void)state;
    alignas(64) double x[EIGHT], e[EIGHT], l[EIGHT], alone_e[EIGHT], alone_l[EIGHT];
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++) {
        for (int at = 0; at < EIGHT; at++) {
            const double odd[3] = {NAN, INFINITY, 0};
            for (int k = 0; k < EIGHT; k++)
                x[k] = 1.25;
            call(isa, x, alone_e, alone_l);
            for (int k = 0; k < EIGHT; k++)
                x[k] = k == at ? 1.25 : odd[k % 3];
            call(isa, x, e, l);
            assert_memory_equal(&e[at], &alone_e[at], sizeof(double));
            assert_memory_equal(&l[at], &alone_l[at], sizeof(double));
        }
    }
}

/* ---- sums, one voxel of a set whose volumes fill no whole vector ---- */

typedef struct sums {
    double gram[DMI_FWDTI_LINEAR][DMI_FWDTI_LINEAR];
    alignas(64) double p[DMI_FWDTI_UNKNOWNS];
    double z[DMI_FWDTI_UNKNOWNS], ones[DMI_FWDTI_UNKNOWNS];
    double misfit, squares;
    dmi_fwdti_normal normal;
} sums;

static void sum_up(const golden *g, dmi_isa isa, sums *s)
{
    play(isa);
    water w = water_open(g->gradients, DM_FWDTI_NLS);
    const dmi_fwdti_sweeps *sweeps = w.model->sweeps;
    dmi_fwdti_point at = {.t = w.workspace->t[0], .r = w.workspace->r[0], .f = 0.3, .slope = 0.4};
    assert_ptr_equal(sweeps, sweeps_of(isa));
    memset(s, 0, sizeof *s);
    memcpy(w.workspace->s, g->signals, w.model->n * sizeof(double));
    w.workspace->s0 = 1000;
    for (int k = 0; k < DMI_FWDTI_LINEAR; k++)
        w.workspace->inverse[k][k] = 1e-14;
    sweeps->weigh(w.model, w.workspace, s->gram, s->z);
    memcpy(s->ones, w.workspace->ones, sizeof s->ones);
    s->misfit = sweeps->try_f(w.model, w.workspace, 0.2, s->p);
    const double x[DMI_FWDTI_UNKNOWNS] = {1e-3, 1e-4, 8e-4, -1e-4, 2e-4, 5e-4, -7, 1};
    memcpy(at.x, x, sizeof x);
    sweeps->residuals(w.model, w.workspace, &at);
    s->squares = at.squares;
    sweeps->derivatives(w.model, &at, &s->normal);
    water_close(&w);
}

static void assert_near(size_t n, const double *a, const double *b)
{
    for (size_t k = 0; k < n; k++)
        if (fabs(a[k] - b[k]) > 1e-11 * fmax(fabs(a[k]), fabs(b[k])))
            fail_msg("number %zu is %.17g and %.17g", k, a[k], b[k]);
}

static void every_kind_sums_the_same(void **state)
{
    (void)state;
    golden g = golden_open("s101");
    assert_true(g.gradients->n_volumes % DMI_FWDTI_PADDING != 0);
    sums plain, other;
    sum_up(&g, DMI_ISA_PLAIN, &plain);
    for (dmi_isa isa = DMI_ISA_AVX2; isa <= best_isa(); isa++) {
        sum_up(&g, isa, &other);
        for (int j = 0; j < DMI_FWDTI_LINEAR; j++)
            assert_near((size_t)j + 1, plain.gram[j], other.gram[j]);
        assert_near(7, plain.z, other.z);
        assert_near(7, plain.ones, other.ones);
        assert_near(7, plain.p, other.p);
        assert_near(1, &plain.misfit, &other.misfit);
        assert_near(1, &plain.squares, &other.squares);
        for (int j = 0; j < DMI_FWDTI_UNKNOWNS; j++)
            assert_near((size_t)j + 1, plain.normal.h[j], other.normal.h[j]);
        assert_near(DMI_FWDTI_UNKNOWNS, plain.normal.g, other.normal.g);
    }
    golden_close(&g);
}

static void stand_at(dmi_fwdti_point *at, const double *u)
{
    memcpy(at->x, u, sizeof at->x);
    at->f = (1 - cos(u[7])) / 2;
    at->slope = sin(u[7]) / 2;
}

/* The derivatives of the residuals against differences of them: half the gradient of the squares. */
static void derivatives_are_those_of_the_residuals(void **state)
{
    (void)state;
    golden g = golden_open("s101");
    play(best_isa());
    water w = water_open(g.gradients, DM_FWDTI_NLS);
    dmi_fwdti_point at = {.t = w.workspace->t[0], .r = w.workspace->r[0]};
    dmi_fwdti_normal normal;
    const double u[DMI_FWDTI_UNKNOWNS] = {1e-3, 1e-4, 8e-4, -1e-4, 2e-4, 5e-4, -7, 1.1};
    memcpy(w.workspace->s, g.signals, w.model->n * sizeof(double));
    for (int j = 0; j < DMI_FWDTI_UNKNOWNS; j++) {
        double squares[2];
        const double step = 1e-5 * fabs(u[j]);
        for (int side = 0; side < 2; side++) {
            double aside[DMI_FWDTI_UNKNOWNS];
            memcpy(aside, u, sizeof u);
            aside[j] += side ? step : -step;
            stand_at(&at, aside);
            w.model->sweeps->residuals(w.model, w.workspace, &at);
            squares[side] = at.squares;
        }
        stand_at(&at, u);
        w.model->sweeps->residuals(w.model, w.workspace, &at);
        w.model->sweeps->derivatives(w.model, &at, &normal);
        const double gradient = (squares[1] - squares[0]) / (2 * step) / 2;
        assert_true(fabs(gradient - normal.g[j]) <= 1e-5 * fabs(gradient));
    }
    water_close(&w);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponentials_are_right),
        cmocka_unit_test(logarithms_are_right),
        cmocka_unit_test(beyond_the_range_they_stay_finite),
        cmocka_unit_test(lanes_do_not_meet),
        cmocka_unit_test(every_kind_sums_the_same),
        cmocka_unit_test(derivatives_are_those_of_the_residuals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
