/*
 * Rows 23, 24, 65, 66, 67: machines that are not as one is used to. A driver in namespaces or with limits of its
 * own works as always: /dev/shm is tiny, workers run only when nobody else wants to and somebody always does, the
 * machine has been up for years or the time of day jumps, libraries start many threads where few may be.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/marked.h"

enum { NOT_ALLOWED = 77, TASKS = 200, OBJECT = MARKED_MIB / 2, MANY = 12 };

DM_REMOTE(squares)
{
    double x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x * x);
}

DM_REMOTE(hangs)
{
    (void)call;
    while (pause() != 0)
        continue;
    return DM_OK;
}

/* Values, tasks and objects are right, and no worker was lost on the way. */
static int works_as_always(void)
{
    static dm_ref refs[TASKS];
    dm_stats stats;
    NEED(dm_init(&(dm_options){.workers = 2, .store_bytes = 64 << 20, .log = driver_no_log}) ==
         DM_OK);
    for (int i = 0; i < TASKS; i++)
        refs[i] = i % 2 ? dm_remote(squares, refs[i - 1]) : dm_remote(squares, (double)(i % 10));
    for (int i = 0; i < TASKS; i++) {
        double x = -1, n = (i - i % 2) % 10;
        NEED(dm_get_within(refs[i], &x, 60000) == DM_OK);
        NEED(x == (i % 2 ? n * n * n * n : n * n));
        NEED(dm_release(refs[i]) == DM_OK);
    }
    for (uint64_t i = 0; i < MANY; i++)
        refs[i] = i % 2 ? marked_put(OBJECT, i) : dm_remote(marked_make, OBJECT, i);
    for (uint64_t i = 0; i < MANY; i++) {
        NEED(marked_is_there(refs[i], OBJECT, i));
        NEED(dm_release(refs[i]) == DM_OK);
    }
    NEED(dm_stats_get(&stats) == DM_OK);
    NEED(stats.workers_lost == 0 && stats.tasks_retried == 0);
    return 0;
}

static int and_ends(void)
{
    int wrong = works_as_always();
    dm_shutdown();
    return wrong;
}

/* ---- /dev/shm ---- */

static int in_a_tiny_dev_shm(const char *unused)
{
    (void)unused;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64k") != 0)
        return NOT_ALLOWED;
    return and_ends();
}

/* ---- who may run ---- */

static pid_t hog(int cpu)
{
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    sched_setaffinity(0, sizeof only, &only);
    setpriority(PRIO_PROCESS, 0,
                19); /* against who runs last it has five sixths of the CPU still */
    volatile unsigned turns = 0;
    while (getppid() == parent)
        turns++;
    _exit(0);
}

/* All on one CPU, where somebody else never rests. Workers are of the lowest class, the driver is not. */
static int workers_run_last(const char *unused)
{
    (void)unused;
    cpu_set_t all, first;
    NEED(sched_getaffinity(0, sizeof all, &all) == 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&first);
    CPU_SET(cpu, &first);
    NEED(sched_setaffinity(0, sizeof first, &first) == 0);
    setenv("DM_TEST_RUN_LAST", "1", 1);
    pid_t pid = hog(cpu);
    NEED(pid > 0);
    int wrong = and_ends();
    kill(pid, SIGKILL);
    NEED(waitpid(pid, NULL, 0) == pid);
    return wrong;
}

static void run_last(void)
{
    if (getenv("DM_TEST_RUN_LAST") &&
        sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}) != 0)
        _exit(96);
}

/* ---- clocks ---- */

static bool is_up_for(const char *seconds)
{
    int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    char text[100];
    int bytes = snprintf(text, sizeof text, "monotonic %s 0\nboottime %s 0\n", seconds, seconds);
    bool done = fd >= 0 && write(fd, text, (size_t)bytes) == bytes;
    close(fd);
    return done;
}

static int limits_hold(void)
{
    int wrong = works_as_always();
    if (wrong != 0)
        return wrong;
    int64_t begin = watch_now_ms();
    dm_ref ref = dm_remote_with((&(dm_task_options){.limit_ms = 100, .retries = DM_NONE}), hangs);
    NEED(dm_get_within(ref, (void *)NULL, 20) == DM_ERR_TIMEOUT);
    NEED(dm_get(ref, (void *)NULL) == DM_ERR_TASK_TIMEOUT);
    int64_t took = watch_now_ms() - begin;
    NEED(took >= 100 && took < 20000);
    dm_release(ref);
    dm_shutdown();
    return 0;
}

/* A namespace of time is entered by children. `seconds`: how long the machine seems to be up. */
static int up_for(const char *seconds)
{
    int status;
    if (unshare(CLONE_NEWTIME) != 0 || !is_up_for(seconds))
        return NOT_ALLOWED;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(limits_hold());
    NEED(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

/* ---- few processes ---- */

static int few_threads_may_be(const char *unused)
{
    (void)unused;
    enum { NOBODY = 65532, FEW = 40 };
    unsetenv("OPENBLAS_NUM_THREADS");
    unsetenv("OMP_NUM_THREADS");
    const struct rlimit limit = {FEW, FEW};
    setenv("DM_SPILL_POLICY", "off", 1); /* the test's directory is not theirs */
    if (setrlimit(RLIMIT_NPROC, &limit) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
        return NOT_ALLOWED; /* root is exempt from the limit */
    return and_ends();
}

/* No process and no thread more: it says so, at once or when it is asked for something, and ends. */
static int no_process_may_be(const char *unused)
{
    (void)unused;
    enum { NOBODY = 65533 };
    const struct rlimit limit = {0, 0};
    setenv("DM_SPILL_POLICY", "off", 1);
    if (setrlimit(RLIMIT_NPROC, &limit) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
        return NOT_ALLOWED;
    dm_status status =
        dm_init(&(dm_options){.workers = 2, .store_bytes = 16 << 20, .log = driver_no_log});
    if (status == DM_OK) {
        dm_ref ref = dm_remote(squares, 2.0);
        status = dm_get_within(ref, (void *)NULL, 30000);
        dm_release(ref);
    }
    NEED(status == DM_ERR_SYSTEM || status == DM_ERR_NOMEM || status == DM_ERR_WORKERS_UNSTARTABLE);
    dm_shutdown();
    fflush(NULL);
    _exit(0); /* the leak sanitizer needs a thread of its own */
}

/* ---- a driver that stands still ---- */

static int is_stopped(const char *unused)
{
    (void)unused;
    NEED(dm_init(&(dm_options){.workers = 2, .store_bytes = 16 << 20, .log = driver_no_log}) ==
         DM_OK);
    driver_say("begun");
    for (int i = 0; i < 4000; i++) {
        double x = 0;
        dm_ref ref = dm_remote(squares, (double)i);
        NEED(dm_get_within(ref, &x, 20000) == DM_OK && x == (double)i * i);
        NEED(dm_release(ref) == DM_OK);
    }
    dm_stats stats;
    NEED(dm_stats_get(&stats) == DM_OK && stats.workers_lost == 0 && stats.tasks_retried == 0);
    dm_shutdown();
    return 0;
}

/* Longer than any time the supervisor allows a worker that has begun to end. */
static void a_driver_that_stands_still_while_tasks_run(void **state)
{
    (void)state;
    residue before;
    driver d;
    residue_begin(&before);
    driver_start(&d, "is_stopped", NULL);
    assert_non_null(driver_hear(&d));
    for (int i = 0; i < 3; i++) {
        if (kill(d.pid, SIGSTOP) != 0 || watch_state(d.pid) == 'Z')
            break;
        assert_soon(watch_state(d.pid) == 'T' || watch_state(d.pid) == 'Z');
        int64_t until = watch_now_ms() + 700;
        while (watch_now_ms() < until)
            watch_pause();
        kill(d.pid, SIGCONT);
        watch_pause();
    }
    assert_int_equal(driver_join(&d), 0);
    assert_no_residue(&before);
}

/* ---- */

static void runs(const char *name, const char *argument)
{
    residue before;
    residue_begin(&before);
    int status = driver_run(name, argument);
    if (status == NOT_ALLOWED) {
        print_message("skipped: this is not allowed here\n");
        skip();
    }
    assert_int_equal(status, 0);
    assert_no_residue(&before);
}

#define CASE(name_, driver_, argument_)                                                            \
    static void name_(void **state)                                                                \
    {                                                                                              \
        (void)state;                                                                               \
        runs(driver_, argument_);                                                                  \
    }
CASE(a_tiny_dev_shm, "in_a_tiny_dev_shm", NULL)
CASE(workers_that_run_last, "workers_run_last", NULL)
CASE(a_machine_that_has_just_begun, "up_for", "0")
CASE(a_machine_that_is_up_for_years, "up_for", "1000000000")
CASE(few_threads, "few_threads_may_be", NULL)
CASE(no_process_at_all, "no_process_may_be", NULL)

static const test_driver drivers[] = {{"in_a_tiny_dev_shm", in_a_tiny_dev_shm},
                                      {"workers_run_last", workers_run_last},
                                      {"up_for", up_for},
                                      {"few_threads_may_be", few_threads_may_be},
                                      {"no_process_may_be", no_process_may_be},
                                      {"is_stopped", is_stopped},
                                      {0}};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_tiny_dev_shm),
    cmocka_unit_test(workers_that_run_last),
    cmocka_unit_test(a_machine_that_has_just_begun),
    cmocka_unit_test(a_machine_that_is_up_for_years),
    cmocka_unit_test(few_threads),
    cmocka_unit_test(no_process_at_all),
    cmocka_unit_test(a_driver_that_stands_still_while_tasks_run),
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = run_last;
}

TEST_MAIN(tests, drivers)
