/*
 * test_models_fwdti_grid.c - the grid search of the linear fit finds what trying each of its 47 values finds,
 * on golden data as it is and under noise, with the sweeps of every kind of processor; and by fewer trials.
 */
#include "test_models_fwdti.h"

#include "models/fwdti.h"

#include <stdalign.h>

enum { PASSES = 3, VALUES = 47 };

static const dmi_fwdti_sweeps *counted;
static size_t trials;

static double count_trial(const dm_fwdti *model, const dm_fwdti_workspace *w, double f, double *p)
{
    trials++;
    return counted->try_f(model, w, f, p);
}

/* DIPY's loop: the first of the least of all values, pass by pass. */
static double try_each(const dm_fwdti *model, const dm_fwdti_workspace *w, double *squares)
{
    alignas(64) double p[DMI_FWDTI_UNKNOWNS];
    double first = 0 + 0.1, last = 1 - 0.1, step = 0.1, best = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        const int count = pass ? 19 : 9;
        *squares = INFINITY;
        for (int k = 0; k < count; k++) {
            const double f = first + k * (last - first) / (count - 1);
            const double now = counted->try_f(model, w, f, p);
            if (now < *squares) {
                *squares = now;
                best = f;
            }
        }
        first = best - step + 0.1 * step;
        last = best + step - 0.1 * step;
        step *= 0.1;
    }
    return best;
}

/* Normal, near enough; the same in each run. */
static double noise(void)
{
    static uint64_t state = 88172645463325252u;
    double sum = 0;
    for (int k = 0; k < 12; k++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        sum += (double)(state >> 11) * 0x1p-53;
    }
    return sum - 6;
}

/* What is a tie to the last digits may be decided either way. */
static void check_voxel(const dm_fwdti *model, const dm_fwdti_workspace *w, size_t voxel)
{
    alignas(64) double p[DMI_FWDTI_UNKNOWNS];
    double least;
    const double each = try_each(model, w, &least), found = dmi_fwdti_search(model, w, p);
    if (fabs(each - found) < 1e-9)
        return;
    const double squares = counted->try_f(model, w, found, p);
    if (!(squares <= least * (1 + 1e-13)))
        fail_msg("voxel %zu: f %.4f was found, sum of squares %.17g; %.4f leaves %.17g", voxel, found, squares, each,
                 least);
}

/* The voxels of a set, with noise of this share of their S0. */
static void check_set(const char *name, double share)
{
    golden g = golden_open(name);
    const size_t n_volumes = g.gradients->n_volumes;
    water w = water_open(g.gradients, DM_FWDTI_WLS);
    dmi_fwdti_sweeps counting = *w.model->sweeps;
    size_t n = 0;
    counted = w.model->sweeps;
    counting.try_f = count_trial;
    w.model->sweeps = &counting;
    trials = 0;
    double *signals = golden_alloc(n_volumes, sizeof *signals), parameters[P];
    for (size_t i = 0; i < g.n; i++) {
        for (size_t k = 0; k < n_volumes; k++)
            signals[k] = fabs(g.signals[i * n_volumes + k] + share * g.signals[i * n_volumes] * noise());
        const size_t before = trials;
        assert_dm_ok(dm_fwdti_fit(w.model, w.workspace, 1, signals, parameters, NULL));
        if (trials == before)
            continue; /* all water, or nothing: no search */
        trials = before;
        check_voxel(w.model, w.workspace, i);
        n++;
    }
    print_message("%s, noise %g, %s: %.1f trials in %zu voxels\n", g.name, share, dmi_isa_name(dmi_isa_best()),
                  (double)trials / (double)n, n);
    assert_true(n > 0);
    if (share == 0)
        assert_true(trials < n * VALUES / 2);
    free(signals);
    water_close(&w);
    golden_close(&g);
}

static void it_finds_what_trying_each_finds(void **state)
{
    (void)state;
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++) {
        play(isa);
        check_set("s101", 0);
        check_set("hcpsim_s", 0);
        check_set("fwdti_edges", 0.001);
    }
}

static void so_it_does_under_noise(void **state)
{
    (void)state;
    play(best_isa());
    for (double share = 0.02; share < 0.3; share *= 2)
        check_set("s101", share);
    check_set("hcpsim_s", 0.05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_finds_what_trying_each_finds),
        cmocka_unit_test(so_it_does_under_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
