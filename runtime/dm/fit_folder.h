/*
 * fit_folder.h - a folder of maps: made and refused before anything is computed, written while it is,
 * each file appearing under its name when all are complete.
 */
#ifndef DM_FIT_FOLDER_H
#define DM_FIT_FOLDER_H

#include <stdbool.h>

#include "dm/fit.h"

enum { FIT_MOST_FILES = 8 };

/* A file to be. Name, volumes and type are the caller's. */
typedef struct fit_file {
    const char *name;
    size_t n_volumes; /* 0: no image, the caller writes it himself */
    dm_volume_type type;
    char *path;
    dm_map_file *map;
} fit_file;

typedef struct fit_folder {
    int n;
    fit_file files[FIT_MOST_FILES];
    bool overwrite;
    char *made; /* the folder, if there was none; it goes if nothing comes into it */
} fit_folder;

/*
 * Refuse files that are there (unless `overwrite`), make the folder, if need be, and empty maps.
 * Yours: fit_folder_fini, also after a failure.
 */
dm_status fit_folder_open(fit_folder *f, const char *path, const dm_grid *grid) DM_NODISCARD;

/* All bytes of all maps; then, from the last file to the first, their names. */
dm_status fit_folder_finish(const fit_folder *f) DM_NODISCARD;
dm_status fit_folder_commit(const fit_folder *f) DM_NODISCARD;

/* A line for each file on stdout. */
void fit_folder_print(const fit_folder *f);

void fit_folder_fini(fit_folder *f);

/* A folder and those above it. */
dm_status fit_make_folder(const char *path) DM_NODISCARD;

/* folder/name. Yours: free; NULL without memory. */
char *fit_path(const char *folder, const char *name);

#endif
