/*
 * lane.h - the driver's end of a lane: pushing tasks, taking them back, slots, telling of frees.
 *
 * The other end is runtime/worker.c. All functions: under the role.
 */
#ifndef DMI_LANE_H
#define DMI_LANE_H

#include <unistd.h>

#include "runtime/task.h"

/* Ring an eventfd. */
static inline void dmi_ring_bell(int bell)
{
    uint64_t one = 1;
    ssize_t written = write(bell, &one, sizeof one);
    (void)written; /* EAGAIN: it is ringing already */
}

static inline dmi_lane *dmi_lane_of_seat(dmi_session *session, uint32_t segment)
{
    return &session->lanes[session->seats[segment].lane];
}

static inline const dmi_slot *dmi_lane_slot(dmi_session *session, uint32_t segment, uint64_t slot)
{
    return (const dmi_slot *)(session->seats[segment].memory.ro + sizeof(dmi_up)) + slot;
}

/* Wake a lane's worker if it sleeps. After a store that it should see. */
static inline void dmi_lane_wake(dmi_lane *lane)
{
    dmi_fence();
    if (dmi_word_load(&lane->up->asleep))
        dmi_ring_bell(lane->child.bell);
}

/* How many entries the worker has not finished, as far as a fresh look tells. */
static inline uint64_t dmi_lane_backlog(const dmi_lane *lane)
{
    return lane->pushed - dmi_word_load(&lane->up->done);
}

static inline bool dmi_lane_has_room(const dmi_lane *lane)
{
    return lane->pushed - lane->reaped < DMI_RING;
}

/* May tasks be placed on it? */
static inline bool dmi_lane_is_open(const dmi_lane *lane)
{
    return lane->state == DMI_LANE_SERVING && !lane->blocked && !lane->stalled && lane->condemned == DM_OK;
}

/* Make pushed entries visible, and wake the worker if it sleeps. */
static inline void dmi_lane_publish(dmi_session *session, dmi_lane *lane)
{
    dmi_word_prepare(&lane->down->fresh, dmi_word_peek(&lane->down->ring[lane->published % DMI_RING]));
    dmi_word_publish(&lane->down->tail, lane->pushed);
    lane->published = lane->pushed;
    if (lane->held && session->ready_count == 0) {
        lane->held = false;
        dmi_word_publish(&lane->down->held_back, 0);
    }
    dmi_lane_wake(lane);
}

/* Place a task on a lane that has room: a slot, `where`, a ring entry. Published with others, or at
 * once if the worker has nothing to do. False: no memory for a slot. */
bool dmi_lane_push(dmi_session *session, dmi_lane *lane, uint32_t index);

/* Its second part, which is all that the middle of a batch needs. */
enum { DMI_LANE_BATCH = 32 }; /* entries published together while the worker is busy anyway */
static inline void dmi_lane_write(dmi_session *session, dmi_lane *lane, uint32_t index, uint32_t slot)
{
    enum { ENTRIES_A_LINE = 64 / sizeof(dmi_word) };
    dmi_task *task = dmi_task_at(session, index);
    assert(dmi_lane_has_room(lane));
    dmi_word_publish(&dmi_record_at(session, index)->where, dmi_where(DMI_SLOT, lane->segment, slot));
    task->state = DMI_TASK_SENT;
    task->lane = (uint16_t)lane->index;
    task->position = lane->pushed;
    lane->sent[lane->pushed % DMI_RING] = index + 1;
    dmi_word_prepare(&lane->down->ring[lane->pushed % DMI_RING], index);
    if (lane->pushed++ % ENTRIES_A_LINE == 0)
        dmi_prefetch_write(&lane->down->ring[(lane->pushed + 2 * ENTRIES_A_LINE) % DMI_RING]);
    session->gets_since_push = 0;
}

/* Hand a task to the lane's blocked worker, outside the ring. */
bool dmi_lane_run_now(dmi_session *session, dmi_lane *lane, uint32_t index);

/* Take back entries that the worker has not started: those after the first `keep` unfinished ones.
 * They enter again. Returns how many. */
size_t dmi_lane_take_back(dmi_session *session, dmi_lane *lane, uint64_t keep);

/* Take back this one, if its worker has not claimed it. The caller settles what becomes of it. */
bool dmi_lane_take_back_one(dmi_session *session, uint32_t index);

/* Take completions and messages. True if there were any. A worker that wrote nonsense is condemned. */
bool dmi_lane_reap(dmi_session *session, dmi_lane *lane);

/* In words, why what its worker waits for is refused; before that. */
void dmi_lane_say(dmi_lane *lane, const char *said);

/* What its worker waits for cannot be brought into memory, and why: a status or DMI_GIVE_WAY. */
void dmi_lane_refuse_fetch(dmi_lane *lane, uint8_t why, const char *said);

/* Its worker waits no more for what was fetched. */
void dmi_lane_end_fetch(dmi_session *session, dmi_lane *lane);

/* Take the completion of a task that was sent, if it is published: at once, before those in front of it in
 * the ring and before `done` tells of it, unless there are messages to be taken first. */
void dmi_lane_account(dmi_session *session, uint32_t index);

/* The record that its worker runs; UINT32_MAX if it is idle. (runtime/recover.c) */
uint32_t dmi_lane_runs(dmi_session *session, const dmi_lane *lane);

/* The same of its ring alone. Short tasks are claimed in groups, and told to be done with the last of one; but they run
 * in order, so it is the first that is claimed and has no result. (runtime/recover.c) */
uint32_t dmi_lane_runs_in_order(dmi_session *session, const dmi_lane *lane);

/* Kill a worker, for this reason. */
void dmi_lane_condemn(dmi_lane *lane, dm_status why);

/* Kill the worker whose segment a value lies in, if it lives: it wrote nonsense there. */
void dmi_lane_condemn_maker(dmi_session *session, uint32_t index);

/* A slot that nobody reads any more; the same with its value. */
void dmi_lane_free_slot(dmi_session *session, uint32_t segment, uint32_t slot);
void dmi_lane_free_slot_value(dmi_session *session, uint32_t segment, uint64_t slot);

/* An object nobody can read any more goes back to its owner's heap, or with its segment. */
void dmi_free_object(dmi_session *session, uint32_t segment, uint64_t offset);

/* Say again what did not fit the free ring. */
void dmi_lane_flush_frees(dmi_lane *lane);

/* A segment lost a reader or its worker: give the memory back if nobody needs it. */
void dmi_seat_give_back_if_dead(dmi_session *session, uint32_t segment);

/* The same for all that had to wait. */
void dmi_seats_bury(dmi_session *session);

/* The record that a travelling ref names; false if it names none. */
bool dmi_refword_record(dmi_session *session, uint64_t refword, uint32_t *index);

/* One message of a worker. False: nonsense. (runtime/requests.c) */
bool dmi_lane_heed(dmi_session *session, dmi_lane *lane, const dmi_message *message);

/* It follows from what another worker said, whose messages are being taken just now: those first. */
bool dmi_lane_must_wait(dmi_session *session, const dmi_message *message);

/* Is this record a task that the lane's worker has and has published? */
bool dmi_is_sent_here(dmi_session *session, const dmi_lane *lane, uint64_t index);

/* Let go of everything the lane's worker holds. (runtime/requests.c) */
void dmi_lane_drop_cells(dmi_session *session, dmi_lane *lane);

#endif
