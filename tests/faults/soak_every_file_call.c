/*
 * Rows 40, 41, 45: the K-th call on a spill file fails, whichever it is, for K from 1 until a run has no K-th call;
 * with each error that a disk may give, once or from then on. A value that was in memory is right or, if the disk
 * has it and does not give it, DM_ERR_IO; who needs room is told why; all of the disk comes back.
 * `--short`: the first of these calls, for every run of the suite.
 */
#include <errno.h>
#include <stdatomic.h>

#include "objectstore/file_calls.h"
#include "tests/support/marked.h"

enum { STORE = 2 * MARKED_MIB, OBJECT = MARKED_MIB / 8, MANY = 24, WAIT_MS = 50 };

static dmi_file_calls real_calls;
static atomic_long countdown; /* calls until the one that fails; 0: none does */
static atomic_long failed;
static int fault; /* errno */
static bool from_then_on;
static int64_t for_ms = 1200000;
static atomic_bool failing;

static bool is_to_fail(void)
{
    bool now = atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1;
    if (now)
        atomic_store(&failing, from_then_on);
    if (!now && !atomic_load(&failing))
        return false;
    atomic_fetch_add(&failed, 1);
    errno = fault;
    return true;
}

static int open_at(int dir, const char *name, int flags, mode_t mode)
{
    return is_to_fail() ? -1 : real_calls.open_at(dir, name, flags, mode);
}

static ssize_t write_at(int fd, const void *bytes, size_t count, off_t at)
{
    return is_to_fail() ? -1 : real_calls.write_at(fd, bytes, count, at);
}

static ssize_t read_at(int fd, void *bytes, size_t count, off_t at)
{
    return is_to_fail() ? -1 : real_calls.read_at(fd, bytes, count, at);
}

static int punch(int fd, off_t at, off_t count)
{
    return is_to_fail() ? -1 : real_calls.punch(fd, at, count);
}

static int truncate_to(int fd, off_t size)
{
    return is_to_fail() ? -1 : real_calls.truncate(fd, size);
}

/* ---- one run ---- */

static bool names_the_disk(dm_status status)
{
    return status == DM_ERR_IO || status == DM_ERR_DISK_FULL || status == DM_ERR_STORE_FULL ||
           status == DM_ERR_FDS || status == DM_ERR_NOMEM || status == DM_ERR_CORRUPT;
}

static void right_or_told(dm_ref ref, uint64_t whose)
{
    dm_view view;
    dm_status status = dm_get_within(ref, &view, WATCH_PATIENCE_MS);
    if (status == DM_OK) {
        assert_true(view.bytes == OBJECT && is_marked(view.data, view.bytes, whose));
        dm_view_release(&view);
    } else if (!names_the_disk(status)) {
        fail_msg("call %ld, errno %d: %s: %s", atomic_load(&countdown), fault,
                 dm_status_name(status), dm_last_error());
    }
}

static void run(void)
{
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = DM_ENGINE_THREADS,
                                     .workers = 1,
                                     .store_bytes = STORE,
                                     .store_wait_ms = WAIT_MS,
                                     .log = driver_no_log});
    for (uint64_t i = 0; i < MANY; i++)
        refs[i] = i % 4 ? marked_put(OBJECT, i) : dm_remote(marked_make, OBJECT, i);
    for (uint64_t i = 0; i < MANY; i++)
        if (refs[i].id != 0)
            right_or_told(refs[i], i);
    atomic_store(&failing, false);
    for (int i = 0; i < MANY; i++)
        if (refs[i].id != 0)
            assert_ok(dm_release(refs[i]));
    marked_end(&before);
}

static void each_with(int error, bool all_later)
{
    int64_t begin = watch_now_ms();
    long k = 0, failed_before;
    fault = error;
    from_then_on = all_later;
    do {
        failed_before = atomic_load(&failed);
        atomic_store(&countdown, ++k);
        run();
        atomic_store(&countdown, 0);
        atomic_store(&failing, false);
    } while (atomic_load(&failed) != failed_before && watch_now_ms() - begin < for_ms);
    print_message("%s%s: each of %ld calls failed%s\n", strerrorname_np(error),
                  all_later ? ", from then on" : "", k - 1,
                  watch_now_ms() - begin < for_ms ? "" : " (the time was over)");
    assert_true(k > 2);
}

static void once_with_an_error(void **state)
{
    (void)state;
    each_with(EIO, false);
}

static void once_without_room(void **state)
{
    (void)state;
    each_with(ENOSPC, false);
}

static void once_over_quota(void **state)
{
    (void)state;
    each_with(EDQUOT, false);
}

static void from_then_on_with_an_error(void **state)
{
    (void)state;
    each_with(EIO, true);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(once_with_an_error),
    cmocka_unit_test(once_without_room),
    cmocka_unit_test(once_over_quota),
    cmocka_unit_test(from_then_on_with_an_error),
};

__attribute__((constructor)) static void set_up(void)
{
    real_calls = dmi_calls;
    dmi_calls = (dmi_file_calls){open_at, write_at, read_at, punch, truncate_to};
}

int main(int argc, char **argv)
{
    int status;
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    bool is_short = argc > 1 && strcmp(argv[1], "--short") == 0;
    for_ms = is_short ? 2500 : for_ms;
    watch_dog(is_short ? WATCH_DOG_S : 7000);
    status = cmocka_run_group_tests(tests, NULL, NULL);
    dm_shutdown();
    test_end();
    return status;
}
