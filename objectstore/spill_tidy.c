/*
 * spill_tidy.c - what is dead is given back: a file is emptied, or idle blocks are punched, or what lives in sparse
 * units is moved.
 */
#include <assert.h>
#include <stdlib.h>

#include "objectstore/spill_inside.h"

enum {
    GIVE_MOST = 4096, /* blocks given back by one call: 16 MiB, about a millisecond */
    GIVE_LEAST = 2,   /* blocks in a row that are given back; see worth() */
    MOVE_MOST = 16    /* units moved by one call */
};

/* ---- giving back: what may be, under the lock ---- */

/* To punch a lone block takes 60 to 270 us. So while idle blocks are few beside live ones, lone ones are kept
 * for what is written next. */
static uint64_t worth(const dmi_outlet *o, bool all)
{
    const uint64_t *count = o->file.extents.count;
    return all || 8 * count[DMI_RUN_IDLE] > count[DMI_RUN_LIVE] ? 1 : GIVE_LEAST;
}

static bool may_punch(const dmi_outlet *o, bool all)
{
    return o->open && !o->emptying && dmi_outlet_punches(o) &&
           dmi_extents_has_idle(&o->file.extents, worth(o, all));
}

/* One call gives back all, and writers who wait for it do not wait long. */
static bool may_empty(const dmi_outlet *o)
{
    const uint64_t *count = o->file.extents.count;
    return o->open && !o->emptying && count[DMI_RUN_LIVE] == 0 && count[DMI_RUN_LENT] == 0 &&
           count[DMI_RUN_IDLE] > 0 && (count[DMI_RUN_IDLE] <= GIVE_MOST || !dmi_outlet_punches(o));
}

/* ---- giving back ---- */

static bool begin_emptying(dmi_spill *spill, dmi_outlet *o)
{
    dmi_spill_lock(spill);
    bool may = may_empty(o);
    if (may)
        o->emptying = true;
    dmi_spill_unlock(spill);
    return may;
}

static bool empty(dmi_spill *spill, dmi_outlet *o)
{
    if (!begin_emptying(spill, o))
        return false;
    bool emptied = dmi_spill_file_empty(&o->file);
    dmi_spill_lock(spill);
    o->emptying = false;
    if (emptied) {
        spill->stats.punched += o->file.extents.count[DMI_RUN_IDLE] * DMI_BLOCK;
        dmi_extents_clear(&o->file.extents);
    }
    pthread_cond_broadcast(&spill->emptied);
    dmi_spill_unlock(spill);
    return emptied;
}

static dmi_run *lend(dmi_spill *spill, dmi_outlet *o, bool all)
{
    dmi_spill_lock(spill);
    dmi_run *run = may_punch(o, all) ? dmi_extents_lend(&o->file.extents, 1, GIVE_MOST) : NULL;
    dmi_spill_unlock(spill);
    return run;
}

static bool punch(dmi_spill *spill, dmi_outlet *o, bool all)
{
    dmi_run *run = lend(spill, o, all);
    if (run == NULL)
        return false;
    uint64_t bytes = run->blocks * DMI_BLOCK;
    bool punched = dmi_spill_file_punch(&o->file, run->first * DMI_BLOCK, bytes);
    dmi_spill_lock(spill);
    spill->stats.punched += punched ? bytes : 0;
    (punched ? dmi_extents_bare : dmi_extents_unlend)(&o->file.extents, run);
    dmi_spill_unlock(spill);
    return punched;
}

bool dmi_spill_give_back(dmi_spill *spill, bool all)
{
    for (uint32_t i = 0; i < spill->outlets; i++)
        if (empty(spill, &spill->outlet[i]) || punch(spill, &spill->outlet[i], all))
            return true;
    return false;
}

/* ---- moving what lives among the dead ---- */

enum {
    READ_AT = 2 << 20
}; /* where in the stage a unit is read to; what lives is copied to the front */
static_assert(MOVE_MOST * (DMI_PACK_MOST / 2 + DMI_BLOCK) <= READ_AT, "the copies end before");

/* Under the lock: the living parts of a unit, `at` counted in it. How many. */
static uint32_t list_alive(const dmi_spill *spill, const dmi_unit *unit, dmi_placed *alive,
                           uint32_t most)
{
    uint32_t n = 0;
    for (uint32_t ticket = unit->first; ticket && n < most; n++) {
        const dmi_entry *e = dmi_ledger_find(&spill->ledger, ticket);
        alive[n] =
            (dmi_placed){.at = e->at, .stored = e->stored, .count = e->count, .ticket = ticket};
        ticket = e->next;
    }
    return n;
}

/* Copy what lives in a unit to the batch, coded as it is. What does not fit, or cannot be read, stays. */
static void gather(dmi_spill *spill, dmi_batch *b, const dmi_unit *unit, dmi_placed *alive)
{
    size_t bytes = unit->run->blocks * DMI_BLOCK, got;
    dm_status status = dmi_spill_file_read(unit->file, b->stage->bytes + READ_AT, bytes,
                                           unit->run->first * DMI_BLOCK, &got);
    if (status != DM_OK || got < bytes)
        return; /* whoever reads a part of it will be told */
    dmi_spill_lock(spill);
    uint32_t n = list_alive(spill, unit, alive, DMI_BATCH_MOST - b->parts);
    dmi_spill_unlock(spill);
    for (uint32_t i = 0; i < n; i++) {
        dmi_placed *placed = dmi_batch_place(b, READ_AT + alive[i].at, alive[i].stored);
        placed->count = alive[i].count;
        placed->ticket = alive[i].ticket;
        placed->from = unit;
    }
}

static bool gather_and_write(dmi_spill *spill, dmi_unit *const *units, uint32_t n)
{
    dmi_placed *alive = malloc(DMI_BATCH_MOST * sizeof *alive);
    dmi_stage *stage = alive ? dmi_stage_take(&spill->stages) : NULL;
    bool moved = false;
    if (stage) {
        dmi_batch *b = dmi_batch_begin(stage);
        for (uint32_t i = 0; i < n; i++)
            gather(spill, b, units[i], alive);
        moved = b->parts > 0 && dmi_spill_write_batch(spill, b, false, NULL) == DM_OK;
        dmi_stage_leave(&spill->stages, stage);
    }
    free(alive);
    return moved;
}

static bool move(dmi_spill *spill)
{
    dmi_unit *units[MOVE_MOST];
    dmi_spill_lock(spill);
    uint32_t n = dmi_ledger_begin_move(&spill->ledger, units, MOVE_MOST);
    dmi_spill_unlock(spill);
    if (n == 0)
        return false;
    bool moved = gather_and_write(spill, units, n);
    dmi_spill_lock(spill);
    dmi_ledger_end_move(&spill->ledger, units, n);
    dmi_spill_unlock(spill);
    return moved;
}

/* ---- tidying ---- */

bool dmi_spill_untidy(dmi_spill *spill)
{
    dmi_spill_lock(spill);
    bool untidy = dmi_ledger_can_move(&spill->ledger);
    for (uint32_t i = 0; i < spill->outlets && !untidy; i++)
        untidy = may_empty(&spill->outlet[i]) || may_punch(&spill->outlet[i], false);
    dmi_spill_unlock(spill);
    return untidy;
}

bool dmi_spill_tidy(dmi_spill *spill)
{
    if (!dmi_spill_give_back(spill, false) && !move(spill))
        return false;
    return dmi_spill_untidy(spill);
}
