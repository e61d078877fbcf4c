/*
 * deaths.h - a driver of the test is killed at random moments, many times: how long is anything left of it?
 */
#ifndef TEST_SUPPORT_DEATHS_H
#define TEST_SUPPORT_DEATHS_H

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/test.h"

enum { DEATHS_GONE_MS = 200, DEATHS_SLACK = 10 /* a figure to report; a test uses it tenfold */ };

typedef struct deaths {
    const char *driver, *argument;
    int rounds, short_rounds; /* the latter with --short */
    int early_ms, late_ms;    /* it is killed within the one or the other, in turn */
} deaths;

/* One death; how long until all was gone, or -1. */
static int64_t deaths_one(const deaths *of, unsigned *seed, int most_ms)
{
    residue before;
    char said[4096];
    driver d;
    residue_begin(&before);
    driver_start(&d, of->driver, of->argument);
    if (!driver_hear(&d))
        return -1;
    long us = (long)((unsigned)rand_r(seed) % (unsigned)(most_ms * 1000));
    nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
    if (!watch_kill(d.pid))
        return -1;
    int64_t begin = watch_now_us();
    int status = driver_join(&d);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        printf("the driver had ended by itself: %x\n", (unsigned)status);
        return -1;
    }
    if (residue_check_within(&before, DEATHS_GONE_MS * DEATHS_SLACK, said, sizeof said))
        return watch_now_us() - begin;
    printf("residue:\n%s", said);
    return -1;
}

/* All of them, and a line about it; for main, after test_began_elsewhere. `--short`; `--seed N` repeats. */
static int deaths_run(const deaths *of, int argc, char **argv)
{
    int rounds = of->rounds, wrong = 0, late = 0;
    int64_t longest = 0;
    unsigned seed = (unsigned)watch_now_us();
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--short") == 0)
            rounds = of->short_rounds;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = (unsigned)strtoul(argv[++i], NULL, 10);
    }
    printf("seed %u\n", seed);
    fflush(stdout);
    watch_dog(rounds == of->short_rounds ? WATCH_DOG_S : 7000);
    for (int i = 0; i < rounds && wrong == 0; i++) {
        int64_t us = deaths_one(of, &seed, i % 2 ? of->late_ms : of->early_ms);
        wrong += us < 0;
        late += us > DEATHS_GONE_MS * 1000;
        longest = us > longest ? us : longest;
    }
    printf("%d drivers killed; all gone after %d us at most, %d times later than %d ms\n", rounds, (int)longest,
           late, DEATHS_GONE_MS);
    test_end();
    return wrong != 0;
}

#endif
