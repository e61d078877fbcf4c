/*
 * place.h - a directory in which spill files are made, and what is ours in it.
 *
 * A file is nameless (O_TMPFILE, or created and unlinked at once), so that the kernel takes it back with
 * the last descriptor, whoever dies. Where a person is to see it, it lies in a directory of our own,
 *
 *     dmrt-UID-PID-XXXXXX/ (0700)    lock (locked as long as we live)    spill-0, spill-1, ...
 *
 * and what dead sessions of this user left like that is swept when a place is opened: their lock is free.
 *
 * What cannot be trusted is refused: a link, a directory of somebody else's or one in which everybody can
 * rename what is ours.
 */
#ifndef DMI_PLACE_H
#define DMI_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dm/status.h"

typedef struct dmi_place {
    char *path;
    int fd;               /* the directory */
    char home[48];        /* the name of our own directory in it, or "" */
    int home_fd, lock_fd; /* -1: none yet */
    unsigned made;        /* files that have a name */
} dmi_place;

/* Check `path` (of `length` characters), sweep it. On failure nothing is left open. DM_ERR_OPTION,
 * DM_ERR_SPILL_UNSAFE, DM_ERR_FDS, DM_ERR_NOMEM, DM_ERR_SYSTEM. */
dm_status dmi_place_open(dmi_place *place, const char *path, size_t length, bool allow_memory);

/* A new file, empty, read and write. `*direct`: whether to ask for direct I/O; then whether it was had.
 * DM_ERR_DISK_FULL, DM_ERR_FDS, DM_ERR_IO. */
dm_status dmi_place_make(dmi_place *place, bool visible, bool *direct, int *fd);

/* Remove our own directory and what is in it. Closed already is fine. */
void dmi_place_close(dmi_place *place);

/* The status of what errno says about a file, for all who use one. */
dm_status dmi_place_status(int error);

#endif
