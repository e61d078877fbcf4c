/*
 * mixed_tasks.h - tasks whose values a player of mixed.h can know beforehand, and how one is read.
 */
#ifndef TEST_SUPPORT_MIXED_TASKS_H
#define TEST_SUPPORT_MIXED_TASKS_H

#include "tests/support/mixed.h"

/* ---- values of each kind ---- */

/* The first word is the number, the others follow from it. */
static inline void mixed_fill(void *data, size_t bytes, uint64_t number)
{
    marked_fill(data, bytes, number);
    memcpy(data, &number, sizeof number);
}

static inline bool mixed_is_whole(const void *data, size_t bytes, uint64_t number)
{
    const uint64_t *words = data;
    if (bytes < 8 || words[0] != number)
        return false;
    for (size_t i = 1; i < bytes / 8; i++)
        if (words[i] != marked_word(number, i))
            return false;
    return true;
}

/* What is lent holds this number: a text, or words. */
static inline dm_status mixed_number_of_view(const dm_view *view, uint64_t *number)
{
    if (view->dtype == DM_U8) {
        *number = strtoull(view->data, NULL, 10);
        return DM_OK;
    }
    memcpy(number, view->data, sizeof *number);
    return mixed_is_whole(view->data, view->bytes, *number)
               ? DM_OK
               : dmi_error(DM_ERR_CORRUPT, "%zu bytes of %llu are wrong", view->bytes,
                           (unsigned long long)*number);
}

/* The number in an argument, whatever holds it; nil has none. */
static inline dm_status mixed_argument(dm_call *call, int i, uint64_t *number)
{
    dm_view view;
    if (dm_arg(call, i, number) == DM_OK)
        return DM_OK;
    DM_TRY(dm_arg(call, i, &view));
    return mixed_number_of_view(&view, number);
}

static inline dm_status mixed_get_number(dm_ref ref, uint64_t *number)
{
    dm_view view;
    dm_status status = dm_get(ref, number);
    if (status != DM_ERR_TYPE)
        return status;
    DM_TRY(dm_get(ref, &view));
    status = mixed_number_of_view(&view, number);
    dm_view_release(&view);
    return status;
}

/* Copied, or made where it lies, as the number has it. */
static inline dm_ref mixed_put(mixed_kind kind, size_t bytes, uint64_t number)
{
    char text[32];
    dm_buffer buffer;
    size_t words = bytes / 8;
    if (kind == MIXED_NUMBER)
        return dm_put(number);
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    if (kind == MIXED_TEXT)
        return dm_put(text);
    if (dm_create(DM_U64, 1, &words, &buffer) != DM_OK)
        return DM_NO_REF;
    mixed_fill(buffer.data, bytes, number);
    return dm_seal(&buffer);
}

static inline dm_status mixed_return(dm_call *call, int place, mixed_kind kind, size_t bytes,
                                     uint64_t number)
{
    char text[32];
    dm_buffer buffer;
    size_t words = bytes / 8;
    if (kind == MIXED_NUMBER)
        return dm_return_at(call, place, number);
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    if (kind == MIXED_TEXT)
        return dm_return_at(call, place, text);
    DM_TRY(dm_create(DM_U64, 1, &words, &buffer));
    mixed_fill(buffer.data, bytes, number);
    return dm_return_at(call, place, &buffer);
}

/* ---- tasks ---- */

/* Takes its time, unless it is told to stop. False: it was, and gives up (every second one does). */
static inline bool mixed_takes_its_time(dm_call *call, uint64_t number, int64_t us)
{
    for (int64_t until = watch_now_us() + us; watch_now_us() < until; watch_pause())
        if (number % 4 < 3 && dm_cancelled(call)) /* others hear nothing */
            return number % 2;
    return true;
}

/* number, microseconds, kind, bytes, inputs...: one or several values. */
DM_REMOTE(mixed_make)
{
    uint64_t number, x, bytes;
    int64_t us;
    int kind;
    DM_TRY(dm_arg(call, 0, &number));
    DM_TRY(dm_arg(call, 1, &us));
    DM_TRY(dm_arg(call, 2, &kind));
    DM_TRY(dm_arg(call, 3, &bytes));
    for (int i = 4; i < dm_arg_count(call); i++) {
        DM_TRY(mixed_argument(call, i, &x));
        number = mixed_mix(number, x);
    }
    if (!mixed_takes_its_time(call, number, us))
        return DM_ERR_CANCELLED;
    int places = dm_return_count(call);
    for (int i = 0; i < places; i++)
        DM_TRY(mixed_return(call, i, (mixed_kind)kind, bytes,
                            places == 1 ? number : mixed_mix(number, (uint64_t)i)));
    return DM_OK;
}

DM_REMOTE(mixed_fails)
{
    uint64_t number;
    DM_TRY(dm_arg(call, 0, &number));
    return dm_fail(call, "%llu fails", (unsigned long long)number);
}

DM_REMOTE(mixed_hangs)
{
    while (call != NULL)
        watch_pause();
    return DM_OK;
}

DM_REMOTE(mixed_nothing)
{
    (void)call;
    return DM_OK;
}

/* How part `i` of a family is begun: put, or a task's. */
static inline bool mixed_is_put(uint64_t number, int i)
{
    return (number >> i) % 2 == 0;
}

static inline mixed_kind mixed_kind_of(uint64_t number)
{
    return (mixed_kind)(number % 3);
}

static inline size_t mixed_bytes_of(uint64_t number)
{
    return number % 8 == 0 ? 100000 : 8 + number / 16 % 500 * 8;
}

static inline dm_ref mixed_begin(bool is_put, uint64_t number, int64_t us)
{
    mixed_kind kind = mixed_kind_of(number);
    return is_put ? mixed_put(kind, mixed_bytes_of(number), number)
                  : dm_remote(mixed_make, number, us, (int)kind, mixed_bytes_of(number));
}

/* number, parts, microseconds: a list of values that it begins. */
DM_REMOTE(mixed_family)
{
    uint64_t number;
    int parts;
    int64_t us;
    dm_ref refs[MIXED_PARTS];
    DM_TRY(dm_arg(call, 0, &number));
    DM_TRY(dm_arg(call, 1, &parts));
    DM_TRY(dm_arg(call, 2, &us));
    for (int i = 0; i < parts; i++)
        refs[i] = mixed_begin(mixed_is_put(number, i), mixed_mix(number, (uint64_t)i), us);
    return dm_return(call, &DM_REF_LIST(refs, (size_t)parts));
}

/* number, microseconds: a value that it begins. */
DM_REMOTE(mixed_hands_on)
{
    uint64_t number;
    int64_t us;
    DM_TRY(dm_arg(call, 0, &number));
    DM_TRY(dm_arg(call, 1, &us));
    return dm_return(call, mixed_begin(mixed_is_put(number, 0), mixed_mix(number, 0), us));
}

static dm_status mixed_add(dm_call *call, const dm_ref_list *list, uint64_t *number)
{
    for (size_t i = 0; i < list->count; i++) {
        uint64_t x;
        dm_status status = mixed_get_number(list->refs[i], &x);
        if (status != DM_OK)
            return dm_cancelled(call) ? DM_ERR_CANCELLED
                                      : dm_fail(call, "part %zu: %s: %s", i, dm_status_name(status),
                                                dm_last_error());
        *number = mixed_mix(*number, x);
    }
    return DM_OK;
}

/* number, a list of values: reads them all. */
DM_REMOTE(mixed_reads)
{
    uint64_t number;
    dm_ref_list list;
    DM_TRY(dm_arg(call, 0, &number));
    DM_TRY(dm_arg(call, 1, &list));
    dm_status status = mixed_add(call, &list, &number);
    dm_ref_list_release(&list);
    DM_TRY(status);
    return dm_return(call, number);
}

/* number, words that all share: what is built from them once a worker. */
static inline dm_status mixed_build(const dm_view *shared, void **made)
{
    uint64_t number;
    DM_TRY(mixed_number_of_view(shared, &number));
    *made = malloc(sizeof number);
    if (*made == NULL)
        return DM_ERR_NOMEM;
    memcpy(*made, &number, sizeof number);
    return DM_OK;
}

DM_REMOTE(mixed_builds)
{
    uint64_t number;
    void *made;
    DM_TRY(dm_arg(call, 0, &number));
    DM_TRY(dm_local(call, 1, mixed_build, free, &made));
    uint64_t shared;
    memcpy(&shared, made, sizeof shared);
    return dm_return(call, mixed_mix(number, shared));
}

/* number of the salt; of items that are numbers, or of their indexes. */
DM_MAP(mixed_maps)
{
    uint64_t salt, *y;
    const uint64_t *x = NULL;
    DM_TRY(dm_arg(call, 0, &salt));
    DM_TRY(dm_range_results(range, &y));
    if (range->items)
        DM_TRY(dm_range_items(range, &x));
    for (size_t i = 0; i < range->n; i++)
        y[i] = mixed_mix(salt, x ? x[i] : range->first + i);
    return DM_OK;
}

#endif
