/*
 * What disks and file systems do now and then, and what must come of it: short writes and reads, calls that a
 * signal interrupts, errors, no nameless files, no direct I/O, a directory that vanishes. Never a wrong byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "objectstore/file_calls.h"
#include "tests/support/spilling.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

static dmi_file_calls healthy;
static unsigned seed;
static int countdown; /* calls until the fault; negative: none */
static int fault;     /* errno */

static int restore(void **state)
{
    (void)state;
    dmi_calls = healthy;
    countdown = -1;
    return 0;
}

/* Objects of several sizes there and back. */
static void there_and_back(dmi_spill *spill)
{
    static const size_t sizes[] = {1, 5000, 20000, 300 * KIB, MIB + 1};
    for (unsigned i = 0; i < 20; i++) {
        size_t bytes = sizes[i % 5];
        uint32_t ticket = spilling_write(spill, bytes, SPILLING_NOISE, i);
        spilling_check(spill, ticket, bytes, SPILLING_NOISE, i);
        if (i % 3)
            dmi_spill_free(spill, ticket);
    }
    spilling_tidy(spill);
}

/* ---- short ---- */

static ssize_t short_write(int fd, const void *bytes, size_t count, off_t at)
{
    size_t less = rand_r(&seed) % 2 ? count : 1 + (size_t)rand_r(&seed) % count;
    if (fcntl(fd, F_GETFL) & O_DIRECT) /* the kernel, too, stops at a block */
        less = less < 4096 ? 4096 : less / 4096 * 4096;
    return pwrite(fd, bytes, less, at);
}

static ssize_t short_read(int fd, void *bytes, size_t count, off_t at)
{
    size_t less = rand_r(&seed) % 2 ? count : 1 + (size_t)rand_r(&seed) % count;
    ssize_t got = pread(fd, bytes, count, at);
    return got < 0 || (size_t)got < less ? got : (ssize_t)less; /* as if a signal had come */
}

static void short_writes_and_reads(void **state)
{
    (void)state;
    for (int buffered = 0; buffered < 2; buffered++) {
        dmi_spill_settings settings = spilling_settings();
        settings.buffered = buffered;
        dmi_spill *spill = spilling_begin(&settings);
        dmi_calls.write_at = short_write;
        dmi_calls.read_at = short_read;
        there_and_back(spill);
        restore(NULL);
        dmi_spill_destroy(spill);
    }
}

/* ---- interrupted ---- */

static ssize_t interrupted_write(int fd, const void *bytes, size_t count, off_t at)
{
    if (rand_r(&seed) % 2)
        return pwrite(fd, bytes, count, at);
    errno = EINTR;
    return -1;
}

static ssize_t interrupted_read(int fd, void *bytes, size_t count, off_t at)
{
    if (rand_r(&seed) % 2)
        return pread(fd, bytes, count, at);
    errno = EINTR;
    return -1;
}

static int interrupted_truncate(int fd, off_t size)
{
    if (rand_r(&seed) % 2)
        return ftruncate(fd, size);
    errno = EINTR;
    return -1;
}

static void interrupted_calls(void **state)
{
    (void)state;
    dmi_spill *spill = spilling_begin(NULL);
    dmi_calls.write_at = interrupted_write;
    dmi_calls.read_at = interrupted_read;
    dmi_calls.truncate = interrupted_truncate;
    there_and_back(spill);
    restore(NULL);
    dmi_spill_destroy(spill);
}

static void on_alarm(int signal)
{
    (void)signal;
}

static void a_storm_of_signals(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_alarm}, before; /* no SA_RESTART */
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    dmi_spill *spill = spilling_begin(NULL);
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &often, NULL);
    there_and_back(spill);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    dmi_spill_destroy(spill);
}

/* ---- errors ---- */

static bool fails(void)
{
    if (countdown < 0 || countdown-- > 0)
        return false;
    countdown = 0; /* and from now on */
    errno = fault;
    return true;
}

static ssize_t failing_write(int fd, const void *bytes, size_t count, off_t at)
{
    return fails() ? -1 : pwrite(fd, bytes, count, at);
}

static ssize_t failing_read(int fd, void *bytes, size_t count, off_t at)
{
    return fails() ? -1 : pread(fd, bytes, count, at);
}

static void write_fails_with(int error, dm_status expected)
{
    static char bytes[4 * MIB];
    spilling_fill(bytes, sizeof bytes, SPILLING_NOISE, 1);
    for (int when = 0; when < 4; when++) {
        dmi_spill_stats stats;
        dmi_spill *spill = spilling_begin(NULL);
        uint32_t before = spilling_write(spill, MIB, SPILLING_NOISE, 3);
        dmi_calls.write_at = failing_write;
        countdown = when, fault = error;
        dmi_part part = {.bytes = bytes, .count = sizeof bytes, .id = 1};
        assert_int_equal(dmi_spill_write(spill, &part, 1, NULL), expected);
        assert_non_null(strstr(dm_last_error(), "nameless file in"));
        restore(NULL);
        assert_int_equal(part.ticket, 0);
        dmi_spill_stats_get(spill, &stats);
        assert_int_equal(stats.parts, 1);
        assert_true(stats.on_disk <= MIB + 8 * KIB);
        assert_true(spilling_open_files().disk_bytes <= MIB + 64 * KIB);
        assert_ok(dmi_spill_write(spill, &part, 1, NULL)); /* it was for a moment */
        spilling_check(spill, before, MIB, SPILLING_NOISE, 3);
        dmi_spill_destroy(spill);
    }
}

static void writes_that_fail(void **state)
{
    (void)state;
    write_fails_with(EIO, DM_ERR_IO);
    write_fails_with(EDQUOT, DM_ERR_DISK_FULL);
    write_fails_with(ENOSPC, DM_ERR_DISK_FULL);
    write_fails_with(EFBIG, DM_ERR_DISK_FULL);
}

static void reads_that_fail(void **state)
{
    (void)state;
    char *found = malloc(MIB);
    dmi_spill *spill = spilling_begin(NULL);
    uint32_t ticket = spilling_write(spill, MIB, SPILLING_NOISE, 3);
    dmi_calls.read_at = failing_read;
    countdown = 0, fault = EIO;
    assert_refused(dmi_spill_read(spill, ticket, 3, found, MIB), DM_ERR_IO, "nameless file in");
    restore(NULL);
    spilling_check(spill, ticket, MIB, SPILLING_NOISE, 3);
    dmi_spill_free(spill, ticket);
    spilling_tidy(spill);
    assert_int_equal(spilling_open_files().disk_bytes, 0);
    dmi_spill_destroy(spill);
    free(found);
}

/* Moving that fails leaves all where it was, and is not tried for ever. */
static void moves_that_fail(void **state)
{
    (void)state;
    enum { N = 100 };
    uint32_t tickets[N];
    dmi_spill *spill = spilling_begin(NULL);
    for (unsigned i = 0; i < N; i++)
        tickets[i] = spilling_write(spill, 100, SPILLING_NOISE, i);
    dmi_calls.write_at = failing_write;
    countdown = 0, fault = ENOSPC;
    spilling_tidy(spill);
    countdown = -1;
    dmi_calls.read_at = failing_read;
    countdown = 0, fault = EIO;
    spilling_tidy(spill);
    restore(NULL);
    for (unsigned i = 0; i < N; i++)
        spilling_check(spill, tickets[i], 100, SPILLING_NOISE, i);
    for (unsigned i = 0; i < N; i++)
        dmi_spill_free(spill, tickets[i]);
    spilling_tidy(spill);
    assert_int_equal(spilling_open_files().disk_bytes, 0);
    dmi_spill_destroy(spill);
}

/* ---- file systems that lack something ---- */

static int refused_flags, refused_with;

static int picky_open(int dir, const char *name, int flags, mode_t mode)
{
    if ((flags & refused_flags) == refused_flags) {
        errno = refused_with ? refused_with : EINVAL;
        return -1;
    }
    return openat(dir, name, flags, mode);
}

static void without_nameless_files(void **state)
{
    (void)state;
    int names = spilling_names(spilling_dir());
    dmi_calls.open_at = picky_open;
    refused_flags = O_TMPFILE;
    static const int errors[] = {EOPNOTSUPP, EISDIR, EINVAL, ENOENT};
    for (int i = 0; i < 4; i++) {
        refused_with = errors[i];
        dmi_spill *spill = spilling_begin(NULL);
        there_and_back(spill);
        assert_int_equal(spilling_open_files().count, 1);
        assert_int_equal(spilling_names(spilling_dir()), names);
        dmi_spill_destroy(spill);
    }
    refused_with = 0;
}

/* Nor is a file with a name made: the write says so. */
static void without_any_files(void **state)
{
    (void)state;
    dmi_calls.open_at = picky_open;
    refused_flags = O_RDWR;
    refused_with = EOPNOTSUPP;
    dmi_spill *spill = spilling_begin(NULL);
    dmi_part part = {.bytes = "x", .count = 1};
    assert_refused(dmi_spill_write(spill, &part, 1, NULL), DM_ERR_IO, "cannot be made");
    refused_with = 0;
    restore(NULL);
    there_and_back(spill);
    dmi_spill_destroy(spill);
}

static void without_direct_io(void **state)
{
    (void)state;
    dmi_spill_stats stats;
    dmi_calls.open_at = picky_open;
    refused_flags = O_DIRECT;
    for (int visible = 0; visible < 2; visible++) {
        dmi_spill_settings settings = spilling_settings();
        settings.visible = visible;
        dmi_spill *spill = spilling_begin(&settings);
        there_and_back(spill);
        dmi_spill_stats_get(spill, &stats);
        assert_false(stats.direct);
        dmi_spill_destroy(spill);
    }
}

static ssize_t no_direct_write(int fd, const void *bytes, size_t count, off_t at)
{
    if (fcntl(fd, F_GETFL) & O_DIRECT) {
        errno = EINVAL;
        return -1;
    }
    return pwrite(fd, bytes, count, at);
}

static void direct_io_that_is_refused_late(void **state)
{
    (void)state;
    dmi_spill_stats stats;
    dmi_calls.write_at = no_direct_write;
    dmi_spill *spill = spilling_begin(NULL);
    there_and_back(spill);
    dmi_spill_stats_get(spill, &stats);
    assert_false(stats.direct);
    dmi_spill_destroy(spill);
}

static void a_directory_that_vanishes(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/gone", spilling_dir());
    assert_int_equal(mkdir(path, 0700), 0);
    dmi_spill_settings settings = spilling_settings();
    settings.dirs = path;
    dmi_spill *open = spilling_begin(&settings), *late = spilling_begin(&settings);
    uint32_t ticket = spilling_write(open, MIB, SPILLING_NOISE, 1);
    assert_int_equal(rmdir(path), 0);
    spilling_check(open, ticket, MIB, SPILLING_NOISE, 1); /* what is open goes on */
    there_and_back(open);
    dmi_part part = {.bytes = "x", .count = 1};
    assert_refused(dmi_spill_write(late, &part, 1, NULL), DM_ERR_IO, path);
    dmi_spill_destroy(open);
    dmi_spill_destroy(late);
}

/* ---- cancelled ---- */

static atomic_bool cancelled;

static ssize_t cancelling_write(int fd, const void *bytes, size_t count, off_t at)
{
    atomic_store(&cancelled, true);
    return pwrite(fd, bytes, count, at);
}

static void a_cancelled_write_leaves_nothing(void **state)
{
    (void)state;
    static char bytes[4 * MIB];
    dmi_spill_stats stats;
    dmi_spill *spill = spilling_begin(NULL);
    spilling_fill(bytes, sizeof bytes, SPILLING_NOISE, 1);
    dmi_part part = {.bytes = bytes, .count = sizeof bytes, .id = 1};
    atomic_store(&cancelled, true);
    assert_refused(dmi_spill_write(spill, &part, 1, &cancelled), DM_ERR_CANCELLED, "cancelled");
    atomic_store(&cancelled, false);
    dmi_calls.write_at = cancelling_write;
    assert_refused(dmi_spill_write(spill, &part, 1, &cancelled), DM_ERR_CANCELLED, "cancelled");
    dmi_spill_stats_get(spill, &stats);
    assert_int_equal(stats.on_disk, 0);
    assert_int_equal(spilling_open_files().disk_bytes, 0);
    dmi_spill_destroy(spill);
}

#define CASE(name) cmocka_unit_test_teardown(name, restore)
static const struct CMUnitTest tests[] = {
    CASE(short_writes_and_reads),
    CASE(interrupted_calls),
    CASE(a_storm_of_signals),
    CASE(writes_that_fail),
    CASE(reads_that_fail),
    CASE(moves_that_fail),
    CASE(without_nameless_files),
    CASE(without_any_files),
    CASE(without_direct_io),
    CASE(direct_io_that_is_refused_late),
    CASE(a_directory_that_vanishes),
    CASE(a_cancelled_write_leaves_nothing),
};

int main(void)
{
    healthy = dmi_calls;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
