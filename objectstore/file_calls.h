/*
 * file_calls.h - the system calls on spill files, where tests put what a healthy disk does not do: short
 * writes, late errors, a file system without nameless files. Set by tests before any use, by nobody else.
 */
#ifndef DMI_FILE_CALLS_H
#define DMI_FILE_CALLS_H

#include <sys/types.h>

typedef struct dmi_file_calls {
    int (*open_at)(int dir, const char *name, int flags, mode_t mode);
    ssize_t (*write_at)(int fd, const void *bytes, size_t count, off_t at);
    ssize_t (*read_at)(int fd, void *bytes, size_t count, off_t at);
    int (*punch)(int fd, off_t at, off_t count);
    int (*truncate)(int fd, off_t size);
} dmi_file_calls;

extern dmi_file_calls dmi_calls;

#endif
