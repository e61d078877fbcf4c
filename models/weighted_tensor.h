/*
 * weighted_tensor.h - the diffusion tensor by weighted linear least squares, for the response.
 */
#ifndef DM_MODELS_WEIGHTED_TENSOR_H
#define DM_MODELS_WEIGHTED_TENSOR_H

#include "dm/models.h"

typedef struct dmi_tensor_fit dmi_tensor_fit;

/* Holds `gradients`, which must outlive it. One thread. NULL: no memory. */
dmi_tensor_fit *dmi_tensor_fit_create(const dm_gradients *gradients);
void dmi_tensor_fit_destroy(dmi_tensor_fit *fit);

/* Eigenvalues, descending, in mm2/s, of one voxel's n_volumes signals; NaN if there is none. */
void dmi_tensor_fit_voxel(dmi_tensor_fit *fit, const double *signals, double evals[3]);

/* Fractional anisotropy; 0 for a tensor of zeros. */
double dmi_fractional_anisotropy(const double evals[3]);

#endif
