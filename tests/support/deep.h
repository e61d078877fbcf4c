/*
 * deep.h - tasks that wait for tasks that wait for tasks, deeper than a stack is: for the tests of each engine.
 */
#ifndef TEST_SUPPORT_DEEP_H
#define TEST_SUPPORT_DEEP_H

#include "tests/support/test.h"

DM_REMOTE_DECLARE(deep_down);
DM_REMOTE_DECLARE(deep_up);
DM_REMOTE_DECLARE(deep_wide);

/* How many there are from here on: 1 for the last. What dm_last_error said before the wait it says after it. */
static inline dm_status deep_below(const dm_function *next, int n, int *count)
{
    *count = 0;
    if (n > 1) {
        dm_status refused = dm_get(DM_NO_REF, (void *)NULL);
        char said[300];
        snprintf(said, sizeof said, "%s", dm_last_error());
        dm_ref below = dm_submit(next, NULL, &(dm_value){.kind = DM_INT, .i = n - 1}, 1);
        DM_TRY(dm_get(below, count));
        DM_TRY(dm_release(below));
        if (refused != DM_ERR_BADREF || strcmp(said, dm_last_error()) != 0)
            return dmi_error(DM_ERR_TASK_FAILED, "\"%.200s\" became \"%.200s\"", said, dm_last_error());
    }
    *count += 1;
    return DM_OK;
}

/* Two functions in turn, so that a chain can be told. */
DM_REMOTE(deep_down)
{
    int n, count;
    DM_TRY(dm_arg(call, 0, &n));
    DM_TRY(deep_below(&deep_up, n, &count));
    return dm_return(call, count);
}

DM_REMOTE(deep_up)
{
    int n, count;
    DM_TRY(dm_arg(call, 0, &n));
    DM_TRY(deep_below(&deep_down, n, &count));
    return dm_return(call, count);
}

/* The same with large variables of its own, which are still what they were when it has waited. */
DM_REMOTE(deep_wide)
{
    enum { BYTES = 3 << 20, STEP = 4096 };
    volatile char own[BYTES];
    int n, count;
    DM_TRY(dm_arg(call, 0, &n));
    for (int i = 0; i < BYTES; i += STEP)
        own[i] = (char)n;
    DM_TRY(deep_below(&deep_wide, n, &count));
    for (int i = 0; i < BYTES; i += STEP)
        if (own[i] != (char)n)
            return dm_fail(call, "byte %d of level %d was overwritten", i, n);
    return dm_return(call, count);
}

static inline void deep_gone(void)
{
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.workers_lost, 0);
}

static inline void deep_count(const dm_function *function, int n)
{
    int count = -1;
    dm_ref ref = dm_submit(function, NULL, &(dm_value){.kind = DM_INT, .i = n}, 1);
    assert_ok(dm_get(ref, &count));
    assert_int_equal(count, n);
    assert_ok(dm_release(ref));
    deep_gone();
}

/* Ten thousand of them, and a few that take much of a stack each. */
static inline void deep_to_the_bottom(dm_engine engine, int workers, int depth)
{
    session_begin(engine, workers);
    deep_count(&deep_down, depth);
    deep_count(&deep_wide, 12);
    dm_shutdown();
}

/* So many may be, and no more; what is said names those that wait. */
static inline void deep_to_the_cap(dm_engine engine, int workers)
{
    enum { MOST = 100 };
    session_begin_with(&(dm_options){.engine = engine, .workers = workers, .nested_tasks = MOST});
    dm_ref ref = dm_remote(deep_down, 1 << 20);
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_TOO_DEEP,
                   "100 tasks wait for one another on its worker, as many as may (DM_NESTED_TASKS): ");
    assert_non_null(strstr(dm_last_error(), " waits for ... (92 more) ... waits for "));
    assert_non_null(strstr(dm_last_error(), "deep_up waits for deep_down waits for deep_up waits for "));
    dm_ref after = dm_remote(deep_down, ref);
    assert_refused(dm_get(after, (void *)NULL), DM_ERR_DEP_FAILED, "DM_ERR_TOO_DEEP");
    assert_ok(dm_release(after));
    assert_ok(dm_release(ref));
    deep_gone();
    deep_count(&deep_up, MOST);
    dm_shutdown();
}

#endif
