/*
 * dispatch.c - the turn of the dispatching role: completions in, ready tasks out.
 *
 * While no task has a priority the queue is in order of serial, which is the order of submission and so a
 * topological order of the graph: whatever is placed from its head has inputs that are done or were placed
 * before it. Else tasks wait for inputs that are not placed (task.c).
 */
#include "runtime/dispatch.h"

#include "runtime/cancel.h"
#include "runtime/inputs.h"
#include "runtime/lane.h"
#include "runtime/policy.h"
#include "runtime/ready.h"
#include "runtime/residence.h"
#include "runtime/room.h"
#include "runtime/scarce.h"
#include "runtime/supervisor.h"
#include "runtime/task.h"
#include "runtime/toward.h"
#include "runtime/uneven.h"

/* ---- placement ---- */

static void reap_full_lanes(dmi_session *session)
{
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (dmi_lane_is_open(&session->lanes[i]) && !dmi_lane_has_room(&session->lanes[i]))
            dmi_lane_reap(session, &session->lanes[i]);
}

/* The lanes that the task may go to, and how loaded they are. */
static int list_open(dmi_session *session, uint32_t index, dmi_lane **open, dmi_lane_load *loads)
{
    dmi_fit fit;
    bool uneven = session->uneven != 0, careful = session->scarce || session->tight;
    int n = 0;
    if (uneven)
        dmi_fit_look(session, index, &fit);
    for (uint32_t i = 0; i < session->lane_count; i++) {
        dmi_lane *lane = &session->lanes[i];
        if (!dmi_lane_is_open(lane) || !dmi_lane_has_room(lane) ||
            (careful && !dmi_scarce_admits(session, lane)))
            continue;
        uint64_t mean_ns = dmi_word_peek(&lane->up->mean_ns);
        if (uneven && !dmi_fit_admits(session, &fit, lane, &mean_ns))
            continue;
        loads[n] = (dmi_lane_load){dmi_lane_backlog(lane), mean_ns};
        open[n++] = lane;
    }
    return n;
}

/* Ask the policy; remember its answer for a few tasks, so that most need no look at shared words. */
static bool choose(dmi_session *session, uint32_t index)
{
    dmi_lane_load loads[DMI_MAX_LANES];
    dmi_lane *open[DMI_MAX_LANES];
    reap_full_lanes(session); /* first: what completes may fill other lanes */
    int n = list_open(session, index, open, loads);
    int chosen = n == 0 ? -1 : dmi_policy_choose(loads, n, &session->favour);
    session->favourite = chosen < 0 ? NULL : open[chosen];
    if (session->uneven != 0 && chosen >= 0)
        dmi_fit_note(session, open[chosen], index);
    if (session->scarce || session->tight)
        session->favour = 1;
    return chosen >= 0;
}

/* The lane for a task; NULL if none has room for it. */
static dmi_lane *lane_for(dmi_session *session, uint32_t index)
{
    dmi_lane *lane = session->favourite;
    if (session->favour == 0 || lane == NULL || !dmi_lane_is_open(lane) || !dmi_lane_has_room(lane)) {
        if (!choose(session, index))
            return NULL;
        lane = session->favourite;
    }
    session->favour--;
    return lane;
}

/* Place a task if any lane has room for it. */
static bool place(dmi_session *session, uint32_t index)
{
    dmi_lane *lane = lane_for(session, index);
    return lane != NULL && dmi_lane_push(session, lane, index);
}

bool dmi_tasks_are_short(const dmi_session *session)
{
    const dmi_lane *lane = session->favourite;
    return lane && dmi_policy_place_early(dmi_word_peek(&lane->up->mean_ns));
}

/* No worker will ever run it. Its failure makes its dependents ready, and so doomed: a list, not a
 * recursion as deep as the graph. */
static void doom(dmi_session *session, uint32_t index)
{
    dmi_task_at(session, index)->next = session->doomed;
    session->doomed = index + 1;
    if (session->dooming)
        return;
    session->dooming = true;
    while (session->doomed != 0) {
        uint32_t first = session->doomed - 1;
        session->doomed = dmi_task_at(session, first)->next;
        dmi_task_fail(session, first, session->broken, "%s: %s", dmi_task_name(session, first),
                      session->broken_text);
    }
    session->dooming = false;
}

void dmi_dispatch(dmi_session *session, uint32_t index)
{
    if (session->broken != DM_OK) {
        doom(session, index);
        return;
    }
    if (dmi_is_orphan(dmi_task_at(session, index))) {
        dmi_task_discard(session, index);
        return;
    }
    bool at_hand = session->away == 0 || dmi_inputs_are_at_hand(session, index);
    if (!at_hand && (dmi_task_at(session, index)->flags & DMI_TASK_FETCHING)) {
        dmi_inputs_refused(session, index);
        return;
    }
    /* The queue goes first; and one that is full stays full until something completes. */
    if (session->ready_count == 0 && at_hand && place(session, index))
        return;
    dmi_ready_enter(session, index);
    if (session->ready_count % DMI_QUEUED_A_TURN == 1 && !session->turning)
        dmi_turn(session);
}

void dmi_flush(dmi_session *session)
{
    session->holding = false;
    for (uint32_t i = 0; i < session->lane_count; i++) {
        dmi_lane *lane = &session->lanes[i];
        if (lane->state == DMI_LANE_SERVING && lane->pushed != lane->published)
            dmi_lane_publish(session, lane);
    }
}

static bool place_ready(dmi_session *session)
{
    bool moved = false;
    while (session->ready_first != 0) {
        uint32_t index = session->ready_first - 1;
        if (dmi_is_orphan(dmi_task_at(session, index))) {
            dmi_task_discard(session, index);
            moved = true;
            continue;
        }
        if (session->away != 0 && !dmi_inputs_are_at_hand(session, index)) {
            if (!dmi_inputs_fetch(session, index, false) && !dmi_inputs_give_precedence(session))
                break;
            moved = true;
            continue;
        }
        dmi_lane *lane = lane_for(session, index);
        if (lane == NULL)
            break;
        dmi_ready_leave(session, index);
        if (!dmi_lane_push(session, lane, index)) {
            dmi_ready_enter(session, index);
            break;
        }
        moved = true;
    }
    return moved;
}

/* ---- taking back ---- */

static bool is_idle(const dmi_lane *lane)
{
    return dmi_lane_is_open(lane) && lane->pushed == lane->reaped;
}

static dmi_lane *idle_lane(dmi_session *session)
{
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (is_idle(&session->lanes[i]))
            return &session->lanes[i];
    return NULL;
}

static uint64_t unstarted(const dmi_lane *lane)
{
    if (!dmi_lane_is_open(lane) || lane->pushed - lane->reaped < 2)
        return 0;
    uint64_t claim = dmi_word_load(&lane->up->claim);
    return claim < lane->pushed ? lane->pushed - claim : 0;
}

/* Has the lane's task been running for a while, whatever its tasks took before? */
static bool is_stuck(dmi_lane *lane)
{
    enum { STUCK_MS = 1 };
    uint64_t done = dmi_word_load(&lane->up->done);
    int64_t now = dmi_now_ms();
    if (done != lane->stuck_done || lane->stuck_since_ms == 0) {
        lane->stuck_done = done;
        lane->stuck_since_ms = now;
    }
    return now - lane->stuck_since_ms > STUCK_MS;
}

/* A worker has nothing and the queue is empty: share what another has not started, if it is worth a
 * wake-up; all of it, if that one is stuck. */
static bool rebalance(dmi_session *session)
{
    enum { WORTH_NS = 30000 };
    if (session->ready_first != 0 || idle_lane(session) == NULL)
        return false;
    for (uint32_t i = 0; i < session->lane_count; i++) {
        dmi_lane *lane = &session->lanes[i];
        uint64_t count = unstarted(lane);
        if (count == 0)
            continue;
        lane->stalled = is_stuck(lane);
        if (!lane->stalled && count * dmi_word_peek(&lane->up->mean_ns) < WORTH_NS)
            continue;
        session->favour = 0;
        return dmi_lane_take_back(session, lane, lane->stalled ? 0 : count / 2) > 0;
    }
    return false;
}

bool dmi_wants_ticks(dmi_session *session)
{
    if (session->rooms_awaited != 0 || session->scarce || dmi_residence_wants_ticks(session))
        return true;
    if (!session->stacked || session->ready_first != 0 || idle_lane(session) == NULL)
        return false;
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (unstarted(&session->lanes[i]) != 0)
            return true;
    return false;
}

/* ---- blocked workers ---- */

/* Is there a worker that takes what is in the queue, or will one be started because of it? */
static bool others_can_run(dmi_session *session)
{
    uint32_t serving = 0;
    for (uint32_t i = 0; i < session->lane_count; i++) {
        if (dmi_lane_is_open(&session->lanes[i]))
            return true;
        serving += session->lanes[i].state != DMI_LANE_EMPTY;
    }
    if (session->settings.engine != DM_ENGINE_PROCESSES || session->broken != DM_OK || session->closing ||
        dmi_lanes_wanted(session) <= serving)
        return false;
    if (session->ready_first != 0 && session->supervisor)
        dmi_supervisor_poke(session);
    return true;
}

void dmi_feed_blocked(dmi_session *session, dmi_lane *lane)
{
    if (!lane->blocked || lane->run_now != 0 || lane->condemned != DM_OK ||
        (session->scarce && dmi_somebody_works(session)) || (lane->is_limited && others_can_run(session)))
        return;
    uint32_t index = dmi_runnable_toward(session, lane);
    if (index == UINT32_MAX)
        return;
    if (session->away != 0 && !dmi_inputs_are_at_hand(session, index)) {
        dmi_inputs_fetch(session, index, true);
        return;
    }
    dmi_ready_leave(session, index);
    if (!dmi_lane_run_now(session, lane, index))
        dmi_ready_enter(session, index);
}

void dmi_wake_blocked(dmi_session *session, uint32_t index)
{
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].blocked && session->lanes[i].blocked_on == index)
            dmi_lane_wake(&session->lanes[i]);
}

static void feed_all_blocked(dmi_session *session)
{
    for (uint32_t i = 0; i < session->lane_count && session->blocked_lanes != 0; i++)
        dmi_feed_blocked(session, &session->lanes[i]);
}

/* ---- the turn ---- */

/* Does any lane still have more than the task it runs? */
static bool is_stacked(dmi_session *session)
{
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].pushed - session->lanes[i].reaped > 1)
            return true;
    return false;
}

static bool wants_room(const dmi_session *session)
{
    return (session->rooms_awaited | session->puts_awaited | session->scarce) != 0 || dmi_residence_wants_ticks(session);
}

/* Before anything is placed: who runs first, then who reads, then what is to come. */
static bool make_room(dmi_session *session)
{
    bool moved = session->rooms_awaited != 0 && dmi_answer_needs(session);
    if (dmi_residence_wants_ticks(session))
        moved |= dmi_residence_turn(session);
    return dmi_scarce_turn(session) || moved;
}

bool dmi_turn(dmi_session *session)
{
    bool moved = false;
    session->turning = true; /* what completes here may make others ready: no turn within a turn */
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].state == DMI_LANE_SERVING)
            moved |= dmi_lane_reap(session, &session->lanes[i]);
    if (wants_room(session))
        moved |= make_room(session);
    if (session->blocked_lanes != 0)
        feed_all_blocked(session);
    if (session->ready_first != 0)
        moved |= place_ready(session);
    else
        moved |= rebalance(session);
    if (session->stacked)
        session->stacked = is_stacked(session);
    dmi_flush(session);
    session->turning = false;
    return moved;
}

/* When a lane's worker should ring: late enough not to be a nuisance, early enough that nobody starves.
 * `target` is what a sleeping driver thread waits for. */
static uint64_t wake_at(dmi_session *session, const dmi_lane *lane, bool sleeping, uint32_t target)
{
    enum { SHORT_NS = 5000 };
    uint64_t mean = dmi_word_peek(&lane->up->mean_ns);
    uint64_t end = lane->published, next = lane->reaped + 1;
    bool is_short = mean != 0 && mean < SHORT_NS;
    if (session->blocked_lanes != 0 || (sleeping && target == UINT32_MAX))
        return next;
    if (session->dependents != 0)
        return is_short ? end : next;
    if (sleeping) {
        const dmi_task *task = dmi_task_at(session, target);
        if (task->state == DMI_TASK_SENT && task->lane == lane->index &&
            !(task->flags & DMI_TASK_NESTED))
            return task->position + 1 + dmi_policy_wake_after(end - task->position - 1, mean);
        if (task->state == DMI_TASK_SENT && session->ready_first == 0)
            return session->stacked ? end : DMI_NEVER;
    } else if (session->ready_first == 0) {
        return end;
    } else if (is_short) {
        return DMI_NEVER; /* nobody sleeps: a worker that runs dry says so (held_back) */
    }
    return next + (end - lane->reaped) / 2;
}

void dmi_arm(dmi_session *session, bool sleeping, uint32_t target)
{
    bool needed = sleeping || dmi_has_unheard_work(session);
    uint64_t who = sleeping ? DMI_DRIVER : needed ? DMI_SUPERVISOR : DMI_NOBODY;
    for (uint32_t i = 0; i < session->lane_count; i++) {
        dmi_lane *lane = &session->lanes[i];
        if (lane->state != DMI_LANE_SERVING)
            continue;
        uint64_t at = needed ? wake_at(session, lane, sleeping, target) : DMI_NEVER;
        if (dmi_word_peek(&lane->down->wake_at) != at)
            dmi_word_publish(&lane->down->wake_at, at);
        bool held = session->ready_first != 0 || lane->pushed != lane->published;
        if (held != lane->held) {
            lane->held = held;
            dmi_word_publish(&lane->down->held_back, held);
        }
    }
    if (dmi_word_peek(&session->head->listener) != who)
        dmi_word_publish(&session->head->listener, who);
    session->armed_for_work = dmi_has_unheard_work(session);
    dmi_fence();
}

/* Did a worker reach its mark before the mark was there to be seen? It will not ring for it. */
static bool is_due(const dmi_session *session)
{
    for (uint32_t i = 0; i < session->lane_count; i++) {
        const dmi_lane *lane = &session->lanes[i];
        if (lane->state != DMI_LANE_SERVING || lane->condemned != DM_OK)
            continue;
        uint64_t done = dmi_word_load(&lane->up->done);
        if (done > lane->reaped && done >= dmi_word_peek(&lane->down->wake_at))
            return true;
    }
    return false;
}

bool dmi_pump(dmi_session *session)
{
    bool moved = dmi_turn(session);
    if (session->cancel_count != 0)
        moved |= dmi_cancels_turn(session);
    if (session->listening)
        return moved;
    dmi_arm(session, false, UINT32_MAX);
    while (is_due(session) && dmi_turn(session))
        dmi_arm(session, false, UINT32_MAX);
    return moved;
}

void dmi_have_rung(dmi_session *session)
{
    if (session->listening)
        dmi_arm(session, true, session->listener_target);
    else
        dmi_pump(session);
}
