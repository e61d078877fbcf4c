/*
 * heap.c - a jemalloc arena whose extents are ranges of a segment. The only file that knows jemalloc.
 *
 * jemalloc keeps its own records in private memory and asks, through hooks, for address space (alloc)
 * and for memory behind part of it (commit, decommit). Address space costs nothing and is handed out
 * front to back, once; memory is charged against the grant and reserved with fallocate, piece by piece
 * as jemalloc really uses it. Freed memory stays dirty in the arena, and so warm, until a trim.
 */
#include "objectstore/heap.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { PAGE = 4096, SLAB_MOST = 64 << 10, LARGE_PADDING = 2 * PAGE };

/* What experimental.arenas_create_ext takes; jemalloc 5.3 has it in no public header. */
typedef struct arena_config {
    extent_hooks_t *hooks;
    bool metadata_use_hooks;
} arena_config;

struct dmi_heap {
    extent_hooks_t hooks; /* first: the hooks find the heap by it */
    dmi_segment *segment;
    size_t next, end; /* address space not handed out */
    dmi_word *committed;
    const dmi_word *granted;
    pthread_mutex_t lock; /* over the thread cache, and one growth at a time */
    unsigned arena, tcache;
    bool has_arena, has_tcache;
};

/* ---- hooks: address space ---- */

static void *hook_alloc(extent_hooks_t *hooks, void *new_address, size_t size, size_t alignment,
                        bool *zero, bool *commit, unsigned arena)
{
    (void)arena;
    dmi_heap *heap = (dmi_heap *)hooks;
    char *base = heap->segment->rw;
    size_t misaligned = ((uintptr_t)base + heap->next) % alignment;
    size_t at = heap->next + (misaligned ? alignment - misaligned : 0);
    if (new_address != NULL && new_address != base + at)
        return NULL;
    if (at > heap->end || size > heap->end - at)
        return NULL;
    heap->next = at + size;
    *zero = true;    /* never touched */
    *commit = false; /* jemalloc commits what it uses */
    return base + at;
}

/* Keep the range: address space is never given back before the whole heap is. */
static bool hook_dalloc(extent_hooks_t *hooks, void *address, size_t size, bool committed, unsigned arena)
{
    (void)hooks, (void)address, (void)size, (void)committed, (void)arena;
    return true;
}

static bool hook_split(extent_hooks_t *hooks, void *address, size_t size, size_t size_a, size_t size_b,
                       bool committed, unsigned arena)
{
    (void)hooks, (void)address, (void)size, (void)size_a, (void)size_b, (void)committed, (void)arena;
    return false;
}

static bool hook_merge(extent_hooks_t *hooks, void *address_a, size_t size_a, void *address_b,
                       size_t size_b, bool committed, unsigned arena)
{
    (void)hooks, (void)address_a, (void)size_a, (void)address_b, (void)size_b;
    (void)committed, (void)arena;
    return false;
}

/* ---- hooks: memory ---- */

static off_t offset_of(const dmi_heap *heap, const void *address, size_t offset)
{
    return (const char *)address + offset - heap->segment->rw;
}

static void charge(dmi_heap *heap, size_t length, bool more)
{
    size_t now = dmi_word_peek(heap->committed);
    dmi_word_publish(heap->committed, more ? now + length : now - length);
}

static bool hook_commit(extent_hooks_t *hooks, void *address, size_t size, size_t offset, size_t length,
                        unsigned arena)
{
    (void)size, (void)arena;
    dmi_heap *heap = (dmi_heap *)hooks;
    size_t now = dmi_word_peek(heap->committed), granted = dmi_word_load(heap->granted);
    if (now > granted || length > granted - now)
        return true;
    int failed;
    do {
        failed = fallocate(heap->segment->rw_fd, 0, offset_of(heap, address, offset), (off_t)length);
    } while (failed && errno == EINTR);
    if (failed)
        return true;
    charge(heap, length, true);
    return false;
}

static bool hook_decommit(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                          size_t length, unsigned arena)
{
    (void)size, (void)arena;
    dmi_heap *heap = (dmi_heap *)hooks;
    if (fallocate(heap->segment->rw_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  offset_of(heap, address, offset), (off_t)length) != 0)
        return true;
    charge(heap, length, false);
    return false;
}

/* ---- jemalloc's controls ---- */

static int control(const dmi_heap *heap, const char *name, void *value, size_t bytes)
{
    char path[64];
    snprintf(path, sizeof path, "arena.%u.%s", heap->arena, name);
    return mallctl(path, NULL, NULL, value, bytes);
}

static dm_status make_arena(dmi_heap *heap)
{
    heap->hooks = (extent_hooks_t){.alloc = hook_alloc,
                                   .dalloc = hook_dalloc,
                                   .commit = hook_commit,
                                   .decommit = hook_decommit,
                                   .split = hook_split,
                                   .merge = hook_merge};
    arena_config config = {&heap->hooks, false};
    size_t bytes = sizeof heap->arena;
    if (mallctl("experimental.arenas_create_ext", &heap->arena, &bytes, &config, sizeof config) != 0)
        return dmi_error(DM_ERR_NOMEM, "jemalloc can make no arena for the store's heap");
    heap->has_arena = true;
    ssize_t never = -1, at_once = 0;
    control(heap, "dirty_decay_ms", &never, sizeof never);
    control(heap, "muzzy_decay_ms", &at_once, sizeof at_once);
    bytes = sizeof heap->tcache;
    if (mallctl("tcache.create", &heap->tcache, &bytes, NULL, 0) != 0)
        return dmi_error(DM_ERR_NOMEM, "jemalloc can make no cache for the store's heap");
    heap->has_tcache = true;
    return DM_OK;
}

dm_status dmi_heap_create(dmi_heap **out, dmi_segment *segment, size_t first, size_t end,
                          dmi_word *committed, const dmi_word *granted)
{
    assert(segment->rw && first > 0 && first <= end && end <= segment->bytes);
    dmi_heap *heap = calloc(1, sizeof *heap);
    *out = NULL;
    if (heap == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a heap");
    heap->segment = segment;
    heap->next = first;
    heap->end = end;
    heap->committed = committed;
    heap->granted = granted;
    pthread_mutex_init(&heap->lock, NULL);
    dm_status status = make_arena(heap);
    if (status != DM_OK)
        dmi_heap_destroy(heap);
    else
        *out = heap;
    return status;
}

void dmi_heap_destroy(dmi_heap *heap)
{
    if (heap == NULL)
        return;
    if (heap->has_tcache)
        mallctl("tcache.destroy", NULL, NULL, &heap->tcache, sizeof heap->tcache);
    if (heap->has_arena)
        control(heap, "destroy", NULL, 0);
    pthread_mutex_destroy(&heap->lock);
    free(heap);
}

/* ---- allocation ---- */

static int flags_of(const dmi_heap *heap)
{
    return MALLOCX_ALIGN(DMI_HEAP_ALIGN) | MALLOCX_ARENA(heap->arena) | MALLOCX_TCACHE(heap->tcache);
}

size_t dmi_heap_alloc(dmi_heap *heap, size_t bytes)
{
    if (bytes > heap->end)
        return 0;
    pthread_mutex_lock(&heap->lock);
    char *at = mallocx(bytes ? bytes : 1, flags_of(heap));
    pthread_mutex_unlock(&heap->lock);
    return at ? (size_t)(at - heap->segment->rw) : 0;
}

void dmi_heap_free(dmi_heap *heap, size_t offset)
{
    assert(offset > 0 && offset < heap->next);
    pthread_mutex_lock(&heap->lock);
    dallocx(heap->segment->rw + offset, MALLOCX_TCACHE(heap->tcache));
    pthread_mutex_unlock(&heap->lock);
}

size_t dmi_heap_size_of(size_t bytes)
{
    return nallocx(bytes ? bytes : 1, MALLOCX_ALIGN(DMI_HEAP_ALIGN));
}

size_t dmi_heap_growth_for(const dmi_heap *heap, size_t bytes)
{
    (void)heap;
    size_t size = dmi_heap_size_of(bytes);
    return size < SLAB_MOST ? SLAB_MOST : size + LARGE_PADDING;
}

void dmi_heap_trim(dmi_heap *heap)
{
    pthread_mutex_lock(&heap->lock);
    mallctl("tcache.flush", NULL, NULL, &heap->tcache, sizeof heap->tcache);
    control(heap, "purge", NULL, 0);
    pthread_mutex_unlock(&heap->lock);
}
