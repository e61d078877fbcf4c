/*
 * test_models_fwdti.h - what the tests of the free-water fit share: fitting a golden set, on every
 * kind of processor that this one can play.
 */
#ifndef DM_TEST_MODELS_FWDTI_H
#define DM_TEST_MODELS_FWDTI_H

#include "test_models_golden.h"

#include "models/isa.h"

enum { P = DM_FWDTI_PARAMETERS, F = DM_FWDTI_F };

typedef struct water {
    dm_fwdti *model;
    dm_fwdti_workspace *workspace;
} water;

static inline dm_fwdti_settings water_settings(dm_fwdti_method method)
{
    dm_fwdti_settings settings = dm_fwdti_defaults();
    settings.method = method;
    return settings;
}

/* Those of the non-linear fit with its options. */
static inline dm_fwdti_settings water_options(bool cholesky, bool f_untransformed)
{
    dm_fwdti_settings settings = water_settings(DM_FWDTI_NLS);
    settings.cholesky = cholesky;
    settings.f_untransformed = f_untransformed;
    return settings;
}

static inline water water_open_with(const dm_gradients *gradients, dm_fwdti_settings settings)
{
    water w;
    assert_dm_ok(dm_fwdti_create(&settings, gradients, &w.model));
    assert_dm_ok(dm_fwdti_workspace_create(w.model, &w.workspace));
    return w;
}

static inline water water_open(const dm_gradients *gradients, dm_fwdti_method method)
{
    return water_open_with(gradients, water_settings(method));
}

static inline void water_close(water *w)
{
    dm_fwdti_workspace_destroy(w->workspace);
    dm_fwdti_destroy(w->model);
}

/* All voxels of the set, n x 13. Yours: free. */
static inline double *water_fit_with(const golden *g, dm_fwdti_settings settings)
{
    double *parameters = golden_alloc(g->n * P, sizeof *parameters);
    water w = water_open_with(g->gradients, settings);
    assert_dm_ok(dm_fwdti_fit(w.model, w.workspace, g->n, g->signals, parameters, NULL));
    water_close(&w);
    return parameters;
}

static inline double *water_fit(const golden *g, dm_fwdti_method method)
{
    return water_fit_with(g, water_settings(method));
}

/* The sum of squares that a voxel's parameters leave, with the S0 that makes it least. */
static inline double water_squares(const golden *g, size_t voxel, const double *p)
{
    const size_t n = g->gradients->n_volumes;
    const double *s = g->signals + voxel * n;
    double ss = 0, sm = 0, mm = 0;
    for (size_t i = 0; i < n; i++) {
        const double b = g->gradients->b[i], *v = g->gradients->g[i];
        double tissue = 0, norm = 0;
        for (int e = 0; e < 3; e++) {
            const double along = v[0] * p[3 + e] + v[1] * p[6 + e] + v[2] * p[9 + e];
            tissue += p[e] * along * along;
            norm += v[e] * v[e];
        }
        const double m =
            (1 - p[F]) * exp(-b * tissue) + p[F] * exp(-b * norm * DM_FREE_WATER_DIFFUSIVITY);
        ss += s[i] * s[i];
        sm += s[i] * m;
        mm += m * m;
    }
    return ss - sm * sm / mm;
}

/* From now on models are made as for this kind of processor, or the best one there is. */
static inline void play(dmi_isa isa)
{
    setenv("DM_ISA", dmi_isa_name(isa), 1);
}

static inline dmi_isa best_isa(void)
{
    unsetenv("DM_ISA");
    return dmi_isa_best();
}

#endif
