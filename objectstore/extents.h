/*
 * extents.h - which blocks of a file are whose: runs of blocks, side by side, without a gap.
 *
 *     BARE ---take---> LIVE ---leave---> IDLE ---take---> LIVE
 *                            ---abandon--> BARE
 *                                        IDLE ---lend---> LENT ---bare---> BARE
 *                                                              ---unlend--> IDLE
 *
 * Bare blocks have no disk behind them, idle ones have it and nobody uses it. Idle ones are taken first:
 * to write over blocks is faster than to have new ones, and costs no space. What is lent is about to be
 * given back to the disk: nobody may take it meanwhile.
 *
 * Laws: the runs cover [0, blocks) in order; two neighbours are never both idle or both bare; the four
 * counts are the sums over the runs. Every run is a node that exists already, so to leave, lend all of or
 * bare one needs no memory and cannot fail.
 *
 * Pure: knows no file and makes no system call. Not thread-safe. Every call takes a time that does not
 * depend on the number of runs.
 */
#ifndef DMI_EXTENTS_H
#define DMI_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dmi_run_state {
    DMI_RUN_BARE,
    DMI_RUN_IDLE,
    DMI_RUN_LIVE,
    DMI_RUN_LENT,
    DMI_RUN_STATES
} dmi_run_state;

typedef struct dmi_run {
    uint64_t first, blocks;
    dmi_run_state state;
    struct dmi_run *prev, *next;     /* neighbours in the file */
    struct dmi_run *before, *behind; /* others of its size and state; only idle and bare ones */
} dmi_run;

/* Four sizes to each power of two: what is taken is at most a quarter larger than what was looked for. */
enum { DMI_SIZES = 4 * 48 };

typedef struct dmi_shelf {
    uint64_t filled[DMI_SIZES / 64]; /* a bit per size: is there a run? */
    dmi_run *runs[DMI_SIZES];
} dmi_shelf;

typedef struct dmi_extents {
    dmi_run *front, *back;
    dmi_run *spare; /* nodes not in use, by next */
    uint64_t blocks, step;
    uint64_t count[DMI_RUN_STATES];
    dmi_shelf shelf[2]; /* by state: bare, idle */
} dmi_extents;

/* Nothing yet; it grows by `step` blocks, or what is asked for if that is more. */
void dmi_extents_init(dmi_extents *extents, uint64_t step);
void dmi_extents_fini(dmi_extents *extents);

/* A live run of so many blocks: of idle ones, else of bare ones if so many more may have disk behind
 * them. NULL: they may not, or there is no memory. */
dmi_run *dmi_extents_take(dmi_extents *extents, uint64_t blocks, uint64_t may_back);

/* Cut a live run: the first `blocks` stay, the rest is returned, live, too. NULL: no memory. */
dmi_run *dmi_extents_cut(dmi_extents *extents, dmi_run *run, uint64_t blocks);

/* A live run becomes idle. The run is not the caller's any more. */
void dmi_extents_leave(dmi_extents *extents, dmi_run *run);

/* A live run that lost its disk, or never had it, becomes bare. */
void dmi_extents_abandon(dmi_extents *extents, dmi_run *run);

/* One of the largest idle runs, at most `most` blocks of it if there is memory to cut it; lent. NULL: no
 * idle run has `least` blocks. */
dmi_run *dmi_extents_lend(dmi_extents *extents, uint64_t least, uint64_t most);

/* What was lent has no disk behind it any more, or still has. */
void dmi_extents_bare(dmi_extents *extents, dmi_run *run);
void dmi_extents_unlend(dmi_extents *extents, dmi_run *run);

/* The file is empty. Nothing may be live or lent. */
void dmi_extents_clear(dmi_extents *extents);

/* Is there an idle run of so many blocks or more? (Of its size class: may say no for one just as large.) */
bool dmi_extents_has_idle(const dmi_extents *extents, uint64_t least);

/* Do the laws hold? For tests and assertions; slow. */
bool dmi_extents_is_valid(const dmi_extents *extents);

#endif
