/*
 * fit_derived.h - what is made of a fit's coefficients as they come, on request: another
 * basis, densities on 362 directions and the GFA of these, peaks.
 */
#ifndef DM_FIT_DERIVED_H
#define DM_FIT_DERIVED_H

#include <stdbool.h>

#include "dm/fit.h"

enum { FIT_DERIVED_FILES = 3 };

/* What is asked for; nothing by default. */
typedef struct fit_derived_wish {
    dm_sh_basis basis; /* DM_SH_TOURNIER07: in the axes of the scanner, peaks and densities too */
    bool odf, peaks;
    bool float64, overwrite;
} fit_derived_wish;

typedef struct fit_derived {
    fit_derived_wish wish;
    int lmax;
    double *change;                     /* of the coefficients; NULL: none */
    double *sphere;                     /* the basis at 362 directions; NULL: not needed */
    double *odf;                        /* of a block of voxels */
    dm_map_file *maps[FIT_DERIVED_FILES]; /* densities, their GFA, peaks; NULL: not asked for */
    char *paths[FIT_DERIVED_FILES];
} fit_derived;

/*
 * Make what is needed, and refuse files that are there, before anything is computed.
 * Yours: fit_derived_fini, also after a failure.
 */
dm_status fit_derived_open(fit_derived *d, const fit_derived_wish *wish, const char *folder,
                           const dm_grid *grid, int lmax) DM_NODISCARD;

/* When the folder is there. */
dm_status fit_derived_open_maps(fit_derived *d, const dm_grid *grid) DM_NODISCARD;

/* From the coefficients of n voxels, at most FIT_DERIVED_BLOCK; these, in the basis asked for, go to
 * `sh`. */
enum { FIT_DERIVED_BLOCK = 64 };
dm_status fit_derived_put(fit_derived *d, size_t n, const size_t *voxels,
                          const double *coefficients, dm_map_file *sh) DM_NODISCARD;

dm_status fit_derived_finish(const fit_derived *d) DM_NODISCARD;
dm_status fit_derived_commit(const fit_derived *d) DM_NODISCARD;
void fit_derived_fini(fit_derived *d);

#endif
