/*
 * test_bench_command.c - dm bench tasks measures every row with right answers, writes lines of JSON that
 * parse, draws, and says what is wrong with what it was asked.
 */
#include <cjson/cJSON.h>

#include "test_fit_shell.h"

#define BENCH DM_BIN_DIR "/dm bench "
#define QUICK BENCH "tasks --quick --workers 2 "

static const char *const expected[] = {
    "tasks sync", "tasks async", "tasks and get batch", "multi client tasks async", "get small", "put small",
    "multi client put", "wait 1k refs", "10,000 arguments to one task", "10,000-object get",
    "3,000 returns of one task", "get object of 10k refs",
    "no-op, 1,000,000 at once", "100,000 tasks gathered", "5 x 20 waves of 500, per edge",
    "put gigabytes", "multi client put gigabytes", "round trip, awake",
};
enum { EXPECTED = sizeof expected / sizeof expected[0], MOST = 64 };

/* The lines of a file, each an object of the documented form. Yours: each to cJSON_Delete. */
static int read_lines(const char *path, cJSON **lines)
{
    static const char *const texts[] = {"question", "case", "contestant", "unit", "commit"};
    static const char *const numbers[] = {"median", "min", "max", "runs", "n", "cpus"};
    static char text[8192];
    int count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(text, sizeof text, file)) {
        assert_true(count < MOST);
        cJSON *line = cJSON_Parse(text);
        if (!line)
            fail_msg("not JSON: %s", text);
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
            assert_true(cJSON_IsString(cJSON_GetObjectItemCaseSensitive(line, texts[i])));
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
            assert_true(cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(line, numbers[i])));
        assert_true(cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(line, "params")));
        assert_true(cJSON_GetObjectItemCaseSensitive(line, "median")->valuedouble > 0);
        lines[count++] = line;
    }
    fclose(file);
    return count;
}

static const cJSON *line_of(cJSON *const *lines, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(cJSON_GetObjectItemCaseSensitive(lines[i], "case")->valuestring, name) == 0)
            return lines[i];
    fail_msg("no row is called '%s'", name);
    return NULL;
}

static void every_row_is_there(void **state)
{
    (void)state;
    cJSON *lines[MOST];
    assert_runs(QUICK "--json >rows");
    int count = read_lines("rows", lines);
    for (int i = 0; i < EXPECTED; i++)
        line_of(lines, count, expected[i]);
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(line_of(lines, count, "tasks sync"), "params");
    assert_true(cJSON_GetObjectItemCaseSensitive(params, "published_ns")->valuedouble == 1020000);
    assert_true(cJSON_GetObjectItemCaseSensitive(params, "workers")->valuedouble == 2);
    for (int i = 0; i < count; i++)
        cJSON_Delete(lines[i]);
}

static void it_measures_on_every_engine(void **state)
{
    (void)state;
    assert_runs(QUICK "--engine threads");
    assert_said("5 x 20 waves of 500, per edge");
    assert_said("as published, for other and larger machines");
    assert_runs(QUICK "--engine serial");
    assert_said("put gigabytes");
}

static void one_row_twice(void **state)
{
    (void)state;
    cJSON *lines[MOST];
    assert_runs(QUICK "--only 'tasks sync' --runs 2 --json >rows");
    assert_int_equal(read_lines("rows", lines), 1);
    assert_true(cJSON_GetObjectItemCaseSensitive(lines[0], "runs")->valuedouble == 2);
    cJSON_Delete(lines[0]);
}

static void it_draws(void **state)
{
    (void)state;
    unsigned char head[4];
    if (shell("command -v gnuplot") != 0)
        skip();
    assert_runs(QUICK "--only 'tasks sync' --plot \"it's.png\"");
    FILE *file = fopen("it's.png", "rb");
    assert_non_null(file);
    assert_int_equal(fread(head, 1, 4, file), 4);
    fclose(file);
    assert_memory_equal(head, "\x89PNG", 4);
    assert_int_equal(shell(QUICK "--only 'tasks sync' --plot nowhere/a.png"), 1);
    assert_said("nowhere/a.png: gnuplot could not write it");
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    assert_int_equal(shell(BENCH), 2);
    assert_said("bench what?");
    assert_int_equal(shell(QUICK "--runs 0"), 2);
    assert_said("--runs is '0'; a number from 1 to 64 was expected");
    assert_int_equal(shell(QUICK "--workers none"), 2);
    assert_int_equal(shell(QUICK "--engine gpu"), 2);
    assert_said("--engine is 'gpu'; processes, threads or serial was expected");
    assert_int_equal(shell(QUICK "--only 'tasks'"), 2);
    assert_said("--only is 'tasks'; the name of a row was expected");
    assert_int_equal(shell(QUICK "more"), 2);
    assert_said("'more' was not expected");
    assert_int_equal(shell(QUICK "--nothing"), 2);
    assert_int_equal(shell("PATH=/nowhere " QUICK "--plot a.png"), 2);
    assert_said("--plot needs gnuplot, which is not in PATH");
    assert_runs(BENCH "tasks --help");
    assert_said("Usage: dm bench tasks");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_row_is_there, begin, end),
        cmocka_unit_test_setup_teardown(it_measures_on_every_engine, begin, end),
        cmocka_unit_test_setup_teardown(one_row_twice, begin, end),
        cmocka_unit_test_setup_teardown(it_draws, begin, end),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
