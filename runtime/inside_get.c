/*
 * inside_get.c - a task reads values and waits for them, and its worker does what it waits for meanwhile. Beside
 * runtime/inside.c.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/holdings.h"
#include "runtime/policy.h"
#include "runtime/row.h"

/* ---- getting ---- */

static bool is_ready(dmi_worker *worker, const dmi_holding *holding)
{
    if (holding->kind != DMI_HOLD_CELL && holding->kind != DMI_HOLD_RECORD)
        return true;
    const dmi_record *record = dmi_holding_record(worker, holding);
    return record && dmi_is_published(record);
}

typedef struct wait_for {
    uint32_t holding; /* index: the table may move */
} wait_for;

/* A task that is to stop waits for nothing any more. */
static bool must_stop(const dmi_worker *worker)
{
    return dmi_worker_is_closing(worker) || (worker->call && dm_cancelled(worker->call));
}

static dm_status stopped(const dmi_worker *worker, const char *what)
{
    if (dmi_worker_is_closing(worker))
        return dmi_error(DM_ERR_SHUT_DOWN, "%s: the session is being shut down", what);
    return dmi_error(DM_ERR_CANCELLED, "%s: the task that waits here was cancelled", what);
}

static bool got_it(dmi_worker *worker, void *context)
{
    const wait_for *wait = context;
    return is_ready(worker, &worker->holdings[wait->holding]) || must_stop(worker) ||
           (uint32_t)(dmi_word_load(&worker->down->run_now) >> 32) != worker->run_seen;
}

static bool was_heard(dmi_worker *worker, void *posted)
{
    return dmi_word_load(&worker->down->up_head) >= *(uint64_t *)posted || dmi_worker_is_closing(worker);
}

static void say_blocked(dmi_worker *worker, uint32_t index, bool is_limited)
{
    const dmi_holding *holding = &worker->holdings[index];
    dmi_message message = {.kind = DMI_MSG_BLOCKED};
    dmi_worker_unclaim(worker);
    uint64_t word = dmi_refword(DMI_REF_CELL, worker->lane, holding->seq, holding->cell);
    memcpy(message.args, &word, 8);
    memcpy(message.args + 8, &worker->run_seen, sizeof worker->run_seen);
    message.args[12] = is_limited;
    dmi_worker_post(worker, &message);
    dmi_worker_ring(worker);
}

/* No more tasks are handed to us once the driver has heard this; one handed before must still run. */
static void say_unblocked(dmi_worker *worker)
{
    dmi_worker_post(worker, &(dmi_message){.kind = DMI_MSG_UNBLOCKED});
    uint64_t posted = worker->posted;
    dmi_worker_ring(worker);
    while (!was_heard(worker, &posted))
        dmi_worker_sleep(worker, was_heard, &posted, 10);
    dmi_worker_run_handed(worker);
}

/* Nobody makes it ready while we look: it lies in our own ring, behind the task that waits. */
static bool is_behind_us(const dmi_worker *worker, const dmi_holding *holding)
{
    const dmi_record *record = dmi_holding_record(worker, holding);
    uint64_t where = record ? dmi_word_load(&record->where) : 0;
    return dmi_where_place(where) == DMI_SLOT && dmi_where_segment(where) == worker->segment;
}

static bool spin_until_ready(dmi_worker *worker, uint32_t index)
{
    enum { TURNS = 2000, LOOK = 16 };
    bool others = worker->cpus > 1 && !dmi_worker_is_serial(worker);
    for (int i = 0; i < TURNS && others; i++) {
        if (is_ready(worker, &worker->holdings[index]))
            return true;
        if (i % LOOK == 0 && is_behind_us(worker, &worker->holdings[index]))
            break;
        dmi_relax();
    }
    return is_ready(worker, &worker->holdings[index]);
}

/* Wait for a holding, running what it needs meanwhile: mostly not if the task itself waits for some time only, since
 * what runs here is not interrupted. False: the time has passed, or the task is to stop. */
static bool await(dmi_worker *worker, uint32_t index, int64_t timeout_ms, bool is_limited)
{
    if (spin_until_ready(worker, index) || timeout_ms == 0)
        return is_ready(worker, &worker->holdings[index]);
    enum { NAP_MS = 20 };
    int64_t until = timeout_ms < 0 ? INT64_MAX : dmi_now_ms() + timeout_ms;
    wait_for wait = {index};
    say_blocked(worker, index, is_limited);
    while (!is_ready(worker, &worker->holdings[index]) && !must_stop(worker)) {
        int64_t left = until - dmi_now_ms();
        if (left <= 0)
            break;
        if (dmi_worker_run_handed(worker))
            say_blocked(worker, index, is_limited);
        else
            dmi_worker_sleep(worker, got_it, &wait, left < NAP_MS ? (int)left : NAP_MS);
    }
    say_unblocked(worker);
    return is_ready(worker, &worker->holdings[index]);
}

/* ---- objects that are not in memory ---- */

typedef struct fetch_for {
    uint32_t holding;
    uint64_t refusals; /* before it was asked for */
} fetch_for;

static uint64_t refusals(const dmi_worker *worker)
{
    return dmi_word_load(&worker->down->refusals);
}

/* It is in memory, or lost and being made again. */
static bool was_fetched(dmi_worker *worker, void *context)
{
    const fetch_for *fetch = context;
    const dmi_record *record = dmi_holding_record(worker, &worker->holdings[fetch->holding]);
    return (record && dmi_where_place(dmi_word_load(&record->where)) != DMI_DISK) ||
           refusals(worker) != fetch->refusals || must_stop(worker);
}

static uint64_t refword_of(const dmi_worker *worker, const dmi_holding *holding)
{
    return dmi_refword(DMI_REF_CELL, worker->lane, holding->seq, holding->cell);
}

/* Have the driver bring it, and keep it until we say that we have it (DMI_MSG_FETCHED). */
static dm_status fetch(dmi_worker *worker, uint32_t index, int64_t until)
{
    enum { NAP_MS = 20 };
    fetch_for wait = {index, refusals(worker)};
    dmi_message message = {.kind = DMI_MSG_FETCH};
    uint64_t word = refword_of(worker, &worker->holdings[index]);
    memcpy(message.args, &word, 8);
    dmi_worker_unclaim(worker); /* the disk may take its time: others can have what is behind us */
    dmi_worker_post(worker, &message);
    dmi_worker_ring(worker);
    while (!was_fetched(worker, &wait)) {
        int64_t left = until - dmi_now_ms();
        if (left <= 0)
            return dmi_error(DM_ERR_TIMEOUT, "dm_get: the value was not read back from disk in time");
        dmi_worker_sleep(worker, was_fetched, &wait, left < NAP_MS ? (int)left : NAP_MS);
    }
    if (must_stop(worker))
        return stopped(worker, "dm_get");
    if (refusals(worker) != wait.refusals)
        return dmi_worker_refused(worker, (uint8_t)(refusals(worker) & 0xff),
                                  "dm_get: the value cannot be read back from disk now");
    return DM_OK;
}

/* Find the value of a holding that is ready, in memory and kept there: in the row, if it is in a cell.
 * The caller takes it out of the row again. `*again`: it is ready no more. The disk lost it, so its task
 * runs again, perhaps on this very worker: it must be awaited as if it had never been done. */
static dm_status find_value(dmi_worker *worker, uint32_t index, int64_t until, dmi_found *found, bool *again)
{
    bool fetching = false;
    dm_status status = DM_OK;
    *again = false;
    for (;;) {
        dmi_holding *holding = &worker->holdings[index];
        if (holding->kind == DMI_HOLD_OBJECT)
            return dmi_find_object(worker->segment, holding->offset, found) ? DM_OK : DM_ERR_WORKER_CORRUPT;
        if (holding->kind == DMI_HOLD_CELL)
            dmi_row_enter(worker, holding, refword_of(worker, holding));
        const dmi_record *record = dmi_holding_record(worker, holding);
        dmi_state state = record ? dmi_find(record, found) : DMI_NONSENSE;
        if (state != DMI_AWAY || holding->kind != DMI_HOLD_CELL) {
            *again = state == DMI_MISSING;
            if (state != DMI_THERE && state != DMI_BROKEN)
                status = dmi_error(DM_ERR_WORKER_CORRUPT, "dm_get: the value cannot be read");
            break;
        }
        if (holding->views == 0)
            dmi_row_leave(worker, holding);
        fetching = true;
        status = fetch(worker, index, until);
        if (status != DM_OK)
            break;
    }
    if (fetching)
        dmi_worker_post(worker, &(dmi_message){.kind = DMI_MSG_FETCHED});
    return status;
}

/* The value of `outer` is a ref. */
static dm_status get_ref(dmi_worker *worker, dm_ref outer, dm_ref *out)
{
    uint64_t refword;
    DM_TRY(dmi_inside_travel(worker, outer, &refword));
    dmi_holding *inner = dmi_holding_new(worker, DMI_HOLD_RECORD, out);
    return inner ? dmi_holding_post_word(worker, inner, DMI_MSG_HOLD_INNER, refword) : DM_ERR_NOMEM;
}

dm_status dmi_inside_list(dmi_worker *worker, uint64_t outer, const dmi_found *found, dm_ref_list *out)
{
    size_t n = found->item.bytes / sizeof(uint64_t);
    dm_ref *refs = malloc((n + 1) * sizeof *refs);
    uint64_t *cells = malloc((n + 1) * sizeof *cells);
    dmi_message message = {.kind = DMI_MSG_HOLD_INNERS};
    dm_status status = refs && cells ? DM_OK : dmi_error(DM_ERR_NOMEM, "no memory for a list of %zu refs", n);
    if (status == DM_OK && n != 0)
        status = dmi_cells_take(worker, refs, cells, n);
    if (status == DM_OK && n != 0) {
        status = dmi_cells_write(worker, &message, cells, n * sizeof *cells, NULL, 0);
        if (status != DM_OK)
            dmi_cells_give_back(worker, refs, cells, n);
    }
    if (status == DM_OK && n != 0) {
        memcpy(message.args + sizeof(dmi_blob), &outer, sizeof outer);
        dmi_worker_post(worker, &message);
        dmi_cells_name(worker, refs, cells, n);
        dmi_worker_ring(worker);
    }
    free(cells);
    if (status == DM_OK)
        *out = (dm_ref_list){refs, n};
    else
        free(refs);
    return status;
}

static dm_status read_found(dmi_worker *worker, dm_ref ref, const dmi_found *found, dm_into into, void *out)
{
    dmi_holding *holding = &worker->holdings[(uint32_t)ref.id];
    dmi_subject subject = {NULL, 0};
    if (found->text)
        return dmi_error(found->status, "%s", found->text);
    if (into == DM_INTO_REF && found->item.kind == DM_REF)
        return get_ref(worker, ref, out);
    if (into == DM_INTO_REFS && found->item.kind == DM_REFS) {
        uint64_t refword;
        DM_TRY(dmi_inside_travel(worker, ref, &refword));
        return dmi_inside_list(worker, refword, found, out);
    }
    if (into == DM_INTO_REF || into == DM_INTO_CONST_STRING)
        return dmi_wrong_type(&found->item, into, &subject);
    DM_TRY(dmi_item_into(&found->item, into, out, &subject));
    if (into == DM_INTO_VIEW && holding->kind != DMI_HOLD_RECORD) {
        ((dm_view *)out)->pin = ref.id;
        holding->views++;
    }
    return DM_OK;
}

static dm_status get_now(dmi_worker *worker, dm_ref ref, dm_into into, void *out, int64_t until, bool *again)
{
    dmi_found found = {0};
    dm_status status = find_value(worker, (uint32_t)ref.id, until, &found, again);
    if (status == DM_OK)
        status = read_found(worker, ref, &found, into, out);
    dmi_holding *holding = &worker->holdings[(uint32_t)ref.id]; /* the table may have moved */
    if (holding->views == 0)
        dmi_row_leave(worker, holding);
    return status;
}

dm_status dmi_inside_get(dmi_worker *worker, dm_ref ref, dm_into into, void *out, int64_t timeout_ms)
{
    dmi_holding *holding = NULL;
    DM_TRY(dmi_holding_of(worker, ref, &holding));
    if (holding->kind == DMI_HOLD_FAILED)
        return dmi_error((dm_status)holding->status, "%s", holding->text ? holding->text : "");
    if (holding->kind == DMI_HOLD_BUFFER)
        return dmi_error(DM_ERR_INVALID, "dm_get of a buffer that is not sealed");
    int64_t until = timeout_ms < 0 ? INT64_MAX : dmi_now_ms() + timeout_ms;
    for (bool again = true; again;) {
        int64_t left = timeout_ms < 0 ? -1 : until > dmi_now_ms() ? until - dmi_now_ms() : 0;
        if (!await(worker, (uint32_t)ref.id, left, timeout_ms >= 0))
            return must_stop(worker) ? stopped(worker, "dm_get")
                                     : dmi_error(DM_ERR_TIMEOUT, "dm_get: not ready after %lld ms",
                                                 (long long)timeout_ms);
        dm_status status = get_now(worker, ref, into, out, until, &again);
        if (!again)
            return status;
    }
    return DM_OK;
}

void dmi_inside_view_release(dmi_worker *worker, dm_view *view)
{
    uint32_t index = (uint32_t)view->pin;
    if (view->pin == 0 || index >= worker->holding_high)
        return;
    dmi_holding *holding = &worker->holdings[index];
    if (holding->generation != (uint16_t)(view->pin >> 40) || holding->views == 0)
        return;
    holding->views--;
    if (holding->views == 0)
        dmi_row_leave(worker, holding);
    dmi_holding_let_go_if_unused(worker, holding);
}

/* ---- waiting ---- */

static size_t count_ready(dmi_worker *worker, const dm_ref *refs, size_t n, bool *ready, size_t *missing)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        bool is = is_ready(worker, &worker->holdings[(uint32_t)refs[i].id]);
        count += is;
        if (!is)
            *missing = i;
        if (ready)
            ready[i] = is;
    }
    return count;
}

dm_status dmi_inside_wait(dmi_worker *worker, const dm_ref *refs, size_t n, size_t k,
                          int64_t timeout_ms, bool *ready)
{
    enum { LOOK_MS = 1 };
    dmi_holding *holding = NULL;
    size_t missing = 0;
    for (size_t i = 0; i < n; i++)
        DM_TRY(dmi_holding_of(worker, refs[i], &holding));
    int64_t until = timeout_ms < 0 ? INT64_MAX : dmi_now_ms() + timeout_ms;
    while (count_ready(worker, refs, n, ready, &missing) < k) {
        int64_t left = until - dmi_now_ms();
        if (must_stop(worker))
            return stopped(worker, "dm_wait");
        if (left <= 0)
            return dmi_error(DM_ERR_TIMEOUT, "dm_wait: fewer than %zu of %zu after %lld ms", k, n,
                             (long long)timeout_ms);
        /* Any of them may be next: wait for one a moment, then look at all. */
        int64_t look = k < n && left > LOOK_MS ? LOOK_MS : timeout_ms < 0 ? -1 : left;
        await(worker, (uint32_t)refs[missing].id, look, timeout_ms >= 0);
    }
    return DM_OK;
}
