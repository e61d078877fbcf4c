/*
 * pace.h - how many items the next task of a map gets: numbers in, a number out, nothing touched.
 *
 * A task costs about a microsecond or two from dm_map to dm_map; but functions that do several items at once, in
 * vectors, lose about half a vector of items at the end of each chunk, and that may be a tenth of a millisecond. So
 * the chunks begin small and grow by what was measured until one takes a worker TARGET_NS, where that is a hundredth;
 * towards the end they shrink, so that all workers end together. Nothing but speed depends on it.
 */
#ifndef DMI_PACE_H
#define DMI_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DMI_PACE_TARGET_NS = 16000000 };

typedef struct dmi_pace {
    size_t fixed;   /* items per task that the caller chose; 0: none */
    size_t most;    /* items, by the memory they take; at least 1 */
    size_t workers; /* at least 1 */
    size_t items;   /* of the next chunk, if enough are left; begins as 1 */
    uint64_t heard; /* number of the youngest chunk learned from */
    bool settled;   /* one took as long as it should, or may not be larger: they grow no more for want of knowledge */
} dmi_pace;

/* So many of the `left` items: 1 to left. `left` is not 0. */
size_t dmi_pace_next(const dmi_pace *pace, size_t left);

/* Chunk `number` (from 1) had `items`; from its submission until it was gathered, `passed` items were gathered, itself
 * included, in `ns`. One that was overtaken by a younger one says nothing. */
void dmi_pace_learn(dmi_pace *pace, uint64_t number, size_t items, size_t passed, uint64_t ns);

#endif
