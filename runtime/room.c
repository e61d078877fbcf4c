/*
 * room.c - grants of memory to the heaps of a session.
 */
#include "runtime/room.h"

#include <stdio.h>

#include "runtime/lane.h"
#include "runtime/readers.h"
#include "runtime/residence.h"
#include "runtime/task.h"

enum { STEP = 16 << 20, FIRST = 8 << 20, LET_BE_MS = 3, SOON_MS = 20 };

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What a lane's heap holds, as its worker says. More than all grants together is a lie, and nothing then. */
static uint64_t committed(const dmi_session *session, dmi_lane *lane)
{
    uint64_t bytes = dmi_word_load(&lane->up->committed);
    if (bytes <= session->settings.store_bytes)
        return bytes;
    dmi_lane_condemn(lane, DM_ERR_WORKER_CORRUPT);
    return 0;
}

/* What a lane may hold or holds; a worker that was asked to trim may still hold more than its grant. */
static uint64_t charge(const dmi_session *session, dmi_lane *lane)
{
    if (lane->state != DMI_LANE_SERVING)
        return 0;
    return most(dmi_word_peek(&lane->down->granted), committed(session, lane));
}

/* Memory of dead workers that somebody still reads. */
static uint64_t orphaned_bytes(const dmi_session *session)
{
    uint64_t total = 0;
    for (uint32_t i = 1; i < session->seat_high; i++)
        if (session->seats[i].used && session->seats[i].orphaned)
            total += session->seats[i].orphan_bytes;
    return total;
}

static uint64_t unclaimed(const dmi_session *session)
{
    uint64_t total = dmi_word_peek(&session->heap_granted) + orphaned_bytes(session);
    for (uint32_t i = 0; i < session->lane_count; i++)
        total += charge(session, &session->lanes[i]);
    return total < session->settings.store_bytes ? session->settings.store_bytes - total : 0;
}

void dmi_room_first_grant(dmi_session *session, dmi_lane *lane)
{
    uint64_t share = session->settings.store_bytes / (4 * ((uint64_t)session->settings.workers + 1));
    dmi_word_publish(&lane->down->granted, least(least(share, FIRST), unclaimed(session)));
}

static void grant(dmi_session *session, dmi_lane *lane, uint64_t bytes)
{
    uint64_t now = charge(session, lane), room = unclaimed(session);
    uint64_t spare = most(bytes, least(STEP, room / 4));
    dmi_word_publish(&lane->down->granted, now + least(spare, room));
    lane->let_be_until_ms = dmi_now_ms() + LET_BE_MS;
}

void dmi_room_answer(dmi_session *session, dmi_lane *lane, uint8_t status, const char *said)
{
    uint64_t count = (dmi_word_peek(&lane->down->answers) >> 8) + 1;
    session->rooms_awaited--;
    lane->need_bytes = 0;
    if (status != DM_OK)
        dmi_lane_say(lane, said);
    dmi_word_publish(&lane->down->answers, count << 8 | status);
    dmi_lane_wake(lane);
}

/* Everybody gives back what it does not use; what is in use stays granted. Not all the time: what was just
 * granted is about to be used, and what is given back must be had again, page by page. */
static void ask_to_trim(dmi_session *session)
{
    int64_t now = dmi_now_ms();
    for (uint32_t i = 0; i < session->lane_count; i++) {
        dmi_lane *lane = &session->lanes[i];
        if (lane->state != DMI_LANE_SERVING || lane->trim_pending || charge(session, lane) == 0 ||
            now < lane->let_be_until_ms)
            continue;
        lane->trim_pending = true;
        lane->let_be_until_ms = now + LET_BE_MS;
        dmi_word_publish(&lane->down->granted, 0);
        dmi_word_publish(&lane->down->trim, ++lane->trims_asked);
        dmi_ring_bell(lane->child.service_bell);
    }
    if (now < session->let_be_until_ms || session->allocating != 0)
        return; /* who allocates aside is granted what the heap has not got yet */
    session->let_be_until_ms = now + LET_BE_MS;
    dmi_heap_trim(session->heap);
    dmi_word_publish(&session->heap_granted, dmi_word_peek(&session->heap_committed));
}

void dmi_room_trimmed(dmi_session *session, dmi_lane *lane)
{
    lane->trim_pending = false;
    dmi_word_publish(&lane->down->granted, committed(session, lane));
}

void dmi_room_need(dmi_session *session, dmi_lane *lane, uint64_t bytes)
{
    lane->need_bytes = bytes;
    lane->need_since_ms = dmi_now_ms();
    session->rooms_awaited++;
}

bool dmi_room_may_come(const dmi_session *session, int64_t since_ms)
{
    int64_t progress = dmi_residence_progress_ms(session);
    int64_t from = progress > since_ms ? progress : since_ms;
    return dmi_now_ms() - from < session->settings.store_wait_ms;
}

/* What is to be brought for who runs and has waited longer comes first, unless room is scarce: it might wait for
 * what this lane's task has. */
static bool fits(dmi_session *session, const dmi_lane *lane)
{
    uint64_t ahead = session->scarce ? 0 : dmi_residence_awaited(session, lane->need_since_ms);
    uint64_t room = unclaimed(session);
    return lane->need_bytes <= room && ahead <= room - lane->need_bytes;
}

static void refuse(dmi_session *session, dmi_lane *lane)
{
    char said[DMI_SAID];
    dm_status status = dmi_room_say(session, said, sizeof said);
    dmi_room_answer(session, lane, (uint8_t)status, said);
}

/* True if it waits no more. */
static bool answer_need(dmi_session *session, dmi_lane *lane)
{
    bool fitting = fits(session, lane);
    if (fitting && !lane->trim_pending) {
        grant(session, lane, lane->need_bytes);
        dmi_room_answer(session, lane, DM_OK, "");
        return true;
    }
    if (!dmi_room_may_come(session, lane->need_since_ms) || lane->need_bytes > session->settings.store_bytes) {
        refuse(session, lane);
        return true;
    }
    if (!fitting)
        dmi_residence_make_room(session, lane->need_bytes);
    ask_to_trim(session);
    return false;
}

bool dmi_answer_needs(dmi_session *session)
{
    bool moved = false;
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].need_bytes != 0)
            moved |= answer_need(session, &session->lanes[i]);
    return moved;
}

/* What workers wait for that have waited longer. */
static uint64_t needed_before(const dmi_session *session, int64_t since_ms)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < session->lane_count && session->rooms_awaited != 0; i++)
        if (session->lanes[i].need_since_ms < since_ms)
            sum += session->lanes[i].need_bytes;
    return sum;
}

static uint64_t room_since(const dmi_session *session, int64_t since_ms)
{
    uint64_t room = unclaimed(session), before = needed_before(session, since_ms);
    return room > before ? room - before : 0;
}

/* ---- D's heap ---- */

/* What D's heap may take without another word. Of what others are about to take aside nothing is anybody else's. */
static uint64_t granted_ahead(const dmi_session *session)
{
    uint64_t granted = dmi_word_peek(&session->heap_granted), has = dmi_word_peek(&session->heap_committed);
    return session->allocating == 0 && granted > has ? granted - has : 0;
}

/* `growth` is counted from what the heap has; but of what it is granted others may be about to make use. */
static void grant_more(dmi_session *session, uint64_t growth, uint64_t room)
{
    uint64_t spare = most(growth, least(STEP, room / 4)), has = dmi_word_peek(&session->heap_committed);
    if (session->allocating != 0)
        has = most(has, dmi_word_peek(&session->heap_granted));
    dmi_word_publish(&session->heap_granted, has + least(spare, room));
}

/* Others give up what they can do without. */
static void have_others_give(dmi_session *session, uint64_t growth)
{
    dmi_residence_make_room(session, growth); /* what has a copy on disk goes at once */
    bool soon = dmi_residence_moves(session) && dmi_now_ms() - dmi_residence_left_ms(session) < SOON_MS;
    if (!soon) /* else what leaves is room in a moment, and warm */
        ask_to_trim(session);
}

/* From now on D's heap may grow by so much that it finds room surely. */
static bool may_grow_for(dmi_session *session, size_t bytes, int64_t since_ms, bool modest)
{
    uint64_t growth = dmi_heap_growth_for(session->heap, bytes), room = room_since(session, since_ms);
    if (growth <= granted_ahead(session))
        return true;
    if (growth > room && growth <= session->settings.store_bytes && !modest) {
        have_others_give(session, growth);
        room = room_since(session, since_ms);
    }
    if (growth > room)
        return false;
    grant_more(session, growth, room);
    return true;
}

dmi_found_room dmi_room_find(dmi_session *session, size_t bytes, int64_t since_ms, bool modest, uint64_t *offset)
{
    bool busy;
    *offset = dmi_heap_alloc_at_hand(session->heap, bytes, &busy);
    if (*offset != 0)
        return DMI_ROOM_HAD;
    if (busy || may_grow_for(session, bytes, since_ms, modest)) {
        session->allocating++;
        return DMI_ROOM_CLAIMED;
    }
    *offset = dmi_heap_alloc_at_hand(session->heap, bytes, &busy); /* what was given up */
    return *offset != 0 ? DMI_ROOM_HAD : DMI_ROOM_NONE;
}

uint64_t dmi_room_aside(dmi_session *session, size_t bytes, int64_t since_ms)
{
    uint64_t offset;
    if (dmi_room_find(session, bytes, since_ms, false, &offset) != DMI_ROOM_CLAIMED)
        return offset;
    dmi_role_leave(&session->role);
    offset = dmi_heap_alloc(session->heap, bytes);
    dmi_role_take(&session->role);
    session->allocating--;
    return offset;
}

uint64_t dmi_room_for_driver(dmi_session *session, size_t bytes)
{
    uint64_t offset = dmi_heap_alloc(session->heap, bytes);
    if (offset == 0 && may_grow_for(session, bytes, 0, false))
        offset = dmi_heap_alloc(session->heap, bytes);
    return offset;
}

/* ---- who has it all ---- */

/* What keeps objects in memory, by reason. */
typedef struct pins {
    uint64_t views, view_bytes;     /* lent by dm_get */
    uint64_t made, made_bytes;      /* dm_create, not sealed */
    uint64_t read, read_bytes;      /* arguments of tasks that run or are placed */
    uint64_t inside; /* in heaps of workers, values or not */
    const char *reader; /* the function of one of those tasks, or of one that runs */
} pins;

static void count_pins(dmi_session *session, pins *p)
{
    *p = (pins){0};
    dmi_readers_look(session);
    for (uint32_t i = 0; i < session->task_high; i++) {
        const dmi_task *task = dmi_task_at(session, i);
        if (task->state != DMI_TASK_DONE || task->bytes == 0 || dmi_is_away(session, i))
            continue;
        if (task->flags & DMI_TASK_UNSEALED)
            p->made++, p->made_bytes += task->bytes;
        else if (task->views != 0 || dmi_shown_is_read(session, i))
            p->views++, p->view_bytes += task->bytes;
        else if (task->read_at == session->look)
            p->read++, p->read_bytes += task->bytes;
    }
    for (uint32_t i = 0; i < session->lane_count; i++) {
        const dmi_lane *lane = &session->lanes[i];
        if (lane->state == DMI_LANE_SERVING)
            p->inside += dmi_word_load(&lane->up->committed);
        if (!p->reader && *dmi_lane_running(session, lane))
            p->reader = dmi_lane_running(session, lane);
    }
}

static void describe_pins(dmi_session *session, char *to, size_t room)
{
    pins p;
    int at = 0;
    count_pins(session, &p);
    *to = 0;
    if (p.views)
        at += snprintf(to + at, room - (size_t)at, "; %llu bytes of %llu are lent as views of the program",
                       (unsigned long long)p.view_bytes, (unsigned long long)p.views);
    if (p.read)
        at += snprintf(to + at, room - (size_t)at, "; %llu bytes of %llu are arguments of running tasks (%.80s)",
                       (unsigned long long)p.read_bytes, (unsigned long long)p.read,
                       p.reader ? p.reader : "placed, not begun");
    if (p.made)
        at += snprintf(to + at, room - (size_t)at, "; %llu bytes of %llu are being made (dm_create)",
                       (unsigned long long)p.made_bytes, (unsigned long long)p.made);
    if (p.inside && !p.read)
        snprintf(to + at, room - (size_t)at, "; %llu bytes are with workers (%.80s)", (unsigned long long)p.inside,
                 p.reader ? p.reader : "none runs");
}

dm_status dmi_room_say(dmi_session *session, char *said, size_t room)
{
    const char *why;
    char pinned[400];
    dm_status trouble = dmi_residence_trouble(session, &why);
    if (trouble != DM_OK) {
        snprintf(said, room, "the store of %zu bytes is full, and nothing can be spilled: %s",
                 session->settings.store_bytes, why);
        return trouble;
    }
    describe_pins(session, pinned, sizeof pinned);
    snprintf(said, room, "the store of %zu bytes holds %zu bytes in %llu objects%s; release refs and views, or raise "
             "DM_STORE_BYTES", session->settings.store_bytes, session->counts.store_used,
             (unsigned long long)session->counts.objects, pinned);
    return DM_ERR_STORE_FULL;
}

dm_status dmi_store_full(dmi_session *session, size_t bytes)
{
    char said[900];
    dm_status status = dmi_room_say(session, said, sizeof said);
    return dmi_error(status, "no room for %zu bytes: %s", bytes, said);
}
