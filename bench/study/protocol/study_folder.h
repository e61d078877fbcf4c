/*
 * study_folder.h - a folder to spill to that outlives nobody: locked while it is used; those whose users were killed are
 * removed when the next one is made.
 */
#ifndef BENCH_STUDY_FOLDER_H
#define BENCH_STUDY_FOLDER_H

#include "dm/dm.h"

typedef struct study_folder {
    char path[4096];
    int lock;
} study_folder;

/* Below the first of DM_SPILL_DIR, or /var/tmp. Yours: study_folder_remove. */
dm_status study_folder_make(study_folder *folder) DM_NODISCARD;

/* With the files in it: a session that was killed between making one and unlinking it leaves a name. */
void study_folder_remove(study_folder *folder);

#endif
