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

/* How a ref begins; and what the functions below read and write. */
enum { DMI_WIRE_FIXEXT8 = 0xd7, DMI_WIRE_EXT_REF = 1 };
enum { DMI_WIRE_FIXINT_LAST = 0x7f, DMI_WIRE_FIXINT_MINUS = 0xe0 };
enum {
    DMI_WIRE_NIL = 0xc0,
    DMI_WIRE_BIN8 = 0xc4,
    DMI_WIRE_FLOAT64 = 0xcb,
    DMI_WIRE_UINT64 = 0xcf,
    DMI_WIRE_INT64 = 0xd3
};

/* Where values are written: at most `end`; `at` becomes NULL once something did not fit. */
typedef struct dmi_out {
    uint8_t *base, *at, *end;
} dmi_out;

/* `bytes` of room; NULL if they do not fit. */
static inline uint8_t *dmi_wire_reserve(dmi_out *out, size_t bytes)
{
    uint8_t *at = out->at;
    bool fits = at != NULL && bytes <= (size_t)(out->end - at);
    out->at = fits ? at + bytes : NULL;
    return fits ? at : NULL;
}

/* A tag and eight bytes. */
static inline void dmi_wire_eight(dmi_out *out, uint8_t tag, uint64_t bits)
{
    uint8_t *at = dmi_wire_reserve(out, DMI_WIRE_SCALAR);
    if (at == NULL)
        return;
    at[0] = tag;
    bits = __builtin_bswap64(bits);
    memcpy(at + 1, &bits, 8);
}

static inline void dmi_wire_byte(dmi_out *out, uint8_t byte)
{
    uint8_t *at = dmi_wire_reserve(out, 1);
    if (at)
        *at = byte;
}

static inline void dmi_wire_nil(dmi_out *out)
{
    dmi_wire_byte(out, DMI_WIRE_NIL);
}

/* One byte or nine: the forms in between would cost more to tell apart than they save. */
static inline void dmi_wire_int(dmi_out *out, int64_t i)
{
    if (i >= -32 && i <= DMI_WIRE_FIXINT_LAST)
        dmi_wire_byte(out, (uint8_t)i);
    else
        dmi_wire_eight(out, DMI_WIRE_INT64, (uint64_t)i);
}

static inline void dmi_wire_uint(dmi_out *out, uint64_t u)
{
    if (u <= INT64_MAX)
        dmi_wire_int(out, (int64_t)u);
    else
        dmi_wire_eight(out, DMI_WIRE_UINT64, u);
}

static inline void dmi_wire_double(dmi_out *out, double d)
{
    uint64_t bits;
    memcpy(&bits, &d, 8);
    dmi_wire_eight(out, DMI_WIRE_FLOAT64, bits);
}

/* Nil or a number; false, and nothing is written, if it is something else. */
static inline bool dmi_wire_number(dmi_out *out, const dm_value *value)
{
    switch (value->kind) {
    case DM_NIL:
        dmi_wire_nil(out);
        return true;
    case DM_INT:
        dmi_wire_int(out, value->i);
        return true;
    case DM_UINT:
        dmi_wire_uint(out, value->u);
        return true;
    case DM_DOUBLE:
        dmi_wire_double(out, value->d);
        return true;
    default:
        return false;
    }
}

void dmi_wire_string(dmi_out *out, const char *s, size_t bytes);
void dmi_wire_array(dmi_out *out, const dm_array *array, size_t bytes);
void dmi_wire_ref(dmi_out *out, uint64_t refword);

/* The same of bytes, up to `most` of them (below 256); false, and nothing is written, if it is something else, or more,
 * or not in order. */
static inline bool dmi_wire_few_bytes(dmi_out *out, const dm_value *value, size_t most)
{
    const dm_array *array = value->kind == DM_DATA ? value->array : NULL;
    if (array == NULL || array->dtype != DM_U8 || array->ndim != 1 || array->data == NULL || array->shape[0] > most)
        return false;
    uint8_t *at = dmi_wire_reserve(out, 2 + array->shape[0]);
    if (at == NULL)
        return false;
    at[0] = DMI_WIRE_BIN8;
    at[1] = (uint8_t)array->shape[0];
    memcpy(at + 2, array->data, array->shape[0]);
    return true;
}

/* At most how many bytes dmi_wire_string or dmi_wire_array write beyond the payload. */
enum { DMI_WIRE_OVERHEAD = 6 + 4 + 8 * DM_MAX_DIMS + DMI_WIRE_ALIGN };

/* Read the next value of [*at, end), if it is of the kinds that most tasks take and return: a caller that wants
 * one of them makes a few instructions of it. False, and nothing happened, if it is not, or not readable. */
static inline bool dmi_wire_next_common(const uint8_t **at, const uint8_t *end, dmi_item *item)
{
    const uint8_t *here = *at;
    if (here >= end)
        return false;
    size_t there = (size_t)(end - here);
    uint8_t tag = *here;
    if (tag <= DMI_WIRE_FIXINT_LAST || tag >= DMI_WIRE_FIXINT_MINUS) {
        *at = here + 1;
        item->kind = DM_INT;
        item->i = (int8_t)tag;
        return true;
    }
    if (tag == DMI_WIRE_BIN8) {
        if (there < 2)
            return false;
        size_t bytes = here[1];
        if (bytes > there - 2)
            return false;
        *at = here + 2 + bytes;
        item->kind = DM_DATA;
        item->dtype = DM_U8;
        item->ndim = 1;
        item->bytes = bytes;
        item->data = here + 2;
        item->shape = NULL;
        return true;
    }
    if (tag == DMI_WIRE_FLOAT64 || tag == DMI_WIRE_INT64) {
        if (there < DMI_WIRE_SCALAR)
            return false;
        *at = here + DMI_WIRE_SCALAR;
        item->kind = tag == DMI_WIRE_INT64 ? DM_INT : DM_DOUBLE;
        memcpy(&item->u, here + 1, 8);
        item->u = __builtin_bswap64(item->u); /* the union: a double's bits are the double */
        return true;
    }
    return false;
}

/* The other kinds. */
bool dmi_wire_next_rare(const uint8_t **at, const uint8_t *end, dmi_item *item);

/* Read the next value of [*at, end). False if the bytes are no value or end too soon. */
static inline bool dmi_wire_next(const uint8_t **at, const uint8_t *end, dmi_item *item)
{
    return dmi_wire_next_common(at, end, item) || dmi_wire_next_rare(at, end, item);
}

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
