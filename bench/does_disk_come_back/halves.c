/*
 * halves.c - bytes on disk when every second object is released of many that were spilled, over the bytes of those that
 * are left there, by their size; and how long after the last release the disk has come down to that. Noise, so that a
 * byte that is alive is a byte on disk.
 */
#include "bench/support/session.h"
#include "blocks.h"
#include "cases.h"

enum { LOOK_NS = 200000, SETTLED_NS = 300000000, PATIENCE_NS = 5000000 };

static bench_reporter reporter = {.question = question, .contestant = "dmrt auto"};

typedef struct half {
    const char *share, *wait;
    size_t object;
} half;

static const half halves[] = {
    {"on disk over alive there, 1 MiB", "until then, 1 MiB", 1 << 20},
    {"on disk over alive there, 64 KiB", "until then, 64 KiB", 64 << 10},
    {"on disk over alive there, 4 KiB", "until then, 4 KiB", 4 << 10},
};

static dm_ref put_noise(size_t bytes, uint64_t *state)
{
    dm_buffer buffer;
    BENCH_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    for (size_t i = 0; i < bytes; i += sizeof *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        memcpy((char *)buffer.data + i, state, sizeof *state);
    }
    return dm_seal(&buffer);
}

static dm_stats stats(void)
{
    dm_stats now;
    BENCH_TRY(dm_stats_get(&now));
    return now;
}

/* Until nothing moves. */
static void settle(void)
{
    uint64_t before = 0, now = bytes_on_disk();
    while (before != now || stats().spilling_bytes != 0) {
        bench_sleep_ns(PATIENCE_NS);
        before = now;
        now = bytes_on_disk();
    }
}

/* When was it as small as it gets? */
static uint64_t watch_it_shrink(int64_t *ns)
{
    int64_t start = bench_now_ns();
    uint64_t least = bytes_on_disk();
    *ns = bench_now_ns() - start;
    while (bench_now_ns() - start < *ns + SETTLED_NS) {
        bench_sleep_ns(LOOK_NS);
        uint64_t now = bytes_on_disk();
        if (now >= least)
            continue;
        least = now;
        *ns = bench_now_ns() - start;
    }
    return least;
}

static void run_half(const half *of, const bench_options *options)
{
    uint64_t state = 88172645463325252u;
    size_t n = (size_t)4 * STORE_MIB * (1 << 20) / of->object;
    dm_options session = {.workers = options->workers,
                          .engine = DM_ENGINE_THREADS, /* no worker has anything to do here */
                          .store_bytes = (size_t)STORE_MIB << 20,
                          .log = bench_no_log};
    int64_t ns;
    dm_ref *refs = malloc(n * sizeof *refs);
    if (refs == NULL)
        exit(1);
    BENCH_TRY(dm_init(&session));
    for (size_t i = 0; i < n; i++)
        refs[i] = put_noise(of->object, &state);
    settle();
    for (size_t i = 0; i < n; i += 2)
        BENCH_TRY(dm_release(refs[i]));
    uint64_t left = watch_it_shrink(&ns), alive = stats().spilled_bytes;
    bench_report(&reporter, (bench_row){.name = of->share, .unit = "times", .value = (double)left / (double)alive, .n = n});
    bench_report(&reporter, (bench_row){.name = of->wait, .unit = "ns", .value = (double)ns, .n = n});
    for (size_t i = 1; i < n; i += 2)
        BENCH_TRY(dm_release(refs[i]));
    dm_shutdown();
    free(refs);
}

int main(int argc, char **argv)
{
    bench_options options = bench_options_read(argc, argv);
    reporter.workers = options.workers;
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++)
        if (bench_wants(&options, halves[i].share) || bench_wants(&options, halves[i].wait))
            run_half(&halves[i], &options);
}
