/*
 * The dependency law: publishing a result word is the completion. A worker is killed before its K-th
 * store to shared memory, for every K there is, over a graph whose tasks are placed before their inputs
 * are done. Whatever K: each result is right, what was published is never run again, nothing is left.
 *
 * Needs the hook before each store, which is there with assertions on (DM_DEBUG).
 */
#include <stdatomic.h>

#include "tests/support/notes.h"
#include "tests/support/steps.h"
#include "tests/support/test.h"

enum { TASKS = 24, SPARE = 8 };

/*
 * What driver, test and workers know in common: a file of the test's directory, mapped by all. It is
 * no store: counters here are of the test, and may be atomic.
 */
typedef struct notes {
    _Atomic int runs[TASKS + SPARE];
    _Atomic int seen[TASKS + SPARE]; /* some dependent has read this result */
    _Atomic int run_again;           /* after it had been seen */
} notes;

static notes *common;

static void set_up_worker(void)
{
    common = notes_open(sizeof *common);
}

/* ---- tasks ---- */

static dm_status note_run(dm_call *call, int *number)
{
    DM_TRY(dm_arg(call, 0, number));
    if (atomic_load(&common->seen[*number]))
        atomic_fetch_add(&common->run_again, 1);
    atomic_fetch_add(&common->runs[*number], 1);
    return DM_OK;
}

/* An input that is read is published: from now on its task must not run. */
static dm_status read_input(dm_call *call, int i, int input, int64_t *x)
{
    dm_view view;
    if (dm_arg(call, i, x) != DM_OK) {
        DM_TRY(dm_arg(call, i, &view));
        *x = ((const int64_t *)view.data)[99];
    }
    atomic_store(&common->seen[input], 1);
    return DM_OK;
}

DM_REMOTE(first)
{
    int number;
    DM_TRY(note_run(call, &number));
    return dm_return(call, (int64_t)number + 1);
}

/* number, left input's number, left, right input's number, right */
DM_REMOTE(joins)
{
    int number, left, right;
    int64_t x, y;
    DM_TRY(note_run(call, &number));
    DM_TRY(dm_arg(call, 1, &left));
    DM_TRY(read_input(call, 2, left, &x));
    DM_TRY(dm_arg(call, 3, &right));
    DM_TRY(read_input(call, 4, right, &y));
    int64_t sum = (x * 3 + y * 5 + number) & 0xffff, sums[100];
    if (number % 3)
        return dm_return(call, sum);
    for (int i = 0; i < 100; i++)
        sums[i] = sum;
    return dm_return(call, &DM_ARRAY(sums, DM_I64, 100));
}

/* Submits one and waits for it. */
DM_REMOTE(nests)
{
    int number;
    int64_t x;
    DM_TRY(note_run(call, &number));
    dm_ref inner = dm_remote(first, number + 1);
    DM_TRY(dm_get(inner, &x));
    return dm_return(call, x + 1000);
}

/* ---- the graph ---- */

static int64_t value_of(dm_ref ref)
{
    int64_t x = -1;
    dm_view view;
    if (dm_get_within(ref, &x, 20000) == DM_OK)
        return x;
    assert_ok(dm_get(ref, &view));
    x = ((const int64_t *)view.data)[99];
    dm_view_release(&view);
    return x;
}

static void run_graph(bool nested)
{
    dm_ref refs[TASKS];
    int64_t expected[TASKS];
    int tasks = nested ? 4 : TASKS;
    for (int i = 0; i < tasks; i++) {
        if (nested) {
            refs[i] = dm_remote(nests, 2 * i);
            expected[i] = 2 * i + 2 + 1000;
        } else if (i < 2) {
            refs[i] = dm_remote(first, i);
            expected[i] = i + 1;
        } else {
            refs[i] = dm_remote(joins, i, i - 1, refs[i - 1], i - 2, refs[i - 2]);
            expected[i] = (expected[i - 1] * 3 + expected[i - 2] * 5 + i) & 0xffff;
        }
    }
    for (int i = tasks - 1; i >= 0; i--) {
        int64_t x = value_of(refs[i]);
        if (x != expected[i])
            fail_msg("task %d: %lld, expected %lld", i, (long long)x, (long long)expected[i]);
    }
    for (int i = 0; i < tasks; i++) {
        assert_true(atomic_load(&common->runs[i]) >= 1 || nested);
        assert_ok(dm_release(refs[i]));
    }
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
}

/* Tasks are placed early once they are known to be short. */
static void warm_up(void)
{
    for (int round = 0; round < 20; round++) {
        dm_ref refs[10];
        for (int i = 0; i < 10; i++)
            refs[i] = dm_remote(first, TASKS + i % SPARE);
        for (int i = 0; i < 10; i++) {
            assert_ok(dm_get_within(refs[i], (void *)NULL, 20000));
            dm_release(refs[i]);
        }
    }
}

static void forget(void)
{
    for (int i = 0; i < TASKS + SPARE; i++) {
        atomic_store(&common->runs[i], 0);
        atomic_store(&common->seen[i], 0);
    }
}

static bool nested_ones;

static void graph_once(void)
{
    forget();
    run_graph(nested_ones);
    if (atomic_load(&common->run_again) != 0)
        fail_msg("what was published was run again");
}

static void at_every_store(int workers, bool nested)
{
    residue before;
    common = notes_make(sizeof *common);
    steps_begin();
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = workers, .store_bytes = 64 << 20, .retries = 50,
                                     .log = driver_no_log});
    warm_up();
    nested_ones = nested;
    assert_true(steps_enumerate(nested ? "nested tasks" : "a graph", 1, 25000, graph_once) > 50);
    dm_stats stats;
    assert_ok(dm_stats_get(&stats));
    assert_int_equal(stats.tasks_failed, 0);
    dm_shutdown();
    assert_no_residue(&before);
    steps_end();
    notes_end(common, sizeof *common);
}

static void on_one_worker(void **state)
{
    (void)state;
    at_every_store(1, false);
}

static void on_two_workers(void **state)
{
    (void)state;
    at_every_store(2, false);
}

static void with_nested_tasks(void **state)
{
    (void)state;
    at_every_store(1, true);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(on_one_worker),
    cmocka_unit_test(on_two_workers),
    cmocka_unit_test(with_nested_tasks),
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = set_up_worker;
}

TEST_MAIN(tests, NULL)
