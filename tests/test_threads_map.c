/*
 * Maps on the engine of threads, from one thread of the driver and from several at once, and from tasks: so that
 * ThreadSanitizer can look at every step.
 */
#include <pthread.h>

#include "tests/support/maps.h"

static void maps(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 3; workers++) {
        session_begin(DM_ENGINE_THREADS, workers);
        maps_indexes(1, 0, 0);
        maps_indexes(20000, 0, 0);
        maps_indexes(300, 1, 0);
        maps_scaled(5000);
        maps_nest(500);
        maps_all_gone();
        dm_shutdown();
    }
}

static void *map_in_a_thread(void *right)
{
    enum { COUNT = 5000 };
    uint64_t *y = malloc(COUNT * sizeof *y);
    bool good = dm_map(maps_index, COUNT, DM_RESULTS(y), 11) == DM_OK;
    for (size_t i = 0; i < COUNT && good; i++)
        good = y[i] == maps_mix(i, 11);
    free(y);
    *(bool *)right = good;
    return NULL;
}

static void maps_at_once(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    bool right[THREADS] = {false};
    session_begin(DM_ENGINE_THREADS, 2);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, map_in_a_thread, &right[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(right[i]);
    }
    maps_all_gone();
    dm_shutdown();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(maps),
    cmocka_unit_test(maps_at_once),
};

TEST_MAIN(tests, NULL)
