/*
 * mapped.c - dm_map, which chooses the chunks itself, from the time that items take.
 */
#include "bench/support/session.h"
#include "cases.h"

DM_MAP(map_burns)
{
    uint64_t rounds, *y;
    DM_TRY(dm_arg(call, 0, &rounds));
    DM_TRY(dm_range_results(range, &y));
    for (size_t i = 0; i < range->n; i++)
        y[i] = bench_burn(range->first + i, rounds);
    return DM_OK;
}

static void mapped(uint64_t *y, size_t n, uint64_t rounds)
{
    BENCH_TRY(dm_map(map_burns, n, DM_RESULTS(y), rounds));
}

int main(int argc, char **argv)
{
    bench_options options = bench_options_read(argc, argv);
    dm_options session = bench_session_options(&options);
    bench_reporter reporter = {question, "dm_map", options.workers};
    BENCH_TRY(dm_init(&session));
    run_cases(&options, &reporter, mapped);
    dm_shutdown();
}
