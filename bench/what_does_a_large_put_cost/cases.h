/*
 * cases.h - what every contestant does here: have BYTES that a program has in memory that others can read, by a copy;
 * or write as many where others will read them, without one. Once into memory that nobody has touched (cold), and again
 * and again into memory that was used before (warm). In MB per second; what is there is compared afterwards.
 */
#ifndef BENCH_LARGE_PUT_CASES_H
#define BENCH_LARGE_PUT_CASES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/support/clock.h"
#include "bench/support/options.h"
#include "bench/support/row.h"
#include "bench/support/signals.h"

static const char question[] = "what_does_a_large_put_cost";

enum { WARM = 5 };
#define BYTES ((size_t)800 << 20)

/* One after the other on the same memory: of a kind the first is cold. */
typedef struct large_case {
    const char *cold, *warm;
    bool in_place;
} large_case;

static const large_case cases[] = {{"a copy, cold", "a copy, warm", false}, {"in place, cold", "in place, warm", true}};
enum { CASES = sizeof cases / sizeof *cases, FILLER = 0x5a };

/* The bytes that are copied; touched, so that no fresh page of theirs is in the timing. */
static inline char *case_source(size_t bytes)
{
    char *at = malloc(bytes);
    uint64_t state = 88172645463325252u;
    if (at == NULL) {
        fprintf(stderr, "no memory for %zu MiB\n", bytes >> 20);
        exit(1);
    }
    memset(at, 0, bytes);
    for (size_t i = 0; i + sizeof state <= bytes; i += sizeof state) {
        uint64_t word = case_random(&state);
        memcpy(at + i, &word, sizeof word);
    }
    return at;
}

/* It is what it should be, and its sum says so. */
static inline uint64_t case_check(const large_case *of, const char *found, const char *source, size_t bytes)
{
    if (!of->in_place)
        bench_expect(0, (uint64_t)(memcmp(found, source, bytes) != 0), of->warm);
    else
        for (size_t i = 0; i < bytes; i += 4096)
            bench_expect(FILLER, (unsigned char)found[i], of->warm);
    return case_sum(found, bytes);
}

static inline void case_report(const bench_reporter *reporter, const char *name, size_t bytes, int64_t ns, uint64_t answer)
{
    bench_report(reporter, (bench_row){.name = name, .unit = "MB/s", .value = (double)bytes * 1e3 / (double)ns, .n = bytes,
                                       .answer = answer});
}

/* The first of a kind, and the median of those that follow. */
static inline void case_report_all(const bench_reporter *reporter, const large_case *of, int64_t took[WARM + 1],
                                   size_t bytes, uint64_t answer)
{
    case_report(reporter, of->cold, bytes, took[0], answer);
    for (int i = 2; i <= WARM; i++)
        for (int k = i; k > 1 && took[k - 1] > took[k]; k--) {
            int64_t larger = took[k - 1];
            took[k - 1] = took[k];
            took[k] = larger;
        }
    case_report(reporter, of->warm, bytes, took[1 + WARM / 2], answer);
}

#endif
