/*
 * Futures are arguments: whatever the shape of the graph, the engine and the number of workers, the
 * results are those of serial evaluation, and nothing of the graph is left.
 */
#include "tests/support/graph.h"

#include <fcntl.h>
#include <sys/stat.h>

DM_REMOTE(waits_for_a_file)
{
    const char *path;
    struct stat file;
    DM_TRY(dm_arg(call, 0, &path));
    while (stat(path, &file) != 0)
        usleep(500);
    return dm_return(call, 1);
}

static const char *gate_path(void)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/gate", test_directory());
    return path;
}

static void open_gate(void)
{
    close(open(gate_path(), O_CREAT | O_WRONLY, 0600));
}

static void chains(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    for (int workers = 1; workers <= 3; workers++)
        graph_chain(engine, workers, 500);
    assert_no_residue(&before);
}
ON_ENGINES(chains)

static void diamonds(dm_engine engine)
{
    for (int workers = 1; workers <= 3; workers++)
        graph_diamonds(engine, workers, 100);
}
ON_ENGINES(diamonds)

static void fans_in(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    for (int workers = 1; workers <= 3; workers++)
        graph_fan_in(engine, workers, 1000);
    assert_no_residue(&before);
}
ON_ENGINES(fans_in)

static void at_random(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    for (int workers = 1; workers <= 3; workers++)
        for (unsigned seed = 1; seed <= 3; seed++)
            graph_random(engine, workers, 2000, seed * 1000 + (unsigned)workers);
    assert_no_residue(&before);
}
ON_ENGINES(at_random)

static void failures_reach_dependents(dm_engine engine)
{
    for (int workers = 1; workers <= 3; workers++)
        graph_failures(engine, workers);
}
ON_ENGINES(failures_reach_dependents)

/* ---- waiting for several ---- */

/* Some are ready and some cannot be; engines with workers only, since serially nothing is unfinished. */
static void waiting_for_some(dm_engine engine)
{
    enum { COUNT = 10 };
    dm_ref refs[COUNT];
    bool ready[COUNT];
    session_begin(engine, 2);
    unlink(gate_path());
    refs[0] = dm_remote(waits_for_a_file, gate_path());
    for (int i = 1; i < COUNT; i++)
        refs[i] = dm_remote(graph_add_one, i);
    assert_ok(dm_wait(refs, COUNT, 3, DM_NONE, ready));
    int count = 0;
    for (int i = 0; i < COUNT; i++)
        count += ready[i];
    assert_true(count >= 3);
    assert_ok(dm_wait(refs, COUNT, COUNT - 1, 20000, ready));
    assert_false(ready[0]);
    int64_t begin = watch_now_ms();
    assert_refused(dm_wait(refs, COUNT, COUNT, 30, ready), DM_ERR_TIMEOUT, "9 of 10");
    assert_true(watch_now_ms() - begin >= 30);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(ready[i], i != 0);
    assert_refused(dm_wait(refs, 1, 1, 0, NULL), DM_ERR_TIMEOUT, "");
    assert_ok(dm_wait(refs, 1, 0, 0, ready)); /* just looks */
    assert_false(ready[0]);
    assert_ok(dm_wait(NULL, 0, 0, DM_NONE, NULL));
    int x;
    assert_refused(dm_get_within(refs[0], &x, 0), DM_ERR_TIMEOUT, "waits_for_a_file");
    assert_refused(dm_get_within(refs[0], &x, 20), DM_ERR_TIMEOUT, "20 ms");
    open_gate();
    assert_ok(dm_wait(refs, COUNT, COUNT, DM_NONE, ready));
    assert_ok(dm_get_within(refs[0], &x, 0));
    assert_int_equal(x, 1);
    for (int i = 0; i < COUNT; i++)
        dm_release(refs[i]);
    unlink(gate_path());
    dm_shutdown();
}

static void waiting_in_processes(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    waiting_for_some(DM_ENGINE_PROCESSES);
    assert_no_residue(&before);
}

static void waiting_in_threads(void **state)
{
    (void)state;
    waiting_for_some(DM_ENGINE_THREADS);
}

/* A thread cannot be killed: what waits for the gate must not wait for ever if the case failed. */
static int open_gate_after(void **state)
{
    (void)state;
    open_gate();
    dm_shutdown();
    unlink(gate_path());
    return 0;
}

static void waiting_for_failures(dm_engine engine)
{
    session_begin(engine, 1);
    dm_ref refs[] = {dm_remote(graph_fail, 1), dm_remote(graph_add_one, 1), dm_remote(graph_add_one, "x"),
                     dm_put(7)};
    bool ready[4];
    assert_ok(dm_wait(refs, 4, 4, 20000, ready)); /* a failure is ready, too */
    for (int i = 0; i < 4; i++) {
        assert_true(ready[i]);
        dm_release(refs[i]);
    }
    dm_shutdown();
}
ON_ENGINES(waiting_for_failures)

/* Results that nobody wants any more are dropped, and so is what they need. */
static void refs_released_at_once(dm_engine engine)
{
    session_begin(engine, 2);
    dm_stats stats;
    for (int i = 0; i < 300; i++) {
        dm_ref first = dm_remote(graph_add_one, i), second = dm_remote(graph_sum, first, first);
        assert_ok(dm_release(first));
        assert_ok(dm_release(second));
    }
    graph_all_gone();
    assert_ok(dm_stats_get(&stats));
    assert_int_equal(stats.tasks_done + stats.tasks_failed, 600);
    dm_shutdown();
}
ON_ENGINES(refs_released_at_once)

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(chains),
    ENGINE_CASES(diamonds),
    ENGINE_CASES(fans_in),
    ENGINE_CASES(at_random),
    ENGINE_CASES(failures_reach_dependents),
    cmocka_unit_test(waiting_in_processes),
    cmocka_unit_test_teardown(waiting_in_threads, open_gate_after),
    ENGINE_CASES(waiting_for_failures),
    ENGINE_CASES(refs_released_at_once),
};

TEST_MAIN(tests, NULL)
