/*
 * inside.c - what a task may do: put, make, submit, cancel. Getting and waiting: inside_get.c; the refs
 * themselves: holdings.c. The worker's side of runtime/requests.c.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/cancel.h"
#include "runtime/extras.h"
#include "runtime/holdings.h"
#include "runtime/parts.h"
#include "runtime/put.h"
#include "runtime/registry.h"
#include "runtime/room.h"

/* ---- making objects ---- */

/* The refs of a list, as words; what names them is known to the driver by then. */
static dm_status object_of_refs(dmi_worker *worker, const dm_value *value, uint64_t *offset)
{
    const dm_ref_list *list = value->list;
    uint64_t *words = malloc((list->count + 1) * sizeof *words);
    dm_status status = words ? DM_OK : dmi_error(DM_ERR_NOMEM, "no memory for a list of %zu refs", list->count);
    for (size_t i = 0; i < list->count && status == DM_OK; i++)
        status = dmi_inside_travel(worker, list->refs[i], &words[i]);
    if (status == DM_OK)
        status = dmi_worker_room(worker, dmi_object_room(value), offset);
    if (status == DM_OK)
        dmi_object_write_refs(worker->own.rw + *offset, words, list->count);
    free(words);
    return status;
}

dm_status dmi_inside_object(dmi_worker *worker, const dm_value *value, uint64_t *offset)
{
    if (value->kind == DM_REFS)
        return object_of_refs(worker, value, offset);
    DM_TRY(dmi_worker_room(worker, dmi_object_room(value), offset));
    dmi_object_write(worker->own.rw + *offset, value);
    return DM_OK;
}

dm_ref dmi_inside_put(dmi_worker *worker, dm_value value)
{
    uint64_t offset;
    if (value.kind == DM_REF)
        return dmi_holding_failed(worker, dmi_error(DM_ERR_INVALID, "dm_put of a ref: pass the ref itself"));
    dm_status status = dmi_value_check(&value);
    if (status == DM_OK)
        status = dmi_inside_object(worker, &value, &offset);
    if (status != DM_OK)
        return dmi_holding_failed(worker, status);
    dm_ref ref;
    uint64_t refword;
    dmi_holding *holding = dmi_holding_new(worker, DMI_HOLD_OBJECT, &ref);
    if (holding)
        holding->offset = offset;
    else
        dmi_worker_free(worker, offset);
    if (holding && value.kind == DM_REFS) /* what it names is pinned before anybody lets go of it */
        status = dmi_inside_travel(worker, ref, &refword);
    return status == DM_OK ? ref : dmi_holding_failed(worker, status);
}

dm_status dmi_inside_create(dmi_worker *worker, dm_dtype dtype, int ndim, const size_t *shape,
                            dm_buffer *out)
{
    size_t bytes;
    dm_ref ref;
    if (!dmi_array_bytes(dtype, ndim, shape, &bytes))
        return dmi_error(DM_ERR_INVALID, "dm_create: no array of dtype %d and %d such dimensions",
                         (int)dtype, ndim);
    uint64_t offset;
    DM_TRY(dmi_worker_room(worker, sizeof(dmi_object) + bytes, &offset));
    dmi_holding *holding = dmi_holding_new(worker, DMI_HOLD_BUFFER, &ref);
    if (holding == NULL) {
        dmi_worker_free(worker, offset);
        return DM_ERR_NOMEM;
    }
    holding->offset = offset;
    char *room = worker->own.rw + offset;
    dmi_object_begin(room, dtype, ndim, shape, bytes);
    *out = (dm_buffer){.data = room + sizeof(dmi_object),
                       .bytes = bytes,
                       .dtype = dtype,
                       .ndim = ndim,
                       .object = ref.id};
    if (ndim)
        memcpy(out->shape, shape, (size_t)ndim * sizeof *shape);
    return DM_OK;
}

static dm_status buffer_of(dmi_worker *worker, const dm_buffer *buffer, dmi_holding **holding)
{
    dm_status status = dmi_holding_of(worker, (dm_ref){buffer->object}, holding);
    if (status != DM_OK || (*holding)->kind != DMI_HOLD_BUFFER)
        return dmi_error(DM_ERR_INVALID, "this buffer was not made by dm_create, or is spent");
    return DM_OK;
}

dm_ref dmi_inside_seal(dmi_worker *worker, dm_buffer *buffer)
{
    dmi_holding *holding = NULL;
    dm_ref ref = {buffer->object};
    dm_status status = buffer_of(worker, buffer, &holding);
    if (status != DM_OK)
        return dmi_holding_failed(worker, status);
    holding->kind = DMI_HOLD_OBJECT;
    *buffer = (dm_buffer){0};
    return ref;
}

dm_status dmi_inside_take_buffer(dmi_worker *worker, dm_buffer *buffer, uint64_t *offset)
{
    dmi_holding *holding = NULL;
    DM_TRY(buffer_of(worker, buffer, &holding));
    *offset = holding->offset;
    holding->kind = DMI_HOLD_RECORD; /* nothing to free */
    dmi_holding_disown(holding);
    dmi_holding_let_go(worker, holding);
    *buffer = (dm_buffer){0};
    return DM_OK;
}

void dmi_inside_abandon(dmi_worker *worker, dm_buffer *buffer)
{
    dmi_holding *holding = NULL;
    if (buffer->object != 0 && buffer_of(worker, buffer, &holding) == DM_OK) {
        dmi_holding_disown(holding);
        dmi_holding_let_go(worker, holding);
    }
    *buffer = (dm_buffer){0};
}

/* ---- submitting ---- */

static dm_status travel(void *context, dm_ref ref, uint64_t *refword)
{
    return dmi_inside_travel(context, ref, refword);
}

static dm_status object_argument(void *context, const dm_value *value, uint64_t *refword)
{
    /* Owned by the running task: dropped at its end, after the submission that names it. */
    return dmi_inside_travel(context, dmi_inside_put(context, *value), refword);
}

/* Into the message, or beside it: the cells of several values, and the arguments. */
static dm_status write_args(dmi_worker *worker, dmi_message *message, const dmi_packed *packed,
                            const uint64_t *cells)
{
    size_t front = message->returns * sizeof *cells;
    if (front == 0 && packed->count <= sizeof message->args) {
        memcpy(message->args, packed->bytes, packed->count);
        return DM_OK;
    }
    return dmi_cells_write(worker, message, cells, front, packed->bytes, packed->count);
}

static void unwrite_args(dmi_worker *worker, const dmi_message *message)
{
    dmi_blob blob;
    memcpy(&blob, message->args, sizeof blob);
    if (message->blob)
        dmi_worker_free(worker, blob.offset);
}

/* Options that were checked. */
static void say_options(dmi_message *message, const dm_task_options *options)
{
    dmi_wishes wishes;
    if (options == NULL)
        return;
    dmi_wishes_of(options, &wishes);
    message->retries = (int16_t)options->retries;
    message->limit_ms = (int32_t)options->limit_ms;
    message->retry_on = wishes.retry_on;
    message->cost_ns = wishes.cost_ns;
    message->priority = wishes.priority;
    message->cpus = wishes.cpus;
    message->named = wishes.name != NULL;
}

/* All of the message but where its values go. `packed` is to be freed in any case. */
static dm_status begin_submission(dmi_worker *worker, const dm_function *function,
                                  const dm_task_options *options, const dm_value *arguments, size_t count,
                                  dmi_packed *packed, dmi_message *message)
{
    dmi_packer packer = {worker, worker->inline_bytes, travel, object_argument};
    packed->bytes = packed->small;
    if (!dmi_registry_knows(function))
        return dmi_registry_unknown(function, "dm_remote", "DM_REMOTE");
    DM_TRY(dmi_task_options_check(options));
    DM_TRY(dmi_pack(&packer, arguments, count, packed));
    const char *name = options ? options->name : NULL;
    if (name && !dmi_packed_append(packed, name, strlen(name) + 1))
        return dmi_error(DM_ERR_NOMEM, "no memory for the name of a task");
    *message = (dmi_message){.kind = DMI_MSG_SUBMIT,
                             .function = (uint16_t)function->id,
                             .arg_count = (uint32_t)count,
                             .maker = worker->call ? worker->call->index + 1 : 0};
    say_options(message, options);
    return DM_OK;
}

static dm_status post_submission(dmi_worker *worker, dmi_message *message, const dmi_packed *packed,
                                 dm_ref *ref)
{
    DM_TRY(write_args(worker, message, packed, NULL));
    dmi_holding *holding = dmi_holding_new(worker, DMI_HOLD_RECORD, ref);
    dm_status status = holding ? dmi_holding_post(worker, holding, message) : DM_ERR_NOMEM;
    if (status != DM_OK)
        unwrite_args(worker, message);
    return status;
}

dm_ref dmi_inside_submit(dmi_worker *worker, const dm_function *function,
                         const dm_task_options *options, const dm_value *arguments, size_t count)
{
    dmi_packed packed;
    dmi_message message;
    dm_ref ref;
    dm_status status = begin_submission(worker, function, options, arguments, count, &packed, &message);
    if (status == DM_OK)
        status = post_submission(worker, &message, &packed, &ref);
    dmi_packed_free(&packed);
    if (status != DM_OK)
        return dmi_holding_failed(worker, status);
    dmi_worker_ring(worker);
    return ref;
}

/* ---- submitting a task of several values ---- */

static dm_status post_several(dmi_worker *worker, dmi_message *message, const dmi_packed *packed, dm_ref *refs,
                              uint64_t *cells)
{
    DM_TRY(dmi_cells_take(worker, refs, cells, message->returns));
    dm_status status = write_args(worker, message, packed, cells);
    if (status != DM_OK) {
        dmi_cells_give_back(worker, refs, cells, message->returns);
        return status;
    }
    dmi_worker_post(worker, message);
    dmi_cells_name(worker, refs, cells, message->returns);
    dmi_worker_ring(worker);
    return DM_OK;
}

void dmi_inside_submit_n(dmi_worker *worker, const dm_function *function, const dm_task_options *options,
                         const dm_value *arguments, size_t count, dm_ref *refs, size_t n)
{
    dmi_packed packed;
    dmi_message message;
    uint64_t *cells = malloc(n * sizeof *cells);
    dm_status status = begin_submission(worker, function, options, arguments, count, &packed, &message);
    if (status == DM_OK)
        status = dmi_parts_check(n);
    if (status == DM_OK && cells == NULL)
        status = dmi_error(DM_ERR_NOMEM, "no memory for a task of %zu values", n);
    if (status == DM_OK) {
        message.returns = (uint16_t)n;
        status = post_several(worker, &message, &packed, refs, cells);
    }
    for (size_t i = 0; i < n && status != DM_OK; i++)
        refs[i] = dmi_holding_failed(worker, status);
    dmi_packed_free(&packed);
    free(cells);
}

/* ---- cancelling ---- */

static bool is_put(const dmi_worker *worker, const dmi_holding *holding)
{
    const dmi_record *record = dmi_holding_record(worker, holding);
    return record && (record->function == DMI_PUT || record->function == DMI_PUT_IN_TASK);
}

dm_status dmi_inside_cancel(dmi_worker *worker, dm_ref ref, int64_t grace_ms)
{
    dmi_holding *holding = NULL;
    uint64_t words[2] = {0, (uint64_t)grace_ms};
    DM_TRY(dmi_holding_of(worker, ref, &holding));
    if (holding->kind == DMI_HOLD_FAILED)
        return DM_OK;
    if ((holding->kind != DMI_HOLD_CELL && holding->kind != DMI_HOLD_RECORD) || is_put(worker, holding))
        return dmi_error(DM_ERR_INVALID, "dm_cancel: this value was put, or is being made; only a task's result "
                         "can be cancelled: release it with dm_release");
    DM_TRY(dmi_inside_travel(worker, ref, &words[0]));
    dmi_message message = {.kind = DMI_MSG_CANCEL};
    memcpy(message.args, words, sizeof words);
    dmi_worker_post(worker, &message);
    dmi_worker_ring(worker);
    return DM_OK;
}
