/*
 * Graphs, values and nesting on the engine of threads: the same structures as with processes, so that
 * ThreadSanitizer can look at every step.
 */
#include "tests/support/graph.h"
#include "tests/support/nested.h"

static void chains(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 3; workers++)
        graph_chain(DM_ENGINE_THREADS, workers, 300);
}

static void diamonds(void **state)
{
    (void)state;
    graph_diamonds(DM_ENGINE_THREADS, 2, 50);
}

static void fans_in(void **state)
{
    (void)state;
    graph_fan_in(DM_ENGINE_THREADS, 3, 1000);
}

static void at_random(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 3; workers++)
        graph_random(DM_ENGINE_THREADS, workers, 2000, 77 + (unsigned)workers);
}

static void failures(void **state)
{
    (void)state;
    graph_failures(DM_ENGINE_THREADS, 2);
}

static void nested(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 2; workers++) {
        nested_trees(DM_ENGINE_THREADS, workers);
        nested_depths(DM_ENGINE_THREADS, workers);
        nested_joins(DM_ENGINE_THREADS, workers);
        nested_refs(DM_ENGINE_THREADS, workers);
        nested_far(DM_ENGINE_THREADS, workers);
    }
    nested_keeping(DM_ENGINE_THREADS);
}

static void following(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 2; workers++)
        nested_following(DM_ENGINE_THREADS, workers);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(chains),    cmocka_unit_test(diamonds), cmocka_unit_test(fans_in),
    cmocka_unit_test(at_random), cmocka_unit_test(failures), cmocka_unit_test(nested),
    cmocka_unit_test(following),
};

TEST_MAIN(tests, NULL)
