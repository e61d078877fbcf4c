/*
 * inside.c - what a task may do: submit, put, get, wait, hold. The worker's side of runtime/requests.c.
 *
 * A task's refs are *holdings* of its worker. What the driver must know of has a cell: a number that
 * this worker chooses and the driver translates. Messages are posted in order, so a submission arrives
 * before the release of what it names. What a task was given it need not release: it is dropped at its
 * end, unless it was retained.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cancel.h"
#include "runtime/extras.h"
#include "runtime/lane.h"
#include "runtime/parts.h"
#include "runtime/policy.h"
#include "runtime/put.h"
#include "runtime/registry.h"
#include "runtime/room.h"
#include "runtime/row.h"
#include "runtime/worker.h"

/* ---- holdings ---- */

/* 128 and up: tags of workers, so that a driver's ref is foreign here and the other way round. */
static uint64_t tag_of(const dmi_worker *worker)
{
    return 128 | (worker->lane & 127);
}

static dm_ref ref_of(const dmi_worker *worker, uint32_t index)
{
    return (dm_ref){(uint64_t)worker->holdings[index].generation << 40 | tag_of(worker) << 32 | index};
}

static dmi_holding *new_holding(dmi_worker *worker, dmi_hold kind, dm_ref *ref)
{
    uint32_t index = worker->holding_free;
    if (index != 0) {
        worker->holding_free = worker->holdings[--index].next;
    } else {
        if (worker->holding_high == worker->holding_room) {
            uint32_t room = worker->holding_room ? 2 * worker->holding_room : 64;
            dmi_holding *grown = realloc(worker->holdings, room * sizeof *grown);
            if (grown == NULL) {
                *ref = DM_NO_REF;
                dmi_error(DM_ERR_NOMEM, "no memory for a ref");
                return NULL;
            }
            memset(grown + worker->holding_room, 0, (room - worker->holding_room) * sizeof *grown);
            worker->holdings = grown;
            worker->holding_room = room;
        }
        index = worker->holding_high++;
    }
    dmi_holding *holding = &worker->holdings[index];
    *holding = (dmi_holding){.kind = (uint8_t)kind,
                             .owned = 1,
                             .generation = holding->generation,
                             .holds = 1,
                             .depth = worker->depth};
    worker->owned_holdings++;
    *ref = ref_of(worker, index);
    return holding;
}

static dm_status holding_of(dmi_worker *worker, dm_ref ref, dmi_holding **holding)
{
    uint32_t index = (uint32_t)ref.id;
    if (((ref.id >> 32) & 0xff) != tag_of(worker) || index >= worker->holding_high)
        return dmi_error(DM_ERR_BADREF, "%#llx is not a ref of this task's worker",
                         (unsigned long long)ref.id);
    *holding = &worker->holdings[index];
    if ((*holding)->generation != (uint16_t)(ref.id >> 40) || (*holding)->kind == DMI_HOLD_NONE ||
        ((*holding)->holds == 0 && (*holding)->kind != DMI_HOLD_RECORD))
        return dmi_error(DM_ERR_STALE, "ref %#llx has been released", (unsigned long long)ref.id);
    return DM_OK;
}

/* ---- cells ---- */

static bool new_cell(dmi_worker *worker, uint32_t *cell, uint16_t *seq)
{
    if (worker->free_cell_count > 0) {
        *cell = worker->free_cells[--worker->free_cell_count];
    } else {
        if (worker->cell_high == DMI_CELLS)
            return false;
        if (worker->cell_high == worker->cell_room) {
            uint32_t room = worker->cell_room ? 2 * worker->cell_room : 64;
            uint32_t *cells = realloc(worker->free_cells, room * sizeof *cells);
            if (cells)
                worker->free_cells = cells;
            uint16_t *seqs = realloc(worker->cell_seqs, room * sizeof *seqs);
            if (seqs)
                worker->cell_seqs = seqs;
            if (!cells || !seqs)
                return false;
            memset(seqs + worker->cell_room, 0, (room - worker->cell_room) * sizeof *seqs);
            worker->cell_room = room;
        }
        *cell = worker->cell_high++;
    }
    *seq = ++worker->cell_seqs[*cell];
    return true;
}

/* Remember it for dmi_inside_say_dropped. Without memory it stays held until the worker ends. */
static void drop_later(dmi_worker *worker, uint32_t cell)
{
    if (worker->dropped_count == worker->dropped_room) {
        uint32_t room = worker->dropped_room ? 2 * worker->dropped_room : 64;
        uint32_t *grown = realloc(worker->dropped_cells, room * sizeof *grown);
        if (grown == NULL)
            return;
        worker->dropped_cells = grown;
        worker->dropped_room = room;
    }
    worker->dropped_cells[worker->dropped_count++] = cell;
}

static void drop_cell(dmi_worker *worker, uint32_t cell)
{
    if (worker->ending) {
        drop_later(worker, cell);
        return;
    }
    dmi_worker_post(worker, &(dmi_message){.kind = DMI_MSG_DROP, .cell = cell});
    worker->free_cells[worker->free_cell_count++] = cell;
}

void dmi_inside_say_dropped(dmi_worker *worker)
{
    for (uint32_t i = 0; i < worker->dropped_count; i++)
        drop_cell(worker, worker->dropped_cells[i]);
    worker->dropped_count = 0;
}

/* Post a message that gives a cell its meaning, and turn the holding into that cell. */
static dm_status post_with_cell(dmi_worker *worker, dmi_holding *holding, dmi_message *message)
{
    uint32_t cell;
    uint16_t seq;
    if (!new_cell(worker, &cell, &seq))
        return dmi_error(DM_ERR_NOMEM, "a worker holds too many refs: release some");
    message->cell = cell;
    message->seq = seq;
    if (holding->views != 0) /* once the driver knows of it, it may leave */
        dmi_row_enter(worker, holding, dmi_refword(DMI_REF_CELL, worker->lane, seq, cell));
    dmi_worker_post(worker, message);
    holding->kind = DMI_HOLD_CELL;
    holding->cell = cell;
    holding->seq = seq;
    return DM_OK;
}

static dm_status post_word(dmi_worker *worker, dmi_holding *holding, dmi_message_kind kind, uint64_t word)
{
    dmi_message message = {.kind = (uint8_t)kind};
    memcpy(message.args, &word, 8);
    return post_with_cell(worker, holding, &message);
}

static void let_go(dmi_worker *worker, dmi_holding *holding)
{
    dmi_row_leave(worker, holding);
    if (holding->kind == DMI_HOLD_OBJECT || holding->kind == DMI_HOLD_BUFFER)
        dmi_worker_free(worker, holding->offset);
    else if (holding->kind == DMI_HOLD_CELL)
        drop_cell(worker, holding->cell);
    else if (holding->kind == DMI_HOLD_FAILED)
        free(holding->text);
    holding->kind = DMI_HOLD_NONE;
    holding->generation++;
    holding->next = worker->holding_free;
    worker->holding_free = (uint32_t)(holding - worker->holdings) + 1;
}

static void disown(dmi_worker *worker, dmi_holding *holding)
{
    worker->owned_holdings -= holding->owned;
    holding->owned = 0;
}

void dmi_inside_end_task(dmi_worker *worker, uint32_t depth)
{
    worker->ending = true;
    for (uint32_t i = 0; i < worker->holding_high; i++) {
        dmi_holding *holding = &worker->holdings[i];
        if (holding->kind == DMI_HOLD_NONE || holding->depth != depth)
            continue;
        holding->holds -= holding->owned + holding->kept;
        worker->owned_holdings -= holding->kept;
        holding->kept = 0;
        disown(worker, holding);
        holding->views = 0;
        dmi_row_leave(worker, holding);
        holding->depth = 0; /* what was retained belongs to no task */
        if (holding->holds == 0)
            let_go(worker, holding);
    }
    worker->ending = false;
}

static dm_ref failed(dmi_worker *worker, dm_status status)
{
    dm_ref ref;
    char *text = strdup(dm_last_error());
    dmi_holding *holding = new_holding(worker, DMI_HOLD_FAILED, &ref);
    if (holding == NULL) {
        free(text);
        return ref;
    }
    holding->status = (uint16_t)status;
    holding->text = text;
    return ref;
}

/* The record that a cell names, once the driver has said so. */
static const dmi_record *record_of(const dmi_worker *worker, const dmi_holding *holding)
{
    if (holding->kind == DMI_HOLD_RECORD)
        return &worker->records[holding->record];
    uint64_t word = dmi_word_load(&worker->down->cells[holding->cell]);
    if (word >> 32 != holding->seq)
        return NULL;
    return &worker->records[(uint32_t)word - 1];
}

/* ---- refs on their way ---- */

dm_ref dmi_inside_ref_of_record(dmi_worker *worker, uint32_t record)
{
    dm_ref ref;
    dmi_holding *holding = new_holding(worker, DMI_HOLD_RECORD, &ref);
    if (holding)
        holding->record = record;
    return ref;
}

dm_status dmi_inside_travel(dmi_worker *worker, dm_ref ref, uint64_t *refword)
{
    dmi_holding *holding = NULL;
    DM_TRY(holding_of(worker, ref, &holding));
    if (holding->kind == DMI_HOLD_FAILED)
        return dmi_error((dm_status)holding->status, "%s", holding->text ? holding->text : "");
    if (holding->kind == DMI_HOLD_BUFFER)
        return dmi_error(DM_ERR_INVALID, "a buffer must be sealed before it is passed on");
    if (holding->kind == DMI_HOLD_OBJECT)
        DM_TRY(post_word(worker, holding, DMI_MSG_ADOPT, holding->offset));
    if (holding->kind == DMI_HOLD_RECORD)
        *refword = dmi_refword(DMI_REF_RECORD, 0, 0, holding->record);
    else
        *refword = dmi_refword(DMI_REF_CELL, worker->lane, holding->seq, holding->cell);
    return DM_OK;
}

dm_status dmi_inside_retain(dmi_worker *worker, dm_ref ref)
{
    dmi_holding *holding = NULL;
    DM_TRY(holding_of(worker, ref, &holding));
    if (holding->kind == DMI_HOLD_RECORD)
        DM_TRY(post_word(worker, holding, DMI_MSG_HOLD,
                         dmi_refword(DMI_REF_RECORD, 0, 0, holding->record)));
    holding->holds++;
    return DM_OK;
}

static bool is_put(const dmi_worker *worker, const dmi_holding *holding)
{
    const dmi_record *record = record_of(worker, holding);
    return record && (record->function == DMI_PUT || record->function == DMI_PUT_IN_TASK);
}

dm_status dmi_inside_cancel(dmi_worker *worker, dm_ref ref, int64_t grace_ms)
{
    dmi_holding *holding = NULL;
    uint64_t words[2] = {0, (uint64_t)grace_ms};
    DM_TRY(holding_of(worker, ref, &holding));
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

dm_status dmi_inside_keep(dmi_worker *worker, dm_ref ref)
{
    dmi_holding *holding = NULL;
    DM_TRY(holding_of(worker, ref, &holding));
    if (holding->kept)
        return DM_OK;
    holding->kept = 1;
    holding->holds++;
    worker->owned_holdings++;
    return DM_OK;
}

static void let_go_if_unused(dmi_worker *worker, dmi_holding *holding)
{
    if (holding->holds == 0 && holding->views == 0)
        let_go(worker, holding);
}

dm_status dmi_inside_release(dmi_worker *worker, dm_ref ref)
{
    dmi_holding *holding = NULL;
    DM_TRY(holding_of(worker, ref, &holding));
    if (holding->holds == 1u + holding->kept)
        disown(worker, holding);
    if (holding->holds == holding->kept)
        return dmi_error(DM_ERR_STALE, "ref %#llx has been released", (unsigned long long)ref.id);
    holding->holds--;
    let_go_if_unused(worker, holding);
    return DM_OK;
}

bool dmi_inside_adopt_all(dmi_worker *worker)
{
    bool any = false;
    for (uint32_t i = 0; i < worker->holding_high; i++) {
        dmi_holding *holding = &worker->holdings[i];
        if (holding->kind == DMI_HOLD_OBJECT)
            any |= post_word(worker, holding, DMI_MSG_ADOPT, holding->offset) == DM_OK;
    }
    return any;
}

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
        return failed(worker, dmi_error(DM_ERR_INVALID, "dm_put of a ref: pass the ref itself"));
    dm_status status = dmi_value_check(&value);
    if (status == DM_OK)
        status = dmi_inside_object(worker, &value, &offset);
    if (status != DM_OK)
        return failed(worker, status);
    dm_ref ref;
    uint64_t refword;
    dmi_holding *holding = new_holding(worker, DMI_HOLD_OBJECT, &ref);
    if (holding)
        holding->offset = offset;
    else
        dmi_worker_free(worker, offset);
    if (holding && value.kind == DM_REFS) /* what it names is pinned before anybody lets go of it */
        status = dmi_inside_travel(worker, ref, &refword);
    return status == DM_OK ? ref : failed(worker, status);
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
    dmi_holding *holding = new_holding(worker, DMI_HOLD_BUFFER, &ref);
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
    dm_status status = holding_of(worker, (dm_ref){buffer->object}, holding);
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
        return failed(worker, status);
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
    disown(worker, holding);
    let_go(worker, holding);
    *buffer = (dm_buffer){0};
    return DM_OK;
}

void dmi_inside_abandon(dmi_worker *worker, dm_buffer *buffer)
{
    dmi_holding *holding = NULL;
    if (buffer->object != 0 && buffer_of(worker, buffer, &holding) == DM_OK) {
        disown(worker, holding);
        let_go(worker, holding);
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

/* Into a blob beside the message. */
static dm_status write_beside(dmi_worker *worker, dmi_message *message, const uint64_t *cells, size_t front,
                              const uint8_t *args, size_t bytes)
{
    uint64_t offset;
    DM_TRY(dmi_worker_room(worker, front + bytes, &offset));
    char *to = worker->own.rw + offset;
    if (front != 0)
        dmi_shared_copy(to, cells, front);
    if (bytes != 0)
        dmi_shared_copy(to + front, args, bytes);
    dmi_blob blob = {offset, worker->segment, (uint32_t)(front + bytes)};
    memcpy(message->args, &blob, sizeof blob);
    message->blob = 1;
    return DM_OK;
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
    return write_beside(worker, message, cells, front, packed->bytes, packed->count);
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
        return dmi_error(DM_ERR_NO_FUNCTION, "no remote function \"%s\" is registered",
                         function ? function->name : "(null)");
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
    dmi_holding *holding = new_holding(worker, DMI_HOLD_RECORD, ref);
    dm_status status = holding ? post_with_cell(worker, holding, message) : DM_ERR_NOMEM;
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
        return failed(worker, status);
    dmi_worker_ring(worker);
    return ref;
}

/* ---- submitting a task of several values ---- */

static dmi_holding *holding_at(dmi_worker *worker, dm_ref ref)
{
    return &worker->holdings[(uint32_t)ref.id];
}

static void give_cells_back(dmi_worker *worker, const dm_ref *refs, const uint64_t *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dmi_holding *holding = holding_at(worker, refs[i]);
        worker->free_cells[worker->free_cell_count++] = (uint32_t)cells[i];
        disown(worker, holding);
        let_go(worker, holding);
    }
}

/* Refs, and a cell for each, which nobody knows of yet. */
static dm_status take_cells(dmi_worker *worker, dm_ref *refs, uint64_t *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t cell;
        uint16_t seq;
        dmi_holding *holding = new_holding(worker, DMI_HOLD_RECORD, &refs[i]);
        if (holding == NULL || !new_cell(worker, &cell, &seq)) {
            if (holding) {
                disown(worker, holding);
                let_go(worker, holding);
            }
            give_cells_back(worker, refs, cells, i);
            return dmi_error(DM_ERR_NOMEM, "a worker holds too many refs: release some");
        }
        cells[i] = (uint64_t)seq << 32 | cell;
    }
    return DM_OK;
}

/* A message has been posted that gives them their meaning. */
static void name_cells(dmi_worker *worker, const dm_ref *refs, const uint64_t *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dmi_holding *holding = holding_at(worker, refs[i]);
        holding->kind = DMI_HOLD_CELL;
        holding->cell = (uint32_t)cells[i];
        holding->seq = (uint16_t)(cells[i] >> 32);
    }
}

static dm_status post_several(dmi_worker *worker, dmi_message *message, const dmi_packed *packed, dm_ref *refs,
                              uint64_t *cells)
{
    DM_TRY(take_cells(worker, refs, cells, message->returns));
    dm_status status = write_args(worker, message, packed, cells);
    if (status != DM_OK) {
        give_cells_back(worker, refs, cells, message->returns);
        return status;
    }
    dmi_worker_post(worker, message);
    name_cells(worker, refs, cells, message->returns);
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
        refs[i] = failed(worker, status);
    dmi_packed_free(&packed);
    free(cells);
}

/* ---- getting ---- */

static bool is_ready(dmi_worker *worker, const dmi_holding *holding)
{
    if (holding->kind != DMI_HOLD_CELL && holding->kind != DMI_HOLD_RECORD)
        return true;
    const dmi_record *record = record_of(worker, holding);
    return record && dmi_is_published(record);
}

typedef struct wait_for {
    uint32_t holding; /* index: the table may move */
} wait_for;

/* A task that is to stop waits for nothing any more. */
static bool must_stop(const dmi_worker *worker)
{
    return worker->call && dm_cancelled(worker->call);
}

static dm_status stopped(const char *what)
{
    return dmi_error(DM_ERR_CANCELLED, "%s: the task that waits here was cancelled", what);
}

static bool got_it(dmi_worker *worker, void *context)
{
    const wait_for *wait = context;
    return is_ready(worker, &worker->holdings[wait->holding]) || must_stop(worker) ||
           (uint32_t)(dmi_word_load(&worker->down->run_now) >> 32) != worker->run_seen;
}

static bool was_heard(dmi_worker *worker, void *posted)
{
    return dmi_word_load(&worker->down->up_head) >= *(uint64_t *)posted;
}

static void say_blocked(dmi_worker *worker, uint32_t index)
{
    const dmi_holding *holding = &worker->holdings[index];
    dmi_message message = {.kind = DMI_MSG_BLOCKED};
    dmi_worker_unclaim(worker);
    uint64_t word = dmi_refword(DMI_REF_CELL, worker->lane, holding->seq, holding->cell);
    memcpy(message.args, &word, 8);
    memcpy(message.args + 8, &worker->run_seen, sizeof worker->run_seen);
    dmi_worker_post(worker, &message);
    dmi_worker_ring(worker);
}

/* No more tasks are handed to us once the driver has heard this; one handed before must still run. */
static void say_unblocked(dmi_worker *worker)
{
    dmi_worker_post(worker, &(dmi_message){.kind = DMI_MSG_UNBLOCKED});
    uint64_t posted = worker->posted;
    dmi_worker_ring(worker);
    while (!was_heard(worker, &posted))
        dmi_worker_sleep(worker, was_heard, &posted, 10);
    dmi_worker_run_handed(worker);
}

static bool spin_until_ready(dmi_worker *worker, uint32_t index)
{
    enum { TURNS = 2000 };
    for (int i = 0; i < TURNS && worker->cpus > 1; i++) {
        if (is_ready(worker, &worker->holdings[index]))
            return true;
        dmi_relax();
    }
    return is_ready(worker, &worker->holdings[index]);
}

/* Wait for a holding, running what it needs meanwhile. False: the time has passed, or the task is to stop. */
static bool await(dmi_worker *worker, uint32_t index, int64_t timeout_ms)
{
    if (spin_until_ready(worker, index) || timeout_ms == 0)
        return is_ready(worker, &worker->holdings[index]);
    enum { NAP_MS = 20 };
    int64_t until = timeout_ms < 0 ? INT64_MAX : dmi_now_ms() + timeout_ms;
    wait_for wait = {index};
    say_blocked(worker, index);
    while (!is_ready(worker, &worker->holdings[index]) && !must_stop(worker)) {
        int64_t left = until - dmi_now_ms();
        if (left <= 0)
            break;
        if (dmi_worker_run_handed(worker))
            say_blocked(worker, index);
        else
            dmi_worker_sleep(worker, got_it, &wait, left < NAP_MS ? (int)left : NAP_MS);
    }
    say_unblocked(worker);
    return is_ready(worker, &worker->holdings[index]);
}

/* ---- objects that are not in memory ---- */

typedef struct fetch_for {
    uint32_t holding;
    uint64_t refusals; /* before it was asked for */
} fetch_for;

static uint64_t refusals(const dmi_worker *worker)
{
    return dmi_word_load(&worker->down->refusals);
}

/* It is in memory, or lost and being made again. */
static bool was_fetched(dmi_worker *worker, void *context)
{
    const fetch_for *fetch = context;
    const dmi_record *record = record_of(worker, &worker->holdings[fetch->holding]);
    return (record && dmi_where_place(dmi_word_load(&record->where)) != DMI_DISK) ||
           refusals(worker) != fetch->refusals || must_stop(worker);
}

static uint64_t refword_of(const dmi_worker *worker, const dmi_holding *holding)
{
    return dmi_refword(DMI_REF_CELL, worker->lane, holding->seq, holding->cell);
}

/* Have the driver bring it, and keep it until we say that we have it (DMI_MSG_FETCHED). */
static dm_status fetch(dmi_worker *worker, uint32_t index, int64_t until)
{
    enum { NAP_MS = 20 };
    fetch_for wait = {index, refusals(worker)};
    dmi_message message = {.kind = DMI_MSG_FETCH};
    uint64_t word = refword_of(worker, &worker->holdings[index]);
    memcpy(message.args, &word, 8);
    dmi_worker_unclaim(worker); /* the disk may take its time: others can have what is behind us */
    dmi_worker_post(worker, &message);
    dmi_worker_ring(worker);
    while (!was_fetched(worker, &wait)) {
        int64_t left = until - dmi_now_ms();
        if (left <= 0)
            return dmi_error(DM_ERR_TIMEOUT, "dm_get: the value was not read back from disk in time");
        dmi_worker_sleep(worker, was_fetched, &wait, left < NAP_MS ? (int)left : NAP_MS);
    }
    if (must_stop(worker))
        return stopped("dm_get");
    if (refusals(worker) != wait.refusals)
        return dmi_error((dm_status)(refusals(worker) & 0xff), "dm_get: the value cannot be read back from disk "
                         "now: there is no room in the store or no memory; release refs and views, or raise "
                         "DM_STORE_BYTES");
    return DM_OK;
}

/* Find the value of a holding that is ready, in memory and kept there: in the row, if it is in a cell.
 * The caller takes it out of the row again. `*again`: it is ready no more. The disk lost it, so its task
 * runs again, perhaps on this very worker: it must be awaited as if it had never been done. */
static dm_status find_value(dmi_worker *worker, uint32_t index, int64_t until, dmi_found *found, bool *again)
{
    bool fetching = false;
    dm_status status = DM_OK;
    *again = false;
    for (;;) {
        dmi_holding *holding = &worker->holdings[index];
        if (holding->kind == DMI_HOLD_OBJECT)
            return dmi_find_object(worker->segment, holding->offset, found) ? DM_OK : DM_ERR_WORKER_CORRUPT;
        if (holding->kind == DMI_HOLD_CELL)
            dmi_row_enter(worker, holding, refword_of(worker, holding));
        const dmi_record *record = record_of(worker, holding);
        dmi_state state = record ? dmi_find(record, found) : DMI_NONSENSE;
        if (state != DMI_AWAY || holding->kind != DMI_HOLD_CELL) {
            *again = state == DMI_MISSING;
            if (state != DMI_THERE && state != DMI_BROKEN)
                status = dmi_error(DM_ERR_WORKER_CORRUPT, "dm_get: the value cannot be read");
            break;
        }
        if (holding->views == 0)
            dmi_row_leave(worker, holding);
        fetching = true;
        status = fetch(worker, index, until);
        if (status != DM_OK)
            break;
    }
    if (fetching)
        dmi_worker_post(worker, &(dmi_message){.kind = DMI_MSG_FETCHED});
    return status;
}

/* The value of `outer` is a ref. */
static dm_status get_ref(dmi_worker *worker, dm_ref outer, dm_ref *out)
{
    uint64_t refword;
    DM_TRY(dmi_inside_travel(worker, outer, &refword));
    dmi_holding *inner = new_holding(worker, DMI_HOLD_RECORD, out);
    return inner ? post_word(worker, inner, DMI_MSG_HOLD_INNER, refword) : DM_ERR_NOMEM;
}

dm_status dmi_inside_list(dmi_worker *worker, uint64_t outer, const dmi_found *found, dm_ref_list *out)
{
    size_t n = found->item.bytes / sizeof(uint64_t);
    dm_ref *refs = malloc((n + 1) * sizeof *refs);
    uint64_t *cells = malloc((n + 1) * sizeof *cells);
    dmi_message message = {.kind = DMI_MSG_HOLD_INNERS};
    dm_status status = refs && cells ? DM_OK : dmi_error(DM_ERR_NOMEM, "no memory for a list of %zu refs", n);
    if (status == DM_OK && n != 0)
        status = take_cells(worker, refs, cells, n);
    if (status == DM_OK && n != 0) {
        status = write_beside(worker, &message, cells, n * sizeof *cells, NULL, 0);
        if (status != DM_OK)
            give_cells_back(worker, refs, cells, n);
    }
    if (status == DM_OK && n != 0) {
        memcpy(message.args + sizeof(dmi_blob), &outer, sizeof outer);
        dmi_worker_post(worker, &message);
        name_cells(worker, refs, cells, n);
        dmi_worker_ring(worker);
    }
    free(cells);
    if (status == DM_OK)
        *out = (dm_ref_list){refs, n};
    else
        free(refs);
    return status;
}

static dm_status read_found(dmi_worker *worker, dm_ref ref, const dmi_found *found, dm_into into, void *out)
{
    dmi_holding *holding = &worker->holdings[(uint32_t)ref.id];
    dmi_subject subject = {NULL, 0};
    if (found->text)
        return dmi_error(found->status, "%s", found->text);
    if (into == DM_INTO_REF && found->item.kind == DM_REF)
        return get_ref(worker, ref, out);
    if (into == DM_INTO_REFS && found->item.kind == DM_REFS) {
        uint64_t refword;
        DM_TRY(dmi_inside_travel(worker, ref, &refword));
        return dmi_inside_list(worker, refword, found, out);
    }
    if (into == DM_INTO_REF || into == DM_INTO_CONST_STRING)
        return dmi_wrong_type(&found->item, into, &subject);
    DM_TRY(dmi_item_into(&found->item, into, out, &subject));
    if (into == DM_INTO_VIEW && holding->kind != DMI_HOLD_RECORD) {
        ((dm_view *)out)->pin = ref.id;
        holding->views++;
    }
    return DM_OK;
}

static dm_status get_now(dmi_worker *worker, dm_ref ref, dm_into into, void *out, int64_t until, bool *again)
{
    dmi_found found = {0};
    dm_status status = find_value(worker, (uint32_t)ref.id, until, &found, again);
    if (status == DM_OK)
        status = read_found(worker, ref, &found, into, out);
    dmi_holding *holding = &worker->holdings[(uint32_t)ref.id]; /* the table may have moved */
    if (holding->views == 0)
        dmi_row_leave(worker, holding);
    return status;
}

dm_status dmi_inside_get(dmi_worker *worker, dm_ref ref, dm_into into, void *out, int64_t timeout_ms)
{
    dmi_holding *holding = NULL;
    DM_TRY(holding_of(worker, ref, &holding));
    if (holding->kind == DMI_HOLD_FAILED)
        return dmi_error((dm_status)holding->status, "%s", holding->text ? holding->text : "");
    if (holding->kind == DMI_HOLD_BUFFER)
        return dmi_error(DM_ERR_INVALID, "dm_get of a buffer that is not sealed");
    int64_t until = timeout_ms < 0 ? INT64_MAX : dmi_now_ms() + timeout_ms;
    for (bool again = true; again;) {
        int64_t left = timeout_ms < 0 ? -1 : until > dmi_now_ms() ? until - dmi_now_ms() : 0;
        if (!await(worker, (uint32_t)ref.id, left))
            return must_stop(worker) ? stopped("dm_get")
                                     : dmi_error(DM_ERR_TIMEOUT, "dm_get: not ready after %lld ms", (long long)timeout_ms);
        dm_status status = get_now(worker, ref, into, out, until, &again);
        if (!again)
            return status;
    }
    return DM_OK;
}

void dmi_inside_view_release(dmi_worker *worker, dm_view *view)
{
    uint32_t index = (uint32_t)view->pin;
    if (view->pin == 0 || index >= worker->holding_high)
        return;
    dmi_holding *holding = &worker->holdings[index];
    if (holding->generation != (uint16_t)(view->pin >> 40) || holding->views == 0)
        return;
    holding->views--;
    if (holding->views == 0)
        dmi_row_leave(worker, holding);
    let_go_if_unused(worker, holding);
}

/* ---- waiting ---- */

static size_t count_ready(dmi_worker *worker, const dm_ref *refs, size_t n, bool *ready, size_t *missing)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        bool is = is_ready(worker, &worker->holdings[(uint32_t)refs[i].id]);
        count += is;
        if (!is)
            *missing = i;
        if (ready)
            ready[i] = is;
    }
    return count;
}

dm_status dmi_inside_wait(dmi_worker *worker, const dm_ref *refs, size_t n, size_t k,
                          int64_t timeout_ms, bool *ready)
{
    enum { LOOK_MS = 1 };
    dmi_holding *holding = NULL;
    size_t missing = 0;
    for (size_t i = 0; i < n; i++)
        DM_TRY(holding_of(worker, refs[i], &holding));
    int64_t until = timeout_ms < 0 ? INT64_MAX : dmi_now_ms() + timeout_ms;
    while (count_ready(worker, refs, n, ready, &missing) < k) {
        int64_t left = until - dmi_now_ms();
        if (must_stop(worker))
            return stopped("dm_wait");
        if (left <= 0)
            return dmi_error(DM_ERR_TIMEOUT, "dm_wait: fewer than %zu of %zu after %lld ms", k, n,
                             (long long)timeout_ms);
        /* Any of them may be next: wait for one a moment, then look at all. */
        int64_t look = k < n && left > LOOK_MS ? LOOK_MS : timeout_ms < 0 ? -1 : left;
        await(worker, (uint32_t)refs[missing].id, look);
    }
    return DM_OK;
}
