/*
 * volume_read.c - images from .nii and .nii.gz files.
 *
 * All of an image into memory. Fits of large ones read in other ways (image_file.c).
 */
#include "models/image_stream.h"

#include <stdlib.h>

/* What a header that lies can cost. */
enum { PIECE_BYTES = 1 << 24 };

/* Of a compressed file nobody knows the length before its end, so memory grows with what comes out;
 * where the file's size has vouched for the data, it is taken at once. */
static dm_status read_growing(dmi_image_stream *in, void **data)
{
    const size_t n_bytes = in->header.n_bytes;
    const bool vouched = in->in.plain;
    size_t have = 0, room = vouched || n_bytes < PIECE_BYTES ? n_bytes : PIECE_BYTES;
    char *bytes = malloc(room);
    while (bytes) {
        dm_status status = dmi_image_stream_read(in, have, room - have, bytes + have);
        if (status != DM_OK) {
            free(bytes);
            return status;
        }
        have = room;
        if (have == n_bytes) {
            *data = bytes;
            return DM_OK;
        }
        room = n_bytes - have < have ? n_bytes : 2 * have;
        char *grown = realloc(bytes, room);
        if (!grown)
            free(bytes);
        bytes = grown;
    }
    return dmi_error(DM_ERR_NOMEM, "%s: no memory for %zu bytes of data", in->in.path, n_bytes);
}

static dm_status read_data(dmi_image_stream *in, void **data)
{
    dm_status status = read_growing(in, data);
    if (status != DM_OK)
        return status;
    status = dmi_image_stream_check_end(in);
    if (status != DM_OK) {
        free(*data);
        return status;
    }
    const dm_volume *image = &in->header.image;
    if (in->header.swapped)
        dmi_nifti_swap(image->type, image->n_voxels * image->n_volumes, *data);
    return DM_OK;
}

dm_status dm_volume_read(const char *path, dm_volume **volume)
{
    if (!path || !volume)
        return dmi_error(DM_ERR_INVALID, "image: a NULL argument; name a file");
    dmi_image_stream in;
    dm_status status = dmi_image_stream_open(path, &in);
    if (status != DM_OK)
        return status;
    void *data = NULL;
    status = read_data(&in, &data);
    dmi_image_stream_close(&in);
    if (status != DM_OK)
        return status;
    dm_volume *image = malloc(sizeof *image);
    if (!image) {
        free(data);
        return dmi_error(DM_ERR_NOMEM, "%s: no memory for an image", path);
    }
    *image = in.header.image;
    image->data = data;
    *volume = image;
    return DM_OK;
}

dm_status dm_dwi_read(const char *path, const dm_gradients *gradients, dm_volume **dwi)
{
    if (!gradients || !dwi)
        return dmi_error(DM_ERR_INVALID, "diffusion data: a NULL argument; give a gradient table");
    dm_volume *image = NULL;
    dm_status status = dm_volume_read(path, &image);
    if (status != DM_OK)
        return status;
    if (image->n_volumes != gradients->n_volumes) {
        status = dmi_error(
            DM_ERR_FORMAT, "%s: found %s of %zu volume%s, expected %zu as in the gradient table",
            path, image->n_volumes == 1 ? "a 3-D image" : "a 4-D image", image->n_volumes,
            image->n_volumes == 1 ? "" : "s", gradients->n_volumes);
        dm_volume_destroy(image);
        return status;
    }
    *dwi = image;
    return DM_OK;
}
