/*
 * scarce.c - see scarce.h.
 */
#include "runtime/scarce.h"

#include "runtime/clock.h"
#include "runtime/inputs.h"
#include "runtime/lane.h"
#include "runtime/residence.h"
#include "runtime/room.h"
#include "runtime/task.h"

enum {
    SHORT_MS = 20,  /* longer than a worker takes to give back what left its heap */
    TIGHT_MS = 1000 /* what was short is soon short again */
};

/* ---- who runs, who waits ---- */

/* A blocked worker runs what it was handed. */
static bool runs(const dmi_lane *lane)
{
    return lane->state == DMI_LANE_SERVING && (lane->blocked ? lane->run_now != 0 : dmi_lane_backlog(lane) != 0);
}

static bool waits(dmi_session *session, const dmi_lane *lane)
{
    return runs(lane) &&
           (lane->need_bytes != 0 || (lane->fetching != 0 && dmi_is_away(session, lane->fetching - 1)));
}

bool dmi_somebody_runs(const dmi_session *session)
{
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (runs(&session->lanes[i]))
            return true;
    return false;
}

bool dmi_somebody_works(dmi_session *session)
{
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (runs(&session->lanes[i]) && !waits(session, &session->lanes[i]))
            return true;
    return false;
}

bool dmi_scarce_admits(dmi_session *session, const dmi_lane *lane)
{
    if (session->scarce)
        return !dmi_somebody_runs(session) ||
               (session->stuck && dmi_lane_backlog(lane) == 0 && !dmi_somebody_works(session));
    session->tight = dmi_now_ms() < session->tight_until_ms;
    return !session->tight || dmi_lane_backlog(lane) == 0;
}

/* Since when has somebody waited; INT64_MAX: nobody does. What is brought for a task that is not placed is waited
 * for only if nothing runs. */
static int64_t waited_since(const dmi_session *session)
{
    int64_t since = dmi_residence_waits_since(session, dmi_somebody_runs(session));
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].need_bytes != 0 && session->lanes[i].need_since_ms < since)
            since = session->lanes[i].need_since_ms;
    if (session->puts_awaited != 0 && session->puts_since_ms < since)
        since = session->puts_since_ms;
    return since;
}

/* ---- the steps ---- */

static void begin(dmi_session *session)
{
    session->scarce = true;
    session->stuck = false;
    session->favour = 0;
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].state == DMI_LANE_SERVING && session->lanes[i].condemned == DM_OK)
            dmi_lane_take_back(session, &session->lanes[i], 0);
    dmi_inputs_let_go_of_all(session);
}

static bool end(dmi_session *session)
{
    if (!session->scarce)
        return false;
    session->scarce = false;
    session->tight = true;
    session->tight_until_ms = dmi_now_ms() + TIGHT_MS;
    return true;
}

static uint64_t serial_here(dmi_session *session, const dmi_lane *lane)
{
    uint32_t index = dmi_lane_runs(session, lane);
    return index == UINT32_MAX ? 0 : dmi_record_at(session, index)->serial;
}

static bool may_begin_again(dmi_session *session, const dmi_lane *lane)
{
    uint32_t index = dmi_lane_runs(session, lane);
    return index != UINT32_MAX && dmi_task_at(session, index)->retries_left > 0;
}

/* The youngest of those that wait; not the oldest, whatever it may do. NULL: none can be asked. */
static dmi_lane *youngest(dmi_session *session)
{
    dmi_lane *found = NULL;
    uint64_t oldest = UINT64_MAX, latest = 0;
    for (uint32_t i = 0; i < session->lane_count; i++) {
        dmi_lane *lane = &session->lanes[i];
        if (!waits(session, lane))
            continue;
        uint64_t serial = serial_here(session, lane);
        if (serial < oldest)
            oldest = serial;
        if (serial <= latest || !may_begin_again(session, lane))
            continue;
        latest = serial;
        found = lane;
    }
    return latest > oldest ? found : NULL;
}

static bool have_one_give_way(dmi_session *session)
{
    dmi_lane *lane = youngest(session);
    if (lane == NULL)
        return false;
    lane->gives_way = serial_here(session, lane);
    if (lane->need_bytes != 0)
        dmi_room_answer(session, lane, DMI_GIVE_WAY, "");
    else
        dmi_lane_refuse_fetch(lane, DMI_GIVE_WAY, "");
    return true;
}

bool dmi_gives_way(dmi_session *session, const dmi_lane *lane, uint32_t index)
{
    return lane->gives_way != 0 && lane->gives_way == dmi_record_at(session, index)->serial;
}

static bool step(dmi_session *session)
{
    if (!session->scarce) {
        begin(session);
        return true;
    }
    if (dmi_somebody_works(session))
        return false;
    session->stuck = !dmi_residence_give_up_reserve(session) && !have_one_give_way(session);
    return true;
}

bool dmi_scarce_turn(dmi_session *session)
{
    int64_t since = waited_since(session), now = dmi_now_ms();
    if (since == INT64_MAX)
        return end(session);
    if (since > session->still_since_ms)
        session->still_since_ms = since;
    if (dmi_residence_is_busy(session))
        session->still_since_ms = now;
    if (now - session->still_since_ms < SHORT_MS)
        return false;
    session->still_since_ms = now;
    return step(session);
}
