/*
 * pool_rows.c - see pool_rows.h.
 */
#include "bench/what_does_a_task_cost/pool/pool_rows.h"

#include "bench/support/burn.h"
#include "bench/support/options.h"
#include "bench/support/statistics.h"
#include "bench/what_does_a_task_cost/cases.h"

enum { LEAST = 100, OK = 'o' | 'k' << 8 };

static const pool *contestant;
static bench_options options;
static bench_reporter reporter = {.question = question};
static uint64_t *results; /* STREAM of them, touched */

uint64_t pool_work(pool_task task, uint64_t i)
{
    switch (task) {
    case POOL_TWO_BYTES: return OK;
    case POOL_NEXT: return i + 1;
    case POOL_BURN: return bench_burn(i, BURN_ROUNDS);
    case POOL_UNEVEN: return bench_burn(i, uneven_rounds(i));
    }
    return 0;
}

uint64_t pool_counts(pool_task task, uint64_t result)
{
    return task == POOL_TWO_BYTES ? result == OK : result;
}

static uint64_t expected(pool_task task, uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += pool_counts(task, pool_work(task, i));
    return sum;
}

/* Slow pools do fewer tasks, but some. */
static size_t tasks_of(size_t n)
{
    if (contestant->share > 0) {
        size_t share = (size_t)((double)n * contestant->share);
        n = share > LEAST ? share : n < LEAST ? n : LEAST;
    }
    return bench_scaled(&options, n);
}

static bool wanted(const char *name, size_t window)
{
    return bench_wants(&options, name) &&
           (contestant->most_queued == 0 || window <= contestant->most_queued);
}

static uint64_t stream(pool_task task, size_t n, size_t window)
{
    uint64_t sum = contestant->stream(task, n, window < n ? window : n, results);
    bench_expect(expected(task, n), sum, "answers");
    return sum;
}

static void report(const char *name, const char *unit, double value, size_t n, uint64_t answer,
                   const char *more)
{
    bench_report(&reporter, (bench_row){.name = name,
                                        .unit = unit,
                                        .value = value,
                                        .n = n,
                                        .answer = answer,
                                        .own_rules = contestant->share > 0,
                                        .more = more});
}

static void run_stream(const char *name, pool_task task, size_t n, size_t window)
{
    if (!wanted(name, window))
        return;
    n = tasks_of(n);
    int64_t start = bench_now_ns();
    uint64_t answer = contestant->stream(task, n, window < n ? window : n, results);
    int64_t took = bench_now_ns() - start;
    bench_expect(expected(task, n), answer, name);
    report(name, "ns", (double)took / (double)n, n, answer, NULL);
}

static void run_trips(const char *name, size_t n, int64_t pause_ns)
{
    static double took[TRIPS];
    char more[64];
    if (!bench_wants(&options, name) || contestant->trip == NULL)
        return;
    n = tasks_of(n);
    uint64_t answer = 0;
    for (size_t i = 0; i < n; i++) {
        if (pause_ns)
            bench_sleep_ns(pause_ns);
        int64_t start = bench_now_ns();
        uint64_t x = contestant->trip(i);
        took[i] = (double)(bench_now_ns() - start);
        bench_expect(i + 1, x, name);
        answer += x;
    }
    snprintf(more, sizeof more, "\"p99\":%.6g", bench_quantile(took, n, 0.99));
    report(name, "ns", bench_median(took, n), n, answer, more);
}

/* n tasks so often: how far from (work / CPUs) is the whole? */
static void run_work(const char *name, pool_task task, burn_rounds *rounds, size_t n, size_t window, size_t times)
{
    char more[64];
    if (!wanted(name, window))
        return;
    n = tasks_of(n);
    double alone = bench_burn_ns(BURN_ROUNDS) * burns_of(rounds, n);
    int at_once = options.workers < bench_cpus() ? options.workers : bench_cpus();
    uint64_t answer = 0;
    int64_t start = bench_now_ns();
    for (size_t i = 0; i < times; i++)
        answer += contestant->stream(task, n, window < n ? window : n, results);
    double took = (double)(bench_now_ns() - start);
    bench_expect(times * expected(task, n), answer, name);
    snprintf(more, sizeof more, "\"task_ns\":%.6g", alone / (double)n);
    report(name, "x ideal", took / (alone * (double)times / at_once), times * n, fold(answer), more);
}

static void warm_up(void)
{
    int64_t end = bench_now_ns() + (int64_t)(options.scale < 1 ? 0 : WARM_UP_NS);
    do
        stream(POOL_NEXT, tasks_of(1000), 64);
    while (bench_now_ns() < end);
}

int pool_rows_run(int argc, char **argv, const pool *of)
{
    contestant = of;
    options = bench_options_read(argc, argv);
    reporter.contestant = of->name;
    reporter.workers = options.workers;
    results = malloc(STREAM * sizeof *results);
    memset(results, 0xff, STREAM * sizeof *results);
    of->start(options.workers);
    warm_up();
    run_stream(CASE_FIRST, POOL_TWO_BYTES, STREAM, STREAM);
    run_trips(CASE_AWAKE, TRIPS, 0);
    run_stream(CASE_SYNC, POOL_TWO_BYTES, SYNC, 1);
    run_stream(CASE_ASYNC, POOL_TWO_BYTES, BATCH * BATCHES, BATCH);
    run_stream(CASE_64, POOL_TWO_BYTES, STREAM, 64);
    run_stream(CASE_4096, POOL_TWO_BYTES, STREAM, 4096);
    run_stream(CASE_AT_ONCE, POOL_TWO_BYTES, STREAM, STREAM);
    run_stream(CASE_100K, POOL_TWO_BYTES, GATHERED, GATHERED);
    run_stream(CASE_8_BYTES, POOL_NEXT, STREAM, 4096);
    run_work(CASE_BURN, POOL_BURN, even_rounds, BURNING, BURN_WINDOW, 1);
    run_work(CASE_UNEVEN, POOL_UNEVEN, uneven_rounds, UNEVEN, UNEVEN, of->share > 0 ? 1 : UNEVEN_TIMES);
    run_trips(CASE_ASLEEP, SLEEPY_TRIPS, SLEEP_NS);
    of->stop();
    free(results);
    return 0;
}
