/*
 * orphans.c - finding and ending the tasks that only a dead attempt wanted.
 *
 * An orphan that is pinned or placed at the moment is met again later: dmi_task_enter and dispatch.c
 * look before they place a task.
 */
#include "runtime/orphans.h"

#include <stdlib.h>

#include "runtime/lane.h"
#include "runtime/parts.h"
#include "runtime/task.h"

/* Has this cell's task been submitted by one that the lane's dead worker began and did not finish? */
static bool is_of_dead_attempt(dmi_session *session, const dmi_lane *lane, const dmi_cell *cell)
{
    if (cell->record == 0 || cell->maker_serial == 0)
        return false;
    const dmi_task *maker = dmi_task_at(session, cell->maker);
    return dmi_record_at(session, cell->maker)->serial == cell->maker_serial &&
           maker->state == DMI_TASK_SENT && maker->lane == lane->index &&
           !dmi_is_sent_here(session, lane, cell->maker);
}

dmi_orphan *dmi_orphans_mark(dmi_session *session, const dmi_lane *lane, size_t *count)
{
    /* Without memory for the list they are found one by one, when each is about to be placed. */
    dmi_orphan *list = lane->cell_room ? malloc(lane->cell_room * sizeof *list) : NULL;
    *count = 0;
    for (uint32_t i = 0; i < lane->cell_room; i++) {
        if (!is_of_dead_attempt(session, lane, &lane->cells[i]))
            continue;
        uint32_t index = lane->cells[i].record - 1;
        dmi_task_at(session, index)->orphaned = 1;
        if (list)
            list[(*count)++] = (dmi_orphan){dmi_record_at(session, index)->serial, index};
    }
    return list;
}

void dmi_orphans_of(dmi_session *session, const dmi_lane *lane, uint32_t maker)
{
    for (uint32_t i = 0; i < lane->cell_room; i++) {
        const dmi_cell *cell = &lane->cells[i];
        if (cell->record != 0 && cell->maker == maker &&
            cell->maker_serial == dmi_record_at(session, maker)->serial)
            dmi_task_at(session, cell->record - 1)->orphaned = 1;
    }
}

static int latest_first(const void *a, const void *b)
{
    uint64_t x = ((const dmi_orphan *)a)->serial, y = ((const dmi_orphan *)b)->serial;
    return (x < y) - (x > y);
}

/* It may lie unstarted in the ring of another worker. */
static void take_back(dmi_session *session, const dmi_lane *dead, const dmi_task *task)
{
    dmi_lane *lane = &session->lanes[task->lane];
    if (lane != dead && lane->state == DMI_LANE_SERVING && !(task->flags & DMI_TASK_NESTED))
        dmi_lane_take_back(session, lane, 0); /* it enters again, which ends it */
}

static void end(dmi_session *session, const dmi_lane *dead, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    if (task->state == DMI_TASK_WAITING || task->state == DMI_TASK_QUEUED)
        dmi_task_discard(session, index);
    else if (task->state == DMI_TASK_SENT)
        take_back(session, dead, task);
}

/* A task can only name earlier ones, so with the latest first none is pinned by one still to come. */
void dmi_orphans_discard(dmi_session *session, const dmi_lane *lane, dmi_orphan *orphans, size_t count)
{
    if (count != 0)
        qsort(orphans, count, sizeof *orphans, latest_first);
    for (size_t i = 0; i < count; i++) {
        uint32_t index = orphans[i].index, maker = dmi_part_maker(session, index);
        if (!dmi_is_orphan(dmi_task_at(session, index)))
            continue;
        if (maker == UINT32_MAX)
            end(session, lane, index);
        else if (dmi_parts_forsake(session, maker))
            end(session, lane, maker);
    }
    free(orphans);
}
