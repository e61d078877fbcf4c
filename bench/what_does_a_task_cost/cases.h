/*
 * cases.h - what every contestant does here, so that it is the same.
 */
#ifndef BENCH_TASK_COST_CASES_H
#define BENCH_TASK_COST_CASES_H

#include <stdint.h>

enum {
    SYNC = 20000,       /* tasks sync */
    BATCH = 1000,       /* tasks async: so many, */
    BATCHES = 200,      /* so often */
    STREAM = 1000000,   /* the no-op rows */
    TRIPS = 20000,      /* round trips, each timed */
    SLEEPY_TRIPS = 100, /* of them after a sleep */
    SLEEP_NS = 2000000,
    BURNING = 20000, /* tasks of 5 us */
    BURN_WINDOW = 256,
    BURN_ROUNDS = 3300, /* 5 us at 3 GHz */
    WARM_UP_NS = 60000000
};

static const char question[] = "what_does_a_task_cost";

/* Names of cases. Those that Ray's own microbenchmark has are called as there. */
#define CASE_FIRST   "no-op, 1,000,000 at once, first time"
#define CASE_SYNC    "tasks sync"
#define CASE_ASYNC   "tasks async"
#define CASE_64      "no-op, window 64"
#define CASE_4096    "no-op, window 4,096"
#define CASE_AT_ONCE "no-op, 1,000,000 at once"
#define CASE_8_BYTES "8 bytes in and out, window 4,096"
#define CASE_AWAKE   "round trip, awake"
#define CASE_ASLEEP  "round trip, after 2 ms of sleep"
#define CASE_BURN    "tasks of 5 us, window 256"

/* 48 bits: a number that JSON holds exactly. */
static inline uint64_t fold(uint64_t sum)
{
    return sum >> 16;
}

#endif
