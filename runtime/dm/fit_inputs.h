/*
 * fit_inputs.h - what a fit reads: an image, its gradients, a mask, a response. Whatever is wrong
 * with them is said here, with the file, what was found in it and what was expected.
 */
#ifndef DM_FIT_INPUTS_H
#define DM_FIT_INPUTS_H

#include "dm/fit.h"

/* Fewer weighted volumes than this do not even determine a tensor. */
enum { FIT_MIN_DWI = 6 };

/* Paths; those that may be missing are NULL then. */
typedef struct fit_files {
    const char *dwi, *bval, *bvec;
    const char *mask;     /* NULL: all voxels */
    const char *volumes;  /* "0,7-66", or a file of such; NULL: all volumes */
    const char *shells;   /* "0,2000": of these, only those near such a b; NULL: all */
    const char *response; /* NULL or "auto": from the image */
    const char *response_mask; /* from these voxels of it; NULL: see fa_threshold */
    double fa_threshold;  /* of the voxels chosen then; 0: the usual 0.7 */
} fit_files;

typedef struct fit_inputs {
    dm_image_file *file;
    const dm_volume *dwi; /* its header: only the volumes asked for, no data. Mine */
    dm_gradients *gradients;
    dm_mask *mask;
    dm_signals *signals; /* of the mask; NULL: not read yet */
    dm_mask *response_mask; /* NULL: the response came from a file, or is not needed */
    dm_signals *response_signals;
    dm_response response;
    size_t n_response; /* voxels it was made of; 0: it came from a file */
} fit_inputs;

/* All but signals and response. Yours: fit_inputs_fini, also after a failure. */
dm_status fit_inputs_read(const fit_files *files, fit_inputs *inputs) DM_NODISCARD;

/* For those fits that need a response: from its file, or from which voxels it will be made. */
dm_status fit_inputs_choose_response(const fit_files *files, fit_inputs *inputs) DM_NODISCARD;

/* The signals of all voxels that are needed, in one pass over the image. */
dm_status fit_inputs_read_signals(const fit_files *files, fit_inputs *inputs,
                                  const dm_fit_options *options) DM_NODISCARD;

/* The response, from the signals of its voxels. */
dm_status fit_inputs_find_response(const fit_files *files, fit_inputs *inputs) DM_NODISCARD;

void fit_inputs_fini(fit_inputs *inputs);

/* The error at hand, with the file's name in front unless it is in there. */
dm_status fit_about(const char *path, dm_status status) DM_NODISCARD;

#endif
