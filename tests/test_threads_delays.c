/*
 * Every protocol between processes is a few stores, and a process may be put aside before any of them, for
 * as long as the kernel likes. Here it is: before some of the stores to shared memory its maker sleeps, on
 * both sides, so that what is nearly never seen in between is seen all the time. Nothing may come of it.
 *
 * Needs the hook before each store, which is there with assertions on (DM_DEBUG). DM_TEST_SEED repeats
 * what a failure says, as far as the kernel lets it.
 */
#include "tests/support/dawdle.h"
#include "tests/support/nested.h"

enum { NUMBERS = 300 };

static uint64_t given_seed(void)
{
    const char *text = getenv("DM_TEST_SEED");
    return text ? strtoull(text, NULL, 10) : 0;
}

static _Thread_local int slow_stores; /* so many to come are slow */

static void dawdle_here(void)
{
    if (slow_stores > 0) {
        slow_stores--;
        usleep(DAWDLE_LONG_US);
    }
    dawdle();
}

static void set_up_worker(void)
{
    dawdle_seed = given_seed();
    dmi_step_hook = dawdle_here;
}

/* Publishes its result long before it says so. */
DM_REMOTE(delays_hands_on)
{
    enum { STORES_OF_AN_END = 6 };
    int64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    dm_ref inner = dm_remote(nested_double, x);
    slow_stores = STORES_OF_AN_END;
    return dm_return(call, inner);
}

DM_REMOTE(delays_follows)
{
    int64_t x;
    dm_ref inner;
    DM_TRY(dm_arg(call, 0, &x));
    DM_TRY(dm_get(dm_remote(delays_hands_on, x), &inner));
    DM_TRY(dm_get(inner, &x));
    return dm_return(call, x);
}

/* The same of a list. */
DM_REMOTE(delays_hands_on_list)
{
    enum { STORES_OF_AN_END = 6 };
    dm_ref refs[3];
    for (int i = 0; i < 3; i++)
        refs[i] = dm_remote(nested_double, i);
    dm_status status = dm_return(call, &DM_REF_LIST(refs, 3));
    slow_stores = STORES_OF_AN_END;
    return status;
}

static dm_status read_list(dm_ref ref, int64_t *last)
{
    dm_ref_list list;
    DM_TRY(dm_get(ref, &list));
    dm_status status = dm_get(list.refs[2], last);
    dm_ref_list_release(&list);
    return status;
}

DM_REMOTE(delays_follows_list)
{
    int64_t x;
    DM_TRY(read_list(dm_remote(delays_hands_on_list), &x));
    return dm_return(call, x);
}

/* What a task returned is there once it is published, whatever its worker still has to say. */
static void refs_of_the_slow(dm_engine engine, int workers)
{
    session_begin(engine, workers);
    for (int i = 0; i < 5; i++) {
        dm_ref outer = dm_remote(delays_hands_on, i), inner;
        assert_ok(dm_get(outer, &inner));
        assert_int_equal(nested_int(inner), 2 * i);
        assert_ok(dm_release(outer));
        assert_int_equal(nested_int(dm_remote(delays_follows, i)), 2 * i);
        int64_t x;
        outer = dm_remote(delays_hands_on_list);
        assert_ok(read_list(outer, &x));
        assert_ok(dm_release(outer));
        assert_int_equal(x, 4);
        assert_int_equal(nested_int(dm_remote(delays_follows_list)), 4);
    }
    nested_gone();
    dm_shutdown();
}

/* A sum over many tasks in a row, each of which needs the one before. */
static void chains(dm_engine engine, int workers)
{
    session_begin(engine, workers);
    dm_ref refs[NUMBERS];
    for (int i = 0; i < NUMBERS; i++)
        refs[i] = i == 0 ? dm_remote(nested_double, 0) : dm_remote(nested_sum, refs[i - 1], i);
    int64_t sum;
    assert_ok(dm_get_within(refs[NUMBERS - 1], &sum, 60000));
    assert_int_equal(sum, NUMBERS * (NUMBERS - 1) / 2);
    for (int i = 0; i < NUMBERS; i++)
        assert_ok(dm_release(refs[i]));
    nested_gone();
    dm_shutdown();
}

static void all(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    dawdle_seed = given_seed() ? given_seed() : (uint64_t)watch_now_ms();
    printf("seed %llu\n", (unsigned long long)dawdle_seed);
    dmi_step_hook = dawdle_here;
    for (int workers = 1; workers <= 3; workers++) {
        chains(engine, workers);
        refs_of_the_slow(engine, workers);
        nested_following(engine, workers);
        nested_trees(engine, workers);
        nested_joins(engine, workers);
        nested_refs(engine, workers);
        nested_depths(engine, workers);
    }
    nested_keeping(engine);
    dmi_step_hook = NULL;
    assert_no_residue(&before);
}

static void in_threads(void **state)
{
    (void)state;
    all(DM_ENGINE_THREADS);
}

#if !defined(__SANITIZE_THREAD__) /* which knows nothing of other processes */
static void in_processes(void **state)
{
    (void)state;
    all(DM_ENGINE_PROCESSES);
}
#endif

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(in_threads),
#if !defined(__SANITIZE_THREAD__)
    cmocka_unit_test(in_processes),
#endif
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = set_up_worker;
}

TEST_MAIN(tests, NULL)
