/*
 * One spill file: what is written is read, whatever a single call of the system does with it; what fails says which
 * file, where and what to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "objectstore/file_calls.h"
#include "objectstore/spill_file.h"
#include "tests/support/spilling.h"

enum { BLOCKS = 16, BYTES = BLOCKS * DMI_BLOCK };

static dmi_file_calls healthy;
static dmi_place place;
static dmi_spill_file file;
static int calls;

static char *blocks(void)
{
    void *at = NULL;
    assert_int_equal(posix_memalign(&at, DMI_BLOCK, BYTES), 0);
    return at;
}

static void open_in(const char *directory)
{
    calls = 0;
    assert_ok(dmi_place_open(&place, directory, strlen(directory), true));
    assert_ok(dmi_spill_file_open(&file, &place, false, false));
}

static int restore(void **state)
{
    (void)state;
    dmi_calls = healthy;
    return 0;
}

static void end(void)
{
    dmi_calls = healthy;
    dmi_spill_file_close(&file);
    dmi_place_close(&place);
}

static void assert_there_and_back(void)
{
    char *from = blocks(), *to = blocks();
    size_t got;
    spilling_fill(from, BYTES, SPILLING_NOISE, 7);
    assert_ok(dmi_spill_file_write(&file, from, BYTES, 0, NULL));
    assert_ok(dmi_spill_file_read(&file, to, BYTES, 0, &got));
    assert_int_equal(got, BYTES);
    assert_memory_equal(from, to, BYTES);
    free(from), free(to);
}

/* ---- writes that end in the middle of a block ---- */

static ssize_t tells_of_less(int fd, const void *bytes, size_t count, off_t at, size_t less)
{
    ssize_t wrote = pwrite(fd, bytes, count, at);
    return calls++ == 0 && wrote == (ssize_t)count ? (ssize_t)less : wrote;
}

static ssize_t less_than_a_block(int fd, const void *bytes, size_t count, off_t at)
{
    return tells_of_less(fd, bytes, count, at, 100);
}

static ssize_t two_blocks_and_some(int fd, const void *bytes, size_t count, off_t at)
{
    return tells_of_less(fd, bytes, count, at, 2 * DMI_BLOCK + 100);
}

static void writes_that_end_in_a_block(void **state)
{
    (void)state;
    open_in(spilling_dir());
    atomic_store(&file.direct, true);
    dmi_calls.write_at = two_blocks_and_some;
    assert_there_and_back();
    assert_true(atomic_load(&file.direct));
    assert_int_equal(calls, 2);
    end();
    open_in(spilling_dir());
    atomic_store(&file.direct, true);
    dmi_calls.write_at = less_than_a_block;
    assert_there_and_back();
    assert_false(atomic_load(&file.direct)); /* one cannot go on from there otherwise */
    end();
}

/* ---- writes that fail ---- */

static int error_of_writes;

static ssize_t fails(int fd, const void *bytes, size_t count, off_t at)
{
    (void)fd, (void)bytes, (void)count, (void)at;
    errno = error_of_writes;
    return error_of_writes ? -1 : 0;
}

static void assert_write_says(int error, dm_status status, const char *words)
{
    char *from = blocks();
    error_of_writes = error;
    memset(from, 1, BYTES);
    dmi_calls.write_at = fails;
    assert_refused(dmi_spill_file_write(&file, from, BYTES, 0, NULL), status, words);
    free(from);
}

static void writes_that_get_nowhere(void **state)
{
    (void)state;
    open_in(spilling_dir());
    assert_write_says(0, DM_ERR_DISK_FULL, "make room there");
    assert_write_says(EINVAL, DM_ERR_IO, "may be failing");
    assert_write_says(EROFS, DM_ERR_IO, "DM_SPILL_DIR");
    end();
}

/* The flags of a descriptor that somebody closed cannot be asked for. */
static void a_descriptor_that_is_gone(void **state)
{
    (void)state;
    open_in(spilling_dir());
    int fd = file.fd;
    file.fd = -1;
    atomic_store(&file.direct, true);
    assert_write_says(EINVAL, DM_ERR_IO, "byte 0");
    assert_ok(dmi_spill_file_room(&file, 1, 0.5)); /* nobody knows; a write will tell */
    file.fd = fd;
    end();
}

/* One that was pending before is the program's. */
static void a_signal_that_was_there_stays(void **state)
{
    (void)state;
    sigset_t too_large, pending;
    sigemptyset(&too_large);
    sigaddset(&too_large, SIGXFSZ);
    open_in(spilling_dir());
    pthread_sigmask(SIG_BLOCK, &too_large, NULL);
    assert_write_says(EFBIG, DM_ERR_DISK_FULL, "ulimit -f");
    sigpending(&pending);
    assert_false(sigismember(&pending, SIGXFSZ));
    pthread_kill(pthread_self(), SIGXFSZ);
    assert_write_says(EFBIG, DM_ERR_DISK_FULL, "ulimit -f");
    sigpending(&pending);
    assert_true(sigismember(&pending, SIGXFSZ));
    assert_int_equal(sigtimedwait(&too_large, NULL, &(struct timespec){0, 0}), SIGXFSZ);
    pthread_sigmask(SIG_UNBLOCK, &too_large, NULL);
    end();
}

/* ---- giving back ---- */

static int interrupted_twice(int fd, off_t size)
{
    errno = EINTR;
    return calls++ < 2 ? -1 : ftruncate(fd, size);
}

static void emptied_though_interrupted(void **state)
{
    struct stat about;
    (void)state;
    open_in(spilling_dir());
    assert_there_and_back();
    dmi_calls.truncate = interrupted_twice;
    assert_true(dmi_spill_file_empty(&file));
    assert_int_equal(calls, 3);
    assert_int_equal(fstat(file.fd, &about), 0);
    assert_int_equal(about.st_size, 0);
    end();
}

/* ---- room ---- */

static void limits_of_fill(void **state)
{
    (void)state;
    open_in(spilling_dir());
    const uint64_t much = UINT64_MAX / 2;
    assert_ok(dmi_spill_file_room(&file, much, 0));
    assert_ok(dmi_spill_file_room(&file, much, 1));
    assert_refused(dmi_spill_file_room(&file, much, 0.999), DM_ERR_DISK_FULL, "fill limit");
    int fd = file.fd;
    file.fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC); /* of a file system that has no blocks */
    assert_true(file.fd >= 0);
    assert_ok(dmi_spill_file_room(&file, much, 0.5));
    close(file.fd);
    file.fd = fd;
    end();
}

/* ---- names ---- */

/* Of a long path messages have the end, and slashes behind it are none of it. */
static void a_long_path(void **state)
{
    char path[300];
    (void)state;
    snprintf(path, sizeof path, "%s/a-directory-whose-name-is-longer-than-what-a-message-has-room-for", spilling_dir());
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "//");
    open_in(path);
    assert_write_says(EIO, DM_ERR_IO, "...");
    assert_non_null(strstr(dm_last_error(), "what-a-message-has-room-for cannot be written"));
    end();
    path[strlen(path) - 2] = 0;
    assert_int_equal(rmdir(path), 0); /* nothing is left in it */
}

#define CASE(name_) cmocka_unit_test_setup(name_, restore)

static const struct CMUnitTest tests[] = {
    CASE(writes_that_end_in_a_block),
    CASE(writes_that_get_nowhere),
    CASE(a_descriptor_that_is_gone),
    CASE(a_signal_that_was_there_stays),
    CASE(emptied_though_interrupted),
    CASE(limits_of_fill),
    CASE(a_long_path),
};

int main(int argc, char **argv)
{
    int status;
    healthy = dmi_calls;
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    status = cmocka_run_group_tests(tests, NULL, NULL);
    test_end();
    return status;
}
