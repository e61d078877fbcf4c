/*
 * call.c - one task being run: its arguments, its result, its end.
 *
 * No allocation for a task of up to 8 arguments and a small result.
 */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/extras.h"
#include "runtime/put.h"
#include "runtime/registry.h"
#include "runtime/worker.h"

/* ---- arguments ---- */

static const uint8_t *args_of(const dmi_record *record, size_t *bytes)
{
    if (!(record->flags & DMI_BLOB)) {
        *bytes = DMI_RECORD_ARGS;
        return record->args;
    }
    size_t limit;
    const char *base = dmi_base(record->blob.segment, &limit);
    *bytes = record->blob.bytes;
    return (const uint8_t *)base + record->blob.offset;
}

/* Wait a moment for an input: it was placed before us, so it is nearly always there. Not if it is
 * nowhere, or behind us in our own ring: law 5 of runtime/layout.h. */
static bool await_input(const dmi_worker *worker, const dmi_record *input)
{
    enum { WAIT_NS = 50000 };
    if (dmi_is_at_hand(input))
        return true;
    uint64_t until = dmi_now_ns() + WAIT_NS;
    for (;;) {
        for (int i = 0; i < 32; i++) {
            dmi_relax();
            if (dmi_is_at_hand(input))
                return true;
        }
        uint64_t where = dmi_word_load(&input->where);
        if (dmi_where_place(where) == DMI_NOWHERE || dmi_where_place(where) == DMI_DISK ||
            (dmi_where_place(where) == DMI_SLOT && dmi_where_segment(where) == worker->segment))
            return dmi_is_at_hand(input);
        if (dmi_now_ns() > until)
            return dmi_is_at_hand(input);
        if (worker->cpus < 3)
            sched_yield(); /* its producer may need this very core */
    }
}

static dm_status decode(dm_call *call)
{
    size_t bytes;
    const uint8_t *at = args_of(call->record, &bytes), *end = at + bytes;
    call->items = call->few;
    call->seen = call->few_seen;
    if (call->count > DMI_CALL_ITEMS) {
        call->items = malloc(call->count * (sizeof *call->items + sizeof *call->seen));
        if (call->items == NULL)
            return dmi_error(DM_ERR_NOMEM, "no memory for %u arguments", call->count);
        call->seen = (bool *)(call->items + call->count);
    }
    memset(call->seen, 0, call->count * sizeof *call->seen);
    for (uint32_t i = 0; i < call->count; i++) {
        dmi_item *item = &call->items[i];
        if (dmi_wire_next_ref(&at, end, &item->ref))
            item->kind = DM_REF;
        else if (!dmi_wire_next(&at, end, item))
            return dmi_error(DM_ERR_INVALID, "argument %u is not readable", i);
    }
    return DM_OK;
}

static const dmi_record *input_of(const dm_call *call, const dmi_item *item)
{
    return &call->worker->records[dmi_refword_index(item->ref)];
}

static bool inputs_are_there(dm_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        if (call->items[i].kind != DM_REF || dmi_is_plain(input_of(call, &call->items[i])))
            continue;
        call->all_plain = false;
        if (!await_input(call->worker, input_of(call, &call->items[i])))
            return false;
    }
    return true;
}

static dm_status check_inputs(const dm_call *call)
{
    dmi_found found;
    for (uint32_t i = 0; i < call->count; i++) {
        if (call->items[i].kind != DM_REF)
            continue;
        dmi_state state = dmi_find(input_of(call, &call->items[i]), &found);
        if (state == DMI_BROKEN)
            return dmi_error(DM_ERR_DEP_FAILED, "argument %u failed: %s: %s", i,
                             dm_status_name(found.status), found.text);
        if (state != DMI_THERE)
            return dmi_error(DM_ERR_WORKER_CORRUPT, "argument %u cannot be read", i);
    }
    return DM_OK;
}

int dm_arg_count(dm_call *call)
{
    call->counted = true;
    return (int)call->count;
}

static void mark_read(dm_call *call, int index)
{
    call->read += !call->seen[index];
    call->seen[index] = true;
}

dm_status dm_arg_into(dm_call *call, int index, dm_into into, void *out)
{
    const char *name = call->function->name;
    if (index < 0 || (uint32_t)index >= call->count)
        return dmi_error(DM_ERR_ARG_MISSING, "%s: argument %d is missing: it was given %u", name, index,
                         call->count);
    if (out == NULL && into != DM_INTO_NOTHING)
        return dmi_error(DM_ERR_INVALID, "%s: argument %d: there is no place for it (NULL)", name, index);
    mark_read(call, index);
    const dmi_item *item = &call->items[index];
    dmi_subject subject = {name, index};
    if (into == DM_INTO_REF) {
        if (item->kind != DM_REF)
            return dmi_wrong_type(item, into, &subject);
        *(dm_ref *)out = dmi_inside_ref_of_record(call->worker, dmi_refword_index(item->ref));
        return DM_OK;
    }
    dmi_found found;
    if (item->kind == DM_REF) {
        if (dmi_find(input_of(call, item), &found) != DMI_THERE)
            return dmi_error(DM_ERR_WORKER_CORRUPT, "%s: argument %d cannot be read", name, index);
        if (into == DM_INTO_REFS && found.item.kind == DM_REFS)
            return dmi_inside_list(call->worker, call->items[index].ref, &found, out);
        item = &found.item;
    }
    return dmi_item_into(item, into, out, &subject);
}

/* ---- itself ---- */

/* Only messages want it, so it is looked for only then. */
const char *dmi_call_name(const dm_call *call)
{
    if (!(call->record->flags & DMI_NAMED))
        return call->function->name;
    size_t bytes;
    const uint8_t *args = args_of(call->record, &bytes);
    const char *name = dmi_name_behind(args, bytes, call->count);
    return name ? name : call->function->name;
}

bool dm_cancelled(dm_call *call)
{
    const dmi_down *down = call->worker->down;
    if (dmi_word_load(&down->asks) == 0)
        return false;
    for (int i = 0; i < DMI_ASKED; i++)
        if (dmi_word_load(&down->asked[i]) == call->serial)
            return true;
    return false;
}

/* ---- the result ---- */

static bool is_multiple(const dm_call *call)
{
    return call->returns != 0;
}

int dm_return_count(dm_call *call)
{
    return is_multiple(call) ? (int)call->returns : 1;
}

/* Where return `index` is staged. */
static dm_status place_of(dm_call *call, int index, dmi_part_value **place)
{
    int count = dm_return_count(call);
    if (index < 0 || index >= count)
        return dmi_error(DM_ERR_INVALID, "%s: value %d was not asked for: the caller wants %d, numbered from 0",
                         call->function->name, index, count);
    if (is_multiple(call) && call->parts == NULL) {
        call->parts = calloc(call->returns, sizeof *call->parts);
        if (call->parts == NULL)
            return dmi_error(DM_ERR_NOMEM, "%s: no memory for %u values", call->function->name, call->returns);
    }
    *place = is_multiple(call) ? &call->parts[index] : &call->staged;
    return DM_OK;
}

static void unstage(dm_call *call, dmi_part_value *place)
{
    if (place->kind == DMI_SLOT_OBJECT) {
        uint64_t offset;
        memcpy(&offset, place->payload, 8);
        dmi_worker_free(call->worker, offset);
    }
    place->kind = 0;
}

static void stage(dm_call *call, dmi_part_value *place, dmi_slot_kind kind, const void *payload, size_t bytes)
{
    unstage(call, place);
    memcpy(place->payload, payload, bytes);
    place->kind = (uint8_t)kind;
    place->bytes = (uint8_t)bytes;
}

/* The first and only value of a task, if it is what most tasks return: written where it is staged. */
static inline bool stage_at_once(dmi_part_value *place, const dm_value *value)
{
    enum { MOST_BYTES = DMI_SLOT_PAYLOAD - 2 };
    dmi_out out = {place->payload, place->payload, place->payload + sizeof place->payload};
    if (place->kind != 0 || (!dmi_wire_number(&out, value) && !dmi_wire_few_bytes(&out, value, MOST_BYTES)))
        return false;
    place->kind = DMI_SLOT_INLINE;
    place->bytes = (uint8_t)(out.at - place->payload);
    return true;
}

/* A value that fits the slot, as msgpack. */
static bool stage_small(dm_call *call, dmi_part_value *place, const dm_value *value)
{
    uint8_t wire[DMI_SLOT_PAYLOAD];
    dmi_out out = {wire, wire, wire + sizeof wire};
    if (!dmi_wire_small(&out, value))
        return false;
    stage(call, place, DMI_SLOT_INLINE, wire, (size_t)(out.at - wire));
    return true;
}

dm_status dm_return_value_at(dm_call *call, int index, dm_value value)
{
    dmi_part_value *place = NULL;
    if (index == 0 && !is_multiple(call) && stage_at_once(&call->staged, &value))
        return DM_OK;
    DM_TRY(place_of(call, index, &place));
    DM_TRY(dmi_value_check(&value));
    if (value.kind == DM_REF) {
        uint64_t refword;
        DM_TRY(dmi_inside_travel(call->worker, value.ref, &refword));
        DM_TRY(dmi_inside_keep(call->worker, value.ref));
        stage(call, place, DMI_SLOT_REF, &refword, 8);
        return DM_OK;
    }
    if (value.kind == DM_REFS)
        for (size_t i = 0; i < value.list->count; i++)
            DM_TRY(dmi_inside_keep(call->worker, value.list->refs[i]));
    if (stage_small(call, place, &value))
        return DM_OK;
    uint64_t offset;
    DM_TRY(dmi_inside_object(call->worker, &value, &offset));
    stage(call, place, DMI_SLOT_OBJECT, &offset, 8);
    return DM_OK;
}

dm_status dm_return_value(dm_call *call, dm_value value)
{
    return dm_return_value_at(call, 0, value);
}

dm_status dm_return_buffer_at(dm_call *call, int index, dm_buffer *buffer)
{
    uint64_t offset;
    dmi_part_value *place = NULL;
    DM_TRY(place_of(call, index, &place));
    DM_TRY(dmi_inside_take_buffer(call->worker, buffer, &offset));
    stage(call, place, DMI_SLOT_OBJECT, &offset, 8);
    return DM_OK;
}

dm_status dm_return_buffer(dm_call *call, dm_buffer *buffer)
{
    return dm_return_buffer_at(call, 0, buffer);
}

dm_status dm_fail(dm_call *call, const char *format, ...)
{
    char text[900];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return dmi_error(DM_ERR_TASK_FAILED, "%s: %s", dmi_call_name(call), text);
}

static void stage_failure(dm_call *call, dm_status status)
{
    enum { SENTENCE = 1000 }; /* what dm_last_error can say */
    const char *name = dmi_call_name(call), *said = dm_last_error();
    char text[1200];
    size_t length = strlen(name);
    bool named = strncmp(said, name, length) == 0 && said[length] == ':';
    if (named || strlen(said) + length > SENTENCE) /* names of those it passed must not push out what happened */
        snprintf(text, sizeof text, "%s", said);
    else
        snprintf(text, sizeof text, "%s: %s", name, *said ? said : dm_strerror(status));
    uint64_t payload[2] = {0, status};
    payload[0] = dmi_error_object(call->worker->heap, &call->worker->own, status, text);
    if (payload[0] == 0) { /* beyond what its heap was granted so far, perhaps */
        uint64_t room;
        if (dmi_worker_room(call->worker, sizeof(dmi_object) + strlen(text) + 1, &room) == DM_OK) {
            dmi_worker_free(call->worker, room);
            payload[0] = dmi_error_object(call->worker->heap, &call->worker->own, status, text);
        }
    }
    stage(call, &call->staged, DMI_SLOT_ERROR, payload, sizeof payload);
}

/* The table that the slot names (DMI_SLOT_PARTS); what was not returned is nil. */
static dm_status stage_parts(dm_call *call)
{
    dmi_part_value *last = NULL;
    DM_TRY(place_of(call, (int)call->returns - 1, &last));
    for (uint32_t i = 0; i < call->returns; i++)
        if (call->parts[i].kind == 0)
            stage_small(call, &call->parts[i], &(dm_value){.kind = DM_NIL});
    uint64_t told[2] = {0, call->returns};
    size_t bytes = call->returns * sizeof *call->parts;
    DM_TRY(dmi_worker_room(call->worker, bytes, &told[0]));
    dmi_shared_copy(call->worker->own.rw + told[0], call->parts, bytes);
    stage(call, &call->staged, DMI_SLOT_PARTS, told, sizeof told);
    return DM_OK;
}

/* They are the driver's by now, or, if the task failed, nobody's. */
static void end_parts(dm_call *call, bool failed)
{
    for (uint32_t i = 0; i < call->returns && failed && call->parts; i++)
        unstage(call, &call->parts[i]);
    free(call->parts);
}

/* Publishing the word is the completion of the task: law 2 of runtime/layout.h. */
static void publish(dm_call *call)
{
    if (call->staged.kind == 0)
        stage_at_once(&call->staged, &(dm_value){.kind = DM_NIL});
    dmi_shared_copy(call->slot->payload, call->staged.payload, sizeof call->staged.payload);
    dmi_word_publish(&call->slot->word, dmi_slot_word(call->serial, (dmi_slot_kind)call->staged.kind,
                                                      call->staged.bytes));
}

/* A failure that may be tried again is nobody's value: the driver decides. */
static void hand_back(const dm_call *call)
{
    uint64_t words[3] = {call->index};
    memcpy(&words[1], call->staged.payload, 16);
    dmi_message message = {.kind = DMI_MSG_FAILED};
    memcpy(message.args, words, sizeof words);
    dmi_worker_post(call->worker, &message);
    dmi_worker_ring(call->worker);
}

/* ---- running ---- */

static dm_status run_body(dm_call *call)
{
    if (!call->all_plain)
        DM_TRY(check_inputs(call));
    dmi_error_clear();
    DM_TRY(call->function->body(call));
    if (call->read < call->count && !call->counted)
        return dmi_error(DM_ERR_ARG_SURPLUS, "%s: it was given %u arguments and read %u",
                         call->function->name, call->count, call->read);
    return DM_OK;
}

static dmi_outcome end_call(dm_call *call, dm_status status)
{
    dmi_worker *worker = call->worker;
    dmi_outcome outcome = DMI_RAN;
    if (status == DM_OK && is_multiple(call))
        status = stage_parts(call);
    if (status != DM_OK) {
        stage_failure(call, status);
        outcome = call->gives_way || (call->record->flags & DMI_HANDS_BACK) ? DMI_HANDED_BACK : DMI_RAN;
    }
    if (outcome == DMI_RAN)
        publish(call);
    else
        hand_back(call);
    if (is_multiple(call))
        end_parts(call, status != DM_OK);
    if (call->items && call->items != call->few)
        free(call->items);
    worker->call = call->outer;
    if (worker->holdings_first != 0)
        dmi_inside_end_task(worker, worker->depth);
    worker->depth--;
    return outcome;
}

/* It was cancelled while it was on its way to us: law 7 of runtime/layout.h. */
static inline dm_status may_begin(dm_call *call)
{
    if (__builtin_expect(dmi_word_peek(&call->worker->down->asks) == 0, 1) || !dm_cancelled(call))
        return DM_OK;
    return dmi_error(DM_ERR_CANCELLED, "it was cancelled before it began");
}

/* `status`: DM_OK, or why it is not run at all. */
static inline dmi_outcome run(dmi_worker *worker, uint32_t index, dm_status status)
{
    const dmi_record *record = &worker->records[index];
    uint64_t where = dmi_word_peek(&record->where);
    dm_call call;
    call.worker = worker;
    call.outer = worker->call;
    call.record = record;
    call.function = dmi_registry_at(record->function);
    dmi_ahead_reach(&worker->slots_ahead, (dmi_where_position(where) + 1) * sizeof *call.slot);
    call.slot = &worker->slots[dmi_where_position(where)];
    call.serial = record->serial;
    call.index = index;
    call.count = record->arg_count;
    call.returns = record->flags / DMI_RETURNS;
    call.parts = NULL;
    call.staged = (dmi_part_value){0}; /* all of it goes into the slot */
    call.counted = false;
    call.all_plain = true;
    call.gives_way = false;
    call.read = 0;
    call.items = NULL;
    if (status == DM_OK)
        status = may_begin(&call);
    if (status == DM_OK && call.count > 0) {
        status = decode(&call);
        if (status == DM_OK && !inputs_are_there(&call)) {
            if (call.items != call.few)
                free(call.items);
            return DMI_UNRUN;
        }
    }
    worker->call = &call;
    worker->depth++;
    if (status == DM_OK)
        status = run_body(&call);
    return end_call(&call, status);
}

dmi_outcome dmi_call_run(dmi_worker *worker, uint32_t index)
{
    return run(worker, index, DM_OK);
}

dmi_outcome dmi_call_refuse(dmi_worker *worker, uint32_t index, dm_status why)
{
    return run(worker, index, why);
}
