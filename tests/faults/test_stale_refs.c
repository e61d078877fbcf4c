/*
 * Row 38: a place of the table is used again and again, and its generation comes to its end. An old ref never fits
 * a new value; a place whose generations are used up is used no more.
 */
#include "runtime/task.h"
#include "tests/support/test.h"

enum { VALUES = 1000000, KEPT = 1000, ROUNDS = 6 };

static void begin(void)
{
    session_begin_with(&(dm_options){.workers = 1, .store_bytes = 16 << 20, .log = driver_no_log});
}

static void a_million_values(void **state)
{
    (void)state;
    static dm_ref old[KEPT];
    residue before;
    residue_begin(&before);
    begin();
    for (int i = 0; i < VALUES; i++) {
        dm_ref ref = dm_put(i);
        if (i % (VALUES / KEPT) == 0)
            old[i / (VALUES / KEPT)] = ref;
        assert_ok(dm_release(ref));
    }
    dm_ref new_one = dm_put(7);
    for (int i = 0; i < KEPT; i++) {
        int x;
        assert_true(old[i].id != new_one.id);
        assert_refused(dm_get(old[i], &x), DM_ERR_STALE, "released");
        assert_refused(dm_release(old[i]), DM_ERR_STALE, "released");
    }
    int x = 0;
    assert_ok(dm_get(new_one, &x));
    assert_int_equal(x, 7);
    assert_ok(dm_release(new_one));
    dm_shutdown();
    assert_no_residue(&before);
}

/* Puts and releases until this place of the table has been used once more; its ref, or DM_NO_REF: it is not used. */
static dm_ref used_again(uint32_t index)
{
    enum { TURNS = 200 }; /* more than places rest before they are used again */
    for (int i = 0; i < TURNS; i++) {
        dm_ref ref = dm_put(i);
        assert_ok(dm_release(ref));
        if ((uint32_t)ref.id == index)
            return ref;
    }
    return DM_NO_REF;
}

static void a_generation_that_ends(void **state)
{
    (void)state;
    dm_ref old[ROUNDS];
    residue before;
    residue_begin(&before);
    begin();
    dm_ref first = dm_put(0);
    uint32_t index = (uint32_t)first.id;
    assert_ok(dm_release(first));
    dmi_task_at(dmi_the_session, index)->generation = DMI_GENERATION_LAST - ROUNDS + 1;
    for (int i = 0; i < ROUNDS; i++) {
        old[i] = used_again(index);
        assert_true(old[i].id != 0);
        for (int j = 0; j <= i; j++) {
            int x;
            assert_true(j == i || old[j].id != old[i].id);
            assert_refused(dm_get(old[j], &x), DM_ERR_STALE, "released");
        }
    }
    assert_true(used_again(index).id == 0);
    dm_shutdown();
    assert_no_residue(&before);
}

DM_REMOTE(says_seven)
{
    return dm_return(call, 7);
}

/* The same of a task's, whose small result is released the quick way in all other generations. */
static void a_generation_that_ends_with_a_result(void **state)
{
    (void)state;
    enum { TURNS = 400 };
    int x = 0, uses = 0;
    residue before;
    residue_begin(&before);
    begin();
    dm_ref first = dm_put(0);
    uint32_t index = (uint32_t)first.id;
    assert_ok(dm_release(first));
    dmi_task_at(dmi_the_session, index)->generation = DMI_GENERATION_LAST;
    for (int i = 0; i < TURNS; i++) {
        dm_ref ref = dm_remote(says_seven);
        assert_ok(dm_get_within(ref, &x, WATCH_PATIENCE_MS));
        assert_int_equal(x, 7);
        uses += (uint32_t)ref.id == index;
        assert_ok(dm_release(ref));
    }
    assert_int_equal(uses, 1);
    dm_shutdown();
    assert_no_residue(&before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_generation_that_ends_with_a_result),
    cmocka_unit_test(a_million_values),
    cmocka_unit_test(a_generation_that_ends),
};

TEST_MAIN(tests, NULL)
