/*
 * mask.c - which voxels are fitted, as a list.
 */
#include "dm/models.h"

#include <stdlib.h>
#include <string.h>

void dm_mask_destroy(dm_mask *mask)
{
    if (!mask)
        return;
    free(mask->voxels);
    free(mask);
}

/* A mask with room for `most` voxels and none in it. */
static dm_mask *allocate(size_t most)
{
    dm_mask *mask = calloc(1, sizeof *mask);
    if (!mask)
        return NULL;
    mask->voxels = calloc(most, sizeof *mask->voxels);
    if (mask->voxels)
        return mask;
    free(mask);
    return NULL;
}

static dm_status check_shape(const char *path, const dm_volume *image, const dm_volume *like)
{
    const size_t *a = image->grid.shape, *b = like->grid.shape;
    if (memcmp(a, b, sizeof image->grid.shape) == 0 && image->n_volumes == 1)
        return DM_OK;
    return dmi_error(
        DM_ERR_FORMAT,
        "%s: found a mask of %zu x %zu x %zu and %zu volume(s), expected %zu x %zu x %zu "
        "and one, as the data",
        path, a[0], a[1], a[2], image->n_volumes, b[0], b[1], b[2]);
}

static dm_status take_voxels(const dm_volume *image, dm_mask **mask)
{
    dm_mask *list = allocate(image->n_voxels);
    if (!list)
        return dmi_error(DM_ERR_NOMEM, "mask: no memory for %zu voxels", image->n_voxels);
    for (size_t voxel = 0; voxel < image->n_voxels; voxel++) {
        double value;
        dm_volume_gather(image, 1, &voxel, &value);
        if (value > 0)
            list->voxels[list->n++] = voxel;
    }
    *mask = list;
    return DM_OK;
}

dm_status dm_mask_read(const char *path, const dm_volume *like, dm_mask **mask)
{
    if (!like || !mask)
        return dmi_error(DM_ERR_INVALID, "mask: a NULL argument; give the image it belongs to");
    dm_volume *image = NULL;
    dm_status status = dm_volume_read(path, &image);
    if (status != DM_OK)
        return status;
    status = check_shape(path, image, like);
    if (status == DM_OK)
        status = take_voxels(image, mask);
    dm_volume_destroy(image);
    return status;
}

dm_status dm_mask_all(const dm_volume *like, dm_mask **mask)
{
    if (!like || !mask)
        return dmi_error(DM_ERR_INVALID, "mask: a NULL argument; give the image it belongs to");
    dm_mask *list = allocate(like->n_voxels);
    if (!list)
        return dmi_error(DM_ERR_NOMEM, "mask: no memory for %zu voxels", like->n_voxels);
    for (list->n = 0; list->n < like->n_voxels; list->n++)
        list->voxels[list->n] = list->n;
    *mask = list;
    return DM_OK;
}
