/*
 * dmrt.c - how long a dm_get of an object takes that is in memory, with its dm_view_release, one every 20 us; the p99 of
 * 50,000. What goes on meanwhile:
 *
 *   --engine quiet      nothing
 *   --engine copying    two threads that copy memory and compute: what the scheduler and the memory do to anybody
 *   --engine spilling   a thread that puts objects of 4 MiB, of which twice as many stay alive as the store holds
 *   --engine returning  the same, and it reads each once more before it releases it
 *
 * `spilled_mb_s` and `restored_mb_s` say how fast. --live and --store, in MiB: what stays alive (512), and the store
 * (256).
 */
#include <pthread.h>
#include <stdatomic.h>

#include "bench/support/session.h"
#include "bench/support/signals.h"
#include "bench/support/statistics.h"

static const char question[] = "does_spilling_hold_up_gets";

enum {
    OBJECT = 4 << 20,
    RESIDENT = 1 << 20,
    LIVE_MIB = 512,
    STORE_MIB = 256,
    GETS = 50000,
    EVERY_NS = 20000,
    COPIERS = 2
};

typedef struct company {
    const char *engine, *contestant;
    void *(*run)(void *); /* NULL: nobody */
    int threads;
} company;

static bench_options options;
static size_t live;     /* objects */
static char *signals;   /* OBJECT bytes */
static atomic_bool over, under_way;
static bool returning;

/* ---- company ---- */

static dm_ref put_one(uint64_t number)
{
    dm_buffer buffer;
    BENCH_TRY(dm_create(DM_F32, 1, (size_t[]){OBJECT / sizeof(float)}, &buffer));
    memcpy(buffer.data, signals, OBJECT);
    memcpy(buffer.data, &number, sizeof number);
    return dm_seal(&buffer);
}

static void read_one(dm_ref ref, uint64_t number)
{
    dm_view view;
    uint64_t found;
    BENCH_TRY(dm_get(ref, &view));
    memcpy(&found, view.data, sizeof found);
    bench_expect(number, found, "an object that was put");
    dm_view_release(&view);
}

static void *spill(void *unused)
{
    dm_ref *refs = calloc(live, sizeof *refs);
    uint64_t number = 0;
    if (refs == NULL)
        exit(1);
    for (; !atomic_load(&over); number++) {
        size_t at = number % live;
        if (number >= live) {
            atomic_store(&under_way, true);
            if (returning)
                read_one(refs[at], number - live);
            BENCH_TRY(dm_release(refs[at]));
        }
        refs[at] = put_one(number);
    }
    for (size_t i = 0; i < live && i < number; i++)
        BENCH_TRY(dm_release(refs[i]));
    free(refs);
    return unused;
}

static void *copy(void *unused)
{
    char *to = malloc(OBJECT);
    uint64_t sum = 0;
    if (to == NULL)
        exit(1);
    while (!atomic_load(&over)) {
        memcpy(to, signals, OBJECT);
        sum += case_sum(to, OBJECT);
        atomic_store(&under_way, true);
    }
    free(to);
    return sum ? unused : NULL;
}

static const company companies[] = {
    {"quiet", "nothing else", NULL, 0},
    {"copying", "two threads that copy", copy, COPIERS},
    {"spilling", "spilling", spill, 1},
    {"returning", "spilling and reading back", spill, 1},
};

/* ---- gets ---- */

static void wait_until(int64_t ns)
{
    while (bench_now_ns() < ns)
        ;
}

/* So long does each take. What was read, all of it. */
static uint64_t get_often(dm_ref resident, double *took, size_t n)
{
    uint64_t answer = 0, word;
    int64_t next = bench_now_ns();
    for (size_t i = 0; i < n; i++) {
        dm_view view;
        wait_until(next);
        int64_t start = bench_now_ns();
        BENCH_TRY(dm_get(resident, &view));
        memcpy(&word, (const char *)view.data + i * sizeof word % RESIDENT, sizeof word);
        dm_view_release(&view);
        int64_t end = bench_now_ns();
        took[i] = (double)(end - start);
        answer += word;
        next = end + EVERY_NS;
    }
    return answer >> 16; /* a double holds it */
}

static dm_stats stats(void)
{
    dm_stats now;
    BENCH_TRY(dm_stats_get(&now));
    return now;
}

static double rate(uint64_t after, uint64_t before, int64_t ns)
{
    return (double)(after - before) * 1e3 / (double)ns;
}

static void measure(const bench_reporter *reporter, dm_ref resident)
{
    char more[256];
    size_t n = bench_scaled(&options, GETS);
    double *took = malloc(n * sizeof *took);
    if (took == NULL)
        exit(1);
    dm_stats before = stats();
    int64_t start = bench_now_ns();
    uint64_t answer = get_often(resident, took, n);
    int64_t ns = bench_now_ns() - start;
    dm_stats after = stats();
    double p99 = bench_quantile(took, n, 0.99);
    snprintf(more, sizeof more, "\"p50\":%.6g,\"p90\":%.6g,\"p999\":%.6g,\"most\":%.6g,\"spilled_mb_s\":%.4g,"
             "\"restored_mb_s\":%.4g", took[n / 2], took[n * 9 / 10], took[n * 999 / 1000], took[n - 1],
             rate(after.spilled_total, before.spilled_total, ns), rate(after.restored_total, before.restored_total, ns));
    bench_report(reporter, (bench_row){.name = "get of what is in memory, p99", .unit = "ns", .value = p99, .n = n,
                                       .answer = answer, .more = more});
    free(took);
}

/* ---- the run ---- */

static const company *choose(void)
{
    for (size_t i = 0; i < sizeof companies / sizeof *companies; i++)
        if (strcmp(options.engine, companies[i].engine) == 0)
            return &companies[i];
    fprintf(stderr, "--engine is quiet, copying, spilling or returning, not '%s'\n", options.engine);
    exit(2);
}

static void run(const company *with)
{
    pthread_t threads[COPIERS];
    bench_reporter reporter = {question, with->contestant, options.workers};
    dm_ref resident = dm_put(&DM_ARRAY(signals, DM_F32, RESIDENT / sizeof(float)));
    for (int i = 0; i < with->threads; i++)
        if (pthread_create(&threads[i], NULL, with->run, NULL) != 0)
            exit(1);
    while (with->threads != 0 && !atomic_load(&under_way)) {
        BENCH_TRY(dm_get(resident, (void *)NULL)); /* it is in use, and so stays */
        bench_sleep_ns(EVERY_NS);
    }
    measure(&reporter, resident);
    atomic_store(&over, true);
    for (int i = 0; i < with->threads; i++)
        pthread_join(threads[i], NULL);
    BENCH_TRY(dm_release(resident));
}

int main(int argc, char **argv)
{
    options = bench_options_read(argc, argv);
    const company *with = choose();
    returning = strcmp(options.engine, "returning") == 0;
    live = (options.live_mib ? options.live_mib : LIVE_MIB) * (size_t)(1 << 20) / OBJECT;
    signals = malloc(OBJECT);
    if (signals == NULL || live == 0)
        return 1;
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < OBJECT / sizeof(float); i++) {
        float value = case_signal(&state, i);
        memcpy(signals + i * sizeof value, &value, sizeof value);
    }
    dm_options session = {.workers = 1,
                          .engine = DM_ENGINE_THREADS, /* no worker has anything to do here */
                          .store_bytes = (options.store_mib ? options.store_mib : STORE_MIB) << 20,
                          .log = bench_no_log};
    BENCH_TRY(dm_init(&session));
    run(with);
    dm_shutdown();
    free(signals);
}
