/*
 * maps.h - functions to map, and what must come of them on each engine.
 */
#ifndef TEST_SUPPORT_MAPS_H
#define TEST_SUPPORT_MAPS_H

#include "tests/support/test.h"

/* ---- functions ---- */

static inline uint64_t maps_mix(uint64_t i, uint64_t salt)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u ^ salt;
    return x ^ x >> 29;
}

DM_MAP(maps_index)
{
    uint64_t salt, *y;
    DM_TRY(dm_arg(call, 0, &salt));
    DM_TRY(dm_range_results(range, &y));
    for (size_t i = 0; i < range->n; i++)
        y[i] = maps_mix(range->first + i, salt);
    return DM_OK;
}

DM_MAP(maps_scale)
{
    double factor, *y;
    const double *x;
    DM_TRY(dm_arg(call, 0, &factor));
    DM_TRY(dm_range_items(range, &x));
    DM_TRY(dm_range_results(range, &y));
    for (size_t i = 0; i < range->n; i++)
        y[i] = factor * x[i];
    return DM_OK;
}

/* Maps within a task. */
DM_REMOTE(maps_nested)
{
    size_t n;
    uint64_t sum = 0;
    DM_TRY(dm_arg(call, 0, &n));
    uint64_t *y = calloc(n, sizeof *y);
    dm_status status = dm_map(maps_index, n, DM_RESULTS(y), 5);
    for (size_t i = 0; i < n; i++)
        sum += y[i];
    free(y);
    DM_TRY(status);
    return dm_return(call, sum);
}

/* ---- checks ---- */

static inline void maps_all_gone(void)
{
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.store_used, 0);
}

/* Whatever the chunks: the same, and nothing beyond. */
static inline void maps_indexes(size_t n, size_t items_per_task, size_t in_flight)
{
    const uint64_t guard = 0xfeedfacecafebeefu;
    uint64_t *y = malloc((n + 2) * sizeof *y);
    y[0] = y[n + 1] = guard;
    dm_map_options options = {.items_per_task = items_per_task, .in_flight = in_flight};
    assert_ok(dm_map_with(&options, maps_index, n, DM_RESULTS(y + 1), 3));
    assert_true(y[0] == guard && y[n + 1] == guard);
    for (size_t i = 0; i < n; i++)
        if (y[i + 1] != maps_mix(i, 3))
            fail_msg("result %zu of %zu in tasks of %zu is wrong", i, n, items_per_task);
    free(y);
}

static inline void maps_scaled(size_t n)
{
    double *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)i - 7;
    assert_ok(dm_map(maps_scale, DM_ITEMS(x, n), DM_RESULTS(y), 0.5));
    for (size_t i = 0; i < n; i++)
        if (y[i] != 0.5 * x[i])
            fail_msg("result %zu of %zu is wrong", i, n);
    free(x);
    free(y);
}

static inline void maps_nest(size_t n)
{
    uint64_t sum, expected = 0;
    dm_ref refs[4];
    for (size_t i = 0; i < n; i++)
        expected += maps_mix(i, 5);
    for (int i = 0; i < 4; i++)
        refs[i] = dm_remote(maps_nested, n);
    for (int i = 0; i < 4; i++) {
        assert_ok(dm_get(refs[i], &sum));
        assert_true(sum == expected);
        assert_ok(dm_release(refs[i]));
    }
}

#endif
