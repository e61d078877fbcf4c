/*
 * openmp_tasks.c - what a task costs in OpenMP: tasks of one thread, run by it and by its team.
 *
 * OpenMP has no future and no window: a result is what the task wrote to the place it was given, and
 * to gather is to wait for all tasks (taskwait). So a window of W is batches of W here. libgomp, too,
 * bounds what is queued: beyond 64 tasks for each thread the submitter runs the next one itself.
 *
 * The round trips are the exception: there the submitter does not help but watches the result, so
 * that another thread must run the task, as another process must for dmrt.
 */
#include <omp.h>

#include "bench/support/burn.h"
#include "bench/support/options.h"
#include "bench/support/statistics.h"
#include "cases.h"

static bench_options options;
static bench_reporter reporter = {.question = question, .contestant = CONTESTANT};
static uint64_t *numbers; /* results of STREAM tasks, touched */

static uint64_t stream_two_bytes(size_t n, size_t window)
{
    char(*results)[2] = (void *)numbers;
    uint64_t right = 0;
    for (size_t i = 0; i < n; i += window) {
        size_t end = i + window < n ? i + window : n;
        for (size_t j = i; j < end; j++) {
#pragma omp task firstprivate(j, i)
            memcpy(results[j - i], "ok", 2);
        }
#pragma omp taskwait
        for (size_t j = i; j < end; j++)
            right += memcmp(results[j - i], "ok", 2) == 0;
        memset(results, 0, 2 * (end - i));
    }
    return right;
}

static uint64_t stream_next(size_t n, size_t window)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += window) {
        size_t end = i + window < n ? i + window : n;
        for (size_t j = i; j < end; j++) {
#pragma omp task firstprivate(j, i)
            numbers[j - i] = j + 1;
        }
#pragma omp taskwait
        for (size_t j = i; j < end; j++)
            sum += numbers[j - i];
    }
    return sum;
}

static uint64_t stream_work(burn_rounds *rounds, size_t n, size_t window)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += window) {
        size_t end = i + window < n ? i + window : n;
        for (size_t j = i; j < end; j++) {
#pragma omp task firstprivate(j, i, rounds)
            numbers[j - i] = bench_burn(j, rounds(j));
        }
#pragma omp taskwait
        for (size_t j = i; j < end; j++)
            sum += numbers[j - i];
    }
    return sum;
}

static void run_stream(const char *name, uint64_t (*of)(size_t, size_t), size_t n, size_t window)
{
    char more[64];
    if (!bench_wants(&options, name))
        return;
    n = bench_scaled(&options, n);
    int64_t cpu = bench_cpu_ns(0), start = bench_now_ns();
    uint64_t answer = of(n, window);
    int64_t took = bench_now_ns() - start;
    cpu = bench_cpu_ns(0) - cpu;
    if (of != stream_next)
        bench_expect(n, answer, name);
    snprintf(more, sizeof more, "\"cpu_ns\":%.6g", (double)cpu / (double)n);
    bench_report(&reporter, (bench_row){.name = name,
                                        .unit = "ns",
                                        .value = (double)took / (double)n,
                                        .n = n,
                                        .answer = answer,
                                        .more = more});
}

/* The submitter watches and does not help. */
static uint64_t trip(uint64_t x)
{
    uint64_t result = UINT64_MAX;
#pragma omp task firstprivate(x) shared(result)
    __atomic_store_n(&result, x + 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&result, __ATOMIC_ACQUIRE) == UINT64_MAX)
        __builtin_ia32_pause();
    return result;
}

static void run_trips(const char *name, size_t n, int64_t pause_ns)
{
    static double took[TRIPS];
    char more[64];
    if (!bench_wants(&options, name) || omp_get_num_threads() < 2)
        return;
    n = bench_scaled(&options, n);
    uint64_t answer = 0;
    for (size_t i = 0; i < n; i++) {
        if (pause_ns)
            bench_sleep_ns(pause_ns);
        int64_t start = bench_now_ns();
        uint64_t x = trip(i);
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

/* n tasks so often: how far from (work / CPUs) is the whole? */
static void run_work(const char *name, burn_rounds *rounds, size_t n, size_t window, size_t times)
{
    char more[64];
    if (!bench_wants(&options, name))
        return;
    n = bench_scaled(&options, n);
    double alone = bench_burn_ns(BURN_ROUNDS) * burns_of(rounds, n);
    int at_once = options.workers < bench_cpus() ? options.workers : bench_cpus();
    uint64_t answer = 0;
    int64_t start = bench_now_ns();
    for (size_t i = 0; i < times; i++)
        answer += stream_work(rounds, n, window);
    double ratio = (double)(bench_now_ns() - start) / (alone * (double)times / at_once);
    snprintf(more, sizeof more, "\"task_ns\":%.6g", alone / (double)n);
    bench_report(&reporter, (bench_row){.name = name,
                                        .unit = "x ideal",
                                        .value = ratio,
                                        .n = times * n,
                                        .answer = fold(answer),
                                        .more = more});
}

static void warm_up(void)
{
    int64_t end = bench_now_ns() + (int64_t)(options.scale < 1 ? 0 : WARM_UP_NS);
    do
        stream_next(1000, 64);
    while (bench_now_ns() < end);
}

static void run_all(void)
{
    warm_up();
    run_stream(CASE_FIRST, stream_two_bytes, STREAM, STREAM);
    run_trips(CASE_AWAKE, TRIPS, 0);
    run_stream(CASE_SYNC, stream_two_bytes, SYNC, 1);
    run_stream(CASE_ASYNC, stream_two_bytes, BATCH * BATCHES, BATCH);
    run_stream(CASE_64, stream_two_bytes, STREAM, 64);
    run_stream(CASE_4096, stream_two_bytes, STREAM, 4096);
    run_stream(CASE_AT_ONCE, stream_two_bytes, STREAM, STREAM);
    run_stream(CASE_8_BYTES, stream_next, STREAM, 4096);
    run_work(CASE_BURN, even_rounds, BURNING, BURN_WINDOW, 1);
    run_work(CASE_UNEVEN, uneven_rounds, UNEVEN, UNEVEN, UNEVEN_TIMES);
    run_trips(CASE_ASLEEP, SLEEPY_TRIPS, SLEEP_NS);
}

int main(int argc, char **argv)
{
    options = bench_options_read(argc, argv);
    reporter.workers = options.workers;
    numbers = malloc(STREAM * sizeof *numbers);
    memset(numbers, 0xff, STREAM * sizeof *numbers);
    omp_set_dynamic(0);
    omp_set_num_threads(options.workers);
#pragma omp parallel
#pragma omp single
    run_all();
    free(numbers);
}
