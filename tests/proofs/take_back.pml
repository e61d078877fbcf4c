/*
 * take_back.pml - what a worker has not begun is taken back from its ring (law 3 of runtime/layout.h).
 *
 * Code: claim, dmi_worker_unclaim, run_entry (runtime/worker.c); dmi_lane_take_back (lane.c); adopt_results,
 * return_tasks (recover.c).
 *
 * Two tasks are in the ring. The worker claims them, one or both at once, may give the second up again (it waits
 * for something in the first), and runs what it finds. The driver takes back what is not claimed, twice, and runs
 * it elsewhere. The worker may be killed at any step; then the driver adopts what is published and runs the rest.
 * Each task must have exactly one result.
 */
#define CLAIM 0
#define REVOKE 1
#define RING 2 /* two entries */
#define SLOT 4 /* two results */
#include "tso.h"

#define TASKS 2
#define VOID 255

BUFFER(driver_stores);
BUFFER(worker_stores);
bool dying, dead;
bool elsewhere[TASKS]; /* the driver has run it elsewhere */
bool settled;

byte next, claimed, entry; /* the worker's own */

inline claim()
{
    if
    :: claimed = next + 1
    :: claimed = TASKS
    fi;
    STORE(worker_stores, CLAIM, claimed);
#ifndef BROKEN_WORKER_DOES_NOT_FENCE
    FENCE(worker_stores);
#endif
#ifndef BROKEN_WORKER_DOES_NOT_WAIT
    LOAD(REVOKE) % 2 == 0
#endif
}

/* In the first task: it waits for something, and what is behind it may go. */
inline unclaim()
{
    if
    :: claimed > next + 1 ->
        claimed = next + 1;
        STORE(worker_stores, CLAIM, claimed)
    :: skip
    fi
}

inline run_entry()
{
    entry = LOAD(RING + next);
    if
    :: entry != VOID ->
        unclaim();
        assert(!elsewhere[entry]);
        STORE(worker_stores, SLOT + entry, 1)
    :: else
    fi;
    next++
}

active proctype worker()
{
    {
        do
        :: next == TASKS -> break
        :: next < TASKS && next < claimed -> run_entry()
        :: next < TASKS && next == claimed -> claim()
#ifdef BROKEN_GIVEN_UP_IS_RUN
        :: next < TASKS && next == claimed -> run_entry()
#endif
        od
    } unless {
        dying
    };
    dead = 1
}

active proctype killer()
{
    if
    :: dying = 1
    :: skip
    fi
}

byte first, i, revoke; /* the driver's own */
bool sent[TASKS] = 1;

inline void_from(first_)
{
    i = first_;
    do
    :: i >= TASKS -> break
    :: i < TASKS && sent[i] ->
        sent[i] = 0;
        STORE(driver_stores, RING + i, VOID);
        i++
    :: i < TASKS && !sent[i] -> i++
    od
}

inline take_back()
{
    revoke++;
    STORE(driver_stores, REVOKE, revoke);
#ifndef BROKEN_DRIVER_DOES_NOT_FENCE
    FENCE(driver_stores);
#endif
    first = LOAD(CLAIM);
#ifndef BROKEN_DECIDED_BEFORE_VOIDED
    void_from(first);
#endif
    revoke++;
    STORE(driver_stores, REVOKE, revoke);
#ifdef BROKEN_DECIDED_BEFORE_VOIDED
    void_from(first);
#endif
}

/* What was taken back is another worker's. */
inline run_elsewhere()
{
    i = 0;
    do
    :: i == TASKS -> break
    :: i < TASKS ->
        if
        :: !sent[i] && !elsewhere[i] ->
            assert(!LOAD(SLOT + i));
            elsewhere[i] = 1
        :: else
        fi;
        i++
    od
}

/* Seen dead: all that it stored is in memory. */
inline recover()
{
#ifndef BROKEN_RECOVERED_BEFORE_DEAD
    dead && empty(worker_stores);
#endif
    i = 0;
    do
    :: i == TASKS -> break
    :: i < TASKS ->
        if
#ifndef BROKEN_PUBLISHED_IS_RUN_AGAIN
        :: sent[i] && LOAD(SLOT + i)
#endif
        :: sent[i] && !LOAD(SLOT + i) -> sent[i] = 0
#ifdef BROKEN_PUBLISHED_IS_RUN_AGAIN
        :: sent[i] && LOAD(SLOT + i) -> sent[i] = 0
#endif
        :: !sent[i]
        fi;
        i++
    od
}

active proctype driver()
{
    take_back();
    run_elsewhere();
    take_back();
    run_elsewhere();
    if
    :: (!sent[0] || LOAD(SLOT)) && (!sent[1] || LOAD(SLOT + 1))
    :: dying -> recover(); run_elsewhere()
    fi;
    settled = 1
}

/* Whatever happens afterwards: each task has one result. */
active proctype witness()
{
end:
    settled && (dead || next == TASKS) && empty(worker_stores);
    assert(elsewhere[0] + LOAD(SLOT) == 1);
    assert(elsewhere[1] + LOAD(SLOT + 1) == 1)
}

init
{
    atomic {
        mem[RING] = 0;
        mem[RING + 1] = 1;
        run drain(driver_stores);
        run drain(worker_stores)
    }
}
