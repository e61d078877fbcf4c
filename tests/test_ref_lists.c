/*
 * A value may be a list of refs. It keeps what it names alive, wherever it was made and wherever it is; who reads
 * it is given refs of his own.
 */

#include "tests/support/steps.h"
#include "tests/support/test.h"

enum { MANY = 10000, MIB = 1 << 20 };

/* ---- tasks ---- */

DM_REMOTE(lists_double)
{
    int64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, 2 * x);
}

static dm_status add_up(const dm_ref_list *list, int64_t *sum)
{
    *sum = 0;
    for (size_t i = 0; i < list->count; i++) {
        int64_t x;
        DM_TRY(dm_get(list->refs[i], &x));
        *sum += x;
    }
    return DM_OK;
}

/* Waits for those it is given. */
DM_REMOTE(lists_sum)
{
    dm_ref_list list;
    int64_t sum;
    DM_TRY(dm_arg(call, 0, &list));
    dm_status status = add_up(&list, &sum);
    dm_ref_list_release(&list);
    DM_TRY(status);
    return dm_return(call, sum);
}

/* Futures of its own. */
DM_REMOTE(lists_make)
{
    int64_t n;
    DM_TRY(dm_arg(call, 0, &n));
    dm_ref refs[100];
    for (int64_t i = 0; i < n; i++)
        refs[i] = i % 2 ? dm_remote(lists_double, i) : dm_put(2 * i);
    return dm_return(call, &DM_REF_LIST(refs, (size_t)n));
}

/* Puts a list, lets go of what it names, and reads it again; then that of another task. */
DM_REMOTE(lists_inside)
{
    int64_t sum, more;
    dm_ref refs[50];
    dm_ref_list back;
    for (int i = 0; i < 50; i++)
        refs[i] = dm_remote(lists_double, i);
    dm_ref list = dm_put(&DM_REF_LIST(refs, 50));
    for (int i = 0; i < 50; i++)
        DM_TRY(dm_release(refs[i]));
    DM_TRY(dm_get(list, &back));
    dm_status status = add_up(&back, &sum);
    dm_ref_list_release(&back);
    DM_TRY(status);
    DM_TRY(dm_get(dm_remote(lists_make, 20), &back));
    status = add_up(&back, &more);
    dm_ref_list_release(&back);
    DM_TRY(status);
    DM_TRY(dm_return_at(call, 0, sum + more));
    return dm_return_count(call) > 1 ? dm_return_at(call, 1, list) : DM_OK;
}

DM_REMOTE(lists_in_parts)
{
    dm_ref refs[3];
    for (int i = 0; i < 3; i++)
        refs[i] = dm_remote(lists_double, i + 1);
    DM_TRY(dm_return_at(call, 1, &DM_REF_LIST(refs, 3)));
    return dm_return_at(call, 0, &DM_REF_LIST(refs, 2));
}

DM_REMOTE(lists_count_arg)
{
    dm_view view;
    return dm_arg(call, 0, &view);
}

/* ---- support ---- */

static dm_stats stats_now(void)
{
    dm_stats stats = {0};
    assert_ok(dm_stats_get(&stats));
    return stats;
}

static int64_t int_of(dm_ref ref)
{
    int64_t x = -1;
    assert_ok(dm_get(ref, &x));
    assert_ok(dm_release(ref));
    return x;
}

/* Reads a list, releases its ref, adds up. */
static int64_t sum_of(dm_ref ref)
{
    dm_ref_list list;
    int64_t sum;
    assert_ok(dm_get(ref, &list));
    assert_ok(dm_release(ref));
    assert_ok(add_up(&list, &sum));
    dm_ref_list_release(&list);
    assert_int_equal(list.count, 0);
    return sum;
}

static void end_clean(const residue *before)
{
    assert_soon(stats_now().refs == 0);
    assert_int_equal(stats_now().objects, 0);
    assert_int_equal(stats_now().store_used, 0);
    dm_shutdown();
    assert_no_residue(before);
}

/* ---- cases ---- */

static void of_the_driver(dm_engine engine)
{
    residue before;
    static dm_ref refs[MANY];
    residue_begin(&before);
    session_begin(engine, 2);
    for (int i = 0; i < MANY; i++)
        refs[i] = i % 100 ? dm_put(i) : dm_remote(lists_double, i);
    dm_ref list = dm_put(&DM_REF_LIST(refs, MANY));
    for (int i = 0; i < MANY; i++)
        assert_ok(dm_release(refs[i]));
    assert_true(stats_now().refs > MANY);
    int64_t expected = (int64_t)MANY * (MANY - 1) / 2 + 100 * (99 * 100 / 2);
    assert_int_equal(int_of(dm_remote(lists_sum, list)), expected);
    assert_int_equal(sum_of(list), expected);
    assert_soon(stats_now().refs == 0);
    list = dm_put(&DM_REF_LIST(NULL, 0));
    assert_int_equal(int_of(dm_remote(lists_sum, list)), 0);
    assert_int_equal(sum_of(list), 0);
    end_clean(&before);
}
ON_ENGINES(of_the_driver)

static void as_arguments(dm_engine engine)
{
    residue before;
    dm_ref refs[10];
    residue_begin(&before);
    session_begin(engine, 2);
    for (int i = 0; i < 10; i++)
        refs[i] = dm_remote(lists_double, i);
    dm_ref sum = dm_remote(lists_sum, &DM_REF_LIST(refs, 10));
    for (int i = 0; i < 10; i++)
        assert_ok(dm_release(refs[i]));
    assert_int_equal(int_of(sum), 90);
    end_clean(&before);
}
ON_ENGINES(as_arguments)

static void of_tasks(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    for (int workers = 1; workers <= 2; workers++) {
        session_begin(engine, workers);
        dm_ref several[2];
        for (int i = 0; i < 5; i++) {
            assert_int_equal(sum_of(dm_remote(lists_make, 100)), 9900);
            dm_ref made = dm_remote(lists_make, 10);
            dm_ref sum = dm_remote(lists_sum, made);
            assert_ok(dm_release(made));
            assert_int_equal(int_of(sum), 90);
            assert_int_equal(int_of(dm_remote(lists_inside)), 50 * 49 + 20 * 19);
            dm_remote_n(several, 2, lists_inside);
            assert_int_equal(int_of(several[0]), 50 * 49 + 20 * 19);
            dm_ref inner;
            assert_ok(dm_get(several[1], &inner));
            assert_ok(dm_release(several[1]));
            assert_int_equal(sum_of(inner), 50 * 49);
            dm_remote_n(several, 2, lists_in_parts);
            assert_int_equal(sum_of(several[1]), 12);
            assert_int_equal(sum_of(several[0]), 6);
        }
        assert_soon(stats_now().refs == 0);
        dm_shutdown();
    }
    assert_no_residue(&before);
}
ON_ENGINES(of_tasks)

static void of_lists(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    session_begin(engine, 1);
    dm_ref list = dm_put(7), next;
    for (int i = 0; i < 1000; i++) {
        next = dm_put(&DM_REF_LIST(&list, 1));
        assert_ok(dm_release(list));
        list = next;
    }
    for (int i = 0; i < 1000; i++) {
        dm_ref_list inner;
        assert_ok(dm_get(list, &inner));
        assert_int_equal(inner.count, 1);
        assert_ok(dm_retain(inner.refs[0]));
        next = inner.refs[0];
        dm_ref_list_release(&inner);
        assert_ok(dm_release(list));
        list = next;
    }
    assert_int_equal(int_of(list), 7);
    end_clean(&before);
}
ON_ENGINES(of_lists)

static void on_the_disk(dm_engine engine)
{
    enum { LISTS = 200 };
    residue before;
    dm_ref lists[LISTS], refs[MANY / 2], number;
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = engine, .workers = 1, .store_bytes = 4 * MIB, .log = driver_no_log});
    number = dm_put(1);
    for (int i = 0; i < MANY / 2; i++)
        refs[i] = number;
    for (int i = 0; i < LISTS; i++)
        lists[i] = dm_put(&DM_REF_LIST(refs, MANY / 2)); /* 8 MB */
    assert_ok(dm_release(number));
    assert_true(stats_now().spilled_total > 0);
    for (int i = 0; i < LISTS; i += 10)
        assert_int_equal(int_of(dm_remote(lists_sum, lists[i])), MANY / 2);
    for (int i = 0; i < LISTS; i++)
        assert_int_equal(sum_of(lists[i]), MANY / 2);
    assert_soon(stats_now().disk_bytes == 0);
    end_clean(&before);
}
ON_ENGINES(on_the_disk)

static void refusals(dm_engine engine)
{
    residue before;
    dm_ref_list none, list;
    dm_view view;
    residue_begin(&before);
    session_begin(engine, 1);
    dm_ref number = dm_put(1), good = dm_put(&DM_REF_LIST(&number, 1)), bad;
    assert_refused(dm_get(number, &none), DM_ERR_TYPE, "expected list of refs, got integer");
    assert_refused(dm_get(good, &view), DM_ERR_TYPE, "got list of refs");
    bad = dm_remote(lists_count_arg, good);
    assert_refused(dm_get(bad, (void *)NULL), DM_ERR_TYPE, "argument 0: expected array, bytes or string, got list");
    assert_ok(dm_release(bad));
    assert_ok(dm_release(number)); /* in the list it lives on */
    bad = dm_put(&DM_REF_LIST(&number, 1));
    assert_refused(dm_get(bad, (void *)NULL), DM_ERR_STALE, "released");
    assert_ok(dm_release(bad));
    bad = dm_put(&DM_REF_LIST(NULL, 1));
    assert_refused(dm_get(bad, (void *)NULL), DM_ERR_INVALID, "a list of refs is expected");
    assert_ok(dm_release(bad));
    bad = dm_put(dm_value_refs(NULL));
    assert_refused(dm_get(bad, (void *)NULL), DM_ERR_INVALID, "a list of refs is expected");
    assert_ok(dm_release(bad));
    assert_ok(dm_get(good, &list));
    assert_int_equal(list.count, 1);
    dm_ref_list_release(&list);
    dm_ref_list_release(&list);
    dm_ref_list_release(NULL);
    assert_ok(dm_release(good));
    end_clean(&before);
}
ON_ENGINES(refusals)

/* ---- death ---- */

static void lists_once(void)
{
    dm_ref made = dm_remote(lists_make, 10), sum = dm_remote(lists_sum, made);
    assert_int_equal(int_of(sum), 90);
    assert_int_equal(sum_of(made), 90);
    assert_int_equal(int_of(dm_remote(lists_inside)), 50 * 49 + 20 * 19);
    assert_soon(stats_now().refs == 0);
    assert_int_equal(stats_now().objects, 0);
}

static void a_worker_dies(void **state)
{
    enum { FOR_MS = 15000 }; /* of some 800 stores, in order */
    (void)state;
    residue before;
    steps_begin();
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = 1, .store_bytes = 64 * MIB, .retries = 50, .log = driver_no_log});
    assert_true(steps_enumerate("lists of refs", 3, FOR_MS, lists_once) > 20);
    dm_shutdown();
    assert_no_residue(&before);
    steps_end();
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(of_the_driver), ENGINE_CASES(as_arguments), ENGINE_CASES(of_tasks), ENGINE_CASES(of_lists),
    ENGINE_CASES(on_the_disk),   ENGINE_CASES(refusals),     cmocka_unit_test(a_worker_dies),
};

TEST_MAIN(tests, NULL)
