/*
 * toward.c - a walk from a task to what it needs, over tasks that wait.
 *
 * The tasks that were met and not looked at are a stack, by task.previous, which a task that waits has no other
 * use for.
 */
#include "runtime/toward.h"

#include "runtime/task.h"
#include "runtime/wire.h"

/* Numbers of walks begin where no position in a ring and no use of an object comes to: what lies in the same word. */
#define WALKS_BEFORE ((uint64_t)1 << 63)

static void meet(dmi_session *session, uint32_t index, uint32_t *stack)
{
    dmi_task *task = dmi_task_at(session, index);
    if (task->state != DMI_TASK_WAITING || task->walk == WALKS_BEFORE + session->walks)
        return;
    task->walk = WALKS_BEFORE + session->walks;
    task->previous = *stack;
    *stack = index + 1;
}

/* Meets what `index` names; one of them that is in the queue, else UINT32_MAX. */
static uint32_t look_at_inputs(dmi_session *session, uint32_t index, uint32_t *stack)
{
    size_t bytes;
    const uint8_t *at = dmi_task_args(session, index, &bytes), *end = at + bytes;
    uint32_t count = dmi_record_at(session, index)->arg_count;
    dmi_item item;
    for (uint32_t i = 0; i < count && dmi_wire_next(&at, end, &item); i++) {
        if (item.kind != DM_REF)
            continue;
        uint32_t input = dmi_refword_index(item.ref);
        if (dmi_task_at(session, input)->state == DMI_TASK_QUEUED)
            return input;
        meet(session, input, stack);
    }
    return UINT32_MAX;
}

/* Did the lane's last walk, which set out from what it still waits for, meet it? */
static bool was_met(dmi_session *session, const dmi_lane *lane, uint32_t link)
{
    return lane->walk != 0 && dmi_task_at(session, link - 1)->walk == WALKS_BEFORE + lane->walk;
}

uint32_t dmi_runnable_toward(dmi_session *session, dmi_lane *lane)
{
    uint32_t stack = 0, found = UINT32_MAX, index = lane->blocked_on;
    if (session->ready_first == 0)
        return UINT32_MAX;
    if (dmi_task_at(session, index)->state == DMI_TASK_QUEUED)
        return index;
    /* What became ready when the last one was done is mostly at an end of the queue. */
    if (was_met(session, lane, session->ready_first))
        return session->ready_first - 1;
    if (was_met(session, lane, session->ready_last))
        return session->ready_last - 1;
    lane->walk = ++session->walks;
    meet(session, index, &stack);
    while (stack != 0 && found == UINT32_MAX) {
        uint32_t next = stack - 1;
        stack = dmi_task_at(session, next)->previous;
        found = look_at_inputs(session, next, &stack);
    }
    return found;
}
