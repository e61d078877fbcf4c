/*
 * backing.h - which pages of a range of a segment have memory behind them, and which of those are used.
 *
 * A page is bare, or used, or idle: memory is behind it but nobody uses it. Idle pages are what makes a
 * heap warm: taking them again costs nothing, where a fresh page costs 2.4 us.
 *
 *     bare --take--> used --leave--> idle --take--> used
 *                                    idle --trim--> bare
 *
 * Law: *committed is the bytes of used and idle pages, and never grows beyond *granted.
 *
 * Memory is reserved when a page is taken (fallocate), so that too little of it is a refusal here and
 * never a SIGBUS later. Thread-safe.
 */
#ifndef DMI_BACKING_H
#define DMI_BACKING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dm/status.h"
#include "objectstore/word.h"

enum { DMI_PAGE = 4096 };

typedef struct dmi_backing {
    int fd; /* the segment's, writable; the caller's */
    size_t first, pages;
    uint64_t *backed, *used; /* a bit per page; used is a subset of backed */
    size_t high;             /* no page from here on was ever backed */
    dmi_word *committed;
    const dmi_word *granted;
    pthread_mutex_t lock;
} dmi_backing;

/* All pages of [first, end) are bare; both are page borders. On failure nothing is left. DM_ERR_NOMEM. */
dm_status dmi_backing_init(dmi_backing *backing, int fd, size_t first, size_t end,
                           dmi_word *committed, const dmi_word *granted);

/* Have memory behind these bytes; `may_grow`: also where a page is bare. False, and nothing changed, if
 * it may not, the grant does not allow it or the system has none. None of the pages may be in use. */
bool dmi_backing_take(dmi_backing *backing, size_t offset, size_t bytes, bool may_grow);

/* These bytes are not used any more; some of them may never have been taken. */
void dmi_backing_leave(dmi_backing *backing, size_t offset, size_t bytes);

/* Is the page of this offset in use? */
bool dmi_backing_uses(dmi_backing *backing, size_t offset);

/* Give the memory of idle pages back to the system. */
void dmi_backing_trim(dmi_backing *backing);

/* Forget; the pages stay as they are. */
void dmi_backing_fini(dmi_backing *backing);

#endif
