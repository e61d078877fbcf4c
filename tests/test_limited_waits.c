/*
 * A task that waits for some time only goes on when the time has passed, though what it waits for runs on and its worker
 * is the only one: another is started for that. Where there can be none, its own runs it, and nothing stands still.
 */
#include <stdatomic.h>

#include "tests/support/notes.h"
#include "tests/support/test.h"

enum { SHORT_MS = 30, DEEP = 40 };

typedef struct notes {
    _Atomic int runs;
    _Atomic bool open;
} notes;

static notes *common;

static void set_up_worker(void)
{
    common = notes_open(sizeof *common);
}

DM_REMOTE(holds_up)
{
    atomic_fetch_add(&common->runs, 1);
    while (!atomic_load(&common->open))
        watch_pause();
    return dm_return(call, 5);
}

DM_REMOTE(passes_on)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x + 1);
}

/* What it waits for is running, or is behind what runs, when it gives up. */
DM_REMOTE(gives_up)
{
    bool by_wait, through_another;
    DM_TRY(dm_arg(call, 0, &by_wait));
    DM_TRY(dm_arg(call, 1, &through_another));
    dm_ref child = dm_remote(holds_up), last = through_another ? dm_remote(passes_on, child) : child;
    dm_status status = DM_ERR_TIMEOUT;
    while (status == DM_ERR_TIMEOUT && atomic_load(&common->runs) == 0)
        status = by_wait ? dm_wait(&last, 1, 1, SHORT_MS, NULL) : dm_get_within(last, (void *)NULL, SHORT_MS);
    status = dm_get_within(last, (void *)NULL, SHORT_MS);
    if (status != DM_ERR_TIMEOUT)
        return dm_fail(call, "it got %s", dm_status_name(status));
    return dm_return(call, last);
}

/* As deep as it was told; each waits long enough. */
DM_REMOTE(waits_with_patience)
{
    int depth, x = 0;
    bool by_wait;
    DM_TRY(dm_arg(call, 0, &depth));
    DM_TRY(dm_arg(call, 1, &by_wait));
    if (depth == 0)
        return dm_return(call, 0);
    dm_ref child = dm_remote(waits_with_patience, depth - 1, by_wait);
    if (by_wait)
        DM_TRY(dm_wait(&child, 1, 1, WATCH_PATIENCE_MS, NULL));
    DM_TRY(dm_get_within(child, &x, WATCH_PATIENCE_MS));
    DM_TRY(dm_release(child));
    return dm_return(call, x + 1);
}

static residue before;

static void begin(dm_engine engine, int workers)
{
    common = notes_make(sizeof *common);
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = engine, .workers = workers, .log = driver_no_log});
}

static void end(void)
{
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    dm_shutdown();
    assert_no_residue(&before);
    notes_end(common, sizeof *common);
}

static void given_up(dm_engine engine, int workers, bool by_wait, bool through_another)
{
    int x = 0;
    dm_ref last;
    begin(engine, workers);
    dm_ref ref = dm_remote(gives_up, by_wait, through_another);
    dm_status status = dm_get_within(ref, &last, WATCH_PATIENCE_MS);
    atomic_store(&common->open, true);
    if (status != DM_OK)
        fail_msg("%s", dm_last_error());
    assert_ok(dm_get(last, &x));
    assert_int_equal(x, through_another ? 6 : 5);
    assert_int_equal(atomic_load(&common->runs), 1);
    assert_ok(dm_release(last));
    assert_ok(dm_release(ref));
    end();
}

static void on_the_only_worker(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        given_up(DM_ENGINE_PROCESSES, 1, i % 2, i / 2);
}

static void on_two_threads(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        given_up(DM_ENGINE_THREADS, 2, i % 2, i / 2);
}

static void deeper_than_there_are_workers(dm_engine engine)
{
    for (int by_wait = 0; by_wait < 2; by_wait++) {
        int x = 0;
        begin(engine, 1);
        dm_ref ref = dm_remote(waits_with_patience, DEEP, (bool)by_wait);
        assert_ok(dm_get(ref, &x));
        assert_int_equal(x, DEEP);
        assert_ok(dm_release(ref));
        end();
    }
}
ON_ENGINES(deeper_than_there_are_workers)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(on_the_only_worker),
    cmocka_unit_test(on_two_threads),
    ENGINE_CASES(deeper_than_there_are_workers),
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = set_up_worker;
}

TEST_MAIN(tests, NULL)
