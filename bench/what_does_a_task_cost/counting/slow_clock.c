/*
 * slow_clock.c - a clock as slow as the program that is being watched, to be loaded before it (LD_PRELOAD).
 *
 * Under valgrind a program is some sixty times slower, and its clock is not: a no-op seems to take five microseconds,
 * and the runtime decides about it as about one that does. With this the instructions that are counted are those of
 * life. SLOW_CLOCK=N: N times slower, 60 if it is not set.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NS = 1000000000, USUALLY = 60 };

static int64_t factor;
static struct timespec since;

__attribute__((constructor)) static void begin(void)
{
    const char *given = getenv("SLOW_CLOCK");
    factor = given ? strtoll(given, NULL, 10) : USUALLY;
    factor = factor > 0 ? factor : 1;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &since);
}

/* Wall-clock time is left alone: it names files. */
__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *now)
{
    long status = syscall(SYS_clock_gettime, clock, now);
    if (status != 0 || clock != CLOCK_MONOTONIC || factor == 0)
        return (int)status;
    int64_t passed = (int64_t)(now->tv_sec - since.tv_sec) * NS + now->tv_nsec - since.tv_nsec;
    int64_t at = (int64_t)since.tv_sec * NS + since.tv_nsec + passed / factor;
    *now = (struct timespec){at / NS, at % NS};
    return 0;
}
