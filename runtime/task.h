/*
 * task.h - the table of tasks and values: one dmi_record (shared) and one dmi_task (private) each.
 *
 *                     +--------- bounced, taken back, worker lost ----------+
 *                     v                                                     |
 *     new --> WAITING --> QUEUED --> SENT(lane) --> DONE <-- a put value, a failed submission
 *      |      inputs      no room    placed        published, or failed for good
 *      +------(all there)--^-----------^
 *
 * A task is known by its index. It lives while somebody holds it (a ref of the driver, a cell of a
 * worker), or something pins it (an unfinished task that names it, a value that contains it, a view),
 * or it is unfinished. Then its value, its slot and its record are free again, at once; but the record stays if
 * something could not be made again without (runtime/lineage.h). One that has not
 * begun is discarded if an attempt submitted it that died and nobody wants it (runtime/orphans.h), and fails
 * if it was cancelled (runtime/cancel.h).
 * All functions: under the role.
 */
#ifndef DMI_TASK_H
#define DMI_TASK_H

#include "runtime/session.h"

typedef enum dmi_task_state {
    DMI_TASK_FREE,
    DMI_TASK_RECIPE, /* free for all but what was made from it (runtime/lineage.h) */
    DMI_TASK_WAITING,
    DMI_TASK_QUEUED,
    DMI_TASK_SENT,
    DMI_TASK_DONE
} dmi_task_state;

enum {
    DMI_TASK_HAS_REFS = 1, /* among its arguments */
    DMI_TASK_PATIENT = 2,  /* was bounced: placed only when all its inputs are done */
    DMI_TASK_NESTED = 4,   /* runs on a blocked worker, outside its ring */
    DMI_TASK_LIMITED = 8,  /* has a time limit */
    DMI_TASK_UNSEALED = 16, /* an object being made: no value yet, or not told of to anybody */
    DMI_TASK_FETCHING = 32, /* its inputs are brought into memory, and kept there until it is placed */
    DMI_TASK_LISTED = 64,   /* an object that could be spilled: in the list by use */
    DMI_TASK_LINEAGE = 128  /* DONE, and its arguments are still there: it could be run again */
};

struct dmi_task {
    uint32_t generation;
    uint32_t holds;
    uint32_t pins;
    uint8_t state;
    uint8_t flags;
    int16_t retries_left;
    uint32_t next; /* index + 1, in the queue, the list by use, a lane's nested tasks or the free list. While it waits:
                      the first of its own edges (edges.h) */
    uint32_t previous; /* index + 1, the same */
    uint32_t waits; /* inputs not there */
    uint32_t edges; /* edge + 1: tasks waiting for this one to be done, or to be back in memory */
    uint32_t contains; /* index + 1 of the ref that is its value, or a list of them (lists.h); unfinished: of
                          its first part (parts.h) */
    union {
        struct {
            uint16_t lane; /* SENT */
            uint16_t attempts;
        };
        uint32_t read_at; /* DONE: the last look around that found a placed task reading it */
    };
    int32_t limit_ms; /* -1: none */
    uint32_t views; /* of its pins: lent by dm_get, not released */
    union {
        uint64_t position; /* SENT: in the lane's ring */
        uint64_t walk;     /* WAITING: the last walk that met it (toward.h). RECIPE: the same (remake.c) */
        struct {
            uint32_t stay;    /* DONE: dmi_stay + 1, if it is or was on disk, or on its way; 0: none */
            uint32_t used_at; /* DONE: when it was used last, by session->uses */
        };
    };
    union {
        struct {
            uint64_t bytes : 44;  /* of the object that is its value */
            uint64_t wanted : 18; /* who needs it in memory for a moment: it does not leave meanwhile */
            uint64_t orphaned : 1; /* submitted by an attempt that died (runtime/orphans.h) */
            uint64_t has_extra : 1; /* runtime/extras.h */
        };
        uint64_t rare; /* all of these: 0 for most tasks */
    };
};
static_assert(sizeof(dmi_task) == 64, "a task is one cache line");

static inline dmi_task *dmi_task_at(dmi_session *session, uint32_t index)
{
    return &session->tasks[index];
}
static inline dmi_record *dmi_record_at(dmi_session *session, uint32_t index)
{
    return &session->records[index];
}

/* May anybody come to hold it? */
static inline bool dmi_task_is_alive(const dmi_task *task)
{
    return task->state > DMI_TASK_RECIPE;
}

/* A new task, held once, with a serial, nowhere. False: the table is full (DM_ERR_NOMEM is set). */
bool dmi_task_new(dmi_session *session, uint32_t *index);

/* Of the entries that were freed so many rest, while their records come back from workers' caches. */
enum { DMI_TASKS_REST = 32 };

/* Its two halves. The entry: the one that has been free for longest, or a new one, below task_near. And: an entry becomes a task. */
static inline bool dmi_task_has_entry(const dmi_session *session)
{
    return session->free_count > DMI_TASKS_REST || session->task_high < session->task_near;
}

static inline uint32_t dmi_task_take_rested(dmi_session *session)
{
    uint32_t index = session->task_free - 1;
    session->free_count--;
    session->task_free = dmi_task_at(session, index)->next;
    return index;
}

static inline uint32_t dmi_task_take_entry(dmi_session *session)
{
    return session->free_count > DMI_TASKS_REST ? dmi_task_take_rested(session) : session->task_high++;
}

static inline void dmi_task_begin(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    *task = (dmi_task){.generation = task->generation, .holds = 1, .state = DMI_TASK_WAITING};
    dmi_record *record = dmi_record_at(session, index);
    DMI_STEP();
    record->serial = ++session->next_serial;
    record->function = DMI_PUT; /* until a submission says otherwise */
    record->flags = 0;
    record->arg_count = 0;
    dmi_word_prepare(&record->where, dmi_where(DMI_NOWHERE, 0, 0));
    session->counts.refs++;
}

/* The ref of a task for the driver's program, and back. The latter: DM_ERR_STALE, DM_ERR_BADREF. */
static inline dm_ref dmi_task_ref(const dmi_session *session, uint32_t index)
{
    return (dm_ref){(uint64_t)session->tasks[index].generation << 40 | (uint64_t)session->tag << 32 | index};
}

/* Does it name a task or value that the program holds? */
static inline bool dmi_task_is_held(const dmi_session *session, dm_ref ref)
{
    uint32_t index = (uint32_t)ref.id;
    if (index >= session->task_high)
        return false;
    const dmi_task *task = &session->tasks[index];
    return ref.id >> 32 == ((uint64_t)task->generation << 8 | session->tag) && task->state != DMI_TASK_FREE &&
           task->holds != 0;
}

dm_status dmi_task_of_none(const dmi_session *session, dm_ref ref); /* says why */
static inline dm_status dmi_task_of(const dmi_session *session, dm_ref ref, uint32_t *index)
{
    *index = (uint32_t)ref.id;
    return dmi_task_is_held(session, ref) ? DM_OK : dmi_task_of_none(session, ref);
}

void dmi_task_hold(dmi_session *session, uint32_t index);
void dmi_task_drop(dmi_session *session, uint32_t index);
void dmi_task_pin(dmi_session *session, uint32_t index);
void dmi_task_unpin(dmi_session *session, uint32_t index);

/* The record of the ref that is its value; false if that names nothing. The value is published, but its worker
 * may not have said yet how far it is: what it said before it published is heard first. */
bool dmi_task_inner(dmi_session *session, uint32_t index, uint32_t *inner);

/* The same of the i-th ref of a value that is a list of them. */
bool dmi_task_inner_at(dmi_session *session, uint32_t index, size_t i, uint32_t *inner);

/* Its result is published in its slot. */
void dmi_task_complete(dmi_session *session, uint32_t index);

/* Its value is there: whoever waits for it goes on, and what only an unfinished task needs is let go. */
void dmi_task_finish(dmi_session *session, uint32_t index);

/* It failed for good, and this is why. */
void dmi_task_fail(dmi_session *session, uint32_t index, dm_status status, const char *format, ...)
    DM_PRINTF(4, 5);

/* It is a value now: in its record, or an object. */
void dmi_task_is_here(dmi_session *session, uint32_t index, const uint8_t *wire, size_t bytes);
void dmi_task_is_object(dmi_session *session, uint32_t index, uint32_t segment, uint64_t offset,
                        uint64_t bytes);

/* How a ref to it is written in arguments: with its generation, so that it can be told later whether it
 * is still the same. */
static inline uint64_t dmi_task_refword(const dmi_session *session, uint32_t index)
{
    uint32_t generation = session->tasks[index].generation;
    return dmi_refword(DMI_REF_RECORD, generation >> 16, generation & 0xffff, index);
}

/* Its value is this failure. */
void dmi_task_is_failure(dmi_session *session, uint32_t index, dm_status status, const char *text);

/* Its object cannot be had any more: from now on its value is this failure, and it is not made again. */
void dmi_task_lose(dmi_session *session, uint32_t index, dm_status status, const char *text);

/* Calls visit(session, input, task) for each ref among its arguments. */
void dmi_task_each_input(dmi_session *session, uint32_t index,
                         void (*visit)(dmi_session *, uint32_t input, uint32_t task));

/* What its value takes goes back: memory, disk, its slot, what it contains. */
void dmi_task_free_value(dmi_session *session, uint32_t index);

/* It has a time limit. */
void dmi_task_limit(dmi_session *session, uint32_t index);

/* A task has been submitted: its retries and time limit (0: the session's, negative: none). */
static inline void dmi_task_submit(dmi_session *session, uint32_t index, int retries, int64_t limit_ms)
{
    dmi_task *task = dmi_task_at(session, index);
    const dmi_settings *settings = &session->settings;
    retries = retries == 0 ? settings->retries : retries < 0 ? 0 : retries;
    limit_ms = limit_ms == 0 ? settings->task_limit_ms : limit_ms;
    task->retries_left = (int16_t)(retries > INT16_MAX ? INT16_MAX : retries);
    task->limit_ms = limit_ms < 0 ? -1 : limit_ms > INT32_MAX ? INT32_MAX : (int32_t)limit_ms;
    if (task->limit_ms >= 0)
        dmi_task_limit(session, index);
    session->counts.tasks_submitted++;
    session->unfinished++;
}

/* Are there as many unfinished tasks as may be? And: the status and sentence that say so. */
static inline bool dmi_queue_is_full(const dmi_session *session)
{
    return __builtin_expect(session->unfinished >= session->settings.queue_tasks, 0);
}
dm_status dmi_queue_full(const dmi_session *session);

/* Once arguments are in the record: pins its inputs, then waits for them, queues it or places it. */
void dmi_task_pin_inputs(dmi_session *session, uint32_t index);
void dmi_task_enter(dmi_session *session, uint32_t index);

/* A placed task that will not run there: its slot is given back; and: it enters again. */
void dmi_task_unplace(dmi_session *session, uint32_t index);
void dmi_task_return(dmi_session *session, uint32_t index);

enum { DMI_GENERATION_LAST = (1 << 24) - 1 };

/* The table's entry is free again; of the value nothing is left by now. */
static inline void dmi_task_free_entry(dmi_session *session, uint32_t index)
{
    dmi_task *task = dmi_task_at(session, index);
    assert(task->state != DMI_TASK_FREE && !(task->flags & (DMI_TASK_LISTED | DMI_TASK_NESTED)));
    task->state = DMI_TASK_FREE;
    session->counts.refs--;
    if (task->generation == DMI_GENERATION_LAST)
        return; /* never used again, so that an ancient ref cannot fit a new value */
    task->generation++;
    task->next = 0;
    if (session->free_count++ == 0)
        session->task_free = index + 1;
    else
        dmi_task_at(session, session->task_last - 1)->next = index + 1;
    session->task_last = index + 1;
    dmi_prefetch_write(dmi_record_at(session, index)); /* its worker has it; it will be ours when it is used again */
}

/* Submitted by an attempt that died, and wanted by nobody else: it must not begin. */
static inline bool dmi_is_orphan(const dmi_task *task)
{
    return task->orphaned && task->holds == 0 && task->pins == 0;
}

/* A task that is not on any lane will not run: out of the queue, and out of its inputs' lists. */
void dmi_task_withdraw(dmi_session *session, uint32_t index);

/* An orphan that is not on any lane: ends without having run. */
void dmi_task_discard(dmi_session *session, uint32_t index);

/* The arguments of a task, wherever they lie. */
const uint8_t *dmi_task_args(dmi_session *session, uint32_t index, size_t *bytes);

/* What made it, for messages: the task's own name, the function's, or "dm_put". */
const char *dmi_task_name(dmi_session *session, uint32_t index);

#endif
