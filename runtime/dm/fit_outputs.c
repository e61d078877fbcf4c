/*
 * fit_outputs.c - see fit_outputs.h.
 */
#include "runtime/dm/fit_outputs.h"

#include <stdio.h>

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

/* ---- what a fit gives ---- */

enum { BLOCK = 64 };

static dm_status take_block(fit_outputs *o, size_t n, const size_t *voxels,
                            const double *coefficients, const double *iterations)
{
    double gfa[BLOCK];
    dm_gfa_from_coefficients(n, o->n_coefficients, coefficients, gfa);
    DM_TRY(dm_map_file_put(o->folder.files[GFA].map, n, voxels, gfa));
    DM_TRY(dm_map_file_put(o->folder.files[ITERATIONS].map, n, voxels, iterations));
    return fit_derived_put(&o->derived, n, voxels, coefficients, o->folder.files[SH].map);
}

static dm_status take(void *context, size_t n, const size_t *voxels, const double *coefficients,
                      const double *iterations)
{
    fit_outputs *o = context;
    for (size_t first = 0; first < n; first += BLOCK)
        DM_TRY(take_block(o, n - first < BLOCK ? n - first : BLOCK, voxels + first,
                          coefficients + first * o->n_coefficients, iterations + first));
    return DM_OK;
}

/* ---- files ---- */

dm_status fit_outputs_open(fit_outputs *o, const char *folder, const dm_grid *grid, int lmax,
                           const fit_derived_wish *wish)
{
    const dm_volume_type type = wish->float64 ? DM_VOLUME_F64 : DM_VOLUME_F32;
    fit_file *files = o->folder.files;
    *o = (fit_outputs){.folder = {.n = FILES, .overwrite = wish->overwrite},
                       .maps = {.take = take, .context = o},
                       .n_coefficients = dm_sh_count(lmax)};
    files[SH] = (fit_file){"csd_sh.nii.gz", o->n_coefficients, type, NULL, NULL};
    files[GFA] = (fit_file){"csd_gfa.nii.gz", 1, type, NULL, NULL};
    files[ITERATIONS] = (fit_file){"csd_iterations.nii.gz", 1, DM_VOLUME_I32, NULL, NULL};
    files[RESPONSE] = (fit_file){"response.txt", 0, type, NULL, NULL};
    DM_TRY(fit_derived_open(&o->derived, wish, folder, grid, lmax));
    DM_TRY(fit_folder_open(&o->folder, folder, grid));
    return fit_derived_open_maps(&o->derived, grid);
}

dm_status fit_outputs_finish(fit_outputs *o)
{
    DM_TRY(fit_derived_finish(&o->derived));
    return fit_folder_finish(&o->folder);
}

dm_status fit_outputs_commit(fit_outputs *o, const dm_response *response)
{
    DM_TRY(fit_derived_commit(&o->derived));
    DM_TRY(dm_response_write(response, o->folder.files[RESPONSE].path, o->folder.overwrite));
    return fit_folder_commit(&o->folder);
}

void fit_outputs_print(const fit_outputs *o)
{
    fit_folder_print(&o->folder);
    for (int i = 0; i < FIT_DERIVED_FILES; i++)
        if (o->derived.paths[i])
            printf("wrote %s\n", o->derived.paths[i]);
}

void fit_outputs_fini(fit_outputs *o)
{
    fit_derived_fini(&o->derived);
    fit_folder_fini(&o->folder);
    *o = (fit_outputs){0};
}
