/*
 * sim_workers.c - what workers do, as runtime/worker.c has it.
 */
#include <math.h>

#include "bench/what_would_more_cores_give/model/simulation.h"
#include "runtime/policy.h"

/* A voxel cannot be done sooner than its bytes come, when all that run want theirs. */
static double memory_bound_ns(const simulation *s, size_t voxels)
{
    const fit_job *job = s->job;
    double bytes = (double)(job->n_volumes * job->value_bytes + job->n_results * sizeof(double));
    return (double)voxels * bytes * s->running / memory_of(job->costs, s->running);
}

static double run_ns(simulation *s, sim_lane *lane, uint32_t chunk)
{
    const fit_job *job = s->job;
    const costs *c = job->costs;
    size_t n = chunk_voxels(job, chunk);
    double plain = profile_cost(job->profile, chunk_begin(job, chunk), n, job->alike) * c->voxel_ns;
    double voxels = fmax(plain * (job->cpus > 1 ? c->crowd : 1), memory_bound_ns(s, n));
    double all = voxels + c->worker_task_ns + (lane->built ? 0 : c->build_ns) + lane->debt;
    s->outcome.voxels += plain;
    s->outcome.workers += all;
    lane->built = true;
    lane->debt = 0;
    return all;
}

static void count_idle(simulation *s, const sim_lane *lane)
{
    double ns = s->clock.now - lane->idle_since;
    *(s->unplaced ? &s->outcome.starved : &s->outcome.tail) += ns;
}

static bool has_entry(sim_lane *lane)
{
    while (lane->done < lane->pushed && lane->ring[lane->done % RING] == NOBODY)
        lane->done++;
    return lane->done < lane->pushed;
}

static void run(simulation *s, uint32_t index)
{
    sim_lane *lane = &s->lanes[index];
    s->running++;
    lane->worker = RUNNING;
    clockwork_compute(&s->clock, run_ns(s, lane, lane->ring[lane->done % RING]), WORKER_DONE, index);
}

void worker_start(simulation *s, uint32_t index)
{
    sim_lane *lane = &s->lanes[index];
    count_idle(s, lane);
    lane->idle_since = s->clock.now;
    lane->clock_at = s->clock.now;
    if (has_entry(lane)) {
        run(s, index);
        return;
    }
    double spin = (double)dmi_policy_worker_spin_ns(s->job->cpus);
    lane->worker = SPINNING;
    lane->spin_until = s->clock.now + spin;
    clockwork_wait(&s->clock, spin, WORKER_TIRED, index);
}

void worker_call(simulation *s, uint32_t index)
{
    sim_lane *lane = &s->lanes[index];
    if (lane->worker == SPINNING) {
        worker_start(s, index);
    } else if (lane->worker == ASLEEP) {
        lane->worker = WAKING;
        s->debt += s->job->costs->bell_ns;
        s->outcome.worker_wakes++;
        clockwork_wait(&s->clock, s->job->costs->worker_wake_ns, WORKER_AWAKE, index);
    }
}

/* note_time */
static void note_time(simulation *s, sim_lane *lane)
{
    uint64_t each = (uint64_t)(s->clock.now - lane->clock_at) + 1, most = 8 * lane->mean_ns + 2000;
    if (lane->mean_ns != 0 && each > most)
        each = most;
    lane->mean_ns = lane->mean_ns == 0 ? each : (7 * lane->mean_ns + each + 7) / 8;
    lane->clock_at = s->clock.now;
}

/* The driver may want to hear that it is this far. */
static void ring_if_asked(simulation *s, sim_lane *lane)
{
    if (lane->done < lane->wake_at || lane->rung == lane->wake_at || s->listener == LISTENER_NONE)
        return;
    lane->rung = lane->wake_at;
    lane->debt += s->job->costs->bell_ns;
    ring_listener(s);
}

void worker_done(simulation *s, uint32_t index)
{
    sim_lane *lane = &s->lanes[index];
    s->running--;
    s->outcome.run++;
    s->state[lane->ring[lane->done % RING]] = DONE;
    lane->done++;
    note_time(s, lane);
    ring_if_asked(s, lane);
    lane->idle_since = s->clock.now;
    if (has_entry(lane))
        run(s, index);
    else
        worker_start(s, index);
    driver_glance(s); /* one that spins sees it */
}

void worker_tired(simulation *s, uint32_t index)
{
    sim_lane *lane = &s->lanes[index];
    if (lane->worker != SPINNING || s->clock.now < lane->spin_until)
        return;
    lane->worker = ASLEEP;
    if (event_queue_first(&s->ready)) /* held_back */
        ring_listener(s);
    cpu_falls_idle(s);
}
