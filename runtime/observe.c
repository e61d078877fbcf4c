/*
 * observe.c - the observers' protocol: names, requests, lines. See observe.h.
 *
 * Asks nothing and answers nothing: runtime/survey.c collects, runtime/door.c sends, the dm command asks.
 */
#include "runtime/observe.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const char greeting[] = "dmrt";

socklen_t dmi_observe_address(struct sockaddr_un *to, uid_t uid, pid_t pid)
{
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(to->sun_path + 1, sizeof to->sun_path - 1, DMI_OBSERVE_PREFIX "%u-%d",
                          (unsigned)uid, (int)pid);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

/* ---- requests ---- */

size_t dmi_request_write(const dmi_request *request, uint8_t *to)
{
    dmi_out out = {to, to, to + DMI_REQUEST_MOST};
    dmi_wire_string(&out, greeting, sizeof greeting - 1);
    dmi_wire_uint(&out, DMI_OBSERVE_VERSION);
    dmi_wire_uint(&out, request->question);
    dmi_wire_uint(&out, request->top);
    return (size_t)(out.at - out.base);
}

/* Small numbers are signed on the wire. */
static bool read_number(const uint8_t **at, const uint8_t *end, uint64_t *number)
{
    dmi_item item;
    if (!dmi_wire_next(at, end, &item) || !(item.kind == DM_UINT || (item.kind == DM_INT && item.i >= 0)))
        return false;
    *number = item.u;
    return true;
}

static bool read_text(const uint8_t **at, const uint8_t *end, const char **text)
{
    dmi_item item;
    if (!dmi_wire_next(at, end, &item) || item.kind != DM_STRING)
        return false;
    *text = item.data;
    return true;
}

dm_status dmi_request_read(const uint8_t *bytes, size_t count, dmi_request *request)
{
    const uint8_t *at = bytes, *end = bytes + count;
    const char *said;
    uint64_t version, question, top;
    if (!read_text(&at, end, &said) || strcmp(said, greeting) != 0 || !read_number(&at, end, &version))
        return dmi_error(DM_ERR_FORMAT, "this is no request of an observer");
    if (version != DMI_OBSERVE_VERSION)
        return dmi_error(DM_ERR_VERSION, "this program answers version %d of the observers' protocol, and was "
                         "asked by version %llu: use the dm command of its dmrt, which is %s",
                         DMI_OBSERVE_VERSION, (unsigned long long)version, DM_VERSION_STRING);
    if (!read_number(&at, end, &question) || !read_number(&at, end, &top) || at != end ||
        question < DMI_ASK_STATUS || question > DMI_ASK_MEMORY || top > DMI_TOP_MOST)
        return dmi_error(DM_ERR_FORMAT, "this is no request of an observer");
    *request = (dmi_request){(dmi_question)question, (uint32_t)top};
    return DM_OK;
}

/* ---- the tables ---- */

#define NUMBER(line_, name_)                                                                       \
    {                                                                                              \
        #name_, offsetof(dmi_##line_##_line, name_), false                                         \
    }
#define TEXT(line_, name_)                                                                         \
    {                                                                                              \
        #name_, offsetof(dmi_##line_##_line, name_), true                                          \
    }
#define ENTRY(line_, member_)                                                                      \
    {                                                                                              \
        NULL, offsetof(dmi_##line_##_line, member_), false                                         \
    }

static const dmi_line_field trouble_fields[] = {NUMBER(trouble, status), TEXT(trouble, text)};

static const dmi_line_field totals_fields[] = {
    TEXT(totals, program),           TEXT(totals, version),
    TEXT(totals, engine),            NUMBER(totals, pid),
    NUMBER(totals, workers),         NUMBER(totals, workers_lost),
    NUMBER(totals, tasks_submitted), NUMBER(totals, tasks_done),
    NUMBER(totals, tasks_failed),    NUMBER(totals, tasks_retried),
    NUMBER(totals, tasks_waiting),   NUMBER(totals, tasks_queued),
    NUMBER(totals, tasks_placed),    NUMBER(totals, refs),
    NUMBER(totals, objects),         NUMBER(totals, store_bytes),
    NUMBER(totals, store_committed), NUMBER(totals, store_used),
    NUMBER(totals, pinned_bytes),    TEXT(totals, spill_policy),
    TEXT(totals, spill_dir),         NUMBER(totals, spill_above),
    NUMBER(totals, spilled_objects), NUMBER(totals, spilled_bytes),
    NUMBER(totals, spilling_bytes),  NUMBER(totals, disk_bytes),
    NUMBER(totals, spilled_total),   NUMBER(totals, spilled_stored),
    NUMBER(totals, restored_total),  NUMBER(totals, punched_total),
    NUMBER(totals, spill_ns),        NUMBER(totals, restore_ns),
    NUMBER(totals, objects_lost),    NUMBER(totals, spill_files),
    NUMBER(totals, disk_punches)};

static const dmi_line_field worker_fields[] = {NUMBER(worker, worker), NUMBER(worker, pid),
                                               TEXT(worker, state), TEXT(worker, function),
                                               NUMBER(worker, tasks)};

static const dmi_line_field object_fields[] = {
    NUMBER(object, value),       NUMBER(object, bytes),       NUMBER(object, disk_bytes),
    TEXT(object, state),         TEXT(object, made_by),       NUMBER(object, driver_refs),
    NUMBER(object, worker_refs), NUMBER(object, views),       NUMBER(object, tasks),
    NUMBER(object, values),      ENTRY(object, worker[0]),    ENTRY(object, worker[1]),
    ENTRY(object, worker[2]),    ENTRY(object, worker[3]),    ENTRY(object, refs[0]),
    ENTRY(object, refs[1]),      ENTRY(object, refs[2]),      ENTRY(object, refs[3])};

static const dmi_line_field end_fields[] = {NUMBER(end, objects), NUMBER(end, shown)};

/* Every member is in its table, and eight bytes long. */
#define COUNT(fields_) (sizeof(fields_) / sizeof(fields_)[0])
static_assert(COUNT(trouble_fields) * 8 == sizeof(dmi_trouble_line), "every member");
static_assert(COUNT(totals_fields) * 8 == sizeof(dmi_totals_line), "every member");
static_assert(COUNT(worker_fields) * 8 == sizeof(dmi_worker_line), "every member");
static_assert(COUNT(object_fields) * 8 == sizeof(dmi_object_line), "every member");
static_assert(COUNT(end_fields) * 8 == sizeof(dmi_end_line), "every member");

static const struct {
    const dmi_line_field *fields;
    size_t count;
} tables[] = {[DMI_LINE_TROUBLE] = {trouble_fields, COUNT(trouble_fields)},
              [DMI_LINE_TOTALS] = {totals_fields, COUNT(totals_fields)},
              [DMI_LINE_WORKER] = {worker_fields, COUNT(worker_fields)},
              [DMI_LINE_OBJECT] = {object_fields, COUNT(object_fields)},
              [DMI_LINE_END] = {end_fields, COUNT(end_fields)}};

const dmi_line_field *dmi_line_fields(dmi_line_kind kind, size_t *count)
{
    *count = tables[kind].count;
    return tables[kind].fields;
}

/* ---- lines ---- */

bool dmi_line_write(dmi_out *out, dmi_line_kind kind, const void *line)
{
    uint8_t *before = out->at;
    dmi_wire_uint(out, kind);
    for (size_t i = 0; i < tables[kind].count && out->at; i++) {
        const dmi_line_field *f = &tables[kind].fields[i];
        const char *member = (const char *)line + f->offset, *text;
        uint64_t number;
        if (f->is_text) {
            memcpy(&text, member, sizeof text);
            dmi_wire_string(out, text, strlen(text));
        } else {
            memcpy(&number, member, sizeof number);
            dmi_wire_uint(out, number);
        }
    }
    bool fits = out->at != NULL;
    if (!fits)
        out->at = before;
    return fits;
}

static bool read_field(const uint8_t **at, const uint8_t *end, const dmi_line_field *f, char *line)
{
    const char *text = NULL;
    uint64_t number = 0;
    if (f->is_text ? !read_text(at, end, &text) : !read_number(at, end, &number))
        return false;
    if (f->is_text)
        memcpy(line + f->offset, &text, sizeof text);
    else
        memcpy(line + f->offset, &number, sizeof number);
    return true;
}

bool dmi_line_read(const uint8_t **at, const uint8_t *end, dmi_line *line)
{
    uint64_t kind;
    if (!read_number(at, end, &kind) || kind < DMI_LINE_TROUBLE || kind > DMI_LINE_END)
        return false;
    line->kind = (dmi_line_kind)kind;
    for (size_t i = 0; i < tables[kind].count; i++)
        if (!read_field(at, end, &tables[kind].fields[i], (char *)&line->totals))
            return false;
    return true;
}
