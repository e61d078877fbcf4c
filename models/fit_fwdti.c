/*
 * fit_fwdti.c - the free-water fit of a whole image by tasks: the fitter, its remote function, and
 * where results go.
 *
 * Does not know the numerics (fwdti.c) or how voxels are cut and sent (fit_drive.c).
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "models/fit_chunks.h"

/* ---- the worker's half ----------------------------------------------------------------------- */

typedef struct fwdti_fitter {
    dm_fwdti *model;
    dm_fwdti_workspace *workspace;
} fwdti_fitter;

static void fitter_destroy(void *made)
{
    fwdti_fitter *fitter = made;
    dm_fwdti_workspace_destroy(fitter->workspace);
    dm_fwdti_destroy(fitter->model);
    free(fitter);
}

/* A fitter around a model, which it takes over, also if it fails. */
static dm_status fitter_create(dm_fwdti *model, void **made)
{
    fwdti_fitter *fitter = calloc(1, sizeof *fitter);
    if (!fitter) {
        dm_fwdti_destroy(model);
        return dmi_error(DM_ERR_NOMEM, "no memory for a free-water model");
    }
    fitter->model = model;
    dm_status status = dm_fwdti_workspace_create(model, &fitter->workspace);
    if (status != DM_OK) {
        fitter_destroy(fitter);
        return status;
    }
    *made = fitter;
    return DM_OK;
}

static dm_status fitter_build(const dm_view *setup, void **made)
{
    dm_fwdti *model;
    DM_TRY(dm_fwdti_unpack(setup->data, setup->bytes, &model));
    return fitter_create(model, made);
}

static size_t fitter_n_volumes(const void *made)
{
    return dm_fwdti_n_volumes(((const fwdti_fitter *)made)->model);
}

enum { P = DM_FWDTI_PARAMETERS, RESULTS = P + 1 };

static size_t fitter_n_results(const void *made)
{
    (void)made;
    return RESULTS;
}

/* Voxel by voxel, so that counts need no array of their own. */
static dm_status fitter_fit(void *made, size_t n, const double *signals, double *parameters,
                            double *evaluations)
{
    fwdti_fitter *fitter = made;
    for (size_t i = 0; i < n; i++) {
        int32_t count;
        DM_TRY(dm_fwdti_fit(fitter->model, fitter->workspace, 1,
                            signals + i * dm_fwdti_n_volumes(fitter->model), parameters + i * P,
                            &count));
        evaluations[i] = count;
    }
    return DM_OK;
}

static const dmi_fitter_kind kind = {.name = "free-water",
                                     .build = fitter_build,
                                     .destroy = fitter_destroy,
                                     .n_volumes = fitter_n_volumes,
                                     .n_results = fitter_n_results,
                                     .fit = fitter_fit};

DM_REMOTE(dm_fwdti_chunk)
{
    return dmi_fit_chunk(call, &kind);
}

/* ---- the driver's half ----------------------------------------------------------------------- */

typedef struct fwdti_job {
    const dm_fwdti_fit_input *input;
    const dm_fwdti_maps *maps;
    const dm_volume *dwi;
    const dm_mask *mask;
    dm_fwdti_settings settings;
} fwdti_job;

static dm_status job_pack(const void *context, void *bytes, size_t n_bytes)
{
    const fwdti_job *job = context;
    return dm_fwdti_pack(&job->settings, job->input->gradients, bytes, n_bytes);
}

static dm_status job_build(const void *context, void **made)
{
    const fwdti_job *job = context;
    dm_fwdti *model;
    DM_TRY(dm_fwdti_create(&job->settings, job->input->gradients, &model));
    return fitter_create(model, made);
}

static void fill_one(dm_volume *map, dm_fwdti_measures measures, size_t n, const size_t *voxels,
                     const double *parameters, const double *scratch)
{
    if (!map)
        return;
    dm_fwdti_measure(n, parameters, &measures);
    dm_volume_scatter(map, n, voxels, scratch);
}

/* `result`: parameters, then evaluations. */
static dm_status job_fill(const void *context, size_t n, const size_t *voxels, const double *result,
                          double *scratch, dm_fit_report *report)
{
    const dm_fwdti_maps *maps = ((const fwdti_job *)context)->maps;
    const double *evaluations = result + n * P;
    if (maps->parameters)
        dm_volume_scatter(maps->parameters, n, voxels, result);
    fill_one(maps->f, (dm_fwdti_measures){.f = scratch}, n, voxels, result, scratch);
    fill_one(maps->fa, (dm_fwdti_measures){.fa = scratch}, n, voxels, result, scratch);
    fill_one(maps->md, (dm_fwdti_measures){.md = scratch}, n, voxels, result, scratch);
    fill_one(maps->ad, (dm_fwdti_measures){.ad = scratch}, n, voxels, result, scratch);
    fill_one(maps->rd, (dm_fwdti_measures){.rd = scratch}, n, voxels, result, scratch);
    if (maps->evaluations)
        dm_volume_scatter(maps->evaluations, n, voxels, evaluations);
    for (size_t i = 0; i < n; i++) {
        report->n_nan += isnan(result[i * P]);
        report->n_unconverged += evaluations[i] >= DM_FWDTI_MAX_EVALUATIONS;
    }
    return maps->take ? maps->take(maps->context, n, voxels, result, evaluations) : DM_OK;
}

static dm_status check_maps(const dm_fwdti_maps *maps, const dm_volume *dwi)
{
    DM_TRY(dmi_fit_check_map(maps->parameters, "parameters", dwi, P));
    DM_TRY(dmi_fit_check_map(maps->f, "f", dwi, 1));
    DM_TRY(dmi_fit_check_map(maps->fa, "FA", dwi, 1));
    DM_TRY(dmi_fit_check_map(maps->md, "MD", dwi, 1));
    DM_TRY(dmi_fit_check_map(maps->ad, "AD", dwi, 1));
    DM_TRY(dmi_fit_check_map(maps->rd, "RD", dwi, 1));
    return dmi_fit_check_map(maps->evaluations, "evaluations", dwi, 1);
}

/* A model is made only to hear whether settings and gradients can be one: here its refusal is the
 * caller's, in a worker it would be a task's. */
static dm_status job_init(fwdti_job *job, const dm_fwdti_fit_input *input,
                          const dm_fwdti_maps *maps)
{
    if (!input || !maps)
        return dmi_error(DM_ERR_INVALID, "a fit needs an input and maps to fill; one is NULL");
    *job = (fwdti_job){.input = input, .maps = maps, .dwi = input->dwi, .mask = input->mask};
    dmi_fit_of_signals(input->signals, &job->dwi, &job->mask);
    DM_TRY(dmi_fit_check(job->dwi, input->gradients, job->mask));
    DM_TRY(check_maps(maps, job->dwi));
    job->settings = input->settings ? *input->settings : dm_fwdti_defaults();
    dm_fwdti *model;
    DM_TRY(dm_fwdti_create(&job->settings, input->gradients, &model));
    dm_fwdti_destroy(model);
    return DM_OK;
}

static dmi_fit fit_of(const fwdti_job *job)
{
    return (dmi_fit){.kind = &kind,
                     .chunk = &dm_fwdti_chunk,
                     .dwi = job->dwi,
                     .mask = job->mask,
                     .signals = job->input->signals,
                     .n_results = RESULTS,
                     .setup_bytes = dm_fwdti_packed_bytes(job->input->gradients),
                     .context = job,
                     .pack = job_pack,
                     .build_here = job_build,
                     .fill = job_fill};
}

dm_status dm_fit_fwdti(const dm_fwdti_fit_input *input, const dm_fit_options *options,
                       const dm_fwdti_maps *maps, dm_fit_report *report)
{
    fwdti_job job;
    DM_TRY(job_init(&job, input, maps));
    const dmi_fit fit = fit_of(&job);
    return dmi_fit_with_tasks(&fit, options, report);
}

dm_status dm_fit_fwdti_alone(const dm_fwdti_fit_input *input, const dm_fwdti_maps *maps,
                             dm_fit_report *report)
{
    fwdti_job job;
    DM_TRY(job_init(&job, input, maps));
    const dmi_fit fit = fit_of(&job);
    return dmi_fit_alone(&fit, report);
}
