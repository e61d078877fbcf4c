/*
 * test.h - what an end-to-end test is made of: cases under a watchdog, sessions that begin clean,
 * asserts that print what the library had to say, conditions instead of sleeps.
 *
 * A test program is executed again for each worker, and for each *driver*: a part of the test that
 * runs in a process of its own (support/driver.h), so that its death can be studied. test_main sorts
 * that out, so it comes first in main.
 */
#ifndef TEST_SUPPORT_TEST_H
#define TEST_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dm/dm.h"
#include "tests/support/driver.h"
#include "tests/support/residue.h"
#include "tests/support/watch.h"

/* ---- main ---- */

/* `drivers` ends with a zeroed entry, or is NULL. */
#define TEST_MAIN(tests_, drivers_)                                                                \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        int status;                                                                                \
        if (test_began_elsewhere(argc, argv, (drivers_), &status))                                 \
            return status;                                                                         \
        status = cmocka_run_group_tests(tests_, NULL, NULL);                                       \
        dm_shutdown();                                                                             \
        test_end();                                                                                \
        return status;                                                                             \
    }

/* ---- sessions ---- */

static inline void session_begin_with(const dm_options *options)
{
    dm_shutdown(); /* of a case that failed */
    dm_status status = dm_init(options);
    if (status != DM_OK)
        fail_msg("dm_init: %s: %s", dm_status_name(status), dm_last_error());
}

static inline void session_begin(dm_engine engine, int workers)
{
    session_begin_with(&(dm_options){.engine = engine, .workers = workers, .store_bytes = 256 << 20});
}

/* One case on each engine: ON_ENGINES(name) above the table, ENGINE_CASES(name) in it. */
#define ON_ENGINES(name_)                                                                          \
    static void name_##_in_processes(void **state)                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        name_(DM_ENGINE_PROCESSES);                                                                \
    }                                                                                              \
    static void name_##_in_threads(void **state)                                                   \
    {                                                                                              \
        (void)state;                                                                               \
        name_(DM_ENGINE_THREADS);                                                                  \
    }                                                                                              \
    static void name_##_serially(void **state)                                                     \
    {                                                                                              \
        (void)state;                                                                               \
        name_(DM_ENGINE_SERIAL);                                                                   \
    }

#define ENGINE_CASES(name_)                                                                        \
    cmocka_unit_test(name_##_serially), cmocka_unit_test(name_##_in_threads),                      \
        cmocka_unit_test(name_##_in_processes)

/* ---- asserts ---- */

#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        dm_status test_status_ = (expression);                                                     \
        if (test_status_ != DM_OK)                                                                 \
            fail_msg("%s: %s: %s", #expression, dm_status_name(test_status_), dm_last_error());    \
    } while (0)

/* It fails with this status, and its sentence has these words in it. */
#define assert_refused(expression, status_, words_)                                                \
    do {                                                                                           \
        dm_status test_status_ = (expression);                                                     \
        if (test_status_ != (status_))                                                             \
            fail_msg("%s: expected %s, got %s: %s", #expression, #status_,                         \
                     dm_status_name(test_status_), dm_last_error());                               \
        if (!strstr(dm_last_error(), (words_)))                                                    \
            fail_msg("%s: \"%s\" is not in \"%s\"", #expression, (words_), dm_last_error());       \
    } while (0)

/* Nothing of a session is left; fails the case and lists what is. */
#define assert_no_residue(before_)                                                                 \
    do {                                                                                           \
        char test_left_[4096];                                                                     \
        if (!residue_check((before_), test_left_, sizeof test_left_))                              \
            fail_msg("residue:\n%s", test_left_);                                                  \
    } while (0)

/* Waits until a condition holds, ten seconds at most. */
#define assert_soon(condition)                                                                     \
    do {                                                                                           \
        int64_t test_until_ = watch_now_ms() + WATCH_PATIENCE_MS;                                  \
        while (!(condition)) {                                                                     \
            if (watch_now_ms() > test_until_)                                                      \
                fail_msg("not so in time: %s", #condition);                                        \
            watch_pause();                                                                         \
        }                                                                                          \
    } while (0)

#endif
