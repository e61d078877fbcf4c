/*
 * What is spilled is read back as it was, whatever its size, its element and its bytes, alone or among
 * others in the same blocks.
 */
#include "tests/support/spilling.h"

enum { MIB = 1 << 20 };

static const size_t sizes[] = {0,     1,      2,      3,      7,       48,          255,
                               4095,  4096,   4097,   9999,   16335,   16384,       65535,
                               65537, 131072, 262144, 262145, 1000001, 4 * MIB - 1, 4 * MIB};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void write_and_read(dmi_spill *spill, size_t count, uint8_t element, size_t plain,
                           spilling_kind kind)
{
    char *bytes = malloc(count + 1), *found = malloc(count + 1);
    spilling_fill(bytes, count, kind, 7);
    dmi_part part = {
        .bytes = bytes, .count = count, .plain = plain, .element = element, .id = count};
    assert_ok(dmi_spill_write(spill, &part, 1, NULL));
    memset(found, 0xa5, count + 1);
    assert_ok(dmi_spill_read(spill, part.ticket, count, found, count));
    assert_memory_equal(bytes, found, count);
    assert_int_equal((unsigned char)found[count], 0xa5);
    dmi_spill_free(spill, part.ticket);
    free(bytes);
    free(found);
}

static void every_size_and_element(void **state)
{
    (void)state;
    static const uint8_t elements[] = {0, 1, 2, 4, 8};
    dmi_spill *spill = spilling_begin(NULL);
    for (int i = 0; i < SIZES; i++)
        for (int e = 0; e < 5; e++)
            for (int kind = 0; kind < (sizes[i] < MIB / 2 ? 4 : 1); kind++)
                write_and_read(spill, sizes[i], elements[e], e % 2 ? 128 : 0,
                               (spilling_kind)((kind + i + e) % 4));
    dmi_spill_destroy(spill);
}

static void every_filter(void **state)
{
    (void)state;
    for (int filter = DMI_FILTER_BEST; filter <= DMI_FILTER_BITS; filter++) {
        dmi_spill_settings settings = spilling_settings();
        settings.filter = (dmi_spill_filter)filter;
        dmi_spill *spill = spilling_begin(&settings);
        for (int kind = SPILLING_ZEROS; kind <= SPILLING_FRACTIONS; kind++)
            for (int i = 0; i < SIZES; i += 3)
                write_and_read(spill, sizes[i], 4, 0, (spilling_kind)kind);
        dmi_spill_destroy(spill);
    }
}

static void with_and_without_direct_io(void **state)
{
    (void)state;
    for (int buffered = 0; buffered < 2; buffered++) {
        dmi_spill_settings settings = spilling_settings();
        settings.buffered = buffered;
        dmi_spill *spill = spilling_begin(&settings);
        for (int i = 0; i < SIZES; i++)
            write_and_read(spill, sizes[i], 4, 128, SPILLING_NOISE);
        dmi_spill_stats stats;
        dmi_spill_stats_get(spill, &stats);
        if (buffered)
            assert_false(stats.direct);
        dmi_spill_destroy(spill);
    }
}

/* More plain bytes than there are, and elements that do not come out even. */
static void plain_bytes_in_front(void **state)
{
    (void)state;
    dmi_spill *spill = spilling_begin(NULL);
    for (size_t plain = 0; plain < 300; plain += 37)
        for (size_t count = 0; count < 300; count += 41)
            write_and_read(spill, count, 8, plain, SPILLING_SIGNALS);
    dmi_spill_destroy(spill);
}

/* Many in one call: the small ones share blocks, the large ones do not, all have their own ticket. */
static void many_at_once(void **state)
{
    (void)state;
    enum { N = 10000 };
    static dmi_part parts[N];
    static char bytes[DMI_PART_MOST];
    dmi_spill *spill = spilling_begin(NULL);
    size_t at = 0, n = 0;
    spilling_fill(bytes, sizeof bytes, SPILLING_FRACTIONS, 1);
    for (; n < N; n++) {
        size_t count = n % 1000 == 999 ? 40000 : n % 700;
        if (at + count > sizeof bytes)
            break;
        parts[n] = (dmi_part){.bytes = bytes + at, .count = count, .element = 4, .id = n};
        at += count;
    }
    assert_ok(dmi_spill_write(spill, parts, n, NULL));
    dmi_spill_stats stats;
    dmi_spill_stats_get(spill, &stats);
    assert_int_equal(stats.parts, n);
    assert_int_equal(stats.live_raw, at);
    assert_true(stats.on_disk < stats.live_stored + stats.live_stored / 4);
    for (size_t i = n; i-- > 0;) {
        char found[40000];
        assert_ok(dmi_spill_read(spill, parts[i].ticket, i, found, parts[i].count));
        assert_memory_equal(found, parts[i].bytes, parts[i].count);
    }
    dmi_spill_destroy(spill);
}

/* The largest parts that there may be, more of them in one write than a buffer holds. */
static void the_largest_at_once(void **state)
{
    (void)state;
    enum { N = 3 };
    dmi_part parts[N];
    static char bytes[N][DMI_PART_MOST], found[DMI_PART_MOST];
    dmi_spill *spill = spilling_begin(NULL);
    for (unsigned i = 0; i < N; i++) {
        spilling_fill(bytes[i], sizeof bytes[i], SPILLING_NOISE, i);
        parts[i] = (dmi_part){.bytes = bytes[i], .count = sizeof bytes[i], .element = 4, .id = i};
    }
    assert_ok(dmi_spill_write(spill, parts, N, NULL));
    for (unsigned i = 0; i < N; i++) {
        assert_ok(dmi_spill_read(spill, parts[i].ticket, i, found, sizeof found));
        assert_memory_equal(found, bytes[i], sizeof found);
    }
    dmi_spill_destroy(spill);
}

static void what_compresses_takes_less(void **state)
{
    (void)state;
    dmi_spill *spill = spilling_begin(NULL);
    uint32_t zeros = spilling_write(spill, 4 * MIB, SPILLING_ZEROS, 1);
    uint32_t signals = spilling_write(spill, 4 * MIB, SPILLING_SIGNALS, 2);
    uint32_t noise = spilling_write(spill, 4 * MIB, SPILLING_NOISE, 3);
    assert_true(dmi_spill_stored(spill, zeros) <= 4096);
    assert_true(dmi_spill_stored(spill, signals) < 2 * MIB);
    assert_true(dmi_spill_stored(spill, noise) <= 4 * MIB + 4096);
    char where[200];
    dmi_spill_describe(spill, noise, where, sizeof where);
    assert_non_null(strstr(where, "nameless file in /var/tmp"));
    dmi_spill_destroy(spill);
}

static size_t stored_at(int acceleration)
{
    dmi_spill_settings settings = spilling_settings();
    settings.acceleration = acceleration;
    dmi_spill *spill = spilling_begin(&settings);
    uint32_t ticket = spilling_write(spill, 4 * MIB, SPILLING_SIGNALS, 2);
    size_t stored = dmi_spill_stored(spill, ticket);
    spilling_check(spill, ticket, 4 * MIB, SPILLING_SIGNALS, 2);
    dmi_spill_destroy(spill);
    return stored;
}

/* LZ4 that hurries finds less. */
static void acceleration_is_heeded(void **state)
{
    (void)state;
    assert_true(stored_at(64) > stored_at(1));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(acceleration_is_heeded),
    cmocka_unit_test(every_size_and_element),
    cmocka_unit_test(every_filter),
    cmocka_unit_test(with_and_without_direct_io),
    cmocka_unit_test(plain_bytes_in_front),
    cmocka_unit_test(many_at_once),
    cmocka_unit_test(the_largest_at_once),
    cmocka_unit_test(what_compresses_takes_less),
};

TEST_MAIN(tests, NULL)
