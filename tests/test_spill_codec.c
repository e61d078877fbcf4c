/*
 * Every path of the filters and of the checksum gives the same bytes as the plain one; what is coded is decoded;
 * what is damaged, cut short or invented never leads out of bounds (the sanitizers look) and never is taken
 * for what it is not, once the checksum has spoken.
 */
#include "objectstore/codec.h"
#include "objectstore/filter.h"
#include "objectstore/sum.h"
#include "tests/support/spilling.h"

enum { MOST = 700001 };

static uint8_t raw[MOST], one[MOST], other[MOST];
static const size_t counts[] = {0,  1,   7,   8,   31,  32,   33,   63,
                                64, 100, 255, 256, 257, 1000, 4096, 65536};

/* ---- filters ---- */

static void planes_agree(const dmi_filter *path, size_t n, unsigned element)
{
    const dmi_filter *plain = dmi_filters[0];
    memset(one, 1, sizeof one);
    memset(other, 2, sizeof other);
    plain->split(raw, n, element, one);
    path->split(raw, n, element, other);
    assert_memory_equal(one, other, n * element);
    assert_int_equal(other[n * element], 2);
    memset(other, 2, sizeof other);
    path->join(one, n, element, other);
    assert_memory_equal(raw, other, n * element);
    assert_int_equal(other[n * element], 2);
}

static void bits_agree(const dmi_filter *path, size_t n)
{
    const dmi_filter *plain = dmi_filters[0];
    memset(other, 2, sizeof other);
    plain->bits(raw, n, one);
    path->bits(raw, n, other);
    assert_memory_equal(one, other, n);
    assert_int_equal(other[n], 2);
    memset(other, 2, sizeof other);
    path->unbits(one, n, other);
    assert_memory_equal(raw, other, n);
    assert_int_equal(other[n], 2);
}

static void every_path_is_the_plain_one(void **state)
{
    (void)state;
    spilling_fill(raw, sizeof raw, SPILLING_NOISE, 3);
    for (int f = 0; dmi_filters[f]; f++) {
        if (!dmi_filters[f]->runs_here())
            continue;
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            bits_agree(dmi_filters[f], counts[c]);
            for (unsigned element = 2; element <= 8; element *= 2)
                planes_agree(dmi_filters[f], counts[c], element);
        }
    }
}

static void planes_are_what_they_should_be(void **state)
{
    (void)state;
    static const uint8_t numbers[] = {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88};
    dmi_filters[0]->split(numbers, 2, 4, one);
    static const uint8_t planes[] = {0x11, 0x55, 0x22, 0x66, 0x33, 0x77, 0x44, 0x88};
    assert_memory_equal(one, planes, 8);
    static const uint8_t bytes[] = {1, 0, 1, 0, 0, 0, 0, 0x80};
    dmi_filters[0]->bits(bytes, 8, one);
    static const uint8_t bits[] = {5, 0, 0, 0, 0, 0, 0, 0x80};
    assert_memory_equal(one, bits, 8);
}

static void the_sum_is_the_plain_one(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (uint64_t seed = 0; seed < 3; seed++)
            assert_int_equal(dmi_sum(raw, counts[c], seed), dmi_sum_plain(raw, counts[c], seed));
}

/* ---- coding ---- */

static uint8_t *coded;
static size_t stored;
static uint64_t sum;

static void encode(dmi_codec *codec, const dmi_coding *coding, size_t count)
{
    free(coded);
    coded = malloc(dmi_codec_bound(count)); /* so that the sanitizer sees its end */
    stored = dmi_codec_encode(codec, coding, raw, count, coded, &sum, NULL);
    assert_true(stored <= dmi_codec_bound(count));
}

static void back_it_comes(dmi_codec *codec, const dmi_coding *coding, size_t count)
{
    encode(codec, coding, count);
    uint8_t *from = malloc(stored + 1), *to = malloc(count + 1);
    memcpy(from, coded, stored);
    uint64_t found;
    assert_true(dmi_codec_decode(codec, coding, from, stored, to, count, &found));
    assert_memory_equal(raw, to, count);
    assert_int_equal(sum, found);
    free(from);
    free(to);
}

static void what_is_coded_is_decoded(void **state)
{
    (void)state;
    dmi_codec *codec = dmi_codec_create();
    for (int kind = SPILLING_ZEROS; kind <= SPILLING_FRACTIONS; kind++) {
        spilling_fill(raw, sizeof raw, (spilling_kind)kind, 5);
        for (unsigned element = 1; element <= 8; element *= 2)
            for (int filter = DMI_CODING_BEST; filter <= DMI_CODING_BITS; filter++) {
                dmi_coding coding = {13, (uint8_t)element, (uint8_t)filter, 1};
                back_it_comes(codec, &coding, MOST);
                for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
                    back_it_comes(codec, &coding, counts[c]);
            }
    }
    dmi_codec_destroy(codec);
}

/* As of before or not at all: nothing else may come with the right sum. */
static void decode_damaged(dmi_codec *codec, const dmi_coding *coding, const uint8_t *from,
                           size_t bytes, size_t count)
{
    uint64_t found;
    uint8_t *exact = malloc(bytes + !bytes), *to = malloc(count + !count);
    memcpy(exact, from, bytes);
    if (dmi_codec_decode(codec, coding, exact, bytes, to, count, &found) && found == sum)
        assert_memory_equal(raw, to, count);
    free(exact);
    free(to);
}

static void damage_leads_nowhere(void **state)
{
    (void)state;
    enum { COUNT = 30000, TRIALS = 3000 };
    static uint8_t bad[COUNT + 1000];
    unsigned seed = 17;
    dmi_codec *codec = dmi_codec_create();
    for (int kind = SPILLING_NOISE; kind <= SPILLING_FRACTIONS; kind++) {
        dmi_coding coding = {64, 4, DMI_CODING_BEST, 1};
        spilling_fill(raw, sizeof raw, (spilling_kind)kind, 5);
        encode(codec, &coding, COUNT);
        for (int i = 0; i < TRIALS; i++) {
            memcpy(bad, coded, stored);
            for (int flips = 1 + rand_r(&seed) % 4; flips > 0; flips--)
                bad[(size_t)rand_r(&seed) % (i % 2 ? stored : 100)] ^=
                    (uint8_t)(1 << rand_r(&seed) % 8);
            size_t bytes = i % 3 == 0 ? (size_t)rand_r(&seed) % (stored + 1) : stored;
            decode_damaged(codec, &coding, bad, bytes, COUNT);
        }
    }
    dmi_codec_destroy(codec);
}

static void inventions_lead_nowhere(void **state)
{
    (void)state;
    enum { TRIALS = 20000 };
    uint8_t bad[300];
    unsigned seed = 19;
    dmi_codec *codec = dmi_codec_create();
    for (int i = 0; i < TRIALS; i++) {
        dmi_coding coding = {(size_t)rand_r(&seed) % 40, (uint8_t)(1 << i % 4), 0, 1};
        for (size_t at = 0; at < sizeof bad; at++)
            bad[at] = (uint8_t)(rand_r(&seed) % 3 ? rand_r(&seed) % 5 : rand_r(&seed));
        for (size_t at = 0; at + 4 < sizeof bad; at += 4 + (size_t)rand_r(&seed) % 40) {
            uint32_t word = (uint32_t)(rand_r(&seed) % 6) << 28 | (uint32_t)rand_r(&seed) % 64;
            memcpy(bad + at, &word, 4);
        }
        sum = 1;
        decode_damaged(codec, &coding, bad, (size_t)rand_r(&seed) % sizeof bad,
                       (size_t)rand_r(&seed) % 300);
    }
    dmi_codec_destroy(codec);
}

static void a_cancelled_one_stops(void **state)
{
    (void)state;
    atomic_bool cancelled = true;
    dmi_coding coding = {0, 4, 0, 1};
    dmi_codec *codec = dmi_codec_create();
    encode(codec, &coding, MOST);
    assert_int_equal(dmi_codec_encode(codec, &coding, raw, MOST, coded, &sum, &cancelled),
                     SIZE_MAX);
    dmi_codec_destroy(codec);
    free(coded);
    coded = NULL;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_path_is_the_plain_one), cmocka_unit_test(planes_are_what_they_should_be),
    cmocka_unit_test(the_sum_is_the_plain_one),    cmocka_unit_test(what_is_coded_is_decoded),
    cmocka_unit_test(damage_leads_nowhere),        cmocka_unit_test(inventions_lead_nowhere),
    cmocka_unit_test(a_cancelled_one_stops),
};

TEST_MAIN(tests, NULL)
