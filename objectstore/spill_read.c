/*
 * spill_read.c - and back.
 *
 *     hold the unit -> read -> check, decode -> release it
 */
#include <assert.h>
#include <string.h>

#include "objectstore/part.h"
#include "objectstore/spill_inside.h"
#include "objectstore/word.h"

/* Where a part lies, and who keeps it there. */
typedef struct held {
    dmi_unit *unit;
    dmi_spill_file *file;
    uint64_t at; /* in the file */
    uint32_t stored, count;
} held;

static held begin_read(dmi_spill *spill, uint32_t ticket)
{
    dmi_spill_lock(spill);
    const dmi_entry *e = dmi_ledger_find(&spill->ledger, ticket);
    assert(e->unit);
    dmi_unit_hold(e->unit);
    held it = {.unit = e->unit,
               .file = e->unit->file,
               .at = e->unit->run->first * DMI_BLOCK + e->at,
               .stored = e->stored,
               .count = e->count};
    dmi_spill_unlock(spill);
    return it;
}

static void end_read(dmi_spill *spill, const held *h, uint64_t start, bool well)
{
    dmi_spill_lock(spill);
    dmi_ledger_release(&spill->ledger, h->unit);
    spill->stats.read_ns += dmi_spill_now_ns() - start;
    spill->stats.read_raw += well ? h->count : 0;
    spill->stats.read_stored += well ? h->stored : 0;
    dmi_spill_unlock(spill);
}

static dm_status corrupt(const held *h, uint64_t id, const char *what)
{
    return dmi_error(DM_ERR_CORRUPT,
                     "part %llx of a spilled object was damaged on disk (%s, bytes %llu to "
                     "%llu): %s",
                     (unsigned long long)id, h->file->name, (unsigned long long)h->at,
                     (unsigned long long)(h->at + h->stored), what);
}

static dm_status decode(const held *h, const dmi_stage *stage, const uint8_t *part, uint64_t id,
                        void *to)
{
    dmi_part_header header;
    memcpy(&header, part, sizeof header);
    const char *wrong = dmi_part_check(&header, id, h->count, h->stored - sizeof header);
    if (wrong)
        return corrupt(h, id, wrong);
    uint64_t sum;
    dmi_coding coding = {.plain = header.plain, .element = header.element};
    DMI_STEP(); /* `to` is shared memory */
    if (!dmi_codec_decode(stage->codec, &coding, part + sizeof header, header.stored, to,
                          header.count, &sum))
        return corrupt(h, id, "it cannot be decoded");
    return sum == header.sum ? DM_OK : corrupt(h, id, "its checksum does not fit");
}

static dm_status read_held(const held *h, const dmi_stage *stage, uint64_t id, void *to)
{
    size_t skip = h->at % DMI_BLOCK, end = skip + h->stored, got;
    dm_status status = dmi_spill_file_read(h->file, stage->bytes, dmi_blocks_of(end) * DMI_BLOCK,
                                           h->at - skip, &got);
    if (status != DM_OK)
        return status;
    if (got < end)
        return corrupt(h, id, "the file ends before");
    return decode(h, stage, stage->bytes + skip, id, to);
}

dm_status dmi_spill_read(dmi_spill *spill, uint32_t ticket, uint64_t id, void *to, size_t count)
{
    uint64_t start = dmi_spill_now_ns();
    dmi_stage *stage = dmi_stage_take(&spill->stages);
    if (stage == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a buffer to read spilled bytes through");
    held it = begin_read(spill, ticket);
    assert(it.count == count);
    (void)count;
    dm_status status = read_held(&it, stage, id, to);
    end_read(spill, &it, start, status == DM_OK);
    dmi_stage_leave(&spill->stages, stage);
    return status;
}
