/*
 * driver.c - who am I: the test, a driver of it, or a worker; and starting drivers.
 */
#include "tests/support/driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dm/dm.h"
#include "runtime/spawn.h"
#include "tests/support/steps.h"
#include "tests/support/watch.h"

void (*test_worker_setup)(void);

static char directory[64];
static pid_t owner;
static const char *program;

const char *test_directory(void)
{
    return directory[0] ? directory : getenv("TMPDIR");
}

/* A worker must die of its signals as it would without a sanitizer, which makes exits of them. */
static void leave_signals_alone(void)
{
    static const char *const variables[] = {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"};
    for (int i = 0; i < 3; i++) {
        char text[1024];
        const char *present = getenv(variables[i]);
        snprintf(text, sizeof text, "%s:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_abort=0",
                 present ? present : "");
        setenv(variables[i], text[0] == ':' ? text + 1 : text, 1);
    }
}

static void begin_test(void)
{
    leave_signals_alone();
    snprintf(directory, sizeof directory, "/var/tmp/dmrt-test-XXXXXX");
    if (!mkdtemp(directory)) {
        perror(directory);
        exit(1);
    }
    owner = getpid();
    setenv("TMPDIR", directory, 1);
    setenv("DM_SPILL_DIR", directory, 1);
    /* Orphans below us come to us, so that they can be counted. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

void test_end(void)
{
    if (owner == getpid() && directory[0])
        rmdir(directory);
}

/* A worker never comes back from dm_init; if it does, the test must not begin in it. */
static void serve(void)
{
    steps_join();
    if (test_worker_setup)
        test_worker_setup();
    dm_status status = dm_init(NULL);
    fprintf(stderr, "dm_init returned in a worker: %s\n", dm_status_name(status));
    _exit(97);
}

bool test_began_elsewhere(int argc, char **argv, const test_driver *drivers, int *status)
{
    int socket;
    program = argv[0];
    if (dmi_worker_marked(&socket))
        serve();
    watch_dog(WATCH_DOG_S);
    if (argc < 3 || strcmp(argv[1], "--driver") != 0) {
        begin_test();
        return false;
    }
    *status = 98;
    for (const test_driver *d = drivers; d && d->name; d++)
        if (strcmp(d->name, argv[2]) == 0)
            *status = d->run(argc > 3 ? argv[3] : "");
    if (*status == 98)
        fprintf(stderr, "there is no driver \"%s\"\n", argv[2]);
    return true;
}

void driver_start(driver *d, const char *name, const char *argument)
{
    int pipes[2];
    char *arguments[] = {strdup(program), strdup("--driver"), strdup(name),
                         strdup(argument ? argument : ""), NULL};
    fflush(NULL);
    pid_t parent = getpid();
    if (pipe2(pipes, O_CLOEXEC) != 0 || (d->pid = fork()) < 0) {
        perror("driver");
        abort();
    }
    if (d->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(96);
        setsid(); /* by which its workers are known, too, when it is gone */
        dup2(pipes[1], STDOUT_FILENO);
        execv("/proc/self/exe", arguments);
        _exit(95);
    }
    close(pipes[1]);
    d->out = pipes[0];
    d->held = 0;
    for (int i = 0; i < 4; i++)
        free(arguments[i]);
}

bool driver_is_gone(pid_t session)
{
    return session != getsid(0) && watch_state(session) == 0;
}

static bool take_line(driver *d)
{
    char *end = memchr(d->buffer, '\n', d->held);
    if (!end)
        return false;
    size_t length = (size_t)(end - d->buffer);
    snprintf(d->line, sizeof d->line, "%.*s", (int)length, d->buffer);
    d->held -= length + 1;
    memmove(d->buffer, end + 1, d->held);
    return true;
}

const char *driver_hear(driver *d)
{
    while (!take_line(d)) {
        struct pollfd wait = {.fd = d->out, .events = POLLIN};
        if (poll(&wait, 1, WATCH_PATIENCE_MS) <= 0)
            return NULL;
        ssize_t bytes = read(d->out, d->buffer + d->held, sizeof d->buffer - d->held);
        if (bytes <= 0)
            return NULL;
        d->held += (size_t)bytes;
    }
    return d->line;
}

int driver_join(driver *d)
{
    int status = 0;
    int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    while (waitpid(d->pid, &status, WNOHANG) == 0) {
        if (watch_now_ms() > until) {
            fprintf(stderr, "driver %d does not end\n", (int)d->pid);
            kill(d->pid, SIGKILL);
        }
        watch_pause();
    }
    close(d->out);
    return status;
}

int driver_run(const char *name, const char *argument)
{
    driver d;
    driver_start(&d, name, argument);
    int status = driver_join(&d);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void driver_no_log(void *context, const char *line)
{
    (void)context, (void)line;
}

void driver_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}
