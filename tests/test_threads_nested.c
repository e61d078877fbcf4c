/*
 * Nesting deeper than a stack on the engine of threads: for ThreadSanitizer to look at how a worker goes from one
 * thread to the next and back.
 */
#include "tests/support/deep.h"

enum { DEPTH = 3000 }; /* several stacks; ThreadSanitizer takes its time */

static void to_the_bottom(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    deep_to_the_bottom(DM_ENGINE_THREADS, 1, DEPTH);
    deep_to_the_bottom(DM_ENGINE_THREADS, 2, DEPTH);
    assert_no_residue(&before);
}

static void to_the_cap(void **state)
{
    (void)state;
    deep_to_the_cap(DM_ENGINE_THREADS, 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(to_the_bottom),
    cmocka_unit_test(to_the_cap),
};

TEST_MAIN(tests, NULL)
