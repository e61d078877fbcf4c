/*
 * Tasks may submit tasks and wait for them, to any depth, on any number of workers, one included; what
 * they hold they may keep, hand on or forget, and nothing of it is left.
 */
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
    ENGINE_CASES(keeping),
    ENGINE_CASES(following),
};

TEST_MAIN(tests, NULL)
