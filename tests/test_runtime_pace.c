/*
 * How many items the next task of a map gets is a pure function: always some and never too many, towards the time that
 * a task should take, in small chunks at the end. What it is told may be absurd.
 */
#include "dm/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

static dm_pace fresh(size_t workers, size_t most)
{
    return (dm_pace){.workers = workers, .most = most, .items = 1};
}

/* Where it arrives when each item takes so long. */
static size_t settled(uint64_t item_ns, size_t workers)
{
    dm_pace pace = fresh(workers, 1 << 30);
    for (uint64_t i = workers + 1; i <= workers + 40; i++) {
        size_t items = dm_pace_next(&pace, (size_t)1 << 40);
        dm_pace_learn(&pace, i, items, items * workers, items * item_ns);
    }
    return pace.items;
}

static void a_task_takes_its_time(void **state)
{
    (void)state;
    for (size_t workers = 1; workers <= 64; workers *= 4) {
        assert_int_equal(settled(10, workers), DM_PACE_TARGET_NS / 10);
        assert_int_equal(settled(1000, workers), DM_PACE_TARGET_NS / 1000);
        assert_int_equal(settled(DM_PACE_TARGET_NS, workers), 1);
        assert_int_equal(settled(UINT64_MAX / 2, workers), 1);
    }
    assert_int_equal(settled(0, 2), 1 << 30);
}

static void it_begins_small_and_grows_by_steps(void **state)
{
    (void)state;
    dm_pace pace = fresh(2, 1000000);
    assert_int_equal(dm_pace_next(&pace, 1000000), 1);
    dm_pace_learn(&pace, 1, 1, 1, 1);
    assert_true(pace.items > 1 && pace.items <= 8);
}

/* Until then a map has few chunks under way. */
static void it_knows_when_it_has_arrived(void **state)
{
    (void)state;
    dm_pace pace = fresh(2, 1 << 20), small = fresh(2, 8), slow = fresh(2, 1 << 20);
    for (uint64_t i = 1; !pace.settled && i < 40; i++) {
        size_t items = dm_pace_next(&pace, (size_t)1 << 40);
        assert_true(items < DM_PACE_TARGET_NS / 1000);
        dm_pace_learn(&pace, i, items, items * 2, items * 1000);
    }
    assert_true(pace.settled && pace.items == DM_PACE_TARGET_NS / 1000);
    dm_pace_learn(&small, 1, 1, 2, 1);
    assert_false(small.settled);
    dm_pace_learn(&small, 2, 4, 8, 4);
    assert_true(small.settled && small.items == 8); /* not for want of knowledge, but of memory */
    dm_pace_learn(&slow, 3, 1, 2, DM_PACE_TARGET_NS);
    assert_true(slow.settled && slow.items == 1);
}

/* It may have built what its worker needs once: that says nothing of the items. */
static void the_first_of_a_worker_may_be_slow(void **state)
{
    (void)state;
    dm_pace pace = fresh(2, 1000000);
    pace.items = 64;
    for (uint64_t i = 1; i <= 2; i++)
        dm_pace_learn(&pace, i, 64, 128, DM_PACE_TARGET_NS);
    assert_true(!pace.settled && pace.items == 64);
    dm_pace_learn(&pace, 3, 64, 128, DM_PACE_TARGET_NS / 2);
    assert_true(pace.settled && pace.items == 128);
}

static void one_that_was_overtaken_says_nothing(void **state)
{
    (void)state;
    dm_pace pace = fresh(2, 1000000);
    pace.items = 5000;
    dm_pace_learn(&pace, 7, 5000, 10000, 2000000);
    size_t items = pace.items;
    dm_pace_learn(&pace, 6, 1, 1, 1000000000);
    dm_pace_learn(&pace, 7, 1, 1, 1000000000);
    assert_int_equal(pace.items, items);
}

/* All are given, none twice; the chunks at the end are a fraction of those before. */
static void the_end_is_shared(void **state)
{
    (void)state;
    for (size_t workers = 1; workers <= 64; workers *= 2) {
        dm_pace pace = fresh(workers, 1000000);
        pace.items = 1000;
        size_t left = 300000, last = 0, chunks = 0;
        while (left > 0) {
            size_t items = dm_pace_next(&pace, left);
            assert_in_range(items, 1, left);
            assert_true(chunks == 0 || items <= last);
            left -= last = items;
            chunks++;
        }
        assert_true(last <= 1000 / 16 + 1);
        assert_true(chunks < 300 + 64 * 16 * 3);
    }
}

static void what_was_chosen_stays(void **state)
{
    (void)state;
    dm_pace pace = fresh(2, 1000);
    pace.fixed = 7;
    dm_pace_learn(&pace, 1, 7, 7, 1);
    assert_int_equal(dm_pace_next(&pace, 100), 7);
    assert_int_equal(dm_pace_next(&pace, 3), 3);
}

static void never_none_and_never_too_many(void **state)
{
    (void)state;
    static const uint64_t times[] = {0, 1, 1000, 1000000000, UINT64_MAX};
    static const size_t sizes[] = {1, 2, 1000, (size_t)1 << 40, SIZE_MAX};
    for (int t = 0; t < 5; t++)
        for (int s = 0; s < 5; s++)
            for (size_t most = 1; most <= 1000000; most *= 1000) {
                dm_pace pace = fresh(3, most);
                for (uint64_t i = 1; i < 20; i++)
                    dm_pace_learn(&pace, i, sizes[s], sizes[s], times[t]);
                assert_in_range(pace.items, 1, most);
                assert_in_range(dm_pace_next(&pace, 10), 1, 10);
            }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_task_takes_its_time),
    cmocka_unit_test(it_begins_small_and_grows_by_steps),
    cmocka_unit_test(it_knows_when_it_has_arrived),
    cmocka_unit_test(the_first_of_a_worker_may_be_slow),
    cmocka_unit_test(one_that_was_overtaken_says_nothing),
    cmocka_unit_test(the_end_is_shared),
    cmocka_unit_test(what_was_chosen_stays),
    cmocka_unit_test(never_none_and_never_too_many),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
