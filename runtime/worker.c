/*
 * worker.c - a worker's loop: claim an entry, run it, publish, say how far it is; spin, sleep, be rung.
 *
 * Runs on the worker's task thread, but for dmi_worker_housekeep, which its service thread calls, too.
 */
#include "runtime/worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/lane.h"
#include "runtime/policy.h"
#include "runtime/scarce.h"

_Thread_local dmi_worker *dmi_self;

/* ---- bells ---- */

void dmi_worker_ring(dmi_worker *worker)
{
    bool driver = dmi_word_load(&worker->head->listener) == DMI_DRIVER;
    dmi_ring_bell(driver ? worker->driver_bell : worker->supervisor_bell);
}

static inline void say_done(dmi_worker *worker)
{
    if (worker->said == worker->done)
        return;
    worker->said = worker->done;
    dmi_word_publish(&worker->up->done, worker->done);
}

/* The driver may want to hear that we are this far. */
static inline void ring_if_asked(dmi_worker *worker)
{
    uint64_t at = dmi_word_peek(&worker->down->wake_at);
    if (worker->done < at || worker->rung == at)
        return;
    say_done(worker);
    uint64_t listener = dmi_word_load(&worker->head->listener);
    if (listener == DMI_NOBODY)
        return;
    worker->rung = at;
    dmi_ring_bell(listener == DMI_DRIVER ? worker->driver_bell : worker->supervisor_bell);
}

static void pump_serially(dmi_worker *worker)
{
    dmi_role_take(&worker->session->role);
    dmi_pump(worker->session);
    dmi_role_leave(&worker->session->role);
}

bool dmi_worker_is_serial(const dmi_worker *worker)
{
    return worker->session && worker->session->settings.engine == DM_ENGINE_SERIAL;
}

void dmi_worker_sleep(dmi_worker *worker, bool (*awake)(dmi_worker *, void *), void *context, int ms)
{
    enum { LOST_BELL = 70 };
    if (dmi_worker_is_serial(worker)) {
        dmi_worker_housekeep(worker); /* no thread of its own does that */
        pump_serially(worker);
        if (!awake(worker, context))
            usleep(50); /* what it waits for is on a disk */
        return;
    }
    dmi_word_publish(&worker->up->asleep, 1);
    dmi_fence();
    if (!awake(worker, context)) {
        ring_if_asked(worker);
        struct pollfd bell = {.fd = worker->bell, .events = POLLIN};
        if (poll(&bell, 1, ms) > 0) {
            if (bell.revents & POLLNVAL)
                _exit(LOST_BELL); /* a task closed descriptors that are not its own */
            uint64_t count;
            ssize_t bytes = read(worker->bell, &count, sizeof count);
            (void)bytes;
        }
    }
    dmi_word_publish(&worker->up->asleep, 0);
}

/* ---- messages ---- */

bool dmi_worker_is_closing(const dmi_worker *worker)
{
    return dmi_word_load(&worker->down->closing) != 0;
}

static bool has_post_room(dmi_worker *worker, void *unused)
{
    (void)unused;
    return worker->posted - dmi_word_load(&worker->down->up_head) < DMI_UP_RING;
}

void dmi_worker_post(dmi_worker *worker, dmi_message *message)
{
    if (dmi_self == worker)
        say_done(worker); /* what the message may depend on is said before it */
    pthread_mutex_lock(&worker->post_lock);
    while (!has_post_room(worker, NULL)) {
        if (dmi_worker_is_closing(worker)) { /* nobody hears it */
            pthread_mutex_unlock(&worker->post_lock);
            return;
        }
        dmi_worker_ring(worker);
        if (dmi_worker_is_serial(worker))
            pump_serially(worker);
        else
            usleep(100);
    }
    message->at = dmi_word_peek(&worker->up->done);
    dmi_shared_copy(&worker->up->ring[worker->posted % DMI_UP_RING], message, sizeof *message);
    dmi_word_publish(&worker->up->up_tail, ++worker->posted);
    pthread_mutex_unlock(&worker->post_lock);
}

/* ---- room ---- */

/* Under free_lock: what the driver says is free. */
static void take_frees(dmi_worker *worker)
{
    uint64_t tail = dmi_word_load(&worker->down->free_tail);
    if (tail == worker->freed)
        return;
    while (worker->freed != tail) {
        uint64_t offset = dmi_word_peek(&worker->down->free_ring[worker->freed++ % DMI_FREE_RING]);
        dmi_heap_free(worker->heap, offset);
    }
    dmi_word_publish(&worker->up->free_head, worker->freed);
}

void dmi_worker_housekeep(dmi_worker *worker)
{
    pthread_mutex_lock(&worker->free_lock);
    take_frees(worker);
    uint64_t trim = dmi_word_load(&worker->down->trim);
    bool trimmed = trim != worker->trimmed;
    if (trimmed) {
        dmi_heap_trim(worker->heap);
        worker->trimmed = trim;
    }
    pthread_mutex_unlock(&worker->free_lock);
    if (trimmed) {
        dmi_worker_post(worker, &(dmi_message){.kind = DMI_MSG_TRIMMED});
        dmi_worker_ring(worker);
    }
}

void dmi_worker_free(dmi_worker *worker, uint64_t offset)
{
    dmi_heap_free(worker->heap, offset);
}

static bool was_answered(dmi_worker *worker, void *count)
{
    return dmi_word_load(&worker->down->answers) >> 8 != *(uint64_t *)count;
}

static bool was_answered_or_closes(dmi_worker *worker, void *count)
{
    return was_answered(worker, count) || dmi_worker_is_closing(worker);
}

/* Ask for more; DM_OK, or why there is none, or DMI_GIVE_WAY. */
static uint8_t ask_for_room(dmi_worker *worker, size_t bytes)
{
    dmi_worker_unclaim(worker); /* it may take its time: others can have what is behind us */
    uint64_t count = dmi_word_load(&worker->down->answers) >> 8;
    dmi_message need = {.kind = DMI_MSG_NEED};
    uint64_t growth = dmi_heap_growth_for(worker->heap, bytes);
    memcpy(need.args, &growth, 8);
    dmi_worker_post(worker, &need);
    dmi_worker_ring(worker);
    while (!was_answered_or_closes(worker, &count))
        dmi_worker_sleep(worker, was_answered_or_closes, &count, 10);
    if (!was_answered(worker, &count))
        return DM_ERR_SHUT_DOWN;
    return (uint8_t)(dmi_word_load(&worker->down->answers) & 0xff);
}

dm_status dmi_worker_refused(dmi_worker *worker, uint8_t why, const char *what)
{
    char said[DMI_SAID];
    if (why == DM_ERR_SHUT_DOWN)
        return dmi_error(DM_ERR_SHUT_DOWN, "%s: the session is being shut down", what);
    if (why == DMI_GIVE_WAY && worker->call)
        worker->call->gives_way = true;
    if (why == DMI_GIVE_WAY)
        return dmi_error(DM_ERR_STORE_FULL, "%s: other tasks need the room; this one will be run again", what);
    memcpy(said, worker->down->said, sizeof said);
    said[sizeof said - 1] = 0;
    return dmi_error((dm_status)why, "%s: %s", what, *said ? said : dm_strerror((dm_status)why));
}

static dm_status no_room(dmi_worker *worker, uint8_t refusal, size_t bytes)
{
    char what[80];
    snprintf(what, sizeof what, "no room for %zu bytes", bytes);
    if (refusal != DM_OK)
        return dmi_worker_refused(worker, refusal, what);
    return dmi_error(DM_ERR_STORE_FULL, "%s; release refs and views, or raise DM_STORE_BYTES", what);
}

dm_status dmi_worker_room(dmi_worker *worker, size_t bytes, uint64_t *offset)
{
    enum { TRIES = 20 };
    uint8_t refusal = DM_OK;
    for (int i = 0; i < TRIES; i++) {
        if (dmi_word_peek(&worker->down->free_tail) != worker->freed)
            dmi_worker_housekeep(worker);
        *offset = dmi_heap_alloc(worker->heap, bytes);
        if (*offset != 0)
            return DM_OK;
        dmi_inside_adopt_all(worker);
        refusal = ask_for_room(worker, bytes);
        if (refusal != DM_OK)
            break;
    }
    return no_room(worker, refusal, bytes);
}

/* ---- the ring ---- */

/* Smooth what a task takes. Short ones are looked at in groups, so that the clock costs little. */
static inline void note_time(dmi_worker *worker)
{
    enum { SHORT_NS = 2000, GROUP = 16 };
    uint64_t tasks = worker->done - worker->clock_tasks;
    if (worker->mean_ns != 0 && worker->mean_ns < SHORT_NS && tasks < GROUP)
        return;
    uint64_t now = dmi_now_ns(), each = (now - worker->clock_at) / (tasks ? tasks : 1) + 1;
    uint64_t most = 8 * worker->mean_ns + SHORT_NS; /* one that was preempted says little of the next */
    if (worker->mean_ns != 0 && each > most)
        each = most;
    worker->mean_ns = worker->mean_ns == 0 ? each : (7 * worker->mean_ns + each + 7) / 8;
    worker->clock_at = now;
    worker->clock_tasks = worker->done;
    dmi_word_publish(&worker->up->mean_ns, worker->mean_ns);
}

static void restart_clock(dmi_worker *worker)
{
    worker->clock_at = dmi_now_ns();
    worker->clock_tasks = worker->done;
}

/* Claim the next entries and wait until nobody is deciding about them: law 3 of runtime/layout.h. The
 * fence waits for all stores on their way, so short tasks are claimed in groups. */
static inline void claim(dmi_worker *worker, uint64_t tail)
{
    enum { SHORT_NS = 2000, GROUP = 16 };
    uint64_t there = tail - worker->next;
    bool one = worker->mean_ns == 0 || worker->mean_ns >= SHORT_NS || there == 1;
    worker->claimed = worker->next + (one ? 1 : there < GROUP ? there : GROUP);
    dmi_word_publish(&worker->up->claim, worker->claimed);
    dmi_fence();
    while (dmi_word_load(&worker->down->revoke) & 1)
        sched_yield();
    ring_if_asked(worker);
}

void dmi_worker_unclaim(dmi_worker *worker)
{
    if (worker->claimed <= worker->next + 1)
        return;
    worker->claimed = worker->next + 1;
    dmi_word_publish(&worker->up->claim, worker->claimed);
}

/* ---- what comes next ---- */

enum { RECORD_AHEAD = 4, SLOT_AHEAD = 2 }; /* tasks: the record is here when the slot is asked for */

static inline const dmi_record *record_of_entry(const dmi_worker *worker, uint64_t position)
{
    uint64_t index = dmi_word_peek(&worker->down->ring[position % DMI_RING]);
    return index < DMI_MAX_RECORDS ? &worker->records[index] : NULL;
}

static inline void ask_for_record(const dmi_worker *worker, uint64_t position)
{
    const dmi_record *record = position < worker->claimed ? record_of_entry(worker, position) : NULL;
    if (record != NULL)
        __builtin_prefetch(record);
}

static inline void ask_for_slot(const dmi_worker *worker, uint64_t position)
{
    const dmi_record *record = position < worker->claimed ? record_of_entry(worker, position) : NULL;
    if (record != NULL)
        dmi_prefetch_write(&worker->slots[dmi_where_position(dmi_word_peek(&record->where))]);
}

static inline void run_entry(dmi_worker *worker)
{
    uint64_t entry = dmi_word_load(&worker->down->ring[worker->next % DMI_RING]);
    ask_for_record(worker, worker->next + RECORD_AHEAD);
    ask_for_slot(worker, worker->next + SLOT_AHEAD);
    if (entry != DMI_VOID && dmi_call_run(worker, (uint32_t)entry) == DMI_UNRUN)
        dmi_worker_post(worker, &(dmi_message){.kind = DMI_MSG_BOUNCED});
    worker->done = ++worker->next;
    if (worker->dropped_count != 0)
        dmi_inside_say_dropped(worker);
}

/* Run what can be claimed at once, if there is anything. */
static inline bool take_turn(dmi_worker *worker)
{
    uint64_t tail = dmi_word_load(&worker->down->tail);
    if (tail == worker->next)
        return false;
    __builtin_prefetch(&worker->records[dmi_word_peek(&worker->down->fresh) % DMI_MAX_RECORDS]);
    claim(worker, tail);
    for (uint64_t i = 0; i < RECORD_AHEAD; i++)
        ask_for_record(worker, worker->next + i);
    while (worker->next < worker->claimed)
        run_entry(worker);
    say_done(worker);
    note_time(worker);
    ring_if_asked(worker);
    return true;
}

bool dmi_worker_turn(dmi_worker *worker)
{
    return take_turn(worker);
}

static bool has_work(dmi_worker *worker, void *unused)
{
    (void)unused;
    return dmi_word_load(&worker->down->tail) != worker->next || dmi_word_load(&worker->down->closing);
}

/* Nothing to do: spin a while, tidy up, sleep. Whoever holds work back for us is told. */
static void idle(dmi_worker *worker)
{
    uint64_t until = dmi_now_ns() + dmi_policy_worker_spin_ns(worker->cpus);
    for (int i = 0; !has_work(worker, NULL); i++) {
        dmi_relax();
        if (i % 64 != 63)
            continue;
        if (dmi_now_ns() >= until)
            break;
        sched_yield(); /* the driver may need this very core */
    }
    if (!has_work(worker, NULL)) {
        if (dmi_word_peek(&worker->down->free_tail) != worker->freed)
            dmi_worker_housekeep(worker);
        if (dmi_word_load(&worker->down->held_back))
            dmi_worker_ring(worker);
        dmi_worker_sleep(worker, has_work, NULL, -1);
    }
    restart_clock(worker);
}

void dmi_worker_serve(dmi_worker *worker)
{
    restart_clock(worker);
    for (;;) {
        if (take_turn(worker))
            continue;
        if (dmi_word_load(&worker->down->closing))
            return;
        idle(worker);
    }
}
