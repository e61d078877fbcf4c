/*
 * holdings.c - the table of a worker's refs, and what is told to the driver of them.
 *
 * A task's refs are *holdings* of its worker. What the driver must know of has a cell: a number that
 * this worker chooses and the driver translates. Messages are posted in order, so a submission arrives
 * before the release of what it names. What a task was given it need not release: it is dropped at its
 * end, unless it was retained.
 */
#include "runtime/holdings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/row.h"

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

/* Of all that belong to tasks the innermost's are in front: when one is made, the innermost is running. */
static void link_holding(dmi_worker *worker, dmi_holding *holding)
{
    uint32_t link = (uint32_t)(holding - worker->holdings) + 1;
    holding->depth = worker->depth;
    if (worker->depth == 0)
        return; /* made while none runs: it belongs to none */
    holding->next = worker->holdings_first;
    if (holding->next != 0)
        worker->holdings[holding->next - 1].previous = link;
    worker->holdings_first = link;
}

/* It belongs to no task from here on. */
static void unlink_holding(dmi_worker *worker, dmi_holding *holding)
{
    if (holding->depth == 0)
        return;
    if (holding->next != 0)
        worker->holdings[holding->next - 1].previous = holding->previous;
    *(holding->previous ? &worker->holdings[holding->previous - 1].next : &worker->holdings_first) = holding->next;
    holding->depth = holding->next = holding->previous = 0;
}

dmi_holding *dmi_holding_new(dmi_worker *worker, dmi_hold kind, dm_ref *ref)
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
                             .holds = 1};
    link_holding(worker, holding);
    *ref = ref_of(worker, index);
    return holding;
}

dm_status dmi_holding_of(dmi_worker *worker, dm_ref ref, dmi_holding **holding)
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
            uint32_t *dropped = realloc(worker->dropped_cells, room * sizeof *dropped);
            if (dropped)
                worker->dropped_cells = dropped;
            if (!cells || !seqs || !dropped)
                return false;
            memset(seqs + worker->cell_room, 0, (room - worker->cell_room) * sizeof *seqs);
            worker->cell_room = room;
        }
        *cell = worker->cell_high++;
    }
    *seq = ++worker->cell_seqs[*cell];
    return true;
}

/* Remember it for dmi_inside_say_dropped: there is room for all cells. */
static void drop_later(dmi_worker *worker, uint32_t cell)
{
    assert(worker->dropped_count < worker->cell_room);
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
dm_status dmi_holding_post(dmi_worker *worker, dmi_holding *holding, dmi_message *message)
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

dm_status dmi_holding_post_word(dmi_worker *worker, dmi_holding *holding, dmi_message_kind kind, uint64_t word)
{
    dmi_message message = {.kind = (uint8_t)kind};
    memcpy(message.args, &word, 8);
    return dmi_holding_post(worker, holding, &message);
}

void dmi_holding_let_go(dmi_worker *worker, dmi_holding *holding)
{
    dmi_row_leave(worker, holding);
    if (holding->kind == DMI_HOLD_OBJECT || holding->kind == DMI_HOLD_BUFFER)
        dmi_worker_free(worker, holding->offset);
    else if (holding->kind == DMI_HOLD_CELL)
        drop_cell(worker, holding->cell);
    else if (holding->kind == DMI_HOLD_FAILED)
        free(holding->text);
    unlink_holding(worker, holding);
    holding->kind = DMI_HOLD_NONE;
    holding->generation++;
    holding->next = worker->holding_free;
    worker->holding_free = (uint32_t)(holding - worker->holdings) + 1;
}

void dmi_holding_disown(dmi_holding *holding)
{
    holding->owned = 0;
}

void dmi_inside_end_task(dmi_worker *worker, uint32_t depth)
{
    worker->ending = true;
    while (worker->holdings_first != 0) {
        dmi_holding *holding = &worker->holdings[worker->holdings_first - 1];
        if (holding->depth != depth)
            break;
        unlink_holding(worker, holding); /* what was retained belongs to no task */
        holding->holds -= holding->owned + holding->kept;
        holding->kept = 0;
        dmi_holding_disown(holding);
        holding->views = 0;
        dmi_row_leave(worker, holding);
        if (holding->holds == 0)
            dmi_holding_let_go(worker, holding);
    }
    worker->ending = false;
}

dm_ref dmi_holding_failed(dmi_worker *worker, dm_status status)
{
    dm_ref ref;
    char *text = strdup(dm_last_error());
    dmi_holding *holding = dmi_holding_new(worker, DMI_HOLD_FAILED, &ref);
    if (holding == NULL) {
        free(text);
        return ref;
    }
    holding->status = (uint16_t)status;
    holding->text = text;
    return ref;
}

/* The record that a cell names, once the driver has said so. */
const dmi_record *dmi_holding_record(const dmi_worker *worker, const dmi_holding *holding)
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
    dmi_holding *holding = dmi_holding_new(worker, DMI_HOLD_RECORD, &ref);
    if (holding) {
        holding->record = record;
        holding->lent = 1;
    }
    return ref;
}

dm_status dmi_inside_travel(dmi_worker *worker, dm_ref ref, uint64_t *refword)
{
    dmi_holding *holding = NULL;
    DM_TRY(dmi_holding_of(worker, ref, &holding));
    if (holding->kind == DMI_HOLD_FAILED)
        return dmi_error((dm_status)holding->status, "%s", holding->text ? holding->text : "");
    if (holding->kind == DMI_HOLD_BUFFER)
        return dmi_error(DM_ERR_INVALID, "a buffer must be sealed before it is passed on");
    if (holding->kind == DMI_HOLD_OBJECT)
        DM_TRY(dmi_holding_post_word(worker, holding, DMI_MSG_ADOPT, holding->offset));
    if (holding->kind == DMI_HOLD_RECORD)
        *refword = dmi_refword(DMI_REF_RECORD, 0, 0, holding->record);
    else
        *refword = dmi_refword(DMI_REF_CELL, worker->lane, holding->seq, holding->cell);
    return DM_OK;
}

dm_status dmi_inside_retain(dmi_worker *worker, dm_ref ref)
{
    dmi_holding *holding = NULL;
    DM_TRY(dmi_holding_of(worker, ref, &holding));
    if (holding->kind == DMI_HOLD_RECORD)
        DM_TRY(dmi_holding_post_word(worker, holding, DMI_MSG_HOLD,
                         dmi_refword(DMI_REF_RECORD, 0, 0, holding->record)));
    holding->holds++;
    return DM_OK;
}

dm_status dmi_inside_keep(dmi_worker *worker, dm_ref ref)
{
    dmi_holding *holding = NULL;
    DM_TRY(dmi_holding_of(worker, ref, &holding));
    if (holding->kept)
        return DM_OK;
    holding->kept = 1;
    holding->holds++;
    if (holding->depth == 0) /* retained by a task that is gone: this hold is the running one's */
        link_holding(worker, holding);
    return DM_OK;
}

void dmi_holding_let_go_if_unused(dmi_worker *worker, dmi_holding *holding)
{
    if (holding->holds == 0 && holding->views == 0)
        dmi_holding_let_go(worker, holding);
}

/* Of several holds the first to go is the one that the task would drop at its end, so that retained ones stay beyond
 * it; but the last if it is lent, for then each release belongs to a dm_retain. */
dm_status dmi_inside_release(dmi_worker *worker, dm_ref ref)
{
    dmi_holding *holding = NULL;
    DM_TRY(dmi_holding_of(worker, ref, &holding));
    if (!holding->lent || holding->holds == 1u + holding->kept)
        dmi_holding_disown(holding);
    if (holding->holds == holding->kept)
        return dmi_error(DM_ERR_STALE, "ref %#llx has been released", (unsigned long long)ref.id);
    holding->holds--;
    dmi_holding_let_go_if_unused(worker, holding);
    return DM_OK;
}

bool dmi_inside_adopt_all(dmi_worker *worker)
{
    bool any = false;
    for (uint32_t i = 0; i < worker->holding_high; i++) {
        dmi_holding *holding = &worker->holdings[i];
        if (holding->kind == DMI_HOLD_OBJECT)
            any |= dmi_holding_post_word(worker, holding, DMI_MSG_ADOPT, holding->offset) == DM_OK;
    }
    return any;
}

/* ---- several cells at once ---- */

dmi_holding *dmi_holding_at(dmi_worker *worker, dm_ref ref)
{
    return &worker->holdings[(uint32_t)ref.id];
}

void dmi_cells_give_back(dmi_worker *worker, const dm_ref *refs, const uint64_t *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dmi_holding *holding = dmi_holding_at(worker, refs[i]);
        worker->free_cells[worker->free_cell_count++] = (uint32_t)cells[i];
        dmi_holding_disown(holding);
        dmi_holding_let_go(worker, holding);
    }
}

/* Refs, and a cell for each, which nobody knows of yet. */
dm_status dmi_cells_take(dmi_worker *worker, dm_ref *refs, uint64_t *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t cell;
        uint16_t seq;
        dmi_holding *holding = dmi_holding_new(worker, DMI_HOLD_RECORD, &refs[i]);
        if (holding == NULL || !new_cell(worker, &cell, &seq)) {
            if (holding) {
                dmi_holding_disown(holding);
                dmi_holding_let_go(worker, holding);
            }
            dmi_cells_give_back(worker, refs, cells, i);
            return dmi_error(DM_ERR_NOMEM, "a worker holds too many refs: release some");
        }
        cells[i] = (uint64_t)seq << 32 | cell;
    }
    return DM_OK;
}

/* A message has been posted that gives them their meaning. */
void dmi_cells_name(dmi_worker *worker, const dm_ref *refs, const uint64_t *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dmi_holding *holding = dmi_holding_at(worker, refs[i]);
        holding->kind = DMI_HOLD_CELL;
        holding->cell = (uint32_t)cells[i];
        holding->seq = (uint16_t)(cells[i] >> 32);
    }
}

/* Into a blob beside the message. */
dm_status dmi_cells_write(dmi_worker *worker, dmi_message *message, const uint64_t *cells, size_t front,
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
