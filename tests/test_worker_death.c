/*
 * A task that ends its worker costs retries, then a status that names it; never another task's result
 * and never the program. One that hangs is ended by its time limit. Workers that cannot be started are
 * said to be so, soon.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/support/test.h"

/* ---- the log ---- */

static char journal[1 << 18];
static size_t journal_bytes;
static pthread_mutex_t journal_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(void *context, const char *line)
{
    (void)context;
    pthread_mutex_lock(&journal_lock);
    int length = snprintf(journal + journal_bytes, sizeof journal - journal_bytes, "%s\n", line);
    if (length > 0 && journal_bytes + (size_t)length < sizeof journal)
        journal_bytes += (size_t)length;
    pthread_mutex_unlock(&journal_lock);
}

static bool was_logged(const char *words)
{
    pthread_mutex_lock(&journal_lock);
    bool is = strstr(journal, words) != NULL;
    pthread_mutex_unlock(&journal_lock);
    return is;
}

static void begin(int workers, int retries, int64_t limit_ms)
{
    dm_shutdown();
    journal[journal_bytes = 0] = 0;
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = workers,
                                     .store_bytes = 64 << 20, .retries = retries,
                                     .task_limit_ms = limit_ms, .log = keep});
}

/* ---- tasks ---- */

static void count_run(const char *path)
{
    int fd = open(path, O_CREAT | O_APPEND | O_WRONLY, 0600);
    ssize_t written = write(fd, "r", 1);
    (void)written;
    close(fd);
}

static const char *runs_path(void)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/runs", test_directory());
    return path;
}

static int runs(void)
{
    struct stat file;
    return stat(runs_path(), &file) == 0 ? (int)file.st_size : 0;
}

static volatile int sink;

static volatile int deepest = 1 << 30; /* deeper than any stack */

static __attribute__((noinline)) int recurse(int depth)
{
    volatile char frame[4096];
    frame[0] = (char)depth;
    return (depth < deepest ? recurse(depth + 1) : 0) + frame[0];
}

DM_REMOTE(dies)
{
    const char *how, *path;
    DM_TRY(dm_arg(call, 0, &how));
    DM_TRY(dm_arg(call, 1, &path));
    count_run(path);
    if (!strcmp(how, "SEGV")) {
        union {
            uintptr_t number;
            volatile int *pointer;
        } nowhere = {(uintptr_t)sink + 16}; /* unknown to the compiler */
        *nowhere.pointer = 1;
    }
    if (!strcmp(how, "ABRT"))
        abort();
    if (!strcmp(how, "FPE"))
        raise(SIGFPE);
    if (!strcmp(how, "KILL"))
        kill(getpid(), SIGKILL);
    if (!strcmp(how, "TERM"))
        kill(getpid(), SIGTERM);
    if (!strcmp(how, "RTMIN"))
        kill(getpid(), SIGRTMIN);
    if (!strcmp(how, "exit 0"))
        exit(0);
    if (!strcmp(how, "exit 3"))
        exit(3);
    if (!strcmp(how, "_exit 0"))
        _exit(0);
    if (!strcmp(how, "pthread_exit"))
        pthread_exit(NULL);
    if (!strcmp(how, "stack"))
        sink = recurse(0);
    if (!strcmp(how, "exec"))
        execl("/bin/true", "true", (char *)NULL);
    return dm_return(call, "alive");
}

DM_REMOTE(dies_once)
{
    const char *path;
    DM_TRY(dm_arg(call, 0, &path));
    struct stat file;
    bool first = stat(path, &file) != 0;
    count_run(path);
    if (first)
        kill(getpid(), SIGKILL);
    return dm_return(call, 7);
}

DM_REMOTE(closes_everything)
{
    (void)call;
    for (int fd = 0; fd < 1000; fd++)
        close(fd);
    return DM_OK;
}

DM_REMOTE(spins)
{
    const char *path;
    DM_TRY(dm_arg(call, 0, &path));
    count_run(path);
    while (sink >= 0)
        sink = sink == 1000 ? 0 : sink + 1;
    return DM_OK;
}

DM_REMOTE(stops)
{
    (void)call;
    while (raise(SIGSTOP) == 0)
        continue;
    return DM_OK;
}

/* Waits for one that dies like this, or for one that has no end. */
DM_REMOTE(waits_for_it)
{
    const char *how, *path;
    DM_TRY(dm_arg(call, 0, &how));
    DM_TRY(dm_arg(call, 1, &path));
    const dm_task_options limit = {.limit_ms = 30};
    dm_ref ref = strcmp(how, "hang") ? dm_remote(dies, how, path) : dm_remote_with(&limit, spins, path);
    return dm_get(ref, (void *)NULL);
}

DM_REMOTE(squares)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x * x);
}

DM_REMOTE(talks)
{
    printf("first line\nsecond line\n");
    printf("no newline");
    fflush(stdout);
    fprintf(stderr, "to stderr\n");
    return dm_return(call, 1);
}

static dm_ref kept;

DM_REMOTE(keeps)
{
    dm_ref ref;
    double numbers[1000] = {0};
    DM_TRY(dm_arg(call, 0, &ref));
    DM_TRY(dm_retain(ref));
    kept = dm_put(&DM_ARRAY(numbers, DM_F64, 1000)); /* one of its own, too */
    return dm_retain(kept);
}

/* A forked child that goes on as if it were the worker. */
DM_REMOTE(forks_and_returns)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    pid_t child = fork();
    if (child == 0)
        return dm_return(call, -1);
    while (watch_alive(child) && watch_now_ms() % 1000 != 999)
        watch_pause();
    return dm_return(call, x);
}

DM_REMOTE(has_a_child)
{
    int64_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    return dm_return(call, pid);
}

static int squared(int x)
{
    int y = -1;
    dm_ref ref = dm_remote(squares, x);
    assert_ok(dm_get_within(ref, &y, 10000));
    dm_release(ref);
    return y;
}

/* ---- each way to die ---- */

static void dies_like_this(const char *how, dm_status status, const char *words)
{
    unlink(runs_path());
    dm_ref ref = dm_remote(dies, how, runs_path());
    dm_ref dependent = dm_remote(squares, ref);
    assert_refused(dm_get(ref, (void *)NULL), status, words);
    assert_non_null(strstr(dm_last_error(), "dies (task "));
    assert_non_null(strstr(dm_last_error(), "attempt 4"));
    assert_int_equal(runs(), 4); /* once, and three retries */
    assert_refused(dm_get(dependent, (void *)NULL), DM_ERR_DEP_FAILED, "dies");
    dm_release(ref);
    dm_release(dependent);
    assert_int_equal(squared(12), 144);
    unlink(runs_path());
}

static void each_way_is_named(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    begin(1, 0, 0);
    dies_like_this("SEGV", DM_ERR_TASK_CRASH, "signal 11 (Segmentation fault)");
    dies_like_this("ABRT", DM_ERR_TASK_CRASH, "signal 6 (Aborted)");
    dies_like_this("FPE", DM_ERR_TASK_CRASH, "signal 8");
    dies_like_this("KILL", DM_ERR_TASK_CRASH, "signal 9 (Killed)");
    dies_like_this("TERM", DM_ERR_TASK_CRASH, "signal 15");
    dies_like_this("RTMIN", DM_ERR_TASK_CRASH, "(Real-time signal 0)"); /* one without a name of its own */
    dies_like_this("exit 0", DM_ERR_WORKER_EXITED, "status 0");
    dies_like_this("exit 3", DM_ERR_WORKER_EXITED, "status 3");
    dies_like_this("_exit 0", DM_ERR_WORKER_EXITED, "status 0");
    dies_like_this("pthread_exit", DM_ERR_WORKER_EXITED, "status 1");
    dies_like_this("stack", DM_ERR_TASK_CRASH, "signal 11");
    dies_like_this("exec", DM_ERR_WORKER_EXITED, "");
    dm_stats stats;
    assert_ok(dm_stats_get(&stats));
    assert_int_equal(stats.workers_lost, 12 * 4);
    assert_int_equal(stats.tasks_retried, 12 * 3);
    dm_shutdown();
    assert_no_residue(&before);
}

/* On one worker the task that waits is below it on the stack, and submits it again with each attempt: so that
 * this has an end, the attempt is gone for it, too. */
static void waiting_ends_like_this(const char *how, dm_status status, const char *words)
{
    enum { ATTEMPTS = 3 };
    unlink(runs_path());
    dm_ref ref = dm_remote(waits_for_it, how, runs_path());
    assert_refused(dm_get_within(ref, (void *)NULL, WATCH_PATIENCE_MS), status, words);
    assert_in_range(runs(), ATTEMPTS, ATTEMPTS * ATTEMPTS); /* the latter if it ever had a worker of its own */
    dm_release(ref);
    assert_int_equal(squared(12), 144);
    unlink(runs_path());
}

static void who_waits_for_poison_has_an_end(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    begin(1, 2, 0);
    waiting_ends_like_this("KILL", DM_ERR_TASK_CRASH, "signal 9 (Killed)");
    waiting_ends_like_this("exit 3", DM_ERR_WORKER_EXITED, "status 3");
    waiting_ends_like_this("pthread_exit", DM_ERR_WORKER_EXITED, "status 1");
    waiting_ends_like_this("hang", DM_ERR_TASK_TIMEOUT, "time limit passed");
    dm_shutdown();
    assert_no_residue(&before);
}

static void without_its_descriptors(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    begin(1, 0, 0);
    for (int i = 0; i < 3; i++) {
        int64_t start = watch_now_ms();
        dm_ref ref = dm_remote(closes_everything);
        dm_status status = dm_get_within(ref, (void *)NULL, 10000);
        assert_true(status == DM_OK || status == DM_ERR_WORKER_EXITED || status == DM_ERR_TASK_CRASH);
        dm_release(ref);
        assert_int_equal(squared(i), i * i);
        assert_true(watch_now_ms() - start < 5000); /* noticed, not waited for */
    }
    dm_shutdown();
    assert_no_residue(&before);
}

static void retries_can_be_set(void **state)
{
    (void)state;
    begin(1, DM_NONE, 0);
    unlink(runs_path());
    dm_ref none = dm_remote(dies, "KILL", runs_path());
    assert_refused(dm_get(none, (void *)NULL), DM_ERR_TASK_CRASH, "attempt 1");
    assert_int_equal(runs(), 1);
    unlink(runs_path());
    dm_ref five = dm_remote_with((&(dm_task_options){.retries = 5}), dies, "KILL", runs_path());
    assert_refused(dm_get(five, (void *)NULL), DM_ERR_TASK_CRASH, "attempt 6");
    assert_int_equal(runs(), 6);
    dm_release(none), dm_release(five);
    begin(1, 1, 0);
    unlink(runs_path());
    dm_ref off = dm_remote_with((&(dm_task_options){.retries = DM_NONE}), dies, "KILL", runs_path());
    assert_refused(dm_get(off, (void *)NULL), DM_ERR_TASK_CRASH, "attempt 1");
    unlink(runs_path());
    int x;
    dm_ref once = dm_remote(dies_once, runs_path());
    assert_ok(dm_get(once, &x));
    assert_int_equal(x, 7);
    assert_int_equal(runs(), 2);
    dm_release(off), dm_release(once);
    unlink(runs_path());
    dm_shutdown();
}

/* ---- hanging ---- */

static void a_hanging_task_is_ended(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    begin(1, DM_NONE, 150);
    unlink(runs_path());
    dm_ref spinning = dm_remote(spins, runs_path());
    int64_t start = watch_now_ms();
    assert_refused(dm_get_within(spinning, (void *)NULL, 10), DM_ERR_TIMEOUT, "spins");
    assert_refused(dm_get(spinning, (void *)NULL), DM_ERR_TASK_TIMEOUT, "spins");
    assert_in_range(watch_now_ms() - start, 150, 10000);
    dm_ref stopping = dm_remote(stops);
    assert_refused(dm_get(stopping, (void *)NULL), DM_ERR_TASK_TIMEOUT, "stops");
    dm_ref own = dm_remote_with((&(dm_task_options){.limit_ms = 30}), stops);
    assert_refused(dm_get(own, (void *)NULL), DM_ERR_TASK_TIMEOUT, "stops");
    for (int i = 0; i < 20; i++) /* many short ones are not one long one */
        assert_int_equal(squared(i), i * i);
    dm_release(spinning), dm_release(stopping), dm_release(own);
    unlink(runs_path());
    dm_shutdown();
    assert_no_residue(&before);
}

/* Short tasks are claimed by the dozen, and told to be done together. */
static void a_hanging_task_amid_short_ones(void **state)
{
    (void)state;
    enum { SHORT = 4000, AMID = 6, ROUNDS = 5 };
    static dm_ref refs[SHORT];
    begin(1, DM_NONE, 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SHORT; i++)
            refs[i] = i == SHORT - AMID ? dm_remote_with((&(dm_task_options){.limit_ms = 30}), stops)
                                        : dm_remote(squares, i);
        for (int i = 0; i < SHORT; i++) {
            int x;
            if (i == SHORT - AMID)
                assert_refused(dm_get_within(refs[i], (void *)NULL, WATCH_PATIENCE_MS), DM_ERR_TASK_TIMEOUT, "stops");
            else
                assert_ok(dm_get_within(refs[i], &x, WATCH_PATIENCE_MS));
            dm_release(refs[i]);
        }
    }
    dm_shutdown();
}

static void a_hanging_task_is_retried(void **state)
{
    (void)state;
    begin(1, 2, 50);
    unlink(runs_path());
    dm_ref ref = dm_remote(spins, runs_path());
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_TASK_TIMEOUT, "attempt 3");
    assert_int_equal(runs(), 3);
    dm_release(ref);
    unlink(runs_path());
    dm_shutdown();
}

/* ---- others ---- */

static void a_poison_task_beside_good_ones(void **state)
{
    (void)state;
    enum { GOOD = 300 };
    residue before;
    residue_begin(&before);
    begin(2, 0, 0);
    dm_ref good[GOOD], poison[3];
    for (int i = 0; i < GOOD; i++) {
        if (i % 100 == 50)
            poison[i / 100] = dm_remote(dies, i % 200 ? "SEGV" : "exit 0", runs_path());
        good[i] = dm_remote(squares, i);
    }
    for (int i = 0; i < GOOD; i++) {
        int x;
        assert_ok(dm_get(good[i], &x));
        assert_int_equal(x, i * i);
        dm_release(good[i]);
    }
    for (int i = 0; i < 3; i++) {
        dm_status status = dm_get(poison[i], (void *)NULL);
        assert_true(status == DM_ERR_TASK_CRASH || status == DM_ERR_WORKER_EXITED);
        dm_release(poison[i]);
    }
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.tasks_done, GOOD);
    assert_int_equal(stats.tasks_failed, 3);
    unlink(runs_path());
    dm_shutdown();
    assert_no_residue(&before);
}

static void idle_workers_are_replaced(void **state)
{
    (void)state;
    unsigned seed = 5;
    begin(2, 0, 0);
    for (int i = 0; i < 10; i++) {
        int pids[8];
        assert_int_equal(squared(i), i * i);
        assert_soon(dm_worker_pids(pids, 8) == 2);
        int killed = watch_kill_a_worker(&seed);
        assert_soon(dm_worker_pids(pids, 8) == 2 && pids[0] != killed && pids[1] != killed);
    }
    assert_int_equal(squared(11), 121);
    dm_shutdown();
}

static void results_outlive_their_worker(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    begin(1, 0, 0);
    dm_ref refs[50];
    for (int i = 0; i < 50; i++) {
        refs[i] = dm_remote(squares, i);
        assert_ok(dm_get(refs[i], (void *)NULL));
    }
    int pid;
    assert_int_equal(dm_worker_pids(&pid, 1), 1);
    assert_true(watch_kill(pid));
    dm_ref sums[50];
    for (int i = 0; i < 50; i++) {
        int x;
        assert_ok(dm_get(refs[i], &x));
        assert_int_equal(x, i * i);
        sums[i] = dm_remote(squares, refs[i]);
    }
    for (int i = 0; i < 50; i++) {
        int x;
        assert_ok(dm_get(sums[i], &x));
        assert_int_equal(x, i * i * i * i);
        dm_release(refs[i]), dm_release(sums[i]);
    }
    dm_shutdown();
    assert_no_residue(&before);
}

/* What a worker held is let go when it is dead. */
static void holds_end_with_their_worker(void **state)
{
    (void)state;
    double numbers[1000] = {0};
    begin(1, 0, 0);
    for (int i = 0; i < 5; i++) {
        int pid;
        dm_stats stats;
        dm_ref shared = dm_put(&DM_ARRAY(numbers, DM_F64, 1000)), task = dm_remote(keeps, shared);
        assert_ok(dm_get(task, (void *)NULL));
        dm_release(task);
        dm_release(shared);
        assert_ok(dm_stats_get(&stats));
        assert_true(stats.objects >= 1); /* the worker has it */
        assert_int_equal(dm_worker_pids(&pid, 1), 1);
        assert_true(watch_kill(pid));
        assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0 && stats.objects == 0);
    }
    assert_int_equal(squared(3), 9);
    dm_shutdown();
}

static void all_workers_at_once(void **state)
{
    (void)state;
    enum { COUNT = 400, ROUNDS = 8 };
    residue before;
    residue_begin(&before);
    begin(3, 100, 0);
    dm_ref own = dm_put("what the driver put stays, whatever happens to workers; it is long enough");
    for (int round = 0; round < ROUNDS; round++) {
        dm_ref refs[COUNT];
        int pids[8], x;
        for (int i = 0; i < COUNT; i++)
            refs[i] = i % 2 ? dm_remote(squares, refs[i - 1]) : dm_remote(squares, i % 100);
        int count = dm_worker_pids(pids, 8);
        for (int i = 0; i < count && i < 8; i++)
            kill(pids[i], SIGKILL);
        for (int i = 0; i < COUNT; i++) {
            int n = (i - i % 2) % 100;
            assert_ok(dm_get_within(refs[i], &x, 20000));
            assert_int_equal(x, i % 2 ? n * n * n * n : n * n);
            dm_release(refs[i]);
        }
    }
    char *text;
    assert_ok(dm_get(own, &text));
    assert_non_null(strstr(text, "stays"));
    free(text);
    dm_release(own);
    dm_shutdown();
    assert_no_residue(&before);
}

static void a_childs_end_is_its_workers(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    begin(1, 0, 0);
    int64_t child;
    dm_ref ref = dm_remote(has_a_child);
    assert_ok(dm_get(ref, &child));
    assert_true(watch_alive((int)child));
    int pid;
    dm_worker_pids(&pid, 1);
    assert_true(watch_kill(pid));
    assert_soon(!watch_alive((int)child));
    assert_int_equal(squared(3), 9);
    dm_release(ref);
    dm_shutdown();
    assert_no_residue(&before);
}

static void a_child_is_no_worker(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    begin(1, 0, 0);
    for (int i = 0; i < 10; i++) {
        int x = -2;
        dm_ref ref = dm_remote(forks_and_returns, i);
        assert_ok(dm_get_within(ref, &x, 10000));
        assert_int_equal(x, i);
        dm_release(ref);
        assert_int_equal(squared(i), i * i);
    }
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.tasks_done, 20);
    dm_shutdown();
    assert_no_residue(&before);
}

/* The kernel's signal at a parent's death follows the thread that started the worker. */
static void *begin_in_a_thread(void *unused)
{
    (void)unused;
    dm_options options = {.workers = 2, .store_bytes = 16 << 20, .log = keep};
    return dm_init(&options) == DM_OK ? NULL : (void *)1;
}

static void a_thread_that_began_may_end(void **state)
{
    (void)state;
    pthread_t thread;
    void *failed;
    int pids[2], later[2];
    dm_shutdown();
    pthread_create(&thread, NULL, begin_in_a_thread, NULL);
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_soon(dm_worker_pids(pids, 2) == 2);
    for (int i = 0; i < 100; i++)
        assert_int_equal(squared(i), i * i);
    assert_int_equal(dm_worker_pids(later, 2), 2);
    assert_memory_equal(pids, later, sizeof pids);
    dm_shutdown();
}

static void what_workers_print_is_forwarded(void **state)
{
    (void)state;
    begin(1, 0, 0);
    dm_ref ref = dm_remote(talks);
    assert_ok(dm_get(ref, (void *)NULL));
    assert_soon(was_logged("second line") && was_logged("to stderr"));
    assert_true(was_logged("[worker 0"));
    assert_true(was_logged("] first line\n"));
    dm_release(ref);
    dm_shutdown();
    assert_true(was_logged("no newline"));
    begin(1, 0, 0);
    ref = dm_remote(dies, "KILL", runs_path());
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_TASK_CRASH, "");
    assert_soon(was_logged("was ended by signal 9"));
    dm_release(ref);
    ref = dm_remote(dies, "RTMIN", runs_path());
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_TASK_CRASH, "");
    assert_soon(was_logged("(Real-time signal 0)"));
    dm_release(ref);
    unlink(runs_path());
    dm_shutdown();
}

/* ---- workers that do not start ---- */

static int cannot_start(const char *argument)
{
    (void)argument;
    enum { CHAIN = 20000 };
    static dm_ref refs[CHAIN];
    setenv("DM_TEST_NO_WORKERS", "1", 1);
    int64_t start = watch_now_ms();
    NEED(dm_init(&(dm_options){.workers = 2, .store_bytes = 64 << 20, .log = driver_no_log}) == DM_OK);
    refs[0] = dm_remote(squares, 1);
    for (int i = 1; i < CHAIN; i++) /* a failure that travels far */
        refs[i] = dm_remote(squares, refs[i - 1]);
    NEED(dm_get_within(refs[0], (void *)NULL, 20000) == DM_ERR_WORKERS_UNSTARTABLE);
    NEED(strstr(dm_last_error(), "squares") && strstr(dm_last_error(), "status 9"));
    NEED(strstr(dm_last_error(), "no license")); /* what it printed */
    NEED(watch_now_ms() - start < 10000);
    NEED(dm_get_within(refs[CHAIN - 1], (void *)NULL, 20000) != DM_OK);
    dm_ref late = dm_remote(squares, 1);
    NEED(dm_get_within(late, (void *)NULL, 1000) == DM_ERR_WORKERS_UNSTARTABLE);
    dm_shutdown();
    return 0;
}

/* They greet, and end before they have begun a task: as good as none. */
static int ends_young(const char *argument)
{
    (void)argument;
    setenv("DM_TEST_YOUNG_DEATHS", "1", 1);
    NEED(dm_init(&(dm_options){.workers = 2, .store_bytes = 64 << 20, .log = driver_no_log}) == DM_OK);
    int64_t until = watch_now_ms() + 60000, gone_since = 0;
    int pid;
    while (gone_since == 0 || watch_now_ms() - gone_since < 2500) { /* no more is tried */
        NEED(watch_now_ms() < until);
        gone_since = dm_worker_pids(&pid, 1) != 0 ? 0 : gone_since != 0 ? gone_since : watch_now_ms();
        usleep(10000);
    }
    dm_ref ref = dm_remote(squares, 1);
    NEED(dm_get_within(ref, (void *)NULL, 20000) == DM_ERR_WORKERS_UNSTARTABLE);
    NEED(strstr(dm_last_error(), "before its first task"));
    dm_shutdown();
    return 0;
}

static void *end_soon(void *unused)
{
    enum { GREETED_US = 200000 };
    (void)unused;
    usleep(GREETED_US);
    _exit(9);
}

static void fail_to_start(void)
{
    pthread_t thread;
    if (getenv("DM_TEST_YOUNG_DEATHS"))
        pthread_create(&thread, NULL, end_soon, NULL);
    if (getenv("DM_TEST_NO_WORKERS")) {
        fprintf(stderr, "no license\n");
        _exit(9);
    }
}

static void workers_that_cannot_be_started(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    assert_int_equal(driver_run("cannot_start", NULL), 0);
    assert_no_residue(&before);
}

static void workers_that_end_before_their_first_task(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    assert_int_equal(driver_run("ends_young", NULL), 0);
    assert_no_residue(&before);
}

static const test_driver drivers[] = {{"cannot_start", cannot_start}, {"ends_young", ends_young}, {0}};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_way_is_named),
    cmocka_unit_test(who_waits_for_poison_has_an_end),
    cmocka_unit_test(without_its_descriptors),
    cmocka_unit_test(retries_can_be_set),
    cmocka_unit_test(a_hanging_task_is_ended),
    cmocka_unit_test(a_hanging_task_amid_short_ones),
    cmocka_unit_test(a_hanging_task_is_retried),
    cmocka_unit_test(a_poison_task_beside_good_ones),
    cmocka_unit_test(idle_workers_are_replaced),
    cmocka_unit_test(results_outlive_their_worker),
    cmocka_unit_test(holds_end_with_their_worker),
    cmocka_unit_test(all_workers_at_once),
    cmocka_unit_test(a_childs_end_is_its_workers),
    cmocka_unit_test(a_child_is_no_worker),
    cmocka_unit_test(a_thread_that_began_may_end),
    cmocka_unit_test(what_workers_print_is_forwarded),
    cmocka_unit_test(workers_that_cannot_be_started),
        cmocka_unit_test(workers_that_end_before_their_first_task),
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = fail_to_start;
}

TEST_MAIN(tests, drivers)
