/*
 * Rows 21, 25, 26: a driver in namespaces and control groups of its own. The number of a dead worker is given to
 * somebody else, who is left alone; a worker that eats all memory is the one that ends; a store as large as it
 * chooses itself, and filled twice over, stays below what the group may have.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/support/marked.h"

enum { NOT_ALLOWED = 77, LIMIT = 320 << 20 };

DM_REMOTE(adds_one)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x + 1);
}

DM_REMOTE(hangs)
{
    (void)call;
    while (pause() != 0)
        continue;
    return DM_OK;
}

static bool still_adds(int x)
{
    int sum = 0;
    dm_ref ref = dm_remote(adds_one, x);
    bool good = dm_get_within(ref, &sum, 60000) == DM_OK && sum == x + 1;
    dm_release(ref);
    return good;
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

/* ---- a number that is given again ---- */

/* Somebody who has nothing to do with us, with this number, at the head of a group of that number. 0: not to be had. */
static pid_t innocent(pid_t number)
{
    char text[20];
    for (int tries = 0; tries < 100; tries++) {
        snprintf(text, sizeof text, "%d", (int)number - 1);
        if (!write_text("/proc/sys/kernel/ns_last_pid", text))
            return 0;
        pid_t pid = fork();
        if (pid == 0) {
            setsid();
            for (;;)
                pause();
        }
        if (pid == number) {
            while (getpgid(pid) != pid)
                watch_pause();
            return pid;
        }
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return 0;
}

static bool is_worker(int pid)
{
    int pids[16], count = dm_worker_pids(pids, 16);
    for (int i = 0; i < count; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* What kills workers: a task that is cancelled, one whose time is up, somebody. Then the end of the session. */
static int kill_by_all_means(void)
{
    int pids[16];
    dm_ref cancelled = dm_remote(hangs);
    NEED(dm_get_within(cancelled, (void *)NULL, 50) == DM_ERR_TIMEOUT);
    NEED(dm_cancel_within(cancelled, 0) == DM_OK);
    NEED(dm_get_within(cancelled, (void *)NULL, 60000) == DM_ERR_CANCELLED);
    NEED(dm_release(cancelled) == DM_OK);
    dm_ref late = dm_remote_with((&(dm_task_options){.limit_ms = 50, .retries = DM_NONE}), hangs);
    NEED(dm_get_within(late, (void *)NULL, 60000) == DM_ERR_TASK_TIMEOUT);
    NEED(dm_release(late) == DM_OK);
    NEED(still_adds(2));
    NEED(dm_worker_pids(pids, 16) == 1 && watch_kill(pids[0]));
    NEED(still_adds(3));
    dm_shutdown();
    return 0;
}

static int in_a_namespace(void)
{
    int pids[16];
    if (mount("proc", "/proc", "proc", 0, NULL) != 0)
        return NOT_ALLOWED;
    NEED(dm_init(&(dm_options){.workers = 1, .store_bytes = 16 << 20, .log = driver_no_log}) == DM_OK);
    NEED(still_adds(1));
    NEED(dm_worker_pids(pids, 16) == 1 && watch_kill(pids[0]));
    NEED(still_adds(1));
    NEED(!is_worker(pids[0]) && kill(pids[0], 0) != 0 && errno == ESRCH);
    pid_t other = innocent(pids[0]);
    if (other == 0)
        return NOT_ALLOWED;
    int wrong = kill_by_all_means();
    NEED(!is_worker(other) && watch_alive(other) && waitpid(other, NULL, WNOHANG) == 0);
    NEED(kill(other, SIGKILL) == 0 && waitpid(other, NULL, 0) == other);
    return wrong;
}

static int numbers_given_again(const char *unused)
{
    (void)unused;
    int status;
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return NOT_ALLOWED;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_a_namespace());
    NEED(pid > 0 && waitpid(pid, &status, 0) == pid);
    fflush(NULL);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98); /* the leak sanitizer needs a process, and has no namespace */
}

/* ---- a limit of memory ---- */

/* Of version 1 or 2; made by the test, and removed by it once all that was in it is gone. */
static char group[200];

static void name_group(const char *name)
{
    const char *root = access("/sys/fs/cgroup/memory/cgroup.procs", W_OK) == 0 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
    snprintf(group, sizeof group, "%s/dmrt-test-%s", root, name);
}

static bool set_in_group(const char *file, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", group, file);
    return write_text(path, text);
}

/* This process, and all that it starts. */
static bool enter_group(const char *name)
{
    char limit[40], pid[20];
    name_group(name);
    snprintf(limit, sizeof limit, "%d", LIMIT);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    return (mkdir(group, 0755) == 0 || errno == EEXIST) &&
           (set_in_group("memory.limit_in_bytes", limit) || set_in_group("memory.max", limit)) &&
           set_in_group("cgroup.procs", pid);
}

DM_REMOTE(eats_memory)
{
    for (size_t eaten = 0; eaten < 4 * (size_t)LIMIT; eaten += MARKED_MIB) {
        char *piece = malloc(MARKED_MIB);
        if (piece == NULL)
            return DM_ERR_NOMEM;
        memset(piece, (int)(eaten >> 20) + 1, MARKED_MIB);
        __asm__ volatile("" : : "r"(piece) : "memory"); /* it is kept */
    }
    return dm_return(call, 1);
}

static int eats_all(const char *name)
{
    if (!enter_group(name))
        return NOT_ALLOWED;
    NEED(dm_init(&(dm_options){.workers = 2, .store_bytes = 16 << 20, .retries = 1, .log = driver_no_log}) == DM_OK);
    NEED(still_adds(1));
    dm_ref ref = dm_remote(eats_memory);
    NEED(dm_get_within(ref, (void *)NULL, 100000) == DM_ERR_TASK_CRASH);
    NEED(strstr(dm_last_error(), "eats_memory") && strstr(dm_last_error(), "signal 9") &&
         strstr(dm_last_error(), "attempt 2"));
    NEED(dm_release(ref) == DM_OK);
    NEED(still_adds(2));
    dm_stats stats;
    NEED(dm_stats_get(&stats) == DM_OK && stats.workers_lost >= 2 && stats.tasks_failed == 1);
    dm_shutdown();
    return 0;
}

/* Twice what the group may have, in a store whose size nobody has given. */
static int fills_the_store(const char *name)
{
    enum { OBJECT = 4 * MARKED_MIB, MANY = 2 * (LIMIT / OBJECT) };
    static dm_ref refs[MANY];
    dm_stats stats;
    if (!enter_group(name))
        return NOT_ALLOWED;
    NEED(dm_init(&(dm_options){.workers = 1, .store_wait_ms = WATCH_PATIENCE_MS, .log = driver_no_log}) == DM_OK);
    NEED(dm_stats_get(&stats) == DM_OK && stats.store_bytes < LIMIT / 2);
    for (uint64_t i = 0; i < MANY; i++) {
        refs[i] = i % 4 ? marked_put(OBJECT, i) : dm_remote(marked_make, OBJECT, i);
        driver_say("made %d", (int)i);
    }
    for (uint64_t i = 0; i < MANY; i++) {
        NEED(marked_is_there(refs[i], OBJECT, i));
        NEED(dm_release(refs[i]) == DM_OK);
        driver_say("read %d", (int)i);
    }
    NEED(dm_stats_get(&stats) == DM_OK && stats.workers_lost == 0 && stats.spilled_total > LIMIT);
    dm_shutdown();
    return 0;
}

/* ---- cases ---- */

static void runs(const char *name, const char *argument)
{
    residue before;
    driver d;
    residue_begin(&before);
    driver_start(&d, name, argument);
    while (driver_hear(&d) != NULL) /* it goes on */
        continue;
    int end = driver_join(&d), status = WIFEXITED(end) ? WEXITSTATUS(end) : 1000 + WTERMSIG(end);
    if (status == NOT_ALLOWED) {
        print_message("skipped: this is not allowed here\n");
        skip();
    }
    assert_int_equal(status, 0);
    assert_no_residue(&before);
}

static void runs_in_group(const char *what)
{
    char name[40];
    snprintf(name, sizeof name, "%s-%d", what, (int)getpid());
    name_group(name);
    runs(what, name);
    assert_soon(rmdir(group) == 0 || errno == ENOENT);
}

static void a_number_that_is_given_again(void **state)
{
    (void)state;
    runs("numbers_given_again", NULL);
}

static void a_worker_that_eats_all_memory(void **state)
{
    (void)state;
    runs_in_group("eats_all");
}

static void a_store_in_a_small_group(void **state)
{
    (void)state;
    runs_in_group("fills_the_store");
}

static const test_driver drivers[] = {{"numbers_given_again", numbers_given_again},
                                      {"eats_all", eats_all},
                                      {"fills_the_store", fills_the_store},
                                      {0}};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_number_that_is_given_again),
    cmocka_unit_test(a_worker_that_eats_all_memory),
    cmocka_unit_test(a_store_in_a_small_group),
};

TEST_MAIN(tests, drivers)
