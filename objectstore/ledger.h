/*
 * ledger.h - which part lies where, who reads it, and which blocks nobody needs any more.
 *
 * Parts lie in *units*, runs of blocks of a file: a large part has one of its own, small ones share one.
 *
 *     enter ---> ALIVE ---- its last part is struck ----> DEAD ---- its last reader leaves ----> idle run
 *                  |                                       ^
 *                  +-- SPARSE: what lives is entered elsewhere, and struck here
 *
 * Laws: a unit's `alive` and `alive_bytes` are those of the tickets that name it; a unit on no list is not
 * sparse, or is being moved, or could not be; a dead unit is on no list; its run is live in the extents of
 * its file until it is given up. A ledger that holds keeps dead and sparse units aside until it lets go.
 *
 * Pure: makes no system call, knows no file. The caller guards it, and the extents, by one lock.
 */
#ifndef DMI_LEDGER_H
#define DMI_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "objectstore/extents.h"

enum { DMI_BLOCK = 4096, DMI_PART_ALIGN = 16 /* of a part in a unit that it shares */ };

struct dmi_unit_list;

typedef struct dmi_unit {
    void *file; /* the caller's */
    dmi_extents *extents;
    dmi_run *run;
    uint32_t first;       /* ticket of one of its parts, the others by next */
    uint32_t alive;       /* parts */
    uint32_t alive_bytes; /* as written, each rounded up to DMI_PART_ALIGN */
    uint32_t readers;     /* of its blocks; who moves it is one */
    uint32_t died_in;     /* scope */
    bool moving;
    bool failed; /* with its write: never held */
    struct dmi_unit_list *list;
    struct dmi_unit *prev, *next;
} dmi_unit;

typedef struct dmi_unit_list {
    dmi_unit *first;
    uint64_t blocks, alive_bytes;
} dmi_unit_list;

/* What a ticket stands for. Free ones are chained by `next`. */
typedef struct dmi_entry {
    dmi_unit *unit; /* NULL: free, or taken and not entered yet */
    uint32_t at;    /* in the unit */
    uint32_t stored, count;
    uint32_t prev, next;
} dmi_entry;

typedef struct dmi_ledger {
    bool holds;
    uint32_t scope;   /* counts how often it let go */
    dmi_entry *table; /* by ticket - 1 */
    uint32_t table_size, free_ticket;
    dmi_unit_list sparse, held_sparse;
    dmi_unit *held_dead; /* by next */
    uint64_t parts, live_raw, live_stored;
} dmi_ledger;

static inline uint64_t dmi_blocks_of(uint64_t bytes)
{
    return (bytes + DMI_BLOCK - 1) / DMI_BLOCK;
}

void dmi_ledger_init(dmi_ledger *ledger, bool holds);

/* Frees units, too. Nobody may be reading. */
void dmi_ledger_fini(dmi_ledger *ledger);

/* A ticket for a part that will be entered; 0: no memory. Or will not be, after all. */
uint32_t dmi_ledger_take(dmi_ledger *ledger);
void dmi_ledger_leave(dmi_ledger *ledger, uint32_t ticket);

/* A unit of no parts yet, in memory that is free()d with it. Once all its parts are entered: settle. */
void dmi_unit_init(dmi_unit *unit, void *file, dmi_extents *extents, dmi_run *run);
void dmi_ledger_enter(dmi_ledger *ledger, uint32_t ticket, dmi_unit *unit, uint32_t at,
                      uint32_t stored, uint32_t count);
void dmi_ledger_settle(dmi_ledger *ledger, dmi_unit *unit);

/* A part is dead; its ticket is free. `failed`: it never should have been. */
void dmi_ledger_strike(dmi_ledger *ledger, uint32_t ticket, bool failed);

/* The entry of a part; good until the lock is given up. */
const dmi_entry *dmi_ledger_find(const dmi_ledger *ledger, uint32_t ticket);

/* While it has readers, a unit's blocks are nobody else's. */
void dmi_unit_hold(dmi_unit *unit);
void dmi_ledger_release(dmi_ledger *ledger, dmi_unit *unit);

/* Would moving what lives in sparse units make blocks free? */
bool dmi_ledger_can_move(const dmi_ledger *ledger);

/* At most `most` sparse units, held and off their list; 0 if to move them frees nothing. */
uint32_t dmi_ledger_begin_move(dmi_ledger *ledger, dmi_unit **units, uint32_t most);

/* If the part still lives in `from`, it is now in `to`: true. */
bool dmi_ledger_move(dmi_ledger *ledger, uint32_t ticket, const dmi_unit *from, dmi_unit *to,
                     uint32_t at);

/* Release them. One in which something still lives is not tried again before more of it dies. */
void dmi_ledger_end_move(dmi_ledger *ledger, dmi_unit *const *units, uint32_t n);

/* What was held is held no longer. */
void dmi_ledger_let_go(dmi_ledger *ledger);

/* Do the laws hold? Slow. */
bool dmi_ledger_is_valid(const dmi_ledger *ledger);

#endif
