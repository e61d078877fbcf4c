/*
 * ledger.c - a table of tickets, and units in lists.
 */
#include "objectstore/ledger.h"

#include <assert.h>
#include <stdlib.h>

enum { TABLE_STEP = 1024 };

static uint32_t aligned(uint32_t bytes)
{
    return (bytes + DMI_PART_ALIGN - 1) / DMI_PART_ALIGN * DMI_PART_ALIGN;
}

/* ---- tickets ---- */

static dmi_entry *entry_of(const dmi_ledger *l, uint32_t ticket)
{
    assert(ticket > 0 && ticket <= l->table_size);
    return &l->table[ticket - 1];
}

const dmi_entry *dmi_ledger_find(const dmi_ledger *l, uint32_t ticket)
{
    return entry_of(l, ticket);
}

static bool grow(dmi_ledger *l)
{
    uint64_t size = (uint64_t)l->table_size + l->table_size / 2 + TABLE_STEP;
    dmi_entry *table = size > UINT32_MAX ? NULL : realloc(l->table, size * sizeof *table);
    if (table == NULL)
        return false;
    l->table = table;
    for (uint32_t ticket = (uint32_t)size; ticket > l->table_size; ticket--) {
        table[ticket - 1] = (dmi_entry){.next = l->free_ticket};
        l->free_ticket = ticket;
    }
    l->table_size = (uint32_t)size;
    return true;
}

uint32_t dmi_ledger_take(dmi_ledger *l)
{
    if (l->free_ticket == 0 && !grow(l))
        return 0;
    uint32_t ticket = l->free_ticket;
    l->free_ticket = entry_of(l, ticket)->next;
    *entry_of(l, ticket) = (dmi_entry){0};
    return ticket;
}

void dmi_ledger_leave(dmi_ledger *l, uint32_t ticket)
{
    assert(entry_of(l, ticket)->unit == NULL);
    *entry_of(l, ticket) = (dmi_entry){.next = l->free_ticket};
    l->free_ticket = ticket;
}

/* ---- parts of a unit ---- */

static void join(dmi_ledger *l, uint32_t ticket, dmi_unit *unit)
{
    dmi_entry *e = entry_of(l, ticket);
    assert(unit->list == NULL);
    e->unit = unit;
    e->prev = 0;
    e->next = unit->first;
    if (unit->first)
        entry_of(l, unit->first)->prev = ticket;
    unit->first = ticket;
    unit->alive++;
    unit->alive_bytes += aligned(e->stored);
}

static void separate(dmi_ledger *l, uint32_t ticket)
{
    dmi_entry *e = entry_of(l, ticket);
    dmi_unit *unit = e->unit;
    assert(unit && unit->list == NULL);
    if (e->prev)
        entry_of(l, e->prev)->next = e->next;
    else
        unit->first = e->next;
    if (e->next)
        entry_of(l, e->next)->prev = e->prev;
    unit->alive--;
    unit->alive_bytes -= aligned(e->stored);
    e->unit = NULL;
}

/* ---- lists of sparse units ---- */

static void enlist(dmi_unit_list *list, dmi_unit *unit)
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

static void unlist(dmi_unit *unit)
{
    dmi_unit_list *list = unit->list;
    if (list == NULL)
        return;
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

static bool is_sparse(const dmi_unit *unit)
{
    return !unit->moving && 2 * (uint64_t)unit->alive_bytes < unit->run->blocks * DMI_BLOCK;
}

/* ---- units ---- */

void dmi_unit_init(dmi_unit *unit, void *file, dmi_extents *extents, dmi_run *run)
{
    *unit = (dmi_unit){.file = file, .extents = extents, .run = run};
}

static void give_up(dmi_unit *unit)
{
    dmi_extents_leave(unit->extents, unit->run);
    free(unit);
}

static void unit_died(dmi_ledger *l, dmi_unit *unit)
{
    if (!l->holds || unit->failed || unit->died_in != l->scope) {
        give_up(unit);
        return;
    }
    unit->next = l->held_dead;
    l->held_dead = unit;
}

void dmi_ledger_settle(dmi_ledger *l, dmi_unit *unit)
{
    if (unit->alive == 0 && unit->readers == 0)
        unit_died(l, unit);
    else if (unit->alive > 0 && is_sparse(unit))
        enlist(l->holds ? &l->held_sparse : &l->sparse, unit);
}

void dmi_ledger_enter(dmi_ledger *l, uint32_t ticket, dmi_unit *unit, uint32_t at, uint32_t stored,
                      uint32_t count)
{
    dmi_entry *e = entry_of(l, ticket);
    *e = (dmi_entry){.at = at, .stored = stored, .count = count};
    join(l, ticket, unit);
    l->parts++;
    l->live_raw += count;
    l->live_stored += stored;
}

void dmi_ledger_strike(dmi_ledger *l, uint32_t ticket, bool failed)
{
    dmi_entry *e = entry_of(l, ticket);
    dmi_unit *unit = e->unit;
    assert(unit);
    unlist(unit);
    l->parts--;
    l->live_raw -= e->count;
    l->live_stored -= e->stored;
    unit->failed |= failed;
    unit->died_in = l->scope; /* if this was the last one */
    separate(l, ticket);
    dmi_ledger_leave(l, ticket);
    dmi_ledger_settle(l, unit);
}

void dmi_unit_hold(dmi_unit *unit)
{
    unit->readers++;
}

void dmi_ledger_release(dmi_ledger *l, dmi_unit *unit)
{
    assert(unit->readers > 0);
    if (--unit->readers == 0 && unit->alive == 0)
        unit_died(l, unit);
}

/* A dead unit that is still being read is on no list: it goes with its reader, as it died in a scope that
 * is over. */
void dmi_ledger_let_go(dmi_ledger *l)
{
    l->scope++;
    while (l->held_dead) {
        dmi_unit *unit = l->held_dead;
        l->held_dead = unit->next;
        give_up(unit);
    }
    while (l->held_sparse.first) {
        dmi_unit *unit = l->held_sparse.first;
        unlist(unit);
        enlist(&l->sparse, unit);
    }
}

/* ---- moving ---- */

static bool pays(uint64_t blocks, uint64_t alive_bytes)
{
    return blocks > dmi_blocks_of(alive_bytes);
}

bool dmi_ledger_can_move(const dmi_ledger *l)
{
    return pays(l->sparse.blocks, l->sparse.alive_bytes);
}

uint32_t dmi_ledger_begin_move(dmi_ledger *l, dmi_unit **units, uint32_t most)
{
    uint64_t blocks = 0, alive_bytes = 0;
    uint32_t n = 0;
    for (dmi_unit *unit = l->sparse.first; unit && n < most; unit = unit->next) {
        blocks += unit->run->blocks;
        alive_bytes += unit->alive_bytes;
        units[n++] = unit;
    }
    if (!pays(blocks, alive_bytes))
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        unlist(units[i]);
        units[i]->moving = true;
        dmi_unit_hold(units[i]);
    }
    return n;
}

/* A ticket that was freed and taken again meanwhile is in another unit: `from` is held. */
bool dmi_ledger_move(dmi_ledger *l, uint32_t ticket, const dmi_unit *from, dmi_unit *to,
                     uint32_t at)
{
    dmi_entry *e = entry_of(l, ticket);
    if (e->unit != from)
        return false;
    separate(l, ticket);
    e->at = at;
    join(l, ticket, to);
    to->died_in = l->scope;
    return true;
}

void dmi_ledger_end_move(dmi_ledger *l, dmi_unit *const *units, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        units[i]->moving = false;
        dmi_ledger_release(l, units[i]);
    }
}

/* ---- begin and end ---- */

void dmi_ledger_init(dmi_ledger *l, bool holds)
{
    *l = (dmi_ledger){.holds = holds};
}

/* Units of living parts are found by their entries; each is freed with its last one. */
void dmi_ledger_fini(dmi_ledger *l)
{
    for (uint32_t ticket = 1; ticket <= l->table_size; ticket++) {
        dmi_unit *unit = entry_of(l, ticket)->unit;
        if (unit == NULL)
            continue;
        unlist(unit);
        separate(l, ticket);
        if (unit->alive == 0)
            free(unit);
    }
    while (l->held_dead) {
        dmi_unit *unit = l->held_dead;
        l->held_dead = unit->next;
        free(unit);
    }
    free(l->table);
    *l = (dmi_ledger){0};
}

/* ---- the laws ---- */

static bool unit_is_valid(const dmi_ledger *l, const dmi_unit *unit)
{
    uint32_t alive = 0, bytes = 0, prev = 0;
    for (uint32_t ticket = unit->first; ticket; ticket = entry_of(l, ticket)->next) {
        const dmi_entry *e = entry_of(l, ticket);
        if (e->unit != unit || e->prev != prev ||
            e->at + (uint64_t)e->stored > unit->run->blocks * DMI_BLOCK)
            return false;
        alive++;
        bytes += aligned(e->stored);
        prev = ticket;
    }
    return alive == unit->alive && bytes == unit->alive_bytes && unit->run->state == DMI_RUN_LIVE;
}

static bool list_is_valid(const dmi_ledger *l, const dmi_unit_list *list)
{
    uint64_t blocks = 0, bytes = 0;
    const dmi_unit *prev = NULL;
    for (const dmi_unit *unit = list->first; unit; prev = unit, unit = unit->next) {
        if (unit->list != list || unit->prev != prev || unit->alive == 0 || !is_sparse(unit) ||
            !unit_is_valid(l, unit))
            return false;
        blocks += unit->run->blocks;
        bytes += unit->alive_bytes;
    }
    return blocks == list->blocks && bytes == list->alive_bytes;
}

bool dmi_ledger_is_valid(const dmi_ledger *l)
{
    uint64_t parts = 0, raw = 0, stored = 0;
    for (uint32_t ticket = 1; ticket <= l->table_size; ticket++) {
        const dmi_entry *e = entry_of(l, ticket);
        if (e->unit == NULL)
            continue;
        if (e->prev == 0 && !unit_is_valid(l, e->unit))
            return false;
        parts++;
        raw += e->count;
        stored += e->stored;
    }
    for (const dmi_unit *unit = l->held_dead; unit; unit = unit->next)
        if (unit->alive != 0 || unit->readers != 0 || unit->list != NULL || !l->holds)
            return false;
    return parts == l->parts && raw == l->live_raw && stored == l->live_stored &&
           list_is_valid(l, &l->sparse) && list_is_valid(l, &l->held_sparse);
}
