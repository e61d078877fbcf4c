/*
 * Who leaves memory: the coldest; of equally cold ones those that cost nothing, then large ones; only as
 * many as are needed. And when: from one mark down to another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "objectstore/victims.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

static uint16_t chosen[DMI_VICTIMS_MOST];

static size_t choose(const dmi_candidate *candidates, size_t n, uint64_t need)
{
    return dmi_victims_choose(candidates, n, need, chosen);
}

static void cold_before_warm(void **state)
{
    (void)state;
    const dmi_candidate three[] = {{MIB, 1, false}, {MIB, 1000, false}, {MIB, 30, false}};
    assert_int_equal(choose(three, 3, 3 * MIB), 3);
    assert_int_equal(chosen[0], 1);
    assert_int_equal(chosen[1], 2);
    assert_int_equal(chosen[2], 0);
}

static void large_before_many_small_ones(void **state)
{
    (void)state;
    const dmi_candidate four[] = {{KIB, 100, false}, {KIB, 110, false}, {MIB, 90, false}, {KIB, 120, false}};
    assert_int_equal(choose(four, 4, MIB), 1);
    assert_int_equal(chosen[0], 2);
}

static void a_copy_on_disk_goes_first(void **state)
{
    (void)state;
    const dmi_candidate two[] = {{MIB, 100, false}, {KIB, 100, true}};
    assert_int_equal(choose(two, 2, KIB), 1);
    assert_int_equal(chosen[0], 1);
}

static void coldness_outweighs_size(void **state)
{
    (void)state;
    const dmi_candidate two[] = {{MIB, 2, false}, {KIB, 5000, false}};
    assert_int_equal(choose(two, 2, KIB), 1);
    assert_int_equal(chosen[0], 1);
}

static void no_more_than_needed(void **state)
{
    (void)state;
    dmi_candidate many[DMI_VICTIMS_MOST];
    for (int i = 0; i < DMI_VICTIMS_MOST; i++)
        many[i] = (dmi_candidate){MIB, 7, false};
    assert_int_equal(choose(many, DMI_VICTIMS_MOST, 10 * MIB - 1), 10);
    assert_int_equal(choose(many, DMI_VICTIMS_MOST, 10 * MIB + 1), 11);
    assert_int_equal(choose(many, DMI_VICTIMS_MOST, UINT64_MAX), DMI_VICTIMS_MOST);
    assert_int_equal(choose(many, DMI_VICTIMS_MOST, 0), 0);
    assert_int_equal(choose(many, 0, MIB), 0);
}

static void equals_go_in_the_order_given(void **state)
{
    (void)state;
    const dmi_candidate two[] = {{MIB, 9, false}, {MIB, 9, false}};
    assert_int_equal(choose(two, 2, 1), 1);
    assert_int_equal(chosen[0], 0);
}

static uint64_t due(uint64_t used, uint64_t leaving)
{
    return dmi_victims_due(&(dmi_pressure){1000, used, leaving, 0.8, 0.7});
}

static void from_one_mark_down_to_another(void **state)
{
    (void)state;
    assert_int_equal(due(0, 0), 0);
    assert_int_equal(due(800, 0), 0);
    assert_in_range(due(801, 0), 101, 102);
    assert_in_range(due(1000, 0), 300, 301);
    assert_in_range(due(1000, 200), 100, 101); /* begun: it goes on below the upper mark */
    assert_int_equal(due(1000, 300), 0);
    assert_int_equal(due(100, 900), 0); /* more is leaving than there is: freed meanwhile */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cold_before_warm),
        cmocka_unit_test(large_before_many_small_ones),
        cmocka_unit_test(a_copy_on_disk_goes_first),
        cmocka_unit_test(coldness_outweighs_size),
        cmocka_unit_test(no_more_than_needed),
        cmocka_unit_test(equals_go_in_the_order_given),
        cmocka_unit_test(from_one_mark_down_to_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
