/*
 * What a published sweep implies: the fit finds the overheads that made a curve, says how sure it is, and a file of
 * points that contradicts itself is refused.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/what_would_more_cores_give/implied/curve.h"

static const int cpus[] = {8, 16, 32, 48, 72};
enum { POINTS = sizeof cpus / sizeof cpus[0] };

/* The points of a curve, each off by up to so much. */
static void points_of(const curve *c, double off, published *points)
{
    static const double signs[] = {1, -0.4, 0.7, -1, 0.2, -0.6, 1, -0.1, -0.9, 0.5};
    for (int i = 0; i < POINTS; i++)
        points[i] = (published){0, cpus[i], curve_best(c, cpus[i], NULL) * (1 + off * signs[i]),
                                curve_speedup(c, cpus[i], MANY_CHUNKS) * (1 - off * signs[POINTS + i])};
}

static void assert_within(double found, double expected, double relative)
{
    if (!(fabs(found - expected) <= relative * expected))
        fail_msg("%.6g was found, %.6g expected", found, expected);
}

static void a_curve_by_hand(void **state)
{
    (void)state;
    curve none = {{0}}, all = {{0.02, 0.001, 0.0005, 0.01}};
    int power;
    assert_within(curve_speedup(&none, 8, 8), 8, 1e-12);
    assert_within(curve_speedup(&none, 8, 4), 4, 1e-12); /* four have nothing */
    assert_within(curve_speedup(&none, 8, 9), 4.5, 1e-12); /* one has two */
    assert_within(curve_best(&none, 8, &power), 8, 1e-12);
    assert_int_equal(power, 3);
    assert_within(curve_speedup(&all, 8, 16), 1 / (0.125 + 0.04 + 0.016 + 0.004 + 0.01), 1e-12);
}

static void overheads_are_found_again(void **state)
{
    (void)state;
    const unsigned free = 1 << ONE_BY_ONE | 1 << PER_CORE | 1 << PER_FIT;
    const curve made = {{0, 5e-6, 6e-4, 0.03}};
    published points[POINTS];
    points_of(&made, 0, points);
    curve_fit exact = curve_find(points, POINTS, free, 1);
    for (int i = 0; i < OVERHEADS; i++)
        assert_within(exact.best.overhead[i], made.overhead[i], 0.01);
    assert_true(exact.rms < 1e-3);
    points_of(&made, 0.02, points);
    curve_fit rough = curve_find(points, POINTS, free, 1);
    for (int i = ONE_BY_ONE; i < OVERHEADS; i++) {
        assert_true(rough.low.overhead[i] <= made.overhead[i] && made.overhead[i] <= rough.high.overhead[i]);
        assert_true(rough.low.overhead[i] < rough.best.overhead[i] && rough.best.overhead[i] < rough.high.overhead[i]);
    }
    assert_true(rough.rms > 0.005 && rough.rms < 0.03);
}

static void overheads_in_workers_are_found_again(void **state)
{
    (void)state;
    const unsigned free = 1 << IN_WORKERS | 1 << PER_CORE;
    const curve made = {{4e-5, 0, 2e-3, 0}};
    published points[POINTS];
    points_of(&made, 0, points);
    curve_fit exact = curve_find(points, POINTS, free, 1);
    for (int i = 0; i < OVERHEADS; i++)
        assert_within(exact.best.overhead[i], made.overhead[i], 0.01);
}

/* The wrong law does not pretend. */
static void a_law_that_cannot_be_leaves_residuals(void **state)
{
    (void)state;
    const curve made = {{0, 5e-6, 0, 0.05}};
    published points[POINTS];
    points_of(&made, 0, points);
    curve_fit wrong = curve_find(points, POINTS, 1 << IN_WORKERS, 1);
    assert_true(wrong.rms > 0.1);
    assert_true(fabs(wrong.residual[2 * (POINTS - 1)]) > 0.1);
}

static int read_text(const char *text, published *out, const char **why)
{
    char path[] = "/tmp/dm-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    int n = published_read(path, out, why);
    remove(path);
    return n;
}

static void points_are_read_or_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "# only words\n", "csdm,8,5.1,0.63\n", "csdm,8,5.1,0.63,1.9,7\n",
                                      "dti,8,5.1,0.63,1.9\n", "csdm,8,5.1,0.83,1.9\n", "csdm,8,5.1,0.63,6.9\n",
                                      "csdm,0,5.1,0.63,1.9\n", "csdm,8,5.1,0.63,-1\n", "csdm,8,5.1,0.63,x\n"};
    published found[MOST_PUBLISHED];
    const char *why;
    assert_int_equal(read_text("# from there\ncsdm,8,5.1,0.63,1.9\nfwdtim,72,25.3,0.35,18.1\n", found, &why), 2);
    assert_null(why);
    assert_true(found[1].model == 1 && found[1].cpus == 72 && found[1].best == 25.3 && found[1].many == 18.1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_text(bad[i], found, &why), 0);
        assert_non_null(why);
    }
    assert_int_equal(published_read("/no/such/file", found, &why), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_curve_by_hand),
        cmocka_unit_test(overheads_are_found_again),
        cmocka_unit_test(overheads_in_workers_are_found_again),
        cmocka_unit_test(a_law_that_cannot_be_leaves_residuals),
        cmocka_unit_test(points_are_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
