/*
 * Row 3: a worker dies at its K-th boundary of a system call, each entry and each exit, for every K that there is:
 * its start, its tasks, its sleep, its end. Whatever K: each result is right, and nothing is left.
 *
 * A tracer of our own (ptrace) stops the worker at each boundary; so a kill that killed nothing is noticed, by its
 * count. `--short`: each 23rd, for every run of the suite. Skipped where nobody may be traced.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/notes.h"
#include "tests/support/test.h"

enum { TASKS = 6, NUMBERS = 2000 };

/* What test, tracer and workers know in common. */
typedef struct notes {
    _Atomic int64_t die_at; /* the boundary at which a worker dies, counted down; 0: none */
    _Atomic int64_t passed; /* boundaries */
    _Atomic int deaths;
    _Atomic int wanted;   /* pid of a worker that waits for its tracer; 0: none */
    _Atomic bool refused; /* it may not be traced */
    _Atomic bool over;
} notes;

static notes *common;

/* In a worker, before it serves: wait to be traced, so that its start is seen, too. */
static void wait_for_tracer(void)
{
    common = notes_open(sizeof *common);
    if (common == NULL || atomic_load(&common->refused))
        return;
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    int nobody = 0;
    while (!atomic_compare_exchange_weak(&common->wanted, &nobody, getpid())) {
        nobody = 0;
        watch_pause();
    }
    while (atomic_load(&common->wanted) == getpid() && !atomic_load(&common->refused))
        watch_pause();
}

/* ---- the tracer: a process of its own ---- */

static bool is_to_die(void)
{
    atomic_fetch_add(&common->passed, 1);
    return atomic_load(&common->die_at) > 0 && atomic_fetch_sub(&common->die_at, 1) == 1;
}

static void take(pid_t pid)
{
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)options) != 0) {
        atomic_store(&common->refused, errno == EPERM || errno == ENOSYS);
        atomic_store(&common->wanted, 0);
        return;
    }
    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
    int status;
    if (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
        ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
    atomic_store(&common->wanted, 0);
}

static void heed(pid_t thread, int status)
{
    long signal = 0;
    if (!WIFSTOPPED(status))
        return;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
        if (is_to_die()) {
            atomic_fetch_add(&common->deaths,
                             kill(thread, SIGKILL) == 0); /* a thread's number does, too */
            return;
        }
    } else if (status >> 16 == 0) {
        signal = WSTOPSIG(status);
    } else if (status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP) {
        ptrace(PTRACE_LISTEN, thread, NULL, NULL);
        return;
    }
    ptrace(PTRACE_SYSCALL, thread, NULL, (void *)signal);
}

static int traces(const char *unused)
{
    (void)unused;
    common = notes_open(sizeof *common);
    NEED(common != NULL);
    watch_dog(0); /* it ends with the test */
    driver_say("ready");
    while (!atomic_load(&common->over)) {
        int status, wanted = atomic_load(&common->wanted);
        pid_t thread = waitpid(-1, &status, __WALL | WNOHANG);
        if (thread > 0)
            heed(thread, status);
        else if (wanted != 0)
            take(wanted);
        else
            nanosleep(&(struct timespec){0, 20000}, NULL);
    }
    return 0;
}

/* ---- one run ---- */

DM_REMOTE(fills)
{
    double x, numbers[NUMBERS];
    DM_TRY(dm_arg(call, 0, &x));
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = x;
    return dm_return(call, &DM_ARRAY(numbers, DM_F64, NUMBERS));
}

DM_REMOTE(reads_and_nests)
{
    dm_view view;
    double inner;
    DM_TRY(dm_arg(call, 0, &view));
    dm_ref array = dm_remote(fills, ((const double *)view.data)[NUMBERS - 1]);
    dm_view again;
    DM_TRY(dm_get(array, &again));
    inner = ((const double *)again.data)[0];
    return dm_return(call, inner + 1);
}

static void run(void)
{
    dm_ref refs[TASKS], sums[TASKS];
    session_begin_with(
        &(dm_options){.workers = 1, .store_bytes = 32 << 20, .retries = 100, .log = driver_no_log});
    for (int i = 0; i < TASKS; i++) {
        refs[i] = dm_remote(fills, (double)i);
        sums[i] = dm_remote(reads_and_nests, refs[i]);
    }
    for (int i = 0; i < TASKS; i++) {
        double x = -1;
        assert_ok(dm_get_within(sums[i], &x, WATCH_PATIENCE_MS));
        assert_true(x == i + 1);
        assert_ok(dm_release(refs[i]));
        assert_ok(dm_release(sums[i]));
    }
    dm_stats stats = {.refs = 1};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.tasks_failed, 0);
    dm_shutdown();
}

static int64_t stride = 1, for_ms = 6000000;

static int64_t enumerate(void)
{
    int64_t k = 1, begin = watch_now_ms(), deaths, passed = atomic_load(&common->passed);
    run();
    passed = atomic_load(&common->passed) - passed;
    do {
        deaths = atomic_load(&common->deaths);
        atomic_store(&common->die_at, k);
        run();
        atomic_store(&common->die_at, 0);
        k += stride;
    } while (atomic_load(&common->deaths) != deaths && watch_now_ms() - begin < for_ms);
    print_message(
        "%d deaths, at boundary 1 to %lld, each %lld.; a run without any passes %lld; %s\n",
        atomic_load(&common->deaths), (long long)(k - 2 * stride), (long long)stride,
        (long long)passed, watch_now_ms() - begin < for_ms ? "that was all" : "the time was over");
    return atomic_load(&common->deaths);
}

static void at_every_system_call(void **state)
{
    (void)state;
    residue before;
    driver tracer;
    common = notes_make(sizeof *common);
    driver_start(&tracer, "traces", NULL);
    assert_non_null(driver_hear(&tracer));
    atomic_store(&common->refused, true); /* the small session of residue_begin needs nobody */
    residue_begin(&before);
    atomic_store(&common->refused, false);
    run();
    bool refused = atomic_load(&common->refused);
    int64_t deaths = refused ? 0 : enumerate();
    assert_no_residue(&before);
    atomic_store(&common->over, true);
    assert_int_equal(driver_join(&tracer), 0);
    notes_end(common, sizeof *common);
    if (refused)
        skip();
    assert_true(deaths > 10);
}

static const test_driver drivers[] = {{"traces", traces}, {0}};

static const struct CMUnitTest tests[] = {cmocka_unit_test(at_every_system_call)};

int main(int argc, char **argv)
{
    int status;
    test_worker_setup = wait_for_tracer;
    if (test_began_elsewhere(argc, argv, drivers, &status))
        return status;
    bool is_short = argc > 1 && strcmp(argv[1], "--short") == 0;
    stride = is_short ? 23 : 1;
    for_ms = is_short ? 25000 : for_ms;
    watch_dog(is_short ? WATCH_DOG_S : 7000);
    status = cmocka_run_group_tests(tests, NULL, NULL);
    dm_shutdown();
    test_end();
    return status;
}
