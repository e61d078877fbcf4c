/*
 * dmrt_graphs.c - rows of tasks that depend on many others, that have many values, and that submit tasks.
 */
#include "bench/support/session.h"
#include "bench/what_does_a_task_cost/cases.h"
#include "bench/what_does_a_task_cost/rows/dmrt_rows.h"

static const dmrt_rows *rows;

DM_REMOTE(task_sum)
{
    uint64_t sum = 0, x;
    for (int i = 0, n = dm_arg_count(call); i < n; i++) {
        DM_TRY(dm_arg(call, i, &x));
        sum += x;
    }
    return dm_return(call, sum);
}

/* One more than the largest of its arguments: the number of its wave, if they came in order. */
DM_REMOTE(task_after)
{
    uint64_t largest = 0, x;
    for (int i = 0, n = dm_arg_count(call); i < n; i++) {
        DM_TRY(dm_arg(call, i, &x));
        largest = x > largest ? x : largest;
    }
    return dm_return(call, largest + 1);
}

/* As many values as it was asked for: their numbers. */
DM_REMOTE(task_returns)
{
    for (int i = 0, n = dm_return_count(call); i < n; i++)
        DM_TRY(dm_return_at(call, i, i));
    return DM_OK;
}

DM_REMOTE(task_small)
{
    static const char ok[2] = {'o', 'k'};
    return dm_return(call, &DM_BYTES(ok, sizeof ok));
}

static dm_status gather_small(dm_ref ref, uint64_t *right)
{
    dm_view view;
    dm_status status = dm_get(ref, &view);
    if (status == DM_OK) {
        *right += view.bytes == 2 && memcmp(view.data, "ok", 2) == 0;
        dm_view_release(&view);
    }
    dm_status released = dm_release(ref);
    return status == DM_OK ? released : status;
}

/* One of several submitters: so many tasks, then all their results. */
DM_REMOTE(task_submits)
{
    size_t n;
    uint64_t right = 0;
    DM_TRY(dm_arg(call, 0, &n));
    dm_ref *refs = malloc(n * sizeof *refs);
    if (refs == NULL)
        return dm_fail(call, "no memory for %zu refs", n);
    for (size_t i = 0; i < n; i++)
        refs[i] = dm_remote(task_small);
    dm_status status = DM_OK;
    for (size_t i = 0; i < n; i++) {
        dm_status gathered = gather_small(refs[i], &right);
        status = status == DM_OK ? gathered : status;
    }
    free(refs);
    return status == DM_OK ? dm_return(call, right) : status;
}

static uint64_t gathered(dm_ref ref)
{
    uint64_t x;
    BENCH_TRY(dm_get(ref, &x));
    BENCH_TRY(dm_release(ref));
    return x;
}

static void run_clients(void)
{
    dm_ref clients[CLIENTS];
    if (!bench_wants(&rows->options, CASE_CLIENTS))
        return;
    size_t each = bench_scaled(&rows->options, CLIENT_TASKS), n = each * CLIENTS;
    uint64_t answer = 0;
    rows_timing start = rows_now();
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = dm_remote(task_submits, each);
    for (int i = 0; i < CLIENTS; i++)
        answer += gathered(clients[i]);
    rows_timing took = rows_since(start);
    bench_expect(n, answer, CASE_CLIENTS);
    rows_report(rows, CASE_CLIENTS, took, n, answer);
}

static void run_arguments(void)
{
    enum { ROUNDS = 5 };
    if (!bench_wants(&rows->options, CASE_ARGS))
        return;
    dm_value *arguments = malloc(MANY * sizeof *arguments);
    for (size_t i = 0; i < MANY; i++)
        arguments[i] = dm_value_ref(dm_put(i));
    uint64_t answer = 0;
    rows_timing start = rows_now();
    for (int i = 0; i < ROUNDS; i++)
        answer += gathered(dm_submit(&task_sum, NULL, arguments, MANY));
    rows_timing took = rows_since(start);
    bench_expect((uint64_t)ROUNDS * MANY * (MANY - 1) / 2, answer, CASE_ARGS);
    rows_report(rows, CASE_ARGS, took, ROUNDS, answer);
    for (size_t i = 0; i < MANY; i++)
        BENCH_TRY(dm_release(arguments[i].ref));
    free(arguments);
}

static void run_returns(void)
{
    enum { ROUNDS = 10 };
    static dm_ref refs[RETURNS];
    if (!bench_wants(&rows->options, CASE_RETURNS))
        return;
    uint64_t answer = 0;
    rows_timing start = rows_now();
    for (int i = 0; i < ROUNDS; i++) {
        dm_remote_n(refs, RETURNS, task_returns);
        for (int j = 0; j < RETURNS; j++)
            answer += gathered(refs[j]);
    }
    rows_timing took = rows_since(start);
    bench_expect((uint64_t)ROUNDS * RETURNS * (RETURNS - 1) / 2, answer, CASE_RETURNS);
    rows_report(rows, CASE_RETURNS, took, ROUNDS, answer);
}

/* Submit a wave, each of its tasks on all of the wave before, which nobody else holds from then on. */
static void submit_wave(dm_ref *wave, dm_value *before, size_t width, size_t count)
{
    for (size_t i = 0; i < width; i++)
        wave[i] = dm_submit(&task_after, NULL, before, count);
    for (size_t i = 0; i < count; i++)
        BENCH_TRY(dm_release(before[i].ref));
    for (size_t i = 0; i < width; i++)
        before[i] = dm_value_ref(wave[i]);
}

/* Waves 1 to `waves`, and one before them that depends on nothing. */
static uint64_t stress(size_t waves, size_t width)
{
    static dm_ref wave[WAVE];
    static dm_value before[WAVE];
    uint64_t sum = 0;
    submit_wave(wave, before, width, 0);
    for (size_t i = 0; i < waves; i++)
        submit_wave(wave, before, width, width);
    for (size_t i = 0; i < width; i++)
        sum += gathered(wave[i]);
    return sum;
}

static void run_waves(void)
{
    if (!bench_wants(&rows->options, CASE_WAVES))
        return;
    size_t stresses = bench_scaled(&rows->options, STRESSES);
    size_t waves = bench_scaled(&rows->options, WAVES), width = bench_scaled(&rows->options, WAVE);
    uint64_t answer = 0;
    rows_timing start = rows_now();
    for (size_t i = 0; i < stresses; i++)
        answer += stress(waves, width);
    rows_timing took = rows_since(start);
    bench_expect(stresses * width * (waves + 1), answer, CASE_WAVES);
    rows_report(rows, CASE_WAVES, took, stresses * waves * width * width, answer);
}

void rows_of_graphs(const dmrt_rows *of)
{
    rows = of;
    run_clients();
    run_arguments();
    run_returns();
    run_waves();
}
