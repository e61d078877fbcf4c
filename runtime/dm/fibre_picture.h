/*
 * fibre_picture.h - one slice of a fit as a picture: on the left its GFA in grey, on the right the
 * fODF of each voxel drawn over it.
 */
#ifndef DM_FIBRE_PICTURE_H
#define DM_FIBRE_PICTURE_H

#include "dm/fit.h"

/*
 * The axial slice (third axis) with the highest sum of GFA within the mask; `title` says what it is
 * of. Coefficients in single or double precision, of even order up to lmax.
 */
dm_status fibre_picture_write(const dm_csd_maps *maps, const dm_mask *mask, int lmax,
                              const char *title, const char *path) DM_NODISCARD;

#endif
