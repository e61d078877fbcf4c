/*
 * response.c - the signal of one fibre, estimated from the data.
 *
 * Which voxels count, and the means over them. The tensor fit is weighted_tensor.c's, the text file
 * response_file.c's.
 */
#include "dm/models.h"
#include "models/linalg.h"
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

/* Sums over those of n voxels whose FA is above the threshold; all of them if it is negative. */
static dm_status add_voxels(const dm_volume *dwi, const dm_gradients *gradients, size_t n,
                            const size_t *voxels, double fa_threshold, sums *total)
{
    dmi_linalg_one_thread();
    dmi_tensor_fit *fit = dmi_tensor_fit_create(gradients);
    double *signals = calloc(dwi->n_volumes, sizeof *signals);
    if (!fit || !signals) {
        dmi_tensor_fit_destroy(fit);
        free(signals);
        return dmi_error(DM_ERR_NOMEM, "response: no memory for a tensor fit of %zu volumes",
                         dwi->n_volumes);
    }
    for (size_t i = 0; i < n; i++) {
        double evals[3];
        dm_volume_gather(dwi, 1, &voxels[i], signals);
        dmi_tensor_fit_voxel(fit, signals, evals);
        if (fa_threshold < 0 || dmi_fractional_anisotropy(evals) > fa_threshold)
            add_voxel(gradients, signals, evals, total);
    }
    dmi_tensor_fit_destroy(fit);
    free(signals);
    return DM_OK;
}

/* First and last index of the box on an axis of n voxels. */
static void box_on_axis(size_t n, size_t radius, size_t *first, size_t *last)
{
    const size_t centre = n / 2;
    if (radius > centre || radius >= n - centre)
        radius = centre < n - centre ? centre : n - centre;
    *first = centre - radius;
    *last = centre + radius < n ? centre + radius : n - 1;
}

/* The voxels of the box at the centre, ascending; NULL: no memory. Yours: free. */
static size_t *box_voxels(const dm_grid *grid, size_t radius, size_t *n)
{
    size_t first[3], last[3];
    *n = 1;
    for (int k = 0; k < 3; k++) {
        box_on_axis(grid->shape[k], radius, &first[k], &last[k]);
        *n *= last[k] - first[k] + 1;
    }
    size_t *voxels = calloc(*n, sizeof *voxels), *next = voxels;
    if (!voxels)
        return NULL;
    for (size_t z = first[2]; z <= last[2]; z++)
        for (size_t y = first[1]; y <= last[1]; y++)
            for (size_t x = first[0]; x <= last[0]; x++)
                *next++ = x + grid->shape[0] * (y + grid->shape[1] * z);
    return voxels;
}

dm_status dm_response_auto_ssst(const dm_volume *dwi, const dm_gradients *gradients,
                                const dm_response_settings *settings, dm_response *response,
                                size_t *n_used)
{
    const dm_response_settings chosen = settings ? *settings : dm_response_defaults();
    if (!dwi || !gradients || !response)
        return dmi_error(DM_ERR_INVALID, "response: a NULL argument; give data and gradient table");
    if (chosen.roi_radius < 0 || !(chosen.fa_threshold >= 0 && chosen.fa_threshold < 1))
        return dmi_error(DM_ERR_INVALID,
                         "response: radius %d and FA threshold %g; expected a radius of 0 or more "
                         "voxels and a threshold from 0 to below 1",
                         chosen.roi_radius, chosen.fa_threshold);
    dm_status status = check_data(dwi, gradients);
    if (status != DM_OK)
        return status;
    size_t n;
    size_t *voxels = box_voxels(&dwi->grid, (size_t)chosen.roi_radius, &n);
    if (!voxels)
        return dmi_error(DM_ERR_NOMEM, "response: no memory for a box of radius %d",
                         chosen.roi_radius);
    sums total = {0};
    status = add_voxels(dwi, gradients, n, voxels, chosen.fa_threshold, &total);
    free(voxels);
    if (status == DM_OK && total.n_voxels == 0)
        status =
            dmi_error(DM_ERR_NUMERIC,
                      "response: none of the %zu voxels at the centre has FA above %g; lower the "
                      "threshold, or give a mask of voxels with a single fibre",
                      n, chosen.fa_threshold);
    if (status == DM_OK)
        status = finish(gradients, &total, response);
    if (status == DM_OK && n_used)
        *n_used = total.n_voxels;
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
    sums total = {0};
    status = add_voxels(dwi, gradients, mask->n, mask->voxels, -1, &total);
    return status == DM_OK ? finish(gradients, &total, response) : status;
}
