/*
 * driver.h - the public calls as the driver's threads make them. They take and leave the role.
 */
#ifndef DMI_DRIVER_H
#define DMI_DRIVER_H

#include "runtime/session.h"

dm_ref dmi_driver_submit(dmi_session *session, const dm_function *function,
                         const dm_task_options *options, const dm_value *arguments, size_t count);
void dmi_driver_submit_n(dmi_session *session, const dm_function *function, const dm_task_options *options,
                         const dm_value *arguments, size_t count, dm_ref *refs, size_t n);
dm_ref dmi_driver_put(dmi_session *session, dm_value value);
dm_status dmi_driver_get(dmi_session *session, dm_ref ref, dm_into into, void *out, int64_t timeout_ms);
dm_status dmi_driver_wait(dmi_session *session, const dm_ref *refs, size_t n, size_t k,
                          int64_t timeout_ms, bool *ready);
dm_status dmi_driver_retain(dmi_session *session, dm_ref ref);
dm_status dmi_driver_release(dmi_session *session, dm_ref ref);
dm_status dmi_driver_create(dmi_session *session, dm_dtype dtype, int ndim, const size_t *shape,
                            dm_buffer *out);
dm_ref dmi_driver_seal(dmi_session *session, dm_buffer *buffer);
void dmi_driver_abandon(dmi_session *session, dm_buffer *buffer);
void dmi_driver_view_release(dmi_session *session, const dm_view *view);

/* Every call is between these: the role is held after, and dm_shutdown waits until all have left.
 * False if the session is closing: the role is not held, DM_ERR_SHUT_DOWN is set. */
bool dmi_driver_enter(dmi_session *session);
void dmi_driver_leave(dmi_session *session);

/* Wait until something may have changed, or `until_ms`. Role held before and after, not during.
 * `target`: a record that is awaited, or UINT32_MAX. (rest.c) */
void dmi_driver_rest(dmi_session *session, uint32_t target, int64_t until_ms);

/* After the last rest: the supervisor listens again. */
void dmi_driver_rested(dmi_session *session);

#endif
