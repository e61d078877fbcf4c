/*
 * private_memory.h - how much memory a process has to itself.
 */
#ifndef BENCH_PRIVATE_MEMORY_H
#define BENCH_PRIVATE_MEMORY_H

#include <stdio.h>

/* KiB of one process that no other has; 0 if it is gone. */
static inline long bench_private_kib(int pid)
{
    char path[64], line[256];
    long total = 0, kib;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Private_Clean: %ld", &kib) == 1 ||
            sscanf(line, "Private_Dirty: %ld", &kib) == 1)
            total += kib;
    if (file)
        fclose(file);
    return total;
}

#endif
