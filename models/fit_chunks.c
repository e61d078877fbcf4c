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

/* ---- what both drivers do -------------------------------------------------------------------- */

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

/* A fit under way. */
typedef struct run {
    const dmi_fit *fit;
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
    r->scratch = calloc(chunk, sizeof *r->scratch);
    if (!r->scratch)
        return dmi_error(DM_ERR_NOMEM, "no memory for a chunk of %zu voxels", chunk);
    return DM_OK;
}

static void run_end(run *r, dm_fit_report *report)
{
    free(r->scratch);
    r->report.seconds = now_s() - r->started;
    if (report)
        *report = r->report;
}

/* The result of voxels first .. first + n of the mask. */
static dm_status fill_maps(run *r, size_t first, size_t n, const double *result)
{
    return r->fit->fill(r->fit->context, n, r->fit->mask->voxels + first, result, r->scratch,
                        &r->report);
}

/* ---- alone ----------------------------------------------------------------------------------- */

enum { ALONE_CHUNK = 64 }; /* as good as any; a block of a model's BLAS calls */

static dm_status alone(run *r, void *fitter, double *signals, double *result)
{
    const size_t n_voxels = r->fit->mask->n;
    for (size_t first = 0; first < n_voxels; first += ALONE_CHUNK) {
        size_t left = n_voxels - first, n = left < ALONE_CHUNK ? left : ALONE_CHUNK;
        dm_volume_gather(r->fit->dwi, n, r->fit->mask->voxels + first, signals);
        DM_TRY(r->fit->kind->fit(fitter, n, signals, result, result + n * (r->fit->n_results - 1)));
        DM_TRY(fill_maps(r, first, n, result));
    }
    return DM_OK;
}

dm_status dmi_fit_alone(const dmi_fit *fit, dm_fit_report *report)
{
    if (fit->signals)
        return dmi_error(DM_ERR_INVALID,
                         "a fit alone has no session, and so no signals; give an image in memory");
    run r = run_begin(fit);
    void *fitter = NULL;
    double *signals = calloc(ALONE_CHUNK * fit->dwi->n_volumes, sizeof *signals);
    double *result = calloc(ALONE_CHUNK * fit->n_results, sizeof *result);
    dm_status status = result && signals
                           ? run_reserve(&r, ALONE_CHUNK)
                           : dmi_error(DM_ERR_NOMEM, "no memory for a chunk of results");
    if (status == DM_OK)
        status = fit->build_here(fit->context, &fitter);
    if (status == DM_OK)
        status = alone(&r, fitter, signals, result);
    if (fitter)
        fit->kind->destroy(fitter);
    free(signals);
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
    int workers;
    dm_signals *signals;
    dm_value *arguments; /* of one task */
    dm_ref *blocks;      /* of one task */
    dm_ref setup;
    dm_ref *refs;
    size_t window, submitted, gathered;
} flight;

static size_t choose_window(const run *r, const cut *c, const dm_stats *session)
{
    size_t voxel_bytes = r->fit->dwi->n_volumes * dmi_volume_type_bytes(r->fit->dwi->type) +
                         r->fit->n_results * sizeof(double);
    size_t task_bytes = longest_chunk(c) * voxel_bytes;
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

enum { SETUP, LAYOUT, FIRST, COUNT, BLOCKS }; /* arguments of a task */

/* A chunk may lie in any number of groups: room for the most blocks of one. */
static dm_status reserve_arguments(flight *l)
{
    size_t most = 0;
    for (size_t c = 0; c < l->cut.n_chunks; c++) {
        const size_t first = chunk_begin(&l->cut, c), n = chunk_begin(&l->cut, c + 1) - first;
        const size_t blocks = dmi_signals_block_count(l->signals, first, n);
        most = blocks > most ? blocks : most;
    }
    l->blocks = calloc(most, sizeof *l->blocks);
    l->arguments = calloc(BLOCKS + most, sizeof *l->arguments);
    if (!l->blocks || !l->arguments)
        return dmi_error(DM_ERR_NOMEM, "no memory for the arguments of a task of %zu blocks", most);
    return DM_OK;
}

static dm_status submit_next(run *r, flight *l)
{
    const size_t group = l->signals->layout->group;
    const size_t first = chunk_begin(&l->cut, l->submitted);
    const size_t end = chunk_begin(&l->cut, l->submitted + 1);
    const size_t n_blocks = dmi_signals_block_count(l->signals, first, end - first);
    DM_TRY(dmi_signals_blocks(l->signals, first, end - first, l->blocks));
    l->arguments[SETUP] = dm_value_of(l->setup);
    l->arguments[LAYOUT] = dm_value_of(l->signals->layout_ref);
    l->arguments[FIRST] = dm_value_of(first % group);
    l->arguments[COUNT] = dm_value_of(end - first);
    for (size_t b = 0; b < n_blocks; b++)
        l->arguments[BLOCKS + b] = dm_value_of(l->blocks[b]);
    l->refs[l->submitted++ % l->window] =
        dm_submit(r->fit->chunk, NULL, l->arguments, BLOCKS + n_blocks);
    dmi_signals_let_go(l->signals, end);
    return DM_OK;
}

enum { LOOK_MS = 100 };

/* Waits, and asks meanwhile whether it shall. */
static dm_status wait_result(dm_ref ref, const dm_fit_options *options, dm_view *result)
{
    if (!options || !options->stop)
        return dm_get(ref, result);
    for (;;) {
        if (options->stop(options->context))
            return dmi_error(DM_ERR_CANCELLED, "stopped while voxels were fitted");
        dm_status status = dm_get_within(ref, result, LOOK_MS);
        if (status != DM_ERR_TIMEOUT)
            return status;
    }
}

static dm_status gather_next(run *r, flight *l, const dm_fit_options *options)
{
    size_t first = chunk_begin(&l->cut, l->gathered);
    size_t n = chunk_begin(&l->cut, l->gathered + 1) - first;
    dm_view result;
    DM_TRY(wait_result(l->refs[l->gathered % l->window], options, &result));
    dm_status status = result.bytes == n * r->fit->n_results * sizeof(double)
                           ? fill_maps(r, first, n, result.data)
                           : dmi_error(DM_ERR_TYPE, "a chunk of %zu voxels came back as %zu bytes",
                                       n, result.bytes);
    dm_view_release(&result);
    if (status == DM_OK)
        status = dm_release(l->refs[l->gathered++ % l->window]);
    return status;
}

/*
 * How many results are gathered at a time. Where there are as many workers as cores, each time that
 * the driver wakes it takes a core from a worker, in the midst of a voxel: with small chunks that
 * cost more than sending them. So it sleeps until some are there; as few as leave enough to do for
 * the workers meanwhile, and as stay in the cache until they are read.
 */
enum { LEFT_PER_WORKER = 4, MOST_BATCH_BYTES = 1 << 20 };

static size_t choose_batch(const run *r, const flight *l)
{
    const size_t chunk_bytes = longest_chunk(&l->cut) * r->fit->n_results * sizeof(double);
    const size_t left = (size_t)(l->workers > 0 ? l->workers : 1) * LEFT_PER_WORKER;
    const size_t under_way = l->submitted - l->gathered;
    const size_t most = MOST_BATCH_BYTES / chunk_bytes;
    const size_t batch = under_way > left ? (under_way - left) / 2 : 0;
    return batch < most ? batch : most;
}

/* How many to gather now: the batch, when its last one is there; one, if that takes long or failed. */
static size_t await_batch(const flight *l, size_t batch)
{
    if (batch < 2)
        return 1;
    const dm_ref last = l->refs[(l->gathered + batch - 1) % l->window];
    return dm_get_within(last, (void *)0, LOOK_MS) == DM_OK ? batch : 1;
}

static dm_status fly(run *r, flight *l, const dm_fit_options *options)
{
    while (l->gathered < l->cut.n_chunks) {
        while (l->submitted < l->cut.n_chunks && l->submitted - l->gathered < l->window)
            DM_TRY(submit_next(r, l));
        for (size_t some = await_batch(l, choose_batch(r, l)); some > 0; some--) {
            DM_TRY(gather_next(r, l, options));
            if (options && options->progress)
                options->progress(options->context, chunk_begin(&l->cut, l->gathered),
                                  l->cut.n_voxels);
        }
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
    free(l->blocks);
    free(l->arguments);
}

static dm_status with_tasks(run *r, dm_signals *signals, const dm_fit_options *options)
{
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    flight l = {.setup = DM_NO_REF, .signals = signals, .workers = session.workers};
    DM_TRY(choose_cut(options, r->fit->mask->n, session.workers, &l.cut));
    r->report.n_chunks = l.cut.n_chunks;
    l.window = choose_window(r, &l.cut, &session);
    l.refs = calloc(l.window, sizeof *l.refs);
    dm_status status = l.refs ? run_reserve(r, longest_chunk(&l.cut))
                              : dmi_error(DM_ERR_NOMEM, "no memory for %zu refs", l.window);
    if (status == DM_OK)
        status = reserve_arguments(&l);
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
    dm_signals *signals = fit->signals;
    dm_status status = signals ? DM_OK : dmi_signals_of_volume(fit->dwi, fit->mask, &signals);
    if (status == DM_OK)
        status = with_tasks(&r, signals, options);
    if (!fit->signals)
        dm_signals_destroy(signals);
    run_end(&r, report);
    DM_TRY(dm_scope_end());
    return status;
}
