/*
 * Cancelling on the engine of threads, by several threads of the program at once and from tasks: for
 * ThreadSanitizer to look at every step. Options of tasks come with it.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/test.h"

enum { CALLERS = 3, ROUNDS = 15, TASKS = 60 };

static _Atomic int begun;

DM_REMOTE(looks)
{
    atomic_fetch_add(&begun, 1);
    for (int i = 0; i < 200 && !dm_cancelled(call); i++)
        usleep(100);
    return dm_cancelled(call) ? DM_ERR_CANCELLED : DM_OK;
}

DM_REMOTE(sums)
{
    int x, sum = 0;
    for (int i = 0; i < dm_arg_count(call); i++) {
        DM_TRY(dm_arg(call, i, &x));
        sum += x;
    }
    return dm_return(call, sum);
}

DM_REMOTE(cancels_below)
{
    dm_ref a = dm_remote(looks), b = dm_remote_with((&(dm_task_options){.name = "below", .priority = 3}), sums, 1);
    DM_TRY(dm_cancel_within(a, 0));
    dm_status status = dm_get(a, (void *)NULL);
    DM_TRY(dm_cancel(b));
    return status == DM_ERR_CANCELLED || status == DM_OK ? DM_OK : status;
}

static dm_ref submit(int i, dm_ref last, unsigned *seed)
{
    dm_task_options options = {.priority = rand_r(seed) % 3 - 1, .cpus = rand_r(seed) % 3,
                               .name = rand_r(seed) % 2 ? "one of them" : NULL,
                               .retry_on = DM_ON(DM_ERR_IO), .retries = 2};
    if (i % 10 == 0)
        return dm_remote_with(&options, looks);
    if (i % 10 == 5)
        return dm_remote_with(&options, cancels_below);
    return i % 10 == 1 || i % 10 == 6 ? dm_remote_with(&options, sums, i) : dm_remote_with(&options, sums, last, i);
}

static void *calls(void *argument)
{
    unsigned seed = *(const unsigned *)argument;
    for (int round = 0; round < ROUNDS; round++) {
        dm_ref refs[TASKS];
        for (int i = 0; i < TASKS; i++)
            refs[i] = submit(i, i ? refs[i - 1] : DM_NO_REF, &seed);
        for (int i = 0; i < TASKS; i++)
            if (rand_r(&seed) % 2 && dm_cancel_within(refs[rand_r(&seed) % TASKS], rand_r(&seed) % 20) != DM_OK)
                return argument;
        for (int i = 0; i < TASKS; i++) {
            dm_status status = dm_get(refs[i], (void *)NULL);
            if (status != DM_OK && status != DM_ERR_CANCELLED && status != DM_ERR_DEP_FAILED)
                return argument;
            if (dm_release(refs[i]) != DM_OK)
                return argument;
        }
    }
    return NULL;
}

static void by_several_threads(void **state)
{
    (void)state;
    residue before;
    pthread_t threads[CALLERS];
    unsigned seeds[CALLERS];
    dm_stats stats = {0};
    residue_begin(&before);
    session_begin(DM_ENGINE_THREADS, 2);
    for (int i = 0; i < CALLERS; i++) {
        seeds[i] = (unsigned)i;
        assert_int_equal(pthread_create(&threads[i], NULL, calls, &seeds[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_true(atomic_load(&begun) > 0);
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    dm_shutdown();
    assert_no_residue(&before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(by_several_threads),
};

TEST_MAIN(tests, NULL)
