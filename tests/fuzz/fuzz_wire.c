/*
 * Values on the wire, as they lie in records, slots and messages; and what observers send and are sent: no byte
 * beyond the end is read, and what a value claims to have is there.
 */
#include <assert.h>

#include "runtime/observe.h"
#include "runtime/wire.h"
#include "tests/fuzz/fuzz.h"

static unsigned look(const dmi_item *item)
{
    unsigned sum = 0;
    size_t claimed = item->kind == DM_STRING ? item->bytes + 1 : item->kind == DM_DATA ? item->bytes : 0;
    for (size_t i = 0; i < claimed; i++)
        sum += ((const uint8_t *)item->data)[i];
    if (item->kind == DM_STRING)
        assert(((const char *)item->data)[item->bytes] == 0);
    for (int i = 0; item->kind == DM_DATA && item->shape && i < 8 * item->ndim; i++)
        sum += ((const uint8_t *)item->shape)[i];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static volatile unsigned sum;
    const uint8_t *at = bytes, *end = bytes + count;
    dmi_item item;
    dmi_request request;
    dmi_line line;
    while (dmi_wire_next(&at, end, &item)) {
        assert(at > bytes && at <= end);
        sum += look(&item);
    }
    if (dmi_request_read(bytes, count, &request) == DM_OK)
        assert(request.top <= DMI_TOP_MOST);
    for (at = bytes; at < end && dmi_line_read(&at, end, &line);)
        assert(at <= end && line.kind <= DMI_LINE_END);
    return 0;
}
