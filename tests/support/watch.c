/*
 * watch.c - the watchdog, the clock, and killing that makes sure.
 */
#include "tests/support/watch.h"

#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dm/dm.h"
#include "tests/support/driver.h"

static void bite(int signal)
{
    static const char said[] = "watchdog: the test has taken too long; it is here:\n";
    void *frames[40];
    (void)signal;
    ssize_t written = write(STDERR_FILENO, said, sizeof said - 1);
    (void)written;
    backtrace_symbols_fd(frames, backtrace(frames, 40), STDERR_FILENO);
    test_end();
    kill(getpid(), SIGKILL); /* workers and drivers die with it */
}

void watch_dog(unsigned seconds)
{
    void *frame;
    backtrace(&frame, 1); /* loads what the handler must not load */
    signal(SIGALRM, bite);
    alarm(seconds);
}

int64_t watch_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t watch_now_ms(void)
{
    return watch_now_us() / 1000;
}

void watch_pause(void)
{
    nanosleep(&(struct timespec){0, 500000}, NULL);
}

/* State, and the start time that tells a process from a later one of the same number. */
static bool look(int pid, char *state, unsigned long long *born)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes] = 0;
    const char *after = strrchr(text, ')');
    return after && sscanf(after, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                                  "%*d %*d %*d %llu", state, born) == 2;
}

char watch_state(int pid)
{
    char state;
    unsigned long long born;
    return look(pid, &state, &born) ? state : 0;
}

bool watch_alive(int pid)
{
    char state = watch_state(pid);
    return state && state != 'Z' && state != 'X';
}

bool watch_kill(int pid)
{
    char state, later;
    unsigned long long born, other;
    if (pid <= 0 || !look(pid, &state, &born))
        return true;
    kill(pid, SIGKILL);
    int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    while (look(pid, &later, &other) && other == born && later != 'Z' && later != 'X') {
        if (watch_now_ms() > until)
            return false;
        watch_pause();
    }
    return true;
}

int watch_kill_a_worker(unsigned *seed)
{
    int pids[256];
    int count = dm_worker_pids(pids, 256);
    if (count <= 0)
        return 0;
    int pid = pids[(unsigned)rand_r(seed) % (unsigned)count];
    if (!watch_kill(pid)) {
        fprintf(stderr, "worker %d was killed and lives\n", pid);
        abort();
    }
    return pid;
}

bool watch_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}
