/*
 * range.c - the task's half of dm_map: reads which items are meant, makes room for their results, calls the body.
 */
#include "runtime/range.h"

#include <string.h>

#include "runtime/worker.h"

const char *dmi_dtype_name(dm_dtype dtype)
{
    static const char *const names[] = {"uint8", "int8",   "uint16", "int16", "uint32",
                                        "int32", "uint64", "int64",  "float", "double"};
    return (unsigned)dtype < DM_DTYPE_COUNT ? names[dtype] : "no dtype";
}

/* ---- what a body reads ---- */

static dm_status check(const dm_range *range, const char *what, const void *data, dm_dtype has,
                       size_t elements, dm_dtype dtype, size_t bytes)
{
    size_t element_bytes = dm_dtype_bytes(has), item_bytes = elements * element_bytes;
    if (data == NULL && range->n != 0)
        return dmi_error(DM_ERR_TYPE, "%s: it reads its %s, and dm_map was given none", range->function, what);
    if (dtype != has || (bytes != item_bytes && bytes != element_bytes))
        return dmi_error(DM_ERR_TYPE, "%s: its %s are %zu %s each (%zu bytes), and it takes them for %s of %zu bytes",
                         range->function, what, elements, dmi_dtype_name(has), item_bytes, dmi_dtype_name(dtype),
                         bytes);
    return DM_OK;
}

dm_status dm_range_items_as(const dm_range *range, dm_dtype dtype, size_t bytes, void *out)
{
    DM_TRY(check(range, "items", range->items, range->item_dtype, range->item_elements, dtype, bytes));
    memcpy(out, &range->items, sizeof range->items);
    return DM_OK;
}

dm_status dm_range_results_as(const dm_range *range, dm_dtype dtype, size_t bytes, void *out)
{
    DM_TRY(check(range, "results", range->results, range->result_dtype, range->result_elements, dtype, bytes));
    memcpy(out, &range->results, sizeof range->results);
    return DM_OK;
}

/* ---- a task ---- */

static dm_status not_mapped(const dm_call *call)
{
    return dmi_error(DM_ERR_INVALID, "%s is defined by DM_MAP: run it by dm_map, not by dm_remote",
                     call->function->name);
}

/* Where the items of the chunk are, in the array that came with it. */
static dm_status place_items(dm_range *range, const dm_view *items, bool whole)
{
    size_t rows = items->ndim > 0 ? items->shape[0] : 0, row_bytes = rows ? items->bytes / rows : 0;
    size_t first = whole ? range->first : 0;
    if (first > rows || range->n > rows - first)
        return dmi_error(DM_ERR_TYPE, "%s: items %zu to %zu are not in an array of %zu", range->function, first,
                         first + range->n - 1, rows);
    range->items = (const char *)items->data + first * row_bytes;
    range->item_dtype = items->dtype;
    range->item_elements = row_bytes / dm_dtype_bytes(items->dtype);
    return DM_OK;
}

static dm_status read_range(dm_call *call, dm_range *range)
{
    int last = (int)call->count - 1;
    uint64_t what;
    dm_view items;
    if (last < 2 || dm_arg(call, last, &what) != DM_OK || !dmi_range_is_one(what))
        return not_mapped(call);
    dmi_range_items kind = dmi_range_items_of(what);
    if (kind != DMI_RANGE_INDEXES && last < 3)
        return not_mapped(call);
    DM_TRY(dm_arg(call, last - 1, &range->n));
    DM_TRY(dm_arg(call, last - 2, &range->first));
    range->result_dtype = dmi_range_dtype_of(what);
    range->result_elements = dmi_range_elements_of(what);
    if (kind == DMI_RANGE_INDEXES)
        return DM_OK;
    DM_TRY(dm_arg(call, last - 3, &items));
    return place_items(range, &items, kind == DMI_RANGE_WHOLE);
}

/* The results are made where they will lie. */
static dm_status run_with_results(dm_call *call, dm_range *range, dm_map_body body)
{
    dm_buffer buffer;
    size_t shape[] = {range->n, range->result_elements};
    DM_TRY(dm_create(range->result_dtype, 2, shape, &buffer));
    memset(buffer.data, 0, buffer.bytes); /* recycled memory: what a body leaves out must not depend on it */
    range->results = buffer.data;
    dm_status status = body(call, range);
    if (status != DM_OK) {
        dm_abandon(&buffer);
        return status;
    }
    return dm_return(call, &buffer);
}

dm_status dm_map_chunk(dm_call *call, dm_map_body body)
{
    dm_range range = {.function = call->function->name};
    DM_TRY(read_range(call, &range));
    dmi_error_clear();
    return range.result_elements ? run_with_results(call, &range, body) : body(call, &range);
}
