/*
 * Row 59: driver and worker are not the same program. The driver says so to whoever asks for anything, DM_ERR_VERSION,
 * with what differs; the worker that is told of another version ends and says why; nothing is left.
 *
 * A worker is this program, so what differs is made in it, before it serves: one more function, or the word by which a
 * library of another version greets.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "runtime/control.h"
#include "runtime/layout.h"
#include "runtime/registry.h"
#include "runtime/spawn.h"
#include "runtime/worker.h"
#include "tests/support/test.h"

enum { DESCRIPTORS = 7 }; /* of a welcome */

static const char variable[] = "DM_TEST_OTHER";

DM_REMOTE(same)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

static dm_status never(dm_call *call)
{
    return dm_return(call, 0);
}

/* ---- in a worker ---- */

static void register_one_more(void)
{
    static dm_function more = {"one_more", never, __FILE__, __LINE__, 0, NULL};
    dm_register(&more);
}

/* What a library of another version does first. It would go on, but is not listened to. */
static void greet_as_another_version(void)
{
    int socket;
    dmi_control welcome, hello = {.kind = DMI_CONTROL_HELLO, .abi = DMI_ABI + 1};
    if (!dmi_worker_marked(&socket) || dmi_registry_close() != DM_OK ||
        dmi_control_receive(socket, &welcome) != DM_OK)
        _exit(98);
    hello.functions = dmi_registry_hash();
    if (dmi_control_send(socket, &hello) != DM_OK)
        _exit(98);
    for (;;)
        pause();
}

static void differ(void)
{
    const char *how = getenv(variable);
    if (how && strcmp(how, "functions") == 0)
        register_one_more();
    else if (how && strcmp(how, "version") == 0)
        greet_as_another_version();
}

/* ---- cases ---- */

static void is_told(const char *how, const char *words)
{
    residue before;
    int x = 0;
    residue_begin(&before);
    setenv(variable, how, 1);
    session_begin_with(&(dm_options){.workers = 2, .store_bytes = 16 << 20, .log = driver_no_log});
    dm_ref ref = dm_remote(same, 3);
    assert_refused(dm_get_within(ref, &x, WATCH_PATIENCE_MS), DM_ERR_VERSION, words);
    assert_int_equal(x, 0);
    assert_refused(dm_get_within(dm_remote(same, 4), &x, WATCH_PATIENCE_MS), DM_ERR_VERSION, words);
    assert_soon(dm_worker_pids(NULL, 0) == 0); /* killed, and not replaced */
    dm_shutdown();
    unsetenv(variable);
    assert_no_residue(&before);
    session_begin(DM_ENGINE_PROCESSES, 1);
    assert_ok(dm_get(dm_remote(same, 5), &x));
    assert_int_equal(x, 5);
    dm_shutdown();
}

static void other_functions(void **state)
{
    (void)state;
    is_told("functions", "other remote functions");
}

static void another_version_of_the_library(void **state)
{
    (void)state;
    is_told("version", "another version of dmrt");
}

/* Welcomed by another driver: the worker serves nobody, and what it prints is what that driver forwards. */
static void is_welcomed(uint64_t abi, uint64_t functions, const char *words)
{
    int pair[2], out[2], status;
    char said[512];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid_t worker = fork();
    assert_true(worker >= 0);
    if (worker == 0) {
        close(pair[0]);
        dup2(out[1], STDERR_FILENO);
        dmi_worker_process(pair[1]);
    }
    close(pair[1]), close(out[1]);
    dmi_control welcome = {
        .kind = DMI_CONTROL_WELCOME, .abi = abi, .functions = functions, .fd_count = DESCRIPTORS};
    for (int i = 0; i < DESCRIPTORS; i++)
        welcome.fds[i] = out[0];
    assert_ok(dmi_control_send(pair[0], &welcome));
    assert_int_equal(waitpid(worker, &status, 0), worker);
    ssize_t length = read(out[0], said, sizeof said - 1);
    said[length > 0 ? length : 0] = 0;
    close(pair[0]), close(out[0]);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_FAILURE)
        fail_msg("status %#x: %s", status, said);
    assert_non_null(strstr(said, words));
}

static void a_driver_of_another_version(void **state)
{
    (void)state;
    is_welcomed(DMI_ABI + 1, dmi_registry_hash(), "different versions");
}

/* It does not wait for the driver to find out: tasks may be in its ring by then. */
static void a_driver_of_other_functions(void **state)
{
    (void)state;
    is_welcomed(DMI_ABI, dmi_registry_hash() + 1, "different remote functions");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(other_functions),
    cmocka_unit_test(another_version_of_the_library),
    cmocka_unit_test(a_driver_of_another_version),
    cmocka_unit_test(a_driver_of_other_functions),
};

int main(int argc, char **argv)
{
    int status;
    test_worker_setup = differ;
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    status = cmocka_run_group_tests(tests, NULL, NULL);
    dm_shutdown();
    test_end();
    return status;
}
