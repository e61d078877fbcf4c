/*
 * ready.h - the queue of ready tasks: the higher priority first, then the earlier submitted.
 *
 * One list. While no task has a priority it is in order of serial, and nothing else is kept. Else a *level*
 * per priority that is in the queue says where that part of the list ends. All functions: under the role.
 */
#ifndef DMI_READY_H
#define DMI_READY_H

#include "runtime/task.h"

enum { DMI_PRIORITY_MOST = 1000, DMI_LEVELS_MOST = 2 * DMI_PRIORITY_MOST + 1 };

typedef struct dmi_level {
    int32_t priority;
    uint32_t last; /* index + 1 */
} dmi_level;

/* A task of no priority that was submitted after all that wait here, none of which has one. */
static inline void dmi_ready_append(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    uint32_t last = session->ready_last;
    task->state = DMI_TASK_QUEUED;
    task->previous = last;
    task->next = 0;
    *(last ? &dmi_task_at(session, last - 1)->next : &session->ready_first) = index + 1;
    session->ready_last = index + 1;
    session->ready_count++;
}

/* In and out. */
void dmi_ready_enter(dmi_session *session, uint32_t index);
void dmi_ready_leave(dmi_session *session, uint32_t index);

/* A task with a priority is about to be counted (session->prioritized). False: there is no memory. */
bool dmi_ready_by_priority(dmi_session *session);

#endif
