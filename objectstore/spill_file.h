/*
 * spill_file.h - one file of blocks: writing and reading at a place in it, giving blocks back to the disk.
 *
 * Knows system calls and their failures, and nothing of what the bytes are. Which blocks are in use is
 * `extents`, which the caller guards by a lock of its own; nothing here reads it. All else: any thread,
 * at once, at different blocks.
 */
#ifndef DMI_SPILL_FILE_H
#define DMI_SPILL_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dm/status.h"
#include "objectstore/ledger.h"
#include "objectstore/place.h"

typedef struct dmi_spill_file {
    int fd;
    atomic_bool direct;  /* private atomic */
    atomic_bool punches; /* private atomic; true until the file system refuses */
    char name[160];      /* for messages */
    dmi_extents extents;
} dmi_spill_file;

/* A new file in this place. As dmi_place_make. */
dm_status dmi_spill_file_open(dmi_spill_file *file, dmi_place *place, bool visible, bool buffered);
void dmi_spill_file_close(dmi_spill_file *file);

/* All of it or a status. `bytes` and `at` are aligned to blocks, `count` is a multiple. DM_ERR_DISK_FULL, DM_ERR_IO,
 * DM_ERR_CANCELLED. What was written of it then is to be punched. */
dm_status dmi_spill_file_write(dmi_spill_file *file, const void *bytes, size_t count, uint64_t at,
                               const atomic_bool *cancelled);

/* As many bytes as there are, up to `count`: `*got`. DM_ERR_IO. */
dm_status dmi_spill_file_read(dmi_spill_file *file, void *bytes, size_t count, uint64_t at,
                              size_t *got);

/* Give the disk behind these bytes back. False: it stays. */
bool dmi_spill_file_punch(dmi_spill_file *file, uint64_t at, uint64_t count);

/* Give back all. False: it stays. */
bool dmi_spill_file_empty(dmi_spill_file *file);

/* May `more` bytes be written without the file system being fuller than `limit` (0 to 1)? If not, a
 * sentence. */
dm_status dmi_spill_file_room(const dmi_spill_file *file, uint64_t more, double limit);

#endif
