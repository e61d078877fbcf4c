/*
 * dmrt_tasks.c - rows of tasks whose arguments and results are small, or waited for.
 *
 * A window of W means that the oldest of W tasks is gathered before the next is submitted.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/support/burn.h"
#include "bench/support/session.h"
#include "bench/support/statistics.h"
#include "bench/what_does_a_task_cost/cases.h"
#include "bench/what_does_a_task_cost/rows/dmrt_rows.h"

DM_REMOTE(task_two_bytes)
{
    static const char ok[2] = {'o', 'k'};
    return dm_return(call, &DM_BYTES(ok, sizeof ok));
}

DM_REMOTE(task_next)
{
    uint64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x + 1);
}

DM_REMOTE(task_burn)
{
    uint64_t seed;
    DM_TRY(dm_arg(call, 0, &seed));
    return dm_return(call, bench_burn(seed, BURN_ROUNDS));
}

DM_REMOTE(task_uneven)
{
    uint64_t i;
    DM_TRY(dm_arg(call, 0, &i));
    return dm_return(call, bench_burn(i, uneven_rounds(i)));
}

DM_REMOTE(task_large)
{
    dm_buffer buffer;
    uint64_t i;
    DM_TRY(dm_arg(call, 0, &i));
    DM_TRY(dm_create(DM_U8, 1, (size_t[]){LARGE_BYTES}, &buffer));
    memset(buffer.data, (int)(i & 0xff), LARGE_BYTES);
    return dm_return(call, &buffer);
}

static dm_ref submit_two_bytes(uint64_t i)
{
    (void)i;
    return dm_remote(task_two_bytes);
}

static dm_ref submit_next(uint64_t i)
{
    return dm_remote(task_next, i);
}

static dm_ref submit_burn(uint64_t i)
{
    return dm_remote(task_burn, i);
}

static dm_ref submit_uneven(uint64_t i)
{
    return dm_remote(task_uneven, i);
}

static dm_ref submit_large(uint64_t i)
{
    return dm_remote(task_large, i);
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

/* Whole, and the same byte at both ends: that byte. */
static uint64_t gather_large(dm_ref ref)
{
    dm_view view;
    BENCH_TRY(dm_get(ref, &view));
    const uint8_t *bytes = view.data;
    bench_expect(LARGE_BYTES, view.bytes, "bytes of a large result");
    bench_expect(bytes[0], bytes[LARGE_BYTES - 1], "its last byte");
    uint64_t byte = bytes[0];
    dm_view_release(&view);
    BENCH_TRY(dm_release(ref));
    return byte;
}

static uint64_t gather_number(dm_ref ref)
{
    uint64_t x;
    BENCH_TRY(dm_get(ref, &x));
    BENCH_TRY(dm_release(ref));
    return x;
}

typedef struct task_kind {
    dm_ref (*submit)(uint64_t i);
    uint64_t (*gather)(dm_ref ref);
} task_kind;

static const task_kind kind_two_bytes = {submit_two_bytes, gather_two_bytes};
static const task_kind kind_next = {submit_next, gather_number};
static const task_kind kind_burn = {submit_burn, gather_number};
static const task_kind kind_uneven = {submit_uneven, gather_number};
static const task_kind kind_large = {submit_large, gather_large};

static const dmrt_rows *rows;
static dm_ref *refs; /* of the longest stream, touched: the caller's handles are not what is measured */

/* n tasks, at most `window` of them in flight; the sum of their results. */
static uint64_t stream(const task_kind *of, size_t n, size_t window)
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

static uint64_t tasks_done(void)
{
    dm_stats stats;
    BENCH_TRY(dm_stats_get(&stats));
    return stats.tasks_done;
}

static void run_stream(const char *name, const task_kind *of, size_t n, size_t window)
{
    if (!bench_wants(&rows->options, name))
        return;
    n = bench_scaled(&rows->options, n);
    uint64_t done = tasks_done();
    rows_timing start = rows_now();
    uint64_t answer = stream(of, n, window);
    rows_timing took = rows_since(start);
    bench_expect(n, tasks_done() - done, "tasks done");
    rows_report(rows, name, took, n, answer);
}

static void run_async(void)
{
    if (!bench_wants(&rows->options, CASE_ASYNC))
        return;
    size_t batches = bench_scaled(&rows->options, BATCHES), n = batches * BATCH;
    uint64_t answer = 0;
    rows_timing start = rows_now();
    for (size_t i = 0; i < batches; i++)
        answer += stream(&kind_two_bytes, BATCH, BATCH);
    rows_timing took = rows_since(start);
    bench_expect(n, answer, "right answers");
    rows_report(rows, CASE_ASYNC, took, n, answer);
}

/* Each trip timed by itself: the median, and the 99th percentile beside it. */
static void run_trips(const char *name, size_t n, int64_t pause_ns)
{
    static double took[TRIPS];
    char more[64];
    if (!bench_wants(&rows->options, name))
        return;
    n = bench_scaled(&rows->options, n);
    uint64_t answer = 0;
    for (size_t i = 0; i < n; i++) {
        if (pause_ns)
            bench_sleep_ns(pause_ns);
        int64_t start = bench_now_ns();
        uint64_t x = gather_number(dm_remote(task_next, i));
        took[i] = (double)(bench_now_ns() - start);
        bench_expect(i + 1, x, name);
        answer += x;
    }
    snprintf(more, sizeof more, "\"p99\":%.6g", bench_quantile(took, n, 0.99));
    rows->report(rows->context, &(bench_row){.name = name,
                                        .unit = "ns",
                                        .value = bench_median(took, n),
                                        .n = n,
                                        .answer = answer,
                                        .more = more});
}

/* Real work, n tasks so often: how far from (work / CPUs) is the whole? */
static void run_work(const char *name, const task_kind *of, burn_rounds *rounds, size_t n, size_t window, size_t times)
{
    char more[64];
    if (!bench_wants(&rows->options, name))
        return;
    n = bench_scaled(&rows->options, n);
    double alone = bench_burn_ns(BURN_ROUNDS) * burns_of(rounds, n);
    int at_once = rows->options.workers < bench_cpus() ? rows->options.workers : bench_cpus();
    if (strcmp(rows->options.engine, "serial") == 0)
        at_once = 1;
    uint64_t answer = 0;
    int64_t start = bench_now_ns();
    for (size_t i = 0; i < times; i++)
        answer += stream(of, n, window);
    double ratio = (double)(bench_now_ns() - start) / (alone * (double)times / at_once);
    snprintf(more, sizeof more, "\"task_ns\":%.6g", alone / (double)n);
    rows->report(rows->context, &(bench_row){.name = name,
                                        .unit = "x ideal",
                                        .value = ratio,
                                        .n = times * n,
                                        .answer = fold(answer),
                                        .more = more});
}

/* The list is waited for as one, then read. */
static void run_batches(void)
{
    if (!bench_wants(&rows->options, CASE_BATCH))
        return;
    size_t batches = bench_scaled(&rows->options, BATCHES), n = batches * BATCH;
    uint64_t answer = 0;
    rows_timing start = rows_now();
    for (size_t i = 0; i < batches; i++) {
        for (size_t j = 0; j < BATCH; j++)
            refs[j] = submit_two_bytes(j);
        BENCH_TRY(dm_wait(refs, BATCH, BATCH, DM_NONE, NULL));
        for (size_t j = 0; j < BATCH; j++)
            answer += gather_two_bytes(refs[j]);
    }
    rows_timing took = rows_since(start);
    bench_expect(n, answer, "right answers");
    rows_report(rows, CASE_BATCH, took, n, answer);
}

/* Submit 1,000, wait for any one of those that are left, until none is. */
static void run_waits(void)
{
    static bool ready[WAITED];
    if (!bench_wants(&rows->options, CASE_WAIT))
        return;
    size_t rounds = bench_scaled(&rows->options, WAITED_ROUNDS);
    uint64_t answer = 0;
    rows_timing start = rows_now();
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < WAITED; i++)
            refs[i] = submit_two_bytes(i);
        for (size_t left = WAITED; left > 0; left--) {
            size_t one = 0;
            BENCH_TRY(dm_wait(refs, left, 1, DM_NONE, ready));
            while (!ready[one])
                one++;
            answer += gather_two_bytes(refs[one]);
            refs[one] = refs[left - 1];
        }
    }
    rows_timing took = rows_since(start);
    bench_expect(rounds * WAITED, answer, "right answers");
    rows_report(rows, CASE_WAIT, took, rounds, answer);
}

/* Until every worker has had time to start; in a small window, so that little memory is touched. */
static void warm_up(void)
{
    int64_t end = bench_now_ns() + (int64_t)(rows->options.scale < 1 ? 0 : WARM_UP_NS);
    do
        stream(&kind_next, 1000, 64);
    while (bench_now_ns() < end);
}

static void hold_refs(size_t n)
{
    refs = malloc(n * sizeof *refs);
    if (refs == NULL)
        abort();
    memset(refs, 0xff, n * sizeof *refs);
}

void rows_of_tasks(const dmrt_rows *of)
{
    rows = of;
    hold_refs(STREAM);
    warm_up();
    run_stream(CASE_FIRST, &kind_two_bytes, STREAM, STREAM); /* first: later the memory is warm */
    run_trips(CASE_AWAKE, TRIPS, 0);
    run_stream(CASE_SYNC, &kind_two_bytes, SYNC, 1);
    run_async();
    run_batches();
    run_waits();
    run_stream(CASE_64, &kind_two_bytes, STREAM, 64);
    run_stream(CASE_4096, &kind_two_bytes, STREAM, 4096);
    run_stream(CASE_AT_ONCE, &kind_two_bytes, STREAM, STREAM);
    run_stream(CASE_100K, &kind_two_bytes, GATHERED, GATHERED);
    run_stream(CASE_8_BYTES, &kind_next, STREAM, 4096);
    run_work(CASE_BURN, &kind_burn, even_rounds, BURNING, BURN_WINDOW, 1);
    run_work(CASE_UNEVEN, &kind_uneven, uneven_rounds, UNEVEN, UNEVEN, UNEVEN_TIMES);
    run_stream(CASE_SYNC_LARGE, &kind_large, LARGE_RETURNS, 1);
    run_stream(CASE_ASYNC_LARGE, &kind_large, LARGE_RETURNS, 1000);
    run_trips(CASE_ASLEEP, SLEEPY_TRIPS, SLEEP_NS);
    free(refs);
}

void dmrt_rows_run_many(const dmrt_rows *of)
{
    rows = of;
    if (!bench_wants(&rows->options, CASE_10M))
        return;
    hold_refs(bench_scaled(&rows->options, TEN_MILLION));
    run_stream(CASE_10M, &kind_two_bytes, TEN_MILLION, TEN_MILLION);
    free(refs);
}
