/*
 * toward.h - what a blocked worker may run: something in the queue that it waits for. Anything else might
 * come to wait for what lies below it on that worker's stack. Under the role.
 */
#ifndef DMI_TOWARD_H
#define DMI_TOWARD_H

#include "runtime/session.h"

/* A task in the queue that the lane's worker waits for (lane->blocked_on), or that this needs; UINT32_MAX if there is
 * none. Graphs may be deep and wide: no recursion, no memory, and each task is met once. What a walk has met is known
 * to be needed as long as the worker waits for the same (lane->walk), so a chain is not walked again for each of its
 * tasks. */
uint32_t dmi_runnable_toward(dmi_session *session, dmi_lane *lane);

#endif
