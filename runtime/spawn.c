/*
 * spawn.c - starts a worker process (in the driver), and ties one to its driver (in the worker).
 *
 * posix_spawn shares the driver's memory until exec, so it costs the same however large the driver
 * is; fork would copy its page tables (94 ms for 2 GiB). Does not wait, watch or talk:
 * ward_start.c.
 */
#include "runtime/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARKER "DM_WORKER_SOCKET"

enum { SOCKET_FD = 3, FIRST_SAFE_FD = 4, SIGNAL_GROUP = 1 << 2 /* PIDFD_SIGNAL_PROCESS_GROUP */ };

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

extern char **environ;

struct dmi_recipe {
    char **arguments; /* all strings of a list in one block, the list before them */
    char **environment;
};

/* ---- the recipe ---- */

static bool read_whole(int fd, char **bytes, size_t *length)
{
    size_t room = 4096;
    char *block = malloc(room);
    *length = 0;
    while (block) {
        ssize_t got = read(fd, block + *length, room - *length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        *length += (size_t)got;
        if (*length < room)
            continue;
        char *larger = realloc(block, room *= 2);
        if (!larger)
            free(block);
        block = larger;
    }
    *bytes = block;
    return block != NULL && *length > 0;
}

/* Strings one after the other, each with its zero, become a list that ends with NULL. */
static char **list_of(const char *bytes, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += bytes[i] == '\0';
    char **list = malloc((count + 1) * sizeof *list + length + 1);
    if (!list)
        return NULL;
    char *text = (char *)(list + count + 1);
    memcpy(text, bytes, length);
    text[length] = '\0';
    for (size_t i = 0; i < count; i++) {
        list[i] = text;
        text += strlen(text) + 1;
    }
    list[count] = NULL;
    return list;
}

static char **read_arguments(void)
{
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *bytes, **list = NULL;
    size_t length;
    if (read_whole(fd, &bytes, &length))
        list = list_of(bytes, length);
    free(bytes);
    close(fd);
    return list;
}

static size_t append(char *to, size_t at, const char *entry)
{
    size_t length = strlen(entry) + 1;
    if (to)
        memcpy(to + at, entry, length);
    return at + length;
}

/* Lays the environment out at `to` (NULL: only counts) and returns the bytes it takes. */
static size_t lay_environment(char *to)
{
    static const char *const defaults[] = {"OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1"};
    size_t at = 0;
    for (char **entry = environ; entry && *entry; entry++) {
        if (strncmp(*entry, MARKER "=", sizeof MARKER) != 0)
            at = append(to, at, *entry);
    }
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(defaults[i], "="), defaults[i]);
        if (!getenv(name))
            at = append(to, at, defaults[i]);
    }
    char marker[32];
    snprintf(marker, sizeof marker, "%s=%d", MARKER, SOCKET_FD);
    return append(to, at, marker);
}

static char **copy_environment(void)
{
    size_t length = lay_environment(NULL);
    char *bytes = malloc(length);
    if (!bytes)
        return NULL;
    lay_environment(bytes);
    char **list = list_of(bytes, length);
    free(bytes);
    return list;
}

dm_status dmi_recipe_create(dmi_recipe **out)
{
    dmi_recipe *recipe = calloc(1, sizeof *recipe);
    *out = recipe;
    if (!recipe)
        return dmi_error(DM_ERR_NOMEM, "no memory to prepare the start of workers");
    recipe->arguments = read_arguments();
    recipe->environment = copy_environment();
    if (recipe->arguments && recipe->environment)
        return DM_OK;
    int error = errno;
    dmi_recipe_destroy(recipe);
    *out = NULL;
    return dmi_error(error == ENOMEM ? DM_ERR_NOMEM
                     : error == EMFILE || error == ENFILE ? DM_ERR_FDS
                                                          : DM_ERR_SYSTEM,
                     "this program's own arguments cannot be read (/proc/self/cmdline): %s",
                     strerror(error));
}

void dmi_recipe_destroy(dmi_recipe *recipe)
{
    if (!recipe)
        return;
    free(recipe->arguments);
    free(recipe->environment);
    free(recipe);
}

/* ---- starting ---- */

/* Descriptors on both sides of a start; the worker's are closed here once it has them. */
typedef struct ends {
    int ours[3], theirs[3]; /* socket, stdout, stderr */
} ends;

static void close_all(int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

/* Out of the way of 0 to 3, where the worker's descriptors will be put one after the other. */
static bool lift(int *fd)
{
    if (*fd >= FIRST_SAFE_FD)
        return true;
    int higher = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
    close(*fd);
    *fd = higher;
    return higher >= 0;
}

static bool open_pair(ends *e, int i)
{
    int pair[2];
    int failed = i == 0 ? socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)
                        : pipe2(pair, O_CLOEXEC);
    if (failed)
        return false;
    e->ours[i] = pair[0];
    e->theirs[i] = pair[1];
    return lift(&e->ours[i]) && lift(&e->theirs[i]) &&
           fcntl(e->ours[i], F_SETFL, fcntl(e->ours[i], F_GETFL) | O_NONBLOCK) == 0;
}

static bool open_ends(ends *e)
{
    *e = (ends){{-1, -1, -1}, {-1, -1, -1}};
    for (int i = 0; i < 3; i++) {
        if (!open_pair(e, i)) {
            int error = errno;
            close_all(e->ours, 3);
            close_all(e->theirs, 3);
            errno = error;
            return false;
        }
    }
    return true;
}

static int fill_actions(posix_spawn_file_actions_t *actions, const ends *e)
{
    int error = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, e->theirs[1], STDOUT_FILENO);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, e->theirs[2], STDERR_FILENO);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, e->theirs[0], SOCKET_FD);
    if (!error)
        error = posix_spawn_file_actions_addclosefrom_np(actions, FIRST_SAFE_FD);
    return error;
}

/* Signals as a fresh program has them, and a process group of its own. */
static int fill_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    const short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP;
    int error = posix_spawnattr_setflags(attributes, flags);
    if (!error)
        error = posix_spawnattr_setsigmask(attributes, &none);
    if (!error)
        error = posix_spawnattr_setsigdefault(attributes, &all);
    if (!error)
        error = posix_spawnattr_setpgroup(attributes, 0);
    return error;
}

static int start(const dmi_recipe *recipe, const ends *e, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (!error) {
        error = fill_actions(&actions, e);
        if (!error)
            error = fill_attributes(&attributes);
        if (!error)
            error = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, recipe->arguments,
                                recipe->environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static dm_status spawn_failure(int error, const char *what)
{
    dm_status status = error == EMFILE || error == ENFILE ? DM_ERR_FDS
                       : error == ENOMEM                  ? DM_ERR_NOMEM
                                                          : DM_ERR_SYSTEM;
    return dmi_error(status, "a worker process cannot be started: %s: %s%s", what, strerror(error),
                     error == EAGAIN ? " (is the number of processes limited?)" : "");
}

/* Without a pidfd a death could not be waited for in the loop: such a worker is of no use. */
static bool open_pidfd(pid_t pid, int *pidfd)
{
    *pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (*pidfd >= 0)
        return true;
    int error = errno;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    errno = error;
    return false;
}

dm_status dmi_spawn(const dmi_recipe *recipe, dmi_child *child)
{
    ends e;
    if (!open_ends(&e))
        return spawn_failure(errno, "its socket and pipes");
    pid_t pid;
    int pidfd, error = start(recipe, &e, &pid);
    close_all(e.theirs, 3);
    if (error) {
        close_all(e.ours, 3);
        return spawn_failure(error, "posix_spawn");
    }
    if (!open_pidfd(pid, &pidfd)) {
        error = errno;
        close_all(e.ours, 3);
        return spawn_failure(error, "pidfd_open");
    }
    child->pid = pid;
    child->pidfd = pidfd;
    child->socket = e.ours[0];
    child->output[0] = e.ours[1];
    child->output[1] = e.ours[2];
    return DM_OK;
}

/* ---- signalling and reaping ---- */

void dmi_child_signal(const dmi_child *child, int signal)
{
    if (child->pid > 0)
        syscall(SYS_pidfd_send_signal, child->pidfd, signal, NULL, 0);
}

/*
 * By pidfd where the kernel can (Linux 6.9), which cannot hit a stranger. By number only as long as
 * the leader has not been reaped, because then the number is still taken.
 */
void dmi_child_end_group(const dmi_child *child)
{
    if (child->pid <= 0)
        return;
    if (syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, SIGNAL_GROUP) == 0 ||
        errno == ESRCH)
        return;
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        kill(-child->pid, SIGKILL);
}

bool dmi_child_has_ended(const dmi_child *child)
{
    struct pollfd life = {.fd = child->pidfd, .events = POLLIN};
    return poll(&life, 1, 0) > 0;
}

bool dmi_child_reap(const dmi_child *child, int *signal, int *exit_status)
{
    siginfo_t info = {0};
    int failed;
    do {
        failed = waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG);
    } while (failed && errno == EINTR);
    *signal = 0;
    *exit_status = -1;
    if (failed) /* the program ignores SIGCHLD, or waits for any child */
        return errno == ECHILD;
    if (info.si_pid == 0)
        return false;
    if (info.si_code == CLD_EXITED)
        *exit_status = info.si_status;
    else
        *signal = info.si_status;
    return true;
}

void dmi_child_close(dmi_child *child)
{
    int *fds[] = {&child->pidfd,     &child->socket,       &child->output[0],
                  &child->output[1], &child->service_bell, &child->bell};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
    child->pid = 0;
}

/* ---- in the worker ---- */

static int worker_socket = -1;
static pid_t driver_pid; /* not 0: this is a worker */
static pid_t worker_pid; /* a task's forked child is not the worker, though it has its memory */

static bool is_control_socket(int fd, pid_t *peer)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) || domain != AF_UNIX)
        return false;
    size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_SEQPACKET)
        return false;
    struct ucred who;
    size = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size))
        return false;
    *peer = who.pid;
    return who.uid == geteuid();
}

/* Not declared to be without return, which it is: before such a call AddressSanitizer runs code of
 * its own that may lock and allocate, and this is called in a signal handler. */
static void kill_group(void)
{
    kill(-worker_pid, SIGKILL);
    kill(getpid(), SIGKILL);
}

_Noreturn void dmi_worker_end_group(void)
{
    if (worker_pid > 0)
        kill_group();
    _exit(1);
}

pid_t dmi_worker_driver(void)
{
    return driver_pid;
}

static void on_continue(int signal)
{
    (void)signal;
    int error = errno;
    if (getpid() == worker_pid && getppid() != driver_pid)
        kill_group();
    errno = error;
}

static void die_with_driver(void)
{
    struct sigaction action = {.sa_handler = on_continue, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGCONT, &action, NULL);
    prctl(PR_SET_PDEATHSIG, SIGCONT);
    if (getppid() != driver_pid) /* it died before it could be heard of */
        dmi_worker_end_group();
}

/*
 * Before main, so that whatever the program does ahead of dm_init neither outlives the driver nor
 * hands the marker on. A marker that is not true (somebody's leftover) is removed and forgotten.
 */
__attribute__((constructor)) static void look_for_marker(void)
{
    const char *text = getenv(MARKER);
    if (!text)
        return;
    char *end;
    long fd = strtol(text, &end, 10);
    pid_t peer;
    bool good = end != text && *end == '\0' && fd == SOCKET_FD && is_control_socket((int)fd, &peer);
    unsetenv(MARKER);
    if (!good || fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0)
        return;
    worker_socket = (int)fd;
    driver_pid = peer;
    worker_pid = getpid();
    if (getpgrp() != worker_pid)
        setpgid(0, 0);
    die_with_driver();
}

bool dmi_worker_marked(int *socket)
{
    if (driver_pid == 0 || getpid() != worker_pid)
        return false;
    *socket = worker_socket;
    return true;
}

void dmi_worker_tie(void)
{
    if (driver_pid == 0)
        return;
    die_with_driver(); /* again: the program may have set a handler of its own since */
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_NAME, "dm-worker");
    setvbuf(stdout, NULL, _IOLBF, 0); /* it is a pipe, and lines are what is forwarded */
}
