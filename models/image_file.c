/*
 * image_file.c - an image that stays in its file: read where it is needed if it is a .nii, inflated on
 * request if not.
 *
 * Not mapped, on purpose: a mapped file that somebody cuts short is a signal, and a library that has
 * no handlers of its own dies of it. A read that ends early is a message. What is done with the values
 * is signals.c's.
 */
#define _GNU_SOURCE
#include "models/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dm/dm.h"

enum { PIECE_BYTES = 1 << 20 };

/* ---- opening --------------------------------------------------------------------------------- */

static dm_status open_parts(dm_image_file *file)
{
    dmi_image_stream stream;
    DM_TRY(dmi_image_stream_open(file->path, &stream));
    file->header = stream.header;
    file->n_in_file = stream.header.image.n_volumes;
    const bool plain = stream.in.plain;
    dmi_image_stream_close(&stream);
    if (plain && (file->fd = open(file->path, O_RDONLY | O_CLOEXEC)) < 0)
        return dmi_error(DM_ERR_IO, "%s: cannot be opened: %s", file->path, strerror(errno));
    size_t *all = calloc(file->n_in_file, sizeof *all);
    if (!all)
        return dmi_error(DM_ERR_NOMEM, "%s: no memory for %zu volumes", file->path,
                         file->n_in_file);
    for (size_t t = 0; t < file->n_in_file; t++)
        all[t] = t;
    dm_status status = dm_image_file_select(file, file->n_in_file, all);
    free(all);
    return status;
}

dm_status dm_image_file_open(const char *path, dm_image_file **file)
{
    if (!path || !file)
        return dmi_error(DM_ERR_INVALID, "image: a NULL argument; name a file");
    dm_image_file *made = calloc(1, sizeof *made);
    if (made) {
        made->path = strdup(path);
        made->fd = -1;
    }
    dm_status status = made && made->path
                           ? open_parts(made)
                           : dmi_error(DM_ERR_NOMEM, "%s: no memory to open it", path);
    if (status != DM_OK) {
        dm_image_file_close(made);
        return status;
    }
    *file = made;
    return DM_OK;
}

void dm_image_file_close(dm_image_file *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
    free(file->volumes);
    free(file->by_place);
    free(file->path);
    free(file);
}

const dm_volume *dm_image_file_header(const dm_image_file *file)
{
    return &file->header.image;
}

/* ---- selection ------------------------------------------------------------------------------- */

/* selected_at[t]: which of the n is volume t of the file, from 1 on; 0: none. */
static dm_status find_places(const dm_image_file *file, size_t n, const size_t *volumes,
                             size_t *selected_at)
{
    for (size_t i = 0; i < n; i++) {
        if (volumes[i] >= file->n_in_file)
            return dmi_error(DM_ERR_INVALID, "%s: volume %zu was asked for; it has 0 to %zu",
                             file->path, volumes[i], file->n_in_file - 1);
        if (selected_at[volumes[i]])
            return dmi_error(DM_ERR_INVALID, "%s: volume %zu was asked for twice", file->path,
                             volumes[i]);
        selected_at[volumes[i]] = i + 1;
    }
    return DM_OK;
}

static void sort_places(const dm_image_file *file, const size_t *selected_at, size_t *by_place)
{
    for (size_t t = 0; t < file->n_in_file; t++)
        if (selected_at[t])
            *by_place++ = selected_at[t] - 1;
}

dm_status dm_image_file_select(dm_image_file *file, size_t n, const size_t *volumes)
{
    if (!file || !volumes || n == 0)
        return dmi_error(DM_ERR_INVALID,
                         "image: a NULL argument, or no volume; select one or more");
    size_t *chosen = calloc(n, sizeof *chosen), *by_place = calloc(n, sizeof *by_place);
    size_t *selected_at = calloc(file->n_in_file, sizeof *selected_at);
    dm_status status =
        chosen && by_place && selected_at
            ? find_places(file, n, volumes, selected_at)
            : dmi_error(DM_ERR_NOMEM, "%s: no memory to select %zu volumes", file->path, n);
    if (status != DM_OK) {
        free(chosen);
        free(by_place);
    } else {
        memcpy(chosen, volumes, n * sizeof *chosen);
        sort_places(file, selected_at, by_place);
        free(file->volumes);
        free(file->by_place);
        file->volumes = chosen;
        file->by_place = by_place;
        file->header.image.n_volumes = n;
    }
    free(selected_at);
    return status;
}

/* ---- values ---------------------------------------------------------------------------------- */

static size_t volume_bytes(const dm_image_file *file)
{
    return file->header.image.n_voxels * dmi_volume_type_bytes(file->header.image.type);
}

static size_t value_at(const dm_image_file *file, size_t selected, size_t voxel)
{
    return file->header.offset + file->volumes[selected] * volume_bytes(file) +
           voxel * dmi_volume_type_bytes(file->header.image.type);
}

bool dmi_image_file_is_plain(const dm_image_file *file)
{
    return file->fd >= 0;
}

static dm_status cut_short(const dm_image_file *file, size_t at)
{
    return dmi_error(DM_ERR_FORMAT,
                     "%s: cut off while it was in use: it ends at byte %zu, where the header says "
                     "%zu; get the file again",
                     file->path, at, file->header.offset + file->n_in_file * volume_bytes(file));
}

dm_status dmi_image_file_at(const dm_image_file *file, size_t selected, size_t first, size_t n,
                            void *to)
{
    size_t at = value_at(file, selected, first);
    const size_t end = value_at(file, selected, first + n);
    for (unsigned char *bytes = to; at < end;) {
        const ssize_t got = pread(file->fd, bytes, end - at, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return dmi_error(DM_ERR_IO, "%s: cannot be read: %s", file->path, strerror(errno));
        if (got == 0)
            return cut_short(file, at);
        bytes += got;
        at += (size_t)got;
    }
    return DM_OK;
}

void dmi_image_file_expect(const dm_image_file *file, size_t first, size_t last)
{
    for (size_t s = 0; s < file->header.image.n_volumes; s++) {
        const size_t from = value_at(file, s, first), to = value_at(file, s, last + 1);
        (void)posix_fadvise(file->fd, (off_t)from, (off_t)(to - from), POSIX_FADV_WILLNEED);
    }
}

static size_t piece_voxels(const dm_image_file *file, size_t first)
{
    const size_t most = PIECE_BYTES / dmi_volume_type_bytes(file->header.image.type);
    const size_t left = file->header.image.n_voxels - first;
    return left < most ? left : most;
}

static dm_status pass_plain(const dm_image_file *file, dmi_image_feed feed, void *context,
                            unsigned char *piece)
{
    for (size_t place = 0; place < file->header.image.n_volumes; place++) {
        size_t n = 0;
        for (size_t first = 0; first < file->header.image.n_voxels; first += n) {
            n = piece_voxels(file, first);
            DM_TRY(dmi_image_file_at(file, file->by_place[place], first, n, piece));
            DM_TRY(feed(context, place, first, n, piece));
        }
    }
    return DM_OK;
}

/* A volume of the stream. NULL for `feed`: nobody wants it. */
static dm_status pass_volume(const dm_image_file *file, dmi_image_stream *in, size_t before,
                             size_t place, dmi_image_feed feed, void *context, unsigned char *piece)
{
    const size_t element = dmi_volume_type_bytes(in->header.image.type);
    size_t n = 0;
    for (size_t first = 0; first < in->header.image.n_voxels; first += n) {
        n = piece_voxels(file, first);
        DM_TRY(dmi_image_stream_read(in, before + first * element, n * element, piece));
        if (feed)
            DM_TRY(feed(context, place, first, n, piece));
    }
    return DM_OK;
}

static dm_status pass_volumes(const dm_image_file *file, dmi_image_stream *in, dmi_image_feed feed,
                              void *context, unsigned char *piece)
{
    size_t place = 0;
    for (size_t t = 0; t < file->n_in_file; t++) {
        const bool wanted =
            place < file->header.image.n_volumes && file->volumes[file->by_place[place]] == t;
        DM_TRY(pass_volume(file, in, t * volume_bytes(file), place, wanted ? feed : NULL, context,
                           piece));
        place += wanted;
    }
    return dmi_image_stream_check_end(in);
}

static dm_status pass_compressed(const dm_image_file *file, dmi_image_feed feed, void *context,
                                 unsigned char *piece)
{
    dmi_image_stream in;
    DM_TRY(dmi_image_stream_open(file->path, &in));
    dm_status status;
    if (in.header.n_bytes != file->header.n_bytes || in.in.plain ||
        in.header.image.type != file->header.image.type)
        status = dmi_error(DM_ERR_FORMAT, "%s: it was replaced while it was in use", file->path);
    else
        status = pass_volumes(file, &in, feed, context, piece);
    dmi_image_stream_close(&in);
    return status;
}

dm_status dmi_image_file_pass(const dm_image_file *file, dmi_image_feed feed, void *context)
{
    unsigned char *piece = malloc(PIECE_BYTES);
    if (!piece)
        return dmi_error(DM_ERR_NOMEM, "%s: no memory to read it", file->path);
    dm_status status = dmi_image_file_is_plain(file) ? pass_plain(file, feed, context, piece)
                                                     : pass_compressed(file, feed, context, piece);
    free(piece);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

typedef struct whole {
    const dm_image_file *file;
    dm_volume *volume;
} whole;

static dm_status take_whole(void *context, size_t place, size_t first, size_t n,
                            const unsigned char *values)
{
    const whole *w = context;
    const size_t element = dmi_volume_type_bytes(w->volume->type);
    unsigned char *to = (unsigned char *)w->volume->data +
                        (w->file->by_place[place] * w->volume->n_voxels + first) * element;
    memcpy(to, values, n * element);
    if (w->file->header.swapped)
        dmi_nifti_swap(w->volume->type, n, to);
    return DM_OK;
}

dm_status dm_image_file_read(const dm_image_file *file, dm_volume **volume)
{
    if (!file || !volume)
        return dmi_error(DM_ERR_INVALID, "image: a NULL argument; give a file and a place");
    const dm_volume *header = &file->header.image;
    whole w = {.file = file};
    DM_TRY(dm_volume_create(&header->grid, header->n_volumes, header->type, &w.volume));
    w.volume->slope = header->slope;
    w.volume->inter = header->inter;
    dm_status status = dmi_image_file_pass(file, take_whole, &w);
    if (status == DM_OK)
        *volume = w.volume;
    else
        dm_volume_destroy(w.volume);
    return status;
}
