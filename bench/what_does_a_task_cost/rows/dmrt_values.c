/*
 * dmrt_values.c - rows of values: put and got, small and large, by the program and by its tasks.
 */
#include <pthread.h>

#include "bench/support/session.h"
#include "bench/what_does_a_task_cost/cases.h"
#include "bench/what_does_a_task_cost/rows/dmrt_rows.h"

enum { PUTS_AT_ONCE = 1000, OBJECT_BYTES = 2048 };

static const dmrt_rows *rows;

/* Puts so many numbers. A put that failed shows in its release or, the last one, in what is read. */
DM_REMOTE(task_puts)
{
    uint64_t n, last = 0;
    DM_TRY(dm_arg(call, 0, &n));
    for (uint64_t i = 1; i <= n; i++) {
        dm_ref ref = dm_put(i);
        dm_status status = i == n ? dm_get(ref, &last) : DM_OK;
        DM_TRY(dm_release(ref));
        DM_TRY(status);
    }
    return dm_return(call, last);
}

/* What a task puts is made once in a process: to make it is not to put it. */
static uint8_t *client_bytes;

static void make_client_bytes(void)
{
    client_bytes = malloc(CLIENT_BYTES);
    if (client_bytes)
        memset(client_bytes, 0x5a, CLIENT_BYTES);
}

static dm_status put_bytes(dm_call *call, size_t bytes)
{
    dm_view view;
    dm_ref ref = dm_put(&DM_BYTES(client_bytes, bytes));
    dm_status status = dm_get(ref, &view);
    if (status == DM_OK) {
        if (view.bytes != bytes || ((const uint8_t *)view.data)[bytes - 1] != 0x5a)
            status = dm_fail(call, "%zu bytes were put, others came back", bytes);
        dm_view_release(&view);
    }
    DM_TRY(dm_release(ref));
    return status;
}

DM_REMOTE(task_puts_bytes)
{
    static pthread_once_t made = PTHREAD_ONCE_INIT;
    uint64_t n;
    size_t bytes;
    DM_TRY(dm_arg(call, 0, &n));
    DM_TRY(dm_arg(call, 1, &bytes));
    pthread_once(&made, make_client_bytes);
    if (client_bytes == NULL)
        return dm_fail(call, "no memory for %zu bytes", bytes);
    for (uint64_t i = 0; i < n; i++)
        DM_TRY(put_bytes(call, bytes));
    return dm_return(call, n);
}

static uint64_t gathered(dm_ref ref)
{
    uint64_t x;
    BENCH_TRY(dm_get(ref, &x));
    BENCH_TRY(dm_release(ref));
    return x;
}

static void run_get_small(void)
{
    if (!bench_wants(&rows->options, CASE_GET))
        return;
    size_t n = bench_scaled(&rows->options, SMALLS);
    dm_ref ref = dm_put(1);
    uint64_t answer = 0, x;
    rows_timing start = rows_now();
    for (size_t i = 0; i < n; i++) {
        BENCH_TRY(dm_get(ref, &x));
        answer += x;
    }
    rows_timing took = rows_since(start);
    bench_expect(n, answer, CASE_GET);
    rows_report(rows, CASE_GET, took, n, answer);
    BENCH_TRY(dm_release(ref));
}

/* Put and released; read in between, which is not in the time. */
static void run_put_small(void)
{
    static dm_ref refs[PUTS_AT_ONCE];
    rows_timing took = {0};
    uint64_t answer = 0, x;
    if (!bench_wants(&rows->options, CASE_PUT))
        return;
    size_t batches = bench_scaled(&rows->options, SMALLS / PUTS_AT_ONCE);
    for (size_t i = 0; i < batches; i++) {
        rows_timing start = rows_now();
        for (int j = 0; j < PUTS_AT_ONCE; j++)
            refs[j] = dm_put(j);
        rows_timing put = rows_since(start);
        for (int j = 0; j < PUTS_AT_ONCE; j++) {
            BENCH_TRY(dm_get(refs[j], &x));
            answer += x;
        }
        start = rows_now();
        for (int j = 0; j < PUTS_AT_ONCE; j++)
            BENCH_TRY(dm_release(refs[j]));
        rows_timing released = rows_since(start);
        took.wall += put.wall + released.wall;
        took.cpu += put.cpu + released.cpu;
    }
    bench_expect(batches * PUTS_AT_ONCE * (PUTS_AT_ONCE - 1) / 2, answer, CASE_PUT);
    rows_report(rows, CASE_PUT, took, batches * PUTS_AT_ONCE, answer);
}

static uint64_t all_putters(const dm_function *of, uint64_t each, size_t bytes)
{
    dm_ref putters[PUTTERS];
    uint64_t sum = 0;
    for (int i = 0; i < PUTTERS; i++)
        putters[i] = bytes ? dm_submit(of, NULL, DM_VALUES_2(each, bytes), 2)
                           : dm_submit(of, NULL, DM_VALUES_1(each), 1);
    for (int i = 0; i < PUTTERS; i++)
        sum += gathered(putters[i]);
    return sum;
}

static void run_putters(void)
{
    if (!bench_wants(&rows->options, CASE_PUTTERS))
        return;
    size_t rounds = bench_scaled(&rows->options, PUTTER_ROUNDS);
    size_t n = rounds * PUTTERS * PUTTER_PUTS;
    uint64_t answer = 0;
    rows_timing start = rows_now();
    for (size_t i = 0; i < rounds; i++)
        answer += all_putters(&task_puts, PUTTER_PUTS, 0);
    rows_timing took = rows_since(start);
    bench_expect(n, answer, CASE_PUTTERS);
    rows_report(rows, CASE_PUTTERS, took, n, answer);
}

static void run_objects(void)
{
    static char bytes[OBJECT_BYTES];
    if (!bench_wants(&rows->options, CASE_OBJECTS))
        return;
    size_t n = bench_scaled(&rows->options, MANY);
    dm_ref *refs = malloc(n * sizeof *refs);
    for (size_t i = 0; i < n; i++) {
        memcpy(bytes, &i, sizeof i);
        refs[i] = dm_put(&DM_BYTES(bytes, OBJECT_BYTES));
    }
    uint64_t answer = 0;
    rows_timing start = rows_now();
    for (size_t i = 0, x; i < n; i++) {
        dm_view view;
        BENCH_TRY(dm_get(refs[i], &view));
        memcpy(&x, view.data, sizeof x);
        answer += x;
        dm_view_release(&view);
    }
    rows_timing took = rows_since(start);
    bench_expect(n * (n - 1) / 2, answer, CASE_OBJECTS);
    rows_report(rows, CASE_OBJECTS, took, 1, answer);
    for (size_t i = 0; i < n; i++)
        BENCH_TRY(dm_release(refs[i]));
    free(refs);
}

/* The refs are got and released; that each is what was put is seen once, which is not in the time. */
static void run_refs(void)
{
    enum { ROUNDS = 100 };
    if (!bench_wants(&rows->options, CASE_REFS))
        return;
    dm_ref *refs = malloc(MANY * sizeof *refs);
    for (size_t i = 0; i < MANY; i++)
        refs[i] = dm_put(i);
    dm_ref object = dm_put(&DM_REF_LIST(refs, MANY));
    for (size_t i = 0; i < MANY; i++)
        BENCH_TRY(dm_release(refs[i])); /* the object holds them */
    free(refs);
    dm_ref_list list;
    uint64_t counted = 0, answer = 0, x;
    rows_timing start = rows_now();
    for (int i = 0; i < ROUNDS; i++) {
        BENCH_TRY(dm_get(object, &list));
        counted += list.count;
        dm_ref_list_release(&list);
    }
    rows_timing took = rows_since(start);
    bench_expect((uint64_t)ROUNDS * MANY, counted, CASE_REFS);
    BENCH_TRY(dm_get(object, &list));
    for (size_t i = 0; i < list.count; i++) {
        BENCH_TRY(dm_get(list.refs[i], &x));
        answer += x;
    }
    bench_expect((uint64_t)MANY * (MANY - 1) / 2, answer, CASE_REFS);
    dm_ref_list_release(&list);
    rows_report(rows, CASE_REFS, took, ROUNDS, answer);
    BENCH_TRY(dm_release(object));
}

/* Whether the store has room for what is put and for as much again. */
static bool has_room_for(size_t bytes, const char *name)
{
    dm_stats stats;
    BENCH_TRY(dm_stats_get(&stats));
    if (stats.store_bytes / 2 >= bytes)
        return true;
    fprintf(stderr, "%s: left out: it needs a store of %zu MiB, this one has %zu (DM_STORE_BYTES)\n", name,
            bytes >> 19, stats.store_bytes >> 20);
    return false;
}

static void report_bytes(const char *name, rows_timing took, size_t n, uint64_t answer, size_t bytes)
{
    char more[96];
    double ns = (double)took.wall / (double)n;
    snprintf(more, sizeof more, "\"cpu_ns\":%.6g,\"bytes\":%zu,\"gb_per_s\":%.4g",
             (double)took.cpu / (double)n, bytes, (double)bytes / ns);
    rows->report(rows->context, &(bench_row){.name = name, .unit = "ns", .value = ns, .n = n,
                                             .answer = answer, .more = more});
}

static void put_whole(const uint8_t *data, size_t bytes)
{
    dm_view view;
    dm_ref ref = dm_put(&DM_BYTES(data, bytes));
    BENCH_TRY(dm_get(ref, &view));
    bench_expect(bytes, view.bytes, CASE_GIGA);
    bench_expect(data[bytes - 1], ((const uint8_t *)view.data)[bytes - 1], "its last byte");
    dm_view_release(&view);
    BENCH_TRY(dm_release(ref));
}

/* The first put, into memory that nobody has touched, is not in the time. */
static void run_gigabytes(void)
{
    size_t bytes = bench_scaled(&rows->options, GIGA_BYTES);
    if (!bench_wants(&rows->options, CASE_GIGA) || !has_room_for(bytes, CASE_GIGA))
        return;
    uint8_t *data = malloc(bytes);
    if (data == NULL) {
        fprintf(stderr, "%s: left out: no memory for %zu MiB\n", CASE_GIGA, bytes >> 20);
        return;
    }
    memset(data, 0x5a, bytes);
    put_whole(data, bytes);
    rows_timing start = rows_now();
    for (int i = 0; i < GIGA_PUTS; i++)
        put_whole(data, bytes);
    report_bytes(CASE_GIGA, rows_since(start), GIGA_PUTS, GIGA_PUTS, bytes);
    free(data);
}

static void run_client_gigabytes(void)
{
    size_t bytes = bench_scaled(&rows->options, CLIENT_BYTES);
    size_t at_once = bytes * (size_t)rows->options.workers;
    if (!bench_wants(&rows->options, CASE_GIGAS) || !has_room_for(at_once, CASE_GIGAS))
        return;
    all_putters(&task_puts_bytes, 1, bytes);
    size_t n = PUTTERS * CLIENT_GIGA_PUTS;
    rows_timing start = rows_now();
    uint64_t answer = all_putters(&task_puts_bytes, CLIENT_GIGA_PUTS, bytes);
    rows_timing took = rows_since(start);
    bench_expect(n, answer, CASE_GIGAS);
    report_bytes(CASE_GIGAS, took, n, answer, bytes);
}

void rows_of_values(const dmrt_rows *of)
{
    rows = of;
    run_get_small();
    run_put_small();
    run_putters();
    run_objects();
    run_refs();
    run_gigabytes();
    run_client_gigabytes();
}
