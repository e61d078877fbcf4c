/*
 * graph.h - graphs of tasks, and what they must come to: for the tests of each engine.
 */
#ifndef TEST_SUPPORT_GRAPH_H
#define TEST_SUPPORT_GRAPH_H

#include "tests/support/test.h"

DM_REMOTE(graph_add_one)
{
    int64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x + 1);
}

/* An argument that is a number, or an array of 64 of them. */
static dm_status graph_number(dm_call *call, int i, uint64_t *x)
{
    dm_view view;
    if (dm_arg(call, i, x) == DM_OK)
        return DM_OK;
    DM_TRY(dm_arg(call, i, &view));
    *x = ((const uint64_t *)view.data)[63];
    return DM_OK;
}

/* All of them, each weighted by its place, so that a swap is seen. */
static dm_status graph_sum_of(dm_call *call, uint64_t *sum)
{
    uint64_t x;
    *sum = 0;
    for (int i = 0; i < dm_arg_count(call); i++) {
        DM_TRY(graph_number(call, i, &x));
        *sum = *sum * 31 + x + (uint64_t)i;
    }
    return DM_OK;
}

DM_REMOTE(graph_sum)
{
    uint64_t sum;
    DM_TRY(graph_sum_of(call, &sum));
    return dm_return(call, sum);
}

/* The same, but its result is an object. */
DM_REMOTE(graph_sum_in_an_object)
{
    uint64_t sums[64];
    DM_TRY(graph_sum_of(call, &sums[0]));
    for (int i = 1; i < 64; i++)
        sums[i] = sums[0];
    return dm_return(call, &DM_ARRAY(sums, DM_U64, 64));
}

DM_REMOTE(graph_fail)
{
    int which;
    DM_TRY(dm_arg(call, 0, &which));
    return dm_fail(call, "number %d went wrong", which);
}

/* Nothing is alive any more. A result may be seen a moment before its task is accounted for. */
static void graph_all_gone(void)
{
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.store_used, 0);
}

static void graph_chain(dm_engine engine, int workers, int length)
{
    session_begin(engine, workers);
    dm_ref ref = dm_put(0);
    for (int i = 0; i < length; i++) {
        dm_ref next = dm_remote(graph_add_one, ref);
        assert_ok(dm_release(ref));
        ref = next;
    }
    int64_t x;
    assert_ok(dm_get(ref, &x));
    assert_int_equal(x, length);
    dm_release(ref);
    dm_shutdown();
}

static void graph_diamonds(dm_engine engine, int workers, int count)
{
    session_begin(engine, workers);
    dm_ref top = dm_put(1);
    uint64_t expected = 1, x;
    for (int i = 0; i < count; i++) {
        dm_ref left = dm_remote(graph_add_one, top), right = dm_remote(graph_sum, top, top);
        dm_ref bottom = dm_remote(graph_sum, left, right, top);
        uint64_t l = expected + 1, r = expected * 31 + expected + 1;
        expected = (l * 31 + r + 1) * 31 + expected + 2;
        assert_ok(dm_get(bottom, &x));
        dm_release(left), dm_release(right), dm_release(top), dm_release(bottom);
        assert_true(x == expected);
        expected &= 0xffff; /* what is to be added to is an int64_t */
        top = dm_put(expected);
    }
    dm_release(top);
    dm_shutdown();
}

static void graph_fan_in(dm_engine engine, int workers, int count)
{
    session_begin(engine, workers);
    dm_ref *refs = malloc((size_t)count * sizeof *refs);
    dm_value *values = malloc((size_t)count * sizeof *values);
    uint64_t expected = 0, x;
    for (int i = 0; i < count; i++) {
        refs[i] = dm_remote(graph_add_one, i);
        values[i] = dm_value_ref(refs[i]);
        expected = expected * 31 + (uint64_t)(i + 1) + (uint64_t)i;
    }
    dm_ref sum = dm_submit(&graph_sum, NULL, values, (size_t)count);
    for (int i = 0; i < count; i++)
        assert_ok(dm_release(refs[i]));
    assert_ok(dm_get(sum, &x));
    assert_true(x == expected);
    dm_release(sum);
    graph_all_gone();
    dm_shutdown();
    free(refs);
    free(values);
}

/* A random graph against its serial evaluation. Refs are dropped at random on the way. */
static void graph_random(dm_engine engine, int workers, int count, unsigned seed)
{
    print_message("seed %u\n", seed);
    session_begin(engine, workers);
    dm_ref *refs = calloc((size_t)count, sizeof *refs);
    uint64_t *expected = calloc((size_t)count, sizeof *expected);
    for (int i = 0; i < count; i++) {
        dm_value values[6];
        int inputs = i ? (int)((unsigned)rand_r(&seed) % 6) : 0;
        for (int j = 0; j < inputs; j++) {
            int from = i - 1 - (int)((unsigned)rand_r(&seed) % (unsigned)(i < 40 ? i : 40));
            bool plain = refs[from].id == 0 || rand_r(&seed) % 4 == 0;
            values[j] = plain ? dm_value_uint(expected[from]) : dm_value_ref(refs[from]);
            expected[i] = expected[i] * 31 + expected[from] + (uint64_t)j;
        }
        bool object = rand_r(&seed) % 3 == 0;
        refs[i] = dm_submit(object ? &graph_sum_in_an_object : &graph_sum, NULL, values, (size_t)inputs);
        int drop = (int)((unsigned)rand_r(&seed) % (unsigned)(i + 1));
        if (drop < i - 40 && refs[drop].id != 0) {
            assert_ok(dm_release(refs[drop]));
            refs[drop] = DM_NO_REF;
        }
    }
    for (int i = 0; i < count; i++) {
        uint64_t x = 0;
        dm_view view;
        if (refs[i].id == 0)
            continue;
        if (dm_get(refs[i], &x) != DM_OK) {
            assert_ok(dm_get(refs[i], &view));
            x = ((const uint64_t *)view.data)[7];
            dm_view_release(&view);
        }
        if (x != expected[i])
            fail_msg("task %d: %llu, expected %llu", i, (unsigned long long)x,
                     (unsigned long long)expected[i]);
        assert_ok(dm_release(refs[i]));
    }
    graph_all_gone();
    dm_shutdown();
    free(refs);
    free(expected);
}

static void graph_failures(dm_engine engine, int workers)
{
    session_begin(engine, workers);
    dm_ref bad = dm_remote(graph_fail, 17), good = dm_remote(graph_add_one, 1);
    dm_ref first = dm_remote(graph_add_one, bad), second = dm_remote(graph_add_one, first);
    dm_ref both = dm_remote(graph_sum, good, second);
    assert_refused(dm_get(bad, (void *)NULL), DM_ERR_TASK_FAILED, "number 17 went wrong");
    assert_refused(dm_get(first, (void *)NULL), DM_ERR_DEP_FAILED, "number 17 went wrong");
    assert_refused(dm_get(second, (void *)NULL), DM_ERR_DEP_FAILED, "number 17 went wrong");
    assert_refused(dm_get(both, (void *)NULL), DM_ERR_DEP_FAILED, "graph_sum: argument 1");
    int64_t x;
    assert_ok(dm_get(good, &x));
    assert_int_equal(x, 2);
    dm_release(bad), dm_release(good), dm_release(first), dm_release(second), dm_release(both);
    graph_all_gone();
    dm_shutdown();
}

#endif
