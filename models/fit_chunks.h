/*
 * fit_chunks.h - what the fits of all models share: the voxels of a mask are cut into chunks, each
 * chunk is a task, and the results are gathered in order.
 *
 * A model brings a fitter: what a worker builds from the packed setup and fits chunks with. Its
 * remote function is in the model's own file, beside the driver that submits it, on purpose: a
 * program linked with the static library gets both or neither, so a function that is submitted is
 * registered.
 */
#ifndef DM_MODELS_FIT_CHUNKS_H
#define DM_MODELS_FIT_CHUNKS_H

#include "dm/dm.h"
#include "dm/fit.h"
#include "models/signals.h"

/* ---- the worker's half ---- */

typedef struct dmi_fitter_kind {
    const char *name; /* in messages, "CSD" */
    /* From the packed setup, once per worker; not thread-safe, so each worker has its own. */
    dm_local_build build;
    dm_local_destroy destroy;
    size_t (*n_volumes)(const void *fitter);
    /* How many numbers a voxel results in. */
    size_t (*n_results)(const void *fitter);
    /* `values` becomes n times all of them but one, `counts` n times the last. */
    dm_status (*fit)(void *fitter, size_t n, const double *signals, double *values, double *counts);
} dmi_fitter_kind;

/* The body of a model's remote function. Argument 0: the packed setup, shared. From argument 1 on:
 * signals, see signals.h. Returns the values of all voxels, then their counts: two arrays, each ready
 * for a map. */
dm_status dmi_fit_chunk(dm_call *call, const dmi_fitter_kind *kind) DM_NODISCARD;

/* ---- the driver's half ---- */

typedef struct dmi_fit {
    const dmi_fitter_kind *kind;
    const dm_function *chunk; /* its remote function */
    const dm_volume *dwi;     /* without data, where there are signals */
    const dm_mask *mask;
    dm_signals *signals; /* NULL: from the data of dwi */
    size_t n_results;    /* numbers per voxel, of a model that was not made yet */
    size_t setup_bytes;
    const void *context; /* of the three below */
    dm_status (*pack)(const void *context, void *bytes, size_t n_bytes);
    /* A fitter in this process, from the original parts. */
    dm_status (*build_here)(const void *context, void **fitter);
    /* The result of n voxels into the maps, and what there is to count into the report. `scratch`
     * is n numbers. */
    dm_status (*fill)(const void *context, size_t n, const size_t *voxels, const double *result,
                      double *scratch, dm_fit_report *report);
} dmi_fit;

/* What is fitted, of a model's input: that of the signals, if there are some. */
void dmi_fit_of_signals(const dm_signals *signals, const dm_volume **dwi, const dm_mask **mask);

/* DM_ERR_INVALID unless the three are there, belong together, and there is a voxel to fit. */
dm_status dmi_fit_check(const dm_volume *dwi, const dm_gradients *gradients,
                        const dm_mask *mask) DM_NODISCARD;

/* DM_ERR_INVALID unless the map is NULL or of the image's voxels and so many volumes. */
dm_status dmi_fit_check_map(const dm_volume *map, const char *name, const dm_volume *dwi,
                            size_t n_volumes) DM_NODISCARD;

/* By tasks of the running session; and in the calling thread alone. Both may have options or report
 * NULL, and fill the report even if they fail. */
dm_status dmi_fit_with_tasks(const dmi_fit *fit, const dm_fit_options *options,
                             dm_fit_report *report) DM_NODISCARD;
dm_status dmi_fit_alone(const dmi_fit *fit, dm_fit_report *report) DM_NODISCARD;

#endif
