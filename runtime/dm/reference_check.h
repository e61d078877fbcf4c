/*
 * reference_check.h - are two results the same bits, and how far is one from DIPY's?
 */
#ifndef DM_REFERENCE_CHECK_H
#define DM_REFERENCE_CHECK_H

#include <stdbool.h>

#include "dm/fit.h"

/* What is asked for: max |dc| / max |c| up to the bound, and equal iterations, in this share of
 * voxels. Measured: two BLAS libraries differ by 1e-12, data with noise of 1e-10 by 1e-9. */
#define REFERENCE_BOUND 1e-8
#define REFERENCE_SHARE 0.999

typedef struct reference_deviation {
    double largest;          /* max |dc| / max |c| of any voxel */
    double within_bound;     /* shares of the voxels in the mask */
    double iterations_equal;
} reference_deviation;

/* Coefficients, GFA and iterations of every voxel. */
bool maps_same_bits(const dm_csd_maps *a, const dm_csd_maps *b);

/* Against csd_sh.nii.gz and csd_nit.nii.gz in a folder. */
dm_status reference_compare(const char *folder, const dm_csd_maps *maps, const dm_mask *mask,
                            reference_deviation *out) DM_NODISCARD;

#endif
