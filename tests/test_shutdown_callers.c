/*
 * dm_shutdown may come while other threads are in calls: those that wait give up, nobody hangs, and
 * what they call afterwards says that the session has been shut down.
 */
#include <pthread.h>
#include <unistd.h>

#include "tests/support/test.h"

enum { THREADS = 3 };

DM_REMOTE(naps)
{
    int us;
    DM_TRY(dm_arg(call, 0, &us));
    usleep((useconds_t)us);
    return dm_return(call, us);
}

static void *calls_until_refused(void *nap_us)
{
    for (;;) {
        int x;
        dm_ref ref = dm_remote(naps, *(int *)nap_us);
        dm_status status = dm_get(ref, &x);
        if (status == DM_OK)
            status = dm_release(ref);
        if (status != DM_OK)
            return (void *)(intptr_t)status;
    }
}

static void shut_down_under(dm_engine engine, int nap_us, int after_us)
{
    pthread_t threads[THREADS];
    void *ended;
    session_begin(engine, 2);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, calls_until_refused, &nap_us), 0);
    usleep((useconds_t)after_us);
    dm_shutdown();
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &ended);
        assert_int_equal((intptr_t)ended, DM_ERR_SHUT_DOWN);
    }
}

static void while_they_wait(void **state)
{
    (void)state;
    shut_down_under(DM_ENGINE_PROCESSES, 30000000, 100000);
}

static void while_they_are_busy(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        shut_down_under(DM_ENGINE_PROCESSES, 50, 20000 + 1000 * i);
        shut_down_under(DM_ENGINE_THREADS, 50, 20000 + 1000 * i);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(while_they_wait),
    cmocka_unit_test(while_they_are_busy),
};

TEST_MAIN(tests, NULL)
