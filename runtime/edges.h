/*
 * edges.h - who waits for which input: an edge from a value that is not there, or not in memory, to a task.
 *
 * An edge is in two lists. That of its input, in both directions, so that a task which waits no more is out of it at
 * once, however many wait beside it; and that of its task, by dmi_task.next, which a task that waits has no other use
 * for. An input that is there takes all of its edges out of its list; they are free when their task waits for nothing.
 * Under the role.
 */
#ifndef DMI_EDGES_H
#define DMI_EDGES_H

#include "runtime/session.h"

typedef struct dmi_edge {
    uint32_t task;     /* DMI_EDGE_NOBODY: it went while its input's list was being told */
    uint32_t next;     /* edge + 1, in its input's list or the free list */
    uint32_t previous; /* the same; or DMI_EDGE_FIRST | the input, DMI_EDGE_DUE, DMI_EDGE_SPENT */
    uint32_t sibling;  /* edge + 1, in its task's list */
} dmi_edge;

#define DMI_EDGE_NOBODY UINT32_MAX
#define DMI_EDGE_FIRST  ((uint32_t)1 << 31)
#define DMI_EDGE_DUE    (UINT32_MAX - 1) /* its input is there, and its task is about to be told */
#define DMI_EDGE_SPENT  UINT32_MAX       /* its task has been told, and waits for others */
static_assert(DMI_MAX_RECORDS < DMI_EDGE_FIRST - 2, "the first edge of an input names it");

/* One input more that it waits for; and: an input is there, for all that wait for it. */
void dmi_task_await_input(dmi_session *session, uint32_t input, uint32_t index);
void dmi_task_wake_dependents(dmi_session *session, uint32_t index);

/* It waits for none of its inputs any more; and: one that waits for this, UINT32_MAX if none does. */
void dmi_task_await_nothing(dmi_session *session, uint32_t index);
uint32_t dmi_task_dependent(const dmi_session *session, uint32_t index);

#endif
