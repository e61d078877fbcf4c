/*
 * dmrt.c - from dm_init to the first result, and what a session costs that has nothing to do.
 */
#include "bench/support/private_memory.h"
#include "bench/support/session.h"
#include "cases.h"

DM_REMOTE(next)
{
    uint64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x + 1);
}

static bench_reporter reporter = {.question = question};

static void report(const char *name, const char *unit, double value)
{
    bench_report(&reporter, (bench_row){.name = name, .unit = unit, .value = value, .n = 1});
}

static uint64_t first_result(void)
{
    uint64_t x;
    dm_ref ref = dm_remote(next, 41);
    BENCH_TRY(dm_get(ref, &x));
    BENCH_TRY(dm_release(ref));
    return x;
}

static long largest_worker_kib(void)
{
    int pids[BENCH_MAX_WORKERS];
    int n = dm_worker_pids(pids, BENCH_MAX_WORKERS);
    long largest = 0;
    for (int i = 0; i < n; i++) {
        long kib = pids[i] == getpid() ? 0 : bench_private_kib(pids[i]);
        largest = kib > largest ? kib : largest;
    }
    return largest;
}

static void report_idleness(void)
{
    bench_sleep_ns(SETTLE_NS);
    long kib = largest_worker_kib();
    if (kib > 0)
        report(CASE_MEMORY, "KiB", (double)kib);
    int64_t cpu = bench_session_cpu_ns();
    bench_sleep_ns(IDLE_NS);
    cpu = bench_session_cpu_ns() - cpu;
    report(CASE_CPU, "ns", (double)cpu * 1e9 / IDLE_NS);
}

int main(int argc, char **argv)
{
    bench_options options = bench_options_read(argc, argv);
    dm_options session = bench_session_options(&options);
    reporter.contestant = bench_session_name(&options);
    reporter.workers = options.workers;

    int64_t start = bench_now_ns();
    BENCH_TRY(dm_init(&session));
    int64_t returned = bench_now_ns();
    bench_expect(42, first_result(), "first result");
    int64_t first = bench_now_ns();
    report(CASE_INIT, "ns", (double)(returned - start));
    report(CASE_FIRST, "ns", (double)(first - start));
    report_idleness();
    start = bench_now_ns();
    dm_shutdown();
    report(CASE_SHUTDOWN, "ns", (double)(bench_now_ns() - start));
}
