/*
 * dm_local builds what is costly once per worker and shared value, keeps the sixteen used last, and
 * destroys what it built: for another's place, or at the worker's end.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/support/test.h"

/* Builds and destroyings are lines of a file, because they happen in other processes. */
static const char *journal_path(void)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/journal", test_directory());
    return path;
}

static void note(char what)
{
    int fd = open(journal_path(), O_CREAT | O_APPEND | O_WRONLY, 0600);
    ssize_t written = write(fd, &what, 1);
    (void)written;
    close(fd);
}

static int count_noted(char what)
{
    char text[4096];
    int fd = open(journal_path(), O_RDONLY), count = 0;
    ssize_t bytes = fd < 0 ? 0 : read(fd, text, sizeof text);
    for (ssize_t i = 0; i < bytes; i++)
        count += text[i] == what;
    close(fd);
    return count;
}

static dm_status build(const dm_view *shared, void **made)
{
    int64_t *sum = malloc(sizeof *sum);
    *sum = 0;
    for (size_t i = 0; i < shared->shape[0]; i++)
        *sum += ((const int64_t *)shared->data)[i];
    note('b');
    *made = sum;
    return DM_OK;
}

static void destroy(void *made)
{
    note('d');
    free(made);
}

static dm_status refuse(const dm_view *shared, void **made)
{
    (void)shared, (void)made;
    return dmi_error(DM_ERR_NUMERIC, "cannot be built");
}

DM_REMOTE(uses_it)
{
    void *sum;
    DM_TRY(dm_local(call, 0, build, destroy, &sum));
    return dm_return(call, *(int64_t *)sum);
}

DM_REMOTE(uses_many)
{
    int64_t total = 0;
    void *sum;
    for (int i = 0; i < dm_arg_count(call); i++) {
        DM_TRY(dm_local(call, i, build, destroy, &sum));
        total += *(int64_t *)sum;
    }
    return dm_return(call, total);
}

DM_REMOTE(misuses_it)
{
    void *sum;
    int which;
    DM_TRY(dm_arg(call, 1, &which));
    if (which == 0)
        return dm_local(call, 1, build, destroy, &sum); /* no ref */
    if (which == 1)
        return dm_local(call, 7, build, destroy, &sum);
    if (which == 2)
        return dm_local(call, 0, NULL, destroy, &sum);
    return dm_local(call, 0, refuse, destroy, &sum);
}

static dm_ref numbers(int64_t first)
{
    int64_t list[200] = {first, 1};
    return dm_put(&DM_ARRAY(list, DM_I64, 200));
}

static int64_t used(dm_ref ref)
{
    int64_t x = -1;
    dm_ref task = dm_remote(uses_it, ref);
    assert_ok(dm_get(task, &x));
    dm_release(task);
    return x;
}

static void built_once(dm_engine engine)
{
    unlink(journal_path());
    session_begin(engine, 1);
    dm_ref one = numbers(10), two = numbers(20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(used(one), 11);
        assert_int_equal(used(two), 21);
    }
    assert_int_equal(count_noted('b'), 2);
    assert_int_equal(count_noted('d'), 0);
    dm_release(one);
    dm_release(two);
    dm_ref three = numbers(30); /* may lie where the first lay */
    assert_int_equal(used(three), 31);
    assert_int_equal(count_noted('b'), 3);
    dm_release(three);
    dm_shutdown();
    assert_int_equal(count_noted('d'), 3);
    unlink(journal_path());
}
ON_ENGINES(built_once)

static void built_once_in_each_worker(dm_engine engine)
{
    unlink(journal_path());
    session_begin(engine, 2);
    dm_ref shared = numbers(5), tasks[200];
    for (int i = 0; i < 200; i++)
        tasks[i] = dm_remote(uses_it, shared);
    for (int i = 0; i < 200; i++) {
        int64_t x;
        assert_ok(dm_get(tasks[i], &x));
        assert_int_equal(x, 6);
        dm_release(tasks[i]);
    }
    int builds = count_noted('b');
    assert_true(builds >= 1 && builds <= 2);
    dm_release(shared);
    dm_shutdown();
    assert_int_equal(count_noted('d'), builds);
    unlink(journal_path());
}
ON_ENGINES(built_once_in_each_worker)

static void the_sixteen_used_last_are_kept(dm_engine engine)
{
    unlink(journal_path());
    session_begin(engine, 1);
    dm_ref shared[17];
    for (int i = 0; i < 17; i++)
        shared[i] = numbers(i);
    for (int i = 0; i < 16; i++)
        used(shared[i]);
    assert_int_equal(used(shared[0]), 1); /* so that the next is the oldest */
    assert_int_equal(count_noted('b'), 16);
    assert_int_equal(used(shared[16]), 17);
    assert_int_equal(count_noted('d'), 1);
    for (int i = 16; i >= 2; i--)
        used(shared[i]);
    used(shared[0]);
    assert_int_equal(count_noted('b'), 17); /* all there but one */
    used(shared[1]);
    assert_int_equal(count_noted('b'), 18);
    dm_value values[17];
    int64_t total;
    for (int i = 0; i < 17; i++)
        values[i] = dm_value_ref(shared[i]);
    dm_ref task = dm_submit(&uses_many, NULL, values, 16);
    assert_ok(dm_get(task, &total));
    assert_int_equal(total, 15 * 16 / 2 + 16);
    dm_release(task);
    task = dm_submit(&uses_many, NULL, values, 17); /* none may go while the task runs */
    assert_refused(dm_get(task, &total), DM_ERR_INVALID, "uses_many");
    dm_release(task);
    for (int i = 0; i < 17; i++)
        dm_release(shared[i]);
    dm_shutdown();
    assert_int_equal(count_noted('d'), count_noted('b'));
    unlink(journal_path());
}
ON_ENGINES(the_sixteen_used_last_are_kept)

static void misuse_is_named(dm_engine engine)
{
    static const struct {
        dm_status status;
        const char *words;
    } expected[] = {{DM_ERR_TYPE, "misuses_it: argument 1: dm_local needs a ref"},
                    {DM_ERR_ARG_MISSING, "argument 7 is missing"},
                    {DM_ERR_INVALID, "build"},
                    {DM_ERR_NUMERIC, "cannot be built"}};
    residue before;
    residue_begin(&before);
    session_begin(engine, 1);
    dm_ref shared = numbers(5);
    for (int i = 0; i < 4; i++) {
        dm_ref task = dm_remote(misuses_it, shared, i);
        assert_refused(dm_get(task, (void *)NULL), expected[i].status, expected[i].words);
        dm_release(task);
    }
    dm_release(shared);
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(misuse_is_named)

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(built_once),
    ENGINE_CASES(built_once_in_each_worker),
    ENGINE_CASES(the_sixteen_used_last_are_kept),
    ENGINE_CASES(misuse_is_named),
};

TEST_MAIN(tests, NULL)
