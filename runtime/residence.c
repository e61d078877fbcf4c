/*
 * residence.c - the book of stays, the list of objects by use, and the turns of both.
 *
 * Out of memory: leaving.c. Back into it: returning.c, reserve.c.
 */
#include "runtime/residence.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/clock.h"
#include "runtime/stay.h"

static void tidy_later(dmi_session *session);

/* ---- stays ---- */

/* The last piece is half as large as the others at least, or half as large again: the header alone is not worth
 * a read of its own. */
static uint32_t parts_of(uint64_t bytes)
{
    uint64_t pieces = (bytes + DMI_PIECE / 2 - 1) / DMI_PIECE;
    return pieces ? (uint32_t)pieces : 1;
}

size_t dmi_part_bytes(const dmi_stay *stay, uint32_t part)
{
    uint64_t left = stay->bytes - (uint64_t)part * DMI_PIECE;
    return part + 1 == stay->part_count ? (size_t)left : DMI_PIECE;
}

uint64_t dmi_part_id(const dmi_stay *stay, uint32_t part)
{
    return stay->serial << 16 ^ part;
}

dmi_stay *dmi_stay_begin(dmi_session *session, uint32_t index)
{
    dmi_residence *r = session->residence;
    uint32_t parts = parts_of(dmi_task_at(session, index)->bytes);
    uint32_t *tickets = parts > 1 ? calloc(parts, sizeof *tickets) : NULL;
    if (parts > 1 && tickets == NULL)
        return NULL;
    uint32_t number = r->stay_free ? r->stay_free - 1 : r->stay_high++;
    dmi_stay *stay = &r->stays[number];
    if (r->stay_free)
        r->stay_free = stay->index;
    *stay = (dmi_stay){.index = index,
                       .in_use = true,
                       .part_count = parts,
                       .bytes = dmi_task_at(session, index)->bytes,
                       .serial = dmi_record_at(session, index)->serial};
    if (parts > 1)
        stay->tickets = tickets;
    dmi_task_at(session, index)->stay = number + 1;
    return stay;
}

static void free_tickets(dmi_residence *r, dmi_stay *stay)
{
    uint32_t *tickets = dmi_tickets_of(stay);
    for (uint32_t i = 0; i < stay->part_count; i++) {
        if (tickets[i] != 0)
            dmi_spill_free(r->spill, tickets[i]);
        tickets[i] = 0;
    }
}

/* The copy on disk is no more, if there was one. */
void dmi_stay_end(dmi_session *session, dmi_stay *stay)
{
    dmi_residence *r = session->residence;
    free_tickets(r, stay);
    if (stay->part_count > 1)
        free(stay->tickets);
    free(stay->said);
    dmi_task_at(session, stay->index)->stay = 0;
    stay->in_use = false;
    stay->index = r->stay_free;
    r->stay_free = (uint32_t)(stay - r->stays) + 1;
}

void dmi_part_done(dmi_stay *stay, dm_status status, const char *said)
{
    stay->parts_left--;
    if (status == DM_OK || stay->trouble != DM_OK)
        return;
    stay->trouble = status;
    stay->said = strdup(said);
}

/* ---- the list by use ---- */

void dmi_unlist(dmi_session *session, uint32_t index)
{
    dmi_residence *r = session->residence;
    dmi_task *task = dmi_task_at(session, index);
    if (!(task->flags & DMI_TASK_LISTED))
        return;
    task->flags &= (uint8_t)~DMI_TASK_LISTED;
    *(task->previous ? &dmi_task_at(session, task->previous - 1)->next : &r->cold) = task->next;
    *(task->next ? &dmi_task_at(session, task->next - 1)->previous : &r->warm) = task->previous;
}

void dmi_list_warm(dmi_session *session, uint32_t index)
{
    dmi_residence *r = session->residence;
    dmi_task *task = dmi_task_at(session, index);
    assert(task->state == DMI_TASK_DONE && !(task->flags & DMI_TASK_LISTED));
    task->flags |= DMI_TASK_LISTED;
    task->used_at = ++session->uses;
    task->next = 0;
    task->previous = r->warm;
    *(r->warm ? &dmi_task_at(session, r->warm - 1)->next : &r->cold) = index + 1;
    r->warm = index + 1;
}

/* What was read back is as old as can be. */
void dmi_list_cold(dmi_session *session, uint32_t index)
{
    dmi_residence *r = session->residence;
    dmi_task *task = dmi_task_at(session, index);
    assert(task->state == DMI_TASK_DONE && !(task->flags & DMI_TASK_LISTED));
    task->flags |= DMI_TASK_LISTED;
    task->used_at = r->cold ? dmi_task_at(session, r->cold - 1)->used_at : session->uses;
    task->previous = 0;
    task->next = r->cold;
    *(r->cold ? &dmi_task_at(session, r->cold - 1)->previous : &r->warm) = index + 1;
    r->cold = index + 1;
}

void dmi_residence_touch(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    dmi_stay *stay = dmi_stay_of(session, index);
    if (stay != NULL && stay->unread) {
        stay->unread = false;
        return;
    }
    if (!(task->flags & DMI_TASK_LISTED) || task->next == 0)
        return;
    dmi_unlist(session, index);
    dmi_list_warm(session, index);
}

/* ---- jobs ---- */

dmi_moving *dmi_moving_create(dmi_session *session, uint32_t room, void (*run)(dmi_job *))
{
    dmi_moving *m = malloc(sizeof *m + room * sizeof m->of[0]);
    if (m)
        *m = (dmi_moving){.job = {.run = run}, .session = session};
    return m;
}

void dmi_moving_add(dmi_moving *m, dmi_stay *stay, uint32_t part)
{
    m->of[m->count].stay = stay;
    m->of[m->count++].part = part;
}

void dmi_moving_end(dmi_session *session, bool tell)
{
    if (tell) {
        tidy_later(session); /* blocks may have been written for nothing */
        dmi_residence_turn(session);
        dmi_pump(session);
        dmi_wake_waiters(session);
    }
    dmi_role_leave(&session->role);
}

/* ---- the ends ---- */

void dmi_stop_waiting(dmi_residence *r, dmi_stay *stay)
{
    uint32_t *at = &r->waiting, number = (uint32_t)(stay - r->stays) + 1;
    while (*at != 0 && *at != number)
        at = &r->stays[*at - 1].next;
    if (*at == number)
        *at = stay->next;
    stay->waiting = false;
}

void dmi_residence_forget(dmi_session *session, uint32_t index)
{
    dmi_residence *r = session->residence;
    dmi_stay *stay = dmi_stay_of(session, index);
    dmi_unlist(session, index);
    if (stay == NULL)
        return;
    assert(stay->stage == DMI_GONE || stay->stage == DMI_BOTH);
    if (stay->waiting)
        dmi_stop_waiting(r, stay);
    if (stay->stage == DMI_GONE) {
        session->away--;
        r->away -= stay->bytes;
    }
    dmi_stay_end(session, stay);
    if (session->away == 0)
        dmi_reserve_end(session);
    r->trouble_until_ms = 0; /* there is room on the disk again: try it at once */
    tidy_later(session);
}

void dmi_residence_abandon(dmi_session *session, uint32_t index)
{
    dmi_stay *stay = dmi_stay_of(session, index);
    if (stay && (stay->stage == DMI_LEAVING || stay->stage == DMI_RETURNING))
        atomic_store(&stay->cancelled, true); /* private atomic */
}

/* ---- the disk's housekeeping ---- */

static void run_tidy(dmi_job *job)
{
    dmi_residence *r = (dmi_residence *)((char *)job - offsetof(dmi_residence, tidy));
    dmi_session *session = r->session;
    bool more = dmi_spill_tidy(r->spill);
    dmi_role_take(&session->role);
    r->tidying = false;
    if (more || dmi_spill_untidy(r->spill))
        tidy_later(session);
    dmi_role_leave(&session->role);
}

static void tidy_later(dmi_session *session)
{
    dmi_residence *r = session->residence;
    if (r->tidying || session->closing || !dmi_spill_untidy(r->spill))
        return;
    r->tidy.run = run_tidy;
    r->tidying = dmi_mover_post(r->mover, &r->tidy, DMI_TIDY) == DM_OK;
}

/* ---- turns ---- */

bool dmi_residence_turn(dmi_session *session)
{
    dmi_residence *r = session->residence;
    if (r->spill == NULL)
        return false;
    bool moved = r->waiting != 0 && dmi_bring_the_waiting(session);
    return dmi_spill_what_is_due(session) || moved;
}

bool dmi_residence_wants_ticks(const dmi_session *session)
{
    const dmi_residence *r = session->residence;
    return r->waiting != 0 || r->having_room != 0 || (r->trouble != DM_OK && session->counts.store_used > session->spill_above);
}

bool dmi_residence_is_busy(const dmi_session *session)
{
    return session->residence->leaving != 0 || session->residence->returning != 0;
}

bool dmi_residence_moves(const dmi_session *session)
{
    return session->residence->leaving != 0;
}

int64_t dmi_residence_left_ms(const dmi_session *session)
{
    return session->residence->left_ms;
}

int64_t dmi_residence_progress_ms(const dmi_session *session)
{
    return session->residence->progress_ms;
}

dm_status dmi_residence_trouble(const dmi_session *session, const char **text)
{
    *text = session->residence->said;
    return session->residence->trouble;
}

const char *dmi_residence_announcement(dmi_session *session)
{
    dmi_residence *r = session->residence;
    if (!r->begun || r->announced)
        return NULL;
    r->announced = true;
    snprintf(r->line, sizeof r->line,
             "dmrt: the store of %zu bytes is filling up: objects are spilled to %.300s, and read back when needed",
             session->settings.store_bytes, session->settings.spill_dir);
    return r->line;
}

void dmi_residence_scope_end(dmi_session *session)
{
    if (session->residence->spill == NULL)
        return;
    dmi_spill_scope_end(session->residence->spill);
    tidy_later(session);
}

dmi_presence dmi_residence_presence(dmi_session *session, uint32_t index, uint64_t *disk_bytes)
{
    static const dmi_presence presences[] = {[DMI_LEAVING] = DMI_IS_LEAVING,
                                             [DMI_GONE] = DMI_ON_DISK,
                                             [DMI_RETURNING] = DMI_IS_RETURNING,
                                             [DMI_BOTH] = DMI_IN_BOTH};
    dmi_stay *stay = dmi_stay_of(session, index);
    *disk_bytes = 0;
    if (stay == NULL)
        return DMI_IN_MEMORY;
    for (uint32_t i = 0; i < stay->part_count && stay->stage != DMI_LEAVING; i++)
        *disk_bytes += dmi_spill_stored(session->residence->spill, dmi_tickets_of(stay)[i]);
    return presences[stay->stage];
}

void dmi_residence_stats(dmi_session *session, dm_stats *stats)
{
    const dmi_residence *r = session->residence;
    dmi_spill_stats s = {0};
    if (r->spill != NULL)
        dmi_spill_stats_get(r->spill, &s);
    stats->spilled_objects = session->away;
    stats->spilled_bytes = r->away;
    stats->spilling_bytes = r->leaving;
    stats->disk_bytes = s.on_disk;
    stats->spilled_total = s.written_raw;
    stats->spilled_stored = s.written_stored;
    stats->restored_total = s.read_raw;
    stats->punched_total = s.punched;
    stats->spill_ns = s.write_ns;
    stats->restore_ns = s.read_ns;
    stats->spill_files = s.files;
    stats->disk_punches = s.punches;
}

/* ---- begin and end ---- */

/* Twice the cores: while one of two waits for the disk, the other compresses. */
static unsigned mover_threads(const dmi_session *session)
{
    enum { LEAST = 2, MOST = 8 };
    int threads = 2 * session->settings.cpus;
    return threads < LEAST ? LEAST : threads > MOST ? MOST : (unsigned)threads;
}

static dm_status open_spill(dmi_session *session, dmi_residence *r)
{
    const dmi_settings *of = &session->settings;
    const dmi_spill_settings settings = {.dirs = of->spill_dir,
                                         .policy = (dmi_spill_policy)(of->spill_policy - DM_SPILL_AUTO),
                                         .visible = of->spill_visible,
                                         .allow_memory = of->spill_in_memory,
                                         .limit_bytes = of->spill_limit_bytes,
                                         .fill_limit = of->spill_fill_limit,
                                         .acceleration = of->spill_acceleration,
                                         .filter = (dmi_spill_filter)(of->spill_filter - DM_FILTER_BEST)};
    DM_TRY(dmi_spill_create(&r->spill, &settings));
    return dmi_mover_create(&r->mover, mover_threads(session));
}

dm_status dmi_residence_create(dmi_session *session)
{
    dmi_residence *r = calloc(1, sizeof *r);
    if (r == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a session");
    session->residence = r;
    r->session = session;
    session->spill_above = (uint64_t)(session->settings.spill_threshold * (double)session->settings.store_bytes);
    if (session->settings.spill_policy == DM_SPILL_OFF)
        return DM_OK;
    void *stays = mmap(NULL, DMI_MAX_RECORDS * sizeof *r->stays, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stays == MAP_FAILED)
        return dmi_error(DM_ERR_NOMEM, "no address space for a session's tables: raise ulimit -v");
    r->stays = stays;
    return open_spill(session, r);
}

void dmi_residence_stop(dmi_session *session)
{
    dmi_residence *r = session->residence;
    if (r == NULL || r->mover == NULL)
        return;
    for (uint32_t i = 0; i < r->stay_high; i++)
        atomic_store(&r->stays[i].cancelled, true); /* private atomic */
    for (dmi_job *job = dmi_mover_stop(r->mover), *next; job != NULL; job = next) {
        next = job->next;
        if (job != &r->tidy && job != &r->have_reserve)
            free(job);
    }
}

void dmi_residence_destroy(dmi_session *session)
{
    dmi_residence *r = session->residence;
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < r->stay_high; i++) {
        if (r->stays[i].in_use && r->stays[i].part_count > 1)
            free(r->stays[i].tickets);
        if (r->stays[i].in_use)
            free(r->stays[i].said);
    }
    dmi_mover_destroy(r->mover);
    dmi_spill_destroy(r->spill);
    if (r->stays != NULL)
        munmap(r->stays, DMI_MAX_RECORDS * sizeof *r->stays);
    free(r);
    session->residence = NULL;
}
