/*
 * sleep_and_wake.pml - a driver thread and a worker fall asleep and wake each other (decision 5).
 *
 * Code: dmi_lane_publish, dmi_lane_wake (runtime/lane.h); listen_to_bell (rest.c), dmi_arm (dispatch.c);
 * claim, take_turn, ring_if_asked, idle, dmi_worker_sleep (worker.c); bury (supervisor.c).
 *
 * The driver sends two tasks and sleeps until the first is done, then until the second is. The second takes for
 * ever, unless the driver has the result of the first: so it must be woken in between. The worker may be killed
 * at any step; then its tasks are settled by somebody else (`recovered`) and the driver is rung.
 * A lost wake-up is a state in which nothing moves: spin reports an invalid end state.
 */
#define TAIL 0
#define ASLEEP 1
#define DONE 2
#define WAKE_AT 3
#define LISTENER 4
#define CLAIM 5
#include "tso.h"

#define TASKS 2
#define NEVER 255

BUFFER(driver_stores);
BUFFER(worker_stores);
bool worker_bell, driver_bell; /* eventfds */
byte got; /* results that the driver has */
bool dying, dead, recovered;

inline wake_worker()
{
#ifndef BROKEN_WAKER_DOES_NOT_FENCE
    FENCE(driver_stores);
#endif
    if
    :: LOAD(ASLEEP) ->
        FENCE(driver_stores); /* so is this */
        worker_bell = 1
    :: else
    fi
}

inline arm(at_)
{
    STORE(driver_stores, WAKE_AT, at_);
    STORE(driver_stores, LISTENER, (at_ != NEVER));
#ifndef BROKEN_DRIVER_DOES_NOT_FENCE
    FENCE(driver_stores)
#endif
}

inline rest_until(n_)
{
    do
    :: LOAD(DONE) >= n_ || recovered -> break
    :: else ->
        arm(n_);
        if
        :: LOAD(DONE) < n_ && !recovered -> atomic { driver_bell -> driver_bell = 0 }
#ifndef BROKEN_DRIVER_DOES_NOT_LOOK_AGAIN
        :: else
#else
        :: !(LOAD(DONE) < n_ && !recovered) -> atomic { driver_bell -> driver_bell = 0 }
#endif
        fi;
        arm(NEVER)
    od
}

active proctype driver()
{
    STORE(driver_stores, TAIL, 1);
    wake_worker();
    STORE(driver_stores, TAIL, 2);
    wake_worker();
    rest_until(1);
    got = 1;
    rest_until(2);
    got = 2
}

byte done, rung, next, at; /* the worker's own */

inline ring_if_asked()
{
    at = LOAD(WAKE_AT);
    if
    :: done < at || rung == at
    :: else ->
        if
        :: LOAD(LISTENER) ->
            rung = at;
            FENCE(worker_stores); /* to ring is a system call, which takes a lock in the kernel */
            driver_bell = 1
        :: else
        fi
    fi
}

inline fall_asleep()
{
    STORE(worker_stores, ASLEEP, 1);
#ifndef BROKEN_SLEEPER_DOES_NOT_FENCE
    FENCE(worker_stores);
#endif
    if
#ifndef BROKEN_SLEEPER_DOES_NOT_LOOK_AGAIN
    :: LOAD(TAIL) != next
#endif
    :: LOAD(TAIL) == next ->
        ring_if_asked();
        atomic { worker_bell || got == TASKS -> worker_bell = 0 } /* at the end it may sleep for good */
#ifdef BROKEN_SLEEPER_DOES_NOT_LOOK_AGAIN
    :: LOAD(TAIL) != next ->
        atomic { worker_bell || got == TASKS -> worker_bell = 0 }
#endif
    fi;
    STORE(worker_stores, ASLEEP, 0)
}

inline run_one()
{
    STORE(worker_stores, CLAIM, next + 1);
    FENCE(worker_stores);
#ifndef BROKEN_CLAIMER_DOES_NOT_RING
    ring_if_asked(); /* what was done before this one, which may take long, is heard of now */
#endif
    (next == 0 || got >= 1); /* the second takes long */
    next++;
    done = next;
    STORE(worker_stores, DONE, done);
    ring_if_asked()
}

active proctype worker()
{
    {
        do
        :: got == TASKS -> break
        :: LOAD(TAIL) == next -> fall_asleep()
        :: LOAD(TAIL) != next -> run_one()
        od
    } unless {
        dying
    };
    dead = 1
}

/* Whether, and when, is anybody's guess. */
active proctype killer()
{
    if
    :: dying = 1
    :: skip
    fi
}

active proctype supervisor()
{
end:
    dead && empty(worker_stores);
    recovered = 1;
#ifndef BROKEN_DEATH_RINGS_NOBODY
    driver_bell = 1
#endif
}

init
{
    atomic {
        mem[WAKE_AT] = NEVER;
        run drain(driver_stores);
        run drain(worker_stores)
    }
}
