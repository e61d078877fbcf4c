/*
 * fit_chunks.c - what a worker does with a chunk, and what a fit can be asked for. Knows neither numerics nor files.
 */
#include "models/fit_chunks.h"

#include <stdlib.h>

/* ---- the worker's half ----------------------------------------------------------------------- */

/* Voxels whose signals are made doubles at a time: they stay in the cache until they are fitted. */
enum { BLOCK = 64 };

static dm_status fit_blocks(const dmi_fitter_kind *kind, void *fitter, const dmi_chunk *chunk,
                            double *signals, double *result)
{
    const size_t n_values = kind->n_results(fitter) - 1;
    for (size_t first = 0; first < chunk->n; first += BLOCK) {
        const size_t left = chunk->n - first, n = left < BLOCK ? left : BLOCK;
        dmi_chunk_gather(chunk, first, n, signals);
        DM_TRY(kind->fit(fitter, n, signals, result + first * n_values,
                         result + chunk->n * n_values + first));
    }
    return DM_OK;
}

static dm_status fit_into(const dmi_fitter_kind *kind, void *fitter, const dmi_chunk *chunk,
                          dm_buffer *result)
{
    const size_t n_results = chunk->n * kind->n_results(fitter);
    const size_t block = chunk->n < BLOCK ? chunk->n : BLOCK;
    double *signals = malloc(block * chunk->layout->n_volumes * sizeof *signals);
    if (!signals)
        return dmi_error(DM_ERR_NOMEM, "no memory for the signals of %zu voxels", block);
    dm_status status = dm_create(DM_F64, 1, &n_results, result);
    if (status == DM_OK)
        status = fit_blocks(kind, fitter, chunk, signals, result->data);
    if (status != DM_OK)
        dm_abandon(result);
    free(signals);
    return status;
}

dm_status dmi_fit_chunk(dm_call *call, const dmi_fitter_kind *kind)
{
    void *fitter;
    dmi_chunk chunk;
    dm_buffer result = {0};
    DM_TRY(dm_local(call, 0, kind->build, kind->destroy, &fitter));
    DM_TRY(dmi_chunk_of_call(call, 1, &chunk));
    dm_status status = DM_OK;
    if (chunk.layout->n_volumes != kind->n_volumes(fitter))
        status = dm_fail(call, "%s: the signals of a chunk have %zu volumes, the model has %zu",
                         kind->name, (size_t)chunk.layout->n_volumes, kind->n_volumes(fitter));
    if (status == DM_OK)
        status = fit_into(kind, fitter, &chunk, &result);
    dmi_chunk_fini(&chunk);
    return status == DM_OK ? dm_return(call, &result) : status;
}

/* ---- what may be asked for ------------------------------------------------------------------- */

void dmi_fit_of_signals(const dm_signals *signals, const dm_volume **dwi, const dm_mask **mask)
{
    if (!signals)
        return;
    *dwi = &signals->image;
    *mask = signals->mask;
}

dm_status dmi_fit_check(const dm_volume *dwi, const dm_gradients *gradients, const dm_mask *mask)
{
    if (!dwi || !gradients || !mask)
        return dmi_error(DM_ERR_INVALID, "a fit needs an image, gradients and a mask; one is NULL");
    if (gradients->n_volumes != dwi->n_volumes)
        return dmi_error(DM_ERR_INVALID,
                         "the gradient table has %zu entries and the image %zu volumes",
                         gradients->n_volumes, dwi->n_volumes);
    if (mask->n == 0)
        return dmi_error(DM_ERR_INVALID, "the mask has no voxel, so there is nothing to fit");
    if (mask->voxels[mask->n - 1] >= dwi->n_voxels)
        return dmi_error(DM_ERR_INVALID, "the mask is not of this image: it names voxel %zu of %zu",
                         mask->voxels[mask->n - 1], dwi->n_voxels);
    return DM_OK;
}

dm_status dmi_fit_check_map(const dm_volume *map, const char *name, const dm_volume *dwi,
                            size_t n_volumes)
{
    if (!map || (map->n_voxels == dwi->n_voxels && map->n_volumes == n_volumes))
        return DM_OK;
    return dmi_error(DM_ERR_INVALID,
                     "the map of %s has %zu voxels in %zu volumes; this fit fills %zu in %zu", name,
                     map->n_voxels, map->n_volumes, dwi->n_voxels, n_volumes);
}
