/*
 * What each policy does to the disk, by the kernel's account: auto gives back at once, session when its scope
 * ends, never when all ends; and a person can watch what the last two keep.
 */
#include <sys/stat.h>

#include "tests/support/spilling.h"

enum { N = 4, MIB = 1 << 20, SMALL = 1000 };

static uint64_t disk(void)
{
    return spilling_open_files().disk_bytes;
}

static dmi_spill *begin(dmi_spill_policy policy)
{
    dmi_spill_settings settings = spilling_settings();
    settings.policy = policy;
    return spilling_begin(&settings);
}

/* Write N parts of a MiB, free them; what is on disk then. */
static uint64_t come_and_go(dmi_spill *spill)
{
    uint32_t tickets[N];
    for (unsigned i = 0; i < N; i++)
        tickets[i] = spilling_write(spill, MIB, SPILLING_NOISE, i);
    for (unsigned i = 0; i < N; i++)
        spilling_check(spill, tickets[i], MIB, SPILLING_NOISE, i);
    for (int i = 0; i < N; i++)
        dmi_spill_free(spill, tickets[i]);
    spilling_tidy(spill);
    return disk();
}

static void automatic(void **state)
{
    (void)state;
    dmi_spill *spill = begin(DMI_SPILL_AUTO);
    for (int round = 0; round < 3; round++)
        assert_int_equal(come_and_go(spill), 0);
    dmi_spill_scope_end(spill);
    assert_int_equal(spilling_names(spilling_dir()), 0);
    dmi_spill_destroy(spill);
}

static void session(void **state)
{
    (void)state;
    dmi_spill *spill = begin(DMI_SPILL_SESSION);
    for (int scope = 0; scope < 3; scope++) {
        for (unsigned round = 1; round < 4; round++)
            assert_true(come_and_go(spill) >= round * N * MIB);
        assert_false(dmi_spill_untidy(spill));
        assert_int_equal(spilling_names(spilling_dir()), 1);
        dmi_spill_scope_end(spill);
        assert_true(dmi_spill_untidy(spill));
        spilling_tidy(spill);
        assert_int_equal(disk(), 0);
    }
    dmi_spill_destroy(spill);
    assert_int_equal(spilling_names(spilling_dir()), 0);
}

/* What lives stays when the scope ends, and what lived among the dead moves out. */
static void session_with_survivors(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static dmi_part parts[MANY];
    static char bytes[SMALL];
    spilling_fill(bytes, SMALL, SPILLING_NOISE, 1);
    dmi_spill *spill = begin(DMI_SPILL_SESSION);
    uint32_t large = spilling_write(spill, MIB, SPILLING_NOISE, 1);
    for (unsigned i = 0; i < MANY; i++)
        parts[i] = (dmi_part){.bytes = bytes, .count = SMALL, .id = i};
    assert_ok(dmi_spill_write(spill, parts, MANY, NULL));
    come_and_go(spill);
    for (unsigned i = 0; i < MANY; i++)
        if (i % 10)
            dmi_spill_free(spill, parts[i].ticket);
    spilling_tidy(spill);
    assert_true(disk() >= (N + 1) * MIB + MANY * SMALL);
    dmi_spill_scope_end(spill);
    spilling_tidy(spill);
    assert_true(disk() <= MIB + MANY * SMALL / 4 + 64 * 1024);
    spilling_check(spill, large, MIB, SPILLING_NOISE, 1);
    for (unsigned i = 0; i < MANY; i += 10) {
        char found[SMALL];
        assert_ok(dmi_spill_read(spill, parts[i].ticket, i, found, SMALL));
        assert_memory_equal(found, bytes, SMALL);
    }
    dmi_spill_destroy(spill);
}

static void never(void **state)
{
    (void)state;
    dmi_spill *spill = begin(DMI_SPILL_NEVER);
    for (unsigned round = 1; round < 4; round++) {
        assert_true(come_and_go(spill) >= round * N * MIB);
        dmi_spill_scope_end(spill);
        assert_false(dmi_spill_tidy(spill));
    }
    assert_true(disk() >= 3 * N * MIB);
    assert_int_equal(spilling_names(spilling_dir()), 1);
    dmi_spill_destroy(spill);
    assert_int_equal(spilling_names(spilling_dir()), 0);
    assert_int_equal(disk(), 0);
}

static void directories_take_turns(void **state)
{
    (void)state;
    char a[128], b[128], dirs[300];
    dmi_spill_stats stats;
    snprintf(a, sizeof a, "%s/a", spilling_dir());
    snprintf(b, sizeof b, "%s/b", spilling_dir());
    snprintf(dirs, sizeof dirs, "%s:%s", a, b);
    assert_int_equal(mkdir(a, 0700) | mkdir(b, 0700), 0);
    dmi_spill_settings settings = spilling_settings();
    settings.dirs = dirs, settings.visible = true;
    dmi_spill *spill = spilling_begin(&settings);
    come_and_go(spill);
    dmi_spill_stats_get(spill, &stats);
    assert_int_equal(stats.files, 2);
    assert_int_equal(spilling_names(a), 1);
    assert_int_equal(spilling_names(b), 1);
    dmi_spill_destroy(spill);
    assert_int_equal(spilling_names(a) + spilling_names(b), 0);
    assert_int_equal(rmdir(a) | rmdir(b), 0);
}

static void statistics_count(void **state)
{
    (void)state;
    dmi_spill_stats stats;
    dmi_spill *spill = begin(DMI_SPILL_AUTO);
    uint32_t ticket = spilling_write(spill, MIB, SPILLING_SIGNALS, 1);
    spilling_check(spill, ticket, MIB, SPILLING_SIGNALS, 1);
    spilling_check(spill, ticket, MIB, SPILLING_SIGNALS, 1);
    dmi_spill_stats_get(spill, &stats);
    assert_int_equal(stats.parts, 1);
    assert_int_equal(stats.files, 1);
    assert_int_equal(stats.live_raw, MIB);
    assert_int_equal(stats.written_raw, MIB);
    assert_int_equal(stats.read_raw, 2 * MIB);
    assert_int_equal(stats.written_stored, stats.live_stored);
    assert_int_equal(stats.read_stored, 2 * stats.live_stored);
    assert_true(stats.live_stored < MIB / 2);
    assert_true(stats.write_ns > 0 && stats.read_ns > 0);
    assert_int_equal(stats.on_disk, dmi_spill_stored(spill, ticket) / 4096 * 4096 +
                                        (dmi_spill_stored(spill, ticket) % 4096 ? 4096 : 0));
    dmi_spill_free(spill, ticket);
    spilling_tidy(spill);
    dmi_spill_stats_get(spill, &stats);
    assert_int_equal(stats.on_disk, 0);
    assert_true(stats.punched > 0);
    assert_int_equal(dmi_spill_stored(spill, 0), 0);
    dmi_spill_destroy(spill);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(automatic),
    cmocka_unit_test(session),
    cmocka_unit_test(session_with_survivors),
    cmocka_unit_test(never),
    cmocka_unit_test(directories_take_turns),
    cmocka_unit_test(statistics_count),
};

TEST_MAIN(tests, NULL)
