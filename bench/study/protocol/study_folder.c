/*
 * study_folder.c - see study_folder.h. The lock ends with whoever has it, however that one ends.
 */
#include "bench/study/protocol/study_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char prefix[] = "dm-study-";

/* A folder, ours and no link, and locked by us. -1: it is none, or in use. */
static int lock_folder(int above, const char *name)
{
    struct stat about;
    const int fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &about) == 0 && about.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    close(fd);
    return -1;
}

/* It is locked; the lock goes with it. */
static void remove_locked(int above, const char *name, int fd)
{
    DIR *files = fdopendir(dup(fd));
    for (struct dirent *entry; files && (entry = readdir(files)) != NULL;)
        (void)unlinkat(fd, entry->d_name, 0);
    if (files)
        closedir(files);
    (void)unlinkat(above, name, AT_REMOVEDIR);
    close(fd);
}

static void sweep(const char *above)
{
    DIR *names = opendir(above);
    for (struct dirent *entry; names && (entry = readdir(names)) != NULL;) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        const int fd = lock_folder(dirfd(names), entry->d_name);
        if (fd >= 0)
            remove_locked(dirfd(names), entry->d_name, fd);
    }
    if (names)
        closedir(names);
}

dm_status study_folder_make(study_folder *folder)
{
    enum { TRIES = 8 };
    const char *above = getenv("DM_SPILL_DIR");
    above = above && *above ? above : "/var/tmp";
    char place[2048];
    snprintf(place, sizeof place, "%.*s", (int)strcspn(above, ":"), above);
    sweep(place);
    for (int i = 0; i < TRIES; i++) { /* somebody else's sweep may come between making and locking */
        snprintf(folder->path, sizeof folder->path, "%s/%sXXXXXX", place, prefix);
        if (mkdtemp(folder->path) == NULL)
            break;
        folder->lock = lock_folder(AT_FDCWD, folder->path);
        if (folder->lock >= 0)
            return DM_OK;
    }
    return dmi_error(DM_ERR_IO, "%s: no directory to spill to: %s", folder->path, strerror(errno));
}

void study_folder_remove(study_folder *folder)
{
    remove_locked(AT_FDCWD, folder->path, folder->lock);
}
