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
enum { BLOCK = 64, PEAK_NUMBERS = 3 * DM_PEAKS, MOST_COEFFICIENTS = 91 };

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

static dm_status make_map(fit_derived *d, int which, const char *folder, const dm_grid *grid)
{
    d->paths[which] = fit_path(folder, names[which]);
    if (!d->paths[which])
        return dmi_error(DM_ERR_NOMEM, "no memory for a path");
    if (!d->wish.overwrite && access(d->paths[which], F_OK) == 0)
        return dmi_error(DM_ERR_IO,
                         "%s: a file was found here already; give --force to replace it, "
                         "or another --out",
                         d->paths[which]);
    return dm_volume_create(grid, volumes[which], d->wish.float64 ? DM_VOLUME_F64 : DM_VOLUME_F32,
                            &d->maps[which]);
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
    if (!d->sphere)
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
        DM_TRY(make_map(d, ODF, folder, grid));
    if (wish->odf)
        DM_TRY(make_map(d, GFA, folder, grid));
    if (wish->peaks)
        DM_TRY(make_map(d, PEAKS, folder, grid));
    return DM_OK;
}

/* ---- after it ---- */

/* Each peak as its direction times the density there, as MRtrix3 has peaks. */
static void fill_peaks(fit_derived *d, size_t n, const size_t *voxels, const double *odf)
{
    double directions[BLOCK * PEAK_NUMBERS], values[BLOCK * DM_PEAKS];
    dm_peaks(n, odf, NULL, (dm_vector *)directions, values);
    for (size_t k = 0; k < n * PEAK_NUMBERS; k++)
        directions[k] *= values[k / 3];
    dm_volume_scatter(d->maps[PEAKS], n, voxels, directions);
}

static void fill_block(fit_derived *d, size_t n, const size_t *voxels, dm_volume *coefficients,
                       double *odf)
{
    size_t n_coefficients = dm_sh_count(d->lmax);
    double before[BLOCK * MOST_COEFFICIENTS], after[BLOCK * MOST_COEFFICIENTS], gfa[BLOCK];
    double *c = d->change ? after : before;
    dm_volume_gather(coefficients, n, voxels, before);
    if (d->change) {
        dm_odf(n, n_coefficients, before, n_coefficients, d->change, after);
        dm_volume_scatter(coefficients, n, voxels, after);
    }
    if (d->sphere)
        dm_odf(n, n_coefficients, c, DM_SPHERE_COUNT, d->sphere, odf);
    if (d->maps[ODF])
        dm_volume_scatter(d->maps[ODF], n, voxels, odf);
    if (d->maps[GFA]) {
        dm_gfa_from_samples(n, DM_SPHERE_COUNT, odf, gfa);
        dm_volume_scatter(d->maps[GFA], n, voxels, gfa);
    }
    if (d->maps[PEAKS])
        fill_peaks(d, n, voxels, odf);
}

dm_status fit_derived_fill(fit_derived *d, const dm_mask *mask, dm_volume *coefficients)
{
    if (!d->change && !d->sphere)
        return DM_OK;
    double *odf = malloc(BLOCK * DM_SPHERE_COUNT * sizeof *odf);
    if (!odf)
        return dmi_error(DM_ERR_NOMEM, "no memory for densities");
    for (size_t first = 0; first < mask->n; first += BLOCK) {
        size_t left = mask->n - first;
        fill_block(d, left < BLOCK ? left : BLOCK, mask->voxels + first, coefficients, odf);
    }
    free(odf);
    return DM_OK;
}

dm_status fit_derived_write(const fit_derived *d)
{
    for (int k = 0; k < FIT_DERIVED_FILES; k++)
        if (d->maps[k])
            DM_TRY(dm_volume_write(d->maps[k], d->paths[k], d->wish.overwrite));
    return DM_OK;
}

void fit_derived_fini(fit_derived *d)
{
    for (int k = 0; k < FIT_DERIVED_FILES; k++) {
        dm_volume_destroy(d->maps[k]);
        free(d->paths[k]);
    }
    free(d->change);
    free(d->sphere);
    *d = (fit_derived){0};
}
