/*
 * pace.h - how many items the next task gets: for programs that cut their work themselves, as dm_map and the fits do.
 *
 *     dm_pace pace = {.workers = 2, .most = 100000, .items = 1};
 *     while (left > 0 || tasks are under way) {
 *         n = dm_pace_next(&pace, left);             // submit a task of n items
 *         ...
 *         dm_pace_learn(&pace, number, n, gathered, ns);  // when one is gathered
 *     }
 *
 * A task costs about a microsecond or two from dm_map to dm_map; but functions that do several items at once, in
 * vectors, lose about half a vector of items at the end of each chunk, and that may be a tenth of a millisecond. So
 * the chunks begin small and grow by what was measured until one takes a worker DM_PACE_TARGET_NS, where that is a
 * hundredth; towards the end they shrink, so that all workers end together. Nothing but speed depends on it.
 *
 * Numbers in, a number out: nothing is touched but the dm_pace, no session is needed, and neither call blocks or fails.
 */
#ifndef DM_PACE_H
#define DM_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dm/status.h>

enum { DM_PACE_TARGET_NS = 16000000 };

typedef struct dm_pace {
    size_t fixed;   /* items per task that the caller chose; 0: none */
    size_t most;    /* items, by the memory they take; at least 1 */
    size_t workers; /* at least 1 */
    size_t items;   /* of the next chunk, if enough are left; at least 1. Begins as few as are known to take less */
    uint64_t heard; /* number of the youngest chunk learned from; begins as 0 */
    bool settled;   /* one took as long as it should, or may not be larger. Until then few should be under way: whole
                       windows of chunks of one item, of four, of sixteen cost more than the items */
} dm_pace;

/* So many of the `left` items: 1 to left. `left` is not 0. */
DM_API size_t dm_pace_next(const dm_pace *pace, size_t left);

/* Chunk `number` (from 1, in order of submission) had `items`; from its submission until it was gathered, `passed` items
 * were gathered, itself included, in `ns`. One that was overtaken by a younger one says nothing, and the first of each
 * worker, which may build what it needs once, only how little items take. */
DM_API void dm_pace_learn(dm_pace *pace, uint64_t number, size_t items, size_t passed, uint64_t ns);

#endif
