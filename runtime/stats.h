/*
 * stats.h - the counters of a session, from wherever they are kept. Under the role.
 */
#ifndef DMI_STATS_H
#define DMI_STATS_H

#include "runtime/session.h"

/* As of the last turn: whoever wants what just happened counted takes one before. */
void dmi_stats_collect(dmi_session *session, dm_stats *stats);

#endif
