/*
 * task.c - the life of a task or value in the driver: counts, completion, freeing.
 *
 * Decides nothing about where tasks run (runtime/dispatch.c) and does not speak to workers except to
 * tell an object's owner that it is free (runtime/lane.h).
 */
#include "runtime/task.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cancel.h"
#include "runtime/dispatch.h"
#include "runtime/edges.h"
#include "runtime/extras.h"
#include "runtime/inputs.h"
#include "runtime/lane.h"
#include "runtime/lineage.h"
#include "runtime/lists.h"
#include "runtime/parts.h"
#include "runtime/put.h"
#include "runtime/readers.h"
#include "runtime/ready.h"
#include "runtime/registry.h"
#include "runtime/residence.h"
#include "runtime/supervisor.h"
#include "runtime/room.h"
#include "runtime/value.h"

/* ---- the table ---- */

/* Memory for another few new entries; false if there can be none. */
static bool grow(dmi_session *session)
{
    enum { MORE = 64, SMALL_TASKS = (1 << 20) / sizeof(dmi_task) }; /* beyond, pages are large */
    if (session->task_near == DMI_MAX_RECORDS)
        return false;
    session->task_near += MORE;
    dmi_ahead_reach(&session->records_ahead, session->task_near * sizeof(dmi_record));
    if (session->task_near <= SMALL_TASKS)
        dmi_ahead_reach(&session->tasks_ahead, session->task_near * sizeof(dmi_task));
    return true;
}

bool dmi_task_new(dmi_session *session, uint32_t *index)
{
    bool has_one = dmi_task_has_entry(session) || grow(session);
    if (!has_one && session->free_count == 0) {
        dmi_error(DM_ERR_NOMEM, "all %zu values of a session are in use: release some refs",
                  DMI_MAX_RECORDS);
        return false;
    }
    *index = has_one ? dmi_task_take_entry(session) : dmi_task_take_rested(session);
    dmi_task_begin(session, *index);
    return true;
}

dm_status dmi_task_of_none(const dmi_session *session, dm_ref ref)
{
    if (((ref.id >> 32) & 0xff) != session->tag || (uint32_t)ref.id >= session->task_high)
        return dmi_error(DM_ERR_BADREF, "%#llx is not a ref of this session", (unsigned long long)ref.id);
    return dmi_error(DM_ERR_STALE, "ref %#llx has been released", (unsigned long long)ref.id);
}

/* ---- freeing ---- */

void dmi_task_free_value(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    uint64_t where = dmi_word_peek(&dmi_record_at(session, index)->where);
    uint32_t segment = dmi_where_segment(where);
    if (task->contains != 0) {
        uint32_t contains = task->contains;
        task->contains = 0;
        dmi_contained_end(session, contains);
    }
    if (task->bytes != 0) {
        bool away = dmi_where_place(where) == DMI_DISK;
        if (task->flags & DMI_TASK_UNSEALED)
            session->counts.pinned_bytes -= task->bytes;
        dmi_residence_forget(session, index);
        session->counts.store_used -= away ? 0 : task->bytes;
        session->counts.objects--;
    }
    switch (dmi_where_place(where)) {
    case DMI_SLOT:
        dmi_lane_free_slot_value(session, segment, dmi_where_position(where));
        break;
    case DMI_OBJECT:
    case DMI_FAILED:
        if (dmi_where_position(where) != 0)
            dmi_free_object(session, segment, dmi_where_position(where));
        break;
    default:
        break;
    }
}

/* Nobody can read it any more: give everything back, now. */
static void free_task(dmi_session *session, uint32_t index)
{
    if (dmi_task_at(session, index)->has_extra && dmi_lineage_outlives(session, index))
        return;
    dmi_task_free_value(session, index);
    dmi_lineage_drop(session, index);
    if (dmi_task_at(session, index)->has_extra)
        dmi_extra_drop(session, index);
    dmi_task_free_entry(session, index);
}

static inline void free_if_dead(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    if (task->holds != 0 || task->state != DMI_TASK_DONE)
        return;
    if (task->pins == 0 && task->bytes != 0 && dmi_shown_adopt(session, index))
        return;
    if (task->pins == 0)
        free_task(session, index);
    else if (task->pins == 1 && task->stay != 0)
        dmi_residence_abandon(session, index);
}

void dmi_task_hold(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    if (task->holds++ != 0)
        return;
    if (task->state != DMI_TASK_DONE)
        session->loose--;
    else if (task->bytes != 0)
        dmi_shown_update(session, index);
}

void dmi_task_drop(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    assert(task->holds > 0);
    task->holds--;
    if (task->holds != 0)
        return;
    if (task->state != DMI_TASK_DONE)
        session->loose++;
    else if (task->bytes != 0)
        dmi_shown_hide(session, index);
    free_if_dead(session, index);
}

void dmi_task_pin(dmi_session *session, uint32_t index)
{
    dmi_task_at(session, index)->pins++;
}

void dmi_task_unpin(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    assert(task->pins > 0);
    task->pins--;
    free_if_dead(session, index);
}

/* ---- arguments ---- */

const uint8_t *dmi_task_args(dmi_session *session, uint32_t index, size_t *bytes)
{
    const dmi_record *record = dmi_record_at(session, index);
    if (!(record->flags & DMI_BLOB)) {
        *bytes = DMI_RECORD_ARGS;
        return record->args;
    }
    *bytes = record->blob.bytes;
    return (const uint8_t *)session->seats[record->blob.segment].memory.ro + record->blob.offset;
}

void dmi_task_each_input(dmi_session *session, uint32_t index,
                         void (*visit)(dmi_session *, uint32_t input, uint32_t task))
{
    size_t bytes;
    const uint8_t *at = dmi_task_args(session, index, &bytes), *end = at + bytes;
    uint32_t count = dmi_record_at(session, index)->arg_count;
    uint64_t refword;
    dmi_item other;
    for (uint32_t i = 0; i < count; i++)
        if (dmi_wire_next_ref(&at, end, &refword))
            visit(session, dmi_refword_index(refword), index);
        else if (!dmi_wire_next(&at, end, &other))
            break;
}

static void pin_input(dmi_session *session, uint32_t input, uint32_t index)
{
    dmi_task_at(session, index)->flags |= DMI_TASK_HAS_REFS;
    dmi_task_pin(session, input);
}

static void unpin_input(dmi_session *session, uint32_t input, uint32_t index)
{
    (void)index;
    dmi_task_unpin(session, input);
}

void dmi_task_limit(dmi_session *session, uint32_t index)
{
    dmi_task_at(session, index)->flags |= DMI_TASK_LIMITED;
    if (session->limited++ == 0 && session->supervisor)
        dmi_supervisor_poke(session); /* it keeps the time */
}

dm_status dmi_queue_full(const dmi_session *session)
{
    return dmi_error(DM_ERR_QUEUE_FULL, "%llu tasks are unfinished, as many as may be: wait for some, or raise "
                     "DM_QUEUE_TASKS", (unsigned long long)session->unfinished);
}

/* A task, and no put value, failed submission or part of another's value. */
static bool is_task(const dmi_record *record)
{
    return record->function < DMI_PUT_IN_TASK && !(record->flags & DMI_PART);
}

void dmi_task_pin_inputs(dmi_session *session, uint32_t index)
{
    dmi_task_each_input(session, index, pin_input);
}

/* It has run for good. */
static void drop_args(dmi_session *session, uint32_t index)
{
    bool kept = dmi_lineage_keep(session, index);
    if (dmi_task_at(session, index)->flags & DMI_TASK_HAS_REFS)
        dmi_task_each_input(session, index, unpin_input);
    if (!kept)
        dmi_lineage_free_blob(session, index);
}

/* ---- waiting for inputs ---- */

/* Inputs that are on their way will do: they are sent before this one, since the queue is in order of
 * serial, and a worker that meets a missing input waits a moment, then hands the task back. With priorities
 * one in the queue may be sent after it. */
static void wait_if_missing(dmi_session *session, uint32_t input, uint32_t index)
{
    uint8_t state = dmi_task_at(session, input)->state;
    if (state == DMI_TASK_DONE)
        return;
    bool goes_first = state == DMI_TASK_SENT || (state == DMI_TASK_QUEUED && session->prioritized == 0);
    if (goes_first && !(dmi_task_at(session, index)->flags & DMI_TASK_PATIENT) &&
        dmi_tasks_are_short(session))
        return;
    dmi_task_await_input(session, input, index);
}

void dmi_task_enter(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    task->state = DMI_TASK_WAITING;
    if (dmi_is_cancelled(session, index)) {
        dmi_cancel_end(session, index);
        return;
    }
    if (dmi_is_orphan(task)) {
        dmi_task_discard(session, index);
        return;
    }
    if (task->flags & DMI_TASK_HAS_REFS)
        dmi_task_each_input(session, index, wait_if_missing);
    if (task->waits == 0)
        dmi_dispatch(session, index);
}

/* ---- ends ---- */

void dmi_task_finish(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    task->state = DMI_TASK_DONE;
    task->read_at = 0;
    task->stay = 0;
    session->unfinished -= is_task(dmi_record_at(session, index));
    if (task->holds == 0)
        session->loose--;
    if (task->flags & DMI_TASK_LIMITED)
        session->limited--;
    task->pins++; /* a dependent that is an orphan ends where it is woken, and may be the last to name this one */
    if (task->bytes != 0 || task->contains != 0 || (task->flags & DMI_TASK_HAS_REFS) ||
        (dmi_record_at(session, index)->flags & DMI_BLOB))
        drop_args(session, index);
    if (task->edges != 0)
        dmi_task_wake_dependents(session, index);
    if (session->blocked_lanes != 0)
        dmi_wake_blocked(session, index);
    task->pins--;
    if (task->bytes != 0)
        dmi_residence_enter(session, index);
    if (dmi_record_at(session, index)->flags >= DMI_RETURNS)
        dmi_parts_settle(session, index);
    free_if_dead(session, index);
}

void dmi_task_withdraw(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    if (task->state == DMI_TASK_QUEUED)
        dmi_ready_leave(session, index);
    dmi_task_await_nothing(session, index);
    if (task->flags & DMI_TASK_FETCHING)
        dmi_inputs_release(session, index);
}

void dmi_task_discard(dmi_session *session, uint32_t index)
{
    assert(dmi_is_orphan(dmi_task_at(session, index)));
    dmi_task_withdraw(session, index);
    session->counts.tasks_dropped++;
    dmi_task_finish(session, index);
}

static void count_object(dmi_session *session, uint32_t index, uint64_t bytes)
{
    dmi_task_at(session, index)->bytes = bytes;
    if (bytes != 0) {
        session->counts.store_used += bytes;
        session->counts.objects++;
        if (dmi_task_at(session, index)->views != 0) /* read before it was reaped */
            session->counts.pinned_bytes += bytes;
    }
}

static const dmi_slot *slot_of(dmi_session *session, uint32_t index)
{
    uint64_t where = dmi_word_peek(&dmi_record_at(session, index)->where);
    return dmi_lane_slot(session, dmi_where_segment(where), dmi_where_position(where));
}

static bool ref_in_slot(dmi_session *session, const dmi_slot *slot, uint32_t *inner)
{
    uint64_t refword;
    if (dmi_slot_kind_of(dmi_word_load(&slot->word)) != DMI_SLOT_REF)
        return false;
    memcpy(&refword, slot->payload, 8);
    return dmi_refword_record(session, refword, inner);
}

bool dmi_task_inner(dmi_session *session, uint32_t index, uint32_t *inner)
{
    const dmi_task *task = dmi_task_at(session, index);
    if (task->state == DMI_TASK_SENT) {
        const dmi_lane *maker = &session->lanes[task->lane];
        dmi_lane_reap(session, &session->lanes[task->lane]);
        if (dmi_is_sent_here(session, maker, index))
            return ref_in_slot(session, slot_of(session, index), inner);
    }
    *inner = task->contains - 1;
    return task->contains != 0 && !(task->contains & DMI_LIST); /* who asks may be a worker gone wild */
}

bool dmi_task_inner_at(dmi_session *session, uint32_t index, size_t i, uint32_t *inner)
{
    dmi_found found;
    uint64_t refword;
    const dmi_task *task = dmi_task_at(session, index);
    if (task->state == DMI_TASK_SENT)
        dmi_lane_reap(session, &session->lanes[task->lane]);
    if (task->state != DMI_TASK_SENT)
        return dmi_list_at(session, task->contains, i, inner);
    if (dmi_find(dmi_record_at(session, index), &found) != DMI_THERE || found.item.kind != DM_REFS ||
        i >= found.item.bytes / sizeof refword)
        return false;
    memcpy(&refword, (const char *)found.item.data + i * sizeof refword, sizeof refword);
    return dmi_refword_record(session, refword, inner);
}

void dmi_task_complete(dmi_session *session, uint32_t index)
{
    uint32_t segment = dmi_where_segment(dmi_word_peek(&dmi_record_at(session, index)->where)), inner;
    const dmi_slot *slot = slot_of(session, index);
    dmi_slot_kind kind = dmi_slot_kind_of(dmi_word_load(&slot->word));
    dmi_lane_unnest(session, index);
    session->seats[segment].live++;
    if (kind == DMI_SLOT_OBJECT) {
        dmi_found found;
        uint64_t offset;
        memcpy(&offset, slot->payload, 8);
        if (dmi_find_object(segment, offset, &found)) {
            count_object(session, index, dmi_found_bytes(&found));
            dmi_list_adopt(session, index, &found);
        }
    } else if (ref_in_slot(session, slot, &inner)) {
        dmi_task_pin(session, inner);
        dmi_task_at(session, index)->contains = inner + 1;
    }
    if (kind == DMI_SLOT_ERROR)
        session->counts.tasks_failed++;
    else
        session->counts.tasks_done++;
    dmi_task_finish(session, index);
}

/* A failure in D; 0: there is no room for its text. */
static uint64_t failure(dmi_session *session, dm_status status, const char *text)
{
    uint64_t offset = dmi_error_object(session->heap, &session->seats[0].memory, status, text);
    if (offset != 0)
        return offset;
    uint64_t room = dmi_room_for_driver(session, sizeof(dmi_object) + strlen(text) + 1);
    if (room == 0)
        return 0;
    dmi_heap_free(session->heap, room); /* what its heap was granted so far was too little */
    return dmi_error_object(session->heap, &session->seats[0].memory, status, text);
}

void dmi_task_is_failure(dmi_session *session, uint32_t index, dm_status status, const char *text)
{
    uint64_t offset = failure(session, status, text);
    dmi_word_publish(&dmi_record_at(session, index)->where,
                     dmi_where(DMI_FAILED, offset ? 0 : (uint32_t)status, offset));
}

void dmi_task_fail(dmi_session *session, uint32_t index, dm_status status, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dmi_task_is_failure(session, index, status, text);
    session->counts.tasks_failed++;
    dmi_task_finish(session, index);
}

void dmi_task_lose(dmi_session *session, uint32_t index, dm_status status, const char *text)
{
    session->counts.objects--;
    dmi_task_at(session, index)->bytes = 0;
    dmi_lineage_drop(session, index);
    dmi_task_is_failure(session, index, status, text);
}

void dmi_task_is_here(dmi_session *session, uint32_t index, const uint8_t *wire, size_t bytes)
{
    dmi_record *record = dmi_record_at(session, index);
    dmi_shared_copy(record->args, wire, bytes);
    record->arg_count = (uint32_t)bytes;
    dmi_word_publish(&record->where, dmi_where(DMI_HERE, 0, 0));
    dmi_task_at(session, index)->state = DMI_TASK_DONE;
}

void dmi_task_is_object(dmi_session *session, uint32_t index, uint32_t segment, uint64_t offset,
                        uint64_t bytes)
{
    session->seats[segment].live++;
    count_object(session, index, bytes);
    dmi_word_publish(&dmi_record_at(session, index)->where, dmi_where(DMI_OBJECT, segment, offset));
    dmi_task_at(session, index)->state = DMI_TASK_DONE;
}

void dmi_task_unplace(dmi_session *session, uint32_t index)
{
    dmi_record *record = dmi_record_at(session, index);
    uint64_t where = dmi_word_peek(&record->where);
    dmi_word_publish(&record->where, dmi_where(DMI_NOWHERE, 0, 0));
    if (dmi_where_place(where) == DMI_SLOT)
        dmi_lane_free_slot(session, dmi_where_segment(where), (uint32_t)dmi_where_position(where));
    dmi_lane_unnest(session, index);
}

void dmi_task_return(dmi_session *session, uint32_t index)
{
    dmi_task_unplace(session, index);
    dmi_task_enter(session, index);
}

const char *dmi_task_name(dmi_session *session, uint32_t index)
{
    const dmi_extra *extra = dmi_extra_of(session, index);
    if (extra && extra->name)
        return extra->name;
    uint16_t number = dmi_record_at(session, index)->function;
    const dm_function *function = dmi_registry_at(number);
    if (function)
        return function->name;
    return number == DMI_PUT ? "dm_put" : number == DMI_PUT_IN_TASK ? "dm_put in a task" : "?";
}
