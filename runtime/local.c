/*
 * local.c - dm_local: what a worker builds once from a shared argument, and keeps.
 *
 * Known by the function that builds it and the serial of the shared value, which is never used twice.
 * The least recently used makes place for a new one, but never one that the running tasks may hold.
 */
#include "runtime/worker.h"

static void destroy(dmi_local *local)
{
    if (local->build && local->destroy)
        local->destroy(local->made);
    *local = (dmi_local){0};
}

void dmi_locals_destroy(dmi_local *locals)
{
    for (int i = 0; i < DMI_LOCALS; i++)
        destroy(&locals[i]);
}

static dmi_local *lookup(dmi_local *locals, dm_local_build build, uint64_t serial)
{
    for (int i = 0; i < DMI_LOCALS; i++)
        if (locals[i].build == build && locals[i].serial == serial)
            return &locals[i];
    return NULL;
}

/* Free, or least recently used and not used since the outermost task on the stack began. */
static dmi_local *place(dmi_worker *worker)
{
    dmi_local *oldest = NULL;
    for (int i = 0; i < DMI_LOCALS; i++) {
        dmi_local *local = &worker->locals[i];
        if (local->build == NULL)
            return local;
        if (local->used <= worker->local_mark && (oldest == NULL || local->used < oldest->used))
            oldest = local;
    }
    return oldest;
}

static dm_status build_into(dm_call *call, int index, dm_local_build build, dm_local_destroy end,
                            uint64_t serial, void **out)
{
    dmi_worker *worker = call->worker;
    dm_view shared;
    void *made = NULL;
    DM_TRY(dm_arg_into(call, index, DM_INTO_VIEW, &shared));
    DM_TRY(build(&shared, &made));
    dmi_local *local = place(worker);
    if (local == NULL) {
        if (end)
            end(made);
        return dmi_error(DM_ERR_INVALID, "%s: one task may use at most %d things built by dm_local",
                         call->function->name, DMI_LOCALS);
    }
    destroy(local);
    *local = (dmi_local){build, end, serial, made, ++worker->local_uses};
    *out = made;
    return DM_OK;
}

dm_status dm_local(dm_call *call, int index, dm_local_build build, dm_local_destroy end, void **out)
{
    dmi_worker *worker = call->worker;
    if (build == NULL || out == NULL)
        return dmi_error(DM_ERR_INVALID, "dm_local: build and out must be given");
    if (index < 0 || (uint32_t)index >= call->count)
        return dmi_error(DM_ERR_ARG_MISSING, "%s: argument %d is missing: it was given %u",
                         call->function->name, index, call->count);
    if (call->items[index].kind != DM_REF)
        return dmi_error(DM_ERR_TYPE,
                         "%s: argument %d: dm_local needs a ref (dm_put it once and pass the ref)",
                         call->function->name, index);
    if (worker->depth == 1 && worker->local_call != call->serial) {
        worker->local_call = call->serial;
        worker->local_mark = worker->local_uses;
    }
    uint64_t serial = worker->records[dmi_refword_index(call->items[index].ref)].serial;
    dmi_local *local = lookup(worker->locals, build, serial);
    if (local == NULL)
        return build_into(call, index, build, end, serial, out);
    if (!call->seen[index]) {
        call->seen[index] = true;
        call->read++;
    }
    local->used = ++worker->local_uses;
    *out = local->made;
    return DM_OK;
}
