/*
 * lineage.c - keeping arguments of finished tasks, and recipes of what they name.
 *
 * Chains of recipes may be long, and end at once: no recursion.
 */
#include "runtime/lineage.h"

#include <string.h>

#include "runtime/extras.h"
#include "runtime/lane.h"
#include "runtime/value.h"
#include "runtime/wire.h"

bool dmi_lineage_each(dmi_session *session, uint32_t index, dmi_lineage_visit *visit, void *context)
{
    size_t bytes;
    const uint8_t *at = dmi_task_args(session, index, &bytes), *end = at + bytes;
    uint32_t count = dmi_record_at(session, index)->arg_count;
    uint64_t refword;
    dmi_item other;
    for (uint32_t i = 0; i < count; i++) {
        if (dmi_wire_next_ref(&at, end, &refword)) {
            if (!visit(session, refword, i, context))
                return false;
        } else if (!dmi_wire_next(&at, end, &other)) {
            break;
        }
    }
    return true;
}

static uint64_t blob_bytes(dmi_session *session, uint32_t index)
{
    const dmi_record *record = dmi_record_at(session, index);
    return record->flags & DMI_BLOB ? record->blob.bytes : 0;
}

void dmi_lineage_free_blob(dmi_session *session, uint32_t index)
{
    dmi_record *record = dmi_record_at(session, index);
    if (!(record->flags & DMI_BLOB))
        return;
    dmi_free_object(session, record->blob.segment, record->blob.offset);
    DMI_STEP();
    record->flags &= (uint16_t)~DMI_BLOB;
}

/* ---- heirs ---- */

static bool inherit(dmi_session *session, uint64_t refword, uint32_t argument, void *context)
{
    dmi_extra *extra = dmi_extra_make(session, dmi_refword_index(refword));
    uint32_t *told = context;
    (void)argument;
    if (extra == NULL)
        return false;
    extra->heirs++;
    ++*told;
    return true;
}

/* One heir less. What nobody needs any more is listed. */
static void disinherit_one(dmi_session *session, uint64_t refword)
{
    uint32_t index = dmi_refword_index(refword);
    if (!dmi_lineage_is_known(session, refword))
        return;
    dmi_task *task = dmi_task_at(session, index);
    dmi_extra *extra = dmi_extra_of(session, index);
    if (--extra->heirs != 0 || task->state != DMI_TASK_RECIPE)
        return;
    task->next = session->fading;
    session->fading = index + 1;
}

static bool disinherit(dmi_session *session, uint64_t refword, uint32_t argument, void *context)
{
    (void)argument;
    (void)context;
    disinherit_one(session, refword);
    return true;
}

static bool disinherit_some(dmi_session *session, uint64_t refword, uint32_t argument, void *context)
{
    uint32_t *left = context;
    (void)argument;
    if (*left == 0)
        return false;
    --*left;
    disinherit_one(session, refword);
    return true;
}

/* ---- recipes end ---- */

static void unkeep(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    if (!(task->flags & DMI_TASK_LINEAGE))
        return;
    task->flags &= (uint8_t)~DMI_TASK_LINEAGE;
    session->lineage_bytes -= blob_bytes(session, index);
    if (task->flags & DMI_TASK_HAS_REFS)
        dmi_lineage_each(session, index, disinherit, NULL);
}

static void uncount(dmi_session *session)
{
    session->recipes--;
    session->lineage_bytes -= DMI_RECIPE_BYTES;
    session->counts.refs++;
}

/* Those that nobody needs any more, and what only they had been made from. */
static void fade(dmi_session *session)
{
    while (session->fading != 0) {
        uint32_t index = session->fading - 1;
        session->fading = dmi_task_at(session, index)->next;
        unkeep(session, index);
        dmi_lineage_free_blob(session, index);
        uncount(session);
        dmi_extra_drop(session, index);
        dmi_task_free_entry(session, index);
    }
}

/* ---- keeping ---- */

/* Can it leave memory, or be what such a thing was made from without being small? */
static bool is_worth_it(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    return task->bytes != 0 || task->contains != 0 || dmi_record_at(session, index)->flags >= DMI_RETURNS;
}

bool dmi_lineage_keep(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    uint64_t bytes = blob_bytes(session, index);
    uint32_t told = 0;
    if (!is_worth_it(session, index) || bytes > session->settings.lineage_bytes - session->lineage_bytes)
        return false;
    if ((task->flags & DMI_TASK_HAS_REFS) && !dmi_lineage_each(session, index, inherit, &told)) {
        dmi_lineage_each(session, index, disinherit_some, &told);
        return false;
    }
    session->lineage_bytes += bytes;
    task->flags |= DMI_TASK_LINEAGE;
    return true;
}

void dmi_lineage_drop(dmi_session *session, uint32_t index)
{
    if (!(dmi_task_at(session, index)->flags & DMI_TASK_LINEAGE))
        return;
    unkeep(session, index);
    dmi_lineage_free_blob(session, index);
    fade(session);
}

/* ---- recipes ---- */

/* A small value comes home from its slot: there it would hold on to the segment of a worker. */
static void bring_home(dmi_session *session, uint32_t index)
{
    dmi_record *record = dmi_record_at(session, index);
    uint64_t where = dmi_word_peek(&record->where);
    uint8_t wire[DMI_SLOT_PAYLOAD];
    if (dmi_where_place(where) == DMI_HERE)
        return;
    const dmi_slot *slot = dmi_lane_slot(session, dmi_where_segment(where), dmi_where_position(where));
    memcpy(wire, slot->payload, sizeof wire);
    uint64_t bytes = dmi_word_load(&slot->word) & 0xff;
    dmi_lane_free_slot_value(session, dmi_where_segment(where), dmi_where_position(where));
    dmi_task_at(session, index)->flags &= (uint8_t)~DMI_TASK_HAS_REFS; /* its arguments were there */
    dmi_task_is_here(session, index, wire, bytes < sizeof wire ? bytes : sizeof wire);
}

static bool has_room(const dmi_session *session, bool is_of_use)
{
    uint64_t most = is_of_use ? session->settings.lineage_bytes : session->settings.lineage_bytes / 2;
    return session->lineage_bytes + DMI_RECIPE_BYTES <= most;
}

bool dmi_lineage_outlives(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    const dmi_extra *extra = dmi_extra_of(session, index);
    if (extra == NULL || extra->heirs == 0)
        return false;
    bool is_small = task->bytes == 0 && task->contains == 0 && dmi_is_plain(dmi_record_at(session, index));
    if (is_small) {
        bring_home(session, index);
    } else {
        dmi_task_free_value(session, index);
        dmi_word_publish(&dmi_record_at(session, index)->where, dmi_where(DMI_NOWHERE, 0, 0));
        task->bytes = 0;
    }
    /* What ended with its value may have been all that needed it. */
    if (extra->heirs == 0 || !has_room(session, is_small || (task->flags & DMI_TASK_LINEAGE)))
        return false;
    task->state = DMI_TASK_RECIPE;
    task->walk = 0;
    session->recipes++;
    session->lineage_bytes += DMI_RECIPE_BYTES;
    session->counts.refs--;
    return true;
}

void dmi_lineage_revive(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    assert(task->state == DMI_TASK_RECIPE);
    uncount(session);
    task->state = DMI_TASK_DONE;
    task->read_at = 0;
    task->position = 0;
}

void dmi_lineage_resume(dmi_session *session, uint32_t index)
{
    unkeep(session, index);
    assert(session->fading == 0);
}
