/*
 * openmp_tasks.c - from nothing to the first task's result on another thread.
 */
#include <omp.h>

#include "bench/support/clock.h"
#include "bench/support/options.h"
#include "cases.h"

static bench_reporter reporter = {.question = question, .contestant = CONTESTANT};

static uint64_t first_result(void)
{
    uint64_t result = 0;
#pragma omp parallel
#pragma omp single
    {
#pragma omp task shared(result)
        __atomic_store_n(&result, 42, __ATOMIC_RELEASE);
        while (__atomic_load_n(&result, __ATOMIC_ACQUIRE) == 0)
            __builtin_ia32_pause();
    }
    return result;
}

int main(int argc, char **argv)
{
    bench_options options = bench_options_read(argc, argv);
    reporter.workers = options.workers;
    if (options.workers < 2)
        return 0;
    omp_set_dynamic(0);
    omp_set_num_threads(options.workers);
    int64_t start = bench_now_ns();
    bench_expect(42, first_result(), "first result");
    bench_report(&reporter, (bench_row){.name = CASE_FIRST,
                                        .unit = "ns",
                                        .value = (double)(bench_now_ns() - start),
                                        .n = 1});
}
