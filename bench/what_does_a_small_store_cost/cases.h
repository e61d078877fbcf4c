/*
 * cases.h - what both contestants do: have live objects of OBJECT bytes, LIVE_MIB in all unless --live says otherwise,
 * through a store of STORE_MIB (--store), then get GETS of them at random, each checked. The figure is bytes that
 * were got over the time of the gets; making the objects is a figure of its own; checking is in neither.
 */
#ifndef BENCH_SMALL_STORE_CASES_H
#define BENCH_SMALL_STORE_CASES_H

#include "bench/support/clock.h"
#include "bench/support/options.h"
#include "bench/support/signals.h"

static const char question[] = "what_does_a_small_store_cost";

#define CASE_MADE "made"
#define CASE_GETS "random gets"

enum { OBJECT = 4 << 20, LIVE_MIB = 4096, STORE_MIB = 256, GETS = 2000, SHIFTS = 997, SHIFT = 64 };

typedef struct run {
    bench_options options;
    bench_reporter reporter;
    size_t objects, store_bytes, gets;
    char *signals;  /* objects are pieces of this, each with a number of its own in front */
    uint64_t *sums; /* of the objects */
} run;

/* Object i as it is to be. */
static inline void case_fill(const run *r, char *to, uint64_t i)
{
    memcpy(to, r->signals + i % SHIFTS * SHIFT, OBJECT);
    memcpy(to, &i, sizeof i);
}

/* Object i is what it was, or the contestant ends. Its sum. */
static inline uint64_t case_check(const run *r, const void *found, uint64_t i)
{
    uint64_t sum = case_sum(found, OBJECT);
    bench_expect(r->sums[i], sum, "an object that was got");
    return sum;
}

/* The next to be got: the same in all contestants. */
static inline uint64_t case_next(const run *r, uint64_t *state)
{
    return case_random(state) % r->objects;
}

static inline run case_begin(int argc, char **argv, const char *contestant)
{
    run r = {.options = bench_options_read(argc, argv)};
    size_t live = r.options.live_mib ? r.options.live_mib : LIVE_MIB;
    size_t store = r.options.store_mib ? r.options.store_mib : STORE_MIB;
    r.objects = bench_scaled(&r.options, (live << 20) / OBJECT);
    r.store_bytes = bench_scaled(&r.options, store << 20);
    r.gets = bench_scaled(&r.options, GETS);
    r.reporter = (bench_reporter){question, contestant, r.options.workers};
    size_t bytes = OBJECT + SHIFTS * SHIFT;
    r.signals = malloc(bytes);
    r.sums = malloc(r.objects * sizeof *r.sums);
    if (r.signals == NULL || r.sums == NULL)
        exit(1);
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < bytes / sizeof(float); i++) {
        float value = case_signal(&state, i);
        memcpy(r.signals + i * sizeof value, &value, sizeof value);
    }
    return r;
}

static inline void case_report(const run *r, const char *name, size_t objects, int64_t ns, uint64_t answer,
                               uint64_t from_disk)
{
    char more[160];
    snprintf(more, sizeof more, "\"live_mib\":%zu,\"store_mib\":%zu,\"from_disk_mib\":%llu", r->objects * (OBJECT >> 20),
             r->store_bytes >> 20, (unsigned long long)from_disk >> 20);
    bench_report(&r->reporter, (bench_row){.name = name,
                                           .unit = "MB/s",
                                           .value = (double)objects * OBJECT * 1e3 / (double)ns,
                                           .n = objects,
                                           .answer = answer,
                                           .more = more});
}

#endif
