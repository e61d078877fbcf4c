/*
 * backing.c - two bits per page and fallocate. Knows nothing of who uses the pages, or for what.
 */
#include "objectstore/backing.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

/* Pages per system call: fallocate undoes everything when a signal comes, so a program with a fast
 * timer would never get a long one done (4 MiB of fresh pages take 2.5 ms). Punching is quicker, but
 * whoever wants a page waits meanwhile (64 MiB take 3.5 ms). */
enum { RESERVE_MOST = 1024, PUNCH_MOST = 16384 };

typedef struct run {
    size_t from, to;
} run;

typedef enum page_state { BARE, IDLE } page_state;

/* ---- the bits ---- */

static uint64_t bits_of(const dmi_backing *b, page_state state, size_t word)
{
    return state == BARE ? ~b->backed[word] : b->backed[word] & ~b->used[word];
}

/* The first page in [from, to) that is in this state, or is not; `to` if there is none. */
static size_t find(const dmi_backing *b, page_state state, bool has, size_t from, size_t to)
{
    while (from < to) {
        uint64_t bits = bits_of(b, state, from / 64);
        uint64_t rest = (has ? bits : ~bits) >> (from % 64);
        if (rest != 0) {
            size_t at = from + (size_t)__builtin_ctzll(rest);
            return at < to ? at : to;
        }
        from = (from / 64 + 1) * 64;
    }
    return to;
}

/* The next run of pages in this state in [from, to); empty at `to` if there is none. */
static run next_run(const dmi_backing *b, page_state state, size_t from, size_t to)
{
    size_t start = find(b, state, true, from, to);
    return (run){start, find(b, state, false, start, to)};
}

static void mark(uint64_t *map, run pages, bool value)
{
    for (size_t at = pages.from; at < pages.to;) {
        size_t shift = at % 64, left = pages.to - at;
        size_t count = left < 64 - shift ? left : 64 - shift;
        uint64_t bits = (count == 64 ? ~(uint64_t)0 : ((uint64_t)1 << count) - 1) << shift;
        map[at / 64] = value ? map[at / 64] | bits : map[at / 64] & ~bits;
        at += count;
    }
}

static run pages_of(const dmi_backing *b, size_t offset, size_t bytes)
{
    assert(offset >= b->first && offset % DMI_PAGE == 0 && bytes % DMI_PAGE == 0);
    size_t from = (offset - b->first) / DMI_PAGE;
    assert(bytes / DMI_PAGE <= b->pages - from);
    return (run){from, from + bytes / DMI_PAGE};
}

/* ---- the system ---- */

static bool allocate(const dmi_backing *b, int mode, run pages)
{
    off_t offset = (off_t)(b->first + pages.from * DMI_PAGE);
    off_t bytes = (off_t)((pages.to - pages.from) * DMI_PAGE);
    int failed;
    do {
        failed = fallocate(b->fd, mode, offset, bytes);
    } while (failed && errno == EINTR);
    return !failed;
}

static bool punch(const dmi_backing *b, run pages)
{
    return allocate(b, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pages);
}

static bool reserve(const dmi_backing *b, run pages)
{
    for (size_t at = pages.from; at < pages.to; at += RESERVE_MOST) {
        size_t to = pages.to - at < RESERVE_MOST ? pages.to : at + RESERVE_MOST;
        if (allocate(b, 0, (run){at, to}))
            continue;
        if (at > pages.from)
            punch(b, (run){pages.from, at});
        return false;
    }
    return true;
}

/* ---- taking and leaving, under the lock ---- */

static size_t bare_pages(const dmi_backing *b, run pages)
{
    size_t count = 0;
    for (run r = next_run(b, BARE, pages.from, pages.to); r.from < r.to;
         r = next_run(b, BARE, r.to, pages.to))
        count += r.to - r.from;
    return count;
}

static bool reserve_bare(const dmi_backing *b, run pages)
{
    for (run r = next_run(b, BARE, pages.from, pages.to); r.from < r.to;
         r = next_run(b, BARE, r.to, pages.to)) {
        if (reserve(b, r))
            continue;
        for (run u = next_run(b, BARE, pages.from, r.from); u.from < u.to;
             u = next_run(b, BARE, u.to, r.from))
            punch(b, u);
        return false;
    }
    return true;
}

/* Have memory behind those that are bare. */
static bool grow(dmi_backing *b, run pages, size_t more)
{
    size_t now = dmi_word_peek(b->committed), granted = dmi_word_load(b->granted);
    if (now > granted || more > granted - now || !reserve_bare(b, pages))
        return false;
    dmi_word_publish(b->committed, now + more);
    return true;
}

static bool take(dmi_backing *b, run pages, bool may_grow)
{
    size_t more = bare_pages(b, pages) * DMI_PAGE;
    if (more != 0 && !(may_grow && grow(b, pages, more)))
        return false;
    mark(b->backed, pages, true);
    mark(b->used, pages, true);
    b->high = pages.to > b->high ? pages.to : b->high;
    return true;
}

/* Punch the first idle run at or after `from`; where to go on. */
static size_t trim_one(dmi_backing *b, size_t from)
{
    run idle = next_run(b, IDLE, from, b->high);
    if (idle.to - idle.from > PUNCH_MOST)
        idle.to = idle.from + PUNCH_MOST;
    if (idle.from < idle.to && punch(b, idle)) {
        mark(b->backed, idle, false);
        size_t less = (idle.to - idle.from) * DMI_PAGE;
        dmi_word_publish(b->committed, dmi_word_peek(b->committed) - less);
    }
    return idle.to;
}

bool dmi_backing_take(dmi_backing *b, size_t offset, size_t bytes, bool may_grow)
{
    run pages = pages_of(b, offset, bytes);
    pthread_mutex_lock(&b->lock);
    bool taken = take(b, pages, may_grow);
    pthread_mutex_unlock(&b->lock);
    return taken;
}

void dmi_backing_leave(dmi_backing *b, size_t offset, size_t bytes)
{
    run pages = pages_of(b, offset, bytes);
    pthread_mutex_lock(&b->lock);
    mark(b->used, pages, false);
    pthread_mutex_unlock(&b->lock);
}

bool dmi_backing_uses(dmi_backing *b, size_t offset)
{
    if (offset < b->first || offset - b->first >= b->pages * DMI_PAGE)
        return false;
    size_t page = (offset - b->first) / DMI_PAGE;
    pthread_mutex_lock(&b->lock);
    bool uses = b->used[page / 64] >> (page % 64) & 1;
    pthread_mutex_unlock(&b->lock);
    return uses;
}

/* The lock is given up between runs: a trim of gigabytes takes long, and others want pages. */
void dmi_backing_trim(dmi_backing *b)
{
    for (size_t at = 0, end = 1; at < end;) {
        pthread_mutex_lock(&b->lock);
        at = trim_one(b, at);
        end = b->high;
        pthread_mutex_unlock(&b->lock);
    }
}

/* ---- begin and end ---- */

static size_t map_bytes(const dmi_backing *b)
{
    return (b->pages + 63) / 64 * sizeof(uint64_t);
}

/* Both maps in one mapping: sparse, like the segment. */
dm_status dmi_backing_init(dmi_backing *b, int fd, size_t first, size_t end, dmi_word *committed,
                           const dmi_word *granted)
{
    assert(fd >= 0 && first % DMI_PAGE == 0 && end % DMI_PAGE == 0 && first < end);
    *b = (dmi_backing){.fd = fd,
                       .first = first,
                       .pages = (end - first) / DMI_PAGE,
                       .committed = committed,
                       .granted = granted};
    void *maps = mmap(NULL, 2 * map_bytes(b), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (maps == MAP_FAILED)
        return dmi_error(DM_ERR_NOMEM, "no memory for the page maps of %zu bytes of shared memory",
                         end - first);
    b->backed = maps;
    b->used = b->backed + map_bytes(b) / sizeof(uint64_t);
    pthread_mutex_init(&b->lock, NULL);
    return DM_OK;
}

void dmi_backing_fini(dmi_backing *b)
{
    if (b->backed == NULL)
        return;
    munmap(b->backed, 2 * map_bytes(b));
    pthread_mutex_destroy(&b->lock);
    *b = (dmi_backing){.fd = -1};
}
