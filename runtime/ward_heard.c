/*
 * ward_heard.c - what a worker prints, forwarded line by line to the user's log, and what it says over its socket: that
 * it is there, and which segments it wants to see. Who says anything else is killed.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/control.h"
#include "runtime/lane.h"
#include "runtime/registry.h"
#include "runtime/ward.h"

enum {
    OUTPUT_PER_TURN = 64 << 10,
    OUTPUT_AT_DEATH = 256 << 10, /* what the pipe may hold, and some; not what a stranger may add */
    MESSAGES_PER_TURN = 64,
    HANG_UP_MS = 500 /* from the end of a worker's socket to its own end, which takes a busy machine a while */
};

/* ---- output ---- */

static void forward_line(void *context, const char *line)
{
    dmi_ward *w = context;
    char prefixed[DMI_PREFIXED_BYTES];
    dmi_output_prefix(prefixed, w->lane->index, w->running, line);
    const dmi_settings *settings = &w->supervisor->session->settings;
    settings->log(settings->log_context, prefixed);
    if (!w->greeted)
        snprintf(w->last_line, sizeof w->last_line, "%.200s", line);
}

static void note_running(dmi_ward *w)
{
    dmi_session *session = w->supervisor->session;
    dmi_role_take(&session->role);
    const char *name = w->greeted ? dmi_lane_running(session, w->lane) : "";
    snprintf(w->running, sizeof w->running, "%s", name ? name : "");
    dmi_role_leave(&session->role);
}

void dmi_ward_on_output(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events; /* read says it all */
    dmi_ward *w = poll->data;
    int i = poll == &w->polls[DMI_ERR];
    note_running(w);
    if (dmi_output_read(&w->output[i], w->child.output[i], OUTPUT_PER_TURN, forward_line, w) !=
        DMI_OUTPUT_ENDED)
        return;
    dmi_output_flush(&w->output[i], forward_line, w);
    uv_poll_stop(poll);
}

void dmi_ward_drain_output(dmi_ward *w)
{
    note_running(w);
    for (int i = 0; i < 2; i++) {
        dmi_output_read(&w->output[i], w->child.output[i], OUTPUT_AT_DEATH, forward_line, w);
        dmi_output_flush(&w->output[i], forward_line, w);
    }
}

/* ---- messages ---- */

void dmi_ward_condemn(dmi_ward *w, dm_status why)
{
    dmi_role_take(&w->supervisor->session->role);
    dmi_lane_condemn(w->lane, why);
    dmi_role_leave(&w->supervisor->session->role);
}

static void heed_hello(dmi_ward *w, const dmi_control *message)
{
    dmi_supervisor *s = w->supervisor;
    if (w->greeted) {
        dmi_ward_condemn(w, DM_ERR_WORKER_CORRUPT);
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
    dmi_ward_condemn(w, DM_ERR_VERSION);
    dmi_supervisor_break(s, DM_ERR_VERSION, reason);
}

static void heed_want(dmi_ward *w, const dmi_control *message)
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
static bool heed_message(dmi_ward *w)
{
    dmi_control message;
    dm_status status = dmi_control_receive(w->child.socket, &message);
    if (status == DM_ERR_TIMEOUT)
        return false;
    if (status == DM_ERR_SYSTEM) { /* it dies, or closed what it must not, or exec'd */
        uv_poll_stop(&w->polls[DMI_TALK]);
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
    uv_poll_stop(&w->polls[DMI_TALK]);
    dmi_ward_condemn(w, DM_ERR_WORKER_CORRUPT);
    return false;
}

void dmi_ward_heed(dmi_ward *w)
{
    for (int i = 0; i < MESSAGES_PER_TURN && heed_message(w); i++)
        continue;
}

void dmi_ward_on_talk(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    dmi_ward *w = poll->data;
    dmi_ward_heed(w);
    dmi_supervisor_look_around(w->supervisor);
}
