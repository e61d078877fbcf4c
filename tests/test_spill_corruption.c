/*
 * A bit that flips on the disk is found out, or was one that nobody needs: 10,000 flips, none of them silent.
 * So is a file that was cut, emptied or overwritten with what lay elsewhere. The sentence says where.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "objectstore/part.h"
#include "tests/support/spilling.h"

enum { N = 24, FLIPS = 10000 };

static const size_t sizes[] = {1, 100, 3000, 16384, 20000, 64 << 10, 128 << 10, 300001};
static uint32_t tickets[N];

static size_t size_of(int i)
{
    return sizes[i % 8];
}

static spilling_kind kind_of(int i)
{
    return (spilling_kind)(i / 2 % 4);
}

static dmi_spill *begin(bool buffered)
{
    dmi_spill_settings settings = spilling_settings();
    settings.buffered = buffered;
    dmi_spill *spill = spilling_begin(&settings);
    dmi_part parts[N];
    char *bytes[N];
    for (int i = 0; i < N; i++) {
        bytes[i] = malloc(size_of(i));
        spilling_fill(bytes[i], size_of(i), kind_of(i), (unsigned)i);
        parts[i] =
            (dmi_part){.bytes = bytes[i], .count = size_of(i), .element = 4, .id = (uint64_t)i};
    }
    assert_ok(dmi_spill_write(spill, parts, N, NULL));
    for (int i = 0; i < N; i++) {
        tickets[i] = parts[i].ticket;
        free(bytes[i]);
    }
    return spill;
}

/* The file, for what a disk does: a descriptor without direct I/O. */
static int disk(off_t *size)
{
    spilling_files files = spilling_open_files();
    assert_int_equal(files.count, 1);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", files.fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    struct stat about;
    assert_int_equal(fstat(fd, &about), 0);
    *size = about.st_size;
    return fd;
}

/* Where on the disk part i is, by its description. */
static void where(dmi_spill *spill, int i, off_t *from, off_t *to)
{
    char words[300];
    long long a = 0, b = 0;
    dmi_spill_describe(spill, tickets[i], words, sizeof words);
    const char *bytes = strstr(words, ", bytes ");
    assert_non_null(bytes);
    assert_int_equal(sscanf(bytes, ", bytes %lld to %lld", &a, &b), 2);
    *from = (off_t)a, *to = (off_t)b;
}

static void flip(int fd, off_t at, int bit)
{
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= (uint8_t)(1 << bit);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* 1: found out, 0: the bytes are right all the same; anything else fails. */
static int found_out(dmi_spill *spill, int i, const char *expected, char *found)
{
    dm_status status = dmi_spill_read(spill, tickets[i], (uint64_t)i, found, size_of(i));
    if (status == DM_OK) {
        if (memcmp(expected, found, size_of(i)) != 0)
            fail_msg("part %d came back wrong without a word", i);
        return 0;
    }
    assert_int_equal(status, DM_ERR_CORRUPT);
    assert_non_null(strstr(dm_last_error(), "nameless file in"));
    return 1;
}

static void no_flip_is_silent(void **state)
{
    (void)state;
    unsigned seed = 46;
    int caught = 0;
    off_t size, from, to;
    dmi_spill *spill = begin(true); /* buffered: the flips go through the same cache */
    int fd = disk(&size);
    for (int i = 0; i < N; i++) {
        char *expected = malloc(size_of(i)), *found = malloc(size_of(i));
        spilling_fill(expected, size_of(i), kind_of(i), (unsigned)i);
        where(spill, i, &from, &to);
        for (int n = 0; n <= FLIPS / N; n++) {
            off_t at =
                from + rand_r(&seed) % (n % 4 ? (int)(to - from) : 48); /* often the header */
            int bit = rand_r(&seed) % 8;
            flip(fd, at, bit);
            caught += found_out(spill, i, expected, found);
            flip(fd, at, bit);
        }
        assert_int_equal(found_out(spill, i, expected, found), 0);
        free(expected);
        free(found);
    }
    assert_true(caught > FLIPS * 95 / 100); /* LZ4 has bits that change nothing */
    close(fd);
    dmi_spill_destroy(spill);
}

static void flips_under_direct_io(void **state)
{
    (void)state;
    off_t size, from, to;
    dmi_spill *spill = begin(false);
    int fd = disk(&size);
    for (int i = 0; i < N; i++) {
        char *found = malloc(size_of(i));
        where(spill, i, &from, &to);
        flip(fd, from + 24, 3); /* the size of what is stored */
        assert_int_equal(fsync(fd), 0);
        assert_refused(dmi_spill_read(spill, tickets[i], (uint64_t)i, found, size_of(i)),
                       DM_ERR_CORRUPT, "checksum");
        free(found);
    }
    close(fd);
    dmi_spill_destroy(spill);
}

static void a_file_that_was_cut(void **state)
{
    (void)state;
    for (int buffered = 0; buffered < 2; buffered++) {
        off_t size, from, to;
        dmi_spill *spill = begin(buffered);
        int fd = disk(&size);
        where(spill, N - 1, &from, &to);
        assert_int_equal(ftruncate(fd, from + (to - from) / 2), 0);
        char *found = malloc(size_of(N - 1));
        assert_refused(dmi_spill_read(spill, tickets[N - 1], N - 1, found, size_of(N - 1)),
                       DM_ERR_CORRUPT, "ends");
        spilling_check(spill, tickets[0], size_of(0), kind_of(0), 0); /* what is there is there */
        assert_int_equal(ftruncate(fd, 0), 0);
        free(found);
        found = malloc(sizes[7]);
        for (int i = 0; i < N; i++)
            assert_refused(dmi_spill_read(spill, tickets[i], (uint64_t)i, found, size_of(i)),
                           DM_ERR_CORRUPT, "ends");
        free(found);
        close(fd);
        dmi_spill_destroy(spill);
    }
}

static void a_part_that_lies_where_another_was(void **state)
{
    (void)state;
    off_t size, from, to, other, end;
    dmi_spill *spill = begin(true);
    int fd = disk(&size);
    where(spill, 3, &from, &to); /* noise of 16 KiB, and another such */
    where(spill, 11, &other, &end);
    assert_int_equal(to - from, end - other);
    char *bytes = malloc((size_t)(to - from));
    assert_int_equal(pread(fd, bytes, (size_t)(to - from), other), to - from);
    assert_int_equal(pwrite(fd, bytes, (size_t)(to - from), from), to - from);
    free(bytes);
    bytes = malloc(size_of(3));
    assert_refused(dmi_spill_read(spill, tickets[3], 3, bytes, size_of(3)), DM_ERR_CORRUPT,
                   "another part");
    free(bytes);
    close(fd);
    dmi_spill_destroy(spill);
}

/* What was damaged is moved as it is, and found out then, not before. */
static void damage_survives_moving(void **state)
{
    (void)state;
    enum { SMALL = 200 };
    static dmi_part parts[SMALL];
    static char bytes[1000];
    off_t size, from, to;
    dmi_spill_settings settings = spilling_settings();
    settings.buffered = true;
    dmi_spill *spill = spilling_begin(&settings);
    spilling_fill(bytes, sizeof bytes, SPILLING_NOISE, 1);
    for (int i = 0; i < SMALL; i++)
        parts[i] = (dmi_part){.bytes = bytes, .count = sizeof bytes, .id = (uint64_t)i};
    assert_ok(dmi_spill_write(spill, parts, SMALL, NULL));
    tickets[0] = parts[4].ticket;
    where(spill, 0, &from, &to);
    int fd = disk(&size);
    flip(fd, from + 500, 1);
    close(fd);
    for (int i = 0; i < SMALL; i++)
        if (i % 4)
            dmi_spill_free(spill, parts[i].ticket);
    spilling_tidy(spill);
    dmi_spill_stats stats;
    dmi_spill_stats_get(spill, &stats);
    assert_true(stats.moved > 0);
    char found[sizeof bytes];
    for (int i = 0; i < SMALL; i += 4) {
        dm_status status = dmi_spill_read(spill, parts[i].ticket, (uint64_t)i, found, sizeof found);
        assert_int_equal(status, i == 4 ? DM_ERR_CORRUPT : DM_OK);
        if (status == DM_OK)
            assert_memory_equal(bytes, found, sizeof found);
    }
    dmi_spill_destroy(spill);
}

/* A file that ends too early is not moved: what it has lost is found out by who reads it. */
static void what_is_cut_off_is_not_moved(void **state)
{
    (void)state;
    enum { SMALL = 200 };
    static dmi_part parts[SMALL];
    static char bytes[1000], found[1000];
    off_t size;
    dmi_spill *spill = spilling_begin(NULL);
    spilling_fill(bytes, sizeof bytes, SPILLING_NOISE, 1);
    for (int i = 0; i < SMALL; i++)
        parts[i] = (dmi_part){.bytes = bytes, .count = sizeof bytes, .id = (uint64_t)i};
    assert_ok(dmi_spill_write(spill, parts, SMALL, NULL));
    int fd = disk(&size);
    assert_int_equal(ftruncate(fd, 4096), 0);
    close(fd);
    for (int i = 0; i < SMALL; i++)
        if (i % 4)
            dmi_spill_free(spill, parts[i].ticket);
    spilling_tidy(spill);
    dmi_spill_stats stats;
    dmi_spill_stats_get(spill, &stats);
    assert_int_equal(stats.moved, 0);
    for (int i = 8; i < SMALL; i += 4)
        assert_refused(dmi_spill_read(spill, parts[i].ticket, (uint64_t)i, found, sizeof found), DM_ERR_CORRUPT, "ends");
    dmi_spill_destroy(spill);
}

/* Headers whose own checksum fits, and that are those of something else. */
static void headers_of_something_else(void **state)
{
    (void)state;
    const dmi_part_header good = {.id = 7, .count = 100, .stored = 60, .plain = 8, .element = 4};
    dmi_part_header header = good;
    dmi_part_seal(&header);
    assert_null(dmi_part_check(&header, 7, 100, 60));
    assert_non_null(strstr(dmi_part_check(&header, 8, 100, 60), "another part"));
    assert_non_null(strstr(dmi_part_check(&header, 7, 101, 60), "other sizes"));
    assert_non_null(strstr(dmi_part_check(&header, 7, 100, 61), "other sizes"));
    for (int element = 0; element < 256; element++) {
        header = good;
        header.element = (uint8_t)element;
        dmi_part_seal(&header);
        bool is_one = element == 1 || element == 2 || element == 4 || element == 8;
        const char *wrong = dmi_part_check(&header, 7, 100, 60);
        assert_true(is_one ? wrong == NULL : wrong && strstr(wrong, "element"));
    }
    header = good;
    dmi_part_seal(&header);
    header.plain++;
    assert_non_null(strstr(dmi_part_check(&header, 7, 100, 60), "checksum"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_cut_off_is_not_moved),
    cmocka_unit_test(headers_of_something_else),
    cmocka_unit_test(no_flip_is_silent),      cmocka_unit_test(flips_under_direct_io),
    cmocka_unit_test(a_file_that_was_cut),    cmocka_unit_test(a_part_that_lies_where_another_was),
    cmocka_unit_test(damage_survives_moving),
};

TEST_MAIN(tests, NULL)
