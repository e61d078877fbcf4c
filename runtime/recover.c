/*
 * recover.c - lanes as their workers come and go: a fresh segment for a new worker, and what becomes of
 * a dead worker's tasks, refs and memory.
 *
 * What was published is adopted; it is done, even if the worker died before it could say so. What was
 * not published runs again, elsewhere. The task that was running when the worker died has used up one
 * attempt, and so have those that waited for it there, below it on the stack: whoever waits for a task that
 * always kills its worker would else submit it for ever. Those behind it in the ring have not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cancel.h"
#include "runtime/dispatch.h"
#include "runtime/extras.h"
#include "runtime/lane.h"
#include "runtime/orphans.h"
#include "runtime/ready.h"
#include "runtime/readers.h"
#include "runtime/remains.h"
#include "runtime/room.h"
#include "runtime/task.h"
#include "runtime/walker.h"

/* ---- opening ---- */

static bool new_seat(dmi_session *session, uint32_t *segment)
{
    for (uint32_t i = 1; i < session->seat_high; i++)
        if (!session->seats[i].used) {
            *segment = i;
            return true;
        }
    *segment = session->seat_high;
    return session->seat_high < DMI_SEGMENTS && ++session->seat_high;
}

static void reset_lane(dmi_session *session, dmi_lane *lane, uint32_t segment)
{
    const dmi_segment *memory = &session->seats[segment].memory;
    lane->segment = segment;
    lane->up = (const dmi_up *)memory->ro;
    lane->slots = (const dmi_slot *)(memory->ro + sizeof(dmi_up));
    lane->slots_ahead = (dmi_ahead){(char *)(uintptr_t)lane->slots, 0, DMI_MAX_SLOTS * sizeof *lane->slots, true};
    lane->free_slot_count = lane->slot_high = 0;
    lane->unfreed_count = 0;
    lane->taken = lane->pushed = lane->published = lane->reaped = 0;
    lane->freed = 0;
    lane->run_now = lane->run_count = 0;
    lane->trims_asked = 0;
    lane->let_be_until_ms = 0;
    lane->nested = lane->fetching = 0;
    lane->trim_pending = lane->blocked = lane->held = false;
    lane->condemned = DM_OK;
    lane->watched_serial = 0;
    lane->stalled = false;
    lane->uneven = 0;
    lane->stuck_since_ms = 0;
    dmi_down *down = lane->down;
    dmi_word *const zeroed[] = {&down->tail,    &down->revoke,    &down->held_back, &down->closing,
                                &down->run_now, &down->up_head,   &down->free_tail, &down->trim,
                                &down->granted, &down->answers,   &down->refusals,  &down->asks};
    for (size_t i = 0; i < sizeof zeroed / sizeof *zeroed; i++)
        dmi_word_prepare(zeroed[i], 0);
    for (size_t i = 0; i < DMI_ASKED; i++)
        dmi_word_prepare(&down->asked[i], 0);
    for (uint32_t i = 0; i < lane->cell_room; i++)
        dmi_word_prepare(&down->cells[i], 0);
    dmi_word_publish(&down->wake_at, DMI_NEVER);
}

dm_status dmi_lane_open(dmi_session *session, dmi_lane *lane)
{
    assert(lane->state == DMI_LANE_EMPTY);
    uint32_t segment;
    if (!new_seat(session, &segment))
        return dmi_error(DM_ERR_NOMEM, "all 65536 segments of a session are in use");
    dmi_seat *seat = &session->seats[segment];
    bool one_mapping = session->settings.engine != DM_ENGINE_PROCESSES;
    DM_TRY(dmi_segment_create(&seat->memory, session->segment_bytes, one_mapping));
    if (!one_mapping && seat->memory.rw) {
        /* The driver writes nothing in there, ever; it keeps the descriptor to punch what is dead. */
        dmi_segment_unmap_rw(&seat->memory);
    }
    seat->generation++;
    seat->lane = lane->index;
    seat->live = 0;
    seat->used = true;
    seat->orphaned = false;
    reset_lane(session, lane, segment);
    dmi_word_publish(&session->segment_generations[segment], seat->generation);
    dmi_room_first_grant(session, lane);
    lane->state = DMI_LANE_SERVING;
    return DM_OK;
}

/* ---- recovering ---- */

/* `waited`: not the task itself was to blame, perhaps, but one that it waited for on this worker. */
static const char *death_text(const dmi_death *death, bool waited, char *text, size_t bytes)
{
    if (death->cause == DM_ERR_TASK_TIMEOUT)
        snprintf(text, bytes, "%s time limit passed and its worker was killed",
                 waited ? "while it waited, another task's" : "its");
    else if (death->cause == DM_ERR_VIEW_WRITTEN)
        snprintf(text, bytes, "%s wrote through a read-only view, which ended its worker",
                 waited ? "while it waited, another task" : "it");
    else if (death->cause == DM_ERR_WORKER_CORRUPT)
        snprintf(text, bytes, "its worker wrote nonsense into shared memory and was killed");
    else if (death->signal != 0)
        snprintf(text, bytes, "its worker was ended by signal %d (%s)", death->signal,
                 strsignal(death->signal));
    else
        snprintf(text, bytes, "its worker exited with status %d", death->exit_status);
    return text;
}

static dm_status death_status(const dmi_death *death)
{
    if (death->cause != DM_OK)
        return death->cause;
    return death->signal != 0 ? DM_ERR_TASK_CRASH : DM_ERR_WORKER_EXITED;
}

/* A task that was on the worker's stack: one attempt is gone. A write through a view would only happen again. If
 * the worker was killed for a task that was cancelled, no other is to blame. */
static void charge(dmi_session *session, uint32_t index, const dmi_death *death, bool waited)
{
    dmi_task *task = dmi_task_at(session, index);
    dmi_lane_unnest(session, index);
    if (dmi_is_orphan(task) || dmi_is_cancelled(session, index) || death->cause == DM_ERR_CANCELLED) {
        dmi_task_return(session, index); /* where it ends */
        return;
    }
    task->attempts++;
    if (task->retries_left > 0 && (waited || death->cause != DM_ERR_VIEW_WRITTEN)) {
        task->retries_left--;
        session->counts.tasks_retried++;
        dmi_task_return(session, index);
        return;
    }
    char text[200];
    dmi_word_publish(&dmi_record_at(session, index)->where, dmi_where(DMI_NOWHERE, 0, 0));
    dmi_task_fail(session, index, death_status(death), "%s (task %llu, attempt %d): %s",
                  dmi_task_name(session, index),
                  (unsigned long long)dmi_record_at(session, index)->serial, task->attempts,
                  death_text(death, waited, text, sizeof text));
}

/* What the worker published, in ring order, then what it ran beside the ring. */
static void adopt_results(dmi_session *session, dmi_lane *lane)
{
    for (uint64_t i = lane->reaped; i < lane->pushed; i++) {
        uint32_t *link = &lane->sent[i % DMI_RING], index = *link - 1;
        if (*link == 0 || !dmi_is_sent_here(session, lane, index))
            continue;
        *link = 0;
        dmi_task_complete(session, index);
    }
    for (uint32_t link = lane->nested, next; link != 0; link = next) {
        next = dmi_task_at(session, link - 1)->next;
        if (dmi_is_sent_here(session, lane, link - 1))
            dmi_task_complete(session, link - 1);
    }
}

/* The rest of what it had. Who wrote nonsense is not believed about what it ran, either: else it might run it
 * again and again. */
static void return_tasks(dmi_session *session, dmi_lane *lane, const dmi_death *death)
{
    bool lied = lane->condemned == DM_ERR_WORKER_CORRUPT;
    uint64_t claim = lied ? lane->published : dmi_word_load(&lane->up->claim);
    uint64_t nested = lied ? lane->nested : dmi_word_load(&lane->up->nested);
    bool charged = false; /* entries run in order: the first without a result was running */
    for (uint64_t i = lane->reaped; i < lane->pushed; i++) {
        uint32_t link = lane->sent[i % DMI_RING];
        lane->sent[i % DMI_RING] = 0;
        if (link == 0)
            continue;
        if (i < claim && !charged) {
            charged = true;
            charge(session, link - 1, death, nested != 0);
        } else {
            dmi_task_return(session, link - 1);
        }
    }
    while (lane->nested != 0) {
        uint32_t i = lane->nested - 1;
        if (nested == i + 1 || lane->run_now != i + 1)
            charge(session, i, death, nested != i + 1);
        else
            dmi_task_return(session, i); /* it was handed, and has not begun */
    }
}

static void retire_segment(dmi_session *session, dmi_lane *lane)
{
    dmi_seat *seat = &session->seats[lane->segment];
    uint64_t committed = dmi_word_load(&lane->up->committed);
    seat->orphan_bytes = committed <= session->settings.store_bytes ? committed : 0;
    seat->orphaned = true; /* its generation stays: others go on reading what lives in it */
    if (seat->live != 0)
        dmi_orphan_shrink(session, lane->segment);
    dmi_seat_give_back_if_dead(session, lane->segment);
}

void dmi_lane_recover(dmi_session *session, dmi_lane *lane, const dmi_death *death)
{
    dmi_death why = *death;
    dmi_lane_reap(session, lane);
    if (lane->condemned != DM_OK)
        why.cause = lane->condemned;
    else if (why.cause == DM_OK && dmi_word_load(&lane->up->view_written) != 0)
        why.cause = DM_ERR_VIEW_WRITTEN;
    session->counts.workers_lost++;
    session->favourite = NULL;
    /* Closed to new tasks while its own find other places. */
    lane->state = DMI_LANE_LOST;
    if (lane->blocked)
        session->blocked_lanes--;
    if (lane->need_bytes != 0)
        session->rooms_awaited--;
    lane->blocked = false;
    lane->need_bytes = 0;
    dmi_lane_end_fetch(session, lane);
    size_t orphans;
    dmi_orphan *marked = dmi_orphans_mark(session, lane, &orphans);
    adopt_results(session, lane);
    dmi_lane_drop_cells(session, lane);
    dmi_orphans_discard(session, lane, marked, orphans);
    return_tasks(session, lane, &why);
    retire_segment(session, lane);
    lane->state = DMI_LANE_EMPTY;
    dmi_session_check(session);
}

/* ---- giving up ---- */

void dmi_session_break(dmi_session *session, dm_status status, const char *reason)
{
    if (session->broken != DM_OK)
        return;
    session->broken = status;
    snprintf(session->broken_text, sizeof session->broken_text, "%s", reason);
    while (session->ready_first != 0) {
        uint32_t index = session->ready_first - 1;
        dmi_ready_leave(session, index);
        dmi_dispatch(session, index); /* fails it, now, and then its dependents */
    }
    for (uint32_t l = 0; l < session->lane_count; l++)
        if (session->lanes[l].state == DMI_LANE_SERVING && session->lanes[l].child.pid <= 0) {
            dmi_lane_take_back(session, &session->lanes[l], 0);
        }
    dmi_wake_waiters(session);
}

/* ---- time limits and names ---- */

uint32_t dmi_lane_runs_in_order(dmi_session *session, const dmi_lane *lane)
{
    uint64_t claim = dmi_word_load(&lane->up->claim);
    for (uint64_t i = lane->reaped; i < claim && i < lane->pushed; i++) {
        uint32_t link = lane->sent[i % DMI_RING];
        if (link != 0 && !dmi_is_sent_here(session, lane, link - 1))
            return link - 1;
    }
    return UINT32_MAX;
}

uint32_t dmi_lane_runs(dmi_session *session, const dmi_lane *lane)
{
    if (lane->state != DMI_LANE_SERVING)
        return UINT32_MAX;
    uint64_t nested = dmi_word_load(&lane->up->nested);
    if (nested == 0)
        return dmi_lane_runs_in_order(session, lane);
    return nested - 1 < session->task_high ? (uint32_t)(nested - 1) : UINT32_MAX;
}

const char *dmi_lane_running(dmi_session *session, const dmi_lane *lane)
{
    uint32_t index = dmi_lane_runs(session, lane);
    return index == UINT32_MAX ? "" : dmi_task_name(session, index);
}

dmi_lane *dmi_overdue_lane(dmi_session *session, int64_t now_ms)
{
    for (uint32_t i = 0; i < session->lane_count && session->limited != 0; i++) {
        dmi_lane *lane = &session->lanes[i];
        uint32_t index = dmi_lane_runs(session, lane);
        uint64_t sign = index == UINT32_MAX ? 0 : dmi_record_at(session, index)->serial;
        if (sign != lane->watched_serial) {
            lane->watched_serial = sign;
            lane->watched_since_ms = now_ms;
        }
        if (index == UINT32_MAX || lane->condemned != DM_OK)
            continue;
        const dmi_task *task = dmi_task_at(session, index);
        if (task->state == DMI_TASK_SENT && (task->flags & DMI_TASK_LIMITED) &&
            now_ms - lane->watched_since_ms > task->limit_ms)
            return lane;
    }
    return NULL;
}

int64_t dmi_next_deadline_ms(dmi_session *session, int64_t now_ms)
{
    enum { LOOK_MS = 10 };
    return session->limited != 0 ? LOOK_MS : dmi_cancels_next_ms(session, now_ms);
}

/* Workers that wait and have nothing to run meanwhile. */
static uint32_t idle_waiters(const dmi_session *session)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < session->lane_count; i++)
        count += session->lanes[i].blocked && session->lanes[i].run_now == 0;
    return count;
}

uint32_t dmi_lanes_wanted(dmi_session *session)
{
    uint32_t wanted = (uint32_t)session->settings.workers;
    if (session->ready_count != 0)
        wanted += idle_waiters(session);
    return wanted < session->lane_limit ? wanted : session->lane_limit;
}
