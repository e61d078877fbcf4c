/*
 * fit_outputs.c - see fit_outputs.h.
 */
#include "runtime/dm/fit_outputs.h"

#include "dm/dm.h"

enum { SH, GFA, ITERATIONS, RESPONSE, FILES };

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
    const dm_volume_type type = float64 ? DM_VOLUME_F64 : DM_VOLUME_F32;
    fit_file *files = o->folder.files;
    *o = (fit_outputs){.folder = {.n = FILES, .overwrite = overwrite}};
    files[SH] = (fit_file){"csd_sh.nii.gz", n_coefficients, type, NULL, NULL};
    files[GFA] = (fit_file){"csd_gfa.nii.gz", 1, type, NULL, NULL};
    files[ITERATIONS] = (fit_file){"csd_iterations.nii.gz", 1, DM_VOLUME_I32, NULL, NULL};
    files[RESPONSE] = (fit_file){"response.txt", 0, type, NULL, NULL};
    DM_TRY(fit_folder_open(&o->folder, folder, grid));
    o->maps = (dm_csd_maps){files[SH].map, files[GFA].map, files[ITERATIONS].map};
    return DM_OK;
}

dm_status fit_outputs_write(const fit_outputs *o, const dm_response *response)
{
    DM_TRY(dm_response_write(response, o->folder.files[RESPONSE].path, o->folder.overwrite));
    return fit_folder_write(&o->folder);
}

void fit_outputs_fini(fit_outputs *o)
{
    fit_folder_fini(&o->folder);
    *o = (fit_outputs){0};
}
