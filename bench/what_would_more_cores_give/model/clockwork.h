/*
 * clockwork.h - time of the model, and CPUs that are shared.
 *
 * What computes, computes on one CPU; when there are more of them than CPUs, all are equally slow, as under a fair
 * scheduler. So work is kept on a clock of its own that runs at that pace: whoever began with so much work to do ends
 * when that clock has gone so far, however the pace changes meanwhile. Waiting is in real time.
 */
#ifndef BENCH_CLOCKWORK_H
#define BENCH_CLOCKWORK_H

#include "bench/what_would_more_cores_give/model/event_queue.h"

typedef struct clockwork {
    int cpus;
    int computing;    /* who */
    double now;       /* ns */
    double worked;    /* the clock of work: ns that each one who always computed has had */
    double busy;      /* CPU time that was used, of all CPUs */
    event_queue work; /* on the clock of work */
    event_queue timers;
} clockwork;

/* From now on somebody computes, for `ns` of CPU time; then this happens. */
void clockwork_compute(clockwork *c, double ns, uint32_t kind, uint32_t who);

/* This happens in `ns`. */
void clockwork_wait(clockwork *c, double ns, uint32_t kind, uint32_t who);

/* Time goes on to what happens next. False: nothing ever will. */
bool clockwork_next(clockwork *c, event *out);

void clockwork_fini(clockwork *c);

#endif
