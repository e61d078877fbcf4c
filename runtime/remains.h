/*
 * remains.h - the memory that a dead worker leaves: only what is still alive in it stays.
 *
 * All functions: under the role.
 */
#ifndef DMI_REMAINS_H
#define DMI_REMAINS_H

#include "runtime/session.h"

/* A segment's worker is gone: give back the pages of its heap in which no object lives, and set
 * seat.orphan_bytes to what is left. Without memory to look, all of it stays until the last value is dead. */
void dmi_orphan_shrink(dmi_session *session, uint32_t segment);

/* An object in such a segment is dead: give back the pages that were its own. */
void dmi_orphan_punch(dmi_seat *seat, uint64_t offset);

#endif
