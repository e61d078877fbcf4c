/*
 * The driver is killed at random moments under load, its start included: all processes gone within
 * 200 ms, all memory back, no file left. `--short` for every run of the suite; `--seed N` repeats.
 */
#include "tests/support/deaths.h"

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

static const test_driver drivers[] = {{"load", load}, {0}};

int main(int argc, char **argv)
{
    const deaths of = {.driver = "load", .rounds = 100, .short_rounds = 20, .early_ms = 30, .late_ms = 300};
    int status;
    if (test_began_elsewhere(argc, argv, drivers, &status))
        return status;
    return deaths_run(&of, argc, argv);
}
