/*
 * requests.c - what a worker asks of the driver by messages: submitting, holding, waiting, room.
 *
 * A message is another process's word: everything in it is checked, and nonsense condemns its sender.
 * Messages arrive in the order posted, and completions in between are taken first (message.at), so a
 * hold arrives before the end of the task whose argument it keeps alive.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/again.h"
#include "runtime/cancel.h"
#include "runtime/dispatch.h"
#include "runtime/extras.h"
#include "runtime/lane.h"
#include "runtime/lists.h"
#include "runtime/parts.h"
#include "runtime/registry.h"
#include "runtime/residence.h"
#include "runtime/room.h"
#include "runtime/task.h"
#include "runtime/value.h"

/* ---- cells ---- */

static bool grow_cells(dmi_lane *lane, uint32_t cell)
{
    uint32_t room = lane->cell_room ? lane->cell_room : 256;
    while (room <= cell)
        room *= 2;
    dmi_cell *cells = realloc(lane->cells, room * sizeof *cells);
    if (cells == NULL)
        return false;
    lane->cells = cells;
    memset(cells + lane->cell_room, 0, (room - lane->cell_room) * sizeof *cells);
    lane->cell_room = room;
    return true;
}

static bool cell_is_free(dmi_lane *lane, uint32_t cell)
{
    if (cell >= DMI_CELLS || (cell >= lane->cell_room && !grow_cells(lane, cell)))
        return false;
    return lane->cells[cell].record == 0;
}

static void fill_cell(dmi_lane *lane, const dmi_message *message, uint32_t index)
{
    lane->cells[message->cell] = (dmi_cell){.record = index + 1, .seq = message->seq};
    dmi_word_publish(&lane->down->cells[message->cell], (uint64_t)message->seq << 32 | (index + 1));
}

void dmi_lane_drop_cells(dmi_session *session, dmi_lane *lane)
{
    for (uint32_t i = 0; i < lane->cell_room; i++) {
        uint32_t record = lane->cells[i].record;
        lane->cells[i] = (dmi_cell){0};
        if (record != 0)
            dmi_task_drop(session, record - 1);
    }
}

bool dmi_refword_record(dmi_session *session, uint64_t refword, uint32_t *index)
{
    *index = dmi_refword_index(refword);
    if (dmi_refword_kind(refword) == DMI_REF_RECORD)
        return *index < session->task_high &&
               dmi_task_is_alive(dmi_task_at(session, *index));
    uint32_t cell = *index, number = dmi_refword_lane(refword);
    if (dmi_refword_kind(refword) != DMI_REF_CELL || number >= session->lane_count)
        return false;
    const dmi_lane *lane = &session->lanes[number];
    if (cell >= lane->cell_room || lane->cells[cell].record == 0 ||
        lane->cells[cell].seq != dmi_refword_seq(refword))
        return false;
    *index = lane->cells[cell].record - 1;
    return true;
}

/* ---- submitting ---- */

/* Where a message's arguments lie; NULL if they cannot be there. */
static const uint8_t *message_args(dmi_session *session, dmi_lane *lane, const dmi_message *message,
                                   size_t *bytes)
{
    if (!message->blob) {
        *bytes = DMI_RECORD_ARGS;
        return message->args;
    }
    dmi_blob blob;
    memcpy(&blob, message->args, sizeof blob);
    const dmi_segment *memory = &session->seats[lane->segment].memory;
    *bytes = blob.bytes;
    bool inside = blob.segment == lane->segment && blob.bytes <= session->settings.store_bytes &&
                  dmi_segment_holds(memory, blob.offset, blob.bytes);
    return inside ? (const uint8_t *)memory->ro + blob.offset : NULL;
}

/* Every ref becomes the record it names. */
static bool settle_refs(dmi_session *session, uint8_t *args, size_t bytes, uint32_t count)
{
    const uint8_t *at = args, *end = args + bytes;
    dmi_item item;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t input;
        if (!dmi_wire_next(&at, end, &item))
            return false;
        if (item.kind != DM_REF)
            continue;
        if (!dmi_refword_record(session, item.ref, &input))
            return false;
        dmi_wire_set_ref(args + ((const uint8_t *)item.data - args), dmi_task_refword(session, input));
    }
    return true;
}

/* Copy arguments into the record, or to D if they are many. */
static bool take_args(dmi_session *session, uint32_t index, const uint8_t *args, size_t bytes,
                      uint32_t count)
{
    dmi_record *record = dmi_record_at(session, index);
    uint8_t *to = record->args;
    if (bytes > DMI_RECORD_ARGS) {
        uint64_t offset = dmi_room_for_driver(session, bytes);
        if (offset == 0)
            return false;
        to = (uint8_t *)session->seats[0].memory.rw + offset;
        record->blob = (dmi_blob){.offset = offset, .bytes = (uint32_t)bytes};
        record->flags |= DMI_BLOB;
    }
    dmi_shared_copy(to, args, bytes);
    record->arg_count = count;
    return true;
}

static void free_message_blob(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    if (!message->blob)
        return;
    dmi_blob blob;
    memcpy(&blob, message->args, sizeof blob);
    session->seats[lane->segment].live++;
    dmi_free_object(session, lane->segment, blob.offset);
}

/* The task that submits is running there. */
static bool has_maker(dmi_session *session, const dmi_lane *lane, const dmi_message *message)
{
    if (message->maker == 0)
        return true;
    if (message->maker > session->task_high)
        return false;
    const dmi_task *maker = dmi_task_at(session, message->maker - 1);
    return maker->state == DMI_TASK_SENT && maker->lane == lane->index;
}

/* Should the worker die before that task is done, nobody may want this one (runtime/orphans.c). */
static void note_maker(dmi_session *session, dmi_lane *lane, const dmi_message *message, uint32_t number)
{
    if (message->maker == 0)
        return;
    dmi_cell *cell = &lane->cells[number];
    cell->maker = message->maker - 1;
    cell->maker_serial = dmi_record_at(session, cell->maker)->serial;
}

/* What it wishes for. False: nobody can have asked for that. */
static bool wishes_of(const dmi_message *message, const uint8_t *args, size_t bytes, dmi_wishes *wishes)
{
    const char *name = message->named ? dmi_name_behind(args, bytes, message->arg_count) : NULL;
    const dm_task_options said = {.retry_on = message->retry_on,
                                  .cost_ns = (int64_t)message->cost_ns,
                                  .priority = message->priority,
                                  .cpus = message->cpus,
                                  .retries = message->retries,
                                  .limit_ms = message->limit_ms,
                                  .name = name};
    dmi_wishes_of(&said, wishes);
    return dmi_task_options_check(&said) == DM_OK && !message->named == !name;
}

static bool note_wishes(dmi_session *session, uint32_t index, const dmi_wishes *wishes)
{
    if (!wishes->retry_on && !wishes->cost_ns && !wishes->priority && wishes->cpus < 2 && !wishes->name)
        return true;
    DMI_STEP();
    dmi_record_at(session, index)->flags |= dmi_wishes_flags(wishes);
    return dmi_extra_note(session, index, wishes);
}

/* A submission as it was read: the cells for its values, and its arguments. */
typedef struct submitted {
    uint8_t *copy;         /* of both */
    const uint64_t *cells; /* seq << 32 | cell */
    uint8_t *args;
    size_t bytes;
    uint32_t n; /* cells */
    uint64_t one;
} submitted;

static bool are_free(dmi_lane *lane, const submitted *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (!cell_is_free(lane, (uint32_t)s->cells[i]))
            return false;
    return true;
}

/* False: nonsense. */
static bool read_submission(dmi_session *session, dmi_lane *lane, const dmi_message *message, submitted *s)
{
    size_t bytes, cells = message->returns * sizeof *s->cells;
    const uint8_t *args = message_args(session, lane, message, &bytes);
    *s = (submitted){.n = 1, .one = (uint64_t)message->seq << 32 | message->cell};
    s->cells = &s->one;
    if (args == NULL || bytes < cells || message->returns > DMI_RETURNS_MOST || (cells != 0 && !message->blob))
        return false;
    s->copy = malloc(bytes + 1);
    if (s->copy == NULL)
        return false;
    memcpy(s->copy, args, bytes);
    s->args = s->copy + cells;
    s->bytes = bytes - cells;
    if (cells != 0) {
        s->cells = (const uint64_t *)(const void *)s->copy;
        s->n = message->returns;
    }
    return dmi_registry_at(message->function) != NULL && are_free(lane, s) && has_maker(session, lane, message);
}

/* Its values get their cells. False: there is no place in the table. */
static bool fill_cells(dmi_session *session, dmi_lane *lane, const dmi_message *message, const submitted *s,
                       uint32_t index)
{
    uint32_t *parts = message->returns ? malloc(s->n * sizeof *parts) : NULL;
    if (message->returns && (parts == NULL || !dmi_parts_begin(session, index, s->n, parts))) {
        free(parts);
        return false;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        dmi_message cell = {.cell = (uint32_t)s->cells[i], .seq = (uint16_t)(s->cells[i] >> 32)};
        uint32_t value = parts ? parts[i] : index;
        if (!cell_is_free(lane, cell.cell)) { /* named twice: its sender has gone wild */
            dmi_task_drop(session, value);
            continue;
        }
        fill_cell(lane, &cell, value);
        note_maker(session, lane, message, cell.cell);
    }
    if (parts)
        dmi_task_drop(session, index); /* only its parts name it */
    free(parts);
    return true;
}

static bool submit(dmi_session *session, dmi_lane *lane, const dmi_message *message, const submitted *s)
{
    uint32_t index;
    dmi_wishes wishes;
    if (!settle_refs(session, s->args, s->bytes, message->arg_count) ||
        !wishes_of(message, s->args, s->bytes, &wishes) || !dmi_task_new(session, &index))
        return false;
    dmi_record_at(session, index)->function = message->function;
    if (!fill_cells(session, lane, message, s, index)) {
        dmi_task_free_entry(session, index);
        return false;
    }
    if (message->maker != 0)
        dmi_cancel_child(session, message->maker - 1, index);
    bool full = dmi_queue_is_full(session);
    bool room = !full && take_args(session, index, s->args, s->bytes, message->arg_count);
    dmi_task_submit(session, index, message->retries, message->limit_ms);
    if (full) {
        dmi_queue_full(session);
        dmi_task_fail(session, index, DM_ERR_QUEUE_FULL, "%s", dm_last_error());
    } else if (!room) {
        dmi_task_fail(session, index, DM_ERR_STORE_FULL, "no room for %zu bytes of arguments", s->bytes);
    } else if (!note_wishes(session, index, &wishes)) {
        dmi_task_fail(session, index, DM_ERR_NOMEM, "no memory for the options of a task");
    } else {
        dmi_task_pin_inputs(session, index);
        dmi_task_enter(session, index);
    }
    return true;
}

static bool heed_submit(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    submitted s;
    bool sane = read_submission(session, lane, message, &s) && submit(session, lane, message, &s);
    free(s.copy);
    free_message_blob(session, lane, message);
    return sane;
}

/* ---- the rest ---- */

static uint64_t word_of(const dmi_message *message)
{
    uint64_t word;
    memcpy(&word, message->args, 8);
    return word;
}

static bool heed_adopt(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    dmi_found found;
    uint32_t index;
    uint64_t offset = word_of(message);
    if (!cell_is_free(lane, message->cell) || !dmi_find_object(lane->segment, offset, &found) ||
        !dmi_task_new(session, &index))
        return false;
    DMI_STEP();
    dmi_record_at(session, index)->function = DMI_PUT_IN_TASK;
    dmi_task_is_object(session, index, lane->segment, offset, dmi_found_bytes(&found));
    dmi_list_adopt(session, index, &found);
    dmi_residence_enter(session, index);
    fill_cell(lane, message, index);
    return true;
}

static bool heed_hold(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    uint32_t index;
    if (!cell_is_free(lane, message->cell) ||
        !dmi_refword_record(session, word_of(message), &index))
        return false;
    dmi_task_hold(session, index);
    fill_cell(lane, message, index);
    return true;
}

/* The value of a record is a ref, and the worker wants that one. */
static bool heed_hold_inner(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    uint32_t index, inner;
    if (!cell_is_free(lane, message->cell) ||
        !dmi_refword_record(session, word_of(message), &index))
        return false;
    if (dmi_task_inner(session, index, &inner))
        dmi_task_hold(session, inner);
    else if (dmi_task_new(session, &inner))
        dmi_task_fail(session, inner, DM_ERR_BADREF, "the ref that %s returned names nothing",
                      dmi_task_name(session, index));
    else
        return false;
    fill_cell(lane, message, inner);
    return true;
}

/* The i-th ref of a list, or a failure in its place. */
static bool inner_of_list(dmi_session *session, uint32_t index, size_t i, uint32_t *inner)
{
    if (dmi_task_inner_at(session, index, i, inner)) {
        dmi_task_hold(session, *inner);
        return true;
    }
    if (!dmi_task_new(session, inner))
        return false;
    if (dmi_task_at(session, index)->contains == DMI_LIST_LOST)
        dmi_task_fail(session, *inner, DM_ERR_NOMEM, "there was no memory for the refs that %s returned",
                      dmi_task_name(session, index));
    else
        dmi_task_fail(session, *inner, DM_ERR_BADREF, "ref %zu of the list of %s names nothing", i,
                      dmi_task_name(session, index));
    return true;
}

/* The record whose inner refs a message asks for. */
static uint64_t outer_of(const dmi_message *message)
{
    uint64_t word;
    memcpy(&word, message->args + (message->kind == DMI_MSG_HOLD_INNERS ? sizeof(dmi_blob) : 0), sizeof word);
    return word;
}

static bool heed_hold_inners(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    size_t bytes;
    uint32_t index, inner;
    const uint8_t *cells = message_args(session, lane, message, &bytes);
    bool sane = message->blob && cells != NULL && dmi_refword_record(session, outer_of(message), &index);
    for (size_t i = 0; sane && i < bytes / sizeof(uint64_t); i++) {
        uint64_t word;
        memcpy(&word, cells + i * sizeof word, sizeof word);
        dmi_message cell = {.cell = (uint32_t)word, .seq = (uint16_t)(word >> 32)};
        sane = cell_is_free(lane, cell.cell) && inner_of_list(session, index, i, &inner);
        if (sane)
            fill_cell(lane, &cell, inner);
    }
    free_message_blob(session, lane, message);
    return sane;
}

bool dmi_lane_must_wait(dmi_session *session, const dmi_message *message)
{
    uint32_t index;
    if ((message->kind != DMI_MSG_HOLD_INNER && message->kind != DMI_MSG_HOLD_INNERS) ||
        !dmi_refword_record(session, outer_of(message), &index))
        return false;
    const dmi_task *task = dmi_task_at(session, index);
    return task->state == DMI_TASK_SENT && session->lanes[task->lane].reaping;
}

static bool heed_drop(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    if (message->cell >= lane->cell_room || lane->cells[message->cell].record == 0)
        return false;
    uint32_t index = lane->cells[message->cell].record - 1;
    lane->cells[message->cell] = (dmi_cell){0};
    dmi_task_drop(session, index);
    return true;
}

static bool heed_blocked(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    uint32_t index, seen;
    memcpy(&seen, message->args + 8, sizeof seen);
    lane->is_limited = message->args[12] != 0;
    if (!dmi_refword_record(session, word_of(message), &index))
        return false;
    if (!lane->blocked)
        session->blocked_lanes++;
    if (!lane->blocked || lane->blocked_on != index)
        lane->walk = 0;
    lane->blocked = true;
    lane->blocked_on = index;
    if (seen == lane->run_count)
        lane->run_now = 0; /* it has picked up what it was handed; else it will, and must not be
                              handed another before it has seen this one */
    dmi_lane_take_back(session, lane, 0);
    dmi_feed_blocked(session, lane);
    if (dmi_task_at(session, index)->state == DMI_TASK_DONE)
        dmi_lane_wake(lane);
    return true;
}

static bool heed_unblocked(dmi_session *session, dmi_lane *lane)
{
    if (lane->blocked)
        session->blocked_lanes--;
    lane->blocked = false;
    dmi_lane_wake(lane); /* it waits until this was heard */
    return true;
}

/* A task handed to a blocked worker: does it have it? */
static bool is_nested_here(dmi_session *session, const dmi_lane *lane, uint64_t index)
{
    if (index >= session->task_high)
        return false;
    const dmi_task *task = dmi_task_at(session, (uint32_t)index);
    return task->state == DMI_TASK_SENT && task->lane == lane->index &&
           (task->flags & DMI_TASK_NESTED);
}

static bool heed_unrun(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    uint64_t index = word_of(message);
    if (!is_nested_here(session, lane, index))
        return false;
    if (lane->run_now == index + 1)
        lane->run_now = 0;
    dmi_task_at(session, (uint32_t)index)->flags |= DMI_TASK_PATIENT;
    dmi_task_return(session, (uint32_t)index);
    return true;
}

static bool heed_ran(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    uint64_t index = word_of(message);
    if (!is_nested_here(session, lane, index) || !dmi_is_sent_here(session, lane, index))
        return false;
    if (lane->run_now == index + 1)
        lane->run_now = 0;
    dmi_task_complete(session, (uint32_t)index);
    dmi_feed_blocked(session, lane);
    return true;
}

static bool heed_bounced(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    uint64_t position = message->at;
    if (position != lane->reaped || position >= lane->published)
        return false;
    uint32_t link = lane->sent[position % DMI_RING];
    if (link == 0)
        return false;
    lane->sent[position % DMI_RING] = 0;
    dmi_word_prepare(&lane->down->ring[position % DMI_RING], DMI_VOID);
    dmi_task_at(session, link - 1)->flags |= DMI_TASK_PATIENT;
    dmi_task_return(session, link - 1);
    return true;
}

/* It waits for an object that is not in memory. */
static bool heed_fetch(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    uint32_t index;
    if (!dmi_refword_record(session, word_of(message), &index))
        return false;
    dmi_lane_end_fetch(session, lane);
    lane->fetching = index + 1;
    dmi_task_pin(session, index);
    dmi_task_at(session, index)->wanted++;
    dmi_residence_fetch(session, index, true);
    if (!dmi_is_away(session, index))
        dmi_lane_wake(lane);
    return true;
}

static bool heed_cancel(dmi_session *session, const dmi_message *message)
{
    uint32_t index;
    int64_t grace_ms;
    memcpy(&grace_ms, message->args + 8, sizeof grace_ms);
    if (!dmi_refword_record(session, word_of(message), &index) || grace_ms < DMI_GRACE_OF_SESSION)
        return false;
    dmi_cancel_soon(session, index, grace_ms);
    return true;
}

bool dmi_lane_heed(dmi_session *session, dmi_lane *lane, const dmi_message *message)
{
    switch ((dmi_message_kind)message->kind) {
    case DMI_MSG_SUBMIT:
        return heed_submit(session, lane, message);
    case DMI_MSG_ADOPT:
        return heed_adopt(session, lane, message);
    case DMI_MSG_HOLD:
        return heed_hold(session, lane, message);
    case DMI_MSG_HOLD_INNER:
        return heed_hold_inner(session, lane, message);
    case DMI_MSG_HOLD_INNERS:
        return heed_hold_inners(session, lane, message);
    case DMI_MSG_DROP:
        return heed_drop(session, lane, message);
    case DMI_MSG_BLOCKED:
        return heed_blocked(session, lane, message);
    case DMI_MSG_UNBLOCKED:
        return heed_unblocked(session, lane);
    case DMI_MSG_NEED:
        dmi_room_need(session, lane, word_of(message));
        return true;
    case DMI_MSG_BOUNCED:
        return heed_bounced(session, lane, message);
    case DMI_MSG_RAN:
        return heed_ran(session, lane, message);
    case DMI_MSG_UNRUN:
        return heed_unrun(session, lane, message);
    case DMI_MSG_TRIMMED:
        dmi_room_trimmed(session, lane);
        return true;
    case DMI_MSG_FETCH:
        return heed_fetch(session, lane, message);
    case DMI_MSG_FETCHED:
        dmi_lane_end_fetch(session, lane);
        return true;
    case DMI_MSG_CANCEL:
        return heed_cancel(session, message);
    case DMI_MSG_FAILED:
        return dmi_again_heed(session, lane, message);
    }
    return false;
}
