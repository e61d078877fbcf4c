/*
 * Death while objects are spilled and brought back: of the driver, which leaves no process, and names only for
 * the next session to sweep; of a worker, before each of its stores to shared memory, which loses no value.
 */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/marked.h"
#include "tests/support/steps.h"

enum { STORE = 4 * MARKED_MIB, OBJECT = MARKED_MIB / 8, MANY = 60, DEATHS = 10, GONE_MS = 2000 };

static bool begin_in(const char *directory)
{
    return dm_init(&(dm_options){.workers = 2, .store_bytes = STORE, .spill_dir = directory,
                                 .spill_visible = 1, .store_wait_ms = 20000,
                                 .log = driver_no_log}) == DM_OK;
}

/* ---- the driver ---- */

/* Spills and brings back until it is killed. Nameless files: soak_kill_driver_spilling.c. */
static int spills(const char *directory)
{
    static dm_ref refs[MANY];
    driver_say("begun");
    NEED(begin_in(directory));
    for (uint64_t i = 0;; i++) {
        uint64_t at = i % MANY;
        if (i >= MANY) {
            NEED(marked_is_there(refs[at], OBJECT, i - MANY));
            NEED(dm_release(refs[at]) == DM_OK);
        }
        refs[at] = i % 3 ? marked_put(OBJECT, i) : dm_remote(marked_make, OBJECT, i);
    }
}

static void kill_one(unsigned *seed, const char *directory)
{
    driver d;
    driver_start(&d, "spills", directory);
    assert_non_null(driver_hear(&d));
    long us = (long)((unsigned)rand_r(seed) % 600000);
    nanosleep(&(struct timespec){0, us * 1000}, NULL);
    assert_true(watch_kill(d.pid));
    int status = driver_join(&d);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int names_in(const char *directory)
{
    char command[400];
    int count = -1;
    snprintf(command, sizeof command, "find %s -mindepth 1 | wc -l", directory);
    FILE *pipe = popen(command, "r");
    if (!pipe || fscanf(pipe, "%d", &count) != 1)
        count = -1;
    if (pipe)
        pclose(pipe);
    return count;
}

/* Files with names outlive it; the next session in that directory sweeps them, and only them. */
static void a_driver_with_visible_files_that_is_killed(void **state)
{
    (void)state;
    residue before, with_directory;
    char directory[300], other[400], left[4096];
    unsigned seed = (unsigned)watch_now_us();
    int found = 0;
    print_message("seed %u\n", seed);
    residue_begin(&before);
    snprintf(directory, sizeof directory, "%s/visible", test_directory());
    snprintf(other, sizeof other, "%s/not-ours", directory);
    assert_int_equal(mkdir(directory, 0700), 0);
    close(open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    residue_begin(&with_directory);
    for (int i = 0; i < DEATHS; i++) {
        kill_one(&seed, directory);
        if (!residue_check_within(&with_directory, GONE_MS, left, sizeof left)) /* who could hold a lock */
            fail_msg("death %d: residue:\n%s", i, left);
        int names = names_in(directory);
        assert_true(names >= 1);
        found += names > 1;
    }
    assert_true(found > 0);
    assert_true(begin_in(directory));
    dm_shutdown();
    assert_int_equal(names_in(directory), 1);
    assert_int_equal(unlink(other) | rmdir(directory), 0);
    assert_no_residue(&before);
}

/* ---- a worker, at every store ---- */

/* Holds what it was given, and reads it when it has been pushed out by objects and tasks of its own. */
DM_REMOTE(reads_held)
{
    enum { OWN = 6 };
    dm_ref held[2], own[OWN];
    dm_view view;
    for (int i = 0; i < 2; i++) {
        DM_TRY(dm_arg(call, i, &held[i]));
        DM_TRY(dm_retain(held[i]));
    }
    for (uint64_t i = 0; i < OWN; i++)
        own[i] = i % 3 ? marked_put(4 * OBJECT, 100 + i) : dm_remote(marked_make, 4 * OBJECT, 100 + i);
    int good = 0;
    for (uint64_t i = 0; i < OWN; i++) {
        DM_TRY(dm_get(own[i], &view));
        good += is_marked(view.data, view.bytes, 100 + i);
        dm_view_release(&view);
    }
    for (uint64_t i = 0; i < 2; i++) {
        DM_TRY(dm_get(held[i], &view));
        good += is_marked(view.data, view.bytes, i);
        dm_view_release(&view);
        DM_TRY(dm_release(held[i]));
    }
    return dm_return(call, good);
}

static dm_ref given[MANY];

static void read_once(void)
{
    int good = 0;
    dm_ref read = dm_remote(reads_held, given[0], given[1]);
    if (dm_get_within(read, &good, WATCH_PATIENCE_MS) != DM_OK || good != 8)
        fail_msg("%d are right: %s", good, dm_last_error());
    assert_ok(dm_release(read));
    for (uint64_t i = 0; i < 4; i++)
        assert_marked(given[i], OBJECT, i);
    assert_soon(marked_stats().refs == MANY);
}

static void a_worker_before_each_store(void **state)
{
    (void)state;
    enum { FOR_MS = 8000 };
    residue before;
    steps_begin();
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = 1, .store_bytes = STORE, .retries = 50, .store_wait_ms = 20000,
                                     .log = driver_no_log});
    for (int i = 0; i < MANY; i++)
        given[i] = marked_put(OBJECT, (uint64_t)i);
    assert_true(steps_enumerate("spilling", 1, FOR_MS, read_once) > 9);
    print_message("spilled %d MiB, read back %d MiB\n", (int)(marked_stats().spilled_total >> 20),
                  (int)(marked_stats().restored_total >> 20));
    assert_true(marked_stats().restored_total > 0);
    assert_int_equal(marked_stats().tasks_failed, 0);
    marked_release(given, MANY);
    marked_end(&before);
    steps_end();
}

static const test_driver drivers[] = {{"spills", spills}, {0}};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_driver_with_visible_files_that_is_killed),
    cmocka_unit_test(a_worker_before_each_store),
};

TEST_MAIN(tests, drivers)
