/*
 * returning.c - objects come back into memory, into D's heap: read by movers, verified, told to those who
 * wait; refused when there is no room, lost when the disk has failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/dispatch.h"
#include "runtime/edges.h"
#include "runtime/inputs.h"
#include "runtime/lane.h"
#include "runtime/lists.h"
#include "runtime/remake.h"
#include "runtime/room.h"
#include "runtime/scarce.h"
#include "runtime/stay.h"

/* Workers whose tasks wait for it. */
static void wake_workers(dmi_session *session, uint32_t index)
{
    if (session->blocked_lanes != 0)
        dmi_wake_blocked(session, index);
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].fetching == index + 1)
            dmi_lane_wake(&session->lanes[i]);
}

static void wake_those_who_wait(dmi_session *session, uint32_t index)
{
    dmi_task_wake_dependents(session, index);
    wake_workers(session, index);
}

/* It is on the disk no more, as far as is known, and not in memory either. */
static void strike_off(dmi_session *session, dmi_stay *stay)
{
    session->away--;
    session->residence->away -= stay->bytes;
    if (session->away == 0)
        dmi_reserve_end(session);
}

/* The disk has failed it: it is made again, or from now on its value is this failure. */
static void lose(dmi_session *session, dmi_stay *stay)
{
    uint32_t index = stay->index;
    dm_status status = stay->trouble;
    char text[900], why[300];
    int said = snprintf(text, sizeof text, "%s (value %llu, %llu bytes) is lost: %.400s", dmi_task_name(session, index),
                        (unsigned long long)stay->serial, (unsigned long long)stay->bytes,
                        stay->said ? stay->said : dm_strerror(status));
    strike_off(session, stay);
    session->counts.objects_lost++;
    uint32_t readers = dmi_inputs_forgo(session, index);
    dmi_stay_end(session, stay);
    if (!dmi_remake(session, index, why, sizeof why)) {
        snprintf(text + said, sizeof text - (size_t)said, "; it cannot be made again: %s", why);
        dmi_task_lose(session, index, status, text);
    }
    dmi_inputs_try_again(session, readers);
    wake_workers(session, index); /* if it is made again, they go on waiting, for that */
}

/* It stays on disk, for now: those who wait are told why. */
static void refuse(dmi_session *session, dmi_stay *stay, dm_status why, const char *said)
{
    stay->refusals++;
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].fetching == stay->index + 1)
            dmi_lane_refuse_fetch(&session->lanes[i], (uint8_t)why, said);
    wake_those_who_wait(session, stay->index);
}

/* It could not be read. That says that it is lost only if the disk said so. */
static void not_returned(dmi_session *session, dmi_stay *stay)
{
    if (stay->to != 0)
        dmi_heap_free(session->heap, stay->to);
    stay->stage = DMI_GONE;
    if (stay->trouble == DM_ERR_IO || stay->trouble == DM_ERR_CORRUPT)
        lose(session, stay);
    else if (stay->trouble != DM_ERR_CANCELLED)
        refuse(session, stay, stay->trouble, stay->said ? stay->said : dm_strerror(stay->trouble));
}

/* It came before, and no more has come since than there is room for: had it not left it would still be here. (A program
 * that goes through more than that again and again is best served if what is here stays, and the rest comes and goes.) */
static bool comes_often(dmi_session *session, dmi_stay *stay)
{
    dmi_residence *r = session->residence;
    uint64_t before = stay->came_at;
    r->came_back += stay->bytes;
    stay->came_at = r->came_back;
    return before != 0 && stay->came_at - before <= session->settings.store_bytes;
}

static void is_back(dmi_session *session, dmi_stay *stay)
{
    uint32_t index = stay->index;
    stay->stage = DMI_BOTH;
    stay->unread = !comes_often(session, stay);
    strike_off(session, stay);
    session->counts.store_used += stay->bytes;
    dmi_word_publish(&dmi_record_at(session, index)->where, dmi_where(DMI_OBJECT, 0, stay->to));
    dmi_shown_update(session, index);
    dmi_list_cold(session, index);
}

/* The disk has lost a list of refs, but what it names is known: it is written once more. False: not so. */
static bool is_rewritten(dmi_session *session, dmi_stay *stay)
{
    uint32_t index = stay->index, list = dmi_task_at(session, index)->contains;
    if ((stay->trouble != DM_ERR_IO && stay->trouble != DM_ERR_CORRUPT) || !(list & DMI_LIST) ||
        !dmi_list_write(session, list, session->seats[0].memory.rw + stay->to, stay->bytes))
        return false;
    session->counts.objects_lost++;
    is_back(session, stay);
    dmi_stay_end(session, stay); /* what is on the disk is no copy */
    return true;
}

static void returned(dmi_session *session, dmi_stay *stay)
{
    uint32_t index = stay->index;
    session->residence->returning -= stay->bytes;
    if (stay->trouble == DM_OK)
        is_back(session, stay);
    if (stay->trouble == DM_OK || is_rewritten(session, stay))
        wake_those_who_wait(session, index);
    else
        not_returned(session, stay);
    dmi_task_unpin(session, index);
}

static void run_read(dmi_job *job)
{
    dmi_moving *m = (dmi_moving *)job;
    dmi_session *session = m->session;
    dmi_stay *stay = m->of[0].stay;
    uint32_t part = m->of[0].part;
    char *to = session->seats[0].memory.rw + stay->to + (uint64_t)part * DMI_PIECE;
    dm_status status = atomic_load(&stay->cancelled)
                           ? DM_ERR_CANCELLED
                           : dmi_spill_read(session->residence->spill, dmi_tickets_of(stay)[part],
                                            dmi_part_id(stay, part), to, dmi_part_bytes(stay, part));
    char said[512] = "";
    if (status != DM_OK)
        snprintf(said, sizeof said, "%s", dm_last_error());
    free(m);
    dmi_role_take(&session->role);
    dmi_part_done(stay, status, said);
    bool all = stay->parts_left == 0;
    if (all)
        returned(session, stay);
    dmi_moving_end(session, all);
}

/* Jobs for it, now that it has room. */
static void begin_reading(dmi_session *session, dmi_stay *stay)
{
    for (uint32_t part = 0, parts = stay->part_count; part < parts; part++) {
        dmi_moving *m = dmi_moving_create(session, 1, run_read);
        if (m != NULL) {
            dmi_moving_add(m, stay, part);
            if (dmi_mover_post(session->residence->mover, &m->job, DMI_READ) == DM_OK)
                continue;
            free(m);
        }
        dmi_part_done(stay, DM_ERR_NOMEM, "no memory or thread to read it with");
        if (stay->parts_left == 0)
            returned(session, stay);
    }
}

static void wait_for_room(dmi_session *session, dmi_stay *stay, uint32_t *before)
{
    stay->waiting = true;
    stay->next = *before;
    *before = (uint32_t)(stay - session->residence->stays) + 1;
}

/* The room that was claimed for it was not there: it waits on, before those that came later. */
static void has_no_room(dmi_session *session, dmi_stay *stay)
{
    enum { PAUSE_MS = 2 };
    session->residence->returning -= stay->bytes;
    stay->stage = DMI_GONE;
    stay->not_before_ms = dmi_now_ms() + PAUSE_MS;
    if (dmi_task_at(session, stay->index)->wanted != 0)
        wait_for_room(session, stay, &session->residence->waiting);
    dmi_task_unpin(session, stay->index);
}

static void run_having_room(dmi_job *job)
{
    dmi_moving *m = (dmi_moving *)job;
    dmi_session *session = m->session;
    dmi_stay *stay = m->of[0].stay;
    uint64_t to = atomic_load(&stay->cancelled) ? 0 : dmi_heap_alloc(session->heap, stay->bytes);
    free(m);
    dmi_role_take(&session->role);
    session->allocating--;
    session->residence->having_room--;
    stay->to = to;
    if (to != 0)
        begin_reading(session, stay);
    else
        has_no_room(session, stay);
    dmi_role_leave(&session->role);
}

static void have_room(dmi_session *session, dmi_stay *stay)
{
    dmi_moving *m = dmi_moving_create(session, 1, run_having_room);
    if (m != NULL) {
        dmi_moving_add(m, stay, 0);
        session->residence->having_room++;
        if (dmi_mover_post(session->residence->mover, &m->job, DMI_READ) == DM_OK)
            return;
        session->residence->having_room--;
        free(m);
    }
    session->allocating--;
    stay->parts_left = 1; /* as if its only part could not be read */
    dmi_part_done(stay, DM_ERR_NOMEM, "no memory or thread to read it with");
    returned(session, stay);
}

/* Room in D: any, or else the reserve. */
static dmi_found_room room_to_return(dmi_session *session, dmi_stay *stay, int64_t since_ms)
{
    dmi_found_room found = dmi_room_find(session, stay->bytes, since_ms, false, &stay->to);
    if (found != DMI_ROOM_NONE || stay->bytes > session->residence->reserve_bytes)
        return found;
    dmi_reserve_end(session);
    return dmi_room_find(session, stay->bytes, since_ms, true, &stay->to);
}

/* Room for it, and jobs. False: not now. */
static bool begin_returning(dmi_session *session, dmi_stay *stay)
{
    int64_t now_ms = dmi_now_ms();
    if (now_ms < stay->not_before_ms)
        return false;
    dmi_found_room found = room_to_return(session, stay, stay->waiting && stay->now ? stay->since_ms : now_ms);
    if (found == DMI_ROOM_NONE)
        return false;
    session->residence->returning += stay->bytes;
    stay->stage = DMI_RETURNING;
    stay->parts_left = stay->part_count;
    stay->trouble = DM_OK;
    free(stay->said);
    stay->said = NULL;
    dmi_task_pin(session, stay->index);
    if (found == DMI_ROOM_HAD)
        begin_reading(session, stay);
    else
        have_room(session, stay);
    return true;
}

bool dmi_is_away(dmi_session *session, uint32_t index)
{
    const dmi_stay *stay = dmi_stay_of(session, index);
    return stay != NULL && (stay->stage == DMI_GONE || stay->stage == DMI_RETURNING);
}

void dmi_residence_fetch(dmi_session *session, uint32_t index, bool now)
{
    dmi_residence *r = session->residence;
    dmi_stay *stay = dmi_stay_of(session, index);
    if (stay == NULL || (stay->stage != DMI_GONE && stay->stage != DMI_RETURNING))
        return;
    if (stay->waiting || stay->stage == DMI_RETURNING) {
        if (now && !stay->now)
            stay->since_ms = dmi_now_ms();
        stay->now |= now;
        return;
    }
    stay->now = now;
    stay->since_ms = dmi_now_ms();
    if (begin_returning(session, stay))
        return;
    uint32_t *end = &r->waiting;
    while (*end != 0)
        end = &r->stays[*end - 1].next;
    wait_for_room(session, stay, end);
}

uint64_t dmi_residence_awaited(const dmi_session *session, int64_t since_ms)
{
    const dmi_residence *r = session->residence;
    for (uint32_t next = r->waiting; next != 0; next = r->stays[next - 1].next)
        if (r->stays[next - 1].now)
            return r->stays[next - 1].since_ms < since_ms ? r->stays[next - 1].bytes : 0;
    return 0;
}

int64_t dmi_residence_waits_since(const dmi_session *session, bool now)
{
    const dmi_residence *r = session->residence;
    int64_t since = INT64_MAX;
    for (uint32_t next = r->waiting; next != 0; next = r->stays[next - 1].next)
        if ((r->stays[next - 1].now || !now) && r->stays[next - 1].since_ms < since)
            since = r->stays[next - 1].since_ms;
    return since;
}

void dmi_residence_bring_no_more(dmi_session *session)
{
    const dmi_residence *r = session->residence;
    for (uint32_t next = r->waiting; next != 0;) {
        const dmi_stay *stay = &r->stays[next - 1];
        bool awaited = dmi_task_dependent(session, stay->index) != UINT32_MAX;
        if (awaited)
            dmi_inputs_try_again(session, dmi_inputs_forgo(session, stay->index));
        next = awaited ? r->waiting : stay->next; /* what came of it may have changed the list */
    }
}

uint32_t dmi_residence_refusals(dmi_session *session, uint32_t index)
{
    const dmi_stay *stay = dmi_stay_of(session, index);
    return stay ? stay->refusals : 0;
}

dm_status dmi_residence_refusal(dmi_session *session, uint32_t index)
{
    const dmi_stay *stay = dmi_stay_of(session, index);
    if (stay == NULL || stay->trouble == DM_OK || stay->said == NULL)
        return dmi_store_full(session, dmi_task_at(session, index)->bytes);
    return dmi_error(stay->trouble, "%s (value %llu) cannot be read back now: %s", dmi_task_name(session, index),
                     (unsigned long long)stay->serial, stay->said);
}

static bool is_late(dmi_session *session, const dmi_stay *stay)
{
    int64_t since = session->residence->progress_ms > stay->since_ms ? session->residence->progress_ms
                                                                     : stay->since_ms;
    return dmi_now_ms() - since >= session->settings.store_wait_ms;
}

/* A task that is not placed can wait until others are done. */
static bool can_wait(dmi_session *session, dmi_stay *stay)
{
    if (stay->now || !dmi_somebody_runs(session))
        return false;
    stay->since_ms = dmi_now_ms();
    return true;
}

/* Does a running task wait for it? */
static bool is_fetched_inside(const dmi_session *session, const dmi_stay *stay)
{
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].fetching == stay->index + 1)
            return true;
    return false;
}

/* True if it waits no more: it is on its way, nobody wants it, or it has waited long enough. */
static bool try_to_bring(dmi_session *session, dmi_stay *stay)
{
    char said[DMI_SAID];
    if (dmi_task_at(session, stay->index)->wanted == 0 || begin_returning(session, stay)) {
        dmi_stop_waiting(session->residence, stay);
        return true;
    }
    if (can_wait(session, stay) || !is_late(session, stay))
        return false;
    dm_status why = dmi_room_say(session, said, sizeof said);
    dmi_stop_waiting(session->residence, stay);
    refuse(session, stay, why, said);
    return true;
}

/* What a running task reads comes first, whatever fits: with it the task goes on, and gives back what it has. The
 * others in order: one that does not fit keeps those behind it waiting. */
static bool bring(dmi_session *session, bool for_tasks)
{
    dmi_residence *r = session->residence;
    bool moved = false;
    for (uint32_t next = r->waiting; next != 0;) {
        dmi_stay *stay = &r->stays[next - 1];
        next = stay->next;
        if (for_tasks && !is_fetched_inside(session, stay))
            continue;
        if (try_to_bring(session, stay)) {
            moved = true;
            next = r->waiting; /* what came of it may have changed the list */
            continue;
        }
        dmi_residence_make_room(session, stay->bytes);
        if (!for_tasks)
            break;
    }
    return moved;
}

bool dmi_bring_the_waiting(dmi_session *session)
{
    bool moved = bring(session, true);
    return bring(session, false) || moved;
}
