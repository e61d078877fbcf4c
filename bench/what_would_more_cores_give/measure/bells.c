/*
 * bells.c - see bells.h. Workers and driver have one clock, so a time stamp of one is good in the other.
 */
#include "bench/what_would_more_cores_give/measure/bells.h"

#include <pthread.h>

#include "bench/support/burn.h"
#include "bench/support/session.h"
#include "bench/support/statistics.h"

enum { REST_NS = 2000000, BURN_ROUNDS = 1000000 }; /* about a millisecond: longer than a driver would spin */

DM_REMOTE(bench_stamp)
{
    return dm_return(call, bench_now_ns());
}

DM_REMOTE(bench_burn_and_stamp)
{
    int64_t rounds;
    DM_TRY(dm_arg(call, 0, &rounds));
    volatile uint64_t kept = bench_burn(1, (uint64_t)rounds);
    (void)kept;
    return dm_return(call, bench_now_ns());
}

/* ---- workers ---- */

typedef struct call_times {
    double until_run, call;
} call_times;

static call_times call_once(void)
{
    int64_t ran, before = bench_now_ns();
    dm_ref ref = dm_remote(bench_stamp);
    int64_t after = bench_now_ns();
    BENCH_TRY(dm_get(ref, &ran));
    BENCH_TRY(dm_release(ref));
    return (call_times){(double)(ran - before), (double)(after - before)};
}

void measure_worker_wake(size_t n, double *wake, double *bell)
{
    for (size_t i = 0; i < n; i++) {
        bench_sleep_ns(REST_NS);
        call_times asleep = call_once(), awake = call_once();
        wake[i] = asleep.until_run;
        bell[i] = asleep.call > awake.call ? asleep.call - awake.call : 0;
    }
}

/* ---- the driver ---- */

size_t measure_driver_wake(size_t n, int workers, double *wake)
{
    enum { EACH = 4, MOST = EACH * BENCH_MAX_WORKERS };
    static dm_ref refs[MOST];
    int tasks = EACH * workers;
    size_t found = 0;
    for (size_t tries = 0; found < n && tries < 2 * n; tries++) {
        for (int i = 0; i < tasks; i++)
            refs[i] = dm_remote(bench_burn_and_stamp, (int64_t)BURN_ROUNDS);
        for (int i = 0; i < tasks; i++) {
            int64_t ended, asked = bench_now_ns();
            BENCH_TRY(dm_get(refs[i], &ended));
            int64_t got = bench_now_ns();
            bool slept = asked < ended, others_run = i < tasks - 2 * workers;
            if (slept && others_run && found < n)
                wake[found++] = (double)(got - ended);
            BENCH_TRY(dm_release(refs[i]));
        }
    }
    return found;
}

/* ---- memory ---- */

enum { COPY_BYTES = 64 << 20, COPIES = 3 };

typedef struct copying {
    pthread_barrier_t *start;
    double ns; /* of one copy, the shortest */
} copying;

static void *copy(void *argument)
{
    copying *c = argument;
    char *from = malloc(COPY_BYTES), *to = malloc(COPY_BYTES);
    bench_expect(1, from && to, "memory to copy");
    memset(from, 1, COPY_BYTES);
    memset(to, 2, COPY_BYTES);
    pthread_barrier_wait(c->start);
    int64_t shortest = INT64_MAX;
    for (int i = 0; i < COPIES; i++) {
        int64_t start = bench_now_ns();
        memcpy(to, from, COPY_BYTES);
        from[i] = to[COPY_BYTES - 1 - i]; /* so that each copy is needed */
        int64_t took = bench_now_ns() - start;
        shortest = took < shortest ? took : shortest;
    }
    c->ns = (double)shortest;
    free(from);
    free(to);
    return NULL;
}

double measure_memory(int threads)
{
    pthread_t ids[BENCH_MAX_WORKERS];
    copying each[BENCH_MAX_WORKERS];
    pthread_barrier_t start;
    double total = 0;
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        each[i] = (copying){&start, 0};
        bench_expect(0, (uint64_t)pthread_create(&ids[i], NULL, copy, &each[i]), "starting a thread");
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        total += 2.0 * COPY_BYTES / each[i].ns;
    }
    pthread_barrier_destroy(&start);
    return total;
}
