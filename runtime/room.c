/*
 * room.c - grants of memory to the heaps of a session.
 */
#include "runtime/room.h"

#include "runtime/lane.h"

enum { STEP = 16 << 20, FIRST = 8 << 20 };

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What a lane may hold or holds; a worker that was asked to trim may still hold more than its grant. */
static uint64_t charge(const dmi_lane *lane)
{
    if (lane->state != DMI_LANE_SERVING)
        return 0;
    return most(dmi_word_peek(&lane->down->granted), dmi_word_load(&lane->up->committed));
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
        total += charge(&session->lanes[i]);
    return total < session->settings.store_bytes ? session->settings.store_bytes - total : 0;
}

void dmi_room_first_grant(dmi_session *session, dmi_lane *lane)
{
    uint64_t share = session->settings.store_bytes / (4 * ((uint64_t)session->settings.workers + 1));
    dmi_word_publish(&lane->down->granted, least(least(share, FIRST), unclaimed(session)));
}

static void grant(dmi_session *session, dmi_lane *lane, uint64_t bytes)
{
    uint64_t now = most(dmi_word_peek(&lane->down->granted), dmi_word_load(&lane->up->committed));
    uint64_t room = unclaimed(session);
    uint64_t spare = most(bytes, least(STEP, room / 4));
    dmi_word_publish(&lane->down->granted, now + least(spare, room));
}

static void answer(dmi_lane *lane, bool refused)
{
    uint64_t count = (dmi_word_peek(&lane->down->answers) >> 1) + 1;
    lane->need_bytes = 0;
    dmi_word_publish(&lane->down->answers, count << 1 | refused);
    dmi_lane_wake(lane);
}

/* Everybody gives back what it does not use; what is in use stays granted. */
static void ask_to_trim(dmi_session *session)
{
    for (uint32_t i = 0; i < session->lane_count; i++) {
        dmi_lane *lane = &session->lanes[i];
        if (lane->state != DMI_LANE_SERVING || lane->trim_pending || charge(lane) == 0)
            continue;
        lane->trim_pending = true;
        dmi_word_publish(&lane->down->granted, 0);
        dmi_word_publish(&lane->down->trim, ++lane->trims_asked);
        dmi_ring_bell(lane->child.service_bell);
    }
    dmi_heap_trim(session->heap);
    dmi_word_publish(&session->heap_granted, dmi_word_peek(&session->heap_committed));
}

void dmi_room_trimmed(dmi_session *session, dmi_lane *lane)
{
    (void)session;
    lane->trim_pending = false;
    dmi_word_publish(&lane->down->granted, dmi_word_load(&lane->up->committed));
}

void dmi_room_need(dmi_session *session, dmi_lane *lane, uint64_t bytes)
{
    lane->need_bytes = bytes;
    lane->need_until_ms = dmi_now_ms() + session->settings.store_wait_ms;
    session->rooms_awaited++;
}

bool dmi_answer_needs(dmi_session *session)
{
    bool moved = false;
    for (uint32_t i = 0; i < session->lane_count; i++) {
        dmi_lane *lane = &session->lanes[i];
        if (lane->need_bytes == 0)
            continue;
        bool fits = lane->need_bytes <= unclaimed(session);
        bool late = dmi_now_ms() >= lane->need_until_ms;
        if (fits && !lane->trim_pending)
            grant(session, lane, lane->need_bytes);
        else if (!late) {
            ask_to_trim(session);
            continue;
        }
        session->rooms_awaited--;
        answer(lane, !fits);
        moved = true;
    }
    return moved;
}

uint64_t dmi_room_for_driver(dmi_session *session, size_t bytes)
{
    uint64_t offset = dmi_heap_alloc(session->heap, bytes);
    if (offset != 0)
        return offset;
    uint64_t growth = dmi_heap_growth_for(session->heap, bytes), room = unclaimed(session);
    if (growth > room) {
        ask_to_trim(session);
        room = unclaimed(session);
        if (growth > room)
            return 0;
    }
    uint64_t spare = most(growth, least(STEP, room / 4));
    dmi_word_publish(&session->heap_granted,
                     dmi_word_peek(&session->heap_committed) + least(spare, room));
    return dmi_heap_alloc(session->heap, bytes);
}

dm_status dmi_store_full(const dmi_session *session, size_t bytes)
{
    return dmi_error(DM_ERR_STORE_FULL,
                     "no room for %zu bytes: the store of %zu bytes holds %zu bytes in %llu objects; "
                     "release refs and views, or raise DM_STORE_BYTES",
                     bytes, session->settings.store_bytes, session->counts.store_used,
                     (unsigned long long)session->counts.objects);
}
