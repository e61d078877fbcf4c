/*
 * spill.c - begin and end of spilling, freeing, and what there is to see: the ledger knows where a part is, a batch
 * how it is laid out, a file does it.
 *
 * Parts to files: spill_write.c. Back: spill_read.c. What is dead: spill_tidy.c. Any thread.
 */
#include "objectstore/spill.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objectstore/spill_inside.h"

/* ---- freeing ---- */

void dmi_spill_free(dmi_spill *spill, uint32_t ticket)
{
    dmi_spill_lock(spill);
    dmi_ledger_strike(&spill->ledger, ticket, false);
    dmi_spill_unlock(spill);
}

void dmi_spill_scope_end(dmi_spill *spill)
{
    if (spill->settings.policy != DMI_SPILL_SESSION)
        return;
    dmi_spill_lock(spill);
    dmi_ledger_let_go(&spill->ledger);
    dmi_spill_unlock(spill);
}

/* ---- looking ---- */

static uint64_t backed_blocks(const dmi_extents *e)
{
    return e->count[DMI_RUN_LIVE] + e->count[DMI_RUN_IDLE] + e->count[DMI_RUN_LENT];
}

uint64_t dmi_spill_on_disk(const dmi_spill *spill)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < spill->outlets; i++)
        if (spill->outlet[i].open)
            blocks += backed_blocks(&spill->outlet[i].file.extents);
    return blocks * DMI_BLOCK;
}

size_t dmi_spill_stored(dmi_spill *spill, uint32_t ticket)
{
    if (ticket == 0)
        return 0;
    dmi_spill_lock(spill);
    const dmi_entry *e = dmi_ledger_find(&spill->ledger, ticket);
    const dmi_unit *unit = e->unit;
    assert(unit);
    /* in a pack, as it is part of what lives there */
    uint64_t bytes = unit->run->blocks * DMI_BLOCK * e->stored / unit->alive_bytes;
    dmi_spill_unlock(spill);
    return (size_t)bytes;
}

void dmi_spill_stats_get(dmi_spill *spill, dmi_spill_stats *out)
{
    dmi_spill_lock(spill);
    *out = spill->stats;
    out->live_raw = spill->ledger.live_raw;
    out->live_stored = spill->ledger.live_stored;
    out->parts = spill->ledger.parts;
    out->on_disk = dmi_spill_on_disk(spill);
    out->punches = true;
    out->direct = !spill->settings.buffered;
    for (uint32_t i = 0; i < spill->outlets; i++) {
        const dmi_outlet *o = &spill->outlet[i];
        out->punches &= !o->open || dmi_outlet_punches(o);
        out->direct &= !o->open || atomic_load_explicit(&o->file.direct, memory_order_relaxed);
    }
    dmi_spill_unlock(spill);
}

bool dmi_spill_is_valid(dmi_spill *spill)
{
    dmi_spill_lock(spill);
    bool valid = dmi_ledger_is_valid(&spill->ledger);
    for (uint32_t i = 0; i < spill->outlets; i++)
        valid &= !spill->outlet[i].open || dmi_extents_is_valid(&spill->outlet[i].file.extents);
    dmi_spill_unlock(spill);
    return valid;
}

void dmi_spill_describe(dmi_spill *spill, uint32_t ticket, char *to, size_t room)
{
    dmi_spill_lock(spill);
    const dmi_entry *e = dmi_ledger_find(&spill->ledger, ticket);
    assert(e->unit);
    const dmi_spill_file *file = e->unit->file;
    unsigned long long at = e->unit->run->first * DMI_BLOCK + e->at;
    snprintf(to, room, "%s, bytes %llu to %llu", file->name, at, at + e->stored);
    dmi_spill_unlock(spill);
}

/* ---- begin and end ---- */

static dm_status open_place(dmi_spill *spill, const char *path, size_t length)
{
    if (spill->outlets == DMI_PLACES_MOST)
        return dmi_error(DM_ERR_OPTION, "more than %d spill directories are named; name fewer",
                         DMI_PLACES_MOST);
    dm_status status = dmi_place_open(&spill->outlet[spill->outlets].place, path, length,
                                      spill->settings.allow_memory);
    spill->outlets += status == DM_OK;
    return status;
}

static dm_status open_places(dmi_spill *spill, const char *dirs)
{
    while (*dirs) {
        size_t length = strcspn(dirs, ":");
        dm_status status = length ? open_place(spill, dirs, length) : DM_OK;
        if (status != DM_OK)
            return status;
        dirs += length + (dirs[length] == ':');
    }
    return spill->outlets
               ? DM_OK
               : dmi_error(DM_ERR_OPTION, "no spill directory is named; set DM_SPILL_DIR");
}

static void init(dmi_spill *spill, const dmi_spill_settings *settings)
{
    spill->settings = *settings;
    spill->settings.dirs = NULL; /* the caller's */
    spill->settings.visible |= settings->policy != DMI_SPILL_AUTO;
    if (settings->acceleration < 1)
        spill->settings.acceleration = 1;
    pthread_mutex_init(&spill->lock, NULL);
    pthread_mutex_init(&spill->making, NULL);
    pthread_cond_init(&spill->emptied, NULL);
    dmi_ledger_init(&spill->ledger, settings->policy != DMI_SPILL_AUTO);
    dmi_stages_init(&spill->stages, dmi_batch_room(), sizeof(dmi_batch));
}

dm_status dmi_spill_create(dmi_spill **out, const dmi_spill_settings *settings)
{
    assert(settings->dirs);
    *out = NULL;
    dmi_spill *spill = calloc(1, sizeof *spill);
    if (spill == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for spilling");
    init(spill, settings);
    dm_status status = open_places(spill, settings->dirs);
    if (status != DM_OK)
        dmi_spill_destroy(spill);
    else
        *out = spill;
    return status;
}

void dmi_spill_destroy(dmi_spill *spill)
{
    if (spill == NULL)
        return;
    dmi_ledger_fini(&spill->ledger);
    for (uint32_t i = 0; i < spill->outlets; i++) {
        if (spill->outlet[i].open)
            dmi_spill_file_close(&spill->outlet[i].file);
        dmi_place_close(&spill->outlet[i].place);
    }
    dmi_stages_fini(&spill->stages);
    pthread_cond_destroy(&spill->emptied);
    pthread_mutex_destroy(&spill->making);
    pthread_mutex_destroy(&spill->lock);
    free(spill);
}
