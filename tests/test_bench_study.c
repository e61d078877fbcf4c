/*
 * dm bench study measures what it is asked, goes on where it was, draws its figures from the CSV alone, and says what
 * is wrong with what it was asked.
 */
#include "test_fit_shell.h"

#define STUDY DM_BIN_DIR "/dm bench study "
#define SMALL STUDY "--shape 6,6,6 --num-runs 1 --max-chunks 2 "

static int lines_with(const char *path, const char *words)
{
    char line[2048];
    int count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        count += strstr(line, words) != NULL;
    fclose(file);
    return count;
}

static void assert_starts(const char *path, const char *bytes)
{
    char head[8];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s is missing", path);
    assert_int_equal(fread(head, 1, strlen(bytes), file), strlen(bytes));
    fclose(file);
    assert_memory_equal(head, bytes, strlen(bytes));
}

/* ---- the sweep ---- */

static void every_row_once(void **state)
{
    (void)state;
    assert_runs(SMALL "--cpus 1 --only sweep --out a");
    assert_int_equal(lines_with("a/study.csv", "\"(6, 6, 6, 288)\""), 2 * (1 + 3 + 2));
    assert_int_equal(lines_with("a/study.csv", "csdm,serial,1,1,"), 1);
    assert_int_equal(lines_with("a/study.csv", "fwdtim,dmrt,4,1,"), 1);
    assert_int_equal(lines_with("a/study.csv", "csdm,dmrt auto,"), 1);
    assert_int_equal(lines_with("a/study.csv", "fwdtim,dmrt map,"), 1);
    assert_runs(SMALL "--cpus 1 --only sweep --out a");
    assert_said("12 rows, 0 of them new");
    assert_runs("cp a/study.csv before; truncate -s -10 a/study.csv; " SMALL "--cpus 1 --only sweep --out a");
    assert_said("its last row was torn, and is measured again");
    assert_said("12 rows, 1 of them new");
    assert_runs("head -n 12 before | cmp -n $(head -n 12 before | wc -c) - a/study.csv");
    assert_runs(STUDY "--shape 6,6,6 --num-runs 1 --max-chunks 3 --models csdm --cpus 1 --only sweep --out a");
    assert_said("13 rows, 1 of them new");
}

static void a_set_from_files(void **state)
{
    (void)state;
    assert_runs(STUDY "--data " DM_TEST_DATA "/s101 --models fwdtim,csdm --cpus 1 --min-chunks 1 --max-chunks 1 "
                      "--num-runs 1 --only sweep --out a");
    assert_int_equal(lines_with("a/study.csv", "\"(6, 10, 10, 102)\""), 8);
    assert_int_equal(shell(STUDY "--data " DM_TEST_DATA "/s64 --models fwdtim --cpus 1 --only sweep --out b"), 1);
    assert_said("b-value"); /* one shell, which is what the model says */
    assert_int_equal(shell(STUDY "--data nowhere --cpus 1 --out b"), 1);
    assert_said("nowhere/dwi.bval");
}

/* More chunks than voxels there are none; CPUs are restricted, and a run that is not allowed so many says so. */
static void what_cannot_be_is_left_out_or_said(void **state)
{
    (void)state;
    assert_runs(STUDY "--shape 2,2,2 --num-runs 1 --models fwdtim --cpus 1 --only sweep --out a");
    assert_int_equal(lines_with("a/study.csv", "fwdtim,dmrt,"), 4); /* 1, 2, 4, 8 */
    assert_int_equal(shell(SMALL "--cpus 1 --only sweep --out a"), 1);
    assert_said("a/study.csv has rows of data of (2, 2, 2, 288), not of (6, 6, 6, 288); choose another --out");
    assert_int_equal(shell("taskset -c 0 " SMALL "--cpus 1,2 --only sweep --out b"), 2);
    assert_said("--cpus has 2; this process may use 1");
}

/* ---- figures ---- */

static void figures_come_from_the_tables_alone(void **state)
{
    static const char *const names[] = {"csdm_speedup", "csdm_efficiency", "csdm_time", "efficiency_vs_cpus",
                                        "cost_vs_cpus", "automatic_chunks", "spill_over_time"};
    (void)state;
    if (shell("command -v gnuplot") != 0)
        skip();
    assert_runs("mkdir a && cat >a/study.csv <<END\n"
                "model,engine,num_chunks,cpu_count,time,data_shape,run,tasks,overhead,peak_memory,spilled,on_disk,"
                "commit\ncsdm,serial,1,1,4,\"(1, 1, 1, 9)\",1,0,0,0,0,0,x\n"
                "csdm,dmrt,4,2,2.5,\"(1, 1, 1, 9)\",1,4,1,0,0,0,x\n"
                "csdm,dmrt,16,2,2,\"(1, 1, 1, 9)\",1,16,0,0,0,0,x\n"
                "csdm,dmrt auto,8,2,2.1,\"(1, 1, 1, 9)\",1,8,0,0,0,0,x\nEND");
    assert_runs("cat >a/spill.csv <<END\n"
                "policy,arguments,event,seconds,on_disk,models,spilled,stored,live,away,voxels,store,commit\n"
                "never,value,sample,0.1,5000000,1,9,9,9,9,9,9,x\nnever,value,end,1,5000000,2,9,9,9,9,9,9,x\nEND");
    assert_runs(STUDY "--only figures --out a");
    assert_said("wrote 14 pictures in a");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "a/%s.png", names[i]);
        assert_starts(path, "\x89PNG");
        snprintf(path, sizeof path, "a/%s.svg", names[i]);
        assert_starts(path, "<?xml");
    }
    assert_runs("grep -F '| CSD | 2 | 16 | 2.00 (2.00..2.00) | 1.000 (1.000..1.000) |' a/study.md");
    assert_runs("grep -F '105.0 (105.0..105.0)' a/study.md");
    assert_runs("rm a/*.png a/*.svg; PATH=/nowhere " STUDY "--only figures --out a");
    assert_said("no pictures: gnuplot is not in PATH");
    assert_int_equal(shell("mkdir b; " STUDY "--only figures --out b"), 1);
    assert_said("neither has a row");
}

/* ---- nonsense ---- */

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const struct { const char *options, *words; } cases[] = {
        {"", "--out is missing"},
        {"--out ''", "--out is missing"},
        {"--out a --models dti", "--models is 'dti'; csdm, fwdtim or both was expected"},
        {"--out a --models csdm fwdtim dti", "--models is 'dti'"},
        {"--out a --min-chunks 3 --max-chunks 2", "--min-chunks is 3, above --max-chunks, 2"},
        {"--out a --min-chunks -1", "--min-chunks is '-1'; a number from 0 to 30 was expected"},
        {"--out a --max-chunks 31", "--max-chunks is '31'"},
        {"--out a --num-runs 0", "--num-runs is '0'"},
        {"--out a --cpus 0", "--cpus is '0'; numbers of CPUs, like 1,2,4, was expected"},
        {"--out a --cpus 1,,2", "--cpus is ''"},
        {"--out a --cpus 1,two", "--cpus is 'two'"},
        {"--out a --shape 1,2", "--shape is '1,2'"},
        {"--out a --data b --shape 1,2,3", "--shape is the phantom's, but --data is 'b'"},
        {"--out a --only all", "--only is 'all'; sweep, spill or figures was expected"},
        {"--out a --spill-models 1", "--spill-models is '1'; a number from 2 to 1000 was expected"},
        {"--out a --spill-shape 1", "--spill-shape is '1'"},
        {"--out a more", "'more' was not expected"},
        {"--nothing", "an option is unknown, incomplete or ambiguous"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(shell(STUDY "%s", cases[i].options), 2);
        assert_said(cases[i].words);
    }
    assert_int_equal(access("a", F_OK), -1);
    assert_int_equal(shell("echo nonsense >file; " SMALL "--only sweep --out file"), 1);
    assert_said("a folder to write to was expected");
    assert_int_equal(shell("mkdir c; echo nonsense >c/study.csv; " SMALL "--only sweep --out c"), 1);
    assert_said("c/study.csv:1: 'nonsense' was found; the header");
    assert_runs(STUDY "--help");
    assert_said("Usage: dm bench study");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_row_once, begin, end),
        cmocka_unit_test_setup_teardown(a_set_from_files, begin, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_left_out_or_said, begin, end),
        cmocka_unit_test_setup_teardown(figures_come_from_the_tables_alone, begin, end),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
