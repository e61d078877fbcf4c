/*
 * fit_drive.c - where a fit is called: alone, or with tasks, a window of them under way, each over a chunk of the
 * voxels, whose results are gathered in order. Knows neither numerics nor files.
 *
 * How large chunks are that nobody chose is dm/pace.h.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>

#include "dm/pace.h"
#include "models/fit_chunks.h"

/* A fit under way. */
typedef struct run {
    const dmi_fit *fit;
    double *scratch; /* a number for each voxel of a chunk */
    size_t scratch_room;
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
    if (chunk <= r->scratch_room)
        return DM_OK;
    double *grown = realloc(r->scratch, chunk * sizeof *grown);
    if (!grown)
        return dmi_error(DM_ERR_NOMEM, "no memory for a chunk of %zu voxels", chunk);
    r->scratch = grown;
    r->scratch_room = chunk;
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
    DM_TRY(run_reserve(r, n));
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
    dm_status status =
        result && signals ? DM_OK : dmi_error(DM_ERR_NOMEM, "no memory for a chunk of results");
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

/* Tasks under way: enough that no worker waits for the driver; more would only hold memory. Where the pace says how
 * large they are, not so many that what it learns comes too late. */
enum {
    MAX_WINDOW = 4096,
    PACED_WINDOW = 64,
    PACED_WINDOW_PER_WORKER = 32,
    MIN_WINDOW_PER_WORKER = 2
};
static const size_t MAX_WINDOW_BYTES = 256 << 20;

/* The first chunks that the pace gives: a block of a model's BLAS calls. */
enum { FIRST_CHUNK = 64 };

/* A chunk under way: voxels first .. first + n of the mask. */
typedef struct chunk {
    dm_ref ref;
    size_t first, n;
    size_t gathered; /* voxels, when it was submitted */
    double submitted_s;
} chunk;

typedef struct flight {
    size_t n_voxels, n_chunks; /* chunks as even as can be, or 0: as the pace says */
    dm_pace pace;
    bool serial;
    dm_signals *signals;
    dm_value *arguments; /* of one task */
    dm_ref *blocks;      /* of one task */
    size_t blocks_room;
    dm_ref setup;
    chunk *chunks;                      /* in a ring of `window` */
    size_t window, submitted, gathered; /* chunks */
    size_t next, done;                  /* voxels submitted, and gathered */
} flight;

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static dm_status choose_cut(flight *l, const dm_fit_options *options)
{
    if (options && options->chunks && options->voxels_per_chunk)
        return dmi_error(DM_ERR_INVALID,
                         "%zu chunks and %zu voxels per chunk were asked for; "
                         "only one of them can be chosen",
                         options->chunks, options->voxels_per_chunk);
    l->n_chunks = options ? least(options->chunks, l->n_voxels) : 0;
    l->pace.fixed = options ? least(options->voxels_per_chunk, l->n_voxels) : 0;
    return DM_OK;
}

/* Voxels of the longest chunk that is to come, as far as that is known. */
static size_t longest_chunk(const flight *l)
{
    if (l->n_chunks)
        return (l->n_voxels + l->n_chunks - 1) / l->n_chunks;
    return l->pace.fixed ? l->pace.fixed : l->pace.items;
}

static bool is_paced(const flight *l)
{
    return l->n_chunks == 0 && l->pace.fixed == 0;
}

static void choose_window(flight *l, const run *r, const dm_stats *session)
{
    const size_t workers = session->workers > 0 ? (size_t)session->workers : 1;
    const size_t voxel_bytes = r->fit->dwi->n_volumes * dmi_volume_type_bytes(r->fit->dwi->type) +
                               r->fit->n_results * sizeof(double);
    const size_t voxels = least(session->store_bytes / 4, MAX_WINDOW_BYTES) / voxel_bytes;
    l->serial = session->engine == DM_ENGINE_SERIAL;
    l->pace.workers = workers;
    l->pace.items = FIRST_CHUNK;
    const size_t enough =
        is_paced(l) ? most(PACED_WINDOW, workers * PACED_WINDOW_PER_WORKER) : MAX_WINDOW;
    l->window = most(least(voxels / longest_chunk(l), least(enough, MAX_WINDOW)),
                     workers * MIN_WINDOW_PER_WORKER);
    l->window = least(l->window, l->n_voxels);
    l->pace.most = most(voxels / l->window, 1);
    l->pace.items = least(l->pace.items, l->pace.most);
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

/* A chunk may lie in any number of groups. */
static dm_status reserve_arguments(flight *l, size_t blocks)
{
    if (blocks <= l->blocks_room)
        return DM_OK;
    dm_ref *refs = realloc(l->blocks, blocks * sizeof *refs);
    l->blocks = refs ? refs : l->blocks;
    dm_value *arguments = realloc(l->arguments, (BLOCKS + blocks) * sizeof *arguments);
    l->arguments = arguments ? arguments : l->arguments;
    if (!refs || !arguments)
        return dmi_error(DM_ERR_NOMEM, "no memory for the arguments of a task of %zu blocks",
                         blocks);
    l->blocks_room = blocks;
    return DM_OK;
}

static size_t next_chunk(const flight *l)
{
    const size_t left = l->n_voxels - l->next;
    if (l->n_chunks == 0)
        return dm_pace_next(&l->pace, left);
    const size_t chunks = l->n_chunks - l->submitted;
    return (left + chunks - 1) / chunks;
}

static dm_status submit_next(run *r, flight *l)
{
    chunk *c = &l->chunks[l->submitted % l->window];
    *c = (chunk){.first = l->next, .n = next_chunk(l), .gathered = l->done, .submitted_s = now_s()};
    const size_t n_blocks = dmi_signals_block_count(l->signals, c->first, c->n);
    DM_TRY(reserve_arguments(l, n_blocks));
    DM_TRY(dmi_signals_blocks(l->signals, c->first, c->n, l->blocks));
    l->arguments[SETUP] = dm_value_of(l->setup);
    l->arguments[LAYOUT] = dm_value_of(l->signals->layout_ref);
    l->arguments[FIRST] = dm_value_of(c->first % l->signals->layout->group);
    l->arguments[COUNT] = dm_value_of(c->n);
    for (size_t b = 0; b < n_blocks; b++)
        l->arguments[BLOCKS + b] = dm_value_of(l->blocks[b]);
    c->ref = dm_submit(r->fit->chunk, NULL, l->arguments, BLOCKS + n_blocks);
    l->submitted++;
    l->next += c->n;
    dmi_signals_let_go(l->signals, l->next);
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
    const chunk *c = &l->chunks[l->gathered % l->window];
    dm_view result;
    DM_TRY(wait_result(c->ref, options, &result));
    dm_status status = result.bytes == c->n * r->fit->n_results * sizeof(double)
                           ? fill_maps(r, c->first, c->n, result.data)
                           : dmi_error(DM_ERR_TYPE, "a chunk of %zu voxels came back as %zu bytes",
                                       c->n, result.bytes);
    dm_view_release(&result);
    if (status != DM_OK)
        return status;
    l->gathered++;
    l->done += c->n;
    return dm_release(c->ref);
}

/* From the chunk that was gathered last. Of a batch only from its last: the others were done before they were gathered. */
static void learn(flight *l)
{
    const chunk *c = &l->chunks[(l->gathered - 1) % l->window];
    dm_pace_learn(&l->pace, l->gathered, c->n, l->done - c->gathered,
                  (uint64_t)(1e9 * (now_s() - c->submitted_s)));
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
    const size_t chunk_bytes = longest_chunk(l) * r->fit->n_results * sizeof(double);
    const size_t left = l->pace.workers * LEFT_PER_WORKER;
    const size_t under_way = l->submitted - l->gathered;
    const size_t batch = under_way > left ? (under_way - left) / 2 : 0;
    return least(batch, MOST_BATCH_BYTES / chunk_bytes);
}

/* How many to gather now: the batch, when its last one is there; one, if that takes long or failed. */
static size_t await_batch(const flight *l, size_t batch)
{
    if (batch < 2)
        return 1;
    const dm_ref last = l->chunks[(l->gathered + batch - 1) % l->window].ref;
    return dm_get_within(last, (void *)0, LOOK_MS) == DM_OK ? batch : 1;
}

/* Until the pace has settled no more than keeps the workers busy. Without workers a task is done when it is submitted. */
static size_t window_now(const flight *l)
{
    if (!is_paced(l))
        return l->window;
    if (l->serial)
        return 1;
    return l->pace.settled ? l->window : least(l->window, l->pace.workers * MIN_WINDOW_PER_WORKER);
}

static dm_status fly(run *r, flight *l, const dm_fit_options *options)
{
    while (l->done < l->n_voxels) {
        while (l->next < l->n_voxels && l->submitted - l->gathered < window_now(l))
            DM_TRY(submit_next(r, l));
        for (size_t some = await_batch(l, choose_batch(r, l)); some > 0; some--) {
            DM_TRY(gather_next(r, l, options));
            if (options && options->progress)
                options->progress(options->context, l->done, l->n_voxels);
        }
        learn(l);
    }
    return DM_OK;
}

/* What is left after an error. A release that fails has nothing to add to that error. */
static void land(flight *l)
{
    for (; l->gathered < l->submitted; l->gathered++)
        (void)dm_release(l->chunks[l->gathered % l->window].ref);
    (void)dm_release(l->setup);
    free(l->chunks);
    free(l->blocks);
    free(l->arguments);
}

static dm_status with_tasks(run *r, dm_signals *signals, const dm_fit_options *options)
{
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    flight l = {.n_voxels = r->fit->mask->n, .setup = DM_NO_REF, .signals = signals};
    DM_TRY(choose_cut(&l, options));
    choose_window(&l, r, &session);
    l.chunks = calloc(l.window, sizeof *l.chunks);
    dm_status status =
        l.chunks ? put_setup(r->fit, &l.setup)
                 : dmi_error(DM_ERR_NOMEM, "no memory for %zu chunks under way", l.window);
    if (status == DM_OK)
        status = fly(r, &l, options);
    r->report.n_chunks = l.submitted;
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
    dm_status ended = dm_scope_end();
    return status != DM_OK ? status : ended;
}
