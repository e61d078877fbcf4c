/*
 * Control messages arrive as they were sent, or are refused: bombs, truncations, garbage and
 * surplus descriptors cost neither memory nor a descriptor.
 */
#include "runtime/control.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];

static int open_pair(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends);
}

static int close_pair(void **state)
{
    (void)state;
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static int count_fds(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static size_t peak_kib(void)
{
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file))
        sscanf(line, "VmPeak: %zu", &kib);
    fclose(file);
    return kib;
}

static dmi_control welcome(void)
{
    dmi_control m = {.kind = DMI_CONTROL_WELCOME,
                     .abi = UINT64_MAX,
                     .functions = 0x0123456789abcdef,
                     .lane = 249,
                     .segment = UINT32_MAX,
                     .generation = 1,
                     .bytes = (uint64_t)1 << 44,
                     .d_bytes = 4096,
                     .inline_bytes = 1024,
                     .cpus = 2,
                     .store_wait_ms = -1,
                     .nested_tasks = 100000,
                     .fd_count = 7};
    for (int i = 0; i < 7; i++)
        m.fds[i] = STDERR_FILENO;
    return m;
}

static void messages_arrive_as_they_were_sent(void **state)
{
    (void)state;
    dmi_control sent = welcome(), got;
    assert_int_equal(dmi_control_send(ends[0], &sent), DM_OK);
    assert_int_equal(dmi_control_receive(ends[1], &got), DM_OK);
    assert_int_equal(got.fd_count, 7);
    for (int i = 0; i < 7; i++) {
        assert_true(fcntl(got.fds[i], F_GETFD) & FD_CLOEXEC);
        close(got.fds[i]);
        got.fds[i] = sent.fds[i];
    }
    assert_int_equal(got.kind, sent.kind);
    assert_int_equal(got.store_wait_ms, -1);
    assert_memory_equal(&got, &sent, sizeof got);
}

static void no_message_and_no_peer_are_told_apart(void **state)
{
    (void)state;
    dmi_control m, want = {.kind = DMI_CONTROL_WANT, .segment = 3};
    assert_int_equal(dmi_control_receive(ends[1], &m), DM_ERR_TIMEOUT);
    dm_status status = DM_OK;
    for (int i = 0; i < 100000 && status == DM_OK; i++)
        status = dmi_control_send(ends[0], &want);
    assert_int_equal(status, DM_ERR_TIMEOUT); /* full, and it did not block */
    while (dmi_control_receive(ends[1], &m) == DM_OK)
        assert_int_equal(m.segment, 3);
    close(ends[0]);
    assert_int_equal(dmi_control_receive(ends[1], &m), DM_ERR_SYSTEM);
    assert_int_equal(dmi_control_send(ends[1], &want), DM_ERR_SYSTEM);
    ends[0] = dup(ends[1]);
}

static dm_status receive_bytes(const void *bytes, size_t length)
{
    dmi_control m;
    assert_int_equal(send(ends[0], bytes, length, 0), length);
    return dmi_control_receive(ends[1], &m);
}

static void bombs_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
    } bombs[] = {
        {"\xdd\x10\x00\x00\x00", 5}, {"\xdf\x10\x00\x00\x00", 5}, {"\xdd\xff\xff\xff\xff", 5},
        {"\xdf\xff\xff\xff\xff", 5}, {"\xdc\xff\xff", 3},         {"\xde\xff\xff", 3},
        {"\xdb\xff\xff\xff\xff", 5}, {"\xc6\xff\xff\xff\xff", 5}, {"\xc9\xff\xff\xff\xff\x01", 6},
        {"\x91\xdd\x7f\xff\xff\xff", 6}, {"\x8f", 1}, {"\x9f", 1}, {"\xbf", 1}, {"\xc1", 1},
        {"\xdf\x80\x00\x00\x00\x01\x01", 7},
    };
    size_t before = peak_kib();
    for (size_t i = 0; i < sizeof bombs / sizeof bombs[0]; i++)
        assert_int_equal(receive_bytes(bombs[i].bytes, bombs[i].length), DM_ERR_FORMAT);
    char deep[64];
    memset(deep, '\x91', sizeof deep);
    assert_int_equal(receive_bytes(deep, sizeof deep), DM_ERR_FORMAT);
    deep[63] = '\x01';
    assert_int_equal(receive_bytes(deep, sizeof deep), DM_ERR_FORMAT);
    static char wide[4096]; /* honest, but not ours: 4,093 elements */
    memcpy(wide, "\xdc\x0f\xfd", 3);
    assert_int_equal(receive_bytes(wide, sizeof wide), DM_ERR_FORMAT);
    assert_true(peak_kib() - before <= 2048);
}

static size_t packed(char *bytes, size_t room)
{
    const dmi_control hello = {.kind = DMI_CONTROL_HELLO, .abi = UINT64_MAX, .functions = 77};
    assert_int_equal(dmi_control_send(ends[0], &hello), DM_OK);
    return (size_t)recv(ends[1], bytes, room, 0);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    char bytes[4096];
    size_t length = packed(bytes, sizeof bytes);
    assert_int_equal(receive_bytes(bytes, length), DM_OK);
    for (size_t n = 1; n < length; n++)
        assert_int_equal(receive_bytes(bytes, n), DM_ERR_FORMAT);
    bytes[length] = 0; /* and one more */
    assert_int_equal(receive_bytes(bytes, length + 1), DM_ERR_FORMAT);
}

static void strange_fields_are_refused(void **state)
{
    (void)state;
    char bytes[4096], changed[4096];
    size_t length = packed(bytes, sizeof bytes);
    assert_int_equal(bytes[0] & 0xff, 0x8c); /* a map of 12 */
    memcpy(changed, bytes, length);
    changed[1] = 9; /* one key twice, another missing */
    assert_int_equal(receive_bytes(changed, length), DM_ERR_FORMAT);
    memcpy(changed, bytes, length);
    changed[2] = 99; /* a kind that is none */
    assert_int_equal(receive_bytes(changed, length), DM_ERR_FORMAT);
    changed[2] = '\xff'; /* -1 */
    assert_int_equal(receive_bytes(changed, length), DM_ERR_FORMAT);
    memcpy(changed, bytes, length);
    changed[2] = '\xc0'; /* nil */
    assert_int_equal(receive_bytes(changed, length), DM_ERR_FORMAT);
    memcpy(changed, bytes, 2);
    memcpy(changed + 2, "\xcf\x00\x00\x00\x01\x00\x00\x00\x02", 9); /* 33 bits in a field of 32 */
    memcpy(changed + 11, bytes + 3, length - 3);
    assert_int_equal(receive_bytes(changed, length + 8), DM_ERR_FORMAT);
}

static void garbage_is_refused(void **state)
{
    (void)state;
    char good[4096], bytes[4096];
    size_t length = packed(good, sizeof good);
    int fds = count_fds();
    unsigned seed = 20240501;
    for (int i = 0; i < 20000; i++) {
        size_t n = 1 + (size_t)rand_r(&seed) % 200;
        if (i % 2) {
            memcpy(bytes, good, n = length);
            bytes[(size_t)rand_r(&seed) % n] = (char)rand_r(&seed);
        } else {
            for (size_t k = 0; k < n; k++)
                bytes[k] = (char)rand_r(&seed);
        }
        dm_status status = receive_bytes(bytes, n);
        assert_true(status == DM_ERR_FORMAT || (i % 2 && status == DM_OK));
    }
    assert_int_equal(count_fds(), fds);
}

static void too_long_is_refused(void **state)
{
    (void)state;
    static char bytes[DMI_CONTROL_BYTES + 1];
    bytes[0] = '\x80';
    assert_int_equal(receive_bytes(bytes, sizeof bytes), DM_ERR_FORMAT);
    dmi_control m;
    assert_int_equal(dmi_control_receive(ends[1], &m), DM_ERR_TIMEOUT); /* and gone, whole */
}

/* A message with as many descriptors as one likes. */
static void send_fds(const char *bytes, size_t length, int count)
{
    union {
        char bytes[CMSG_SPACE(64 * sizeof(int))];
        struct cmsghdr aligned;
    } room;
    memset(&room, 0, sizeof room);
    char copy[4096];
    memcpy(copy, bytes, length);
    struct iovec part = {copy, length};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = room.bytes,
                            .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    for (int i = 0; i < count; i++)
        memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &ends[0], sizeof(int));
    assert_int_equal(sendmsg(ends[0], &header, 0), length);
}

static void surplus_descriptors_are_closed(void **state)
{
    (void)state;
    char bytes[4096];
    size_t length = packed(bytes, sizeof bytes); /* a HELLO, which has none */
    int fds = count_fds();
    for (int count = 1; count <= 40; count++) {
        dmi_control m;
        send_fds(bytes, length, count);
        assert_int_equal(dmi_control_receive(ends[1], &m), DM_ERR_FORMAT);
        send_fds("\xc1", 1, count);
        assert_int_equal(dmi_control_receive(ends[1], &m), DM_ERR_FORMAT);
        assert_int_equal(m.fd_count, 0);
        assert_int_equal(count_fds(), fds);
    }
}

static void a_wrong_number_of_descriptors_is_not_sent(void **state)
{
    (void)state;
    dmi_control m = welcome();
    m.fd_count = 6;
    assert_int_equal(dmi_control_send(ends[0], &m), DM_ERR_INVALID);
    m.fd_count = 9;
    assert_int_equal(dmi_control_send(ends[0], &m), DM_ERR_INVALID);
}

#define CASE(name_) cmocka_unit_test_setup_teardown(name_, open_pair, close_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(messages_arrive_as_they_were_sent),
        CASE(no_message_and_no_peer_are_told_apart),
        CASE(bombs_are_refused),
        CASE(every_truncation_is_refused),
        CASE(strange_fields_are_refused),
        CASE(garbage_is_refused),
        CASE(too_long_is_refused),
        CASE(surplus_descriptors_are_closed),
        CASE(a_wrong_number_of_descriptors_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
