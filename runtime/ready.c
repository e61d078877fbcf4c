/*
 * ready.c - the queue of ready tasks.
 */
#include "runtime/ready.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/extras.h"

static uint64_t serial_of(dmi_session *session, uint32_t link)
{
    return dmi_record_at(session, link - 1)->serial;
}

/* ---- levels ---- */

/* The first level that is not above this priority; level_count if there is none. */
static uint32_t level_for(const dmi_session *session, int32_t priority)
{
    uint32_t i = 0;
    while (i < session->level_count && session->levels[i].priority > priority)
        i++;
    return i;
}

static bool has_level(const dmi_session *session, uint32_t i, int32_t priority)
{
    return i < session->level_count && session->levels[i].priority == priority;
}

static bool grow_levels(dmi_session *session)
{
    uint32_t room = session->level_room ? 2 * session->level_room : 4;
    dmi_level *grown = realloc(session->levels, room * sizeof *grown);
    if (grown == NULL)
        return false;
    session->levels = grown;
    session->level_room = room;
    return true;
}

bool dmi_ready_by_priority(dmi_session *session)
{
    /* As many as there may be priorities in use: a task that enters the queue always finds room. */
    uint32_t needed = session->prioritized + 2;
    if (session->level_room < needed && session->level_room < DMI_LEVELS_MOST && !grow_levels(session))
        return false;
    if (session->prioritized != 0)
        return true;
    session->level_count = session->ready_last != 0;
    if (session->level_count != 0)
        session->levels[0] = (dmi_level){0, session->ready_last};
    return true;
}

static void open_level(dmi_session *session, uint32_t i, int32_t priority, uint32_t last)
{
    assert(session->level_count < session->level_room);
    dmi_level *at = &session->levels[i];
    memmove(at + 1, at, (session->level_count - i) * sizeof *at);
    *at = (dmi_level){priority, last};
    session->level_count++;
}

static void close_level(dmi_session *session, uint32_t i)
{
    dmi_level *at = &session->levels[i];
    session->level_count--;
    memmove(at, at + 1, (session->level_count - i) * sizeof *at);
}

/* ---- the list ---- */

/* After the last one with a smaller serial, between `before` and the `last` of them; new tasks go to the
 * end, returned ones near the front. */
static uint32_t place_by_serial(dmi_session *session, uint32_t before, uint32_t last, uint64_t serial)
{
    if (last == before || serial_of(session, last) < serial)
        return last;
    uint32_t here = before ? dmi_task_at(session, before - 1)->next : session->ready_first;
    while (serial_of(session, here) < serial) {
        before = here;
        here = dmi_task_at(session, here - 1)->next;
    }
    return before;
}

static uint32_t place_by_priority(dmi_session *session, uint32_t index, uint64_t serial)
{
    int32_t priority = dmi_priority(session, index);
    uint32_t i = level_for(session, priority), above = i ? session->levels[i - 1].last : 0;
    if (!has_level(session, i, priority)) {
        open_level(session, i, priority, index + 1);
        return above;
    }
    uint32_t before = place_by_serial(session, above, session->levels[i].last, serial);
    if (before == session->levels[i].last)
        session->levels[i].last = index + 1;
    return before;
}

void dmi_ready_enter(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    uint64_t serial = dmi_record_at(session, index)->serial;
    uint32_t before = session->prioritized == 0 ? place_by_serial(session, 0, session->ready_last, serial)
                                                : place_by_priority(session, index, serial);
    uint32_t after = before ? dmi_task_at(session, before - 1)->next : session->ready_first;
    task->state = DMI_TASK_QUEUED;
    task->previous = before;
    task->next = after;
    *(before ? &dmi_task_at(session, before - 1)->next : &session->ready_first) = index + 1;
    *(after ? &dmi_task_at(session, after - 1)->previous : &session->ready_last) = index + 1;
    session->ready_count++;
}

/* It is the last of its level: the one before it is, or the level is no more. */
static void shorten_level(dmi_session *session, uint32_t index, uint32_t before)
{
    int32_t priority = dmi_priority(session, index);
    uint32_t i = level_for(session, priority);
    if (session->levels[i].last != index + 1)
        return;
    if (before != 0 && dmi_priority(session, before - 1) == priority)
        session->levels[i].last = before;
    else
        close_level(session, i);
}

void dmi_ready_leave(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    uint32_t before = task->previous, after = task->next;
    if (session->prioritized != 0)
        shorten_level(session, index, before);
    *(before ? &dmi_task_at(session, before - 1)->next : &session->ready_first) = after;
    *(after ? &dmi_task_at(session, after - 1)->previous : &session->ready_last) = before;
    task->state = DMI_TASK_WAITING;
    session->ready_count--;
}
