/*
 * put.c - values become objects, and argument lists become bytes. Knows no session and no worker.
 */
#include "runtime/put.h"

#include <stdlib.h>
#include <string.h>

static size_t payload_bytes(const dm_value *value)
{
    size_t bytes = DMI_WIRE_SCALAR;
    if (value->kind == DM_STRING)
        return strlen(value->string);
    if (value->kind == DM_DATA)
        dmi_array_bytes(value->array->dtype, value->array->ndim, value->array->shape, &bytes);
    if (value->kind == DM_REFS)
        bytes = value->list->count * sizeof(uint64_t);
    return bytes;
}

size_t dmi_object_room(const dm_value *value)
{
    return sizeof(dmi_object) + payload_bytes(value) + 1; /* a string's zero */
}

void dmi_object_begin(void *room, dm_dtype dtype, int ndim, const size_t *shape, size_t bytes)
{
    dmi_object object = {.magic = DMI_OBJECT_MAGIC,
                         .kind = DMI_OBJECT_ARRAY,
                         .dtype = (uint8_t)dtype,
                         .ndim = (uint8_t)ndim,
                         .bytes = bytes};
    for (int i = 0; i < ndim; i++)
        object.shape[i] = shape[i];
    dmi_shared_copy(room, &object, sizeof object);
}

void dmi_object_write(void *room, const dm_value *value)
{
    size_t bytes = payload_bytes(value);
    char *data = (char *)room + sizeof(dmi_object);
    if (value->kind == DM_DATA) {
        const dm_array *array = value->array;
        dmi_object_begin(room, array->dtype, array->ndim, array->shape, bytes);
        if (bytes)
            dmi_shared_copy(data, array->data, bytes);
        return;
    }
    uint8_t wire[DMI_WIRE_SCALAR];
    dmi_object object = {.magic = DMI_OBJECT_MAGIC, .dtype = DM_U8, .ndim = 1};
    object.kind = value->kind == DM_STRING ? DMI_OBJECT_STRING : DMI_OBJECT_VALUE;
    if (value->kind == DM_STRING) {
        dmi_shared_copy(data, value->string, bytes + 1);
    } else {
        dmi_out out = {wire, wire, wire + sizeof wire};
        dmi_wire_small(&out, value);
        bytes = (size_t)(out.at - wire);
        dmi_shared_copy(data, wire, bytes);
    }
    object.bytes = object.shape[0] = bytes;
    dmi_shared_copy(room, &object, sizeof object);
}

void dmi_object_write_refs(void *room, const uint64_t *refwords, size_t count)
{
    size_t bytes = count * sizeof *refwords;
    dmi_object object = {.magic = DMI_OBJECT_MAGIC,
                         .kind = DMI_OBJECT_REFS,
                         .dtype = DM_U64,
                         .ndim = 1,
                         .bytes = bytes,
                         .shape = {count}};
    dmi_shared_copy(room, &object, sizeof object);
    if (bytes)
        dmi_shared_copy((char *)room + sizeof object, refwords, bytes);
}

uint64_t dmi_error_object(dmi_heap *heap, dmi_segment *segment, dm_status status, const char *text)
{
    size_t bytes = strlen(text) + 1;
    uint64_t offset = dmi_heap_alloc(heap, sizeof(dmi_object) + bytes);
    if (offset == 0)
        return 0;
    dmi_object object = {.magic = DMI_OBJECT_MAGIC,
                         .kind = DMI_OBJECT_ERROR,
                         .dtype = DM_U8,
                         .ndim = 1,
                         .bytes = bytes,
                         .status = status,
                         .shape = {bytes}};
    dmi_shared_copy(segment->rw + offset, &object, sizeof object);
    dmi_shared_copy(segment->rw + offset + sizeof object, text, bytes);
    return offset;
}

/* ---- argument lists ---- */

/* At most this many bytes on the wire. */
static size_t most_bytes(const dmi_packer *packer, const dm_value *value)
{
    if (value->kind != DM_STRING && value->kind != DM_DATA)
        return DMI_WIRE_REF; /* a list of refs is always an object of its own */
    size_t bytes = payload_bytes(value);
    return bytes <= packer->inline_bytes ? DMI_WIRE_OVERHEAD + bytes : DMI_WIRE_REF;
}

static dm_status pack_one(const dmi_packer *packer, const dm_value *value, dmi_out *out)
{
    uint64_t refword;
    if (value->kind == DM_REF) {
        DM_TRY(packer->travel(packer->context, value->ref, &refword));
        dmi_wire_ref(out, refword);
        return DM_OK;
    }
    bool large = value->kind == DM_STRING || value->kind == DM_DATA;
    if (value->kind == DM_REFS || (large && payload_bytes(value) > packer->inline_bytes)) {
        DM_TRY(packer->object(packer->context, value, &refword));
        dmi_wire_ref(out, refword);
    } else if (value->kind == DM_DATA) {
        dmi_wire_array(out, value->array, payload_bytes(value));
    } else {
        dmi_wire_small(out, value);
    }
    return DM_OK;
}

/* What was just said is about this argument. */
static dm_status blame(dm_status status, size_t index)
{
    char said[600];
    snprintf(said, sizeof said, "%s", dm_last_error());
    return dmi_error(status, "argument %zu: %s", index, said);
}

static dm_status room_for(const dmi_packer *packer, const dm_value *values, size_t count,
                          dmi_packed *packed, size_t *room)
{
    *room = 0;
    for (size_t i = 0; i < count; i++) {
        dm_status status = dmi_value_check(&values[i]);
        if (status != DM_OK)
            return blame(status, i);
        *room += most_bytes(packer, &values[i]);
    }
    if (*room > UINT32_MAX)
        return dmi_error(DM_ERR_INVALID, "%zu arguments of %zu bytes are too many", count, *room);
    if (*room > sizeof packed->small) {
        packed->bytes = malloc(*room);
        if (packed->bytes == NULL) {
            packed->bytes = packed->small;
            return dmi_error(DM_ERR_NOMEM, "no memory for %zu bytes of arguments", *room);
        }
    }
    return DM_OK;
}

dm_status dmi_pack(const dmi_packer *packer, const dm_value *values, size_t count, dmi_packed *packed)
{
    size_t room;
    packed->bytes = packed->small;
    packed->count = 0;
    DM_TRY(room_for(packer, values, count, packed, &room));
    dmi_out out = {packed->bytes, packed->bytes, packed->bytes + room};
    for (size_t i = 0; i < count; i++) {
        dm_status status = pack_one(packer, &values[i], &out);
        if (status != DM_OK)
            return blame(status, i);
    }
    packed->count = (size_t)(out.at - out.base);
    return DM_OK;
}

bool dmi_packed_append(dmi_packed *packed, const void *bytes, size_t count)
{
    size_t total = packed->count + count;
    bool is_small = packed->bytes == packed->small;
    if (!is_small || total > sizeof packed->small) {
        uint8_t *grown = is_small ? malloc(total) : realloc(packed->bytes, total);
        if (grown == NULL)
            return false;
        if (is_small)
            memcpy(grown, packed->small, packed->count);
        packed->bytes = grown;
    }
    memcpy(packed->bytes + packed->count, bytes, count);
    packed->count = total;
    return true;
}
