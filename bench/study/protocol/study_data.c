/*
 * study_data.c - see study_data.h.
 */
#include "bench/study/protocol/study_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { B0 = 18, SHELLS = 3, DIRECTIONS = 90, VOLUMES = B0 + SHELLS * DIRECTIONS };

static void name_shape(study_data *data)
{
    const size_t *shape = data->dwi->grid.shape;
    snprintf(data->shape, sizeof data->shape, "(%zu, %zu, %zu, %zu)", shape[0], shape[1], shape[2],
             data->dwi->n_volumes);
}

/* ---- from files ---- */

/* In one of four buffers: good until the next call but three. */
static const char *path_of(const char *folder, const char *name)
{
    static char paths[4][4096];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%.3900s/%s", folder, name);
    return path;
}

static bool has(const char *folder, const char *name)
{
    return access(path_of(folder, name), F_OK) == 0;
}

static dm_status read_mask(const char *folder, study_data *data)
{
    if (!has(folder, "mask.nii.gz"))
        return dm_mask_all(data->dwi, &data->mask);
    DM_TRY(dm_mask_read(path_of(folder, "mask.nii.gz"), data->dwi, &data->mask));
    if (data->mask->n == 0)
        return dmi_error(DM_ERR_FORMAT, "%s/mask.nii.gz: no voxel above 0 was found", folder);
    return DM_OK;
}

dm_status study_data_read(const char *folder, study_data *data)
{
    const char *image = has(folder, "dwi.nii.gz") ? "dwi.nii.gz" : "dwi.nii";
    *data = (study_data){0};
    DM_TRY(dm_gradients_read(path_of(folder, "dwi.bval"), path_of(folder, "dwi.bvec"), &data->gradients));
    DM_TRY(dm_dwi_read(path_of(folder, image), data->gradients, &data->dwi));
    DM_TRY(read_mask(folder, data));
    name_shape(data);
    return DM_OK;
}

/* ---- a phantom ---- */

/* Direction i of a shell: a spiral over half a sphere, which is even enough; each shell begins elsewhere. */
static void direction(int shell, int i, dm_vector g)
{
    const double golden = M_PI * (3 - sqrt(5)), z = (i + 0.5) / DIRECTIONS, r = sqrt(1 - z * z);
    const double turn = golden * i + shell * 2.1;
    g[0] = r * cos(turn), g[1] = r * sin(turn), g[2] = z;
}

static dm_status make_gradients(dm_gradients **gradients)
{
    static double b[VOLUMES];
    static dm_vector g[VOLUMES];
    for (int t = 0; t < VOLUMES; t++) {
        const int weighted = t - B0, shell = weighted / DIRECTIONS;
        if (weighted < 0)
            continue;
        b[t] = 1000 * (shell + 1);
        direction(shell, weighted % DIRECTIONS, g[t]);
    }
    return dm_gradients_create(VOLUMES, b, (const dm_vector *)g, gradients);
}

/* A few voxels at a time, so that no second copy is ever in memory. */
static dm_status make_signals(const dm_phantom_settings *settings, study_data *data)
{
    enum { BLOCK = 64 };
    size_t voxels[BLOCK];
    double *signals = malloc(BLOCK * data->dwi->n_volumes * sizeof *signals);
    if (signals == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for the signals of %d voxels", BLOCK);
    for (size_t first = 0, n; first < data->dwi->n_voxels; first += n) {
        for (n = 0; n < BLOCK && first + n < data->dwi->n_voxels; n++)
            voxels[n] = first + n;
        dm_phantom_signals(settings, data->gradients, n, voxels, signals);
        dm_volume_scatter(data->dwi, n, voxels, signals);
    }
    free(signals);
    return DM_OK;
}

dm_status study_data_phantom(const size_t shape[3], study_data *data)
{
    dm_phantom_settings settings = dm_phantom_defaults();
    dm_grid grid = {.pixdim = {1, 1.25f, 1.25f, 1.25f}};
    memcpy(settings.shape, shape, sizeof settings.shape);
    memcpy(grid.shape, shape, sizeof grid.shape);
    *data = (study_data){0};
    DM_TRY(make_gradients(&data->gradients));
    DM_TRY(dm_volume_create(&grid, data->gradients->n_volumes, settings.type, &data->dwi));
    DM_TRY(make_signals(&settings, data));
    DM_TRY(dm_mask_all(data->dwi, &data->mask));
    name_shape(data);
    return DM_OK;
}

/* ---- both ---- */

dm_status study_data_response(const char *folder, study_data *data)
{
    if (folder && has(folder, "response.txt"))
        return dm_response_read(path_of(folder, "response.txt"), &data->response);
    return dm_response_auto_ssst(data->dwi, data->gradients, NULL, &data->response, NULL);
}

void study_data_fini(study_data *data)
{
    dm_volume_destroy(data->dwi);
    dm_gradients_destroy(data->gradients);
    dm_mask_destroy(data->mask);
    *data = (study_data){0};
}
