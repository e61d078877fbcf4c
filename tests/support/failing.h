/*
 * failing.h - the K-th of some calls of the driver fails, alone or with all that follow until somebody is told, in a
 * session that does a little of everything; for K from 1 until a run has none that fails. Each call then says what was
 * missing, or does without: nothing is half done, no value is wrong, the session ends as always and leaves nothing.
 */
#ifndef TEST_SUPPORT_FAILING_H
#define TEST_SUPPORT_FAILING_H

#include <errno.h>
#include <stdatomic.h>

#include "tests/support/marked.h"

static atomic_long countdown; /* calls until the one that fails; 0: none does */
static atomic_bool failing;   /* from that one on */
static atomic_long failed, seen;
static bool from_then_on;
static int64_t for_ms = 3000000;
static long stride = 1;
static uint64_t may_be_told; /* DM_ON(status): what may be missing, beside memory */

/* Asked by each of these calls: with this errno, or false. */
static bool is_to_fail(int error)
{
    atomic_fetch_add(&seen, 1);
    if (atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1)
        atomic_store(&failing, true);
    if (!atomic_load(&failing))
        return false;
    atomic_store(&failing, from_then_on);
    atomic_fetch_add(&failed, 1);
    errno = error;
    return true;
}

/* ---- one run ---- */

enum { NUMBERS = 2000, TASKS = 12, STORE = 4 * MARKED_MIB, OBJECT = MARKED_MIB / 4, MANY = 30 };

DM_REMOTE(doubles)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, 2 * x);
}

DM_REMOTE(adds)
{
    int sum = 0;
    for (int i = 0; i < dm_arg_count(call); i++) {
        int x;
        DM_TRY(dm_arg(call, i, &x));
        sum += x;
    }
    return dm_return(call, sum);
}

DM_REMOTE(fails_with_words)
{
    return dm_fail(call, "these words");
}

DM_REMOTE(several)
{
    DM_TRY(dm_return_at(call, 0, 1));
    return dm_return_at(call, 1, "the second");
}

DM_REMOTE(counts_list)
{
    dm_ref_list list;
    DM_TRY(dm_arg(call, 0, &list));
    int count = (int)list.count;
    dm_ref_list_release(&list);
    return dm_return(call, count);
}

/* It is right, or memory was missing; whoever depends on what was missing is told so. */
static void right_or_missing(dm_status status, bool right)
{
    if (status == DM_OK && !right)
        fail_msg("a wrong value");
    if (status != DM_OK && status != DM_ERR_NOMEM && status != DM_ERR_DEP_FAILED &&
        status != DM_ERR_WORKERS_UNSTARTABLE && status != DM_ERR_STORE_FULL && !(may_be_told & DM_ON(status)))
        fail_msg("%s: %s", dm_status_name(status), dm_last_error());
    if (status != DM_OK)
        atomic_store(&failing, false); /* who is told so, goes on with memory */
}

static void let_go(dm_ref ref)
{
    if (ref.id != 0)
        assert_ok(dm_release(ref));
}

static void put_and_get(void)
{
    double numbers[NUMBERS];
    dm_view view;
    char *text;
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = i;
    dm_ref array = dm_put(&DM_ARRAY(numbers, DM_F64, NUMBERS)), words = dm_put("some words");
    dm_status status = array.id ? dm_get(array, &view) : DM_ERR_NOMEM;
    right_or_missing(status,
                     status == DM_OK && ((const double *)view.data)[NUMBERS - 1] == NUMBERS - 1);
    if (status == DM_OK)
        dm_view_release(&view);
    status = words.id ? dm_get(words, &text) : DM_ERR_NOMEM;
    right_or_missing(status, status == DM_OK && strcmp(text, "some words") == 0);
    if (status == DM_OK)
        free(text);
    let_go(array), let_go(words);
}

static void tasks(void)
{
    dm_ref refs[TASKS], sum, named;
    dm_value values[TASKS];
    int x = 0;
    for (int i = 0; i < TASKS; i++) {
        refs[i] = dm_remote(doubles, i);
        values[i] = dm_value_ref(refs[i]);
    }
    sum = dm_submit(&adds, NULL, values, TASKS);
    named = dm_remote_with((&(dm_task_options){.name = "a name of its own", .priority = 3}),
                           doubles, 21);
    dm_status status = dm_get(sum, &x);
    right_or_missing(status, x == TASKS * (TASKS - 1));
    status = dm_get(named, &x);
    right_or_missing(status, x == 42);
    for (int i = 0; i < TASKS; i++)
        let_go(refs[i]);
    let_go(sum), let_go(named);
}

/* What few tasks need: several values, lists, failures, to be cancelled, a chain longer than the table of edges. */
static void rarer_tasks(void)
{
    enum { CHAIN = 1500 };
    static dm_ref chain[CHAIN];
    dm_ref two[2], failing_one = dm_remote(fails_with_words), cancelled = dm_remote(doubles, 1);
    int x = 2;
    dm_remote_n(two, 2, several);
    dm_ref count = dm_remote(counts_list, &DM_REF_LIST(two, 2));
    dm_cancel(cancelled);
    dm_status status = dm_get_within(count, &x, WATCH_PATIENCE_MS);
    right_or_missing(status, x == 2);
    status = dm_get_within(failing_one, &x, WATCH_PATIENCE_MS);
    right_or_missing(status == DM_ERR_TASK_FAILED ? DM_OK : status, status == DM_ERR_TASK_FAILED);
    for (int i = 0; i < CHAIN; i++)
        chain[i] = i == 0 ? dm_remote(doubles, 0) : dm_remote(doubles, chain[i - 1]);
    status = dm_get_within(chain[CHAIN - 1], &x, WATCH_PATIENCE_MS);
    right_or_missing(status, x == 0);
    for (int i = 0; i < CHAIN; i++)
        let_go(chain[i]);
    let_go(two[0]), let_go(two[1]), let_go(count), let_go(failing_one), let_go(cancelled);
}

/* More than the store has room for. */
static void objects_on_disk(void)
{
    dm_ref refs[MANY];
    for (uint64_t i = 0; i < MANY; i++)
        refs[i] = i % 4 ? marked_put(OBJECT, i) : dm_remote(marked_make, OBJECT, i);
    for (uint64_t i = 0; i < MANY; i++) {
        dm_view view;
        dm_status status =
            refs[i].id ? dm_get_within(refs[i], &view, WATCH_PATIENCE_MS) : DM_ERR_NOMEM;
        right_or_missing(status, status == DM_OK && is_marked(view.data, view.bytes, i));
        if (status == DM_OK)
            dm_view_release(&view);
    }
    for (int i = 0; i < MANY; i++)
        let_go(refs[i]);
}

static void run(void)
{
    dm_status status = dm_init(&(dm_options){
        .workers = 1, .store_bytes = STORE, .store_wait_ms = 300, .log = driver_no_log});
    right_or_missing(status, true);
    if (status != DM_OK)
        return;
    put_and_get();
    tasks();
    rarer_tasks();
    objects_on_disk();
    atomic_store(&failing, false);
    dm_stats stats = {.refs = 1};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    dm_shutdown();
}

static void each_of_the_driver(bool all_later)
{
    residue before;
    long k = 1, begin = watch_now_ms(), failed_before;
    residue_begin(&before);
    from_then_on = all_later;
    do {
        failed_before = atomic_load(&failed);
        atomic_store(&countdown, k);
        k += stride;
        atomic_store(&seen, 0);
        run();
        atomic_store(&countdown, 0);
        atomic_store(&failing, false);
        assert_no_residue(&before);
    } while (atomic_load(&failed) != failed_before && watch_now_ms() - begin < for_ms);
    print_message("of calls 1 to %ld each %ld. failed%s; %ld failures in all; %ld "
                  "in the last run\n",
                  k - 2 * stride, stride,
                  watch_now_ms() - begin < for_ms ? "" : " (the time was over)",
                  atomic_load(&failed), atomic_load(&seen));
    assert_true(k > 10);
}

/* The program's main, with its cases. */
static int failing_main(int argc, char **argv, const struct CMUnitTest *cases, size_t count)
{
    int status;
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    bool is_short = argc > 1 && strcmp(argv[1], "--short") == 0;
    for_ms = is_short ? 12000 : for_ms;
    stride = is_short ? 9 : 1;
    watch_dog(is_short ? WATCH_DOG_S : 7000);
    status = _cmocka_run_group_tests("failing", cases, count, NULL, NULL);
    dm_shutdown();
    test_end();
    return status;
}

#endif
