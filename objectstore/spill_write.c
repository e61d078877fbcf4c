/*
 * spill_write.c - parts to files.
 *
 *     stage and code -> take blocks -> write -> enter into the ledger
 */
#include <stdlib.h>

#include "objectstore/spill_inside.h"

/* ---- files ---- */

static bool is_open(dmi_spill *spill, const dmi_outlet *o)
{
    dmi_spill_lock(spill);
    bool open = o->open;
    dmi_spill_unlock(spill);
    return open;
}

static dm_status open_outlet(dmi_spill *spill, dmi_outlet *o)
{
    if (is_open(spill, o))
        return DM_OK;
    dm_status status = DM_OK;
    pthread_mutex_lock(&spill->making);
    if (!o->open) {
        status = dmi_spill_file_open(&o->file, &o->place, spill->settings.visible,
                                     spill->settings.buffered);
        dmi_spill_lock(spill);
        o->open = status == DM_OK;
        spill->stats.files += o->open;
        dmi_spill_unlock(spill);
    }
    pthread_mutex_unlock(&spill->making);
    return status;
}

/* ---- taking blocks ---- */

/* Under the lock: how many blocks more may have disk behind them. */
static uint64_t may_back(const dmi_spill *spill)
{
    uint64_t limit = spill->settings.limit_bytes, now = limit ? dmi_spill_on_disk(spill) : 0;
    return limit == 0 ? UINT64_MAX : limit > now ? (limit - now) / DMI_BLOCK : 0;
}

/* Under the lock: cut a run into the units of a batch. False, and all of it left: no memory. */
static bool cut_run(dmi_extents *extents, dmi_batch *b, dmi_run *run)
{
    for (uint32_t i = 0; i < b->units; i++) {
        b->unit[i].run = run;
        if (i + 1 == b->units)
            break;
        run = dmi_extents_cut(extents, run, dmi_blocks_of(b->unit[i].bytes));
        if (run)
            continue;
        for (uint32_t j = 0; j <= i; j++)
            dmi_extents_leave(extents, b->unit[j].run);
        return false;
    }
    return true;
}

static bool try_take(dmi_spill *spill, dmi_outlet *o, dmi_batch *b, uint64_t blocks)
{
    dmi_spill_lock(spill);
    while (o->emptying)
        pthread_cond_wait(&spill->emptied, &spill->lock);
    dmi_run *run = dmi_extents_take(&o->file.extents, blocks, may_back(spill));
    bool taken = run && cut_run(&o->file.extents, b, run);
    dmi_spill_unlock(spill);
    return taken;
}

static dm_status take_blocks(dmi_spill *spill, dmi_outlet *o, dmi_batch *b, uint64_t bytes)
{
    uint64_t limit = spill->settings.limit_bytes;
    if (try_take(spill, o, b, bytes / DMI_BLOCK))
        return DM_OK;
    if (limit == 0)
        return dmi_error(DM_ERR_NOMEM, "no memory to keep account of spilled objects");
    return dmi_error(DM_ERR_DISK_FULL,
                     "%llu bytes more on disk would exceed the %llu that may be spilled; raise "
                     "spill_limit_bytes (DM_SPILL_LIMIT_BYTES)",
                     (unsigned long long)bytes, (unsigned long long)limit);
}

/* Blocks whose write failed: nothing of it stays. */
static void abandon_blocks(dmi_spill *spill, dmi_outlet *o, const dmi_batch *b, uint64_t bytes)
{
    bool bare = dmi_spill_file_punch(&o->file, b->unit[0].run->first * DMI_BLOCK, bytes);
    dmi_spill_lock(spill);
    for (uint32_t i = 0; i < b->units; i++)
        (bare ? dmi_extents_abandon : dmi_extents_leave)(&o->file.extents, b->unit[i].run);
    dmi_spill_unlock(spill);
}

/* ---- writing ---- */

static dm_status write_to(dmi_spill *spill, dmi_outlet *o, dmi_batch *b,
                          const atomic_bool *cancelled)
{
    uint64_t bytes = dmi_batch_end(b);
    dm_status status = open_outlet(spill, o);
    if (status == DM_OK)
        status = dmi_spill_file_room(&o->file, bytes, spill->settings.fill_limit);
    if (status == DM_OK)
        status = take_blocks(spill, o, b, bytes);
    if (status != DM_OK)
        return status;
    status = dmi_spill_file_write(&o->file, b->stage->bytes, bytes,
                                  b->unit[0].run->first * DMI_BLOCK, cancelled);
    if (status != DM_OK)
        abandon_blocks(spill, o, b, bytes);
    return status;
}

static uint32_t next_turn(dmi_spill *spill)
{
    dmi_spill_lock(spill);
    uint32_t turn = spill->turn++;
    dmi_spill_unlock(spill);
    return turn;
}

/* To each directory in turn, until one takes it. The last one's word is what is said. */
static dm_status write_to_any(dmi_spill *spill, dmi_batch *b, const atomic_bool *cancelled,
                              dmi_outlet **where)
{
    uint32_t turn = next_turn(spill);
    dm_status status = DM_OK;
    for (uint32_t i = 0; i < spill->outlets; i++) {
        *where = &spill->outlet[(turn + i) % spill->outlets];
        status = write_to(spill, *where, b, cancelled);
        if (status == DM_OK || status == DM_ERR_CANCELLED)
            break;
    }
    return status;
}

/* Where there is no room there may be idle blocks of ours, in pieces too small: give them back and try once
 * more. (Not for ever: what a failed write leaves idle could be given back each time.) */
static dm_status write_somewhere(dmi_spill *spill, dmi_batch *b, const atomic_bool *cancelled,
                                 dmi_outlet **where)
{
    dm_status status = write_to_any(spill, b, cancelled, where);
    if (status != DM_ERR_DISK_FULL || !dmi_spill_give_back(spill, true))
        return status;
    while (dmi_spill_give_back(spill, true))
        ;
    return write_to_any(spill, b, cancelled, where);
}

/* What must not be lacking once the bytes are written: memory for units, tickets (`fresh` ones). */
static bool prepare(dmi_spill *spill, dmi_batch *b, bool fresh)
{
    for (uint32_t i = 0; i < b->units; i++)
        if ((b->unit[i].made = malloc(sizeof *b->unit[i].made)) == NULL)
            return false;
    dmi_spill_lock(spill);
    bool done = true;
    for (uint32_t i = 0; i < b->parts && fresh && done; i++)
        done = (b->part[i].ticket = dmi_ledger_take(&spill->ledger)) != 0;
    dmi_spill_unlock(spill);
    return done;
}

static void unprepare(dmi_spill *spill, const dmi_batch *b, bool fresh)
{
    for (uint32_t i = 0; i < b->units; i++)
        free(b->unit[i].made);
    dmi_spill_lock(spill);
    for (uint32_t i = 0; i < b->parts && fresh && b->part[i].ticket; i++)
        dmi_ledger_leave(&spill->ledger, b->part[i].ticket);
    dmi_spill_unlock(spill);
}

/* Under the lock: a part of a batch is where it was written, or (moved) no more alive. */
static void enter(dmi_spill *spill, const dmi_batch *b, const dmi_placed *p)
{
    dmi_unit *unit = b->unit[p->unit].made;
    uint32_t at = p->at - b->unit[p->unit].at;
    if (p->from) {
        if (dmi_ledger_move(&spill->ledger, p->ticket, p->from, unit, at))
            spill->stats.moved += p->stored;
        return;
    }
    dmi_ledger_enter(&spill->ledger, p->ticket, unit, at, p->stored, p->count);
    spill->stats.written_raw += p->count;
    spill->stats.written_stored += p->stored;
}

static void commit(dmi_spill *spill, const dmi_batch *b, dmi_outlet *o)
{
    dmi_spill_lock(spill);
    for (uint32_t i = 0; i < b->units; i++)
        dmi_unit_init(b->unit[i].made, &o->file, &o->file.extents, b->unit[i].run);
    for (uint32_t i = 0; i < b->parts; i++)
        enter(spill, b, &b->part[i]);
    for (uint32_t i = 0; i < b->units; i++)
        dmi_ledger_settle(&spill->ledger, b->unit[i].made);
    dmi_spill_unlock(spill);
}

dm_status dmi_spill_write_batch(dmi_spill *spill, dmi_batch *b, bool fresh,
                                const atomic_bool *cancelled)
{
    dmi_outlet *where = NULL;
    dm_status status = DM_OK;
    if (!prepare(spill, b, fresh))
        status = dmi_error(DM_ERR_NOMEM, "no memory to keep account of spilled objects");
    if (status == DM_OK)
        status = write_somewhere(spill, b, cancelled, &where);
    if (status != DM_OK)
        unprepare(spill, b, fresh);
    else
        commit(spill, b, where);
    return status;
}

/* All, in as many batches as it takes; *done of them are written. */
static dm_status write_all(dmi_spill *spill, dmi_stage *stage, dmi_part *parts, size_t n,
                           size_t *done, const atomic_bool *cancelled)
{
    for (*done = 0; *done < n;) {
        dmi_batch *b = dmi_batch_begin(stage);
        if (!dmi_batch_fill(b, &spill->settings, parts + *done, n - *done, cancelled))
            return dmi_error(DM_ERR_CANCELLED, "spilling was cancelled");
        dm_status status = dmi_spill_write_batch(spill, b, true, cancelled);
        if (status != DM_OK)
            return status;
        for (uint32_t i = 0; i < b->parts; i++)
            parts[*done + i].ticket = b->part[i].ticket;
        *done += b->parts;
    }
    return DM_OK;
}

dm_status dmi_spill_write(dmi_spill *spill, dmi_part *parts, size_t n, const atomic_bool *cancelled)
{
    uint64_t start = dmi_spill_now_ns();
    size_t done;
    dmi_stage *stage = dmi_stage_take(&spill->stages);
    if (stage == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a buffer to spill through");
    dm_status status = write_all(spill, stage, parts, n, &done, cancelled);
    dmi_stage_leave(&spill->stages, stage);
    dmi_spill_lock(spill);
    spill->stats.write_ns += dmi_spill_now_ns() - start;
    for (size_t i = 0; status != DM_OK && i < done; i++)
        dmi_ledger_strike(&spill->ledger, parts[i].ticket, true);
    dmi_spill_unlock(spill);
    for (size_t i = 0; status != DM_OK && i < n; i++)
        parts[i].ticket = 0;
    return status;
}
