/*
 * spill.c - which part lies where, who reads it, and what of the files is worth giving back.
 *
 * Parts lie in *units*, runs of blocks: a large part has one of its own, small ones share one (a pack). A
 * unit is given up when none of its parts is alive and nobody reads it:
 *
 *     take, write, commit --> ALIVE --- its last part freed ---> DEAD --- its last reader gone --> idle run
 *                               |                                  ^
 *                               +-- sparse: tidy copies what lives -+
 *
 * Laws: unit->alive is the number of entries that name it; a dead unit is on no list; a pack is on the
 * list of sparse ones iff more than half of it is dead and nothing moves it. Two locks: `lock` over all
 * that is remembered, never held while anything waits; `making` over the making of files.
 */
#include "objectstore/spill.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "objectstore/codec.h"
#include "objectstore/part.h"
#include "objectstore/spill_file.h"
#include "objectstore/stage.h"
#include "objectstore/word.h"

enum {
    PLACES_MOST = 64,
    OWN_LEAST = 16 << 10,    /* stored bytes from which a part has blocks of its own */
    PACK_MOST = 64 << 10,    /* bytes of a pack */
    PART_ALIGN = 16,         /* of a part in a pack */
    BATCH_MOST = 4096,       /* parts of one write to the disk */
    GIVE_MOST = 4096,        /* blocks given back by one call: 16 MiB, about a millisecond */
    GIVE_LEAST = 4,          /* blocks; less is kept for reuse while there is little of it: see worth */
    MOVE_MOST = 16,          /* packs moved by one call */
    TABLE_STEP = 1024        /* entries */
};

typedef struct spill_unit {
    dmi_spill_file *file;
    dmi_run *run;
    uint32_t first;         /* ticket of one of its parts */
    uint32_t alive;         /* parts */
    uint32_t readers;       /* of its blocks; who moves it is one */
    uint32_t alive_bytes;   /* of its living parts, as written */
    bool moving, failed;    /* failed: with its write, so no policy holds it */
    struct spill_list *list; /* it is on: sparse, or sparse but held by the policy */
    struct spill_unit *prev, *next;
} spill_unit;

/* What a ticket stands for. Free ones are chained by `next`. */
typedef struct entry {
    spill_unit *unit;
    uint32_t at; /* in the unit */
    uint32_t stored, count;
    uint32_t prev, next; /* tickets of the same unit */
} entry;

typedef struct spill_list {
    spill_unit *first;
    uint64_t blocks, alive_bytes;
} spill_list;

/* A place's file, once it is needed. */
typedef struct spill_slot {
    dmi_spill_file file;
    bool open, emptying;
} spill_slot;

struct dmi_spill {
    dmi_spill_settings settings;
    bool visible;
    dmi_stages stages;
    pthread_mutex_t making;

    pthread_mutex_t lock;
    pthread_cond_t emptied;
    uint32_t places, turn;
    dmi_place place[PLACES_MOST];
    spill_slot slot[PLACES_MOST];
    entry *table; /* by ticket - 1 */
    uint32_t table_size, free_ticket;
    spill_list sparse;
    spill_list held_sparse; /* sparse, but the policy holds them */
    spill_unit *held_dead;  /* dead, but the policy holds them; by next */
    dmi_spill_stats stats;
};

/* What one write to the disk brings there: parts in the order of their places, and the units they make. The
 * notes of a stage. */
typedef struct batch {
    dmi_stage *stage;
    spill_slot *slot; /* where it was written */
    size_t end;        /* bytes staged */
    size_t unit_at;    /* where the last unit begins */
    bool pack;         /* more may join it */
    uint32_t parts, units;
    struct placed {
        uint32_t unit, at, stored, count; /* at: in the stage */
        uint32_t ticket;
        struct spill_unit *from; /* of what is moved: where it was */
    } part[BATCH_MOST];
    struct {
        uint32_t at, bytes;
        dmi_run *run;
        struct spill_unit *made;
    } unit[BATCH_MOST];
} batch;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t blocks_of(uint64_t bytes)
{
    return (bytes + DMI_BLOCK - 1) / DMI_BLOCK;
}

static size_t up_to(size_t bytes, size_t align)
{
    return (bytes + align - 1) / align * align;
}

/* ---- entries, under the lock ---- */

static entry *entry_of(dmi_spill *spill, uint32_t ticket)
{
    assert(ticket > 0 && ticket <= spill->table_size);
    return &spill->table[ticket - 1];
}

/* So many free entries more. False: no memory. */
static bool grow_table(dmi_spill *spill, uint32_t more)
{
    uint32_t size = spill->table_size + (more > spill->table_size / 2 ? more : spill->table_size / 2);
    entry *table = size < spill->table_size ? NULL : realloc(spill->table, size * sizeof *table);
    if (table == NULL)
        return false;
    spill->table = table;
    for (uint32_t i = size; i > spill->table_size; i--) {
        table[i - 1] = (entry){.next = spill->free_ticket};
        spill->free_ticket = i;
    }
    spill->table_size = size;
    return true;
}

static uint32_t take_ticket(dmi_spill *spill)
{
    if (spill->free_ticket == 0 && !grow_table(spill, TABLE_STEP))
        return 0;
    uint32_t ticket = spill->free_ticket;
    spill->free_ticket = entry_of(spill, ticket)->next;
    return ticket;
}

static void leave_ticket(dmi_spill *spill, uint32_t ticket)
{
    *entry_of(spill, ticket) = (entry){.next = spill->free_ticket};
    spill->free_ticket = ticket;
}

static void join_unit(dmi_spill *spill, uint32_t ticket, spill_unit *unit)
{
    entry *e = entry_of(spill, ticket);
    e->unit = unit;
    e->prev = 0;
    e->next = unit->first;
    if (unit->first)
        entry_of(spill, unit->first)->prev = ticket;
    unit->first = ticket;
    unit->alive++;
    unit->alive_bytes += (uint32_t)up_to(e->stored, PART_ALIGN);
}

static void part_from_unit(dmi_spill *spill, uint32_t ticket)
{
    entry *e = entry_of(spill, ticket);
    spill_unit *unit = e->unit;
    if (e->prev)
        entry_of(spill, e->prev)->next = e->next;
    else
        unit->first = e->next;
    if (e->next)
        entry_of(spill, e->next)->prev = e->prev;
    unit->alive--;
    unit->alive_bytes -= (uint32_t)up_to(e->stored, PART_ALIGN);
    e->unit = NULL;
}

/* ---- units, under the lock ---- */

static spill_list *list_for(dmi_spill *spill)
{
    return spill->settings.policy == DMI_SPILL_AUTO ? &spill->sparse : &spill->held_sparse;
}

static void unlist(spill_unit *unit)
{
    spill_list *list = unit->list;
    if (unit->prev)
        unit->prev->next = unit->next;
    else
        list->first = unit->next;
    if (unit->next)
        unit->next->prev = unit->prev;
    list->blocks -= unit->run->blocks;
    list->alive_bytes -= unit->alive_bytes;
    unit->list = NULL;
}

static void enlist(spill_list *list, spill_unit *unit)
{
    unit->prev = NULL;
    unit->next = list->first;
    if (unit->next)
        unit->next->prev = unit;
    list->first = unit;
    list->blocks += unit->run->blocks;
    list->alive_bytes += unit->alive_bytes;
    unit->list = list;
}

static bool is_sparse(const spill_unit *unit)
{
    return unit->alive > 0 && !unit->moving &&
           2 * (uint64_t)unit->alive_bytes < unit->run->blocks * DMI_BLOCK;
}

/* Its blocks may be used again. */
static void give_up_unit(spill_unit *unit)
{
    dmi_extents_leave(&unit->file->extents, unit->run);
    free(unit);
}

/* Nothing in it is alive, nobody reads it. */
static void unit_died(dmi_spill *spill, spill_unit *unit)
{
    if (spill->settings.policy == DMI_SPILL_AUTO || unit->failed) {
        give_up_unit(unit);
        return;
    }
    unit->next = spill->held_dead;
    spill->held_dead = unit;
}

static void leave_unit(dmi_spill *spill, spill_unit *unit)
{
    if (--unit->readers == 0 && unit->alive == 0)
        unit_died(spill, unit);
}

/* A part is not alive any more. */
static void part_died(dmi_spill *spill, uint32_t ticket)
{
    entry *e = entry_of(spill, ticket);
    spill_unit *unit = e->unit;
    if (unit->list)
        unlist(unit);
    spill->stats.live_raw -= e->count;
    spill->stats.live_stored -= e->stored;
    spill->stats.parts--;
    part_from_unit(spill, ticket);
    leave_ticket(spill, ticket);
    if (unit->alive == 0 && unit->readers == 0)
        unit_died(spill, unit);
    else if (is_sparse(unit))
        enlist(list_for(spill), unit);
}

void dmi_spill_free(dmi_spill *spill, uint32_t ticket)
{
    pthread_mutex_lock(&spill->lock);
    part_died(spill, ticket);
    pthread_mutex_unlock(&spill->lock);
}

/* Under the lock. What the policy held is for tidy now. */
static void let_go(dmi_spill *spill)
{
    while (spill->held_dead) {
        spill_unit *unit = spill->held_dead;
        spill->held_dead = unit->next;
        give_up_unit(unit);
    }
    while (spill->held_sparse.first) {
        spill_unit *unit = spill->held_sparse.first;
        unlist(unit);
        enlist(&spill->sparse, unit);
    }
}

void dmi_spill_scope_end(dmi_spill *spill)
{
    if (spill->settings.policy != DMI_SPILL_SESSION)
        return;
    pthread_mutex_lock(&spill->lock);
    let_go(spill);
    pthread_mutex_unlock(&spill->lock);
}

/* ---- files ---- */

static uint64_t on_disk(const dmi_spill *spill)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < spill->places; i++) {
        const dmi_extents *e = &spill->slot[i].file.extents;
        if (spill->slot[i].open)
            blocks += e->count[DMI_RUN_LIVE] + e->count[DMI_RUN_IDLE] + e->count[DMI_RUN_LENT];
    }
    return blocks * DMI_BLOCK;
}

static dm_status open_slot(dmi_spill *spill, uint32_t i)
{
    spill_slot *slot = &spill->slot[i];
    dm_status status = DM_OK;
    pthread_mutex_lock(&spill->making);
    if (!slot->open) {
        dmi_spill_file file;
        status = dmi_spill_file_open(&file, &spill->place[i], spill->visible,
                                     spill->settings.buffered);
        if (status == DM_OK) {
            pthread_mutex_lock(&spill->lock);
            slot->file = file;
            slot->open = true;
            spill->stats.files++;
            pthread_mutex_unlock(&spill->lock);
        }
    }
    pthread_mutex_unlock(&spill->making);
    return status;
}

/* ---- staging ---- */

static void begin_unit(batch *b, bool pack)
{
    size_t at = up_to(b->end, DMI_BLOCK);
    memset(b->stage->bytes + b->end, 0, at - b->end);
    b->end = b->unit_at = at;
    b->pack = pack;
    b->unit[b->units].at = (uint32_t)at;
    b->unit[b->units].bytes = 0;
    b->unit[b->units].made = NULL;
    b->units++;
}

/* Make these bytes of the stage, which lie behind `end`, the next part of the batch. */
static struct placed *place_part(batch *b, size_t at, size_t stored)
{
    bool small = stored < OWN_LEAST;
    size_t joined = up_to(b->end, PART_ALIGN);
    if (small && b->pack && joined + stored - b->unit_at <= PACK_MOST) {
        memset(b->stage->bytes + b->end, 0, joined - b->end);
    } else {
        begin_unit(b, small);
        joined = b->end;
    }
    memmove(b->stage->bytes + joined, b->stage->bytes + at, stored);
    b->end = joined + stored;
    b->unit[b->units - 1].bytes = (uint32_t)(b->end - b->unit_at);
    struct placed *placed = &b->part[b->parts++];
    *placed = (struct placed){.unit = b->units - 1, .at = (uint32_t)joined, .stored = (uint32_t)stored};
    return placed;
}

static void coding_of(const dmi_spill *spill, const dmi_part *part, dmi_coding *coding)
{
    static const uint8_t filters[] = {DMI_CODING_BEST, DMI_CODING_BEST, DMI_CODING_BYTES, DMI_CODING_BITS};
    bool none = spill->settings.filter == DMI_FILTER_NONE || part->element == 0;
    *coding = (dmi_coding){.plain = part->plain < part->count ? part->plain : part->count,
                           .element = none ? 1 : part->element,
                           .filter = filters[spill->settings.filter],
                           .acceleration = spill->settings.acceleration};
}

/* Code a part at `at` of the stage; its size there, SIZE_MAX if cancelled. */
static size_t code_part(const dmi_spill *spill, const dmi_part *part, dmi_stage *stage, size_t at,
                        const atomic_bool *cancelled)
{
    dmi_coding coding;
    dmi_part_header header = {.id = part->id, .count = (uint32_t)part->count};
    coding_of(spill, part, &coding);
    size_t stored = dmi_codec_encode(stage->codec, &coding, part->bytes, part->count,
                                     stage->bytes + at + sizeof header, &header.sum, cancelled);
    if (stored == SIZE_MAX)
        return SIZE_MAX;
    header.filter = coding.filter;
    header.element = coding.element;
    header.plain = (uint32_t)coding.plain;
    header.stored = (uint32_t)stored;
    dmi_part_seal(&header);
    memcpy(stage->bytes + at, &header, sizeof header);
    return sizeof header + stored;
}

/* As many parts as the stage has room for. */
static dm_status stage_parts(const dmi_spill *spill, batch *b, const dmi_part *parts, size_t n,
                             const atomic_bool *cancelled)
{
    for (size_t i = 0; i < n && b->parts < BATCH_MOST; i++) {
        size_t at = up_to(b->end, DMI_BLOCK); /* where it stays if it turns out to be large */
        assert(parts[i].count <= DMI_PART_MOST && parts[i].element <= 8);
        if (at + sizeof(dmi_part_header) + dmi_codec_bound(parts[i].count) > b->stage->room)
            break;
        size_t stored = code_part(spill, &parts[i], b->stage, at, cancelled);
        if (stored == SIZE_MAX)
            return dmi_error(DM_ERR_CANCELLED, "spilling was cancelled");
        place_part(b, at, stored)->count = (uint32_t)parts[i].count;
    }
    assert(b->parts > 0 || n == 0);
    return DM_OK;
}

/* ---- to the disk ---- */

/* Under the lock: how many blocks more may have disk behind them. */
static uint64_t may_back(const dmi_spill *spill)
{
    uint64_t limit = spill->settings.limit_bytes, now = limit ? on_disk(spill) : 0;
    return limit == 0 ? UINT64_MAX : limit > now ? (limit - now) / DMI_BLOCK : 0;
}

/* Under the lock: cut a run into the units of a batch. On failure they are left. */
static bool cut_run(dmi_extents *extents, batch *b, dmi_run *run)
{
    for (uint32_t i = 0; i < b->units; i++) {
        dmi_run *rest = NULL;
        if (i + 1 < b->units)
            rest = dmi_extents_cut(extents, run, blocks_of(b->unit[i].bytes));
        b->unit[i].run = run;
        if (rest == NULL && i + 1 < b->units) {
            for (uint32_t j = 0; j <= i; j++)
                dmi_extents_leave(extents, b->unit[j].run);
            return false;
        }
        run = rest;
    }
    return true;
}

static bool try_take(dmi_spill *spill, spill_slot *slot, batch *b)
{
    pthread_mutex_lock(&spill->lock);
    while (slot->emptying)
        pthread_cond_wait(&spill->emptied, &spill->lock);
    dmi_extents *extents = &slot->file.extents;
    dmi_run *run = dmi_extents_take(extents, blocks_of(b->end), may_back(spill));
    bool taken = run && cut_run(extents, b, run);
    pthread_mutex_unlock(&spill->lock);
    return taken;
}

static bool give_back_anything(dmi_spill *spill);

/* Room in a file. What lies idle in pieces too small counts for limit_bytes, too: give it back and look again. */
static bool take_blocks(dmi_spill *spill, spill_slot *slot, batch *b)
{
    bool taken = try_take(spill, slot, b);
    while (!taken && spill->settings.limit_bytes && give_back_anything(spill))
        taken = try_take(spill, slot, b);
    return taken;
}

static dm_status over_limit(const dmi_spill *spill, uint64_t bytes)
{
    if (spill->settings.limit_bytes == 0)
        return dmi_error(DM_ERR_NOMEM, "no memory to keep account of %llu more bytes on disk",
                         (unsigned long long)bytes);
    return dmi_error(DM_ERR_DISK_FULL,
                     "%llu more bytes would exceed the %llu bytes that may be spilled; raise "
                     "spill_limit_bytes (DM_SPILL_LIMIT_BYTES)",
                     (unsigned long long)bytes, (unsigned long long)spill->settings.limit_bytes);
}

/* Blocks whose write failed: nothing of them stays. */
static void abandon_blocks(dmi_spill *spill, spill_slot *slot, const batch *b)
{
    bool bare = dmi_spill_file_punch(&slot->file, b->unit[0].run->first * DMI_BLOCK,
                                     blocks_of(b->end) * DMI_BLOCK);
    pthread_mutex_lock(&spill->lock);
    for (uint32_t i = 0; i < b->units; i++) {
        if (bare)
            dmi_extents_abandon(&slot->file.extents, b->unit[i].run);
        else
            dmi_extents_leave(&slot->file.extents, b->unit[i].run);
    }
    pthread_mutex_unlock(&spill->lock);
}

static dm_status write_to(dmi_spill *spill, spill_slot *slot, batch *b, const atomic_bool *cancelled)
{
    uint64_t bytes = blocks_of(b->end) * DMI_BLOCK;
    dm_status status = dmi_spill_file_room(&slot->file, bytes, spill->settings.fill_limit);
    if (status != DM_OK)
        return status;
    if (!take_blocks(spill, slot, b))
        return over_limit(spill, bytes);
    memset(b->stage->bytes + b->end, 0, bytes - b->end);
    status = dmi_spill_file_write(&slot->file, b->stage->bytes, bytes,
                                  b->unit[0].run->first * DMI_BLOCK, cancelled);
    if (status != DM_OK)
        abandon_blocks(spill, slot, b);
    b->slot = slot;
    return status;
}

static uint32_t next_turn(dmi_spill *spill)
{
    pthread_mutex_lock(&spill->lock);
    uint32_t turn = spill->turn++ % spill->places;
    pthread_mutex_unlock(&spill->lock);
    return turn;
}

/* Write what is staged somewhere: each directory in turn, until one takes it. */
static dm_status write_somewhere(dmi_spill *spill, batch *b, const atomic_bool *cancelled)
{
    uint32_t turn = next_turn(spill);
    dm_status status = DM_OK;
    for (uint32_t i = 0; i < spill->places; i++) {
        uint32_t place = (turn + i) % spill->places;
        status = open_slot(spill, place);
        if (status == DM_OK)
            status = write_to(spill, &spill->slot[place], b, cancelled);
        if (status == DM_OK || status == DM_ERR_CANCELLED)
            break;
    }
    return status;
}

/* ---- committing: what lies on the disk gets names ---- */

static void begin_batch(batch *b, dmi_stage *stage)
{
    b->stage = stage;
    b->slot = NULL;
    b->end = b->unit_at = 0;
    b->pack = false;
    b->parts = b->units = 0;
}

static void drop_units(const batch *b)
{
    for (uint32_t i = 0; i < b->units; i++)
        free(b->unit[i].made);
}

/* Memory for what a commit must not lack once the bytes are written. */
static dm_status prepare(dmi_spill *spill, batch *b, bool tickets)
{
    bool made = true;
    for (uint32_t i = 0; i < b->units && made; i++)
        made = (b->unit[i].made = calloc(1, sizeof(spill_unit))) != NULL;
    pthread_mutex_lock(&spill->lock);
    for (uint32_t i = 0; i < b->parts && tickets; i++) {
        b->part[i].ticket = made ? take_ticket(spill) : 0;
        made = b->part[i].ticket != 0;
    }
    pthread_mutex_unlock(&spill->lock);
    return made ? DM_OK : dmi_error(DM_ERR_NOMEM, "no memory to keep account of spilled objects");
}

static void unprepare(dmi_spill *spill, const batch *b, bool tickets)
{
    drop_units(b);
    pthread_mutex_lock(&spill->lock);
    for (uint32_t i = 0; i < b->parts && tickets && b->part[i].ticket; i++)
        leave_ticket(spill, b->part[i].ticket);
    pthread_mutex_unlock(&spill->lock);
}

/* Under the lock. */
static void commit_units(const batch *b)
{
    for (uint32_t i = 0; i < b->units; i++)
        *b->unit[i].made = (spill_unit){.file = &b->slot->file, .run = b->unit[i].run};
}

static void commit_parts(dmi_spill *spill, const batch *b)
{
    commit_units(b);
    for (uint32_t i = 0; i < b->parts; i++) {
        const struct placed *p = &b->part[i];
        *entry_of(spill, p->ticket) =
            (entry){.at = p->at - b->unit[p->unit].at, .stored = p->stored, .count = p->count};
        join_unit(spill, p->ticket, b->unit[p->unit].made);
        spill->stats.live_raw += p->count;
        spill->stats.live_stored += p->stored;
        spill->stats.written_raw += p->count;
        spill->stats.written_stored += p->stored;
        spill->stats.parts++;
    }
    for (uint32_t i = 0; i < b->units; i++)
        if (is_sparse(b->unit[i].made))
            enlist(list_for(spill), b->unit[i].made);
}

/* ---- writing ---- */

static dm_status write_batch(dmi_spill *spill, batch *b, dmi_part *parts, const atomic_bool *cancelled)
{
    dm_status status = prepare(spill, b, true);
    if (status == DM_OK)
        status = write_somewhere(spill, b, cancelled);
    if (status != DM_OK) {
        unprepare(spill, b, true);
        return status;
    }
    pthread_mutex_lock(&spill->lock);
    commit_parts(spill, b);
    pthread_mutex_unlock(&spill->lock);
    for (uint32_t i = 0; i < b->parts; i++)
        parts[i].ticket = b->part[i].ticket;
    return DM_OK;
}

/* All, in as many batches as it takes: `*done` are written. */
static dm_status write_all(dmi_spill *spill, dmi_stage *stage, dmi_part *parts, size_t n, size_t *done,
                           const atomic_bool *cancelled)
{
    dm_status status = DM_OK;
    batch *b = stage->notes;
    for (*done = 0; *done < n && status == DM_OK;) {
        begin_batch(b, stage);
        status = stage_parts(spill, b, parts + *done, n - *done, cancelled);
        if (status == DM_OK)
            status = write_batch(spill, b, parts + *done, cancelled);
        if (status == DM_OK)
            *done += b->parts;
    }
    return status;
}

/* What was written of a write that failed goes, whatever the policy. */
static void take_back(dmi_spill *spill, dmi_part *parts, size_t n)
{
    pthread_mutex_lock(&spill->lock);
    for (size_t i = 0; i < n; i++) {
        entry_of(spill, parts[i].ticket)->unit->failed = true;
        part_died(spill, parts[i].ticket);
    }
    pthread_mutex_unlock(&spill->lock);
}

dm_status dmi_spill_write(dmi_spill *spill, dmi_part *parts, size_t n, const atomic_bool *cancelled)
{
    uint64_t start = now_ns();
    size_t done = 0;
    dmi_stage *stage = dmi_stage_take(&spill->stages);
    if (stage == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a buffer to spill through");
    dm_status status = write_all(spill, stage, parts, n, &done, cancelled);
    dmi_stage_leave(&spill->stages, stage);
    if (status != DM_OK)
        take_back(spill, parts, done);
    for (size_t i = 0; status != DM_OK && i < n; i++)
        parts[i].ticket = 0;
    pthread_mutex_lock(&spill->lock);
    spill->stats.write_ns += now_ns() - start;
    pthread_mutex_unlock(&spill->lock);
    return status;
}

/* ---- reading ---- */

/* Where a part lies; nobody takes its blocks while a reader is counted. */
typedef struct extract {
    spill_unit *unit;
    uint64_t at; /* in the file */
    uint32_t stored, count;
} extract;

static extract begin_read(dmi_spill *spill, uint32_t ticket)
{
    pthread_mutex_lock(&spill->lock);
    const entry *e = entry_of(spill, ticket);
    assert(e->unit);
    extract spot = {e->unit, e->unit->run->first * DMI_BLOCK + e->at, e->stored, e->count};
    e->unit->readers++;
    pthread_mutex_unlock(&spill->lock);
    return spot;
}

static void end_read(dmi_spill *spill, const extract *spot, uint64_t start, bool well)
{
    pthread_mutex_lock(&spill->lock);
    leave_unit(spill, spot->unit);
    spill->stats.read_ns += now_ns() - start;
    spill->stats.read_raw += well ? spot->count : 0;
    spill->stats.read_stored += well ? spot->stored : 0;
    pthread_mutex_unlock(&spill->lock);
}

static dm_status corrupt(const extract *spot, uint64_t id, const char *what)
{
    return dmi_error(DM_ERR_CORRUPT, "part %llx of a spilled object was damaged on disk: %s, bytes %llu to %llu: %s",
                     (unsigned long long)id, spot->unit->file->name, (unsigned long long)spot->at,
                     (unsigned long long)(spot->at + spot->stored), what);
}

static dm_status decode(const extract *spot, const dmi_stage *stage, size_t skip, uint64_t id, void *to)
{
    dmi_part_header header;
    memcpy(&header, stage->bytes + skip, sizeof header);
    const char *wrong = dmi_part_check(&header, id, spot->count, spot->stored - sizeof header);
    if (wrong)
        return corrupt(spot, id, wrong);
    uint64_t sum;
    dmi_coding coding = {.plain = header.plain, .element = header.element};
    DMI_STEP();
    if (!dmi_codec_decode(stage->codec, &coding, stage->bytes + skip + sizeof header, header.stored, to,
                          header.count, &sum))
        return corrupt(spot, id, "it cannot be decoded");
    return sum == header.sum ? DM_OK : corrupt(spot, id, "its checksum does not fit");
}

static dm_status read_spot(const extract *spot, const dmi_stage *stage, uint64_t id, void *to)
{
    uint64_t from = spot->at / DMI_BLOCK * DMI_BLOCK;
    size_t skip = (size_t)(spot->at - from), want = up_to(skip + spot->stored, DMI_BLOCK), got;
    dm_status status = dmi_spill_file_read(spot->unit->file, stage->bytes, want, from, &got);
    if (status != DM_OK)
        return status;
    if (got < skip + spot->stored)
        return corrupt(spot, id, "the file ends before");
    return decode(spot, stage, skip, id, to);
}

dm_status dmi_spill_read(dmi_spill *spill, uint32_t ticket, uint64_t id, void *to, size_t count)
{
    uint64_t start = now_ns();
    dmi_stage *stage = dmi_stage_take(&spill->stages);
    if (stage == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a buffer to read spilled bytes through");
    extract spot = begin_read(spill, ticket);
    assert(count == spot.count);
    (void)count;
    dm_status status = read_spot(&spot, stage, id, to);
    end_read(spill, &spot, start, status == DM_OK);
    dmi_stage_leave(&spill->stages, stage);
    return status;
}

/* ---- giving back ---- */

/* Under the lock. The smallest run of idle blocks worth a system call (60 to 270 us for a lone block):
 * while they are few beside what is alive, small ones are kept for what comes next. */
static uint64_t worth(const dmi_extents *e)
{
    return 8 * e->count[DMI_RUN_IDLE] > e->count[DMI_RUN_LIVE] ? 1 : GIVE_LEAST;
}

static bool is_empty(const dmi_extents *e)
{
    return e->count[DMI_RUN_LIVE] == 0 && e->count[DMI_RUN_LENT] == 0;
}

/* Under the lock. Nothing is alive and what is idle is little enough to be given back in one call. */
static bool may_empty(const spill_slot *slot)
{
    const dmi_extents *e = &slot->file.extents;
    bool punches = atomic_load_explicit(&slot->file.punches, memory_order_relaxed);
    return is_empty(e) && e->count[DMI_RUN_IDLE] > 0 &&
           (!punches || e->count[DMI_RUN_IDLE] <= GIVE_MOST);
}

static bool may_give(const spill_slot *slot, uint64_t least)
{
    return atomic_load_explicit(&slot->file.punches, memory_order_relaxed) &&
           dmi_extents_has_idle(&slot->file.extents, least);
}

/* Writers wait meanwhile; there is less than a millisecond of it. */
static bool empty_slot(dmi_spill *spill, spill_slot *slot)
{
    pthread_mutex_lock(&spill->lock);
    bool may = slot->open && !slot->emptying && may_empty(slot);
    if (may)
        slot->emptying = true;
    pthread_mutex_unlock(&spill->lock);
    if (!may)
        return false;
    bool emptied = dmi_spill_file_empty(&slot->file);
    pthread_mutex_lock(&spill->lock);
    slot->emptying = false;
    if (emptied) {
        spill->stats.punched += slot->file.extents.count[DMI_RUN_IDLE] * DMI_BLOCK;
        dmi_extents_clear(&slot->file.extents);
    }
    pthread_cond_broadcast(&spill->emptied);
    pthread_mutex_unlock(&spill->lock);
    return emptied;
}

static bool punch_slot(dmi_spill *spill, spill_slot *slot, uint64_t least)
{
    dmi_extents *e = &slot->file.extents;
    pthread_mutex_lock(&spill->lock);
    dmi_run *run = NULL;
    if (slot->open && !slot->emptying && may_give(slot, least ? least : worth(e)))
        run = dmi_extents_lend(e, 1, GIVE_MOST);
    pthread_mutex_unlock(&spill->lock);
    if (run == NULL)
        return false;
    uint64_t bytes = run->blocks * DMI_BLOCK;
    bool punched = dmi_spill_file_punch(&slot->file, run->first * DMI_BLOCK, bytes);
    pthread_mutex_lock(&spill->lock);
    spill->stats.punched += punched ? bytes : 0;
    (punched ? dmi_extents_bare : dmi_extents_unlend)(e, run);
    pthread_mutex_unlock(&spill->lock);
    return punched;
}

/* True if something was given back. `least`: idle blocks in a row worth it; 0: as worth() says. */
static bool give_back(dmi_spill *spill, uint64_t least)
{
    for (uint32_t i = 0; i < spill->places; i++)
        if (empty_slot(spill, &spill->slot[i]) || punch_slot(spill, &spill->slot[i], least))
            return true;
    return false;
}

static bool give_back_anything(dmi_spill *spill)
{
    return give_back(spill, 1);
}

/* ---- moving what lives among dead neighbours ---- */

typedef struct move {
    spill_unit *from[MOVE_MOST];
    uint32_t n;
} move;

/* Under the lock. */
static bool worth_moving(uint64_t blocks, uint64_t alive_bytes)
{
    return blocks > blocks_of(alive_bytes);
}

/* Take sparse packs off the list; whoever has them reads them. */
static void begin_move(dmi_spill *spill, move *m)
{
    uint64_t blocks = 0, alive = 0;
    m->n = 0;
    pthread_mutex_lock(&spill->lock);
    while (spill->sparse.first && m->n < MOVE_MOST) {
        spill_unit *unit = spill->sparse.first;
        blocks += unit->run->blocks;
        alive += unit->alive_bytes;
        unlist(unit);
        unit->moving = true;
        unit->readers++;
        m->from[m->n++] = unit;
    }
    if (!worth_moving(blocks, alive))
        for (; m->n > 0; m->n--) {
            spill_unit *unit = m->from[m->n - 1];
            unit->moving = false;
            unit->readers--;
            enlist(&spill->sparse, unit);
        }
    pthread_mutex_unlock(&spill->lock);
}

/* Under the lock: the parts of a pack that live, as parts of the batch; `at` is in the pack. */
static void note_alive(dmi_spill *spill, batch *b, spill_unit *unit)
{
    for (uint32_t ticket = unit->first; ticket; ticket = entry_of(spill, ticket)->next) {
        const entry *e = entry_of(spill, ticket);
        b->part[b->parts++] = (struct placed){
            .at = e->at, .stored = e->stored, .count = e->count, .ticket = ticket, .from = unit};
    }
}

enum { READ_AT = 2 << 20 }; /* where in the stage a pack is read to; copies are made in front of it */

/* Copy what lives in a pack to the batch, as it is coded. */
static void gather(dmi_spill *spill, batch *b, spill_unit *unit)
{
    size_t bytes = unit->run->blocks * DMI_BLOCK, got = 0;
    uint32_t first = b->parts;
    if (dmi_spill_file_read(unit->file, b->stage->bytes + READ_AT, bytes, unit->run->first * DMI_BLOCK,
                            &got) != DM_OK ||
        got < bytes)
        return; /* whoever reads a part of it will be told */
    pthread_mutex_lock(&spill->lock);
    if (b->parts + unit->alive <= BATCH_MOST)
        note_alive(spill, b, unit);
    pthread_mutex_unlock(&spill->lock);
    uint32_t n = b->parts - first;
    b->parts = first;
    for (uint32_t i = 0; i < n; i++) {
        struct placed p = b->part[first + i];
        struct placed *placed = place_part(b, READ_AT + p.at, p.stored);
        placed->count = p.count;
        placed->ticket = p.ticket;
        placed->from = unit;
    }
}

/* Under the lock: who still lives where it was is now here. */
static void commit_moves(dmi_spill *spill, const batch *b)
{
    commit_units(b);
    for (uint32_t i = 0; i < b->parts; i++) {
        const struct placed *p = &b->part[i];
        entry *e = entry_of(spill, p->ticket);
        if (e->unit != p->from)
            continue;
        part_from_unit(spill, p->ticket);
        e->at = p->at - b->unit[p->unit].at;
        join_unit(spill, p->ticket, b->unit[p->unit].made);
        spill->stats.moved += p->stored;
    }
    for (uint32_t i = 0; i < b->units; i++) {
        spill_unit *unit = b->unit[i].made;
        if (unit->alive == 0)
            unit_died(spill, unit);
        else if (is_sparse(unit))
            enlist(list_for(spill), unit);
    }
}

static bool write_moves(dmi_spill *spill, batch *b)
{
    if (b->parts == 0)
        return false;
    dm_status status = prepare(spill, b, false);
    if (status == DM_OK)
        status = write_somewhere(spill, b, NULL);
    if (status != DM_OK) {
        unprepare(spill, b, false);
        return false;
    }
    pthread_mutex_lock(&spill->lock);
    commit_moves(spill, b);
    pthread_mutex_unlock(&spill->lock);
    return true;
}

/* A pack that could not be moved is not tried again before more of it dies. */
static void end_move(dmi_spill *spill, move *m)
{
    pthread_mutex_lock(&spill->lock);
    for (uint32_t i = 0; i < m->n; i++) {
        m->from[i]->moving = false;
        leave_unit(spill, m->from[i]);
    }
    pthread_mutex_unlock(&spill->lock);
}

static bool move_sparse(dmi_spill *spill)
{
    move m;
    begin_move(spill, &m);
    if (m.n == 0)
        return false;
    bool moved = false;
    dmi_stage *stage = dmi_stage_take(&spill->stages);
    if (stage) {
        begin_batch(stage->notes, stage);
        for (uint32_t i = 0; i < m.n; i++)
            gather(spill, stage->notes, m.from[i]);
        moved = write_moves(spill, stage->notes);
        dmi_stage_leave(&spill->stages, stage);
    }
    end_move(spill, &m);
    return moved;
}

/* ---- tidying ---- */

static bool is_untidy(dmi_spill *spill)
{
    if (worth_moving(spill->sparse.blocks, spill->sparse.alive_bytes))
        return true;
    for (uint32_t i = 0; i < spill->places; i++) {
        const spill_slot *slot = &spill->slot[i];
        if (slot->open && !slot->emptying && (may_empty(slot) || may_give(slot, worth(&slot->file.extents))))
            return true;
    }
    return false;
}

bool dmi_spill_untidy(dmi_spill *spill)
{
    pthread_mutex_lock(&spill->lock);
    bool untidy = is_untidy(spill);
    pthread_mutex_unlock(&spill->lock);
    return untidy;
}

bool dmi_spill_tidy(dmi_spill *spill)
{
    if (!give_back(spill, 0))
        move_sparse(spill);
    return dmi_spill_untidy(spill);
}

/* ---- looking ---- */

size_t dmi_spill_stored(dmi_spill *spill, uint32_t ticket)
{
    if (ticket == 0)
        return 0;
    pthread_mutex_lock(&spill->lock);
    const entry *e = entry_of(spill, ticket);
    const spill_unit *unit = e->unit;
    uint64_t bytes = 0;
    if (unit && unit->alive_bytes)
        bytes = unit->run->blocks * DMI_BLOCK * up_to(e->stored, PART_ALIGN) / unit->alive_bytes;
    pthread_mutex_unlock(&spill->lock);
    return (size_t)bytes;
}

void dmi_spill_stats_get(dmi_spill *spill, dmi_spill_stats *out)
{
    pthread_mutex_lock(&spill->lock);
    *out = spill->stats;
    out->on_disk = on_disk(spill);
    out->punches = out->direct = true;
    for (uint32_t i = 0; i < spill->places; i++) {
        if (!spill->slot[i].open)
            continue;
        out->punches &= atomic_load_explicit(&spill->slot[i].file.punches, memory_order_relaxed);
        out->direct &= atomic_load_explicit(&spill->slot[i].file.direct, memory_order_relaxed);
    }
    out->direct &= !spill->settings.buffered;
    pthread_mutex_unlock(&spill->lock);
}

void dmi_spill_describe(dmi_spill *spill, uint32_t ticket, char *to, size_t room)
{
    pthread_mutex_lock(&spill->lock);
    const entry *e = ticket && ticket <= spill->table_size ? entry_of(spill, ticket) : NULL;
    if (e && e->unit) {
        uint64_t at = e->unit->run->first * DMI_BLOCK + e->at;
        snprintf(to, room, "%s, bytes %llu to %llu", e->unit->file->name, (unsigned long long)at,
                 (unsigned long long)(at + e->stored));
    } else {
        snprintf(to, room, "nowhere on disk");
    }
    pthread_mutex_unlock(&spill->lock);
}

/* ---- begin and end ---- */

static dm_status open_places(dmi_spill *spill)
{
    const char *dirs = spill->settings.dirs;
    while (*dirs) {
        size_t length = strcspn(dirs, ":");
        if (length > 0 && spill->places == PLACES_MOST)
            return dmi_error(DM_ERR_OPTION, "more than %d spill directories are named", PLACES_MOST);
        if (length > 0) {
            dm_status status = dmi_place_open(&spill->place[spill->places], dirs, length,
                                              spill->settings.allow_memory);
            if (status != DM_OK)
                return status;
            spill->places++;
        }
        dirs += length + (dirs[length] == ':');
    }
    if (spill->places == 0)
        return dmi_error(DM_ERR_OPTION, "no spill directory is named; set DM_SPILL_DIR");
    return DM_OK;
}

dm_status dmi_spill_create(dmi_spill **out, const dmi_spill_settings *settings)
{
    assert(settings->dirs);
    *out = NULL;
    dmi_spill *spill = calloc(1, sizeof *spill);
    if (spill == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for spilling");
    spill->settings = *settings;
    if (spill->settings.acceleration < 1)
        spill->settings.acceleration = 1;
    spill->visible = settings->visible || settings->policy != DMI_SPILL_AUTO;
    pthread_mutex_init(&spill->lock, NULL);
    pthread_mutex_init(&spill->making, NULL);
    pthread_cond_init(&spill->emptied, NULL);
    size_t most = sizeof(dmi_part_header) + dmi_codec_bound(DMI_PART_MOST);
    dmi_stages_init(&spill->stages, up_to(most, DMI_BLOCK) + PACK_MOST, sizeof(batch));
    dm_status status = open_places(spill);
    spill->settings.dirs = NULL; /* the caller's */
    if (status != DM_OK)
        dmi_spill_destroy(spill);
    else
        *out = spill;
    return status;
}

static void free_list(spill_unit *unit)
{
    while (unit) {
        struct spill_unit *next = unit->next;
        free(unit);
        unit = next;
    }
}

/* Units of living parts are found by their entries; each is freed with its last one. */
static void free_units(dmi_spill *spill)
{
    for (uint32_t ticket = 1; ticket <= spill->table_size; ticket++) {
        spill_unit *unit = entry_of(spill, ticket)->unit;
        if (unit == NULL)
            continue;
        part_from_unit(spill, ticket);
        if (unit->alive == 0)
            free(unit);
    }
    free_list(spill->held_dead);
}

void dmi_spill_destroy(dmi_spill *spill)
{
    if (spill == NULL)
        return;
    free_units(spill);
    free(spill->table);
    for (uint32_t i = 0; i < PLACES_MOST; i++)
        if (spill->slot[i].open)
            dmi_spill_file_close(&spill->slot[i].file);
    for (uint32_t i = 0; i < spill->places; i++)
        dmi_place_close(&spill->place[i]);
    dmi_stages_fini(&spill->stages);
    pthread_cond_destroy(&spill->emptied);
    pthread_mutex_destroy(&spill->making);
    pthread_mutex_destroy(&spill->lock);
    free(spill);
}
