/*
 * fit_outputs.c - see fit_outputs.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dm/dm.h"
#include "runtime/dm/fit_outputs.h"

enum { SH, GFA, ITERATIONS, RESPONSE };

static const char *const names[FIT_OUTPUT_FILES] = {
    [SH] = "csd_sh.nii.gz",
    [GFA] = "csd_gfa.nii.gz",
    [ITERATIONS] = "csd_iterations.nii.gz",
    [RESPONSE] = "response.txt",
};

char *fit_path(const char *folder, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static dm_status make_one(const char *path)
{
    if (mkdir(path, 0777) == 0)
        return DM_OK;
    int reason = errno;
    struct stat found;
    if (reason == EEXIST && stat(path, &found) == 0 && S_ISDIR(found.st_mode))
        return DM_OK;
    return dmi_error(DM_ERR_IO, "%s: %s; a folder to write to was expected", path,
                     strerror(reason == EEXIST ? ENOTDIR : reason));
}

dm_status fit_make_folder(const char *path)
{
    char *part = strdup(path);
    if (!part)
        return dmi_error(DM_ERR_NOMEM, "no memory for a path");
    dm_status status = DM_OK;
    for (char *slash = strchr(part + 1, '/'); *part && slash && status == DM_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        status = make_one(part);
        *slash = '/';
    }
    free(part);
    return status == DM_OK ? make_one(path) : status;
}

static dm_status name_files(fit_outputs *o, const char *folder)
{
    for (int i = 0; i < FIT_OUTPUT_FILES; i++) {
        o->paths[i] = fit_path(folder, names[i]);
        if (!o->paths[i])
            return dmi_error(DM_ERR_NOMEM, "no memory for a path");
        if (!o->overwrite && access(o->paths[i], F_OK) == 0)
            return dmi_error(DM_ERR_IO, "%s: a file was found here already; give --force to "
                             "replace it, or another --out", o->paths[i]);
    }
    return DM_OK;
}

dm_status fit_maps_create(const dm_grid *grid, size_t n_coefficients, bool float64,
                          dm_csd_maps *maps)
{
    dm_volume_type type = float64 ? DM_VOLUME_F64 : DM_VOLUME_F32;
    *maps = (dm_csd_maps){0};
    dm_status status = dm_volume_create(grid, n_coefficients, type, &maps->coefficients);
    if (status == DM_OK)
        status = dm_volume_create(grid, 1, type, &maps->gfa);
    if (status == DM_OK)
        status = dm_volume_create(grid, 1, DM_VOLUME_I32, &maps->iterations);
    if (status != DM_OK)
        fit_maps_destroy(maps);
    return status;
}

void fit_maps_destroy(dm_csd_maps *maps)
{
    dm_volume_destroy(maps->coefficients);
    dm_volume_destroy(maps->gfa);
    dm_volume_destroy(maps->iterations);
    *maps = (dm_csd_maps){0};
}

dm_status fit_outputs_open(fit_outputs *o, const char *folder, const dm_grid *grid,
                           size_t n_coefficients, bool float64, bool overwrite)
{
    *o = (fit_outputs){.overwrite = overwrite};
    DM_TRY(name_files(o, folder));
    DM_TRY(fit_make_folder(folder));
    if (access(folder, W_OK) != 0)
        return dmi_error(DM_ERR_IO, "%s: %s; a folder to write to was expected", folder,
                         strerror(errno));
    return fit_maps_create(grid, n_coefficients, float64, &o->maps);
}

dm_status fit_outputs_write(const fit_outputs *o, const dm_response *response)
{
    DM_TRY(dm_response_write(response, o->paths[RESPONSE], o->overwrite));
    DM_TRY(dm_volume_write(o->maps.iterations, o->paths[ITERATIONS], o->overwrite));
    DM_TRY(dm_volume_write(o->maps.gfa, o->paths[GFA], o->overwrite));
    return dm_volume_write(o->maps.coefficients, o->paths[SH], o->overwrite);
}

void fit_outputs_fini(fit_outputs *o)
{
    for (int i = 0; i < FIT_OUTPUT_FILES; i++)
        free(o->paths[i]);
    fit_maps_destroy(&o->maps);
    *o = (fit_outputs){0};
}
