/*
 * recovery.h - how long it takes from the death of a worker to the result that it delayed, and how much is left of the pace
 * without deaths: for the soaks that kill by the clock.
 *
 * Tasks are numbered, and note which they begin and end in memory that outlives them.
 */
#ifndef TEST_SUPPORT_RECOVERY_H
#define TEST_SUPPORT_RECOVERY_H

#include <stdatomic.h>
#include <stdlib.h>

#include "tests/support/notes.h"
#include "tests/support/test.h"

enum { SEATS = 4096, ENDS = 1 << 17, PENDING = 1024 };

/* ---- what tasks note, and who dies does not take with it ---- */

typedef struct seat {
    atomic_int pid;
    atomic_uint_least64_t number; /* of the task that it began last */
} seat;

typedef struct end {
    atomic_uint_least64_t number; /* + 1 */
    atomic_int pid;
    atomic_int_least64_t at_us;
} end;

typedef struct notes {
    seat seats[SEATS]; /* by pid */
    end ends[ENDS];    /* by number */
} notes;

static notes *noted;

static void note_begin(uint64_t number)
{
    seat *s = &noted->seats[getpid() % SEATS];
    atomic_store(&s->number, number);
    atomic_store(&s->pid, getpid());
}

static void note_end(uint64_t number)
{
    end *e = &noted->ends[number % ENDS];
    atomic_store(&e->number, 0);
    atomic_store(&e->pid, getpid());
    atomic_store(&e->at_us, watch_now_us());
    atomic_store(&e->number, number + 1);
}

/* ---- deaths, and what they delayed ---- */

typedef struct delay {
    uint64_t number;
    int64_t at_us;
} delay;

typedef struct recovery {
    delay pending[PENDING];
    int pending_count;
    int64_t *took_us;
    int count, room;
} recovery;

/* Those whose task has come to its end elsewhere by now. */
static void harvest(recovery *r)
{
    int kept = 0;
    for (int i = 0; i < r->pending_count; i++) {
        const delay *d = &r->pending[i];
        const end *e = &noted->ends[d->number % ENDS];
        int64_t took = atomic_load(&e->at_us) - d->at_us;
        if (atomic_load(&e->number) == d->number + 1 && took >= 0 && r->count < r->room)
            r->took_us[r->count++] = took;
        else
            r->pending[kept++] = *d;
    }
    r->pending_count = kept;
}

/* Who was between two tasks when it died has delayed nobody that can be named. */
static void note_death(void *context, int pid, int64_t at_us)
{
    recovery *r = context;
    harvest(r);
    seat *s = &noted->seats[pid % SEATS];
    uint64_t number = atomic_load(&s->number);
    const end *e = &noted->ends[number % ENDS];
    bool ended = atomic_load(&e->number) == number + 1 && atomic_load(&e->pid) == pid;
    if (atomic_load(&s->pid) == pid && !ended && r->pending_count < PENDING)
        r->pending[r->pending_count++] = (delay){number, at_us};
    atomic_store(&s->pid, 0); /* its number will be another's */
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double recovery_ms(const recovery *r, double share)
{
    return (double)r->took_us[(int)(share * (r->count - 1))] / 1000;
}

static recovery recovery_begin(int room)
{
    recovery r = {.room = room, .took_us = malloc((size_t)room * sizeof *r.took_us)};
    noted = notes_make(sizeof *noted);
    return r;
}

/* When all tasks are done. Not 0, and said: a task never came to an end, or no death met any. */
static int recovery_tell(recovery *r, const char *name)
{
    harvest(r);
    if (r->count == 0)
        return printf("%s: no kill met a task\n", name);
    qsort(r->took_us, (size_t)r->count, sizeof *r->took_us, by_size);
    printf("%s: %d kills met a task; from the kill to its result: median %.2f ms, p99 %.2f, most %.2f\n", name, r->count,
           recovery_ms(r, 0.5), recovery_ms(r, 0.99), recovery_ms(r, 1));
    return r->pending_count ? printf("%d tasks never came to an end\n", r->pending_count) : 0;
}

static void recovery_end(recovery *r)
{
    notes_end(noted, sizeof *noted);
    free(r->took_us);
}

/* In a worker. */
static void open_notes(void)
{
    noted = notes_open(sizeof *noted);
}

/* ---- pace ---- */

typedef struct pace {
    uint64_t tasks;
    int64_t us;
} pace;

static double per_second(const pace *p)
{
    return p->us ? (double)p->tasks * 1e6 / (double)p->us : 0;
}

#endif
