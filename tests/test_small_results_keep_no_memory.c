/*
 * A result that is a number lies in its worker's segment. When the worker is dead it keeps that, and not the
 * memory of all that the worker once had.
 */
#include "tests/support/marked.h"

DM_REMOTE(one)
{
    return dm_return(call, 1);
}

static void of_a_dead_worker(void **state)
{
    (void)state;
    residue before;
    int pid, x = 0;
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = 1,
                                     .store_bytes = 8 * MARKED_MIB,
                                     .store_wait_ms = 500,
                                     .spill_policy = DM_SPILL_OFF,
                                     .log = driver_no_log});
    dm_ref small = dm_remote(one), large = dm_remote(marked_make, 5 * MARKED_MIB, 1);
    assert_marked(large, 5 * MARKED_MIB, 1);
    assert_ok(dm_get(small, &x));
    assert_int_equal(dm_worker_pids(&pid, 1), 1);
    assert_true(watch_kill(pid));
    assert_ok(dm_release(large));
    dm_ref put = marked_put(5 * MARKED_MIB, 2);
    if (put.id == 0)
        fail_msg("%s", dm_last_error());
    assert_ok(dm_get(small, &x));
    assert_ok(dm_release(put));
    assert_ok(dm_release(small));
    marked_end(&before);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(of_a_dead_worker)};
TEST_MAIN(tests, NULL)
