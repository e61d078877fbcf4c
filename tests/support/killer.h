/*
 * killer.h - a thread that kills a random worker now and then, or by the clock.
 */
#ifndef TEST_SUPPORT_KILLER_H
#define TEST_SUPPORT_KILLER_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "tests/support/test.h"

typedef struct killer {
    unsigned seed;
    int most_ms;  /* between two deaths; about half of it on average */
    int every_ms; /* or, if this is not 0: so often, by the clock */
    /* Of each death: whom, and when it was sent, by watch_now_us. NULL: nobody wants to know. */
    void (*killed)(void *context, int pid, int64_t at_us);
    void *context;
    atomic_bool paused;
    atomic_int kills;
    /* its own */
    pthread_t thread;
    atomic_bool stop;
    int64_t next_us;
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

/* What was missed because a kill took its time, or the machine, is not made up for. */
static void killer_sleep(killer *k)
{
    int64_t now = watch_now_us();
    if (k->every_ms == 0)
        k->next_us = now + 1000 + 1000 * (int64_t)((unsigned)rand_r(&k->seed) % (unsigned)k->most_ms);
    else if ((k->next_us += 1000 * (int64_t)k->every_ms) < now)
        k->next_us = now;
    int64_t wait = k->next_us - now;
    nanosleep(&(struct timespec){wait / 1000000, wait % 1000000 * 1000}, NULL);
}

static void *killer_run(void *argument)
{
    killer *k = argument;
    while (!atomic_load(&k->stop)) {
        killer_sleep(k);
        if (atomic_load(&k->stop) || atomic_load(&k->paused) || !killer_sees_progress(k))
            continue;
        int64_t at = watch_now_us();
        int pid = watch_kill_a_worker(&k->seed);
        if (pid == 0)
            continue;
        if (k->killed)
            k->killed(k->context, pid, at);
        atomic_fetch_add(&k->kills, 1);
    }
    return NULL;
}

/* In a session, with seed and most_ms or every_ms set; what else is its own is zeroed. */
static void killer_begin(killer *k)
{
    k->next_us = watch_now_us();
    if (pthread_create(&k->thread, NULL, killer_run, k) != 0)
        abort();
}

static void killer_end(killer *k)
{
    atomic_store(&k->stop, true);
    pthread_join(k->thread, NULL);
}

#endif
