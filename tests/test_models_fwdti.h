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

static inline water water_open(const dm_gradients *gradients, dm_fwdti_method method)
{
    const dm_fwdti_settings settings = water_settings(method);
    water w;
    assert_dm_ok(dm_fwdti_create(&settings, gradients, &w.model));
    assert_dm_ok(dm_fwdti_workspace_create(w.model, &w.workspace));
    return w;
}

static inline void water_close(water *w)
{
    dm_fwdti_workspace_destroy(w->workspace);
    dm_fwdti_destroy(w->model);
}

/* All voxels of the set, n x 13. Yours: free. */
static inline double *water_fit(const golden *g, dm_fwdti_method method)
{
    double *parameters = golden_alloc(g->n * P, sizeof *parameters);
    water w = water_open(g->gradients, method);
    assert_dm_ok(dm_fwdti_fit(w.model, w.workspace, g->n, g->signals, parameters, NULL));
    water_close(&w);
    return parameters;
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
