/*
 * rest.c - how a driver thread waits: spins a while if a core is free for it, then sleeps on the bell.
 *
 * One thread listens to the bell; others wait for it to tell them. Whoever wakes takes a turn of the
 * role, so that workers are fed while everybody waits.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "runtime/cancel.h"
#include "runtime/clock.h"
#include "runtime/dispatch.h"
#include "runtime/driver.h"
#include "runtime/engine.h"
#include "runtime/lane.h"
#include "runtime/policy.h"
#include "runtime/room.h"
#include "runtime/residence.h"
#include "runtime/task.h"
#include "runtime/value.h"
#include "runtime/worker.h"

static uint64_t spin_time(dmi_session *session, uint32_t target)
{
    int busy = 0;
    uint64_t mean = 0;
    for (uint32_t i = 0; i < session->lane_count; i++) {
        const dmi_lane *lane = &session->lanes[i];
        if (lane->state == DMI_LANE_SERVING && dmi_lane_backlog(lane) != 0) {
            busy++;
            mean = dmi_word_peek(&lane->up->mean_ns);
        }
    }
    if (target == UINT32_MAX || session->settings.engine == DM_ENGINE_SERIAL)
        return 0;
    return dmi_policy_driver_spin_ns(busy, session->settings.cpus, mean);
}

/* A few microseconds without the role, looking at one record only. True if it is there. */
static bool glance(dmi_session *session, const dmi_record *record)
{
    enum { LOOKS = 64 };
    bool there = false;
    session->glancing++; /* no segment is unmapped under us */
    dmi_role_leave(&session->role);
    for (int i = 0; i < LOOKS && !there; i++) {
        dmi_relax();
        there = dmi_is_at_hand(record);
    }
    if (!there)
        sched_yield(); /* the worker may need this very core */
    dmi_role_take(&session->role);
    if (--session->glancing == 0 && session->unburied)
        dmi_seats_bury(session);
    return there;
}

static bool spin(dmi_session *session, uint32_t target)
{
    uint64_t spin_ns = spin_time(session, target);
    if (spin_ns == 0)
        return false;
    uint64_t until = dmi_now_ns() + spin_ns;
    uint32_t refusals = dmi_residence_refusals(session, target);
    do {
        if (glance(session, dmi_record_at(session, target)))
            return true;
        dmi_turn(session);
    } while (dmi_now_ns() < until);
    /* A turn may have found that it cannot be read back: nobody would wake us to be told. */
    return dmi_residence_refusals(session, target) != refusals;
}

static void wait_for_listener(dmi_session *session, int64_t until_ms)
{
    struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
    dmi_role_take_firmly(&session->role);
    if (!session->listening)
        return;
    session->waiting++;
    dmi_role_wait(&session->role, &session->turn, until_ms == INT64_MAX ? NULL : &until);
    session->waiting--;
}

/* For poll: -1 for ever, and never that because the time has passed meanwhile. */
static int64_t time_left_ms(int64_t until_ms)
{
    if (until_ms == INT64_MAX)
        return -1;
    int64_t left = until_ms - dmi_now_ms();
    return left < 0 ? 0 : left;
}

static void listen_to_bell(dmi_session *session, uint32_t target, int64_t until_ms)
{
    enum { TICK_MS = 2 };
    session->listening = true;
    session->listener_target = session->waiting ? UINT32_MAX : target;
    dmi_arm(session, true, session->listener_target);
    bool moved = dmi_turn(session);
    bool there = target != UINT32_MAX && dmi_is_at_hand(dmi_record_at(session, target));
    bool ticks = dmi_wants_ticks(session);
    if (!moved && !there) {
        dmi_role_leave(&session->role);
        int64_t left = time_left_ms(until_ms);
        if (ticks && (left < 0 || left > TICK_MS))
            left = TICK_MS;
        struct pollfd bell = {.fd = session->driver_bell, .events = POLLIN};
        if (poll(&bell, 1, left > 1000000 ? 1000000 : (int)left) > 0) {
            uint64_t count;
            ssize_t bytes = read(session->driver_bell, &count, sizeof count);
            (void)bytes;
        }
        dmi_role_take(&session->role);
    }
    session->listening = false;
    dmi_turn(session);
    if (session->waiting)
        pthread_cond_broadcast(&session->turn);
}

void dmi_driver_rest(dmi_session *session, uint32_t target, int64_t until_ms)
{
    if (session->cancel_count != 0 && dmi_cancels_turn(session))
        return;
    if (session->settings.engine == DM_ENGINE_SERIAL) {
        enum { DISK_US = 50 }; /* it is a disk that is waited for: tasks have run by now */
        dmi_role_leave(&session->role);
        dmi_engine_run_serially(session);
        usleep(DISK_US);
        dmi_role_take(&session->role);
        return;
    }
    if (session->closing)
        return;
    if (dmi_turn(session)) {
        dmi_role_give_way(&session->role);
        return;
    }
    if (session->listening)
        wait_for_listener(session, until_ms);
    else if (!spin(session, target) && !session->listening)
        listen_to_bell(session, target, until_ms);
}

void dmi_driver_rested(dmi_session *session)
{
    if (!session->listening && dmi_word_peek(&session->head->listener) == DMI_DRIVER)
        dmi_pump(session);
}

void dmi_wake_waiters(dmi_session *session)
{
    if (!session->listening && session->waiting == 0)
        return;
    pthread_cond_broadcast(&session->turn);
    dmi_ring_bell(session->driver_bell);
}
