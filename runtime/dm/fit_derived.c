/*
 * fit_derived.c - see fit_derived.h. In the driver, voxel block by voxel block: some microseconds
 * per voxel, a fraction of the fit itself.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dm/dm.h"
#include "runtime/dm/fit_derived.h"
#include "runtime/dm/fit_folder.h"

enum { ODF, GFA, PEAKS };
enum { BLOCK = FIT_DERIVED_BLOCK, PEAK_NUMBERS = 3 * DM_PEAKS, MOST_COEFFICIENTS = 91 };

static const char *const names[FIT_DERIVED_FILES] = {
    [ODF] = "csd_odf.nii.gz",
    [GFA] = "csd_gfa_odf.nii.gz",
    [PEAKS] = "csd_peaks.nii.gz",
};
static const size_t volumes[FIT_DERIVED_FILES] = {
    [ODF] = DM_SPHERE_COUNT,
    [GFA] = 1,
    [PEAKS] = PEAK_NUMBERS,
};

/* ---- before the fit ---- */

static dm_status name_map(fit_derived *d, int which, const char *folder)
{
    d->paths[which] = fit_path(folder, names[which]);
    if (!d->paths[which])
        return dmi_error(DM_ERR_NOMEM, "no memory for a path");
    if (!d->wish.overwrite && access(d->paths[which], F_OK) == 0)
        return dmi_error(DM_ERR_IO,
                         "%s: a file was found here already; give --force to replace it, "
                         "or another --out",
                         d->paths[which]);
    return DM_OK;
}

static dm_status make_change(fit_derived *d, const dm_grid *grid, size_t n)
{
    double rotation[3][3];
    DM_TRY(dm_grid_bvec_to_scanner(grid, rotation));
    d->change = malloc(n * n * sizeof *d->change);
    if (!d->change)
        return dmi_error(DM_ERR_NOMEM, "no memory for a change of basis");
    return dm_sh_change(DM_SH_DESCOTEAUX07_LEGACY, d->wish.basis, d->lmax,
                        (const double(*)[3])rotation, d->change);
}

static dm_status make_sphere(fit_derived *d, size_t n)
{
    d->sphere = malloc(DM_SPHERE_COUNT * n * sizeof *d->sphere);
    d->odf = malloc(BLOCK * DM_SPHERE_COUNT * sizeof *d->odf);
    if (!d->sphere || !d->odf)
        return dmi_error(DM_ERR_NOMEM, "no memory for the harmonics at %d directions",
                         DM_SPHERE_COUNT);
    return dm_sh_matrix(d->wish.basis, d->lmax, DM_SPHERE_COUNT, dm_sphere362(), d->sphere);
}

dm_status fit_derived_open(fit_derived *d, const fit_derived_wish *wish, const char *folder,
                           const dm_grid *grid, int lmax)
{
    *d = (fit_derived){.wish = *wish, .lmax = lmax};
    size_t n = dm_sh_count(lmax);
    if (wish->basis != DM_SH_DESCOTEAUX07_LEGACY)
        DM_TRY(make_change(d, grid, n));
    if (wish->odf || wish->peaks)
        DM_TRY(make_sphere(d, n));
    if (wish->odf)
        DM_TRY(name_map(d, ODF, folder));
    if (wish->odf)
        DM_TRY(name_map(d, GFA, folder));
    if (wish->peaks)
        DM_TRY(name_map(d, PEAKS, folder));
    return DM_OK;
}

dm_status fit_derived_open_maps(fit_derived *d, const dm_grid *grid)
{
    const dm_volume_type type = d->wish.float64 ? DM_VOLUME_F64 : DM_VOLUME_F32;
    for (int k = 0; k < FIT_DERIVED_FILES; k++)
        if (d->paths[k])
            DM_TRY(dm_map_file_open(grid, volumes[k], type, d->paths[k], d->wish.overwrite,
                                    &d->maps[k]));
    return DM_OK;
}

/* ---- as voxels come ---- */

/* Each peak as its direction times the density there, as MRtrix3 has peaks. */
static dm_status put_peaks(fit_derived *d, size_t n, const size_t *voxels)
{
    double directions[BLOCK * PEAK_NUMBERS], values[BLOCK * DM_PEAKS];
    dm_peaks(n, d->odf, NULL, (dm_vector *)directions, values);
    for (size_t k = 0; k < n * PEAK_NUMBERS; k++)
        directions[k] *= values[k / 3];
    return dm_map_file_put(d->maps[PEAKS], n, voxels, directions);
}

static dm_status put_densities(fit_derived *d, size_t n, const size_t *voxels,
                               const double *coefficients)
{
    double gfa[BLOCK];
    dm_odf(n, dm_sh_count(d->lmax), coefficients, DM_SPHERE_COUNT, d->sphere, d->odf);
    if (d->maps[ODF])
        DM_TRY(dm_map_file_put(d->maps[ODF], n, voxels, d->odf));
    if (d->maps[GFA]) {
        dm_gfa_from_samples(n, DM_SPHERE_COUNT, d->odf, gfa);
        DM_TRY(dm_map_file_put(d->maps[GFA], n, voxels, gfa));
    }
    return d->maps[PEAKS] ? put_peaks(d, n, voxels) : DM_OK;
}

/* As whoever reads the file of coefficients would have them. */
static void as_written(const fit_derived *d, size_t n, const double *coefficients, double *written)
{
    for (size_t k = 0; k < n; k++)
        written[k] = d->wish.float64 ? coefficients[k] : (double)(float)coefficients[k];
}

dm_status fit_derived_put(fit_derived *d, size_t n, const size_t *voxels,
                          const double *coefficients, dm_map_file *sh)
{
    const size_t n_coefficients = dm_sh_count(d->lmax);
    double before[BLOCK * MOST_COEFFICIENTS], after[BLOCK * MOST_COEFFICIENTS];
    const double *c = d->change ? after : before;
    as_written(d, n * n_coefficients, coefficients, before);
    if (d->change)
        dm_odf(n, n_coefficients, before, n_coefficients, d->change, after);
    DM_TRY(dm_map_file_put(sh, n, voxels, c));
    return d->sphere ? put_densities(d, n, voxels, c) : DM_OK;
}

/* ---- after it ---- */

dm_status fit_derived_finish(const fit_derived *d)
{
    for (int k = 0; k < FIT_DERIVED_FILES; k++)
        if (d->maps[k])
            DM_TRY(dm_map_file_finish(d->maps[k]));
    return DM_OK;
}

dm_status fit_derived_commit(const fit_derived *d)
{
    for (int k = 0; k < FIT_DERIVED_FILES; k++)
        if (d->maps[k])
            DM_TRY(dm_map_file_commit(d->maps[k]));
    return DM_OK;
}

void fit_derived_fini(fit_derived *d)
{
    for (int k = 0; k < FIT_DERIVED_FILES; k++) {
        dm_map_file_destroy(d->maps[k]);
        free(d->paths[k]);
    }
    free(d->change);
    free(d->sphere);
    free(d->odf);
    *d = (fit_derived){0};
}
