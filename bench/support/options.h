/*
 * options.h - the command line of a contestant: --engine NAME --workers N --only CASE --scale F
 * --policy NAME --live MIB --store MIB.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "row.h"

typedef struct bench_options {
    const char *engine;
    int workers;
    const char *only; /* NULL: all cases */
    const char *policy; /* of spilling; NULL: the session's default */
    size_t live_mib, store_mib; /* what is alive, and the store that it goes through; 0: as the question has it */
    double scale;     /* of the number of tasks: 0.01 for a look under valgrind */
} bench_options;

static inline bool bench_option(bench_options *options, const char *name, const char *value)
{
    if (strcmp(name, "--engine") == 0)
        options->engine = value;
    else if (strcmp(name, "--workers") == 0)
        options->workers = atoi(value);
    else if (strcmp(name, "--only") == 0)
        options->only = value;
    else if (strcmp(name, "--policy") == 0)
        options->policy = value;
    else if (strcmp(name, "--live") == 0)
        options->live_mib = strtoul(value, NULL, 10);
    else if (strcmp(name, "--store") == 0)
        options->store_mib = strtoul(value, NULL, 10);
    else if (strcmp(name, "--scale") == 0)
        options->scale = atof(value);
    else
        return false;
    return true;
}

static inline bench_options bench_options_read(int argc, char **argv)
{
    bench_options options = {.engine = "processes", .workers = bench_cpus(), .scale = 1};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && bench_option(&options, argv[i], argv[i + 1]))
            continue;
        fprintf(stderr, "usage: %s [--engine NAME] [--workers N] [--only CASE] [--scale F] "
                "[--policy NAME] [--live MIB] [--store MIB]\n",
                argv[0]);
        exit(2);
    }
    if (options.workers < 1 || options.scale <= 0) {
        fprintf(stderr, "%s: --workers and --scale must be positive\n", argv[0]);
        exit(2);
    }
    return options;
}

static inline bool bench_wants(const bench_options *options, const char *name)
{
    return options->only == NULL || strcmp(options->only, name) == 0;
}

static inline size_t bench_scaled(const bench_options *options, size_t n)
{
    size_t scaled = (size_t)((double)n * options->scale);
    return scaled ? scaled : 1;
}

#endif
