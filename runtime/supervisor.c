/*
 * supervisor.c - the thread that keeps the workers: starts them, hears what they say and that they
 * died, kills them when their time is up, and pumps when it is rung. Observers come in at its door
 * (runtime/door.h).
 *
 * A libuv loop that sleeps unless something happens: no timer runs without a reason. Decides
 * nothing about tasks: that is dispatch and recovery, called here under the role. The role is never
 * held while a worker is being started, while output is forwarded or while anything sleeps.
 *
 * All functions run on the supervisor's thread, except the three of supervisor.h.
 */
#include "runtime/supervisor.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "runtime/clock.h"
#include "runtime/control.h"
#include "runtime/door.h"
#include "runtime/lane.h"
#include "runtime/output.h"
#include "runtime/registry.h"
#include "runtime/residence.h"
#include "runtime/spawn.h"

enum {
    OUTPUT_PER_TURN = 64 << 10,
    OUTPUT_AT_DEATH = 256 << 10, /* what the pipe may hold, and some; not what a stranger may add */
    MESSAGES_PER_TURN = 64,
    CLOSING_MS = 100,  /* for workers to end by themselves */
    HANG_UP_MS = 500,  /* from the end of a worker's socket to its own end, which takes a busy machine a while */
    PUT_OFF_MOST = 4, /* so many milliseconds */
    ROOM_TICK_MS = 5,  /* while a worker waits for room in the store */
    YOUNG_MS = 1000,  /* a worker that ends sooner, and has not begun a task, came to nothing */
    START_PAUSE_MS = 100,
    START_PAUSE_MOST_MS = 1000,
    STRIKES_OUT = 100, /* failed starts in a row: so many of STRIKE, or of STRIKE_KILLED */
    STRIKE = 20,
    STRIKE_KILLED = 1, /* by SIGKILL: somebody else's doing, who may stop: */
    KILLED_LONG_MS = 20000 /* only when it has gone on so long is it called hopeless */
};

typedef struct dmi_supervisor dmi_supervisor;

typedef enum wire { LIFE, TALK, OUT, ERR, WIRES } wire;

/* A worker process in the supervisor's care. */
typedef struct ward {
    dmi_supervisor *supervisor;
    dmi_lane *lane;
    dmi_child child; /* as in the lane, readable without the role */
    uv_poll_t polls[WIRES];
    int open_polls;
    bool greeted;
    int64_t greeted_ms;
    bool served; /* before it ended */
    int64_t kill_at_ms; /* 0, or: its socket has ended, and it has until then */
    char running[256];  /* for the prefix of its output */
    char last_line[256];
    dmi_output output[2];
} ward;

struct dmi_supervisor {
    dmi_session *session;
    dmi_recipe *recipe;
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t poke;
    uv_poll_t bell;
    uv_timer_t timer;
    dmi_door *door; /* NULL: without */
    atomic_bool stopping;
    bool closing;         /* stopping has been seen */
    int64_t kill_at_ms;   /* closing: who lives then is killed */
    uint32_t ward_count;
    int put_off; /* pumps, in a row */
    int strikes; /* since the last worker that served */
    int64_t failing_since_ms; /* the first of them */
    int64_t next_start_ms;
    sem_t started;
    dm_status first_status; /* of the first worker's start */
    char first_text[512];
    ward *wards[DMI_MAX_LANES];
};

static void look_around(dmi_supervisor *s);
static void set_timer(dmi_supervisor *s, int64_t at);

/* ---- what is said to the user ---- */

static void say(const dmi_supervisor *s, const char *format, ...) DM_PRINTF(2, 3);

static void say(const dmi_supervisor *s, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    s->session->settings.log(s->session->settings.log_context, line);
}

static void describe_end(char *to, size_t room, int signal, int exit_status)
{
    const char *name = signal ? sigdescr_np(signal) : NULL;
    if (signal)
        snprintf(to, room, "was ended by signal %d (%s)", signal, name ? name : "?");
    else if (exit_status >= 0)
        snprintf(to, room, "exited with status %d", exit_status);
    else
        snprintf(to, room, "ended; how, was told to somebody else (is SIGCHLD ignored?)");
}

/* ---- output ---- */

static void forward_line(void *context, const char *line)
{
    ward *w = context;
    char prefixed[DMI_PREFIXED_BYTES];
    dmi_output_prefix(prefixed, w->lane->index, w->running, line);
    const dmi_settings *settings = &w->supervisor->session->settings;
    settings->log(settings->log_context, prefixed);
    if (!w->greeted)
        snprintf(w->last_line, sizeof w->last_line, "%.200s", line);
}

static void note_running(ward *w)
{
    dmi_session *session = w->supervisor->session;
    dmi_role_take(&session->role);
    const char *name = w->greeted ? dmi_lane_running(session, w->lane) : "";
    snprintf(w->running, sizeof w->running, "%s", name ? name : "");
    dmi_role_leave(&session->role);
}

static void on_output(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events; /* read says it all */
    ward *w = poll->data;
    int i = poll == &w->polls[ERR];
    note_running(w);
    if (dmi_output_read(&w->output[i], w->child.output[i], OUTPUT_PER_TURN, forward_line, w) !=
        DMI_OUTPUT_ENDED)
        return;
    dmi_output_flush(&w->output[i], forward_line, w);
    uv_poll_stop(poll);
}

static void drain_output(ward *w)
{
    note_running(w);
    for (int i = 0; i < 2; i++) {
        dmi_output_read(&w->output[i], w->child.output[i], OUTPUT_AT_DEATH, forward_line, w);
        dmi_output_flush(&w->output[i], forward_line, w);
    }
}

/* ---- messages ---- */

static void condemn(ward *w, dm_status why)
{
    dmi_role_take(&w->supervisor->session->role);
    dmi_lane_condemn(w->lane, why);
    dmi_role_leave(&w->supervisor->session->role);
}

static void break_session(dmi_supervisor *s, dm_status status, const char *reason)
{
    dmi_role_take(&s->session->role);
    dmi_session_break(s->session, status, reason);
    dmi_wake_waiters(s->session);
    dmi_role_leave(&s->session->role);
}

static void heed_hello(ward *w, const dmi_control *message)
{
    dmi_supervisor *s = w->supervisor;
    if (w->greeted) {
        condemn(w, DM_ERR_WORKER_CORRUPT);
        return;
    }
    w->greeted = true;
    w->greeted_ms = dmi_now_ms();
    s->next_start_ms = 0;
    if (message->abi == DMI_ABI && message->functions == dmi_registry_hash())
        return;
    char reason[400];
    snprintf(reason, sizeof reason,
             "worker %u is not the same program as its driver (%s): was the executable or its "
             "library replaced while it runs, or does it register functions by its arguments?",
             w->lane->index,
             message->abi == DMI_ABI ? "other remote functions" : "another version of dmrt");
    condemn(w, DM_ERR_VERSION);
    break_session(s, DM_ERR_VERSION, reason);
}

static void heed_want(ward *w, const dmi_control *message)
{
    dmi_session *session = w->supervisor->session;
    dmi_control reply = {.kind = DMI_CONTROL_SEGMENT, .segment = message->segment};
    dmi_role_take(&session->role); /* until it is sent: the descriptor must not be closed before */
    if (message->segment < session->seat_high && session->seats[message->segment].used) {
        const dmi_seat *seat = &session->seats[message->segment];
        reply.generation = seat->generation;
        reply.bytes = seat->memory.bytes;
        reply.fds[0] = seat->memory.ro_fd;
        reply.fd_count = seat->memory.ro_fd >= 0;
    }
    dm_status status = dmi_control_send(w->child.socket, &reply);
    if (status == DM_ERR_TIMEOUT) /* it asks and asks, and never listens */
        dmi_lane_condemn(w->lane, DM_ERR_WORKER_CORRUPT);
    else if (status == DM_ERR_FDS || status == DM_ERR_NOMEM) /* else it would wait for ever */
        dmi_lane_condemn(w->lane, status);
    dmi_role_leave(&session->role);
}

/* True if another message may be there. */
static bool heed_message(ward *w)
{
    dmi_control message;
    dm_status status = dmi_control_receive(w->child.socket, &message);
    if (status == DM_ERR_TIMEOUT)
        return false;
    if (status == DM_ERR_SYSTEM) { /* it dies, or closed what it must not, or exec'd */
        uv_poll_stop(&w->polls[TALK]);
        w->kill_at_ms = dmi_now_ms() + HANG_UP_MS;
        return false;
    }
    if (status == DM_OK && message.kind == DMI_CONTROL_HELLO) {
        heed_hello(w, &message);
        return true;
    }
    if (status == DM_OK && message.kind == DMI_CONTROL_WANT) {
        heed_want(w, &message);
        return true;
    }
    for (int i = 0; i < message.fd_count; i++)
        close(message.fds[i]);
    uv_poll_stop(&w->polls[TALK]);
    condemn(w, DM_ERR_WORKER_CORRUPT);
    return false;
}

static void on_talk(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    ward *w = poll->data;
    for (int i = 0; i < MESSAGES_PER_TURN && heed_message(w); i++)
        continue;
    look_around(w->supervisor);
}

/* ---- the end of a worker ---- */

static void on_poll_closed(uv_handle_t *handle)
{
    ward *w = handle->data;
    if (--w->open_polls == 0)
        free(w);
}

/* Out of the list, its handles on their way; the last one frees it. */
static void forget(ward *w)
{
    dmi_supervisor *s = w->supervisor;
    s->wards[w->lane->index] = NULL;
    s->ward_count--;
    if (w->open_polls == 0) {
        free(w);
        return;
    }
    for (int i = w->open_polls; i-- > 0;)
        uv_close((uv_handle_t *)&w->polls[i], on_poll_closed);
}

static void break_unstartable(dmi_supervisor *s, const char *what, const char *last_line)
{
    char reason[800]; /* what and last_line are shorter than 400 and 256 */
    snprintf(reason, sizeof reason, "worker processes cannot be started, and the last of several "
             "attempts %s%s%s%s", what, *last_line ? ". It printed: \"" : "", last_line,
             *last_line ? "\"" : "");
    break_session(s, DM_ERR_WORKERS_UNSTARTABLE, reason);
}

static bool has_served(const ward *w)
{
    return w->greeted && (dmi_word_load(&w->lane->up->claim) != 0 || dmi_now_ms() - w->greeted_ms >= YOUNG_MS);
}

/* A worker that serves ends the row of failed starts. */
static void forgive(dmi_supervisor *s)
{
    for (uint32_t i = 0; i < s->session->lane_limit && s->strikes != 0; i++)
        if (s->wards[i] && has_served(s->wards[i]))
            s->strikes = 0;
}

/*
 * A start that came to nothing. The next one waits, longer each time; after five there is no next,
 * unless other workers live: then it may have been bad luck, or a limit of processes.
 */
static void start_failed(dmi_supervisor *s, int weight, const char *what, const char *last_line)
{
    int64_t now = dmi_now_ms();
    forgive(s);
    if (s->strikes == 0)
        s->failing_since_ms = now;
    s->strikes += weight;
    bool hopeless = weight != STRIKE_KILLED || now - s->failing_since_ms >= KILLED_LONG_MS;
    int pause = START_PAUSE_MS << (s->strikes / (2 * STRIKE));
    if (s->strikes >= STRIKES_OUT) {
        s->strikes = STRIKES_OUT;
        pause = START_PAUSE_MOST_MS;
        if (s->ward_count == 0 && hopeless)
            break_unstartable(s, what, last_line);
    }
    if (s->strikes >= STRIKE)
        s->next_start_ms = dmi_now_ms() + pause;
}

static const char *when_of(const ward *w)
{
    return !w->greeted ? " before it called dm_init, or in it" : w->served ? "" : " before its first task";
}

static void tell_of_end(ward *w, const dmi_death *death)
{
    dmi_supervisor *s = w->supervisor;
    char what[128];
    describe_end(what, sizeof what, death->signal, death->exit_status);
    if (death->cause != DM_OK)
        say(s, "dmrt: worker %u (pid %d) was killed: %s", w->lane->index, (int)w->child.pid,
            dm_strerror(death->cause));
    else
        say(s, "dmrt: worker %u (pid %d) %s%s", w->lane->index, (int)w->child.pid, what, when_of(w));
}

/* The worker is forgotten when its end is counted, so that only the others are. */
static void count_end(dmi_supervisor *s, const ward *w, const dmi_death *death)
{
    char what[128], reason[256];
    if (w->served)
        s->strikes = 0;
    if (w->served || death->cause != DM_OK)
        return;
    describe_end(what, sizeof what, death->signal, death->exit_status);
    snprintf(reason, sizeof reason, "(worker %u) %s%s", w->lane->index, what, when_of(w));
    start_failed(s, death->signal == SIGKILL ? STRIKE_KILLED : STRIKE, reason, w->last_line);
}

/*
 * Reap and recover, in one hold of the role: once it is reaped its number may be another's, and
 * until the lane says so somebody may want to kill it. False: it is not dead after all.
 */
static bool bury(ward *w, dmi_death *death)
{
    dmi_supervisor *s = w->supervisor;
    dmi_session *session = s->session;
    dmi_role_take(&session->role);
    bool dead = dmi_child_reap(&w->child, &death->signal, &death->exit_status);
    if (dead) {
        bool ours = death->signal == SIGKILL || (!death->signal && death->exit_status < 0);
        death->cause = ours ? w->lane->condemned : DM_OK;
        w->lane->child.pid = 0;
        if (!s->closing) {
            dmi_lane_recover(session, w->lane, death);
            dmi_pump(session);
            dmi_wake_waiters(session);
        }
        dmi_child_close(&w->lane->child);
    }
    dmi_role_leave(&session->role);
    return dead;
}

static void close_when_alone(dmi_supervisor *s);

/* What it started ends first, so that its output ends, too. What it printed is told before its
 * tasks are: a reader sees the reason, then the error. */
static void on_life(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    ward *w = poll->data;
    dmi_supervisor *s = w->supervisor;
    dmi_death death;
    dmi_child_end_group(&w->child);
    for (int i = 0; i < MESSAGES_PER_TURN && heed_message(w); i++)
        continue;
    drain_output(w);
    for (int i = 0; i < WIRES; i++) /* before the descriptors go */
        uv_poll_stop(&w->polls[i]);
    w->served = has_served(w); /* its segment goes, too */
    if (!bury(w, &death)) { /* a tracer has not let go of it */
        uv_poll_start(&w->polls[LIFE], UV_READABLE, on_life);
        return;
    }
    forget(w); /* freed when the loop has closed its handles, not before we return */
    if (s->closing) {
        close_when_alone(s);
        return;
    }
    tell_of_end(w, &death);
    count_end(s, w, &death);
    look_around(s);
}

/* ---- the start of a worker ---- */

static void fill_welcome(const dmi_session *session, const dmi_lane *lane, dmi_control *welcome)
{
    const dmi_seat *seat = &session->seats[lane->segment], *d = &session->seats[0];
    const int fds[] = {d->memory.ro_fd,     seat->memory.rw_fd,       seat->memory.ro_fd,
                       session->driver_bell, session->supervisor_bell, lane->child.bell,
                       lane->child.service_bell};
    *welcome = (dmi_control){.kind = DMI_CONTROL_WELCOME,
                             .abi = DMI_ABI,
                             .functions = dmi_registry_hash(),
                             .lane = lane->index,
                             .segment = lane->segment,
                             .generation = seat->generation,
                             .bytes = seat->memory.bytes,
                             .d_bytes = d->memory.bytes,
                             .inline_bytes = session->settings.inline_bytes,
                             .cpus = (uint64_t)session->settings.cpus,
                             .store_wait_ms = session->settings.store_wait_ms,
                             .nested_tasks = session->settings.nested_tasks,
                             .fd_count = sizeof fds / sizeof fds[0]};
    memcpy(welcome->fds, fds, sizeof fds);
}

static bool open_bells(dmi_child *child)
{
    child->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    child->service_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (child->bell >= 0 && child->service_bell >= 0)
        return true;
    int error = errno;
    dmi_child_close(child);
    errno = error;
    return false;
}

/*
 * The lane becomes one that is served, before its worker is there: from now on tasks may be placed
 * on it. The welcome is written in the same hold of the role, so that it names the first of them.
 */
static dm_status open_lane(ward *w, dmi_control *welcome)
{
    dmi_session *session = w->supervisor->session;
    dmi_lane *lane = w->lane;
    dmi_child fresh = {.pidfd = -1, .socket = -1, .output = {-1, -1}};
    if (!open_bells(&fresh))
        return dmi_error(DM_ERR_FDS, "a worker cannot be started: no eventfd: %s", strerror(errno));
    dmi_role_take(&session->role);
    lane->child = fresh;
    dm_status status = dmi_lane_open(session, lane);
    if (status == DM_OK)
        fill_welcome(session, lane, welcome);
    else
        dmi_child_close(&lane->child);
    w->child = lane->child;
    dmi_role_leave(&session->role);
    return status;
}

/* A process was not to be had, or could not be told who it is. */
static void close_lane(ward *w, dm_status why)
{
    dmi_session *session = w->supervisor->session;
    const dmi_death death = {.exit_status = -1, .cause = why};
    dmi_role_take(&session->role);
    dmi_lane_recover(session, w->lane, &death);
    dmi_child_close(&w->lane->child);
    dmi_role_leave(&session->role);
}

/* A process that was just spawned, and is of no use: ended and reaped here. */
static void undo_spawn(dmi_child *child)
{
    siginfo_t info;
    dmi_child_end_group(child);
    dmi_child_signal(child, SIGKILL);
    while (waitid(P_PID, (id_t)child->pid, &info, WEXITED) != 0 && errno == EINTR)
        continue;
    child->bell = child->service_bell = -1; /* the lane's */
    dmi_child_close(child);
}

static dm_status watch(ward *w)
{
    static const uv_poll_cb callbacks[WIRES] = {on_life, on_talk, on_output, on_output};
    const int fds[WIRES] = {w->child.pidfd, w->child.socket, w->child.output[0],
                             w->child.output[1]};
    for (int i = 0; i < WIRES; i++) {
        int error = uv_poll_init(&w->supervisor->loop, &w->polls[i], fds[i]);
        if (error)
            return dmi_error(DM_ERR_SYSTEM, "a worker cannot be watched: %s", uv_strerror(error));
        w->polls[i].data = w;
        w->open_polls++;
        error = uv_poll_start(&w->polls[i], UV_READABLE, callbacks[i]);
        if (error)
            return dmi_error(DM_ERR_SYSTEM, "a worker cannot be watched: %s", uv_strerror(error));
    }
    return DM_OK;
}

static dm_status spawn_into(ward *w, const dmi_control *welcome)
{
    dmi_session *session = w->supervisor->session;
    dm_status status = dmi_spawn(w->supervisor->recipe, &w->child);
    if (status != DM_OK)
        return status;
    /* One that cannot be welcomed has ended already, or will now: its death says the rest. */
    if (dmi_control_send(w->child.socket, welcome) != DM_OK)
        dmi_child_signal(&w->child, SIGKILL);
    status = watch(w);
    if (status != DM_OK) {
        for (int i = 0; i < w->open_polls; i++)
            uv_poll_stop(&w->polls[i]);
        undo_spawn(&w->child);
        return status;
    }
    dmi_role_take(&session->role);
    w->lane->child = w->child;
    if (w->lane->condemned != DM_OK) /* for what its ring looked like, before there was a process */
        dmi_child_signal(&w->child, SIGKILL);
    dmi_role_leave(&session->role);
    return DM_OK;
}

static dm_status start_worker(dmi_supervisor *s, uint32_t index)
{
    ward *w = calloc(1, sizeof *w);
    if (!w)
        return dmi_error(DM_ERR_NOMEM, "no memory to start a worker");
    w->supervisor = s;
    w->lane = &s->session->lanes[index];
    s->wards[index] = w;
    s->ward_count++;
    dmi_control welcome;
    dm_status status = open_lane(w, &welcome);
    if (status == DM_OK) {
        status = spawn_into(w, &welcome);
        if (status != DM_OK)
            close_lane(w, status);
    }
    if (status != DM_OK)
        forget(w);
    return status;
}

static bool may_start(dmi_supervisor *s, uint32_t *wanted)
{
    dmi_session *session = s->session;
    dmi_role_take(&session->role);
    bool may = !session->closing && session->broken == DM_OK &&
               session->settings.engine == DM_ENGINE_PROCESSES;
    *wanted = may ? dmi_lanes_wanted(session) : 0;
    dmi_role_leave(&session->role);
    if (*wanted > session->lane_limit)
        *wanted = session->lane_limit;
    return may && !s->closing && !atomic_load(&s->stopping);
}

/* Starts who is missing; after a failure one at a time. Returns when to come again, -1: no need. */
static int64_t start_missing(dmi_supervisor *s)
{
    uint32_t wanted;
    if (!may_start(s, &wanted))
        return -1;
    forgive(s);
    for (uint32_t i = 0; i < wanted; i++) {
        if (s->wards[i])
            continue;
        if (dmi_now_ms() < s->next_start_ms)
            return s->next_start_ms;
        if (start_worker(s, i) != DM_OK) {
            char reason[400];
            snprintf(reason, sizeof reason, "failed: %.380s", dm_last_error());
            if (s->strikes < STRIKES_OUT) /* then it is known */
                say(s, "dmrt: %s", dm_last_error());
            start_failed(s, STRIKE, reason, "");
            return s->next_start_ms;
        }
        if (s->strikes >= STRIKE)
            s->next_start_ms = dmi_now_ms() + START_PAUSE_MS;
    }
    return -1;
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
        ward *w = s->wards[i];
        if (!w || w->kill_at_ms == 0)
            continue;
        if (now >= w->kill_at_ms) {
            w->kill_at_ms = 0;
            if (!dmi_child_has_ended(&w->child)) /* else it is told of in a moment, and how it came to it */
                condemn(w, DM_ERR_WORKER_EXITED);
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
        say(s, "%s", line);
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
    look_around(s);
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

/* Whatever has to be done now; and the timer for what has to be done later. */
static void look_around(dmi_supervisor *s)
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
    earlier(&at, start_missing(s));
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

static void close_when_alone(dmi_supervisor *s)
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
    look_around(s);
    close_when_alone(s);
}

static void on_poke(uv_async_t *poke)
{
    dmi_supervisor *s = poke->data;
    if (s->closing)
        return;
    if (atomic_load(&s->stopping))
        begin_closing(s);
    else
        look_around(s);
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
        s->first_status = start_worker(s, 0);
        snprintf(s->first_text, sizeof s->first_text, "%s", dm_last_error());
    }
    sem_post(&s->started);
}

static void *supervisor_main(void *argument)
{
    dmi_supervisor *s = argument;
    pthread_setname_np(pthread_self(), "dm-supervisor");
    if (dmi_door_open(&s->door, s->session, &s->loop) != DM_OK)
        say(s, "dmrt: %s", dm_last_error());
    start_first(s);
    if (s->first_status == DM_OK)
        look_around(s);
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
        close_when_alone(s);
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
