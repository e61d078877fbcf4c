/*
 * spill.c - parts to files and back: the ledger knows where, a batch how, a file does it.
 *
 *     write: stage and code -> take blocks -> write -> enter into the ledger
 *     read:  hold the unit -> read -> check, decode -> release it
 *     tidy:  empty a file, or punch idle blocks, or move what lives in sparse units
 *
 * Two locks: `lock` over all that is remembered, never held while anything waits for a disk or codes;
 * `making` over the making of files. Any thread.
 */
#include "objectstore/spill.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "objectstore/batch.h"
#include "objectstore/ledger.h"
#include "objectstore/part.h"
#include "objectstore/spill_file.h"
#include "objectstore/word.h"

enum {
    PLACES_MOST = 64,
    GIVE_MOST = 4096, /* blocks given back by one call: 16 MiB, about a millisecond */
    GIVE_LEAST = 2,   /* blocks in a row that are given back; see worth() */
    MOVE_MOST = 16    /* units moved by one call */
};

/* A directory, and the file in it once it is needed. */
typedef struct outlet {
    dmi_place place;
    dmi_spill_file file;
    bool open;
    bool emptying; /* by somebody, without the lock: nobody may take blocks */
} outlet;

struct dmi_spill {
    dmi_spill_settings settings;
    dmi_stages stages;
    pthread_mutex_t making;
    pthread_mutex_t lock; /* over all below */
    pthread_cond_t emptied;
    uint32_t outlets, turn;
    outlet outlet[PLACES_MOST];
    dmi_ledger ledger;
    dmi_spill_stats stats; /* of it only what counts up */
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void lock(dmi_spill *spill)
{
    pthread_mutex_lock(&spill->lock);
}

static void unlock(dmi_spill *spill)
{
    pthread_mutex_unlock(&spill->lock);
}

/* ---- files ---- */

static uint64_t backed_blocks(const dmi_extents *e)
{
    return e->count[DMI_RUN_LIVE] + e->count[DMI_RUN_IDLE] + e->count[DMI_RUN_LENT];
}

/* Under the lock. */
static uint64_t on_disk(const dmi_spill *spill)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < spill->outlets; i++)
        if (spill->outlet[i].open)
            blocks += backed_blocks(&spill->outlet[i].file.extents);
    return blocks * DMI_BLOCK;
}

static bool is_open(dmi_spill *spill, const outlet *o)
{
    lock(spill);
    bool open = o->open;
    unlock(spill);
    return open;
}

static dm_status open_outlet(dmi_spill *spill, outlet *o)
{
    if (is_open(spill, o))
        return DM_OK;
    dm_status status = DM_OK;
    pthread_mutex_lock(&spill->making);
    if (!o->open) {
        status = dmi_spill_file_open(&o->file, &o->place, spill->settings.visible,
                                     spill->settings.buffered);
        lock(spill);
        o->open = status == DM_OK;
        spill->stats.files += o->open;
        unlock(spill);
    }
    pthread_mutex_unlock(&spill->making);
    return status;
}

/* ---- taking blocks ---- */

/* Under the lock: how many blocks more may have disk behind them. */
static uint64_t may_back(const dmi_spill *spill)
{
    uint64_t limit = spill->settings.limit_bytes, now = limit ? on_disk(spill) : 0;
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

static bool try_take(dmi_spill *spill, outlet *o, dmi_batch *b, uint64_t blocks)
{
    lock(spill);
    while (o->emptying)
        pthread_cond_wait(&spill->emptied, &spill->lock);
    dmi_run *run = dmi_extents_take(&o->file.extents, blocks, may_back(spill));
    bool taken = run && cut_run(&o->file.extents, b, run);
    unlock(spill);
    return taken;
}

static dm_status take_blocks(dmi_spill *spill, outlet *o, dmi_batch *b, uint64_t bytes)
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
static void abandon_blocks(dmi_spill *spill, outlet *o, const dmi_batch *b, uint64_t bytes)
{
    bool bare = dmi_spill_file_punch(&o->file, b->unit[0].run->first * DMI_BLOCK, bytes);
    lock(spill);
    for (uint32_t i = 0; i < b->units; i++)
        (bare ? dmi_extents_abandon : dmi_extents_leave)(&o->file.extents, b->unit[i].run);
    unlock(spill);
}

/* ---- writing ---- */

static dm_status write_to(dmi_spill *spill, outlet *o, dmi_batch *b, const atomic_bool *cancelled)
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
    lock(spill);
    uint32_t turn = spill->turn++;
    unlock(spill);
    return turn;
}

/* To each directory in turn, until one takes it. The last one's word is what is said. */
static dm_status write_to_any(dmi_spill *spill, dmi_batch *b, const atomic_bool *cancelled,
                              outlet **where)
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

static bool give_back(dmi_spill *spill, bool all);

/* Where there is no room there may be idle blocks of ours, in pieces too small: give them back and try once
 * more. (Not for ever: what a failed write leaves idle could be given back each time.) */
static dm_status write_somewhere(dmi_spill *spill, dmi_batch *b, const atomic_bool *cancelled,
                                 outlet **where)
{
    dm_status status = write_to_any(spill, b, cancelled, where);
    if (status != DM_ERR_DISK_FULL || !give_back(spill, true))
        return status;
    while (give_back(spill, true))
        ;
    return write_to_any(spill, b, cancelled, where);
}

/* What must not be lacking once the bytes are written: memory for units, tickets (`new` ones). */
static bool prepare(dmi_spill *spill, dmi_batch *b, bool new)
{
    for (uint32_t i = 0; i < b->units; i++)
        if ((b->unit[i].made = malloc(sizeof *b->unit[i].made)) == NULL)
            return false;
    lock(spill);
    bool done = true;
    for (uint32_t i = 0; i < b->parts && new &&done; i++)
        done = (b->part[i].ticket = dmi_ledger_take(&spill->ledger)) != 0;
    unlock(spill);
    return done;
}

static void unprepare(dmi_spill *spill, const dmi_batch *b, bool new)
{
    for (uint32_t i = 0; i < b->units; i++)
        free(b->unit[i].made);
    lock(spill);
    for (uint32_t i = 0; i < b->parts && new && b->part[i].ticket; i++)
        dmi_ledger_leave(&spill->ledger, b->part[i].ticket);
    unlock(spill);
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

static void commit(dmi_spill *spill, const dmi_batch *b, outlet *o)
{
    lock(spill);
    for (uint32_t i = 0; i < b->units; i++)
        dmi_unit_init(b->unit[i].made, &o->file, &o->file.extents, b->unit[i].run);
    for (uint32_t i = 0; i < b->parts; i++)
        enter(spill, b, &b->part[i]);
    for (uint32_t i = 0; i < b->units; i++)
        dmi_ledger_settle(&spill->ledger, b->unit[i].made);
    unlock(spill);
}

/* `new`: parts that have no tickets yet. */
static dm_status write_batch(dmi_spill *spill, dmi_batch *b, bool new, const atomic_bool *cancelled)
{
    outlet *where = NULL;
    dm_status status = DM_OK;
    if (!prepare(spill, b, new))
        status = dmi_error(DM_ERR_NOMEM, "no memory to keep account of spilled objects");
    if (status == DM_OK)
        status = write_somewhere(spill, b, cancelled, &where);
    if (status != DM_OK)
        unprepare(spill, b, new);
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
        dm_status status = write_batch(spill, b, true, cancelled);
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
    uint64_t start = now_ns();
    size_t done;
    dmi_stage *stage = dmi_stage_take(&spill->stages);
    if (stage == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a buffer to spill through");
    dm_status status = write_all(spill, stage, parts, n, &done, cancelled);
    dmi_stage_leave(&spill->stages, stage);
    lock(spill);
    spill->stats.write_ns += now_ns() - start;
    for (size_t i = 0; status != DM_OK && i < done; i++)
        dmi_ledger_strike(&spill->ledger, parts[i].ticket, true);
    unlock(spill);
    for (size_t i = 0; status != DM_OK && i < n; i++)
        parts[i].ticket = 0;
    return status;
}

/* ---- reading ---- */

/* Where a part lies, and who keeps it there. */
typedef struct held {
    dmi_unit *unit;
    dmi_spill_file *file;
    uint64_t at; /* in the file */
    uint32_t stored, count;
} held;

static held begin_read(dmi_spill *spill, uint32_t ticket)
{
    lock(spill);
    const dmi_entry *e = dmi_ledger_find(&spill->ledger, ticket);
    assert(e->unit);
    dmi_unit_hold(e->unit);
    held it = {.unit = e->unit,
               .file = e->unit->file,
               .at = e->unit->run->first * DMI_BLOCK + e->at,
               .stored = e->stored,
               .count = e->count};
    unlock(spill);
    return it;
}

static void end_read(dmi_spill *spill, const held *h, uint64_t start, bool well)
{
    lock(spill);
    dmi_ledger_release(&spill->ledger, h->unit);
    spill->stats.read_ns += now_ns() - start;
    spill->stats.read_raw += well ? h->count : 0;
    spill->stats.read_stored += well ? h->stored : 0;
    unlock(spill);
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
    uint64_t start = now_ns();
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

/* ---- freeing ---- */

void dmi_spill_free(dmi_spill *spill, uint32_t ticket)
{
    lock(spill);
    dmi_ledger_strike(&spill->ledger, ticket, false);
    unlock(spill);
}

void dmi_spill_scope_end(dmi_spill *spill)
{
    if (spill->settings.policy != DMI_SPILL_SESSION)
        return;
    lock(spill);
    dmi_ledger_let_go(&spill->ledger);
    unlock(spill);
}

/* ---- giving back: what may be, under the lock ---- */

static bool punches(const outlet *o)
{
    return atomic_load_explicit(&o->file.punches, memory_order_relaxed);
}

/* To punch a lone block takes 60 to 270 us. So while idle blocks are few beside live ones, lone ones are kept
 * for what is written next. */
static uint64_t worth(const outlet *o, bool all)
{
    const uint64_t *count = o->file.extents.count;
    return all || 8 * count[DMI_RUN_IDLE] > count[DMI_RUN_LIVE] ? 1 : GIVE_LEAST;
}

static bool may_punch(const outlet *o, bool all)
{
    return o->open && !o->emptying && punches(o) &&
           dmi_extents_has_idle(&o->file.extents, worth(o, all));
}

/* One call gives back all, and writers who wait for it do not wait long. */
static bool may_empty(const outlet *o)
{
    const uint64_t *count = o->file.extents.count;
    return o->open && !o->emptying && count[DMI_RUN_LIVE] == 0 && count[DMI_RUN_LENT] == 0 &&
           count[DMI_RUN_IDLE] > 0 && (count[DMI_RUN_IDLE] <= GIVE_MOST || !punches(o));
}

/* ---- giving back ---- */

static bool begin_emptying(dmi_spill *spill, outlet *o)
{
    lock(spill);
    bool may = may_empty(o);
    if (may)
        o->emptying = true;
    unlock(spill);
    return may;
}

static bool empty(dmi_spill *spill, outlet *o)
{
    if (!begin_emptying(spill, o))
        return false;
    bool emptied = dmi_spill_file_empty(&o->file);
    lock(spill);
    o->emptying = false;
    if (emptied) {
        spill->stats.punched += o->file.extents.count[DMI_RUN_IDLE] * DMI_BLOCK;
        dmi_extents_clear(&o->file.extents);
    }
    pthread_cond_broadcast(&spill->emptied);
    unlock(spill);
    return emptied;
}

static dmi_run *lend(dmi_spill *spill, outlet *o, bool all)
{
    lock(spill);
    dmi_run *run = may_punch(o, all) ? dmi_extents_lend(&o->file.extents, 1, GIVE_MOST) : NULL;
    unlock(spill);
    return run;
}

static bool punch(dmi_spill *spill, outlet *o, bool all)
{
    dmi_run *run = lend(spill, o, all);
    if (run == NULL)
        return false;
    uint64_t bytes = run->blocks * DMI_BLOCK;
    bool punched = dmi_spill_file_punch(&o->file, run->first * DMI_BLOCK, bytes);
    lock(spill);
    spill->stats.punched += punched ? bytes : 0;
    (punched ? dmi_extents_bare : dmi_extents_unlend)(&o->file.extents, run);
    unlock(spill);
    return punched;
}

/* True if something was. `all`: though it may not be worth it. */
static bool give_back(dmi_spill *spill, bool all)
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
    lock(spill);
    uint32_t n = list_alive(spill, unit, alive, DMI_BATCH_MOST - b->parts);
    unlock(spill);
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
        moved = b->parts > 0 && write_batch(spill, b, false, NULL) == DM_OK;
        dmi_stage_leave(&spill->stages, stage);
    }
    free(alive);
    return moved;
}

static bool move(dmi_spill *spill)
{
    dmi_unit *units[MOVE_MOST];
    lock(spill);
    uint32_t n = dmi_ledger_begin_move(&spill->ledger, units, MOVE_MOST);
    unlock(spill);
    if (n == 0)
        return false;
    bool moved = gather_and_write(spill, units, n);
    lock(spill);
    dmi_ledger_end_move(&spill->ledger, units, n);
    unlock(spill);
    return moved;
}

/* ---- tidying ---- */

bool dmi_spill_untidy(dmi_spill *spill)
{
    lock(spill);
    bool untidy = dmi_ledger_can_move(&spill->ledger);
    for (uint32_t i = 0; i < spill->outlets && !untidy; i++)
        untidy = may_empty(&spill->outlet[i]) || may_punch(&spill->outlet[i], false);
    unlock(spill);
    return untidy;
}

bool dmi_spill_tidy(dmi_spill *spill)
{
    if (!give_back(spill, false) && !move(spill))
        return false;
    return dmi_spill_untidy(spill);
}

/* ---- looking ---- */

size_t dmi_spill_stored(dmi_spill *spill, uint32_t ticket)
{
    if (ticket == 0)
        return 0;
    lock(spill);
    const dmi_entry *e = dmi_ledger_find(&spill->ledger, ticket);
    const dmi_unit *unit = e->unit;
    uint64_t bytes = 0;
    if (unit) /* in a pack, as it is part of what lives there */
        bytes = unit->run->blocks * DMI_BLOCK * e->stored / unit->alive_bytes;
    unlock(spill);
    return (size_t)bytes;
}

void dmi_spill_stats_get(dmi_spill *spill, dmi_spill_stats *out)
{
    lock(spill);
    *out = spill->stats;
    out->live_raw = spill->ledger.live_raw;
    out->live_stored = spill->ledger.live_stored;
    out->parts = spill->ledger.parts;
    out->on_disk = on_disk(spill);
    out->punches = true;
    out->direct = !spill->settings.buffered;
    for (uint32_t i = 0; i < spill->outlets; i++) {
        const outlet *o = &spill->outlet[i];
        out->punches &= !o->open || punches(o);
        out->direct &= !o->open || atomic_load_explicit(&o->file.direct, memory_order_relaxed);
    }
    unlock(spill);
}

bool dmi_spill_is_valid(dmi_spill *spill)
{
    lock(spill);
    bool valid = dmi_ledger_is_valid(&spill->ledger);
    for (uint32_t i = 0; i < spill->outlets; i++)
        valid &= !spill->outlet[i].open || dmi_extents_is_valid(&spill->outlet[i].file.extents);
    unlock(spill);
    return valid;
}

void dmi_spill_describe(dmi_spill *spill, uint32_t ticket, char *to, size_t room)
{
    lock(spill);
    const dmi_entry *e = ticket ? dmi_ledger_find(&spill->ledger, ticket) : NULL;
    if (e && e->unit) {
        const dmi_spill_file *file = e->unit->file;
        unsigned long long at = e->unit->run->first * DMI_BLOCK + e->at;
        snprintf(to, room, "%s, bytes %llu to %llu", file->name, at, at + e->stored);
    } else {
        snprintf(to, room, "nowhere on disk");
    }
    unlock(spill);
}

/* ---- begin and end ---- */

static dm_status open_place(dmi_spill *spill, const char *path, size_t length)
{
    if (spill->outlets == PLACES_MOST)
        return dmi_error(DM_ERR_OPTION, "more than %d spill directories are named; name fewer",
                         PLACES_MOST);
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
