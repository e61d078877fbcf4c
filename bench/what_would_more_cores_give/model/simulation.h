/*
 * simulation.h - the state of a simulated fit, shared by the files that move it on: simulate.c (the whole),
 * sim_driver.c, sim_lanes.c, sim_workers.c. Nobody else includes this.
 */
#ifndef BENCH_SIMULATION_H
#define BENCH_SIMULATION_H

#include "bench/what_would_more_cores_give/model/clockwork.h"
#include "bench/what_would_more_cores_give/model/simulate.h"

enum {
    RING = 1024,           /* entries of a lane's ring, as in runtime/layout.h */
    STACK_NS = 10000,      /* runtime/lane.c */
    WORTH_NS = 30000,      /* runtime/dispatch.c, rebalance */
    STUCK_NS = 1000000,    /* runtime/dispatch.c, is_stuck */
    SHORT_NS = 5000,       /* runtime/dispatch.c, wake_at */
    TURN_EACH = 64,        /* runtime/dispatch.c, dmi_dispatch */
    TICK_NS = 2000000,     /* runtime/rest.c */
    LATER_NS = 1000000,    /* runtime/supervisor.c, look_around_soon, so many times: */
    PUT_OFF_MOST = 4,
    LOOK_AGAIN_NS = 5000000 /* runtime/supervisor.c, ROOM_TICK_MS */
};

enum { /* models/fit_drive.c, choose_batch */
    LEFT_PER_WORKER = 4,
    MOST_BATCH_BYTES = 1 << 20
};

#define NEVER UINT64_MAX
#define NOBODY UINT32_MAX /* a chunk, a lane */

enum { /* events */
    WORKER_DONE,
    WORKER_AWAKE,
    WORKER_TIRED, /* of spinning */
    DRIVER_STEP,
    DRIVER_AWAKE, /* who: the sleep it ends */
    DRIVER_TIRED,
    SUPERVISOR_AWAKE,
    SUPERVISOR_DONE
};

typedef enum sim_worker { ASLEEP, WAKING, SPINNING, RUNNING } sim_worker;
typedef enum sim_chunk { UNSUBMITTED, QUEUED, SENT, DONE } sim_chunk;
typedef enum sim_driver { SUBMITTING, GATHERING, TURNING, WATCHING, SLEEPING, ENDED } sim_driver;
typedef enum sim_listener { LISTENER_NONE, LISTENER_DRIVER, LISTENER_SUPERVISOR } sim_listener;

typedef struct sim_lane {
    uint32_t ring[RING]; /* chunks; NOBODY: taken back */
    uint64_t pushed, done, reaped;
    uint64_t wake_at, rung;
    sim_worker worker;
    bool built, stalled;
    uint64_t mean_ns; /* as the worker tells it */
    double clock_at, spin_until, idle_since;
    double debt; /* CPU time spent on others' behalf, for its next task */
    uint64_t stuck_done;
    double stuck_since;
} sim_lane;

typedef struct simulation {
    const fit_job *job;
    clockwork clock;
    fit_outcome outcome;
    sim_lane *lanes;
    uint32_t lane_count;
    int running; /* workers */
    /* Chunks: those before `submitted` are known, those before `gathered` are over. */
    uint8_t *state;
    uint32_t *lane_of;
    uint64_t *position; /* in that lane's ring */
    size_t submitted, gathered, window, block, blocks_made;
    size_t awaited, batch; /* the chunk whose result the driver asks for; those that it will gather then */
    size_t unplaced; /* chunks that no lane has */
    event_queue ready; /* by number: the order of submission */
    /* The driver. */
    sim_driver driver;
    double debt; /* CPU time for its next step: bells, looks at lanes */
    double watch_until;
    uint32_t sleeps;
    bool rung;
    sim_listener listener;
    bool stacked;
    uint32_t favourite, favour; /* runtime/dispatch.c, place */
    /* The supervisor. */
    bool supervising, called, wants_cpu; /* called: it does not run yet; wants_cpu: nothing else keeps it from it */
    int put_off;
} simulation;

/* Chunk c is the voxels from here to chunk_begin(c + 1). */
static inline size_t chunk_begin(const fit_job *job, size_t c)
{
    size_t each = job->voxels / job->chunks, rest = job->voxels % job->chunks;
    return c * each + (c < rest ? c : rest);
}

static inline size_t chunk_voxels(const fit_job *job, size_t c)
{
    return chunk_begin(job, c + 1) - chunk_begin(job, c);
}

/* ---- sim_workers.c ---- */

void worker_start(simulation *s, uint32_t lane); /* it is awake and idle: run what there is, or spin */
void worker_call(simulation *s, uint32_t lane);  /* there is something in its ring */
void worker_done(simulation *s, uint32_t lane);
void worker_tired(simulation *s, uint32_t lane);

/* ---- sim_lanes.c ---- */

void dispatch(simulation *s, uint32_t chunk);
bool turn(simulation *s); /* true: something moved */
void arm(simulation *s, bool sleeping);
bool wants_ticks(const simulation *s);
void look_at_lanes(simulation *s, double times); /* what it costs, at the driver's next step */

/* ---- sim_driver.c ---- */

void driver_begin(simulation *s);
void driver_step(simulation *s);
void driver_awake(simulation *s, uint32_t sleep);
void driver_glance(simulation *s);
void supervisor_awake(simulation *s);
void supervisor_done(simulation *s);
void ring_listener(simulation *s);
void cpu_falls_idle(simulation *s); /* whoever was rung and had to wait for one runs */

#endif
