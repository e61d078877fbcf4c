/*
 * bare_ring.c - the floor: what this machine lets a task cost, if a task is a line in a ring.
 *
 * One driver, one worker process, a shared ring of 64-byte lines each way. The worker reads a number
 * and answers with the next one. No futures, no table, no types, no sleep, no recovery: nothing that a
 * runtime needs. It says how far from the machine a figure is, not what could be had.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/support/clock.h"
#include "bench/support/options.h"
#include "bench/support/statistics.h"
#include "cases.h"

enum { LINES = 4096, GROUP = 16 }; /* published in groups while there are more to come */

typedef struct line {
    _Alignas(64) uint64_t number;
} line;

typedef struct counter {
    _Alignas(128) uint64_t count;
} counter;

typedef struct rings {
    counter sent, answered;
    line tasks[LINES], answers[LINES];
} rings;

static bench_options options;
static bench_reporter reporter = {.question = question, .contestant = "bare_ring", .workers = 1};
static rings *shared;
static uint64_t sent, seen; /* by the driver: tasks written, answers known to be there */

static inline uint64_t count_of(const counter *of)
{
    return __atomic_load_n(&of->count, __ATOMIC_ACQUIRE);
}

static inline void tell(counter *whom, uint64_t count)
{
    __atomic_store_n(&whom->count, count, __ATOMIC_RELEASE);
}

static void serve(void)
{
    uint64_t done = 0;
    for (;;) {
        uint64_t there = count_of(&shared->sent);
        while (there == done) {
            __builtin_ia32_pause();
            there = count_of(&shared->sent);
        }
        while (done < there) {
            shared->answers[done % LINES].number = shared->tasks[done % LINES].number + 1;
            if (++done % GROUP == 0 || done == there)
                tell(&shared->answered, done);
        }
    }
}

static pid_t start_worker(void)
{
    pid_t driver = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != driver)
        _exit(1);
    serve();
    return 0;
}

static inline uint64_t gather(uint64_t which)
{
    while (seen <= which) {
        __builtin_ia32_pause();
        seen = count_of(&shared->answered);
    }
    return shared->answers[which % LINES].number;
}

/* `window` is at least GROUP, or 1 for a single task: else nobody would tell the worker. */
static uint64_t stream(size_t n, size_t window)
{
    uint64_t sum = 0, first = sent;
    for (size_t i = 0; i < n; i++) {
        if (i >= window)
            sum += gather(first + i - window);
        shared->tasks[sent % LINES].number = i;
        if (++sent % GROUP == 0 || i + 1 == n)
            tell(&shared->sent, sent);
    }
    for (size_t i = n < window ? 0 : n - window; i < n; i++)
        sum += gather(first + i);
    return sum;
}

static void run_stream(const char *name, size_t n, size_t window, bool no_op)
{
    if (!bench_wants(&options, name))
        return;
    n = bench_scaled(&options, n);
    int64_t start = bench_now_ns();
    uint64_t answer = stream(n, window);
    int64_t took = bench_now_ns() - start;
    bench_expect(n * (n + 1) / 2, answer, name);
    bench_report(&reporter, (bench_row){.name = name,
                                        .unit = "ns",
                                        .value = (double)took / (double)n,
                                        .n = n,
                                        .answer = no_op ? n : answer});
}

static void run_trips(void)
{
    static double took[TRIPS];
    char more[64];
    if (!bench_wants(&options, CASE_AWAKE))
        return;
    size_t n = bench_scaled(&options, TRIPS);
    uint64_t answer = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t start = bench_now_ns();
        answer += stream(1, 1) + i;
        took[i] = (double)(bench_now_ns() - start);
    }
    snprintf(more, sizeof more, "\"p99\":%.6g", bench_quantile(took, n, 0.99));
    bench_report(&reporter, (bench_row){.name = CASE_AWAKE,
                                        .unit = "ns",
                                        .value = bench_median(took, n),
                                        .n = n,
                                        .answer = answer,
                                        .more = more});
}

int main(int argc, char **argv)
{
    options = bench_options_read(argc, argv);
    if (bench_cpus() < 2)
        return 0; /* two that spin need two CPUs */
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    pid_t worker = start_worker();
    stream(100000, LINES);
    run_trips();
    run_stream(CASE_64, STREAM, 64, true);
    run_stream(CASE_4096, STREAM, LINES, true);
    run_stream(CASE_8_BYTES, STREAM, LINES, false);
    kill(worker, SIGKILL);
    waitpid(worker, NULL, 0);
}
