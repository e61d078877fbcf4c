/*
 * Values on the wire: each form comes back as it went, and bytes of a stranger are never read beyond
 * their end, whatever they say. Bytes lie at the end of a page whose successor is not there, so that
 * reading too far is seen without a sanitizer, too.
 */
#include "runtime/wire.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROOM = 1 << 17 };

static uint8_t *cliff; /* one byte beyond is no memory */

static int make_cliff(void **state)
{
    (void)state;
    uint8_t *pages = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + ROOM, 4096, PROT_NONE) != 0)
        return 1;
    cliff = pages + ROOM;
    return 0;
}

/* Reads all values of these bytes at the cliff; returns how many. Looks at every byte they claim. */
static int read_all(const void *bytes, size_t count)
{
    const uint8_t *at = memcpy(cliff - count, bytes, count);
    volatile unsigned sum = 0;
    int values = 0;
    dmi_item item;
    while (dmi_wire_next(&at, cliff, &item)) {
        values++;
        assert_true(at <= cliff && values <= (int)count);
        size_t claimed = 0;
        if (item.kind == DM_STRING)
            claimed = item.bytes + 1;
        else if (item.kind == DM_DATA)
            claimed = item.bytes;
        else if (item.kind == DM_REF)
            claimed = 8;
        for (size_t i = 0; i < claimed; i++)
            sum += ((const uint8_t *)item.data)[i];
        for (int i = 0; item.kind == DM_DATA && item.shape && i < 8 * item.ndim; i++)
            sum += ((const uint8_t *)item.shape)[i];
    }
    return values;
}

typedef struct sample {
    uint8_t bytes[70000];
    dmi_out out;
} sample;

static sample *new_sample(void)
{
    sample *s = malloc(sizeof *s);
    s->out = (dmi_out){s->bytes, s->bytes, s->bytes + sizeof s->bytes};
    return s;
}

static size_t written(const sample *s)
{
    assert_non_null(s->out.at);
    return (size_t)(s->out.at - s->out.base);
}

/* The one value of a sample; and no shorter piece of it is a value. */
static dmi_item only_value(const sample *s)
{
    dmi_item item;
    size_t count = written(s);
    for (size_t cut = count > 3000 ? count - 3000 : 0; cut < count; cut++)
        assert_int_equal(read_all(s->bytes, cut), 0);
    assert_int_equal(read_all(s->bytes, count), 1);
    const uint8_t *at = s->bytes;
    assert_true(dmi_wire_next(&at, s->out.at, &item));
    assert_ptr_equal(at, s->out.at);
    return item;
}

static void integers(void **state)
{
    (void)state;
    for (int bit = 0; bit < 64; bit++)
        for (int64_t off = -1; off <= 1; off++)
            for (int sign = 0; sign < 2; sign++) {
                uint64_t u = ((uint64_t)1 << bit) + (uint64_t)off;
                int64_t i = (int64_t)(sign ? 0 - u : u);
                sample *s = new_sample();
                dmi_wire_int(&s->out, i);
                dmi_item item = only_value(s);
                assert_int_equal(item.kind, DM_INT);
                assert_true(item.i == i);
                s->out.at = s->bytes;
                dmi_wire_uint(&s->out, u);
                item = only_value(s);
                assert_true(item.u == u);
                assert_int_equal(item.kind, u > INT64_MAX ? DM_UINT : DM_INT);
                assert_true(written(s) <= DMI_WIRE_SCALAR);
                free(s);
            }
}

static void doubles_and_nil(void **state)
{
    (void)state;
    const double some[] = {0.0, -0.0, 1.5, 4.9e-324, INFINITY, -INFINITY, NAN};
    sample *s = new_sample();
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        s->out.at = s->bytes;
        dmi_wire_double(&s->out, some[i]);
        dmi_item item = only_value(s);
        assert_int_equal(item.kind, DM_DOUBLE);
        assert_memory_equal(&item.d, &some[i], 8);
    }
    s->out.at = s->bytes;
    dmi_wire_nil(&s->out);
    assert_int_equal(only_value(s).kind, DM_NIL);
    free(s);
}

static void strings_and_bytes(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 22, 30, 31, 32, 253, 254, 255, 256, 65000};
    char *text = malloc(65001);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        sample *s = new_sample();
        size_t length = lengths[i];
        memset(text, 't', length);
        text[length] = 0;
        dmi_wire_string(&s->out, text, length);
        assert_true(written(s) <= DMI_WIRE_OVERHEAD + length);
        dmi_item item = only_value(s);
        assert_int_equal(item.kind, DM_STRING);
        assert_int_equal(item.bytes, length);
        assert_memory_equal(item.data, text, length + 1);
        s->out.at = s->bytes;
        dmi_wire_array(&s->out, &DM_BYTES(text, length), length);
        item = only_value(s);
        assert_int_equal(item.kind, DM_DATA);
        assert_int_equal(item.bytes, length);
        assert_true(length == 0 || memcmp(item.data, text, length) == 0);
        free(s);
    }
    free(text);
}

static void arrays(void **state)
{
    (void)state;
    static uint64_t data[2000];
    for (int dtype = 0; dtype < DM_DTYPE_COUNT; dtype++)
        for (int ndim = 0; ndim <= DM_MAX_DIMS; ndim++)
            for (size_t before = 0; before < 9; before++) {
                sample *s = new_sample();
                dm_array array = {.data = data, .dtype = (dm_dtype)dtype, .ndim = ndim};
                size_t bytes = dm_dtype_bytes(array.dtype);
                for (int i = 0; i < ndim; i++)
                    bytes *= array.shape[i] = (size_t)(i % 3 + 1);
                for (size_t i = 0; i < sizeof data / 8; i++)
                    data[i] = i * 0x9e3779b97f4a7c15u;
                for (size_t i = 0; i < before; i++)
                    dmi_wire_nil(&s->out);
                dmi_wire_array(&s->out, &array, bytes);
                assert_true(written(s) - before <= DMI_WIRE_OVERHEAD + bytes);
                assert_int_equal(read_all(s->bytes, written(s)), (int)before + 1);
                const uint8_t *at = s->bytes + before;
                dmi_item item;
                assert_true(dmi_wire_next(&at, s->out.at, &item));
                assert_int_equal(item.dtype, dtype);
                assert_int_equal(item.ndim, ndim);
                assert_int_equal(item.bytes, bytes);
                assert_memory_equal(item.data, data, bytes);
                if (item.shape) /* plain bytes have none, and are not aligned */
                    assert_int_equal(((const uint8_t *)item.data - s->bytes) % DMI_WIRE_ALIGN, 0);
                free(s);
            }
}

static void refs(void **state)
{
    (void)state;
    sample *s = new_sample();
    dmi_wire_ref(&s->out, 0x123456789abcdef0);
    assert_int_equal(written(s), DMI_WIRE_REF);
    dmi_item item = only_value(s);
    assert_int_equal(item.kind, DM_REF);
    assert_true(item.ref == 0x123456789abcdef0);
    dmi_wire_set_ref(s->bytes + ((const uint8_t *)item.data - s->bytes), 42);
    assert_true(only_value(s).ref == 42);
    free(s);
}

static void what_does_not_fit_is_not_written(void **state)
{
    (void)state;
    static uint64_t data[40];
    uint8_t room[400];
    for (size_t size = 0; size < 200; size++) {
        dm_array array = {.data = data, .dtype = DM_F64, .ndim = 2, .shape = {2, 5}};
        memset(room, 0x55, sizeof room);
        dmi_out out = {room, room, room + size};
        dmi_wire_int(&out, 7);
        dmi_wire_array(&out, &array, 80);
        dmi_wire_string(&out, "some words", 10);
        dmi_wire_double(&out, 1.5);
        dmi_wire_ref(&out, 1);
        for (size_t i = size; i < sizeof room; i++)
            assert_int_equal(room[i], 0x55);
        assert_true(out.at == NULL || out.at <= out.end);
    }
}

static void strangers_bytes(void **state)
{
    (void)state;
    /* Sizes that are lies, one by one. */
    static const uint8_t lies[][24] = {
        {0xdb, 0xff, 0xff, 0xff, 0xff, 0},       /* a string of 4 GiB */
        {0xc6, 0xff, 0xff, 0xff, 0xff, 0},       /* bytes */
        {0xdd, 0xff, 0xff, 0xff, 0xff},          /* an array of 4 G values */
        {0xc9, 0xff, 0xff, 0xff, 0xff, 2},       /* an extension */
        {0xc9, 0, 0, 0, 4, 2, 0, 8, 0, 0},       /* eight dimensions, no shape */
        {0xc9, 0, 0, 0, 4, 2, 0, 255, 255, 0},   /* 255 dimensions */
        {0xc9, 0, 0, 0, 12, 2, 9, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255}, /* a huge size */
        {0xc9, 0, 0, 0, 0, 2},                   /* no head */
        {0xa1, 'x'},                             /* a string without its zero */
        {0xa0},                                  /* of no byte at all */
        {0xd9, 0},
        {0xc1},
        {0xd7, 7, 1, 2, 3, 4, 5, 6, 7, 8},       /* an extension we do not know */
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        const uint8_t *at = memcpy(cliff - 24, lies[i], 24);
        dmi_item item;
        assert_false(dmi_wire_next(&at, cliff, &item));
    }
    unsigned seed = 99;
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[64];
        size_t count = (size_t)rand_r(&seed) % sizeof bytes;
        static const uint8_t tags[] = {0xc0, 0xc4, 0xc6, 0xc9, 0xcb, 0xcf, 0xd0, 0xd3, 0xd7, 0xd9, 0xdb, 0xa5};
        for (size_t i = 0; i < count; i++)
            bytes[i] = (uint8_t)((unsigned)rand_r(&seed) >> 8);
        for (size_t i = 0; i < count; i += 1 + (size_t)rand_r(&seed) % 8)
            bytes[i] = rand_r(&seed) % 2 ? tags[(unsigned)rand_r(&seed) % sizeof tags] : 0;
        read_all(bytes, count);
    }
}

/* What was right with some bytes changed. */
static void flipped_bits(void **state)
{
    (void)state;
    static uint64_t data[20];
    sample *s = new_sample();
    dm_array array = {.data = data, .dtype = DM_F32, .ndim = 3, .shape = {2, 3, 4}};
    dmi_wire_int(&s->out, 70000);
    dmi_wire_array(&s->out, &array, 96);
    dmi_wire_string(&s->out, "a string that is longer than thirty-two", 39);
    dmi_wire_ref(&s->out, 77);
    dmi_wire_array(&s->out, &DM_BYTES(data, 30), 30);
    dmi_wire_double(&s->out, 0.5);
    size_t count = written(s);
    assert_int_equal(read_all(s->bytes, count), 6);
    for (size_t bit = 0; bit < 8 * count; bit++) {
        s->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        read_all(s->bytes, count);
        s->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    unsigned seed = 5;
    for (int round = 0; round < 50000; round++) {
        size_t at = (size_t)rand_r(&seed) % count;
        uint8_t was = s->bytes[at];
        s->bytes[at] = (uint8_t)((unsigned)rand_r(&seed) >> 8);
        read_all(s->bytes, 1 + (size_t)rand_r(&seed) % count);
        s->bytes[at] = was;
    }
    free(s);
}

static void small_values(void **state)
{
    (void)state;
    uint8_t room[24];
    dm_array bytes = {.data = "0123456789", .dtype = DM_U8, .ndim = 1, .shape = {10}};
    dm_array numbers = {.data = "0123456789", .dtype = DM_I8, .ndim = 1, .shape = {10}};
    dmi_out out = {room, room, room + sizeof room};
    assert_true(dmi_wire_small(&out, &(dm_value){.kind = DM_STRING, .string = "0123456789012345678901"}));
    out.at = room;
    assert_false(dmi_wire_small(&out, &(dm_value){.kind = DM_STRING, .string = "01234567890123456789012"}));
    out.at = room;
    assert_true(dmi_wire_small(&out, &(dm_value){.kind = DM_DATA, .array = &bytes}));
    out.at = room;
    assert_false(dmi_wire_small(&out, &(dm_value){.kind = DM_DATA, .array = &numbers}));
    out.at = room;
    assert_false(dmi_wire_small(&out, &(dm_value){.kind = DM_REF}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),        cmocka_unit_test(doubles_and_nil),
        cmocka_unit_test(strings_and_bytes), cmocka_unit_test(arrays),
        cmocka_unit_test(refs),            cmocka_unit_test(what_does_not_fit_is_not_written),
        cmocka_unit_test(strangers_bytes), cmocka_unit_test(flipped_bits),
        cmocka_unit_test(small_values),
    };
    return cmocka_run_group_tests(tests, make_cliff, NULL);
}
