/*
 * driver.c - put, retain, release and objects being made, as threads of the driver do them.
 */
#include "runtime/entry.h"

#include <stdio.h>
#include <string.h>

#include "runtime/dispatch.h"
#include "runtime/lane.h"
#include "runtime/lists.h"
#include "runtime/put.h"
#include "runtime/quick.h"
#include "runtime/residence.h"
#include "runtime/room.h"
#include "runtime/task.h"

/* ---- coming and going ---- */

bool dmi_turn_away(dmi_session *session)
{
    dmi_role_leave(&session->role);
    dmi_error(DM_ERR_SHUT_DOWN, "%s", dm_strerror(DM_ERR_SHUT_DOWN));
    return false;
}

bool dmi_driver_enter(dmi_session *session)
{
    if (!dmi_enter_briefly(session))
        return false;
    session->visitors++;
    return true;
}

void dmi_driver_leave(dmi_session *session)
{
    session->visitors--;
    dmi_role_leave(&session->role);
}

/* ---- failures as values ---- */

dm_ref dmi_failed_ref(dmi_session *session, dm_status status)
{
    uint32_t index;
    char said[900];
    snprintf(said, sizeof said, "%s", dm_last_error());
    if (!dmi_task_new(session, &index))
        return DM_NO_REF;
    dmi_task_fail(session, index, status, "%s", said);
    return dmi_task_ref(session, index);
}

/* ---- room, put ---- */

/* Room in D, waiting for it if need be. Leaves the role while it looks and waits. */
uint64_t dmi_driver_room(dmi_session *session, size_t bytes)
{
    enum { LOOK_MS = 5 };
    int64_t since = dmi_now_ms();
    uint64_t offset = dmi_room_aside(session, bytes, since);
    if (offset != 0 || bytes > session->settings.store_bytes)
        return offset;
    if (session->puts_awaited++ == 0)
        session->puts_since_ms = since;
    while (offset == 0 && !session->closing && dmi_room_may_come(session, since)) {
        dmi_driver_rest(session, UINT32_MAX, dmi_now_ms() + LOOK_MS);
        offset = dmi_room_aside(session, bytes, since);
    }
    session->puts_awaited--;
    dmi_driver_rested(session);
    return offset;
}

/* It is an object, and stays where it is until dmi_driver_show(). */
static void begin_unsealed(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    task->flags |= DMI_TASK_UNSEALED;
    session->counts.pinned_bytes += task->bytes;
}

/* Room for an object, and its record; written by the caller, which nobody else knows of yet. */
static dm_status put_object(dmi_session *session, size_t bytes, void (*write)(void *room, const void *what),
                            const void *what, uint32_t *index)
{
    uint64_t offset = dmi_driver_room(session, bytes);
    if (offset == 0)
        return dmi_store_full(session, bytes);
    /* Copying a large value must not keep others out. */
    dmi_role_leave(&session->role);
    write(session->seats[0].memory.rw + offset, what);
    dmi_role_take(&session->role);
    if (!dmi_task_new(session, index)) {
        dmi_heap_free(session->heap, offset);
        return DM_ERR_NOMEM;
    }
    dmi_task_is_object(session, *index, 0, offset, bytes);
    begin_unsealed(session, *index);
    return DM_OK;
}

static void write_value(void *room, const void *what)
{
    dmi_object_write(room, what);
}

/* Of what list the driver knows the refs, their words are only a place in the object. */
static void write_list(void *room, const void *what)
{
    const dm_ref_list *refs = what;
    union {
        const dm_ref *refs;
        const uint64_t *words;
    } as = {refs->refs};
    dmi_object_write_refs(room, as.words, refs->count);
}

static dm_status put_list(dmi_session *session, const dm_value *value, uint32_t *index)
{
    const dm_ref_list *refs = value->list;
    uint32_t inner, list = dmi_list_begin(session, refs->count);
    dm_status status = list ? DM_OK : DM_ERR_NOMEM;
    for (size_t i = 0; i < refs->count && status == DM_OK; i++) {
        status = dmi_task_of(session, refs->refs[i], &inner);
        if (status == DM_OK)
            dmi_list_set(session, list, i, inner);
    }
    if (status == DM_OK)
        status = put_object(session, dmi_object_room(value), write_list, refs, index);
    if (status == DM_OK)
        dmi_task_at(session, *index)->contains = list;
    else
        dmi_contained_end(session, list);
    return status;
}

dm_status dmi_driver_make(dmi_session *session, const dm_value *value, uint32_t *index)
{
    uint8_t wire[DMI_RECORD_ARGS];
    dmi_out out = {wire, wire, wire + sizeof wire};
    DM_TRY(dmi_value_check(value));
    if (value->kind == DM_REF)
        return dmi_error(DM_ERR_INVALID, "dm_put of a ref: pass the ref itself");
    if (value->kind == DM_REFS)
        return put_list(session, value, index);
    if (!dmi_wire_small(&out, value))
        return put_object(session, dmi_object_room(value), write_value, value, index);
    if (!dmi_task_new(session, index))
        return DM_ERR_NOMEM;
    dmi_task_is_here(session, *index, wire, (size_t)(out.at - wire));
    return DM_OK;
}

/* From here on others know of it. */
void dmi_driver_show(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    if (!(task->flags & DMI_TASK_UNSEALED))
        return;
    task->flags &= (uint8_t)~DMI_TASK_UNSEALED;
    session->counts.pinned_bytes -= task->bytes;
    dmi_residence_enter(session, index);
}

dm_ref dmi_driver_put(dmi_session *session, dm_value value)
{
    uint32_t index;
    if (!dmi_driver_enter(session))
        return DM_NO_REF;
    dm_status status = dmi_driver_make(session, &value, &index);
    if (status == DM_OK)
        dmi_driver_show(session, index);
    dm_ref ref = status == DM_OK ? dmi_task_ref(session, index) : dmi_failed_ref(session, status);
    dmi_driver_leave(session);
    return ref;
}

/* ---- holds ---- */

dm_status dmi_driver_retain(dmi_session *session, dm_ref ref)
{
    uint32_t index;
    if (!dmi_driver_enter(session))
        return DM_ERR_SHUT_DOWN;
    dm_status status = dmi_task_of(session, ref, &index);
    if (status == DM_OK)
        dmi_task_hold(session, index);
    dmi_driver_leave(session);
    return status;
}

static DMI_APART dm_status release_generally(dmi_session *session, dm_ref ref)
{
    uint32_t index;
    if (!dmi_enter_briefly(session))
        return DM_ERR_SHUT_DOWN;
    dm_status status = dmi_task_of(session, ref, &index);
    if (status == DM_OK) {
        if (dmi_task_at(session, index)->state == DMI_TASK_SENT)
            dmi_lane_account(session, index);
        dmi_task_drop(session, index);
        dmi_leave_armed(session);
    }
    dmi_leave_briefly(session);
    return status;
}

dm_status dmi_driver_release(dmi_session *session, dm_ref ref)
{
    if (dmi_enter_quickly(session)) {
        bool released = dmi_task_is_held(session, ref) && dmi_quick_release(session, (uint32_t)ref.id);
        dmi_role_end(&session->role);
        if (released)
            return DM_OK;
    }
    return release_generally(session, ref);
}

/* ---- objects being made ---- */

dm_status dmi_driver_create(dmi_session *session, dm_dtype dtype, int ndim, const size_t *shape,
                            dm_buffer *out)
{
    size_t bytes;
    if (!dmi_array_bytes(dtype, ndim, shape, &bytes))
        return dmi_error(DM_ERR_INVALID, "dm_create: no array of dtype %d and %d such dimensions",
                         (int)dtype, ndim);
    uint32_t index;
    if (!dmi_driver_enter(session))
        return DM_ERR_SHUT_DOWN;
    uint64_t offset = dmi_driver_room(session, sizeof(dmi_object) + bytes);
    dm_status status = offset ? DM_OK : dmi_store_full(session, bytes);
    if (status == DM_OK && !dmi_task_new(session, &index)) {
        dmi_heap_free(session->heap, offset);
        status = DM_ERR_NOMEM;
    }
    if (status == DM_OK) {
        char *at = session->seats[0].memory.rw + offset;
        dmi_object_begin(at, dtype, ndim, shape, bytes);
        dmi_task_is_object(session, index, 0, offset, sizeof(dmi_object) + bytes);
        begin_unsealed(session, index);
        *out = (dm_buffer){.data = at + sizeof(dmi_object),
                           .bytes = bytes,
                           .dtype = dtype,
                           .ndim = ndim,
                           .object = dmi_task_ref(session, index).id};
        if (ndim)
            memcpy(out->shape, shape, (size_t)ndim * sizeof *shape);
    }
    dmi_driver_leave(session);
    return status;
}

static dm_status buffer_of(dmi_session *session, const dm_buffer *buffer, uint32_t *index)
{
    if (dmi_task_of(session, (dm_ref){buffer->object}, index) != DM_OK ||
        !(dmi_task_at(session, *index)->flags & DMI_TASK_UNSEALED))
        return dmi_error(DM_ERR_INVALID, "this buffer was not made by dm_create, or is spent");
    return DM_OK;
}

dm_ref dmi_driver_seal(dmi_session *session, dm_buffer *buffer)
{
    uint32_t index;
    if (!dmi_driver_enter(session))
        return DM_NO_REF;
    dm_status status = buffer_of(session, buffer, &index);
    dm_ref ref = {buffer->object};
    if (status == DM_OK)
        dmi_driver_show(session, index);
    else
        ref = dmi_failed_ref(session, status);
    dmi_driver_leave(session);
    *buffer = (dm_buffer){0};
    return ref;
}

void dmi_driver_abandon(dmi_session *session, dm_buffer *buffer)
{
    uint32_t index;
    if (!dmi_driver_enter(session))
        return;
    if (buffer->object != 0 && buffer_of(session, buffer, &index) == DM_OK)
        dmi_task_drop(session, index);
    dmi_driver_leave(session);
    *buffer = (dm_buffer){0};
}
