/*
 * lane.c - the driver's end of a lane: the ring, completions, slots, frees.
 */
#include "runtime/lane.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/dispatch.h"
#include "runtime/inputs.h"
#include "runtime/quick.h"
#include "runtime/remains.h"
#include "runtime/readers.h"
#include "runtime/task.h"

enum {
    STACK_NS = 10000 /* a task behind others that take as long may be stuck there */
};

/* ---- slots ---- */

static bool take_slot(dmi_lane *lane, uint32_t *slot)
{
    if (lane->free_slot_count > 0) {
        *slot = lane->free_slots[--lane->free_slot_count];
        return true;
    }
    *slot = lane->slot_high;
    if (lane->slot_high == DMI_MAX_SLOTS)
        return false;
    lane->slot_high++;
    dmi_ahead_reach(&lane->slots_ahead, lane->slot_high * sizeof *lane->slots);
    return true;
}

void dmi_lane_free_slot(dmi_session *session, uint32_t segment, uint32_t slot)
{
    dmi_lane *lane = dmi_lane_of_seat(session, segment);
    if (session->seats[segment].orphaned || lane->segment != segment)
        return;
    if (lane->free_slot_count == lane->free_slot_room) {
        uint32_t room = lane->free_slot_room ? 2 * lane->free_slot_room : 1024;
        uint32_t *grown = realloc(lane->free_slots, room * sizeof *grown);
        if (grown == NULL)
            return; /* the slot is lost until the lane's next worker; 32 bytes */
        lane->free_slots = grown;
        lane->free_slot_room = room;
    }
    lane->free_slots[lane->free_slot_count++] = slot;
}

void dmi_lane_free_slot_value(dmi_session *session, uint32_t segment, uint64_t slot)
{
    const dmi_slot *at = dmi_lane_slot(session, segment, slot);
    dmi_slot_kind kind = dmi_slot_kind_of(dmi_word_load(&at->word));
    if (kind == DMI_SLOT_OBJECT || kind == DMI_SLOT_ERROR || kind == DMI_SLOT_PARTS) {
        uint64_t offset;
        memcpy(&offset, at->payload, 8);
        session->seats[segment].live++; /* for dmi_free_object, which counts an object */
        if (offset != 0)
            dmi_free_object(session, segment, offset);
        else
            session->seats[segment].live--;
    }
    dmi_lane_free_slot(session, segment, (uint32_t)slot);
    session->seats[segment].live--;
    dmi_seat_give_back_if_dead(session, segment);
}

/* ---- frees ---- */

void dmi_lane_flush_frees(dmi_lane *lane)
{
    uint64_t taken = dmi_word_load(&lane->up->free_head);
    uint64_t freed = lane->freed;
    size_t told = 0;
    while (told < lane->unfreed_count && freed - taken < DMI_FREE_RING)
        dmi_word_prepare(&lane->down->free_ring[freed++ % DMI_FREE_RING], lane->unfreed[told++]);
    if (told == 0)
        return;
    lane->unfreed_count -= told;
    memmove(lane->unfreed, lane->unfreed + told, lane->unfreed_count * sizeof *lane->unfreed);
    lane->freed = freed;
    dmi_word_publish(&lane->down->free_tail, freed);
}

static void tell_owner(dmi_lane *lane, uint64_t offset)
{
    uint64_t taken = dmi_word_peek(&lane->up->free_head);
    if (lane->unfreed_count == 0 && lane->freed - taken < DMI_FREE_RING) {
        dmi_word_prepare(&lane->down->free_ring[lane->freed % DMI_FREE_RING], offset);
        dmi_word_publish(&lane->down->free_tail, ++lane->freed);
        if (lane->freed - taken == DMI_FREE_RING / 2)
            dmi_ring_bell(lane->child.service_bell); /* busy with something long, it seems */
        return;
    }
    if (lane->unfreed_count == lane->unfreed_room) {
        size_t room = lane->unfreed_room ? 2 * lane->unfreed_room : 1024;
        uint64_t *grown = realloc(lane->unfreed, room * sizeof *grown);
        if (grown == NULL)
            return; /* lost to this worker's heap until it ends */
        lane->unfreed = grown;
        lane->unfreed_room = room;
    }
    lane->unfreed[lane->unfreed_count++] = offset;
    dmi_ring_bell(lane->child.service_bell);
    dmi_lane_flush_frees(lane);
}

void dmi_free_object(dmi_session *session, uint32_t segment, uint64_t offset)
{
    if (segment == 0) {
        dmi_heap_free(session->heap, offset);
        return;
    }
    dmi_seat *seat = &session->seats[segment];
    if (!seat->orphaned)
        tell_owner(dmi_lane_of_seat(session, segment), offset);
    else
        dmi_orphan_punch(seat, offset);
    seat->live--;
    dmi_seat_give_back_if_dead(session, segment);
}

void dmi_seat_give_back_if_dead(dmi_session *session, uint32_t segment)
{
    dmi_seat *seat = &session->seats[segment];
    if (!seat->orphaned || seat->live != 0)
        return;
    if (session->glancing != 0) {
        session->unburied = true;
        return;
    }
    /* Others may still have it mapped and look at it never again: take the pages from under them. */
    fallocate(seat->memory.rw_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)seat->memory.bytes);
    dmi_segment_destroy(&seat->memory);
    seat->used = false;
    seat->orphaned = false;
}

void dmi_seats_bury(dmi_session *session)
{
    session->unburied = false;
    for (uint32_t i = 1; i < session->seat_high; i++)
        if (session->seats[i].used)
            dmi_seat_give_back_if_dead(session, i);
}

/* ---- the ring ---- */

/* The first of a batch finds out whether the worker has anything to do, the last ends it. A look at the worker's
 * words only once a batch: each takes its cache line away. */
static void begin_or_end_batch(dmi_session *session, dmi_lane *lane)
{
    bool first = lane->pushed - lane->published == 1;
    if (first && lane->pushed - lane->reaped > 1 && dmi_word_peek(&lane->up->mean_ns) - 1 >= STACK_NS - 1)
        session->stacked = true; /* also if nothing is known of it: 0 - 1 is large */
    bool idle = first && lane->published == dmi_word_peek(&lane->up->done);
    if (idle || !first) {
        dmi_lane_publish(session, lane);
        return;
    }
    session->holding = true;
    if (!lane->held) {
        lane->held = true;
        dmi_word_publish(&lane->down->held_back, 1);
    }
}

bool dmi_lane_push(dmi_session *session, dmi_lane *lane, uint32_t index)
{
    uint32_t slot;
    if (!take_slot(lane, &slot))
        return false;
    dmi_lane_write(session, lane, index, slot);
    uint64_t held_back = lane->pushed - lane->published;
    if (held_back == 1 || held_back >= DMI_LANE_BATCH)
        begin_or_end_batch(session, lane);
    if (dmi_task_at(session, index)->flags & DMI_TASK_FETCHING)
        dmi_inputs_release(session, index); /* now they stay because a placed task reads them */
    return true;
}

bool dmi_lane_run_now(dmi_session *session, dmi_lane *lane, uint32_t index)
{
    uint32_t slot;
    if (!take_slot(lane, &slot))
        return false;
    dmi_task *task = dmi_task_at(session, index);
    dmi_word_publish(&dmi_record_at(session, index)->where, dmi_where(DMI_SLOT, lane->segment, slot));
    if (task->flags & DMI_TASK_FETCHING)
        dmi_inputs_release(session, index);
    task->state = DMI_TASK_SENT;
    task->lane = (uint16_t)lane->index;
    dmi_lane_nest(session, lane, index);
    lane->run_now = index + 1;
    dmi_word_publish(&lane->down->run_now, (uint64_t)++lane->run_count << 32 | index);
    dmi_lane_wake(lane);
    return true;
}

/* While `revoke` is odd: where what the worker has not claimed begins. */
static uint64_t first_unclaimed(dmi_lane *lane)
{
    uint64_t claim = dmi_word_load(&lane->up->claim);
    if (claim >= lane->reaped && claim <= lane->published)
        return claim;
    dmi_lane_condemn(lane, DM_ERR_WORKER_CORRUPT);
    return lane->pushed;
}

/* Law 3 of runtime/layout.h. Unpublished entries are nobody's yet and simply go. */
size_t dmi_lane_take_back(dmi_session *session, dmi_lane *lane, uint64_t keep)
{
    dmi_word_publish(&lane->down->revoke, dmi_word_peek(&lane->down->revoke) + 1);
    dmi_fence();
    size_t count = 0;
    for (uint64_t i = first_unclaimed(lane) + keep; i < lane->pushed; i++) {
        uint32_t link = lane->sent[i % DMI_RING];
        if (link == 0)
            continue;
        lane->sent[i % DMI_RING] = 0;
        dmi_word_prepare(&lane->down->ring[i % DMI_RING], DMI_VOID);
        count++;
        dmi_task_at(session, link - 1)->state = DMI_TASK_WAITING;
        dmi_task_at(session, link - 1)->next = session->returned;
        session->returned = link;
    }
    dmi_word_publish(&lane->down->revoke, dmi_word_peek(&lane->down->revoke) + 1);
    while (session->returned != 0) {
        uint32_t index = session->returned - 1;
        session->returned = dmi_task_at(session, index)->next;
        dmi_task_return(session, index);
    }
    return count;
}

bool dmi_lane_take_back_one(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    dmi_lane *lane = &session->lanes[task->lane];
    if (task->flags & DMI_TASK_NESTED)
        return false;
    assert(lane->sent[task->position % DMI_RING] == index + 1);
    dmi_word_publish(&lane->down->revoke, dmi_word_peek(&lane->down->revoke) + 1);
    dmi_fence();
    bool back = first_unclaimed(lane) <= task->position;
    if (back) {
        lane->sent[task->position % DMI_RING] = 0;
        dmi_word_prepare(&lane->down->ring[task->position % DMI_RING], DMI_VOID);
    }
    dmi_word_publish(&lane->down->revoke, dmi_word_peek(&lane->down->revoke) + 1);
    return back;
}

/* ---- refusals ---- */

/* The worker reads it when it has seen the refusal that is published next, and asks for nothing until then. */
void dmi_lane_say(dmi_lane *lane, const char *said)
{
    char text[DMI_SAID] = "";
    snprintf(text, sizeof text, "%s", said);
    dmi_shared_copy(lane->down->said, text, strlen(text) + 1);
}

/* ---- fetching ---- */

void dmi_lane_refuse_fetch(dmi_lane *lane, uint8_t why, const char *said)
{
    dmi_lane_say(lane, said);
    uint64_t count = (dmi_word_peek(&lane->down->refusals) >> 8) + 1;
    dmi_word_publish(&lane->down->refusals, count << 8 | why);
    dmi_lane_wake(lane);
}

void dmi_lane_end_fetch(dmi_session *session, dmi_lane *lane)
{
    if (lane->fetching == 0)
        return;
    uint32_t index = lane->fetching - 1;
    lane->fetching = 0;
    dmi_task_at(session, index)->wanted--;
    dmi_task_unpin(session, index);
}

/* ---- completions ---- */

void dmi_lane_condemn(dmi_lane *lane, dm_status why)
{
    if (lane->condemned != DM_OK) {
        if (why == DM_ERR_WORKER_CORRUPT)
            lane->condemned = why;
        return;
    }
    lane->condemned = why;
    if (lane->child.pid > 0)
        kill(lane->child.pid, SIGKILL);
}

void dmi_lane_condemn_maker(dmi_session *session, uint32_t index)
{
    uint32_t segment = dmi_where_segment(dmi_word_peek(&dmi_record_at(session, index)->where));
    if (segment != 0 && !session->seats[segment].orphaned)
        dmi_lane_condemn(dmi_lane_of_seat(session, segment), DM_ERR_WORKER_CORRUPT);
}

bool dmi_is_sent_here(dmi_session *session, const dmi_lane *lane, uint64_t index)
{
    if (index >= session->task_high)
        return false;
    const dmi_task *task = dmi_task_at(session, (uint32_t)index);
    if (task->state != DMI_TASK_SENT || task->lane != lane->index)
        return false;
    const dmi_record *record = dmi_record_at(session, (uint32_t)index);
    uint64_t slot = dmi_where_position(dmi_word_peek(&record->where));
    return dmi_slot_serial(dmi_word_load(&lane->slots[slot].word)) == record->serial;
}

/* The entries up to `done` are finished, one way or another. */
static void reap_entries(dmi_session *session, dmi_lane *lane, uint64_t done)
{
    enum { AHEAD = 8 };
    lane->stalled = false;
    for (; lane->reaped < done; lane->reaped++) {
        uint32_t *link = &lane->sent[lane->reaped % DMI_RING], index = *link - 1;
        if (lane->reaped + AHEAD < done)
            dmi_quick_ask_for_slot(session, lane, lane->reaped + AHEAD);
        if (*link == 0)
            continue;
        if (dmi_quick_complete(session, lane, index)) {
            *link = 0;
            continue;
        }
        if (!dmi_is_sent_here(session, lane, index)) {
            dmi_lane_condemn(lane, DM_ERR_WORKER_CORRUPT);
            return;
        }
        *link = 0;
        dmi_task_complete(session, index);
    }
}

void dmi_lane_account(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    dmi_lane *lane = &session->lanes[task->lane];
    bool published = dmi_is_sent_here(session, lane, index);
    if (!published || (task->flags & DMI_TASK_NESTED) || lane->reaping ||
        dmi_word_load(&lane->up->up_tail) != lane->taken) {
        dmi_lane_reap(session, lane);
        return;
    }
    lane->sent[task->position % DMI_RING] = 0;
    dmi_task_complete(session, index);
}

static void take_messages(dmi_session *session, dmi_lane *lane, uint64_t posted)
{
    while (lane->taken != posted && lane->condemned != DM_ERR_WORKER_CORRUPT) {
        dmi_message message = lane->up->ring[lane->taken % DMI_UP_RING];
        uint64_t latest = dmi_word_load(&lane->up->done);
        if (message.at < lane->reaped || message.at > latest || latest > lane->published) {
            dmi_lane_condemn(lane, DM_ERR_WORKER_CORRUPT);
            return;
        }
        reap_entries(session, lane, message.at);
        if (dmi_lane_must_wait(session, &message)) {
            session->unheard = true;
            return;
        }
        lane->taken++;
        dmi_word_publish(&lane->down->up_head, lane->taken);
        if (!dmi_lane_heed(session, lane, &message))
            dmi_lane_condemn(lane, DM_ERR_WORKER_CORRUPT);
    }
}

/* What had to wait for what has been taken by now. */
static void reap_unheard(dmi_session *session)
{
    session->unheard = false;
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].state == DMI_LANE_SERVING)
            dmi_lane_reap(session, &session->lanes[i]);
}

bool dmi_lane_reap(dmi_session *session, dmi_lane *lane)
{
    uint64_t done = dmi_word_load(&lane->up->done);
    uint64_t posted = dmi_word_load(&lane->up->up_tail);
    if (done == lane->reaped && posted == lane->taken)
        return false;
    if (lane->condemned == DM_ERR_WORKER_CORRUPT || lane->reaping)
        return false; /* one that is killed for another reason spoke sense until then */
    if (done < lane->reaped || done > lane->published || posted - lane->taken > DMI_UP_RING) {
        dmi_lane_condemn(lane, DM_ERR_WORKER_CORRUPT);
        return false;
    }
    session->reapings++;
    lane->reaping = true; /* what completes makes others ready: no second reaping within */
    take_messages(session, lane, posted);
    if (lane->taken == posted && lane->condemned != DM_ERR_WORKER_CORRUPT && done > lane->reaped)
        reap_entries(session, lane, done);
    lane->reaping = false;
    while (session->unheard && session->reapings == 1)
        reap_unheard(session);
    session->reapings--;
    return true;
}
