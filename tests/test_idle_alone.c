/*
 * A worker without work costs nothing: no time of a CPU, and little memory of its own. Nor does a
 * driver that waits. Runs alone, because it looks at the clock.
 */
#include <time.h>

#include "tests/support/test.h"

enum { LOOK_MS = 300, MOST_RUN_MS = 10, MOST_PRIVATE_KB = 4096 };

DM_REMOTE(squares)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x * x);
}

/* Time on a CPU so far, of all threads, in nanoseconds. */
static int64_t run_ns(int pid)
{
    char path[64];
    unsigned long long ns = 0;
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &used) == 0)
        return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
    snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%llu", &ns) != 1)
        ns = 0;
    if (file)
        fclose(file);
    return (int64_t)ns;
}

static int private_kilobytes(int pid)
{
    char path[64], line[256];
    int total = 0, kilobytes;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Private_Clean: %d kB", &kilobytes) == 1 ||
            sscanf(line, "Private_Dirty: %d kB", &kilobytes) == 1)
            total += kilobytes;
    if (file)
        fclose(file);
    return total;
}

static void begin_with_two(void)
{
    int pids[2], x;
    session_begin(DM_ENGINE_PROCESSES, 2);
    dm_ref refs[100];
    for (int i = 0; i < 100; i++)
        refs[i] = dm_remote(squares, i);
    for (int i = 0; i < 100; i++) {
        assert_ok(dm_get(refs[i], &x));
        assert_int_equal(x, i * i);
        dm_release(refs[i]);
    }
    assert_soon(dm_worker_pids(pids, 2) == 2 && watch_state(pids[0]) == 'S' &&
                watch_state(pids[1]) == 'S');
}

/* A time must pass here: it is what is looked at. Three looks, because others may be about. */
static void assert_idle(const int *pids, int count)
{
    int64_t least = INT64_MAX;
    for (int look = 0; look < 3 && least > MOST_RUN_MS * 1000000; look++) {
        int64_t before = 0, after = 0, until = watch_now_ms() + LOOK_MS;
        for (int i = 0; i < count; i++)
            before += run_ns(pids[i]);
        while (watch_now_ms() < until)
            nanosleep(&(struct timespec){0, LOOK_MS * 1000000}, NULL);
        for (int i = 0; i < count; i++)
            after += run_ns(pids[i]);
        assert_true(before > 0);
        least = after - before < least ? after - before : least;
    }
    print_message("%d us of CPU in %d ms\n", (int)(least / 1000), LOOK_MS);
    assert_true(least <= MOST_RUN_MS * 1000000);
}

static void idle_workers_use_no_cpu(void **state)
{
    (void)state;
    int pids[3] = {0, 0, getpid()};
    begin_with_two();
    assert_int_equal(dm_worker_pids(pids, 2), 2);
    assert_idle(pids, 3); /* and so does the driver, its supervisor included */
    dm_shutdown();
}

static void idle_workers_use_little_memory(void **state)
{
    (void)state;
    int pids[2];
    if (watch_sanitized())
        skip();
    begin_with_two();
    assert_int_equal(dm_worker_pids(pids, 2), 2);
    for (int i = 0; i < 2; i++) {
        print_message("%d kB private\n", private_kilobytes(pids[i]));
        assert_in_range(private_kilobytes(pids[i]), 1, MOST_PRIVATE_KB);
    }
    dm_shutdown();
}

static void idle_threads_use_no_cpu(void **state)
{
    (void)state;
    int pid = getpid(), x;
    session_begin(DM_ENGINE_THREADS, 2);
    dm_ref ref = dm_remote(squares, 7);
    assert_ok(dm_get(ref, &x));
    dm_release(ref);
    assert_idle(&pid, 1);
    dm_shutdown();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(idle_workers_use_no_cpu),
    cmocka_unit_test(idle_workers_use_little_memory),
    cmocka_unit_test(idle_threads_use_no_cpu),
};

TEST_MAIN(tests, NULL)
