/*
 * mixed.h - what a player of a random mix of calls knows of its values, without asking the runtime: a plain model.
 *
 * A thing is what a value is: its kind, the number in it, what it names. Several values of one task share a deed; a
 * deed ends well or not, and nobody knows which before somebody has looked, for a task that was cancelled may have
 * been quicker. What was seen once holds from then on, for all values of the deed, and for what it was made from:
 *
 *     a deed that went well   read only what went well
 *     one that failed         was cancelled, or is one that always fails, or read something that failed
 */
#ifndef TEST_SUPPORT_MIXED_H
#define TEST_SUPPORT_MIXED_H

#include "tests/support/marked.h"

enum {
    MIXED_INPUTS = 6,
    MIXED_PARTS = 8,
    MIXED_HELD = 48,
    MIXED_DEEDS = 4096,
    MIXED_THINGS = 8192
};

typedef enum mixed_kind {
    MIXED_NUMBER,
    MIXED_TEXT,
    MIXED_WORDS,
    MIXED_LIST,
    MIXED_REF,
    MIXED_NIL,
    MIXED_KINDS
} mixed_kind;

typedef enum mixed_fate { MIXED_UNSEEN, MIXED_FINE, MIXED_FAILED } mixed_fate;

typedef struct mixed_deed {
    mixed_fate fate;
    dm_status status; /* once it has failed */
    bool put;         /* no task: it cannot be cancelled */
    bool is_given;    /* somebody else made it, or put it */
    bool fails;       /* always, by itself */
    bool hangs;       /* so it does: it never ends, and is ended after its time; or with its worker, before */
    bool cancelled;   /* by us, at a time when it may not have been done */
    int parent;       /* the deed that began it, whose cancellation is its own, too; -1: we did */
    int input[MIXED_INPUTS], inputs; /* arguments: if one fails, this does with DM_ERR_DEP_FAILED */
    int inside[MIXED_PARTS], insides; /* what it reads while it runs: then it fails by itself */
    bool may_fail, may_be_fine;       /* mixed_think */
} mixed_deed;

typedef struct mixed_thing {
    mixed_kind kind;
    int deed;
    uint64_t number; /* what is in it; for a list, of all that it names */
    size_t bytes;    /* of words */
    int part[MIXED_PARTS], parts;
} mixed_thing;

typedef struct mixed_value {
    dm_ref ref;
    int thing;
    int holds;
    bool retained; /* by dm_retain, which a task's end does not undo */
} mixed_value;

typedef struct mixed {
    mixed_deed deeds[MIXED_DEEDS];
    mixed_thing things[MIXED_THINGS];
    mixed_value values[MIXED_HELD];
    int deed_count, thing_count, value_count;
    char wrong[400]; /* the first thing that was not as it must be */
} mixed;

/* ---- what is put together ---- */

static inline uint64_t mixed_mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a + 0x9e3779b97f4a7c15u) ^ (b * 0xbf58476d1ce4e5b9u);
    x = (x ^ x >> 29) * 0x94d049bb133111ebu;
    return (x ^ x >> 32) & INT64_MAX;
}

static inline void mixed_wrong(mixed *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void mixed_wrong(mixed *m, const char *format, ...)
{
    va_list values;
    if (m->wrong[0] != 0)
        return;
    va_start(values, format);
    vsnprintf(m->wrong, sizeof m->wrong, format, values);
    va_end(values);
}

/* -1 if there is no place; a player ends before that. */
static inline int mixed_deed_of(mixed *m)
{
    if (m->deed_count == MIXED_DEEDS)
        return -1;
    m->deeds[m->deed_count] = (mixed_deed){.parent = -1};
    return m->deed_count++;
}

static inline int mixed_thing_of(mixed *m, int deed, mixed_kind kind, uint64_t number, size_t bytes)
{
    if (m->thing_count == MIXED_THINGS)
        return -1;
    m->things[m->thing_count] = (mixed_thing){kind, deed, number, bytes, {0}, 0};
    return m->thing_count++;
}

static inline bool mixed_has_room(const mixed *m)
{
    return m->value_count + MIXED_PARTS < MIXED_HELD &&
           m->deed_count + 2 * MIXED_PARTS < MIXED_DEEDS &&
           m->thing_count + 2 * MIXED_PARTS < MIXED_THINGS;
}

static inline void mixed_hold(mixed *m, dm_ref ref, int thing)
{
    m->values[m->value_count++] = (mixed_value){ref, thing, 1, false};
}

static inline mixed_thing *mixed_thing_at(mixed *m, int value)
{
    return &m->things[m->values[value].thing];
}

static inline mixed_deed *mixed_deed_at(mixed *m, int value)
{
    return &m->deeds[mixed_thing_at(m, value)->deed];
}

/* ---- what may be ---- */

static inline bool mixed_may_be_cancelled(const mixed *m, int deed)
{
    for (; deed >= 0; deed = m->deeds[deed].parent)
        if (m->deeds[deed].cancelled)
            return true;
    return false;
}

static inline bool mixed_any_may_fail(const mixed *m, const int *deeds, int count)
{
    for (int i = 0; i < count; i++)
        if (m->deeds[deeds[i]].may_fail)
            return true;
    return false;
}

static inline bool mixed_all_may_be_fine(const mixed *m, const int *deeds, int count)
{
    for (int i = 0; i < count; i++)
        if (!m->deeds[deeds[i]].may_be_fine)
            return false;
    return true;
}

/* Of each deed, from what it was made from, which was there before it. */
static inline void mixed_think(mixed *m)
{
    for (int i = 0; i < m->deed_count; i++) {
        mixed_deed *d = &m->deeds[i];
        bool unseen = d->fate == MIXED_UNSEEN;
        d->may_fail = unseen ? d->fails || mixed_may_be_cancelled(m, i) ||
                                   mixed_any_may_fail(m, d->input, d->inputs) ||
                                   mixed_any_may_fail(m, d->inside, d->insides)
                             : d->fate == MIXED_FAILED;
        d->may_be_fine = unseen ? !d->fails && mixed_all_may_be_fine(m, d->input, d->inputs) &&
                                      mixed_all_may_be_fine(m, d->inside, d->insides)
                                : d->fate == MIXED_FINE;
    }
}

/* ---- what was seen ---- */

static inline void mixed_settle_fine(mixed *m, int deed)
{
    mixed_deed *d = &m->deeds[deed];
    if (d->fate == MIXED_FINE)
        return;
    d->fate = MIXED_FINE;
    for (int i = 0; i < d->inputs; i++)
        mixed_settle_fine(m, d->input[i]);
    for (int i = 0; i < d->insides; i++)
        mixed_settle_fine(m, d->inside[i]);
}

static inline void mixed_is_fine(mixed *m, int deed)
{
    mixed_think(m);
    if (m->deeds[deed].may_be_fine)
        mixed_settle_fine(m, deed);
    else
        mixed_wrong(m, "deed %d has a value and cannot have one%s", deed,
                    m->deeds[deed].fate == MIXED_FAILED ? ": it has failed before" : "");
}

static inline bool mixed_explains(const mixed *m, int deed, dm_status status)
{
    const mixed_deed *d = &m->deeds[deed];
    if (d->fate != MIXED_UNSEEN)
        return d->fate == MIXED_FAILED && d->status == status;
    if (d->hangs && (status == DM_ERR_TASK_TIMEOUT || status == DM_ERR_TASK_CRASH))
        return true;
    if (status == DM_ERR_CANCELLED)
        return mixed_may_be_cancelled(m, deed);
    if (status == DM_ERR_DEP_FAILED)
        return mixed_any_may_fail(m, d->input, d->inputs);
    return status == DM_ERR_TASK_FAILED &&
           (d->fails || mixed_any_may_fail(m, d->inside, d->insides));
}

static inline void mixed_has_failed(mixed *m, int deed, dm_status status)
{
    mixed_deed *d = &m->deeds[deed];
    mixed_think(m);
    if (!mixed_explains(m, deed, status)) {
        mixed_wrong(m, "deed %d%s ended with %s: %s", deed,
                    d->fate == MIXED_FINE ? ", which had ended well," : "", dm_status_name(status),
                    dm_last_error());
        return;
    }
    d->fate = MIXED_FAILED;
    d->status = status;
}

#endif
