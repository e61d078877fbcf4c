/*
 * dm_stats.pinned_bytes is what this program keeps in memory by views and unsealed buffers: exactly, on
 * each engine, and nothing when they are gone.
 */
#include "tests/support/test.h"

enum { HEADER = 128, BYTES = 100000 };

DM_REMOTE(makes)
{
    dm_buffer buffer;
    DM_TRY(dm_create(DM_U8, 1, (size_t[]){BYTES}, &buffer));
    memset(buffer.data, 7, BYTES);
    return dm_return(call, &buffer);
}

DM_REMOTE(leaves_a_mark)
{
    const char *path;
    DM_TRY(dm_arg(call, 0, &path));
    FILE *mark = fopen(path, "w");
    return mark && fclose(mark) == 0 ? DM_OK : dm_fail(call, "%s cannot be made", path);
}

static uint64_t pinned(void)
{
    dm_stats stats = {0};
    assert_ok(dm_stats_get(&stats));
    return stats.pinned_bytes;
}

/* A task behind it leaves a mark: then it is published, and nobody has told the driver. */
static void views_of_results_count(dm_engine engine)
{
    dm_view first, second;
    char mark[256];
    snprintf(mark, sizeof mark, "%s/mark", test_directory());
    session_begin(engine, 1);
    dm_ref ref = dm_remote(makes), behind = dm_remote(leaves_a_mark, mark);
    assert_ok(dm_wait(NULL, 0, 0, 0, NULL)); /* a turn, so that both are with the worker */
    assert_soon(access(mark, F_OK) == 0);
    assert_ok(dm_get(ref, &first));
    assert_ok(dm_get(ref, &second));
    assert_int_equal(pinned(), BYTES + HEADER); /* once, however many views */
    dm_release(ref);
    dm_view_release(&first);
    assert_int_equal(pinned(), BYTES + HEADER);
    dm_view_release(&second);
    assert_int_equal(pinned(), 0);
    dm_release(behind);
    dm_shutdown();
    unlink(mark);
}

static void buffers_count_until_they_are_spent(dm_engine engine)
{
    dm_buffer sealed, given_up;
    session_begin(engine, 1);
    assert_ok(dm_create(DM_U8, 1, (size_t[]){BYTES}, &sealed));
    assert_ok(dm_create(DM_U8, 1, (size_t[]){BYTES}, &given_up));
    assert_int_equal(pinned(), 2 * (BYTES + HEADER));
    dm_ref ref = dm_seal(&sealed);
    assert_int_equal(pinned(), BYTES + HEADER);
    dm_abandon(&given_up);
    assert_int_equal(pinned(), 0);
    dm_release(ref);
    dm_ref put = dm_put(&DM_BYTES("abcdefgh", 8));
    assert_int_equal(pinned(), 0);
    dm_release(put);
    dm_shutdown();
}

static void the_policy_is_told(void **state)
{
    (void)state;
    dm_stats stats;
    session_begin_with(&(dm_options){.engine = DM_ENGINE_SERIAL,
                                     .store_bytes = 100 << 20,
                                     .spill_threshold = 0.5,
                                     .spill_policy = DM_SPILL_NEVER});
    assert_ok(dm_stats_get(&stats));
    assert_int_equal(stats.spill_policy, DM_SPILL_NEVER);
    assert_int_equal(stats.spill_above, 50 << 20);
    dm_shutdown();
}

ON_ENGINES(views_of_results_count)
ON_ENGINES(buffers_count_until_they_are_spent)

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(views_of_results_count),
    ENGINE_CASES(buffers_count_until_they_are_spent),
    cmocka_unit_test(the_policy_is_told),
};

TEST_MAIN(tests, NULL)
