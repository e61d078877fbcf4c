/*
 * quick.h - the way of most tasks through the driver: a few numbers submitted, a small result, found,
 * read and released once.
 *
 * Each function does in one go what the general way does (runtime/driver*.c, task.c, lane.c) by looking at
 * the same three lines (task, record, slot) in ten functions, one after the other, which costs three times
 * the instructions. If anything is not as it mostly is, it has done nothing and says false: then the
 * general way does it. A new kind of value or state needs no line here. Under the role.
 */
#ifndef DMI_QUICK_H
#define DMI_QUICK_H

#include "runtime/dispatch.h"
#include "runtime/lane.h"
#include "runtime/ready.h"
#include "runtime/registry.h"
#include "runtime/task.h"
#include "runtime/value.h"

/* A few numbers, as most tasks have, fit the record whatever they are: no packer, no allocation. */
static inline bool dmi_quick_pack(const dm_value *values, size_t count, dmi_out *out)
{
    if (count * DMI_WIRE_SCALAR > DMI_RECORD_ARGS)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!dmi_wire_number(out, &values[i]))
            return false;
    return true;
}

/* What a new task runs, on these numbers. */
static inline void dmi_quick_fill(dmi_session *session, uint32_t index, const dm_function *function,
                                  const uint8_t *wire, size_t count)
{
    dmi_record *record = dmi_record_at(session, index);
    DMI_STEP();
    record->function = (uint16_t)function->id;
    record->arg_count = (uint32_t)count;
    if (count != 0)
        dmi_shared_copy(record->args, wire, DMI_RECORD_ARGS);
}

/* The lane that was chosen for the last task, if this one can be written to it in the middle of a batch. */
static inline dmi_lane *dmi_quick_lane(const dmi_session *session)
{
    dmi_lane *lane = session->favourite;
    if (session->ready_count != 0 || session->favour == 0 || lane == NULL || !dmi_lane_is_open(lane) ||
        !dmi_lane_has_room(lane) || lane->pushed - lane->published - 1 >= DMI_LANE_BATCH - 2 ||
        lane->free_slot_count == 0)
        return NULL;
    return lane;
}

/* Others wait before it, and it is not yet time for a turn. */
static inline bool dmi_quick_is_queued(const dmi_session *session)
{
    return session->ready_count % DMI_QUEUED_A_TURN != 0 && session->prioritized == 0;
}

/* dm_remote of a few numbers, if nothing is to be decided about where the task goes. */
static inline dm_ref dmi_quick_submit(dmi_session *session, const dm_function *function, const dm_value *arguments,
                                      size_t count)
{
    uint8_t wire[DMI_RECORD_ARGS];
    dmi_out out = {wire, wire, wire + sizeof wire};
    dmi_lane *lane = dmi_quick_lane(session);
    if ((lane == NULL && !dmi_quick_is_queued(session)) || !dmi_task_has_entry(session) ||
        session->away != 0 || session->broken != DM_OK || session->settings.task_limit_ms >= 0 ||
        dmi_queue_is_full(session) || !dmi_quick_pack(arguments, count, &out) || !dmi_registry_knows(function))
        return DM_NO_REF;
    uint32_t index = dmi_task_take_entry(session);
    dmi_task_begin(session, index);
    dmi_quick_fill(session, index, function, wire, count);
    dmi_task_submit(session, index, 0, -1);
    if (lane != NULL) {
        session->favour--;
        dmi_lane_write(session, lane, index, lane->free_slots[--lane->free_slot_count]);
    } else {
        dmi_ready_append(session, index);
    }
    return dmi_task_ref(session, index);
}

/* The slot in which a task has published a small value, and its word; NULL if it is not so. */
static inline const dmi_slot *dmi_quick_slot(dmi_session *session, uint32_t index, uint64_t *word)
{
    const dmi_record *record = dmi_record_at(session, index);
    uint64_t where = dmi_word_peek(&record->where);
    if (dmi_where_place(where) != DMI_SLOT)
        return NULL;
    const dmi_slot *slot =
        dmi_lane_slot(session, dmi_where_segment(where), dmi_where_position(where));
    *word = dmi_word_load(&slot->word);
    if (dmi_slot_serial(*word) != record->serial || dmi_slot_kind_of(*word) != DMI_SLOT_INLINE ||
        (*word & 0xff) > DMI_SLOT_PAYLOAD)
        return NULL;
    return slot;
}

/* A slot comes from the worker's cache: have it sent here some entries before it is read. */
static inline void dmi_quick_ask_for_slot(dmi_session *session, const dmi_lane *lane, uint64_t position)
{
    uint32_t link = lane->sent[position % DMI_RING];
    if (link != 0)
        __builtin_prefetch(&lane->slots[dmi_where_position(dmi_word_peek(&dmi_record_at(session, link - 1)->where))]);
}

/* Results are mostly asked for in the order of submission. */
static inline void dmi_quick_look_ahead(dmi_session *session, const dmi_task *task)
{
    enum { AHEAD = 6 };
    if (task->state == DMI_TASK_SENT)
        dmi_quick_ask_for_slot(session, &session->lanes[task->lane], task->position + AHEAD);
}

/* dm_get of a small value that is there. Not if there is something to be published first. */
static inline bool dmi_quick_get(dmi_session *session, uint32_t index, dm_into into, void *out)
{
    uint64_t word;
    dmi_item item;
    dmi_task *task = dmi_task_at(session, index);
    const dmi_slot *slot = dmi_quick_slot(session, index, &word);
    if (slot == NULL || (session->holding && session->gets_since_push >= DMI_GETS_BEFORE_FLUSH))
        return false;
    const uint8_t *at = slot->payload;
    if (into != DM_INTO_NOTHING &&
        (!dmi_wire_next_common(&at, at + (word & 0xff), &item) || !dmi_item_into_common(&item, into, out)))
        return false;
    if (into == DM_INTO_VIEW) {
        ((dm_view *)out)->pin = dmi_task_ref(session, index).id;
        task->views++;
        task->pins++;
    }
    session->gets_since_push++;
    dmi_quick_look_ahead(session, task);
    return true;
}

/* dm_view_release of a value that somebody holds, or that has other views. */
static inline bool dmi_quick_view_release(dmi_session *session, uint64_t pin)
{
    uint32_t index = (uint32_t)pin;
    if (((pin >> 32) & 0xff) != session->tag || index >= session->task_high)
        return false;
    dmi_task *task = dmi_task_at(session, index);
    if (task->generation != pin >> 40 || task->views == 0 || task->holds == 0 || task->rare != 0)
        return false;
    task->views--;
    task->pins--;
    return true;
}

/* Is this the last that anybody has of it, and is there nothing to it but its value? */
static inline bool dmi_quick_is_plain(const dmi_session *session, const dmi_task *task)
{
    return task->holds == 1 && (task->pins | task->edges | task->contains | task->flags) == 0 &&
           task->rare == 0 && session->blocked_lanes == 0;
}

/* A task with a small value that somebody holds and nobody waits for, found in the ring of its lane. */
static inline bool dmi_quick_complete(dmi_session *session, const dmi_lane *lane, uint32_t index)
{
    uint64_t word;
    dmi_task *task = dmi_task_at(session, index);
    if (task->state != DMI_TASK_SENT || task->lane != lane->index || task->holds == 0 ||
        (task->edges | task->contains | task->flags) != 0 || task->rare != 0 ||
        session->blocked_lanes != 0 || dmi_record_at(session, index)->flags != 0 ||
        dmi_quick_slot(session, index, &word) == NULL)
        return false;
    task->state = DMI_TASK_DONE;
    task->read_at = 0;
    task->stay = 0;
    session->seats[lane->segment].live++;
    session->counts.tasks_done++;
    session->unfinished--;
    return true;
}

/* Account for a published task, if nothing that its worker said before is unheard. */
static inline bool dmi_quick_account(dmi_session *session, const dmi_task *task)
{
    dmi_lane *lane = &session->lanes[task->lane];
    if (lane->reaping || dmi_word_load(&lane->up->up_tail) != lane->taken)
        return false;
    lane->sent[task->position % DMI_RING] = 0;
    session->seats[lane->segment].live++;
    session->counts.tasks_done++;
    session->unfinished--;
    return true;
}

/* dm_release of the last hold on a task with a small value. */
static inline bool dmi_quick_release(dmi_session *session, uint32_t index)
{
    uint64_t word;
    dmi_task *task = dmi_task_at(session, index);
    const dmi_record *record = dmi_record_at(session, index);
    if (!dmi_quick_is_plain(session, task) || (record->flags & DMI_BLOB) ||
        dmi_quick_slot(session, index, &word) == NULL)
        return false;
    uint64_t where = dmi_word_peek(&record->where);
    dmi_seat *seat = &session->seats[dmi_where_segment(where)];
    dmi_lane *lane = &session->lanes[seat->lane];
    if (seat->orphaned || lane->free_slot_count == lane->free_slot_room ||
        task->generation == DMI_GENERATION_LAST)
        return false;
    if (task->state != DMI_TASK_DONE &&
        (task->state != DMI_TASK_SENT || !dmi_quick_account(session, task)))
        return false;
    lane->free_slots[lane->free_slot_count++] = (uint32_t)dmi_where_position(where);
    seat->live--;
    dmi_task_free_entry(session, index);
    return true;
}

#endif
