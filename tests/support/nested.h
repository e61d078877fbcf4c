/*
 * nested.h - tasks that submit and wait, hold and hand on: for the tests of each engine.
 */
#ifndef TEST_SUPPORT_NESTED_H
#define TEST_SUPPORT_NESTED_H

#include "tests/support/test.h"

DM_REMOTE_DECLARE(nested_tree);
DM_REMOTE_DECLARE(nested_depth);

/* Sum of the leaves of a binary tree, each numbered. */
DM_REMOTE(nested_tree)
{
    int64_t low, high, left, right;
    DM_TRY(dm_arg(call, 0, &low));
    DM_TRY(dm_arg(call, 1, &high));
    if (high - low == 1)
        return dm_return(call, low);
    int64_t middle = (low + high) / 2;
    dm_ref a = dm_remote(nested_tree, low, middle), b = dm_remote(nested_tree, middle, high);
    DM_TRY(dm_get(a, &left));
    DM_TRY(dm_get(b, &right));
    return dm_return(call, left + right);
}

DM_REMOTE(nested_depth)
{
    int depth, below = 0;
    DM_TRY(dm_arg(call, 0, &depth));
    if (depth > 0) {
        dm_ref next = dm_remote(nested_depth, depth - 1);
        DM_TRY(dm_get(next, &below));
        DM_TRY(dm_release(next));
    }
    return dm_return(call, below + 1);
}

DM_REMOTE(nested_double)
{
    int64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, 2 * x);
}

/* Hands on a future that is not done yet. */
DM_REMOTE(nested_hands_on)
{
    int64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, dm_remote(nested_double, dm_remote(nested_double, x)));
}

/* A result that is a ref is read by a task, once at once and once when its maker is long done. */
DM_REMOTE(nested_follows)
{
    int64_t x, once, again;
    DM_TRY(dm_arg(call, 0, &x));
    dm_ref outer = dm_remote(nested_hands_on, x), inner, same;
    DM_TRY(dm_get(outer, &inner));
    DM_TRY(dm_get(inner, &once));
    for (int i = 0; i < 10; i++) {
        int64_t ignored;
        dm_ref other = dm_remote(nested_double, i);
        DM_TRY(dm_get(other, &ignored));
        DM_TRY(dm_release(other));
    }
    DM_TRY(dm_get(outer, &same));
    DM_TRY(dm_get(same, &again));
    return dm_return(call, once + again);
}

DM_REMOTE(nested_puts)
{
    double numbers[1000];
    int64_t x, sum = 0;
    DM_TRY(dm_arg(call, 0, &x));
    for (int i = 0; i < 1000; i++)
        numbers[i] = (double)x;
    for (int i = 0; i < 10; i++) {
        dm_ref ref = dm_put(&DM_ARRAY(numbers, DM_F64, 1000));
        dm_view view;
        DM_TRY(dm_get(ref, &view));
        sum += (int64_t)((const double *)view.data)[999];
        dm_view_release(&view);
        if (i % 2)
            DM_TRY(dm_release(ref)); /* the others are dropped at the task's end */
    }
    return dm_return(call, sum);
}

DM_REMOTE(nested_put_handed_on)
{
    double numbers[1000];
    for (int i = 0; i < 1000; i++)
        numbers[i] = i;
    return dm_return(call, dm_put(&DM_ARRAY(numbers, DM_F64, 1000)));
}

DM_REMOTE(nested_sum_of_array)
{
    dm_view view;
    double sum = 0;
    DM_TRY(dm_arg(call, 0, &view));
    for (size_t i = 0; i < view.shape[0]; i++)
        sum += ((const double *)view.data)[i];
    return dm_return(call, sum);
}

/* An object of its own is an argument of a task of its own. */
DM_REMOTE(nested_shares)
{
    double numbers[1000], one, two;
    for (int i = 0; i < 1000; i++)
        numbers[i] = 1;
    dm_ref ref = dm_put(&DM_ARRAY(numbers, DM_F64, 1000));
    dm_ref first = dm_remote(nested_sum_of_array, ref);
    dm_ref second = dm_remote(nested_sum_of_array, &DM_ARRAY(numbers, DM_F64, 1000));
    DM_TRY(dm_release(ref));
    DM_TRY(dm_get(first, &one));
    DM_TRY(dm_get(second, &two));
    return dm_return(call, one + two);
}

DM_REMOTE(nested_waits)
{
    dm_ref refs[20];
    bool ready[20];
    int64_t sum = 0, x;
    for (int i = 0; i < 20; i++)
        refs[i] = dm_remote(nested_double, i);
    DM_TRY(dm_wait(refs, 20, 5, DM_NONE, ready));
    int count = 0;
    for (int i = 0; i < 20; i++)
        count += ready[i];
    if (count < 5)
        return dm_fail(call, "only %d are ready", count);
    DM_TRY(dm_wait(refs, 20, 20, 20000, ready));
    for (int i = 0; i < 20; i++) {
        DM_TRY(dm_get_within(refs[i], &x, 0));
        sum += x;
    }
    return dm_return(call, sum);
}

DM_REMOTE(nested_sum)
{
    int64_t x, sum = 0;
    for (int i = 0; i < dm_arg_count(call); i++) {
        DM_TRY(dm_arg(call, i, &x));
        sum += x;
    }
    return dm_return(call, sum);
}

/* Waits for one that waits for ten: a blocked worker is handed them one after the other. */
DM_REMOTE(nested_join)
{
    int64_t x, sum;
    dm_ref r[10];
    DM_TRY(dm_arg(call, 0, &x));
    for (int i = 0; i < 10; i++)
        r[i] = dm_remote(nested_double, x + i);
    DM_TRY(dm_get(dm_remote(nested_sum, r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9]),
                  &sum));
    return dm_return(call, sum);
}

/* The larger of one or two values, and one more; so long in coming that what needs it is not sent ahead. */
DM_REMOTE(nested_step)
{
    int us;
    int64_t x, y;
    DM_TRY(dm_arg(call, 0, &us));
    DM_TRY(dm_arg(call, 1, &x));
    DM_TRY(dm_arg(call, 2, &y));
    usleep((useconds_t)us);
    return dm_return(call, (x > y ? x : y) + 1);
}

/* Waits for the end of a chain of `n`. */
DM_REMOTE(nested_chain)
{
    int n;
    int64_t x;
    DM_TRY(dm_arg(call, 0, &n));
    dm_ref last = dm_remote(nested_step, 100, 0, 0);
    for (int i = 1; i < n; i++) {
        dm_ref next = dm_remote(nested_step, 100, last, 0);
        DM_TRY(dm_release(last));
        last = next;
    }
    DM_TRY(dm_get(last, &x));
    return dm_return(call, x);
}

/* Waits for `n` layers of two, each of which needs both of the layer before: 2 to the n ways lead down. */
DM_REMOTE(nested_layers)
{
    int n;
    int64_t x;
    DM_TRY(dm_arg(call, 0, &n));
    dm_ref a = dm_remote(nested_step, 2000, 0, 0), b = dm_remote(nested_step, 2000, 0, 0);
    for (int i = 1; i < n; i++) {
        dm_ref c = dm_remote(nested_step, 2000, a, b), d = dm_remote(nested_step, 2000, b, a);
        DM_TRY(dm_release(a));
        DM_TRY(dm_release(b));
        a = c;
        b = d;
    }
    DM_TRY(dm_get(a, &x));
    return dm_return(call, x);
}

static dm_ref nested_kept; /* of this worker */

/* Keeps a ref beyond the task that was given it. */
DM_REMOTE(nested_keeps)
{
    dm_ref ref;
    DM_TRY(dm_arg(call, 0, &ref));
    DM_TRY(dm_retain(ref));
    nested_kept = ref;
    return dm_return(call, 1);
}

/* The same of a list's: what goes with the list is this task's own hold. */
DM_REMOTE(nested_keeps_of_a_list)
{
    dm_ref_list list;
    DM_TRY(dm_arg(call, 0, &list));
    nested_kept = list.refs[0];
    DM_TRY(dm_retain(nested_kept));
    dm_ref_list_release(&list);
    return dm_return(call, 1);
}

/* Holds what it was given for a while: nothing is left of that. */
DM_REMOTE(nested_holds_for_a_while)
{
    dm_ref ref;
    dm_view view;
    DM_TRY(dm_arg(call, 0, &ref));
    DM_TRY(dm_retain(ref));
    DM_TRY(dm_release(ref));
    DM_TRY(dm_get(ref, &view));
    dm_view_release(&view);
    return dm_return(call, 1);
}

/* Hands on what another keeps: a hold of its own, which ends with it. */
DM_REMOTE(nested_returns_kept)
{
    return dm_return(call, nested_kept);
}

DM_REMOTE(nested_reads_kept)
{
    dm_view view;
    DM_TRY(dm_get(nested_kept, &view));
    double last = ((const double *)view.data)[view.shape[0] - 1];
    dm_view_release(&view);
    DM_TRY(dm_release(nested_kept));
    return dm_return(call, last);
}

DM_REMOTE(nested_fails_below)
{
    int64_t x;
    dm_ref ref = dm_remote(nested_double, "text");
    dm_status status = dm_get(ref, &x);
    return status == DM_ERR_TYPE ? dm_fail(call, "as it should: %.200s", dm_last_error()) : DM_OK;
}

DM_REMOTE(nested_goes_away)
{
    (void)call;
    for (int i = 0; i < 20; i++)
        dm_remote(nested_double, i); /* and never looks at them */
    return DM_OK;
}

static void nested_gone(void)
{
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
}

static int64_t nested_int(dm_ref ref)
{
    int64_t x = -1;
    assert_ok(dm_get(ref, &x));
    dm_release(ref);
    return x;
}

static double nested_real(dm_ref ref)
{
    double x = -1;
    assert_ok(dm_get(ref, &x));
    dm_release(ref);
    return x;
}

static void nested_trees(dm_engine engine, int workers)
{
    session_begin(engine, workers);
    assert_int_equal(nested_int(dm_remote(nested_tree, 0, 64)), 64 * 63 / 2);
    dm_ref many[5];
    for (int i = 0; i < 5; i++)
        many[i] = dm_remote(nested_tree, i, i + 16);
    for (int i = 0; i < 5; i++)
        assert_int_equal(nested_int(many[i]), 16 * i + 16 * 15 / 2);
    nested_gone();
    dm_shutdown();
}

static void nested_joins(dm_engine engine, int workers)
{
    session_begin(engine, workers);
    for (int i = 0; i < 20; i++)
        assert_int_equal(nested_int(dm_remote(nested_join, i)), 2 * (10 * i + 45));
    nested_gone();
    dm_shutdown();
}

static void nested_depths(dm_engine engine, int workers)
{
    session_begin(engine, workers);
    assert_int_equal(nested_int(dm_remote(nested_depth, 50)), 51);
    nested_gone();
    dm_shutdown();
}

/* What a blocked task waits for is found, however far down and by however many ways. */
static inline void nested_far(dm_engine engine, int workers)
{
    session_begin(engine, workers);
    assert_int_equal(nested_int(dm_remote(nested_step, 1000, 0, 0)), 1);
    assert_int_equal(nested_int(dm_remote(nested_chain, 2000)), 2000);
    dm_ref layers = dm_remote(nested_layers, 40);
    dm_ref idle = dm_remote_with((&(dm_task_options){.cpus = 2, .priority = -1}), nested_step, 0, 0,
                                 0); /* stays behind */
    assert_int_equal(nested_int(layers), 40);
    assert_int_equal(nested_int(idle), 1);
    nested_gone();
    dm_shutdown();
}

static void nested_following(dm_engine engine, int workers)
{
    session_begin(engine, workers);
    for (int i = 0; i < 10; i++)
        assert_int_equal(nested_int(dm_remote(nested_follows, i)), 8 * i);
    dm_stats stats;
    assert_ok(dm_stats_get(&stats));
    assert_int_equal(stats.workers_lost, 0);
    nested_gone();
    dm_shutdown();
}

static void nested_refs(dm_engine engine, int workers)
{
    session_begin(engine, workers);
    dm_ref outer = dm_remote(nested_hands_on, 10), inner;
    assert_ok(dm_get(outer, &inner));
    dm_release(outer);
    assert_int_equal(nested_int(inner), 40);
    assert_int_equal(nested_int(dm_remote(nested_puts, 3)), 30);
    outer = dm_remote(nested_put_handed_on);
    assert_ok(dm_get(outer, &inner));
    dm_release(outer);
    assert_true(nested_real(dm_remote(nested_sum_of_array, inner)) == 999 * 500);
    dm_release(inner);
    assert_true(nested_real(dm_remote(nested_shares)) == 2000);
    assert_int_equal(nested_int(dm_remote(nested_waits)), 380);
    assert_refused(dm_get(outer = dm_remote(nested_fails_below), (void *)NULL), DM_ERR_TASK_FAILED,
                   "as it should");
    dm_release(outer);
    outer = dm_remote(nested_goes_away);
    assert_ok(dm_get(outer, (void *)NULL));
    dm_release(outer);
    nested_gone();
    dm_shutdown();
}

/* On one worker, so that the task that reads finds what the other kept. */
static void nested_keeping(dm_engine engine)
{
    double numbers[1000] = {[999] = 7.5};
    session_begin(engine, 1);
    dm_ref ref = dm_put(&DM_ARRAY(numbers, DM_F64, 1000));
    assert_int_equal(nested_int(dm_remote(nested_keeps, ref)), 1);
    dm_release(ref);
    dm_stats stats;
    assert_ok(dm_stats_get(&stats));
    assert_int_equal(stats.objects, 1);
    dm_ref outer = dm_remote(nested_returns_kept), inner;
    assert_ok(dm_get(outer, &inner));
    assert_true(nested_real(dm_remote(nested_sum_of_array, inner)) == 7.5);
    dm_release(outer);
    dm_release(inner);
    assert_true(nested_real(dm_remote(nested_reads_kept)) == 7.5);
    nested_gone();
    ref = dm_put(&DM_ARRAY(numbers, DM_F64, 1000));
    assert_int_equal(nested_int(dm_remote(nested_holds_for_a_while, ref)), 1);
    dm_ref list = dm_put(&DM_REF_LIST(&ref, 1));
    dm_release(ref);
    assert_int_equal(nested_int(dm_remote(nested_keeps_of_a_list, list)), 1);
    dm_release(list);
    assert_true(nested_real(dm_remote(nested_reads_kept)) == 7.5);
    nested_gone();
    dm_shutdown();
}

#endif
