/*
 * fit_csd.c - CSD of a whole image by tasks: the fitter, its remote function, and where results go.
 *
 * Does not know the numerics (csd.c) or how voxels are cut and sent (fit_drive.c).
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "models/fit_chunks.h"
#include "models/response_check.h"

/* ---- the worker's half ----------------------------------------------------------------------- */

/* Built once per worker: 2 ms, as much as fitting thirty voxels. */
typedef struct csd_fitter {
    dm_csd *model;
    dm_csd_workspace *workspace;
    int32_t *iterations; /* of the chunk at hand */
    size_t capacity;     /* of iterations */
} csd_fitter;

static void fitter_destroy(void *made)
{
    csd_fitter *fitter = made;
    dm_csd_workspace_destroy(fitter->workspace);
    dm_csd_destroy(fitter->model);
    free(fitter->iterations);
    free(fitter);
}

/* A fitter around a model, which it takes over, also if it fails. */
static dm_status fitter_create(dm_csd *model, void **made)
{
    csd_fitter *fitter = calloc(1, sizeof *fitter);
    if (!fitter) {
        dm_csd_destroy(model);
        return dmi_error(DM_ERR_NOMEM, "no memory for a CSD model");
    }
    fitter->model = model;
    dm_status status = dm_csd_workspace_create(model, &fitter->workspace);
    if (status != DM_OK) {
        fitter_destroy(fitter);
        return status;
    }
    *made = fitter;
    return DM_OK;
}

static dm_status fitter_build(const dm_view *setup, void **made)
{
    dm_csd *model;
    DM_TRY(dm_csd_unpack(setup->data, setup->bytes, &model));
    return fitter_create(model, made);
}

static dm_status fitter_reserve(csd_fitter *fitter, size_t n)
{
    if (n <= fitter->capacity)
        return DM_OK;
    int32_t *grown = realloc(fitter->iterations, n * sizeof *grown);
    if (!grown)
        return dmi_error(DM_ERR_NOMEM, "no memory for the iterations of %zu voxels", n);
    fitter->iterations = grown;
    fitter->capacity = n;
    return DM_OK;
}

static size_t fitter_n_volumes(const void *made)
{
    return dm_csd_n_volumes(((const csd_fitter *)made)->model);
}

static size_t fitter_n_results(const void *made)
{
    return dm_csd_n_coefficients(((const csd_fitter *)made)->model) + 1;
}

static dm_status fitter_fit(void *made, size_t n, const double *signals, double *coefficients,
                            double *iterations)
{
    csd_fitter *fitter = made;
    DM_TRY(fitter_reserve(fitter, n));
    DM_TRY(
        dm_csd_fit(fitter->model, fitter->workspace, n, signals, coefficients, fitter->iterations));
    for (size_t i = 0; i < n; i++)
        iterations[i] = fitter->iterations[i];
    return DM_OK;
}

static const dmi_fitter_kind kind = {.name = "CSD",
                                     .build = fitter_build,
                                     .destroy = fitter_destroy,
                                     .n_volumes = fitter_n_volumes,
                                     .n_results = fitter_n_results,
                                     .fit = fitter_fit};

DM_REMOTE(dm_csd_chunk)
{
    return dmi_fit_chunk(call, &kind);
}

/* ---- the driver's half ----------------------------------------------------------------------- */

typedef struct csd_job {
    const dm_csd_fit_input *input;
    const dm_csd_maps *maps;
    const dm_volume *dwi;
    const dm_mask *mask;
    dm_csd_settings settings;
    size_t n_coefficients;
} csd_job;

static dm_status job_pack(const void *context, void *bytes, size_t n_bytes)
{
    const csd_job *job = context;
    return dm_csd_pack(&job->settings, job->input->gradients, &job->input->response, bytes,
                       n_bytes);
}

static dm_status job_build(const void *context, void **made)
{
    const csd_job *job = context;
    dm_csd *model;
    DM_TRY(dm_csd_create(&job->settings, job->input->gradients, &job->input->response, &model));
    return fitter_create(model, made);
}

static void count(const csd_job *job, size_t n, const double *coefficients,
                  const double *iterations, dm_fit_report *report)
{
    for (size_t i = 0; i < n; i++) {
        report->n_nan += isnan(coefficients[i * job->n_coefficients]);
        report->n_unconverged += iterations[i] >= job->settings.max_iterations;
    }
}

/* `result`: coefficients, then iterations. */
static dm_status job_fill(const void *context, size_t n, const size_t *voxels, const double *result,
                          double *scratch, dm_fit_report *report)
{
    const csd_job *job = context;
    const double *iterations = result + n * job->n_coefficients;
    if (job->maps->coefficients)
        dm_volume_scatter(job->maps->coefficients, n, voxels, result);
    if (job->maps->gfa) {
        dm_gfa_from_coefficients(n, job->n_coefficients, result, scratch);
        dm_volume_scatter(job->maps->gfa, n, voxels, scratch);
    }
    if (job->maps->iterations)
        dm_volume_scatter(job->maps->iterations, n, voxels, iterations);
    count(job, n, result, iterations, report);
    const dm_csd_maps *maps = job->maps;
    return maps->take ? maps->take(maps->context, n, voxels, result, iterations) : DM_OK;
}

static dm_status job_init(csd_job *job, const dm_csd_fit_input *input, const dm_csd_maps *maps)
{
    if (!input || !maps)
        return dmi_error(DM_ERR_INVALID, "a fit needs an input and maps to fill; one is NULL");
    *job = (csd_job){.input = input, .maps = maps, .dwi = input->dwi, .mask = input->mask};
    dmi_fit_of_signals(input->signals, &job->dwi, &job->mask);
    DM_TRY(dmi_fit_check(job->dwi, input->gradients, job->mask));
    DM_TRY(dmi_response_check("a fit", &input->response));
    job->settings = input->settings ? *input->settings : dm_csd_defaults();
    job->n_coefficients = dm_sh_count(job->settings.lmax);
    if (job->n_coefficients == 0)
        return dmi_error(DM_ERR_INVALID, "lmax is %d; it must be even, 2 to %d", job->settings.lmax,
                         DM_SH_MAX_ORDER);
    DM_TRY(dmi_fit_check_map(maps->coefficients, "coefficients", job->dwi, job->n_coefficients));
    DM_TRY(dmi_fit_check_map(maps->gfa, "GFA", job->dwi, 1));
    return dmi_fit_check_map(maps->iterations, "iterations", job->dwi, 1);
}

static dmi_fit fit_of(const csd_job *job)
{
    return (dmi_fit){.kind = &kind,
                     .chunk = &dm_csd_chunk,
                     .dwi = job->dwi,
                     .mask = job->mask,
                     .signals = job->input->signals,
                     .n_results = job->n_coefficients + 1,
                     .setup_bytes = dm_csd_packed_bytes(job->input->gradients),
                     .context = job,
                     .pack = job_pack,
                     .build_here = job_build,
                     .fill = job_fill};
}

dm_status dm_fit_csd(const dm_csd_fit_input *input, const dm_fit_options *options,
                     const dm_csd_maps *maps, dm_fit_report *report)
{
    csd_job job;
    DM_TRY(job_init(&job, input, maps));
    const dmi_fit fit = fit_of(&job);
    return dmi_fit_with_tasks(&fit, options, report);
}

dm_status dm_fit_csd_alone(const dm_csd_fit_input *input, const dm_csd_maps *maps,
                           dm_fit_report *report)
{
    csd_job job;
    DM_TRY(job_init(&job, input, maps));
    const dmi_fit fit = fit_of(&job);
    return dmi_fit_alone(&fit, report);
}
