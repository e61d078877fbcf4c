/*
 * A session is looked at again and again while its program works: every answer is whole, no value is
 * harmed, and ThreadSanitizer finds nothing.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "runtime/observe.h"
#include "tests/support/test.h"

enum { LOOKS = 60, AT_ONCE = 50 };

DM_REMOTE(grows)
{
    dm_view view;
    DM_TRY(dm_arg(call, 0, &view));
    size_t bytes = view.bytes + 1;
    dm_buffer buffer;
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    memcpy(buffer.data, view.data, view.bytes);
    ((uint8_t *)buffer.data)[view.bytes] = (uint8_t)view.bytes;
    return dm_return(call, &buffer);
}

static atomic_int looks, whole, objects;

/* True if the answer was complete. */
static bool look_once(uint8_t *bytes)
{
    struct sockaddr_un address;
    socklen_t length = dmi_observe_address(&address, geteuid(), getpid());
    int guest = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    dmi_line line = {.kind = DMI_LINE_TROUBLE};
    size_t count = dmi_request_write(&(dmi_request){DMI_ASK_MEMORY, 1000}, bytes);
    bool good = connect(guest, (struct sockaddr *)&address, length) == 0 &&
                send(guest, bytes, count, MSG_NOSIGNAL) == (ssize_t)count;
    while (good && line.kind != DMI_LINE_END) {
        ssize_t got = recv(guest, bytes, DMI_PACKET_MOST, 0);
        const uint8_t *at = bytes;
        good = got > 0;
        while (good && at < bytes + got) {
            good = dmi_line_read(&at, bytes + got, &line);
            if (good && line.kind == DMI_LINE_OBJECT)
                atomic_fetch_add(&objects, 1);
        }
    }
    close(guest);
    return good;
}

static void *look(void *bytes)
{
    for (int i = 0; i < LOOKS; i++) {
        atomic_fetch_add(&whole, look_once(bytes));
        atomic_fetch_add(&looks, 1);
    }
    return NULL;
}

/* A chain of tasks on a put value, each result held until its end is read. */
static void work(void)
{
    dm_ref refs[AT_ONCE];
    dm_view view;
    refs[0] = dm_put(&DM_BYTES("these bytes are more than a record holds by itself", 50));
    for (int i = 1; i < AT_ONCE; i++)
        refs[i] = dm_remote(grows, refs[i - 1]);
    assert_ok(dm_get(refs[AT_ONCE - 1], &view));
    assert_int_equal(view.bytes, 50 + AT_ONCE - 1);
    assert_int_equal(((const uint8_t *)view.data)[view.bytes - 1], view.bytes - 1);
    dm_view_release(&view);
    for (int i = 0; i < AT_ONCE; i++)
        dm_release(refs[i]);
}

static void looking_harms_nobody(void **state)
{
    (void)state;
    static uint8_t bytes[DMI_PACKET_MOST];
    pthread_t thread;
    session_begin(DM_ENGINE_THREADS, 2);
    assert_int_equal(pthread_create(&thread, NULL, look, bytes), 0);
    int rounds = 0;
    for (; atomic_load(&looks) < LOOKS; rounds++)
        work();
    pthread_join(thread, NULL);
    print_message("%d rounds, %d objects told of\n", rounds, atomic_load(&objects));
    assert_int_equal(atomic_load(&whole), LOOKS);
    assert_true(atomic_load(&objects) > 0);
    dm_shutdown();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(looking_harms_nobody),
};

TEST_MAIN(tests, NULL)
