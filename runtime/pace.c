/*
 * pace.c - see dm/pace.h.
 */
#include "dm/pace.h"

/* Four times: from one item to a million in ten rounds, and one wrong measurement costs little. */
enum { GROWTH = 4, TAIL_CHUNKS_PER_WORKER = 2, SHRINK = 16 };

static size_t clamp(size_t x, size_t least, size_t most)
{
    return x < least ? least : x > most ? most : x;
}

/* The end in ever smaller chunks, down to a sixteenth: then a task costs two in a hundred, for a moment. */
static size_t fair_share(const dm_pace *pace, size_t left)
{
    size_t least = pace->items / SHRINK;
    return clamp(left / (pace->workers * TAIL_CHUNKS_PER_WORKER), least ? least : 1, pace->items);
}

size_t dm_pace_next(const dm_pace *pace, size_t left)
{
    size_t items = pace->fixed ? pace->fixed : fair_share(pace, left);
    return items < left ? items : left;
}

void dm_pace_learn(dm_pace *pace, uint64_t number, size_t items, size_t passed, uint64_t ns)
{
    if (number <= pace->heard)
        return;
    pace->heard = number;
    /* All workers together got `passed` items done in `ns`. */
    double per_item = (double)ns * (double)pace->workers / (double)passed;
    double wanted = per_item > 0 ? (double)DM_PACE_TARGET_NS / per_item : (double)pace->most;
    size_t most = items > pace->most / GROWTH ? pace->most : items * GROWTH;
    if (number <= pace->workers && wanted < (double)most)
        return; /* its worker may have begun with what it needs once (dm_local): that is no measure of items */
    if (most < pace->items)
        most = pace->items; /* it was one of the tail */
    size_t least = pace->items / GROWTH;
    least = least ? least : 1;
    pace->settled |= wanted < (double)most || most == pace->most;
    pace->items = wanted >= (double)most ? most : clamp((size_t)wanted, least, most);
}
