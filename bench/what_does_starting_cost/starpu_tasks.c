/*
 * starpu_tasks.c - from starpu_init to the first task's result, StarPU with nothing to do, and its end. Its
 * workers are threads, so there is no memory of a worker's own to show.
 */
#include <starpu.h>

#include "bench/support/clock.h"
#include "bench/support/options.h"
#include "bench/support/starpu_home.h"
#include "cases.h"

static bench_reporter reporter = {.question = question, .contestant = "starpu_tasks"};
static uint64_t result;

static void report(const char *name, double ns)
{
    bench_report(&reporter, (bench_row){.name = name, .unit = "ns", .value = ns, .n = 1});
}

static void run_task(void **buffers, void *argument)
{
    (void)buffers, (void)argument;
    result = 42;
}

static struct starpu_codelet codelet = {.cpu_funcs = {run_task}, .nbuffers = 0};

static uint64_t first_result(void)
{
    struct starpu_task *task = starpu_task_create();
    task->cl = &codelet;
    if (starpu_task_submit(task) != 0)
        return 0;
    starpu_task_wait_for_all();
    return result;
}

int main(int argc, char **argv)
{
    bench_options options = bench_options_read(argc, argv);
    reporter.workers = options.workers;
    int64_t start = bench_now_ns();
    bench_starpu_start(options.workers);
    bench_expect(42, first_result(), "first result");
    report(CASE_FIRST, (double)(bench_now_ns() - start));
    bench_sleep_ns(SETTLE_NS);
    int64_t cpu = bench_cpu_ns(0);
    bench_sleep_ns(IDLE_NS);
    report(CASE_CPU, (double)(bench_cpu_ns(0) - cpu) * 1e9 / IDLE_NS);
    start = bench_now_ns();
    bench_starpu_stop();
    report(CASE_SHUTDOWN, (double)(bench_now_ns() - start));
}
