/*
 * Driver calls are safe from any thread: several submit, get, wait, put, retain and release at once,
 * the same refs among them; and sessions end while nobody is in a call.
 */
#include <pthread.h>

#include "tests/support/test.h"

enum { DRIVERS = 4, ROUNDS = 200, SHARED = 16 };

DM_REMOTE(adds)
{
    int64_t x, y;
    DM_TRY(dm_arg(call, 0, &x));
    DM_TRY(dm_arg(call, 1, &y));
    return dm_return(call, x + y);
}

DM_REMOTE(sums_bytes)
{
    dm_view view;
    int64_t sum = 0;
    DM_TRY(dm_arg(call, 0, &view));
    for (size_t i = 0; i < view.bytes; i++)
        sum += ((const unsigned char *)view.data)[i];
    return dm_return(call, sum);
}

static dm_ref shared[SHARED];

/* Threads must not fail a case: they count what is wrong. */
static bool one_round(int64_t number, unsigned *seed)
{
    static const char bytes[3000] = {[17] = 5};
    int64_t x = 0;
    dm_ref common = shared[(unsigned)rand_r(seed) % SHARED];
    if (dm_retain(common) != DM_OK)
        return false;
    dm_ref put = dm_put(&DM_BYTES(bytes, sizeof bytes)), sum = dm_remote(sums_bytes, put);
    dm_ref mine = dm_remote(adds, number, 1), both = dm_remote(adds, mine, common);
    dm_ref chain = dm_remote(adds, both, sum);
    bool good = dm_release(put) == DM_OK;
    good &= dm_wait((dm_ref[]){mine, both, chain}, 3, 1 + (size_t)rand_r(seed) % 3, DM_NONE, NULL) == DM_OK;
    good &= dm_get(mine, &x) == DM_OK && x == number + 1;
    good &= dm_get(chain, &x) == DM_OK && x == number + 1 + 1000 + 5;
    good &= dm_get(common, &x) == DM_OK && x == 1000;
    dm_view view;
    dm_ref again = dm_put("some text that is longer than what a record holds, by far, surely");
    good &= dm_get(again, &view) == DM_OK;
    good &= dm_release(again) == DM_OK;
    good &= view.bytes == 65;
    dm_view_release(&view);
    return good & (dm_release(mine) == DM_OK) & (dm_release(both) == DM_OK) &
           (dm_release(chain) == DM_OK) & (dm_release(sum) == DM_OK) & (dm_release(common) == DM_OK);
}

static void *drive(void *argument)
{
    int64_t number = (int64_t)(intptr_t)argument;
    unsigned seed = (unsigned)number;
    intptr_t wrong = 0;
    for (int i = 0; i < ROUNDS; i++)
        wrong += !one_round(number * 1000 + i, &seed);
    return (void *)wrong;
}

static void drive_together(dm_engine engine, int workers)
{
    pthread_t threads[DRIVERS];
    session_begin(engine, workers);
    for (int i = 0; i < SHARED; i++)
        shared[i] = dm_remote(adds, 990 + i, 10 - i);
    for (int i = 0; i < DRIVERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, drive, (void *)(intptr_t)i), 0);
    for (int i = 0; i < DRIVERS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    for (int i = 0; i < SHARED; i++)
        assert_ok(dm_release(shared[i]));
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    dm_shutdown();
}

static void several_threads_on_one_worker(void **state)
{
    (void)state;
    drive_together(DM_ENGINE_THREADS, 1);
}

static void several_threads_on_two_workers(void **state)
{
    (void)state;
    drive_together(DM_ENGINE_THREADS, 2);
}

static void several_threads_serially(void **state)
{
    (void)state;
    drive_together(DM_ENGINE_SERIAL, 1);
}

/* ---- all wait for the same ---- */

static dm_ref awaited;

static void *wait_for_it(void *unused)
{
    int64_t x = 0;
    (void)unused;
    bool good = dm_get(awaited, &x) == DM_OK && x == 3;
    return (void *)(intptr_t)!good;
}

static void all_wait_for_one(void **state)
{
    (void)state;
    session_begin(DM_ENGINE_THREADS, 2);
    for (int round = 0; round < 100; round++) {
        pthread_t threads[DRIVERS];
        void *wrong;
        dm_ref first = dm_remote(adds, 1, 1);
        awaited = dm_remote(adds, first, 1);
        for (int i = 0; i < DRIVERS; i++)
            pthread_create(&threads[i], NULL, wait_for_it, NULL);
        for (int i = 0; i < DRIVERS; i++) {
            pthread_join(threads[i], &wrong);
            assert_null(wrong);
        }
        dm_release(first);
        dm_release(awaited);
    }
    dm_shutdown();
}

/* ---- ends ---- */

static void sessions_end_with_tasks_unfinished(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    for (int round = 0; round < 20; round++) {
        session_begin(DM_ENGINE_THREADS, 2);
        dm_ref last = dm_put(0);
        for (int i = 0; i < 100; i++)
            last = dm_remote(adds, last, i);
        if (round % 2)
            assert_ok(dm_get(last, (void *)NULL));
        dm_shutdown();
        assert_refused(dm_get(last, (void *)NULL), DM_ERR_SHUT_DOWN, "");
    }
    assert_no_residue(&before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(several_threads_on_one_worker),
    cmocka_unit_test(several_threads_on_two_workers),
    cmocka_unit_test(several_threads_serially),
    cmocka_unit_test(all_wait_for_one),
    cmocka_unit_test(sessions_end_with_tasks_unfinished),
};

TEST_MAIN(tests, NULL)
