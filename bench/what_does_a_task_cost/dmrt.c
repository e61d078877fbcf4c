/*
 * dmrt.c - what a task costs through the public header, with any engine.
 *
 * Everything that a program must do for a task is timed: submit it, get and check its result, release
 * it. A window of W means that the oldest of W tasks is gathered before the next is submitted.
 */
#include "bench/support/burn.h"
#include "bench/support/session.h"
#include "bench/support/statistics.h"
#include "cases.h"

DM_REMOTE(nothing)
{
    (void)call;
    return DM_OK;
}

DM_REMOTE(two_bytes)
{
    static const char ok[2] = {'o', 'k'};
    return dm_return(call, &DM_BYTES(ok, sizeof ok));
}

DM_REMOTE(next)
{
    uint64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x + 1);
}

DM_REMOTE(burn)
{
    uint64_t seed;
    DM_TRY(dm_arg(call, 0, &seed));
    return dm_return(call, bench_burn(seed, BURN_ROUNDS));
}

static dm_ref submit_nothing(uint64_t i)
{
    (void)i;
    return dm_remote(nothing);
}

static dm_ref submit_two_bytes(uint64_t i)
{
    (void)i;
    return dm_remote(two_bytes);
}

static dm_ref submit_next(uint64_t i)
{
    return dm_remote(next, i);
}

static dm_ref submit_burn(uint64_t i)
{
    return dm_remote(burn, i);
}

static uint64_t gather_nothing(dm_ref ref)
{
    BENCH_TRY(dm_get(ref, (void *)0));
    BENCH_TRY(dm_release(ref));
    return 1;
}

static uint64_t gather_two_bytes(dm_ref ref)
{
    dm_view view;
    BENCH_TRY(dm_get(ref, &view));
    bool right = view.bytes == 2 && memcmp(view.data, "ok", 2) == 0;
    dm_view_release(&view);
    BENCH_TRY(dm_release(ref));
    return right;
}

static uint64_t gather_number(dm_ref ref)
{
    uint64_t x;
    BENCH_TRY(dm_get(ref, &x));
    BENCH_TRY(dm_release(ref));
    return x;
}

typedef struct kind {
    dm_ref (*submit)(uint64_t i);
    uint64_t (*gather)(dm_ref ref);
} kind;

static const kind of_nothing = {submit_nothing, gather_nothing};
static const kind of_two_bytes = {submit_two_bytes, gather_two_bytes};
static const kind of_next = {submit_next, gather_number};
static const kind of_burn = {submit_burn, gather_number};

static bench_options options;
static bench_reporter reporter = {.question = question};
static dm_ref *refs; /* STREAM of them, touched: the caller's handles are not what is measured */

/* n tasks, at most `window` of them in flight; the sum of their results. */
static uint64_t stream(const kind *of, size_t n, size_t window)
{
    uint64_t sum = 0;
    size_t ahead = window < n ? window : n;
    for (size_t i = 0; i < ahead; i++)
        refs[i] = of->submit(i);
    size_t here = 0;
    for (size_t i = ahead; i < n; i++) {
        sum += of->gather(refs[here]);
        refs[here] = of->submit(i);
        here = here + 1 == ahead ? 0 : here + 1;
    }
    for (size_t i = 0; i < ahead; i++) {
        sum += of->gather(refs[here]);
        here = here + 1 == ahead ? 0 : here + 1;
    }
    return sum;
}

typedef struct timing {
    int64_t wall, cpu;
} timing;

static timing timed_now(void)
{
    timing now = {.cpu = bench_session_cpu_ns()};
    now.wall = bench_now_ns();
    return now;
}

static timing timed_since(timing start)
{
    int64_t wall = bench_now_ns() - start.wall;
    return (timing){wall, bench_session_cpu_ns() - start.cpu};
}

/* A row in ns per task, with the CPU time that driver and workers used for it. */
static void report_per_task(const char *name, timing took, size_t n, uint64_t answer)
{
    char more[64];
    snprintf(more, sizeof more, "\"cpu_ns\":%.6g", (double)took.cpu / (double)n);
    bench_report(&reporter, (bench_row){.name = name,
                                        .unit = "ns",
                                        .value = (double)took.wall / (double)n,
                                        .n = n,
                                        .answer = answer,
                                        .more = more});
}

static uint64_t tasks_done(void)
{
    dm_stats stats;
    BENCH_TRY(dm_stats_get(&stats));
    return stats.tasks_done;
}

static void run_stream(const char *name, const kind *of, size_t n, size_t window)
{
    if (!bench_wants(&options, name))
        return;
    n = bench_scaled(&options, n);
    uint64_t done = tasks_done();
    timing start = timed_now();
    uint64_t answer = stream(of, n, window);
    timing took = timed_since(start);
    bench_expect(n, tasks_done() - done, "tasks done");
    report_per_task(name, took, n, answer);
}

static void run_async(void)
{
    if (!bench_wants(&options, CASE_ASYNC))
        return;
    size_t batches = bench_scaled(&options, BATCHES), n = batches * BATCH;
    uint64_t answer = 0;
    timing start = timed_now();
    for (size_t i = 0; i < batches; i++)
        answer += stream(&of_two_bytes, BATCH, BATCH);
    timing took = timed_since(start);
    bench_expect(n, answer, "right answers");
    report_per_task(CASE_ASYNC, took, n, answer);
}

/* Each trip timed by itself: the median, and the 99th percentile beside it. */
static void run_trips(const char *name, size_t n, int64_t pause_ns)
{
    static double took[TRIPS];
    char more[64];
    if (!bench_wants(&options, name))
        return;
    n = bench_scaled(&options, n);
    uint64_t answer = 0;
    for (size_t i = 0; i < n; i++) {
        if (pause_ns)
            bench_sleep_ns(pause_ns);
        int64_t start = bench_now_ns();
        uint64_t x = gather_number(dm_remote(next, i));
        took[i] = (double)(bench_now_ns() - start);
        bench_expect(i + 1, x, name);
        answer += x;
    }
    snprintf(more, sizeof more, "\"p99\":%.6g", bench_quantile(took, n, 0.99));
    bench_report(&reporter, (bench_row){.name = name,
                                        .unit = "ns",
                                        .value = bench_median(took, n),
                                        .n = n,
                                        .answer = answer,
                                        .more = more});
}

/* Real work: how far from (work / CPUs) is the whole? */
static void run_burn(void)
{
    char more[64];
    if (!bench_wants(&options, CASE_BURN))
        return;
    size_t n = bench_scaled(&options, BURNING);
    double alone = bench_burn_ns(BURN_ROUNDS);
    int at_once = options.workers < bench_cpus() ? options.workers : bench_cpus();
    if (strcmp(options.engine, "serial") == 0)
        at_once = 1;
    int64_t start = bench_now_ns();
    uint64_t answer = stream(&of_burn, n, BURN_WINDOW);
    double ideal = alone * (double)n / at_once;
    double ratio = (double)(bench_now_ns() - start) / ideal;
    snprintf(more, sizeof more, "\"task_ns\":%.6g", alone);
    bench_report(&reporter, (bench_row){.name = CASE_BURN,
                                        .unit = "x ideal",
                                        .value = ratio,
                                        .n = n,
                                        .answer = fold(answer),
                                        .more = more});
}

/* Until every worker has had time to start; in a small window, so that little memory is touched. */
static void warm_up(void)
{
    int64_t end = bench_now_ns() + (int64_t)(options.scale < 1 ? 0 : WARM_UP_NS);
    do
        stream(&of_next, 1000, 64);
    while (bench_now_ns() < end);
}

int main(int argc, char **argv)
{
    options = bench_options_read(argc, argv);
    dm_options session = bench_session_options(&options);
    BENCH_TRY(dm_init(&session));
    reporter.contestant = bench_session_name(&options);
    reporter.workers = options.workers;
    refs = malloc(STREAM * sizeof *refs);
    memset(refs, 0xff, STREAM * sizeof *refs);
    warm_up();
    run_stream(CASE_FIRST, &of_nothing, STREAM, STREAM); /* first: later the memory is warm */
    run_trips(CASE_AWAKE, TRIPS, 0);
    run_stream(CASE_SYNC, &of_two_bytes, SYNC, 1);
    run_async();
    run_stream(CASE_64, &of_nothing, STREAM, 64);
    run_stream(CASE_4096, &of_nothing, STREAM, 4096);
    run_stream(CASE_AT_ONCE, &of_nothing, STREAM, STREAM);
    run_stream(CASE_8_BYTES, &of_next, STREAM, 4096);
    run_burn();
    run_trips(CASE_ASLEEP, SLEEPY_TRIPS, SLEEP_NS);
    free(refs);
    dm_shutdown();
}
