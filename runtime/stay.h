/*
 * stay.h - what residence.c, leaving.c, returning.c and reserve.c share: an object's stay out of memory, or on the
 * way out or back, and the book of them. Nobody else includes this, but walker.c, which checks it.
 *
 * All functions: under the role.
 */
#ifndef DMI_STAY_H
#define DMI_STAY_H

#include <stdatomic.h>

#include "objectstore/spill.h"
#include "runtime/mover.h"
#include "runtime/residence.h"

typedef enum dmi_stage { DMI_LEAVING, DMI_GONE, DMI_RETURNING, DMI_BOTH } dmi_stage;

typedef struct dmi_stay {
    uint32_t index; /* of its record; + 1 of the next free one */
    uint8_t stage;
    bool in_use, waiting; /* for room, to return */
    bool now; /* for who runs, or the program */
    bool unread; /* since it came back: to be read once is what it came for, and not use */
    atomic_bool cancelled; /* looked at by movers; private atomic */
    uint32_t part_count, parts_left;
    uint32_t refusals; /* to bring it, for want of room */
    uint32_t next;     /* stay + 1, waiting for room */
    int64_t since_ms;  /* waiting, or on the way since */
    int64_t not_before_ms; /* room was promised, and there was none: to be tried again then */
    const char *from;  /* LEAVING: where it is read */
    uint64_t to;       /* RETURNING: where it is written, in D; 0 while room is had for it */
    uint64_t bytes;    /* with its header */
    uint64_t came_at;  /* by residence.came_back: when it came back last; 0: never */
    uint64_t serial;
    uint8_t element;
    dm_status trouble; /* of the first part that failed */
    char *said;
    union {
        uint32_t ticket; /* of the only part */
        uint32_t *tickets;
    };
} dmi_stay;

typedef struct dmi_residence {
    dmi_session *session;
    dmi_spill *spill; /* NULL: nothing is spilled */
    dmi_mover *mover;
    dmi_stay *stays;
    uint32_t stay_high, stay_free;
    uint32_t cold, warm;    /* the list by use: index + 1 of its ends */
    uint64_t leaving, away, returning; /* bytes */
    uint64_t came_back; /* bytes, since the session began */
    uint64_t reserve, reserve_bytes; /* room in D for a return, and how much; 0: none */
    uint64_t reserving, reserve_due; /* how much a job is about to have, and how much there is to be */
    uint32_t waiting;       /* stay + 1: to return, but without room */
    uint32_t having_room;   /* RETURNING that may have to wait after all: jobs that have room for them */
    int64_t left_ms;        /* when an object left last */
    int64_t progress_ms;    /* when one left last, or got a piece of it to a disk that is not in trouble */
    uint64_t settling;      /* bytes that left workers' heaps lately */
    int64_t settling_since_ms;
    int64_t trouble_until_ms, trouble_pause_ms;
    dm_status trouble; /* of the last write; DM_OK */
    char said[512];
    bool tidying; /* a job for it is on its way */
    bool begun, announced;
    dmi_job tidy, have_reserve;
    char line[512];
} dmi_residence;

/* The stay of an object that has one. */
static inline dmi_stay *dmi_stay_of(dmi_session *session, uint32_t index)
{
    const dmi_task *task = dmi_task_at(session, index);
    return task->state == DMI_TASK_DONE && task->stay != 0 ? &session->residence->stays[task->stay - 1] : NULL;
}

static inline uint32_t *dmi_tickets_of(dmi_stay *stay)
{
    return stay->part_count == 1 ? &stay->ticket : stay->tickets;
}

/* A stay for an object in memory; NULL without memory. And its end: the copy on disk is no more. */
dmi_stay *dmi_stay_begin(dmi_session *session, uint32_t index);
void dmi_stay_end(dmi_session *session, dmi_stay *stay);

/*
 * Objects are written and read in pieces of about this size, each by itself. That they are small is what makes
 * a large object fast to read: while one thread decodes a piece, the disk reads the next for another.
 */
enum { DMI_PIECE = 1 << 20 };
static_assert(DMI_PIECE + DMI_PIECE / 2 <= DMI_PART_MOST, "the last piece may be larger");

/* The bytes of a part, and the id by which the disk knows it. */
size_t dmi_part_bytes(const dmi_stay *stay, uint32_t part);
uint64_t dmi_part_id(const dmi_stay *stay, uint32_t part);

/* A part was written or read, or not. */
void dmi_part_done(dmi_stay *stay, dm_status status, const char *said);

/* The list by use. */
void dmi_list_warm(dmi_session *session, uint32_t index);
void dmi_list_cold(dmi_session *session, uint32_t index);
void dmi_unlist(dmi_session *session, uint32_t index);

/* A job about some parts of some stays. */
typedef struct dmi_moving {
    dmi_job job;
    dmi_session *session;
    uint32_t count;
    struct {
        dmi_stay *stay;
        uint32_t part;
    } of[];
} dmi_moving;

dmi_moving *dmi_moving_create(dmi_session *session, uint32_t room, void (*run)(dmi_job *));
void dmi_moving_add(dmi_moving *moving, dmi_stay *stay, uint32_t part);

/* A job of a mover is done; if something became of it, whoever waits looks again. Leaves the role. */
void dmi_moving_end(dmi_session *session, bool tell);

/* It waits for room no more. (residence.c) */
void dmi_stop_waiting(dmi_residence *r, dmi_stay *stay);

/* Begin to spill if memory is fuller than it should be. (leaving.c) */
bool dmi_spill_what_is_due(dmi_session *session);

/* Have a reserve of so many bytes, if there is room for it; and give it up when nothing is away. (reserve.c) */
void dmi_reserve_for(dmi_session *session, uint64_t bytes);
void dmi_reserve_end(dmi_session *session);

/* Begin to read what had no room before. (returning.c) */
bool dmi_bring_the_waiting(dmi_session *session);

#endif
