/*
 * A store that is hardly larger than what runs in it: whoever runs goes before what is to come. Tasks that wait in a
 * worker's ring or whose arguments are being brought do not keep the room that a running one needs, of two that wait
 * for each other's room one begins again, and what cannot be is said to be so, with what is in the way.
 */
#include "tests/support/marked.h"

/* Room is taken in the heap's sizes: an object of FIFTH bytes takes 260 KiB, and five of them are the store. */
enum { STORE = 1296 << 10, FIFTH = 252 << 10, WAIT_MS = 2000 };

static void begin(dm_engine engine, int workers, dm_spill_policy policy)
{
    session_begin_with(&(dm_options){.engine = engine, .workers = workers, .store_bytes = STORE,
                                     .store_wait_ms = WAIT_MS, .spill_policy = policy, .log = driver_no_log});
}

/* bytes, whose; an object; the other's whose: reads it, then makes one of its own. */
DM_REMOTE(reads_and_makes)
{
    size_t bytes;
    uint64_t whose, other;
    dm_view view;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &bytes));
    DM_TRY(dm_arg(call, 1, &whose));
    DM_TRY(dm_arg(call, 2, &view));
    DM_TRY(dm_arg(call, 3, &other));
    if (!is_marked(view.data, view.bytes, other))
        return dm_fail(call, "value %llu has wrong bytes", (unsigned long long)other);
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    marked_fill(buffer.data, bytes, whose);
    return dm_return(call, &buffer);
}

/* Of a fifth of the store each: two that run, two behind them and one that is brought are all of it. */
static void what_is_to_come_makes_room(dm_engine engine)
{
    enum { COUNT = 24, RESULT = 40 << 10 };
    residue before;
    dm_ref inputs[COUNT], results[COUNT];
    residue_begin(&before);
    begin(engine, 2, DM_SPILL_AUTO);
    for (uint64_t i = 0; i < COUNT; i++)
        inputs[i] = marked_put(FIFTH, i);
    for (uint64_t i = 0; i < COUNT; i++)
        results[i] = dm_remote(reads_and_makes, (size_t)RESULT, 100 + i, inputs[i], i);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_marked(results[i], RESULT, 100 + i);
    marked_release(results, COUNT);
    marked_release(inputs, COUNT);
    marked_end(&before);
}
ON_ENGINES(what_is_to_come_makes_room)

/* Nothing of it was ever on the disk when the tasks are placed: the first time that room is short is theirs. */
static void placed_tasks_make_room(dm_engine engine)
{
    enum { COUNT = 4, INPUT = FIFTH, RESULT = STORE / 4 };
    residue before;
    dm_ref inputs[COUNT], results[COUNT];
    residue_begin(&before);
    begin(engine, 2, DM_SPILL_AUTO);
    for (uint64_t i = 0; i < COUNT; i++) {
        inputs[i] = marked_put(INPUT, i);
        results[i] = dm_remote(reads_and_makes, (size_t)RESULT, 100 + i, inputs[i], i);
    }
    for (uint64_t i = 0; i < COUNT; i++)
        assert_marked(results[i], RESULT, 100 + i);
    marked_release(results, COUNT);
    marked_release(inputs, COUNT);
    marked_end(&before);
}
ON_ENGINES(placed_tasks_make_room)

/* Makes two objects, the second when another such task has its first; it does not wait for that for ever. bytes,
 * whose. */
static bool has_run(uint64_t whose)
{
    char path[300];
    marked_path(path, whose);
    return access(path, F_OK) == 0;
}

DM_REMOTE(makes_two)
{
    size_t bytes;
    uint64_t whose;
    dm_buffer first, second;
    DM_TRY(dm_arg(call, 0, &bytes));
    DM_TRY(dm_arg(call, 1, &whose));
    DM_TRY(dm_create(DM_U8, 1, &bytes, &first));
    marked_note_run(whose);
    for (int i = 0; i < 50 && !has_run(whose ^ 1); i++)
        usleep(10000);
    DM_TRY(dm_create(DM_U8, 1, &bytes, &second));
    marked_fill(second.data, bytes, whose);
    dm_abandon(&first);
    return dm_return(call, &second);
}

/* Each alone has room, both together have not, and neither gives up what it has: the younger begins again. */
static void two_wait_for_each_other(dm_engine engine)
{
    enum { COUNT = 8, HALF = 500 << 10 };
    residue before;
    dm_ref results[COUNT];
    residue_begin(&before);
    begin(engine, 2, DM_SPILL_AUTO);
    for (uint64_t i = 0; i < COUNT; i++)
        results[i] = dm_remote(makes_two, (size_t)HALF, i);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_marked(results[i], HALF, i);
    int again = 0;
    for (uint64_t i = 0; i < COUNT; i++)
        again += marked_runs(i) - 1;
    if (engine != DM_ENGINE_SERIAL)
        assert_true(again > 0);
    marked_release(results, COUNT);
    marked_end(&before);
}
ON_ENGINES(two_wait_for_each_other)

/* A task that must not run twice does not: one of two ends in a failure. */
static void once_is_once(void **state)
{
    enum { COUNT = 6, HALF = 500 << 10 };
    (void)state;
    residue before;
    dm_ref results[COUNT];
    residue_begin(&before);
    begin(DM_ENGINE_PROCESSES, 2, DM_SPILL_AUTO);
    for (uint64_t i = 0; i < COUNT; i++)
        results[i] = dm_remote_with(&(dm_task_options){.retries = DM_NONE}, makes_two, (size_t)HALF, i);
    for (uint64_t i = 0; i < COUNT; i++) {
        dm_status status = dm_get(results[i], (void *)NULL);
        if (status != DM_OK)
            assert_refused(status, DM_ERR_STORE_FULL, "makes_two"); /* or who is in the way of reading it */
        assert_int_equal(marked_runs(i), 1);
    }
    marked_release(results, COUNT);
    marked_end(&before);
}

/* What the program itself keeps, no task waits out: an end, and who is in the way. */
static void views_are_in_the_way(dm_engine engine)
{
    enum { VIEWS = 4, INPUT = FIFTH };
    residue before;
    dm_ref kept[VIEWS], result;
    dm_view views[VIEWS];
    residue_begin(&before);
    begin(engine, 2, DM_SPILL_AUTO);
    for (uint64_t i = 0; i < VIEWS; i++) {
        kept[i] = marked_put(INPUT, i);
        assert_ok(dm_get(kept[i], &views[i]));
    }
    result = dm_remote(reads_and_makes, (size_t)STORE / 3, (uint64_t)100, kept[0], (uint64_t)0);
    assert_refused(dm_get(result, (void *)NULL), DM_ERR_STORE_FULL, "views");
    for (int i = 0; i < VIEWS; i++)
        dm_view_release(&views[i]);
    marked_release(&result, 1);
    result = dm_remote(reads_and_makes, (size_t)STORE / 3, (uint64_t)100, kept[0], (uint64_t)0);
    assert_marked(result, STORE / 3, 100);
    marked_release(&result, 1);
    marked_release(kept, VIEWS);
    marked_end(&before);
}
ON_ENGINES(views_are_in_the_way)

enum { WAITER = 4711 };

/* A task of its own that makes so many bytes. */
DM_REMOTE(waits_for_it)
{
    size_t bytes;
    DM_TRY(dm_arg(call, 0, &bytes));
    dm_ref inner = dm_remote(marked_make, bytes, (uint64_t)1);
    marked_note_run(WAITER);
    return dm_get(inner, (void *)NULL);
}

/* A session that ends does not wait for tasks that wait for room, nor for those that wait for such a task. */
static void shutdown_waits_for_nobody(dm_engine engine)
{
    enum { VIEWS = 4 };
    residue before;
    dm_ref kept[VIEWS];
    dm_view views[VIEWS];
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = engine, .workers = 2, .store_bytes = STORE, .store_wait_ms = 3600000,
                                     .log = driver_no_log});
    for (uint64_t i = 0; i < VIEWS; i++) {
        kept[i] = marked_put(FIFTH, i);
        assert_ok(dm_get(kept[i], &views[i]));
    }
    dm_remote(reads_and_makes, (size_t)STORE / 3, (uint64_t)100, kept[0], (uint64_t)0);
    dm_remote(waits_for_it, (size_t)STORE / 3);
    assert_soon(has_run(WAITER));
    dm_shutdown();
    marked_runs(WAITER);
    assert_no_residue(&before);
}

static void shutdown_waits_for_no_thread(void **state)
{
    (void)state;
    shutdown_waits_for_nobody(DM_ENGINE_THREADS);
}

static void shutdown_waits_for_no_process(void **state)
{
    (void)state;
    shutdown_waits_for_nobody(DM_ENGINE_PROCESSES);
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(what_is_to_come_makes_room), ENGINE_CASES(placed_tasks_make_room),
    ENGINE_CASES(two_wait_for_each_other),    cmocka_unit_test(once_is_once),
    ENGINE_CASES(views_are_in_the_way),       cmocka_unit_test(shutdown_waits_for_no_thread),
    cmocka_unit_test(shutdown_waits_for_no_process),
};

TEST_MAIN(tests, NULL)
