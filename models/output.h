/*
 * output.h - a file that appears under its name complete, or not at all.
 *
 * open, write to fd, then commit or abandon. One thread.
 */
#ifndef DM_MODELS_OUTPUT_H
#define DM_MODELS_OUTPUT_H

#include "dm/status.h"

#include <stdbool.h>

typedef struct dmi_output {
    const char *path;
    bool overwrite;
    int fd;
    char *temporary; /* NULL while the file has no name at all */
} dmi_output;

/* DM_ERR_IO if the file exists and may not be overwritten, or nothing can be written there. `path`
 * must outlive the output. */
dm_status dmi_output_open(const char *path, bool overwrite, dmi_output *out) DM_NODISCARD;

/* The bytes are on disk and the file has its name; or, after a failure, there is no trace of it. */
dm_status dmi_output_commit(dmi_output *out) DM_NODISCARD;

void dmi_output_abandon(dmi_output *out);

#endif
