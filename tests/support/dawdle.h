/*
 * dawdle.h - before some of the stores to shared memory their maker sleeps, as if the kernel had put it aside: in this
 * process and, by a variable of the environment, in its workers. Needs the hook before each store, which is there
 * with assertions on (DM_DEBUG).
 */
#ifndef TEST_SUPPORT_DAWDLE_H
#define TEST_SUPPORT_DAWDLE_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "objectstore/word.h"

enum { DAWDLE_SHORT_IN = 16, DAWDLE_SHORT_US = 400, DAWDLE_LONG_IN = 400, DAWDLE_LONG_US = 30000 };

static const char dawdle_variable[] = "DM_TEST_DAWDLE";
static uint64_t dawdle_seed;

/* Of this thread: which stores it sleeps before, and how long. */
static inline uint64_t dawdle_word(void)
{
    static _Thread_local uint64_t word;
    if (word == 0)
        word = (dawdle_seed + (uint64_t)gettid()) * 0x9e3779b97f4a7c15u | 1;
    word ^= word << 13;
    word ^= word >> 7;
    word ^= word << 17;
    return word;
}

static inline void dawdle(void)
{
    uint64_t word = dawdle_word();
    unsigned most_us = word % DAWDLE_LONG_IN == 0 ? DAWDLE_LONG_US : word % DAWDLE_SHORT_IN == 0 ? DAWDLE_SHORT_US : 0;
    if (most_us == 0)
        return;
    int error = errno; /* a store does not change it */
    nanosleep(&(struct timespec){.tv_nsec = (long)((word >> 32) % most_us) * 1000}, NULL);
    errno = error;
}

/* Before a session begins, and after it has ended. */
static inline void dawdle_begin(uint64_t seed)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    setenv(dawdle_variable, text, 1);
    dawdle_seed = seed;
    dmi_step_hook = dawdle;
}

static inline void dawdle_end(void)
{
    dmi_step_hook = NULL;
    unsetenv(dawdle_variable);
}

/* In a worker, before it serves. */
static inline void dawdle_join(void)
{
    const char *text = getenv(dawdle_variable);
    if (text == NULL)
        return;
    dawdle_seed = strtoull(text, NULL, 10);
    dmi_step_hook = dawdle;
}

#endif
