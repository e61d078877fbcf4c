/*
 * by_hand.c - the same by dm_remote, in chunks of a size chosen by somebody who knows the work: some for each worker,
 * so that they end together, and each much longer than a task costs.
 */
#include "bench/support/session.h"
#include "cases.h"

enum { CHUNKS_A_WORKER = 8 };

DM_REMOTE(chunk_burns)
{
    size_t first, n;
    uint64_t rounds;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &first));
    DM_TRY(dm_arg(call, 1, &n));
    DM_TRY(dm_arg(call, 2, &rounds));
    DM_TRY(dm_create(DM_U64, 1, &n, &buffer));
    uint64_t *y = buffer.data;
    for (size_t i = 0; i < n; i++)
        y[i] = bench_burn(first + i, rounds);
    return dm_return(call, &buffer);
}

static size_t chunks; /* at most so many */

static void by_hand(uint64_t *y, size_t n, uint64_t rounds)
{
    size_t most = chunks < n ? chunks : n;
    dm_ref *refs = malloc(most * sizeof *refs);
    for (size_t k = 0; k < most; k++) {
        size_t first = k * n / most;
        refs[k] = dm_remote(chunk_burns, first, (k + 1) * n / most - first, rounds);
    }
    for (size_t k = 0; k < most; k++) {
        dm_view view;
        BENCH_TRY(dm_get(refs[k], &view));
        memcpy(y + k * n / most, view.data, view.bytes);
        dm_view_release(&view);
        BENCH_TRY(dm_release(refs[k]));
    }
    free(refs);
}

int main(int argc, char **argv)
{
    bench_options options = bench_options_read(argc, argv);
    dm_options session = bench_session_options(&options);
    bench_reporter reporter = {question, "chunks by hand", options.workers};
    chunks = (size_t)options.workers * CHUNKS_A_WORKER;
    BENCH_TRY(dm_init(&session));
    run_cases(&options, &reporter, by_hand);
    dm_shutdown();
}
