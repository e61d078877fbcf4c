/*
 * ward_start.c - the start of a worker: its lane is opened first, then there is a process, which is welcomed and
 * watched. And who is missing.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/control.h"
#include "runtime/lane.h"
#include "runtime/registry.h"
#include "runtime/ward.h"

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
static dm_status open_lane(dmi_ward *w, dmi_control *welcome)
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
static void close_lane(dmi_ward *w, dm_status why)
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

static dm_status watch(dmi_ward *w)
{
    static const uv_poll_cb callbacks[DMI_WIRES] = {dmi_ward_on_life, dmi_ward_on_talk, dmi_ward_on_output,
                                                    dmi_ward_on_output};
    const int fds[DMI_WIRES] = {w->child.pidfd, w->child.socket, w->child.output[0], w->child.output[1]};
    for (int i = 0; i < DMI_WIRES; i++) {
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

static dm_status spawn_into(dmi_ward *w, const dmi_control *welcome)
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

dm_status dmi_ward_start(dmi_supervisor *s, uint32_t index)
{
    dmi_ward *w = calloc(1, sizeof *w);
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
        dmi_ward_forget(w);
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

int64_t dmi_ward_start_missing(dmi_supervisor *s)
{
    uint32_t wanted;
    if (!may_start(s, &wanted))
        return -1;
    dmi_strikes_forgive(s);
    for (uint32_t i = 0; i < wanted; i++) {
        if (s->wards[i])
            continue;
        if (dmi_now_ms() < s->next_start_ms)
            return s->next_start_ms;
        if (dmi_ward_start(s, i) != DM_OK) {
            char reason[400];
            snprintf(reason, sizeof reason, "failed: %.380s", dm_last_error());
            if (s->strikes < DMI_STRIKES_OUT) /* then it is known */
                dmi_supervisor_say(s, "dmrt: %s", dm_last_error());
            dmi_strikes_add(s, DMI_STRIKE, reason, "");
            return s->next_start_ms;
        }
        if (s->strikes >= DMI_STRIKE)
            s->next_start_ms = dmi_now_ms() + DMI_START_PAUSE_MS;
    }
    return -1;
}
