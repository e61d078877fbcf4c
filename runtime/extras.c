/*
 * extras.c - the side table: a hash table in buckets, by the index of the task.
 */
#include "runtime/extras.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/ready.h"
#include "runtime/wire.h"

enum {
    MOST_RETRIES = INT16_MAX,
    MOST_CPUS = 10000,
    MOST_NAME = 127
};

static_assert(DM_STATUS_COUNT <= 64, "a set of statuses is one word");

/* ---- options ---- */

static dm_status refuse(const char *field, long long value, const char *may_be)
{
    return dmi_error(DM_ERR_OPTION, "dm_task_options.%s is %lld, but it may be %s", field, value, may_be);
}

static dm_status check_name(const char *name)
{
    size_t length = name ? strlen(name) : 1;
    if (length == 0 || length > MOST_NAME)
        return dmi_error(DM_ERR_OPTION, "dm_task_options.name has %zu bytes, but it may have 1 to %d: name the "
                         "task shortly, or pass NULL", length, MOST_NAME);
    return DM_OK;
}

dm_status dmi_task_options_check(const dm_task_options *options)
{
    const uint64_t statuses = (((uint64_t)1 << DM_STATUS_COUNT) - 1) & ~(uint64_t)1;
    if (options == NULL)
        return DM_OK;
    if (options->retries < DM_NONE || options->retries > MOST_RETRIES)
        return refuse("retries", options->retries, "1 to 32767, 0 (the session's) or DM_NONE");
    if (options->limit_ms < DM_NONE || options->limit_ms > INT32_MAX)
        return refuse("limit_ms", options->limit_ms, "1 to 2147483647, 0 (the session's) or DM_NONE");
    if (options->priority < -DMI_PRIORITY_MOST || options->priority > DMI_PRIORITY_MOST)
        return refuse("priority", options->priority, "-1000 to 1000");
    if (options->cpus < 0 || options->cpus > MOST_CPUS)
        return refuse("cpus", options->cpus, "0 to 10000");
    if (options->cost_ns < 0)
        return refuse("cost_ns", options->cost_ns, "nanoseconds, or 0 (not known)");
    if (options->retry_on & ~statuses)
        return dmi_error(DM_ERR_OPTION, "dm_task_options.retry_on is %#llx, but it may have bits of failures only: "
                         "make it of DM_ON(DM_ERR_...)", (unsigned long long)options->retry_on);
    return check_name(options->name);
}

bool dmi_wishes_of(const dm_task_options *options, dmi_wishes *wishes)
{
    *wishes = (dmi_wishes){0};
    if (options == NULL)
        return false;
    *wishes = (dmi_wishes){.retry_on = options->retry_on,
                           .cost_ns = (uint64_t)options->cost_ns,
                           .priority = options->priority,
                           .cpus = (uint16_t)options->cpus,
                           .name = options->name};
    return wishes->retry_on || wishes->cost_ns || wishes->priority || wishes->cpus > 1 || wishes->name;
}

uint16_t dmi_wishes_flags(const dmi_wishes *wishes)
{
    return (uint16_t)((wishes->name ? DMI_NAMED : 0) | (wishes->retry_on ? DMI_HANDS_BACK : 0));
}

const char *dmi_name_behind(const uint8_t *args, size_t bytes, uint32_t count)
{
    const uint8_t *at = args, *end = args + bytes;
    dmi_item item;
    for (uint32_t i = 0; i < count; i++)
        if (!dmi_wire_next(&at, end, &item))
            return NULL;
    size_t left = (size_t)(end - at), most = left < MOST_NAME + 1 ? left : MOST_NAME + 1;
    return memchr(at, 0, most) && *at ? (const char *)at : NULL;
}

/* ---- the table ---- */

static dmi_extra **bucket_of(const dmi_session *session, uint32_t index)
{
    return &session->extras[index & (session->extra_buckets - 1)]; /* indices are dense */
}

dmi_extra *dmi_extra_of(const dmi_session *session, uint32_t index)
{
    if (!session->tasks[index].has_extra)
        return NULL;
    dmi_extra *extra = *bucket_of(session, index);
    while (extra->index != index)
        extra = extra->next;
    return extra;
}

/* False: there is no memory for even the first buckets. */
static bool grow(dmi_session *session)
{
    if (session->extra_count < session->extra_buckets)
        return true;
    uint32_t before = session->extra_buckets, count = before ? 2 * before : 64;
    dmi_extra **old = session->extras, **grown = calloc(count, sizeof(dmi_extra *));
    if (grown == NULL)
        return before != 0;
    session->extras = grown;
    session->extra_buckets = count;
    for (uint32_t i = 0; i < before; i++) {
        for (dmi_extra *extra = old[i], *next; extra; extra = next) {
            next = extra->next;
            dmi_extra **bucket = bucket_of(session, extra->index);
            extra->next = *bucket;
            *bucket = extra;
        }
    }
    free(old);
    return true;
}

dmi_extra *dmi_extra_make(dmi_session *session, uint32_t index)
{
    if (session->tasks[index].has_extra)
        return dmi_extra_of(session, index);
    dmi_extra *extra = grow(session) ? calloc(1, sizeof *extra) : NULL;
    if (extra == NULL)
        return NULL;
    dmi_extra **bucket = bucket_of(session, index);
    extra->index = index;
    extra->next = *bucket;
    *bucket = extra;
    session->extra_count++;
    session->tasks[index].has_extra = 1;
    return extra;
}

static bool is_uneven(const dmi_extra *extra)
{
    return extra->cpus > 1 || extra->cost_ns != 0;
}

bool dmi_extra_note(dmi_session *session, uint32_t index, const dmi_wishes *wishes)
{
    char *name = wishes->name ? strdup(wishes->name) : NULL;
    dmi_extra *extra = wishes->name && name == NULL ? NULL : dmi_extra_make(session, index);
    if (extra == NULL || (wishes->priority != 0 && !dmi_ready_by_priority(session))) {
        free(name);
        return false;
    }
    extra->retry_on = wishes->retry_on;
    extra->cost_ns = wishes->cost_ns;
    extra->priority = wishes->priority;
    extra->cpus = wishes->cpus > session->settings.workers ? (uint16_t)session->settings.workers : wishes->cpus;
    extra->name = name;
    session->prioritized += extra->priority != 0;
    session->uneven += is_uneven(extra);
    session->favour = 0; /* it is not placed like the one before it */
    return true;
}

void dmi_extra_drop(dmi_session *session, uint32_t index)
{
    dmi_extra **at = bucket_of(session, index);
    while ((*at)->index != index)
        at = &(*at)->next;
    dmi_extra *extra = *at;
    *at = extra->next;
    session->prioritized -= extra->priority != 0;
    session->uneven -= is_uneven(extra);
    session->extra_count--;
    session->tasks[index].has_extra = 0;
    free(extra->name);
    free(extra);
}

void dmi_extras_destroy(dmi_session *session)
{
    for (uint32_t i = 0; i < session->extra_buckets; i++) {
        for (dmi_extra *extra = session->extras[i], *next; extra; extra = next) {
            next = extra->next;
            free(extra->name);
            free(extra);
        }
    }
    free(session->extras);
    free(session->levels);
}
