/*
 * cases.h - what every contestant reports here. Each run is a fresh process.
 */
#ifndef BENCH_STARTING_COST_CASES_H
#define BENCH_STARTING_COST_CASES_H

enum {
    SETTLE_NS = 50000000, /* until nobody spins any more */
    IDLE_NS = 500000000   /* how long idleness is watched */
};

static const char question[] = "what_does_starting_cost";

#define CASE_INIT     "dm_init returns"
#define CASE_FIRST    "start to first result"
#define CASE_SHUTDOWN "shutdown"
#define CASE_MEMORY   "idle worker, private memory"
#define CASE_CPU      "idle session, CPU time per second"

#endif
