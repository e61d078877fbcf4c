/*
 * steps.c - counting down to a death, in memory that the test and its workers share.
 */
#include "tests/support/steps.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "objectstore/word.h"
#include "tests/support/notes.h"
#include "tests/support/test.h"

typedef struct steps {
    _Atomic int64_t die_at; /* the store before which a worker dies, counted down; 0: none */
    _Atomic int64_t made;
    _Atomic int deaths;
} steps;

static const char variable[] = "DM_TEST_STEPS";
static steps *common;

static void count_and_die(void)
{
    atomic_fetch_add(&common->made, 1);
    if (atomic_load(&common->die_at) > 0 && atomic_fetch_sub(&common->die_at, 1) == 1) {
        atomic_fetch_add(&common->deaths, 1);
        kill(getpid(), SIGKILL);
    }
}

void steps_begin(void)
{
    common = notes_make_as(variable, sizeof *common);
}

void steps_end(void)
{
    notes_end_as(variable, common, sizeof *common);
    common = NULL;
}

void steps_join(void)
{
    common = notes_open_as(variable, sizeof *common);
    if (common)
        dmi_step_hook = count_and_die;
}

void steps_die_at(int64_t k)
{
    atomic_store(&common->die_at, k);
}

int steps_deaths(void)
{
    return atomic_load(&common->deaths);
}

int64_t steps_made(void)
{
    return atomic_load(&common->made);
}

static bool dies_at(int64_t k, void (*run)(void))
{
    int before = steps_deaths();
    steps_die_at(k);
    run();
    steps_die_at(0);
    return steps_deaths() != before;
}

int steps_enumerate(const char *what, int64_t stride, int64_t most_ms, void (*run)(void))
{
    int64_t k = 1, begin = watch_now_ms(), made = steps_made();
    int deaths = steps_deaths();
    run();
    made = steps_made() - made;
    if (made == 0)
        fail_msg("%s: no worker makes a store that the hook sees", what);
    bool died = true;
    while (watch_now_ms() - begin < most_ms && (died = dies_at(k, run)))
        k += stride;
    deaths = steps_deaths() - deaths;
    print_message("%s: %d deaths, before store 1 to %lld, each %lld.; a run without any makes "
                  "%lld; %s, in %d ms\n",
                  what, deaths, (long long)(k - stride), (long long)stride, (long long)made,
                  died ? "the time was over" : "that was all", (int)(watch_now_ms() - begin));
    return deaths;
}
