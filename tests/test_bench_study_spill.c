/*
 * The whole of dm bench study, its spill experiment included, in which programs are killed, leaves nothing behind; and
 * the bytes it saw on the disk are those that the policies promise.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test_fit_shell.h"

#define STUDY DM_BIN_DIR "/dm bench study "

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

static int names_in(const char *path)
{
    int count = 0;
    DIR *names = opendir(path);
    assert_non_null(names);
    for (struct dirent *entry; (entry = readdir(names)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(names);
    return count;
}

/* Values several times the store, killed and not, and nothing left: no process, no file to spill to. What a run that was
 * killed has left goes as well, and what another one uses stays. */
static void all_of_it_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(mkdir("spilled", 0700), 0);
    assert_runs("mkdir spilled/dm-study-killed spilled/dm-study-in-use && touch spilled/dm-study-killed/file");
    int used = open("spilled/dm-study-in-use", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(used, LOCK_EX), 0);
    assert_runs("DM_SPILL_DIR=$PWD/spilled " STUDY
                "--shape 6,6,6 --num-runs 1 --max-chunks 2 --models csdm --cpus 1 --spill-models 2 "
                "--spill-shape 14,14,14 --out a");
    assert_int_equal(names_in("spilled"), 1);
    close(used);
    assert_int_equal(rmdir("spilled/dm-study-in-use"), 0);
    assert_int_equal(lines_with("a/spill.csv", ",end,"), 6);
    assert_int_equal(lines_with("a/spill.csv", ",killed,"), 6);
    assert_runs("! grep -E '^[a-z]+,[a-z]+,killed,[0-9.]+,[1-9]' a/spill.csv");
    assert_runs("! grep -E '^(auto|session),value,end,[0-9.]+,[1-9]' a/spill.csv");
    assert_runs("grep -E '^never,value,end,[0-9.]+,[1-9]' a/spill.csv");
    assert_runs("awk -F, '$1 == \"auto\" && $3 == \"sample\" && $9 > $12 && $10 > 0 { found = 1 } "
                "END { exit !found }' a/spill.csv");
    assert_runs("grep -q 'study: live' a/study.md && grep -q 'study: spill' a/study.md");
    assert_runs("grep -q 'study: best' a/study.md");
    assert_runs("! pgrep -f \"$PWD/spilled\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_of_it_leaves_nothing, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
