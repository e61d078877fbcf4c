/*
 * holds_and_completions.pml - a worker's messages and completions arrive in the order in which they were made, so
 * that an object is freed when nobody can use it, and never before (decision 4).
 *
 * Code: dmi_worker_post, run_entry, say_done (runtime/worker.c), dmi_inside_say_dropped (holdings.c);
 * dmi_lane_reap, take_messages, reap_entries (lane.c); dmi_lane_recover (recover.c).
 *
 * A task has A as its argument, which only that keeps alive: the driver pins it until the task's completion is
 * taken. The task may keep A (HOLD) and the worker uses it after the task's end, then lets go (DROP). The task
 * also puts B (ADOPT) and returns it: the completion pins B as the result's, and the worker drops its own hold on
 * it. The worker may be killed at any step; then the task runs elsewhere and ends, unless it is published.
 * What is posted is published by one store each, in order, so memory need not be modelled here.
 */
#define NONE 0
#define HOLD_A 1
#define DROP_A 2
#define ADOPT_B 3
#define DROP_B 4

byte message[5], message_at[5];
byte posted, said; /* up_tail and done, as published */
bool slot;         /* the task's result is published */
bool a = 1, b;     /* they are there */
bool dying, dead;

inline post(kind_)
{
    message[posted] = kind_;
    message_at[posted] = said;
    posted++
}

bool kept;

active proctype worker()
{
    {
        assert(a); /* it uses its argument */
#ifndef BROKEN_HOLD_AFTER_THE_END
        if
        :: post(HOLD_A); kept = 1
        :: skip
        fi;
#endif
        b = 1;
        post(ADOPT_B);
#ifdef BROKEN_DROPPED_BEFORE_THE_END
        post(DROP_B);
#endif
        slot = 1;
        said = 1;
#ifdef BROKEN_HOLD_AFTER_THE_END
        post(HOLD_A);
        kept = 1;
#endif
#ifndef BROKEN_DROPPED_BEFORE_THE_END
        post(DROP_B);
#endif
        if
        :: kept ->
            assert(a); /* it uses what it kept */
            post(DROP_A)
        :: else
        fi
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

/* The driver's private table. */
bool pinned_a = 1, cell_a, cell_b, result_b;
byte reaped, taken;
bool known_b; /* B has a record */

inline free_what_is_dead()
{
    if
    :: a && !pinned_a && !cell_a -> a = 0
    :: else
    fi;
    if
    :: b && known_b && !cell_b && !result_b -> b = 0
    :: else
    fi
}

inline complete()
{
    if
    :: reaped == 0 ->
        assert(slot);
        assert(b && known_b); /* the result names it */
        reaped = 1;
        result_b = 1;
        pinned_a = 0;
        free_what_is_dead()
    :: else
    fi
}

inline heed(kind_)
{
    if
    :: kind_ == HOLD_A -> assert(a); cell_a = 1
    :: kind_ == DROP_A -> cell_a = 0
    :: kind_ == ADOPT_B -> known_b = 1; cell_b = 1
    :: kind_ == DROP_B -> cell_b = 0
    fi;
    free_what_is_dead()
}

byte done_seen, posted_seen;

inline look()
{
#ifndef BROKEN_LOOKS_AT_MESSAGES_FIRST
    done_seen = said;
    posted_seen = posted
#else
    posted_seen = posted;
    done_seen = said
#endif
}

inline reap()
{
    look();
    atomic { /* the driver's own business, from here on */
#ifdef BROKEN_COMPLETIONS_FIRST
        if
        :: done_seen > reaped -> complete()
        :: else
        fi;
#endif
        do
        :: taken == posted_seen -> break
        :: taken < posted_seen ->
            if
            :: message_at[taken] > reaped -> complete()
            :: else
            fi;
            heed(message[taken]);
            taken++
        od;
        if
        :: done_seen > reaped -> complete()
        :: else
        fi
    }
}

bool recovered;

/* What it posted is taken first; what was published is adopted; then all that it held is let go. */
inline recover()
{
    reap();
    atomic {
#ifdef BROKEN_HOLDS_DROPPED_BEFORE_ADOPTION
        cell_a = 0;
        cell_b = 0;
        free_what_is_dead();
#endif
        if
        :: slot -> complete()
        :: else
        fi;
        cell_a = 0;
        cell_b = 0;
        free_what_is_dead();
        if
        :: reaped == 0 ->
            assert(a); /* the task runs elsewhere, with its argument */
            pinned_a = 0;
            free_what_is_dead()
        :: else
        fi;
        b = b && known_b; /* the rest went with its segment */
        recovered = 1
    }
}

active proctype driver()
{
    do
    :: !recovered && (said > reaped || posted > taken) -> reap()
    :: dead && !recovered -> recover()
    :: recovered -> break
    od;
    atomic { /* the program lets the result go */
        result_b = 0;
        free_what_is_dead();
        assert(!a && !b) /* and nothing is left */
    }
}
