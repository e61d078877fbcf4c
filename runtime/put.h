/*
 * put.h - writing values as objects, and lists of values as arguments: the same in driver and task.
 */
#ifndef DMI_PUT_H
#define DMI_PUT_H

#include "objectstore/heap.h"
#include "objectstore/object.h"
#include "runtime/wire.h"

/* Room for a value as an object, header included. Not for refs. */
size_t dmi_object_room(const dm_value *value);

/* Write it to `room` (writable, 64-byte aligned). A list of refs is written as its refwords. */
void dmi_object_write(void *room, const dm_value *value);
void dmi_object_write_refs(void *room, const uint64_t *refwords, size_t count);

/* The header of an array being made by dm_create. */
void dmi_object_begin(void *room, dm_dtype dtype, int ndim, const size_t *shape, size_t bytes);

/* An object holding an error's sentence; 0 if there is no room. */
uint64_t dmi_error_object(dmi_heap *heap, dmi_segment *segment, dm_status status, const char *text);

/* What list of arguments is being written: how to make a refword of a ref, and an object of a value
 * too large to travel inline. Both set dm_last_error on failure. */
typedef struct dmi_packer {
    void *context;
    size_t inline_bytes;
    dm_status (*travel)(void *context, dm_ref ref, uint64_t *refword);
    dm_status (*object)(void *context, const dm_value *value, uint64_t *refword);
} dmi_packer;

enum { DMI_PACK_STACK = 256 };

/* A packed list: in `small`, or allocated. */
typedef struct dmi_packed {
    uint8_t *bytes;
    size_t count;
    uint8_t small[DMI_PACK_STACK];
} dmi_packed;

/* Pack `count` values. Yours: dmi_packed_free, also after a failure. */
dm_status dmi_pack(const dmi_packer *packer, const dm_value *values, size_t count, dmi_packed *packed);

/* Bytes behind the list. False: there is no memory. */
bool dmi_packed_append(dmi_packed *packed, const void *bytes, size_t count);

static inline void dmi_packed_free(dmi_packed *packed)
{
    if (packed->bytes != packed->small)
        __builtin_free(packed->bytes);
}

#endif
