/*
 * again.c - a worker says that a task failed: once more, or is that its value?
 */
#include "runtime/again.h"

#include <stdio.h>
#include <string.h>

#include "runtime/dispatch.h"
#include "runtime/extras.h"
#include "runtime/lane.h"
#include "runtime/orphans.h"
#include "runtime/scarce.h"
#include "runtime/value.h"

/* The task at the head of the ring, or one that the blocked worker was handed. */
static bool is_there(dmi_session *session, const dmi_lane *lane, uint64_t index, uint64_t at)
{
    if (index >= session->task_high)
        return false;
    const dmi_task *task = dmi_task_at(session, (uint32_t)index);
    if (task->state != DMI_TASK_SENT || task->lane != lane->index ||
        (!(dmi_record_at(session, (uint32_t)index)->flags & DMI_HANDS_BACK) &&
         !dmi_gives_way(session, lane, (uint32_t)index)))
        return false;
    return (task->flags & DMI_TASK_NESTED) ||
           (task->position == at && at == lane->reaped && lane->sent[at % DMI_RING] == index + 1);
}

/* Out of the ring, or off the stack. */
static void take_off(dmi_session *session, dmi_lane *lane, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    if (lane->run_now == index + 1)
        lane->run_now = 0;
    if (!(task->flags & DMI_TASK_NESTED))
        lane->sent[task->position % DMI_RING] = 0;
    dmi_orphans_of(session, lane, index);
    dmi_task_unplace(session, index);
}

static void settle(dmi_session *session, uint32_t index, dm_status status, const char *text)
{
    dmi_task *task = dmi_task_at(session, index);
    const dmi_extra *extra = dmi_extra_of(session, index);
    bool again = extra && !extra->cancelled && (extra->retry_on >> status & 1) && task->retries_left > 0;
    task->attempts++;
    if (again) {
        task->retries_left--;
        session->counts.tasks_retried++;
        dmi_task_enter(session, index);
    } else if (task->attempts > 1) {
        dmi_task_fail(session, index, status, "%s (attempt %d)", text, task->attempts);
    } else {
        dmi_task_fail(session, index, status, "%s", text);
    }
}

bool dmi_again_heed(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    uint64_t words[3]; /* index, offset of an error object, status */
    char text[900];
    dmi_found found = {.text = NULL};
    memcpy(words, message->args, sizeof words);
    if (!is_there(session, lane, words[0], message->at) || words[2] == DM_OK || words[2] >= DM_STATUS_COUNT)
        return false;
    if (words[1] != 0 && (!dmi_find_object(lane->segment, words[1], &found) || found.text == NULL))
        return false;
    snprintf(text, sizeof text, "%s", found.text ? found.text : dm_strerror((dm_status)words[2]));
    if (words[1] != 0) {
        session->seats[lane->segment].live++; /* for dmi_free_object, which counts an object */
        dmi_free_object(session, lane->segment, words[1]);
    }
    bool gave_way = dmi_gives_way(session, lane, (uint32_t)words[0]);
    take_off(session, lane, (uint32_t)words[0]);
    if (gave_way)
        dmi_task_enter(session, (uint32_t)words[0]); /* that was no attempt */
    else
        settle(session, (uint32_t)words[0], (dm_status)words[2], text);
    dmi_feed_blocked(session, lane);
    return true;
}
