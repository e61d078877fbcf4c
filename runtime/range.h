/*
 * range.h - what dm_map tells its tasks, behind the arguments that they share:
 *
 *     shared ..., [items,] first, n, what
 *
 * `items` is an array: of the chunk's own items, or the whole, of which the chunk is items first .. first + n - 1.
 * `what` is one number, so that a map over indexes with one shared number fits a record.
 */
#ifndef DMI_RANGE_H
#define DMI_RANGE_H

#include "dm/dm.h"

typedef enum dmi_range_items { DMI_RANGE_INDEXES, DMI_RANGE_OWN, DMI_RANGE_WHOLE } dmi_range_items;

enum { DMI_RANGE_TAG = 0xd3a9, DMI_RANGE_ELEMENT_BITS = 40 };

/* tag 16 | items 4 | dtype 4 | elements of a result 40 */
static inline uint64_t dmi_range_what(dmi_range_items items, const dm_results *results)
{
    return (uint64_t)DMI_RANGE_TAG << 48 | (uint64_t)items << 44 |
           (uint64_t)results->dtype << DMI_RANGE_ELEMENT_BITS | results->elements;
}

static inline bool dmi_range_is_one(uint64_t what)
{
    return what >> 48 == DMI_RANGE_TAG;
}
static inline dmi_range_items dmi_range_items_of(uint64_t what)
{
    return (dmi_range_items)(what >> 44 & 15);
}
static inline dm_dtype dmi_range_dtype_of(uint64_t what)
{
    return (dm_dtype)(what >> DMI_RANGE_ELEMENT_BITS & 15);
}
static inline size_t dmi_range_elements_of(uint64_t what)
{
    return what & (((uint64_t)1 << DMI_RANGE_ELEMENT_BITS) - 1);
}

/* "double", "uint8": as messages say it. */
const char *dmi_dtype_name(dm_dtype dtype);

#endif
