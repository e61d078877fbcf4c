/*
 * strikes.c - starts of workers that came to nothing: what the user is told of them, how long the next one waits, and
 * when it is hopeless.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/ward.h"

enum {
    YOUNG_MS = 1000, /* a worker that ends sooner, and has not begun a task, came to nothing */
    START_PAUSE_MOST_MS = 1000,
    KILLED_LONG_MS = 20000 /* only when SIGKILL has gone on so long is it called hopeless */
};

static void break_unstartable(dmi_supervisor *s, const char *what, const char *last_line)
{
    char reason[800]; /* what and last_line are shorter than 400 and 256 */
    snprintf(reason, sizeof reason, "worker processes cannot be started, and the last of several "
             "attempts %s%s%s%s", what, *last_line ? ". It printed: \"" : "", last_line,
             *last_line ? "\"" : "");
    dmi_supervisor_break(s, DM_ERR_WORKERS_UNSTARTABLE, reason);
}

bool dmi_ward_has_served(const dmi_ward *w)
{
    return w->greeted && (dmi_word_load(&w->lane->up->claim) != 0 || dmi_now_ms() - w->greeted_ms >= YOUNG_MS);
}

void dmi_strikes_forgive(dmi_supervisor *s)
{
    for (uint32_t i = 0; i < s->session->lane_limit && s->strikes != 0; i++)
        if (s->wards[i] && dmi_ward_has_served(s->wards[i]))
            s->strikes = 0;
}

void dmi_strikes_add(dmi_supervisor *s, int weight, const char *what, const char *last_line)
{
    int64_t now = dmi_now_ms();
    dmi_strikes_forgive(s);
    if (s->strikes == 0)
        s->failing_since_ms = now;
    s->strikes += weight;
    bool hopeless = weight != DMI_STRIKE_KILLED || now - s->failing_since_ms >= KILLED_LONG_MS;
    int pause = DMI_START_PAUSE_MS << (s->strikes / (2 * DMI_STRIKE));
    if (s->strikes >= DMI_STRIKES_OUT) {
        s->strikes = DMI_STRIKES_OUT;
        pause = START_PAUSE_MOST_MS;
        if (s->ward_count == 0 && hopeless)
            break_unstartable(s, what, last_line);
    }
    if (s->strikes >= DMI_STRIKE)
        s->next_start_ms = dmi_now_ms() + pause;
}

static void describe_end(char *to, size_t room, int signal, int exit_status)
{
    if (signal)
        snprintf(to, room, "was ended by signal %d (%s)", signal, strsignal(signal));
    else if (exit_status >= 0)
        snprintf(to, room, "exited with status %d", exit_status);
    else
        snprintf(to, room, "ended; how, was told to somebody else (is SIGCHLD ignored?)");
}

static const char *when_of(const dmi_ward *w)
{
    return !w->greeted ? " before it called dm_init, or in it" : w->served ? "" : " before its first task";
}

static void tell_of_end(const dmi_supervisor *s, const dmi_ward *w, const dmi_death *death)
{
    char what[128];
    describe_end(what, sizeof what, death->signal, death->exit_status);
    if (death->cause != DM_OK)
        dmi_supervisor_say(s, "dmrt: worker %u (pid %d) was killed: %s", w->lane->index, (int)w->child.pid,
                           dm_strerror(death->cause));
    else
        dmi_supervisor_say(s, "dmrt: worker %u (pid %d) %s%s", w->lane->index, (int)w->child.pid, what, when_of(w));
}

static void count_end(dmi_supervisor *s, const dmi_ward *w, const dmi_death *death)
{
    char what[128], reason[256];
    if (w->served)
        s->strikes = 0;
    if (w->served || death->cause != DM_OK)
        return;
    describe_end(what, sizeof what, death->signal, death->exit_status);
    snprintf(reason, sizeof reason, "(worker %u) %s%s", w->lane->index, what, when_of(w));
    dmi_strikes_add(s, death->signal == SIGKILL ? DMI_STRIKE_KILLED : DMI_STRIKE, reason, w->last_line);
}

void dmi_strikes_note_end(dmi_supervisor *s, const dmi_ward *w, const dmi_death *death)
{
    tell_of_end(s, w, death);
    count_end(s, w, death);
}
