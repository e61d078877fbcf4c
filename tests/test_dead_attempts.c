/*
 * What an attempt submitted that died is not run unless somebody else wants it: the next attempt submits
 * its own. What a finished task has submitted, or the driver's program, runs, whoever lets go of it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/support/notes.h"
#include "tests/support/test.h"

enum { CHILDREN = 200, ROUNDS = 6, KILLS_MS = 3000 };

/* What driver, test and workers know in common: a file of the test's directory, mapped by all. */
typedef struct notes {
    _Atomic int attempts; /* of the task that dies */
    _Atomic int runs;     /* of children */
    _Atomic bool deadly;  /* three attempts of four end their worker once they have submitted */
} notes;

static notes *common;

static void set_up_worker(void)
{
    common = notes_open(sizeof *common);
}

/* ---- tasks ---- */

DM_REMOTE(child)
{
    int number, before = 0;
    DM_TRY(dm_arg(call, 0, &number));
    if (dm_arg_count(call) > 1)
        DM_TRY(dm_arg(call, 1, &before));
    atomic_fetch_add(&common->runs, 1);
    return dm_return(call, before + 1);
}

static dm_ref submit_child(int i, bool chained, dm_ref last)
{
    return chained && i > 0 ? dm_remote(child, i, last) : dm_remote(child, i);
}

/* Submits children, in a chain or each for itself; dies at its first attempt, waits at its second. */
DM_REMOTE(dies_once)
{
    bool chained;
    dm_ref children[CHILDREN];
    int sum = 0;
    DM_TRY(dm_arg(call, 0, &chained));
    for (int i = 0; i < CHILDREN; i++)
        children[i] = submit_child(i, chained, i ? children[i - 1] : DM_NO_REF);
    if (atomic_fetch_add(&common->attempts, 1) == 0)
        kill(getpid(), SIGKILL);
    for (int i = 0; i < CHILDREN; i++) {
        int x;
        DM_TRY(dm_get(children[i], &x));
        sum += x;
    }
    return dm_return(call, sum);
}

/* Submits children and is done; the worker holds them on, if it is told so. */
DM_REMOTE(leaves_behind)
{
    bool held;
    DM_TRY(dm_arg(call, 0, &held));
    for (int i = 0; i < CHILDREN; i++) {
        dm_ref ref = dm_remote(child, i);
        if (held)
            DM_TRY(dm_retain(ref));
    }
    return DM_OK;
}

DM_REMOTE(kills_once)
{
    (void)call;
    if (atomic_fetch_add(&common->attempts, 1) == 0)
        kill(getpid(), SIGKILL);
    return DM_OK;
}

DM_REMOTE(makes_bytes)
{
    size_t bytes;
    dm_buffer room;
    DM_TRY(dm_arg(call, 0, &bytes));
    atomic_fetch_add(&common->runs, 1);
    DM_TRY(dm_create(DM_U8, 1, &bytes, &room));
    memset(room.data, 7, bytes);
    return dm_return(call, &room);
}

DM_REMOTE(adds_up)
{
    uint64_t sum = 0;
    for (int i = 0; i < dm_arg_count(call); i++) {
        dm_view view;
        DM_TRY(dm_arg(call, i, &view));
        sum += view.bytes;
    }
    return dm_return(call, sum);
}

/* Three objects of 200 to 800 KB, and one task that has them all as arguments. */
DM_REMOTE(nests_large)
{
    uint64_t number, sum;
    DM_TRY(dm_arg(call, 0, &number));
    dm_ref a = dm_remote(makes_bytes, 200000 + 1000 * (number % 100));
    dm_ref b = dm_remote(makes_bytes, 400000 + 1000 * (number % 100));
    dm_ref c = dm_remote(makes_bytes, 700000 + 1000 * (number % 100));
    dm_ref all = dm_remote(adds_up, a, b, c);
    if (atomic_load(&common->deadly) && atomic_fetch_add(&common->attempts, 1) % 4 != 3)
        kill(getpid(), SIGKILL);
    DM_TRY(dm_get(all, &sum));
    return dm_return(call, sum);
}

/* ---- cases ---- */

static residue before;

static void begin(int workers, size_t store_bytes)
{
    common = notes_make(sizeof *common);
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = workers,
                                     .store_bytes = store_bytes, .retries = 10000,
                                     .log = driver_no_log});
}

static dm_stats stats_now(void)
{
    dm_stats stats = {0};
    assert_ok(dm_stats_get(&stats));
    return stats;
}

static void end(void)
{
    assert_soon(stats_now().refs == 0);
    assert_int_equal(stats_now().objects, 0);
    dm_shutdown();
    assert_no_residue(&before);
    notes_end(common, sizeof *common);
}

static void dies(bool chained)
{
    int sum;
    begin(1, 64 << 20);
    dm_ref ref = dm_remote(dies_once, chained);
    assert_ok(dm_get(ref, &sum));
    assert_int_equal(sum, chained ? CHILDREN * (CHILDREN + 1) / 2 : CHILDREN);
    assert_int_equal(atomic_load(&common->attempts), 2);
    assert_ok(dm_release(ref));
    assert_soon(stats_now().refs == 0);
    /* The one worker ran the attempt, so none of its children had begun. */
    assert_int_equal(atomic_load(&common->runs), CHILDREN);
    assert_int_equal(stats_now().tasks_dropped, CHILDREN);
    assert_int_equal(stats_now().tasks_submitted, 1 + 2 * CHILDREN);
    assert_int_equal(stats_now().tasks_done, 1 + CHILDREN);
    end();
}

static void children_of_a_dead_attempt_are_dropped(void **state)
{
    (void)state;
    dies(false);
}

static void and_those_that_wait_for_each_other(void **state)
{
    (void)state;
    dies(true);
}

/* The killer is behind the parent and before its children, in the one worker's ring. */
static void leaves(bool held)
{
    begin(1, 64 << 20);
    dm_ref parent = dm_remote(leaves_behind, held), killer = dm_remote(kills_once);
    assert_ok(dm_get(parent, (void *)NULL));
    assert_ok(dm_get(killer, (void *)NULL));
    assert_ok(dm_release(parent));
    assert_ok(dm_release(killer));
    assert_soon(atomic_load(&common->runs) == CHILDREN);
    assert_int_equal(stats_now().tasks_dropped, 0);
    end();
}

static void children_of_a_finished_task_run(void **state)
{
    (void)state;
    leaves(false);
}

static void and_those_that_only_the_dead_worker_held(void **state)
{
    (void)state;
    leaves(true);
}

static void what_the_program_releases_runs(void **state)
{
    (void)state;
    begin(2, 64 << 20);
    dm_ref killer = dm_remote(kills_once);
    for (int i = 0; i < CHILDREN; i++)
        assert_ok(dm_release(dm_remote(child, i)));
    assert_ok(dm_get(killer, (void *)NULL));
    assert_ok(dm_release(killer));
    assert_soon(atomic_load(&common->runs) >= CHILDREN); /* more: one was running when the other died */
    assert_int_equal(stats_now().tasks_dropped, 0);
    end();
}

typedef struct killer {
    atomic_bool stop;
    unsigned seed;
} killer;

static void *kill_now_and_then(void *argument)
{
    killer *k = argument;
    while (!atomic_load(&k->stop)) {
        nanosleep(&(struct timespec){0, (long)((unsigned)rand_r(&k->seed) % 30000000)}, NULL);
        watch_kill_a_worker(&k->seed);
    }
    return NULL;
}

/* Read task i if it is done within `ms`; then there is another in its place. */
static bool replaced(dm_ref *ref, int i, int ms)
{
    uint64_t sum;
    dm_status status = dm_get_within(*ref, &sum, ms);
    if (status == DM_ERR_TIMEOUT)
        return false;
    if (status != DM_OK)
        fail_msg("task %d: %s", i, dm_last_error());
    assert_int_equal(sum, 1300000 + 3000 * i);
    assert_ok(dm_release(*ref));
    *ref = dm_remote(nests_large, i);
    return true;
}

/*
 * A store that is nearly full, a worker killed every 0 to 30 ms, and few attempts live to their end.
 * Once the killing stops, what is left to run is what the tasks at hand need, and not what hundreds of
 * dead attempts had submitted.
 */
static void a_full_store_under_constant_kills(void **state)
{
    enum { TASKS = 5, NEEDS = 3 * TASKS, RUNNING = 16 };
    (void)state;
    begin(2, 8 << 20);
    killer k = {.seed = 5};
    pthread_t thread;
    dm_ref refs[TASKS];
    atomic_store(&common->deadly, true);
    int64_t until = watch_now_ms() + KILLS_MS;
    for (int i = 0; i < TASKS; i++)
        refs[i] = dm_remote(nests_large, i);
    pthread_create(&thread, NULL, kill_now_and_then, &k);
    for (int i = 0; watch_now_ms() < until; i = (i + 1) % TASKS)
        replaced(&refs[i], i, 10);
    atomic_store(&common->deadly, false);
    atomic_store(&k.stop, true);
    pthread_join(thread, NULL);
    int runs = atomic_load(&common->runs);
    dm_stats last = stats_now();
    for (int i = 0; i < TASKS; i++) {
        uint64_t sum;
        assert_ok(dm_get(refs[i], &sum));
        assert_ok(dm_release(refs[i]));
    }
    assert_soon(stats_now().refs == 0);
    runs = atomic_load(&common->runs) - runs;
    print_message("%llu workers lost, %llu tasks done, %llu attempts repeated, %llu tasks dropped, %llu "
                  "refs at the last kill; %d children run after it\n",
                  (unsigned long long)last.workers_lost, (unsigned long long)last.tasks_done,
                  (unsigned long long)last.tasks_retried, (unsigned long long)last.tasks_dropped,
                  (unsigned long long)last.refs, runs);
    assert_true(runs <= NEEDS + RUNNING);
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(children_of_a_dead_attempt_are_dropped),
    cmocka_unit_test(and_those_that_wait_for_each_other),
    cmocka_unit_test(children_of_a_finished_task_run),
    cmocka_unit_test(and_those_that_only_the_dead_worker_held),
    cmocka_unit_test(what_the_program_releases_runs),
    cmocka_unit_test(a_full_store_under_constant_kills),
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = set_up_worker;
}

TEST_MAIN(tests, NULL)
