/*
 * Wrong calls in a task, and what few tasks do: refs that are none, put values that failed, a name behind arguments of
 * every length. Each is refused as in the program, or is right, and the task goes on.
 */
#include "tests/support/test.h"

enum { STORE = 16 << 20 };

/* What a task finds wrong is its failure. */
#define EXPECT(call_, expression_, status_)                                                        \
    do {                                                                                           \
        dm_status found_ = (expression_);                                                          \
        if (found_ != (status_))                                                                   \
            return dm_fail((call_), "line %d: %s: %s", __LINE__, dm_status_name(found_), dm_last_error()); \
    } while (0)

DM_REMOTE(inside_number)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

DM_REMOTE(inside_length)
{
    const char *text = "";
    for (int i = dm_arg_count(call) - 1; i >= 0; i--)
        DM_TRY(dm_arg(call, i, &text));
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++)
        if (text[i] != (char)('a' + (length + i) % 26))
            return dm_fail(call, "character %zu of %zu is wrong", i, length);
    return length % 2 ? dm_fail(call, "an odd length") : dm_return(call, length);
}

/* Refs that are none: another session's, none that was given, one that was released. */
DM_REMOTE(inside_wrong_refs)
{
    int x;
    dm_ref ref = dm_put(3), gone = dm_put(4);
    DM_TRY(dm_release(gone));
    EXPECT(call, dm_get((dm_ref){ref.id ^ UINT64_C(1) << 32}, &x), DM_ERR_BADREF);
    EXPECT(call, dm_get((dm_ref){ref.id + 1000000}, &x), DM_ERR_BADREF);
    EXPECT(call, dm_get((dm_ref){ref.id + (UINT64_C(1) << 40)}, &x), DM_ERR_STALE);
    EXPECT(call, dm_get(DM_NO_REF, &x), DM_ERR_BADREF);
    EXPECT(call, dm_get(gone, &x), DM_ERR_STALE);
    EXPECT(call, dm_release(gone), DM_ERR_STALE);
    EXPECT(call, dm_retain(gone), DM_ERR_STALE);
    EXPECT(call, dm_wait((dm_ref[]){ref, gone}, 2, 2, 0, NULL), DM_ERR_STALE);
    EXPECT(call, dm_get(dm_remote(inside_number, gone), &x), DM_ERR_STALE);
    EXPECT(call, dm_get(dm_put(&DM_REF_LIST(((dm_ref[]){ref, gone}), 2)), &x), DM_ERR_STALE);
    dm_ref wrong;
    EXPECT(call, dm_get(ref, &wrong), DM_ERR_TYPE);
    EXPECT(call, dm_get(ref, &x), DM_OK);
    return x == 3 ? DM_OK : dm_fail(call, "%d", x);
}

/* A view is good without its ref, which is good for nothing more. What a task was given it may let go of, too. */
DM_REMOTE(inside_views_without_refs)
{
    static const char bytes[5000] = {7};
    dm_view view, other;
    dm_buffer buffer;
    dm_ref_list list;
    dm_ref given, ref = dm_put(&DM_BYTES(bytes, sizeof bytes));
    size_t size = 100;
    int x;
    EXPECT(call, dm_get(ref, &view), DM_OK);
    EXPECT(call, dm_release(ref), DM_OK);
    EXPECT(call, dm_get(ref, &other), DM_ERR_STALE);
    EXPECT(call, dm_release(ref), DM_ERR_STALE);
    EXPECT(call, dm_get(dm_remote(inside_number, ref), &x), DM_ERR_STALE);
    if (memcmp(view.data, bytes, sizeof bytes) != 0)
        return dm_fail(call, "the view has other bytes");
    dm_view_release(&view);
    EXPECT(call, dm_arg(call, 0, &list), DM_OK);
    given = list.refs[0];
    EXPECT(call, dm_get(given, &view), DM_OK);
    dm_ref_list_release(&list);
    if (memcmp(view.data, bytes, sizeof bytes) != 0)
        return dm_fail(call, "the view of what was given has other bytes");
    dm_view_release(&view);
    EXPECT(call, dm_create(DM_U8, 1, &size, &buffer), DM_OK);
    EXPECT(call, dm_get(dm_remote(inside_number, (dm_ref){buffer.object}), &x), DM_ERR_INVALID);
    dm_abandon(&buffer);
    return DM_OK;
}

/* A value that could not be put: it says so wherever it goes. */
DM_REMOTE(inside_failed_put)
{
    int x;
    size_t bytes = STORE;
    char *data = calloc(1, bytes);
    dm_ref failed = dm_put(&DM_BYTES(data, bytes));
    free(data);
    EXPECT(call, dm_get(failed, &x), DM_ERR_STORE_FULL);
    EXPECT(call, dm_get(failed, &x), DM_ERR_STORE_FULL);
    EXPECT(call, dm_wait(&failed, 1, 1, 1000, NULL), DM_OK);
    EXPECT(call, dm_cancel(failed), DM_OK);
    EXPECT(call, dm_get(dm_remote(inside_number, failed), &x), DM_ERR_STORE_FULL);
    EXPECT(call, dm_get(dm_put(&DM_REF_LIST(&failed, 1)), &x), DM_ERR_STORE_FULL);
    EXPECT(call, dm_return(call, failed), DM_ERR_STORE_FULL);
    EXPECT(call, dm_retain(failed), DM_OK);
    EXPECT(call, dm_release(failed), DM_OK);
    EXPECT(call, dm_release(failed), DM_OK);
    EXPECT(call, dm_get(failed, &x), DM_ERR_STALE);
    return dm_return(call, 1);
}

static void text_of(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        text[i] = (char)('a' + (length + i) % 26);
    text[length] = 0;
}

/* A named task with so many arguments of this length, around the places where they are stored in another way. */
static bool named_with(size_t length, size_t count)
{
    enum { MOST = 20 };
    char text[2000];
    dm_value values[MOST];
    size_t found = 0;
    text_of(text, length);
    for (size_t i = 0; i < count; i++)
        values[i] = dm_value_string(text);
    dm_ref ref = dm_submit(&inside_length, (&(dm_task_options){.name = "one with a name"}), values, count);
    dm_status status = dm_get(ref, &found);
    bool good = length % 2 ? status == DM_ERR_TASK_FAILED && strstr(dm_last_error(), "one with a name: an odd length")
                           : status == DM_OK && found == length;
    return dm_release(ref) == DM_OK && good;
}

static bool named(size_t length)
{
    return named_with(length, 1) && named_with(length, 4) && (length % 50 != 0 || named_with(length, 20));
}

DM_REMOTE(inside_named)
{
    for (size_t length = 0; length < 1500; length += length < 300 ? 1 : 41)
        if (!named(length))
            return dm_fail(call, "%zu: %s", length, dm_last_error());
    return DM_OK;
}

/* ---- cases ---- */

static void is_fine(dm_engine engine, const dm_function *function)
{
    residue before;
    dm_stats stats = {0};
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = engine, .workers = 1, .store_bytes = STORE, .store_wait_ms = 50,
                                     .spill_policy = DM_SPILL_OFF, .log = driver_no_log});
    dm_ref ref = dm_submit(function, NULL, NULL, 0);
    assert_ok(dm_get(ref, (void *)NULL));
    assert_ok(dm_release(ref));
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.workers_lost, 0);
    dm_shutdown();
    assert_no_residue(&before);
}

static void wrong_refs(dm_engine engine)
{
    is_fine(engine, &inside_wrong_refs);
}
ON_ENGINES(wrong_refs)

static void views_without_refs(dm_engine engine)
{
    static const char bytes[5000] = {7};
    residue before;
    dm_stats stats = {0};
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = engine, .workers = 1, .store_bytes = STORE, .log = driver_no_log});
    dm_ref given = dm_put(&DM_BYTES(bytes, sizeof bytes));
    dm_ref ref = dm_remote(inside_views_without_refs, &DM_REF_LIST(&given, 1));
    assert_ok(dm_get(ref, (void *)NULL));
    assert_ok(dm_release(ref));
    assert_ok(dm_release(given));
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(views_without_refs)

static void failed_puts(dm_engine engine)
{
    is_fine(engine, &inside_failed_put);
}
ON_ENGINES(failed_puts)

static void names(dm_engine engine)
{
    is_fine(engine, &inside_named);
}
ON_ENGINES(names)

static void names_of_the_program(void **state)
{
    (void)state;
    session_begin(DM_ENGINE_PROCESSES, 1);
    for (size_t length = 0; length < 1500; length += length < 300 ? 1 : 41)
        if (!named(length))
            fail_msg("%zu: %s", length, dm_last_error());
    dm_shutdown();
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(wrong_refs),
    ENGINE_CASES(views_without_refs),
    ENGINE_CASES(failed_puts),
    ENGINE_CASES(names),
    cmocka_unit_test(names_of_the_program),
};

TEST_MAIN(tests, NULL)
