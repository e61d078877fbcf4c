/*
 * The model of the runtime: events come in order, CPUs are shared fairly, no work is lost or made, and where pencil and
 * paper know the answer it is theirs.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/what_would_more_cores_give/model/clockwork.h"
#include "bench/what_would_more_cores_give/model/simulate.h"

static double next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 40) / (1 << 24);
}

static void assert_near(double found, double expected, double relative)
{
    if (!(fabs(found - expected) <= relative * fabs(expected)))
        fail_msg("%.9g was found, %.9g expected", found, expected);
}

/* ---- events and time ---- */

static void events_come_in_order_and_ties_as_pushed(void **state)
{
    (void)state;
    enum { N = 2000, TIMES = 37 };
    event_queue queue = {0};
    uint64_t random = 1;
    event last = {.at = -1}, e;
    for (uint32_t i = 0; i < N; i++)
        event_queue_push(&queue, floor(next_random(&random) * TIMES), 0, i);
    for (uint32_t i = 0; i < N; i++) {
        assert_true(event_queue_pop(&queue, &e));
        assert_true(e.at > last.at || (e.at == last.at && e.who > last.who));
        last = e;
    }
    assert_false(event_queue_pop(&queue, &e));
    assert_null(event_queue_first(&queue));
    event_queue_fini(&queue);
}

/* One CPU: 10 ns alone, then two at half the pace. A has 30, B comes at 10 with 10: B ends at 30, A at 40. */
static void cpus_are_shared_fairly(void **state)
{
    (void)state;
    enum { COME, DONE };
    clockwork c = {.cpus = 1};
    event e;
    clockwork_compute(&c, 30, DONE, 'A');
    clockwork_wait(&c, 10, COME, 0);
    assert_true(clockwork_next(&c, &e) && e.kind == COME);
    clockwork_compute(&c, 10, DONE, 'B');
    assert_true(clockwork_next(&c, &e) && e.who == 'B');
    assert_near(c.now, 30, 1e-12);
    assert_true(clockwork_next(&c, &e) && e.who == 'A');
    assert_near(c.now, 40, 1e-12);
    assert_near(c.busy, 40, 1e-12);
    assert_false(clockwork_next(&c, &e));
    clockwork_fini(&c);
}

/* ---- fits ---- */

static const double even[] = {1};

/* Nothing costs anything but voxels, a microsecond each. */
static costs free_of_overhead(void)
{
    return (costs){.voxel_ns = 1000, .alone_ns = 1000, .crowd = 1, .memory_b = 1e9};
}

static fit_job job_of(const costs *c, const profile *p, size_t voxels, size_t chunks, int cpus, int workers)
{
    return (fit_job){.costs = c, .profile = p, .voxels = voxels, .chunks = chunks, .alike = 1, .n_volumes = 288,
                     .value_bytes = 2, .n_results = 46, .cpus = cpus, .workers = workers};
}

static void one_worker_without_overhead_is_serial(void **state)
{
    (void)state;
    costs c = free_of_overhead();
    profile p = profile_of(1, even);
    for (size_t chunks = 1; chunks <= 8192; chunks *= 4) {
        fit_job job = job_of(&c, &p, 10000, chunks, 2, 1);
        fit_outcome o = simulate(&job);
        assert_near(o.elapsed, 1e7, 1e-9);
        assert_near(alone_ns(&job), 1e7, 1e-9);
    }
    profile_fini(&p);
}

static void many_workers_on_one_cpu_are_serial_too(void **state)
{
    (void)state;
    costs c = free_of_overhead();
    profile p = profile_of(1, even);
    fit_job job = job_of(&c, &p, 10000, 100, 1, 7);
    fit_outcome o = simulate(&job);
    assert_near(o.elapsed, 1e7, 1e-9);
    profile_fini(&p);
}

/* Work that divides evenly takes an n-th. */
static void n_workers_take_an_nth(void **state)
{
    (void)state;
    costs c = free_of_overhead();
    profile p = profile_of(1, even);
    for (int n = 2; n <= 64; n *= 2) {
        fit_job job = job_of(&c, &p, 64 * 1000, 64, n, n);
        fit_outcome o = simulate(&job);
        assert_near(o.elapsed, 64e6 / n, 1e-9);
        assert_near(efficiency(&job, &o), 1, 1e-9);
    }
    profile_fini(&p);
}

/* However many workers there are, tasks come out of one driver: 2 us each, and nearly nothing to do in them. */
static void without_end_of_workers_dispatch_is_the_bound(void **state)
{
    (void)state;
    costs c = free_of_overhead();
    profile p = profile_of(1, even);
    c.task_ns = 2000;
    for (int n = 16; n <= 1024; n *= 8) {
        fit_job job = job_of(&c, &p, 20000, 20000, n, n);
        fit_outcome o = simulate(&job);
        assert_near(o.elapsed, 20000 * 2000.0, 0.01);
        assert_true(o.elapsed >= 20000 * 2000.0);
    }
    profile_fini(&p);
}

static void copying_and_filling_are_a_bound(void **state)
{
    (void)state;
    costs c = free_of_overhead();
    profile p = profile_of(1, even);
    c.copy_ns = 70;
    c.fill_ns = 30;
    fit_job job = job_of(&c, &p, 1000000, 1000, 256, 256);
    fit_outcome o = simulate(&job);
    assert_near(o.elapsed, 1e6 * 100, 0.02);
    assert_near(o.driver, 1e6 * 100, 1e-9);
    profile_fini(&p);
}

/* 944 bytes a voxel at 1 byte a ns for all cores together: they come one after the other. */
static void memory_is_a_bound(void **state)
{
    (void)state;
    costs c = free_of_overhead();
    profile p = profile_of(1, even);
    c.memory_b = 1;
    c.memory_s = 1;
    fit_job job = job_of(&c, &p, 64000, 640, 16, 16);
    fit_outcome o = simulate(&job);
    assert_true(o.elapsed > 0.98 * 64000 * 944 && o.elapsed < 1.02 * 64000 * 944);
    profile_fini(&p);
}

/*
 * Chunks of 10, 3 and 6 ms, two workers. The third lies behind the first, since nobody knows yet what a task takes.
 * At 3 ms the second worker has nothing, and rings; the driver sees a task behind a busy worker, for the first time. It
 * spins for 0.15 ms, since a CPU is free, and sleeps for a tick of 2 ms. At 5.15 ms that worker is still busy with the
 * same: its second is taken back, and runs until 11.15 ms.
 */
static void a_small_schedule_by_hand(void **state)
{
    (void)state;
    const double ms[] = {10, 3, 6};
    costs c = free_of_overhead();
    profile p = profile_of(3, ms);
    c.voxel_ns = 19e6 / 3;
    fit_job job = job_of(&c, &p, 3, 3, 2, 2);
    fit_outcome o = simulate(&job);
    assert_near(o.elapsed, 11.15e6, 1e-6);
    assert_int_equal(o.taken_back, 1);
    profile_fini(&p);
}

/* Each is woken once, while a CPU is idle. */
static void bells_take_their_time(void **state)
{
    (void)state;
    costs c = free_of_overhead();
    profile p = profile_of(1, even);
    c.worker_wake_ns = 30000;
    c.driver_wake_ns = 50000;
    fit_job job = job_of(&c, &p, 1000, 1, 2, 1);
    fit_outcome o = simulate(&job);
    assert_near(o.elapsed, 30000 + 1e6 + 30000, 1e-9);
    assert_int_equal(o.worker_wakes, 1);
    assert_int_equal(o.driver_wakes, 1);
    profile_fini(&p);
}

/* When the first chunk is done its worker goes on with the second, and the only CPU stays busy: the driver, who is rung,
 * would have it after 10 ms. It falls idle before. */
static void who_waits_for_a_cpu_has_the_first_that_is_idle(void **state)
{
    (void)state;
    costs c = free_of_overhead();
    profile p = profile_of(1, even);
    c.driver_wake_ns = 1e7;
    fit_job job = job_of(&c, &p, 2000, 2, 1, 1);
    fit_outcome o = simulate(&job);
    assert_near(o.elapsed, 2e6, 1e-9);
    job = job_of(&c, &p, 40000, 2, 1, 1); /* 20 ms each: the driver is there before the second is done */
    o = simulate(&job);
    assert_near(o.elapsed, 4e7, 1e-9);
    assert_int_equal(o.driver_wakes, 2);
    profile_fini(&p);
}

/*
 * Of n tasks under way a driver that sleeps waits for half of those that are not to be left, four a worker: it is woken
 * for batches that shrink, not for each task.
 */
static void results_are_gathered_in_batches(void **state)
{
    (void)state;
    costs c = free_of_overhead();
    profile p = profile_of(1, even);
    fit_job job = job_of(&c, &p, 2048 * 100, 2048, 1, 1);
    fit_outcome o = simulate(&job);
    assert_near(o.elapsed, 2048e5, 1e-9);
    assert_in_range(o.driver_wakes, 8, 200);
    profile_fini(&p);
}

static costs any_costs(uint64_t *random)
{
    costs c = free_of_overhead();
    c.fit_ns = 1e6 * next_random(random);
    c.task_ns = 1e4 * next_random(random);
    c.look_ns = 100 * next_random(random);
    c.copy_ns = 500 * next_random(random);
    c.fill_ns = 500 * next_random(random);
    c.build_ns = 1e6 * next_random(random);
    c.worker_task_ns = 1e4 * next_random(random);
    c.voxel_ns = 1e5 * next_random(random);
    c.worker_wake_ns = 5e4 * next_random(random);
    c.driver_wake_ns = 1e5 * next_random(random);
    c.bell_ns = 5e3 * next_random(random);
    return c;
}

/* Each chunk runs once; all CPU time is somebody's, and no more than there is. And it is the same each time. */
static void nothing_is_lost_or_made(void **state)
{
    (void)state;
    enum { CASES = 300, COSTS = 500 };
    double each[COSTS];
    uint64_t random = 7;
    for (int i = 0; i < COSTS; i++)
        each[i] = 0.1 + next_random(&random);
    profile p = profile_of(COSTS, each);
    for (int i = 0; i < CASES; i++) {
        costs c = any_costs(&random);
        size_t chunks = 1 + (size_t)(next_random(&random) * 600);
        size_t voxels = chunks + (size_t)(20000 * next_random(&random));
        int cpus = 1 + (int)(20 * next_random(&random)), workers = 1 + (int)(40 * next_random(&random));
        fit_job job = job_of(&c, &p, voxels, chunks, cpus, workers);
        fit_outcome o = simulate(&job), again = simulate(&job);
        assert_int_equal(o.run, chunks);
        assert_near(o.voxels, profile_cost(&p, 0, voxels, 1) * c.voxel_ns, 1e-9);
        assert_true(o.workers >= o.voxels + (double)chunks * c.worker_task_ns - 1);
        assert_near(o.driver + o.workers, o.cpu, 0.02);
        assert_true(o.cpu <= o.elapsed * cpus * (1 + 1e-9));
        assert_memory_equal(&o, &again, sizeof o);
    }
    profile_fini(&p);
}

/* ---- voxels ---- */

static void a_profile_is_laid_end_to_end(void **state)
{
    (void)state;
    const double each[] = {1, 2, 3, 6}; /* mean 3 */
    profile p = profile_of(4, each);
    assert_near(profile_cost(&p, 0, 4, 1), 4, 1e-12);
    assert_near(profile_cost(&p, 3, 2, 1), 7.0 / 3, 1e-12); /* the last, and the first again */
    assert_near(profile_cost(&p, 0, 2, 2), 2.0 / 3, 1e-12); /* two of the first kind */
    assert_near(profile_cost(&p, 4000000, 4, 1), 4, 1e-9);
    assert_near(profile_spread(&p), sqrt((4.0 + 1 + 0 + 9) / 9 / 4), 1e-12);
    profile_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_in_order_and_ties_as_pushed),
        cmocka_unit_test(cpus_are_shared_fairly),
        cmocka_unit_test(one_worker_without_overhead_is_serial),
        cmocka_unit_test(many_workers_on_one_cpu_are_serial_too),
        cmocka_unit_test(n_workers_take_an_nth),
        cmocka_unit_test(without_end_of_workers_dispatch_is_the_bound),
        cmocka_unit_test(copying_and_filling_are_a_bound),
        cmocka_unit_test(memory_is_a_bound),
        cmocka_unit_test(a_small_schedule_by_hand),
        cmocka_unit_test(bells_take_their_time),
        cmocka_unit_test(who_waits_for_a_cpu_has_the_first_that_is_idle),
        cmocka_unit_test(results_are_gathered_in_batches),
        cmocka_unit_test(nothing_is_lost_or_made),
        cmocka_unit_test(a_profile_is_laid_end_to_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
