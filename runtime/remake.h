/*
 * remake.h - what the disk has lost is made again, from what it was made from, which is made again first if it is
 * no more: as far back as recipes go (lineage.h).
 *
 * Each task that runs again for this uses up one of its attempts. Under the role.
 */
#ifndef DMI_REMAKE_H
#define DMI_REMAKE_H

#include <stddef.h>

#include "runtime/session.h"

/* A value's object cannot be had any more: the task that made it runs again, and it is as if that had not run
 * yet. False: it cannot be made again, and nothing has changed; `why` says what is missing. */
bool dmi_remake(dmi_session *session, uint32_t index, char *why, size_t room);

#endif
