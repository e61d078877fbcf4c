/*
 * door.h - where observers come in: one listening socket per session, on the supervisor's loop.
 *
 * Abstract, so there is no name on disk and nothing to clean up: it is gone when the session is. Its name is
 * known (dmi_observe_address), so anybody may knock, and whoever is of another uid than this program and not
 * root is turned away before a byte is read. Observers can look and do nothing else.
 *
 * All functions: on the loop's thread, without the role, except dmi_door_destroy: when the loop has ended.
 */
#ifndef DMI_DOOR_H
#define DMI_DOOR_H

#include <uv.h>

#include "runtime/session.h"

typedef struct dmi_door dmi_door;

/* One socket, one bind, one listen. A session can do without: a failure is something to log.
 * DM_ERR_FDS, DM_ERR_NOMEM, DM_ERR_SYSTEM (its name is taken, or there are no such sockets here). */
dm_status dmi_door_open(dmi_door **door, dmi_session *session, uv_loop_t *loop);

/* Everybody out, and the name is free. The loop's end will be waited for by handles that close. NULL-safe. */
void dmi_door_close(dmi_door *door);

/* NULL-safe. */
void dmi_door_destroy(dmi_door *door);

#endif
