/*
 * cancel.c - what becomes of a task that is cancelled, and of what it had submitted.
 */
#include "runtime/cancel.h"

#include <stdlib.h>

#include "runtime/clock.h"
#include "runtime/dispatch.h"
#include "runtime/driver.h"
#include "runtime/extras.h"
#include "runtime/lane.h"
#include "runtime/parts.h"
#include "runtime/supervisor.h"

typedef struct dmi_cancel {
    uint64_t serial;
    uint32_t index;
    uint16_t lane;
    uint16_t place;     /* of its serial in the lane's `asked`, + 1; 0: not asked yet */
    bool child;         /* of a cancelled task: left alone if anybody else wants it */
    bool seen;          /* on a lane, and what it had submitted is in the list */
    bool asked_before;  /* a look found it claimed and not begun: its worker will not begin it */
    bool begun;         /* it was found running, and the grace runs */
    int64_t grace_ms;   /* DM_NONE: for ever */
    int64_t kill_at_ms; /* once begun; INT64_MAX: never */
} dmi_cancel;

/* ---- asking ---- */

static void count_asks(dmi_lane *lane)
{
    uint64_t asks = 0;
    for (int i = 0; i < DMI_ASKED; i++)
        asks += dmi_word_peek(&lane->down->asked[i]) != 0;
    dmi_word_publish(&lane->down->asks, asks);
}

static void ask_at(dmi_lane *lane, dmi_cancel *cancel, uint16_t place)
{
    dmi_word_publish(&lane->down->asked[place - 1], cancel->serial);
    cancel->place = place;
    count_asks(lane);
    dmi_lane_wake(lane);
}

/* With no word free it is asked later. */
static void ask(dmi_session *session, dmi_cancel *cancel)
{
    dmi_lane *lane = &session->lanes[cancel->lane];
    for (uint16_t i = 0; i < DMI_ASKED && cancel->place == 0; i++)
        if (dmi_word_peek(&lane->down->asked[i]) == 0)
            ask_at(lane, cancel, (uint16_t)(i + 1));
}

/* It runs, and there was no word for it: one that waits below it on that stack is in the list before it, since what a
 * task has submitted comes after it, and can do nothing before this one is done. It is asked again later. */
static void ask_instead_of_one_below(dmi_session *session, dmi_cancel *cancel)
{
    dmi_lane *lane = &session->lanes[cancel->lane];
    for (uint32_t i = 0; i < session->cancel_count && session->cancels[i].serial != cancel->serial; i++) {
        dmi_cancel *other = &session->cancels[i];
        if (other->lane != cancel->lane || !other->begun || other->place == 0 ||
            dmi_word_peek(&lane->down->asked[other->place - 1]) != other->serial)
            continue;
        ask_at(lane, cancel, other->place);
        other->place = 0;
        return;
    }
}

static void ask_no_more(dmi_session *session, const dmi_cancel *cancel)
{
    if (cancel->place == 0)
        return;
    dmi_lane *lane = &session->lanes[cancel->lane];
    dmi_word *word = &lane->down->asked[cancel->place - 1];
    if (dmi_word_peek(word) != cancel->serial)
        return; /* the lane has another worker by now */
    dmi_word_publish(word, 0);
    count_asks(lane);
}

/* ---- the end ---- */

void dmi_cancel_end(dmi_session *session, uint32_t index)
{
    const dmi_extra *extra = dmi_extra_of(session, index);
    bool asked = extra && extra->asked;
    dmi_task_withdraw(session, index);
    dmi_task_fail(session, index, DM_ERR_CANCELLED, "%s (task %llu): it was cancelled %s",
                  dmi_task_name(session, index), (unsigned long long)dmi_record_at(session, index)->serial,
                  asked ? "while it ran, and its worker is dead" : "before it began");
}

/* ---- the list ---- */

static bool is_same(const dmi_session *session, const dmi_cancel *cancel)
{
    return session->records[cancel->index].serial == cancel->serial &&
           dmi_task_is_alive(&session->tasks[cancel->index]);
}

static dmi_cancel *known(dmi_session *session, uint32_t index)
{
    for (uint32_t i = 0; i < session->cancel_count; i++)
        if (session->cancels[i].index == index && is_same(session, &session->cancels[i]))
            return &session->cancels[i];
    return NULL;
}

static bool add(dmi_session *session, uint32_t index, int64_t grace_ms, bool child)
{
    if (session->cancel_count == session->cancel_room) {
        uint32_t room = session->cancel_room ? 2 * session->cancel_room : 16;
        dmi_cancel *grown = realloc(session->cancels, room * sizeof *grown);
        if (grown == NULL)
            return false;
        session->cancels = grown;
        session->cancel_room = room;
    }
    session->cancels[session->cancel_count++] = (dmi_cancel){.serial = dmi_record_at(session, index)->serial,
                                                             .index = index,
                                                             .child = child,
                                                             .grace_ms = grace_ms};
    return true;
}

/* ---- what a cancelled task had submitted ---- */

/* Whose value it is, or one of several. */
static uint32_t task_of(dmi_session *session, uint32_t index)
{
    uint32_t maker = dmi_part_maker(session, index);
    return maker == UINT32_MAX ? index : maker;
}

typedef struct child {
    uint64_t serial;
    uint32_t index;
} child;

static int latest_first(const void *a, const void *b)
{
    uint64_t x = ((const child *)a)->serial, y = ((const child *)b)->serial;
    return (x < y) - (x > y);
}

/* A task can only name earlier ones, so with the latest first none is pinned by one still to come. */
static void add_children(dmi_session *session, const dmi_cancel *maker)
{
    const dmi_lane *lane = &session->lanes[maker->lane];
    child *children = lane->cell_room ? malloc(lane->cell_room * sizeof *children) : NULL;
    size_t count = 0;
    for (uint32_t i = 0; children && i < lane->cell_room; i++) {
        const dmi_cell *cell = &lane->cells[i];
        if (cell->record == 0 || cell->maker != maker->index || cell->maker_serial != maker->serial)
            continue;
        uint32_t index = task_of(session, cell->record - 1);
        children[count++] = (child){dmi_record_at(session, index)->serial, index};
    }
    if (count != 0)
        qsort(children, count, sizeof *children, latest_first);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || children[i].serial != children[i - 1].serial) /* by several of its values */
            add(session, children[i].index, maker->grace_ms, true);
    free(children);
}

/* Its maker holds it, by one cell, and nobody else. */
static bool is_wanted(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    if (dmi_record_at(session, index)->flags >= DMI_RETURNS)
        return dmi_parts_are_wanted(session, index);
    return task->holds > 1 || task->pins != 0;
}

void dmi_cancel_child(dmi_session *session, uint32_t maker, uint32_t index)
{
    dmi_extra *extra = dmi_is_cancelled(session, maker) ? dmi_extra_make(session, index) : NULL;
    if (extra)
        extra->cancelled = true;
}

/* ---- a look at one ---- */

/* Does the lane's worker have it on its stack? */
static bool is_running(dmi_session *session, const dmi_lane *lane, uint32_t index)
{
    if (dmi_task_at(session, index)->flags & DMI_TASK_NESTED)
        return lane->run_now != index + 1 || dmi_word_load(&lane->up->nested) == index + 1u;
    return dmi_lane_runs_in_order(session, lane) == index;
}

/* Where workers are threads, nobody can be killed. */
static int64_t time_to_kill(const dmi_session *session, const dmi_cancel *cancel, int64_t now)
{
    enum { REFUSAL_MS = 100 }; /* for a worker to pass over one that it was to begin just now */
    bool killable = session->settings.engine == DM_ENGINE_PROCESSES && cancel->grace_ms >= 0;
    int64_t grace_ms = cancel->grace_ms;
    if (cancel->asked_before && grace_ms < REFUSAL_MS)
        grace_ms = REFUSAL_MS;
    return killable && grace_ms < INT64_MAX - now ? now + grace_ms : INT64_MAX;
}

/* It is claimed: the grace begins with the first look that finds it running. */
static void press(dmi_session *session, dmi_cancel *cancel)
{
    dmi_lane *lane = &session->lanes[cancel->lane];
    int64_t now = dmi_now_ms();
    ask(session, cancel);
    bool running = cancel->begun || is_running(session, lane, cancel->index);
    if (running && !cancel->begun)
        cancel->kill_at_ms = time_to_kill(session, cancel, now);
    cancel->begun = running;
    if (running && cancel->place == 0)
        ask_instead_of_one_below(session, cancel);
    cancel->asked_before |= !running && cancel->place != 0;
    dmi_extra *extra = dmi_extra_make(session, cancel->index);
    if (extra) { /* without memory it would be tried again, should its worker die */
        extra->cancelled = true;
        extra->asked = cancel->begun;
    }
    if (cancel->begun && now >= cancel->kill_at_ms)
        dmi_lane_condemn(lane, DM_ERR_CANCELLED);
}

/* Its value stands, whatever it was asked: law 7 of runtime/layout.h. */
static void leave_alone(dmi_session *session, const dmi_cancel *cancel)
{
    ask_no_more(session, cancel);
    dmi_extra *extra = is_same(session, cancel) ? dmi_extra_of(session, cancel->index) : NULL;
    if (extra)
        extra->cancelled = false; /* should the disk lose it, it may run again */
}

static void end_unbegun(dmi_session *session, const dmi_cancel *cancel)
{
    if (dmi_task_at(session, cancel->index)->state == DMI_TASK_SENT)
        dmi_task_unplace(session, cancel->index);
    dmi_cancel_end(session, cancel->index);
    ask_no_more(session, cancel);
}

static void hear_of_it(dmi_session *session, uint32_t index)
{
    if (dmi_task_at(session, index)->state == DMI_TASK_SENT)
        dmi_lane_account(session, index);
}

/* False: it is settled. The list may grow. */
static bool pursue(dmi_session *session, uint32_t at)
{
    if (is_same(session, &session->cancels[at]))
        hear_of_it(session, session->cancels[at].index);
    dmi_cancel cancel = session->cancels[at];
    const dmi_task *task = dmi_task_at(session, cancel.index);
    if (!is_same(session, &cancel) || task->state == DMI_TASK_DONE) {
        leave_alone(session, &cancel);
        return false;
    }
    if (!cancel.seen && cancel.child && is_wanted(session, cancel.index))
        return false;
    if (task->state != DMI_TASK_SENT || dmi_lane_take_back_one(session, cancel.index)) {
        end_unbegun(session, &cancel);
        return false;
    }
    bool first = !cancel.seen;
    cancel.seen = true;
    cancel.lane = task->lane;
    press(session, &cancel);
    session->cancels[at] = cancel;
    if (first)
        add_children(session, &cancel);
    return true;
}

bool dmi_cancels_turn(dmi_session *session)
{
    uint32_t kept = 0, before = session->cancel_count;
    if (before == 0)
        return false;
    for (uint32_t i = 0; i < session->cancel_count; i++)
        if (pursue(session, i))
            session->cancels[kept++] = session->cancels[i];
    session->cancel_count = kept;
    return kept != before;
}

int64_t dmi_cancels_next_ms(const dmi_session *session, int64_t now_ms)
{
    enum { LOOK_MS = 10 };
    int64_t next = -1;
    for (uint32_t i = 0; i < session->cancel_count; i++) {
        const dmi_cancel *cancel = &session->cancels[i];
        int64_t left = cancel->kill_at_ms - now_ms;
        if (cancel->begun && cancel->kill_at_ms == INT64_MAX)
            continue;
        if (!cancel->begun || left < LOOK_MS)
            left = LOOK_MS;
        next = next < 0 || left < next ? left : next;
    }
    return next;
}

/* ---- who asks for it ---- */

static bool was_put(const dmi_session *session, uint32_t index)
{
    uint16_t function = session->records[index].function;
    uint64_t where = dmi_word_peek(&session->records[index].where);
    return (function == DMI_PUT || function == DMI_PUT_IN_TASK) && dmi_where_place(where) != DMI_FAILED;
}

static bool note(dmi_session *session, uint32_t index, int64_t grace_ms)
{
    if (grace_ms == DMI_GRACE_OF_SESSION)
        grace_ms = session->settings.cancel_grace_ms;
    dmi_cancel *before = known(session, index);
    if (before == NULL)
        return add(session, index, grace_ms, false);
    before->child = false;
    before->grace_ms = grace_ms;
    before->begun = false; /* the new grace begins now */
    return true;
}

void dmi_cancel_soon(dmi_session *session, uint32_t index, int64_t grace_ms)
{
    index = task_of(session, index);
    if (was_put(session, index) || dmi_task_at(session, index)->state == DMI_TASK_DONE)
        return;
    dmi_extra *extra = dmi_extra_make(session, index);
    if (extra && note(session, index, grace_ms)) /* without memory it was not asked for */
        extra->cancelled = true;
}

dm_status dmi_cancel_now(dmi_session *session, uint32_t index, int64_t grace_ms)
{
    if (was_put(session, index))
        return dmi_error(DM_ERR_INVALID, "dm_cancel: this value was put, or is being made; only a task's result "
                         "can be cancelled: release it with dm_release");
    index = task_of(session, index);
    if (dmi_task_at(session, index)->state == DMI_TASK_DONE)
        return DM_OK;
    if (!note(session, index, grace_ms))
        return dmi_error(DM_ERR_NOMEM, "dm_cancel: no memory to keep track of it");
    dmi_cancels_turn(session);
    if (session->cancel_count != 0 && session->supervisor)
        dmi_supervisor_poke(session); /* it keeps the time */
    return DM_OK;
}

dm_status dmi_driver_cancel(dmi_session *session, dm_ref ref, int64_t grace_ms)
{
    uint32_t index;
    if (!dmi_driver_enter(session))
        return DM_ERR_SHUT_DOWN;
    dm_status status = dmi_task_of(session, ref, &index);
    if (status == DM_OK)
        status = dmi_cancel_now(session, index, grace_ms);
    dmi_wake_waiters(session);
    dmi_leave_armed(session);
    dmi_driver_leave(session);
    return status;
}
