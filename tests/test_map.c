/*
 * dm_map: one function over many items comes to the same whatever the engine, the chunks and the deaths, stays within
 * its window, says what failed, and leaves nothing.
 */
#include "tests/support/maps.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

/* ---- how much, in what pieces ---- */

static void sizes_and_chunks(dm_engine engine)
{
    static const size_t sizes[] = {0, 1, 2, 3, 64, 1000, 4096};
    static const size_t chunks[] = {0, 1, 7, 1000, SIZE_MAX};
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++)
            maps_indexes(sizes[s], chunks[c], c == 1 ? 3 : 0);
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(sizes_and_chunks)

/* A million cheap items are not a million tasks. */
static void a_million(dm_engine engine)
{
    dm_stats stats;
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
    maps_indexes(1000000, 0, 0);
    assert_ok(dm_stats_get(&stats));
    assert_true(stats.tasks_submitted < 100000);
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(a_million)

static void from_tasks(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
    maps_nest(1000);
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(from_tasks)

/* ---- items of many types ---- */

#define TYPES(X)                                                                                   \
    X(int8, int8_t)                                                                                \
    X(uint8, uint8_t)                                                                              \
    X(int16, int16_t)                                                                              \
    X(uint16, uint16_t)                                                                            \
    X(int32, int32_t)                                                                              \
    X(uint32, uint32_t)                                                                            \
    X(int64, int64_t)                                                                              \
    X(uint64, uint64_t)                                                                            \
    X(float, float)                                                                                \
    X(double, double)

/* Rows of three to their sum of squares. */
#define MAP_OF_TYPE(name_, type_)                                                                  \
    DM_MAP(squares_of_##name_)                                                                     \
    {                                                                                              \
        const type_(*x)[3];                                                                        \
        type_ *y;                                                                                  \
        DM_TRY(dm_range_items(range, &x));                                                         \
        DM_TRY(dm_range_results(range, &y));                                                       \
        for (size_t i = 0; i < range->n; i++)                                                      \
            y[i] = (type_)(x[i][0] * x[i][0] + x[i][1] * x[i][1] + x[i][2] * x[i][2]);             \
        return DM_OK;                                                                              \
    }                                                                                              \
    static void check_##name_(void)                                                                \
    {                                                                                              \
        enum { COUNT = 500 };                                                                      \
        type_ x[COUNT][3], y[COUNT] = {0};                                                         \
        for (int i = 0; i < COUNT; i++)                                                            \
            for (int k = 0; k < 3; k++)                                                            \
                x[i][k] = (type_)((i + k) % 6);                                                    \
        assert_ok(dm_map(squares_of_##name_, DM_ITEMS(x, COUNT), DM_RESULTS(y)));                  \
        for (int i = 0; i < COUNT; i++)                                                            \
            assert_true(y[i] == (type_)(x[i][0] * x[i][0] + x[i][1] * x[i][1] + x[i][2] * x[i][2])); \
    }
TYPES(MAP_OF_TYPE)

typedef struct particle {
    double mass;
    int32_t cell;
    char tag;
} particle;

DM_MAP(swap_halves) /* of structs, to structs */
{
    const particle *in;
    particle *out;
    DM_TRY(dm_range_items(range, &in));
    DM_TRY(dm_range_results(range, &out));
    for (size_t i = 0; i < range->n; i++)
        out[i] = (particle){-in[i].mass, in[i].cell + 1, in[i].tag};
    return DM_OK;
}

static void check_structs(void)
{
    enum { COUNT = 300 };
    particle in[COUNT] = {0}, out[COUNT] = {0};
    for (int i = 0; i < COUNT; i++)
        in[i] = (particle){i, i * 2, (char)('a' + i % 26)};
    assert_ok(dm_map(swap_halves, DM_ITEMS(in, COUNT), DM_RESULTS(out)));
    for (int i = 0; i < COUNT; i++)
        assert_true(out[i].mass == -i && out[i].cell == 2 * i + 1 && out[i].tag == 'a' + i % 26);
}

/* A width that only the run knows, from an array in the store that is still to be. */
DM_REMOTE(make_table)
{
    size_t shape[2];
    dm_buffer table;
    DM_TRY(dm_arg(call, 0, &shape[0]));
    DM_TRY(dm_arg(call, 1, &shape[1]));
    DM_TRY(dm_create(DM_F64, 2, shape, &table));
    for (size_t i = 0; i < shape[0] * shape[1]; i++)
        ((double *)table.data)[i] = (double)i;
    return dm_return(call, &table);
}

DM_MAP(sum_rows)
{
    const double *x;
    double *y;
    DM_TRY(dm_range_items(range, &x));
    DM_TRY(dm_range_results(range, &y));
    for (size_t i = 0; i < range->n; i++)
        for (size_t k = 0; k < range->item_elements; k++)
            y[i] += x[i * range->item_elements + k];
    return DM_OK;
}

static void check_table(void)
{
    enum { ROWS = 700, WIDTH = 11 };
    double y[ROWS];
    dm_ref table = dm_remote(make_table, ROWS, WIDTH);
    assert_ok(dm_map(sum_rows, table, DM_RESULTS(y)));
    assert_ok(dm_release(table));
    for (int i = 0; i < ROWS; i++)
        assert_true(y[i] == WIDTH * (i * WIDTH + (WIDTH - 1) / 2.0));
}

static void items_of_many_types(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
#define CHECK_TYPE(name_, type_) check_##name_();
    TYPES(CHECK_TYPE)
    check_structs();
    check_table();
    maps_scaled(20000);
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(items_of_many_types)

/* ---- shared arguments ---- */

DM_MAP(look_up)
{
    dm_view table, bytes;
    const char *word;
    int offset;
    double *y;
    DM_TRY(dm_arg(call, 0, &table));
    DM_TRY(dm_arg(call, 1, &word));
    DM_TRY(dm_arg(call, 2, &offset));
    DM_TRY(dm_arg(call, 3, &bytes));
    DM_TRY(dm_range_results(range, &y));
    if (strcmp(word, "word") != 0 || bytes.bytes != 5000 || ((const char *)bytes.data)[4999] != 9)
        return dm_fail(call, "the shared arguments are not what was given");
    for (size_t i = 0; i < range->n; i++)
        y[i] = ((const double *)table.data)[(range->first + i) % table.shape[0]] + offset;
    return DM_OK;
}

static void shared_arguments(dm_engine engine)
{
    enum { COUNT = 3000, TABLE = 777 };
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
    double table[TABLE], y[COUNT];
    char bytes[5000];
    memset(bytes, 9, sizeof bytes);
    for (int i = 0; i < TABLE; i++)
        table[i] = i * 3;
    dm_ref shared = dm_put(&DM_ARRAY(table, DM_F64, TABLE));
    assert_ok(dm_map(look_up, COUNT, DM_RESULTS(y), shared, "word", -1, &DM_BYTES(bytes, sizeof bytes)));
    assert_ok(dm_release(shared));
    for (int i = 0; i < COUNT; i++)
        assert_true(y[i] == i % TABLE * 3 - 1);
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(shared_arguments)

/* ---- values that are gathered, items that are written ---- */

typedef struct story {
    size_t next, values;
    bool good;
} story;

/* As many bytes as the chunk's items say: no two alike. */
DM_MAP(make_many)
{
    size_t bytes = 0;
    dm_buffer buffer;
    for (size_t i = 0; i < range->n; i++)
        bytes += (range->first + i) % 100 + 1;
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    memset(buffer.data, (int)(range->first % 251), bytes);
    return dm_return(call, &buffer);
}

static dm_status read_many(void *context, size_t first, size_t n, dm_ref value)
{
    story *s = context;
    dm_view view;
    size_t bytes = 0;
    DM_TRY(dm_get(value, &view));
    for (size_t i = 0; i < n; i++)
        bytes += (first + i) % 100 + 1;
    s->good &= first == s->next && view.bytes == bytes && *(const uint8_t *)view.data == first % 251;
    s->next += n;
    s->values++;
    dm_view_release(&view);
    return DM_OK;
}

static dm_status write_items(void *context, size_t first, size_t n, void *items)
{
    (void)context;
    for (size_t i = 0; i < n; i++)
        ((double *)items)[i] = (double)(first + i);
    return DM_OK;
}

static dm_status read_scaled(void *context, size_t first, size_t n, dm_ref value)
{
    story *s = context;
    dm_view view;
    DM_TRY(dm_get(value, &view));
    s->good &= first == s->next && view.dtype == DM_F64 && view.shape[0] == n;
    for (size_t i = 0; i < n; i++)
        s->good &= ((const double *)view.data)[i] == 2.0 * (double)(first + i);
    s->next += n;
    dm_view_release(&view);
    return DM_OK;
}

static void in_order_of_items(dm_engine engine)
{
    enum { COUNT = 3000 };
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
    for (size_t chunk = 0; chunk < 20; chunk += 5) {
        story s = {.good = true};
        dm_map_options options = {.items_per_task = chunk, .gather = read_many, .context = &s};
        assert_ok(dm_map_with(&options, make_many, COUNT, DM_NO_RESULTS));
        assert_true(s.good);
        assert_int_equal(s.next, COUNT);
        s = (story){.good = true};
        options = (dm_map_options){.items_per_task = chunk, .fill = write_items, .gather = read_scaled, .context = &s};
        assert_ok(dm_map_with(&options, maps_scale, &DM_ARRAY(NULL, DM_F64, COUNT),
                              ((dm_results){NULL, DM_F64, 1}), 2.0));
        assert_true(s.good);
        assert_int_equal(s.next, COUNT);
    }
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(in_order_of_items)

static dm_status refuse_the_third(void *context, size_t first, size_t n, dm_ref value)
{
    (void)first;
    (void)n;
    (void)value;
    return ++*(int *)context == 3 ? dmi_error(DM_ERR_IO, "the tape is full") : DM_OK;
}

static dm_status refuse_to_write(void *context, size_t first, size_t n, void *items)
{
    (void)n;
    (void)items;
    (void)context;
    return first >= 10 ? dmi_error(DM_ERR_IO, "the tape has torn") : DM_OK;
}

static void callbacks_that_fail(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
    int count = 0;
    double y[100];
    dm_map_options options = {.items_per_task = 1, .gather = refuse_the_third, .context = &count};
    assert_refused(dm_map_with(&options, make_many, 100, DM_NO_RESULTS), DM_ERR_IO, "tape is full");
    assert_int_equal(count, 3);
    options = (dm_map_options){.items_per_task = 1, .fill = refuse_to_write};
    assert_refused(dm_map_with(&options, maps_scale, &DM_ARRAY(NULL, DM_F64, 100), DM_RESULTS(y), 2.0), DM_ERR_IO,
                   "tape has torn");
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(callbacks_that_fail)

/* ---- failures ---- */

DM_MAP(fails_at)
{
    dm_view bad;
    int *y;
    DM_TRY(dm_arg(call, 0, &bad));
    DM_TRY(dm_range_results(range, &y));
    for (size_t i = 0; i < range->n; i++) {
        for (size_t k = 0; k < bad.shape[0]; k++)
            if (((const uint64_t *)bad.data)[k] == range->first + i)
                return dm_fail(call, "item %zu is bad", range->first + i);
        y[i] = (int)(range->first + i) * 2;
    }
    return DM_OK;
}

static uint64_t bad_items[] = {250, 251, 600, 999};
#define BAD (&DM_ARRAY(bad_items, DM_U64, 4))
enum { ITEMS = 1000 };

/* The first in order of items, whatever the chunks; what is before it is there. */
static void the_first_failure_ends_it(dm_engine engine)
{
    static const size_t chunks[] = {0, 1, 3, 100, 1000};
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
    for (int c = 0; c < 5; c++) {
        int y[ITEMS + 1];
        memset(y, -1, sizeof y);
        dm_map_options options = {.items_per_task = chunks[c]};
        assert_refused(dm_map_with(&options, fails_at, ITEMS, DM_RESULTS(y), BAD), DM_ERR_TASK_FAILED,
                       "fails_at: item 250 is bad");
        assert_non_null(strstr(dm_last_error(), "dm_map: items "));
        for (int i = 0; i < 250 && chunks[c] == 1; i++)
            assert_int_equal(y[i], 2 * i);
        assert_int_equal(y[ITEMS], -1);
    }
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(the_first_failure_ends_it)

static void note_failure(void *context, size_t item, dm_status status, const char *said)
{
    char words[40];
    snprintf(words, sizeof words, "item %zu is bad", item);
    assert_int_equal(status, DM_ERR_TASK_FAILED);
    assert_non_null(strstr(said, words));
    ((int *)context)[item]++;
}

static void all_failures_are_told(dm_engine engine)
{
    static const size_t chunks[] = {0, 1, 3, 100, 1000};
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
    for (int c = 0; c < 5; c++) {
        int y[ITEMS], failed[ITEMS] = {0};
        memset(y, -1, sizeof y);
        dm_map_options options = {.items_per_task = chunks[c], .failed = note_failure, .context = failed};
        assert_ok(dm_map_with(&options, fails_at, ITEMS, DM_RESULTS(y), BAD));
        for (int i = 0; i < ITEMS; i++) {
            bool bad = i == 250 || i == 251 || i == 600 || i == 999;
            assert_int_equal(failed[i], bad);
            assert_int_equal(y[i], bad ? -1 : 2 * i);
        }
    }
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(all_failures_are_told)

static void note_dependency(void *context, size_t item, dm_status status, const char *said)
{
    (void)item;
    (void)said;
    *(int *)context += status == DM_ERR_DEP_FAILED;
}

DM_REMOTE(is_bad)
{
    return dm_fail(call, "no table today");
}

/* What they share is bad: each item is told of, and no task is run again for it. */
static void a_shared_failure(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
    int told = 0, y[ITEMS];
    dm_ref bad = dm_remote(is_bad);
    dm_map_options options = {.items_per_task = 10, .failed = note_dependency, .context = &told};
    assert_ok(dm_map_with(&options, fails_at, ITEMS, DM_RESULTS(y), bad));
    assert_int_equal(told, ITEMS);
    assert_refused(dm_map(fails_at, ITEMS, DM_RESULTS(y), bad), DM_ERR_DEP_FAILED, "no table today");
    assert_refused(dm_map(sum_rows, bad, DM_RESULTS(y)), DM_ERR_TASK_FAILED, "no table today");
    assert_ok(dm_release(bad));
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(a_shared_failure)

/* ---- deaths ---- */

DM_MAP(slow_index)
{
    uint64_t *y;
    DM_TRY(dm_range_results(range, &y));
    for (size_t i = 0; i < range->n; i++) {
        y[i] = maps_mix(range->first + i, 1);
        usleep(200);
    }
    return DM_OK;
}

static void kill_one(void *context, size_t n_done, size_t n)
{
    static unsigned seed = 7;
    int *killed = context;
    if (n_done < n && *killed < 5 && n_done > n / 8 * (size_t)(*killed + 1))
        *killed += watch_kill_a_worker(&seed) != 0;
}

static void workers_that_are_killed(void **state)
{
    enum { COUNT = 2000 };
    (void)state;
    residue before;
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = 2, .store_bytes = 64 << 20,
                                     .retries = 10, .log = driver_no_log});
    int killed = 0;
    uint64_t y[COUNT];
    dm_stats stats;
    dm_map_options options = {.progress = kill_one, .context = &killed};
    assert_ok(dm_map_with(&options, slow_index, COUNT, DM_RESULTS(y)));
    for (size_t i = 0; i < COUNT; i++)
        assert_true(y[i] == maps_mix(i, 1));
    assert_int_equal(killed, 5);
    assert_ok(dm_stats_get(&stats));
    assert_true(stats.workers_lost >= 1);
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}

DM_MAP(crashes_at_17)
{
    int *y;
    DM_TRY(dm_range_results(range, &y));
    for (size_t i = 0; i < range->n; i++) {
        if (range->first + i == 17)
            kill(getpid(), SIGKILL);
        y[i] = 1;
    }
    return DM_OK;
}

static void note_crash(void *context, size_t item, dm_status status, const char *said)
{
    (void)said;
    *(int *)context += item == 17 && status == DM_ERR_TASK_CRASH ? 1 : 100;
}

/* One item ends its worker each time: it alone has no result. */
static void an_item_that_crashes(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = 2, .store_bytes = 64 << 20,
                                     .log = driver_no_log});
    int told = 0, y[40];
    memset(y, 0, sizeof y);
    dm_task_options once = {.retries = DM_NONE};
    dm_map_options options = {.items_per_task = 20, .task = &once, .failed = note_crash, .context = &told};
    assert_ok(dm_map_with(&options, crashes_at_17, 40, DM_RESULTS(y)));
    assert_int_equal(told, 1);
    for (int i = 0; i < 40; i++)
        assert_int_equal(y[i], i != 17);
    options.failed = NULL;
    assert_refused(dm_map_with(&options, crashes_at_17, 40, DM_RESULTS(y)), DM_ERR_TASK_CRASH,
                   "items 0 to 19 of 40");
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}

/* ---- progress, and the window ---- */

typedef struct watch {
    size_t done, calls;
    bool monotone, ended;
    uint64_t most_refs;
} watch;

static void see(void *context, size_t n_done, size_t n)
{
    watch *w = context;
    dm_stats stats;
    w->monotone &= n_done >= w->done && n_done <= n && !w->ended;
    w->done = n_done;
    w->ended = n_done == n;
    w->calls++;
    if (dm_stats_get(&stats) == DM_OK && stats.refs > w->most_refs)
        w->most_refs = stats.refs;
}

static void progress_and_window(dm_engine engine)
{
    enum { COUNT = 2000, WINDOW = 5 };
    static double x[COUNT][200], y[COUNT];
    residue before;
    residue_begin(&before);
    session_begin(engine, 2);
    for (size_t chunk = 0; chunk <= 2; chunk++) {
        watch w = {.monotone = true};
        dm_map_options options = {.items_per_task = chunk, .in_flight = WINDOW, .progress = see, .context = &w};
        assert_ok(dm_map_with(&options, sum_rows, DM_ITEMS(x, COUNT), DM_RESULTS(y)));
        assert_true(w.monotone && w.ended);
        assert_int_equal(w.done, COUNT);
        assert_true(w.calls > 1);
        assert_in_range(w.most_refs, 0, 2 * WINDOW); /* a task and its items each */
    }
    watch none = {.monotone = true};
    assert_ok(dm_map_with((&(dm_map_options){.progress = see, .context = &none}), sum_rows, DM_ITEMS(x, 0),
                          DM_RESULTS(y)));
    assert_int_equal(none.calls, 0);
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(progress_and_window)

/* ---- what makes no sense ---- */

DM_MAP(reads_floats)
{
    const float *x;
    return dm_range_items(range, &x);
}

DM_MAP(reads_wide_rows)
{
    const double(*x)[5];
    return dm_range_items(range, &x);
}

DM_MAP(writes_ints)
{
    int *y;
    return dm_range_results(range, &y);
}

DM_MAP(reads_nothing)
{
    return DM_OK;
}

DM_REMOTE(ordinary)
{
    dm_arg_count(call);
    return dm_return(call, &DM_BYTES("abc", 3));
}

static void what_tasks_refuse(dm_engine engine)
{
    double x[10][3] = {{0}}, y[10];
    residue before;
    residue_begin(&before);
    session_begin(engine, 1);
    assert_refused(dm_map(reads_floats, DM_ITEMS(x, 10), DM_RESULTS(y)), DM_ERR_TYPE,
                   "reads_floats: its items are 3 double each (24 bytes), and it takes them for float");
    assert_refused(dm_map(reads_wide_rows, DM_ITEMS(x, 10), DM_RESULTS(y)), DM_ERR_TYPE, "of 40 bytes");
    assert_refused(dm_map(reads_floats, 10, DM_RESULTS(y)), DM_ERR_TYPE, "was given none");
    assert_refused(dm_map(writes_ints, 10, DM_RESULTS(y)), DM_ERR_TYPE, "its results are 1 double each");
    assert_refused(dm_map(writes_ints, 10, DM_NO_RESULTS), DM_ERR_TYPE, "was given none");
    assert_refused(dm_map(reads_nothing, 10, DM_RESULTS(y), 1), DM_ERR_ARG_SURPLUS, "reads_nothing");
    assert_refused(dm_map(maps_index, 10, DM_RESULTS(y)), DM_ERR_TYPE, "maps_index");
    assert_refused(dm_map(ordinary, 10, DM_RESULTS(y)), DM_ERR_TYPE, "expected results of");
    dm_ref direct = dm_remote(reads_nothing, 1, 2, 3, 4);
    assert_refused(dm_get(direct, (void *)0), DM_ERR_INVALID, "run it by dm_map");
    assert_ok(dm_release(direct));
    assert_ok(dm_map(reads_nothing, 10, DM_RESULTS(y)));
    for (int i = 0; i < 10; i++)
        assert_true(y[i] == 0);
    maps_all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(what_tasks_refuse)

static void what_the_call_refuses(void **state)
{
    (void)state;
    static dm_function unregistered = {.name = "nobody", .id = 3};
    double x[10], y[10];
    dm_map_options fills = {.fill = write_items};
    dm_value ten = dm_value_int(10);
    dm_results none = DM_NO_RESULTS;
    dm_shutdown();
    assert_refused(dm_map(maps_index, 10, DM_RESULTS(y), 1), DM_ERR_SHUT_DOWN, "");
    session_begin(DM_ENGINE_THREADS, 1);
    assert_refused(dm_map_over(NULL, NULL, ten, none, NULL, 0), DM_ERR_NO_FUNCTION, "(NULL)");
    assert_refused(dm_map_over(&unregistered, NULL, ten, none, NULL, 0), DM_ERR_NO_FUNCTION, "\"nobody\"");
    assert_refused(dm_map_over(&maps_index, NULL, ten, none, NULL, 2), DM_ERR_INVALID, "2 shared arguments");
    assert_refused(dm_map(maps_index, -3, DM_RESULTS(y), 1), DM_ERR_INVALID, "-3 items");
    assert_refused(dm_map(maps_index, SIZE_MAX, DM_RESULTS(y), 1), DM_ERR_INVALID, "fit no memory");
    assert_refused(dm_map(maps_index, 2.5, DM_RESULTS(y), 1), DM_ERR_INVALID, "got a double");
    assert_refused(dm_map(maps_index, "ten", DM_RESULTS(y), 1), DM_ERR_INVALID, "got a string");
    assert_refused(dm_map(maps_index, (dm_value){0}, DM_RESULTS(y), 1), DM_ERR_INVALID, "got nothing");
    assert_refused(dm_map(maps_index, (const dm_array *)NULL, DM_RESULTS(y), 1), DM_ERR_INVALID, "use DM_ITEMS");
    assert_refused(dm_map(maps_scale, &((dm_array){.data = x, .dtype = DM_F64}), DM_RESULTS(y), 1), DM_ERR_INVALID,
                   "no array of one dimension");
    assert_refused(dm_map(maps_scale, &DM_ARRAY(x, (dm_dtype)77, 10), DM_RESULTS(y), 1), DM_ERR_INVALID, "DM_ITEMS");
    assert_refused(dm_map(maps_scale, &DM_ARRAY(NULL, DM_F64, 10), DM_RESULTS(y), 1), DM_ERR_INVALID, "options.fill");
    assert_refused(dm_map_with(&fills, maps_scale, DM_ITEMS(x, 10), DM_RESULTS(y), 1), DM_ERR_INVALID, "give one");
    assert_refused(dm_map_with(&fills, maps_scale, 10, DM_RESULTS(y), 1), DM_ERR_INVALID, "there is no array");
    assert_refused(dm_map(maps_index, 10, ((dm_results){NULL, DM_U64, 1}), 1), DM_ERR_INVALID, "have no place");
    assert_refused(dm_map(maps_index, 10, ((dm_results){y, DM_U64, 0}), 1), DM_ERR_INVALID, "use DM_RESULTS");
    assert_refused(dm_map(maps_index, 10, ((dm_results){y, (dm_dtype)99, 1}), 1), DM_ERR_INVALID, "dtype 99");
    assert_refused(dm_map(maps_index, 10, ((dm_results){y, DM_U64, SIZE_MAX}), 1), DM_ERR_INVALID, "DM_RESULTS");
    assert_refused(dm_map(maps_scale, DM_NO_REF, DM_RESULTS(y), 1), DM_ERR_BADREF, "items cannot be had");
    assert_refused(dm_map(maps_index, 10, DM_RESULTS(y), &((dm_array){.ndim = 1, .shape = {5}})), DM_ERR_INVALID,
                   "shared argument 0: ");
    maps_all_gone();
    dm_shutdown();
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(sizes_and_chunks),
    ENGINE_CASES(a_million),
    ENGINE_CASES(from_tasks),
    ENGINE_CASES(items_of_many_types),
    ENGINE_CASES(shared_arguments),
    ENGINE_CASES(in_order_of_items),
    ENGINE_CASES(callbacks_that_fail),
    ENGINE_CASES(the_first_failure_ends_it),
    ENGINE_CASES(all_failures_are_told),
    ENGINE_CASES(a_shared_failure),
    cmocka_unit_test(workers_that_are_killed),
    cmocka_unit_test(an_item_that_crashes),
    ENGINE_CASES(progress_and_window),
    ENGINE_CASES(what_tasks_refuse),
    cmocka_unit_test(what_the_call_refuses),
};

TEST_MAIN(tests, NULL)
