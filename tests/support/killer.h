/*
 * killer.h - a thread that kills a random worker now and then.
 */
#ifndef TEST_SUPPORT_KILLER_H
#define TEST_SUPPORT_KILLER_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "tests/support/test.h"

typedef struct killer {
    unsigned seed;
    int most_ms; /* between two deaths; about half of it on average */
    atomic_int kills;
    /* its own */
    pthread_t thread;
    atomic_bool stop;
    uint64_t done; /* tasks, when the last kill was not in vain */
    int in_vain;
} killer;

/* Where even a start takes longer than from one kill to the next, nothing would be left to be killed. */
static bool killer_sees_progress(killer *k)
{
    enum { IN_VAIN = 20 };
    dm_stats stats;
    bool more = dm_stats_get(&stats) == DM_OK && stats.tasks_done != k->done;
    k->in_vain = more ? 0 : k->in_vain + 1;
    k->done = more ? stats.tasks_done : k->done;
    return k->in_vain < IN_VAIN;
}

static void *killer_run(void *argument)
{
    killer *k = argument;
    while (!atomic_load(&k->stop)) {
        long ms = 1 + (long)((unsigned)rand_r(&k->seed) % (unsigned)k->most_ms);
        nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
        if (!atomic_load(&k->stop) && killer_sees_progress(k) && watch_kill_a_worker(&k->seed))
            atomic_fetch_add(&k->kills, 1);
    }
    return NULL;
}

/* In a session, with seed and most_ms set; all else is zeroed. */
static void killer_begin(killer *k)
{
    if (pthread_create(&k->thread, NULL, killer_run, k) != 0)
        abort();
}

static void killer_end(killer *k)
{
    atomic_store(&k->stop, true);
    pthread_join(k->thread, NULL);
}

#endif
