/*
 * study.csv is never half a row: what was written whole is read back as it was, whatever became of the rest; what is
 * not such a table is refused with its line, and never ends the program. And what the rows come to.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "bench/study/protocol/study_summary.h"
#include "bench/support/statistics.h"
#include "test_fit_shell.h"

#define HEADER STUDY_TABLE_HEADER "\n"

static const char whole[] = HEADER
    "csdm,serial,1,1,4.000000,\"(8, 8, 8, 288)\",1,0,0.000000,100,0,0,abc\n"
    "csdm,dmrt,1,2,4.000000,\"(8, 8, 8, 288)\",1,1,4.000000,200,0,0,abc\n"
    "csdm,dmrt,16,2,2.000000,\"(8, 8, 8, 288)\",1,16,,300,5,6,abc\n"
    "csdm,dmrt auto,24,2,2.500000,\"(8, 8, 8, 288)\",1,24,1.000000,300,0,0,abc\n";
enum { ROWS = 4, WHOLE = sizeof whole - 1 };

static void write_file(const char *text, size_t bytes)
{
    FILE *file = fopen("study.csv", "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static size_t file_bytes(char *text, size_t room)
{
    FILE *file = fopen("study.csv", "rb");
    assert_non_null(file);
    const size_t bytes = fread(text, 1, room, file);
    fclose(file);
    return bytes;
}

static size_t whole_lines(const char *text, size_t bytes)
{
    size_t lines = 0;
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    return lines;
}

/* ---- writing and reading ---- */

static void rows_come_back(void **state)
{
    (void)state;
    study_table t;
    char text[4096];
    write_file(whole, WHOLE);
    assert_ok(study_table_open("study.csv", &t));
    assert_int_equal(t.count, ROWS);
    assert_false(t.torn);
    assert_string_equal(t.rows[2].model, "csdm");
    assert_string_equal(t.rows[2].data_shape, "(8, 8, 8, 288)");
    assert_int_equal(t.rows[2].num_chunks, 16);
    assert_int_equal(t.rows[2].spilled, 5);
    assert_int_equal(t.rows[2].on_disk, 6);
    assert_true(t.rows[2].time == 2 && isnan(t.rows[2].overhead));
    study_row rows[ROWS];
    memcpy(rows, t.rows, sizeof rows);
    study_table_close(&t);
    assert_int_equal(remove("study.csv"), 0);
    assert_ok(study_table_open("study.csv", &t));
    for (int i = 0; i < ROWS; i++)
        assert_ok(study_table_append(&t, &rows[i]));
    study_table_close(&t);
    assert_int_equal(file_bytes(text, sizeof text), WHOLE);
    assert_memory_equal(text, whole, WHOLE);
}

/* A program can be killed, or a disk full, at any byte. */
static void a_torn_row_is_left_out_and_cut_off(void **state)
{
    (void)state;
    char text[4096];
    for (size_t bytes = 0; bytes <= WHOLE; bytes++) {
        study_table t;
        const size_t lines = whole_lines(whole, bytes), rows = lines ? lines - 1 : 0;
        const bool torn = bytes > 0 && whole[bytes - 1] != '\n';
        write_file(whole, bytes);
        assert_ok(study_table_read("study.csv", &t)); /* looks, and leaves it as it is */
        assert_int_equal(t.count, rows);
        study_table_close(&t);
        assert_int_equal(file_bytes(text, sizeof text), bytes);
        if (bytes % 4 != 0 && torn)
            continue; /* appending waits for the disk */
        assert_ok(study_table_open("study.csv", &t));
        assert_int_equal(t.count, rows);
        assert_int_equal(t.torn, torn);
        const study_row next = {.model = "csdm", .engine = "serial", .num_chunks = 1, .cpu_count = 1, .time = 1,
                                .data_shape = "(1)", .run = 9, .commit = "x", .overhead = NAN};
        assert_ok(study_table_append(&t, &next));
        study_table_close(&t);
        assert_ok(study_table_read("study.csv", &t));
        assert_int_equal(t.count, rows + 1);
        assert_int_equal(t.rows[rows].run, 9);
        study_table_close(&t);
    }
}

static void only_one_appends(void **state)
{
    (void)state;
    study_table t, other;
    assert_ok(study_table_open("study.csv", &t));
    const int fd = open("study.csv", O_RDWR | O_CLOEXEC); /* another program */
    assert_true(flock(fd, LOCK_EX | LOCK_NB) != 0);
    close(fd);
    assert_int_equal(study_table_open("study.csv", &other), DM_ERR_IO);
    assert_non_null(strstr(dm_last_error(), "study.csv: another program is appending"));
    study_table_close(&other);
    study_table_close(&t);
}

/* ---- what is no such table ---- */

static void assert_refused(const char *text, const char *words)
{
    study_table t;
    write_file(text, strlen(text));
    assert_int_equal(study_table_read("study.csv", &t), DM_ERR_FORMAT);
    if (!strstr(dm_last_error(), words))
        fail_msg("'%s' is not in: %s", words, dm_last_error());
    study_table_close(&t);
    assert_int_equal(study_table_open("study.csv", &t), DM_ERR_FORMAT); /* and so nothing is appended to it */
    study_table_close(&t);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    assert_refused("model,engine\n", "study.csv:1: 'model,engine' was found; the header");
    assert_refused("no table", "the header");
    assert_refused(HEADER "\n", "study.csv:2: not the 13 fields");
    assert_refused(HEADER "csdm,serial,1,1,1,(1),1,0,,0,0,0,c,more\n", "study.csv:2: not the 13 fields");
    assert_refused(HEADER "csdm,serial,1,1,1,\"(1),1,0,,0,0,0,c\n", "study.csv:2: not the 13 fields");
    assert_refused(HEADER "csdm,serial,1,1,1,\"(1)\"x,1,0,,0,0,0,c\n", "study.csv:2: not the 13 fields");
    assert_refused(HEADER ",serial,1,1,1,(1),1,0,,0,0,0,c\n", "study.csv:2: model is ''");
    assert_refused(HEADER "csdm,serial,0,1,1,(1),1,0,,0,0,0,c\n", "num_chunks is '0'");
    assert_refused(HEADER "csdm,serial,1x,1,1,(1),1,0,,0,0,0,c\n", "num_chunks is '1x'");
    assert_refused(HEADER "csdm,serial,1,1,nan,(1),1,0,,0,0,0,c\n", "time is 'nan'");
    assert_refused(HEADER "csdm,serial,1,1,-1,(1),1,0,,0,0,0,c\n", "time is '-1'");
    assert_refused(HEADER "csdm,serial,1,1,0,(1),1,0,,0,0,0,c\n", "time is '0'");
    assert_refused(HEADER "csdm,serial,1,1,1,(1),1,0,x,0,0,0,c\n", "overhead is 'x'");
    assert_refused(HEADER "csdm,serial,1,1,1,(1),1,0,,99999999999999999999,0,0,c\n", "peak_memory is '9999");
    assert_refused(HEADER "a_model_with_a_long_name,serial,1,1,1,(1),1,0,,0,0,0,c\n", "model is 'a_model");
    study_table t;
    assert_int_equal(mkdir("folder", 0777), 0);
    assert_int_equal(study_table_read("folder", &t), DM_ERR_FORMAT);
    write_file(HEADER "csdm,serial,1,1,1,(1),1,0,,0,0,0,\0\n", sizeof HEADER + 35);
    assert_int_equal(study_table_read("study.csv", &t), DM_ERR_FORMAT);
    assert_ok(study_table_read("missing.csv", &t));
    assert_int_equal(t.count, 0);
}

/* Bytes changed, cut and doubled at random: a table or a refusal, never anything else; and a row that is read says
 * what can be. */
static void damaged_tables_end_nothing(void **state)
{
    enum { TRIES = 1500 };
    (void)state;
    static const char odd[] = "\n,\"\0-9.e \xff\r";
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < TRIES; i++) {
        char text[2 * WHOLE];
        size_t bytes = WHOLE;
        memcpy(text, whole, WHOLE);
        for (int k = 0; k <= i % 4; k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            const size_t at = random % bytes;
            if (random >> 60 < 12)
                text[at] = odd[(random >> 32) % (sizeof odd - 1)];
            else
                bytes = at + 1;
        }
        write_file(text, bytes);
        study_table t;
        const dm_status status = study_table_read("study.csv", &t);
        assert_true(status == DM_OK || status == DM_ERR_FORMAT);
        for (size_t row = 0; row < t.count; row++)
            assert_true(t.rows[row].time > 0 && t.rows[row].cpu_count > 0 && t.rows[row].run > 0);
        study_table_close(&t);
    }
}

/* ---- what rows come to ---- */

static void add(study_table *t, const char *engine, int64_t chunks, int cpus, int run, double time)
{
    study_row row = {.model = "fwdtim", .num_chunks = chunks, .cpu_count = cpus, .run = run, .time = time,
                     .data_shape = "(1)", .commit = "x", .overhead = NAN};
    snprintf(row.engine, sizeof row.engine, "%s", engine);
    assert_ok(study_table_append(t, &row));
}

/* Run 2 is twice as slow as run 1 in everything, and is not to show. */
static void runs_are_compared_with_themselves(void **state)
{
    (void)state;
    study_table t;
    study_point points[8];
    assert_ok(study_table_open("study.csv", &t));
    for (int run = 1; run <= 2; run++) {
        add(&t, STUDY_SERIAL, 1, 1, run, 12 * run);
        add(&t, STUDY_CHUNKS, 64, 2, run, 8 * run);
        add(&t, STUDY_CHUNKS, 4, 2, run, 6 * run);
        add(&t, STUDY_CHUNKS, 4, 1, run, 12 * run);
        add(&t, STUDY_AUTO, 16 + run, 2, run, 9 * run);
    }
    add(&t, STUDY_CHUNKS, 4, 2, 3, 1); /* has no serial fit */
    assert_int_equal(study_points(&t, "fwdtim", STUDY_CHUNKS, points, 8), 3);
    assert_true(points[0].cpus == 1 && points[0].chunks == 4 && points[0].median == 1);
    assert_true(points[1].cpus == 2 && points[1].chunks == 4 && points[1].runs == 2);
    assert_true(points[1].least == 2 && points[1].median == 2 && points[1].most == 2);
    assert_true(study_best(points, 3, 2) == &points[1]);
    assert_null(study_best(points, 3, 4));
    assert_int_equal(study_points(&t, "fwdtim", STUDY_AUTO, points, 8), 1);
    const study_ratio chosen = study_against_best(&t, "fwdtim", STUDY_AUTO, 0, 2);
    assert_true(chosen.median == 1.5 && chosen.low == 1.5 && chosen.high == 1.5 && chosen.runs == 2 && !chosen.sure);
    assert_int_equal(study_against_best(&t, "fwdtim", STUDY_MAP, 0, 2).runs, 0);
    assert_true(study_serial(&t, "fwdtim") == 18);
    study_table_close(&t);
}

/* 64 chunks are lucky in run 2: by run 1 four are the best, and that is what run 2 is compared with. */
static void luck_is_no_merit(void **state)
{
    (void)state;
    study_table t;
    assert_ok(study_table_open("luck.csv", &t));
    for (int run = 1; run <= 2; run++) {
        add(&t, STUDY_SERIAL, 1, 1, run, 12);
        add(&t, STUDY_CHUNKS, 4, 2, run, 6);
        add(&t, STUDY_CHUNKS, 64, 2, run, run == 1 ? 8 : 1);
        add(&t, STUDY_AUTO, 16, 2, run, 9);
    }
    const study_ratio chosen = study_against_best(&t, "fwdtim", STUDY_AUTO, 0, 2);
    assert_true(chosen.low == 9 / 8. && chosen.high == 9 / 6. && chosen.median == (9 / 8. + 9 / 6.) / 2);
    const study_ratio many = study_against_best(&t, "fwdtim", STUDY_CHUNKS, 64, 2); /* 8 of 8, then 1 of 6 */
    assert_true(many.runs == 2 && many.low == 1 / 6. && many.high == 1);
    study_table_close(&t);
}

/* The ranks are those of the tables of the sign test, at 5 % on two sides. */
static void where_a_median_lies(void **state)
{
    (void)state;
    static const struct { size_t n; bool sure; double low, high; } cases[] = {
        {1, false, 1, 1}, {5, false, 1, 5}, {6, true, 1, 6}, {10, true, 2, 9}, {12, true, 3, 10}, {20, true, 6, 15},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        double samples[20], low, high;
        for (size_t i = 0; i < cases[c].n; i++)
            samples[i] = (double)(cases[c].n - i);
        assert_int_equal(bench_median_lies(samples, cases[c].n, &low, &high), cases[c].sure);
        assert_true(low == cases[c].low && high == cases[c].high);
    }
}

static void bytes_on_disk_are_summed(void **state)
{
    (void)state;
    study_spill_table t = {.path = "spill.csv"}, again;
    const struct { const char *event; double seconds; int64_t on_disk, models, spilled, live, away; } rows[] = {
        {STUDY_SPILL_SAMPLE, 0, 0, 0, 0, 50, 0},         {STUDY_SPILL_SAMPLE, 1, 100, 0, 0, 349, 260},
        {STUDY_SPILL_SAMPLE, 2, 50, 1, 700, 299, 240},   {STUDY_SPILL_SAMPLE, 4, 50, 3, 1100, 98, 0},
        {STUDY_SPILL_END, 5, 7, 3, 1100, 999, 999},      {STUDY_SPILL_KILLED, 3, 1, 2, 0, 999, 999},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        study_spill_row row = {.policy = "never", .arguments = "value", .seconds = rows[i].seconds,
                               .on_disk = rows[i].on_disk, .models = rows[i].models, .spilled = rows[i].spilled,
                               .stored = rows[i].spilled / 2, .live = rows[i].live, .away = rows[i].away, .voxels = 10, .store = 99, .commit = "x"};
        snprintf(row.event, sizeof row.event, "%s", rows[i].event);
        assert_ok(study_spill_table_add(&t, &row));
    }
    assert_ok(study_spill_table_write(&t));
    assert_ok(study_spill_table_read("spill.csv", &again));
    study_disk d;
    assert_true(study_disk_of(&again, "never", "value", &d));
    assert_true(d.peak == 100 && d.end == 7 && d.killed == 1);
    assert_true(d.mean == (0 + 100 + 50 * 2) / 4.);
    assert_true(d.beyond == 349 - 99 && d.away == 260 && d.unpacked == 100 && d.store == 99);
    assert_true(d.spilled == 200 && d.stored == 100 && d.once == 500);
    assert_false(study_disk_of(&again, "auto", "value", &d));
    study_spill_table_close(&t);
    study_spill_table_close(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_come_back, begin, end),
        cmocka_unit_test_setup_teardown(a_torn_row_is_left_out_and_cut_off, begin, end),
        cmocka_unit_test_setup_teardown(only_one_appends, begin, end),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(damaged_tables_end_nothing, begin, end),
        cmocka_unit_test_setup_teardown(runs_are_compared_with_themselves, begin, end),
        cmocka_unit_test_setup_teardown(luck_is_no_merit, begin, end),
        cmocka_unit_test(where_a_median_lies),
        cmocka_unit_test_setup_teardown(bytes_on_disk_are_summed, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
