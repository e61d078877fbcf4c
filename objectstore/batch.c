/*
 * batch.c - coding and packing. What it lays out is docs/formats.md's "Spilled parts".
 */
#include "objectstore/batch.h"

#include <assert.h>
#include <string.h>

#include "objectstore/part.h"

static size_t up_to(size_t bytes, size_t align)
{
    return (bytes + align - 1) / align * align;
}

size_t dmi_batch_room(void)
{
    return up_to(sizeof(dmi_part_header) + dmi_codec_bound(DMI_PART_MOST), DMI_BLOCK) +
           DMI_PACK_MOST;
}

dmi_batch *dmi_batch_begin(dmi_stage *stage)
{
    dmi_batch *b = stage->notes;
    b->stage = stage;
    b->end = 0;
    b->pack = false;
    b->parts = b->units = 0;
    return b;
}

/* ---- packing ---- */

/* Nothing of what was in the stage before gets to the disk. */
static void pad(dmi_batch *b, size_t end)
{
    memset(b->stage->bytes + b->end, 0, end - b->end);
    b->end = end;
}

static void begin_unit(dmi_batch *b, bool pack)
{
    pad(b, up_to(b->end, DMI_BLOCK));
    b->pack = pack;
    b->unit[b->units].at = (uint32_t)b->end;
    b->unit[b->units].made = NULL;
    b->units++;
}

static bool joins(const dmi_batch *b, size_t stored)
{
    if (!b->pack || stored >= DMI_OWN_LEAST)
        return false;
    return up_to(b->end, DMI_PART_ALIGN) + stored - b->unit[b->units - 1].at <= DMI_PACK_MOST;
}

dmi_placed *dmi_batch_place(dmi_batch *b, size_t at, size_t stored)
{
    assert(b->parts < DMI_BATCH_MOST);
    if (joins(b, stored))
        pad(b, up_to(b->end, DMI_PART_ALIGN));
    else
        begin_unit(b, stored < DMI_OWN_LEAST);
    assert(b->end <= at);
    if (at != b->end)
        memmove(b->stage->bytes + b->end, b->stage->bytes + at, stored);
    dmi_placed *placed = &b->part[b->parts++];
    *placed =
        (dmi_placed){.unit = b->units - 1, .at = (uint32_t)b->end, .stored = (uint32_t)stored};
    b->end += stored;
    b->unit[b->units - 1].bytes = (uint32_t)b->end - b->unit[b->units - 1].at;
    return placed;
}

size_t dmi_batch_end(dmi_batch *b)
{
    pad(b, up_to(b->end, DMI_BLOCK));
    return b->end;
}

/* ---- coding ---- */

static dmi_coding coding_of(const dmi_spill_settings *settings, const dmi_part *part)
{
    static const uint8_t filters[] = {[DMI_FILTER_BEST] = DMI_CODING_BEST,
                                      [DMI_FILTER_NONE] = DMI_CODING_BEST,
                                      [DMI_FILTER_BYTES] = DMI_CODING_BYTES,
                                      [DMI_FILTER_BITS] = DMI_CODING_BITS};
    assert(part->element <= 8 && (part->element & (part->element - 1)) == 0);
    bool none = settings->filter == DMI_FILTER_NONE || part->element == 0;
    return (dmi_coding){.plain = part->plain < part->count ? part->plain : part->count,
                        .element = none ? 1 : part->element,
                        .filter = filters[settings->filter],
                        .acceleration = settings->acceleration};
}

/* Header and coded bytes at `at` of the stage; how many, SIZE_MAX if cancelled. */
static size_t code(const dmi_batch *b, const dmi_spill_settings *settings, const dmi_part *part,
                   size_t at, const atomic_bool *cancelled)
{
    dmi_coding coding = coding_of(settings, part);
    dmi_part_header header = {.id = part->id,
                              .count = (uint32_t)part->count,
                              .plain = (uint32_t)coding.plain,
                              .filter = coding.filter,
                              .element = coding.element};
    uint8_t *to = b->stage->bytes + at;
    size_t stored = dmi_codec_encode(b->stage->codec, &coding, part->bytes, part->count,
                                     to + sizeof header, &header.sum, cancelled);
    if (stored == SIZE_MAX)
        return SIZE_MAX;
    header.stored = (uint32_t)stored;
    dmi_part_seal(&header);
    memcpy(to, &header, sizeof header);
    return sizeof header + stored;
}

bool dmi_batch_fill(dmi_batch *b, const dmi_spill_settings *settings, const dmi_part *parts,
                    size_t n, const atomic_bool *cancelled)
{
    for (size_t i = 0; i < n && b->parts < DMI_BATCH_MOST; i++) {
        size_t at = up_to(b->end, DMI_BLOCK); /* where it stays if it turns out to be large */
        assert(parts[i].count <= DMI_PART_MOST);
        if (at + sizeof(dmi_part_header) + dmi_codec_bound(parts[i].count) > b->stage->room)
            break;
        size_t stored = code(b, settings, &parts[i], at, cancelled);
        if (stored == SIZE_MAX)
            return false;
        dmi_batch_place(b, at, stored)->count = (uint32_t)parts[i].count;
    }
    assert(b->parts > 0 || n == 0);
    return true;
}
