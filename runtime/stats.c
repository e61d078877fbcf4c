/*
 * stats.c - adds up what lanes, heaps and disk count for themselves. Keeps nothing.
 */
#include "runtime/stats.h"

#include "runtime/residence.h"

static uint64_t committed(const dmi_session *session)
{
    uint64_t total = dmi_word_load(&session->heap_committed);
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].state == DMI_LANE_SERVING)
            total += dmi_word_load(&session->lanes[i].up->committed);
    return total;
}

void dmi_stats_collect(dmi_session *session, dm_stats *stats)
{
    *stats = session->counts;
    stats->store_committed = committed(session);
    stats->spill_policy = session->settings.spill_policy;
    stats->spill_above = session->spill_above;
    stats->pinned_bytes += dmi_shown_lent_bytes(session);
    dmi_residence_stats(session, stats);
    for (uint32_t i = 0; i < session->lane_count; i++)
        stats->workers += session->lanes[i].state == DMI_LANE_SERVING;
}
