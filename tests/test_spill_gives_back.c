/*
 * Disk use follows what lives, by the kernel's account of our files: nothing lives, nothing is taken, within
 * 10 ms; every second part freed, half the bytes; a part that is being read waits for its reader.
 */
#include <errno.h>
#include <pthread.h>

#include "objectstore/file_calls.h"
#include "tests/support/spilling.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    METADATA = 64 * KIB /* of the file system, counted with the file */
};

static uint64_t on_disk(dmi_spill *spill)
{
    dmi_spill_stats stats;
    dmi_spill_stats_get(spill, &stats);
    uint64_t disk = spilling_open_files().disk_bytes;
    assert_true(disk >= stats.on_disk && disk <= stats.on_disk + METADATA);
    return disk;
}

static void nothing_is_left(dmi_spill *spill)
{
    dmi_spill_stats stats;
    dmi_spill_stats_get(spill, &stats);
    assert_int_equal(stats.parts, 0);
    assert_int_equal(stats.live_raw, 0);
    assert_int_equal(stats.live_stored, 0);
    assert_int_equal(stats.on_disk, 0);
    assert_int_equal(spilling_open_files().disk_bytes, 0);
}

static void zero_soon_after_the_last(void **state)
{
    (void)state;
    enum { N = 16 };
    uint32_t tickets[N];
    int64_t best = INT64_MAX; /* of some: other programs run, too */
    dmi_spill *spill = spilling_begin(NULL);
    for (int round = 0; round < 8; round++) {
        for (unsigned i = 0; i < N; i++)
            tickets[i] = spilling_write(spill, MIB, SPILLING_NOISE, i);
        assert_true(on_disk(spill) >= N * MIB);
        int64_t start = watch_now_us();
        for (int i = 0; i < N; i++)
            dmi_spill_free(spill, tickets[i]);
        assert_true(dmi_spill_untidy(spill));
        spilling_tidy(spill);
        int64_t took = watch_now_us() - start;
        best = took < best ? took : best;
        nothing_is_left(spill);
        assert_false(dmi_spill_untidy(spill));
    }
    if (!watch_sanitized())
        assert_true(best < 10000);
    else
        assert_true(best < 100000);
    dmi_spill_destroy(spill);
}

static void every_second_of(size_t bytes, spilling_kind kind, unsigned n, uint64_t most_for_100)
{
    uint32_t *tickets = malloc(n * sizeof *tickets);
    dmi_spill *spill = spilling_begin(NULL);
    for (unsigned i = 0; i < n; i++)
        tickets[i] = spilling_write(spill, bytes, kind, i);
    uint64_t all = on_disk(spill);
    for (unsigned i = 0; i < n; i += 2)
        dmi_spill_free(spill, tickets[i]);
    spilling_tidy(spill);
    uint64_t half = on_disk(spill);
    if (half * 100 > all * most_for_100 + 100 * METADATA)
        fail_msg("%llu bytes on disk before, %llu after every second part of %zu was freed",
                 (unsigned long long)all, (unsigned long long)half, bytes);
    for (unsigned i = 1; i < n; i += 2)
        spilling_check(spill, tickets[i], bytes, kind, i);
    for (unsigned i = 1; i < n; i += 2)
        dmi_spill_free(spill, tickets[i]);
    spilling_tidy(spill);
    nothing_is_left(spill);
    dmi_spill_destroy(spill);
    free(tickets);
}

static void every_second_part_is_half_the_bytes(void **state)
{
    (void)state;
    every_second_of(64 * KIB, SPILLING_NOISE, 300, 50);
    every_second_of(64 * KIB, SPILLING_SIGNALS, 300, 50);
    every_second_of(MIB, SPILLING_NOISE, 20, 50);
}

/* Small ones, written together: at most twice what lives. */
static void small_parts_move_out(void **state)
{
    (void)state;
    enum { N = 4000, SIZE = 1000 };
    static dmi_part parts[N];
    static char bytes[N][SIZE];
    unsigned seed = 9, alive = N;
    dmi_spill *spill = spilling_begin(NULL);
    for (unsigned i = 0; i < N; i++) {
        spilling_fill(bytes[i], SIZE, SPILLING_NOISE, i);
        parts[i] = (dmi_part){.bytes = bytes[i], .count = SIZE, .id = i};
    }
    assert_ok(dmi_spill_write(spill, parts, N, NULL));
    while (alive > 0) {
        unsigned i = (unsigned)rand_r(&seed) % N;
        while (parts[i].ticket == 0)
            i = (i + 1) % N;
        dmi_spill_free(spill, parts[i].ticket);
        parts[i].ticket = 0;
        if (--alive % 500 != 0)
            continue;
        spilling_tidy(spill);
        dmi_spill_stats stats;
        dmi_spill_stats_get(spill, &stats);
        assert_true(stats.on_disk <= 2 * stats.live_stored + stats.live_stored / 8 + 4096);
        assert_true(alive == 0 || stats.moved > 0 || alive > N / 2);
        on_disk(spill);
        for (unsigned j = 0; j < N; j += 7)
            if (parts[j].ticket) {
                char found[SIZE];
                assert_ok(dmi_spill_read(spill, parts[j].ticket, j, found, SIZE));
                assert_memory_equal(found, bytes[j], SIZE);
            }
    }
    nothing_is_left(spill);
    dmi_spill_destroy(spill);
}

/* One at a time, each in a block of its own: they come together. */
/* So small that more live in what is moved at once than one write takes. */
static void tiny_parts_move_out(void **state)
{
    (void)state;
    enum { N = 12000 };
    static dmi_part parts[N];
    static uint64_t words[N];
    dmi_spill *spill = spilling_begin(NULL);
    for (unsigned i = 0; i < N; i++) {
        words[i] = i * UINT64_C(0x9e3779b97f4a7c15);
        parts[i] = (dmi_part){.bytes = &words[i], .count = sizeof words[i], .id = i};
    }
    assert_ok(dmi_spill_write(spill, parts, N, NULL));
    for (unsigned i = 0; i < N; i++)
        if (i % 5 > 1)
            dmi_spill_free(spill, parts[i].ticket);
    spilling_tidy(spill);
    dmi_spill_stats stats;
    dmi_spill_stats_get(spill, &stats);
    assert_true(stats.moved > 0);
    assert_true(dmi_spill_is_valid(spill));
    for (unsigned i = 0; i < N; i++) {
        uint64_t found;
        if (i % 5 > 1)
            continue;
        assert_ok(dmi_spill_read(spill, parts[i].ticket, i, &found, sizeof found));
        assert_true(found == words[i]);
        dmi_spill_free(spill, parts[i].ticket);
    }
    spilling_tidy(spill);
    nothing_is_left(spill);
    dmi_spill_destroy(spill);
}

static void lone_small_parts_come_together(void **state)
{
    (void)state;
    enum { N = 200, SIZE = 100 };
    uint32_t tickets[N];
    dmi_spill *spill = spilling_begin(NULL);
    for (unsigned i = 0; i < N; i++)
        tickets[i] = spilling_write(spill, SIZE, SPILLING_NOISE, i);
    assert_true(on_disk(spill) >= N * 4 * KIB);
    spilling_tidy(spill);
    assert_true(on_disk(spill) <= 64 * KIB + METADATA);
    for (unsigned i = 0; i < N; i++)
        spilling_check(spill, tickets[i], SIZE, SPILLING_NOISE, i);
    dmi_spill_destroy(spill);
}

static void what_is_freed_is_used_again(void **state)
{
    (void)state;
    dmi_spill *spill = spilling_begin(NULL);
    uint32_t stays = spilling_write(spill, MIB, SPILLING_NOISE, 1);
    uint64_t most = 0;
    for (unsigned i = 0; i < 50; i++) { /* without a tidy */
        uint32_t ticket = spilling_write(spill, (1 + i % 7) * 100 * KIB, SPILLING_NOISE, i);
        dmi_spill_free(spill, ticket);
        uint64_t now = on_disk(spill);
        most = now > most ? now : most;
    }
    assert_true(most < 4 * MIB);
    spilling_check(spill, stays, MIB, SPILLING_NOISE, 1);
    dmi_spill_destroy(spill);
}

/* ---- freed while it is read: the reader waits in pread until we let it go on ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_int arrived;

static ssize_t slow_read(int fd, void *bytes, size_t count, off_t at)
{
    atomic_fetch_add(&arrived, 1);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return pread(fd, bytes, count, at);
}

typedef struct reading {
    dmi_spill *spill;
    uint32_t ticket;
} reading;

static void *read_one(void *of)
{
    reading *r = of;
    spilling_check(r->spill, r->ticket, MIB, SPILLING_NOISE, 1);
    return NULL;
}

static void freed_while_it_is_read(void **state)
{
    (void)state;
    pthread_t reader;
    dmi_file_calls before = dmi_calls;
    dmi_spill *spill = spilling_begin(NULL);
    reading r = {spill, spilling_write(spill, MIB, SPILLING_NOISE, 1)};
    pthread_mutex_lock(&gate);
    dmi_calls.read_at = slow_read;
    assert_int_equal(pthread_create(&reader, NULL, read_one, &r), 0);
    assert_soon(atomic_load(&arrived) == 1);
    dmi_spill_free(spill, r.ticket);
    spilling_tidy(spill);
    uint32_t other = spilling_write(spill, MIB, SPILLING_NOISE, 2); /* must not get its blocks */
    assert_true(on_disk(spill) >= 2 * MIB);
    pthread_mutex_unlock(&gate);
    pthread_join(reader, NULL);
    dmi_calls = before;
    dmi_spill_free(spill, other);
    spilling_tidy(spill);
    nothing_is_left(spill);
    dmi_spill_destroy(spill);
}

static int cannot_punch(int fd, off_t at, off_t count)
{
    (void)fd, (void)at, (void)count;
    errno = EOPNOTSUPP;
    return -1;
}

/* Then blocks are used again, statistics say so, and an empty file still becomes nothing. */
static void where_files_cannot_be_punched(void **state)
{
    (void)state;
    dmi_file_calls before = dmi_calls;
    dmi_calls.punch = cannot_punch;
    dmi_spill_stats stats;
    dmi_spill *spill = spilling_begin(NULL);
    uint32_t a = spilling_write(spill, MIB, SPILLING_NOISE, 1),
             b = spilling_write(spill, MIB, SPILLING_NOISE, 2);
    dmi_spill_free(spill, a);
    spilling_tidy(spill);
    dmi_spill_stats_get(spill, &stats);
    assert_false(stats.punches);
    assert_int_equal(stats.punched, 0);
    assert_true(on_disk(spill) >= 2 * MIB);
    a = spilling_write(spill, MIB, SPILLING_NOISE, 3);
    assert_true(on_disk(spill) < 2 * MIB + 2 * METADATA);
    spilling_check(spill, b, MIB, SPILLING_NOISE, 2);
    dmi_spill_free(spill, a);
    dmi_spill_free(spill, b);
    spilling_tidy(spill);
    nothing_is_left(spill);
    enum { MANY = 20 }; /* more than is punched at once elsewhere */
    uint32_t tickets[MANY];
    for (unsigned i = 0; i < MANY; i++)
        tickets[i] = spilling_write(spill, MIB, SPILLING_NOISE, i);
    for (unsigned i = 0; i < MANY; i++)
        dmi_spill_free(spill, tickets[i]);
    spilling_tidy(spill);
    nothing_is_left(spill);
    dmi_calls = before;
    dmi_spill_destroy(spill);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(zero_soon_after_the_last),
    cmocka_unit_test(every_second_part_is_half_the_bytes),
    cmocka_unit_test(small_parts_move_out),
    cmocka_unit_test(tiny_parts_move_out),
    cmocka_unit_test(lone_small_parts_come_together),
    cmocka_unit_test(what_is_freed_is_used_again),
    cmocka_unit_test(freed_while_it_is_read),
    cmocka_unit_test(where_files_cannot_be_punched),
};

TEST_MAIN(tests, NULL)
