/*
 * fit_chunks.c - see fit_chunks.h. Knows neither numerics nor files.
 *
 * The driver's half runs where a fit is called, dmi_fit_chunk in workers.
 */
#define _GNU_SOURCE
#include "models/fit_chunks.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the worker's half ----------------------------------------------------------------------- */

dm_status dmi_fit_chunk(dm_call *call, const dmi_fitter_kind *kind)
{
    void *fitter;
    dm_view signals;
    DM_TRY(dm_local(call, 0, kind->build, kind->destroy, &fitter));
    DM_TRY(dm_arg(call, 1, &signals));
    size_t n_volumes = kind->n_volumes(fitter);
    if (signals.dtype != DM_F64 || signals.ndim != 2 || signals.shape[1] != n_volumes)
        return dm_fail(call, "%s: the signals of a chunk are not doubles, n x %zu", kind->name,
                       n_volumes);
    size_t n = signals.shape[0], n_results = n * kind->n_results(fitter);
    dm_buffer result;
    DM_TRY(dm_create(DM_F64, 1, &n_results, &result));
    dm_status status = kind->fit(fitter, n, signals.data, result.data);
    if (status != DM_OK) {
        dm_abandon(&result);
        return status;
    }
    return dm_return(call, &result);
}

/* ---- what both drivers do -------------------------------------------------------------------- */

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

/* A fit under way. */
typedef struct run {
    const dmi_fit *fit;
    double *signals; /* of one chunk */
    double *scratch; /* a number for each voxel of one chunk */
    dm_fit_report report;
    double started;
} run;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static run run_begin(const dmi_fit *fit)
{
    return (run){.fit = fit, .report = {.n_voxels = fit->mask->n}, .started = now_s()};
}

static dm_status run_reserve(run *r, size_t chunk)
{
    r->signals = calloc(chunk * r->fit->dwi->n_volumes, sizeof *r->signals);
    r->scratch = calloc(chunk, sizeof *r->scratch);
    if (!r->signals || !r->scratch)
        return dmi_error(DM_ERR_NOMEM, "no memory for a chunk of %zu voxels", chunk);
    return DM_OK;
}

static void run_end(run *r, dm_fit_report *report)
{
    free(r->signals);
    free(r->scratch);
    r->report.seconds = now_s() - r->started;
    if (report)
        *report = r->report;
}

static void gather_signals(run *r, size_t first, size_t n)
{
    dm_volume_gather(r->fit->dwi, n, r->fit->mask->voxels + first, r->signals);
}

/* The result of voxels first .. first + n of the mask. */
static void fill_maps(run *r, size_t first, size_t n, const double *result)
{
    r->fit->fill(r->fit->context, n, r->fit->mask->voxels + first, result, r->scratch, &r->report);
}

/* ---- alone ----------------------------------------------------------------------------------- */

enum { ALONE_CHUNK = 64 }; /* as good as any; a block of a model's BLAS calls */

static dm_status alone(run *r, void *fitter, double *result)
{
    const size_t n_voxels = r->fit->mask->n;
    for (size_t first = 0; first < n_voxels; first += ALONE_CHUNK) {
        size_t left = n_voxels - first, n = left < ALONE_CHUNK ? left : ALONE_CHUNK;
        gather_signals(r, first, n);
        DM_TRY(r->fit->kind->fit(fitter, n, r->signals, result));
        fill_maps(r, first, n, result);
    }
    return DM_OK;
}

dm_status dmi_fit_alone(const dmi_fit *fit, dm_fit_report *report)
{
    run r = run_begin(fit);
    void *fitter = NULL;
    double *result = calloc(ALONE_CHUNK * fit->n_results, sizeof *result);
    dm_status status = result ? run_reserve(&r, ALONE_CHUNK)
                              : dmi_error(DM_ERR_NOMEM, "no memory for a chunk of results");
    if (status == DM_OK)
        status = fit->build_here(fit->context, &fitter);
    if (status == DM_OK)
        status = alone(&r, fitter, result);
    if (fitter)
        fit->kind->destroy(fitter);
    free(result);
    run_end(&r, report);
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

static size_t choose_window(const run *r, const cut *c, const dm_stats *session)
{
    size_t numbers = r->fit->dwi->n_volumes + r->fit->n_results;
    size_t task_bytes = longest_chunk(c) * numbers * sizeof(double);
    size_t share = session->store_bytes / 4;
    size_t window = (share < MAX_WINDOW_BYTES ? share : MAX_WINDOW_BYTES) / task_bytes;
    size_t least = (size_t)(session->workers > 0 ? session->workers : 1) * MIN_WINDOW_PER_WORKER;
    window = window > MAX_WINDOW ? MAX_WINDOW : window < least ? least : window;
    return window < c->n_chunks ? window : c->n_chunks;
}

static dm_status put_setup(const dmi_fit *fit, dm_ref *setup)
{
    void *bytes = malloc(fit->setup_bytes);
    if (!bytes)
        return dmi_error(DM_ERR_NOMEM, "no memory for %zu bytes of a %s setup", fit->setup_bytes,
                         fit->kind->name);
    dm_status status = fit->pack(fit->context, bytes, fit->setup_bytes);
    if (status == DM_OK) {
        *setup = dm_put(&DM_BYTES(bytes, fit->setup_bytes));
        status = dm_get(*setup, (void *)0);
    }
    free(bytes);
    return status;
}

static void submit_next(run *r, flight *l)
{
    size_t first = chunk_begin(&l->cut, l->submitted);
    size_t n = chunk_begin(&l->cut, l->submitted + 1) - first;
    gather_signals(r, first, n);
    dm_array signals = {
        .data = r->signals, .dtype = DM_F64, .ndim = 2, .shape = {n, r->fit->dwi->n_volumes}};
    l->refs[l->submitted++ % l->window] = dm_remote(*r->fit->chunk, l->setup, &signals);
}

static dm_status gather_next(run *r, flight *l)
{
    size_t first = chunk_begin(&l->cut, l->gathered);
    size_t n = chunk_begin(&l->cut, l->gathered + 1) - first;
    dm_view result;
    DM_TRY(dm_get(l->refs[l->gathered % l->window], &result));
    dm_status status = DM_OK;
    if (result.bytes == n * r->fit->n_results * sizeof(double))
        fill_maps(r, first, n, result.data);
    else
        status =
            dmi_error(DM_ERR_TYPE, "a chunk of %zu voxels came back as %zu bytes", n, result.bytes);
    dm_view_release(&result);
    if (status == DM_OK)
        status = dm_release(l->refs[l->gathered++ % l->window]);
    return status;
}

static dm_status fly(run *r, flight *l, const dm_fit_options *options)
{
    while (l->gathered < l->cut.n_chunks) {
        while (l->submitted < l->cut.n_chunks && l->submitted - l->gathered < l->window)
            submit_next(r, l);
        DM_TRY(gather_next(r, l));
        if (options && options->progress)
            options->progress(options->context, chunk_begin(&l->cut, l->gathered), l->cut.n_voxels);
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

static dm_status with_tasks(run *r, const dm_fit_options *options)
{
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    flight l = {.setup = DM_NO_REF};
    DM_TRY(choose_cut(options, r->fit->mask->n, session.workers, &l.cut));
    r->report.n_chunks = l.cut.n_chunks;
    l.window = choose_window(r, &l.cut, &session);
    l.refs = calloc(l.window, sizeof *l.refs);
    dm_status status = l.refs ? run_reserve(r, longest_chunk(&l.cut))
                              : dmi_error(DM_ERR_NOMEM, "no memory for %zu refs", l.window);
    if (status == DM_OK)
        status = put_setup(r->fit, &l.setup);
    if (status == DM_OK)
        status = fly(r, &l, options);
    land(&l);
    return status;
}

dm_status dmi_fit_with_tasks(const dmi_fit *fit, const dm_fit_options *options,
                             dm_fit_report *report)
{
    DM_TRY(dm_scope_begin()); /* what is spilled for a fit is of no use after it */
    run r = run_begin(fit);
    dm_status status = with_tasks(&r, options);
    run_end(&r, report);
    DM_TRY(dm_scope_end());
    return status;
}
