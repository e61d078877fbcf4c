/*
 * volume.c - images in memory: making them, and moving voxels in and out as doubles.
 *
 * Files are read in volume_read.c and written in volume_write.c.
 */
#include "dm/models.h"
#include "models/nifti.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

dm_status dm_volume_create(const dm_grid *grid, size_t n_volumes, dm_volume_type type,
                           dm_volume **volume)
{
    size_t n_voxels, n;
    if (!grid || !volume || (unsigned)type >= DM_VOLUME_TYPE_COUNT)
        return dmi_error(DM_ERR_INVALID, "image: a NULL argument, or type %d which is none",
                         (int)type);
    if (__builtin_mul_overflow(grid->shape[0], grid->shape[1], &n_voxels) ||
        __builtin_mul_overflow(n_voxels, grid->shape[2], &n_voxels) ||
        __builtin_mul_overflow(n_voxels, n_volumes, &n) || n == 0)
        return dmi_error(
            DM_ERR_INVALID,
            "image: the shape %zu x %zu x %zu x %zu cannot be; every size is 1 or more",
            grid->shape[0], grid->shape[1], grid->shape[2], n_volumes);
    dm_volume *image = malloc(sizeof *image);
    void *data = calloc(n, dmi_volume_type_bytes(type));
    if (!image || !data) {
        free(image);
        free(data);
        return dmi_error(
            DM_ERR_NOMEM, "image: no memory for %zu x %zu x %zu x %zu values of %zu bytes",
            grid->shape[0], grid->shape[1], grid->shape[2], n_volumes, dmi_volume_type_bytes(type));
    }
    *image = (dm_volume){.grid = *grid,
                         .n_voxels = n_voxels,
                         .n_volumes = n_volumes,
                         .type = type,
                         .slope = 1,
                         .data = data};
    *volume = image;
    return DM_OK;
}

void dm_volume_destroy(dm_volume *volume)
{
    if (!volume)
        return;
    free(volume->data);
    free(volume);
}

/* X(type, C type, its least and greatest value) for the integers; floating point apart. */
#define INTEGER_TYPES(X)                                                                           \
    X(DM_VOLUME_U8, uint8_t, 0, UINT8_MAX)                                                         \
    X(DM_VOLUME_I8, int8_t, INT8_MIN, INT8_MAX)                                                    \
    X(DM_VOLUME_U16, uint16_t, 0, UINT16_MAX)                                                      \
    X(DM_VOLUME_I16, int16_t, INT16_MIN, INT16_MAX)                                                \
    X(DM_VOLUME_U32, uint32_t, 0, UINT32_MAX)                                                      \
    X(DM_VOLUME_I32, int32_t, INT32_MIN, INT32_MAX)                                                \
    X(DM_VOLUME_U64, uint64_t, 0, UINT64_MAX)                                                      \
    X(DM_VOLUME_I64, int64_t, INT64_MIN, INT64_MAX)
#define FLOAT_TYPES(X)                                                                             \
    X(DM_VOLUME_F32, float)                                                                        \
    X(DM_VOLUME_F64, double)

/* One function for each type, so that the loop over voxels does not ask for it. The volumes lie far
 * apart in memory, therefore they are the outer loop. */
#define DEFINE_GATHER(code, ctype, ...)                                                            \
    static void gather_##ctype(const dm_volume *image, size_t n, const size_t *voxels,             \
                               size_t stride, const uint64_t *columns, double *values)             \
    {                                                                                              \
        for (size_t t = 0; t < image->n_volumes; t++) {                                            \
            const ctype *stored = (const ctype *)image->data + t * image->n_voxels;                \
            double *to = values + (columns ? columns[t] : t);                                      \
            for (size_t i = 0; i < n; i++)                                                         \
                to[i * stride] =                                                                   \
                    (double)stored[voxels[i]] * image->slope + image->inter;                       \
        }                                                                                          \
    }
INTEGER_TYPES(DEFINE_GATHER)
FLOAT_TYPES(DEFINE_GATHER)

void dm_volume_gather(const dm_volume *volume, size_t n, const size_t *voxels, double *values)
{
    dmi_volume_gather_columns(volume, n, voxels, volume->n_volumes, NULL, values);
}

void dmi_volume_gather_columns(const dm_volume *volume, size_t n, const size_t *voxels,
                               size_t stride, const uint64_t *columns, double *values)
{
    switch (volume->type) {
#define CASE_GATHER(code, ctype, ...)                                                              \
    case code:                                                                                     \
        gather_##ctype(volume, n, voxels, stride, columns, values);                                \
        return;
        INTEGER_TYPES(CASE_GATHER)
        FLOAT_TYPES(CASE_GATHER)
    case DM_VOLUME_TYPE_COUNT:
        return;
    }
}

/* The comparison is with the limit as a double, which for 64 bits is one more than the limit: hence
 * >= and not a clip followed by a conversion. */
#define DEFINE_SCATTER_INTEGER(code, ctype, least, greatest)                                       \
    static ctype to_##ctype(double x)                                                              \
    {                                                                                              \
        x = nearbyint(x);                                                                          \
        if (isnan(x))                                                                              \
            return 0;                                                                              \
        if (x >= (double)(greatest))                                                               \
            return greatest;                                                                       \
        return x <= (double)(least) ? (least) : (ctype)x;                                          \
    }                                                                                              \
    DEFINE_SCATTER(code, ctype, to_##ctype)
#define DEFINE_SCATTER_FLOAT(code, ctype) DEFINE_SCATTER(code, ctype, (ctype))
#define DEFINE_SCATTER(code, ctype, convert)                                                       \
    static void scatter_##ctype(dm_volume *image, size_t n, const size_t *voxels,                  \
                                const double *values)                                              \
    {                                                                                              \
        for (size_t t = 0; t < image->n_volumes; t++) {                                            \
            ctype *stored = (ctype *)image->data + t * image->n_voxels;                            \
            for (size_t i = 0; i < n; i++)                                                         \
                stored[voxels[i]] = convert(values[i * image->n_volumes + t]);                     \
        }                                                                                          \
    }
INTEGER_TYPES(DEFINE_SCATTER_INTEGER)
FLOAT_TYPES(DEFINE_SCATTER_FLOAT)

void dm_volume_scatter(dm_volume *volume, size_t n, const size_t *voxels, const double *values)
{
    switch (volume->type) {
#define CASE_SCATTER(code, ctype, ...)                                                             \
    case code:                                                                                     \
        scatter_##ctype(volume, n, voxels, values);                                                \
        return;
        INTEGER_TYPES(CASE_SCATTER)
        FLOAT_TYPES(CASE_SCATTER)
    case DM_VOLUME_TYPE_COUNT:
        return;
    }
}
