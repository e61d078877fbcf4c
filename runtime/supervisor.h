/*
 * supervisor.h - the thread that starts workers, hears of their deaths, forwards their output,
 * keeps time limits, and takes the role when no driver thread is there to take it. A libuv loop.
 */
#ifndef DMI_SUPERVISOR_H
#define DMI_SUPERVISOR_H

#include "runtime/session.h"

/* Start the thread, and workers for the first settings.workers lanes (engine processes). Returns
 * when the first is spawned, not when they are up. */
dm_status dmi_supervisor_start(dmi_session *session);

/* End all workers (down->closing is set and they are rung; who is not gone within 100 ms is
 * killed), reap them, read their last output, join the thread. */
void dmi_supervisor_stop(dmi_session *session);

/* Have the supervisor look around: start missing workers, check limits, pump. Any thread. */
void dmi_supervisor_poke(dmi_session *session);

#endif
