/*
 * test_models_fwdti_grid.c - the grid search of the linear fit finds what trying each of its 47 values finds,
 * on golden data as it is and under noise, on few volumes, and on signals that no tissue has, with the sweeps of
 * every kind of processor; and by fewer trials.
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
    double first = 0 + 0.1, last = 1 - 0.1, step = 0.1, best = first;
    for (int pass = 0; pass < PASSES; pass++) {
        const int count = pass ? 19 : 9;
        const double middle = best; /* to the bit */
        *squares = INFINITY;
        best = first; /* where none can be told from another */
        for (int k = 0; k < count; k++) {
            const double f = pass && k == count / 2 ? middle
                             : k < count - 1        ? k * ((last - first) / (count - 1)) + first
                                                    : last;
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

/* From 0 to 1; the same in each run. */
static double chance(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53;
}

/* Normal, near enough. */
static double noise(void)
{
    double sum = 0;
    for (int k = 0; k < 12; k++)
        sum += chance();
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

/* A model whose trials are counted. */
static water count_trials(const dm_gradients *gradients, dmi_fwdti_sweeps *counting)
{
    water w = water_open(gradients, DM_FWDTI_WLS);
    *counting = *w.model->sweeps;
    counted = w.model->sweeps;
    counting->try_f = count_trial;
    w.model->sweeps = counting;
    trials = 0;
    return w;
}

/* Whether there was a search, and what it found is what trying each finds. */
static bool search_voxel(const water *w, size_t voxel, const double *signals)
{
    double parameters[P];
    const size_t before = trials;
    assert_dm_ok(dm_fwdti_fit(w->model, w->workspace, 1, signals, parameters, NULL));
    if (trials == before)
        return false; /* all water, or nothing */
    trials = before;
    check_voxel(w->model, w->workspace, voxel);
    return true;
}

/* The voxels of a set, with noise of this share of their S0. */
static void check_set(const char *name, double share)
{
    golden g = golden_open(name);
    const size_t n_volumes = g.gradients->n_volumes;
    dmi_fwdti_sweeps counting;
    water w = count_trials(g.gradients, &counting);
    size_t n = 0;
    double *signals = golden_alloc(n_volumes, sizeof *signals);
    for (size_t i = 0; i < g.n; i++) {
        for (size_t k = 0; k < n_volumes; k++)
            signals[k] = fabs(g.signals[i * n_volumes + k] + share * g.signals[i * n_volumes] * noise());
        n += search_voxel(&w, i, signals);
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

/* ---- signals that no golden set has ---- */

enum { MOST_VOLUMES = 64 };

/* Directions at random, in shells of 0, 1000 and 2000 s/mm2. */
static dm_gradients *scheme(size_t n)
{
    double b[MOST_VOLUMES];
    dm_vector v[MOST_VOLUMES];
    dm_gradients *gradients;
    for (size_t i = 0; i < n; i++) {
        double norm = 0;
        b[i] = 1000 * (double)(i % 3);
        for (int k = 0; k < 3; k++) {
            v[i][k] = noise();
            norm += v[i][k] * v[i][k];
        }
        for (int k = 0; k < 3; k++)
            v[i][k] /= sqrt(norm);
    }
    assert_dm_ok(dm_gradients_create(n, b, v, &gradients));
    return gradients;
}

/* A fibre and a little water, without any noise: what is left of it is small at every f. */
static void exact(const dm_gradients *g, double *signals)
{
    const double f = 1e-3 * chance(), s0 = 1000 * chance();
    const double along = 1.7e-3 + 3e-4 * noise(), across = 4e-4 + 1e-4 * noise();
    for (size_t i = 0; i < g->n_volumes; i++) {
        const double c = g->g[i][0];
        signals[i] = s0 * ((1 - f) * exp(-g->b[i] * (across + (along - across) * c * c)) + f * exp(-3e-3 * g->b[i]));
    }
}

/* Weighted volumes that are fainter than they can be, some by a million. */
static void faint(const dm_gradients *g, double *signals)
{
    const double s0 = 1000 * chance();
    for (size_t i = 0; i < g->n_volumes; i++)
        signals[i] = s0 * (g->b[i] > 0 ? pow(10, -6 * chance()) * exp(-8e-4 * g->b[i]) : 1);
}

static void check_made(size_t n_volumes, size_t n, void (*make)(const dm_gradients *, double *))
{
    enum { SCHEMES = 40 };
    size_t searched = 0;
    for (size_t k = 0; k < SCHEMES; k++) {
        dm_gradients *gradients = scheme(n_volumes);
        dmi_fwdti_sweeps counting;
        water w = count_trials(gradients, &counting);
        double signals[MOST_VOLUMES];
        for (size_t i = 0; i < n / SCHEMES; i++) {
            make(gradients, signals);
            searched += search_voxel(&w, i, signals);
        }
        water_close(&w);
        dm_gradients_destroy(gradients);
    }
    assert_true(searched > n / 10);
}

static void so_it_does_where_volumes_are_few(void **state)
{
    (void)state;
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best_isa(); isa++) {
        play(isa);
        for (size_t n_volumes = 5; n_volumes < 16; n_volumes++)
            check_made(n_volumes, 2000, exact);
    }
}

static void so_it_does_on_what_no_tissue_gives(void **state)
{
    (void)state;
    play(best_isa());
    for (size_t n_volumes = 16; n_volumes < 32; n_volumes += 3)
        check_made(n_volumes, 10000, faint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_finds_what_trying_each_finds),
        cmocka_unit_test(so_it_does_under_noise),
        cmocka_unit_test(so_it_does_where_volumes_are_few),
        cmocka_unit_test(so_it_does_on_what_no_tissue_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
