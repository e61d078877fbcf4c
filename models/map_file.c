/*
 * map_file.c - maps that are written as their voxels come.
 *
 * Voxels come in order, but a file has volumes one after the other: a map is cut into tiles of
 * voxels, and a tile that is over is compressed by a task, each of its volumes as a piece of its own
 * (gzip.h). Pieces wait in a nameless file, in the order of tiles, until all are there; then they are
 * laid into the final one in the order of volumes. Both files are output.c's.
 */
#define _GNU_SOURCE /* copy_file_range */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dm/dm.h"
#include "dm/fit.h"
#include "models/gzip.h"
#include "models/nifti.h"
#include "models/output.h"

/* A task's worth of compression, some hundred milliseconds. The same whatever the session, so that
 * the same map is the same file. */
enum { TILE_BYTES = 8 << 20 };

/* Tiles being compressed; those of a small store are compressed here instead. */
enum { MOST_PENDING = 4, STORE_PER_TILE = 16 };

typedef struct piece {
    off_t at;
    uint32_t bytes, crc;
} piece;

struct dm_map_file {
    dm_volume image; /* the map without its data */
    char *path;
    unsigned char header[DMI_NIFTI_DATA_OFFSET];
    bool compressed, by_tasks;
    dmi_output out, store; /* the file to be; pieces that wait */
    bool out_open, store_open;
    off_t stored;
    dm_volume *tile;             /* the voxels at hand */
    size_t tile_voxels, tile_at; /* its first voxel */
    bool touched;                /* not all 0 */
    size_t n_tiles;
    piece *pieces; /* n_tiles x n_volumes */
    piece zero;    /* of a tile's volume without voxels; 0 bytes: not made yet */
    struct {
        dm_ref ref;
        size_t tile;
    } pending[MOST_PENDING];
    size_t n_pending;
};

static dm_status write_failed(const dm_map_file *m)
{
    return dmi_error(DM_ERR_IO, "%s: writing failed: %s", m->path,
                     errno ? strerror(errno) : "the disk took less than it was given");
}

static bool write_at(int fd, const void *bytes, size_t n, off_t at)
{
    const char *from = bytes;
    errno = 0;
    while (n > 0) {
        const ssize_t written = pwrite(fd, from, n, at);
        if (written <= 0)
            return false;
        from += written;
        at += written;
        n -= (size_t)written;
    }
    return true;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* What compressing a tile results in: this for each volume, then the pieces themselves. */
typedef struct made_piece {
    uint32_t bytes, crc;
} made_piece;

/* n rows of `row_bytes` into `to`; returns how much of it was used, 0 without memory. */
static size_t compress_rows(size_t n, size_t row_bytes, const unsigned char *rows,
                            unsigned char *to)
{
    made_piece *list = (made_piece *)(void *)to;
    const size_t room = dmi_gzip_piece_room(row_bytes);
    size_t used = n * sizeof *list;
    for (size_t k = 0; k < n; k++) {
        const size_t bytes =
            dmi_gzip_piece(rows + k * row_bytes, row_bytes, to + used, room, &list[k].crc);
        if (bytes == 0)
            return 0;
        list[k].bytes = (uint32_t)bytes;
        used += bytes;
    }
    return used;
}

static size_t compress_room(size_t n, size_t row_bytes)
{
    return n * (sizeof(made_piece) + dmi_gzip_piece_room(row_bytes));
}

/* Argument 0: a tile, its volumes by its voxels. */
DM_REMOTE(dm_compress_tile)
{
    dm_view tile;
    DM_TRY(dm_arg(call, 0, &tile));
    if (tile.ndim != 2 || tile.shape[0] == 0 || tile.shape[1] == 0)
        return dm_fail(call, "a tile of a map has %d dimensions, not two", tile.ndim);
    const size_t row_bytes = tile.bytes / tile.shape[0];
    unsigned char *to = malloc(compress_room(tile.shape[0], row_bytes));
    const size_t used = to ? compress_rows(tile.shape[0], row_bytes, tile.data, to) : 0;
    dm_status status = used ? dm_return(call, &DM_BYTES(to, used))
                            : dm_fail(call, "no memory to compress a tile of a map");
    free(to);
    return status;
}

/* Pieces as compress_rows laid them out, to those that wait. */
static dm_status store_pieces(dm_map_file *m, size_t tile, const unsigned char *made, size_t bytes)
{
    const size_t n = m->image.n_volumes, head = n * sizeof(made_piece);
    size_t used = head;
    for (size_t v = 0; v < n; v++) {
        made_piece one;
        memcpy(&one, made + v * sizeof one, sizeof one);
        m->pieces[tile * n + v] = (piece){m->stored + (off_t)(used - head), one.bytes, one.crc};
        used += one.bytes;
    }
    if (used != bytes)
        return dmi_error(DM_ERR_TYPE, "%s: a compressed tile has %zu bytes, not %zu", m->path,
                         bytes, used);
    if (!write_at(m->store.fd, made + head, used - head, m->stored))
        return write_failed(m);
    m->stored += (off_t)(used - head);
    return DM_OK;
}

/* ---- tiles ----------------------------------------------------------------------------------- */

static size_t voxels_in_tile(const dm_map_file *m)
{
    const size_t left = m->image.n_voxels - m->tile_at;
    return left < m->tile_voxels ? left : m->tile_voxels;
}

static dm_status gather_oldest(dm_map_file *m)
{
    dm_view made;
    DM_TRY(dm_get(m->pending[0].ref, &made));
    dm_status status = made.bytes > m->image.n_volumes * sizeof(made_piece)
                           ? store_pieces(m, m->pending[0].tile, made.data, made.bytes)
                           : dmi_error(DM_ERR_TYPE, "%s: a tile came back empty", m->path);
    dm_view_release(&made);
    (void)dm_release(m->pending[0].ref);
    memmove(m->pending, m->pending + 1, --m->n_pending * sizeof m->pending[0]);
    return status;
}

static dm_status compress_here(dm_map_file *m, size_t tile, size_t n, size_t row_bytes,
                               const void *rows)
{
    unsigned char *to = malloc(compress_room(n, row_bytes));
    const size_t used = to ? compress_rows(n, row_bytes, rows, to) : 0;
    dm_status status = used ? store_pieces(m, tile, to, used)
                            : dmi_error(DM_ERR_NOMEM, "%s: no memory to compress it", m->path);
    free(to);
    return status;
}

static dm_status compress_tile(dm_map_file *m, size_t tile)
{
    const dm_volume *t = m->tile;
    if (!m->by_tasks)
        return compress_here(m, tile, t->n_volumes, t->n_voxels * dmi_volume_type_bytes(t->type),
                             t->data);
    if (m->n_pending == MOST_PENDING)
        DM_TRY(gather_oldest(m));
    const dm_array rows = {.data = t->data,
                           .dtype = (dm_dtype)t->type,
                           .ndim = 2,
                           .shape = {t->n_volumes, t->n_voxels}};
    m->pending[m->n_pending].ref = dm_remote(dm_compress_tile, &rows);
    m->pending[m->n_pending++].tile = tile;
    return DM_OK;
}

/* All volumes of all tiles without voxels are one piece. */
static dm_status repeat_zero(dm_map_file *m, size_t tile)
{
    const size_t n = m->image.n_volumes;
    const size_t row_bytes = m->tile->n_voxels * dmi_volume_type_bytes(m->image.type);
    if (m->zero.bytes == 0) {
        unsigned char *to = malloc(compress_room(1, row_bytes));
        const size_t used = to ? compress_rows(1, row_bytes, m->tile->data, to) : 0;
        made_piece one = {0};
        if (used)
            memcpy(&one, to, sizeof one);
        const bool good = used && write_at(m->store.fd, to + sizeof one, one.bytes, m->stored);
        free(to);
        if (!good)
            return write_failed(m);
        m->zero = (piece){m->stored, one.bytes, one.crc};
        m->stored += one.bytes;
    }
    for (size_t v = 0; v < n; v++)
        m->pieces[tile * n + v] = m->zero;
    return DM_OK;
}

/* Volumes of a .nii have their places; what is not written there reads as 0. */
static dm_status write_tile(dm_map_file *m)
{
    const size_t element = dmi_volume_type_bytes(m->image.type), n = m->tile->n_voxels;
    for (size_t v = 0; v < m->image.n_volumes && m->touched; v++) {
        const size_t at = DMI_NIFTI_DATA_OFFSET + (v * m->image.n_voxels + m->tile_at) * element;
        if (!write_at(m->out.fd, (const char *)m->tile->data + v * n * element, n * element,
                      (off_t)at))
            return write_failed(m);
    }
    return DM_OK;
}

static dm_status end_tile(dm_map_file *m)
{
    const size_t tile = m->tile_at / m->tile_voxels, n = m->tile->n_voxels;
    dm_status status = !m->compressed                     ? write_tile(m)
                       : m->touched || n < m->tile_voxels ? compress_tile(m, tile)
                                                          : repeat_zero(m, tile);
    m->tile_at += n;
    if (m->touched)
        memset(m->tile->data, 0, n * m->image.n_volumes * dmi_volume_type_bytes(m->image.type));
    m->touched = false;
    m->tile->n_voxels = voxels_in_tile(m);
    return status;
}

/* ---- putting --------------------------------------------------------------------------------- */

enum { AT_ONCE = 64 };

static void put_some(dm_map_file *m, size_t n, const size_t *voxels, const double *values)
{
    size_t within[AT_ONCE];
    for (size_t i = 0; i < n; i++)
        within[i] = voxels[i] - m->tile_at;
    dm_volume_scatter(m->tile, n, within, values);
    m->touched = true;
}

dm_status dm_map_file_put(dm_map_file *map, size_t n, const size_t *voxels, const double *values)
{
    while (n > 0) {
        if (voxels[0] < map->tile_at || voxels[0] >= map->image.n_voxels)
            return dmi_error(DM_ERR_INVALID,
                             "%s: voxel %zu was put after ones behind it, or is none", map->path,
                             voxels[0]);
        while (voxels[0] >= map->tile_at + map->tile->n_voxels)
            DM_TRY(end_tile(map));
        size_t some = 1;
        while (some < n && some < AT_ONCE && voxels[some] > voxels[some - 1] &&
               voxels[some] < map->tile_at + map->tile->n_voxels)
            some++;
        put_some(map, some, voxels, values);
        n -= some;
        voxels += some;
        values += some * map->image.n_volumes;
    }
    return DM_OK;
}

/* ---- the final file -------------------------------------------------------------------------- */

/* In the kernel where it can; some file systems cannot. */
static bool copy_bytes(int from, off_t at, int to, off_t *end, size_t n)
{
    char bytes[1 << 14];
    while (n > 0) {
        ssize_t copied = copy_file_range(from, &at, to, end, n, 0);
        if (copied <= 0) {
            copied = pread(from, bytes, n < sizeof bytes ? n : sizeof bytes, at);
            if (copied <= 0 || !write_at(to, bytes, (size_t)copied, *end))
                return false;
            at += copied;
            *end += copied;
        }
        n -= (size_t)copied;
    }
    return true;
}

static bool append(dm_map_file *m, const void *bytes, size_t n, off_t *end)
{
    const bool good = write_at(m->out.fd, bytes, n, *end);
    *end += (off_t)n;
    return good;
}

static bool append_header(dm_map_file *m, off_t *end, dmi_gzip_sum *sum)
{
    unsigned char head[DMI_GZIP_HEAD_BYTES], first[2 * DMI_NIFTI_DATA_OFFSET];
    uint32_t crc;
    const size_t n = dmi_gzip_piece(m->header, sizeof m->header, first, sizeof first, &crc);
    dmi_gzip_head(head);
    dmi_gzip_add(sum, crc, sizeof m->header);
    return n && append(m, head, sizeof head, end) && append(m, first, n, end);
}

static bool append_pieces(dm_map_file *m, off_t *end, dmi_gzip_sum *sum)
{
    const size_t n = m->image.n_volumes, element = dmi_volume_type_bytes(m->image.type);
    for (size_t v = 0; v < n; v++) {
        for (size_t t = 0; t < m->n_tiles; t++) {
            const piece *p = &m->pieces[t * n + v];
            const size_t left = m->image.n_voxels - t * m->tile_voxels;
            dmi_gzip_add(sum, p->crc, (left < m->tile_voxels ? left : m->tile_voxels) * element);
            if (!copy_bytes(m->store.fd, p->at, m->out.fd, end, p->bytes))
                return false;
        }
    }
    return true;
}

static dm_status assemble(dm_map_file *m)
{
    off_t end = 0;
    dmi_gzip_sum sum = {0};
    unsigned char tail[DMI_GZIP_TAIL_BYTES];
    errno = 0;
    if (!append_header(m, &end, &sum) || !append_pieces(m, &end, &sum))
        return write_failed(m);
    dmi_gzip_tail(&sum, tail);
    return append(m, tail, sizeof tail, &end) ? DM_OK : write_failed(m);
}

static dm_status complete_plain(dm_map_file *m)
{
    const size_t n = m->image.n_voxels * m->image.n_volumes * dmi_volume_type_bytes(m->image.type);
    errno = 0;
    if (!write_at(m->out.fd, m->header, sizeof m->header, 0) ||
        ftruncate(m->out.fd, (off_t)(DMI_NIFTI_DATA_OFFSET + n)) != 0)
        return write_failed(m);
    return DM_OK;
}

dm_status dm_map_file_finish(dm_map_file *map)
{
    while (map->tile_at < map->image.n_voxels)
        DM_TRY(end_tile(map));
    while (map->n_pending)
        DM_TRY(gather_oldest(map));
    return map->compressed ? assemble(map) : complete_plain(map);
}

dm_status dm_map_file_commit(dm_map_file *map)
{
    map->out_open = false; /* whatever comes of it */
    return dmi_output_commit(&map->out);
}

/* ---- opening and ending ---------------------------------------------------------------------- */

static bool ends_with(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n > m && memcmp(path + n - m, end, m) == 0;
}

static dm_status open_files(dm_map_file *m, bool overwrite)
{
    DM_TRY(dmi_output_open(m->path, overwrite, &m->out));
    m->out_open = true;
    if (!m->compressed)
        return DM_OK;
    DM_TRY(dmi_output_open(m->path, true, &m->store));
    m->store_open = true;
    return DM_OK;
}

static dm_status open_tiles(dm_map_file *m, const dm_grid *grid)
{
    const size_t voxel_bytes = m->image.n_volumes * dmi_volume_type_bytes(m->image.type);
    m->image.n_voxels = grid->shape[0] * grid->shape[1] * grid->shape[2];
    const size_t fitting = TILE_BYTES / voxel_bytes;
    m->tile_voxels = fitting < 1 ? 1 : fitting > m->image.n_voxels ? m->image.n_voxels : fitting;
    m->n_tiles = (m->image.n_voxels + m->tile_voxels - 1) / m->tile_voxels;
    const dm_grid tile = {.shape = {m->tile_voxels, 1, 1}};
    DM_TRY(dm_volume_create(&tile, m->image.n_volumes, m->image.type, &m->tile));
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    m->by_tasks = session.store_bytes / STORE_PER_TILE >= m->tile_voxels * voxel_bytes;
    m->pieces = calloc(m->n_tiles * m->image.n_volumes, sizeof *m->pieces);
    return m->pieces ? DM_OK : dmi_error(DM_ERR_NOMEM, "%s: no memory to write it", m->path);
}

static dm_status open_parts(dm_map_file *m, const dm_grid *grid, bool overwrite)
{
    if (!ends_with(m->path, ".nii") && !ends_with(m->path, ".nii.gz"))
        return dmi_error(DM_ERR_INVALID, "%s: an image's file name must end in .nii or .nii.gz",
                         m->path);
    m->compressed = ends_with(m->path, ".gz");
    DM_TRY(dmi_nifti_format(m->path, &m->image, m->header));
    DM_TRY(open_tiles(m, grid));
    return open_files(m, overwrite);
}

dm_status dm_map_file_open(const dm_grid *grid, size_t n_volumes, dm_volume_type type,
                           const char *path, bool overwrite, dm_map_file **map)
{
    if (!grid || !path || !map || n_volumes == 0 || (unsigned)type >= DM_VOLUME_TYPE_COUNT)
        return dmi_error(DM_ERR_INVALID, "map: a NULL argument, no volume or no such type");
    dm_map_file *m = calloc(1, sizeof *m);
    if (m)
        m->path = strdup(path);
    if (!m || !m->path) {
        free(m);
        return dmi_error(DM_ERR_NOMEM, "%s: no memory to write it", path);
    }
    m->image = (dm_volume){.grid = *grid, .n_volumes = n_volumes, .type = type, .slope = 1};
    dm_status status = open_parts(m, grid, overwrite);
    if (status != DM_OK) {
        dm_map_file_destroy(m);
        return status;
    }
    *map = m;
    return DM_OK;
}

void dm_map_file_destroy(dm_map_file *map)
{
    if (!map)
        return;
    for (size_t k = 0; k < map->n_pending; k++)
        (void)dm_release(map->pending[k].ref);
    if (map->out_open)
        dmi_output_abandon(&map->out);
    if (map->store_open)
        dmi_output_abandon(&map->store);
    dm_volume_destroy(map->tile);
    free(map->pieces);
    free(map->path);
    free(map);
}
