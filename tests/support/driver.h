/*
 * driver.h - parts of a test that run in processes of their own: the test program, executed again.
 */
#ifndef TEST_SUPPORT_DRIVER_H
#define TEST_SUPPORT_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What a driver does; its result is the exit status. `argument` is what driver_start was given. */
typedef struct test_driver {
    const char *name;
    int (*run)(const char *argument);
} test_driver;

/* A driver at work. Its stdout is a pipe to us: that is how it tells where it is. */
typedef struct driver {
    pid_t pid;
    int out;
    char line[1024];
    size_t held; /* bytes read beyond the last line */
    char buffer[4096];
} driver;

/* What is to be done in a worker before it serves; set before test_main. */
extern void (*test_worker_setup)(void);

/* First in main (TEST_MAIN calls it). True if this process is a driver that has done its work, whose
 * status is *status; a worker does not return. Else the test begins: watchdog, directory, reaper. */
bool test_began_elsewhere(int argc, char **argv, const test_driver *drivers, int *status);

/* Removes the test's directory of temporary files. */
void test_end(void);

/* The directory that is TMPDIR and DM_SPILL_DIR of this test and all below it. */
const char *test_directory(void);

/* Starts the driver of this name. Fails by abort(). */
void driver_start(driver *d, const char *name, const char *argument);

/* A process of this session was below a driver that is gone by now: each leads a session of its own. */
bool driver_is_gone(pid_t session);

/* Its next line; NULL if it has closed its output, or says nothing for 20 s. */
const char *driver_hear(driver *d);

/* Its end: the wait status, as waitpid gives it. Closes the pipe. Killed if it does not end in 20 s. */
int driver_join(driver *d);

/* Starts it, lets it end, and gives its exit status; 1000 + signal if it was ended by one. */
int driver_run(const char *name, const char *argument);

/* A log that says nothing, for tests whose workers are meant to die. */
void driver_no_log(void *context, const char *line);

/* In a driver: tell a line to the test. */
void driver_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* In a driver: check, and say what is wrong. */
#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition,            \
                    dm_last_error());                                                              \
            return 99;                                                                             \
        }                                                                                          \
    } while (0)

#endif
