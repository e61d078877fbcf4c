/*
 * wire.c - values as msgpack, written and read by hand. Pure: no allocation, no shared state.
 */
#include "runtime/wire.h"

#include <string.h>

enum {
    BIN32 = 0xc6,
    EXT32 = 0xc9,
    STR8 = 0xd9,
    STR32 = 0xdb
};
enum { EXT_REF = DMI_WIRE_EXT_REF, EXT_ARRAY = 2, ARRAY_HEAD = 4 };

static const uint8_t dtype_bytes[DM_DTYPE_COUNT] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};

size_t dm_dtype_bytes(dm_dtype dtype)
{
    return (unsigned)dtype < DM_DTYPE_COUNT ? dtype_bytes[dtype] : 0;
}

bool dmi_array_bytes(dm_dtype dtype, int ndim, const size_t *shape, size_t *bytes)
{
    size_t total = dm_dtype_bytes(dtype);
    if (total == 0 || ndim < 0 || ndim > DM_MAX_DIMS)
        return false;
    for (int i = 0; i < ndim; i++)
        if (__builtin_mul_overflow(total, shape[i], &total))
            return false;
    *bytes = total;
    return total <= PTRDIFF_MAX;
}

/* ---- writing ---- */

static void big_endian(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)value;
}

void dmi_wire_string(dmi_out *out, const char *s, size_t bytes)
{
    size_t counted = bytes + 1;
    size_t head = counted < 32 ? 1 : counted < 256 ? 2 : 5;
    uint8_t *at = counted > UINT32_MAX ? NULL : dmi_wire_reserve(out, head + counted);
    if (at == NULL) {
        out->at = NULL;
        return;
    }
    if (head == 1) {
        at[0] = (uint8_t)(0xa0 | counted);
    } else {
        at[0] = head == 2 ? STR8 : STR32;
        big_endian(at + 1, counted, (int)head - 1);
    }
    memcpy(at + head, s, bytes);
    at[head + bytes] = 0;
}

static void put_bin(dmi_out *out, const void *data, size_t bytes)
{
    size_t head = bytes < 256 ? 2 : 5;
    uint8_t *at = bytes > UINT32_MAX ? NULL : dmi_wire_reserve(out, head + bytes);
    if (at == NULL) {
        out->at = NULL;
        return;
    }
    at[0] = head == 2 ? DMI_WIRE_BIN8 : BIN32;
    big_endian(at + 1, bytes, (int)head - 1);
    if (bytes)
        memcpy(at + head, data, bytes);
}

void dmi_wire_array(dmi_out *out, const dm_array *array, size_t bytes)
{
    if (array->dtype == DM_U8 && array->ndim == 1) {
        put_bin(out, array->data, bytes);
        return;
    }
    if (out->at == NULL)
        return;
    size_t shape_bytes = 8 * (size_t)array->ndim;
    size_t unpadded = (size_t)(out->at - out->base) + 6 + ARRAY_HEAD + shape_bytes;
    size_t padding = -unpadded % DMI_WIRE_ALIGN;
    size_t content = ARRAY_HEAD + shape_bytes + padding + bytes;
    uint8_t *at = content > UINT32_MAX ? NULL : dmi_wire_reserve(out, 6 + content);
    if (at == NULL) {
        out->at = NULL;
        return;
    }
    at[0] = EXT32;
    big_endian(at + 1, content, 4);
    at[5] = EXT_ARRAY;
    memcpy(at + 6, (uint8_t[]){(uint8_t)array->dtype, (uint8_t)array->ndim, (uint8_t)padding, 0}, 4);
    at += 6 + ARRAY_HEAD;
    for (int i = 0; i < array->ndim; i++)
        memcpy(at + 8 * i, &(uint64_t){array->shape[i]}, 8);
    memset(at + shape_bytes, 0, padding);
    if (bytes)
        memcpy(at + shape_bytes + padding, array->data, bytes);
}

void dmi_wire_ref(dmi_out *out, uint64_t refword)
{
    uint8_t *at = dmi_wire_reserve(out, DMI_WIRE_REF);
    if (at == NULL)
        return;
    at[0] = DMI_WIRE_FIXEXT8;
    at[1] = EXT_REF;
    dmi_wire_set_ref(at + 2, refword);
}

bool dmi_wire_small(dmi_out *out, const dm_value *value)
{
    size_t bytes;
    switch (value->kind) {
    case DM_NIL:
    case DM_INT:
    case DM_UINT:
    case DM_DOUBLE:
        dmi_wire_number(out, value);
        break;
    case DM_STRING:
        dmi_wire_string(out, value->string, strlen(value->string));
        break;
    case DM_DATA:
        if (value->array->dtype != DM_U8 || value->array->ndim != 1 ||
            !dmi_array_bytes(DM_U8, 1, value->array->shape, &bytes))
            return false;
        dmi_wire_array(out, value->array, bytes);
        break;
    default:
        return false;
    }
    return out->at != NULL;
}

dm_status dmi_value_check(const dm_value *value)
{
    size_t bytes;
    if ((unsigned)value->kind > DM_REFS)
        return dmi_error(DM_ERR_INVALID, "a dm_value of kind %d is none", (int)value->kind);
    if (value->kind == DM_STRING && value->string == NULL)
        return dmi_error(DM_ERR_INVALID, "a string is expected, got NULL");
    if (value->kind == DM_REFS && (value->list == NULL || (value->list->refs == NULL && value->list->count != 0)))
        return dmi_error(DM_ERR_INVALID, "a list of refs is expected, got NULL");
    if (value->kind != DM_DATA)
        return DM_OK;
    const dm_array *array = value->array;
    if (array == NULL)
        return dmi_error(DM_ERR_INVALID, "an array is expected, got NULL");
    if (!dmi_array_bytes(array->dtype, array->ndim, array->shape, &bytes))
        return dmi_error(DM_ERR_INVALID,
                         "an array of dtype %d and %d dimensions cannot be: expected a dm_dtype, 0 to "
                         "%d dimensions and a size that fits memory",
                         (int)array->dtype, array->ndim, DM_MAX_DIMS);
    if (array->data == NULL && bytes != 0)
        return dmi_error(DM_ERR_INVALID, "an array of %zu bytes has no data (NULL)", bytes);
    return DM_OK;
}

void dmi_wire_set_ref(uint8_t *where, uint64_t refword)
{
    memcpy(where, &refword, 8);
}

/* ---- reading ---- */

static uint64_t number(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* A string or bytes: a length of `head` bytes, then that many. */
static bool got_run(const uint8_t **at, const uint8_t *end, int head, dm_kind kind, dmi_item *item)
{
    if (end - *at < head)
        return false;
    uint64_t bytes = number(*at, head);
    *at += head;
    if (bytes > (uint64_t)(end - *at))
        return false;
    item->kind = kind;
    item->data = *at;
    item->bytes = bytes;
    item->shape = NULL;
    item->dtype = DM_U8;
    item->ndim = 1;
    *at += bytes;
    if (kind == DM_STRING) {
        if (bytes == 0 || (*at)[-1] != 0)
            return false;
        item->bytes--;
    }
    return true;
}

static bool got_array(const uint8_t *at, size_t content, dmi_item *item)
{
    if (content < ARRAY_HEAD || at[0] >= DM_DTYPE_COUNT || at[1] > DM_MAX_DIMS)
        return false;
    size_t shape[DM_MAX_DIMS], bytes, head = ARRAY_HEAD + 8 * (size_t)at[1] + at[2];
    if (content < head)
        return false;
    memcpy(shape, at + ARRAY_HEAD, 8 * (size_t)at[1]);
    if (!dmi_array_bytes(at[0], at[1], shape, &bytes) || bytes != content - head)
        return false;
    item->kind = DM_DATA;
    item->dtype = at[0];
    item->ndim = at[1];
    item->shape = at + ARRAY_HEAD;
    item->data = at + head;
    item->bytes = bytes;
    return true;
}

static bool got_ext(const uint8_t **at, const uint8_t *end, dmi_item *item)
{
    if (end - *at < 5 || (*at)[4] != EXT_ARRAY)
        return false;
    uint64_t content = number(*at, 4);
    *at += 5;
    if (content > (uint64_t)(end - *at))
        return false;
    const uint8_t *array = *at;
    *at += content;
    return got_array(array, content, item);
}

static bool got_ref(const uint8_t **at, const uint8_t *end, dmi_item *item)
{
    if (end - *at < 9 || (*at)[0] != EXT_REF)
        return false;
    item->kind = DM_REF;
    item->data = *at + 1;
    memcpy(&item->ref, *at + 1, 8);
    *at += 9;
    return true;
}

bool dmi_wire_next_rare(const uint8_t **at, const uint8_t *end, dmi_item *item)
{
    if (*at >= end)
        return false;
    uint8_t tag = *(*at)++;
    if (tag >= 0xa0 && tag <= 0xbf) {
        (*at)--;
        uint8_t length = tag & 0x1f;
        const uint8_t *text = *at + 1;
        if ((size_t)(end - text) < length || length == 0 || text[length - 1] != 0)
            return false;
        *item = (dmi_item){.kind = DM_STRING, .dtype = DM_U8, .ndim = 1, .data = text};
        item->bytes = (size_t)length - 1;
        *at = text + length;
        return true;
    }
    switch (tag) {
    case DMI_WIRE_NIL:
        item->kind = DM_NIL;
        return true;
    case BIN32:
        return got_run(at, end, 4, DM_DATA, item);
    case STR8:
    case STR32:
        return got_run(at, end, tag == STR8 ? 1 : 4, DM_STRING, item);
    case EXT32:
        return got_ext(at, end, item);
    case DMI_WIRE_FIXEXT8:
        return got_ref(at, end, item);
    case DMI_WIRE_UINT64:
        if (end - *at < 8)
            return false;
        item->kind = DM_UINT;
        item->u = number(*at, 8);
        *at += 8;
        return true;
    default:
        return false;
    }
}
