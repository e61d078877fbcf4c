/*
 * volume_read.c - images from .nii and .nii.gz files.
 *
 * What a header means is nifti.c's; here is the stream of bytes, and how far its word is believed.
 */
#include "dm/models.h"
#include "models/nifti.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* gzread takes an unsigned, and the first piece is what a header that lies can cost. */
enum { PIECE_BYTES = 1 << 24 };

typedef struct stream {
    const char *path;
    gzFile gz; /* reads what is not compressed as it is */
    size_t file_bytes;
} stream;

static dm_status open_stream(const char *path, stream *in)
{
    *in = (stream){.path = path};
    /* O_NONBLOCK: a pipe is refused below, and must not be waited for here. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return dmi_error(DM_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat about;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        close(fd);
        return dmi_error(DM_ERR_IO, "%s: not a regular file; expected .nii or .nii.gz", path);
    }
    in->file_bytes = (size_t)about.st_size;
    in->gz = gzdopen(fd, "rb");
    if (!in->gz) {
        close(fd);
        return dmi_error(DM_ERR_NOMEM, "%s: no memory to read it", path);
    }
    gzbuffer(in->gz, 1 << 17);
    return DM_OK;
}

/* Why the stream stopped, as an error: damage found by zlib, or the disk's. */
static dm_status stream_error(const stream *in)
{
    int code;
    const char *text = gzerror(in->gz, &code);
    if (code == Z_ERRNO)
        return dmi_error(DM_ERR_IO, "%s: reading failed: %s", in->path, strerror(errno));
    return dmi_error(DM_ERR_FORMAT, "%s: the compressed data are damaged: %s; get the file again",
                     in->path, text);
}

/* Reads up to n bytes; *got < n only at the end of the stream. */
static dm_status read_up_to(const stream *in, void *to, size_t n, size_t *got)
{
    *got = 0;
    while (*got < n) {
        const size_t ask = n - *got < PIECE_BYTES ? n - *got : PIECE_BYTES;
        const int count = gzread(in->gz, (char *)to + *got, (unsigned)ask);
        if (count < 0)
            return stream_error(in);
        *got += (size_t)count;
        if ((size_t)count < ask)
            break;
    }
    return DM_OK;
}

static dm_status cut_off(const stream *in, size_t got, size_t expected)
{
    return dmi_error(DM_ERR_FORMAT,
                     "%s: cut off: found %zu bytes of data where the header says %zu; get the file "
                     "again",
                     in->path, got, expected);
}

static dm_status read_header(const stream *in, dmi_nifti *header)
{
    unsigned char bytes[DMI_NIFTI_HEADER_BYTES];
    size_t got;
    dm_status status = read_up_to(in, bytes, sizeof bytes, &got);
    if (status != DM_OK)
        return status;
    if (got < sizeof bytes)
        return dmi_error(DM_ERR_FORMAT,
                         "%s: not a NIfTI-1 file: it ends after %zu bytes, a header has %d",
                         in->path, got, DMI_NIFTI_HEADER_BYTES);
    return dmi_nifti_parse(in->path, bytes, header);
}

static dm_status skip_to_data(const stream *in, const dmi_nifti *header)
{
    char scrap[4096];
    size_t left = header->offset - DMI_NIFTI_HEADER_BYTES;
    while (left > 0) {
        const size_t ask = left < sizeof scrap ? left : sizeof scrap;
        size_t got;
        dm_status status = read_up_to(in, scrap, ask, &got);
        if (status != DM_OK)
            return status;
        if (got < ask)
            return dmi_error(DM_ERR_FORMAT,
                             "%s: the header says that data begin at byte %zu, where the file has "
                             "ended",
                             in->path, header->offset);
        left -= got;
    }
    return DM_OK;
}

/* Of a compressed file nobody knows the length before its end, so memory grows with what comes out;
 * where the file's size has vouched for the data, it is taken at once. */
static dm_status read_growing(const stream *in, bool vouched, size_t n_bytes, void **data)
{
    size_t have = 0, room = vouched || n_bytes < PIECE_BYTES ? n_bytes : PIECE_BYTES;
    char *bytes = malloc(room);
    while (bytes) {
        size_t got;
        dm_status status = read_up_to(in, bytes + have, room - have, &got);
        have += got;
        if (status == DM_OK && have < room)
            status = cut_off(in, have, n_bytes);
        if (status != DM_OK) {
            free(bytes);
            return status;
        }
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
    return dmi_error(DM_ERR_NOMEM, "%s: no memory for %zu bytes of data", in->path, n_bytes);
}

/* The checksum stands behind the last byte: it is looked at only when one asks for more. */
static dm_status check_end(const stream *in)
{
    char more;
    int code = Z_OK;
    if (gzread(in->gz, &more, 1) <= 0)
        gzerror(in->gz, &code);
    return code == Z_OK ? DM_OK : stream_error(in);
}

static dm_status read_data(const stream *in, const dmi_nifti *header, void **data)
{
    const bool plain = gzdirect(in->gz);
    if (plain &&
        (in->file_bytes < header->offset || in->file_bytes - header->offset < header->n_bytes))
        return cut_off(in, in->file_bytes < header->offset ? 0 : in->file_bytes - header->offset,
                       header->n_bytes);
    dm_status status = skip_to_data(in, header);
    if (status == DM_OK)
        status = read_growing(in, plain, header->n_bytes, data);
    if (status != DM_OK)
        return status;
    status = check_end(in);
    if (status != DM_OK) {
        free(*data);
        return status;
    }
    if (header->swapped)
        dmi_nifti_swap(header->image.type, header->image.n_voxels * header->image.n_volumes, *data);
    return DM_OK;
}

dm_status dm_volume_read(const char *path, dm_volume **volume)
{
    if (!path || !volume)
        return dmi_error(DM_ERR_INVALID, "image: a NULL argument; name a file");
    stream in;
    dm_status status = open_stream(path, &in);
    if (status != DM_OK)
        return status;
    dmi_nifti header;
    void *data = NULL;
    status = read_header(&in, &header);
    if (status == DM_OK)
        status = read_data(&in, &header, &data);
    gzclose_r(in.gz);
    if (status != DM_OK)
        return status;
    dm_volume *image = malloc(sizeof *image);
    if (!image) {
        free(data);
        return dmi_error(DM_ERR_NOMEM, "%s: no memory for an image", path);
    }
    *image = header.image;
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
