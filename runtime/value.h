/*
 * value.h - from a record to its value, and from a value to a C variable.
 *
 * Works in every process and on every engine: dmi_base says where a segment is mapped here.
 */
#ifndef DMI_VALUE_H
#define DMI_VALUE_H

#include "objectstore/object.h"
#include "runtime/layout.h"
#include "runtime/wire.h"

typedef enum dmi_state {
    DMI_MISSING, /* not published yet */
    DMI_THERE,   /* a value */
    DMI_AWAY,    /* a value, but not in memory */
    DMI_BROKEN,  /* a failure: status and sentence */
    DMI_NONSENSE /* what its writer left there cannot be */
} dmi_state;

typedef struct dmi_found {
    dmi_item item;
    dm_status status;
    const char *text; /* of a failure */
} dmi_found;

/* Where segment `id` is mapped in this process, read-only, and its size. NULL if it is gone. May block
 * in a worker that meets the segment for the first time. (driver.c, worker.c) */
const char *dmi_base(uint32_t id, size_t *bytes);

/* The value of a record that the caller keeps alive. */
dmi_state dmi_find(const dmi_record *record, dmi_found *found);

/* Is it published? The cheap half of dmi_find. And: is it in memory, too? */
bool dmi_is_published(const dmi_record *record);
bool dmi_is_at_hand(const dmi_record *record);

/* Is it a small value, which cannot be a failure? */
bool dmi_is_plain(const dmi_record *record);

/* What an object that was found takes, header included. */
size_t dmi_found_bytes(const dmi_found *found);

/* The object at `offset` of a segment as an item; false if there is none. */
bool dmi_find_object(uint32_t segment, uint64_t offset, dmi_found *found);

/* Who is being read, for the sentence of an error: "square: argument 0", or "dm_get". */
typedef struct dmi_subject {
    const char *function; /* NULL: dm_get */
    int argument;
} dmi_subject;

/* Store an item into *out, if that is what most tasks take and return. False: nothing was done. */
static inline bool dmi_item_into_common(const dmi_item *item, dm_into into, void *out)
{
    if (into == DM_INTO_VIEW && item->kind == DM_DATA && item->shape == NULL) {
        *(dm_view *)out = (dm_view){.data = item->data, .bytes = item->bytes, .ndim = 1, .shape = {item->bytes}};
        return true;
    }
    if (item->kind == DM_INT && (into == DM_INTO_I64 || (into == DM_INTO_U64 && item->i >= 0))) {
        *(int64_t *)out = item->i; /* C lets either be written as the other */
        return true;
    }
    if (item->kind == DM_DOUBLE && into == DM_INTO_DOUBLE) {
        *(double *)out = item->d;
        return true;
    }
    return false;
}

/* The other ways, and failures. */
dm_status dmi_item_into_rare(const dmi_item *item, dm_into into, void *out, const dmi_subject *subject);

/* Store an item into *out. A DM_INTO_VIEW is filled without a pin. Refs are the caller's business. */
static inline dm_status dmi_item_into(const dmi_item *item, dm_into into, void *out, const dmi_subject *subject)
{
    return dmi_item_into_common(item, into, out) ? DM_OK : dmi_item_into_rare(item, into, out, subject);
}

/* The type mismatch, as a sentence. */
dm_status dmi_wrong_type(const dmi_item *item, dm_into into, const dmi_subject *subject);

#endif
