/*
 * cancel.h - dm_cancel: a task that has not begun fails at once, one that has is asked to stop, and its worker
 * is killed after a grace if it did not (docs/decisions/0016).
 *
 * What is not settled at once is kept in session->cancels and looked at in every turn that nothing else is in
 * the middle of. All functions: under the role.
 */
#ifndef DMI_CANCEL_H
#define DMI_CANCEL_H

#include "runtime/session.h"

enum { DMI_GRACE_OF_SESSION = -2 }; /* beside DM_NONE: never killed */

/* Cancel a task. For who holds the role and is in the middle of nothing. DM_ERR_INVALID: it was put. */
dm_status dmi_cancel_now(dmi_session *session, uint32_t index, int64_t grace_ms);

/* The same, at the next turn. */
void dmi_cancel_soon(dmi_session *session, uint32_t index, int64_t grace_ms);

/* A task that is on no lane and must not begin fails. */
void dmi_cancel_end(dmi_session *session, uint32_t index);

/* A task was submitted by this one, perhaps a cancelled one: then it is cancelled, too. */
void dmi_cancel_child(dmi_session *session, uint32_t maker, uint32_t index);

/* Look at what is not settled. True if anything was. */
bool dmi_cancels_turn(dmi_session *session);

/* When to look again, in milliseconds from now; -1: no need. */
int64_t dmi_cancels_next_ms(const dmi_session *session, int64_t now_ms);

/* dm_cancel by a thread of the driver: takes and leaves the role. */
dm_status dmi_driver_cancel(dmi_session *session, dm_ref ref, int64_t grace_ms);

#endif
