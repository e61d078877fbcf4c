/*
 * A NULL, or a number that is no dm_into, is a status and a sentence, never a fault: bindings make such
 * mistakes.
 */
#include "tests/support/test.h"

DM_REMOTE(nulls_in_a_task)
{
    if (dm_arg_into(call, 0, DM_INTO_I32, NULL) != DM_ERR_INVALID)
        return dm_fail(call, "a place that is NULL was taken");
    int x;
    if (dm_arg_into(call, 0, (dm_into)99, &x) != DM_ERR_INVALID)
        return dm_fail(call, "99 was taken for a dm_into");
    return dm_return(call, 1);
}

static void nulls_are_refused(dm_engine engine)
{
    int x;
    session_begin(engine, 1);
    dm_ref none = dm_submit(&nulls_in_a_task, NULL, NULL, 5);
    assert_refused(dm_get(none, &x), DM_ERR_INVALID, "NULL");
    dm_ref text = dm_put_value((dm_value){.kind = DM_STRING});
    assert_refused(dm_get(text, &x), DM_ERR_INVALID, "string");
    dm_ref sealed = dm_seal(NULL);
    assert_refused(dm_get(sealed, &x), DM_ERR_INVALID, "buffer");
    dm_ref seven = dm_put(7);
    assert_refused(dm_get_into(seven, (dm_into)99, &x, 0), DM_ERR_INVALID, "99");
    assert_refused(dm_get_into(seven, DM_INTO_I32, NULL, 0), DM_ERR_INVALID, "NULL");
    assert_refused(dm_stats_get(NULL), DM_ERR_INVALID, "NULL");
    dm_ref task = dm_remote(nulls_in_a_task, 1);
    assert_ok(dm_get(task, &x));
    const dm_ref all[] = {none, text, sealed, seven, task};
    for (int i = 0; i < 5; i++)
        assert_ok(dm_release(all[i]));
    dm_shutdown();
}
ON_ENGINES(nulls_are_refused)

static const struct CMUnitTest tests[] = {ENGINE_CASES(nulls_are_refused)};

TEST_MAIN(tests, NULL)
