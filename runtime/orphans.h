/*
 * orphans.h - what becomes of the tasks that a task had submitted when its worker died.
 *
 * The next attempt submits its own, so nobody wants those of the dead one: an *orphan* is a task that
 * was submitted by an attempt that died, which nobody holds and no unfinished task names. It does not
 * begin. What is running already runs to its end. A task whose maker was done is no orphan: nobody
 * will submit it again, so it runs, whoever lets go of it (docs/decisions/0014).
 * All functions: under the role.
 */
#ifndef DMI_ORPHANS_H
#define DMI_ORPHANS_H

#include "runtime/session.h"

typedef struct dmi_orphan {
    uint64_t serial;
    uint32_t index;
} dmi_orphan;

/* Mark what the tasks that a dead worker has not finished had submitted, while its cells and tasks are
 * still known. Returns a list of them, perhaps NULL; for dmi_orphans_discard, which frees it. */
dmi_orphan *dmi_orphans_mark(dmi_session *session, const dmi_lane *lane, size_t *count);

/* The same of one attempt that failed, before its worker lets go of them: each is met when it would be placed. */
void dmi_orphans_of(dmi_session *session, const dmi_lane *lane, uint32_t maker);

/* Once the dead worker's cells are dropped: end those that nobody wants and that have not begun. */
void dmi_orphans_discard(dmi_session *session, const dmi_lane *lane, dmi_orphan *orphans, size_t count);

#endif
