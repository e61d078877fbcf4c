/*
 * readers_row.pml - a worker reads an object by a ref while the driver lets it leave memory (law 6 of
 * runtime/layout.h, decision 11).
 *
 * Code: find_value, fetch (runtime/inside_get.c), dmi_row_enter, dmi_row_leave (row.c); leave (leaving.c),
 * dmi_is_in_a_row (readers.c), heed_fetch (requests.c).
 *
 * The worker reads twice; the driver lets the object go up to twice and brings it back when asked. The worker may
 * be killed at any step. Nobody reads memory that was given back, and whoever waits is served.
 */
#define ROW 0
#define WHERE 1
#include "tso.h"

#define MEMORY 0
#define DISK 1

BUFFER(driver_stores);
BUFFER(worker_stores);
bool there = 1; /* the memory has the object's bytes; else anybody's */
bool asked;     /* a message is posted: bring it */
bool wanted;    /* it was brought, and stays until the worker says that it has read (DMI_MSG_FETCHED) */
bool dying, dead, reaped;

inline read_once()
{
    do
    ::
#ifndef BROKEN_READER_SAYS_SO_AFTERWARDS
        STORE(worker_stores, ROW, 1);
#ifndef BROKEN_READER_DOES_NOT_FENCE
        FENCE(worker_stores);
#endif
#endif
        if
        :: LOAD(WHERE) == MEMORY ->
#ifdef BROKEN_READER_SAYS_SO_AFTERWARDS
            STORE(worker_stores, ROW, 1);
            FENCE(worker_stores);
#endif
            assert(there); /* it reads */
#ifdef BROKEN_READER_LEAVES_EARLY
            STORE(worker_stores, ROW, 0);
#endif
            assert(there); /* and reads on */
            break
        :: LOAD(WHERE) == DISK ->
            STORE(worker_stores, ROW, 0);
            asked = 1;
            LOAD(WHERE) == MEMORY && !asked
        fi
    od;
    wanted = 0;
    STORE(worker_stores, ROW, 0)
}

active proctype worker()
{
    {
        read_once();
        read_once()
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

bool away; /* as the driver has it */
byte left;

inline leave()
{
    left++;
#ifdef BROKEN_GIVEN_BACK_BEFORE_LOOKING
    there = 0;
#endif
    STORE(driver_stores, WHERE, DISK);
#ifndef BROKEN_DRIVER_DOES_NOT_FENCE
    FENCE(driver_stores);
#endif
    if
    :: LOAD(ROW) && !reaped -> STORE(driver_stores, WHERE, MEMORY)
    :: !(LOAD(ROW) && !reaped) -> /* its row goes with the dead */
        there = 0;
        away = 1
    fi
}

inline bring()
{
    if
    :: away ->
        there = 1;
        STORE(driver_stores, WHERE, MEMORY);
        away = 0
    :: else
    fi;
#ifndef BROKEN_ASKED_FOR_IS_NOT_WANTED
    wanted = 1;
#endif
    asked = 0
}

active proctype driver()
{
end:
    do
    :: left < 2 && !away && !wanted -> leave()
    :: asked -> bring()
    :: dead && !reaped && empty(worker_stores) -> reaped = 1; asked = 0; wanted = 0
    od
}

init
{
    atomic {
        run drain(driver_stores);
        run drain(worker_stores)
    }
}
