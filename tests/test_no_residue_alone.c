/*
 * However a program ends while its tasks run, nothing of it is left: no process, no byte of shared
 * memory, no file. Runs alone, because it looks at the whole machine's shared memory, too.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/support/test.h"

enum { OBJECT_BYTES = 1 << 20 };

DM_REMOTE(stays)
{
    dm_view view;
    DM_TRY(dm_arg(call, 0, &view));
    for (;;)
        pause();
}

DM_REMOTE(burns)
{
    volatile unsigned turns = 0;
    for (;;)
        turns++;
    return dm_return(call, turns);
}

DM_REMOTE(makes_bytes)
{
    dm_buffer buffer;
    size_t bytes = OBJECT_BYTES;
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    memset(buffer.data, 3, bytes);
    return dm_return(call, &buffer);
}

/* Objects of the driver and of workers, tasks that run and tasks that wait for them. */
static int busy(void)
{
    static char bytes[OBJECT_BYTES];
    NEED(dm_init(&(dm_options){.workers = 2, .store_bytes = 128 << 20, .log = driver_no_log}) == DM_OK);
    memset(bytes, 1, sizeof bytes);
    dm_ref made[5];
    for (int i = 0; i < 5; i++) {
        dm_put(&DM_BYTES(bytes, sizeof bytes));
        made[i] = dm_remote(makes_bytes);
        NEED(dm_get(made[i], (void *)NULL) == DM_OK);
    }
    for (int i = 0; i < 20; i++) {
        dm_ref first = i % 2 ? dm_remote(stays, made[i % 5]) : dm_remote(burns);
        dm_remote(stays, first);
    }
    driver_say("busy");
    return 0;
}

static int ends(const char *how)
{
    int failed = busy();
    if (failed)
        return failed;
    if (!strcmp(how, "shutdown"))
        dm_shutdown();
    else if (!strcmp(how, "exit"))
        exit(5);
    else if (!strcmp(how, "_exit"))
        _exit(5);
    else if (!strcmp(how, "abort"))
        abort();
    else if (!strcmp(how, "segv"))
        raise(SIGSEGV);
    else if (strcmp(how, "return") != 0)
        for (;;)
            pause();
    return 5;
}

static void nothing_is_left_after(const char *how, int signal, int expected)
{
    residue before;
    driver d;
    residue_begin(&before);
    int64_t machine = residue_machine_shared_bytes();
    driver_start(&d, "ends", how);
    assert_non_null(driver_hear(&d));
    int64_t start = watch_now_ms();
    if (signal) {
        assert_true(residue_below(getpid()) >= 3);
        kill(d.pid, signal);
    }
    int status = driver_join(&d);
    int64_t ended = watch_now_ms();
    assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status), expected);
    assert_no_residue(&before);
    print_message("%s: ended after %d ms, all gone %d ms later\n", signal ? strsignal(signal) : how,
                  (int)(ended - start), (int)(watch_now_ms() - ended));
    assert_soon(residue_machine_shared_bytes() < machine + (8 << 20));
}

#define ENDS_BY(name_, how_, signal_, expected_)                                                   \
    static void name_(void **state)                                                                \
    {                                                                                              \
        (void)state;                                                                               \
        nothing_is_left_after(how_, signal_, expected_);                                           \
    }
ENDS_BY(by_shutdown, "shutdown", 0, 5)
ENDS_BY(by_exit_without_shutdown, "exit", 0, 5)
ENDS_BY(by_exit_at_once, "_exit", 0, 5)
ENDS_BY(by_return_from_main, "return", 0, 5)
ENDS_BY(by_abort, "abort", 0, 1000 + SIGABRT)
ENDS_BY(by_segv, "segv", 0, 1000 + SIGSEGV)
ENDS_BY(by_sigterm, "stay", SIGTERM, 1000 + SIGTERM)
ENDS_BY(by_sigint, "stay", SIGINT, 1000 + SIGINT)
ENDS_BY(by_sighup, "stay", SIGHUP, 1000 + SIGHUP)
ENDS_BY(by_sigkill, "stay", SIGKILL, 1000 + SIGKILL)

/* A driver that is stopped is not dead: nothing happens until it goes on. */
static void a_stopped_driver_goes_on(void **state)
{
    (void)state;
    residue before;
    driver d;
    residue_begin(&before);
    driver_start(&d, "ends", "stay");
    assert_non_null(driver_hear(&d));
    int alive = residue_below(getpid());
    kill(d.pid, SIGSTOP);
    assert_soon(watch_state(d.pid) == 'T');
    kill(d.pid, SIGCONT);
    assert_soon(watch_state(d.pid) != 'T');
    assert_int_equal(residue_below(getpid()), alive);
    kill(d.pid, SIGKILL);
    driver_join(&d);
    assert_no_residue(&before);
}

static const test_driver drivers[] = {{"ends", ends}, {0}};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(by_shutdown),
    cmocka_unit_test(by_exit_without_shutdown),
    cmocka_unit_test(by_exit_at_once),
    cmocka_unit_test(by_return_from_main),
    cmocka_unit_test(by_abort),
    cmocka_unit_test(by_segv),
    cmocka_unit_test(by_sigterm),
    cmocka_unit_test(by_sigint),
    cmocka_unit_test(by_sighup),
    cmocka_unit_test(by_sigkill),
    cmocka_unit_test(a_stopped_driver_goes_on),
};

TEST_MAIN(tests, drivers)
