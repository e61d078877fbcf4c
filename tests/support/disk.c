/*
 * disk.c - looks through /proc/self/fd for files of the spill directory, through which the page cache
 * is read and written, whatever the runtime's own descriptors do.
 */
#define _GNU_SOURCE
#include "tests/support/disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/driver.h"

enum { FDS = 1024, PIECE = 1 << 20 };

/* Another descriptor of a spill file below `directory`, if `fd` is one; -1. */
static int reopen(int fd, int flags, const char *directory)
{
    char link[64], target[512];
    struct stat about;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length <= 0 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        return -1;
    target[length] = 0;
    bool ours = strncmp(target, directory, strlen(directory)) == 0;
    bool spilled = strstr(target, "(deleted)") || strstr(target, "/spill-");
    return ours && spilled ? open(link, flags | O_CLOEXEC) : -1;
}

/* Calls visit for each place of `word`; how many. */
static int each_place(int fd, uint64_t word, void (*visit)(int, off_t))
{
    char *piece = malloc(PIECE);
    int count = 0;
    ssize_t bytes;
    for (off_t at = 0; (bytes = pread(fd, piece, PIECE, at)) > 0; at += bytes > 8 ? bytes - 7 : bytes) {
        const char *from = piece, *found;
        while ((found = memmem(from, (size_t)(piece + bytes - from), &word, 8)) != NULL) {
            visit(fd, at + (found - piece));
            count++;
            from = found + 1;
        }
    }
    free(piece);
    return count;
}

static void flip(int fd, off_t at)
{
    unsigned char byte;
    if (pread(fd, &byte, 1, at) == 1) {
        byte ^= 0x10;
        if (pwrite(fd, &byte, 1, at) != 1)
            abort();
        fdatasync(fd);
    }
}

static void leave(int fd, off_t at)
{
    (void)fd, (void)at;
}

static int each_file(uint64_t word, void (*visit)(int, off_t))
{
    int count = 0;
    for (int i = 3; i < FDS; i++) {
        int fd = reopen(i, O_RDWR, test_directory());
        if (fd < 0)
            continue;
        count += each_place(fd, word, visit);
        close(fd);
    }
    return count;
}

int disk_flip(uint64_t word)
{
    return each_file(word, flip);
}

bool disk_has(uint64_t word)
{
    return each_file(word, leave) != 0;
}

void disk_truncate(void)
{
    for (int i = 3; i < FDS; i++) {
        int fd = reopen(i, O_RDWR, test_directory());
        if (fd < 0)
            continue;
        if (ftruncate(fd, 0) != 0)
            abort();
        close(fd);
    }
}

int64_t disk_bytes(void)
{
    return disk_bytes_below(test_directory());
}

int64_t disk_bytes_below(const char *directory)
{
    int64_t bytes = 0;
    for (int i = 3; i < FDS; i++) {
        struct stat about;
        int fd = reopen(i, O_RDONLY, directory);
        if (fd < 0)
            continue;
        bytes += fstat(fd, &about) == 0 ? (int64_t)about.st_blocks * 512 : 0;
        close(fd);
    }
    return bytes;
}
