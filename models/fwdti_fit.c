/*
 * fwdti_fit.c - the free-water fit of one voxel after the other.
 *
 * Allocates nothing per voxel, and no two voxels meet in one sum: the vectors of the processor run
 * along the volumes of one.
 */
#include "models/fwdti.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* From here on the fraction of water is so high that the linear fit is left as it is. */
static const double MOST_WATER = 0.99;

dm_status dm_fwdti_workspace_create(const dm_fwdti *model, dm_fwdti_workspace **workspace)
{
    if (!model || !workspace)
        return dmi_error(DM_ERR_INVALID, "free water: a NULL argument; give a model");
    enum { COLUMNS = 6 };
    const size_t padded = model->padded;
    dm_fwdti_workspace *w = aligned_alloc(64, sizeof *w);
    double *memory = aligned_alloc(64, COLUMNS * padded * sizeof *memory);
    if (!w || !memory) {
        free(w);
        free(memory);
        return dmi_error(DM_ERR_NOMEM, "free water: no memory for a workspace of %zu volumes",
                         model->n);
    }
    memset(w, 0, sizeof *w);
    memset(memory, 0, COLUMNS * padded * sizeof *memory);
    double **const columns[COLUMNS] = {&w->s, &w->q, &w->t[0], &w->t[1], &w->r[0], &w->r[1]};
    for (size_t k = 0; k < COLUMNS; k++)
        *columns[k] = memory + k * padded;
    w->memory = memory;
    w->n = model->n;
    *workspace = w;
    return DM_OK;
}

void dm_fwdti_workspace_destroy(dm_fwdti_workspace *workspace)
{
    if (!workspace)
        return;
    free(workspace->memory);
    free(workspace);
}

/* s and its means. False if a signal is not finite. */
static bool take_signals(const dm_fwdti *model, dm_fwdti_workspace *w, const double *signals)
{
    double sum = 0, b0 = 0;
    memcpy(w->s, signals, model->n * sizeof *signals);
    for (size_t i = 0; i < model->n; i++)
        sum += signals[i];
    for (size_t k = 0; k < model->n_b0; k++)
        b0 += signals[model->b0[k]];
    w->mean = sum / (double)model->n;
    w->s0 = b0 / (double)model->n_b0;
    return isfinite(sum);
}

/* Also false for a voxel whose squared signals are beyond double precision. */
static bool fit_voxel(const dm_fwdti *model, dm_fwdti_workspace *w, const double *signals,
                      double *parameters, int32_t *evaluations)
{
    const dm_fwdti_settings *settings = &model->settings;
    if (!take_signals(model, w, signals) || !dmi_fwdti_wls(model, w, parameters))
        return false;
    if (settings->method == DM_FWDTI_WLS || !(parameters[DM_FWDTI_F] < MOST_WATER) ||
        !(w->mean > settings->min_signal && w->s0 > settings->min_signal))
        return true;
    return dmi_fwdti_nls(model, w, parameters, evaluations);
}

dm_status dm_fwdti_fit(const dm_fwdti *model, dm_fwdti_workspace *workspace, size_t n,
                       const double *signals, double *parameters, int32_t *evaluations)
{
    if (!model || !workspace || (n > 0 && (!signals || !parameters)))
        return dmi_error(DM_ERR_INVALID,
                         "free water: a NULL argument; only evaluations may be NULL");
    if (workspace->n != model->n)
        return dmi_error(DM_ERR_INVALID,
                         "free water: a workspace for %zu volumes, the model has %zu; make one for "
                         "this model",
                         workspace->n, model->n);
    for (size_t i = 0; i < n; i++) {
        double *found = parameters + i * DM_FWDTI_PARAMETERS;
        int32_t count = 0;
        if (!fit_voxel(model, workspace, signals + i * model->n, found, &count))
            for (int k = 0; k < DM_FWDTI_PARAMETERS; k++)
                found[k] = NAN;
        if (evaluations)
            evaluations[i] = count;
    }
    return DM_OK;
}
