/*
 * floor.c - what has to be done by anybody: an object that is not in a cache of the store's size, of which what was used
 * longest ago goes first, is read past the page cache and expanded (squeeze.h), by twice as many threads as workers, a
 * piece of PART each. Nothing is verified, accounted for, or freed; memory is warm.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "bench/support/squeeze.h"
#include "cases.h"

enum { PART = 1 << 20, PARTS = OBJECT / PART, STAGE = PART + (PART >> 2), BLOCK = 4096, MOST = 256 };

typedef struct worker {
    pthread_t thread;
    char *stage;
} worker;

static run r;
static int fd;
static uint32_t *stored; /* bytes of each part */
static char *cache;      /* slots of OBJECT bytes, and */
static uint64_t *holds, *used; /* the object + 1 in each, and when it was got last */
static size_t slots;
static worker workers[MOST];

/* What the threads do now: the parts of one object. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER, ended = PTHREAD_COND_INITIALIZER;
static size_t next_part = PARTS, parts_done, object;
static char *at;
static bool writing, closing;

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static size_t in_blocks(size_t bytes)
{
    return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

static void do_part(size_t part, char *stage)
{
    size_t number = object * PARTS + part;
    off_t where = (off_t)(number * STAGE);
    if (writing) {
        stored[number] = (uint32_t)squeeze(at + part * PART, PART, stage);
        if (pwrite(fd, stage, in_blocks(stored[number]), where) != (ssize_t)in_blocks(stored[number]))
            die("pwrite");
    } else {
        if (pread(fd, stage, in_blocks(stored[number]), where) != (ssize_t)in_blocks(stored[number]))
            die("pread");
        expand(stage, at + part * PART, PART);
    }
}

static void *work(void *of)
{
    const worker *me = of;
    pthread_mutex_lock(&lock);
    while (!closing) {
        if (next_part == PARTS) {
            pthread_cond_wait(&begun, &lock);
            continue;
        }
        size_t part = next_part++;
        pthread_mutex_unlock(&lock);
        do_part(part, me->stage);
        pthread_mutex_lock(&lock);
        if (++parts_done == PARTS)
            pthread_cond_signal(&ended);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* All parts of an object, by all threads. */
static void move(size_t which, char *memory, bool out)
{
    pthread_mutex_lock(&lock);
    object = which;
    at = memory;
    writing = out;
    next_part = parts_done = 0;
    pthread_cond_broadcast(&begun);
    while (parts_done != PARTS)
        pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
}

static size_t slot_of(uint64_t i, bool *there)
{
    size_t oldest = 0;
    *there = false;
    for (size_t s = 0; s < slots; s++) {
        if (holds[s] == i + 1) {
            *there = true;
            return s;
        }
        if (used[s] < used[oldest])
            oldest = s;
    }
    return oldest;
}

static void make(void)
{
    uint64_t answer = 0;
    int64_t summing = 0, start = bench_now_ns();
    for (uint64_t i = 0; i < r.objects; i++) {
        size_t s = i % slots;
        case_fill(&r, cache + s * OBJECT, i);
        int64_t from = bench_now_ns();
        answer ^= r.sums[i] = case_sum(cache + s * OBJECT, OBJECT);
        summing += bench_now_ns() - from;
        move(i, cache + s * OBJECT, true);
        holds[s] = i + 1;
        used[s] = i + 1;
    }
    case_report(&r, CASE_MADE, r.objects, bench_now_ns() - start - summing, answer, 0);
}

static void get_at_random(void)
{
    uint64_t state = 1, answer = 0, from_disk = 0;
    int64_t took = 0;
    for (size_t n = 0; n < r.gets; n++) {
        bool there;
        uint64_t i = case_next(&r, &state);
        int64_t start = bench_now_ns();
        size_t s = slot_of(i, &there);
        if (!there)
            move(i, cache + s * OBJECT, false);
        holds[s] = i + 1;
        used[s] = r.objects + n + 1;
        took += bench_now_ns() - start;
        from_disk += there ? 0 : OBJECT;
        answer ^= case_check(&r, cache + s * OBJECT, i);
    }
    case_report(&r, CASE_GETS, r.gets, took, answer, from_disk);
}

/* Touched, so that no fresh page is in the timing. */
static void *memory(size_t bytes)
{
    void *begin = aligned_alloc(BLOCK, in_blocks(bytes));
    if (begin == NULL)
        die("memory");
    return memset(begin, 0, in_blocks(bytes));
}

int main(int argc, char **argv)
{
    r = case_begin(argc, argv, "LRU, LZ4, direct");
    if (squeezed_most(PART) > STAGE)
        die("a stage is too small");
    const char *directory = getenv("DM_SPILL_DIR");
    fd = open(directory ? directory : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600);
    if (fd < 0)
        die("a file in DM_SPILL_DIR or /var/tmp");
    slots = r.store_bytes / OBJECT ? r.store_bytes / OBJECT : 1;
    cache = memory(slots * OBJECT);
    holds = memory(slots * sizeof *holds);
    used = memory(slots * sizeof *used);
    stored = memory(r.objects * PARTS * sizeof *stored);
    size_t threads = 2 * (size_t)r.options.workers < MOST ? 2 * (size_t)r.options.workers : MOST;
    for (size_t i = 0; i < threads; i++) {
        workers[i].stage = memory(STAGE);
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            die("pthread_create");
    }
    make();
    get_at_random();
    pthread_mutex_lock(&lock);
    closing = true;
    pthread_cond_broadcast(&begun);
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        free(workers[i].stage);
    }
    close(fd);
    free(cache);
    free(holds);
    free(used);
    free(stored);
    free(r.signals);
    free(r.sums);
}
