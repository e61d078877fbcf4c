/*
 * readers.c - placed tasks read their arguments, workers what is in their rows.
 *
 * Nothing of this is counted on the way of a task: spilling is rare and tasks are not, so whoever spills
 * looks around.
 */
#include "runtime/readers.h"

#include "runtime/lane.h"
#include "runtime/task.h"

static void mark(dmi_session *session, uint32_t input, uint32_t task)
{
    (void)task;
    dmi_task *of = dmi_task_at(session, input);
    if (of->state == DMI_TASK_DONE)
        of->read_at = session->look;
}

static void mark_inputs(dmi_session *session, uint32_t index)
{
    if (dmi_task_at(session, index)->flags & DMI_TASK_HAS_REFS)
        dmi_task_each_input(session, index, mark);
}

static void look_at(dmi_session *session, const dmi_lane *lane)
{
    for (uint64_t i = lane->reaped; i < lane->pushed; i++) {
        uint32_t link = lane->sent[i % DMI_RING];
        if (link != 0)
            mark_inputs(session, link - 1);
    }
    for (uint32_t next = lane->nested; next != 0; next = dmi_task_at(session, next - 1)->next)
        mark_inputs(session, next - 1);
}

void dmi_readers_look(dmi_session *session)
{
    if (++session->look == 0)
        session->look = 1; /* 0 is nobody's */
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].state != DMI_LANE_EMPTY)
            look_at(session, &session->lanes[i]);
    dmi_shown_mark(session);
}

static bool has_in_row(dmi_session *session, const dmi_up *up, uint32_t index)
{
    uint64_t high = dmi_word_load(&up->row_high);
    uint32_t read;
    if (dmi_word_load(&up->row_full) != 0)
        return true;
    for (uint64_t i = 0; i < high && i < DMI_ROW; i++) {
        uint64_t word = dmi_word_load(&up->row[i]);
        if (word != 0 && dmi_refword_record(session, word, &read) && read == index)
            return true;
    }
    return false;
}

bool dmi_is_in_a_row(dmi_session *session, uint32_t index)
{
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].state != DMI_LANE_EMPTY && has_in_row(session, session->lanes[i].up, index))
            return true;
    return false;
}

/* ---- nested tasks ---- */

void dmi_lane_nest(dmi_session *session, dmi_lane *lane, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    task->flags |= DMI_TASK_NESTED;
    task->previous = 0;
    task->next = lane->nested;
    if (lane->nested != 0)
        dmi_task_at(session, lane->nested - 1)->previous = index + 1;
    lane->nested = index + 1;
}

void dmi_lane_unnest(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    if (!(task->flags & DMI_TASK_NESTED))
        return;
    task->flags &= (uint8_t)~DMI_TASK_NESTED;
    if (task->next != 0)
        dmi_task_at(session, task->next - 1)->previous = task->previous;
    *(task->previous ? &dmi_task_at(session, task->previous - 1)->next
                     : &session->lanes[task->lane].nested) = task->next;
}
