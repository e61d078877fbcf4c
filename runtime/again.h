/*
 * again.h - tasks that failed and may be tried again (dm_task_options.retry_on). Under the role.
 *
 * Such a task's failure is not published, since what is published stands (law 2 of runtime/layout.h): its
 * worker tells the driver, which tries again or makes it the task's value.
 */
#ifndef DMI_AGAIN_H
#define DMI_AGAIN_H

#include "runtime/session.h"

/* DMI_MSG_FAILED. False: nonsense. */
bool dmi_again_heed(dmi_session *session, dmi_lane *lane, const dmi_message *message);

#endif
