/*
 * ward.h - a worker process in the supervisor's care, and the supervisor itself: what supervisor.c, the files ward_*.c
 * and strikes.c share. Nobody else includes this.
 *
 * All functions run on the supervisor's thread, without the role: those that need it take it.
 */
#ifndef DMI_WARD_H
#define DMI_WARD_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <uv.h>

#include "runtime/door.h"
#include "runtime/output.h"
#include "runtime/session.h"
#include "runtime/spawn.h"
#include "runtime/supervisor.h"

enum {
    DMI_STRIKES_OUT = 100, /* failed starts in a row: so many of DMI_STRIKE, or of DMI_STRIKE_KILLED */
    DMI_STRIKE = 20,
    DMI_STRIKE_KILLED = 1, /* by SIGKILL: somebody else's doing, who may stop */
    DMI_START_PAUSE_MS = 100
};

typedef struct dmi_supervisor dmi_supervisor;

typedef enum dmi_wire { DMI_LIFE, DMI_TALK, DMI_OUT, DMI_ERR, DMI_WIRES } dmi_wire;

typedef struct dmi_ward {
    dmi_supervisor *supervisor;
    dmi_lane *lane;
    dmi_child child; /* as in the lane, readable without the role */
    uv_poll_t polls[DMI_WIRES];
    int open_polls;
    bool greeted;
    int64_t greeted_ms;
    bool served; /* before it ended */
    int64_t kill_at_ms; /* 0, or: its socket has ended, and it has until then */
    char running[256];  /* for the prefix of its output */
    char last_line[256];
    dmi_output output[2];
} dmi_ward;

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
    dmi_ward *wards[DMI_MAX_LANES];
};

/* ---- supervisor.c ---- */

/* Whatever has to be done now; and the timer for what has to be done later. */
void dmi_supervisor_look_around(dmi_supervisor *s);

/* Closing: with the last worker gone, the loop ends. */
void dmi_supervisor_close_when_alone(dmi_supervisor *s);

/* A line to the user's log. */
void dmi_supervisor_say(const dmi_supervisor *s, const char *format, ...) DM_PRINTF(2, 3);

/* From here on each call says this. */
void dmi_supervisor_break(dmi_supervisor *s, dm_status status, const char *reason);

/* ---- ward_start.c ---- */

dm_status dmi_ward_start(dmi_supervisor *s, uint32_t index);

/* Starts who is missing; after a failure one at a time. Returns when to come again, -1: no need. */
int64_t dmi_ward_start_missing(dmi_supervisor *s);

/* ---- ward_heard.c: what a worker prints and says ---- */

void dmi_ward_on_output(uv_poll_t *poll, int status, int events);
void dmi_ward_on_talk(uv_poll_t *poll, int status, int events);

/* What it says now, up to a limit. */
void dmi_ward_heed(dmi_ward *w);

/* All that it printed and nobody has read, and the line it did not finish. */
void dmi_ward_drain_output(dmi_ward *w);

/* Have it killed, for this. */
void dmi_ward_condemn(dmi_ward *w, dm_status why);

/* ---- ward_end.c ---- */

void dmi_ward_on_life(uv_poll_t *poll, int status, int events);

/* Out of the list, its handles on their way; the last one frees it. */
void dmi_ward_forget(dmi_ward *w);

/* ---- strikes.c: starts that came to nothing ---- */

/* It began a task, or stayed long enough. Asks its segment: before that goes. */
bool dmi_ward_has_served(const dmi_ward *w);

/* A worker that serves ends the row of failed starts. */
void dmi_strikes_forgive(dmi_supervisor *s);

/*
 * A start that came to nothing. The next one waits, longer each time; after five there is no next,
 * unless other workers live: then it may have been bad luck, or a limit of processes.
 */
void dmi_strikes_add(dmi_supervisor *s, int weight, const char *what, const char *last_line);

/* A worker has ended: the user is told, and a strike is counted if it came to nothing. It is forgotten by then, so that
 * only the others count as living. */
void dmi_strikes_note_end(dmi_supervisor *s, const dmi_ward *w, const dmi_death *death);

#endif
