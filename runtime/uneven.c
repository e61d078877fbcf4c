/*
 * uneven.c - tasks of several CPUs, and tasks of known cost.
 *
 * A lane remembers the latest such task that was placed on it. Nobody tells it when that is done: it looks.
 */
#include "runtime/uneven.h"

#include "runtime/extras.h"
#include "runtime/lane.h"

enum { LONG_NS = 1000000 }; /* nothing is put behind it: about when others would be taken back from there */

static const dmi_extra *on_lane(dmi_session *session, const dmi_lane *lane)
{
    if (lane->uneven == 0)
        return NULL;
    uint32_t index = lane->uneven - 1;
    const dmi_task *task = dmi_task_at(session, index);
    bool there = task->state == DMI_TASK_SENT && task->lane == lane->index && !(task->flags & DMI_TASK_NESTED) &&
                 dmi_record_at(session, index)->serial == lane->uneven_serial &&
                 !dmi_is_sent_here(session, lane, index);
    return there ? dmi_extra_of(session, index) : NULL;
}

static uint32_t cpus_of(const dmi_extra *extra)
{
    return extra && extra->cpus > 1 ? extra->cpus : 1;
}

/* One that waits for another keeps no CPU busy. */
static bool is_busy(const dmi_lane *lane)
{
    return lane->state == DMI_LANE_SERVING && !lane->blocked && dmi_lane_backlog(lane) != 0;
}

void dmi_fit_look(dmi_session *session, uint32_t index, dmi_fit *fit)
{
    *fit = (dmi_fit){.spare = session->settings.workers, .cpus = cpus_of(dmi_extra_of(session, index))};
    fit->wide = fit->cpus > 1;
    for (uint32_t i = 0; i < session->lane_count; i++) {
        if (!is_busy(&session->lanes[i]))
            continue;
        uint32_t cpus = cpus_of(on_lane(session, &session->lanes[i]));
        fit->wide |= cpus > 1;
        fit->spare -= cpus;
    }
}

bool dmi_fit_admits(dmi_session *session, const dmi_fit *fit, const dmi_lane *lane, uint64_t *mean_ns)
{
    const dmi_extra *there = on_lane(session, lane);
    bool busy = is_busy(lane);
    if (there && (there->cpus > 1 || there->cost_ns >= LONG_NS))
        return false;
    if (fit->wide && (busy ? fit->cpus > 1 : fit->spare < fit->cpus))
        return false;
    if (there && there->cost_ns > *mean_ns)
        *mean_ns = there->cost_ns;
    return true;
}

void dmi_fit_note(dmi_session *session, dmi_lane *lane, uint32_t index)
{
    const dmi_extra *extra = dmi_extra_of(session, index);
    session->favour = 1; /* each is looked at by itself */
    if (!extra || (extra->cpus < 2 && extra->cost_ns == 0))
        return;
    lane->uneven = index + 1;
    lane->uneven_serial = dmi_record_at(session, index)->serial;
}
