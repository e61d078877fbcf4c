/*
 * floor.c - memcpy and memset alone, into memory of a memfd, as a store must have it (--engine shared), or into private
 * memory (--engine private). Nothing is accounted for, and nobody could read it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cases.h"

static bench_options options;
static size_t bytes;
static char *source;

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static char *fresh(bool shared)
{
    int fd = shared ? memfd_create("floor", MFD_CLOEXEC) : -1;
    if (shared && (fd < 0 || ftruncate(fd, (off_t)bytes) != 0))
        die("a memfd");
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
    if (at == MAP_FAILED)
        die("mmap");
    if (fd >= 0)
        close(fd);
    return at;
}

static int64_t time_one(const large_case *of, char *to)
{
    int64_t start = bench_now_ns();
    if (of->in_place)
        memset(to, FILLER, bytes);
    else
        memcpy(to, source, bytes);
    __asm__ volatile("" : : "r"(to) : "memory");
    return bench_now_ns() - start;
}

static void run_case(const large_case *of, const bench_reporter *reporter, bool shared)
{
    int64_t took[WARM + 1];
    if (!bench_wants(&options, of->cold) && !bench_wants(&options, of->warm))
        return;
    char *to = fresh(shared);
    uint64_t answer = 0;
    for (int i = 0; i <= WARM; i++) {
        took[i] = time_one(of, to);
        answer = case_check(of, to, source, bytes);
    }
    munmap(to, bytes);
    case_report_all(reporter, of, took, bytes, answer);
}

int main(int argc, char **argv)
{
    options = bench_options_read(argc, argv);
    bool shared = strcmp(options.engine, "private") != 0;
    bytes = bench_scaled(&options, BYTES);
    source = case_source(bytes);
    bench_reporter reporter = {question, shared ? "shared memory alone" : "private memory alone", options.workers};
    for (int i = 0; i < CASES; i++)
        run_case(&cases[i], &reporter, shared);
    free(source);
}
