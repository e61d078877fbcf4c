/*
 * sim_lanes.c - which chunk goes where and when, as runtime/dispatch.c and lane.c have it.
 */
#include "bench/what_would_more_cores_give/model/simulation.h"
#include "runtime/policy.h"

enum { MOST_LANES = 4096 };

void look_at_lanes(simulation *s, double times)
{
    double ns = times * s->lane_count * s->job->costs->look_ns;
    s->debt += ns;
    s->outcome.dispatch += ns;
}

/* ---- placing ---- */

static bool is_open(const sim_lane *lane)
{
    return !lane->stalled && lane->pushed - lane->reaped < RING;
}

static void reap(sim_lane *lane)
{
    if (lane->reaped != lane->done)
        lane->stalled = false;
    lane->reaped = lane->done;
}

static bool choose(simulation *s)
{
    static dmi_lane_load loads[MOST_LANES];
    static uint32_t open[MOST_LANES];
    int n = 0;
    look_at_lanes(s, 1);
    for (uint32_t i = 0; i < s->lane_count; i++) {
        sim_lane *lane = &s->lanes[i];
        if (lane->pushed - lane->reaped == RING)
            reap(lane);
        if (!is_open(lane))
            continue;
        loads[n] = (dmi_lane_load){lane->pushed - lane->done, lane->mean_ns};
        open[n++] = i;
    }
    int chosen = n == 0 ? -1 : dmi_policy_choose(loads, n, &s->favour);
    s->favourite = chosen < 0 ? NOBODY : open[chosen];
    return chosen >= 0;
}

static void push(simulation *s, uint32_t index, uint32_t chunk)
{
    sim_lane *lane = &s->lanes[index];
    lane->ring[lane->pushed % RING] = chunk;
    s->state[chunk] = SENT;
    s->lane_of[chunk] = index;
    s->position[chunk] = lane->pushed++;
    s->unplaced--;
    if (lane->pushed - lane->reaped > 1 && (lane->mean_ns == 0 || lane->mean_ns >= STACK_NS))
        s->stacked = true;
    worker_call(s, index);
}

static bool place(simulation *s, uint32_t chunk)
{
    if (s->favour == 0 || s->favourite == NOBODY || !is_open(&s->lanes[s->favourite]))
        if (!choose(s))
            return false;
    s->favour--;
    push(s, s->favourite, chunk);
    return true;
}

static void enter_queue(simulation *s, uint32_t chunk)
{
    s->state[chunk] = QUEUED;
    event_queue_push(&s->ready, chunk, 0, chunk);
}

void dispatch(simulation *s, uint32_t chunk)
{
    if (!event_queue_first(&s->ready) && place(s, chunk))
        return;
    enter_queue(s, chunk);
    if (s->ready.n % TURN_EACH == 1)
        turn(s);
}

static bool place_ready(simulation *s)
{
    bool moved = false;
    const event *first;
    event taken;
    while ((first = event_queue_first(&s->ready)) && place(s, first->who)) {
        event_queue_pop(&s->ready, &taken);
        moved = true;
    }
    return moved;
}

/* ---- taking back ---- */

static bool is_idle(const sim_lane *lane)
{
    return is_open(lane) && lane->pushed == lane->reaped;
}

static bool any_idle(const simulation *s)
{
    for (uint32_t i = 0; i < s->lane_count; i++)
        if (is_idle(&s->lanes[i]))
            return true;
    return false;
}

static uint64_t claim_of(const sim_lane *lane)
{
    return lane->done + (lane->worker == RUNNING);
}

static uint64_t unstarted(const sim_lane *lane)
{
    if (!is_open(lane) || lane->pushed - lane->reaped < 2)
        return 0;
    return lane->pushed - claim_of(lane);
}

static bool is_stuck(const simulation *s, sim_lane *lane)
{
    if (lane->done != lane->stuck_done || lane->stuck_since == 0) {
        lane->stuck_done = lane->done;
        lane->stuck_since = s->clock.now;
    }
    return s->clock.now - lane->stuck_since > STUCK_NS;
}

static bool take_back(simulation *s, sim_lane *lane, uint64_t keep)
{
    bool any = false;
    for (uint64_t i = lane->pushed; i > claim_of(lane) + keep; i--) {
        uint32_t chunk = lane->ring[(i - 1) % RING];
        if (chunk == NOBODY)
            continue;
        lane->ring[(i - 1) % RING] = NOBODY;
        s->outcome.taken_back++;
        s->unplaced++;
        enter_queue(s, chunk);
        any = true;
    }
    if (any)
        place_ready(s);
    return any;
}

static bool rebalance(simulation *s)
{
    if (event_queue_first(&s->ready) || !any_idle(s))
        return false;
    for (uint32_t i = 0; i < s->lane_count; i++) {
        sim_lane *lane = &s->lanes[i];
        uint64_t count = unstarted(lane);
        if (count == 0)
            continue;
        lane->stalled = is_stuck(s, lane);
        if (!lane->stalled && count * lane->mean_ns < WORTH_NS)
            continue;
        s->favour = 0;
        return take_back(s, lane, lane->stalled ? 0 : count / 2);
    }
    return false;
}

bool wants_ticks(const simulation *s)
{
    if (!s->stacked || event_queue_first(&s->ready) || !any_idle(s))
        return false;
    for (uint32_t i = 0; i < s->lane_count; i++)
        if (unstarted(&s->lanes[i]) != 0)
            return true;
    return false;
}

/* ---- the turn ---- */

bool turn(simulation *s)
{
    bool moved = false, stacked = false;
    for (uint32_t i = 0; i < s->lane_count; i++) {
        moved |= s->lanes[i].reaped != s->lanes[i].done;
        reap(&s->lanes[i]);
    }
    moved |= event_queue_first(&s->ready) ? place_ready(s) : rebalance(s);
    for (uint32_t i = 0; i < s->lane_count && s->stacked; i++)
        stacked |= s->lanes[i].pushed - s->lanes[i].reaped > 1;
    s->stacked = stacked;
    return moved;
}

static uint64_t wake_at(const simulation *s, uint32_t index, bool sleeping)
{
    const sim_lane *lane = &s->lanes[index];
    uint64_t end = lane->pushed, next = lane->reaped + 1;
    bool queued = event_queue_first(&s->ready) != NULL;
    if (sleeping) {
        size_t target = s->awaited;
        if (s->state[target] == SENT && s->lane_of[target] == index) {
            uint64_t at = s->position[target] + 1;
            return at + dmi_policy_wake_after(end - at, lane->mean_ns);
        }
        if (s->state[target] == SENT && !queued)
            return s->stacked ? end : NEVER;
    } else if (!queued) {
        return end;
    } else if (lane->mean_ns != 0 && lane->mean_ns < SHORT_NS) {
        return NEVER;
    }
    return next + (end - lane->reaped) / 2;
}

void arm(simulation *s, bool sleeping)
{
    bool needed = sleeping || s->stacked || event_queue_first(&s->ready);
    for (uint32_t i = 0; i < s->lane_count; i++)
        s->lanes[i].wake_at = needed ? wake_at(s, i, sleeping) : NEVER;
    s->listener = sleeping ? LISTENER_DRIVER : needed ? LISTENER_SUPERVISOR : LISTENER_NONE;
}
