/*
 * sim_driver.c - the thread that called dm_fit_csd (models/fit_drive.c over runtime/rest.c), and its supervisor.
 */
#include "bench/what_would_more_cores_give/model/simulation.h"
#include "runtime/policy.h"

static void compute(simulation *s, sim_driver state, double ns)
{
    ns += s->debt;
    s->debt = 0;
    s->driver = state;
    s->outcome.driver += ns;
    clockwork_compute(&s->clock, ns, DRIVER_STEP, 0);
}

/* ---- submitting and gathering ---- */

/* The blocks that the next chunk lies in and nobody has made yet. */
static double copying_ns(simulation *s)
{
    size_t end = chunk_begin(s->job, s->submitted + 1), blocks = (end + s->block - 1) / s->block;
    size_t from = s->blocks_made * s->block, upto = blocks * s->block;
    if (blocks <= s->blocks_made)
        return 0;
    s->blocks_made = blocks;
    if (upto > s->job->voxels)
        upto = s->job->voxels;
    return (double)(upto - from) * s->job->costs->copy_ns;
}

static void turn_now(simulation *s)
{
    look_at_lanes(s, 1);
    compute(s, TURNING, 0);
}

/* Results are gathered some at a time, once the last of them is there. (The real driver looks again after 100 ms; as few
 * as a batch's bytes are do not take that long.) */
static size_t choose_batch(const simulation *s)
{
    const fit_job *job = s->job;
    size_t longest = (job->voxels + job->chunks - 1) / job->chunks;
    size_t under_way = s->submitted - s->gathered, left = (size_t)job->workers * LEFT_PER_WORKER;
    size_t batch = under_way > left ? (under_way - left) / 2 : 0;
    size_t fitting = MOST_BATCH_BYTES / (longest * job->n_results * sizeof(double));
    batch = batch < fitting ? batch : fitting;
    return batch < 2 ? 1 : batch;
}

static void gather(simulation *s)
{
    const fit_job *job = s->job;
    compute(s, GATHERING, job->costs->task_ns / 2 + job->costs->fill_ns * (double)chunk_voxels(job, s->gathered));
}

/* The next line of the program. */
static void go_on(simulation *s)
{
    const fit_job *job = s->job;
    if (s->batch == 0 && s->submitted < job->chunks && s->submitted - s->gathered < s->window) {
        compute(s, SUBMITTING, job->costs->task_ns / 2 + copying_ns(s));
        return;
    }
    if (s->gathered == job->chunks) {
        s->driver = ENDED;
        return;
    }
    if (s->batch == 0) {
        s->batch = choose_batch(s);
        s->awaited = s->gathered + s->batch - 1;
    }
    if (s->state[s->awaited] != DONE) {
        turn_now(s);
        return;
    }
    s->awaited = s->gathered; /* the last is there: now each of them */
    if (s->state[s->awaited] == DONE)
        gather(s);
    else
        turn_now(s);
}

void driver_begin(simulation *s)
{
    s->debt = s->job->costs->fit_ns;
    go_on(s);
}

/* ---- waiting ---- */

static double may_spin_ns(const simulation *s)
{
    int busy = 0;
    uint64_t mean = 0;
    for (uint32_t i = 0; i < s->lane_count; i++)
        if (s->lanes[i].pushed != s->lanes[i].done) {
            busy++;
            mean = s->lanes[i].mean_ns;
        }
    return (double)dmi_policy_driver_spin_ns(busy, s->job->cpus, mean);
}

static void sleep_now(simulation *s)
{
    s->driver = SLEEPING;
    s->sleeps++;
    s->rung = false;
    arm(s, true);
    if (turn(s)) { /* something was done before its mark was there to be seen */
        turn_now(s);
        return;
    }
    if (wants_ticks(s))
        clockwork_wait(&s->clock, TICK_NS + s->job->costs->driver_wake_ns, DRIVER_AWAKE, s->sleeps);
}

static void rest(simulation *s)
{
    double spin = may_spin_ns(s);
    if (spin == 0) {
        sleep_now(s);
        return;
    }
    s->driver = WATCHING;
    s->watch_until = s->clock.now + spin;
    clockwork_wait(&s->clock, spin, DRIVER_TIRED, 0);
}

static void turned(simulation *s)
{
    bool moved = turn(s);
    if (s->state[s->awaited] == DONE) {
        if (s->listener == LISTENER_DRIVER) /* dmi_driver_rested */
            arm(s, false);
        go_on(s);
    } else if (moved) {
        turn_now(s);
    } else {
        rest(s);
    }
}

void driver_step(simulation *s)
{
    switch (s->driver) {
    case SUBMITTING:
        dispatch(s, (uint32_t)s->submitted++);
        break;
    case GATHERING:
        s->gathered++;
        s->batch--;
        break;
    default:
        turned(s);
        return;
    }
    go_on(s);
}

void driver_awake(simulation *s, uint32_t sleep)
{
    if (s->driver != SLEEPING || sleep != s->sleeps)
        return;
    s->outcome.driver_wakes++;
    turn_now(s);
}

/* If it spins, it saw something, or has had enough. */
void driver_glance(simulation *s)
{
    if (s->driver != WATCHING)
        return;
    if (s->clock.now >= s->watch_until)
        sleep_now(s);
    else
        turn_now(s);
}

/* ---- bells ---- */

/* Until who is rung runs. Where all CPUs work, whoever rings among them, the kernel lets them go on for a while. */
static double wake_ns(const simulation *s)
{
    const costs *c = s->job->costs;
    return s->clock.computing + 1 < s->clock.cpus ? c->worker_wake_ns : c->driver_wake_ns;
}

static void call_supervisor(simulation *s, double ns, bool wants_cpu)
{
    s->called = true;
    s->wants_cpu = wants_cpu;
    clockwork_wait(&s->clock, ns, SUPERVISOR_AWAKE, 0);
}

void ring_listener(simulation *s)
{
    if (s->driver == SLEEPING) {
        if (!s->rung)
            clockwork_wait(&s->clock, wake_ns(s), DRIVER_AWAKE, s->sleeps);
        s->rung = true;
    } else if (!s->supervising) {
        s->supervising = true;
        s->put_off = 0;
        call_supervisor(s, wake_ns(s), true);
    }
}

void cpu_falls_idle(simulation *s)
{
    if (s->clock.computing >= s->clock.cpus)
        return;
    if (s->driver == SLEEPING && s->rung)
        driver_awake(s, s->sleeps);
    else if (s->called && s->wants_cpu)
        supervisor_awake(s);
}

void supervisor_awake(simulation *s)
{
    if (!s->called) /* it ran already, on a CPU that had fallen idle */
        return;
    s->called = false;
    if (s->driver == TURNING && s->put_off++ < PUT_OFF_MOST) {
        call_supervisor(s, LATER_NS, false);
        return;
    }
    double ns = s->lane_count * s->job->costs->look_ns;
    s->outcome.driver += ns;
    s->outcome.dispatch += ns;
    clockwork_compute(&s->clock, ns, SUPERVISOR_DONE, 0);
}

void supervisor_done(simulation *s)
{
    s->supervising = false;
    bool moved = turn(s);
    if (s->driver == SLEEPING) {
        if (moved) /* dmi_wake_waiters */
            ring_listener(s);
        return;
    }
    arm(s, false);
    if (wants_ticks(s)) {
        s->supervising = true;
        s->put_off = 0;
        call_supervisor(s, LOOK_AGAIN_NS, false);
    }
}
