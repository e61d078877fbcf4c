/*
 * scarce.h - room is short, and nothing is on its way that would make some: whoever runs goes before what is to come.
 *
 * A running task that waits for room may wait for what is in memory for others: arguments of tasks that are in a
 * ring and have not begun, arguments that are being brought, objects that another running task has and keeps while
 * it waits, too. So, step by step, each only if the one before has not helped:
 *
 *  1. Room has been waited for, for a moment in which nothing left memory or came back: it is *scarce*. What has
 *     not begun is taken back from the rings and lets go of its arguments, and nothing is placed while a task runs.
 *     So all that is in memory for a task is in memory for one that runs.
 *  2. All that run wait for room: the reserve for what returns is given up (runtime/residence.h), then the youngest
 *     of them is refused. It gives way: it begins again later, without using up an attempt. The oldest never does.
 *     So there is always one task that goes on, or that cannot go on because it alone, or the program, has it all;
 *     that one is refused after settings.store_wait_ms, and told what is in the way.
 *     Meanwhile, since it may be the program that has it, and waits for something else, one task at a time is placed
 *     beside those that wait.
 *  3. Nobody waits any more: tasks are placed again, for a while no two of them on one worker.
 *
 * All functions: under the role.
 */
#ifndef DMI_SCARCE_H
#define DMI_SCARCE_H

#include "runtime/session.h"

/* In place of a status, where a worker waits for room: its task gives way. */
enum { DMI_GIVE_WAY = 0xff };

/* One step, if it is time for one. True if anything changed. */
bool dmi_scarce_turn(dmi_session *session);

/* May a task be placed on this lane? For when room is scarce or was lately. */
bool dmi_scarce_admits(dmi_session *session, const dmi_lane *lane);

/* Is a task running that does not wait for room; or any? */
bool dmi_somebody_works(dmi_session *session);
bool dmi_somebody_runs(const dmi_session *session);

/* Was the task that fails here told to give way? */
bool dmi_gives_way(dmi_session *session, const dmi_lane *lane, uint32_t index);

#endif
