/*
 * response.c - the signal of one fibre, estimated from the data.
 *
 * Which voxels count, and the means over them. The tensor fit is weighted_tensor.c's, the text file
 * response_file.c's.
 */
#include "dm/models.h"
#include "models/linalg.h"
#include "models/signals.h"
#include "models/weighted_tensor.h"

#include <math.h>
#include <stdlib.h>

/* Sums over the voxels that counted. */
typedef struct sums {
    size_t n_voxels;
    double along, across;
    double s0;
} sums;

dm_response_settings dm_response_defaults(void)
{
    return (dm_response_settings){.roi_radius = 10, .fa_threshold = 0.7};
}

static dm_status check_data(const dm_volume *dwi, const dm_gradients *gradients)
{
    if (dwi->n_volumes != gradients->n_volumes)
        return dmi_error(
            DM_ERR_INVALID,
            "response: the data have %zu volumes, the gradient table has %zu; give the "
            "table of these data",
            dwi->n_volumes, gradients->n_volumes);
    if (gradients->n_dwi == gradients->n_volumes)
        return dmi_error(DM_ERR_INVALID,
                         "response: no volume has b <= %g; at least one b0 is needed for S0",
                         DM_B0_THRESHOLD);
    if (gradients->n_dwi < 6)
        return dmi_error(DM_ERR_INVALID,
                         "response: %zu volumes have b > %g; a tensor needs at least 6",
                         gradients->n_dwi, DM_B0_THRESHOLD);
    return DM_OK;
}

static void add_voxel(const dm_gradients *gradients, const double *signals, const double evals[3],
                      sums *total)
{
    total->n_voxels++;
    total->along += evals[0];
    total->across += evals[1];
    for (size_t i = 0; i < gradients->n_volumes; i++)
        if (gradients->b[i] <= DM_B0_THRESHOLD)
            total->s0 += signals[i];
}

static dm_status finish(const dm_gradients *gradients, const sums *total, dm_response *response)
{
    const double n = (double)total->n_voxels;
    const double n_b0 = (double)(gradients->n_volumes - gradients->n_dwi);
    const double across = total->across / n;
    const dm_response mean = {{total->along / n, across, across}, total->s0 / (n * n_b0)};
    if (!isfinite(mean.evals[0]) || !isfinite(across) || !isfinite(mean.s0))
        return dmi_error(
            DM_ERR_NUMERIC,
            "response: the mean over %zu voxels is not finite; leave voxels with NaN or "
            "infinite signals out of the mask",
            total->n_voxels);
    *response = mean;
    return DM_OK;
}

/* An estimate under way. */
typedef struct estimate {
    const dm_gradients *gradients;
    double fa_threshold; /* voxels above it count; all of them if it is negative */
    dmi_tensor_fit *fit;
    double *signals; /* of one voxel */
    sums total;
} estimate;

static void estimate_fini(estimate *e)
{
    dmi_tensor_fit_destroy(e->fit);
    free(e->signals);
}

/* Yours: estimate_fini, also after a failure. */
static dm_status estimate_init(estimate *e, const dm_volume *dwi, const dm_gradients *gradients,
                               double fa_threshold)
{
    *e = (estimate){.gradients = gradients, .fa_threshold = fa_threshold};
    dm_status status = check_data(dwi, gradients);
    if (status != DM_OK)
        return status;
    dmi_linalg_one_thread();
    e->fit = dmi_tensor_fit_create(gradients);
    e->signals = calloc(dwi->n_volumes, sizeof *e->signals);
    if (!e->fit || !e->signals)
        return dmi_error(DM_ERR_NOMEM, "response: no memory for a tensor fit of %zu volumes",
                         dwi->n_volumes);
    return DM_OK;
}

/* The voxel whose signals are there. */
static void estimate_add(estimate *e)
{
    double evals[3];
    dmi_tensor_fit_voxel(e->fit, e->signals, evals);
    if (e->fa_threshold < 0 || dmi_fractional_anisotropy(evals) > e->fa_threshold)
        add_voxel(e->gradients, e->signals, evals, &e->total);
}

/* Of n voxels that were looked at. */
static dm_status estimate_finish(const estimate *e, size_t n, dm_response *response, size_t *n_used)
{
    if (e->total.n_voxels == 0)
        return dmi_error(
            DM_ERR_NUMERIC,
            "response: none of the %zu voxels at the centre has FA above %g; lower the "
            "threshold, or give a mask of voxels with a single fibre",
            n, e->fa_threshold);
    dm_status status = finish(e->gradients, &e->total, response);
    if (status == DM_OK && n_used)
        *n_used = e->total.n_voxels;
    return status;
}

static dm_status estimate_from(const dm_volume *dwi, const dm_gradients *gradients,
                               const dm_mask *mask, double fa_threshold, dm_response *response,
                               size_t *n_used)
{
    estimate e;
    dm_status status = estimate_init(&e, dwi, gradients, fa_threshold);
    for (size_t i = 0; i < mask->n && status == DM_OK; i++) {
        dm_volume_gather(dwi, 1, &mask->voxels[i], e.signals);
        estimate_add(&e);
    }
    if (status == DM_OK)
        status = estimate_finish(&e, mask->n, response, n_used);
    estimate_fini(&e);
    return status;
}

/* ---- the box --------------------------------------------------------------------------------- */

/* First and last index of the box on an axis of n voxels. */
static void box_on_axis(size_t n, size_t radius, size_t *first, size_t *last)
{
    const size_t centre = n / 2;
    if (radius > centre || radius >= n - centre)
        radius = centre < n - centre ? centre : n - centre;
    *first = centre - radius;
    *last = centre + radius < n ? centre + radius : n - 1;
}

static void list_box(const dm_grid *grid, const size_t first[3], const size_t last[3], dm_mask *box)
{
    for (size_t z = first[2]; z <= last[2]; z++)
        for (size_t y = first[1]; y <= last[1]; y++)
            for (size_t x = first[0]; x <= last[0]; x++)
                box->voxels[box->n++] = x + grid->shape[0] * (y + grid->shape[1] * z);
}

static dm_status check_settings(const dm_response_settings *s)
{
    if (s->roi_radius >= 0 && s->fa_threshold >= 0 && s->fa_threshold < 1)
        return DM_OK;
    return dmi_error(DM_ERR_INVALID,
                     "response: radius %d and FA threshold %g; expected a radius of 0 or more "
                     "voxels and a threshold from 0 to below 1",
                     s->roi_radius, s->fa_threshold);
}

dm_status dm_response_box(const dm_volume *like, const dm_response_settings *settings,
                          dm_mask **box)
{
    const dm_response_settings chosen = settings ? *settings : dm_response_defaults();
    if (!like || !box)
        return dmi_error(DM_ERR_INVALID, "response: a NULL argument; give the image");
    dm_status status = check_settings(&chosen);
    if (status != DM_OK)
        return status;
    size_t first[3], last[3], n = 1;
    for (int k = 0; k < 3; k++) {
        box_on_axis(like->grid.shape[k], (size_t)chosen.roi_radius, &first[k], &last[k]);
        n *= last[k] - first[k] + 1;
    }
    dm_mask *made = calloc(1, sizeof *made);
    if (made)
        made->voxels = calloc(n, sizeof *made->voxels);
    if (!made || !made->voxels) {
        free(made);
        return dmi_error(DM_ERR_NOMEM, "response: no memory for a box of radius %d",
                         chosen.roi_radius);
    }
    list_box(&like->grid, first, last, made);
    *box = made;
    return DM_OK;
}

dm_status dm_response_auto_ssst(const dm_volume *dwi, const dm_gradients *gradients,
                                const dm_response_settings *settings, dm_response *response,
                                size_t *n_used)
{
    const dm_response_settings chosen = settings ? *settings : dm_response_defaults();
    if (!dwi || !gradients || !response)
        return dmi_error(DM_ERR_INVALID, "response: a NULL argument; give data and gradient table");
    dm_mask *box;
    dm_status status = dm_response_box(dwi, &chosen, &box);
    if (status != DM_OK)
        return status;
    status = estimate_from(dwi, gradients, box, chosen.fa_threshold, response, n_used);
    dm_mask_destroy(box);
    return status;
}

dm_status dm_response_from_mask(const dm_volume *dwi, const dm_gradients *gradients,
                                const dm_mask *mask, dm_response *response)
{
    if (!dwi || !gradients || !mask || !response)
        return dmi_error(DM_ERR_INVALID,
                         "response: a NULL argument; give data, gradient table, mask");
    dm_status status = check_data(dwi, gradients);
    if (status != DM_OK)
        return status;
    if (mask->n == 0 || mask->voxels[mask->n - 1] >= dwi->n_voxels)
        return dmi_error(
            DM_ERR_INVALID,
            "response: the mask is empty or not of these data; give one of their shape "
            "with at least one voxel");
    return estimate_from(dwi, gradients, mask, -1, response, NULL);
}

/* ---- from signals ---------------------------------------------------------------------------- */

static dm_status add_group(estimate *e, dm_signals *signals, size_t group)
{
    dmi_chunk chunk;
    dm_status status = dmi_chunk_of_group(signals, group, &chunk);
    if (status != DM_OK)
        return status;
    const size_t n = chunk.n;
    for (size_t i = 0; i < n; i++) {
        dmi_chunk_gather(&chunk, i, 1, e->signals);
        estimate_add(e);
    }
    dmi_chunk_fini(&chunk);
    dmi_signals_let_go(signals, group * signals->layout->group + n);
    return DM_OK;
}

dm_status dm_response_from_signals(dm_signals *signals, const dm_gradients *gradients,
                                   const dm_response_settings *settings, dm_response *response,
                                   size_t *n_used)
{
    if (!signals || !gradients || !response)
        return dmi_error(DM_ERR_INVALID, "response: a NULL argument; give signals, gradient table");
    dm_status status = settings ? check_settings(settings) : DM_OK;
    if (status != DM_OK)
        return status;
    estimate e;
    status = estimate_init(&e, &signals->image, gradients, settings ? settings->fa_threshold : -1);
    for (size_t g = 0; g < signals->n_groups && status == DM_OK; g++)
        status = add_group(&e, signals, g);
    if (status == DM_OK)
        status = estimate_finish(&e, signals->mask->n, response, n_used);
    estimate_fini(&e);
    return status;
}
