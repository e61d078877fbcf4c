/*
 * csd_fit.c - CSD of one voxel after the other.
 *
 * What is computed, and in which order; csd_kernel.h does it. Allocates nothing per voxel. Only the
 * first two steps are done for several voxels at once, beside each other in the lanes of a register,
 * where they know nothing of each other: it never shows how voxels were cut into chunks.
 */
#include "models/csd.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { R = DMI_CSD_DIRECTIONS, FAILED = -1 };

dm_status dm_csd_workspace_create(const dm_csd *model, dm_csd_workspace **workspace)
{
    if (!model || !workspace)
        return dmi_error(DM_ERR_INVALID, "CSD workspace: a NULL argument; give a model");
    dm_csd_workspace *w = calloc(1, sizeof *w);
    if (!w)
        return dmi_error(DM_ERR_NOMEM, "CSD workspace: no memory");
    const size_t stride = model->stride, square = stride * stride;
    const dmi_csd_array arrays[] = {
        {&w->signals, model->n_dwi * DMI_CSD_WIDEST},
        {&w->z, stride * DMI_CSD_WIDEST},
        {&w->f_first, stride * DMI_CSD_WIDEST},
        {&w->f, stride},
        {&w->q, square},
        {&w->u, square},
        {&w->inverse, stride},
        {&w->scratch, stride * DMI_CSD_WIDEST},
    };
    w->n_dwi = model->n_dwi;
    w->n = model->n;
    w->memory = dmi_csd_allocate(sizeof arrays / sizeof *arrays, arrays);
    if (!w->memory) {
        free(w);
        return dmi_error(DM_ERR_NOMEM, "CSD workspace: no memory for %zu coefficients", model->n);
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

/* ---- sets of directions ---------------------------------------------------------------------- */

static bool set_equal(const dmi_csd_set *a, const dmi_csd_set *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static size_t set_count(const dmi_csd_set *set)
{
    size_t count = 0;
    for (int k = 0; k < DMI_CSD_SET_WORDS; k++)
        count += (size_t)__builtin_popcountll(set->words[k]);
    return count;
}

static dmi_csd_set set_of_all(void)
{
    dmi_csd_set set;
    memset(&set, 0xff, sizeof set);
    set.words[R / 64] >>= 64 - R % 64;
    static_assert(R / 64 == DMI_CSD_SET_WORDS - 1 && R % 64 != 0, "the last word is in part full");
    return set;
}

/* The rows of B for the directions in `set` and not in `other`, in their order. */
static size_t list_rows(const dm_csd *model, const dmi_csd_set *set, const dmi_csd_set *other,
                        const double **rows)
{
    size_t count = 0;
    for (size_t k = 0; k < DMI_CSD_SET_WORDS; k++)
        for (uint64_t bits = set->words[k] & ~other->words[k]; bits; bits &= bits - 1)
            rows[count++] = model->b + (64 * k + (size_t)__builtin_ctzll(bits)) * model->stride;
    return count;
}

/* The directions where the density of the first n_columns coefficients is below the threshold. */
static dmi_csd_set find_below(const dm_csd *model, const dm_csd_workspace *w, size_t n_columns,
                              double threshold)
{
    dmi_csd_set set;
    const dmi_csd_set all = set_of_all();
    model->kernel->below(n_columns, model->b_columns, w->f, threshold, &set);
    for (int k = 0; k < DMI_CSD_SET_WORDS; k++)
        set.words[k] &= all.words[k];
    return set;
}

/* ---- one voxel ------------------------------------------------------------------------------- */

/* Q = P + the sum of h h^T over the directions in `set`, from whichever side is shorter; and the
 * right-hand side z of voxel `lane` in its row n. */
static void build_q(const dm_csd *model, dm_csd_workspace *w, const dmi_csd_set *set, size_t lane)
{
    const size_t n = model->n, stride = model->stride, lanes = model->kernel->lanes;
    const dmi_csd_set all = set_of_all(), none = {{0}};
    if (set_count(set) <= R / 2)
        model->kernel->add_rows(n, stride, list_rows(model, set, &none, w->plus), w->plus, 0, NULL,
                                model->p, w->q);
    else
        model->kernel->add_rows(n, stride, 0, NULL, list_rows(model, &all, set, w->minus), w->minus,
                                model->p_all, w->q);
    for (size_t j = 0; j < n; j++)
        w->q[j * stride + n] = w->z[j * lanes + lane];
}

/* Q changed by the rows that came and went, a third of the set. */
static void change_q(const dm_csd *model, dm_csd_workspace *w, const dmi_csd_set *from,
                     const dmi_csd_set *to)
{
    const size_t n_plus = list_rows(model, to, from, w->plus);
    const size_t n_minus = list_rows(model, from, to, w->minus);
    model->kernel->add_rows(model->n, model->stride, n_plus, w->plus, n_minus, w->minus, w->q,
                            w->q);
}

/* f = Q^-1 z. */
static bool solve(const dm_csd *model, dm_csd_workspace *w)
{
    const dmi_csd_kernel *kernel = model->kernel;
    if (!kernel->factor(model->n, model->stride, w->q, w->u, w->inverse, w->scratch))
        return false;
    kernel->solve(model->n, model->stride, w->u, w->inverse, w->f);
    return true;
}

/*
 * From the first f on: constrain the directions below the threshold, solve, look again, until the
 * set rests. Returns the number of solves, or FAILED.
 */
static int32_t iterate(const dm_csd *model, dm_csd_workspace *w, dmi_csd_set set, double threshold,
                       size_t lane)
{
    build_q(model, w, &set, lane);
    for (int32_t solves = 1;; solves++) {
        if (!solve(model, w))
            return FAILED;
        const dmi_csd_set next = find_below(model, w, model->n, threshold);
        if (set_equal(&next, &set) || solves == model->settings.max_iterations)
            return solves;
        change_q(model, w, &set, &next);
        set = next;
    }
}

/* w->f = the coefficients of voxel `lane` of those started. Returns the number of constrained
 * solves, or FAILED. */
static int32_t fit_voxel(const dm_csd *model, dm_csd_workspace *w, size_t lane)
{
    for (size_t j = 0; j < model->n; j++)
        w->f[j] = w->f_first[j * model->kernel->lanes + lane];
    /* Of this first f and never again. Low orders alone choose the first set, else all. */
    const double threshold = model->threshold * w->f[0];
    dmi_csd_set set = find_below(model, w, model->n_low, threshold);
    if (set_count(&set) == 0)
        set = find_below(model, w, model->n, threshold);
    return set_count(&set) == 0 ? 0 : iterate(model, w, set, threshold, lane);
}

/* ---- voxels ---------------------------------------------------------------------------------- */

/* The dwi of a voxel into its lane; zeros and false if one is not finite. */
static bool take_signals(const dm_csd *model, const double *signals, double *lane)
{
    const size_t lanes = model->kernel->lanes;
    bool finite = true;
    for (size_t i = 0; i < model->n_dwi; i++) {
        lane[i * lanes] = signals[model->dwi[i]];
        finite &= isfinite(lane[i * lanes]) != 0;
    }
    for (size_t i = 0; !finite && i < model->n_dwi; i++)
        lane[i * lanes] = 0;
    return finite;
}

static void fill_nan(size_t n, double *numbers)
{
    for (size_t k = 0; k < n; k++)
        numbers[k] = NAN;
}

/* As many voxels as there are lanes, or fewer: the other lanes compute what nobody reads. */
static void fit_lanes(const dm_csd *model, dm_csd_workspace *w, size_t count, const double *signals,
                      double *coefficients, int32_t *iterations)
{
    const size_t n = model->n;
    bool finite[DMI_CSD_WIDEST];
    for (size_t i = 0; i < count; i++)
        finite[i] = take_signals(model, signals + i * model->n_volumes, w->signals + i);
    model->kernel->start(model->n_dwi, n, model->stride, model->x, &model->factor, w->signals, w->z,
                         w->f_first);
    for (size_t i = 0; i < count; i++) {
        const int32_t solves = finite[i] ? fit_voxel(model, w, i) : 0;
        if (!finite[i] || solves == FAILED)
            fill_nan(n, w->f);
        memcpy(coefficients + i * n, w->f, n * sizeof *w->f);
        if (iterations)
            iterations[i] = solves;
    }
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
    const size_t lanes = model->kernel->lanes;
    for (size_t i = 0; i < n; i += lanes)
        fit_lanes(model, w, n - i < lanes ? n - i : lanes, signals + i * model->n_volumes,
                  coefficients + i * model->n, iterations ? iterations + i : NULL);
    return DM_OK;
}
