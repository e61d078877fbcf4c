/*
 * nifti.c - the one file that knows libnifti.
 *
 * Of that library only what neither prints nor allocates is used: its reader sizes memory by the
 * header's word and prints to stderr, and its writer cannot say that the disk was full.
 */
#include "models/nifti.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include <nifti1_io.h>

static_assert(sizeof(nifti_1_header) == DMI_NIFTI_HEADER_BYTES, "the header is what the file has");

static const struct {
    short code;
    size_t bytes;
} types[DM_VOLUME_TYPE_COUNT] = {
    [DM_VOLUME_U8] = {DT_UINT8, 1},    [DM_VOLUME_I8] = {DT_INT8, 1},
    [DM_VOLUME_U16] = {DT_UINT16, 2},  [DM_VOLUME_I16] = {DT_INT16, 2},
    [DM_VOLUME_U32] = {DT_UINT32, 4},  [DM_VOLUME_I32] = {DT_INT32, 4},
    [DM_VOLUME_U64] = {DT_UINT64, 8},  [DM_VOLUME_I64] = {DT_INT64, 8},
    [DM_VOLUME_F32] = {DT_FLOAT32, 4}, [DM_VOLUME_F64] = {DT_FLOAT64, 8},
};

size_t dmi_volume_type_bytes(dm_volume_type type)
{
    return types[type].bytes;
}

void dmi_nifti_swap(dm_volume_type type, size_t n, void *data)
{
    if (types[type].bytes > 1)
        nifti_swap_Nbytes(n, (int)types[type].bytes, data);
}

static dm_status check_kind(const char *path, nifti_1_header *h, bool *swapped)
{
    int size = h->sizeof_hdr;
    nifti_swap_4bytes(1, &size);
    *swapped = size == DMI_NIFTI_HEADER_BYTES;
    if (h->sizeof_hdr == 540 || size == 540)
        return dmi_error(DM_ERR_FORMAT, "%s: found NIfTI-2, expected NIfTI-1; convert it", path);
    if (h->sizeof_hdr != DMI_NIFTI_HEADER_BYTES && !*swapped)
        return dmi_error(DM_ERR_FORMAT,
                         "%s: not a NIfTI-1 file: it begins with the number %d, not with %d", path,
                         h->sizeof_hdr, DMI_NIFTI_HEADER_BYTES);
    if (memcmp(h->magic, "ni1", 4) == 0)
        return dmi_error(DM_ERR_FORMAT,
                         "%s: found the header of a .hdr/.img pair, expected a single .nii or "
                         ".nii.gz file; convert it",
                         path);
    if (memcmp(h->magic, "n+1", 4) != 0)
        return dmi_error(DM_ERR_FORMAT,
                         "%s: not a NIfTI-1 file: its magic at byte 344 is not \"n+1\"", path);
    if (*swapped)
        swap_nifti_header(h, 1);
    return DM_OK;
}

static dm_status take_shape(const char *path, const nifti_1_header *h, dmi_nifti *out)
{
    size_t shape[4] = {1, 1, 1, 1};
    if (h->dim[0] < 1 || h->dim[0] > 7)
        return dmi_error(DM_ERR_FORMAT, "%s: the header says %d dimensions; expected 3 or 4", path,
                         h->dim[0]);
    for (int k = 1; k <= h->dim[0]; k++) {
        if (h->dim[k] < 1)
            return dmi_error(DM_ERR_FORMAT,
                             "%s: the header says size %d in dimension %d; expected 1 or more",
                             path, h->dim[k], k);
        if (k <= 4)
            shape[k - 1] = (size_t)h->dim[k];
        else if (h->dim[k] != 1)
            return dmi_error(DM_ERR_FORMAT,
                             "%s: the header says size %d in dimension %d; expected at most 4 "
                             "dimensions",
                             path, h->dim[k], k);
    }
    dm_volume *image = &out->image;
    memcpy(image->grid.shape, shape, sizeof image->grid.shape);
    image->n_voxels = shape[0] * shape[1] * shape[2]; /* below 2^45 */
    image->n_volumes = shape[3];
    return DM_OK;
}

static dm_status take_type(const char *path, const nifti_1_header *h, dmi_nifti *out)
{
    dm_volume_type type = 0;
    while (type < DM_VOLUME_TYPE_COUNT && types[type].code != h->datatype)
        type++;
    if (type == DM_VOLUME_TYPE_COUNT)
        return dmi_error(DM_ERR_FORMAT,
                         "%s: the values are of NIfTI type %d; expected integers or floating point "
                         "of 8 to 64 bits",
                         path, h->datatype);
    out->image.type = type;
    if (__builtin_mul_overflow(out->image.n_voxels, out->image.n_volumes, &out->n_bytes) ||
        __builtin_mul_overflow(out->n_bytes, types[type].bytes, &out->n_bytes) ||
        out->n_bytes > SSIZE_MAX)
        return dmi_error(DM_ERR_FORMAT,
                         "%s: the header says %zu voxels of %zu volumes, more than any file holds",
                         path, out->image.n_voxels, out->image.n_volumes);
    return DM_OK;
}

static void take_grid(const nifti_1_header *h, dm_grid *grid)
{
    memcpy(grid->pixdim, h->pixdim, sizeof grid->pixdim);
    grid->xyzt_units = (unsigned char)h->xyzt_units;
    grid->qform_code = h->qform_code;
    grid->sform_code = h->sform_code;
    memcpy(grid->quaternion, &h->quatern_b, sizeof grid->quaternion);
    memcpy(grid->offset, &h->qoffset_x, sizeof grid->offset);
    memcpy(grid->sform[0], h->srow_x, sizeof h->srow_x);
    memcpy(grid->sform[1], h->srow_y, sizeof h->srow_y);
    memcpy(grid->sform[2], h->srow_z, sizeof h->srow_z);
}

dm_status dmi_nifti_parse(const char *path, const unsigned char bytes[DMI_NIFTI_HEADER_BYTES],
                          dmi_nifti *header)
{
    nifti_1_header h;
    memcpy(&h, bytes, sizeof h);
    *header = (dmi_nifti){0};
    dm_status status = check_kind(path, &h, &header->swapped);
    if (status == DM_OK)
        status = take_shape(path, &h, header);
    if (status == DM_OK)
        status = take_type(path, &h, header);
    if (status != DM_OK)
        return status;
    /* Offsets are floats in NIfTI-1; beyond 2^31 they would not even be exact. */
    if (!(h.vox_offset >= DMI_NIFTI_DATA_OFFSET && h.vox_offset < 2147483648.0f))
        return dmi_error(DM_ERR_FORMAT,
                         "%s: the header says that data begin at byte %g; expected %d or more",
                         path, (double)h.vox_offset, DMI_NIFTI_DATA_OFFSET);
    header->offset = (size_t)h.vox_offset;
    const bool scaled = isfinite(h.scl_slope) && h.scl_slope != 0;
    header->image.slope = scaled ? (double)h.scl_slope : 1;
    header->image.inter = scaled && isfinite(h.scl_inter) ? (double)h.scl_inter : 0;
    take_grid(&h, &header->image.grid);
    return DM_OK;
}

static void put_grid(const dm_grid *grid, nifti_1_header *h)
{
    memcpy(h->pixdim, grid->pixdim, sizeof h->pixdim);
    h->xyzt_units = (char)grid->xyzt_units;
    h->qform_code = (short)grid->qform_code;
    h->sform_code = (short)grid->sform_code;
    memcpy(&h->quatern_b, grid->quaternion, sizeof grid->quaternion);
    memcpy(&h->qoffset_x, grid->offset, sizeof grid->offset);
    memcpy(h->srow_x, grid->sform[0], sizeof h->srow_x);
    memcpy(h->srow_y, grid->sform[1], sizeof h->srow_y);
    memcpy(h->srow_z, grid->sform[2], sizeof h->srow_z);
}

dm_status dmi_nifti_format(const char *path, const dm_volume *volume,
                           unsigned char bytes[DMI_NIFTI_DATA_OFFSET])
{
    const size_t *shape = volume->grid.shape;
    const size_t dim[4] = {shape[0], shape[1], shape[2], volume->n_volumes};
    nifti_1_header h = {.sizeof_hdr = DMI_NIFTI_HEADER_BYTES, .regular = 'r', .magic = "n+1"};
    h.dim[0] = volume->n_volumes == 1 ? 3 : 4;
    for (int k = 0; k < 4; k++) {
        if (dim[k] > SHRT_MAX)
            return dmi_error(DM_ERR_INVALID,
                             "%s: size %zu in dimension %d; NIfTI-1 holds at most %d", path, dim[k],
                             k + 1, SHRT_MAX);
        h.dim[k + 1] = (short)dim[k];
    }
    h.dim[5] = h.dim[6] = h.dim[7] = 1;
    h.datatype = types[volume->type].code;
    h.bitpix = (short)(8 * types[volume->type].bytes);
    h.vox_offset = DMI_NIFTI_DATA_OFFSET;
    h.scl_slope = (float)volume->slope;
    h.scl_inter = (float)volume->inter;
    put_grid(&volume->grid, &h);
    memset(bytes, 0, DMI_NIFTI_DATA_OFFSET);
    memcpy(bytes, &h, sizeof h);
    return DM_OK;
}
