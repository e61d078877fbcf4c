/*
 * heap.h - room for objects in a segment of one's own: a jemalloc arena over [first, end).
 *
 * jemalloc keeps no byte of its own in the segment, so a reader sees objects and nothing else, and an
 * owner's death at any instruction cannot tear a free list that somebody else needs.
 * Memory is taken from the system (fallocate) page by page as the heap grows, so that too little of it
 * is a 0 here and never a SIGBUS later; it stays committed and warm for reuse, because a fresh page
 * costs 2.4 us and a warm one nothing. The heap grows only when no free warm memory will do.
 * dmi_heap_trim gives it back.
 *
 * Room for one object lies in one piece of the range: an object larger than three fifths of it may
 * find none. Address space is free, so let the range be twice of what the heap may ever hold.
 *
 * Thread-safe. One heap has one owner process.
 */
#ifndef DMI_HEAP_H
#define DMI_HEAP_H

#include <stdbool.h>
#include <stddef.h>

#include "dm/status.h"
#include "objectstore/segment.h"
#include "objectstore/word.h"

typedef struct dmi_heap dmi_heap;

/* Alignment of what dmi_heap_alloc gives. */
enum { DMI_HEAP_ALIGN = 64 };

/*
 * A heap over bytes [first, end) of `segment` (which must be writable and outlive it). It never commits
 * more than *granted bytes (a word of the driver's, read at each growth) and publishes what it has
 * committed in *committed (a word of the owner's). Both may be in shared memory.
 */
dm_status dmi_heap_create(dmi_heap **heap, dmi_segment *segment, size_t first, size_t end,
                          dmi_word *committed, const dmi_word *granted);

/* `bytes` of room, 64-byte aligned, as an offset into the segment; 0 if the grant does not allow it
 * or the system has no memory (never a valid offset, since first > 0). */
size_t dmi_heap_alloc(dmi_heap *heap, size_t bytes);

/* The same of memory that is warm, if nobody else is at this heap (else *busy): waits for nobody, asks nothing of the
 * system. 0: not so. */
size_t dmi_heap_alloc_at_hand(dmi_heap *heap, size_t bytes, bool *busy);

/* Give back what dmi_heap_alloc gave, by its offset. Any thread; does not wait for one that allocates. */
void dmi_heap_free(dmi_heap *heap, size_t offset);

/* How many bytes an allocation of `bytes` really takes. */
size_t dmi_heap_size_of(size_t bytes);

/* How far beyond *committed the grant must be for `bytes` to fit surely, if the system has memory (an
 * upper bound); SIZE_MAX if they never can. */
size_t dmi_heap_growth_for(const dmi_heap *heap, size_t bytes);

/* Punch free memory back to the system and lower *committed. */
void dmi_heap_trim(dmi_heap *heap);

/* Forget everything; the segment is the caller's. NULL is fine. */
void dmi_heap_destroy(dmi_heap *heap);

#endif
