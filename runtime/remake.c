/*
 * remake.c - a plan first: all that has to be made again, what others are made from before them. Then all of it
 * becomes unfinished tasks, which the rest of the runtime treats as any.
 */
#include "runtime/remake.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/extras.h"
#include "runtime/lineage.h"
#include "runtime/lists.h"
#include "runtime/parts.h"
#include "runtime/task.h"

/* ---- plans ---- */

/* Values by index, + 1. On the stack of those to be looked at there is 0 above one whose inputs have been. */
typedef struct pile {
    uint32_t *of;
    size_t count, room;
} pile;

typedef struct plan {
    pile order, stack;
    char *why;
    size_t why_room;
} plan;

static unsigned long long serial_of(dmi_session *session, uint32_t index)
{
    return (unsigned long long)dmi_record_at(session, index)->serial;
}

static bool push(plan *p, pile *on, uint32_t value)
{
    if (on->count == on->room) {
        size_t room = on->room ? 2 * on->room : 64;
        uint32_t *grown = realloc(on->of, room * sizeof *grown);
        if (grown == NULL) {
            snprintf(p->why, p->why_room, "there is no memory to plan how");
            return false;
        }
        on->of = grown;
        on->room = room;
    }
    on->of[on->count++] = value;
    return true;
}

static bool is_put(dmi_session *session, uint32_t index)
{
    return dmi_record_at(session, index)->function >= DMI_PUT_IN_TASK;
}

static bool is_part(dmi_session *session, uint32_t index)
{
    return dmi_record_at(session, index)->flags & DMI_PART;
}

static dmi_place place_of(dmi_session *session, uint32_t index)
{
    return dmi_where_place(dmi_word_peek(&dmi_record_at(session, index)->where));
}

/* Leaving its inputs aside. */
static bool may_run_again(dmi_session *session, uint32_t index, plan *p)
{
    const dmi_task *task = dmi_task_at(session, index);
    const char *name = dmi_task_name(session, index);
    if (is_put(session, index))
        snprintf(p->why, p->why_room, "value %llu was put%s", serial_of(session, index),
                 task->state == DMI_TASK_RECIPE ? ", and is released" : "");
    else if (!(task->flags & DMI_TASK_LINEAGE))
        snprintf(p->why, p->why_room, "what %s (value %llu) was made from was not kept, lineage_bytes being %zu", name,
                 serial_of(session, index), session->settings.lineage_bytes);
    else if (task->retries_left == 0 && !is_part(session, index))
        snprintf(p->why, p->why_room, "%s (value %llu) has no retries left", name, serial_of(session, index));
    else
        return true;
    return false;
}

typedef struct looking {
    plan *plan;
    uint32_t index;
} looking;

/* One of its inputs: is it there, or can it be made? */
static bool look(dmi_session *session, uint64_t refword, uint32_t argument, void *context)
{
    const looking *l = context;
    plan *p = l->plan;
    uint32_t input = dmi_refword_index(refword);
    dmi_task *task = dmi_task_at(session, input);
    if (!dmi_lineage_is_known(session, refword)) {
        snprintf(p->why, p->why_room,
                 "argument %u of %s (value %llu) is released, and how it was made was not kept, lineage_bytes being %zu",
                 argument, dmi_task_name(session, l->index), serial_of(session, l->index),
                 session->settings.lineage_bytes);
        return false;
    }
    if (task->state == DMI_TASK_DONE && place_of(session, input) == DMI_FAILED) {
        snprintf(p->why, p->why_room, "argument %u of %s (value %llu) is lost, too", argument,
                 dmi_task_name(session, l->index), serial_of(session, l->index));
        return false;
    }
    if (task->state != DMI_TASK_RECIPE || task->walk == session->walks)
        return true;
    return push(p, &p->stack, input + 1);
}

/* Depth first, so that what others are made from is before them; without recursion. */
static bool visit(dmi_session *session, uint32_t index, plan *p)
{
    dmi_task *task = dmi_task_at(session, index);
    looking l = {p, index};
    if (task->state == DMI_TASK_RECIPE) {
        if (task->walk == session->walks)
            return true; /* met on another way meanwhile */
        task->walk = session->walks;
        if (place_of(session, index) == DMI_HERE)
            return push(p, &p->order, index + 1);
    }
    return may_run_again(session, index, p) && push(p, &p->stack, index + 1) && push(p, &p->stack, 0) &&
           dmi_lineage_each(session, index, look, &l);
}

static bool make_plan(dmi_session *session, uint32_t index, plan *p)
{
    session->walks++;
    bool possible = push(p, &p->stack, index + 1);
    while (possible && p->stack.count != 0) {
        uint32_t link = p->stack.of[--p->stack.count];
        possible = link ? visit(session, link - 1, p) : push(p, &p->order, p->stack.of[--p->stack.count]);
    }
    return possible;
}

/* ---- what is planned is done ---- */

/* A cancellation that came too late for it is over. */
static void forgive(dmi_session *session, uint32_t index)
{
    dmi_extra *extra = dmi_extra_of(session, index);
    if (extra)
        extra->cancelled = extra->asked = false;
}

/* As if it had just been submitted, with one attempt less. */
static void reset(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    dmi_record *record = dmi_record_at(session, index);
    if (task->state == DMI_TASK_RECIPE)
        dmi_lineage_revive(session, index);
    else
        session->counts.objects--;
    if (dmi_where_place(dmi_word_peek(&record->where)) == DMI_HERE)
        return; /* it is a value again */
    uint32_t contained = task->contains;
    task->contains = 0;
    dmi_lineage_resume(session, index);
    forgive(session, index);
    task->flags &= DMI_TASK_HAS_REFS | DMI_TASK_LIMITED;
    task->bytes = 0;
    task->position = 0;
    task->lane = task->attempts = 0;
    task->state = DMI_TASK_WAITING;
    session->loose += task->holds == 0;
    session->limited += (task->flags & DMI_TASK_LIMITED) != 0;
    if (!(record->flags & DMI_PART)) {
        task->retries_left--;
        session->unfinished++;
        session->counts.tasks_retried++;
    }
    dmi_word_publish(&record->where, dmi_where(DMI_NOWHERE, 0, 0));
    DMI_STEP();
    record->serial = ++session->next_serial; /* a slot may still hold its old result */
    if (record->flags & DMI_PART)
        dmi_parts_rejoin(session, index);
    dmi_contained_end(session, contained);
}

static bool runs_again(dmi_session *session, uint32_t index)
{
    return !is_part(session, index) && place_of(session, index) != DMI_HERE;
}

/* All inputs are pinned before anything ends, and all are unfinished before anything begins. */
static void carry_out(dmi_session *session, const pile *order)
{
    for (size_t i = 0; i < order->count; i++)
        if (place_of(session, order->of[i] - 1) != DMI_HERE)
            dmi_task_pin_inputs(session, order->of[i] - 1);
    for (size_t i = 0; i < order->count; i++)
        reset(session, order->of[i] - 1);
    for (size_t i = 0; i < order->count; i++)
        if (runs_again(session, order->of[i] - 1))
            dmi_task_enter(session, order->of[i] - 1);
}

bool dmi_remake(dmi_session *session, uint32_t index, char *why, size_t room)
{
    plan p = {.why = why, .why_room = room};
    bool possible = make_plan(session, index, &p);
    if (possible)
        carry_out(session, &p.order);
    free(p.stack.of);
    free(p.order.of);
    return possible;
}
