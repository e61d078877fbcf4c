/*
 * shown.pml - threads of the program read an object without the role, while the role's holder lets it leave memory,
 * brings it back, and drops its last ref (runtime/shown.h, decision 23).
 *
 * Code: dmi_shown_read, dmi_shown_lend, dmi_shown_leave, dmi_shown_release (shown.c); leave (leaving.c), free_if_dead
 * (task.c), dmi_shown_adopt (shown.c); view_release_generally (driver_get.c).
 *
 * Two threads read, each into a view that it keeps for a while or into a variable. A view may be released by any thread,
 * so a look through the row would begin anywhere. Nobody reads memory that was given back, and when all have ended and the
 * last ref is dropped, it is given back. Words of the row are only changed by locked instructions, which wait for the
 * thread's own stores and are there at once; the holder's store to the table is one that waits in its buffer.
 */
#define TABLE 0
#include "tso.h"

#define FREE 0
#define READ 1
#define LENT 2
#define ADOPTED 3
#define WORDS_OF_ROW 2

BUFFER(holder_stores);
byte row[WORDS_OF_ROW];
byte high;       /* words of the row that were ever used */
byte views;      /* that the task counts */
bool there = 1;  /* the memory has the object's bytes; else anybody's */
bool away, dropped, role;
byte ended;

inline change(at_, from_, to_, done_)
{
    atomic {
        done_ = (row[at_] == from_);
        if
        :: done_ -> row[at_] = to_
        :: else
        fi
    }
}

inline take_role()
{
    atomic { !role -> role = 1 }
}

inline give_back_if_unused()
{
    if
    :: dropped && views == 0 -> there = 0
    :: else
    fi
}

/* view_release_generally: what the task does not count is no view of it, and nothing happens. */
inline release_generally()
{
    take_role();
    if
    :: views > 0 ->
        views--;
        give_back_if_unused()
    :: else
    fi;
    role = 0
}

inline raise_high()
{
    atomic {
        if
        :: high < at + 1 -> high = at + 1
        :: else
        fi
    }
}

/* A free word, looked for from anywhere on; the row is never full here. */
inline claim()
{
    if
    :: at = 0
    :: at = 1
    fi;
    change(at, FREE, READ, done);
    if
    :: !done ->
        at = 1 - at;
        change(at, FREE, READ, done)
    :: else
    fi
}

inline release_view()
{
#ifdef BROKEN_ANY_WORD_IS_RELEASED
    if
    :: at = 0
    :: at = 1
    fi;
    change(at, LENT, FREE, done);
    if
    :: !done ->
        at = 1 - at;
        change(at, LENT, FREE, done)
    :: else
    fi;
#else
    done = 0;
    if
    :: in_row -> change(at, LENT, FREE, done)
    :: else
    fi;
#endif
    if
    :: !done -> release_generally()
    :: else
    fi
}

/* end_reading: into `as`, or it was adopted, and is free now. */
inline end_reading(as_)
{
    change(at, READ, as_, done);
    if
    :: !done -> row[at] = FREE
    :: else
    fi
}

inline read_into_a_view()
{
    assert(there);
    end_reading(LENT);
    in_row = done;
    assert(there); /* the program reads on, for as long as it likes */
    release_view()
}

inline read_into_a_variable()
{
    assert(there);
    end_reading(FREE);
    if
    :: !done -> release_generally()
    :: else
    fi
}

proctype reader()
{
    byte at;
    bool done, in_row, shown;
#ifdef BROKEN_READER_LOOKS_FIRST
    shown = LOAD(TABLE);
#endif
    claim();
    if
    :: done ->
#ifndef BROKEN_HIGH_IS_RAISED_LATE
        raise_high();
#endif
#ifndef BROKEN_READER_LOOKS_FIRST
        shown = LOAD(TABLE);
#endif
#ifdef BROKEN_HIGH_IS_RAISED_LATE
        raise_high();
#endif
        if
        :: shown -> read_into_a_view()
        :: shown -> read_into_a_variable()
        :: !shown ->
            end_reading(FREE);
            if
            :: !done -> release_generally()
            :: else
            fi
        fi
    :: else /* the general way */
    fi;
    ended++
}

inline hide()
{
    STORE(holder_stores, TABLE, 0);
#ifndef BROKEN_HIDER_DOES_NOT_FENCE
    FENCE(holder_stores)
#endif
}

/* leave. Only what no view is counted of may be let go. */
inline leave()
{
    take_role();
    if
    :: views == 0 ->
        hide();
        upto = high;
        if
        :: (upto > 0 && row[0] != FREE) || (upto > 1 && row[1] != FREE) -> STORE(holder_stores, TABLE, 1)
        :: else ->
            there = 0;
            away = 1
        fi
    :: else
    fi;
    FENCE(holder_stores);
    role = 0
}

inline bring()
{
    take_role();
    there = 1;
    away = 0;
    STORE(holder_stores, TABLE, 1);
    FENCE(holder_stores);
    role = 0
}

inline adopt_word(i_)
{
    if
    :: i_ < upto ->
        change(i_, LENT, FREE, adopted);
        if
        :: adopted -> views++
        :: else ->
#ifndef BROKEN_WHO_READS_IS_NOT_ADOPTED
            change(i_, READ, ADOPTED, adopted);
            if
            :: adopted -> views++
            :: else -> /* it was lent in this very moment */
                change(i_, LENT, FREE, adopted);
                if
                :: adopted -> views++
                :: else
                fi
            fi
#else
            skip
#endif
        fi
    :: else
    fi
}

/* dmi_task_drop of the last ref, and free_if_dead. */
inline drop()
{
    take_role();
    hide();
    dropped = 1;
    upto = high;
    adopt_word(0);
    adopt_word(1);
    if
    :: away -> there = 0
    :: else -> give_back_if_unused()
    fi;
    FENCE(holder_stores);
    role = 0
}

proctype holder()
{
    byte upto, turns;
    bool adopted;
    do
    :: turns < 2 && !away -> turns++; leave()
    :: away -> bring()
    :: !away -> break
    od;
    drop();
    ended == 2;
    assert(!there && views == 0 && row[0] == FREE && row[1] == FREE)
}

init
{
    atomic {
        mem[TABLE] = 1;
        run drain(holder_stores);
        run holder();
        run reader();
        run reader()
    }
}
