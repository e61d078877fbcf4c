/*
 * ward_end.c - the end of a worker: what it started ends with it, its last words are heard, it is reaped and its tasks
 * are settled, and it is forgotten.
 */
#include <signal.h>
#include <stdlib.h>

#include "runtime/lane.h"
#include "runtime/ward.h"

static void on_poll_closed(uv_handle_t *handle)
{
    dmi_ward *w = handle->data;
    if (--w->open_polls == 0)
        free(w);
}

void dmi_ward_forget(dmi_ward *w)
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

/*
 * Reap and recover, in one hold of the role: once it is reaped its number may be another's, and
 * until the lane says so somebody may want to kill it. False: it is not dead after all.
 */
static bool bury(dmi_ward *w, dmi_death *death)
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

/* What it started ends first, so that its output ends, too. What it printed is told before its
 * tasks are: a reader sees the reason, then the error. */
void dmi_ward_on_life(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    dmi_ward *w = poll->data;
    dmi_supervisor *s = w->supervisor;
    dmi_death death;
    dmi_child_end_group(&w->child);
    dmi_ward_heed(w);
    dmi_ward_drain_output(w);
    for (int i = 0; i < DMI_WIRES; i++) /* before the descriptors go */
        uv_poll_stop(&w->polls[i]);
    w->served = dmi_ward_has_served(w); /* its segment goes, too */
    if (!bury(w, &death)) { /* a tracer has not let go of it */
        uv_poll_start(&w->polls[DMI_LIFE], UV_READABLE, dmi_ward_on_life);
        return;
    }
    dmi_ward_forget(w); /* freed when the loop has closed its handles, not before we return */
    if (s->closing) {
        dmi_supervisor_close_when_alone(s);
        return;
    }
    dmi_strikes_note_end(s, w, &death);
    dmi_supervisor_look_around(s);
}
