/*
 * missing_input.pml - a task is placed before its input is done; its worker finds the input by itself, or hands
 * the task back (law 5 of runtime/layout.h, decision 6).
 *
 * Code: await_input (runtime/call.c), dmi_find (value.c); wait_if_missing, dmi_task_return (task.c),
 * heed_bounced (requests.c), adopt_results (recover.c).
 *
 * A producer and its dependent, two lanes. Wherever the producer is placed, it may be killed with its worker, at
 * any step, once; it is placed again, on any lane, behind the dependent, too. Slots are used again: what an older
 * task left in one is there until it is written over. The dependent runs, once its input is there, and reads the
 * value that everybody reads.
 */
#define PRODUCER 1
#define DEPENDENT 2
#define OLD 9 /* the serial of a task that was there before */
#define NOWHERE 255

chan ring[2] = [4] of { byte };
byte where = NOWHERE;   /* the producer's record: the lane in whose slot its result will be */
byte slot_serial[2] = OLD, slot_value[2];
byte attempts, value_read, value;
bool dependent_done, producer_done, patient;
bool dying[2], dead[2];
byte deaths;

inline is_published(lane_)
{
    slot_serial[lane_] == PRODUCER
}

inline produce(lane_)
{
    atomic { attempts++; slot_value[lane_] = attempts };
    slot_serial[lane_] = PRODUCER /* this store is the completion */
}

/* The driver's. */
inline place_producer()
{
    if
    :: lane = 0
    :: lane = 1
    fi;
    where = lane;
    ring[lane]!PRODUCER
}

inline place_dependent()
{
    if
    :: lane = 0
    :: lane = 1
    fi;
    ring[lane]!DEPENDENT
}

chan bounced = [2] of { byte };

inline run_dependent(self_)
{
    seen = where;
    if
#ifdef BROKEN_SERIALS_ARE_NOT_LOOKED_AT
    :: seen != NOWHERE -> value_read = slot_value[seen]; dependent_done = 1
#else
    :: seen != NOWHERE && slot_serial[seen] == PRODUCER ->
        value_read = slot_value[seen];
        dependent_done = 1
#endif
#ifndef BROKEN_WAITS_FOR_EVER
    :: seen == NOWHERE || slot_serial[seen] != PRODUCER -> bounced!DEPENDENT /* it has waited a moment */
#endif
    fi
}

proctype worker(byte self)
{
    byte task, seen;
    {
end:
        do
        :: ring[self]?[PRODUCER] ->
            produce(self);
            ring[self]?PRODUCER
        :: ring[self]?[DEPENDENT] ->
            run_dependent(self);
            ring[self]?DEPENDENT
        od
    } unless {
        dying[self]
    };
    dead[self] = 1
}

active proctype killer()
{
    if
    :: dying[0] = 1
    :: dying[1] = 1
    :: skip
    fi
}

/* The tasks of a dead worker, those of its ring in their order; its place is taken by another. */
inline recover(l_)
{
    atomic {
        again_producer = 0;
        again_dependent = 0;
        do
        :: ring[l_]?PRODUCER -> again_producer = 1
        :: ring[l_]?DEPENDENT -> again_dependent = !dependent_done && empty(bounced)
        :: empty(ring[l_]) -> break
        od;
#ifndef BROKEN_PUBLISHED_IS_RUN_AGAIN
        again_producer = again_producer && slot_serial[l_] != PRODUCER;
#endif
        dead[l_] = 0;
        dying[l_] = 0;
        if
        :: again_producer -> where = NOWHERE; slot_serial[l_] = OLD
        :: else
        fi;
        run worker(l_)
    };
    if
    :: again_producer -> place_producer()
    :: else
    fi;
    if
    :: again_dependent -> place_dependent()
    :: else
    fi
}

active proctype driver()
{
    byte lane;
    bool again_producer, again_dependent;
    atomic { run worker(0); run worker(1) };
    place_producer();
    place_dependent();
    do
    :: dead[0] -> recover(0)
    :: dead[1] -> recover(1)
    :: bounced?DEPENDENT -> patient = 1
    :: !producer_done && where != NOWHERE && slot_serial[where] == PRODUCER ->
        value = slot_value[where];
        producer_done = 1
    :: patient && producer_done -> patient = 0; place_dependent()
    :: dependent_done && producer_done && !dead[0] && !dead[1] -> break
    od;
    assert(value_read == slot_value[where]);
    assert(value_read != 0 && value_read == value)
}
