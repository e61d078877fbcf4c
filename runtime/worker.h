/*
 * worker.h - a worker: takes tasks from its lane's ring, runs them, publishes their results.
 *
 * One per worker process (or thread, or one for the serial engine). Its task thread owns everything
 * here but the heap and the free ring's end, which the service thread shares under `free_lock`, and
 * the posting of messages, under `post_lock`.
 */
#ifndef DMI_WORKER_H
#define DMI_WORKER_H

#include <pthread.h>

#include "runtime/apart.h"
#include "runtime/session.h"
#include "runtime/value.h"

/* A ref as a task knows it. */
typedef enum dmi_hold {
    DMI_HOLD_NONE,
    DMI_HOLD_RECORD, /* an argument: the running task keeps it alive */
    DMI_HOLD_OBJECT, /* made here, unknown to the driver */
    DMI_HOLD_BUFFER, /* being made here: dm_create, not sealed */
    DMI_HOLD_CELL,   /* known to the driver by a cell of this lane */
    DMI_HOLD_FAILED  /* a submission or put that failed: a status, and its sentence */
} dmi_hold;

typedef struct dmi_holding {
    uint8_t kind;
    uint8_t owned : 1, /* one of `holds` is the running task's, dropped at its end */
        lent : 1;      /* and need not be released: the ref of an argument */
    uint16_t seq;  /* of the cell */
    uint16_t generation;
    uint16_t status;
    uint16_t views; /* lent by dm_get, not released */
    uint16_t row;   /* its word in the row + 1; 0: none (runtime/row.h) */
    uint16_t kept;  /* 1: one of `holds` is the running task's result */
    uint32_t holds;
    uint32_t depth; /* of the task it belongs to; 0: of none */
    uint32_t next;  /* index + 1, in the free list or in that of what belongs to tasks */
    uint32_t previous; /* index + 1, in the latter */
    union {
        uint64_t offset; /* DMI_HOLD_OBJECT */
        uint32_t record; /* DMI_HOLD_RECORD */
        uint32_t cell;   /* DMI_HOLD_CELL */
        char *text;      /* DMI_HOLD_FAILED */
    };
} dmi_holding;

/* Something built once (dm_local). */
typedef struct dmi_local {
    dm_local_build build;
    dm_local_destroy destroy;
    uint64_t serial; /* of the shared argument's record */
    void *made;
    uint64_t used;
} dmi_local;

enum { DMI_LOCALS = 16 };

/* dm_local: destroy all. (local.c) */
void dmi_locals_destroy(dmi_local *locals);

/* Where another's segment is mapped here. */
typedef struct dmi_mapping {
    const char *base;
    size_t bytes;
    uint64_t generation;
} dmi_mapping;

typedef struct dmi_worker {
    dmi_up *up;
    dmi_slot *slots;
    dmi_ahead slots_ahead;
    const dmi_down *down;
    const dmi_head *head;
    const dmi_record *records;
    const dmi_word *generations; /* of segments */
    dmi_segment own, d;
    uint32_t segment, lane;
    dmi_heap *heap;
    size_t inline_bytes;
    int64_t store_wait_ms;
    uint32_t nested_most; /* tasks on the stack */
    int cpus;
    int bell, driver_bell, supervisor_bell, socket;
    dmi_session *session; /* engines threads and serial; NULL in a process */

    uint64_t next;  /* ring entry to take */
    uint64_t claimed; /* == up->claim */
    uint64_t done;  /* finished; up->done lags behind while a group of short ones runs */
    uint64_t said;  /* == up->done */
    uint64_t posted; /* == up->up_tail */
    uint64_t freed; /* == up->free_head */
    uint64_t rung;  /* the wake_at that was rung for */
    uint64_t clock_at, clock_tasks; /* for mean_ns: time and `done` of the last look */
    uint64_t mean_ns;
    uint32_t run_seen; /* of down->run_now */
    uint64_t trimmed;
    uint32_t depth; /* tasks on the stack */
    dm_call *call;  /* the innermost */

    pthread_mutex_t free_lock, post_lock;
    dmi_holding *holdings;
    uint32_t holding_high, holding_room, holding_free;
    uint32_t holdings_first; /* index + 1: what belongs to tasks on the stack, the innermost's in front */
    uint32_t *free_cells;
    uint16_t *cell_seqs;
    uint32_t cell_high, free_cell_count, cell_room;
    uint32_t *dropped_cells; /* by a task that has ended, not yet said: only after its completion. Room for cell_room */
    uint32_t dropped_count;
    uint32_t row_next, row_used;
    bool ending; /* a task is */
    dmi_local locals[DMI_LOCALS];
    uint64_t local_uses, local_mark, local_call; /* uses; those before this outermost task */
    dmi_mapping *mappings; /* by segment; process workers */
} dmi_worker;

/* The worker this thread is; NULL in threads of the driver. */
extern _Thread_local dmi_worker *dmi_self;

/* A running task. */
enum { DMI_CALL_ITEMS = 8 };
struct dm_call {
    dmi_worker *worker;
    dm_call *outer;
    const dmi_record *record;
    const dm_function *function;
    dmi_slot *slot;
    uint64_t serial;
    uint32_t index;
    uint32_t count;
    bool counted;   /* asked dm_arg_count */
    bool all_plain; /* its inputs are small values and there: none has failed */
    bool gives_way; /* was refused room for the sake of others: if it fails now, it begins again */
    uint32_t returns; /* values asked for, if several; else 0 */
    dmi_part_value staged; /* what goes into the slot; kind 0: nothing yet */
    dmi_part_value *parts; /* of several values, allocated */
    uint32_t read; /* how many arguments were */
    dmi_item *items; /* `few`, or allocated */
    bool *seen;
    dmi_item few[DMI_CALL_ITEMS];
    bool few_seen[DMI_CALL_ITEMS];
};

/* ---- worker.c ---- */

/* In a worker process: receive who we are, serve until told to end, exit. Does not return. */
void dmi_worker_process(int socket);

/* A worker in this process, over lane `lane` of a session; and its loop, for a thread. */
dm_status dmi_worker_create(dmi_worker **worker, dmi_session *session, dmi_lane *lane);
void dmi_worker_destroy(dmi_worker *worker);
void dmi_worker_serve(dmi_worker *worker);

/* Call run(context) on this thread, whose tasks must not end it (pthread_exit): what such a task leaves is a process
 * that lives and does nothing, so it ends, too. */
void dmi_worker_call(dmi_worker *worker, void (*run)(void *context), void *context);

/* Is this the serial engine's? Then nothing happens but what the calling thread does. */
bool dmi_worker_is_serial(const dmi_worker *worker);

/* Serial engine: run what is in the ring; true if there was anything. */
bool dmi_worker_turn(dmi_worker *worker);

/* Entries claimed and not begun may be taken back: before a task blocks. */
void dmi_worker_unclaim(dmi_worker *worker);

/* Post a message: `message.at` is set here. Waits while the ring is full. */
void dmi_worker_post(dmi_worker *worker, dmi_message *message);

/* Ring whoever listens, or the supervisor. */
void dmi_worker_ring(dmi_worker *worker);

/* Sleep until rung (or `ms` passed; -1: no limit), unless awake() says no. Pumps in the serial engine. */
void dmi_worker_sleep(dmi_worker *worker, bool (*awake)(dmi_worker *, void *), void *context, int ms);

/* Run a task handed over while blocked, if there is one. (nested.c) */
bool dmi_worker_run_handed(dmi_worker *worker);

/* Room for an object: an offset in the own segment. Waits for it, then says why there is none. */
dm_status dmi_worker_room(dmi_worker *worker, size_t bytes, uint64_t *offset);

/* The driver refused room, for a status or DMI_GIVE_WAY: that as an error, `what` first. */
dm_status dmi_worker_refused(dmi_worker *worker, uint8_t why, const char *what);

/* Does the session end? Then nobody answers any more. */
bool dmi_worker_is_closing(const dmi_worker *worker);

/* Objects made here that the driver does not know of: tell it, so that they can be spilled. True if
 * there were any. (inside.c) */
bool dmi_inside_adopt_all(dmi_worker *worker);

/* Give an own object back. */
void dmi_worker_free(dmi_worker *worker, uint64_t offset);

/* Serve freed objects and requests to trim; the service thread, and the task thread now and then. */
void dmi_worker_housekeep(dmi_worker *worker);

/* ---- call.c ---- */

typedef enum dmi_outcome {
    DMI_RAN,        /* its result is in its slot */
    DMI_UNRUN,      /* an input is missing */
    DMI_HANDED_BACK /* it failed, and the driver was told (DMI_MSG_FAILED) */
} dmi_outcome;

/* Run the task of a record. */
dmi_outcome dmi_call_run(dmi_worker *worker, uint32_t index);

/* Do not: it ends with this failure, which dm_last_error explains. */
dmi_outcome dmi_call_refuse(dmi_worker *worker, uint32_t index, dm_status why);

/* The name of a running task: its own, or its function's. */
const char *dmi_call_name(const dm_call *call);

/* ---- inside.c: what a task may do ---- */

DMI_APART dm_ref dmi_inside_submit(dmi_worker *worker, const dm_function *function,
                                   const dm_task_options *options, const dm_value *arguments, size_t count);
void dmi_inside_submit_n(dmi_worker *worker, const dm_function *function, const dm_task_options *options,
                         const dm_value *arguments, size_t count, dm_ref *refs, size_t n);
/* A value that is a list of refs, found under this refword: a holding for each. */
dm_status dmi_inside_list(dmi_worker *worker, uint64_t outer, const dmi_found *found, dm_ref_list *out);
dm_ref dmi_inside_put(dmi_worker *worker, dm_value value);
DMI_APART dm_status dmi_inside_get(dmi_worker *worker, dm_ref ref, dm_into into, void *out, int64_t timeout_ms);
dm_status dmi_inside_wait(dmi_worker *worker, const dm_ref *refs, size_t n, size_t k,
                          int64_t timeout_ms, bool *ready);
dm_status dmi_inside_cancel(dmi_worker *worker, dm_ref ref, int64_t grace_ms);
dm_status dmi_inside_retain(dmi_worker *worker, dm_ref ref);
DMI_APART dm_status dmi_inside_release(dmi_worker *worker, dm_ref ref);
dm_status dmi_inside_create(dmi_worker *worker, dm_dtype dtype, int ndim, const size_t *shape,
                            dm_buffer *out);
dm_ref dmi_inside_seal(dmi_worker *worker, dm_buffer *buffer);
void dmi_inside_abandon(dmi_worker *worker, dm_buffer *buffer);
DMI_APART void dmi_inside_view_release(dmi_worker *worker, dm_view *view);

/* The object of a buffer, which is spent. */
dm_status dmi_inside_take_buffer(dmi_worker *worker, dm_buffer *buffer, uint64_t *offset);

/* A ref for an argument that is one; and a ref as it travels. */
dm_ref dmi_inside_ref_of_record(dmi_worker *worker, uint32_t record);
dm_status dmi_inside_travel(dmi_worker *worker, dm_ref ref, uint64_t *refword);

/* Drop what the task at this depth owned; the driver hears of it by dmi_inside_say_dropped, once the
 * task's completion has been said. */
void dmi_inside_end_task(dmi_worker *worker, uint32_t depth);
void dmi_inside_say_dropped(dmi_worker *worker);

/* A ref is the running task's result: it stays until the task's completion has been heard. */
dm_status dmi_inside_keep(dmi_worker *worker, dm_ref ref);

/* Write a value into the own heap as an object. */
dm_status dmi_inside_object(dmi_worker *worker, const dm_value *value, uint64_t *offset);

#endif
