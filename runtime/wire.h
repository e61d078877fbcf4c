/*
 * wire.h - values as msgpack: arguments in records and messages, small results in slots.
 *
 * Written by hand for the few forms used, because a general packer costs more than the task around it
 * (80 ns); the bytes are valid msgpack. Beyond the standard: a string's bytes include its terminating
 * zero, so that it can be lent where it lies; ext type 1 is a ref (8 bytes), ext type 2 an array:
 * dtype, ndim, padding count, 0, shape (8 bytes each, little endian), padding, elements.
 * Reading trusts nothing: the bytes may be another process's.
 */
#ifndef DMI_WIRE_H
#define DMI_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dm/dm.h"

/* A value as found on the wire or in an object. What data points to is whoever's bytes were read. */
typedef struct dmi_item {
    dm_kind kind; /* DM_DATA: an array or bytes */
    uint8_t dtype;
    uint8_t ndim;
    union {
        int64_t i;
        uint64_t u;
        double d;
        uint64_t ref; /* a refword (runtime/layout.h) */
        size_t bytes; /* of data; a string's without its zero */
    };
    const void *data;
    const void *shape; /* ndim u64, unaligned; NULL: one dimension, `bytes` of u8 */
} dmi_item;

/* Elements on the wire start at a multiple of this from the start of the whole encoding. */
enum { DMI_WIRE_ALIGN = 8, DMI_WIRE_SCALAR = 9, DMI_WIRE_REF = 10 };

/* How a ref begins. */
enum { DMI_WIRE_FIXEXT8 = 0xd7, DMI_WIRE_EXT_REF = 1 };

/* Where values are written: at most `end`; `at` becomes NULL once something did not fit. */
typedef struct dmi_out {
    uint8_t *base, *at, *end;
} dmi_out;

void dmi_wire_nil(dmi_out *out);
void dmi_wire_int(dmi_out *out, int64_t i);
void dmi_wire_uint(dmi_out *out, uint64_t u);
void dmi_wire_double(dmi_out *out, double d);
void dmi_wire_string(dmi_out *out, const char *s, size_t bytes);
void dmi_wire_array(dmi_out *out, const dm_array *array, size_t bytes);
void dmi_wire_ref(dmi_out *out, uint64_t refword);

/* At most how many bytes dmi_wire_string or dmi_wire_array write beyond the payload. */
enum { DMI_WIRE_OVERHEAD = 6 + 4 + 8 * DM_MAX_DIMS + DMI_WIRE_ALIGN };

/* Read the next value of [*at, end). False if the bytes are no value or end too soon. */
bool dmi_wire_next(const uint8_t **at, const uint8_t *end, dmi_item *item);

/* The same if the next value is a ref; false, and nothing happened, if it is something else. Arguments are often
 * thousands of refs, which are gone through several times. */
static inline bool dmi_wire_next_ref(const uint8_t **at, const uint8_t *end, uint64_t *refword)
{
    if (end - *at < DMI_WIRE_REF || (*at)[0] != DMI_WIRE_FIXEXT8 || (*at)[1] != DMI_WIRE_EXT_REF)
        return false;
    memcpy(refword, *at + 2, sizeof *refword);
    *at += DMI_WIRE_REF;
    return true;
}

/* Write a scalar, a string or bytes if it fits `out` (nil, numbers, strings, bytes; no array of another
 * type, no ref). False: it does not, or is none of these. */
bool dmi_wire_small(dmi_out *out, const dm_value *value);

/* DM_ERR_INVALID if a value cannot be one: an array without data, of no dtype, with absurd dimensions. */
dm_status dmi_value_check(const dm_value *value);

/* Overwrite a ref found by dmi_wire_next (item.data points at its 8 bytes). */
void dmi_wire_set_ref(uint8_t *where, uint64_t refword);

/* The bytes of an array's elements; false if they do not fit a size or dtype or ndim are none. */
bool dmi_array_bytes(dm_dtype dtype, int ndim, const size_t *shape, size_t *bytes);

#endif
