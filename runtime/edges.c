/*
 * edges.c - see edges.h.
 */
#include "runtime/edges.h"

#include <stdlib.h>

#include "runtime/dispatch.h"
#include "runtime/task.h"

static dmi_edge *edge_at(dmi_session *session, uint32_t link)
{
    return &session->edges[link - 1];
}

/* edge + 1; 0: there is no memory. */
static uint32_t new_edge(dmi_session *session)
{
    uint32_t link = session->edge_free;
    if (link != 0) {
        session->edge_free = edge_at(session, link)->next;
        return link;
    }
    if (session->edge_high == session->edge_room) {
        uint32_t room = session->edge_room ? 2 * session->edge_room : 1024;
        dmi_edge *grown = room < DMI_EDGE_FIRST ? realloc(session->edges, room * sizeof *grown) : NULL;
        if (grown == NULL)
            return 0;
        session->edges = grown;
        session->edge_room = room;
    }
    return ++session->edge_high;
}

static void free_edge(dmi_session *session, uint32_t link)
{
    edge_at(session, link)->next = session->edge_free;
    session->edge_free = link;
}

/* Without memory for an edge the task goes out all the same: its worker hands it back until the input
 * is there. Slow, and right. */
void dmi_task_await_input(dmi_session *session, uint32_t input, uint32_t index)
{
    uint32_t link = new_edge(session);
    if (link == 0)
        return;
    dmi_task *task = dmi_task_at(session, index);
    uint32_t *first = &dmi_task_at(session, input)->edges;
    bool is_one_more = task->waits++ != 0;
    *edge_at(session, link) = (dmi_edge){index, *first, DMI_EDGE_FIRST | input, is_one_more ? task->next : 0};
    if (*first != 0)
        edge_at(session, *first)->previous = link;
    *first = link;
    task->next = link;
    session->dependents += !is_one_more;
}

/* Out of its input's list; still in its task's. False: whoever tells that list frees it. */
static bool take_out(dmi_session *session, dmi_edge *edge)
{
    if (edge->previous == DMI_EDGE_SPENT)
        return true;
    if (edge->previous == DMI_EDGE_DUE) {
        edge->task = DMI_EDGE_NOBODY;
        return false;
    }
    if (edge->next != 0)
        edge_at(session, edge->next)->previous = edge->previous;
    if (edge->previous & DMI_EDGE_FIRST)
        dmi_task_at(session, edge->previous & ~DMI_EDGE_FIRST)->edges = edge->next;
    else
        edge_at(session, edge->previous)->next = edge->next;
    return true;
}

void dmi_task_await_nothing(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    if (task->waits == 0)
        return;
    for (uint32_t link = task->next, after; link != 0; link = after) {
        after = edge_at(session, link)->sibling;
        if (take_out(session, edge_at(session, link)))
            free_edge(session, link);
    }
    task->waits = 0;
    session->dependents--;
}

/* The last of its inputs is there: all its edges are spent. */
static void free_spent(dmi_session *session, const dmi_task *task)
{
    for (uint32_t link = task->next, after; link != 0; link = after) {
        after = edge_at(session, link)->sibling;
        free_edge(session, link);
    }
}

/* What is placed here may let others go that wait in this very list: they are passed over. */
void dmi_task_wake_dependents(dmi_session *session, uint32_t index)
{
    uint32_t first = dmi_task_at(session, index)->edges;
    dmi_task_at(session, index)->edges = 0;
    for (uint32_t link = first; link != 0; link = edge_at(session, link)->next)
        edge_at(session, link)->previous = DMI_EDGE_DUE;
    for (uint32_t link = first, after; link != 0; link = after) {
        dmi_edge *edge = edge_at(session, link);
        uint32_t waiting = edge->task;
        after = edge->next;
        edge->previous = DMI_EDGE_SPENT;
        if (waiting == DMI_EDGE_NOBODY) {
            free_edge(session, link);
        } else if (--dmi_task_at(session, waiting)->waits == 0) {
            free_spent(session, dmi_task_at(session, waiting));
            session->dependents--;
            dmi_dispatch(session, waiting);
        }
    }
}

uint32_t dmi_task_dependent(const dmi_session *session, uint32_t index)
{
    uint32_t link = session->tasks[index].edges;
    return link ? session->edges[link - 1].task : UINT32_MAX;
}
