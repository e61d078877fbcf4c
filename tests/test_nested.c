/*
 * Tasks may submit tasks and wait for them, to any depth, on any number of workers, one included; what
 * they hold they may keep, hand on or forget, and nothing of it is left.
 */
#include "runtime/session.h"
#include "tests/support/nested.h"

#define ON_ONE_AND_TWO(name_, what_)                                                               \
    static void name_(dm_engine engine)                                                            \
    {                                                                                              \
        residue before;                                                                            \
        residue_begin(&before);                                                                    \
        what_(engine, 1);                                                                          \
        what_(engine, 2);                                                                          \
        assert_no_residue(&before);                                                                \
    }                                                                                              \
    ON_ENGINES(name_)

ON_ONE_AND_TWO(trees, nested_trees)
ON_ONE_AND_TWO(depths, nested_depths)
ON_ONE_AND_TWO(joins, nested_joins)
ON_ONE_AND_TWO(far, nested_far)
ON_ONE_AND_TWO(refs, nested_refs)
ON_ONE_AND_TWO(following, nested_following)

/* The way to what can run is not looked for again for each task of a chain. */
static void chain_is_walked_once(dm_engine engine)
{
    enum { LENGTH = 1000, FEW = LENGTH / 20 };
    session_begin(engine, 1);
    assert_int_equal(nested_int(dm_remote(nested_chain, LENGTH)), LENGTH);
    nested_gone();
    assert_in_range(dmi_the_session->walks, 0, FEW);
    dm_shutdown();
}
ON_ENGINES(chain_is_walked_once)

static void keeping(dm_engine engine)
{
    nested_keeping(engine);
}
ON_ENGINES(keeping)

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(trees),
    ENGINE_CASES(depths),
    ENGINE_CASES(joins),
    ENGINE_CASES(far),
    ENGINE_CASES(refs),
    ENGINE_CASES(chain_is_walked_once),
    ENGINE_CASES(keeping),
    ENGINE_CASES(following),
};

TEST_MAIN(tests, NULL)
