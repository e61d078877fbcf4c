/*
 * part.c - sealing and checking a part's header. Pure.
 */
#include "objectstore/part.h"

#include <stddef.h>

#include "objectstore/filter.h"
#include "objectstore/sum.h"

static uint64_t sum_of(const dmi_part_header *header)
{
    return dmi_sum(header, offsetof(dmi_part_header, own), 0);
}

void dmi_part_seal(dmi_part_header *header)
{
    header->magic = DMI_PART_MAGIC;
    header->version = DMI_PART_VERSION;
    header->spare = 0;
    header->pad = 0;
    header->own = sum_of(header);
}

const char *dmi_part_check(const dmi_part_header *header, uint64_t id, uint64_t count,
                           uint64_t stored)
{
    if (header->magic != DMI_PART_MAGIC)
        return "no part begins here";
    if (header->version != DMI_PART_VERSION)
        return "its header is of another version";
    if (header->own != sum_of(header))
        return "its header's checksum does not fit";
    if (header->id != id)
        return "it is another part";
    if (header->count != count || header->stored != stored)
        return "its header has other sizes";
    if (header->element == 0 || header->element > DMI_ELEMENT_MOST ||
        (header->element & (header->element - 1)) != 0)
        return "its header has an element of a size that there is not";
    return NULL;
}
