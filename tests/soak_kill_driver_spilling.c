/*
 * The driver is killed at random moments while objects are spilled and brought back: all processes gone within
 * 200 ms, all memory and all bytes on the disk back. `--short` for every run of the suite; `--seed N` repeats.
 */
#include "tests/support/deaths.h"
#include "tests/support/marked.h"

enum { STORE = 4 * MARKED_MIB, OBJECT = MARKED_MIB / 8, MANY = 60 };

static int spills(const char *directory)
{
    static dm_ref refs[MANY];
    driver_say("begun");
    NEED(dm_init(&(dm_options){.workers = 2, .store_bytes = STORE, .spill_dir = directory, .store_wait_ms = 20000,
                               .log = driver_no_log}) == DM_OK);
    for (uint64_t i = 0;; i++) {
        uint64_t at = i % MANY;
        if (i >= MANY) {
            NEED(marked_is_there(refs[at], OBJECT, i - MANY));
            NEED(dm_release(refs[at]) == DM_OK);
        }
        refs[at] = i % 3 ? marked_put(OBJECT, i) : dm_remote(marked_make, OBJECT, i);
    }
}

static const test_driver drivers[] = {{"spills", spills}, {0}};

int main(int argc, char **argv)
{
    int status;
    if (test_began_elsewhere(argc, argv, drivers, &status))
        return status;
    const deaths of = {.driver = "spills", .argument = test_directory(), .rounds = 1000, .short_rounds = 20,
                       .early_ms = 200, .late_ms = 600};
    return deaths_run(&of, argc, argv);
}
