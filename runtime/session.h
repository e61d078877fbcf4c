/*
 * session.h - the driver's private picture of a running session: lanes, segments, tasks, queues.
 *
 * All of it is guarded by the *role*: whoever dispatches, frees and recovers holds session->role
 * (any thread of the driver in a dm_ call, or the supervisor's). Nothing here is shared with workers.
 */
#ifndef DMI_SESSION_H
#define DMI_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "dm/dm.h"
#include "objectstore/heap.h"
#include "objectstore/segment.h"
#include "runtime/ahead.h"
#include "runtime/layout.h"
#include "runtime/options.h"
#include "runtime/role.h"
#include "runtime/shown.h"

/* A segment by its number. 0 is D. */
typedef struct dmi_seat {
    dmi_segment memory;
    uint64_t generation; /* of this number; also in D, for workers to see */
    uint64_t live;       /* records whose value or arguments lie here */
    uint64_t orphan_bytes; /* memory it holds, once its worker is gone */
    uint32_t lane;       /* of the worker that writes it */
    bool used;
    bool orphaned; /* its worker is gone: given back when live is 0 */
} dmi_seat;

/* How a worker ended, as the supervisor saw it. */
typedef struct dmi_death {
    int signal;       /* 0: none */
    int exit_status;  /* if signal is 0 */
    dm_status cause;  /* DM_OK, or what the supervisor killed it for (DM_ERR_TASK_TIMEOUT, ...) */
} dmi_death;

typedef enum dmi_lane_state {
    DMI_LANE_EMPTY,   /* no worker, and none coming */
    DMI_LANE_SERVING, /* a worker lives here, or is being started (its ring may be filled already) */
    DMI_LANE_LOST     /* its worker is dead and not yet recovered */
} dmi_lane_state;

/* A worker process as the supervisor keeps it. */
typedef struct dmi_child {
    pid_t pid; /* 0: none */
    int pidfd;
    int socket;
    int output[2]; /* its stdout, stderr */
    int service_bell; /* rings its service thread */
    int bell;         /* rings the worker */
} dmi_child;

/* A ref that a lane's worker holds. */
typedef struct dmi_cell {
    uint64_t maker_serial; /* of the task that submitted what it names; 0: it was not submitted here */
    uint32_t maker;        /* that task */
    uint32_t record;       /* index + 1 of what it names; 0: free */
    uint16_t seq;
} dmi_cell;

typedef struct dmi_lane {
    uint32_t index;
    dmi_lane_state state;
    dmi_child child;
    uint32_t segment; /* seat of the worker's segment */
    dmi_down *down;
    const dmi_up *up;
    const dmi_slot *slots;
    dmi_ahead slots_ahead;

    /* What each ring position holds: index + 1 of a task, or 0: it was taken back, or is accounted for. */
    uint32_t sent[DMI_RING];
    uint64_t pushed;    /* entries written; down->tail lags behind while a batch is held back */
    uint64_t published; /* == down->tail */
    uint64_t reaped;    /* entries whose completion was taken */
    uint64_t taken;     /* messages taken from up->ring */

    uint32_t *free_slots; /* stack */
    uint32_t free_slot_count, free_slot_room, slot_high;

    dmi_cell *cells;
    uint32_t cell_room;

    uint64_t *unfreed; /* frees that found the free ring full */
    size_t unfreed_count, unfreed_room;
    uint64_t freed; /* == down->free_tail */

    bool blocked;         /* its worker waits in dm_get */
    uint32_t blocked_on;  /* record it waits for */
    bool is_limited;      /* it waits for some time only */
    uint64_t walk;        /* the last walk from there (toward.h); 0: none yet */
    uint32_t run_now;     /* record + 1 handed to the blocked worker */
    uint32_t run_count;
    uint32_t nested;      /* index + 1: tasks run by the blocked worker, a list (readers.h) */
    uint32_t fetching;    /* record + 1 that its worker waits for to be brought into memory */
    uint64_t need_bytes; /* room it asked for and has not got; 0: none */
    int64_t need_since_ms;
    uint64_t gives_way;  /* serial of the task that was last asked to (scarce.h) */
    uint64_t watched_serial; /* time limits: the task last seen running, and since when */
    int64_t watched_since_ms;
    uint64_t stuck_done; /* completions when last looked at with another lane idle, and since when */
    int64_t stuck_since_ms;
    bool reaping; /* inside dmi_lane_reap: not again */
    bool stalled; /* its task takes long: no other is put behind it */
    uint32_t uneven; /* index + 1: the latest task here of several CPUs or of a known cost, and its serial */
    uint64_t uneven_serial;
    dm_status condemned; /* not DM_OK: it is being killed, for this */
    bool held;           /* down->held_back is set */
    uint64_t trims_asked;
    int64_t let_be_until_ms; /* it has just been asked to trim, or been granted what it will now take */
    bool trim_pending;
    pthread_t thread; /* engine threads */
    bool has_thread;
    struct dmi_service *service;
    struct dmi_worker *worker; /* engines threads and serial: its own context */
} dmi_lane;

typedef struct dmi_task dmi_task;

enum { DMI_GETS_BEFORE_FLUSH = 8 };

struct dmi_session {
    dmi_settings settings;
    dmi_role role;
    bool closing; /* no call begins any more */
    dmi_session *buried; /* the session before this one */

    dmi_seat *seats; /* 65536 */
    _Atomic uint32_t seat_high; /* private atomic: who reads what is shown looks at it without the role */
    dmi_head *head; /* D, writable */
    dmi_record *records;
    dmi_word *segment_generations; /* in D */
    dmi_heap *heap; /* in D */
    dmi_word heap_committed, heap_granted;
    size_t segment_bytes;

    dmi_lane *lanes;
    uint32_t lane_count; /* lanes in use or usable: grows when workers block */
    uint32_t lane_limit;

    dmi_task *tasks; /* parallel to records */
    dmi_ahead tasks_ahead, records_ahead;
    uint32_t task_high, task_near; /* entries in use or free; those, and new ones whose memory is there */
    uint32_t task_free, task_last, free_count; /* free entries in a queue: index + 1 of the first and the last */
    uint64_t next_serial;
    struct dmi_list *lists;
    uint32_t list_high, list_room, list_free; /* free: number + 1 */
    struct dmi_edge *edges;
    uint32_t edge_room, edge_high, edge_free;
    uint32_t ready_first, ready_last; /* index + 1; queue in order of serial */
    uint64_t ready_count;
    uint32_t doomed;   /* index + 1; a list: to fail, since no worker can be started */
    bool dooming;
    uint32_t returned; /* index + 1; a list while entries are being taken back */
    uint64_t limited; /* unfinished tasks with a time limit */
    dmi_lane *favourite; /* where the next `favour` tasks go */
    uint32_t favour;
    uint32_t blocked_lanes;
    uint32_t rooms_awaited;
    uint32_t puts_awaited; /* threads of the program that wait for room, and since when */
    int64_t puts_since_ms;
    bool scarce, tight, stuck; /* scarce.h: room is, or was lately; and no step helps */
    int64_t still_since_ms, tight_until_ms;
    bool turning;   /* inside dmi_turn */
    bool holding;   /* entries were pushed to a ring and not published */
    uint32_t gets_since_push; /* beyond DMI_GETS_BEFORE_FLUSH the program is done with submitting, it seems */
    bool armed_for_work; /* workers will ring before they run out */
    uint32_t listener_target; /* what the listening thread waits for */
    uint32_t reapings; /* lanes being reaped, one within the other */
    bool unheard;      /* a message had to wait for another lane's (dmi_lane_must_wait) */
    bool stacked;   /* a task was placed behind another that may take long */
    uint32_t dependents; /* tasks waiting for inputs that are not done */
    uint32_t loose; /* unfinished tasks that nobody holds */
    uint64_t unfinished; /* tasks submitted, and not done */
    struct dmi_residence *residence;
    uint32_t away;        /* objects that are not in memory */
    uint64_t walks;       /* toward.h */
    uint32_t look;        /* number of the last look around (readers.h) */
    uint32_t uses;        /* a clock for the list by use */
    uint64_t spill_above; /* bytes of objects in memory */
    int64_t let_be_until_ms; /* D's heap has just been trimmed */
    uint32_t allocating;     /* threads that are at D's heap without the role */
    uint64_t missing;        /* inputs.c: what it is adding up, */
    uint32_t refused;        /* and what it is looking for */
    uint64_t fetching_bytes; /* brought, or to be brought, for tasks that are not placed yet */
    uint32_t fetching_tasks;
    uint64_t lineage_bytes;  /* lineage.h: of kept arguments and recipes; */
    uint64_t recipes;        /* how many there are; */
    uint32_t fading;         /* index + 1; a list: those that are about to end */
    uint32_t scopes; /* open */
    struct dmi_extra **extras; /* extras.h: buckets */
    uint32_t extra_count, extra_buckets;
    uint32_t prioritized; /* tasks with a priority other than 0 */
    uint32_t uneven;      /* tasks of several CPUs, or of a known cost */
    struct dmi_level *levels; /* ready.h: valid while `prioritized` is not 0 */
    uint32_t level_count, level_room;
    struct dmi_cancel *cancels; /* cancel.h: asked for and not settled */
    uint32_t cancel_count, cancel_room;

    int driver_bell, supervisor_bell;
    pthread_cond_t turn; /* threads waiting while another listens */
    bool listening;      /* a driver thread listens to the bell */
    uint32_t visitors;   /* driver threads in a call, resting ones included */
    uint32_t waiting;    /* driver threads blocked */
    uint32_t glancing;   /* driver threads that look at a slot without the role */
    bool unburied;       /* a segment could not be unmapped because of them */
    uint32_t tag;        /* of this session's refs */
    struct dmi_supervisor *supervisor;
    struct dmi_survey *survey; /* survey.c: whose walk it is */
    dm_status broken; /* not DM_OK: no worker can be started; with its sentence */
    char broken_text[512];
    dm_stats counts;
    dmi_shown shown; /* read without the role; here, since it is large */
};

/* The session of this process; NULL outside. */
extern dmi_session *dmi_the_session;

/* ---- what the supervisor calls (it holds the role) ---- */

/* A new worker for a lane: make its segment and reset the lane's ends. The supervisor then starts it.
 * The lane is left DMI_LANE_SERVING: its ring may be filled before the worker is up. */
dm_status dmi_lane_open(dmi_session *session, dmi_lane *lane);

/* The worker of a lane is dead (surely: reaped). Adopts what it published, requeues or fails the rest,
 * retires its segment; the lane is DMI_LANE_EMPTY afterwards. */
void dmi_lane_recover(dmi_session *session, dmi_lane *lane, const dmi_death *death);

/* Take completions and messages, place ready tasks, answer requests for room. True if anything moved. */
bool dmi_pump(dmi_session *session);

/* The same, without telling workers whom to ring: for a driver thread that will say so itself. */
bool dmi_turn(dmi_session *session);

/* Tell driver threads blocked in dm_get or dm_wait that the world has changed. */
void dmi_wake_waiters(dmi_session *session);

/* No worker can be started, for this reason: every unfinished and future task fails with it. */
void dmi_session_break(dmi_session *session, dm_status status, const char *reason);

/* The lane whose running task has exceeded its limit at `now_ms`, or NULL; call again after killing. */
dmi_lane *dmi_overdue_lane(dmi_session *session, int64_t now_ms);

/* Milliseconds until dmi_overdue_lane could next say something; -1: no task has a limit. */
int64_t dmi_next_deadline_ms(dmi_session *session, int64_t now_ms);

/* The name of the function a lane's worker is running, for the prefix of its output; "" if none. */
const char *dmi_lane_running(dmi_session *session, const dmi_lane *lane);

/* Is there something that only time will settle: room that is awaited, a task stuck behind a long one
 * while another worker is idle? Then pump every few milliseconds. */
bool dmi_wants_ticks(dmi_session *session);

/* How many lanes should have workers now (more than settings.workers while some are blocked). */
uint32_t dmi_lanes_wanted(dmi_session *session);

#endif
