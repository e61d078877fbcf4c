/*
 * dmrt.c - by the public interface: dm_create, dm_seal, dm_get. The gets wait for the disk; nothing is asked for ahead.
 */
#include "bench/support/session.h"
#include "cases.h"

static run r;
static dm_ref *refs;

static dm_stats stats(void)
{
    dm_stats now;
    BENCH_TRY(dm_stats_get(&now));
    return now;
}

static void make(void)
{
    int64_t summing = 0, start = bench_now_ns();
    uint64_t answer = 0;
    for (uint64_t i = 0; i < r.objects; i++) {
        dm_buffer buffer;
        BENCH_TRY(dm_create(DM_F32, 1, (size_t[]){OBJECT / sizeof(float)}, &buffer));
        case_fill(&r, buffer.data, i);
        int64_t from = bench_now_ns();
        answer ^= r.sums[i] = case_sum(buffer.data, OBJECT);
        summing += bench_now_ns() - from;
        refs[i] = dm_seal(&buffer);
    }
    case_report(&r, CASE_MADE, r.objects, bench_now_ns() - start - summing, answer, 0);
}

static void get_at_random(void)
{
    uint64_t state = 1, answer = 0, before = stats().restored_total;
    int64_t took = 0;
    for (size_t n = 0; n < r.gets; n++) {
        dm_view view;
        uint64_t i = case_next(&r, &state);
        int64_t start = bench_now_ns();
        BENCH_TRY(dm_get(refs[i], &view));
        took += bench_now_ns() - start;
        answer ^= case_check(&r, view.data, i);
        start = bench_now_ns();
        dm_view_release(&view);
        took += bench_now_ns() - start;
    }
    case_report(&r, CASE_GETS, r.gets, took, answer, stats().restored_total - before);
}

int main(int argc, char **argv)
{
    r = case_begin(argc, argv, "dmrt");
    dm_options session = {.workers = 1,
                          .engine = DM_ENGINE_THREADS, /* no worker has anything to do here */
                          .store_bytes = r.store_bytes,
                          .log = bench_no_log};
    BENCH_TRY(dm_init(&session));
    refs = malloc(r.objects * sizeof *refs);
    if (refs == NULL)
        return 1;
    make();
    get_at_random();
    bench_expect(0, stats().objects_lost, "objects lost");
    for (size_t i = 0; i < r.objects; i++)
        BENCH_TRY(dm_release(refs[i]));
    dm_shutdown();
    free(refs);
    free(r.signals);
    free(r.sums);
}
