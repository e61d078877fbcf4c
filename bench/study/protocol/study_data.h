/*
 * study_data.h - what is fitted: a set from files, or a phantom made in memory.
 */
#ifndef BENCH_STUDY_DATA_H
#define BENCH_STUDY_DATA_H

#include "dm/dm.h"
#include "dm/models.h"

typedef struct study_data {
    char shape[48]; /* "(145, 174, 145, 288)", as the study has it */
    dm_volume *dwi;
    dm_gradients *gradients;
    dm_mask *mask;
    dm_response response;
} study_data;

/* From a folder with dwi.nii.gz (or .nii), dwi.bval, dwi.bvec, and, if they are there, mask.nii.gz (else all
 * voxels). The response for CSD is asked for apart. Yours: study_data_fini, also after a failure. */
dm_status study_data_read(const char *folder, study_data *data) DM_NODISCARD;

/* So many voxels of dm_phantom_signals, all of them to be fitted, in 288 volumes weighted like those of the study:
 * 18 b0, and 90 of each 1000, 2000 and 3000 s/mm2. The same in every run. Yours as above. */
dm_status study_data_phantom(const size_t shape[3], study_data *data) DM_NODISCARD;

/* For CSD: from a folder with response.txt, else (or with NULL) as dm fit finds it in the image. */
dm_status study_data_response(const char *folder, study_data *data) DM_NODISCARD;

void study_data_fini(study_data *data);

#endif
