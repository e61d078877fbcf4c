/*
 * part.h - what stands in front of a part in a spill file: 48 bytes that say what follows.
 *
 * The header is checked as a whole (its own checksum) before any of it is believed; the part's bytes are
 * checked by `sum`, which is that of the bytes before coding. docs/formats.md has the table.
 */
#ifndef DMI_PART_H
#define DMI_PART_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum { DMI_PART_MAGIC = 0x7053646d, DMI_PART_VERSION = 1 };

typedef struct dmi_part_header {
    uint32_t magic;
    uint8_t version;
    uint8_t filter;
    uint8_t element;
    uint8_t spare;
    uint64_t id;
    uint32_t count;  /* bytes, before coding */
    uint32_t stored; /* bytes that follow this header */
    uint32_t plain;  /* bytes in front that are not elements */
    uint32_t pad;
    uint64_t sum; /* XXH3 of the bytes before coding */
    uint64_t own; /* XXH3 of all above */
} dmi_part_header;
static_assert(sizeof(dmi_part_header) == 48, "it lies on the disk like this");

/* Sets magic, version and own. */
void dmi_part_seal(dmi_part_header *header);

/* NULL if it is the header of part `id`, `count` bytes that became `stored`; else what does not fit. */
const char *dmi_part_check(const dmi_part_header *header, uint64_t id, uint64_t count,
                           uint64_t stored);

#endif
