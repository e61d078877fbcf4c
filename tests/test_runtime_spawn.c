/*
 * A worker is this program again, clean; and it ends with its driver: whatever the driver dies of,
 * whatever the worker is doing, its children too.
 *
 * This program is test, driver (forked) and worker (spawned: see `work`). The test is the reaper of
 * all orphans below it, so that "nobody is left" can be waited for, and so that workers do not
 * profit from the kernel's rule for orphaned process groups, which no supervisor of services would
 * grant.
 */
#include "runtime/spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/service.h"

enum { PATIENCE_MS = 10000 };

static char **program_arguments;

/* ---- what a worker of these tests does: by DM_TEST_ROLE, a list of words ---- */

static bool asked(const char *word)
{
    const char *role = getenv("DM_TEST_ROLE");
    return role && strstr(role, word);
}

static void say(int socket, int64_t number)
{
    if (send(socket, &number, sizeof number, MSG_NOSIGNAL) < 0)
        _exit(90);
}

static void serve_nothing(void *context)
{
    (void)context;
}

static void count_serving(void *context)
{
    say(*(int *)context, 7);
}

static pid_t start_grandchild(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    return pid;
}

static int open_fds(void)
{
    int count = -1; /* the directory's own */
    DIR *directory = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static int report(int socket)
{
    struct stat null, in;
    sigset_t mask, none;
    struct sigaction usr1, interrupt;
    sigemptyset(&none);
    stat("/dev/null", &null);
    fstat(0, &in);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    sigaction(SIGUSR1, NULL, &usr1);
    sigaction(SIGINT, NULL, &interrupt);
    say(socket, open_fds());
    say(socket, null.st_rdev == in.st_rdev);
    say(socket, memcmp(&mask, &none, 8) == 0);
    say(socket, usr1.sa_handler == SIG_DFL);
    say(socket, interrupt.sa_handler == SIG_IGN);
    say(socket, getpgrp() == getpid());
    say(socket, getenv("DM_WORKER_SOCKET") == NULL);
    say(socket, atoi(getenv("OPENBLAS_NUM_THREADS")) * 10 + atoi(getenv("OMP_NUM_THREADS")));
    say(socket, program_arguments[1] ? (int64_t)strlen(program_arguments[1]) : -1);
    printf("to stdout");
    fprintf(stderr, "to stderr\n");
    return 42;
}

static int work(int socket)
{
    if (asked("report")) {
        dmi_worker_tie();
        return report(socket);
    }
    dmi_service *service = NULL;
    if (!asked("untied"))
        dmi_worker_tie();
    if (asked("serve")) {
        int64_t bell;
        if (asked("bell")) {
            bell = eventfd(0, EFD_CLOEXEC);
            uint64_t three = 3;
            if (dmi_service_start(&service, socket, (int)bell, count_serving, &socket) != DM_OK ||
                write((int)bell, &three, sizeof three) < 0)
                return 91;
        } else {
            bell = eventfd(0, EFD_CLOEXEC);
            if (dmi_service_start(&service, socket, (int)bell, serve_nothing, NULL) != DM_OK)
                return 92;
        }
    }
    if (asked("deaf")) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
    }
    if (asked("closer")) /* a task that closes what is not its own */
        close(socket);
    else
        say(socket, asked("parent") ? start_grandchild() : 0);
    if (asked("stopped"))
        raise(SIGSTOP);
    for (;;) {
        if (asked("busy"))
            continue;
        pause();
    }
}

/* ---- the driver's and the test's tools ---- */

static int64_t hear(const dmi_child *child)
{
    int64_t number = -1;
    struct pollfd wait = {.fd = child->socket, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
    assert_int_equal(recv(child->socket, &number, sizeof number, 0), sizeof number);
    return number;
}

static bool ended_within(int pidfd, int ms)
{
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};
    return poll(&wait, 1, ms) == 1;
}

static dmi_child spawn_as(const char *role)
{
    dmi_recipe *recipe;
    dmi_child child = {.bell = -1, .service_bell = -1};
    setenv("DM_TEST_ROLE", role, 1);
    assert_int_equal(dmi_recipe_create(&recipe), DM_OK);
    assert_int_equal(dmi_spawn(recipe, &child), DM_OK);
    dmi_recipe_destroy(recipe);
    return child;
}

static void reap(dmi_child *child, int *signal, int *status)
{
    assert_true(ended_within(child->pidfd, PATIENCE_MS));
    dmi_child_end_group(child);
    assert_true(dmi_child_reap(child, signal, status));
    dmi_child_close(child);
}

/* Waits until no process is left below this one. */
static void assert_nobody_left(void)
{
    for (int waited = 0; waited < PATIENCE_MS; waited++) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
            continue;
        if (pid < 0 && errno == ECHILD)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    fail_msg("processes are left");
}

/* ---- a worker as it is started ---- */

static void a_worker_is_this_program_and_clean(void **state)
{
    (void)state;
    int stray = open("/dev/null", O_RDONLY); /* not close-on-exec: it must not be inherited */
    signal(SIGUSR1, SIG_IGN);
    setenv("OMP_NUM_THREADS", "5", 1);
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    sigprocmask(SIG_BLOCK, &some, NULL);
    dmi_child child = spawn_as("report");
    sigprocmask(SIG_UNBLOCK, &some, NULL);
    unsetenv("OMP_NUM_THREADS");
    signal(SIGUSR1, SIG_DFL);
    close(stray);

    static const int64_t expected[] = {4, 1, 1, 1, 1, 1, 1, 15};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(hear(&child), expected[i]);
    const char *argument = program_arguments[1];
    assert_int_equal(hear(&child), argument ? (int64_t)strlen(argument) : -1);
    assert_true(ended_within(child.pidfd, PATIENCE_MS));
    char text[64] = {0};
    assert_int_equal(read(child.output[0], text, sizeof text), 9);
    assert_memory_equal(text, "to stdout", 9);
    assert_int_equal(read(child.output[1], text, sizeof text), 10);
    assert_memory_equal(text, "to stderr\n", 10);
    int sig, status;
    reap(&child, &sig, &status);
    assert_int_equal(sig, 0);
    assert_int_equal(status, 42);
}

static void descriptors_come_back(void **state)
{
    (void)state;
    int before = open_fds();
    for (int i = 0; i < 3; i++) {
        dmi_child child = spawn_as("wait");
        hear(&child);
        assert_int_equal(open_fds(), before + 4);
        int fds[] = {child.pidfd, child.socket, child.output[0], child.output[1]};
        for (int k = 0; k < 4; k++)
            assert_true(fcntl(fds[k], F_GETFD) & FD_CLOEXEC);
        dmi_child_signal(&child, SIGKILL);
        int sig, status;
        reap(&child, &sig, &status);
        assert_int_equal(sig, SIGKILL);
        assert_int_equal(child.pid, 0);
        assert_int_equal(open_fds(), before);
    }
}

static void with_the_standard_descriptors_closed(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        close(0), close(1), close(2);
        dmi_child child = spawn_as("report");
        bool good = hear(&child) == 4 && hear(&child) == 1;
        _exit(good && child.socket > 2 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_nobody_left();
}

static void no_descriptor_left_is_said(void **state)
{
    (void)state;
    dmi_recipe *recipe;
    assert_int_equal(dmi_recipe_create(&recipe), DM_OK);
    int taken[1024], count = 0, before = open_fds();
    while (count < 1024 && (taken[count] = dup(0)) >= 0)
        count++;
    if (count < 1024) {
        for (int spare = 0; spare < 7; spare++) {
            dmi_child child = {.bell = -1, .service_bell = -1};
            assert_int_equal(dmi_spawn(recipe, &child), DM_ERR_FDS);
            assert_int_equal(child.pid, 0);
            close(taken[--count]);
        }
    }
    while (count > 0)
        close(taken[--count]);
    dmi_recipe_destroy(recipe);
    assert_int_equal(open_fds(), before);
    assert_nobody_left(); /* one that got as far as a process is gone again */
}

static void a_marker_that_is_not_true_is_removed(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        static const char *const markers[] = {"3", "0", "-1", "socket"};
        pid_t pid = fork();
        if (pid == 0) {
            setenv("DM_WORKER_SOCKET", markers[i], 1);
            setenv("DM_TEST_ROLE", "marked", 1);
            dup2(open("/dev/null", O_RDONLY), 3);
            execl("/proc/self/exe", program_arguments[0], (char *)NULL);
            _exit(1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

static void spawning_does_not_grow_with_memory(void **state)
{
    (void)state;
    size_t bytes = (size_t)256 << 20;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    memset(memory, 1, bytes);
    struct timespec a, b;
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        dmi_recipe *recipe;
        dmi_child child = {.bell = -1, .service_bell = -1};
        setenv("DM_TEST_ROLE", "wait", 1);
        assert_int_equal(dmi_recipe_create(&recipe), DM_OK);
        clock_gettime(CLOCK_MONOTONIC, &a);
        assert_int_equal(dmi_spawn(recipe, &child), DM_OK);
        clock_gettime(CLOCK_MONOTONIC, &b);
        dmi_recipe_destroy(recipe);
        double ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
        best = ms < best ? ms : best;
        dmi_child_signal(&child, SIGKILL);
        int sig, status;
        reap(&child, &sig, &status);
    }
    print_message("spawn with 256 MiB private: %.2f ms\n", best);
    munmap(memory, bytes);
}

/* ---- how it ends ---- */

static void a_worker_ends_with_its_group(void **state)
{
    (void)state;
    dmi_child child = spawn_as("parent");
    pid_t grandchild = (pid_t)hear(&child);
    assert_int_equal(kill(grandchild, 0), 0);
    kill(child.pid, SIGKILL);
    int sig, status;
    reap(&child, &sig, &status);
    assert_int_equal(sig, SIGKILL);
    assert_nobody_left();
}

static void reaped_by_somebody_else(void **state)
{
    (void)state;
    signal(SIGCHLD, SIG_IGN);
    dmi_child child = spawn_as("parent");
    hear(&child);
    kill(child.pid, SIGKILL);
    int sig, status;
    reap(&child, &sig, &status);
    assert_int_equal(sig, 0);
    assert_int_equal(status, -1);
    assert_nobody_left();
    signal(SIGCHLD, SIG_DFL);
}

static void continuing_does_no_harm(void **state)
{
    (void)state;
    dmi_child child = spawn_as("serve");
    hear(&child);
    kill(child.pid, SIGSTOP);
    kill(child.pid, SIGCONT);
    kill(child.pid, SIGINT);
    assert_false(ended_within(child.pidfd, 50));
    dmi_child_signal(&child, SIGTERM); /* and it is not deaf */
    int sig, status;
    reap(&child, &sig, &status);
    assert_int_equal(sig, SIGTERM);
}

/* A driver in a process of its own; `then` happens after its workers have been heard. */
static void driver_dies(const char *role, int workers, void (*then)(void))
{
    pid_t driver = fork();
    assert_true(driver >= 0);
    if (driver == 0) {
        for (int i = 0; i < workers; i++) {
            dmi_child child = spawn_as(role);
            struct pollfd wait = {.fd = child.socket, .events = POLLIN};
            poll(&wait, 1, PATIENCE_MS);
            if (strstr(role, "stopped"))
                waitid(P_PIDFD, (id_t)child.pidfd, &(siginfo_t){0}, WSTOPPED | WNOWAIT);
        }
        then();
        _exit(0);
    }
    assert_nobody_left();
}

static void by_kill(void)
{
    kill(getpid(), SIGKILL);
}

static void by_exit(void)
{
    _exit(3);
}

static void by_exec(void)
{
    execl("/bin/sleep", "sleep", "0", (char *)NULL);
}

/* A forked child of the driver holds copies of all its sockets, and lives on for a while. */
static void by_kill_with_a_copy(void)
{
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, 0);
        for (int waited = 0; waited < 300; waited += 10)
            usleep(10000);
        _exit(0);
    }
    by_kill();
}

static void workers_die_with_their_driver(void **state)
{
    (void)state;
    static const char *const roles[] = {"wait",       "busy",          "parent", "serve",
                                        "serve deaf", "serve parent",  "untied", "untied busy",
                                        "serve busy", "untied parent"};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        driver_dies(roles[i], 2, by_kill);
        driver_dies(roles[i], 1, by_exit);
        driver_dies(roles[i], 1, by_kill_with_a_copy);
    }
    driver_dies("serve", 2, by_exec);
}

static void stopped_workers_die_with_their_driver(void **state)
{
    (void)state;
    static const char *const roles[] = {"stopped", "serve stopped", "serve deaf stopped",
                                        "parent stopped", "serve parent stopped", "untied stopped"};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        driver_dies(roles[i], 2, by_kill);
        driver_dies(roles[i], 1, by_kill_with_a_copy);
    }
}

/* The driver dies at any moment while it starts workers. */
static void a_driver_that_dies_while_starting(void **state)
{
    (void)state;
    unsigned seed = 4711;
    for (int i = 0; i < 100; i++) {
        pid_t driver = fork();
        if (driver == 0) {
            for (;;)
                spawn_as(i % 2 ? "serve" : "wait");
        }
        usleep((unsigned)rand_r(&seed) % 8000);
        kill(driver, SIGKILL);
        assert_nobody_left();
    }
}

/* ---- the service thread ---- */

static void the_bell_is_served(void **state)
{
    (void)state;
    dmi_child child = spawn_as("serve bell");
    int64_t a = hear(&child), b = hear(&child);
    assert_true((a == 7 && b == 0) || (a == 0 && b == 7)); /* three rings are one */
    dmi_child_signal(&child, SIGKILL);
    int sig, status;
    reap(&child, &sig, &status);
}

static void without_its_socket_a_worker_does_not_spin(void **state)
{
    (void)state;
    dmi_child child = spawn_as("serve closer");
    struct pollfd wait = {.fd = child.socket, .events = POLLRDHUP};
    bool heard = poll(&wait, 1, 200) == 1 || ended_within(child.pidfd, 0);
    (void)heard; /* the service thread's poll may keep it open: then nothing happens, at no cost */
    clockid_t clock;
    struct timespec used = {0};
    if (clock_getcpuclockid(child.pid, &clock) == 0)
        clock_gettime(clock, &used);
    assert_true(used.tv_sec == 0);
    dmi_child_signal(&child, SIGKILL);
    int sig, status;
    reap(&child, &sig, &status);
}

static void note_thread(void *context)
{
    *(pthread_t *)context = pthread_self();
    raise(SIGUSR2); /* blocked there: nothing happens */
}

static void it_serves_a_thread_and_stops(void **state)
{
    (void)state;
    dmi_service *service;
    static pthread_t seen;
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), before = open_fds();
    seen = pthread_self();
    assert_int_equal(dmi_service_start(&service, -1, bell, note_thread, &seen), DM_OK);
    eventfd_write(bell, 1);
    while (true) {
        eventfd_t left;
        if (eventfd_read(bell, &left) != 0)
            break; /* taken there */
        eventfd_write(bell, left);
        usleep(100);
    }
    dmi_service_stop(service);
    assert_false(pthread_equal(seen, pthread_self()));
    dmi_service_stop(NULL);
    assert_int_equal(open_fds(), before);
    close(bell);
}

int main(int argc, char **argv)
{
    (void)argc;
    int socket;
    program_arguments = argv;
    if (dmi_worker_marked(&socket))
        return work(socket);
    if (asked("marked")) /* and by a marker that is not true */
        return getenv("DM_WORKER_SOCKET") ? 1 : 0;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_is_this_program_and_clean),
        cmocka_unit_test(descriptors_come_back),
        cmocka_unit_test(with_the_standard_descriptors_closed),
        cmocka_unit_test(no_descriptor_left_is_said),
        cmocka_unit_test(a_marker_that_is_not_true_is_removed),
        cmocka_unit_test(spawning_does_not_grow_with_memory),
        cmocka_unit_test(a_worker_ends_with_its_group),
        cmocka_unit_test(reaped_by_somebody_else),
        cmocka_unit_test(continuing_does_no_harm),
        cmocka_unit_test(workers_die_with_their_driver),
        cmocka_unit_test(stopped_workers_die_with_their_driver),
        cmocka_unit_test(a_driver_that_dies_while_starting),
        cmocka_unit_test(the_bell_is_served),
        cmocka_unit_test(without_its_socket_a_worker_does_not_spin),
        cmocka_unit_test(it_serves_a_thread_and_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
