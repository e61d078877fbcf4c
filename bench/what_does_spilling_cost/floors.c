/*
 * floors.c - what the parts of spilling cost alone, each with as many threads as there are workers:
 *
 *   --engine buffered   write(2), and read back from the disk
 *   --engine direct     the same past the page cache
 *   --engine lz4        LZ4 as it is, from memory to memory: no disk
 *   --engine shuffled   LZ4 over bytes of equal significance, from memory to memory
 *   --engine both       that, and what became of it past the page cache: all that dmrt does with the bytes but
 *                       for checksums. Twice as many threads as workers, so that some compute while others wait
 *                       for the disk
 *
 * Nothing here checks, accounts for, frees or survives anything: floors, not rivals.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <pthread.h>
#include <unistd.h>

#include "bench/support/clock.h"
#include "bench/support/options.h"
#include "bench/support/squeeze.h"
#include "cases.h"

enum {
    BLOCK = 4096,
    STAGE = 5 << 20, /* room for a part that grows */
    MOST = 256       /* threads */
};

typedef struct engine {
    const char *name, *contestant;
    size_t (*out)(size_t part); /* bytes that it became */
    void (*back)(size_t part);
    bool disk;
    size_t threads; /* for each worker */
} engine;

static bench_options options;
static bench_reporter reporter = {.question = question};
static const engine *chosen;
static size_t parts;
static char *raw, *back; /* parts * PART */
static char *coded;      /* parts * room */
static size_t room;
static char *stages;          /* STAGE for each thread, */
static __thread char *stage; /* and which is mine */
static int fd = -1;
static size_t *stored; /* by part */

static void die(const char *what)
{
    fprintf(stderr, "floors: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- disk ---- */

static void open_file(void)
{
    const char *directory = getenv("DM_SPILL_DIR");
    int direct = strcmp(chosen->name, "buffered") != 0 ? O_DIRECT : 0;
    fd = open(directory ? directory : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | direct, 0600);
    if (fd < 0)
        die("a file in DM_SPILL_DIR or /var/tmp");
}

/* So that it comes back from the disk. */
static void forget_cache(void)
{
    if (fdatasync(fd) != 0)
        die("fdatasync");
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static size_t disk_out(size_t part)
{
    if (pwrite(fd, raw + part * PART, PART, (off_t)(part * PART)) != PART)
        die("pwrite");
    return PART;
}

static void disk_back(size_t part)
{
    if (pread(fd, back + part * PART, PART, (off_t)(part * PART)) != PART)
        die("pread");
}

/* ---- LZ4 ---- */

static size_t lz4_out(size_t part)
{
    return (size_t)LZ4_compress_default(raw + part * PART, coded + part * room, PART, (int)room);
}

static void lz4_back(size_t part)
{
    if (LZ4_decompress_safe(coded + part * room, back + part * PART, (int)stored[part], PART) !=
        PART)
        die("LZ4_decompress_safe");
}

static size_t shuffled_out(size_t part)
{
    return squeeze(raw + part * PART, PART, coded + part * room);
}

static void shuffled_back(size_t part)
{
    expand(coded + part * room, back + part * PART, PART);
}

/* ---- both ---- */

static size_t in_blocks(size_t bytes)
{
    return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

static size_t both_out(size_t part)
{
    char *to = stage;
    size_t bytes = squeeze(raw + part * PART, PART, to);
    if (pwrite(fd, to, in_blocks(bytes), (off_t)(part * STAGE)) != (ssize_t)in_blocks(bytes))
        die("pwrite");
    return bytes;
}

static void both_back(size_t part)
{
    char *from = stage;
    if (pread(fd, from, in_blocks(stored[part]), (off_t)(part * STAGE)) != (ssize_t)in_blocks(stored[part]))
        die("pread");
    expand(from, back + part * PART, PART);
}

static const engine engines[] = {
    {"buffered", "buffered write", disk_out, disk_back, true, 1},
    {"direct", "direct write", disk_out, disk_back, true, 1},
    {"lz4", "LZ4 alone", lz4_out, lz4_back, false, 1},
    {"shuffled", "shuffle and LZ4", shuffled_out, shuffled_back, false, 1},
    {"both", "shuffle, LZ4, direct", both_out, both_back, true, 2},
};

/* ---- the run ---- */

static size_t thread_count(void)
{
    size_t n = (size_t)options.workers * chosen->threads;
    return n < MOST ? n : MOST;
}

static void *out_worker(void *first)
{
    stage = stages + (size_t)(uintptr_t)first * STAGE;
    for (size_t part = (size_t)(uintptr_t)first; part < parts; part += thread_count())
        stored[part] = chosen->out(part);
    return NULL;
}

static void *back_worker(void *first)
{
    stage = stages + (size_t)(uintptr_t)first * STAGE;
    for (size_t part = (size_t)(uintptr_t)first; part < parts; part += thread_count())
        chosen->back(part);
    return NULL;
}

/* Seconds until all threads are through. */
static double together(void *(*work)(void *))
{
    pthread_t threads[MOST];
    size_t n = thread_count();
    int64_t start = bench_now_ns();
    for (size_t i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) != 0)
            die("pthread_create");
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return (double)(bench_now_ns() - start) * 1e-9;
}

static void report(const char *name, double seconds, uint64_t answer)
{
    char more[64];
    size_t total = 0;
    for (size_t i = 0; i < parts; i++)
        total += stored[i];
    snprintf(more, sizeof more, "\"stored\":%zu,\"ratio\":%.4g", total,
             (double)parts * PART / (double)total);
    bench_report(&reporter, (bench_row){.name = name,
                                        .unit = "MB/s",
                                        .value = (double)parts * PART / seconds * 1e-6,
                                        .n = parts * PART,
                                        .answer = answer,
                                        .more = more});
}

static void run_case(const spill_case *of)
{
    if (!bench_wants(&options, of->out) && !bench_wants(&options, of->back))
        return;
    case_fill(of, raw, parts * PART);
    memset(back, 1, parts * PART);
    if (chosen->disk)
        open_file();
    uint64_t answer = case_sum(raw, parts * PART);
    double out = together(out_worker);
    if (chosen->disk)
        forget_cache();
    double in = together(back_worker);
    if (chosen->disk)
        close(fd);
    bench_expect(answer, case_sum(back, parts * PART), of->back);
    report(of->out, out, answer);
    report(of->back, in, answer);
}

static void choose(void)
{
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++)
        if (strcmp(options.engine, engines[i].name) == 0)
            chosen = &engines[i];
    if (chosen)
        return;
    fprintf(stderr, "--engine is buffered, direct, lz4, shuffled or both, not '%s'\n", options.engine);
    exit(2);
}

/* Touched, so that no fresh page is in the timing. */
static char *memory(size_t bytes)
{
    void *at = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (at == NULL)
        die("memory");
    return memset(at, 1, bytes);
}

int main(int argc, char **argv)
{
    options = bench_options_read(argc, argv);
    choose();
    reporter.contestant = chosen->contestant;
    reporter.workers = options.workers;
    parts = bench_scaled(&options, PARTS);
    room = squeezed_most(PART);
    raw = memory(parts * PART);
    back = memory(parts * PART);
    coded = chosen->disk ? NULL : memory(parts * room);
    stored = (size_t *)(void *)memory(parts * sizeof *stored);
    stages = memory(thread_count() * STAGE);
    for (int i = 0; i < CASES; i++)
        run_case(&cases[i]);
    free(raw);
    free(back);
    free(coded);
    free(stored);
    free(stages);
}
