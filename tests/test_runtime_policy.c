/*
 * The decisions of dispatching are pure functions: what they promise holds for all numbers, the absurd
 * ones included.
 */
#include "runtime/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runtime/layout.h"

static const uint64_t means[] = {0, 1, 10, 100, 1000, 5000, 29999, 30000, 100000, 1000000, 1000000000,
                                 UINT64_MAX / 2, UINT64_MAX};
enum { MEANS = sizeof means / sizeof means[0] };

static void a_window_fits_the_ring(void **state)
{
    (void)state;
    for (int i = 0; i < MEANS; i++) {
        uint64_t window = dmi_policy_window(means[i]);
        assert_in_range(window, 2, DMI_RING - 1); /* one runs, one waits: the least that keeps it busy */
    }
    for (int i = 2; i < MEANS; i++)
        assert_true(dmi_policy_window(means[i]) <= dmi_policy_window(means[i - 1]));
}

static void nobody_with_a_full_window_is_chosen(void **state)
{
    (void)state;
    uint32_t quota = 0;
    dmi_lane_load lanes[8];
    for (int i = 0; i < MEANS; i++) {
        for (int n = 0; n <= 8; n++) {
            for (int l = 0; l < n; l++)
                lanes[l] = (dmi_lane_load){dmi_policy_window(means[i]), means[i]};
            assert_int_equal(dmi_policy_choose(lanes, n, &quota), -1);
            if (n == 0)
                continue;
            uint64_t least = dmi_policy_least_room(means[i]);
            lanes[n - 1].backlog -= least - 1;
            assert_int_equal(dmi_policy_choose(lanes, n, &quota), -1);
            lanes[n - 1].backlog--;
            assert_int_equal(dmi_policy_choose(lanes, n, &quota), n - 1);
            assert_in_range(quota, 1, least); /* no more than there is room for */
        }
    }
}

/* Tasks of 20 us to 1 ms: a driver that is woken for each takes the core of a worker as often. */
static void longer_tasks_are_held_for_some_wakes(void **state)
{
    (void)state;
    assert_in_range(dmi_policy_window(20000), 20, 100);
    assert_in_range(dmi_policy_window(300000), 4, 10);
    assert_int_equal(dmi_policy_window(10000000), 2);
}

/* One worker keeps up with a driver whose tasks cost less than submitting them. */
static void no_idle_worker_is_woken_for_the_shortest_tasks(void **state)
{
    (void)state;
    uint32_t quota;
    dmi_lane_load lanes[] = {{dmi_policy_window(50), 50}, {0, 50}};
    assert_int_equal(dmi_policy_choose(lanes, 2, &quota), -1);
    lanes[1].backlog = 1; /* awake already */
    assert_int_equal(dmi_policy_choose(lanes, 2, &quota), 1);
    dmi_lane_load longer[] = {{dmi_policy_window(1000), 1000}, {0, 1000}};
    assert_int_equal(dmi_policy_choose(longer, 2, &quota), 1);
}

static void the_least_busy_gets_long_tasks(void **state)
{
    (void)state;
    uint32_t quota;
    dmi_lane_load lanes[] = {{2, 100000000}, {1, 100000000}, {2, 100000000}};
    assert_int_equal(dmi_policy_choose(lanes, 3, &quota), 1);
    lanes[2].backlog = 0;
    assert_int_equal(dmi_policy_choose(lanes, 3, &quota), 2);
    assert_int_equal(quota, 1);
    dmi_lane_load fresh[] = {{1, 0}, {0, 0}}; /* nothing known: spread */
    assert_int_equal(dmi_policy_choose(fresh, 2, &quota), 1);
    assert_int_equal(quota, 1);
}

static void short_tasks_stay_together(void **state)
{
    (void)state;
    uint32_t quota;
    dmi_lane_load lanes[] = {{10, 50}, {0, 50}}; /* half a microsecond of work: wake nobody for it */
    assert_int_equal(dmi_policy_choose(lanes, 2, &quota), 0);
    assert_true(quota > 1);
    lanes[0].backlog = 900; /* 45 microseconds: more than a wake-up */
    assert_int_equal(dmi_policy_choose(lanes, 2, &quota), 1);
}

static void a_quota_is_small_and_fits(void **state)
{
    (void)state;
    unsigned seed = 12;
    for (int round = 0; round < 20000; round++) {
        dmi_lane_load lanes[5];
        uint32_t quota = 0;
        int n = 1 + (int)((unsigned)rand_r(&seed) % 5);
        for (int l = 0; l < n; l++) {
            lanes[l].mean_ns = means[(unsigned)rand_r(&seed) % MEANS];
            lanes[l].backlog = (uint64_t)rand_r(&seed) % (dmi_policy_window(lanes[l].mean_ns) + 1);
        }
        int chosen = dmi_policy_choose(lanes, n, &quota);
        if (chosen < 0)
            continue;
        assert_true(chosen < n);
        assert_in_range(quota, 1, 64);
        assert_true(lanes[chosen].backlog + quota <= dmi_policy_window(lanes[chosen].mean_ns));
    }
}

static void only_short_tasks_are_placed_early(void **state)
{
    (void)state;
    assert_false(dmi_policy_place_early(0)); /* not known to be short */
    assert_true(dmi_policy_place_early(1));
    assert_true(dmi_policy_place_early(1000));
    assert_false(dmi_policy_place_early(1000000));
    assert_false(dmi_policy_place_early(UINT64_MAX));
}

static void who_has_no_core_does_not_spin(void **state)
{
    (void)state;
    assert_int_equal(dmi_policy_driver_spin_ns(1, 1, 100), 0);
    assert_int_equal(dmi_policy_driver_spin_ns(2, 2, 100), 0);
    assert_true(dmi_policy_driver_spin_ns(1, 2, 100) > 50000); /* much longer than a wake-up takes */
    assert_int_equal(dmi_policy_driver_spin_ns(1, 2, 1000000000), 0); /* it would be for nothing */
    assert_int_equal(dmi_policy_worker_spin_ns(1), 0);
    assert_in_range(dmi_policy_worker_spin_ns(2), 1, 1000000);
    assert_in_range(dmi_policy_worker_spin_ns(64), 1, 1000000);
}

static void a_wake_up_is_not_put_off_for_long(void **state)
{
    (void)state;
    for (int i = 0; i < MEANS; i++) {
        uint64_t after = dmi_policy_wake_after(1000, means[i]);
        assert_true(after <= 1000);
        assert_true(after == 0 || after * means[i] <= 1000000);
        assert_int_equal(dmi_policy_wake_after(0, means[i]), 0);
    }
    assert_true(dmi_policy_wake_after(1000, 50) > 10);
    assert_int_equal(dmi_policy_wake_after(1000, 1000000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_fits_the_ring),
        cmocka_unit_test(nobody_with_a_full_window_is_chosen),
        cmocka_unit_test(longer_tasks_are_held_for_some_wakes),
        cmocka_unit_test(no_idle_worker_is_woken_for_the_shortest_tasks),
    cmocka_unit_test(the_least_busy_gets_long_tasks),
        cmocka_unit_test(short_tasks_stay_together),
        cmocka_unit_test(a_quota_is_small_and_fits),
        cmocka_unit_test(only_short_tasks_are_placed_early),
        cmocka_unit_test(who_has_no_core_does_not_spin),
        cmocka_unit_test(a_wake_up_is_not_put_off_for_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
