/*
 * extents.c - runs of blocks in a list, and two shelves on which the free ones lie by size.
 */
#include "objectstore/extents.h"

#include <assert.h>
#include <stdlib.h>

/* ---- sizes ---- */

/* 1, 2, 3 have a size of their own; from 4 on, four sizes to a power of two. */
static unsigned size_of(uint64_t blocks)
{
    if (blocks < 4)
        return (unsigned)blocks;
    unsigned log = 63 - (unsigned)__builtin_clzll(blocks);
    unsigned size = 4 * (log - 1) + (unsigned)(blocks >> (log - 2) & 3);
    return size < DMI_SIZES ? size : DMI_SIZES - 1;
}

/* The first size of which every run has so many blocks. */
static unsigned size_surely(uint64_t blocks)
{
    if (blocks < 4)
        return (unsigned)blocks;
    unsigned log = 63 - (unsigned)__builtin_clzll(blocks);
    uint64_t below = ((uint64_t)1 << (log - 2)) - 1;
    return size_of(blocks + below);
}

/* ---- shelves ---- */

static void shelve(dmi_extents *e, dmi_run *run)
{
    dmi_shelf *shelf = &e->shelf[run->state];
    unsigned size = size_of(run->blocks);
    run->before = NULL;
    run->behind = shelf->runs[size];
    if (run->behind)
        run->behind->before = run;
    shelf->runs[size] = run;
    shelf->filled[size / 64] |= (uint64_t)1 << (size % 64);
}

static void unshelve(dmi_extents *e, dmi_run *run)
{
    dmi_shelf *shelf = &e->shelf[run->state];
    unsigned size = size_of(run->blocks);
    if (run->behind)
        run->behind->before = run->before;
    if (run->before)
        run->before->behind = run->behind;
    else
        shelf->runs[size] = run->behind;
    if (shelf->runs[size] == NULL)
        shelf->filled[size / 64] &= ~((uint64_t)1 << (size % 64));
}

/* A run of this size or the next larger one there is. */
static dmi_run *at_least(const dmi_shelf *shelf, unsigned size)
{
    for (unsigned word = size / 64; word < DMI_SIZES / 64; word++, size = 0) {
        uint64_t bits = shelf->filled[word] & ~(uint64_t)0 << (size % 64);
        if (bits)
            return shelf->runs[64 * word + (unsigned)__builtin_ctzll(bits)];
    }
    return NULL;
}

static dmi_run *largest(const dmi_shelf *shelf)
{
    for (unsigned word = DMI_SIZES / 64; word-- > 0;)
        if (shelf->filled[word])
            return shelf->runs[64 * word + 63 - (unsigned)__builtin_clzll(shelf->filled[word])];
    return NULL;
}

/* Among runs about as large as what is sought, so many are looked at before a larger one is cut. */
enum { LOOKS = 8 };

static dmi_run *fitting(const dmi_shelf *shelf, uint64_t blocks)
{
    dmi_run *run = shelf->runs[size_of(blocks)];
    for (int i = 0; run && i < LOOKS; i++, run = run->behind)
        if (run->blocks >= blocks)
            return run;
    run = at_least(shelf, size_surely(blocks));
    return run && run->blocks >= blocks ? run : NULL;
}

/* ---- nodes ---- */

static dmi_run *node(dmi_extents *e)
{
    dmi_run *run = e->spare;
    if (run == NULL)
        return malloc(sizeof *run);
    e->spare = run->next;
    return run;
}

static void spare(dmi_extents *e, dmi_run *run)
{
    run->next = e->spare;
    e->spare = run;
}

static void link_behind(dmi_extents *e, dmi_run *prev, dmi_run *run)
{
    run->prev = prev;
    run->next = prev ? prev->next : NULL;
    if (run->next)
        run->next->prev = run;
    else
        e->back = run;
    if (prev)
        prev->next = run;
    else
        e->front = run;
}

/* It has become part of the one before. */
static void unlink_run(dmi_extents *e, dmi_run *run)
{
    run->prev->next = run->next;
    if (run->next)
        run->next->prev = run->prev;
    else
        e->back = run->prev;
    spare(e, run);
}

/* Cut behind `blocks`, both in one state, on no shelf; the rest, or NULL. */
static dmi_run *cut(dmi_extents *e, dmi_run *run, uint64_t blocks)
{
    dmi_run *rest = node(e);
    if (rest == NULL)
        return NULL;
    rest->first = run->first + blocks;
    rest->blocks = run->blocks - blocks;
    rest->state = run->state;
    run->blocks = blocks;
    link_behind(e, run, rest);
    return rest;
}

static void set_state(dmi_extents *e, dmi_run *run, dmi_run_state state)
{
    e->count[run->state] -= run->blocks;
    e->count[state] += run->blocks;
    run->state = state;
}

/* A run that is free now, with those beside it that are so in the same way, goes on the shelf. */
static void settle(dmi_extents *e, dmi_run *run)
{
    dmi_run *prev = run->prev, *next = run->next;
    if (next && next->state == run->state) {
        unshelve(e, next);
        run->blocks += next->blocks;
        unlink_run(e, next);
    }
    if (prev && prev->state == run->state) {
        unshelve(e, prev);
        prev->blocks += run->blocks;
        unlink_run(e, run);
        run = prev;
    }
    shelve(e, run);
}

/* ---- taking and leaving ---- */

/* More bare blocks at the end. False: no memory. */
static bool grow(dmi_extents *e, uint64_t blocks)
{
    dmi_run *run = node(e);
    if (run == NULL)
        return false;
    *run = (dmi_run){
        .first = e->blocks, .blocks = blocks > e->step ? blocks : e->step, .state = DMI_RUN_BARE};
    e->blocks += run->blocks;
    e->count[DMI_RUN_BARE] += run->blocks;
    link_behind(e, e->back, run);
    settle(e, run);
    return true;
}

/* The first `blocks` of a run on a shelf get this state; the rest stays. False: no memory. */
static bool take_front(dmi_extents *e, dmi_run *run, uint64_t blocks, dmi_run_state state)
{
    unshelve(e, run);
    if (run->blocks > blocks) {
        dmi_run *rest = cut(e, run, blocks);
        if (rest == NULL) {
            shelve(e, run);
            return false;
        }
        shelve(e, rest);
    }
    set_state(e, run, state);
    return true;
}

dmi_run *dmi_extents_take(dmi_extents *e, uint64_t blocks, uint64_t may_back)
{
    assert(blocks > 0);
    dmi_run *run = fitting(&e->shelf[DMI_RUN_IDLE], blocks);
    if (run == NULL && blocks > may_back)
        return NULL;
    if (run == NULL)
        run = fitting(&e->shelf[DMI_RUN_BARE], blocks);
    if (run == NULL && grow(e, blocks))
        run = fitting(&e->shelf[DMI_RUN_BARE], blocks);
    return run && take_front(e, run, blocks, DMI_RUN_LIVE) ? run : NULL;
}

dmi_run *dmi_extents_cut(dmi_extents *e, dmi_run *run, uint64_t blocks)
{
    assert(run->state == DMI_RUN_LIVE && blocks > 0 && blocks < run->blocks);
    return cut(e, run, blocks);
}

void dmi_extents_leave(dmi_extents *e, dmi_run *run)
{
    assert(run->state == DMI_RUN_LIVE);
    set_state(e, run, DMI_RUN_IDLE);
    settle(e, run);
}

void dmi_extents_abandon(dmi_extents *e, dmi_run *run)
{
    assert(run->state == DMI_RUN_LIVE);
    set_state(e, run, DMI_RUN_BARE);
    settle(e, run);
}

dmi_run *dmi_extents_lend(dmi_extents *e, uint64_t least, uint64_t most)
{
    dmi_run *run = largest(&e->shelf[DMI_RUN_IDLE]);
    if (run == NULL || run->blocks < least)
        return NULL;
    uint64_t blocks = run->blocks < most ? run->blocks : most;
    if (!take_front(e, run, blocks, DMI_RUN_LENT))
        take_front(e, run, run->blocks, DMI_RUN_LENT); /* no memory to cut it: then all of it */
    return run;
}

void dmi_extents_bare(dmi_extents *e, dmi_run *run)
{
    assert(run->state == DMI_RUN_LENT);
    set_state(e, run, DMI_RUN_BARE);
    settle(e, run);
}

void dmi_extents_unlend(dmi_extents *e, dmi_run *run)
{
    assert(run->state == DMI_RUN_LENT);
    set_state(e, run, DMI_RUN_IDLE);
    settle(e, run);
}

bool dmi_extents_has_idle(const dmi_extents *e, uint64_t least)
{
    const dmi_run *run = largest(&e->shelf[DMI_RUN_IDLE]);
    return run && run->blocks >= least;
}

/* ---- begin and end ---- */

void dmi_extents_init(dmi_extents *e, uint64_t step)
{
    *e = (dmi_extents){.step = step};
}

static void free_all(dmi_run *run)
{
    while (run) {
        dmi_run *next = run->next;
        free(run);
        run = next;
    }
}

void dmi_extents_clear(dmi_extents *e)
{
    assert(e->count[DMI_RUN_LIVE] == 0 && e->count[DMI_RUN_LENT] == 0);
    free_all(e->front);
    free_all(e->spare);
    dmi_extents_init(e, e->step);
}

void dmi_extents_fini(dmi_extents *e)
{
    free_all(e->front);
    free_all(e->spare);
    dmi_extents_init(e, e->step);
}

/* ---- the laws ---- */

static bool runs_are_valid(const dmi_extents *e, uint64_t *count)
{
    uint64_t at = 0;
    const dmi_run *prev = NULL;
    for (const dmi_run *run = e->front; run; prev = run, run = run->next) {
        if (run->first != at || run->blocks == 0 || run->prev != prev)
            return false;
        bool lies_on_shelf = run->state == DMI_RUN_BARE || run->state == DMI_RUN_IDLE;
        if (prev && prev->state == run->state && lies_on_shelf)
            return false;
        at += run->blocks;
        count[run->state] += run->blocks;
    }
    return at == e->blocks && e->back == prev;
}

static bool shelf_is_valid(const dmi_shelf *shelf, dmi_run_state state, uint64_t blocks)
{
    for (unsigned size = 0; size < DMI_SIZES; size++) {
        bool filled = shelf->filled[size / 64] >> (size % 64) & 1;
        if (filled != (shelf->runs[size] != NULL))
            return false;
        for (const dmi_run *run = shelf->runs[size]; run; run = run->behind) {
            if (run->state != state || size_of(run->blocks) != size)
                return false;
            blocks -= run->blocks;
        }
    }
    return blocks == 0;
}

bool dmi_extents_is_valid(const dmi_extents *e)
{
    uint64_t count[DMI_RUN_STATES] = {0};
    if (!runs_are_valid(e, count))
        return false;
    for (int state = 0; state < DMI_RUN_STATES; state++)
        if (count[state] != e->count[state])
            return false;
    return shelf_is_valid(&e->shelf[DMI_RUN_BARE], DMI_RUN_BARE, count[DMI_RUN_BARE]) &&
           shelf_is_valid(&e->shelf[DMI_RUN_IDLE], DMI_RUN_IDLE, count[DMI_RUN_IDLE]);
}
