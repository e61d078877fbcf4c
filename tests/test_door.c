/*
 * Observers come in at the door of a session, whoever may; nobody else does; and what they do there, or do
 * not do, harms nobody: strangers, garbage, silence, deaf ears, surplus descriptors.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "runtime/observe.h"
#include "tests/support/test.h"

DM_REMOTE(squares)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x * x);
}

/* ---- an observer ---- */

static int knock(void)
{
    struct sockaddr_un address;
    socklen_t bytes = dmi_observe_address(&address, geteuid(), getpid());
    int socket_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(socket_ >= 0);
    if (connect(socket_, (struct sockaddr *)&address, bytes) != 0) {
        close(socket_);
        return -1;
    }
    return socket_;
}

static int come_in(void)
{
    int guest = knock();
    assert_true(guest >= 0);
    return guest;
}

static void ask(int guest, dmi_question question, uint32_t top)
{
    uint8_t bytes[DMI_REQUEST_MOST];
    size_t count = dmi_request_write(&(dmi_request){question, top}, bytes);
    assert_int_equal(send(guest, bytes, count, MSG_NOSIGNAL), count);
}

typedef struct answer {
    int lines[DMI_LINE_END + 1]; /* by kind */
    dmi_totals_line totals;
    uint64_t trouble;
} answer;

/* All that comes until the other side closes; fails if that takes too long. */
static void hear(int guest, answer *a)
{
    static uint8_t bytes[DMI_PACKET_MOST];
    *a = (answer){0};
    for (;;) {
        struct pollfd wait = {.fd = guest, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, WATCH_PATIENCE_MS), 1);
        ssize_t got = recv(guest, bytes, sizeof bytes, 0);
        if (got <= 0)
            return;
        const uint8_t *at = bytes;
        dmi_line line;
        while (at < bytes + got) {
            assert_true(dmi_line_read(&at, bytes + got, &line));
            a->lines[line.kind]++;
            if (line.kind == DMI_LINE_TOTALS)
                a->totals = line.totals;
            if (line.kind == DMI_LINE_TROUBLE)
                a->trouble = line.trouble.status;
        }
    }
}

static void assert_answered(void)
{
    answer a;
    int guest = come_in();
    ask(guest, DMI_ASK_STATUS, 0);
    hear(guest, &a);
    assert_int_equal(a.lines[DMI_LINE_TOTALS], 1);
    assert_int_equal(a.lines[DMI_LINE_END], 1);
    assert_int_equal(a.totals.pid, getpid());
    close(guest);
}

static void assert_put_out(int guest)
{
    answer a;
    hear(guest, &a);
    for (int kind = 0; kind <= DMI_LINE_END; kind++)
        assert_int_equal(a.lines[kind], 0);
    close(guest);
}

static void assert_works(void)
{
    int y;
    dm_ref ref = dm_remote(squares, 12);
    assert_ok(dm_get(ref, &y));
    assert_int_equal(y, 144);
    dm_release(ref);
}

/* ---- cases ---- */

static void is_open_as_long_as_the_session(dm_engine engine)
{
    assert_int_equal(knock(), -1);
    for (int i = 0; i < 3; i++) {
        session_begin(engine, 2);
        assert_answered();
        assert_works();
        dm_shutdown();
        assert_int_equal(knock(), -1);
    }
}

static int what_a_stranger_gets(uid_t uid)
{
    struct sockaddr_un address;
    uint8_t bytes[DMI_PACKET_MOST];
    socklen_t length = dmi_observe_address(&address, geteuid(), getpid());
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int guest = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        if (setresuid(uid, uid, uid) != 0 || connect(guest, (struct sockaddr *)&address, length) != 0)
            _exit(2);
        size_t count = dmi_request_write(&(dmi_request){DMI_ASK_STATUS, 0}, bytes);
        if (send(guest, bytes, count, MSG_NOSIGNAL) < 0) /* it may be out already */
            _exit(0);
        _exit(recv(guest, bytes, sizeof bytes, 0) > 0 ? 1 : 0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

static void strangers_are_turned_away(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        print_message("to be another user takes root\n");
        skip();
    }
    session_begin(DM_ENGINE_THREADS, 1);
    assert_int_equal(what_a_stranger_gets(65534), 0);
    assert_int_equal(what_a_stranger_gets(0), 1); /* it is not for another reason */
    assert_answered();
    dm_shutdown();
}

static void garbage_gets_no_answer(void **state)
{
    (void)state;
    uint32_t random = 20261125;
    session_begin(DM_ENGINE_PROCESSES, 1);
    for (size_t length = 0; length < 200; length++) {
        uint8_t bytes[200];
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)((random = random * 1664525u + 1013904223u) >> 24);
        int guest = come_in();
        assert_int_equal(send(guest, bytes, length, MSG_NOSIGNAL), length);
        assert_put_out(guest);
    }
    static const uint8_t bomb[] = {0xdd, 0x10, 0, 0, 0}, deep[] = {0x91, 0x91, 0x91, 0x91};
    int guest = come_in();
    assert_int_equal(send(guest, bomb, sizeof bomb, MSG_NOSIGNAL), sizeof bomb);
    assert_put_out(guest);
    guest = come_in();
    assert_int_equal(send(guest, deep, sizeof deep, MSG_NOSIGNAL), sizeof deep);
    assert_put_out(guest);
    assert_answered();
    assert_works();
    dm_shutdown();
}

static void what_is_too_long_gets_no_answer(void **state)
{
    (void)state;
    static uint8_t bytes[100000];
    session_begin(DM_ENGINE_PROCESSES, 1);
    dmi_request_write(&(dmi_request){DMI_ASK_STATUS, 0}, bytes); /* it begins well */
    for (size_t length = DMI_REQUEST_MOST + 1; length <= sizeof bytes; length *= 4) {
        int guest = come_in();
        assert_int_equal(send(guest, bytes, length, MSG_NOSIGNAL), length);
        assert_put_out(guest);
    }
    assert_answered();
    dm_shutdown();
}

static void another_version_is_told_so(void **state)
{
    (void)state;
    uint8_t bytes[DMI_REQUEST_MOST];
    answer a;
    dmi_out out = {bytes, bytes, bytes + sizeof bytes};
    session_begin(DM_ENGINE_THREADS, 1);
    dmi_wire_string(&out, "dmrt", 4);
    dmi_wire_uint(&out, 99);
    int guest = come_in();
    assert_true(send(guest, bytes, (size_t)(out.at - bytes), MSG_NOSIGNAL) > 0);
    hear(guest, &a);
    close(guest);
    assert_int_equal(a.lines[DMI_LINE_TROUBLE], 1);
    assert_int_equal(a.trouble, DM_ERR_VERSION);
    dm_shutdown();
}

static void descriptors_are_not_kept(void **state)
{
    (void)state;
    residue before;
    answer a;
    uint8_t bytes[DMI_REQUEST_MOST];
    session_begin(DM_ENGINE_THREADS, 1);
    assert_answered();
    residue_begin(&before); /* ends that session */
    session_begin(DM_ENGINE_THREADS, 1);
    struct iovec part = {bytes, dmi_request_write(&(dmi_request){DMI_ASK_STATUS, 0}, bytes)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } room = {0};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = sizeof room.bytes};
    struct cmsghdr *beside = CMSG_FIRSTHDR(&header);
    *beside = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(beside), &(int){STDERR_FILENO}, sizeof(int));
    int guest = come_in();
    assert_true(sendmsg(guest, &header, MSG_NOSIGNAL) > 0);
    hear(guest, &a);
    close(guest);
    assert_int_equal(a.lines[DMI_LINE_END], 1);
    dm_shutdown();
    assert_no_residue(&before);
}

/* The case takes as long as the door is patient. Four seats, all taken: three by silence, one by somebody
 * who asks for more than a socket holds and does not read. Who comes then is served in the end. */
static void the_silent_and_the_deaf_are_put_out(void **state)
{
    (void)state;
    enum { OBJECTS = 10000 };
    static dm_ref refs[OBJECTS];
    answer deaf_heard, late_heard;
    session_begin(DM_ENGINE_PROCESSES, 1);
    for (int i = 0; i < OBJECTS; i++)
        refs[i] = dm_put(&DM_BYTES("an object that is too long for a record's own bytes", 52));
    int64_t since = watch_now_ms();
    int deaf = come_in(), silent[3];
    ask(deaf, DMI_ASK_MEMORY, DMI_TOP_MOST);
    for (int i = 0; i < 3; i++)
        silent[i] = come_in();
    int late = come_in();
    ask(late, DMI_ASK_MEMORY, DMI_TOP_MOST);
    assert_works();
    hear(late, &late_heard);
    int64_t took = watch_now_ms() - since;
    print_message("served after %d ms\n", (int)took);
    assert_in_range(took, 4500, 10000);
    assert_int_equal(late_heard.lines[DMI_LINE_OBJECT], OBJECTS);
    assert_int_equal(late_heard.lines[DMI_LINE_END], 1);
    for (int i = 0; i < 3; i++)
        assert_put_out(silent[i]);
    struct pollfd end = {.fd = deaf, .events = 0}; /* it hangs up */
    assert_int_equal(poll(&end, 1, WATCH_PATIENCE_MS), 1);
    hear(deaf, &deaf_heard);
    assert_int_equal(deaf_heard.lines[DMI_LINE_TOTALS], 1);
    assert_int_equal(deaf_heard.lines[DMI_LINE_END], 0);
    assert_in_range(watch_now_ms() - since, 4500, 12000);
    close(deaf);
    close(late);
    for (int i = 0; i < OBJECTS; i++)
        dm_release(refs[i]);
    assert_works();
    dm_shutdown();
}

static void guests_do_not_outlive_the_session(void **state)
{
    (void)state;
    residue before;
    int guests[6], in = 0;
    residue_begin(&before);
    session_begin(DM_ENGINE_PROCESSES, 1);
    for (; in < 6; in++)
        guests[in] = come_in();
    ask(guests[0], DMI_ASK_MEMORY, 100);
    dm_shutdown();
    while (in-- > 0) {
        answer a;
        hear(guests[in], &a);
        close(guests[in]);
    }
    assert_no_residue(&before);
}

/* Without a descriptor for one who knocks, the others are served all the same, and the CPU is not spent
 * on looking at the door. */
static void no_descriptor_is_no_harm(void **state)
{
    (void)state;
    struct rlimit limit, tight;
    session_begin(DM_ENGINE_THREADS, 1);
    int guest = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)guest + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    struct sockaddr_un address;
    socklen_t bytes = dmi_observe_address(&address, geteuid(), getpid());
    int connected = connect(guest, (struct sockaddr *)&address, bytes);
    if (connected == 0)
        ask(guest, DMI_ASK_STATUS, 0);
    assert_works();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(connected, 0);
    answer a;
    hear(guest, &a);
    close(guest);
    assert_int_equal(a.lines[DMI_LINE_END], 1);
    dm_shutdown();
}

static void remember(void *context, const char *line)
{
    snprintf(context, 512, "%s", line);
}

static void a_name_that_is_taken_costs_the_door_only(void **state)
{
    (void)state;
    static char said[512];
    struct sockaddr_un address;
    socklen_t bytes = dmi_observe_address(&address, geteuid(), getpid());
    int taken = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(taken, (struct sockaddr *)&address, bytes), 0);
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES,
                                     .workers = 1,
                                     .store_bytes = 16 << 20,
                                     .log = remember,
                                     .log_context = said});
    assert_non_null(strstr(said, "dm memory"));
    assert_works();
    dm_shutdown();
    close(taken);
}

static void is_open_in_processes(void **state)
{
    (void)state;
    is_open_as_long_as_the_session(DM_ENGINE_PROCESSES);
}

static void is_open_in_threads(void **state)
{
    (void)state;
    is_open_as_long_as_the_session(DM_ENGINE_THREADS);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(is_open_in_processes),
    cmocka_unit_test(is_open_in_threads),
    cmocka_unit_test(strangers_are_turned_away),
    cmocka_unit_test(garbage_gets_no_answer),
    cmocka_unit_test(what_is_too_long_gets_no_answer),
    cmocka_unit_test(another_version_is_told_so),
    cmocka_unit_test(descriptors_are_not_kept),
    cmocka_unit_test(the_silent_and_the_deaf_are_put_out),
    cmocka_unit_test(guests_do_not_outlive_the_session),
    cmocka_unit_test(no_descriptor_is_no_harm),
    cmocka_unit_test(a_name_that_is_taken_costs_the_door_only),
};

TEST_MAIN(tests, NULL)
