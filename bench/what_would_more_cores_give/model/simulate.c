/*
 * simulate.c - see simulate.h: begins, goes from event to event, and adds up.
 */
#include "bench/what_would_more_cores_give/model/simulate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/what_would_more_cores_give/model/simulation.h"

/* ---- what models/ would choose ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t block_of(const fit_job *job)
{
    enum { BLOCK_BYTES = 4 << 20 };
    size_t voxels = BLOCK_BYTES / (job->n_volumes * job->value_bytes);
    return voxels < 1 ? 1 : least(voxels, job->voxels);
}

size_t window_of(const fit_job *job)
{
    enum { MOST = 4096, MOST_BYTES = 256 << 20, PER_WORKER = 2 };
    size_t longest = (job->voxels + job->chunks - 1) / job->chunks;
    size_t bytes = longest * (job->n_volumes * job->value_bytes + job->n_results * sizeof(double));
    size_t window = MOST_BYTES / bytes, at_least = PER_WORKER * (size_t)job->workers;
    window = window > MOST ? MOST : window < at_least ? at_least : window;
    return least(window, job->chunks);
}

double memory_of(const costs *c, int k)
{
    return k * c->memory_b / (1 + (k - 1) * c->memory_s);
}

/* ---- the run ---- */

static void *zeroed(size_t n, size_t bytes)
{
    void *p = calloc(n, bytes);
    if (p)
        return p;
    fputs("no memory for a simulation\n", stderr);
    exit(1);
}

static simulation begin(const fit_job *job)
{
    simulation s = {.job = job,
                    .clock = {.cpus = job->cpus},
                    .lane_count = (uint32_t)job->workers,
                    .window = window_of(job),
                    .block = block_of(job),
                    .unplaced = job->chunks,
                    .favourite = NOBODY};
    s.lanes = zeroed(s.lane_count, sizeof *s.lanes);
    s.state = zeroed(job->chunks, sizeof *s.state);
    s.lane_of = zeroed(job->chunks, sizeof *s.lane_of);
    s.position = zeroed(job->chunks, sizeof *s.position);
    for (uint32_t i = 0; i < s.lane_count; i++)
        s.lanes[i].wake_at = s.lanes[i].rung = NEVER;
    return s;
}

static void happen(simulation *s, const event *e)
{
    switch (e->kind) {
    case WORKER_DONE:
        worker_done(s, e->who);
        break;
    case WORKER_AWAKE:
        worker_start(s, e->who);
        break;
    case WORKER_TIRED:
        worker_tired(s, e->who);
        break;
    case DRIVER_STEP:
        driver_step(s);
        break;
    case DRIVER_AWAKE:
        driver_awake(s, e->who);
        break;
    case DRIVER_TIRED:
        driver_glance(s);
        break;
    case SUPERVISOR_AWAKE:
        supervisor_awake(s);
        break;
    default:
        supervisor_done(s);
        break;
    }
}

static fit_outcome end(simulation *s)
{
    fit_outcome outcome = s->outcome;
    outcome.elapsed = s->clock.now;
    outcome.cpu = s->clock.busy;
    for (uint32_t i = 0; i < s->lane_count; i++)
        outcome.tail += s->clock.now - s->lanes[i].idle_since;
    clockwork_fini(&s->clock);
    event_queue_fini(&s->ready);
    free(s->lanes);
    free(s->state);
    free(s->lane_of);
    free(s->position);
    return outcome;
}

fit_outcome simulate(const fit_job *job)
{
    event next;
    simulation s = begin(job);
    driver_begin(&s);
    while (s.driver != ENDED && clockwork_next(&s.clock, &next))
        happen(&s, &next);
    assert(s.driver == ENDED && s.gathered == job->chunks);
    return end(&s);
}

double alone_ns(const fit_job *job)
{
    return job->costs->build_ns + (double)job->voxels * job->costs->alone_ns;
}

double efficiency(const fit_job *job, const fit_outcome *outcome)
{
    return alone_ns(job) / (outcome->elapsed * job->cpus);
}
