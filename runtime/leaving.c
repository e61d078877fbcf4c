/*
 * leaving.c - objects leave memory: chosen by objectstore/victims.h, written by movers, and gone once nobody
 * reads them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objectstore/object.h"
#include "objectstore/victims.h"
#include "runtime/clock.h"
#include "runtime/lane.h"
#include "runtime/readers.h"
#include "runtime/stay.h"

enum {
    SHARED_MOST = 64 << 10, /* smaller objects are written together, */
    BATCH_BYTES = 1 << 20,  /* so many bytes at a time, */
    BATCH_MOST = 512,       /* so many objects */
    WRITE_PIECES = 2,       /* pieces of a large object that are written together */
    LOOKED_AT = 4096,       /* objects considered in one turn */
    WORTH = 64,             /* this share of the store is worth choosing victims for */
    SETTLING_MS = 20,       /* until a worker has surely taken back what left its heap */
    TROUBLE_MS = 100        /* after a failed write: time for the disk to come to itself */
};

#define LEAVING_MOST ((uint64_t)64 << 20) /* bytes being written at once */

/* ---- leaving ---- */

static bool may_leave(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    return task->state == DMI_TASK_DONE && !(task->flags & DMI_TASK_UNSEALED) && task->views == 0 &&
           task->wanted == 0 && task->read_at != session->look;
}

/* Law 6 of layout.h. The copy on disk is complete. False: somebody reads it. */
static bool leave(dmi_session *session, dmi_stay *stay)
{
    dmi_residence *r = session->residence;
    uint32_t index = stay->index;
    dmi_record *record = dmi_record_at(session, index);
    uint64_t where = dmi_word_peek(&record->where);
    dmi_word_publish(&record->where, dmi_where(DMI_DISK, 0, (uint64_t)(stay - r->stays)));
    dmi_shown_hide(session, index);
    dmi_fence();
    if (dmi_is_in_a_row(session, index) || dmi_shown_is_read(session, index)) {
        dmi_word_publish(&record->where, where);
        dmi_shown_update(session, index);
        return false;
    }
    dmi_unlist(session, index);
    stay->stage = DMI_GONE;
    r->away += stay->bytes;
    session->away++;
    session->counts.store_used -= stay->bytes;
    r->left_ms = r->progress_ms = dmi_now_ms();
    if (dmi_where_segment(where) != 0) {
        r->settling += stay->bytes;
        r->settling_since_ms = r->left_ms;
    }
    if (dmi_where_place(where) == DMI_SLOT)
        dmi_lane_free_slot_value(session, dmi_where_segment(where), dmi_where_position(where));
    else
        dmi_free_object(session, dmi_where_segment(where), dmi_where_position(where));
    dmi_reserve_for(session, stay->bytes);
    return true;
}

static void note_trouble(dmi_session *session, dm_status status, const char *said)
{
    dmi_residence *r = session->residence;
    if (status == DM_ERR_CANCELLED)
        return;
    int64_t pause = r->trouble == DM_OK ? TROUBLE_MS : 2 * r->trouble_pause_ms;
    int64_t most = session->settings.store_wait_ms / 2; /* who waits for room shall see another try */
    most = most > 10 * TROUBLE_MS ? 10 * TROUBLE_MS : most < TROUBLE_MS ? TROUBLE_MS : most;
    r->trouble = status;
    r->trouble_pause_ms = pause < most ? pause : most;
    r->trouble_until_ms = dmi_now_ms() + r->trouble_pause_ms;
    snprintf(r->said, sizeof r->said, "%s", said ? said : dm_strerror(status));
}

/* All parts have been tried. */
static void written(dmi_session *session, dmi_stay *stay)
{
    dmi_residence *r = session->residence;
    uint32_t index = stay->index;
    r->leaving -= stay->bytes;
    if (stay->trouble != DM_OK) {
        note_trouble(session, stay->trouble, stay->said);
        dmi_stay_end(session, stay);
        dmi_list_warm(session, index);
    } else {
        r->trouble = DM_OK;
        stay->stage = DMI_BOTH;
        dmi_list_warm(session, index);
        if (may_leave(session, index))
            leave(session, stay);
    }
    dmi_task_unpin(session, index);
}

/* Whoever waits for room waits as long as an object of gigabytes takes; but not for one that gets as far as the disk's
 * end, again and again. */
static void note_progress(dmi_residence *r, dm_status status)
{
    if (status == DM_OK && r->trouble == DM_OK)
        r->progress_ms = dmi_now_ms();
}

static void run_write(dmi_job *job)
{
    dmi_moving *m = (dmi_moving *)job;
    dmi_session *session = m->session;
    dmi_part parts[BATCH_MOST];
    for (uint32_t i = 0; i < m->count; i++) {
        const dmi_stay *stay = m->of[i].stay;
        uint32_t part = m->of[i].part;
        parts[i] = (dmi_part){.bytes = stay->from + (uint64_t)part * DMI_PIECE,
                              .count = dmi_part_bytes(stay, part),
                              .plain = part == 0 ? sizeof(dmi_object) : 0,
                              .element = stay->element,
                              .id = dmi_part_id(stay, part)};
    }
    bool of_one = m->of[0].stay == m->of[m->count - 1].stay;
    const atomic_bool *cancelled = of_one ? &m->of[0].stay->cancelled : NULL;
    dm_status status = dmi_spill_write(session->residence->spill, parts, m->count, cancelled);
    char said[512] = "";
    if (status != DM_OK)
        snprintf(said, sizeof said, "%s", dm_last_error());
    dmi_role_take(&session->role);
    dmi_readers_look(session);
    bool any = false;
    note_progress(session->residence, status);
    for (uint32_t i = 0; i < m->count; i++) {
        dmi_stay *stay = m->of[i].stay;
        if (status == DM_OK)
            dmi_tickets_of(stay)[m->of[i].part] = parts[i].ticket;
        dmi_part_done(stay, status, said);
        if (stay->parts_left != 0)
            continue;
        any = true;
        written(session, stay);
    }
    free(m);
    dmi_moving_end(session, any);
}

/* It stays where it is: a job for it could not be had. */
static void give_up_writing(dmi_session *session, dmi_moving *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        dmi_part_done(m->of[i].stay, DM_ERR_NOMEM, "no memory or thread to spill with");
        if (m->of[i].stay->parts_left == 0)
            written(session, m->of[i].stay);
    }
    free(m);
}

static void post_write(dmi_session *session, dmi_moving *m)
{
    if (dmi_mover_post(session->residence->mover, &m->job, DMI_WRITE) != DM_OK)
        give_up_writing(session, m);
}

/* The object's bytes where the driver sees them, and what a filter should know of them. */
static bool find_bytes(dmi_session *session, dmi_stay *stay)
{
    dmi_record *record = dmi_record_at(session, stay->index);
    uint64_t where = dmi_word_peek(&record->where), offset = dmi_where_position(where);
    uint32_t segment = dmi_where_segment(where);
    if (dmi_where_place(where) == DMI_SLOT)
        memcpy(&offset, dmi_lane_slot(session, segment, offset)->payload, 8);
    const dmi_segment *memory = &session->seats[segment].memory;
    const dmi_object *object = dmi_object_at(memory->ro, memory->bytes, offset);
    if (object == NULL || !dmi_segment_holds(memory, offset, stay->bytes))
        return false; /* its maker has gone wild */
    stay->from = memory->ro + offset;
    static const uint8_t sizes[] = {[DM_U8] = 1,  [DM_I8] = 1,  [DM_U16] = 2, [DM_I16] = 2, [DM_U32] = 4,
                                    [DM_I32] = 4, [DM_U64] = 8, [DM_I64] = 8, [DM_F32] = 4, [DM_F64] = 8};
    bool known = object->kind == DMI_OBJECT_ARRAY && object->dtype < sizeof sizes;
    stay->element = known ? sizes[object->dtype] : 1;
    return true;
}

/* A stay for a victim: off the list, pinned, to be written. NULL: it cannot. */
static dmi_stay *begin_leaving(dmi_session *session, uint32_t index)
{
    dmi_residence *r = session->residence;
    dmi_stay *stay = dmi_stay_begin(session, index);
    if (stay == NULL)
        return NULL;
    if (!find_bytes(session, stay)) {
        dmi_stay_end(session, stay);
        return NULL;
    }
    stay->stage = DMI_LEAVING;
    stay->parts_left = stay->part_count;
    dmi_unlist(session, index);
    dmi_task_pin(session, index);
    r->leaving += stay->bytes;
    r->begun = true;
    return stay;
}

static void write_pieces(dmi_session *session, dmi_stay *stay, uint32_t first, uint32_t count)
{
    dmi_moving *m = dmi_moving_create(session, count, run_write);
    for (uint32_t i = 0; i < count; i++) {
        if (m != NULL) {
            dmi_moving_add(m, stay, first + i);
            continue;
        }
        dmi_part_done(stay, DM_ERR_NOMEM, "no memory to spill with");
        if (stay->parts_left == 0)
            written(session, stay);
    }
    if (m != NULL)
        post_write(session, m);
}

/* Few pieces a write, so that all threads have some; and not one, for the disk's sake. */
static void write_large(dmi_session *session, dmi_stay *stay)
{
    for (uint32_t part = 0, parts = stay->part_count; part < parts; part += WRITE_PIECES)
        write_pieces(session, stay, part, parts - part < WRITE_PIECES ? parts - part : WRITE_PIECES);
}

/* Small ones together. */
static void write_small(dmi_session *session, dmi_moving **batch, uint64_t *bytes, dmi_stay *stay)
{
    if (*batch == NULL)
        *batch = dmi_moving_create(session, BATCH_MOST, run_write);
    if (*batch == NULL) {
        dmi_part_done(stay, DM_ERR_NOMEM, "no memory to spill with");
        written(session, stay);
        return;
    }
    dmi_moving_add(*batch, stay, 0);
    *bytes += stay->bytes;
    if (*bytes < BATCH_BYTES && (*batch)->count < BATCH_MOST)
        return;
    post_write(session, *batch);
    *batch = NULL;
    *bytes = 0;
}

/* ---- choosing ---- */

typedef struct choice {
    dmi_candidate candidates[DMI_VICTIMS_MOST];
    uint32_t index[DMI_VICTIMS_MOST];
    size_t n;
} choice;

/* The coldest that may leave, only those with a copy on disk unless `write`; those that may not are in use, and
 * warm. */
static void gather(dmi_session *session, choice *c, bool write, uint32_t *looked_at)
{
    dmi_residence *r = session->residence;
    uint32_t next = r->cold, last = r->warm;
    c->n = 0;
    while (next != 0 && c->n < DMI_VICTIMS_MOST && ++*looked_at < LOOKED_AT) {
        uint32_t index = next - 1;
        dmi_task *task = dmi_task_at(session, index);
        bool at_end = next == last;
        next = task->next;
        const dmi_stay *stay = dmi_stay_of(session, index);
        if (stay == NULL && !write) {
            if (at_end)
                break;
            continue;
        }
        if (!dmi_shown_was_used(session, index) && may_leave(session, index)) {
            c->candidates[c->n] = (dmi_candidate){task->bytes, session->uses - task->used_at, stay != NULL};
            c->index[c->n++] = index;
        } else {
            dmi_unlist(session, index);
            dmi_list_warm(session, index);
        }
        if (at_end)
            break;
    }
}

static bool is_able(const dmi_session *session)
{
    const dmi_residence *r = session->residence;
    return r->spill != NULL && !session->closing && (r->trouble == DM_OK || dmi_now_ms() >= r->trouble_until_ms);
}

/* Let objects of about `need` bytes leave; while the disk is in trouble, those that it has already. How many
 * bytes left or began to. */
static uint64_t evict(dmi_session *session, uint64_t need)
{
    bool write = is_able(session);
    uint32_t looked_at = 0;
    uint16_t chosen[DMI_VICTIMS_MOST];
    uint64_t sum = 0, batched = 0;
    dmi_moving *batch = NULL;
    choice c;
    dmi_shown_heed(session);
    dmi_readers_look(session);
    do {
        gather(session, &c, write, &looked_at);
        size_t count = dmi_victims_choose(c.candidates, c.n, need - sum, chosen);
        for (size_t i = 0; i < count; i++) {
            uint32_t index = c.index[chosen[i]];
            dmi_stay *stay = dmi_stay_of(session, index);
            sum += c.candidates[chosen[i]].bytes;
            if (stay != NULL) {
                if (!leave(session, stay))
                    dmi_residence_touch(session, index);
                continue;
            }
            stay = begin_leaving(session, index);
            if (stay == NULL)
                dmi_residence_touch(session, index);
            else if (stay->bytes < SHARED_MOST)
                write_small(session, &batch, &batched, stay);
            else
                write_large(session, stay);
        }
    } while (sum < need && c.n != 0 && looked_at < LOOKED_AT && session->residence->leaving < LEAVING_MOST);
    if (batch != NULL)
        post_write(session, batch);
    return sum;
}

bool dmi_spill_what_is_due(dmi_session *session)
{
    dmi_residence *r = session->residence;
    const dmi_settings *settings = &session->settings;
    dmi_pressure pressure = {.limit = settings->store_bytes,
                             .used = session->counts.store_used,
                             .leaving = r->leaving,
                             .begin = settings->spill_threshold,
                             .end = settings->spill_threshold * 0.9};
    uint64_t due = dmi_victims_due(&pressure);
    uint64_t worth = settings->store_bytes / WORTH < BATCH_BYTES ? settings->store_bytes / WORTH : BATCH_BYTES;
    if (due < worth || r->leaving >= LEAVING_MOST || r->cold == 0 || !is_able(session))
        return false;
    return evict(session, due < LEAVING_MOST - r->leaving ? due : LEAVING_MOST - r->leaving) != 0;
}

/* What left a worker's heap is free there a little later: count it for some milliseconds, lest more and more
 * leaves for the same need. */
void dmi_residence_make_room(dmi_session *session, uint64_t bytes)
{
    dmi_residence *r = session->residence;
    if (dmi_now_ms() - r->settling_since_ms > SETTLING_MS)
        r->settling = 0;
    uint64_t coming = r->leaving + r->settling;
    if (coming < bytes && r->spill != NULL && !session->closing)
        evict(session, bytes - coming);
}

void dmi_residence_enter(dmi_session *session, uint32_t index)
{
    dmi_residence *r = session->residence;
    dmi_shown_update(session, index);
    if (r->spill == NULL)
        return;
    dmi_shown_heed(session);
    dmi_list_warm(session, index);
    if (session->counts.store_used > session->spill_above && r->leaving < LEAVING_MOST)
        dmi_spill_what_is_due(session);
}

