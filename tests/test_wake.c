/*
 * No wake-up is lost: on one CPU, where nobody can spin while another works, and after each pause that
 * lets everybody fall asleep, a task goes out and its result comes back.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "objectstore/word.h"
#include "tests/support/test.h"

enum { TRIPS = 5000, STALL_MS = 5000 };

DM_REMOTE(adds_one)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x + 1);
}

static cpu_set_t all;

/* Workers and the supervisor take it over. */
static void use_one_cpu(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &one);
            break;
        }
    sched_setaffinity(0, sizeof one, &one);
}

static int64_t trip(int number)
{
    int x = 0;
    int64_t begin = watch_now_us();
    dm_ref ref = dm_remote(adds_one, number);
    assert_ok(dm_get_within(ref, &x, 20000));
    assert_int_equal(x, number + 1);
    dm_release(ref);
    return watch_now_us() - begin;
}

static void trips(int workers, bool one_cpu, bool pauses)
{
    int count = pauses ? TRIPS / 10 : watch_sanitized() ? TRIPS : 4 * TRIPS;
    int64_t longest = 0;
    if (one_cpu)
        use_one_cpu();
    session_begin(DM_ENGINE_PROCESSES, workers);
    trip(0);
    for (int i = 0; i < count; i++) {
        if (pauses) /* around the time for which anybody spins: the moment of falling asleep is the risk */
            nanosleep(&(struct timespec){0, i % 50 * 10000}, NULL);
        int64_t us = trip(i);
        longest = us > longest ? us : longest;
    }
    dm_shutdown();
    sched_setaffinity(0, sizeof all, &all);
    print_message("%d workers: the longest of %d trips took %d us\n", workers, count, (int)longest);
    assert_true(longest < STALL_MS * 1000);
}

static void on_one_cpu(void **state)
{
    (void)state;
    trips(1, true, false);
}

static void on_one_cpu_with_two_workers(void **state)
{
    (void)state;
    trips(2, true, false);
}

static void on_all_cpus(void **state)
{
    (void)state;
    trips(2, false, false);
}

static void after_pauses(void **state)
{
    (void)state;
    trips(1, false, true);
    trips(2, true, true);
}

/* Many submitted, then gathered from the last and from the first. */
static void in_crowds(void **state)
{
    (void)state;
    enum { CROWD = 3000 };
    static dm_ref refs[CROWD];
    for (int round = 0; round < 6; round++) {
        if (round % 2)
            use_one_cpu();
        session_begin(DM_ENGINE_PROCESSES, 1 + round % 3);
        for (int i = 0; i < CROWD; i++)
            refs[i] = dm_remote(adds_one, i);
        for (int i = 0; i < CROWD; i++) {
            int which = round < 3 ? i : CROWD - 1 - i, x;
            assert_ok(dm_get_within(refs[which], &x, 20000));
            assert_int_equal(x, which + 1);
            dm_release(refs[which]);
        }
        dm_shutdown();
        sched_setaffinity(0, sizeof all, &all);
    }
}

DM_REMOTE(sleeps_long)
{
    (void)call;
    sleep(20);
    return DM_OK;
}

static _Thread_local long before_a_store_ns;

static void pause_before_a_store(void)
{
    if (before_a_store_ns != 0)
        nanosleep(&(struct timespec){0, before_a_store_ns}, NULL);
}

/* The time that was given passes between the look whether it has and the sleep: not a sleep without end. */
static void a_limit_that_passes_on_the_way_to_sleep(void **state)
{
    enum { STEP_NS = 50000, MOST_NS = 4000000 };
    (void)state;
    session_begin(DM_ENGINE_PROCESSES, 1);
    dm_ref ref = dm_remote(sleeps_long);
    dmi_step_hook = pause_before_a_store;
    for (long ns = STEP_NS; ns < MOST_NS; ns += STEP_NS) {
        before_a_store_ns = ns;
        dm_status status = dm_get_within(ref, (void *)NULL, 1);
        before_a_store_ns = 0;
        assert_int_equal(status, DM_ERR_TIMEOUT);
        assert_refused(dm_wait(&ref, 1, 1, 1, NULL), DM_ERR_TIMEOUT, "0 of 1");
    }
    dmi_step_hook = NULL;
    dm_release(ref);
    dm_shutdown();
}

/* Sessions that begin and end, with and without work. */
static void sessions_in_a_row(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    for (int i = 0; i < 20; i++) {
        session_begin(i % 3 ? DM_ENGINE_PROCESSES : DM_ENGINE_THREADS, 2);
        if (i % 2)
            trip(i);
        dm_shutdown();
    }
    assert_no_residue(&before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(on_one_cpu),  cmocka_unit_test(on_one_cpu_with_two_workers),
    cmocka_unit_test(on_all_cpus), cmocka_unit_test(after_pauses),
    cmocka_unit_test(in_crowds),   cmocka_unit_test(sessions_in_a_row),
    cmocka_unit_test(a_limit_that_passes_on_the_way_to_sleep),
};

__attribute__((constructor)) static void note_cpus(void)
{
    sched_getaffinity(0, sizeof all, &all);
}

TEST_MAIN(tests, NULL)
