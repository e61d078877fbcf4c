/*
 * entry.h - how a call of the driver's program comes in and goes out, and what the files of such calls share
 * (driver.c, driver_submit.c, driver_get.c).
 */
#ifndef DMI_ENTRY_H
#define DMI_ENTRY_H

#include "runtime/apart.h"
#include "runtime/driver.h"

/* The session is closing: leaves the role, says so; false. */
bool dmi_turn_away(dmi_session *session);

/* For a call that keeps the role from beginning to end: dm_shutdown cannot meet it. */
static inline bool dmi_enter_briefly(dmi_session *session)
{
    dmi_role_take(&session->role);
    return __builtin_expect(!session->closing, 1) || dmi_turn_away(session);
}

static inline void dmi_leave_briefly(dmi_session *session)
{
    dmi_role_leave(&session->role);
}

/* For what runtime/quick.h does: a few instructions, and then dmi_role_end. False: take the general way. */
static inline bool dmi_enter_quickly(dmi_session *session)
{
    if (!dmi_role_begin(&session->role))
        return false;
    if (__builtin_expect(!session->closing, 1))
        return true;
    dmi_role_end(&session->role);
    return false;
}

/* A ref whose dm_get says what dm_last_error says now. */
dm_ref dmi_failed_ref(dmi_session *session, dm_status status);

/* Room in D, waiting for it if need be. Leaves the role while it waits. 0: there is none. */
uint64_t dmi_driver_room(dmi_session *session, size_t bytes);

/* A value becomes an object or a record that nobody else knows of, and: from here on others do. */
dm_status dmi_driver_make(dmi_session *session, const dm_value *value, uint32_t *index);
void dmi_driver_show(dmi_session *session, uint32_t index);

#endif
