/*
 * failing.h - the K-th of some calls of the driver, or of its workers together, fails, alone or with all that follow
 * until somebody is told, in a session that does a little of everything; for K from 1 until a run has none that fails.
 * Each call then says what was missing, or does without: nothing is half done, no value is wrong, the session ends as
 * always and leaves nothing. What fails in a worker ends an attempt at worst.
 */
#ifndef TEST_SUPPORT_FAILING_H
#define TEST_SUPPORT_FAILING_H

#include <errno.h>
#include <stdatomic.h>

#include "objectstore/heap.h"
#include "tests/support/marked.h"
#include "tests/support/notes.h"

typedef struct failures {
    atomic_long countdown; /* calls until the one that fails; 0: none does */
    atomic_bool failing;   /* from that one on */
    atomic_long failed, seen;
} failures;

static failures of_driver, *of_workers; /* the latter seen by all of them */
static failures *ours = &of_driver;     /* whose calls are asked about: in a worker theirs, if there are any */
static failures *aimed = &of_driver;    /* in the driver: whose fail */
static bool from_then_on;
static long which; /* call is the one that fails, of this run */
static int64_t for_ms = 3000000;
static long stride = 1;
static void (*only)(void); /* of what a run does: then calls fail from there on. NULL: all of it, and dm_init */
static uint64_t may_be_told; /* DM_ON(status): what may be missing, beside memory */

/* Asked by each of these calls: with this errno, or false. */
static bool is_to_fail(int error)
{
    atomic_fetch_add(&ours->seen, 1);
    if (atomic_load(&ours->countdown) > 0 && atomic_fetch_sub(&ours->countdown, 1) == 1)
        atomic_store(&ours->failing, true);
    if (!atomic_load(&ours->failing))
        return false;
    atomic_store(&ours->failing, from_then_on);
    atomic_fetch_add(&ours->failed, 1);
    errno = error;
    return true;
}

static void fail_in_workers(void)
{
    of_workers = notes_open(sizeof *of_workers);
    if (of_workers)
        ours = of_workers;
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

/* What few tasks do, so often that what a worker keeps for it grows. */
DM_REMOTE(does_all_that)
{
    enum { REFS = 150, NUMBERS_OF_ITS_OWN = 4000 };
    dm_ref refs[REFS], two[2];
    dm_ref_list same;
    double numbers[NUMBERS_OF_ITS_OWN] = {0};
    dm_view view;
    int x, sum = 0;
    for (int i = 0; i < REFS; i++)
        refs[i] = i % 2 ? dm_remote(doubles, i) : dm_put(2 * i);
    dm_remote_n(two, 2, several);
    dm_ref count = dm_remote(counts_list, &DM_REF_LIST(refs, REFS)), list = dm_put(&DM_REF_LIST(refs, REFS));
    dm_ref array = dm_put(&DM_ARRAY(numbers, DM_F64, NUMBERS_OF_ITS_OWN));
    for (int i = 0; i < REFS; i++)
        if (refs[i].id == 0)
            return DM_ERR_NOMEM;
    if (two[0].id == 0 || two[1].id == 0 || count.id == 0 || list.id == 0 || array.id == 0)
        return DM_ERR_NOMEM;
    for (int i = 0; i < REFS; i++) {
        DM_TRY(dm_get(refs[i], &x));
        sum += x;
    }
    DM_TRY(dm_get(two[0], &x));
    sum += x;
    DM_TRY(dm_get(count, &x));
    sum += x;
    DM_TRY(dm_get(array, &view));
    sum += view.bytes == sizeof numbers;
    dm_view_release(&view);
    DM_TRY(dm_get(list, &same));
    sum += (int)same.count;
    dm_ref_list_release(&same);
    for (int i = 0; i < REFS; i += 3)
        DM_TRY(dm_release(refs[i]));
    return sum == REFS * (REFS - 1) + 1 + REFS + 1 + REFS ? dm_return(call, &DM_REF_LIST(two, 2))
                                                          : dm_fail(call, "a wrong sum: %d", sum);
}

/* It is right, or memory was missing; whoever depends on what was missing is told so. */
static void right_or_missing(dm_status status, bool right)
{
    if (status == DM_OK && !right)
        fail_msg("call %ld failed: a wrong value", which);
    if (status != DM_OK && status != DM_ERR_NOMEM && status != DM_ERR_DEP_FAILED &&
        status != DM_ERR_WORKERS_UNSTARTABLE && status != DM_ERR_STORE_FULL && !(may_be_told & DM_ON(status)))
        fail_msg("call %ld failed: %s: %s", which, dm_status_name(status), dm_last_error());
    if (status != DM_OK)
        atomic_store(&aimed->failing, false); /* who is told so, goes on with memory */
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
    bool both = two[0].id != 0 && two[1].id != 0;
    dm_status status = both ? dm_get_within(count, &x, WATCH_PATIENCE_MS) : DM_ERR_NOMEM;
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

static void tasks_of_tasks(void)
{
    dm_ref_list two = {0};
    int x = 0;
    dm_ref ref = dm_remote(does_all_that);
    dm_status status = dm_get_within(ref, &two, WATCH_PATIENCE_MS);
    right_or_missing(status, two.count == 2);
    if (status == DM_OK) {
        status = dm_get_within(two.refs[0], &x, WATCH_PATIENCE_MS);
        right_or_missing(status, x == 1);
    }
    dm_ref_list_release(&two);
    let_go(ref);
}

/* Of one piece, of several, and so small that they are written together. */
static size_t size_of(uint64_t i)
{
    return i % 5 == 2 ? OBJECT / 16 : i % 10 == 8 ? 7 * OBJECT : OBJECT;
}

/* More than the store has room for. */
static void objects_on_disk(void)
{
    dm_ref refs[MANY];
    for (uint64_t i = 0; i < MANY; i++)
        refs[i] = i % 4 ? marked_put(size_of(i), i) : dm_remote(marked_make, size_of(i), i);
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

/* More than fit beside a task, and a name behind them. */
static void long_argument_lists(void)
{
    enum { COUNT = 400 };
    dm_value values[COUNT];
    for (int i = 0; i < COUNT; i++)
        values[i] = dm_value_int(i);
    for (int count = 20; count <= COUNT; count += 38) {
        for (int named = 0; named < 2; named++) {
            int x = 0;
            dm_task_options options = {.name = "a name of its own"};
            dm_ref sum = dm_submit(&adds, named ? &options : NULL, values, (size_t)count);
            dm_status status = dm_get_within(sum, &x, WATCH_PATIENCE_MS);
            right_or_missing(status, x == count * (count - 1) / 2);
            let_go(sum);
        }
    }
}

/* Whose results are read when it is dead, and whose task runs again. */
static void objects_of_the_dead(void)
{
    enum { RESULTS = 100, SMALL = 10000, EACH_S = 5 };
    dm_ref refs[RESULTS];
    unsigned seed = 1;
    for (uint64_t i = 0; i < RESULTS; i++)
        refs[i] = dm_remote(marked_make, SMALL + 8 * i, i);
    for (int half = 0; half < 2; half++) {
        for (uint64_t i = 0; i < RESULTS; i++) {
            dm_view view;
            dm_status status = refs[i].id ? dm_get_within(refs[i], &view, WATCH_PATIENCE_MS) : DM_ERR_NOMEM;
            right_or_missing(status, status == DM_OK && is_marked(view.data, view.bytes, i));
            if (status == DM_OK)
                dm_view_release(&view);
            if (half == 1 || i % EACH_S == 0)
                let_go(refs[i]);
            if (i % EACH_S == 0)
                refs[i] = half == 0 ? dm_remote(marked_make, SMALL, i) : DM_NO_REF;
        }
        if (half == 0)
            watch_kill_a_worker(&seed);
    }
}

static void run(void)
{
    dm_status status = dm_init(&(dm_options){
        .workers = 1, .store_bytes = STORE, .store_wait_ms = 300, .log = driver_no_log});
    right_or_missing(status, true);
    if (status != DM_OK)
        return;
    if (only) {
        atomic_store(&aimed->countdown, which);
        only();
    } else {
        put_and_get();
        tasks();
        rarer_tasks();
        long_argument_lists();
        tasks_of_tasks();
        objects_on_disk();
    }
    atomic_store(&aimed->failing, false);
    dm_stats stats = {.refs = 1};
    for (int64_t until = watch_now_ms() + WATCH_PATIENCE_MS; stats.refs != 0; watch_pause()) {
        assert_ok(dm_stats_get(&stats));
        if (watch_now_ms() > until)
            fail_msg("call %ld failed, and %llu refs are left", which, (unsigned long long)stats.refs);
    }
    assert_int_equal(stats.objects, 0);
    dm_shutdown();
}

/* K from 1 on, until none fails, or, after some, the time is over. */
static void each_of_them(bool all_later)
{
    enum { LEAST = 10 };
    residue before;
    long k = 1, begin = watch_now_ms(), failed_before;
    dmi_heap_size_of(1); /* jemalloc starts: without a page it crashes (5.3, pages_boot), which is not what is asked here */
    residue_begin(&before);
    from_then_on = all_later;
    do {
        failed_before = atomic_load(&aimed->failed);
        which = k;
        atomic_store(&aimed->countdown, only ? 0 : k);
        k += stride;
        atomic_store(&aimed->seen, 0);
        run();
        atomic_store(&aimed->countdown, 0);
        atomic_store(&aimed->failing, false);
        assert_no_residue(&before);
    } while (atomic_load(&aimed->failed) != failed_before && (k <= LEAST * stride || watch_now_ms() - begin < for_ms));
    print_message("of calls 1 to %ld each %ld. failed%s; %ld failures in all; %ld in the last run\n", k - 2 * stride,
                  stride, watch_now_ms() - begin < for_ms ? "" : " (the time was over)", atomic_load(&aimed->failed),
                  atomic_load(&aimed->seen));
    assert_true(k > (only ? 3 : LEAST));
}

static void each_of_the_driver(bool all_later)
{
    aimed = &of_driver;
    each_of_them(all_later);
}

/* Each of those that one thing alone needs. */
static void each_of_the_driver_in(void (*what)(void))
{
    long each = stride;
    stride = 1;
    only = what;
    each_of_the_driver(false);
    only = NULL;
    stride = each;
}

static void each_of_workers(void)
{
    stride = 1; /* they make few of these calls */
    aimed = of_workers = notes_make(sizeof *of_workers);
    each_of_them(false);
    aimed = &of_driver;
    notes_end(of_workers, sizeof *of_workers);
}

/* The program's main, with its cases. `--only CASE`: one of them. */
static int failing_main(int argc, char **argv, const struct CMUnitTest *cases, size_t count)
{
    int status;
    test_worker_setup = fail_in_workers;
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    bool is_short = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--short") == 0)
            is_short = true;
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            cmocka_set_test_filter(argv[++i]);
    }
    for_ms = is_short ? 12000 : for_ms;
    stride = is_short ? 9 : 1;
    watch_dog(is_short ? WATCH_DOG_S : 7000);
    status = _cmocka_run_group_tests("failing", cases, count, NULL, NULL);
    dm_shutdown();
    test_end();
    return status;
}

#endif
