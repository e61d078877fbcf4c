/*
 * session.c - a session begins and ends: D, lanes, engines, the one session of this process.
 */
#include "runtime/lists.h"
#include "runtime/session.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "runtime/dispatch.h"
#include "runtime/engine.h"
#include "runtime/extras.h"
#include "runtime/lane.h"
#include "runtime/residence.h"
#include "runtime/room.h"
#include "runtime/task.h"

enum { PAGE = 4096 };

static size_t pages(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* ---- D ---- */

static size_t heap_range(const dmi_session *session)
{
    /* Address space, not memory: the whole store may be in one heap, twice for fragments. */
    return pages(2 * session->settings.store_bytes) + ((size_t)1 << 28);
}

static dm_status make_d(dmi_session *session)
{
    size_t generations_at = pages(sizeof(dmi_head));
    size_t downs_at = generations_at + pages(DMI_SEGMENTS * sizeof(dmi_word));
    size_t records_at = downs_at + pages(session->lane_limit * sizeof(dmi_down));
    size_t heap_at = records_at + DMI_MAX_RECORDS * sizeof(dmi_record);
    bool one_mapping = session->settings.engine != DM_ENGINE_PROCESSES;
    dmi_seat *seat = &session->seats[0];
    DM_TRY(dmi_segment_create(&seat->memory, heap_at + heap_range(session), one_mapping));
    seat->used = true;
    session->seat_high = 1;
    session->head = (dmi_head *)seat->memory.rw;
    session->segment_bytes =
        pages(sizeof(dmi_up) + DMI_MAX_SLOTS * sizeof(dmi_slot)) + heap_range(session);
    DMI_STEP();
    *session->head = (dmi_head){.abi = DMI_ABI,
                                .lanes = session->lane_limit,
                                .generations_at = generations_at,
                                .downs_at = downs_at,
                                .records_at = records_at,
                                .heap_at = heap_at,
                                .up_heap_at = pages(sizeof(dmi_up) + DMI_MAX_SLOTS * sizeof(dmi_slot))};
    session->segment_generations = (dmi_word *)(seat->memory.rw + generations_at);
    session->records = (dmi_record *)(seat->memory.rw + records_at);
    session->records_ahead =
        (dmi_ahead){seat->memory.rw + records_at, 0, DMI_MAX_RECORDS * sizeof(dmi_record), false};
    dmi_word_publish(&session->heap_granted, 0);
    return dmi_heap_create(&session->heap, &seat->memory, heap_at, seat->memory.bytes,
                           &session->heap_committed, &session->heap_granted);
}

/* ---- tables ---- */

static void *reserve(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void make_lanes(dmi_session *session)
{
    dmi_down *downs = (dmi_down *)(session->seats[0].memory.rw + session->head->downs_at);
    for (uint32_t i = 0; i < session->lane_limit; i++) {
        dmi_lane *lane = &session->lanes[i];
        lane->index = i;
        lane->down = &downs[i];
        lane->child = (dmi_child){0, -1, -1, {-1, -1}, -1, -1};
    }
    session->lane_count = session->lane_limit;
}

static dm_status make_bells(dmi_session *session)
{
    session->driver_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    session->supervisor_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (session->driver_bell < 0 || session->supervisor_bell < 0)
        return dmi_error(DM_ERR_FDS, "no file descriptor for the session's bells: raise ulimit -n");
    return DM_OK;
}

static void make_turn(dmi_session *session)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&session->turn, &attributes);
    pthread_condattr_destroy(&attributes);
}

static uint32_t lane_limit(const dmi_settings *settings)
{
    enum { SPARE = 4 };
    uint32_t limit = 2 * (uint32_t)settings->workers + SPARE;
    if (settings->engine != DM_ENGINE_PROCESSES)
        limit = (uint32_t)settings->workers; /* a blocked thread runs what it waits for, and that is all */
    return limit < DMI_MAX_LANES ? limit : DMI_MAX_LANES;
}

static uint32_t new_tag(void)
{
    /* Refs of an earlier session of this process are foreign to this one. */
    static uint32_t sessions;
    return 1 + sessions++ % 127;
}

dm_status dmi_session_create(dmi_session **out, const dmi_settings *settings)
{
    dmi_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a session");
    *out = session;
    session->settings = *settings;
    session->driver_bell = session->supervisor_bell = -1;
    session->lane_limit = lane_limit(settings);
    session->tag = new_tag();
    session->counts.engine = settings->engine;
    session->counts.store_bytes = settings->store_bytes;
    dmi_role_init(&session->role);
    make_turn(session);
    session->seats = reserve(DMI_SEGMENTS * sizeof *session->seats);
    session->tasks = reserve(DMI_MAX_RECORDS * sizeof *session->tasks);
    session->lanes = calloc(session->lane_limit, sizeof *session->lanes);
    if (!session->seats || !session->tasks || !session->lanes || !dmi_shown_init(&session->shown))
        return dmi_error(DM_ERR_NOMEM, "no address space for a session's tables: raise ulimit -v");
    dmi_ahead_in_large((char *)session->tasks, DMI_MAX_RECORDS * sizeof *session->tasks);
    session->tasks_ahead = (dmi_ahead){(char *)session->tasks, 0, 1 << 20, false};
    DM_TRY(make_bells(session));
    DM_TRY(make_d(session));
    make_lanes(session);
    return dmi_residence_create(session);
}

static void destroy_lane(dmi_lane *lane)
{
    free(lane->free_slots);
    free(lane->cells);
    free(lane->unfreed);
}

static void close_bell(int fd)
{
    if (fd >= 0)
        close(fd);
}

void dmi_session_destroy(dmi_session *session)
{
    dmi_residence_stop(session);
    dmi_residence_destroy(session);
    for (uint32_t i = 0; session->lanes && i < session->lane_limit; i++)
        destroy_lane(&session->lanes[i]);
    dmi_heap_destroy(session->heap);
    for (uint32_t i = 0; session->seats && i < session->seat_high; i++)
        if (session->seats[i].used)
            dmi_segment_destroy(&session->seats[i].memory);
    if (session->seats)
        munmap(session->seats, DMI_SEGMENTS * sizeof *session->seats);
    if (session->tasks)
        munmap(session->tasks, DMI_MAX_RECORDS * sizeof *session->tasks);
    dmi_shown_fini(&session->shown);
    free(session->lanes);
    dmi_lists_destroy(session);
    free(session->edges);
    dmi_extras_destroy(session);
    free(session->cancels);
    close_bell(session->driver_bell);
    close_bell(session->supervisor_bell);
    /* The rest stays for ever, four kilobytes: a thread may be on its way into a call, and must find a role
     * to take and a session that says it is closing. */
    static dmi_session *last;
    session->closing = true;
    session->buried = last;
    last = session;
}
