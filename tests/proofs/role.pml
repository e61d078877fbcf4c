/*
 * role.pml - the dispatching role, a lock biased to one thread (decision 7).
 *
 * Code: runtime/role.h, role.c.
 *
 * The owner takes it twice, two others once each; one of them may wait for a condition in between, and may end the
 * bias for good. Never are two in it, and everybody gets it. Its parties are threads of one process, which
 * disappear together or not at all.
 */
#define INSIDE 0
#define WANTED 1
#include "tso.h"

BUFFER(owner_stores);
BUFFER(others_stores); /* of whoever has the mutex: to take and to leave it empties it */
bool mutex;
bool biased = 1;
byte holders;

inline lock() { atomic { !mutex -> mutex = 1 } }
inline unlock_others() { FENCE(others_stores); mutex = 0 }

inline hold()
{
    holders++;
    assert(holders == 1);
    holders--
}

inline owner_takes()
{
#ifdef BROKEN_OWNER_LOOKS_FIRST
    wanted = LOAD(WANTED);
    STORE(owner_stores, INSIDE, 1);
#else
    STORE(owner_stores, INSIDE, 1);
    wanted = LOAD(WANTED);
#endif
    if
    :: !wanted ->
        hold();
        STORE(owner_stores, INSIDE, 0)
    :: else ->
        STORE(owner_stores, INSIDE, 0);
        FENCE(owner_stores); /* to lock a mutex is one */
        lock();
        hold();
        mutex = 0
    fi
}

active proctype owner()
{
    bool wanted;
    owner_takes();
    owner_takes()
}

inline exclude_owner()
{
    if
    :: biased ->
        STORE(others_stores, WANTED, 1);
        FENCE(others_stores);
#ifndef BROKEN_FENCES_ONLY_ITSELF
        FENCE(owner_stores); /* membarrier: all threads of the process have fenced */
#endif
        LOAD(INSIDE) == 0
    :: else
    fi
}

inline admit_owner()
{
    if
    :: biased -> STORE(others_stores, WANTED, 0)
#ifdef BROKEN_WANTED_ENDS_WITH_THE_BIAS
    :: !biased -> STORE(others_stores, WANTED, 0)
#else
    :: !biased
#endif
    fi
}

proctype other(bool waits; bool ends_bias)
{
    lock();
    exclude_owner();
    hold();
    if
    :: waits ->
        admit_owner();
        unlock_others();
        lock();
#ifndef BROKEN_COMES_BACK_WITHOUT_EXCLUDING
        exclude_owner();
#endif
        hold()
    :: else
    fi;
    if
    :: ends_bias && biased -> biased = 0
    :: skip
    fi;
    admit_owner();
    unlock_others()
}

init
{
    atomic {
        run drain(owner_stores);
        run drain(others_stores);
        run other(1, 0);
        run other(0, 1)
    }
}
