/*
 * apart.c - fork and unshare.
 */
#include "tests/support/apart.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/support/test.h"

enum { NOT_ALLOWED = 77 };

const char *apart_said(const char *file, int line, const char *what)
{
    static char text[1000];
    snprintf(text, sizeof text, "%s:%d: %s (last error: %s)", file, line, what, dm_last_error());
    return text;
}

static void child(const char *(*what)(void), bool mounts)
{
    if (mounts &&
        (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0))
        _exit(NOT_ALLOWED);
    const char *wrong = what();
    if (wrong)
        fprintf(stderr, "%s\n", wrong);
    _exit(wrong != NULL);
}

static int run(const char *(*what)(void), bool mounts)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(what, mounts);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        fail_msg("it died by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

void apart(const char *(*what)(void))
{
    assert_int_equal(run(what, false), 0);
}

void apart_with_mounts(const char *(*what)(void))
{
    int status = run(what, true);
    if (status == NOT_ALLOWED) {
        print_message("skipped: mounts of one's own are not allowed here\n");
        skip();
    }
    assert_int_equal(status, 0);
}
