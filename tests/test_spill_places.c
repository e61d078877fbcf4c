/*
 * Where spill files may be made, and what is found there: what others could interfere with is refused, memory
 * is refused unless allowed, leftovers of the dead are swept, the living are left alone, and nothing of
 * anybody else's is touched.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/support/apart.h"
#include "tests/support/spilling.h"

enum { MIB = 1 << 20, OTHER_UID = 65534 };

static char place[128];

/* What the library takes for the time of day is later. */
static time_t seconds_later;
time_t __real_time(time_t *at);
time_t __wrap_time(time_t *at);
time_t __wrap_time(time_t *at)
{
    return __real_time(at) + seconds_later;
}

/* An empty directory for each case. */
static int new_place(void **state)
{
    static int count;
    (void)state;
    snprintf(place, sizeof place, "%s/%d", spilling_dir(), count++);
    return mkdir(place, 0700);
}

static const char *in(const char *directory, const char *name)
{
    static char path[4][300];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", directory, name);
    return path[turn];
}

static void refused(const char *dirs, dm_status status, const char *words)
{
    dmi_spill *spill = (dmi_spill *)place;
    dmi_spill_settings settings = spilling_settings();
    settings.dirs = dirs;
    assert_refused(dmi_spill_create(&spill, &settings), status, words);
    assert_null(spill);
}

static void accepted(const char *dirs)
{
    dmi_spill_settings settings = spilling_settings();
    settings.dirs = dirs;
    dmi_spill *spill = spilling_begin(&settings);
    uint32_t ticket = spilling_write(spill, 1000, SPILLING_NOISE, 1);
    spilling_check(spill, ticket, 1000, SPILLING_NOISE, 1);
    dmi_spill_destroy(spill);
}

/* ---- what is refused ---- */

static void what_is_no_directory(void **state)
{
    (void)state;
    refused(in(place, "missing"), DM_ERR_OPTION, "create it or set DM_SPILL_DIR");
    refused("", DM_ERR_OPTION, "DM_SPILL_DIR");
    refused(":::", DM_ERR_OPTION, "DM_SPILL_DIR");
    enum { MANY = 65 };
    char many[MANY * (sizeof place + 1)] = "";
    for (int i = 0; i < MANY; i++)
        strcat(strcat(many, place), ":");
    refused(many, DM_ERR_OPTION, "more than 64 spill directories are named");
    close(open(in(place, "file"), O_CREAT | O_WRONLY, 0600));
    refused(in(place, "file"), DM_ERR_OPTION, "Not a directory");
    refused(in(place, "file/below"), DM_ERR_OPTION, "Not a directory");
}

static void links(void **state)
{
    (void)state;
    assert_int_equal(symlink("/etc", in(place, "link")), 0);
    refused(in(place, "link"), DM_ERR_SPILL_UNSAFE, "symbolic link");
    refused(in(place, "link/"), DM_ERR_SPILL_UNSAFE, "symbolic link");
    refused(in(place, "link///"), DM_ERR_SPILL_UNSAFE, "symbolic link");
    assert_int_equal(symlink("round", in(place, "round")), 0);
    refused(in(place, "round/and/round"), DM_ERR_SPILL_UNSAFE, "symbolic link");
}

static void directories_that_everybody_may_rename_in(void **state)
{
    (void)state;
    assert_int_equal(chmod(place, 0777), 0);
    refused(place, DM_ERR_SPILL_UNSAFE, "sticky");
    assert_int_equal(chmod(place, 01777), 0);
    accepted(place);
}

static void directories_of_somebody_else(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(place, OTHER_UID, OTHER_UID), 0);
    refused(place, DM_ERR_SPILL_UNSAFE, "another user");
    assert_int_equal(chmod(place, 01777), 0);
    refused(place, DM_ERR_SPILL_UNSAFE, "another user");
}

static const char *not_writable(void)
{
    apart_must(setgid(OTHER_UID) == 0 && setuid(OTHER_UID) == 0);
    dmi_spill *spill;
    dmi_spill_settings settings = {.dirs = place};
    apart_must(dmi_spill_create(&spill, &settings) == DM_ERR_OPTION);
    apart_must(strstr(dm_last_error(), "written"));
    return NULL;
}

static void directories_that_cannot_be_written(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(spilling_dir(), 0711) | chmod(place, 0755), 0);
    apart(not_writable);
}

/* Root may write everything, and makes no file here. */
static void directories_that_take_no_files(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    refused("/proc", DM_ERR_OPTION, "'/proc' takes no files");
    refused(in(place, "..:/proc"), DM_ERR_OPTION, "set DM_SPILL_DIR to a directory on a disk");
}

static const char *in_memory(void)
{
    dmi_spill *spill;
    dmi_spill_settings settings = {.dirs = place};
    apart_must(mount("tmpfs", place, "tmpfs", 0, "size=1m") == 0);
    apart_must(dmi_spill_create(&spill, &settings) == DM_ERR_OPTION);
    apart_must(strstr(dm_last_error(), "DM_SPILL_DIR") &&
               strstr(dm_last_error(), "DM_SPILL_IN_MEMORY"));
    settings.allow_memory = true;
    apart_ok(dmi_spill_create(&spill, &settings));
    dmi_spill_destroy(spill);
    return NULL;
}

static void memory(void **state)
{
    (void)state;
    apart_with_mounts(in_memory);
}

static void one_bad_one_among_several(void **state)
{
    (void)state;
    char dirs[400];
    snprintf(dirs, sizeof dirs, "%s:%s/missing", place, place);
    refused(dirs, DM_ERR_OPTION, "missing");
    snprintf(dirs, sizeof dirs, ":%s::%s/:", place, place);
    accepted(dirs);
}

/* ---- what is seen ---- */

static void nameless_files_have_no_name(void **state)
{
    (void)state;
    dmi_spill_settings settings = spilling_settings();
    settings.dirs = place;
    dmi_spill *spill = spilling_begin(&settings);
    spilling_write(spill, MIB, SPILLING_NOISE, 1);
    assert_int_equal(spilling_names(place), 0);
    assert_int_equal(spilling_open_files().count, 1);
    assert_true(fcntl(spilling_open_files().fd, F_GETFD) & FD_CLOEXEC);
    dmi_spill_destroy(spill);
    assert_int_equal(spilling_open_files().count, 0);
}

static void visible_files_lie_in_a_directory_of_ours(void **state)
{
    (void)state;
    struct stat about;
    char home[200], prefix[64], words[300];
    dmi_spill_settings settings = spilling_settings();
    settings.dirs = place, settings.visible = true;
    dmi_spill *spill = spilling_begin(&settings);
    assert_int_equal(spilling_names(place), 0); /* nothing is made before it is needed */
    uint32_t ticket = spilling_write(spill, MIB, SPILLING_NOISE, 1);
    assert_int_equal(spilling_names(place), 1);
    dmi_spill_describe(spill, ticket, words, sizeof words);
    snprintf(prefix, sizeof prefix, "dmrt-%u-%d-", (unsigned)geteuid(), (int)getpid());
    char *at = strstr(words, prefix), *end = at ? strstr(at, "/spill-0") : NULL;
    assert_non_null(end);
    snprintf(home, sizeof home, "%s/%.*s", place, (int)(end - at), at);
    assert_int_equal(stat(home, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0700);
    assert_int_equal(spilling_names(home), 2); /* and the lock */
    assert_int_equal(stat(in(home, "spill-0"), &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    dmi_spill_destroy(spill);
    assert_int_equal(spilling_names(place), 0);
}

/* ---- sweeping ---- */

static int ready[2];

/* Begins a visible session, says so, waits to be killed. */
static pid_t another_session(void)
{
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dmi_spill *spill;
        dmi_spill_settings settings = {.dirs = place, .visible = true};
        static char bytes[MIB];
        dmi_part part = {.bytes = bytes, .count = sizeof bytes};
        spilling_fill(bytes, sizeof bytes, SPILLING_NOISE, 1);
        if (dmi_spill_create(&spill, &settings) == DM_OK &&
            dmi_spill_write(spill, &part, 1, NULL) == DM_OK && write(ready[1], "x", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void kill_session(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void only_the_dead_are_swept(void **state)
{
    (void)state;
    pid_t lives = another_session(), dies = another_session();
    assert_int_equal(spilling_names(place), 2);
    kill_session(dies);
    assert_int_equal(spilling_names(place), 2);
    accepted(place);
    assert_int_equal(spilling_names(place), 1);
    accepted(place);
    assert_int_equal(spilling_names(place), 1);
    kill_session(lives);
    accepted(place);
    assert_int_equal(spilling_names(place), 0);
}

static void what_is_not_ours_stays(void **state)
{
    (void)state;
    char name[64], other[64];
    snprintf(name, sizeof name, "dmrt-%u-1-aaaaaa", (unsigned)geteuid());
    snprintf(other, sizeof other, "dmrt-%u-1-bbbbbb", (unsigned)geteuid() + 1);
    assert_int_equal(mkdir(in(place, other), 0700), 0); /* another user's name */
    close(open(in(in(place, other), "lock"), O_CREAT | O_WRONLY, 0600));
    assert_int_equal(mkdir(in(place, name), 0700), 0); /* just made, not locked yet */
    assert_int_equal(mkdir(in(place, "dmrt-test"), 0700), 0);
    close(open(in(place, "data"), O_CREAT | O_WRONLY, 0600));
    accepted(place);
    assert_int_equal(spilling_names(place), 4);
}

/* What has no lock may be about to get one. After a minute it is left by somebody who died: a directory, a file. */
static void what_is_a_minute_old(void **state)
{
    (void)state;
    char home[300], file[300], fifo[300], others[300], others_file[300];
    unsigned me = (unsigned)geteuid();
    snprintf(home, sizeof home, "%s/dmrt-%u-1-aaaaaa", place, me);
    snprintf(file, sizeof file, "%s/dmrt-%u-1-bbbbbb", place, me);
    snprintf(fifo, sizeof fifo, "%s/dmrt-%u-1-cccccc", place, me);
    snprintf(others, sizeof others, "%s/dmrt-%u-1-dddddd", place, me);
    snprintf(others_file, sizeof others_file, "%s/dmrt-%u-1-eeeeee", place, me);
    assert_int_equal(mkdir(home, 0700), 0);
    assert_int_equal(mkdir(others, 0700), 0);
    close(open(in(home, "spill-0"), O_CREAT | O_WRONLY, 0600));
    close(open(file, O_CREAT | O_WRONLY, 0600));
    close(open(others_file, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(mkfifo(fifo, 0600), 0);
    bool may = me == 0; /* give them to somebody else */
    assert_true(!may || (chown(others, OTHER_UID, OTHER_UID) == 0 && chown(others_file, OTHER_UID, OTHER_UID) == 0));
    accepted(place);
    assert_int_equal(spilling_names(place), 5);
    seconds_later = 120;
    accepted(place);
    seconds_later = 0;
    assert_int_equal(spilling_names(place), may ? 3 : 1);
    assert_int_equal(access(fifo, F_OK), 0); /* none of ours */
    assert_true(!may || (access(others, F_OK) == 0 && access(others_file, F_OK) == 0));
}

/* All of a path may be slashes. */
static void the_root(void **state)
{
    (void)state;
    dmi_spill *spill = NULL;
    dmi_spill_settings settings = spilling_settings();
    settings.dirs = "//";
    settings.allow_memory = true;
    dm_status status = dmi_spill_create(&spill, &settings);
    assert_true(status == DM_OK || (geteuid() != 0 && status == DM_ERR_OPTION && strstr(dm_last_error(), "'/'")));
    dmi_spill_destroy(spill);
}

/* A leftover that is a link, or has one in it: what it points to stays. */
static void links_among_the_leftovers(void **state)
{
    (void)state;
    char precious[300], name[64], home[300];
    snprintf(precious, sizeof precious, "%s/precious", place);
    assert_int_equal(mkdir(precious, 0700), 0);
    close(open(in(precious, "lock"), O_CREAT | O_WRONLY, 0600));
    close(open(in(precious, "spill-0"), O_CREAT | O_WRONLY, 0600));
    snprintf(name, sizeof name, "dmrt-%u-2-cccccc", (unsigned)geteuid());
    assert_int_equal(symlink(precious, in(place, name)), 0);
    snprintf(home, sizeof home, "%s/dmrt-%u-2-dddddd", place, (unsigned)geteuid());
    assert_int_equal(mkdir(home, 0700), 0);
    close(open(in(home, "lock"), O_CREAT | O_WRONLY, 0600));
    assert_int_equal(symlink(in(precious, "spill-0"), in(home, "spill-0")), 0);
    accepted(place);
    assert_int_equal(spilling_names(precious), 2);
    assert_int_equal(access(home, F_OK), -1); /* that was one of the dead */
    assert_int_equal(spilling_names(place), 2);
}

static void a_lock_that_is_a_link(void **state)
{
    (void)state;
    char home[300];
    close(open(in(place, "precious"), O_CREAT | O_WRONLY, 0600));
    snprintf(home, sizeof home, "%s/dmrt-%u-2-eeeeee", place, (unsigned)geteuid());
    assert_int_equal(mkdir(home, 0700), 0);
    assert_int_equal(symlink(in(place, "precious"), in(home, "lock")), 0);
    accepted(place);
    assert_int_equal(spilling_names(place), 2); /* left alone: nobody of us made that */
}

#define CASE(name) cmocka_unit_test_setup(name, new_place)
static const struct CMUnitTest tests[] = {
    CASE(what_is_no_directory),
    CASE(links),
    CASE(directories_that_everybody_may_rename_in),
    CASE(directories_of_somebody_else),
    CASE(directories_that_cannot_be_written),
    CASE(directories_that_take_no_files),
    CASE(memory),
    CASE(one_bad_one_among_several),
    CASE(nameless_files_have_no_name),
    CASE(visible_files_lie_in_a_directory_of_ours),
    CASE(only_the_dead_are_swept),
    CASE(what_is_not_ours_stays),
    CASE(what_is_a_minute_old),
    CASE(the_root),
    CASE(links_among_the_leftovers),
    CASE(a_lock_that_is_a_link),
};

TEST_MAIN(tests, NULL)
