/*
 * parts.c - the parts of a task, from its submission to its end.
 *
 * The parts of an unfinished task are a list, in their order, by task.next; it begins at the task's `contains`.
 */
#include "runtime/parts.h"

#include <stdio.h>
#include <string.h>

#include "objectstore/object.h"
#include "runtime/lane.h"
#include "runtime/lists.h"
#include "runtime/task.h"
#include "runtime/value.h"

/* ---- begin ---- */

dm_status dmi_parts_check(size_t n)
{
    if (n <= DMI_RETURNS_MOST)
        return DM_OK;
    return dmi_error(DM_ERR_INVALID, "a task of %zu values cannot be: at most %d", n, DMI_RETURNS_MOST);
}

/* Behind the ref to its task, which is its only argument, a part has its number. */
static bool new_part(dmi_session *session, uint32_t maker, uint32_t number, uint32_t *part)
{
    if (!dmi_task_new(session, part))
        return false;
    dmi_record *record = dmi_record_at(session, *part);
    uint8_t wire[DMI_RECORD_ARGS] = {0};
    dmi_out out = {wire, wire, wire + sizeof wire};
    dmi_wire_ref(&out, dmi_task_refword(session, maker));
    dmi_wire_uint(&out, number);
    dmi_shared_copy(record->args, wire, sizeof wire);
    DMI_STEP();
    record->function = dmi_record_at(session, maker)->function;
    record->flags = DMI_PART;
    record->arg_count = 1;
    dmi_task_pin_inputs(session, *part);
    return true;
}

static uint32_t number_of(dmi_session *session, uint32_t part)
{
    const uint8_t *at = dmi_record_at(session, part)->args, *end = at + DMI_RECORD_ARGS;
    dmi_item item = {.u = 0};
    bool read = dmi_wire_next(&at, end, &item) && dmi_wire_next(&at, end, &item);
    assert(read); /* the driver wrote it */
    return read ? (uint32_t)item.u : 0;
}

/* It waits no more: of its maker nothing is needed any longer. */
static void let_go(dmi_session *session, uint32_t maker, uint32_t part)
{
    dmi_task_at(session, part)->flags &= (uint8_t)~DMI_TASK_HAS_REFS;
    dmi_task_at(session, part)->next = 0;
    dmi_task_unpin(session, maker);
}

static uint32_t next_of(dmi_session *session, uint32_t link)
{
    return dmi_task_at(session, link - 1)->next;
}

/* Ends without a value. */
static void drop_all(dmi_session *session, uint32_t maker)
{
    uint32_t link = dmi_task_at(session, maker)->contains, next;
    dmi_task_at(session, maker)->contains = 0;
    for (; link != 0; link = next) {
        next = next_of(session, link);
        let_go(session, maker, link - 1);
        dmi_task_finish(session, link - 1);
    }
}

bool dmi_parts_begin(dmi_session *session, uint32_t task, uint32_t n, uint32_t *parts)
{
    assert(n > 0 && n <= DMI_RETURNS_MOST);
    uint32_t *end = &dmi_task_at(session, task)->contains;
    for (uint32_t i = 0; i < n; i++) {
        if (!new_part(session, task, i, &parts[i])) {
            for (uint32_t made = 0; made < i; made++)
                dmi_task_drop(session, parts[made]);
            drop_all(session, task);
            return false;
        }
        *end = parts[i] + 1;
        end = &dmi_task_at(session, parts[i])->next;
    }
    DMI_STEP();
    dmi_record_at(session, task)->flags |= (uint16_t)(n * DMI_RETURNS);
    return true;
}

/* ---- settling ---- */

typedef struct table {
    const dmi_part_value *at;
    uint32_t segment, count;
} table;

/* What the worker says of the parts. It may have changed since, or be nonsense. */
static bool find_table(dmi_session *session, uint32_t task, table *found)
{
    const dmi_record *record = dmi_record_at(session, task);
    uint64_t where = dmi_word_peek(&record->where), told[2];
    if (dmi_where_place(where) != DMI_SLOT)
        return false;
    const dmi_slot *slot = dmi_lane_slot(session, dmi_where_segment(where), dmi_where_position(where));
    const dmi_segment *memory = &session->seats[dmi_where_segment(where)].memory;
    memcpy(told, slot->payload, sizeof told);
    *found = (table){NULL, dmi_where_segment(where), record->flags / DMI_RETURNS};
    if (dmi_slot_kind_of(dmi_word_load(&slot->word)) != DMI_SLOT_PARTS || told[1] != found->count ||
        told[0] % sizeof(uint64_t) != 0 ||
        !dmi_segment_holds(memory, told[0], found->count * sizeof *found->at))
        return false;
    found->at = (const dmi_part_value *)(memory->ro + told[0]);
    return true;
}

static bool become_object(dmi_session *session, uint32_t part, uint32_t segment, uint64_t offset)
{
    dmi_found found;
    if (!dmi_find_object(segment, offset, &found) || found.text)
        return false;
    dmi_task_is_object(session, part, segment, offset, dmi_found_bytes(&found));
    dmi_list_adopt(session, part, &found);
    return true;
}

static bool become_ref(dmi_session *session, uint32_t part, uint64_t refword)
{
    uint32_t inner;
    uint8_t wire[DMI_RECORD_ARGS];
    dmi_out out = {wire, wire, wire + sizeof wire};
    if (!dmi_refword_record(session, refword, &inner))
        return false;
    dmi_wire_ref(&out, dmi_task_refword(session, inner));
    dmi_task_pin(session, inner);
    dmi_task_at(session, part)->contains = inner + 1;
    dmi_task_is_here(session, part, wire, (size_t)(out.at - wire));
    return true;
}

static bool become_small(dmi_session *session, uint32_t part, const dmi_part_value *value)
{
    if (value->bytes > sizeof value->payload)
        return false;
    dmi_task_is_here(session, part, value->payload, value->bytes);
    return true;
}

static bool become(dmi_session *session, uint32_t part, uint32_t segment, const dmi_part_value *value)
{
    uint64_t first;
    memcpy(&first, value->payload, sizeof first);
    switch (value->kind) {
    case DMI_SLOT_INLINE:
        return become_small(session, part, value);
    case DMI_SLOT_OBJECT:
        return become_object(session, part, segment, first);
    case DMI_SLOT_REF:
        return become_ref(session, part, first);
    default:
        return false;
    }
}

/* Nobody is there to take it. */
static void free_value(dmi_session *session, uint32_t segment, const dmi_part_value *value)
{
    uint64_t offset;
    memcpy(&offset, value->payload, sizeof offset);
    if (value->kind != DMI_SLOT_OBJECT)
        return;
    session->seats[segment].live++; /* for dmi_free_object, which counts an object */
    dmi_free_object(session, segment, offset);
}

/* Why there are no values. */
static dm_status why(dmi_session *session, uint32_t task, char *text, size_t room)
{
    dmi_found found = {.text = NULL};
    if (dmi_find(dmi_record_at(session, task), &found) == DMI_BROKEN) {
        snprintf(text, room, "%s", found.text);
        return found.status;
    }
    dmi_lane_condemn_maker(session, task);
    snprintf(text, room, "%s: its values cannot be read", dmi_task_name(session, task));
    return DM_ERR_WORKER_CORRUPT;
}

/* A part that waited is done; its maker is needed again only if an object is lost. */
static void settle(dmi_session *session, uint32_t maker, uint32_t part)
{
    if (dmi_task_at(session, part)->bytes == 0)
        let_go(session, maker, part);
    dmi_task_at(session, part)->next = 0;
    dmi_task_finish(session, part);
}

static void settle_all(dmi_session *session, uint32_t task, const table *from, uint32_t link)
{
    for (uint32_t i = 0; i < from->count; i++) {
        dmi_part_value value = from->at[i];
        uint32_t part = link - 1;
        if (link == 0 || number_of(session, part) != i) {
            free_value(session, from->segment, &value);
            continue;
        }
        link = next_of(session, link);
        if (!become(session, part, from->segment, &value))
            dmi_task_is_failure(session, part, DM_ERR_WORKER_CORRUPT, "a value of several cannot be read");
        settle(session, task, part);
    }
    assert(link == 0);
}

static void fail_all(dmi_session *session, uint32_t task, uint32_t link)
{
    char text[1024];
    dm_status status = link ? why(session, task, text, sizeof text) : DM_OK;
    while (link != 0) {
        uint32_t part = link - 1;
        link = next_of(session, link);
        dmi_task_is_failure(session, part, status, text);
        settle(session, task, part);
    }
}

void dmi_parts_settle(dmi_session *session, uint32_t task)
{
    table from;
    uint32_t link = dmi_task_at(session, task)->contains;
    dmi_task_at(session, task)->contains = 0;
    dmi_task_pin(session, task); /* its parts let go of it */
    if (find_table(session, task, &from))
        settle_all(session, task, &from, link);
    else
        fail_all(session, task, link);
    dmi_task_at(session, task)->pins--; /* whoever calls this looks whether it is the last */
}

/* ---- once more ---- */

void dmi_parts_rejoin(dmi_session *session, uint32_t part)
{
    const uint8_t *at = dmi_record_at(session, part)->args;
    uint64_t refword = 0;
    bool read = dmi_wire_next_ref(&at, at + DMI_RECORD_ARGS, &refword);
    assert(read);
    if (!read)
        return;
    uint32_t *link = &dmi_task_at(session, dmi_refword_index(refword))->contains, number = number_of(session, part);
    while (*link != 0 && number_of(session, *link - 1) < number)
        link = &dmi_task_at(session, *link - 1)->next;
    dmi_task_at(session, part)->next = *link;
    *link = part + 1;
}

/* ---- orphans ---- */

uint32_t dmi_part_maker(dmi_session *session, uint32_t part)
{
    const dmi_record *record = dmi_record_at(session, part);
    const uint8_t *at = record->args;
    dmi_item item;
    if (!(record->flags & DMI_PART) || dmi_task_at(session, part)->state != DMI_TASK_WAITING ||
        !dmi_wire_next(&at, at + sizeof record->args, &item))
        return UINT32_MAX;
    return dmi_refword_index(item.ref);
}

bool dmi_parts_are_wanted(dmi_session *session, uint32_t task)
{
    for (uint32_t link = dmi_task_at(session, task)->contains; link != 0; link = next_of(session, link))
        if (dmi_task_at(session, link - 1)->holds > 1 || dmi_task_at(session, link - 1)->pins != 0)
            return true;
    return false;
}

bool dmi_parts_forsake(dmi_session *session, uint32_t task)
{
    for (uint32_t link = dmi_task_at(session, task)->contains; link != 0; link = next_of(session, link))
        if (!dmi_is_orphan(dmi_task_at(session, link - 1)))
            return false;
    dmi_task_at(session, task)->orphaned = 1;
    drop_all(session, task);
    return true;
}
