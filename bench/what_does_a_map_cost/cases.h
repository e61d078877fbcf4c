/*
 * cases.h - what every contestant does here, so that it is the same: a number for each of n items, by work of a known
 * size. The longer the items, the fewer: the work is the same in all cases.
 */
#ifndef BENCH_MAP_COST_CASES_H
#define BENCH_MAP_COST_CASES_H

#include "bench/support/burn.h"
#include "bench/support/options.h"

static const char question[] = "what_does_a_map_cost";

enum { ALL_ROUNDS = 50000000 };

typedef struct map_case {
    const char *name;
    uint64_t rounds; /* of an item: a multiplication and an addition each, one after the other */
} map_case;

static const map_case cases[] = {{"items of 10 rounds", 10},
                                 {"items of 100 rounds", 100},
                                 {"items of 1,000 rounds", 1000},
                                 {"items of 10,000 rounds", 10000},
                                 {"items of 100,000 rounds", 100000}};
enum { CASES = sizeof cases / sizeof cases[0] };

/* How a contestant fills y[0] to y[n - 1]. */
typedef void (*map_way)(uint64_t *y, size_t n, uint64_t rounds);

/* What came out: 48 bits of the sum, which JSON holds exactly; and some of the items are done again here. */
static inline uint64_t check(const uint64_t *y, size_t n, uint64_t rounds)
{
    enum { LOOKED_AT = 100 };
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += y[i];
    for (size_t k = 0; k < LOOKED_AT; k++) {
        size_t i = k == LOOKED_AT - 1 ? n - 1 : k * n / LOOKED_AT;
        bench_expect(bench_burn(i, rounds), y[i], "an item");
    }
    return sum >> 16;
}

/* Twice, and the second time counts: workers have started, and memory is warm. */
static inline void run_case(const bench_options *options, const bench_reporter *who, const map_case *of, map_way way)
{
    size_t n = bench_scaled(options, ALL_ROUNDS / of->rounds);
    uint64_t *y = malloc(n * sizeof *y);
    int64_t took = 0;
    for (int i = 0; i < 2; i++) {
        memset(y, 0, n * sizeof *y);
        int64_t start = bench_now_ns();
        way(y, n, of->rounds);
        took = bench_now_ns() - start;
    }
    bench_report(who, (bench_row){.name = of->name,
                                  .unit = "ns",
                                  .value = (double)took / (double)n,
                                  .n = n,
                                  .answer = check(y, n, of->rounds)});
    free(y);
}

static inline void run_cases(const bench_options *options, const bench_reporter *who, map_way way)
{
    for (int i = 0; i < CASES; i++)
        if (bench_wants(options, cases[i].name))
            run_case(options, who, &cases[i], way);
}

#endif
