/*
 * A program may submit faster than tasks end. Beyond a number of unfinished tasks dm_remote waits, or refuses
 * if that was asked for; inside tasks it refuses. Nothing hangs, and what was accepted is done.
 */
#include <stdatomic.h>

#include "tests/support/notes.h"
#include "tests/support/test.h"

enum { MOST = 200, ALL = 5000 };

typedef struct notes {
    _Atomic int open; /* tasks that wait may go on */
    _Atomic int64_t ran;
} notes;

static notes *common;

static void set_up_worker(void)
{
    common = notes_open(sizeof *common);
}

/* ---- tasks ---- */

DM_REMOTE(pressure_add_one)
{
    int64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x + 1);
}

DM_REMOTE(pressure_waits)
{
    while (!atomic_load(&common->open))
        usleep(100);
    return dm_return(call, 1);
}

DM_REMOTE_DECLARE(pressure_multiplies);

/* Each submits ten of its kind, and does not look after them. */
DM_REMOTE(pressure_multiplies)
{
    int depth;
    DM_TRY(dm_arg(call, 0, &depth));
    atomic_fetch_add(&common->ran, 1);
    for (int i = 0; i < 10 && depth > 0; i++)
        dm_remote(pressure_multiplies, depth - 1);
    return DM_OK;
}

DM_REMOTE(pressure_fills_up)
{
    enum { N = 2 * MOST };
    dm_ref refs[N];
    int accepted = 0, refused = 0;
    for (int i = 0; i < N; i++)
        refs[i] = dm_remote(pressure_waits);
    for (int i = N - 1; i >= 0 && refused == 0; i--) /* the last is refused at once, the first waits */
        if (dm_get(refs[i], (void *)0) == DM_ERR_QUEUE_FULL)
            refused++;
    atomic_store(&common->open, 1);
    for (int i = 0; i < N; i++)
        accepted += dm_get(refs[i], (void *)0) == DM_OK;
    return dm_return(call, refused ? accepted : -1);
}

/* ---- support ---- */

static dm_stats stats_now(void)
{
    dm_stats stats = {0};
    assert_ok(dm_stats_get(&stats));
    return stats;
}

static uint64_t unfinished(void)
{
    dm_stats s = stats_now();
    return s.tasks_submitted - s.tasks_done - s.tasks_failed - s.tasks_dropped;
}

static void begin(residue *before, dm_engine engine, int workers, int refuses)
{
    common = notes_make(sizeof *common);
    residue_begin(before);
    session_begin_with(&(dm_options){.engine = engine, .workers = workers, .store_bytes = 64 << 20,
                                     .queue_tasks = MOST, .queue_refuses = refuses, .log = driver_no_log});
}

static void end(const residue *before)
{
    assert_soon(stats_now().refs == 0);
    dm_shutdown();
    assert_no_residue(before);
    notes_end(common, sizeof *common);
}

/* ---- cases ---- */

static void waiting(dm_engine engine)
{
    residue before;
    dm_ref refs[ALL];
    begin(&before, engine, 2, 0);
    for (int i = 0; i < ALL; i++) {
        refs[i] = dm_remote(pressure_add_one, i);
        if (i % 10 == 0)
            assert_true(unfinished() <= MOST);
    }
    for (int i = 0; i < ALL; i++) {
        int64_t x;
        assert_ok(dm_get(refs[i], &x));
        assert_int_equal(x, i + 1);
        assert_ok(dm_release(refs[i]));
    }
    assert_int_equal(stats_now().tasks_done, ALL);
    end(&before);
}
ON_ENGINES(waiting)

/* A chain needs those before it to be done, in the order submitted. */
static void waiting_for_each_other(dm_engine engine)
{
    residue before;
    begin(&before, engine, 2, 0);
    dm_ref last = dm_put(0);
    for (int i = 0; i < ALL; i++) {
        dm_ref next = dm_remote(pressure_add_one, last);
        assert_ok(dm_release(last));
        last = next;
    }
    int64_t x;
    assert_ok(dm_get(last, &x));
    assert_int_equal(x, ALL);
    assert_ok(dm_release(last));
    end(&before);
}
ON_ENGINES(waiting_for_each_other)

static void refusing(dm_engine engine)
{
    residue before;
    dm_ref refs[MOST], more[2];
    begin(&before, engine, 2, 1);
    for (int i = 0; i < MOST; i++)
        refs[i] = dm_remote(pressure_waits);
    dm_ref one = dm_remote(pressure_add_one, 1);
    assert_refused(dm_get(one, (void *)NULL), DM_ERR_QUEUE_FULL, "DM_QUEUE_TASKS");
    assert_ok(dm_release(one));
    dm_remote_n(more, 2, pressure_add_one, 1);
    assert_refused(dm_get(more[1], (void *)NULL), DM_ERR_QUEUE_FULL, "200 tasks are unfinished");
    dm_release(more[0]), dm_release(more[1]);
    atomic_store(&common->open, 1);
    for (int i = 0; i < MOST; i++) {
        assert_ok(dm_get(refs[i], (void *)NULL));
        assert_ok(dm_release(refs[i]));
    }
    one = dm_remote(pressure_add_one, 1);
    assert_ok(dm_get(one, (void *)NULL));
    assert_ok(dm_release(one));
    end(&before);
}

static void refusing_in_processes(void **state)
{
    (void)state;
    refusing(DM_ENGINE_PROCESSES);
}

static void refusing_in_threads(void **state)
{
    (void)state;
    refusing(DM_ENGINE_THREADS);
}

static void within_a_task(dm_engine engine, int workers)
{
    residue before;
    int64_t accepted;
    begin(&before, engine, workers, 0);
    dm_ref ref = dm_remote(pressure_fills_up);
    assert_ok(dm_get(ref, &accepted));
    assert_int_equal(accepted, MOST - 1); /* itself is one */
    assert_ok(dm_release(ref));
    end(&before);
}

static void within_a_task_in_processes(void **state)
{
    (void)state;
    within_a_task(DM_ENGINE_PROCESSES, 2);
}

static void within_a_task_in_threads(void **state)
{
    (void)state;
    within_a_task(DM_ENGINE_THREADS, 2);
}

/* A bomb of 11,111,111 tasks, most of which are refused; it burns out, and was small all the time. */
static void a_bomb_burns_out(void **state)
{
    (void)state;
    residue before;
    begin(&before, DM_ENGINE_PROCESSES, 2, 0);
    dm_ref bomb = dm_remote(pressure_multiplies, 7);
    assert_ok(dm_get(bomb, (void *)NULL));
    assert_ok(dm_release(bomb));
    uint64_t most_refs = 0, most = 0;
    enum { LOOKS = 200, LOOKS_MOST = 20000 }; /* a busy machine takes longer to run a thousand */
    for (int i = 0; i < LOOKS || (i < LOOKS_MOST && atomic_load(&common->ran) <= 1000); i++) {
        dm_stats s = stats_now();
        most_refs = s.refs > most_refs ? s.refs : most_refs;
        most = unfinished() > most ? unfinished() : most;
        usleep(1000);
    }
    assert_in_range(most, 2, MOST);
    assert_in_range(most_refs, 2, 2 * MOST);
    assert_true(atomic_load(&common->ran) > 1000);
    end(&before);
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(waiting),
    ENGINE_CASES(waiting_for_each_other),
    cmocka_unit_test(refusing_in_processes),
    cmocka_unit_test(refusing_in_threads),
    cmocka_unit_test(within_a_task_in_processes),
    cmocka_unit_test(within_a_task_in_threads),
    cmocka_unit_test(a_bomb_burns_out),
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = set_up_worker;
}

TEST_MAIN(tests, NULL)
