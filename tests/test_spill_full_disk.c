/*
 * No room, wherever it shows: at the first, a middle or the last byte, in inodes, in the size of a file, by the
 * limits that were set. The status says so, nothing of the write stays, what was written is there, and
 * once there is room it goes on.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "objectstore/file_calls.h"
#include "tests/support/apart.h"
#include "tests/support/spilling.h"

enum { KIB = 1 << 10, MIB = 1 << 20, PART = 256 * KIB, MOST = 300 };

static char noise[PART], found[PART];
static char place[128];

static void before_all(void)
{
    spilling_fill(noise, sizeof noise, SPILLING_NOISE, 1);
    snprintf(place, sizeof place, "%s/place", spilling_dir());
    mkdir(place, 0700);
}

static bool small_file_system(const char *options)
{
    return mount("tmpfs", place, "tmpfs", 0, options) == 0;
}

static dmi_spill *begin(const char *dirs)
{
    dmi_spill *spill = NULL;
    dmi_spill_settings settings = {.dirs = dirs, .acceleration = 1, .allow_memory = true};
    return dmi_spill_create(&spill, &settings) == DM_OK ? spill : NULL;
}

static dm_status write_one(dmi_spill *spill, size_t bytes, uint32_t *ticket)
{
    dmi_part part = {.bytes = noise, .count = bytes, .id = 5};
    dm_status status = dmi_spill_write(spill, &part, 1, NULL);
    *ticket = part.ticket;
    return status;
}

static bool is_there(dmi_spill *spill, uint32_t ticket, size_t bytes)
{
    memset(found, 0, sizeof found);
    return dmi_spill_read(spill, ticket, 5, found, bytes) == DM_OK &&
           memcmp(found, noise, bytes) == 0;
}

static uint64_t on_disk(dmi_spill *spill)
{
    dmi_spill_stats stats;
    dmi_spill_stats_get(spill, &stats);
    return stats.on_disk;
}

/* Write until there is no room, look, make room, go on. */
static const char *fill_up(dmi_spill *spill, size_t part, const char *words)
{
    uint32_t tickets[MOST], refused;
    int n = 0;
    dm_status status = DM_OK;
    while (n < MOST && (status = write_one(spill, part, &tickets[n])) == DM_OK)
        n++;
    apart_must(status == DM_ERR_DISK_FULL && strstr(dm_last_error(), words));
    apart_must(tickets[n] == 0);
    apart_must(spilling_open_files().disk_bytes == on_disk(spill));
    apart_must(write_one(spill, part, &refused) == DM_ERR_DISK_FULL);
    for (int i = 0; i < n; i++)
        apart_must(is_there(spill, tickets[i], part));
    if (n > 0) {
        dmi_spill_free(spill, tickets[--n]);
        apart_ok(write_one(spill, part, &tickets[n]));
        apart_must(is_there(spill, tickets[n++], part));
    }
    while (n > 0)
        dmi_spill_free(spill, tickets[--n]);
    spilling_tidy(spill);
    apart_must(on_disk(spill) == 0 && spilling_open_files().disk_bytes == 0);
    return NULL;
}

static const char *at_any_byte(void)
{
    for (int kib = 4; kib < 1100; kib += kib < 300 ? 12 : 100) {
        char options[64];
        snprintf(options, sizeof options, "size=%dk", kib);
        apart_must(small_file_system(options));
        dmi_spill *spill = begin(place);
        apart_must(spill);
        const char *wrong = fill_up(spill, kib % 8 ? PART : 3000, "No space left");
        dmi_spill_destroy(spill);
        umount(place);
        if (wrong)
            return wrong;
    }
    return NULL;
}

static void no_space_at_any_byte(void **state)
{
    (void)state;
    apart_with_mounts(at_any_byte);
}

/* A write of several batches, the last of which has no room: the first ones go, too. */
static const char *all_of_it(void)
{
    enum { N = 3000 };
    static dmi_part parts[N];
    apart_must(small_file_system("size=2m"));
    dmi_spill *spill = begin(place);
    for (int i = 0; i < N; i++)
        parts[i] = (dmi_part){.bytes = noise, .count = 1000, .id = (uint64_t)i};
    apart_must(dmi_spill_write(spill, parts, N, NULL) == DM_ERR_DISK_FULL);
    for (int i = 0; i < N; i++)
        apart_must(parts[i].ticket == 0);
    spilling_tidy(spill);
    apart_must(on_disk(spill) == 0 && spilling_open_files().disk_bytes == 0);
    apart_ok(dmi_spill_write(spill, parts, N / 2, NULL));
    dmi_spill_destroy(spill);
    return NULL;
}

static void all_or_nothing(void **state)
{
    (void)state;
    apart_with_mounts(all_of_it);
}

static const char *inodes(void)
{
    uint32_t ticket;
    apart_must(small_file_system("size=8m,nr_inodes=1"));
    dmi_spill *spill = begin(place);
    apart_must(spill);
    apart_must(write_one(spill, PART, &ticket) == DM_ERR_DISK_FULL);
    apart_must(strstr(dm_last_error(), place));
    apart_must(mount("tmpfs", place, "tmpfs", MS_REMOUNT, "size=8m,nr_inodes=8") == 0);
    apart_ok(write_one(spill, PART, &ticket));
    apart_must(is_there(spill, ticket, PART));
    dmi_spill_destroy(spill);
    return NULL;
}

static void no_inodes(void **state)
{
    (void)state;
    apart_with_mounts(inodes);
}

static const char *the_next(void)
{
    char dirs[300];
    uint32_t tickets[20];
    apart_must(small_file_system("size=512k"));
    snprintf(dirs, sizeof dirs, "%s:%s", place, spilling_dir());
    dmi_spill *spill = begin(dirs);
    apart_must(spill);
    for (int i = 0; i < 20; i++)
        apart_ok(write_one(spill, PART, &tickets[i]));
    for (int i = 0; i < 20; i++)
        apart_must(is_there(spill, tickets[i], PART));
    dmi_spill_destroy(spill);
    return NULL;
}

static void the_next_directory_takes_it(void **state)
{
    (void)state;
    apart_with_mounts(the_next);
}

static const char *fill_limit(void)
{
    apart_must(small_file_system("size=4m"));
    dmi_spill *spill;
    dmi_spill_settings settings = {.dirs = place, .fill_limit = 0.5, .allow_memory = true};
    apart_ok(dmi_spill_create(&spill, &settings));
    const char *wrong = fill_up(spill, PART, "may fill it to 50 %");
    if (wrong)
        return wrong;
    dmi_spill_destroy(spill);
    return NULL;
}

static void not_beyond_the_fill_limit(void **state)
{
    (void)state;
    apart_with_mounts(fill_limit);
}

static const char *file_size(void)
{
    struct rlimit limit = {2 * MIB, 2 * MIB};
    dmi_spill *spill = begin(spilling_dir());
    apart_must(spill && setrlimit(RLIMIT_FSIZE, &limit) == 0);
    const char *wrong = fill_up(spill, PART, "ulimit -f");
    if (wrong)
        return wrong;
    sigset_t pending;
    sigpending(&pending);
    apart_must(!sigismember(&pending, SIGXFSZ));
    dmi_spill_destroy(spill);
    return NULL;
}

static void a_limit_of_file_sizes_is_no_death(void **state)
{
    (void)state;
    apart(file_size);
}

static void not_beyond_limit_bytes(void **state)
{
    (void)state;
    enum { LIMIT = MIB };
    dmi_spill_settings settings = spilling_settings();
    settings.limit_bytes = LIMIT;
    dmi_spill *spill = spilling_begin(&settings);
    const char *wrong = fill_up(spill, 100 * KIB, "spill_limit_bytes");
    if (wrong)
        fail_msg("%s", wrong);
    /* Idle blocks in pieces too small do not stand in the way. */
    uint32_t tickets[MOST], large;
    int n = 0;
    while (write_one(spill, 20 * KIB, &tickets[n]) == DM_OK)
        n++;
    assert_true(on_disk(spill) <= LIMIT);
    for (int i = 0; i < n; i += 2)
        dmi_spill_free(spill, tickets[i]);
    assert_ok(write_one(spill, 200 * KIB, &large));
    assert_true(on_disk(spill) <= LIMIT);
    dmi_spill_destroy(spill);
}

static int cannot_punch(int fd, off_t at, off_t count)
{
    (void)fd, (void)at, (void)count;
    errno = EOPNOTSUPP;
    return -1;
}

/* What a failed write leaves cannot be punched there, but the file emptied: no reason to try for ever. */
static const char *no_holes(void)
{
    uint32_t ticket;
    dmi_calls.punch = cannot_punch;
    apart_must(small_file_system("size=128k"));
    dmi_spill *spill = begin(place);
    apart_must(write_one(spill, PART, &ticket) == DM_ERR_DISK_FULL);
    spilling_tidy(spill);
    apart_must(on_disk(spill) == 0 && spilling_open_files().disk_bytes == 0);
    apart_ok(write_one(spill, PART / 4, &ticket));
    apart_must(write_one(spill, PART, &ticket) == DM_ERR_DISK_FULL);
    dmi_spill_destroy(spill);
    return NULL;
}

static void no_space_and_no_holes(void **state)
{
    (void)state;
    apart_with_mounts(no_holes);
}

static const char *read_only(void)
{
    uint32_t ticket;
    dmi_spill_settings settings = {.dirs = place};
    dmi_spill *spill = begin(place);
    apart_must(spill);
    apart_must(mount(place, place, NULL, MS_BIND, NULL) == 0);
    apart_must(mount(NULL, place, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
    dmi_spill *other;
    apart_must(dmi_spill_create(&other, &settings) == DM_ERR_OPTION);
    apart_must(strstr(dm_last_error(), "Read-only") && other == NULL);
    umount(place);
    apart_ok(write_one(spill, PART, &ticket));
    dmi_spill_destroy(spill);
    return NULL;
}

static void a_read_only_directory(void **state)
{
    (void)state;
    apart_with_mounts(read_only);
}

static void no_descriptor_left(void **state)
{
    (void)state;
    struct rlimit before, none;
    uint32_t ticket;
    dmi_spill *spill = begin(spilling_dir()), *other;
    dmi_spill_settings settings = spilling_settings();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    dm_status status = write_one(spill, PART, &ticket),
              created = dmi_spill_create(&other, &settings);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, DM_ERR_FDS);
    assert_int_equal(created, DM_ERR_FDS);
    assert_ok(write_one(spill, PART, &ticket));
    assert_true(is_there(spill, ticket, PART));
    dmi_spill_destroy(spill);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_space_at_any_byte),
    cmocka_unit_test(all_or_nothing),
    cmocka_unit_test(no_inodes),
    cmocka_unit_test(the_next_directory_takes_it),
    cmocka_unit_test(not_beyond_the_fill_limit),
    cmocka_unit_test(a_limit_of_file_sizes_is_no_death),
    cmocka_unit_test(not_beyond_limit_bytes),
    cmocka_unit_test(a_read_only_directory),
    cmocka_unit_test(no_space_and_no_holes),
    cmocka_unit_test(no_descriptor_left),
};

int main(void)
{
    before_all();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
