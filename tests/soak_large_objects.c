/*
 * Objects of 0 bytes, 2 GiB - 1, 2 GiB + 1 and 5 GiB come back as they were: put and made in place, from memory and from
 * the disk, through a task, half of their bytes compressible. A size that somewhere passes through 31 or 32 bits is seen.
 * `--short` for every run of the suite: a thousandth of each.
 */
#include <sys/mman.h>
#include <sys/statvfs.h>

#include "tests/support/test.h"

/* What lies in the objects repeats after so many pages, a prime number: so no two places whose distance is a power of
 * two, or a few of them, look alike. The same pages are mapped over and over: they are a few MiB of memory. */
enum { PAGE = 4096, PERIOD = 15013 * PAGE };

static size_t unit = (size_t)1 << 30; /* GiB; in short, MiB */
static char *source;
static size_t source_bytes;

/* ---- bytes ---- */

/* Of two neighbouring pages one is noise, and one hardly anything. */
static uint64_t word(uint64_t i)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
    return i / (PAGE / 8) % 2 ? x ^ x >> 29 : i;
}

static void map_source(size_t bytes)
{
    int fd = memfd_create("pattern", MFD_CLOEXEC);
    assert_true(fd >= 0 && ftruncate(fd, PERIOD) == 0);
    uint64_t *period = mmap(NULL, PERIOD, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(period != MAP_FAILED);
    for (uint64_t i = 0; i < PERIOD / 8; i++)
        period[i] = word(i);
    munmap(period, PERIOD);
    source_bytes = (bytes / PERIOD + 1) * PERIOD;
    source = mmap(NULL, source_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(source != MAP_FAILED);
    for (size_t done = 0; done < source_bytes; done += PERIOD)
        assert_true(mmap(source + done, PERIOD, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == source + done);
    close(fd);
}

/* Each object begins at another page of it. */
static const char *bytes_of(int whose)
{
    return source + (size_t)whose * PAGE;
}

/* ---- objects ---- */

static void assert_there(dm_ref ref, int whose, size_t bytes)
{
    dm_view view;
    assert_ok(dm_get(ref, &view));
    assert_int_equal(view.bytes, bytes);
    assert_true(bytes == 0 || memcmp(view.data, bytes_of(whose), bytes) == 0);
    dm_view_release(&view);
}

static dm_ref put(int whose, size_t bytes)
{
    dm_ref ref = dm_put(&DM_BYTES(bytes_of(whose), bytes));
    if (ref.id == 0)
        fail_msg("%zu bytes: %s", bytes, dm_last_error());
    return ref;
}

/* Made where it will lie. Doubles in four dimensions, if it is a whole number of GiB. */
static dm_ref make(int whose, size_t bytes)
{
    size_t of_bytes[] = {bytes}, of_doubles[] = {bytes / unit, 8, unit / 256, 4};
    bool whole = bytes != 0 && bytes % unit == 0;
    dm_buffer buffer;
    assert_ok(dm_create(whole ? DM_F64 : DM_U8, whole ? 4 : 1, whole ? of_doubles : of_bytes, &buffer));
    assert_int_equal(buffer.bytes, bytes);
    if (bytes)
        memcpy(buffer.data, bytes_of(whose), bytes);
    return dm_seal(&buffer);
}

static dm_stats stats_now(void)
{
    dm_stats stats;
    assert_ok(dm_stats_get(&stats));
    return stats;
}

/* ---- is there a machine for it? ---- */

static uint64_t memory_at_hand(void)
{
    unsigned long long kib = 0;
    char line[200];
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %llu", &kib) != 1)
        continue;
    if (file)
        fclose(file);
    return (uint64_t)kib << 10;
}

static bool has_room(uint64_t memory, uint64_t disk)
{
    struct statvfs about = {0};
    uint64_t there = memory_at_hand();
    statvfs(test_directory(), &about);
    uint64_t free_bytes = (uint64_t)about.f_bavail * about.f_frsize;
    if (there >= memory && free_bytes >= disk)
        return true;
    print_message("skipped: wants %llu MiB of memory, and %llu of disk; there are %llu and %llu\n",
                  (unsigned long long)memory >> 20, (unsigned long long)disk >> 20, (unsigned long long)there >> 20,
                  (unsigned long long)free_bytes >> 20);
    return false;
}

/* ---- cases ---- */

static void end(const residue *before)
{
    assert_soon(stats_now().refs == 0);
    assert_int_equal(stats_now().store_used, 0);
    assert_soon(stats_now().disk_bytes == 0);
    dm_shutdown();
    assert_no_residue(before);
}

/* Two of them do not fit: whichever is read has the other leave. */
static void from_memory_and_disk(size_t bytes)
{
    if (!has_room(2 * bytes, 3 * bytes))
        skip();
    residue before;
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = 1, .store_bytes = bytes + bytes / 2});
    dm_ref none = put(0, 0), also_none = make(0, 0), one = put(1, bytes);
    assert_there(one, 1, bytes);
    dm_ref two = make(2, bytes);
    assert_true(stats_now().spilled_total >= bytes);
    assert_there(two, 2, bytes);
    uint64_t read = stats_now().restored_total;
    assert_there(one, 1, bytes);
    assert_there(two, 2, bytes);
    assert_true(stats_now().restored_total - read >= 2 * bytes);
    assert_there(none, 0, 0);
    assert_there(also_none, 0, 0);
    dm_release(none), dm_release(also_none), dm_release(one), dm_release(two);
    end(&before);
}

/* What it was given, copied into its own memory. */
DM_REMOTE(gives_back)
{
    dm_view view;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &view));
    DM_TRY(dm_create(view.dtype, view.ndim, view.shape, &buffer));
    memcpy(buffer.data, view.data, view.bytes);
    return dm_return(call, &buffer);
}

static void through_a_task(size_t bytes)
{
    if (!has_room(3 * bytes, 0))
        skip();
    residue before;
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = 1, .store_bytes = 3 * bytes});
    dm_ref given = put(3, bytes), got = dm_remote(gives_back, given);
    assert_there(got, 3, bytes);
    dm_release(given);
    assert_there(got, 3, bytes);
    dm_release(got);
    end(&before);
}

static void gib_2_less_a_byte(void **state)
{
    (void)state;
    from_memory_and_disk(2 * unit - 1);
}

static void gib_2_and_a_byte(void **state)
{
    (void)state;
    from_memory_and_disk(2 * unit + 1);
}

static void gib_5(void **state)
{
    (void)state;
    from_memory_and_disk(5 * unit);
}

static void gib_2_and_a_byte_through_a_task(void **state)
{
    (void)state;
    through_a_task(2 * unit + 1);
}

static void gib_5_through_a_task(void **state)
{
    (void)state;
    through_a_task(5 * unit);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(gib_2_less_a_byte), cmocka_unit_test(gib_2_and_a_byte), cmocka_unit_test(gib_5),
        cmocka_unit_test(gib_2_and_a_byte_through_a_task), cmocka_unit_test(gib_5_through_a_task)};
    int status;
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    if (argc > 1 && strcmp(argv[1], "--short") == 0)
        unit = (size_t)1 << 20;
    else
        watch_dog(7000);
    map_source(5 * unit + 4 * PAGE);
    status = cmocka_run_group_tests(tests, NULL, NULL);
    munmap(source, source_bytes);
    dm_shutdown();
    test_end();
    return status;
}
