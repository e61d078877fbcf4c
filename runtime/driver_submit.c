/*
 * driver_submit.c - dm_remote, as threads of the driver do it.
 */
#include "runtime/entry.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/dispatch.h"
#include "runtime/extras.h"
#include "runtime/parts.h"
#include "runtime/put.h"
#include "runtime/quick.h"
#include "runtime/registry.h"
#include "runtime/room.h"
#include "runtime/task.h"

typedef struct submission {
    dmi_session *session;
    uint32_t puts; /* index + 1: values put for it, a list by task.next */
} submission;

static dm_status travel(void *context, dm_ref ref, uint64_t *refword)
{
    const submission *s = context;
    uint32_t index;
    DM_TRY(dmi_task_of(s->session, ref, &index));
    *refword = dmi_task_refword(s->session, index);
    return DM_OK;
}

static dm_status object_argument(void *context, const dm_value *value, uint64_t *refword)
{
    submission *s = context;
    uint32_t index;
    DM_TRY(dmi_driver_make(s->session, value, &index));
    dmi_task_at(s->session, index)->next = s->puts;
    s->puts = index + 1;
    *refword = dmi_task_refword(s->session, index);
    return DM_OK;
}

/* The task that names them pins them by now, if it came to be. */
static void drop_puts(submission *s)
{
    while (s->puts != 0) {
        uint32_t index = s->puts - 1;
        s->puts = dmi_task_at(s->session, index)->next;
        dmi_driver_show(s->session, index);
        dmi_task_drop(s->session, index);
    }
}

static void store_args(dmi_session *session, uint32_t index, const dmi_packed *packed,
                            uint64_t blob, size_t count)
{
    dmi_record *record = dmi_record_at(session, index);
    if (blob == 0) {
        dmi_shared_copy(record->args, packed->bytes, packed->count);
    } else {
        dmi_shared_copy(session->seats[0].memory.rw + blob, packed->bytes, packed->count);
        DMI_STEP();
        record->blob = (dmi_blob){.offset = blob, .bytes = (uint32_t)packed->count};
        record->flags |= DMI_BLOB;
    }
    DMI_STEP();
    record->arg_count = (uint32_t)count;
}

/* The role was left while an argument was put: another thread may have released a ref meanwhile. */
static dm_status check_refs(dmi_session *session, const dm_value *arguments, size_t count)
{
    uint32_t index;
    for (size_t i = 0; i < count; i++)
        if (arguments[i].kind == DM_REF)
            DM_TRY(dmi_task_of(session, arguments[i].ref, &index));
    return DM_OK;
}

/* What becomes of a submission: one value, or `n` of them. */
typedef struct outcome {
    uint32_t *parts; /* NULL: one value */
    uint32_t n;
} outcome;

/* From here on nobody names the task itself. */
static bool begin_parts(dmi_session *session, uint32_t index, const outcome *to)
{
    if (dmi_parts_begin(session, index, to->n, to->parts)) {
        dmi_task_drop(session, index);
        return true;
    }
    dmi_task_free_entry(session, index);
    return false;
}

/* False: it has failed for want of memory. */
static bool note_wishes(dmi_session *session, uint32_t index, const dmi_wishes *wishes)
{
    DMI_STEP();
    dmi_record_at(session, index)->flags |= dmi_wishes_flags(wishes);
    if (dmi_extra_note(session, index, wishes))
        return true;
    dmi_task_fail(session, index, DM_ERR_NOMEM, "no memory for the options of a task");
    return false;
}

static dm_status submit(submission *s, const dm_function *function, const dm_task_options *options,
                        const dm_value *arguments, size_t count, const outcome *to, uint32_t *index)
{
    dmi_session *session = s->session;
    dmi_packer packer = {s, session->settings.inline_bytes, travel, object_argument};
    dmi_packed packed;
    dmi_wishes wishes;
    uint64_t blob = 0;
    bool wished = dmi_wishes_of(options, &wishes);
    dm_status status = dmi_pack(&packer, arguments, count, &packed);
    if (status == DM_OK && wishes.name && !dmi_packed_append(&packed, wishes.name, strlen(wishes.name) + 1))
        status = dmi_error(DM_ERR_NOMEM, "no memory for the name of a task");
    if (status == DM_OK && packed.count > DMI_RECORD_ARGS) {
        blob = dmi_driver_room(session, packed.count);
        if (blob == 0)
            status = dmi_store_full(session, packed.count);
    }
    if (status == DM_OK && (s->puts != 0 || blob != 0))
        status = check_refs(session, arguments, count);
    if (status == DM_OK && !dmi_task_new(session, index))
        status = DM_ERR_NOMEM;
    if (status == DM_OK) {
        DMI_STEP();
        dmi_record_at(session, *index)->function = (uint16_t)function->id;
        if (to->parts != NULL && !begin_parts(session, *index, to))
            status = DM_ERR_NOMEM;
    }
    if (status == DM_OK) {
        store_args(session, *index, &packed, blob, count);
        dmi_task_submit(session, *index, options ? options->retries : 0,
                        options ? options->limit_ms : 0);
        if (count > 0)
            dmi_task_pin_inputs(session, *index);
        if (!wished || note_wishes(session, *index, &wishes))
            dmi_task_enter(session, *index);
    }
    if (status != DM_OK && blob != 0)
        dmi_heap_free(session->heap, blob);
    dmi_packed_free(&packed);
    return status;
}

/* The way of most tasks. False: nothing was done, take the other. */
static inline bool submit_numbers(dmi_session *session, const dm_function *function,
                                  const dm_value *arguments, size_t count, uint32_t *index)
{
    uint8_t wire[DMI_RECORD_ARGS];
    dmi_out out = {wire, wire, wire + sizeof wire};
    if (!dmi_quick_pack(arguments, count, &out) || !dmi_registry_knows(function) || !dmi_task_new(session, index))
        return false;
    dmi_quick_fill(session, *index, function, wire, count);
    dmi_task_submit(session, *index, 0, 0);
    dmi_dispatch(session, *index);
    return true;
}

static dm_status submit_anything(dmi_session *session, const dm_function *function,
                                 const dm_task_options *options, const dm_value *arguments, size_t count,
                                 const outcome *to, uint32_t *index)
{
    submission s = {session, 0};
    dm_status status = DM_OK;
    session->visitors++; /* it may have to wait for room */
    if (!dmi_registry_knows(function))
        status = dmi_registry_unknown(function, "dm_remote", "DM_REMOTE");
    if (status == DM_OK)
        status = dmi_task_options_check(options);
    if (status == DM_OK)
        status = submit(&s, function, options, arguments, count, to, index);
    drop_puts(&s);
    session->visitors--;
    return status;
}

/* Room for one more task, waiting for it if need be. Leaves the role while it waits. */
static dm_status queue_room(dmi_session *session)
{
    uint64_t most = session->settings.queue_tasks - session->settings.queue_tasks / 8;
    if (session->settings.queue_refuses) {
        dmi_turn(session);
        return dmi_queue_is_full(session) ? dmi_queue_full(session) : DM_OK;
    }
    session->visitors++;
    while (session->unfinished >= most && !session->closing)
        dmi_driver_rest(session, UINT32_MAX, INT64_MAX);
    dmi_driver_rested(session);
    session->visitors--;
    return session->closing ? dmi_error(DM_ERR_SHUT_DOWN, "%s", dm_strerror(DM_ERR_SHUT_DOWN)) : DM_OK;
}

static DMI_APART dm_ref submit_generally(dmi_session *session, const dm_function *function,
                                         const dm_task_options *options, const dm_value *arguments, size_t count)
{
    static const outcome one;
    uint32_t index;
    dm_status status = DM_OK;
    if (!dmi_enter_briefly(session))
        return DM_NO_REF;
    if (dmi_queue_is_full(session))
        status = queue_room(session);
    if (status == DM_OK && (options != NULL || !submit_numbers(session, function, arguments, count, &index)))
        status = submit_anything(session, function, options, arguments, count, &one, &index);
    dm_ref ref = status == DM_OK ? dmi_task_ref(session, index) : dmi_failed_ref(session, status);
    dmi_leave_armed(session);
    dmi_leave_briefly(session);
    return ref;
}

dm_ref dmi_driver_submit(dmi_session *session, const dm_function *function,
                         const dm_task_options *options, const dm_value *arguments, size_t count)
{
    if (options == NULL && dmi_enter_quickly(session)) {
        dm_ref ref = dmi_quick_submit(session, function, arguments, count);
        dmi_role_end(&session->role);
        if (ref.id != 0)
            return ref;
    }
    return submit_generally(session, function, options, arguments, count);
}

void dmi_driver_submit_n(dmi_session *session, const dm_function *function, const dm_task_options *options,
                         const dm_value *arguments, size_t count, dm_ref *refs, size_t n)
{
    uint32_t index, *parts = malloc(n * sizeof *parts);
    dm_status status = dmi_parts_check(n);
    if (!dmi_enter_briefly(session)) {
        free(parts);
        return;
    }
    if (status == DM_OK && parts == NULL)
        status = dmi_error(DM_ERR_NOMEM, "no memory for a task of %zu values", n);
    const outcome to = {parts, (uint32_t)n};
    if (status == DM_OK && dmi_queue_is_full(session))
        status = queue_room(session);
    if (status == DM_OK)
        status = submit_anything(session, function, options, arguments, count, &to, &index);
    for (size_t i = 0; i < n; i++)
        refs[i] = status == DM_OK ? dmi_task_ref(session, parts[i]) : dmi_failed_ref(session, status);
    dmi_leave_armed(session);
    dmi_leave_briefly(session);
    free(parts);
}
