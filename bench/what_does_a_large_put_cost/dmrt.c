/*
 * dmrt.c - dm_put; and dm_create, writing, dm_seal. Each is released before the next.
 */
#include "bench/support/session.h"
#include "cases.h"

static bench_options options;
static size_t bytes;
static char *source;

static dm_ref make(const large_case *of)
{
    dm_buffer buffer;
    if (!of->in_place)
        return dm_put(&DM_BYTES(source, bytes));
    BENCH_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    memset(buffer.data, FILLER, bytes);
    return dm_seal(&buffer);
}

static int64_t time_one(const large_case *of, uint64_t *answer)
{
    dm_view view;
    int64_t start = bench_now_ns();
    dm_ref ref = make(of);
    int64_t ns = bench_now_ns() - start;
    BENCH_TRY(dm_get(ref, &view));
    bench_expect(bytes, view.bytes, of->warm);
    *answer = case_check(of, view.data, source, bytes);
    dm_view_release(&view);
    BENCH_TRY(dm_release(ref));
    return ns;
}

static void run_case(const large_case *of, const bench_reporter *reporter)
{
    uint64_t answer = 0;
    int64_t took[WARM + 1];
    dm_options session = bench_session_options(&options);
    session.store_bytes = bytes + bytes / 4;
    session.spill_threshold = 0.95;
    session.log = bench_no_log;
    if (!bench_wants(&options, of->cold) && !bench_wants(&options, of->warm))
        return;
    BENCH_TRY(dm_init(&session));
    for (int i = 0; i <= WARM; i++)
        took[i] = time_one(of, &answer);
    dm_shutdown();
    case_report_all(reporter, of, took, bytes, answer);
}

int main(int argc, char **argv)
{
    options = bench_options_read(argc, argv);
    bytes = bench_scaled(&options, BYTES);
    source = case_source(bytes);
    bench_reporter reporter = {question, "dmrt", options.workers};
    for (int i = 0; i < CASES; i++)
        run_case(&cases[i], &reporter);
    free(source);
}
