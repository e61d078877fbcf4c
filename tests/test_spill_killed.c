/*
 * A session that is killed while it writes leaves nothing: nameless files go with it, named ones when the next
 * session begins in the same directory.
 */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/support/spilling.h"

enum { ROUNDS = 20, PART = 1 << 20 };

static char place[128];

static void write_for_ever(bool visible, int ready)
{
    static char bytes[PART];
    uint32_t tickets[16] = {0};
    dmi_spill *spill;
    dmi_spill_settings settings = {.dirs = place, .visible = visible};
    spilling_fill(bytes, sizeof bytes, SPILLING_NOISE, 1);
    if (dmi_spill_create(&spill, &settings) != DM_OK)
        _exit(1);
    for (unsigned i = 0;; i++) {
        dmi_part part = {.bytes = bytes, .count = sizeof bytes, .id = i};
        if (tickets[i % 16])
            dmi_spill_free(spill, tickets[i % 16]);
        if (dmi_spill_write(spill, &part, 1, NULL) != DM_OK)
            _exit(1);
        tickets[i % 16] = part.ticket;
        dmi_spill_tidy(spill);
        if (i == 0 && write(ready, "x", 1) != 1)
            _exit(1);
    }
}

static void kill_one(bool visible, useconds_t after)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        write_for_ever(visible, ready[1]);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    usleep(after); /* the moment of death: anywhere */
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void begin_place(void)
{
    snprintf(place, sizeof place, "%s/place", spilling_dir());
    mkdir(place, 0700);
    assert_int_equal(spilling_names(place), 0);
}

static void nameless_files_go_with_it(void **state)
{
    (void)state;
    unsigned seed = 4;
    begin_place();
    for (int i = 0; i < ROUNDS; i++) {
        kill_one(false, (useconds_t)rand_r(&seed) % 20000);
        assert_int_equal(spilling_names(place), 0);
    }
}

static void named_files_go_when_the_next_begins(void **state)
{
    (void)state;
    unsigned seed = 5;
    begin_place();
    for (int i = 0; i < ROUNDS; i++) {
        kill_one(true, (useconds_t)rand_r(&seed) % 20000);
        assert_int_equal(spilling_names(place), 1); /* those before it were swept by it */
    }
    dmi_spill_settings settings = spilling_settings();
    settings.dirs = place;
    dmi_spill_destroy(spilling_begin(&settings));
    assert_int_equal(spilling_names(place), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(nameless_files_go_with_it),
    cmocka_unit_test(named_files_go_when_the_next_begins),
};

TEST_MAIN(tests, NULL)
