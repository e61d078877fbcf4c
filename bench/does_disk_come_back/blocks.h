/*
 * blocks.h - what is on disk, by the kernel's word.
 */
#ifndef BENCH_DISK_BLOCKS_H
#define BENCH_DISK_BLOCKS_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline const char *spill_dir(void)
{
    const char *dir = getenv("DM_SPILL_DIR");
    return dir ? dir : "/var/tmp";
}

/* Bytes of blocks of the files in the spill directory that this process has open, named or not. */
static inline uint64_t bytes_on_disk(void)
{
    uint64_t total = 0;
    DIR *fds = opendir("/proc/self/fd");
    for (struct dirent *entry; fds && (entry = readdir(fds)) != NULL;) {
        char path[300], target[4096];
        struct stat about;
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length <= 0 || strncmp(target, spill_dir(), strlen(spill_dir())) != 0)
            continue;
        if (stat(path, &about) == 0 && S_ISREG(about.st_mode))
            total += (uint64_t)about.st_blocks * 512;
    }
    if (fds)
        closedir(fds);
    return total;
}

#endif
