/*
 * Tasks wait for tasks to any depth: 10,000 on one worker and on two, far beyond a stack. At the cap the failure
 * names the chain of waits. A worker that dies far down costs an attempt, and nothing that was taken for all that is
 * kept.
 */
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "tests/support/deep.h"
#include "tests/support/notes.h"
#include "tests/support/steps.h"

enum { DEPTH = 10000 };

static void bottom(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    deep_to_the_bottom(engine, 1, DEPTH);
    if (engine != DM_ENGINE_SERIAL)
        deep_to_the_bottom(engine, 2, DEPTH);
    assert_no_residue(&before);
}
ON_ENGINES(bottom)

static void cap(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    deep_to_the_cap(engine, 1);
    assert_no_residue(&before);
}
ON_ENGINES(cap)

/* With two, other workers may have a part of the chain: it ends all the same. */
static void cap_of_two_workers(void **state)
{
    (void)state;
    session_begin_with(&(dm_options){.workers = 2, .nested_tasks = 10});
    dm_ref ref = dm_remote(deep_down, 1 << 20);
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_TOO_DEEP, "10 tasks wait for one another on its worker");
    assert_ok(dm_release(ref));
    deep_gone();
    dm_shutdown();
}

static void the_cap_by_its_variable(void **state)
{
    (void)state;
    setenv("DM_NESTED_TASKS", "3", 1);
    session_begin_with(&(dm_options){.workers = 1});
    unsetenv("DM_NESTED_TASKS");
    dm_ref ref = dm_remote(deep_down, 5);
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_TOO_DEEP,
                   "deep_down waits for deep_up waits for deep_down waits for it");
    assert_ok(dm_release(ref));
    deep_gone();
    dm_shutdown();
}

/* Submits the next of them and looks at it much later. */
DM_REMOTE(slow_to_wait)
{
    int n, count = 0;
    DM_TRY(dm_arg(call, 0, &n));
    if (n > 1) {
        dm_ref next = dm_remote(slow_to_wait, n - 1);
        usleep(50000);
        DM_TRY(dm_get(next, &count));
        DM_TRY(dm_release(next));
    }
    return dm_return(call, count + 1);
}

/* A worker that waits and runs another meanwhile is busy: what is ready beside it is no reason to start one more. */
static void no_worker_beside_a_chain(void **state)
{
    (void)state;
    session_begin_with(&(dm_options){.workers = 1, .task_limit_ms = 60000}); /* the supervisor looks at each often */
    deep_count(&slow_to_wait, 4);
    assert_int_equal(dm_worker_pids(NULL, 0), 1);
    dm_shutdown();
}

/* ---- no stack ---- */

/* From here on its process gets no thread. Root may always have one, so it is root no more. */
DM_REMOTE(goes_without_threads)
{
    struct rlimit one = {1, 1};
    enum { NOBODY = 65534 };
    if (setrlimit(RLIMIT_NPROC, &one) != 0 || (getuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0))
        return dm_fail(call, "no limit can be set");
    return DM_OK;
}

static void no_thread_can_be_had(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    session_begin(DM_ENGINE_PROCESSES, 1);
    assert_ok(dm_get(dm_remote(goes_without_threads), (void *)NULL));
    dm_ref ref = dm_remote(deep_wide, 12);
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_NOMEM, "no memory or thread for one more stack");
    assert_non_null(strstr(dm_last_error(), "deep_wide waits for deep_wide waits for it"));
    assert_ok(dm_release(ref));
    int count = -1;
    ref = dm_remote(deep_down, 100); /* there is room for that */
    assert_ok(dm_get(ref, &count));
    assert_int_equal(count, 100);
    dm_shutdown();
    assert_no_residue(&before);
}

/* ---- deaths ---- */

static struct common {
    _Atomic int runs;   /* of the last of the chain */
    _Atomic int deaths; /* that are still to come */
} *common;

/* Its last one may kill its worker. */
DM_REMOTE(dies_below)
{
    int n, count = 0;
    DM_TRY(dm_arg(call, 0, &n));
    if (n > 1) {
        dm_ref next = dm_remote(dies_below, n - 1);
        DM_TRY(dm_get(next, &count));
        DM_TRY(dm_release(next));
    } else {
        struct common *known = notes_open(sizeof *known);
        atomic_fetch_add(&known->runs, 1);
        if (atomic_fetch_sub(&known->deaths, 1) > 0)
            kill(getpid(), SIGKILL);
    }
    return dm_return(call, count + 1);
}

static void begin_dying(int deaths, int retries)
{
    common = notes_make(sizeof *common);
    atomic_store(&common->deaths, deaths);
    session_begin_with(&(dm_options){.workers = 1, .retries = retries, .log = driver_no_log});
}

static void end_dying(void)
{
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    dm_shutdown();
    notes_end(common, sizeof *common);
}

static void a_death_far_down(void **state)
{
    enum { HALF = DEPTH / 2 };
    (void)state;
    int count = -1;
    residue before;
    residue_begin(&before);
    begin_dying(2, 3);
    dm_ref ref = dm_remote(dies_below, HALF);
    assert_ok(dm_get(ref, &count));
    assert_int_equal(count, HALF);
    assert_int_equal(atomic_load(&common->runs), 3);
    assert_ok(dm_release(ref));
    end_dying();
    assert_no_residue(&before);
}

/* Nothing is left to try: the task that the program waits for has failed with what ended its worker. */
static void a_death_too_many(void **state)
{
    enum { HALF = DEPTH / 2 };
    (void)state;
    residue before;
    residue_begin(&before);
    begin_dying(1 << 20, 1);
    dm_ref ref = dm_remote(dies_below, HALF);
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_TASK_CRASH,
                   "attempt 2): its worker was ended by signal 9");
    assert_int_equal(atomic_load(&common->runs), 2);
    assert_ok(dm_release(ref));
    end_dying();
    assert_no_residue(&before);
}

/* ---- what is kept ---- */

static long status_field(int pid, const char *field)
{
    char path[64], line[256], format[64];
    long value = -1;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    snprintf(format, sizeof format, "%s: %%ld", field);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file) && sscanf(line, format, &value) != 1)
        ;
    if (file)
        fclose(file);
    return value;
}

/* Threads are gone, and most of the memory that the depth took at its most. */
static void what_it_took_is_given_back(void **state)
{
    (void)state;
    int pid;
    session_begin(DM_ENGINE_PROCESSES, 1);
    deep_count(&deep_down, 10);
    assert_int_equal(dm_worker_pids(&pid, 1), 1);
    long threads = status_field(pid, "Threads"), kib = status_field(pid, "VmRSS");
    deep_count(&deep_down, DEPTH);
    long most = status_field(pid, "VmHWM");
    assert_true(most > kib + 8 * 1024); /* else it shows nothing */
    assert_soon(status_field(pid, "Threads") == threads);
    long now = status_field(pid, "VmRSS");
    if (now - kib > (most - kib) / 2)
        fail_msg("%ld KiB before, %ld at most, and still %ld", kib, most, now);
    dm_shutdown();
}

/* A death before each store, while stacks come and go. */
static void wide_once(void)
{
    int count = -1;
    dm_ref ref = dm_remote(deep_wide, 6);
    assert_ok(dm_get(ref, &count));
    assert_int_equal(count, 6);
    assert_ok(dm_release(ref));
}

static void deaths_on_other_stacks(void **state)
{
    (void)state;
    residue before;
    steps_begin();
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = 1, .store_bytes = 64 << 20, .retries = 50, .log = driver_no_log});
    assert_true(steps_enumerate("tasks on other stacks", 1, 60000, wide_once) > 20);
    dm_shutdown();
    assert_no_residue(&before);
    steps_end();
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(bottom),
    ENGINE_CASES(cap),
    cmocka_unit_test(cap_of_two_workers),
    cmocka_unit_test(the_cap_by_its_variable),
    cmocka_unit_test(no_worker_beside_a_chain),
    cmocka_unit_test(no_thread_can_be_had),
    cmocka_unit_test(a_death_far_down),
    cmocka_unit_test(a_death_too_many),
    cmocka_unit_test(what_it_took_is_given_back),
    cmocka_unit_test(deaths_on_other_stacks),
};

TEST_MAIN(tests, NULL)
