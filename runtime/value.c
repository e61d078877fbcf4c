/*
 * value.c - finding a record's value, and giving it to the caller as the type asked for.
 */
#include "runtime/value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/layout.h"
#include "runtime/session.h"

/* ---- records, slots, objects -> items ---- */

/* dmi_base, but the driver looks itself: it does so several times a task. */
static inline const char *base_of(uint32_t id, size_t *bytes)
{
    const dmi_session *session = dmi_the_session;
    if (session == NULL || id >= session->seat_high)
        return dmi_base(id, bytes);
    *bytes = session->seats[id].memory.bytes;
    return session->seats[id].memory.ro; /* NULL if it is gone */
}

/* Do its shape and its bytes say the same, and fit what is there? `room`: bytes behind the header. */
static bool is_sane(const dmi_object *head, const char *data, size_t room)
{
    size_t bytes;
    if (head->kind < DMI_OBJECT_ARRAY || head->kind > DMI_OBJECT_REFS || head->ndim > DMI_OBJECT_DIMS ||
        !dmi_array_bytes(head->dtype, head->ndim, head->shape, &bytes) || bytes != head->bytes || bytes > room)
        return false;
    if (head->kind == DMI_OBJECT_STRING)
        return bytes < room && data[bytes] == 0;
    return head->kind != DMI_OBJECT_ERROR || (bytes > 0 && data[bytes - 1] == 0);
}

bool dmi_find_object(uint32_t segment, uint64_t offset, dmi_found *found)
{
    size_t limit;
    const char *base = base_of(segment, &limit);
    const dmi_object *object = base ? dmi_object_at(base, limit, offset) : NULL;
    if (object == NULL)
        return false;
    dmi_object head; /* what is checked is what is used: its writer may be at it this moment */
    memcpy(&head, object, offsetof(dmi_object, reserved));
    if (!is_sane(&head, dmi_object_data(object), limit - offset - sizeof head))
        return false;
    *found = (dmi_found){.item = {.kind = head.kind == DMI_OBJECT_STRING ? DM_STRING
                                          : head.kind == DMI_OBJECT_REFS ? DM_REFS
                                                                         : DM_DATA,
                                  .dtype = head.dtype,
                                  .ndim = head.ndim,
                                  .data = dmi_object_data(object),
                                  .shape = object->shape}};
    found->item.bytes = head.bytes;
    if (head.kind == DMI_OBJECT_ERROR) {
        found->status = head.status < DM_STATUS_COUNT ? (dm_status)head.status : DM_ERR_INVALID;
        found->text = dmi_object_data(object);
    }
    if (head.kind == DMI_OBJECT_VALUE) {
        const uint8_t *at = dmi_object_data(object);
        return dmi_wire_next(&at, at + head.bytes, &found->item);
    }
    return true;
}

static dmi_state found_object(uint32_t segment, uint64_t offset, dmi_found *found)
{
    if (!dmi_find_object(segment, offset, found))
        return DMI_NONSENSE;
    return found->text ? DMI_BROKEN : DMI_THERE;
}

static dmi_state found_wire(const uint8_t *at, size_t bytes, dmi_found *found)
{
    found->text = NULL;
    return dmi_wire_next(&at, at + bytes, &found->item) ? DMI_THERE : DMI_NONSENSE;
}

static dmi_state found_failure(const dmi_slot *slot, uint32_t segment, dmi_found *found)
{
    uint64_t offset, status;
    memcpy(&offset, slot->payload, 8);
    memcpy(&status, slot->payload + 8, 8);
    if (offset != 0)
        return found_object(segment, offset, found);
    found->status = status > 0 && status < DM_STATUS_COUNT ? (dm_status)status : DM_ERR_INVALID;
    found->text = dm_strerror(found->status);
    return DMI_BROKEN;
}

static inline const dmi_slot *slot_at(uint64_t where)
{
    size_t limit;
    const char *base = base_of(dmi_where_segment(where), &limit);
    /* Slots begin at the same place in every W; it is the driver that chose `position`. */
    return base ? (const dmi_slot *)(base + sizeof(dmi_up)) + dmi_where_position(where) : NULL;
}

static dmi_state found_slot(const dmi_record *record, uint64_t where, dmi_found *found)
{
    const dmi_slot *slot = slot_at(where);
    uint64_t word = slot ? dmi_word_load(&slot->word) : 0;
    if (dmi_slot_serial(word) != record->serial)
        return DMI_MISSING;
    uint32_t segment = dmi_where_segment(where);
    uint64_t first;
    memcpy(&first, slot->payload, 8);
    switch (dmi_slot_kind_of(word)) {
    case DMI_SLOT_INLINE:
        if ((word & 0xff) > DMI_SLOT_PAYLOAD)
            return DMI_NONSENSE;
        return found_wire(slot->payload, word & 0xff, found);
    case DMI_SLOT_OBJECT:
        return found_object(segment, first, found);
    case DMI_SLOT_REF:
        *found = (dmi_found){.item = {.kind = DM_REF, .ref = first}};
        return DMI_THERE;
    case DMI_SLOT_ERROR:
        return found_failure(slot, segment, found);
    case DMI_SLOT_PARTS: /* whose task is named by nobody */
        break;
    }
    return DMI_NONSENSE;
}

dmi_state dmi_find(const dmi_record *record, dmi_found *found)
{
    uint64_t where = dmi_word_load(&record->where);
    uint32_t segment = dmi_where_segment(where);
    switch (dmi_where_place(where)) {
    case DMI_NOWHERE:
        return DMI_MISSING;
    case DMI_SLOT:
        return found_slot(record, where, found);
    case DMI_HERE:
        return found_wire(record->args, record->arg_count, found);
    case DMI_OBJECT:
        return found_object(segment, dmi_where_position(where), found);
    case DMI_DISK:
        return DMI_AWAY;
    case DMI_FAILED:
        if (dmi_where_position(where) != 0)
            return found_object(segment, dmi_where_position(where), found);
        found->status = (dm_status)segment;
        found->text = dm_strerror(found->status);
        return DMI_BROKEN;
    }
    return DMI_NONSENSE;
}

bool dmi_is_published(const dmi_record *record)
{
    uint64_t where = dmi_word_load(&record->where);
    if (dmi_where_place(where) != DMI_SLOT)
        return dmi_where_place(where) != DMI_NOWHERE;
    const dmi_slot *slot = slot_at(where);
    return slot && dmi_slot_serial(dmi_word_load(&slot->word)) == record->serial;
}

bool dmi_is_at_hand(const dmi_record *record)
{
    return dmi_is_published(record) && dmi_where_place(dmi_word_load(&record->where)) != DMI_DISK;
}

bool dmi_is_plain(const dmi_record *record)
{
    uint64_t where = dmi_word_load(&record->where);
    if (dmi_where_place(where) != DMI_SLOT)
        return dmi_where_place(where) == DMI_HERE;
    const dmi_slot *slot = slot_at(where);
    uint64_t word = slot ? dmi_word_load(&slot->word) : 0;
    return dmi_slot_serial(word) == record->serial && dmi_slot_kind_of(word) == DMI_SLOT_INLINE;
}

size_t dmi_found_bytes(const dmi_found *found)
{
    if (found->item.kind != DM_STRING && found->item.kind != DM_DATA && found->item.kind != DM_REFS)
        return sizeof(dmi_object) + DMI_WIRE_SCALAR;
    return sizeof(dmi_object) + found->item.bytes + (found->item.kind == DM_STRING); /* and its zero */
}

/* ---- items -> C variables ---- */

static const char *const into_names[] = {
    [DM_INTO_NOTHING] = "anything",  [DM_INTO_BOOL] = "bool",     [DM_INTO_I8] = "int8",
    [DM_INTO_U8] = "uint8",          [DM_INTO_I16] = "int16",     [DM_INTO_U16] = "uint16",
    [DM_INTO_I32] = "int32",         [DM_INTO_U32] = "uint32",    [DM_INTO_I64] = "int64",
    [DM_INTO_U64] = "uint64",        [DM_INTO_FLOAT] = "float",   [DM_INTO_DOUBLE] = "double",
    [DM_INTO_STRING] = "string",     [DM_INTO_VIEW] = "array, bytes or string",
    [DM_INTO_CONST_STRING] = "string", [DM_INTO_REF] = "ref",     [DM_INTO_REFS] = "list of refs"};

static const char *kind_name(const dmi_item *item)
{
    static const char *const names[] = {"nil", "integer", "integer", "double", "string", "array", "ref",
                                        "list of refs"};
    if (item->kind == DM_DATA && item->dtype == DM_U8 && item->ndim == 1)
        return "bytes";
    return names[item->kind];
}

static const char *subject_text(const dmi_subject *subject, char *buffer, size_t bytes)
{
    if (subject->function == NULL)
        return "dm_get";
    snprintf(buffer, bytes, "%s: argument %d", subject->function, subject->argument);
    return buffer;
}

dm_status dmi_wrong_type(const dmi_item *item, dm_into into, const dmi_subject *subject)
{
    char buffer[300];
    if ((unsigned)into > DM_INTO_REFS)
        return dmi_error(DM_ERR_INVALID, "%s: %d is no dm_into",
                         subject_text(subject, buffer, sizeof buffer), (int)into);
    return dmi_error(DM_ERR_TYPE, "%s: expected %s, got %s", subject_text(subject, buffer, sizeof buffer),
                     into_names[into], kind_name(item));
}

static dm_status out_of_range(const dmi_item *item, dm_into into, const dmi_subject *subject)
{
    char buffer[300];
    const char *who = subject_text(subject, buffer, sizeof buffer);
    if (item->kind == DM_DOUBLE)
        return dmi_error(DM_ERR_RANGE, "%s: %.17g does not fit %s", who, item->d, into_names[into]);
    if (item->kind == DM_UINT)
        return dmi_error(DM_ERR_RANGE, "%s: %llu does not fit %s", who, (unsigned long long)item->u,
                         into_names[into]);
    return dmi_error(DM_ERR_RANGE, "%s: %lld does not fit %s", who, (long long)item->i,
                     into_names[into]);
}

#define STORE_SIGNED(type, low, high)                                                              \
    if (item->kind != DM_INT || item->i < (low) || item->i > (high))                               \
        return false;                                                                              \
    *(type *)out = (type)item->i;                                                                  \
    return true

#define STORE_UNSIGNED(type, high)                                                                 \
    if (item->kind == DM_INT && item->i < 0)                                                       \
        return false;                                                                              \
    if (item->u > (high))                                                                          \
        return false;                                                                              \
    *(type *)out = (type)item->u;                                                                  \
    return true

/* An integer item into an integer variable; false if it does not fit. */
static bool store_integer(const dmi_item *item, dm_into into, void *out)
{
    switch (into) {
    case DM_INTO_BOOL:
        STORE_UNSIGNED(bool, 1);
    case DM_INTO_U8:
        STORE_UNSIGNED(uint8_t, UINT8_MAX);
    case DM_INTO_U16:
        STORE_UNSIGNED(uint16_t, UINT16_MAX);
    case DM_INTO_U32:
        STORE_UNSIGNED(uint32_t, UINT32_MAX);
    case DM_INTO_U64:
        STORE_UNSIGNED(uint64_t, UINT64_MAX);
    case DM_INTO_I8:
        STORE_SIGNED(int8_t, INT8_MIN, INT8_MAX);
    case DM_INTO_I16:
        STORE_SIGNED(int16_t, INT16_MIN, INT16_MAX);
    case DM_INTO_I32:
        STORE_SIGNED(int32_t, INT32_MIN, INT32_MAX);
    default:
        STORE_SIGNED(int64_t, INT64_MIN, INT64_MAX);
    }
}

/* A number as a double, if it is exactly one. */
static bool exact_double(const dmi_item *item, double *d)
{
    if (item->kind == DM_DOUBLE) {
        *d = item->d;
        return true;
    }
    *d = item->kind == DM_INT ? (double)item->i : (double)item->u;
    if (item->kind == DM_INT)
        return *d < 0x1p63 && (int64_t)*d == item->i;
    return *d < 0x1p64 && (uint64_t)*d == item->u;
}

static bool store_real(const dmi_item *item, dm_into into, void *out)
{
    double d;
    if (!exact_double(item, &d))
        return false;
    if (into == DM_INTO_DOUBLE) {
        *(double *)out = d;
        return true;
    }
    float f = (float)d;
    if (isinf(f) && !isinf(d))
        return false; /* precision may go, magnitude may not */
    *(float *)out = f;
    return true;
}

static void store_view(const dmi_item *item, dm_view *view)
{
    *view = (dm_view){.data = item->data, .bytes = item->bytes, .dtype = item->dtype, .ndim = item->ndim};
    if (item->shape)
        memcpy(view->shape, item->shape, 8 * (size_t)item->ndim);
    else
        view->shape[0] = item->bytes;
}

static dm_status store_copy(const dmi_item *item, char **out)
{
    char *copy = malloc(item->bytes + 1);
    if (copy == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a string of %zu bytes", item->bytes);
    memcpy(copy, item->data, item->bytes);
    copy[item->bytes] = 0;
    *out = copy;
    return DM_OK;
}

dm_status dmi_item_into_rare(const dmi_item *item, dm_into into, void *out, const dmi_subject *subject)
{
    bool whole = item->kind == DM_INT || item->kind == DM_UINT;
    if (into == DM_INTO_NOTHING)
        return DM_OK;
    if (into >= DM_INTO_BOOL && into <= DM_INTO_U64 && whole)
        return store_integer(item, into, out) ? DM_OK : out_of_range(item, into, subject);
    if ((into == DM_INTO_DOUBLE || into == DM_INTO_FLOAT) && (whole || item->kind == DM_DOUBLE))
        return store_real(item, into, out) ? DM_OK : out_of_range(item, into, subject);
    if (into == DM_INTO_VIEW && (item->kind == DM_DATA || item->kind == DM_STRING)) {
        store_view(item, out);
        return DM_OK;
    }
    if (into == DM_INTO_STRING && item->kind == DM_STRING)
        return store_copy(item, out);
    if (into == DM_INTO_CONST_STRING && item->kind == DM_STRING) {
        *(const char **)out = item->data;
        return DM_OK;
    }
    return dmi_wrong_type(item, into, subject);
}
