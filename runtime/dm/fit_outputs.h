/*
 * fit_outputs.h - what a CSD fit writes: csd_sh.nii.gz, csd_gfa.nii.gz, csd_iterations.nii.gz and
 * response.txt in one folder, and what is derived of them (fit_derived.h).
 */
#ifndef DM_FIT_OUTPUTS_H
#define DM_FIT_OUTPUTS_H

#include <stdbool.h>

#include "dm/fit.h"
#include "runtime/dm/fit_derived.h"
#include "runtime/dm/fit_folder.h"

typedef struct fit_outputs {
    fit_folder folder;
    fit_derived derived; /* beside them, on request */
    dm_csd_maps maps;    /* for the fit: takes results into the files */
    size_t n_coefficients;
} fit_outputs;

/*
 * Make the folder, if need be, and files without names; refuse files that are there (unless
 * `overwrite`) before anything is computed. `o` must stay where it is. Yours: fit_outputs_fini, also
 * after a failure.
 */
dm_status fit_outputs_open(fit_outputs *o, const char *folder, const dm_grid *grid,
                           int lmax, const fit_derived_wish *wish) DM_NODISCARD;

/* All bytes; then the names, and the response. */
dm_status fit_outputs_finish(fit_outputs *o) DM_NODISCARD;
dm_status fit_outputs_commit(fit_outputs *o, const dm_response *response) DM_NODISCARD;
void fit_outputs_print(const fit_outputs *o);
void fit_outputs_fini(fit_outputs *o);

/* Only the maps, as wanted where nothing is written. Yours: fit_maps_destroy. */
dm_status fit_maps_create(const dm_grid *grid, size_t n_coefficients, bool float64,
                          dm_csd_maps *maps) DM_NODISCARD;
void fit_maps_destroy(dm_csd_maps *maps);

#endif
