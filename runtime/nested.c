/*
 * nested.c - a worker that waits runs what it waits for, above what waits: how deep, and what is said when it is too
 * deep.
 *
 * On the worker's task thread, or on one that stands in for it (stack.h).
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/stack.h"
#include "runtime/worker.h"

/* ---- the chain of waits ---- */

typedef struct text {
    char bytes[700];
    size_t used;
} text;

static void add(text *to, const char *format, ...) DM_PRINTF(2, 3);

static void add(text *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(to->bytes + to->used, sizeof to->bytes - to->used, format, arguments);
    va_end(arguments);
    size_t left = sizeof to->bytes - 1 - to->used;
    to->used += length < 0 ? 0 : (size_t)length < left ? (size_t)length : left;
}

/* The task at a level of the stack: 0 is the outermost. */
static const dm_call *task_at(const dmi_worker *worker, uint32_t level)
{
    const dm_call *call = worker->call;
    for (uint32_t i = worker->depth - 1; i > level; i--)
        call = call->outer;
    return call;
}

/* Each waits for the one above it: "f waits for g waits for ... (9,992 more) ... waits for h". */
static void tell_chain(const dmi_worker *worker, text *to)
{
    enum { ENDS = 4 };
    for (uint32_t level = 0; level < worker->depth; level++) {
        if (level == ENDS && worker->depth > 2 * ENDS) {
            level = worker->depth - ENDS;
            add(to, "... (%u more) ... waits for ", level - ENDS);
        }
        add(to, "%.60s waits for ", dmi_call_name(task_at(worker, level)));
    }
    add(to, "it");
}

static dm_status too_deep(const dmi_worker *worker)
{
    text chain = {.used = 0};
    tell_chain(worker, &chain);
    return dmi_error(DM_ERR_TOO_DEEP, "%u tasks wait for one another on its worker, as many as may "
                     "(DM_NESTED_TASKS): %s", worker->depth, chain.bytes);
}

static dm_status no_stack(const dmi_worker *worker)
{
    text chain = {.used = 0};
    tell_chain(worker, &chain);
    return dmi_error(DM_ERR_NOMEM, "no memory or thread for one more stack, and %u tasks wait for one another on its "
                     "worker: %s", worker->depth, chain.bytes);
}

/* ---- running ---- */

typedef struct handed {
    dmi_worker *worker;
    uint32_t index;
    dmi_outcome outcome;
} handed;

static void run(void *context)
{
    handed *h = context;
    h->outcome = dmi_call_run(h->worker, h->index);
}

static dmi_outcome run_above(dmi_worker *worker, uint32_t index)
{
    handed h = {worker, index, DMI_UNRUN};
    if (worker->depth >= worker->nested_most)
        return dmi_call_refuse(worker, index, too_deep(worker));
    if (!dmi_stack_is_low())
        run(&h);
    else if (!dmi_stack_call(worker, run, &h))
        return dmi_call_refuse(worker, index, no_stack(worker));
    return h.outcome;
}

/* What the task that waits was told last is still its own afterwards. */
static dmi_outcome run_aside(dmi_worker *worker, uint32_t index)
{
    char *said = *dm_last_error() ? strdup(dm_last_error()) : NULL;
    dmi_outcome outcome = run_above(worker, index);
    dmi_error(DM_OK, "%s", said ? said : "");
    free(said);
    return outcome;
}

bool dmi_worker_run_handed(dmi_worker *worker)
{
    uint64_t word = dmi_word_load(&worker->down->run_now);
    if ((uint32_t)(word >> 32) == worker->run_seen)
        return false;
    worker->run_seen = (uint32_t)(word >> 32);
    uint64_t index = (uint32_t)word, outer = dmi_word_peek(&worker->up->nested);
    dmi_word_publish(&worker->up->nested, index + 1);
    dmi_outcome outcome = run_aside(worker, (uint32_t)index);
    dmi_message ran = {.kind = outcome == DMI_RAN ? DMI_MSG_RAN : DMI_MSG_UNRUN};
    memcpy(ran.args, &index, 8);
    if (outcome != DMI_HANDED_BACK)
        dmi_worker_post(worker, &ran);
    dmi_inside_say_dropped(worker);
    dmi_word_publish(&worker->up->nested, outer);
    dmi_worker_ring(worker);
    if (outer == 0)
        dmi_stack_give_back();
    return true;
}
