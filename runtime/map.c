/*
 * map.c - dm_map: the caller's half. A window of tasks under way, each over a chunk of the items; whatever is done
 * is gathered and makes place for the next. Runs in the calling thread, over the public API, so a worker's death is
 * nothing that it knows of.
 *
 * How large chunks are is pace.c, what a task does with one is range.c.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dm/pace.h"
#include "runtime/clock.h"
#include "runtime/range.h"
#include "runtime/registry.h"
#include "runtime/worker.h"

/* Tasks under way: enough that no worker waits for the caller. More would only hold memory. */
enum { WINDOW_PER_WORKER = 32, MIN_WINDOW = 64, MIN_WINDOW_PER_WORKER = 2, MAX_WINDOW = 1 << 16 };
enum { MAX_BYTES = 256 << 20, MAX_BYTES_IN_A_TASK = 32 << 20 };
enum { OWN_ARGUMENTS = 4 };

typedef struct chunk {
    size_t first, n;
    size_t gathered; /* items, when it was submitted */
    uint64_t began_ns, number;
} chunk;

typedef struct map {
    const dm_function *function;
    const dm_map_options *options;
    dm_results results;
    size_t n;
    dmi_range_items kind;
    dm_value items;
    size_t item_bytes; /* that travel with a task */
    const dm_value *shared;
    size_t shared_count;
    dm_value *arguments; /* shared, put; then our own */
    dm_pace pace;
    size_t window;
    /* Under way, in order of items. */
    dm_ref *refs;
    chunk *chunks;
    bool *ready;
    size_t in_flight;
    size_t next, gathered; /* items */
    uint64_t submitted;    /* chunks */
    /* The first failure in order of items. It ends the map: what lies behind is dropped. */
    dm_status failure;
    size_t failed_at;
    char said[1000];
} map;

static size_t result_bytes(const map *m)
{
    return m->results.elements * dm_dtype_bytes(m->results.dtype);
}

/* ---- does it make sense? ---- */

static dm_status check_array(map *m, const dm_array *array)
{
    size_t bytes;
    if (array == NULL || array->ndim < 1 || !dmi_array_bytes(array->dtype, array->ndim, array->shape, &bytes))
        return dmi_error(DM_ERR_INVALID, "dm_map: the items are no array of one dimension or more: use DM_ITEMS");
    m->n = array->shape[0];
    m->item_bytes = m->n ? bytes / m->n : 0;
    m->kind = DMI_RANGE_OWN;
    if (array->data == NULL && bytes != 0 && !m->options->fill)
        return dmi_error(DM_ERR_INVALID, "dm_map: %zu items have no data (NULL), and no options.fill to write them",
                         m->n);
    if (array->data != NULL && m->options->fill)
        return dmi_error(DM_ERR_INVALID, "dm_map: the items have data, and options.fill to write them: give one");
    return DM_OK;
}

static dm_status check_ref(map *m, dm_ref ref)
{
    dm_view view;
    dm_status status = dm_get(ref, &view);
    if (status != DM_OK)
        return dmi_error(status, "dm_map: the items cannot be had: %s", dm_last_error());
    if (view.ndim < 1)
        status = dmi_error(DM_ERR_INVALID, "dm_map: the items are an array of no dimension: it has no items");
    else
        m->n = view.shape[0];
    m->kind = DMI_RANGE_WHOLE;
    dm_view_release(&view);
    return status;
}

static dm_status check_over(map *m, const dm_value *over)
{
    m->items = *over;
    if (m->options->fill && over->kind != DM_DATA)
        return dmi_error(DM_ERR_INVALID, "dm_map: options.fill writes items of an array without data, and there is "
                         "no array");
    switch (over->kind) {
    case DM_INT:
        if (over->i < 0)
            return dmi_error(DM_ERR_INVALID, "dm_map: %lld items cannot be", (long long)over->i);
        m->n = (size_t)over->i;
        return DM_OK;
    case DM_UINT:
        m->n = over->u;
        return DM_OK;
    case DM_DATA:
        return check_array(m, over->array);
    case DM_REF:
        return check_ref(m, over->ref);
    default:
        return dmi_error(DM_ERR_INVALID, "dm_map: expected a number of items, an array of them (DM_ITEMS) or the ref "
                         "of one, got %s", over->kind == DM_STRING ? "a string" : over->kind == DM_DOUBLE
                         ? "a double" : "nothing");
    }
}

static dm_status check_results(const map *m)
{
    const dm_results *r = &m->results;
    if (r->elements == 0 && r->data == NULL)
        return DM_OK;
    if (r->elements == 0 || r->elements >> DMI_RANGE_ELEMENT_BITS || dm_dtype_bytes(r->dtype) == 0)
        return dmi_error(DM_ERR_INVALID, "dm_map: results of %zu elements of dtype %d cannot be: use DM_RESULTS",
                         r->elements, (int)r->dtype);
    if (m->n > SIZE_MAX / 2 / result_bytes(m))
        return dmi_error(DM_ERR_INVALID, "dm_map: %zu results of %zu bytes fit no memory", m->n, result_bytes(m));
    if (r->data == NULL && !m->options->gather)
        return dmi_error(DM_ERR_INVALID, "dm_map: the results have no place (NULL), and no options.gather takes them: "
                         "use DM_RESULTS or DM_NO_RESULTS");
    return DM_OK;
}

static dm_status check(map *m, const dm_value *over)
{
    if (!dmi_registry_knows(m->function))
        return dmi_registry_unknown(m->function, "dm_map", "DM_MAP");
    if (m->shared == NULL && m->shared_count != 0)
        return dmi_error(DM_ERR_INVALID, "dm_map: %zu shared arguments were promised, and none given (NULL)",
                         m->shared_count);
    DM_TRY(check_over(m, over));
    return check_results(m);
}

/* ---- beginning and end ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Who works, and how many bytes may be under way. */
static dm_status look_around(size_t *workers, size_t *bytes, bool *serial)
{
    dm_stats stats;
    *serial = false;
    *bytes = MAX_BYTES_IN_A_TASK;
    if (dmi_self) {
        *workers = (size_t)most(1, (size_t)dmi_self->cpus);
        return DM_OK;
    }
    DM_TRY(dm_stats_get(&stats));
    *workers = stats.workers > 0 ? (size_t)stats.workers : 1;
    *bytes = least(MAX_BYTES, stats.store_bytes / 4);
    *serial = stats.engine == DM_ENGINE_SERIAL;
    return DM_OK;
}

static dm_status plan(map *m)
{
    size_t workers, bytes;
    bool serial;
    DM_TRY(look_around(&workers, &bytes, &serial));
    const dm_map_options *options = m->options;
    size_t fixed = least(options->items_per_task, m->n), each = most(1, m->item_bytes + result_bytes(m));
    size_t window = most(MIN_WINDOW, workers * WINDOW_PER_WORKER);
    window = most(least(window, bytes / each / most(1, fixed)), workers * MIN_WINDOW_PER_WORKER);
    if (serial)
        window = 1; /* a task is done when it is submitted */
    window = least(options->in_flight ? options->in_flight : window, MAX_WINDOW);
    m->window = least(window, m->n);
    m->pace = (dm_pace){.fixed = fixed, .workers = workers, .items = 1};
    m->pace.most = least(m->n, most(1, bytes / each / m->window));
    return DM_OK;
}

static dm_status reserve(map *m)
{
    m->refs = calloc(m->window, sizeof *m->refs);
    m->chunks = calloc(m->window, sizeof *m->chunks);
    m->ready = calloc(m->window, sizeof *m->ready);
    m->arguments = calloc(m->shared_count + OWN_ARGUMENTS, sizeof *m->arguments);
    if (m->refs && m->chunks && m->ready && m->arguments)
        return DM_OK;
    return dmi_error(DM_ERR_NOMEM, "dm_map: no memory for %zu tasks under way", m->window);
}

/* They would travel with every task. */
static bool is_put(const dm_value *value)
{
    return value->kind == DM_STRING || value->kind == DM_DATA;
}

static dm_status put_shared(map *m)
{
    for (size_t i = 0; i < m->shared_count; i++) {
        m->arguments[i] = m->shared[i];
        if (!is_put(&m->shared[i]))
            continue;
        m->arguments[i] = dm_value_ref(dm_put_value(m->shared[i]));
        dm_status status = dm_get(m->arguments[i].ref, (void *)0);
        if (status != DM_OK)
            return dmi_error(status, "dm_map: shared argument %zu: %s", i, dm_last_error());
    }
    return DM_OK;
}

/* A release that fails has nothing to add to what ended the map. */
static void clear(map *m)
{
    for (size_t i = 0; i < m->in_flight; i++)
        (void)dm_release(m->refs[i]);
    for (size_t i = 0; m->arguments && i < m->shared_count; i++)
        if (is_put(&m->shared[i]) && m->arguments[i].kind == DM_REF)
            (void)dm_release(m->arguments[i].ref);
    free(m->refs);
    free(m->chunks);
    free(m->ready);
    free(m->arguments);
}

/* ---- out ---- */

static dm_array slice(const map *m, size_t first, size_t n)
{
    dm_array array = *m->items.array;
    array.shape[0] = n;
    array.data = array.data ? (const char *)array.data + first * m->item_bytes : NULL;
    return array;
}

static dm_status fill(const map *m, size_t first, size_t n, dm_ref *filled)
{
    dm_buffer buffer;
    dm_array array = slice(m, first, n);
    DM_TRY(dm_create(array.dtype, array.ndim, array.shape, &buffer));
    dm_status status = m->options->fill(m->options->context, first, n, buffer.data);
    if (status != DM_OK) {
        dm_abandon(&buffer);
        return status;
    }
    *filled = dm_seal(&buffer);
    return DM_OK;
}

/* A task that could not be submitted is a ref that says so; what fails here ends the map. */
static dm_status submit(map *m, size_t first, size_t n, dm_ref *ref)
{
    dm_array own;
    dm_ref filled = DM_NO_REF;
    dm_value *at = m->arguments + m->shared_count;
    if (m->kind == DMI_RANGE_WHOLE)
        *at++ = m->items;
    if (m->kind == DMI_RANGE_OWN && m->options->fill) {
        DM_TRY(fill(m, first, n, &filled));
        *at++ = dm_value_ref(filled);
    } else if (m->kind == DMI_RANGE_OWN) {
        own = slice(m, first, n);
        *at++ = dm_value_array(&own);
    }
    *at++ = dm_value_uint(first);
    *at++ = dm_value_uint(n);
    *at++ = dm_value_uint(dmi_range_what(m->kind, &m->results));
    *ref = dm_submit(m->function, m->options->task, m->arguments, (size_t)(at - m->arguments));
    return dm_release(filled);
}

/* Until it is known how large chunks are to be, no more than keeps the workers busy: whole windows of chunks of one
 * item, of four, of sixteen cost more than the items, if a function is better at many of them. */
static size_t window_now(const map *m)
{
    if (m->pace.fixed || m->pace.settled || m->options->in_flight)
        return m->window;
    return least(m->window, m->pace.workers * MIN_WINDOW_PER_WORKER);
}

static dm_status launch(map *m)
{
    while (m->in_flight < window_now(m) && m->next < m->n && m->failure == DM_OK) {
        size_t n = dm_pace_next(&m->pace, m->n - m->next);
        chunk *c = &m->chunks[m->in_flight];
        *c = (chunk){m->next, n, m->gathered, dmi_now_ns(), ++m->submitted};
        DM_TRY(submit(m, m->next, n, &m->refs[m->in_flight]));
        m->in_flight++;
        m->next += n;
    }
    return DM_OK;
}

/* ---- back ---- */

static dm_status copy_results(const map *m, const chunk *c, const dm_view *view)
{
    size_t bytes = c->n * result_bytes(m);
    if (view->dtype != m->results.dtype || view->bytes != bytes)
        return dmi_error(DM_ERR_TYPE, "%s: expected results of %zu bytes of %s, got %zu bytes of %s",
                         m->function->name, bytes, dmi_dtype_name(m->results.dtype), view->bytes,
                         dmi_dtype_name(view->dtype));
    if (m->results.data)
        memcpy((char *)m->results.data + c->first * result_bytes(m), view->data, bytes);
    return DM_OK;
}

static dm_status receive(const map *m, const chunk *c, dm_ref ref)
{
    dm_view view;
    if (m->results.elements == 0)
        return dm_get(ref, (void *)0);
    dm_status status = dm_get(ref, &view);
    if (status == DM_OK) {
        status = copy_results(m, c, &view);
        dm_view_release(&view);
    }
    return status;
}

static dm_status halve(map *m, const chunk *c);

/* Of the tasks that fail, those behind the first are dropped, those before it may still be the first. */
static void end_at(map *m, const chunk *c, dm_status status)
{
    m->failure = status;
    m->failed_at = c->first;
    dmi_error(status, "dm_map: items %zu to %zu of %zu: %s", c->first, c->first + c->n - 1, m->n, dm_last_error());
    strncpy(m->said, dm_last_error(), sizeof m->said - 1);
}

/* No item is to blame for these. */
static bool is_of_the_session(dm_status status)
{
    return status == DM_ERR_SHUT_DOWN || status == DM_ERR_NOT_RUNNING || status == DM_ERR_FORKED;
}

static dm_status settle_failure(map *m, const chunk *c, dm_status status)
{
    char said[sizeof m->said];
    if (is_of_the_session(status))
        return status;
    if (!m->options->failed) {
        end_at(m, c, status);
        return DM_OK;
    }
    if (c->n > 1 && status != DM_ERR_DEP_FAILED) /* what they share is no better in halves */
        return halve(m, c);
    snprintf(said, sizeof said, "%s", dm_last_error());
    for (size_t i = 0; i < c->n; i++)
        m->options->failed(m->options->context, c->first + i, status, said);
    m->gathered += c->n;
    return DM_OK;
}

static dm_status land(map *m, const chunk *c, dm_ref ref)
{
    const dm_map_options *options = m->options;
    dm_status status = receive(m, c, ref);
    if (status != DM_OK)
        return settle_failure(m, c, status);
    if (options->gather)
        DM_TRY(options->gather(options->context, c->first, c->n, ref));
    m->gathered += c->n;
    return DM_OK;
}

/* A chunk failed: one item of it, or more. Its halves are run while the others go on. */
static dm_status halve(map *m, const chunk *c)
{
    size_t middle = c->n / 2;
    const chunk halves[] = {{.first = c->first, .n = middle}, {.first = c->first + middle, .n = c->n - middle}};
    dm_ref refs[] = {DM_NO_REF, DM_NO_REF};
    dm_status status = DM_OK;
    for (int i = 0; i < 2 && status == DM_OK; i++)
        status = submit(m, halves[i].first, halves[i].n, &refs[i]);
    for (int i = 0; i < 2; i++) {
        if (status == DM_OK)
            status = dm_wait(&refs[i], 1, 1, DM_NONE, NULL);
        if (status == DM_OK)
            status = land(m, &halves[i], refs[i]);
        (void)dm_release(refs[i]);
    }
    return status;
}

/* Until something can be gathered. A task waits for its oldest: that is what it is given to run meanwhile. */
static dm_status await_some(map *m)
{
    if (!m->options->gather && !dmi_self)
        return dm_wait(m->refs, m->in_flight, 1, DM_NONE, m->ready);
    DM_TRY(dm_wait(m->refs, 1, 1, DM_NONE, NULL));
    return dm_wait(m->refs, m->in_flight, 0, 0, m->ready);
}

static dm_status gather_ready(map *m)
{
    size_t kept = 0;
    dm_status status = DM_OK;
    for (size_t i = 0; i < m->in_flight; i++) {
        const chunk c = m->chunks[i];
        bool dropped = m->failure != DM_OK && c.first > m->failed_at;
        bool due = m->ready[i] && (kept == 0 || !m->options->gather);
        if (status != DM_OK || (!due && !dropped)) {
            m->refs[kept] = m->refs[i];
            m->chunks[kept++] = c;
            continue;
        }
        if (!dropped)
            status = land(m, &c, m->refs[i]);
        if (m->gathered > c.gathered)
            dm_pace_learn(&m->pace, c.number, c.n, m->gathered - c.gathered, dmi_now_ns() - c.began_ns);
        (void)dm_release(m->refs[i]);
    }
    m->in_flight = kept;
    return status;
}

/* ---- all of it ---- */

static dm_status fly(map *m)
{
    const dm_map_options *options = m->options;
    DM_TRY(launch(m));
    while (m->in_flight > 0) {
        size_t before = m->gathered;
        DM_TRY(await_some(m));
        DM_TRY(gather_ready(m));
        DM_TRY(launch(m)); /* first: a callback may take its time */
        if (options->progress && m->gathered > before)
            options->progress(options->context, m->gathered, m->n);
    }
    return m->failure ? dmi_error(m->failure, "%s", m->said) : DM_OK;
}

static dm_status run(map *m, const dm_value *over)
{
    DM_TRY(check(m, over));
    if (m->n == 0)
        return DM_OK;
    DM_TRY(plan(m));
    dm_status status = reserve(m);
    if (status == DM_OK)
        status = put_shared(m);
    if (status == DM_OK)
        status = fly(m);
    clear(m);
    return status;
}

dm_status dm_map_over(const dm_function *function, const dm_map_options *options, dm_value over, dm_results results,
                      const dm_value *shared, size_t count)
{
    static const dm_map_options none;
    map m = {.function = function,
             .options = options ? options : &none,
             .results = results,
             .shared = shared,
             .shared_count = count};
    if (dmi_self)
        return run(&m, &over);
    DM_TRY(dm_scope_begin()); /* what is spilled for a map is of no use after it */
    dm_status status = run(&m, &over);
    dm_status ended = dm_scope_end();
    return status != DM_OK ? status : ended;
}
