/*
 * fit_outputs.h - what a CSD fit writes: csd_sh.nii.gz, csd_gfa.nii.gz, csd_iterations.nii.gz and
 * response.txt in one folder.
 */
#ifndef DM_FIT_OUTPUTS_H
#define DM_FIT_OUTPUTS_H

#include <stdbool.h>

#include "dm/fit.h"
#include "runtime/dm/fit_folder.h"

typedef struct fit_outputs {
    fit_folder folder;
    dm_csd_maps maps; /* of the folder */
} fit_outputs;

/*
 * Make the folder, if need be, and empty maps; refuse files that are there (unless `overwrite`)
 * before anything is computed. Yours: fit_outputs_fini, also after a failure.
 */
dm_status fit_outputs_open(fit_outputs *o, const char *folder, const dm_grid *grid,
                           size_t n_coefficients, bool float64, bool overwrite) DM_NODISCARD;
dm_status fit_outputs_write(const fit_outputs *o, const dm_response *response) DM_NODISCARD;
void fit_outputs_fini(fit_outputs *o);

/* Only the maps, as wanted where nothing is written. Yours: fit_maps_destroy. */
dm_status fit_maps_create(const dm_grid *grid, size_t n_coefficients, bool float64,
                          dm_csd_maps *maps) DM_NODISCARD;
void fit_maps_destroy(dm_csd_maps *maps);

#endif
