/*
 * driver.c - submit, put, get, wait, release, as threads of the driver do them.
 */
#include "runtime/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/apart.h"
#include "runtime/dispatch.h"
#include "runtime/extras.h"
#include "runtime/lane.h"
#include "runtime/lists.h"
#include "runtime/parts.h"
#include "runtime/put.h"
#include "runtime/quick.h"
#include "runtime/registry.h"
#include "runtime/residence.h"
#include "runtime/room.h"
#include "runtime/task.h"
#include "runtime/value.h"

/* ---- coming and going ---- */

static bool turn_away(dmi_session *session)
{
    dmi_role_leave(&session->role);
    dmi_error(DM_ERR_SHUT_DOWN, "%s", dm_strerror(DM_ERR_SHUT_DOWN));
    return false;
}

/* For a call that keeps the role from beginning to end: dm_shutdown cannot meet it. */
static inline bool enter_briefly(dmi_session *session)
{
    dmi_role_take(&session->role);
    return __builtin_expect(!session->closing, 1) || turn_away(session);
}

static inline void leave_briefly(dmi_session *session)
{
    dmi_role_leave(&session->role);
}

/* For what runtime/quick.h does: a few instructions, and then dmi_role_end. False: take the general way. */
static inline bool enter_quickly(dmi_session *session)
{
    if (!dmi_role_begin(&session->role))
        return false;
    if (__builtin_expect(!session->closing, 1))
        return true;
    dmi_role_end(&session->role);
    return false;
}

bool dmi_driver_enter(dmi_session *session)
{
    if (!enter_briefly(session))
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

/* A ref whose dm_get says what dm_last_error says now. */
static dm_ref failed(dmi_session *session, dm_status status)
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
static uint64_t room(dmi_session *session, size_t bytes)
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

/* It is an object, and stays where it is until seal(). */
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
    uint64_t offset = room(session, bytes);
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

static dm_status put(dmi_session *session, const dm_value *value, uint32_t *index)
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
static void seal(dmi_session *session, uint32_t index)
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
    dm_status status = put(session, &value, &index);
    if (status == DM_OK)
        seal(session, index);
    dm_ref ref = status == DM_OK ? dmi_task_ref(session, index) : failed(session, status);
    dmi_driver_leave(session);
    return ref;
}

/* ---- submit ---- */

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
    DM_TRY(put(s->session, value, &index));
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
        seal(s->session, index);
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
        blob = room(session, packed.count);
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
        status = dmi_error(DM_ERR_NO_FUNCTION, "no remote function \"%s\" is registered: define it with "
                           "DM_REMOTE", function && function->name ? function->name : "(null)");
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
    if (!enter_briefly(session))
        return DM_NO_REF;
    if (dmi_queue_is_full(session))
        status = queue_room(session);
    if (status == DM_OK && (options != NULL || !submit_numbers(session, function, arguments, count, &index)))
        status = submit_anything(session, function, options, arguments, count, &one, &index);
    dm_ref ref = status == DM_OK ? dmi_task_ref(session, index) : failed(session, status);
    dmi_leave_armed(session);
    leave_briefly(session);
    return ref;
}

dm_ref dmi_driver_submit(dmi_session *session, const dm_function *function,
                         const dm_task_options *options, const dm_value *arguments, size_t count)
{
    if (options == NULL && enter_quickly(session)) {
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
    if (!enter_briefly(session)) {
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
        refs[i] = status == DM_OK ? dmi_task_ref(session, parts[i]) : failed(session, status);
    dmi_leave_armed(session);
    leave_briefly(session);
    free(parts);
}

/* ---- get ---- */

static dm_status read_list(dmi_session *session, uint32_t index, const dmi_found *found, dm_ref_list *out)
{
    size_t n = found->item.bytes / sizeof(uint64_t);
    dm_ref *refs = malloc((n + 1) * sizeof *refs);
    if (refs == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a list of %zu refs", n);
    for (size_t i = 0; i < n; i++) {
        uint32_t inner;
        if (!dmi_task_inner_at(session, index, i, &inner)) {
            for (size_t k = 0; k < i; k++)
                dmi_task_drop(session, (uint32_t)refs[k].id);
            free(refs);
            return dmi_error(DM_ERR_BADREF, "ref %zu of the list names nothing", i);
        }
        dmi_task_hold(session, inner);
        refs[i] = dmi_task_ref(session, inner);
    }
    *out = (dm_ref_list){refs, n};
    return DM_OK;
}

static dm_status read_value(dmi_session *session, uint32_t index, dmi_found *found, dm_into into,
                            void *out)
{
    dmi_subject subject = {NULL, 0};
    dmi_task *task = dmi_task_at(session, index);
    if (into == DM_INTO_REF && found->item.kind == DM_REF) {
        uint32_t inner;
        if (!dmi_task_inner(session, index, &inner))
            return dmi_error(DM_ERR_BADREF, "the task returned a ref that names nothing");
        dmi_task_hold(session, inner);
        *(dm_ref *)out = dmi_task_ref(session, inner);
        return DM_OK;
    }
    if (into == DM_INTO_REFS && found->item.kind == DM_REFS)
        return read_list(session, index, found, out);
    if (into == DM_INTO_REF || into == DM_INTO_CONST_STRING)
        return dmi_wrong_type(&found->item, into, &subject);
    DM_TRY(dmi_item_into(&found->item, into, out, &subject));
    if (into == DM_INTO_VIEW) {
        ((dm_view *)out)->pin = dmi_task_ref(session, index).id;
        dmi_task_pin(session, index);
        session->counts.pinned_bytes += task->views++ == 0 ? task->bytes : 0;
    }
    return DM_OK;
}

/* Read it if it is there; false if not. */
static bool try_get(dmi_session *session, uint32_t index, dm_into into, void *out, dm_status *status)
{
    dmi_found found;
    switch (dmi_find(dmi_record_at(session, index), &found)) {
    case DMI_MISSING:
        return false;
    case DMI_AWAY:
        return false;
    case DMI_THERE:
        if (dmi_task_at(session, index)->bytes != 0)
            dmi_residence_touch(session, index);
        *status = read_value(session, index, &found, into, out);
        return true;
    case DMI_BROKEN:
        *status = dmi_error(found.status, "%s", found.text);
        return true;
    case DMI_NONSENSE:
        break;
    }
    dmi_lane_condemn_maker(session, index);
    *status = dmi_error(DM_ERR_WORKER_CORRUPT, "%s: its result cannot be read",
                        dmi_task_name(session, index));
    return true;
}

/* It cannot be brought, as of late. */
static bool was_refused(dmi_session *session, uint32_t index, uint32_t refusals, dm_status *status)
{
    if (!dmi_is_away(session, index) || dmi_residence_refusals(session, index) == refusals)
        return false;
    *status = dmi_residence_refusal(session, index);
    return true;
}

/* Wait for it, and for the disk if it is there. It is pinned meanwhile, since another thread may release
 * it, and wanted, so that it stays in memory until it is read. */
static dm_status get_later(dmi_session *session, uint32_t index, dm_into into, void *out,
                           int64_t timeout_ms)
{
    int64_t until = timeout_ms < 0 ? INT64_MAX : dmi_now_ms() + timeout_ms;
    dm_status status = DM_OK;
    dmi_task_pin(session, index);
    dmi_task_at(session, index)->wanted++;
    session->visitors++;
    dmi_turn(session);
    uint32_t refusals = dmi_residence_refusals(session, index);
    bool got = try_get(session, index, into, out, &status);
    while (!got && !session->closing && dmi_now_ms() < until) {
        dmi_residence_fetch(session, index, true);
        dmi_driver_rest(session, index, until);
        got = try_get(session, index, into, out, &status) || was_refused(session, index, refusals, &status);
    }
    if (!got && dmi_is_away(session, index))
        dmi_residence_fetch(session, index, true); /* for the next time */
    dmi_task_at(session, index)->wanted--;
    dmi_driver_rested(session);
    session->visitors--;
    if (!got && session->closing)
        status = dmi_error(DM_ERR_SHUT_DOWN, "dm_get: the session has been shut down meanwhile");
    else if (!got)
        status = dmi_error(DM_ERR_TIMEOUT, "dm_get: %s is not done after %lld ms",
                           dmi_task_name(session, index), (long long)timeout_ms);
    dmi_task_unpin(session, index);
    return status;
}

static DMI_APART dm_status get_generally(dmi_session *session, dm_ref ref, dm_into into, void *out,
                                         int64_t timeout_ms)
{
    uint32_t index;
    if (!enter_briefly(session))
        return DM_ERR_SHUT_DOWN;
    dm_status status = dmi_task_of(session, ref, &index);
    if (session->holding && ++session->gets_since_push > DMI_GETS_BEFORE_FLUSH)
        dmi_flush(session);
    if (status == DM_OK && !try_get(session, index, into, out, &status))
        status = get_later(session, index, into, out, timeout_ms);
    leave_briefly(session);
    return status;
}

dm_status dmi_driver_get(dmi_session *session, dm_ref ref, dm_into into, void *out, int64_t timeout_ms)
{
    if (enter_quickly(session)) {
        bool got = dmi_task_is_held(session, ref) && dmi_quick_get(session, (uint32_t)ref.id, into, out);
        dmi_role_end(&session->role);
        if (got)
            return DM_OK;
    }
    return get_generally(session, ref, into, out, timeout_ms);
}

static DMI_APART void view_release_generally(dmi_session *session, const dm_view *view)
{
    uint32_t index = (uint32_t)view->pin;
    if (!enter_briefly(session))
        return;
    if (((view->pin >> 32) & 0xff) == session->tag && index < session->task_high) {
        dmi_task *task = dmi_task_at(session, index);
        if (task->generation == view->pin >> 40 && task->views > 0) {
            session->counts.pinned_bytes -= --task->views == 0 ? task->bytes : 0;
            dmi_task_unpin(session, index);
        }
    }
    leave_briefly(session);
}

void dmi_driver_view_release(dmi_session *session, const dm_view *view)
{
    if (enter_quickly(session)) {
        bool released = dmi_quick_view_release(session, view->pin);
        dmi_role_end(&session->role);
        if (released)
            return;
    }
    view_release_generally(session, view);
}

/* ---- wait ---- */

/* A list is mostly waited for again and again, until nothing of it is left: so what is found published is accounted
 * for, and costs a look at its own line from then on. */
static inline bool is_ready(dmi_session *session, uint32_t index)
{
    dmi_task_state state = (dmi_task_state)dmi_task_at(session, index)->state;
    if (state != DMI_TASK_SENT || !dmi_is_published(dmi_record_at(session, index)))
        return state == DMI_TASK_DONE;
    dmi_lane_account(session, index);
    return true;
}

static dm_status count_ready(dmi_session *session, const dm_ref *refs, size_t n, bool *ready,
                             size_t *count)
{
    size_t found = *count = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t index = (uint32_t)refs[i].id;
        if (!dmi_task_is_held(session, refs[i]))
            return dmi_task_of(session, refs[i], &index);
        bool is = is_ready(session, index);
        found += is;
        if (ready)
            ready[i] = is;
    }
    *count = found;
    return DM_OK;
}

dm_status dmi_driver_wait(dmi_session *session, const dm_ref *refs, size_t n, size_t k,
                          int64_t timeout_ms, bool *ready)
{
    int64_t until = timeout_ms < 0 ? INT64_MAX : dmi_now_ms() + timeout_ms;
    size_t count;
    if (!dmi_driver_enter(session))
        return DM_ERR_SHUT_DOWN;
    dm_status status = count_ready(session, refs, n, ready, &count);
    while (status == DM_OK && count < k) {
        if (session->closing) {
            status = dmi_error(DM_ERR_SHUT_DOWN, "dm_wait: the session has been shut down meanwhile");
            break;
        }
        if (dmi_now_ms() >= until) {
            status = dmi_error(DM_ERR_TIMEOUT, "dm_wait: %zu of %zu are ready after %lld ms, not %zu",
                               count, n, (long long)timeout_ms, k);
            break;
        }
        dmi_driver_rest(session, UINT32_MAX, until);
        status = count_ready(session, refs, n, ready, &count);
    }
    dmi_driver_rested(session);
    dmi_leave_armed(session); /* what was accounted for may have made others ready */
    dmi_driver_leave(session);
    return status;
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
    if (!enter_briefly(session))
        return DM_ERR_SHUT_DOWN;
    dm_status status = dmi_task_of(session, ref, &index);
    if (status == DM_OK) {
        if (dmi_task_at(session, index)->state == DMI_TASK_SENT)
            dmi_lane_account(session, index);
        dmi_task_drop(session, index);
        dmi_leave_armed(session);
    }
    leave_briefly(session);
    return status;
}

dm_status dmi_driver_release(dmi_session *session, dm_ref ref)
{
    if (enter_quickly(session)) {
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
    uint64_t offset = room(session, sizeof(dmi_object) + bytes);
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
        seal(session, index);
    else
        ref = failed(session, status);
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
