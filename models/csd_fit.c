/*
 * csd_fit.c - CSD of one voxel after the other.
 *
 * Allocates nothing per voxel. Voxels never share a call of OpenBLAS: a batch rounds differently
 * from a single one, and the result would show how voxels were cut into chunks.
 */
#include "models/csd.h"
#include "models/linalg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { R = DMI_CSD_DIRECTIONS, FAILED = -1 };

dm_status dm_csd_workspace_create(const dm_csd *model, dm_csd_workspace **workspace)
{
    if (!model || !workspace)
        return dmi_error(DM_ERR_INVALID, "CSD workspace: a NULL argument; give a model");
    const size_t n = model->n, n_dwi = model->n_dwi;
    const size_t sizes[] = {n_dwi, n, n, R, n * n, n * n, R * n};
    enum { ARRAYS = sizeof sizes / sizeof *sizes };
    size_t total = 0;
    for (int k = 0; k < ARRAYS; k++)
        total += dmi_csd_padded(sizes[k]);
    dm_csd_workspace *w = calloc(1, sizeof *w);
    double *next = aligned_alloc(64, total * sizeof *next);
    if (!w || !next) {
        free(w);
        free(next);
        return dmi_error(DM_ERR_NOMEM, "CSD workspace: no memory for %zu numbers", total);
    }
    w->n_dwi = n_dwi;
    w->n = n;
    w->memory = next;
    double **arrays[ARRAYS] = {&w->s, &w->z, &w->f, &w->density, &w->q, &w->factor, &w->rows};
    for (int k = 0; k < ARRAYS; k++) {
        *arrays[k] = next;
        next += dmi_csd_padded(sizes[k]);
    }
    *workspace = w;
    return DM_OK;
}

void dm_csd_workspace_destroy(dm_csd_workspace *workspace)
{
    if (!workspace)
        return;
    free(workspace->memory);
    free(workspace);
}

/* s = the dwi of a voxel; false if one is not finite. */
static bool take_signals(const dm_csd *model, const double *signals, double *s)
{
    bool finite = true;
    for (size_t i = 0; i < model->n_dwi; i++) {
        s[i] = signals[model->dwi[i]];
        finite &= isfinite(s[i]) != 0;
    }
    return finite;
}

/* The set of directions where the density of the first `columns` coefficients is below the
 * threshold. Returns how many there are. */
static size_t find_below(const dm_csd *model, dm_csd_workspace *w, size_t columns, double threshold,
                         unsigned char *set)
{
    size_t count = 0;
    dmi_matrix_times(R, columns, model->b, model->n, w->f, w->density);
    for (size_t r = 0; r < R; r++) {
        set[r] = w->density[r] < threshold;
        count += set[r];
    }
    return count;
}

/* Q += or -= h_r h_r^T for the rows in `set` and not in `other`. */
static void add_rows(const dm_csd *model, dm_csd_workspace *w, const unsigned char *set,
                     const unsigned char *other, double sign)
{
    const size_t n = model->n;
    size_t count = 0;
    for (size_t r = 0; r < R; r++)
        if (set[r] && !other[r])
            memcpy(w->rows + count++ * n, model->b + r * n, n * sizeof *w->rows);
    if (count > 0)
        dmi_add_gram(n, count, sign, w->rows, 1, w->q);
}

/* f = Q^-1 z. */
static bool solve(dm_csd_workspace *w)
{
    memcpy(w->factor, w->q, w->n * w->n * sizeof *w->q);
    if (!dmi_cholesky(w->n, w->factor))
        return false;
    memcpy(w->f, w->z, w->n * sizeof *w->f);
    dmi_cholesky_solve(w->n, w->factor, w->f);
    return true;
}

/*
 * From the first f on: constrain the directions below the threshold, solve, look again, until the
 * set rests. Q is changed by the rows that came and went, a third of the set, and not built afresh.
 * Returns the number of solves, or FAILED.
 */
static int32_t iterate(const dm_csd *model, dm_csd_workspace *w, double threshold)
{
    static const unsigned char none[R];
    unsigned char *set = w->constrained, *next = w->next;
    memcpy(w->q, model->p, w->n * w->n * sizeof *w->q);
    add_rows(model, w, set, none, 1);
    for (int32_t solves = 1;; solves++) {
        if (!solve(w))
            return FAILED;
        find_below(model, w, model->n, threshold, next);
        if (memcmp(next, set, R) == 0 || solves == model->settings.max_iterations)
            return solves;
        add_rows(model, w, next, set, 1);
        add_rows(model, w, set, next, -1);
        unsigned char *former = set;
        set = next;
        next = former;
    }
}

/* w->f = the coefficients of one voxel. Returns the number of constrained solves, or FAILED. */
static int32_t fit_voxel(const dm_csd *model, dm_csd_workspace *w)
{
    dmi_transpose_times(model->n_dwi, model->n, model->x, w->s, w->z);
    memcpy(w->f, w->z, model->n * sizeof *w->f);
    dmi_cholesky_solve(model->n, model->p_factor, w->f);
    /* Of this first f and never again. Low orders alone choose the first set, else all. */
    const double threshold = model->threshold * w->f[0];
    if (find_below(model, w, model->n_low, threshold, w->constrained) == 0 &&
        find_below(model, w, model->n, threshold, w->constrained) == 0)
        return 0;
    return iterate(model, w, threshold);
}

static void fill_nan(size_t n, double *numbers)
{
    for (size_t k = 0; k < n; k++)
        numbers[k] = NAN;
}

dm_status dm_csd_fit(const dm_csd *model, dm_csd_workspace *workspace, size_t n,
                     const double *signals, double *coefficients, int32_t *iterations)
{
    dm_csd_workspace *w = workspace;
    if (!model || !w || (n > 0 && (!signals || !coefficients)))
        return dmi_error(DM_ERR_INVALID, "CSD: a NULL argument; only iterations may be NULL");
    if (w->n != model->n || w->n_dwi != model->n_dwi)
        return dmi_error(
            DM_ERR_INVALID,
            "CSD: a workspace for %zu dwi and %zu coefficients, the model has %zu and %zu; "
            "make one for this model",
            w->n_dwi, w->n, model->n_dwi, model->n);
    for (size_t i = 0; i < n; i++) {
        int32_t solves = 0;
        if (take_signals(model, signals + i * model->n_volumes, w->s))
            solves = fit_voxel(model, w);
        else
            fill_nan(model->n, w->f);
        if (solves == FAILED)
            fill_nan(model->n, w->f);
        memcpy(coefficients + i * model->n, w->f, model->n * sizeof *w->f);
        if (iterations)
            iterations[i] = solves;
    }
    return DM_OK;
}
