/*
 * layout.h - what lies in shared memory between the driver and its workers: the book.
 *
 * The driver's segment D is written by the driver and read by all; a worker's segment W is written by
 * that worker and read by all. A *lane* is a place for a worker: lane l has its part of D ("down") for
 * good, and one W per worker that has lived there.
 *
 *     D:  header | down of lane 0, 1, ... | records | heap (put values, long arguments)
 *     W:  up     | slots                            | heap (results, objects made in tasks)
 *
 * A *record* describes one value, present or future: a task and where its result will be, or an object.
 * A *slot* is where a worker publishes the result of a task; the driver chooses which, when it places
 * the task on a lane.
 *
 * Laws:
 *  1. One writer per word, stores through objectstore/word.h only.
 *  2. Publishing slot.word with the task's serial is the completion of the task, whatever happens to
 *     the worker afterwards. Such a task is never run again.
 *  3. A worker runs ring entry i only after it stored claim > i, fenced, and saw `revoke` even.
 *     The driver voids entry i only while `revoke` is odd and claim <= i, read after a fence. So an
 *     entry is run or voided, never both, and the entry itself says which. A worker lowers claim only
 *     before it posts that it waits (DMI_MSG_BLOCKED, _FETCH, _NEED), and claims again before it runs what it
 *     gave up.
 *  4. A record, its arguments and its slot stay as they are while anybody may read them: the driver
 *     keeps counts (runtime/task.h) and a worker's messages arrive in the order they were posted.
 *  5. A worker waits only briefly for an input of a placed task; then it hands the task back
 *     (DMI_MSG_BOUNCED). So no order of placement and no death can hang a ring.
 *  6. An object may leave memory (runtime/residence.h) while its record lives. Who reads one is known
 *     beforehand: the driver under the role; a task its arguments, from being placed until it is done;
 *     and whoever holds a ref in a worker writes it into the worker's `row`, fences, and only then
 *     loads `where`. The driver publishes DMI_DISK, fences, and only then loads the rows: one of the
 *     two sees the other, and then the driver puts `where` back.
 *  7. A task that is asked to stop (`asked`) and has not begun is not begun. One that has may go on: what
 *     it publishes before its worker is killed is its value (law 2).
 */
#ifndef DMI_LAYOUT_H
#define DMI_LAYOUT_H

#include <assert.h>
#include <stdint.h>

#include "objectstore/word.h"

enum {
    DMI_MAX_LANES = 256,
    DMI_RING = 1024,      /* entries of a lane's task ring; a power of two */
    DMI_UP_RING = 256,    /* messages from a worker; a power of two */
    DMI_FREE_RING = 4096, /* freed objects told to their owner; a power of two */
    DMI_CELLS = 1 << 20,  /* refs that one worker may hold */
    DMI_ROW = 1000,       /* of them it may read at once, each by a word of its own */
    DMI_RECORD_ARGS = 40,
    DMI_SLOT_PAYLOAD = 24,
    DMI_ASKED = 64,       /* tasks of one lane that may be asked to stop at once */
    DMI_SAID = 512,       /* bytes of a refusal's sentence */
    DMI_SEGMENTS = 1 << 16
};

#define DMI_MAX_RECORDS ((size_t)1 << 26)
#define DMI_MAX_SLOTS ((size_t)1 << 26)

/* ---- where a value is: one word of a record ---- */

typedef enum dmi_place {
    DMI_NOWHERE, /* a task not placed on a lane */
    DMI_SLOT,    /* a task placed: published in slot `position` of `segment`, or to be */
    DMI_OBJECT,  /* an object at byte `position` of `segment` */
    DMI_HERE,    /* a small value, in the record's own bytes */
    DMI_FAILED,  /* a failure found by the driver; the text is an object in D at `position`, or there
                    was no room for it: 0, and `segment` is the status */
    DMI_DISK     /* an object that has left memory: the driver brings it (DMI_MSG_FETCH) */
} dmi_place;

static inline uint64_t dmi_where(dmi_place place, uint32_t segment, uint64_t position)
{
    return (uint64_t)place << 60 | (uint64_t)segment << 44 | position;
}
static inline dmi_place dmi_where_place(uint64_t where)
{
    return (dmi_place)(where >> 60);
}
static inline uint32_t dmi_where_segment(uint64_t where)
{
    return (uint32_t)(where >> 44) & 0xffff;
}
static inline uint64_t dmi_where_position(uint64_t where)
{
    return where & (((uint64_t)1 << 44) - 1);
}

/* ---- records (in D) ---- */

/* Record flags. */
enum {
    DMI_BLOB = 1,       /* the arguments are a blob elsewhere */
    DMI_NAMED = 2,      /* behind the last argument is the task's own name, ended by a zero */
    DMI_HANDS_BACK = 4, /* a failure of it is not published but told (DMI_MSG_FAILED): it may be tried again */
    DMI_PART = 8,       /* it is one of several values of a task (runtime/parts.h) */
    DMI_RETURNS = 16,   /* times how many values the task was asked for, if for several */
    DMI_RETURNS_MOST = UINT16_MAX / DMI_RETURNS
};

/* In the place of a function's number: this is no task's result, but was put, by the driver or in a task. */
enum { DMI_PUT = 0xffff, DMI_PUT_IN_TASK = 0xfffe };

typedef struct dmi_blob {
    uint64_t offset;
    uint32_t segment;
    uint32_t bytes;
} dmi_blob;

typedef struct dmi_record {
    dmi_word where;
    uint64_t serial; /* never used twice; 48 bits */
    uint16_t function;
    uint16_t flags;
    uint32_t arg_count; /* for DMI_HERE: the bytes of the value */
    union {
        uint8_t args[DMI_RECORD_ARGS]; /* msgpack, one value after the other (runtime/wire.h) */
        dmi_blob blob;
    };
} dmi_record;
static_assert(sizeof(dmi_record) == 64, "a record is one cache line");

/* ---- slots (in W) ---- */

typedef enum dmi_slot_kind {
    DMI_SLOT_INLINE = 1, /* payload: a msgpack value */
    DMI_SLOT_OBJECT,     /* payload: u64 offset of an object in this segment */
    DMI_SLOT_REF,        /* payload: a dmi_refword */
    DMI_SLOT_PARTS,      /* payload: u64 offset of a table of dmi_part_values in this segment, u64 how many */
    DMI_SLOT_ERROR       /* payload: u64 offset of an error object in this segment, or 0; u32 status */
} dmi_slot_kind;

typedef struct dmi_slot {
    dmi_word word; /* serial : 48 | kind : 8 | payload bytes : 8 */
    uint8_t payload[DMI_SLOT_PAYLOAD];
} dmi_slot;
static_assert(sizeof(dmi_slot) == 32, "two slots a cache line");

/* One of several values of a task, as its worker tells of it: kind and payload as in a slot. */
typedef struct dmi_part_value {
    uint8_t kind, bytes; /* kind 0: nil */
    uint8_t spare[6];
    uint8_t payload[DMI_SLOT_PAYLOAD];
} dmi_part_value;
static_assert(sizeof(dmi_part_value) == 32, "two a cache line");

static inline uint64_t dmi_slot_word(uint64_t serial, dmi_slot_kind kind, unsigned bytes)
{
    return serial << 16 | (uint64_t)kind << 8 | bytes;
}
static inline uint64_t dmi_slot_serial(uint64_t word)
{
    return word >> 16;
}
static inline dmi_slot_kind dmi_slot_kind_of(uint64_t word)
{
    return (dmi_slot_kind)((word >> 8) & 0xff);
}

/* ---- a ref as it travels: in arguments, messages and results ---- */

enum { DMI_REF_RECORD = 1, DMI_REF_CELL = 2 };

/* kind : 4 | lane : 12 | seq : 16 | index : 32. A record's index, or a cell of a lane with its use. */
static inline uint64_t dmi_refword(unsigned kind, unsigned lane, unsigned seq, uint32_t index)
{
    return (uint64_t)kind << 60 | (uint64_t)lane << 48 | (uint64_t)(seq & 0xffff) << 32 | index;
}
static inline unsigned dmi_refword_kind(uint64_t ref)
{
    return (unsigned)(ref >> 60);
}
static inline unsigned dmi_refword_lane(uint64_t ref)
{
    return (unsigned)(ref >> 48) & 0xfff;
}
static inline unsigned dmi_refword_seq(uint64_t ref)
{
    return (unsigned)(ref >> 32) & 0xffff;
}
static inline uint32_t dmi_refword_index(uint64_t ref)
{
    return (uint32_t)ref;
}

/* ---- D's header ---- */

#define DMI_ABI 0x646d727400000008u /* changes with this file */

enum { DMI_NOBODY, DMI_DRIVER, DMI_SUPERVISOR };

typedef struct dmi_head {
    uint64_t abi;
    uint64_t lanes;
    uint64_t generations_at, downs_at, records_at, heap_at; /* offsets in D */
    uint64_t up_heap_at;                                    /* in every W */
    _Alignas(64) dmi_word listener; /* whose bell to ring: DMI_NOBODY, DMI_DRIVER, DMI_SUPERVISOR */
} dmi_head;

/* ---- down: the driver's words to the worker of a lane (in D) ---- */

#define DMI_NEVER UINT64_MAX

/* A ring entry: a record's index, or void (taken back). */
#define DMI_VOID UINT64_MAX

typedef struct dmi_down {
    _Alignas(64) dmi_word tail; /* ring entries published */
    dmi_word revoke;            /* odd: a take-back is being decided (law 3) */
    dmi_word wake_at;           /* ring the listener's bell when done reaches this */
    dmi_word held_back;         /* there is work for this lane that is not in the ring */
    dmi_word closing;           /* the session ends: return */
    dmi_word run_now;           /* count << 32 | record index: run this although you are blocked */
    dmi_word asks;              /* words of `asked` that are not 0 */
    dmi_word fresh;             /* the record of the first entry that came with `tail`: to have a look at, no more */
    _Alignas(64) dmi_word up_head; /* messages taken */
    dmi_word free_tail;            /* freed objects told */
    dmi_word trim;                 /* how often the worker was asked to give free memory back */
    dmi_word granted;              /* bytes its heap may commit */
    dmi_word refusals;             /* fetches that there was no room for: how many << 8 | why the last (scarce.h) */
    dmi_word answers;              /* how many NEEDs were answered << 8 | DM_OK, or why not (the same) */
    _Alignas(64) dmi_word asked[DMI_ASKED]; /* serials of tasks here that are to stop; 0: none */
    _Alignas(64) char said[DMI_SAID]; /* of the last refusal or answer: why */
    _Alignas(64) dmi_word ring[DMI_RING];
    dmi_word free_ring[DMI_FREE_RING]; /* offsets in its segment */
    dmi_word cells[DMI_CELLS];         /* seq << 32 | record index + 1: what a cell of the worker names */
} dmi_down;

/* ---- up: a worker's words to the driver (in W) ---- */

typedef enum dmi_message_kind {
    DMI_MSG_SUBMIT = 1, /* a task: cell, function, arguments. Of several values: its arguments are a blob that
                           begins with seq << 32 | cell for each */
    DMI_MSG_ADOPT,      /* an object of my heap gets a record: cell, offset */
    DMI_MSG_HOLD,       /* a record gets a cell */
    DMI_MSG_HOLD_INNER, /* the ref that is the value of a record gets a cell */
    DMI_MSG_HOLD_INNERS, /* the same of a list of refs, a cell for each: a blob, then the record's refword; the
                            blob has seq << 32 | cell for each */
    DMI_MSG_DROP,       /* a cell is free again */
    DMI_MSG_BLOCKED,    /* I wait for a ref, and have seen so many of run_now: u64, u32 */
    DMI_MSG_UNBLOCKED,  /* no more */
    DMI_MSG_NEED,       /* more room: bytes */
    DMI_MSG_BOUNCED,    /* the placed task at ring position `at` was not run */
    DMI_MSG_RAN,        /* run_now's task is published */
    DMI_MSG_UNRUN,      /* run_now's task was not run: an input is missing */
    DMI_MSG_TRIMMED,    /* free memory was given back */
    DMI_MSG_FETCH,      /* bring a ref's object into memory, and keep it there for me */
    DMI_MSG_FETCHED,    /* it is in my row, or I need it no more */
    DMI_MSG_CANCEL,     /* cancel a ref's task: u64, i64 milliseconds to the kill */
    DMI_MSG_FAILED      /* a task failed that hands back: its record's index, an error object of mine or 0, the
                           status: u64 each */
} dmi_message_kind;

typedef struct dmi_message {
    uint8_t kind;
    uint8_t blob; /* the arguments are args[] as a dmi_blob */
    uint16_t function;
    uint32_t cell;
    uint64_t at;  /* the worker's `done` when it posted: orders messages and completions */
    uint32_t arg_count;
    int32_t limit_ms; /* 0: the session's, -1: none */
    uint16_t seq;     /* the cell's use */
    int16_t retries;  /* 0: the session's, -1: none */
    uint8_t args[DMI_RECORD_ARGS]; /* or u64 words, by kind */
    uint32_t maker;   /* of a task that is submitted: record index + 1 of the task that does; 0: none */
    uint64_t retry_on; /* dm_task_options of a submission, from here on */
    uint64_t cost_ns;
    int32_t priority;
    uint16_t cpus;
    uint16_t returns; /* how many values it is to have; 0: one */
    uint8_t named; /* the name follows the arguments */
    uint8_t pad[31];
} dmi_message;
static_assert(sizeof(dmi_message) == 128, "a message is two cache lines");

typedef struct dmi_up {
    _Alignas(64) dmi_word claim; /* ring entries taken to be run (law 3); alone: the driver looks at the others */
    _Alignas(64) dmi_word done;  /* ring entries finished; short tasks are counted in groups */
    dmi_word nested;             /* record index + 1 of the innermost run_now task; 0: none */
    dmi_word mean_ns;            /* what a task takes, smoothed */
    _Alignas(64) dmi_word asleep; /* ring my bell */
    _Alignas(64) dmi_word up_tail; /* messages posted */
    dmi_word free_head;            /* freed objects taken */
    dmi_word committed;            /* bytes of memory its heap holds */
    dmi_word view_written;         /* address of a write through a view, noted by the dying worker */
    _Alignas(64) dmi_word row_high; /* words of the row that were ever used (law 6) */
    dmi_word row_full;             /* reads that found no free word: whatever it holds is being read */
    dmi_word row[DMI_ROW];         /* refwords of what this worker reads, 0: free */
    _Alignas(64) dmi_message ring[DMI_UP_RING];
} dmi_up;

#endif
