/*
 * readers.h - who reads an object in memory at this moment, as far as the driver must know before it
 * lets the object leave. All functions: under the role.
 */
#ifndef DMI_READERS_H
#define DMI_READERS_H

#include "runtime/session.h"

/* Look around: what placed tasks may read gets task.read_at = session->look. */
void dmi_readers_look(dmi_session *session);

/* Does any worker have it in its row? After DMI_DISK was published and a fence. */
bool dmi_is_in_a_row(dmi_session *session, uint32_t index);

/* Tasks that blocked workers run beside their rings: a list per lane. */
void dmi_lane_nest(dmi_session *session, dmi_lane *lane, uint32_t index);
void dmi_lane_unnest(dmi_session *session, uint32_t index);

#endif
