/*
 * The observers' protocol: what was written is read back, and whatever else arrives is refused without
 * reading beyond it.
 */
#include "runtime/observe.h"

#include "tests/support/test.h"

static dmi_object_line an_object(void)
{
    return (dmi_object_line){.value = UINT64_MAX,
                             .bytes = (uint64_t)1 << 40,
                             .disk_bytes = 4096,
                             .state = "being made",
                             .made_by = "",
                             .worker_refs = 3,
                             .worker = {0, 7},
                             .refs = {1, 2}};
}

static void lines_come_back(void **state)
{
    (void)state;
    uint8_t bytes[512];
    dmi_out out = {bytes, bytes, bytes + sizeof bytes};
    const dmi_object_line object = an_object();
    const dmi_end_line end = {1000000, 1};
    assert_true(dmi_line_write(&out, DMI_LINE_OBJECT, &object));
    assert_true(dmi_line_write(&out, DMI_LINE_END, &end));
    const uint8_t *at = bytes;
    dmi_line line;
    assert_true(dmi_line_read(&at, out.at, &line));
    assert_int_equal(line.kind, DMI_LINE_OBJECT);
    assert_string_equal(line.object.state, "being made");
    assert_string_equal(line.object.made_by, "");
    line.object.state = object.state;
    line.object.made_by = object.made_by;
    assert_memory_equal(&line.object, &object, sizeof object);
    assert_true(dmi_line_read(&at, out.at, &line));
    assert_int_equal(line.kind, DMI_LINE_END);
    assert_int_equal(line.end.objects, 1000000);
    assert_false(dmi_line_read(&at, out.at, &line));
}

static void a_line_that_does_not_fit_leaves_nothing(void **state)
{
    (void)state;
    uint8_t bytes[512];
    const dmi_object_line object = an_object();
    dmi_out out = {bytes, bytes, bytes + sizeof bytes};
    assert_true(dmi_line_write(&out, DMI_LINE_OBJECT, &object));
    size_t needed = (size_t)(out.at - bytes);
    for (size_t room = 0; room < needed; room++) {
        out = (dmi_out){bytes, bytes, bytes + room};
        assert_false(dmi_line_write(&out, DMI_LINE_OBJECT, &object));
        assert_ptr_equal(out.at, bytes);
    }
}

static void a_line_cut_short_is_none(void **state)
{
    (void)state;
    uint8_t bytes[512];
    const dmi_object_line object = an_object();
    dmi_out out = {bytes, bytes, bytes + sizeof bytes};
    assert_true(dmi_line_write(&out, DMI_LINE_OBJECT, &object));
    size_t needed = (size_t)(out.at - bytes);
    for (size_t length = 0; length < needed; length++) {
        uint8_t *cut = malloc(length + 1); /* so that a byte too many is seen */
        memcpy(cut, bytes, length);
        const uint8_t *at = cut;
        dmi_line line;
        assert_false(dmi_line_read(&at, cut + length, &line));
        free(cut);
    }
}

static void requests_come_back(void **state)
{
    (void)state;
    uint8_t bytes[DMI_REQUEST_MOST];
    const dmi_request sent = {DMI_ASK_MEMORY, DMI_TOP_MOST};
    dmi_request got;
    size_t count = dmi_request_write(&sent, bytes);
    assert_ok(dmi_request_read(bytes, count, &got));
    assert_int_equal(got.question, sent.question);
    assert_int_equal(got.top, sent.top);
    for (size_t i = 0; i < count; i++)
        assert_refused(dmi_request_read(bytes, i, &got), DM_ERR_FORMAT, "no request");
    bytes[count] = 0;
    assert_refused(dmi_request_read(bytes, count + 1, &got), DM_ERR_FORMAT, "no request");
}

static void requests_for_too_much_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[DMI_REQUEST_MOST];
    dmi_request got;
    size_t count = dmi_request_write(&(dmi_request){DMI_ASK_MEMORY, DMI_TOP_MOST + 1}, bytes);
    assert_refused(dmi_request_read(bytes, count, &got), DM_ERR_FORMAT, "no request");
    count = dmi_request_write(&(dmi_request){3, 1}, bytes);
    assert_refused(dmi_request_read(bytes, count, &got), DM_ERR_FORMAT, "no request");
}

static void another_version_is_told_so(void **state)
{
    (void)state;
    uint8_t bytes[DMI_REQUEST_MOST];
    dmi_request got;
    dmi_out out = {bytes, bytes, bytes + sizeof bytes};
    dmi_wire_string(&out, "dmrt", 4);
    dmi_wire_uint(&out, DMI_OBSERVE_VERSION + 1);
    dmi_wire_string(&out, "whatever it means", 17);
    assert_refused(dmi_request_read(bytes, (size_t)(out.at - bytes), &got), DM_ERR_VERSION, "version");
}

/* Most of them begin like a line, or few would get far. */
static void garbage_is_survived(void **state)
{
    (void)state;
    uint32_t random = 20261125;
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[96];
        size_t length = 1 + i % sizeof bytes;
        for (size_t k = 0; k < length; k++) {
            random = random * 1664525u + 1013904223u;
            bytes[k] = (uint8_t)(random >> 24);
        }
        bytes[0] = (uint8_t)(i % 8);
        uint8_t *exact = malloc(length);
        memcpy(exact, bytes, length);
        const uint8_t *at = exact;
        dmi_line line;
        dmi_request request;
        while (dmi_line_read(&at, exact + length, &line))
            assert_true(at <= exact + length);
        assert_int_not_equal(dmi_request_read(exact, length, &request), DM_OK);
        free(exact);
    }
}

static void names_say_whose_they_are(void **state)
{
    (void)state;
    struct sockaddr_un address;
    socklen_t bytes = dmi_observe_address(&address, 4294967294u, 4194304);
    static const char expected[] = "\0dmrt-4294967294-4194304";
    assert_int_equal(bytes, offsetof(struct sockaddr_un, sun_path) + sizeof expected - 1);
    assert_memory_equal(address.sun_path, expected, sizeof expected - 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(lines_come_back),
    cmocka_unit_test(a_line_that_does_not_fit_leaves_nothing),
    cmocka_unit_test(a_line_cut_short_is_none),
    cmocka_unit_test(requests_come_back),
    cmocka_unit_test(requests_for_too_much_are_refused),
    cmocka_unit_test(another_version_is_told_so),
    cmocka_unit_test(garbage_is_survived),
    cmocka_unit_test(names_say_whose_they_are),
};

TEST_MAIN(tests, NULL)
