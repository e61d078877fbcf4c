/*
 * volume_write.c - images to .nii and .nii.gz files.
 *
 * gzip.c writes both, so that there is one way for bytes and one for errors; output.c gives the name.
 */
#include "dm/models.h"
#include "models/gzip.h"
#include "models/nifti.h"
#include "models/output.h"

#include <errno.h>
#include <string.h>

static bool ends_with(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n > m && memcmp(path + n - m, end, m) == 0;
}

static dm_status write_stream(const dm_volume *volume, const char *path,
                              const unsigned char *header, int fd)
{
    const size_t n = volume->n_voxels * volume->n_volumes * dmi_volume_type_bytes(volume->type);
    void *gz = dmi_gzip_begin(fd, ends_with(path, ".gz"));
    if (!gz)
        return dmi_error(DM_ERR_NOMEM, "%s: no memory or descriptor to write it", path);
    const bool written = dmi_gzip_write(gz, header, DMI_NIFTI_DATA_OFFSET) &&
                         dmi_gzip_write(gz, volume->data, n);
    int cause = errno;
    if (dmi_gzip_end(gz) && written)
        return DM_OK;
    cause = cause ? cause : errno;
    return dmi_error(DM_ERR_IO, "%s: writing failed: %s", path,
                     cause ? strerror(cause) : "compression stopped");
}

dm_status dm_volume_write(const dm_volume *volume, const char *path, bool overwrite)
{
    unsigned char header[DMI_NIFTI_DATA_OFFSET];
    if (!volume || !path)
        return dmi_error(DM_ERR_INVALID, "image: a NULL argument; give an image and a file name");
    if (!ends_with(path, ".nii") && !ends_with(path, ".nii.gz"))
        return dmi_error(DM_ERR_INVALID, "%s: an image's file name must end in .nii or .nii.gz",
                         path);
    dm_status status = dmi_nifti_format(path, volume, header);
    if (status != DM_OK)
        return status;
    dmi_output out;
    status = dmi_output_open(path, overwrite, &out);
    if (status != DM_OK)
        return status;
    status = write_stream(volume, path, header, out.fd);
    if (status == DM_OK)
        return dmi_output_commit(&out);
    dmi_output_abandon(&out);
    return status;
}
