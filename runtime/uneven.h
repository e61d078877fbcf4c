/*
 * uneven.h - where tasks may go while some need several CPUs, or are known to take long: those of
 * dm_task_options.cpus and cost_ns. Asked only while there are such tasks (session->uneven). Under the role.
 */
#ifndef DMI_UNEVEN_H
#define DMI_UNEVEN_H

#include "runtime/session.h"

/* One choice of a lane. */
typedef struct dmi_fit {
    bool wide;     /* somebody needs several CPUs */
    int64_t spare; /* CPUs that no worker is busy on */
    uint32_t cpus; /* the task's that is to be placed */
} dmi_fit;

/* Look at all lanes, for this task. */
void dmi_fit_look(dmi_session *session, uint32_t index, dmi_fit *fit);

/* May it go there? And then `*mean_ns` becomes what the tasks there take, as far as it is known better. */
bool dmi_fit_admits(dmi_session *session, const dmi_fit *fit, const dmi_lane *lane, uint64_t *mean_ns);

/* It goes there. */
void dmi_fit_note(dmi_session *session, dmi_lane *lane, uint32_t index);

#endif
