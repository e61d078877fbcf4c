/*
 * object.h - an object in a heap: a header of 128 bytes, then its bytes.
 *
 *     made ---- dmi_object_begin ----> BEING WRITTEN ---- its ref is published ----> SEALED
 *                                          |                                           |
 *                                          +--- abandoned, or its writer died ---------+--> freed
 *
 * Laws: an object is invisible until a record or slot names it; from then on nobody writes to it, and
 * what is lent of it is a read-only mapping; it is freed once nobody can read it, by its heap's owner,
 * or with the whole segment if the owner is dead.
 *
 * Readers check what they read (dmi_object_at): a header may have been written by a process gone wild.
 */
#ifndef DMI_OBJECT_H
#define DMI_OBJECT_H

#include <assert.h>
#include <stdint.h>

#include "objectstore/segment.h"
#include "objectstore/word.h"

typedef enum dmi_object_kind {
    DMI_OBJECT_ARRAY = 1,
    DMI_OBJECT_STRING, /* bytes does not count the terminating zero, which is there */
    DMI_OBJECT_ERROR,  /* a sentence, and its status */
    DMI_OBJECT_VALUE,  /* a small value, encoded (runtime/wire.h) */
    DMI_OBJECT_REFS    /* names of other values, 8 bytes each (runtime/lists.h) */
} dmi_object_kind;

enum { DMI_OBJECT_DIMS = 8, DMI_OBJECT_MAGIC = 0x6a626f6d };

typedef struct dmi_object {
    uint32_t magic;
    uint8_t kind;
    uint8_t dtype;
    uint8_t ndim;
    uint8_t spare;
    uint64_t bytes; /* of what follows the header */
    uint32_t status;
    uint32_t pad;
    uint64_t shape[DMI_OBJECT_DIMS];
    uint8_t reserved[40];
} dmi_object;
static_assert(sizeof(dmi_object) == 128, "data after the header stays 64-byte aligned");

static inline const void *dmi_object_data(const dmi_object *object)
{
    return object + 1;
}

/* The object at `offset` of a mapped segment, or NULL if there cannot be one: header and bytes must
 * lie inside [base, base + limit). */
static inline const dmi_object *dmi_object_at(const char *base, size_t limit, uint64_t offset)
{
    if (offset % 64 != 0 || offset > limit || limit - offset < sizeof(dmi_object))
        return NULL;
    const dmi_object *object = (const dmi_object *)(base + offset);
    if (object->magic != DMI_OBJECT_MAGIC || object->ndim > DMI_OBJECT_DIMS)
        return NULL;
    return object->bytes <= limit - offset - sizeof *object ? object : NULL;
}

#endif
