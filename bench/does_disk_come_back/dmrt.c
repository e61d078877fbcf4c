/*
 * dmrt.c - consecutive models whose values are more than the store holds, under one policy.
 *
 * BENCH_SERIES names a file to which "milliseconds bytes" is written, for the picture.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "bench/support/session.h"
#include "blocks.h"
#include "cases.h"

enum { LOOK_NS = 3000000, SAMPLES_MOST = 1 << 20 };

static bench_reporter reporter = {.question = question};

/* ---- the disk ---- */

typedef struct sample {
    int64_t at_ns;
    uint64_t bytes;
} sample;

static sample samples[SAMPLES_MOST];
static size_t sample_count;
static atomic_bool finished;

static void *watch(void *unused)
{
    (void)unused;
    while (!atomic_load(&finished) && sample_count < SAMPLES_MOST) {
        samples[sample_count++] = (sample){bench_now_ns(), bytes_on_disk()};
        bench_sleep_ns(LOOK_NS);
    }
    return NULL;
}

static void report(const char *name, const char *unit, double value)
{
    bench_report(&reporter, (bench_row){.name = name, .unit = unit, .value = value, .n = MODELS});
}

static void report_samples(void)
{
    double peak = 0, area = 0;
    const char *path = getenv("BENCH_SERIES");
    FILE *series = path ? fopen(path, "w") : NULL;
    for (size_t i = 0; i < sample_count; i++) {
        double bytes = (double)samples[i].bytes;
        peak = bytes > peak ? bytes : peak;
        if (i > 0)
            area += bytes * (double)(samples[i].at_ns - samples[i - 1].at_ns);
        if (series)
            fprintf(series, "%.3f %.0f\n", (double)(samples[i].at_ns - samples[0].at_ns) / 1e6, bytes);
    }
    if (series)
        fclose(series);
    report(CASE_PEAK, "bytes", peak);
    report(CASE_MEAN, "bytes", area / (double)(samples[sample_count - 1].at_ns - samples[0].at_ns));
}

/* ---- a model ---- */

/* Signals as a scanner gives them: whole numbers as floats, smooth with noise. */
static void fill(float *signal, size_t count, uint32_t seed)
{
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        signal[i] = (float)(500 + i / 64 % 400 + (state >> 26));
    }
}

static uint64_t sum(const float *signal, size_t count)
{
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += signal[i];
    return (uint64_t)total;
}

/* Its values are made, then read in order. */
static void model(uint32_t number)
{
    static dm_ref refs[OBJECTS];
    static uint64_t sums[OBJECTS];
    size_t count = OBJECT_BYTES / sizeof(float);
    BENCH_TRY(dm_scope_begin());
    for (uint32_t i = 0; i < OBJECTS; i++) {
        dm_buffer buffer;
        BENCH_TRY(dm_create(DM_F32, 1, &count, &buffer));
        fill(buffer.data, count, number * OBJECTS + i);
        sums[i] = sum(buffer.data, count);
        refs[i] = dm_seal(&buffer);
    }
    for (uint32_t i = 0; i < OBJECTS; i++) {
        dm_view view;
        BENCH_TRY(dm_get(refs[i], &view));
        bench_expect(sums[i], sum(view.data, count), "the sum of a value read back");
        dm_view_release(&view);
        BENCH_TRY(dm_release(refs[i]));
    }
    BENCH_TRY(dm_scope_end());
}

static void report_end(void)
{
    enum { PATIENCE_NS = 1000000000 };
    int64_t released = bench_now_ns();
    while (bytes_on_disk() != 0 && bench_now_ns() - released < PATIENCE_NS)
        bench_sleep_ns(200000);
    uint64_t left = bytes_on_disk();
    report(CASE_END, "bytes", (double)left);
    if (left == 0)
        report(CASE_WAIT, "ns", (double)(bench_now_ns() - released));
}

int main(int argc, char **argv)
{
    bench_options options = bench_options_read(argc, argv);
    dm_options session = bench_session_options(&options);
    pthread_t watcher;
    session.store_bytes = (size_t)STORE_MIB << 20;
    session.log = bench_no_log;
    static char name[64];
    snprintf(name, sizeof name, "dmrt %s", options.policy ? options.policy : "auto");
    reporter.contestant = name;
    reporter.workers = options.workers;
    BENCH_TRY(dm_init(&session));
    pthread_create(&watcher, NULL, watch, NULL);
    int64_t start = bench_now_ns();
    for (uint32_t i = 0; i < MODELS; i++)
        model(i);
    report(CASE_TIME, "ns", (double)(bench_now_ns() - start) / MODELS);
    report_end();
    atomic_store(&finished, true);
    pthread_join(watcher, NULL);
    report_samples();
    dm_shutdown();
}
