/*
 * Small tasks go a quick way as long as nothing is unusual. Whatever becomes unusual in the middle of many of them, each has
 * its value: a limit of time, one with a priority among those that wait, a worker that dies and is still the one chosen.
 */
#include "tests/support/test.h"

enum { MANY = 3000 };

DM_REMOTE(adds_one)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x + 1);
}

DM_REMOTE(takes_a_while)
{
    usleep(20000);
    return DM_OK;
}

static dm_ref refs[MANY];

static void assert_values(int from, int to)
{
    for (int i = from; i < to; i++) {
        int x = 0;
        assert_ok(dm_get_within(refs[i], &x, WATCH_PATIENCE_MS));
        assert_int_equal(x, i + 1);
        assert_ok(dm_release(refs[i]));
    }
}

static void end(const residue *before)
{
    dm_stats stats = {.refs = 1};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    dm_shutdown();
    assert_no_residue(before);
}

static void below_a_limit(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = engine, .workers = 1, .task_limit_ms = 60000, .log = driver_no_log});
    for (int i = 0; i < MANY; i++)
        refs[i] = dm_remote(adds_one, i);
    assert_values(0, MANY);
    end(&before);
}
ON_ENGINES(below_a_limit)

/* They wait in a queue of their own order until it is there; it comes first, and the others are not forgotten. */
static void one_with_a_priority(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = engine, .workers = 1, .log = driver_no_log});
    dm_ref first = dm_remote(takes_a_while), urgent = DM_NO_REF;
    for (int i = 0; i < MANY; i++) {
        refs[i] = dm_remote(adds_one, i);
        if (i == MANY / 2)
            urgent = dm_remote_with((&(dm_task_options){.priority = 5}), adds_one, 41);
    }
    int x = 0;
    assert_ok(dm_get_within(urgent, &x, WATCH_PATIENCE_MS));
    assert_int_equal(x, 42);
    assert_ok(dm_release(urgent));
    assert_ok(dm_release(first));
    assert_values(0, MANY);
    end(&before);
}
ON_ENGINES(one_with_a_priority)

static void a_death_among_them(void **state)
{
    (void)state;
    enum { DEATHS = 5 };
    residue before;
    unsigned seed = 1;
    dm_stats stats = {0};
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = 2, .retries = 100, .log = driver_no_log});
    for (int death = 0, from = 0; death < DEATHS; death++) {
        int until = (death + 1) * (MANY / DEATHS), middle = (from + until) / 2;
        for (int i = from; i < middle; i++)
            refs[i] = dm_remote(adds_one, i);
        assert_true(watch_kill_a_worker(&seed) != 0);
        assert_soon(dm_stats_get(&stats) == DM_OK && stats.workers_lost == (uint64_t)death + 1);
        for (int i = middle; i < until; i++)
            refs[i] = dm_remote(adds_one, i);
        assert_values(from, until);
        from = until;
    }
    end(&before);
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(below_a_limit),
    ENGINE_CASES(one_with_a_priority),
    cmocka_unit_test(a_death_among_them),
};

TEST_MAIN(tests, NULL)
