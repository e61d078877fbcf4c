/*
 * notes.c - the file of notes; its path travels in the environment.
 */
#include "tests/support/notes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/driver.h"

static const char usual[] = "DM_TEST_NOTES";

static void *map(int fd, size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

void *notes_make_as(const char *variable, size_t bytes)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", test_directory(), variable);
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    void *notes = fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 ? map(fd, bytes) : NULL;
    if (notes == NULL || setenv(variable, path, 1) != 0)
        abort();
    return notes;
}

void *notes_open_as(const char *variable, size_t bytes)
{
    const char *path = getenv(variable);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    return fd < 0 ? NULL : map(fd, bytes);
}

void notes_end_as(const char *variable, void *notes, size_t bytes)
{
    const char *path = getenv(variable);
    munmap(notes, bytes);
    if (path)
        unlink(path);
    unsetenv(variable);
}

void *notes_make(size_t bytes)
{
    return notes_make_as(usual, bytes);
}

void *notes_open(size_t bytes)
{
    return notes_open_as(usual, bytes);
}

void notes_end(void *notes, size_t bytes)
{
    notes_end_as(usual, notes, bytes);
}
