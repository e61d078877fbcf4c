/*
 * fit_csd.c - the fit driver of dm/fit.h for CSD: chunks of voxels out, maps back, in order.
 *
 * Does not know the numerics (csd.c) or files. The remote function and the driver that submits it
 * are in one file on purpose: a program linked with the static library gets both or neither, so a
 * function that is submitted is registered.
 *
 * The driver's half runs where dm_fit_csd is called, dm_csd_chunk in workers.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dm/dm.h"
#include "dm/fit.h"
#include "models/response_check.h"

/* ---- the worker's half ----------------------------------------------------------------------- */

/* Built once per worker: 2 ms, as much as fitting thirty voxels. */
typedef struct chunk_fitter {
    dm_csd *model;
    dm_csd_workspace *workspace;
    int32_t *iterations; /* of the chunk at hand */
    size_t capacity;     /* of iterations */
} chunk_fitter;

static void fitter_destroy(void *made)
{
    chunk_fitter *fitter = made;
    dm_csd_workspace_destroy(fitter->workspace);
    dm_csd_destroy(fitter->model);
    free(fitter->iterations);
    free(fitter);
}

static dm_status fitter_build(const dm_view *setup, void **made)
{
    chunk_fitter *fitter = calloc(1, sizeof *fitter);
    if (!fitter)
        return dmi_error(DM_ERR_NOMEM, "no memory for a CSD model");
    dm_status status = dm_csd_unpack(setup->data, setup->bytes, &fitter->model);
    if (status == DM_OK)
        status = dm_csd_workspace_create(fitter->model, &fitter->workspace);
    if (status != DM_OK) {
        fitter_destroy(fitter);
        return status;
    }
    *made = fitter;
    return DM_OK;
}

static dm_status fitter_reserve(chunk_fitter *fitter, size_t n)
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

/* `result` becomes n x n_coefficients, then n iterations: two arrays, each ready for a map. */
static dm_status fit_chunk(chunk_fitter *fitter, size_t n, const double *signals, double *result)
{
    DM_TRY(fitter_reserve(fitter, n));
    DM_TRY(dm_csd_fit(fitter->model, fitter->workspace, n, signals, result, fitter->iterations));
    double *iterations = result + n * dm_csd_n_coefficients(fitter->model);
    for (size_t i = 0; i < n; i++)
        iterations[i] = fitter->iterations[i];
    return DM_OK;
}

/* Argument 0: the packed setup, shared. Argument 1: signals, n x n_volumes. */
DM_REMOTE(dm_csd_chunk)
{
    void *made;
    dm_view signals;
    DM_TRY(dm_local(call, 0, fitter_build, fitter_destroy, &made));
    DM_TRY(dm_arg(call, 1, &signals));
    chunk_fitter *fitter = made;
    size_t n_volumes = dm_csd_n_volumes(fitter->model);
    if (signals.dtype != DM_F64 || signals.ndim != 2 || signals.shape[1] != n_volumes)
        return dm_fail(call, "the signals of a chunk are not doubles, n x %zu", n_volumes);
    size_t n = signals.shape[0];
    dm_buffer result;
    size_t n_results = n * (dm_csd_n_coefficients(fitter->model) + 1);
    DM_TRY(dm_create(DM_F64, 1, &n_results, &result));
    dm_status status = fit_chunk(fitter, n, signals.data, result.data);
    if (status != DM_OK) {
        dm_abandon(&result);
        return status;
    }
    return dm_return(call, &result);
}

/* ---- both drivers: what is asked, and where results go --------------------------------------- */

typedef struct fit {
    const dm_csd_fit_input *input;
    const dm_csd_maps *maps;
    dm_csd_settings settings;
    size_t n_voxels, n_volumes, n_coefficients;
    double *signals; /* of one chunk */
    double *gfa;     /* of one chunk */
    dm_fit_report report;
    double started;
} fit;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static dm_status check_map(const dm_volume *map, const char *name, const fit *f, size_t n_volumes)
{
    if (!map)
        return DM_OK;
    if (map->n_voxels != f->input->dwi->n_voxels || map->n_volumes != n_volumes)
        return dmi_error(DM_ERR_INVALID,
                         "the map of %s has %zu voxels in %zu volumes; this fit fills %zu in %zu",
                         name, map->n_voxels, map->n_volumes, f->input->dwi->n_voxels, n_volumes);
    return DM_OK;
}

static dm_status check_input(const dm_csd_fit_input *input)
{
    if (!input || !input->dwi || !input->gradients || !input->mask)
        return dmi_error(DM_ERR_INVALID, "a fit needs an image, gradients and a mask; one is NULL");
    if (input->gradients->n_volumes != input->dwi->n_volumes)
        return dmi_error(DM_ERR_INVALID,
                         "the gradient table has %zu entries and the image %zu volumes",
                         input->gradients->n_volumes, input->dwi->n_volumes);
    if (input->mask->n == 0)
        return dmi_error(DM_ERR_INVALID, "the mask has no voxel, so there is nothing to fit");
    if (input->mask->voxels[input->mask->n - 1] >= input->dwi->n_voxels)
        return dmi_error(DM_ERR_INVALID, "the mask is not of this image: it names voxel %zu of %zu",
                         input->mask->voxels[input->mask->n - 1], input->dwi->n_voxels);
    return dmi_response_check("a fit", &input->response);
}

static dm_status fit_init(fit *f, const dm_csd_fit_input *input, const dm_csd_maps *maps)
{
    *f = (fit){.input = input, .maps = maps, .started = now_s()};
    DM_TRY(check_input(input));
    if (!maps)
        return dmi_error(DM_ERR_INVALID, "a fit needs maps to fill; NULL was given");
    f->settings = input->settings ? *input->settings : dm_csd_defaults();
    f->n_voxels = f->report.n_voxels = input->mask->n;
    f->n_volumes = input->dwi->n_volumes;
    f->n_coefficients = dm_sh_count(f->settings.lmax);
    if (f->n_coefficients == 0)
        return dmi_error(DM_ERR_INVALID, "lmax is %d; it must be even, 2 to %d", f->settings.lmax,
                         DM_SH_MAX_ORDER);
    DM_TRY(check_map(maps->coefficients, "coefficients", f, f->n_coefficients));
    DM_TRY(check_map(maps->gfa, "GFA", f, 1));
    return check_map(maps->iterations, "iterations", f, 1);
}

static dm_status fit_reserve(fit *f, size_t chunk)
{
    f->signals = calloc(chunk * f->n_volumes, sizeof *f->signals);
    f->gfa = calloc(chunk, sizeof *f->gfa);
    if (!f->signals || !f->gfa)
        return dmi_error(DM_ERR_NOMEM, "no memory for a chunk of %zu voxels", chunk);
    return DM_OK;
}

static void fit_fini(fit *f)
{
    free(f->signals);
    free(f->gfa);
}

static void count(fit *f, size_t n, const double *coefficients, const double *iterations)
{
    for (size_t i = 0; i < n; i++) {
        f->report.n_nan += isnan(coefficients[i * f->n_coefficients]);
        f->report.n_unconverged += iterations[i] >= f->settings.max_iterations;
    }
}

/* The results of voxels first .. first + n of the mask, laid out as by fit_chunk, into the maps. */
static void fill_maps(fit *f, size_t first, size_t n, const double *result)
{
    const size_t *voxels = f->input->mask->voxels + first;
    const double *iterations = result + n * f->n_coefficients;
    if (f->maps->coefficients)
        dm_volume_scatter(f->maps->coefficients, n, voxels, result);
    if (f->maps->gfa) {
        dm_gfa_from_coefficients(n, f->n_coefficients, result, f->gfa);
        dm_volume_scatter(f->maps->gfa, n, voxels, f->gfa);
    }
    if (f->maps->iterations)
        dm_volume_scatter(f->maps->iterations, n, voxels, iterations);
    count(f, n, result, iterations);
}

static void fit_report(fit *f, dm_fit_report *report)
{
    f->report.seconds = now_s() - f->started;
    if (report)
        *report = f->report;
}

/* ---- alone ----------------------------------------------------------------------------------- */

enum { ALONE_CHUNK = 64 }; /* as good as any; a block of the model's BLAS calls */

static dm_status alone(fit *f, chunk_fitter *fitter, double *result)
{
    for (size_t first = 0; first < f->n_voxels; first += ALONE_CHUNK) {
        size_t left = f->n_voxels - first, n = left < ALONE_CHUNK ? left : ALONE_CHUNK;
        dm_volume_gather(f->input->dwi, n, f->input->mask->voxels + first, f->signals);
        DM_TRY(fit_chunk(fitter, n, f->signals, result));
        fill_maps(f, first, n, result);
    }
    return DM_OK;
}

static dm_status fit_alone(fit *f)
{
    chunk_fitter fitter = {0};
    double *result = calloc(ALONE_CHUNK * (f->n_coefficients + 1), sizeof *result);
    dm_status status = result ? fit_reserve(f, ALONE_CHUNK)
                              : dmi_error(DM_ERR_NOMEM, "no memory for a chunk of results");
    if (status == DM_OK)
        status =
            dm_csd_create(&f->settings, f->input->gradients, &f->input->response, &fitter.model);
    if (status == DM_OK)
        status = dm_csd_workspace_create(fitter.model, &fitter.workspace);
    if (status == DM_OK)
        status = alone(f, &fitter, result);
    dm_csd_workspace_destroy(fitter.workspace);
    dm_csd_destroy(fitter.model);
    free(fitter.iterations);
    free(result);
    return status;
}

dm_status dm_fit_csd_alone(const dm_csd_fit_input *input, const dm_csd_maps *maps,
                           dm_fit_report *report)
{
    fit f;
    DM_TRY(fit_init(&f, input, maps));
    dm_status status = fit_alone(&f);
    fit_fini(&f);
    fit_report(&f, report);
    return status;
}

/* ---- with tasks ------------------------------------------------------------------------------ */

enum { MIN_CHUNK = 16, MAX_CHUNK = 1024, CHUNKS_PER_WORKER = 8 };

/* Tasks under way: enough that no worker waits for the driver; more would only hold memory. */
enum { MAX_WINDOW = 4096, MAX_WINDOW_BYTES = 256 << 20, MIN_WINDOW_PER_WORKER = 2 };

size_t dm_fit_default_chunk(size_t n_voxels, int workers)
{
    size_t chunks = (size_t)(workers > 0 ? workers : 1) * CHUNKS_PER_WORKER;
    size_t voxels = (n_voxels + chunks - 1) / chunks;
    return voxels < MIN_CHUNK ? MIN_CHUNK : voxels > MAX_CHUNK ? MAX_CHUNK : voxels;
}

/* Chunk c is the voxels from chunk_begin(c) to chunk_begin(c + 1) of the mask. */
typedef struct cut {
    size_t n_voxels, n_chunks;
    size_t voxels_per_chunk; /* 0: as even as can be */
} cut;

static size_t chunk_begin(const cut *c, size_t chunk)
{
    if (chunk >= c->n_chunks)
        return c->n_voxels;
    if (c->voxels_per_chunk)
        return chunk * c->voxels_per_chunk;
    size_t rest = c->n_voxels % c->n_chunks;
    return chunk * (c->n_voxels / c->n_chunks) + (chunk < rest ? chunk : rest);
}

static size_t longest_chunk(const cut *c)
{
    size_t longest =
        c->voxels_per_chunk ? c->voxels_per_chunk : (c->n_voxels + c->n_chunks - 1) / c->n_chunks;
    return longest < c->n_voxels ? longest : c->n_voxels;
}

static dm_status choose_cut(const dm_fit_options *options, size_t n_voxels, int workers, cut *c)
{
    *c = (cut){.n_voxels = n_voxels};
    if (options && options->chunks && options->voxels_per_chunk)
        return dmi_error(DM_ERR_INVALID,
                         "%zu chunks and %zu voxels per chunk were asked for; "
                         "only one of them can be chosen",
                         options->chunks, options->voxels_per_chunk);
    if (options && options->chunks) {
        c->n_chunks = options->chunks < n_voxels ? options->chunks : n_voxels;
        return DM_OK;
    }
    c->voxels_per_chunk = options && options->voxels_per_chunk
                              ? options->voxels_per_chunk
                              : dm_fit_default_chunk(n_voxels, workers);
    if (c->voxels_per_chunk > n_voxels)
        c->voxels_per_chunk = n_voxels;
    c->n_chunks = (n_voxels + c->voxels_per_chunk - 1) / c->voxels_per_chunk;
    return DM_OK;
}

/* The tasks under way: chunks `gathered` up to `submitted`, in a ring. */
typedef struct flight {
    cut cut;
    dm_ref setup;
    dm_ref *refs;
    size_t window, submitted, gathered;
} flight;

static size_t choose_window(const fit *f, const cut *c, const dm_stats *session)
{
    size_t task_bytes = longest_chunk(c) * (f->n_volumes + f->n_coefficients + 1) * sizeof(double);
    size_t share = session->store_bytes / 4;
    size_t window = (share < MAX_WINDOW_BYTES ? share : MAX_WINDOW_BYTES) / task_bytes;
    size_t least = (size_t)(session->workers > 0 ? session->workers : 1) * MIN_WINDOW_PER_WORKER;
    window = window > MAX_WINDOW ? MAX_WINDOW : window < least ? least : window;
    return window < c->n_chunks ? window : c->n_chunks;
}

static dm_status put_setup(const fit *f, dm_ref *setup)
{
    size_t n_bytes = dm_csd_packed_bytes(f->input->gradients);
    void *bytes = malloc(n_bytes);
    if (!bytes)
        return dmi_error(DM_ERR_NOMEM, "no memory for %zu bytes of a CSD setup", n_bytes);
    dm_status status =
        dm_csd_pack(&f->settings, f->input->gradients, &f->input->response, bytes, n_bytes);
    if (status == DM_OK) {
        *setup = dm_put(&DM_BYTES(bytes, n_bytes));
        status = dm_get(*setup, (void *)0);
    }
    free(bytes);
    return status;
}

static void submit_next(fit *f, flight *l)
{
    size_t first = chunk_begin(&l->cut, l->submitted);
    size_t n = chunk_begin(&l->cut, l->submitted + 1) - first;
    dm_volume_gather(f->input->dwi, n, f->input->mask->voxels + first, f->signals);
    dm_array signals = {.data = f->signals, .dtype = DM_F64, .ndim = 2, .shape = {n, f->n_volumes}};
    l->refs[l->submitted++ % l->window] = dm_remote(dm_csd_chunk, l->setup, &signals);
}

static dm_status gather_next(fit *f, flight *l)
{
    size_t first = chunk_begin(&l->cut, l->gathered);
    size_t n = chunk_begin(&l->cut, l->gathered + 1) - first;
    dm_view result;
    DM_TRY(dm_get(l->refs[l->gathered % l->window], &result));
    dm_status status = DM_OK;
    if (result.bytes == n * (f->n_coefficients + 1) * sizeof(double))
        fill_maps(f, first, n, result.data);
    else
        status =
            dmi_error(DM_ERR_TYPE, "a chunk of %zu voxels came back as %zu bytes", n, result.bytes);
    dm_view_release(&result);
    if (status == DM_OK)
        status = dm_release(l->refs[l->gathered++ % l->window]);
    return status;
}

static dm_status fly(fit *f, flight *l, const dm_fit_options *options)
{
    while (l->gathered < l->cut.n_chunks) {
        while (l->submitted < l->cut.n_chunks && l->submitted - l->gathered < l->window)
            submit_next(f, l);
        DM_TRY(gather_next(f, l));
        if (options && options->progress)
            options->progress(options->context, chunk_begin(&l->cut, l->gathered), f->n_voxels);
    }
    return DM_OK;
}

/* What is left after an error. A release that fails has nothing to add to that error. */
static void land(flight *l)
{
    for (; l->gathered < l->submitted; l->gathered++)
        (void)dm_release(l->refs[l->gathered % l->window]);
    if (l->setup.id != DM_NO_REF.id)
        (void)dm_release(l->setup);
    free(l->refs);
}

static dm_status fit_with_tasks(fit *f, const dm_fit_options *options)
{
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    flight l = {.setup = DM_NO_REF};
    DM_TRY(choose_cut(options, f->n_voxels, session.workers, &l.cut));
    f->report.n_chunks = l.cut.n_chunks;
    l.window = choose_window(f, &l.cut, &session);
    l.refs = calloc(l.window, sizeof *l.refs);
    dm_status status = l.refs ? fit_reserve(f, longest_chunk(&l.cut))
                              : dmi_error(DM_ERR_NOMEM, "no memory for %zu refs", l.window);
    if (status == DM_OK)
        status = put_setup(f, &l.setup);
    if (status == DM_OK)
        status = fly(f, &l, options);
    land(&l);
    return status;
}

dm_status dm_fit_csd(const dm_csd_fit_input *input, const dm_fit_options *options,
                     const dm_csd_maps *maps, dm_fit_report *report)
{
    fit f;
    DM_TRY(fit_init(&f, input, maps));
    dm_status status = fit_with_tasks(&f, options);
    fit_fini(&f);
    fit_report(&f, report);
    return status;
}
