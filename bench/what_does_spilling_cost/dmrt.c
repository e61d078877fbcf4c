/*
 * dmrt.c - parts put into a store that holds an eighth of them, and got again, by the public interface: with
 * the filter that dmrt chooses (--engine best) and without any (--engine none).
 *
 * The figure is what really went to disk, or came back from there, over the time of the whole loop: copying the
 * part into the store, or out of it, is inside, and so are checksums and accounts.
 */
#include "bench/support/session.h"
#include "cases.h"

enum { SHARE = 8 };

static bench_reporter reporter = {.question = question};
static bench_options options;
static size_t parts;
static char *raw, *back;
static dm_ref refs[1 << 16];

static dm_stats stats(void)
{
    dm_stats now;
    BENCH_TRY(dm_stats_get(&now));
    return now;
}

static void report(const char *name, uint64_t bytes, int64_t ns, uint64_t answer)
{
    char more[96];
    dm_stats now = stats();
    snprintf(more, sizeof more, "\"stored\":%llu,\"ratio\":%.4g", (unsigned long long)now.spilled_stored,
             (double)now.spilled_total / (double)now.spilled_stored);
    bench_report(&reporter, (bench_row){.name = name,
                                        .unit = "MB/s",
                                        .value = (double)bytes * 1e3 / (double)ns,
                                        .n = parts * PART,
                                        .answer = answer,
                                        .more = more});
}

static void out(const spill_case *of, uint64_t answer)
{
    int64_t start = bench_now_ns();
    for (size_t i = 0; i < parts; i++) {
        refs[i] = dm_put(&DM_ARRAY(raw + i * PART, DM_F32, PART / sizeof(float)));
        BENCH_TRY(dm_get(refs[i], (void *)NULL));
    }
    report(of->out, stats().spilled_total, bench_now_ns() - start, answer);
}

static void in(const spill_case *of, uint64_t answer)
{
    uint64_t before = stats().restored_total;
    int64_t start = bench_now_ns();
    for (size_t i = 0; i < parts; i++) {
        dm_view view;
        BENCH_TRY(dm_get(refs[i], &view));
        memcpy(back + i * PART, view.data, PART);
        dm_view_release(&view);
    }
    int64_t ns = bench_now_ns() - start;
    bench_expect(answer, case_sum(back, parts * PART), of->back);
    report(of->back, stats().restored_total - before, ns, answer);
    for (size_t i = 0; i < parts; i++)
        BENCH_TRY(dm_release(refs[i]));
}

static void run_case(const spill_case *of, const dm_options *session)
{
    if (!bench_wants(&options, of->out) && !bench_wants(&options, of->back))
        return;
    BENCH_TRY(dm_init(session));
    case_fill(of, raw, parts * PART);
    memset(back, 1, parts * PART);
    uint64_t answer = case_sum(raw, parts * PART);
    out(of, answer);
    in(of, answer);
    dm_shutdown();
}

/* Touched, so that no fresh page is in the timing. */
static char *memory(size_t bytes)
{
    char *at = malloc(bytes);
    if (at == NULL)
        exit(1);
    return memset(at, 1, bytes);
}

int main(int argc, char **argv)
{
    options = bench_options_read(argc, argv);
    bool filtered = strcmp(options.engine, "none") != 0;
    parts = bench_scaled(&options, PARTS);
    dm_options session = {.workers = 1,
                          .engine = DM_ENGINE_THREADS, /* no worker has anything to do here */
                          .store_bytes = (parts / SHARE + 1) * (size_t)PART,
                          .spill_filter = filtered ? DM_FILTER_BEST : DM_FILTER_NONE,
                          .log = bench_no_log};
    reporter.contestant = filtered ? "dmrt" : "dmrt, no filter";
    reporter.workers = options.workers;
    raw = memory(parts * PART);
    back = memory(parts * PART);
    for (int i = 0; i < CASES; i++)
        run_case(&cases[i], &session);
    free(raw);
    free(back);
}
