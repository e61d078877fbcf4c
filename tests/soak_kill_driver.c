/*
 * The driver is killed at random moments under load, its start included: all processes gone within
 * 200 ms, all memory back, no file left. `--short` for every run of the suite; `--seed N` repeats.
 */
#include <signal.h>
#include <time.h>
#include <sys/wait.h>

#include "tests/support/test.h"

enum { GONE_MS = 200, SLACK = 10 /* a figure to report; a test uses it tenfold */ };

DM_REMOTE(works)
{
    dm_view view;
    int number;
    DM_TRY(dm_arg(call, 0, &number));
    DM_TRY(dm_arg(call, 1, &view));
    if (number % 50 == 0 && fork() == 0) { /* a task's own child */
        for (;;)
            pause();
    }
    dm_array array = {view.data, view.dtype, view.ndim, {view.shape[0]}};
    return dm_return(call, &array);
}

static int load(const char *unused)
{
    static char bytes[100000];
    (void)unused;
    driver_say("begun");
    NEED(dm_init(&(dm_options){.workers = 2, .store_bytes = 64 << 20, .log = driver_no_log}) == DM_OK);
    for (int i = 0;; i++) {
        dm_ref shared = dm_put(&DM_BYTES(bytes, sizeof bytes)), result = dm_remote(works, i, shared);
        NEED(dm_get(result, (void *)NULL) == DM_OK);
        dm_release(shared);
        dm_release(result);
    }
}

/* One death; how long until all was gone, or -1. */
static int64_t kill_one(unsigned *seed, int most_ms)
{
    residue before;
    char said[4096];
    driver d;
    residue_begin(&before);
    driver_start(&d, "load", NULL);
    if (!driver_hear(&d))
        return -1;
    long us = (long)((unsigned)rand_r(seed) % (unsigned)(most_ms * 1000));
    nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
    if (!watch_kill(d.pid))
        return -1;
    int64_t begin = watch_now_us();
    int status = driver_join(&d);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        printf("the driver had ended by itself: %x\n", (unsigned)status);
    if (residue_check_within(&before, GONE_MS * SLACK, said, sizeof said))
        return watch_now_us() - begin;
    printf("residue:\n%s", said);
    return -1;
}

static const test_driver drivers[] = {{"load", load}, {0}};

int main(int argc, char **argv)
{
    int status, rounds = 100, wrong = 0, late = 0;
    unsigned seed = (unsigned)watch_now_us();
    if (test_began_elsewhere(argc, argv, drivers, &status))
        return status;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--short") == 0)
            rounds = 20;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = (unsigned)strtoul(argv[++i], NULL, 10);
    }
    printf("seed %u\n", seed);
    fflush(stdout);
    watch_dog(rounds == 20 ? WATCH_DOG_S : 7000);
    int64_t longest = 0;
    for (int i = 0; i < rounds && wrong == 0; i++) {
        int64_t us = kill_one(&seed, i % 2 ? 300 : 30);
        wrong += us < 0;
        late += us > GONE_MS * 1000;
        longest = us > longest ? us : longest;
    }
    printf("%d drivers killed; all gone after %d us at most, %d times later than %d ms\n", rounds,
           (int)longest, late, GONE_MS);
    test_end();
    return wrong != 0;
}
