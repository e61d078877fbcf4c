/*
 * inputs.c - asks residence.h for what a task reads, and counts how much is on its way.
 */
#include "runtime/inputs.h"

#include <stdio.h>

#include "runtime/dispatch.h"
#include "runtime/edges.h"
#include "runtime/ready.h"
#include "runtime/residence.h"
#include "runtime/scarce.h"
#include "runtime/task.h"

enum { SHARE = 4, TASKS_MOST = 4096 }; /* of the store; and so that task.wanted does not overflow */

static void count_missing(dmi_session *session, uint32_t input, uint32_t index)
{
    (void)index;
    if (dmi_is_away(session, input))
        session->missing += dmi_task_at(session, input)->bytes;
}

static void count_all(dmi_session *session, uint32_t input, uint32_t index)
{
    (void)index;
    session->missing += dmi_task_at(session, input)->bytes;
}

static uint64_t sum(dmi_session *session, uint32_t index, void (*count)(dmi_session *, uint32_t, uint32_t))
{
    session->missing = 0;
    dmi_task_each_input(session, index, count);
    return session->missing;
}

bool dmi_inputs_are_at_hand(dmi_session *session, uint32_t index)
{
    return !(dmi_task_at(session, index)->flags & DMI_TASK_HAS_REFS) ||
           sum(session, index, count_missing) == 0;
}

static void want(dmi_session *session, uint32_t input, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, input);
    task->wanted++;
    if (task->state != DMI_TASK_DONE || dmi_is_away(session, input))
        dmi_task_await_input(session, input, index);
}

static void bring(dmi_session *session, uint32_t input, uint32_t index)
{
    (void)index;
    dmi_residence_fetch(session, input, false);
}

static void let_go(dmi_session *session, uint32_t input, uint32_t index)
{
    (void)index;
    dmi_task_at(session, input)->wanted--;
}

bool dmi_inputs_fetch(dmi_session *session, uint32_t index, bool must)
{
    if (session->scarce && (session->fetching_tasks != 0 || dmi_somebody_runs(session)))
        return false;
    uint64_t bytes = sum(session, index, count_all);
    uint64_t most = session->settings.store_bytes / SHARE;
    if (!must && session->fetching_tasks != 0 &&
        (session->fetching_bytes + bytes > most || session->fetching_tasks == TASKS_MOST))
        return false;
    dmi_ready_leave(session, index);
    dmi_task *task = dmi_task_at(session, index);
    task->flags |= DMI_TASK_FETCHING | DMI_TASK_PATIENT;
    session->fetching_tasks++;
    session->fetching_bytes += bytes;
    dmi_task_each_input(session, index, want);
    dmi_task_each_input(session, index, bring);
    return true;
}

void dmi_inputs_release(dmi_session *session, uint32_t index)
{
    uint64_t bytes = sum(session, index, count_all);
    dmi_task_at(session, index)->flags &= (uint8_t)~DMI_TASK_FETCHING;
    session->fetching_tasks--;
    session->fetching_bytes -= bytes < session->fetching_bytes ? bytes : session->fetching_bytes;
    if (session->fetching_tasks == 0)
        session->fetching_bytes = 0; /* an input that was lost counts for nothing any more */
    dmi_task_each_input(session, index, let_go);
}

uint32_t dmi_inputs_forgo(dmi_session *session, uint32_t input)
{
    uint32_t list = 0, index;
    while ((index = dmi_task_dependent(session, input)) != UINT32_MAX) {
        dmi_task_await_nothing(session, index);
        if (dmi_task_at(session, index)->flags & DMI_TASK_FETCHING)
            dmi_inputs_release(session, index);
        dmi_task_at(session, index)->next = list;
        list = index + 1;
    }
    return list;
}

void dmi_inputs_try_again(dmi_session *session, uint32_t list)
{
    while (list != 0) {
        uint32_t index = list - 1;
        list = dmi_task_at(session, index)->next;
        dmi_task_enter(session, index);
    }
}

void dmi_inputs_let_go_of_all(dmi_session *session)
{
    dmi_residence_bring_no_more(session);
    for (uint32_t next = session->ready_first; next != 0 && session->fetching_tasks != 0;) {
        dmi_task *task = dmi_task_at(session, next - 1);
        if (task->flags & DMI_TASK_FETCHING)
            dmi_inputs_release(session, next - 1);
        next = task->next;
    }
}

bool dmi_inputs_give_precedence(dmi_session *session)
{
    if (session->fetching_tasks == 0 || dmi_residence_is_busy(session) ||
        dmi_residence_waits_since(session, false) != INT64_MAX)
        return false;
    dmi_inputs_let_go_of_all(session);
    return session->fetching_tasks == 0;
}

static void note_refused(dmi_session *session, uint32_t input, uint32_t index)
{
    (void)index;
    if (dmi_is_away(session, input))
        session->refused = input;
}

void dmi_inputs_refused(dmi_session *session, uint32_t index)
{
    char said[600];
    uint64_t bytes = sum(session, index, count_all);
    dmi_task_each_input(session, index, note_refused);
    dm_status status = dmi_residence_refusal(session, session->refused);
    snprintf(said, sizeof said, "%s", dm_last_error());
    dmi_inputs_release(session, index);
    dmi_task_fail(session, index, status, "%s: its arguments of %llu bytes cannot be brought into memory: %s",
                  dmi_task_name(session, index), (unsigned long long)bytes, said);
}
