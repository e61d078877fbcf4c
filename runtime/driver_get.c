/*
 * driver_get.c - dm_get, views, dm_wait, as threads of the driver do them.
 */
#include "runtime/entry.h"

#include <stdlib.h>

#include "runtime/clock.h"
#include "runtime/dispatch.h"
#include "runtime/lane.h"
#include "runtime/lists.h"
#include "runtime/quick.h"
#include "runtime/residence.h"
#include "runtime/shown.h"
#include "runtime/task.h"
#include "runtime/value.h"

/* ---- get ---- */

static dm_status read_list(dmi_session *session, uint32_t index, const dmi_found *found, dm_ref_list *out)
{
    size_t n = found->item.bytes / sizeof(uint64_t);
    dm_ref *refs = malloc((n + 1) * sizeof *refs);
    if (refs == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a list of %zu refs", n);
    for (size_t i = 0; i < n; i++) {
        uint32_t inner;
        if (!dmi_task_inner_at(session, index, i, &inner)) {
            for (size_t k = 0; k < i; k++)
                dmi_task_drop(session, (uint32_t)refs[k].id);
            free(refs);
            if (dmi_task_at(session, index)->contains == DMI_LIST_LOST)
                return dmi_error(DM_ERR_NOMEM, "there was no memory for the %zu refs that %s returned", n,
                                 dmi_task_name(session, index));
            return dmi_error(DM_ERR_BADREF, "ref %zu of the list names nothing", i);
        }
        dmi_task_hold(session, inner);
        refs[i] = dmi_task_ref(session, inner);
    }
    *out = (dm_ref_list){refs, n};
    return DM_OK;
}

static dm_status read_value(dmi_session *session, uint32_t index, dmi_found *found, dm_into into,
                            void *out)
{
    dmi_subject subject = {NULL, 0};
    dmi_task *task = dmi_task_at(session, index);
    if (into == DM_INTO_REF && found->item.kind == DM_REF) {
        uint32_t inner;
        if (!dmi_task_inner(session, index, &inner))
            return dmi_error(DM_ERR_BADREF, "the task returned a ref that names nothing");
        dmi_task_hold(session, inner);
        *(dm_ref *)out = dmi_task_ref(session, inner);
        return DM_OK;
    }
    if (into == DM_INTO_REFS && found->item.kind == DM_REFS)
        return read_list(session, index, found, out);
    if (into == DM_INTO_REF || into == DM_INTO_CONST_STRING)
        return dmi_wrong_type(&found->item, into, &subject);
    DM_TRY(dmi_item_into(&found->item, into, out, &subject));
    if (into == DM_INTO_VIEW) {
        ((dm_view *)out)->pin = dmi_task_ref(session, index).id;
        dmi_task_pin(session, index);
        session->counts.pinned_bytes += task->views++ == 0 ? task->bytes : 0;
    }
    return DM_OK;
}

/* That it is read counts as use, by which what leaves memory is chosen: so a larger value that is published must be
 * known of before. (It would be later, when its worker has said how far it is, and count as newer than it is.) */
static void know_of(dmi_session *session, uint32_t index)
{
    const dmi_record *record = dmi_record_at(session, index);
    if (dmi_task_at(session, index)->state == DMI_TASK_SENT && dmi_is_published(record) && !dmi_is_plain(record))
        dmi_lane_account(session, index);
}

/* Read it if it is there; false if not. */
static bool try_get(dmi_session *session, uint32_t index, dm_into into, void *out, dm_status *status)
{
    dmi_found found;
    know_of(session, index);
    switch (dmi_find(dmi_record_at(session, index), &found)) {
    case DMI_MISSING:
        return false;
    case DMI_AWAY:
        return false;
    case DMI_THERE:
        if (dmi_task_at(session, index)->bytes != 0)
            dmi_residence_touch(session, index);
        *status = read_value(session, index, &found, into, out);
        return true;
    case DMI_BROKEN:
        *status = dmi_error(found.status, "%s", found.text);
        return true;
    case DMI_NONSENSE:
        break;
    }
    dmi_lane_condemn_maker(session, index);
    *status = dmi_error(DM_ERR_WORKER_CORRUPT, "%s: its result cannot be read",
                        dmi_task_name(session, index));
    return true;
}

/* It cannot be brought, as of late. */
static bool was_refused(dmi_session *session, uint32_t index, uint32_t refusals, dm_status *status)
{
    if (!dmi_is_away(session, index) || dmi_residence_refusals(session, index) == refusals)
        return false;
    *status = dmi_residence_refusal(session, index);
    return true;
}

/* Wait for it, and for the disk if it is there. It is pinned meanwhile, since another thread may release
 * it, and wanted, so that it stays in memory until it is read. */
static dm_status get_later(dmi_session *session, uint32_t index, dm_into into, void *out,
                           int64_t timeout_ms)
{
    int64_t until = timeout_ms < 0 ? INT64_MAX : dmi_now_ms() + timeout_ms;
    dm_status status = DM_OK;
    dmi_task_pin(session, index);
    dmi_task_at(session, index)->wanted++;
    session->visitors++;
    dmi_turn(session);
    uint32_t refusals = dmi_residence_refusals(session, index);
    bool got = try_get(session, index, into, out, &status);
    while (!got && !session->closing && dmi_now_ms() < until) {
        dmi_residence_fetch(session, index, true);
        dmi_driver_rest(session, index, until);
        got = try_get(session, index, into, out, &status) || was_refused(session, index, refusals, &status);
    }
    if (!got && dmi_is_away(session, index))
        dmi_residence_fetch(session, index, true); /* for the next time */
    dmi_task_at(session, index)->wanted--;
    dmi_driver_rested(session);
    session->visitors--;
    if (!got && session->closing)
        status = dmi_error(DM_ERR_SHUT_DOWN, "dm_get: the session has been shut down meanwhile");
    else if (!got)
        status = dmi_error(DM_ERR_TIMEOUT, "dm_get: %s is not done after %lld ms",
                           dmi_task_name(session, index), (long long)timeout_ms);
    dmi_task_unpin(session, index);
    return status;
}

static dm_status get_generally(dmi_session *session, dm_ref ref, dm_into into, void *out,
                                         int64_t timeout_ms)
{
    uint32_t index;
    if (!dmi_enter_briefly(session))
        return DM_ERR_SHUT_DOWN;
    dm_status status = dmi_task_of(session, ref, &index);
    if (session->holding && ++session->gets_since_push > DMI_GETS_BEFORE_FLUSH)
        dmi_flush(session);
    if (status == DM_OK && !try_get(session, index, into, out, &status))
        status = get_later(session, index, into, out, timeout_ms);
    dmi_leave_armed(session); /* what became known may have made others ready */
    dmi_leave_briefly(session);
    return status;
}

/* ---- what is in memory, without the role ---- */

static void view_release_generally(dmi_session *session, uint64_t pin);

/* Read what is shown and cannot go away meanwhile. False: it is a value for which the role is needed. */
static bool read_shown(dmi_session *session, uint64_t id, dm_into into, void *out, dm_status *status)
{
    dmi_found found;
    dmi_subject subject = {NULL, 0};
    if (dmi_find(dmi_record_at(session, (uint32_t)id), &found) != DMI_THERE || found.item.kind == DM_REFS)
        return false;
    *status = dmi_item_into(&found.item, into, out, &subject);
    return true;
}

/* dm_get of what is shown (runtime/shown.h): waits for nobody. False: take the general way. */
static bool get_shown(dmi_session *session, dm_ref ref, dm_into into, void *out, dm_status *status)
{
    int at = dmi_shown_read(&session->shown, ref.id);
    bool got = at >= 0 && read_shown(session, ref.id, into, out, status);
    if (got && into == DM_INTO_VIEW && *status == DM_OK) {
        ((dm_view *)out)->pin = dmi_shown_lend(&session->shown, at, ref.id);
    } else if (at == DMI_SHOWN_OWED || (at >= 0 && !dmi_shown_leave(&session->shown, at, ref.id))) {
        view_release_generally(session, ref.id);
    }
    return got;
}

static DMI_APART dm_status get_less_quickly(dmi_session *session, dm_ref ref, dm_into into, void *out,
                                            int64_t timeout_ms)
{
    dm_status status;
    if (get_shown(session, ref, into, out, &status))
        return status;
    return get_generally(session, ref, into, out, timeout_ms);
}

dm_status dmi_driver_get(dmi_session *session, dm_ref ref, dm_into into, void *out, int64_t timeout_ms)
{
    if (dmi_enter_quickly(session)) {
        bool got = dmi_task_is_held(session, ref) && dmi_quick_get(session, (uint32_t)ref.id, into, out);
        dmi_role_end(&session->role);
        if (got)
            return DM_OK;
    }
    return get_less_quickly(session, ref, into, out, timeout_ms);
}

static DMI_APART void view_release_generally(dmi_session *session, uint64_t pin)
{
    uint32_t index = (uint32_t)pin;
    if (!dmi_enter_briefly(session))
        return;
    if (((pin >> 32) & 0xff) == session->tag && index < session->task_high) {
        dmi_task *task = dmi_task_at(session, index);
        if (task->generation == pin >> 40 && task->views > 0) {
            session->counts.pinned_bytes -= --task->views == 0 ? task->bytes : 0;
            dmi_task_unpin(session, index);
        }
    }
    dmi_leave_briefly(session);
}

static DMI_APART void view_release_less_quickly(dmi_session *session, uint64_t pin)
{
    if (!dmi_shown_release(&session->shown, &pin))
        view_release_generally(session, pin);
}

void dmi_driver_view_release(dmi_session *session, const dm_view *view)
{
    if (dmi_enter_quickly(session)) {
        bool released = dmi_quick_view_release(session, view->pin);
        dmi_role_end(&session->role);
        if (released)
            return;
    }
    view_release_less_quickly(session, view->pin);
}

/* ---- wait ---- */

/* A list is mostly waited for again and again, until nothing of it is left: so what is found published is accounted
 * for, and costs a look at its own line from then on. */
static inline bool is_ready(dmi_session *session, uint32_t index)
{
    dmi_task_state state = (dmi_task_state)dmi_task_at(session, index)->state;
    if (state != DMI_TASK_SENT || !dmi_is_published(dmi_record_at(session, index)))
        return state == DMI_TASK_DONE;
    dmi_lane_account(session, index);
    return true;
}

static dm_status count_ready(dmi_session *session, const dm_ref *refs, size_t n, bool *ready,
                             size_t *count)
{
    size_t found = *count = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t index = (uint32_t)refs[i].id;
        if (!dmi_task_is_held(session, refs[i]))
            return dmi_task_of(session, refs[i], &index);
        bool is = is_ready(session, index);
        found += is;
        if (ready)
            ready[i] = is;
    }
    *count = found;
    return DM_OK;
}

dm_status dmi_driver_wait(dmi_session *session, const dm_ref *refs, size_t n, size_t k,
                          int64_t timeout_ms, bool *ready)
{
    int64_t until = timeout_ms < 0 ? INT64_MAX : dmi_now_ms() + timeout_ms;
    size_t count;
    if (!dmi_driver_enter(session))
        return DM_ERR_SHUT_DOWN;
    dm_status status = count_ready(session, refs, n, ready, &count);
    while (status == DM_OK && count < k) {
        if (session->closing) {
            status = dmi_error(DM_ERR_SHUT_DOWN, "dm_wait: the session has been shut down meanwhile");
            break;
        }
        if (dmi_now_ms() >= until) {
            status = dmi_error(DM_ERR_TIMEOUT, "dm_wait: %zu of %zu are ready after %lld ms, not %zu",
                               count, n, (long long)timeout_ms, k);
            break;
        }
        dmi_driver_rest(session, UINT32_MAX, until);
        status = count_ready(session, refs, n, ready, &count);
    }
    dmi_driver_rested(session);
    dmi_leave_armed(session); /* what was accounted for may have made others ready */
    dmi_driver_leave(session);
    return status;
}
