/*
 * heap.c - a jemalloc arena whose extents are ranges of a segment. The only file that knows jemalloc.
 *
 * jemalloc keeps its own records in private memory and asks, through hooks, for address space (alloc)
 * and for memory behind part of it (commit, decommit). Freed memory is warm in three places, from the
 * quickest to the best joined: objects in a cache of this heap; extents that jemalloc calls dirty; and
 * what it has decommitted, which here only marks pages idle (backing.c) until a trim.
 *
 * Dirty extents alone would not do: jemalloc splits none for an object of less than a 64th of it and
 * joins none with a clean neighbour, so that a heap could be full of free memory. So before the heap
 * grows, what is dirty is decommitted, joined, and looked through again.
 */
#include "objectstore/heap.h"

#include <assert.h>
#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "objectstore/backing.h"

/*
 * jemalloc rounds sizes up by as much as a quarter, and would have memory behind all of it. From
 * SNUG_LEAST on an object gets it only for itself: the pages behind its end stay bare. Law: a dirty
 * extent has no bare page; so a snug object is purged when it is freed.
 */
enum { SNUG_LEAST = 1 << 20 };

/* jemalloc 5.3: objects up to SMALL_MOST share slabs of 28 KiB at most; a large one has a page of its own
 * more, by which its start is moved so that objects do not all begin in the same cache sets.
 * FIRST_GROWTH: it asks for no smaller range than this when it looks ahead. */
enum {
    SMALL_MOST = 14 << 10,
    SLAB_MOST = 28 << 10,
    LARGE_PADDING = DMI_PAGE,
    FIRST_GROWTH = 2 << 20
};

/* What experimental.arenas_create_ext takes; jemalloc 5.3 has it in no public header. */
typedef struct arena_config {
    extent_hooks_t *hooks;
    bool metadata_use_hooks;
} arena_config;

struct dmi_heap {
    extent_hooks_t hooks;    /* first: the hooks find the heap by it */
    char *base;              /* where offset 0 is mapped writable */
    size_t first, next, end; /* [next, end) is address space that jemalloc does not have yet */
    enum { NOTHING, WARM, FRESH } may_take; /* which memory hooks may give at this moment, */
    size_t most;                            /* and how much behind an extent */
    size_t *snug_at; /* by offset / SNUG_LEAST: where the snug object is that begins there, or 0 */
    dmi_backing backing;
    /* Over the cache and all above. A purge of all arenas by the program calls hooks without it, but
     * only to decommit. */
    pthread_mutex_t lock;
    /* Freed while somebody else was at it, who frees them in our place: who frees never waits for memory that
     * another has put behind pages. `late_lock` is over these alone, and is held for a moment. */
    pthread_mutex_t late_lock;
    size_t *late, late_count, late_room;
    unsigned arena, tcache;
    bool has_arena, has_tcache;
    size_t purge_mib[3];
};

/* ---- settings ---- */

/* What jemalloc calls in place of secure_getenv and readlink (cmake/jemalloc.cmake): MALLOC_CONF and
 * /etc/malloc.conf are for the program's own jemalloc. */
char *dmi_heap_getenv(const char *name);
ssize_t dmi_heap_readlink(const char *path, char *to, size_t room);

char *dmi_heap_getenv(const char *name)
{
    (void)name;
    return NULL;
}

ssize_t dmi_heap_readlink(const char *path, char *to, size_t room)
{
    (void)path, (void)to, (void)room;
    return -1;
}

/* ---- hooks ---- */

static size_t offset_of(const dmi_heap *heap, const void *address)
{
    return (size_t)((const char *)address - heap->base);
}

static bool give_memory(dmi_heap *heap, size_t offset, size_t bytes)
{
    if (heap->may_take == NOTHING)
        return false;
    if (bytes > heap->most)
        bytes = heap->most;
    return dmi_backing_take(&heap->backing, offset, bytes, heap->may_take == FRESH);
}

/* Address space, front to back, once. Who wants it committed (*commit) must get it so, because jemalloc
 * then asks no more; else it is a range for later. */
static void *hook_alloc(extent_hooks_t *hooks, void *new_address, size_t size, size_t alignment,
                        bool *zero, bool *commit, unsigned arena)
{
    (void)arena;
    dmi_heap *heap = (dmi_heap *)hooks;
    size_t misaligned = (uintptr_t)(heap->base + heap->next) % alignment;
    size_t at = heap->next + (misaligned ? alignment - misaligned : 0);
    if (new_address != NULL && new_address != heap->base + at)
        return NULL;
    if (at > heap->end || size > heap->end - at)
        return NULL;
    if (*commit && !give_memory(heap, at, size))
        return NULL;
    heap->next = at + size;
    *zero = true; /* never touched */
    return heap->base + at;
}

static bool hook_commit(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                        size_t length, unsigned arena)
{
    (void)size, (void)arena;
    dmi_heap *heap = (dmi_heap *)hooks;
    return !give_memory(heap, offset_of(heap, address) + offset, length);
}

static bool hook_decommit(extent_hooks_t *hooks, void *address, size_t size, size_t offset,
                          size_t length, unsigned arena)
{
    (void)size, (void)arena;
    dmi_heap *heap = (dmi_heap *)hooks;
    dmi_backing_leave(&heap->backing, offset_of(heap, address) + offset, length);
    return false;
}

static bool hook_split(extent_hooks_t *hooks, void *address, size_t size, size_t size_a,
                       size_t size_b, bool committed, unsigned arena)
{
    (void)hooks, (void)address, (void)size, (void)size_a, (void)size_b, (void)committed,
        (void)arena;
    return false;
}

static bool hook_merge(extent_hooks_t *hooks, void *address_a, size_t size_a, void *address_b,
                       size_t size_b, bool committed, unsigned arena)
{
    (void)hooks, (void)address_a, (void)size_a, (void)address_b, (void)size_b;
    (void)committed, (void)arena;
    return false;
}

/* ---- jemalloc's controls ---- */

static int control(const dmi_heap *heap, const char *name, void *value, size_t bytes)
{
    char path[64];
    snprintf(path, sizeof path, "arena.%u.%s", heap->arena, name);
    return mallctl(path, NULL, NULL, value, bytes);
}

static void flush(dmi_heap *heap)
{
    mallctl("tcache.flush", NULL, NULL, &heap->tcache, sizeof heap->tcache);
}

/* Dirty extents become idle pages, joined with their neighbours. */
static void purge(dmi_heap *heap)
{
    mallctlbymib(heap->purge_mib, 3, NULL, NULL, NULL, 0);
}

/*
 * Let jemalloc have the range in the largest pieces possible, before anything else. It never joins what
 * two calls of hook_alloc gave it; left alone it would ask for 2 MiB, 2.5, 3, ..., and an object larger
 * than the largest step would find no room in an empty heap.
 * It asks for a size of its own ladder, in advance of committing what an object needs of it; so ask for
 * objects, and refuse the memory. The first piece is four fifths of the range or more; what is left in
 * the end, less than FIRST_GROWTH, it comes for when it must.
 */
static void prime(dmi_heap *heap)
{
    heap->may_take = NOTHING;
    for (size_t want = heap->end - heap->next; want >= FIRST_GROWTH / 2;) {
        size_t before = heap->next;
        void *never = mallocx(want, MALLOCX_ARENA(heap->arena) | MALLOCX_TCACHE_NONE);
        assert(never == NULL);
        (void)never;
        want = heap->next > before ? heap->end - heap->next : want - want / 16;
    }
}

static bool make_arena(dmi_heap *heap)
{
    heap->hooks = (extent_hooks_t){.alloc = hook_alloc, /* no dalloc: ranges are kept */
                                   .commit = hook_commit,
                                   .decommit = hook_decommit,
                                   .split = hook_split,
                                   .merge = hook_merge};
    arena_config config = {&heap->hooks, false};
    size_t bytes = sizeof heap->arena;
    if (mallctl("experimental.arenas_create_ext", &heap->arena, &bytes, &config, sizeof config) !=
        0)
        return false;
    ssize_t when_asked = -1, at_once = 0;
    control(heap, "dirty_decay_ms", &when_asked, sizeof when_asked);
    control(heap, "muzzy_decay_ms", &at_once, sizeof at_once);
    size_t length = 3;
    mallctlnametomib("arena.0.purge", heap->purge_mib, &length);
    heap->purge_mib[1] = heap->arena;
    prime(heap);
    return true;
}

/* Under the lock. jemalloc comes with the first object: a session or a worker that never has one starts
 * in half the time. False if there is no memory for it; the next object tries again. */
static bool is_ready(dmi_heap *heap)
{
    if (!heap->has_arena)
        heap->has_arena = make_arena(heap);
    size_t bytes = sizeof heap->tcache;
    if (heap->has_arena && !heap->has_tcache)
        heap->has_tcache = mallctl("tcache.create", &heap->tcache, &bytes, NULL, 0) == 0;
    return heap->has_tcache;
}

/* ---- begin and end ---- */

static size_t snug_map_bytes(const dmi_heap *heap)
{
    return (heap->end / SNUG_LEAST + 1) * sizeof *heap->snug_at;
}

static dm_status fill(dmi_heap *heap, int fd, dmi_word *committed, const dmi_word *granted)
{
    void *map = mmap(NULL, snug_map_bytes(heap), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return dmi_error(DM_ERR_NOMEM, "no memory for a heap over %zu bytes of shared memory",
                         heap->end - heap->first);
    heap->snug_at = map;
    return dmi_backing_init(&heap->backing, fd, heap->first, heap->end, committed, granted);
}

dm_status dmi_heap_create(dmi_heap **out, dmi_segment *segment, size_t first, size_t end,
                          dmi_word *committed, const dmi_word *granted)
{
    first = (first + DMI_PAGE - 1) / DMI_PAGE * DMI_PAGE;
    end = end / DMI_PAGE * DMI_PAGE;
    assert(segment->rw && first > 0 && first < end && end <= segment->bytes);
    *out = NULL;
    dmi_heap *heap = calloc(1, sizeof *heap);
    if (heap == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a heap");
    heap->base = segment->rw;
    heap->first = heap->next = first;
    heap->end = end;
    pthread_mutex_init(&heap->lock, NULL);
    pthread_mutex_init(&heap->late_lock, NULL);
    dm_status status = fill(heap, segment->rw_fd, committed, granted);
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
    dmi_backing_fini(&heap->backing);
    if (heap->snug_at)
        munmap(heap->snug_at, snug_map_bytes(heap));
    pthread_mutex_destroy(&heap->lock);
    pthread_mutex_destroy(&heap->late_lock);
    free(heap->late);
    free(heap);
}

/* ---- freeing ---- */

/* Under the lock. */
static void free_now(dmi_heap *heap, size_t offset)
{
    assert(offset % DMI_HEAP_ALIGN == 0 && dmi_backing_uses(&heap->backing, offset));
    dallocx(heap->base + offset, MALLOCX_TCACHE(heap->tcache));
    size_t *snug_at = &heap->snug_at[offset / SNUG_LEAST];
    if (*snug_at == offset) {
        *snug_at = 0;
        purge(heap);
    }
}

static bool take_late(dmi_heap *heap, size_t *offset)
{
    pthread_mutex_lock(&heap->late_lock);
    bool taken = heap->late_count != 0;
    if (taken)
        *offset = heap->late[--heap->late_count];
    pthread_mutex_unlock(&heap->late_lock);
    return taken;
}

static bool has_late(dmi_heap *heap)
{
    pthread_mutex_lock(&heap->late_lock);
    bool has = heap->late_count != 0;
    pthread_mutex_unlock(&heap->late_lock);
    return has;
}

/* Under the lock. */
static void free_late(dmi_heap *heap)
{
    size_t offset;
    while (take_late(heap, &offset))
        free_now(heap, offset);
}

/* What is said to be free up to the moment of unlocking is freed: whoever came too late sees that itself. */
static void unlock(dmi_heap *heap)
{
    do {
        free_late(heap);
        pthread_mutex_unlock(&heap->lock);
    } while (has_late(heap) && pthread_mutex_trylock(&heap->lock) == 0);
}

/* False: no memory to note it. */
static bool note_late(dmi_heap *heap, size_t offset)
{
    pthread_mutex_lock(&heap->late_lock);
    if (heap->late_count == heap->late_room) {
        size_t room = heap->late_room ? 2 * heap->late_room : 64;
        size_t *grown = realloc(heap->late, room * sizeof *grown);
        heap->late = grown ? grown : heap->late;
        heap->late_room = grown ? room : heap->late_room;
    }
    bool noted = heap->late_count < heap->late_room;
    if (noted)
        heap->late[heap->late_count++] = offset;
    pthread_mutex_unlock(&heap->late_lock);
    return noted;
}

void dmi_heap_free(dmi_heap *heap, size_t offset)
{
    if (pthread_mutex_trylock(&heap->lock) == 0) {
        free_now(heap, offset);
        unlock(heap);
    } else if (!note_late(heap, offset)) {
        pthread_mutex_lock(&heap->lock);
        free_now(heap, offset);
        unlock(heap);
    } else if (pthread_mutex_trylock(&heap->lock) == 0) {
        unlock(heap);
    }
}

/* ---- allocation ---- */

/* What to ask of jemalloc so that objects begin on a cache line: each of its sizes that is the next one
 * to a multiple of 64 is one itself, and large objects begin on a line anyway. (To ask for an alignment
 * is slower, and large objects would go into the cache when freed and never come out of it.) */
static size_t lines(size_t bytes)
{
    return bytes ? (bytes + DMI_HEAP_ALIGN - 1) / DMI_HEAP_ALIGN * DMI_HEAP_ALIGN : DMI_HEAP_ALIGN;
}

/* Whole pages, wherever in the first of them it begins. */
static size_t snug(size_t bytes)
{
    return bytes > SIZE_MAX / 2 ? SIZE_MAX
                                : (bytes + DMI_PAGE - 1) / DMI_PAGE * DMI_PAGE + LARGE_PADDING;
}

/* Under the lock, as are the next two. */
static char *ask(const dmi_heap *heap, size_t bytes)
{
    return mallocx(bytes, MALLOCX_ARENA(heap->arena) | MALLOCX_TCACHE(heap->tcache));
}

static char *ask_for_warm(dmi_heap *heap, size_t bytes)
{
    heap->most = bytes < SNUG_LEAST ? SIZE_MAX : snug(bytes);
    heap->may_take = WARM;
    return ask(heap, bytes);
}

/* Warm memory first; then fresh; then what the cache hoards. */
static char *allocate(dmi_heap *heap, size_t bytes)
{
    if (!is_ready(heap))
        return NULL;
    char *at = ask_for_warm(heap, bytes);
    if (at != NULL)
        return at;
    heap->may_take = FRESH;
    purge(heap);
    at = ask(heap, bytes);
    if (at != NULL)
        return at;
    flush(heap);
    purge(heap);
    return ask(heap, bytes);
}

/* Ends what was done under the lock. */
static size_t hand_out(dmi_heap *heap, const char *at, size_t bytes)
{
    size_t offset = at ? offset_of(heap, at) : 0;
    if (at && bytes >= SNUG_LEAST)
        heap->snug_at[offset / SNUG_LEAST] = offset;
    unlock(heap);
    assert(offset % DMI_HEAP_ALIGN == 0);
    return offset;
}

size_t dmi_heap_alloc(dmi_heap *heap, size_t bytes)
{
    if (bytes > heap->end - heap->first)
        return 0;
    bytes = lines(bytes);
    pthread_mutex_lock(&heap->lock);
    free_late(heap);
    return hand_out(heap, allocate(heap, bytes), bytes);
}

size_t dmi_heap_alloc_at_hand(dmi_heap *heap, size_t bytes, bool *busy)
{
    *busy = false;
    if (bytes > heap->end - heap->first)
        return 0;
    bytes = lines(bytes);
    *busy = pthread_mutex_trylock(&heap->lock) != 0;
    if (*busy)
        return 0;
    free_late(heap);
    char *at = heap->has_tcache ? ask_for_warm(heap, bytes) : NULL;
    if (at == NULL && heap->has_tcache) {
        purge(heap); /* joined with its neighbours it may do */
        at = ask(heap, bytes);
    }
    return hand_out(heap, at, bytes);
}

size_t dmi_heap_size_of(size_t bytes)
{
    return bytes < SNUG_LEAST ? nallocx(lines(bytes), 0) : snug(bytes);
}

size_t dmi_heap_growth_for(const dmi_heap *heap, size_t bytes)
{
    if (bytes > heap->end - heap->first)
        return SIZE_MAX;
    if (bytes <= SMALL_MOST)
        return SLAB_MOST;
    return dmi_heap_size_of(bytes) + (bytes < SNUG_LEAST ? LARGE_PADDING : 0);
}

void dmi_heap_trim(dmi_heap *heap)
{
    pthread_mutex_lock(&heap->lock);
    free_late(heap);
    if (heap->has_tcache) {
        flush(heap);
        purge(heap);
    }
    unlock(heap);
    dmi_backing_trim(&heap->backing);
}
