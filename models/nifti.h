/*
 * nifti.h - the 348 bytes of a NIfTI-1 header, to and from what dmrt keeps of them.
 *
 * Bytes only; files are read in volume_read.c and written in volume_write.c.
 */
#ifndef DM_MODELS_NIFTI_H
#define DM_MODELS_NIFTI_H

#include "dm/models.h"

enum {
    DMI_NIFTI_HEADER_BYTES = 348,
    DMI_NIFTI_DATA_OFFSET = 352 /* the header and four bytes that say "no extensions" */
};

typedef struct dmi_nifti {
    dm_volume image; /* without data */
    size_t n_bytes;  /* of the data */
    size_t offset;   /* of the data in the (uncompressed) file */
    bool swapped;    /* the data are in the other byte order */
} dmi_nifti;

/* DM_ERR_FORMAT, naming `path`, if no image can come of this header. */
dm_status dmi_nifti_parse(const char *path, const unsigned char bytes[DMI_NIFTI_HEADER_BYTES],
                          dmi_nifti *header) DM_NODISCARD;

/* The header of a .nii with this image. DM_ERR_INVALID if NIfTI-1 cannot hold its shape. */
dm_status dmi_nifti_format(const char *path, const dm_volume *volume,
                           unsigned char bytes[DMI_NIFTI_DATA_OFFSET]) DM_NODISCARD;

/* Turn the byte order of n elements. */
void dmi_nifti_swap(dm_volume_type type, size_t n, void *data);

/* The bytes of one stored element. */
size_t dmi_volume_type_bytes(dm_volume_type type);

/* dm_volume_gather into values that have `stride` from voxel to voxel, volume t in its column. */
void dmi_volume_gather_columns(const dm_volume *volume, size_t n, const size_t *voxels,
                               size_t stride, const uint64_t *columns, double *values);

#endif
