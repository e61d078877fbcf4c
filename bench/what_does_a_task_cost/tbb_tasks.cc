/*
 * tbb_tasks.cc - what a task costs in oneTBB: a task_group of one thread, run by it and by the others.
 *
 * The round trips are the exception: there the submitter does not help but watches the result.
 */
#include <atomic>
#include <memory>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_group.h>
#include <thread>

#include "bench/what_does_a_task_cost/pool/pool_rows.h"

static std::unique_ptr<tbb::global_control> limit;
static std::unique_ptr<tbb::task_group> group;

static void start(int workers)
{
    limit = std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism,
                                                  static_cast<size_t>(workers));
    group = std::make_unique<tbb::task_group>();
}

static void stop()
{
    group.reset();
    limit.reset();
}

static uint64_t stream(pool_task task, size_t n, size_t window, uint64_t *results)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += window) {
        size_t end = i + window < n ? i + window : n;
        for (size_t j = i; j < end; j++)
            group->run([=] { results[j - i] = pool_work(task, j); });
        group->wait();
        for (size_t j = i; j < end; j++)
            sum += pool_counts(task, results[j - i]);
    }
    return sum;
}

static uint64_t trip(uint64_t x)
{
    std::atomic<uint64_t> result{UINT64_MAX};
    group->run([&result, x] { result.store(pool_work(POOL_NEXT, x), std::memory_order_release); });
    while (result.load(std::memory_order_acquire) == UINT64_MAX)
        __builtin_ia32_pause();
    group->wait();
    return result;
}

int main(int argc, char **argv)
{
    // with one CPU nobody would run what is watched
    const pool of = {"tbb_tasks", 0, 0, start, stop, stream,
                     std::thread::hardware_concurrency() > 1 ? trip : nullptr};
    return pool_rows_run(argc, argv, &of);
}
