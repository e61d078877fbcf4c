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
    UNEVEN = 1000,      /* tasks of 10 us, but */
    UNEVEN_EVERY = 50,  /* each of these, */
    UNEVEN_LONGER = 100, /* so many times as long; */
    UNEVEN_TIMES = 20,  /* so often */
    TEN_MILLION = 10000000,
    CLIENTS = 4,        /* multi client tasks async: so many tasks */
    CLIENT_TASKS = 10000, /* submit so many each */
    SMALLS = 200000,    /* get small, put small */
    PUTTERS = 10,       /* multi client put: so many tasks */
    PUTTER_PUTS = 100,  /* put so often */
    PUTTER_ROUNDS = 20,
    WAITED = 1000,      /* wait 1k refs */
    WAITED_ROUNDS = 10,
    MANY = 10000,       /* arguments of one task; objects got */
    RETURNS = 3000,     /* of one task */
    GATHERED = 100000,  /* tasks of the stress test */
    STRESSES = 5,       /* so many graphs */
    WAVES = 20,         /* of so many waves */
    WAVE = 500,         /* of so many tasks, each on all of the wave before */
    LARGE_RETURNS = 2000, /* tasks whose result is an object of the store */
    WARM_UP_NS = 60000000
};

/* Bytes: what Ray returns inline ends at 100 KiB, so results of this go through its store and ours. */
#define LARGE_BYTES  ((size_t)128 << 10)
#define GIGA_BYTES   ((size_t)800 << 20) /* put gigabytes */
#define CLIENT_BYTES ((size_t)80 << 20)  /* multi client put gigabytes, by PUTTERS tasks, */
enum { GIGA_PUTS = 3, CLIENT_GIGA_PUTS = 10 }; /* so often each */

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
#define CASE_UNEVEN  "1,000 of 10 us, every 50th 1 ms"
#define CASE_10M     "no-op, 10,000,000 at once"
#define CASE_BATCH   "tasks and get batch"
#define CASE_CLIENTS "multi client tasks async"
#define CASE_GET     "get small"
#define CASE_PUT     "put small"
#define CASE_PUTTERS "multi client put"
#define CASE_GIGA    "put gigabytes"
#define CASE_GIGAS   "multi client put gigabytes"
#define CASE_WAIT    "wait 1k refs"
#define CASE_ARGS    "10,000 arguments to one task"
#define CASE_RETURNS "3,000 returns of one task"
#define CASE_REFS    "get object of 10k refs"
#define CASE_OBJECTS "10,000-object get"
#define CASE_100K    "100,000 tasks gathered"
#define CASE_WAVES   "5 x 20 waves of 500, per edge"
#define CASE_SYNC_LARGE  "tasks sync, 128 KiB back"
#define CASE_ASYNC_LARGE "tasks async, 128 KiB back"

/* How long task i burns. */
typedef uint64_t burn_rounds(uint64_t i);

static inline uint64_t even_rounds(uint64_t i)
{
    (void)i;
    return BURN_ROUNDS;
}

static inline uint64_t uneven_rounds(uint64_t i)
{
    const uint64_t of_10_us = 2 * BURN_ROUNDS;
    return i % UNEVEN_EVERY == UNEVEN_EVERY - 1 ? UNEVEN_LONGER * of_10_us : of_10_us;
}

/* Tasks 0 to n - 1 together, in tasks of BURN_ROUNDS. */
static inline double burns_of(burn_rounds *rounds, uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += rounds(i);
    return (double)sum / BURN_ROUNDS;
}

/* 48 bits: a number that JSON holds exactly. */
static inline uint64_t fold(uint64_t sum)
{
    return sum >> 16;
}

#endif
