/*
 * phantom_write.c - a phantom larger than memory as a NIfTI file.
 *
 * Voxels are made in blocks with all their volumes, but a file has time as its slowest axis: each
 * block is written into every volume at its place. Compression has to go through from the first byte
 * to the last, so a .nii.gz is made of a nameless .nii beside it.
 */
#include "dm/models.h"
#include "models/gzip.h"
#include "models/nifti.h"
#include "models/output.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 16 << 20, PIECE_BYTES = 1 << 20 };

typedef struct writing {
    const dm_phantom_settings *settings;
    const dm_gradients *gradients;
    const char *path;
    size_t n_voxels, block; /* voxels at once */
    size_t element;         /* bytes of a value */
    double *signals;        /* of one voxel */
    char *values;           /* n_volumes x block */
    void (*progress)(void *context, size_t n_done, size_t n_voxels);
    void *context;
} writing;

static dm_status write_failed(const char *path)
{
    return dmi_error(DM_ERR_IO, "%s: writing failed: %s", path,
                     errno ? strerror(errno) : "the disk took less than it was given");
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Rounds and clips like dm_volume_scatter. */
static void put(const writing *w, size_t volume, size_t at, double value)
{
    char *to = w->values + (volume * w->block + at) * w->element;
    if (w->settings->type == DM_VOLUME_F32)
        *(float *)(void *)to = (float)value;
    else
        *(int16_t *)(void *)to = (int16_t)fmin(rint(value), INT16_MAX);
}

static void make_block(const writing *w, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t voxel = first + i;
        dm_phantom_signals(w->settings, w->gradients, 1, &voxel, w->signals);
        for (size_t t = 0; t < w->gradients->n_volumes; t++)
            put(w, t, i, w->signals[t]);
    }
}

static bool write_at(int fd, const char *bytes, size_t n, off_t at)
{
    errno = 0;
    while (n > 0) {
        const ssize_t written = pwrite(fd, bytes, n, at);
        if (written <= 0)
            return false;
        bytes += written;
        at += written;
        n -= (size_t)written;
    }
    return true;
}

static dm_status write_blocks(const writing *w, const unsigned char *header, int fd)
{
    if (!write_at(fd, (const char *)header, DMI_NIFTI_DATA_OFFSET, 0))
        return write_failed(w->path);
    for (size_t first = 0; first < w->n_voxels; first += w->block) {
        const size_t left = w->n_voxels - first, n = left < w->block ? left : w->block;
        make_block(w, first, n);
        for (size_t t = 0; t < w->gradients->n_volumes; t++) {
            const size_t at = DMI_NIFTI_DATA_OFFSET + (t * w->n_voxels + first) * w->element;
            if (!write_at(fd, w->values + t * w->block * w->element, n * w->element, (off_t)at))
                return write_failed(w->path);
        }
        if (w->progress)
            w->progress(w->context, first + n, w->n_voxels);
    }
    return DM_OK;
}

/* ---- compression ----------------------------------------------------------------------------- */

static bool copy_pieces(int from, void *to, char *piece)
{
    ssize_t n;
    off_t at = 0;
    while ((n = pread(from, piece, PIECE_BYTES, at)) > 0) {
        if (!dmi_gzip_write(to, piece, (size_t)n))
            return false;
        at += n;
    }
    return n == 0;
}

static dm_status compress_to(const char *path, int from, int fd)
{
    char *piece = malloc(PIECE_BYTES);
    void *gz = dmi_gzip_begin(fd, true);
    bool good = gz && piece && copy_pieces(from, gz, piece);
    if (gz)
        good &= dmi_gzip_end(gz);
    free(piece);
    return good ? DM_OK : write_failed(path);
}

static dm_status write_compressed(const writing *w, const unsigned char *header, int fd)
{
    dmi_output whole;
    dm_status status = dmi_output_open(w->path, true, &whole);
    if (status != DM_OK)
        return status;
    status = write_blocks(w, header, whole.fd);
    if (status == DM_OK)
        status = compress_to(w->path, whole.fd, fd);
    dmi_output_abandon(&whole);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool ends_with(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n > m && memcmp(path + n - m, end, m) == 0;
}

static dm_status check(const dm_phantom_settings *s, const dm_gradients *gradients,
                       const char *path)
{
    if (!s || !gradients || !path)
        return dmi_error(DM_ERR_INVALID,
                         "phantom: a NULL argument; give settings, gradients and a file name");
    if (!ends_with(path, ".nii") && !ends_with(path, ".nii.gz"))
        return dmi_error(DM_ERR_INVALID, "%s: an image's file name must end in .nii or .nii.gz",
                         path);
    if (s->shape[0] == 0 || s->shape[1] == 0 || s->shape[2] == 0)
        return dmi_error(DM_ERR_INVALID, "%s: a phantom of %zu x %zu x %zu voxels has none", path,
                         s->shape[0], s->shape[1], s->shape[2]);
    if (!(s->snr > 0 && isfinite(s->snr)))
        return dmi_error(DM_ERR_INVALID, "%s: an SNR of %g; expected a number above 0", path,
                         s->snr);
    if (s->type != DM_VOLUME_I16 && s->type != DM_VOLUME_F32)
        return dmi_error(DM_ERR_INVALID, "%s: a phantom is int16 or float32, not type %d", path,
                         (int)s->type);
    return DM_OK;
}

/* The header, from an image that has no data. */
static dm_status make_header(const dm_phantom_settings *s, size_t n_volumes, const char *path,
                             unsigned char *header)
{
    const float mm = 1.25f;
    const dm_volume image = {.grid = {.shape = {s->shape[0], s->shape[1], s->shape[2]},
                                      .pixdim = {1, mm, mm, mm, 1},
                                      .xyzt_units = 10,
                                      .sform_code = 1,
                                      .sform = {{mm, 0, 0, 0}, {0, mm, 0, 0}, {0, 0, mm, 0}}},
                             .n_volumes = n_volumes,
                             .type = s->type,
                             .slope = 1};
    return dmi_nifti_format(path, &image, header);
}

static dm_status write_to(writing *w, const unsigned char *header, int fd)
{
    const size_t n_volumes = w->gradients->n_volumes;
    w->block = BLOCK_BYTES / (n_volumes * w->element);
    w->block = w->block < 1 ? 1 : w->block > w->n_voxels ? w->n_voxels : w->block;
    w->signals = calloc(n_volumes, sizeof *w->signals);
    w->values = calloc(n_volumes * w->block, w->element);
    dm_status status;
    if (!w->signals || !w->values)
        status = dmi_error(DM_ERR_NOMEM, "%s: no memory for a block of voxels", w->path);
    else if (ends_with(w->path, ".gz"))
        status = write_compressed(w, header, fd);
    else
        status = write_blocks(w, header, fd);
    free(w->signals);
    free(w->values);
    return status;
}

dm_status dm_phantom_write(const dm_phantom_settings *settings, const dm_gradients *gradients,
                           const char *path, bool overwrite,
                           void (*progress)(void *context, size_t n_done, size_t n_voxels),
                           void *context)
{
    unsigned char header[DMI_NIFTI_DATA_OFFSET];
    dm_status status = check(settings, gradients, path);
    if (status == DM_OK)
        status = make_header(settings, gradients->n_volumes, path, header);
    dmi_output out;
    if (status == DM_OK)
        status = dmi_output_open(path, overwrite, &out);
    if (status != DM_OK)
        return status;
    writing w = {.settings = settings,
                 .gradients = gradients,
                 .path = path,
                 .n_voxels = settings->shape[0] * settings->shape[1] * settings->shape[2],
                 .element = dmi_volume_type_bytes(settings->type),
                 .progress = progress,
                 .context = context};
    status = write_to(&w, header, out.fd);
    if (status == DM_OK)
        return dmi_output_commit(&out);
    dmi_output_abandon(&out);
    return status;
}
