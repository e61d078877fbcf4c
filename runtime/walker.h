/*
 * walker.h - walks over all that a session keeps and says which law does not hold. For debug builds: after each
 * death of a worker, and when a test asks.
 *
 *  1. The table: each value is alive or in the free list, once; as many are alive as are counted.
 *  2. What is unfinished, loose or limited is counted; what is queued is in the queue, in order, once.
 *  3. A task that is sent is at its position in its lane's ring, or in its lane's list of nested ones; nothing
 *     else is. A lane without a worker has nothing, and what is in the ring is what the worker sees.
 *  4. Each slot of a lane is free, or is one task's.
 *  5. A segment counts the values that lie in it; one whose worker is dead has some.
 *  6. Who waits for an input is in that input's list, as often as it waits, and in its own; edges are in a list, spent
 *     or free.
 *  7. What is held and pinned is at least what cells, arguments, containing values, views, moves and fetches say;
 *     and once nothing is under way it is no more than that, but for the driver's own holds.
 *  8. Bytes and objects are sums over the values: in memory, away, lent.
 *  9. What is on disk is what the values say is there, and the disk's own laws hold (ledger.h, extents.h).
 * 10. What kept arguments name has so many heirs, and a recipe has some; what both take is counted (lineage.h).
 * 11. Shown is what it may be, and nothing else (shown.h).
 *
 * Under the role.
 */
#ifndef DMI_WALKER_H
#define DMI_WALKER_H

#include "runtime/session.h"

#if defined(DM_DEBUG) && DM_DEBUG
/* NULL, or which law is broken and where: in `said`. */
const char *dmi_session_walk(dmi_session *session, char *said, size_t room);

/* The same; a law that does not hold is our bug, and ends the process with its sentence. */
void dmi_session_check(dmi_session *session);
#else
static inline void dmi_session_check(dmi_session *session)
{
    (void)session;
}
#endif

#endif
