/*
 * loop.c - the items one after the other, in this process: what there is to do.
 */
#include "cases.h"

static void loop(uint64_t *y, size_t n, uint64_t rounds)
{
    for (size_t i = 0; i < n; i++)
        y[i] = bench_burn(i, rounds);
}

int main(int argc, char **argv)
{
    bench_options options = bench_options_read(argc, argv);
    bench_reporter reporter = {question, "a loop", 1};
    run_cases(&options, &reporter, loop);
}
