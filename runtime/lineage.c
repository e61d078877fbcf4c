/*
 * lineage.c - the arguments of finished tasks, kept so that a result which the disk lost can be made again.
 */
#include "runtime/lineage.h"
#include "runtime/lists.h"

#include "runtime/lane.h"
#include "runtime/task.h"
#include "runtime/wire.h"

void dmi_lineage_free_blob(dmi_session *session, uint32_t index)
{
    dmi_record *record = dmi_record_at(session, index);
    if (!(record->flags & DMI_BLOB))
        return;
    dmi_free_object(session, record->blob.segment, record->blob.offset);
    DMI_STEP();
    record->flags &= (uint16_t)~DMI_BLOB;
}

bool dmi_lineage_keep(dmi_session *session, uint32_t index)
{
    const dmi_record *record = dmi_record_at(session, index);
    uint64_t bytes = record->flags & DMI_BLOB ? record->blob.bytes : 0;
    if (dmi_task_at(session, index)->bytes == 0 || (record->flags & DMI_PART) ||
        bytes > session->settings.lineage_bytes - session->lineage_bytes)
        return false;
    session->lineage_bytes += bytes;
    dmi_task_at(session, index)->flags |= DMI_TASK_LINEAGE;
    return true;
}

void dmi_lineage_drop(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    const dmi_record *record = dmi_record_at(session, index);
    if (!(task->flags & DMI_TASK_LINEAGE))
        return;
    task->flags &= (uint8_t)~DMI_TASK_LINEAGE;
    session->lineage_bytes -= record->flags & DMI_BLOB ? record->blob.bytes : 0;
    dmi_lineage_free_blob(session, index);
}

static void note_if_gone(dmi_session *session, uint32_t input, uint32_t index)
{
    (void)index;
    if (dmi_task_at(session, input)->state == DMI_TASK_FREE)
        session->missing++;
}

/* Are the values that its arguments name still there, and the same? */
static bool inputs_remain(dmi_session *session, uint32_t index)
{
    size_t bytes;
    const uint8_t *at = dmi_task_args(session, index, &bytes), *end = at + bytes;
    dmi_item item;
    for (uint32_t i = dmi_record_at(session, index)->arg_count; i > 0; i--) {
        if (!dmi_wire_next(&at, end, &item))
            return false;
        if (item.kind == DM_REF && dmi_task_refword(session, dmi_refword_index(item.ref)) != item.ref)
            return false;
    }
    session->missing = 0;
    dmi_task_each_input(session, index, note_if_gone);
    return session->missing == 0;
}

/* As if it had just been submitted, with one attempt less. */
static void reset(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    dmi_record *record = dmi_record_at(session, index);
    dmi_contained_end(session, task->contains);
    task->contains = 0;
    task->flags &= DMI_TASK_HAS_REFS | DMI_TASK_LIMITED;
    task->retries_left--;
    task->bytes = 0;
    task->position = 0;
    task->lane = task->attempts = 0;
    task->state = DMI_TASK_WAITING;
    if (task->holds == 0)
        session->loose++;
    if (task->flags & DMI_TASK_LIMITED)
        session->limited++;
    session->counts.objects--;
    session->counts.tasks_retried++;
    session->unfinished++;
    dmi_word_publish(&record->where, dmi_where(DMI_NOWHERE, 0, 0));
    DMI_STEP();
    record->serial = ++session->next_serial; /* a slot may still hold its old result */
}

bool dmi_lineage_run_again(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    const dmi_record *record = dmi_record_at(session, index);
    if (!(task->flags & DMI_TASK_LINEAGE) || task->retries_left == 0 || !inputs_remain(session, index))
        return false;
    session->lineage_bytes -= record->flags & DMI_BLOB ? record->blob.bytes : 0;
    reset(session, index);
    dmi_task_pin_inputs(session, index);
    dmi_task_enter(session, index);
    return true;
}
