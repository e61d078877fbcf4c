/*
 * floors.c - what the parts of spilling cost alone, each with as many threads as there are workers:
 *
 *   --engine buffered   write(2), and read back from the disk
 *   --engine direct     the same past the page cache
 *   --engine lz4        LZ4 as it is, from memory to memory: no disk
 *   --engine shuffled   LZ4 over bytes of equal significance, from memory to memory
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
#include "cases.h"

enum { PIECE = 64 << 10 }; /* what a core's cache holds with room to spare */

typedef struct engine {
    const char *name, *contestant;
    size_t (*out)(size_t part); /* bytes that it became */
    void (*back)(size_t part);
    bool disk;
} engine;

static bench_options options;
static bench_reporter reporter = {.question = question};
static const engine *chosen;
static size_t parts;
static char *raw, *back; /* parts * PART */
static char *coded;      /* parts * room */
static size_t room;
static int fd = -1;
static size_t stored[PARTS];

static void die(const char *what)
{
    fprintf(stderr, "floors: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- disk ---- */

static void open_file(void)
{
    const char *directory = getenv("DM_SPILL_DIR");
    int direct = strcmp(chosen->name, "direct") == 0 ? O_DIRECT : 0;
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

static void shuffle(const char *from, char *to)
{
    for (size_t byte = 0; byte < sizeof(float); byte++)
        for (size_t i = 0; i < PIECE / sizeof(float); i++)
            to[byte * PIECE / sizeof(float) + i] = from[i * sizeof(float) + byte];
}

static void unshuffle(const char *from, char *to)
{
    for (size_t i = 0; i < PIECE / sizeof(float); i++)
        for (size_t byte = 0; byte < sizeof(float); byte++)
            to[i * sizeof(float) + byte] = from[byte * PIECE / sizeof(float) + i];
}

static size_t shuffled_out(size_t part)
{
    static __thread char planes[PIECE];
    char *to = coded + part * room, *end = to + room;
    for (size_t at = 0; at < PART; at += PIECE) {
        shuffle(raw + part * PART + at, planes);
        int bytes = LZ4_compress_default(planes, to + sizeof bytes, PIECE,
                                         (int)(end - to) - (int)sizeof bytes);
        memcpy(to, &bytes, sizeof bytes);
        to += sizeof bytes + (size_t)bytes;
    }
    return (size_t)(to - (coded + part * room));
}

static void shuffled_back(size_t part)
{
    static __thread char planes[PIECE];
    const char *from = coded + part * room;
    for (size_t at = 0; at < PART; at += PIECE) {
        int bytes;
        memcpy(&bytes, from, sizeof bytes);
        if (LZ4_decompress_safe(from + sizeof bytes, planes, bytes, PIECE) != PIECE)
            die("LZ4_decompress_safe");
        unshuffle(planes, back + part * PART + at);
        from += sizeof bytes + (size_t)bytes;
    }
}

static const engine engines[] = {
    {"buffered", "buffered write", disk_out, disk_back, true},
    {"direct", "direct write", disk_out, disk_back, true},
    {"lz4", "LZ4 alone", lz4_out, lz4_back, false},
    {"shuffled", "shuffle and LZ4", shuffled_out, shuffled_back, false},
};

/* ---- the run ---- */

static void *out_worker(void *first)
{
    for (size_t part = (size_t)(uintptr_t)first; part < parts; part += (size_t)options.workers)
        stored[part] = chosen->out(part);
    return NULL;
}

static void *back_worker(void *first)
{
    for (size_t part = (size_t)(uintptr_t)first; part < parts; part += (size_t)options.workers)
        chosen->back(part);
    return NULL;
}

/* Seconds until all workers are through. */
static double together(void *(*work)(void *))
{
    enum { MOST = 256 };
    pthread_t threads[MOST];
    int n = options.workers < MOST ? options.workers : MOST;
    int64_t start = bench_now_ns();
    for (int i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) != 0)
            die("pthread_create");
    for (int i = 0; i < n; i++)
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
    fprintf(stderr, "--engine is buffered, direct, lz4 or shuffled, not '%s'\n", options.engine);
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
    room = (size_t)LZ4_compressBound(PIECE) * (PART / PIECE) + PART / PIECE * sizeof(int);
    raw = memory(parts * PART);
    back = memory(parts * PART);
    coded = chosen->disk ? NULL : memory(parts * room);
    for (int i = 0; i < CASES; i++)
        run_case(&cases[i]);
    free(raw);
    free(back);
    free(coded);
}
