/*
 * segment.h - a piece of shared memory: one memfd, written by one process, read by all.
 *
 * The memfd has no name, cannot change its size (sealed), and costs only the pages touched. Its owner
 * maps it twice: `rw` to write, `ro` to lend. Everybody else is handed a read-only descriptor, so that
 * they can neither write, truncate nor punch it. Memory goes when the last mapping and descriptor go,
 * whoever dies: there is nothing to clean up.
 */
#ifndef DMI_SEGMENT_H
#define DMI_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "dm/status.h"

typedef struct dmi_segment {
    size_t bytes;
    char *rw;       /* NULL for a reader */
    const char *ro; /* what may be lent; equals rw if created with one mapping */
    int rw_fd;      /* -1 for a reader */
    int ro_fd;
} dmi_segment;

/*
 * Create a segment of `bytes` (rounded up to pages; sparse). `one_mapping`: rw and ro are the same
 * address, for workers that are threads. On failure nothing is left and *segment is all empty
 * (fds -1). DM_ERR_NOMEM, DM_ERR_FDS, DM_ERR_SYSTEM.
 */
dm_status dmi_segment_create(dmi_segment *segment, size_t bytes, bool one_mapping);

/* Map a segment made elsewhere from descriptors received; rw_fd -1 for a reader. Takes the descriptors
 * in every case (closed on failure). Checks the size, the seals, how each was opened, and that both are
 * of one memfd: DM_ERR_VERSION. DM_ERR_NOMEM, DM_ERR_SYSTEM. */
dm_status dmi_segment_attach(dmi_segment *segment, int rw_fd, int ro_fd, size_t bytes);

/* Give up the writable mapping, keep the descriptors: for the process that made the segment on behalf
 * of another, and will one day punch what that one leaves. */
void dmi_segment_unmap_rw(dmi_segment *segment);

/* Close the descriptors, keep the mappings (readers need no descriptor once mapped). */
void dmi_segment_close_fds(dmi_segment *segment);

/* Unmap and close everything. An empty one is fine. */
void dmi_segment_destroy(dmi_segment *segment);

/* Is [offset, offset + bytes) inside? Safe against overflow. */
static inline bool dmi_segment_holds(const dmi_segment *segment, size_t offset, size_t bytes)
{
    return offset <= segment->bytes && bytes <= segment->bytes - offset;
}

#endif
