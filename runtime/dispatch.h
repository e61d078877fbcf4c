/*
 * dispatch.h - which task goes where and when: the queue of ready tasks, placement, the turn of the
 * role (dmi_pump), and what a blocked worker may run. Asks runtime/policy.h, acts through runtime/lane.h.
 * All functions: under the role.
 */
#ifndef DMI_DISPATCH_H
#define DMI_DISPATCH_H

#include "runtime/session.h"

enum { DMI_QUEUED_A_TURN = 64 }; /* tasks that enter the queue, until it is time for a turn */

/* A task whose inputs are there or on their way: placed if a lane has room, else queued by serial. */
void dmi_dispatch(dmi_session *session, uint32_t index);

/* Are tasks so short that one may be placed before its inputs are done? */
bool dmi_tasks_are_short(const dmi_session *session);

/* Publish what is held back on any lane. */
void dmi_flush(dmi_session *session);

/* `index` is done: ring the blocked workers that wait for it. */
void dmi_wake_blocked(dmi_session *session, uint32_t index);

/* Give a blocked worker something to run that it waits for, if it has nothing. */
void dmi_feed_blocked(dmi_session *session, dmi_lane *lane);

/* Tell the workers whose bell to ring and when: a driver thread goes to sleep for `target` (an index,
 * or UINT32_MAX for anything), or (sleeping false) leaves. */
void dmi_arm(dmi_session *session, bool sleeping, uint32_t target);

/* Is there work that only goes on when somebody hears of completions? */
static inline bool dmi_has_unheard_work(const dmi_session *session)
{
    return (session->ready_first | session->dependents | session->blocked_lanes | session->loose) != 0 || session->stacked;
}

/* A driver thread is about to leave: if there is work that nobody would hear of, have somebody rung. */
void dmi_have_rung(dmi_session *session);
static inline void dmi_leave_armed(dmi_session *session)
{
    if (dmi_has_unheard_work(session) && !session->armed_for_work)
        dmi_have_rung(session);
}

#endif
