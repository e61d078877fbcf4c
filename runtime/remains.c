/*
 * remains.c - looks through the table for what lives in a dead worker's segment, and punches the rest.
 *
 * A look through the table is as long as the table; but deaths are rare, and it is not looked through when
 * nothing lives there.
 */
#include "runtime/remains.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "objectstore/backing.h"
#include "objectstore/object.h"
#include "runtime/lane.h"
#include "runtime/task.h"

typedef struct range {
    uint64_t from, to;
} range;

typedef struct ranges {
    range *at;
    size_t count, room;
} ranges;

static uint64_t down(uint64_t bytes)
{
    return bytes / DMI_PAGE * DMI_PAGE;
}

static uint64_t up(uint64_t bytes)
{
    return down(bytes + DMI_PAGE - 1);
}

/* How many bytes were given back. */
static uint64_t punch(const dmi_seat *seat, uint64_t from, uint64_t to)
{
    if (from >= to)
        return 0;
    int failed;
    do {
        failed = fallocate(seat->memory.rw_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
                           (off_t)(to - from));
    } while (failed && errno == EINTR);
    return failed ? 0 : to - from;
}

/* The bytes of the object at an offset; empty if there is none. */
static range extent_of(const dmi_seat *seat, uint64_t offset)
{
    const dmi_object *object = dmi_object_at(seat->memory.ro, seat->memory.bytes, offset);
    return object ? (range){offset, offset + sizeof *object + object->bytes + 1} : (range){0, 0};
}

/* Where in the segment a value's object is; 0 if it is none, or elsewhere. */
static uint64_t object_offset(dmi_session *session, uint32_t index, uint32_t segment)
{
    uint64_t where = dmi_word_peek(&dmi_record_at(session, index)->where), offset = 0;
    if (dmi_task_at(session, index)->state != DMI_TASK_DONE || dmi_where_segment(where) != segment)
        return 0;
    if (dmi_where_place(where) == DMI_OBJECT)
        return dmi_where_position(where);
    if (dmi_where_place(where) != DMI_SLOT)
        return 0;
    const dmi_slot *slot = dmi_lane_slot(session, segment, dmi_where_position(where));
    dmi_slot_kind kind = dmi_slot_kind_of(dmi_word_load(&slot->word));
    if (kind == DMI_SLOT_OBJECT || kind == DMI_SLOT_ERROR)
        memcpy(&offset, slot->payload, 8);
    return offset;
}

static bool note(ranges *all, range found)
{
    if (all->count == all->room) {
        size_t room = all->room ? 2 * all->room : 64;
        range *grown = realloc(all->at, room * sizeof *grown);
        if (grown == NULL)
            return false;
        all->at = grown;
        all->room = room;
    }
    all->at[all->count++] = found;
    return true;
}

static bool collect(dmi_session *session, uint32_t segment, ranges *all)
{
    const dmi_seat *seat = &session->seats[segment];
    for (uint32_t i = 0; i < session->task_high; i++) {
        uint64_t offset = object_offset(session, i, segment);
        range found = offset ? extent_of(seat, offset) : (range){0, 0};
        if (found.to != 0 && !note(all, found))
            return false;
    }
    return true;
}

static int by_offset(const void *a, const void *b)
{
    const range *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

void dmi_orphan_shrink(dmi_session *session, uint32_t segment)
{
    dmi_seat *seat = &session->seats[segment];
    ranges all = {0};
    if (collect(session, segment, &all)) {
        uint64_t at = session->head->up_heap_at, kept = 0;
        if (all.count != 0)
            qsort(all.at, all.count, sizeof *all.at, by_offset);
        for (size_t i = 0; i < all.count; i++) {
            uint64_t from = down(all.at[i].from) > at ? down(all.at[i].from) : at, to = up(all.at[i].to);
            if (to <= at)
                continue; /* within the one before: its writer went wild */
            punch(seat, at, from);
            kept += to - from;
            at = to;
        }
        punch(seat, at, down(seat->memory.bytes));
        seat->orphan_bytes = kept < seat->orphan_bytes ? kept : seat->orphan_bytes;
    }
    free(all.at);
}

void dmi_orphan_punch(dmi_seat *seat, uint64_t offset)
{
    range dead = extent_of(seat, offset);
    uint64_t bytes = dead.to ? punch(seat, up(dead.from), down(dead.to)) : 0;
    seat->orphan_bytes -= bytes < seat->orphan_bytes ? bytes : seat->orphan_bytes;
}
