/*
 * supervisor.c - the thread that keeps the workers, and its loop: what is done when it is rung, poked, when time has
 * passed and when it is to end. How a worker starts, is heard and ends is in ward_start.c, ward_heard.c and ward_end.c;
 * strikes.c counts starts that fail. Observers come in at its door (runtime/door.h).
 *
 * A libuv loop that sleeps unless something happens: no timer runs without a reason. Decides
 * nothing about tasks: that is dispatch and recovery, called here under the role. The role is never
 * held while a worker is being started, while output is forwarded or while anything sleeps.
 *
 * All functions run on the supervisor's thread, except the three of supervisor.h.
 */
#include "runtime/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/lane.h"
#include "runtime/residence.h"
#include "runtime/ward.h"

enum {
    CLOSING_MS = 100, /* for workers to end by themselves */
    PUT_OFF_MOST = 4, /* so many milliseconds */
    ROOM_TICK_MS = 5  /* while a worker waits for room in the store */
};

static void set_timer(dmi_supervisor *s, int64_t at);

/* ---- for the files of the wards ---- */

void dmi_supervisor_say(const dmi_supervisor *s, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    s->session->settings.log(s->session->settings.log_context, line);
}

void dmi_supervisor_break(dmi_supervisor *s, dm_status status, const char *reason)
{
    dmi_role_take(&s->session->role);
    dmi_session_break(s->session, status, reason);
    dmi_wake_waiters(s->session);
    dmi_role_leave(&s->session->role);
}

/* ---- time ---- */

static void earlier(int64_t *at, int64_t other)
{
    if (other >= 0 && (*at < 0 || other < *at))
        *at = other;
}

/* Workers whose socket ended and who did not: they are of no use, and nobody else can end them. */
static int64_t kill_hung_up(dmi_supervisor *s, int64_t now)
{
    int64_t at = -1;
    for (uint32_t i = 0; i < s->session->lane_limit && s->ward_count > 0; i++) {
        dmi_ward *w = s->wards[i];
        if (!w || w->kill_at_ms == 0)
            continue;
        if (now >= w->kill_at_ms) {
            w->kill_at_ms = 0;
            if (!dmi_child_has_ended(&w->child)) /* else it is told of in a moment, and how it came to it */
                dmi_ward_condemn(w, DM_ERR_WORKER_EXITED);
        } else {
            earlier(&at, w->kill_at_ms);
        }
    }
    return at;
}

/* The role's part: pump, limits. Returns when to come again, -1: no need. */
static int64_t pump(dmi_supervisor *s, int64_t now)
{
    dmi_session *session = s->session;
    int64_t at = -1;
    dmi_role_take(&session->role);
    if (dmi_pump(session))
        dmi_wake_waiters(session);
    dmi_lane *overdue = dmi_overdue_lane(session, now);
    while (overdue && overdue->condemned == DM_OK) {
        dmi_lane_condemn(overdue, DM_ERR_TASK_TIMEOUT);
        overdue = dmi_overdue_lane(session, now);
    }
    int64_t deadline = dmi_next_deadline_ms(session, now);
    if (deadline >= 0)
        at = now + (deadline > 0 ? deadline : 1);
    if (dmi_wants_ticks(session))
        earlier(&at, now + ROOM_TICK_MS);
    const char *line = dmi_residence_announcement(session);
    dmi_role_leave(&session->role);
    if (line)
        dmi_supervisor_say(s, "%s", line);
    return at;
}

/* A thread of the program that is in one call after the other dispatches itself, and each visit costs
 * it some microseconds: it is left alone for a few milliseconds. */
static void look_around_soon(dmi_supervisor *s)
{
    bool busy = !s->closing && dmi_role_is_busy(&s->session->role);
    if (busy && s->put_off++ < PUT_OFF_MOST) {
        set_timer(s, dmi_now_ms() + 1);
        return;
    }
    s->put_off = 0;
    dmi_supervisor_look_around(s);
}

static void on_timer(uv_timer_t *timer)
{
    look_around_soon(timer->data);
}

static void set_timer(dmi_supervisor *s, int64_t at)
{
    if (at < 0) {
        uv_timer_stop(&s->timer);
        return;
    }
    int64_t wait = at - dmi_now_ms();
    uv_update_time(&s->loop);
    uv_timer_start(&s->timer, on_timer, wait > 1 ? (uint64_t)wait : 1, 0);
}

static void kill_all(dmi_supervisor *s)
{
    for (uint32_t i = 0; i < s->session->lane_limit; i++) {
        if (s->wards[i])
            dmi_child_signal(&s->wards[i]->child, SIGKILL);
    }
}

void dmi_supervisor_look_around(dmi_supervisor *s)
{
    int64_t now = dmi_now_ms();
    if (s->closing) {
        if (now >= s->kill_at_ms)
            kill_all(s);
        else
            set_timer(s, s->kill_at_ms);
        return;
    }
    int64_t at = pump(s, now);
    earlier(&at, kill_hung_up(s, now));
    earlier(&at, dmi_ward_start_missing(s));
    set_timer(s, at);
}

/* ---- being rung, poked and stopped ---- */

static void on_bell(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    dmi_supervisor *s = poll->data;
    uint64_t rings;
    ssize_t got = read(s->session->supervisor_bell, &rings, sizeof rings);
    (void)got;
    look_around_soon(s);
}

void dmi_supervisor_close_when_alone(dmi_supervisor *s)
{
    if (s->ward_count > 0)
        return;
    uv_close((uv_handle_t *)&s->bell, NULL);
    uv_close((uv_handle_t *)&s->poke, NULL);
    uv_close((uv_handle_t *)&s->timer, NULL);
}

/* From here on nobody is replaced. Workers are asked to go; those in a long task will not hear
 * it. */
static void begin_closing(dmi_supervisor *s)
{
    dmi_session *session = s->session;
    s->closing = true;
    dmi_door_close(s->door);
    s->kill_at_ms = dmi_now_ms() + CLOSING_MS;
    dmi_role_take(&session->role);
    session->closing = true;
    for (uint32_t i = 0; i < session->lane_limit; i++) {
        if (!s->wards[i])
            continue;
        dmi_word_publish(&session->lanes[i].down->closing, 1);
        dmi_ring_bell(session->lanes[i].child.bell);
    }
    dmi_role_leave(&session->role);
    dmi_supervisor_look_around(s);
    dmi_supervisor_close_when_alone(s);
}

static void on_poke(uv_async_t *poke)
{
    dmi_supervisor *s = poke->data;
    if (s->closing)
        return;
    if (atomic_load(&s->stopping))
        begin_closing(s);
    else
        dmi_supervisor_look_around(s);
}

void dmi_supervisor_poke(dmi_session *session)
{
    if (session->supervisor)
        uv_async_send(&session->supervisor->poke);
}

/* ---- the thread ---- */

static void start_first(dmi_supervisor *s)
{
    if (s->session->settings.engine == DM_ENGINE_PROCESSES) {
        s->first_status = dmi_ward_start(s, 0);
        snprintf(s->first_text, sizeof s->first_text, "%s", dm_last_error());
    }
    sem_post(&s->started);
}

static void *supervisor_main(void *argument)
{
    dmi_supervisor *s = argument;
    pthread_setname_np(pthread_self(), "dm-supervisor");
    if (dmi_door_open(&s->door, s->session, &s->loop) != DM_OK)
        dmi_supervisor_say(s, "dmrt: %s", dm_last_error());
    start_first(s);
    if (s->first_status == DM_OK)
        dmi_supervisor_look_around(s);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* libuv aborts the program if its first loop gets no descriptors for its signal pipe. */
static bool can_have_descriptors(int any)
{
    enum { NEEDED = 10 };
    int probes[NEEDED], count = 0;
    while (count < NEEDED && (probes[count] = dup(any)) >= 0)
        count++;
    for (int i = 0; i < count; i++)
        close(probes[i]);
    return count == NEEDED;
}

/* The handles; what was made is closed again by closing the loop. */
static int open_loop(dmi_supervisor *s)
{
    if (!can_have_descriptors(s->session->supervisor_bell))
        return UV_EMFILE;
    int error = uv_loop_init(&s->loop);
    if (error)
        return error;
    s->bell.data = s->poke.data = s->timer.data = s;
    uv_timer_init(&s->loop, &s->timer);
    error = uv_async_init(&s->loop, &s->poke, on_poke);
    if (!error) {
        error = uv_poll_init(&s->loop, &s->bell, s->session->supervisor_bell);
        if (!error)
            error = uv_poll_start(&s->bell, UV_READABLE, on_bell);
        if (error)
            uv_close((uv_handle_t *)&s->poke, NULL);
    }
    if (!error)
        return 0;
    uv_close((uv_handle_t *)&s->timer, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    return error;
}

/* No signal is ever handled on this thread: they are the program's. */
static int start_thread(dmi_supervisor *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&s->thread, NULL, supervisor_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void dispose(dmi_supervisor *s)
{
    dmi_door_destroy(s->door);
    dmi_recipe_destroy(s->recipe);
    sem_destroy(&s->started);
    free(s);
}

static dm_status cannot_start(dmi_supervisor *s, int error, const char *what)
{
    dispose(s);
    dm_status status = error == EMFILE || error == ENFILE ? DM_ERR_FDS
                       : error == ENOMEM || error == EAGAIN ? DM_ERR_NOMEM
                                                            : DM_ERR_SYSTEM;
    return dmi_error(status, "the supervisor cannot be started: %s: %s", what, strerror(error));
}

static dm_status prepare(dmi_session *session, dmi_supervisor **out)
{
    dmi_supervisor *s = calloc(1, sizeof *s);
    if (!s)
        return dmi_error(DM_ERR_NOMEM, "no memory for the supervisor");
    s->session = session;
    sem_init(&s->started, 0, 0);
    if (session->settings.engine == DM_ENGINE_PROCESSES) {
        dm_status status = dmi_recipe_create(&s->recipe);
        if (status != DM_OK) {
            dispose(s);
            return status;
        }
        for (uint32_t i = 0; i < session->lane_limit; i++)
            session->lanes[i].child = (dmi_child){0, -1, -1, {-1, -1}, -1, -1};
    }
    *out = s;
    return DM_OK;
}

dm_status dmi_supervisor_start(dmi_session *session)
{
    dmi_supervisor *s = NULL;
    DM_TRY(prepare(session, &s));
    int error = open_loop(s);
    if (error)
        return cannot_start(s, -error, "its loop"); /* libuv's numbers are errno's, negative */
    session->supervisor = s;
    error = start_thread(s);
    if (error) {
        session->supervisor = NULL;
        s->closing = true;
        dmi_supervisor_close_when_alone(s);
        uv_run(&s->loop, UV_RUN_DEFAULT);
        uv_loop_close(&s->loop);
        return cannot_start(s, error, "its thread");
    }
    while (sem_wait(&s->started) != 0)
        continue;
    if (s->first_status == DM_OK)
        return DM_OK;
    dm_status status = s->first_status;
    char text[sizeof s->first_text];
    memcpy(text, s->first_text, sizeof text);
    dmi_supervisor_stop(session);
    return dmi_error(status, "%s", text);
}

void dmi_supervisor_stop(dmi_session *session)
{
    dmi_supervisor *s = session->supervisor;
    if (!s)
        return;
    atomic_store(&s->stopping, true); /* private atomic */
    uv_async_send(&s->poke);
    pthread_join(s->thread, NULL);
    session->supervisor = NULL;
    uv_loop_close(&s->loop);
    dispose(s);
}
